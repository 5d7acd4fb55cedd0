package kafkaconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// Claim is one partition, held for one generation of the group. Only the handler it was given to uses it.
type Claim struct {
	consumer  *Consumer
	gen       *kafka.Generation
	dialer    *kafka.Dialer
	topic     string
	partition int
	committed int64     // the next offset the group has on record; -1 when it has none
	next      int64     // the next offset to hand out; -1 before the log's start is known
	first     int64     // where the log began when the group had no commit; -1 before that is known
	proven    time.Time // when we last asked something that the broker answered as to the partition's owner
	end       int64     // the log's end, as the latest fetch told it
	fetches   chan fetched
	failed    error // what ended the fetching; every later Fetch says it again
	started   bool
	cancel    context.CancelFunc
	fetcher   sync.WaitGroup
	held      []piece // handed out and not committed, in order
}

type fetched struct {
	msgs []kafka.Message
	next int64
	end  int64
	held int64 // of the consumer's hold
	err  error
}

// Topic is the topic's name.
func (c *Claim) Topic() string { return c.topic }

// Partition is the partition's number.
func (c *Claim) Partition() int { return c.partition }

// Generation is the group's generation this claim belongs to.
func (c *Claim) Generation() int32 { return c.gen.ID }

// Committed is the first offset the group has not committed; -1 means that it never committed here
// and reading begins at the start of the log.
func (c *Claim) Committed() int64 { return c.committed }

// Next is the offset after the last message that Fetch returned; -1 before the first fetch of a
// partition without commits.
func (c *Claim) Next() int64 { return c.next }

// End is the end of the log as the latest fetch told it: End − Next messages are still to come.
func (c *Claim) End() int64 { return c.end }

// SkipTo moves the start forward, to an offset beyond those that are known to be stored although their
// commit was lost. It is called before the first Fetch and never moves back.
func (c *Claim) SkipTo(offset int64) error {
	switch {
	case c.started:
		return fmt.Errorf("topic %s partition %d: the start is set before the first fetch", c.topic, c.partition)
	case offset < c.next:
		return fmt.Errorf("topic %s partition %d: the start moves forward only, from %d, not to %d", c.topic, c.partition, c.next, offset)
	}
	c.next = offset
	return nil
}

