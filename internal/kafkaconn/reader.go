package kafkaconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
)

// ErrNotHeld means that the broker holds no message at the offset: it was removed, or is yet to come.
var ErrNotHeld = errors.New("the broker does not hold it")

// Span is what a partition holds: the offsets [First, End).
type Span struct {
	Partition  int
	First, End int64
}

// Reader reads what topics hold, without a consumer group. It leaves no trace and sees nothing that comes after it has
// looked: for commands that end, not for consumers.
type Reader struct {
	conn Config
	// tries is how often a broker that is away is tried before the command gives up.
	tries int
}

// NewReader is inert.
func NewReader(conn Config) *Reader { return &Reader{conn: conn, tries: 5} }

// readBytes bounds one answer.
const readBytes = 4 << 20

// Spans tells what the topic holds now, by partition. A topic that does not exist is an error.
func (r *Reader) Spans(ctx context.Context, topic string) ([]Span, error) {
	client, done, err := r.conn.client()
	if err != nil {
		return nil, err
	}
	defer done()
	meta, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, fmt.Errorf("topic %s on %v: %w", topic, r.conn.Brokers, err)
	}
	req := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{}}
	for _, t := range meta.Topics {
		if t.Error != nil {
			return nil, fmt.Errorf("topic %s on %v: %w", topic, r.conn.Brokers, t.Error)
		}
		for _, p := range t.Partitions {
			req.Topics[topic] = append(req.Topics[topic], kafka.FirstOffsetOf(p.ID), kafka.LastOffsetOf(p.ID))
		}
	}
	offsets, err := client.ListOffsets(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("offsets of %s: %w", topic, err)
	}
	var out []Span
	for _, p := range offsets.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("offsets of %s partition %d: %w", topic, p.Partition, p.Error)
		}
		out = append(out, Span{p.Partition, p.FirstOffset, p.LastOffset})
	}
	slices.SortFunc(out, func(a, b Span) int { return a.Partition - b.Partition })
	return out, nil
}

// Read hands every message of the span to each, in order. What is removed meanwhile is passed over. An error of each ends it
// and is returned as it is.
func (r *Reader) Read(ctx context.Context, topic string, span Span, each func(kafka.Message) error) error {
	next := span.First
	for tried := 0; next < span.End; {
		before := next
		err := r.read(ctx, topic, span, &next, each)
		var stop *stopError
		switch {
		case err == nil:
			continue
		case errors.As(err, &stop):
			return stop.error
		case ctx.Err() != nil:
			return ctx.Err()
		case next > before:
			tried = 0
		}
		if tried++; !passing(err) || tried >= r.tries {
			return fmt.Errorf("read %s partition %d from offset %d: %w", topic, span.Partition, next, err)
		}
		if !sleep(ctx, time.Duration(tried)*100*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}

// At is the message at the offset, or ErrNotHeld.
func (r *Reader) At(ctx context.Context, topic string, partition int, offset int64) (kafka.Message, error) {
	spans, err := r.Spans(ctx, topic)
	if err != nil {
		return kafka.Message{}, err
	}
	i := slices.IndexFunc(spans, func(s Span) bool { return s.Partition == partition })
	if i < 0 {
		return kafka.Message{}, fmt.Errorf("%s has no partition %d: %w", topic, partition, ErrNotHeld)
	}
	if s := spans[i]; offset < s.First || offset >= s.End {
		return kafka.Message{}, fmt.Errorf("%s partition %d holds the offsets from %d to below %d, not %d: %w", topic, partition, s.First, s.End, offset, ErrNotHeld)
	}
	var found *kafka.Message
	err = r.Read(ctx, topic, Span{partition, offset, offset + 1}, func(m kafka.Message) error {
		found = &m
		return nil
	})
	switch {
	case err != nil:
		return kafka.Message{}, err
	case found == nil:
		return kafka.Message{}, fmt.Errorf("%s partition %d has no message at offset %d any more: %w", topic, partition, offset, ErrNotHeld)
	}
	return *found, nil
}

// passing says whether asking anew may help. kafka-go says that the offset is gone when the log's start has moved past it.
func passing(err error) bool { return Temporary(err) || errors.Is(err, kafka.OffsetOutOfRange) }

// stopError carries an error of the caller's past what is tried again.
type stopError struct{ error }

// read reads over one connection, from *next on, and keeps *next at what is to be read after.
func (r *Reader) read(ctx context.Context, topic string, span Span, next *int64, each func(kafka.Message) error) error {
	dialer, err := r.conn.dialer()
	if err != nil {
		return err
	}
	conn, err := r.leader(ctx, dialer, topic, span.Partition)
	if err != nil {
		return fmt.Errorf("reach the leader: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(r.conn.RequestTimeout)); err != nil {
		return err
	}
	first, end, err := conn.ReadOffsets()
	if err != nil {
		return err
	}
	if end < span.End {
		return fmt.Errorf("the log ends at %d, below %d where it ended before: %w", end, span.End, ErrNotHeld)
	}
	*next = max(*next, first) // what retention removed meanwhile; kafka-go has no plain word for it later on
	for *next < span.End {
		if err := conn.SetDeadline(time.Now().Add(r.conn.RequestTimeout)); err != nil {
			return err
		}
		if _, err := conn.Seek(*next, kafka.SeekAbsolute|kafka.SeekDontCheck); err != nil {
			return err
		}
		before := *next
		if err := r.answer(conn, span, next, each); err != nil {
			return err
		}
		if *next == before {
			return kafka.RequestTimedOut // an empty answer below the end: ask anew, a few times
		}
	}
	return nil
}

// answer reads one answer of the broker's.
func (r *Reader) answer(conn *kafka.Conn, span Span, next *int64, each func(kafka.Message) error) error {
	batch := conn.ReadBatchWith(kafka.ReadBatchConfig{MinBytes: 1, MaxBytes: readBytes, MaxWait: time.Second})
	for {
		m, err := batch.ReadMessage()
		if err != nil {
			*next = max(*next, batch.Offset()) // also past markers and compacted records
			if closed := batch.Close(); errors.Is(err, io.EOF) {
				return closed // kafka-go's way to say that the answer ended cleanly
			}
			return err
		}
		if m.Offset >= span.End {
			*next = span.End
			return batch.Close()
		}
		if err := each(m); err != nil {
			_ = batch.Close()
			return &stopError{err}
		}
		*next = m.Offset + 1
	}
}

func (r *Reader) leader(ctx context.Context, dialer *kafka.Dialer, topic string, partition int) (*kafka.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.conn.DialTimeout)
	defer cancel()
	var faults []error
	for _, broker := range r.conn.Brokers {
		conn, err := dialer.DialLeader(ctx, "tcp", broker, topic, partition)
		if err == nil {
			return conn, nil
		}
		faults = append(faults, err)
	}
	return nil, errors.Join(faults...)
}