// Fetch returns the next messages in order, as many as came in one piece, or none when wait went by
// without any: the pipeline's chance to let go of a batch by age. While the caller works on one piece
// the next is fetched, unless the consumer's memory is full of what is not committed: then none comes until something is. Errors: the context's; a RangeError; what a retry cannot mend.
func (c *Claim) Fetch(ctx context.Context, wait time.Duration) ([]kafka.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err // checked first, so that a stop is not outrun by a full log
	}
	if c.failed != nil {
		return nil, c.failed
	}
	if !c.started {
		c.started = true
		run, cancel := context.WithCancel(ctx)
		c.cancel = cancel
		c.fetches = make(chan fetched)
		c.fetcher.Go(func() { c.fetchLoop(run, c.next) })
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case f := <-c.fetches:
		if f.err != nil {
			c.failed = f.err
			return nil, f.err
		}
		if c.next < 0 && len(f.msgs) > 0 {
			c.first = f.msgs[0].Offset
		}
		c.next, c.end = f.next, f.end
		c.held = append(c.held, piece{f.next, f.held})
		c.consumer.metrics.fetched.WithLabelValues(c.topic).Add(float64(len(f.msgs)))
		return f.msgs, nil
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Commit puts on record that everything below next is stored. ErrFenced means that the claim is over:
// return it, and what is not on record comes again in a later generation. Trying again is no use, because
// the membership lives and dies with one connection. Any other error is for good, such as a missing right.
func (c *Claim) Commit(next int64) error {
	if next < c.committed || next > c.next {
		return fmt.Errorf("commit topic %s partition %d: offset %d lies outside [%d, %d], which is what was fetched", c.topic, c.partition, next, c.committed, c.next)
	}
	if next == c.committed {
		return nil
	}
	if err := c.commit(next); err != nil {
		return err
	}
	c.committed = next
	c.release(next)
	return nil
}

func (c *Claim) run(ctx context.Context, handle Handler) error {
	err := handle(ctx, c)
	if c.cancel != nil {
		c.cancel()
	}
	c.fetcher.Wait()
	c.release(math.MaxInt64)
	return err
}

// release gives back what the pieces before the offset took.
func (c *Claim) release(before int64) {
	n := 0
	for n < len(c.held) && c.held[n].next <= before {
		c.consumer.hold.give(c.held[n].bytes)
		n++
	}
	c.held = slices.Delete(c.held, 0, n)
}

// fetchLoop hands out the log from offset on until ctx ends or the log does not hold the offset.
func (c *Claim) fetchLoop(ctx context.Context, offset int64) {
	give := func(f fetched) bool {
		n := int64(0)
		for _, m := range f.msgs {
			n += int64(len(m.Key)+len(m.Value)) + messageCost
		}
		var err error
		if f.held, err = c.consumer.hold.take(ctx, n); err != nil {
			return false
		}
		select {
		case c.fetches <- f:
			return true
		case <-ctx.Done():
			c.consumer.hold.give(f.held)
			return false
		}
	}
	wait := 50 * time.Millisecond
	for ctx.Err() == nil {
		err := c.readFrom(ctx, &offset, func(f fetched) bool {
			wait = 50 * time.Millisecond
			return give(f)
		})
		if ctx.Err() != nil {
			return
		}
		var gap *RangeError
		if errors.As(err, &gap) && gap.Wanted < gap.First && c.consumer.cfg.AcceptLoss {
			c.consumer.metrics.lost.WithLabelValues(c.topic).Add(float64(gap.First - gap.Wanted))
			c.consumer.log.Error("messages were removed before they were read, continuing after them", "topic", c.topic, "partition", c.partition,
				"wanted", gap.Wanted, "first", gap.First, "lost", gap.First-gap.Wanted)
			offset = gap.First
			continue
		}
		if !Temporary(err) {
			give(fetched{err: err})
			return
		}
		c.consumer.metrics.retries.WithLabelValues("fetch").Inc()
		c.consumer.log.Warn("fetch failed, trying again", "reason", "fetch", "topic", c.topic, "partition", c.partition, "offset", offset, "error", err)
		if !sleep(ctx, wait) {
			return
		}
		wait = min(2*wait, 2*time.Second)
	}
}

// readFrom reads over one connection to the partition's leader and returns the error that ended it.
// It keeps *offset at the next offset to read.
func (c *Claim) readFrom(ctx context.Context, offset *int64, give func(fetched) bool) error {
	dialCtx, cancel := context.WithTimeout(ctx, c.consumer.conn.DialTimeout)
	defer cancel()
	conn, err := c.dialLeader(dialCtx)
	if err != nil {
		return fmt.Errorf("reach the leader of %s partition %d: %w", c.topic, c.partition, err)
	}
	defer conn.Close()
	// A fetch that waits for news is cut short by closing the connection under it.
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	first, end, err := c.bounds(conn)
	if err != nil {
		return err
	}
	switch {
	case *offset < 0:
		*offset = first
	case *offset < first || *offset > end:
		return &RangeError{Topic: c.topic, Partition: c.partition, Wanted: *offset, First: first, End: end}
	}
	for {
		f, err := c.fetch(conn, *offset)
		if len(f.msgs) > 0 {
			if !give(f) {
				return ctx.Err()
			}
		}
		*offset = max(*offset, f.next)
		switch {
		case err == nil:
		case errors.Is(err, kafka.OffsetOutOfRange):
			first, end, bad := c.bounds(conn)
			if bad != nil {
				return bad
			}
			if *offset >= first && *offset <= end {
				return kafka.RequestTimedOut // the log moved between the two questions; ask again
			}
			return &RangeError{Topic: c.topic, Partition: c.partition, Wanted: *offset, First: first, End: end}
		case errors.Is(err, kafka.RequestTimedOut):
			// nothing new within the wait
		default:
			return fmt.Errorf("fetch %s partition %d offset %d: %w", c.topic, c.partition, *offset, err)
		}
	}
}

// fetch asks once, from offset on. Messages may come together with an error that ended the answer early.
func (c *Claim) fetch(conn *kafka.Conn, offset int64) (fetched, error) {
	cfg := c.consumer.cfg
	f := fetched{next: offset}
	if _, err := conn.Seek(offset, kafka.SeekAbsolute|kafka.SeekDontCheck); err != nil {
		return f, err
	}
	if err := conn.SetDeadline(time.Now().Add(cfg.FetchWait + c.consumer.conn.RequestTimeout)); err != nil {
		return f, err
	}
	batch := conn.ReadBatchWith(kafka.ReadBatchConfig{MinBytes: 1, MaxBytes: cfg.FetchBytes, MaxWait: cfg.FetchWait})
	f.end = batch.HighWaterMark()
	for {
		m, err := batch.ReadMessage()
		if err != nil {
			// The batch's own idea of what follows also passes markers and compacted records at its end.
			f.next = max(f.next, batch.Offset())
			closed := batch.Close()
			if errors.Is(err, io.EOF) {
				return f, closed // kafka-go's way to say that the answer ended cleanly
			}
			return f, err
		}
		f.msgs = append(f.msgs, m)
		f.next = m.Offset + 1
	}
}

func (c *Claim) dialLeader(ctx context.Context) (*kafka.Conn, error) {
	var last error
	for _, broker := range c.consumer.conn.Brokers {
		conn, err := c.dialer.DialLeader(ctx, "tcp", broker, c.topic, c.partition)
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, last
}

func (c *Claim) bounds(conn *kafka.Conn) (first, end int64, err error) {
	if err := conn.SetDeadline(time.Now().Add(c.consumer.conn.RequestTimeout)); err != nil {
		return 0, 0, err
	}
	if first, end, err = conn.ReadOffsets(); err != nil {
		return 0, 0, fmt.Errorf("offsets of %s partition %d: %w", c.topic, c.partition, err)
	}
	return first, end, nil
}
