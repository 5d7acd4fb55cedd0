package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Database tells what is stored, and keeps it tidy.
type Database interface {
	// Check says whether the database has our schema. schema.ErrVersion is for good.
	Check(ctx context.Context) error
	// Compact removes rows that stand twice among what was received since then, and answers how many of which table.
	Compact(ctx context.Context, since time.Time) (map[string]uint64, error)
	// Recall tells what is stored of a partition from about the committed offset on; −1 stands for no commit.
	Recall(ctx context.Context, topic string, partition int, committed int64) ([]pipeline.Stored, error)
	// Histories answers questions about runs.
	Histories(ctx context.Context, topic string, asked []pipeline.Question) ([]pipeline.Answer, error)
}

// Config is how messages are consumed.
type Config struct {
	Group kafkaconn.GroupConfig `yaml:"group"`
	// Grace is how long an insert under way may go on after the partition was taken away or the process was told to stop.
	// It stays below the group's session timeout, so that what was stored can still be committed.
	Grace time.Duration `yaml:"grace"`
	// CompactEvery is how often the member that holds partition 0 of wl.sample.v1 looks for rows that stand twice among what was
	// received since yesterday, and removes them. 0 leaves it to `wattledger compact`.
	CompactEvery time.Duration `yaml:"compact_every"`
}

// DefaultConfig joins the group wattledger-ingest on all topics that have a table.
func DefaultConfig() Config {
	g := kafkaconn.DefaultGroupConfig()
	g.Group, g.Topics = "wattledger-ingest", pipeline.Topics
	g.FetchBytes = 1 << 20 // compressed: some ten times that in rows
	g.FetchWait = 100 * time.Millisecond
	// What the broker has removed nobody can bring back, and to stand still would lose what comes next as well. The loss is counted
	// and logged, and the sequence numbers that are missing show whose it was.
	g.AcceptLoss = true
	return Config{Group: g, Grace: 5 * time.Second, CompactEvery: time.Hour}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	err := c.Group.Validate()
	if c.Grace <= 0 || c.Grace >= c.Group.SessionTimeout {
		err = errors.Join(err, fmt.Errorf("grace: %v; must lie between zero and the session timeout %v", c.Grace, c.Group.SessionTimeout))
	}
	if c.CompactEvery != 0 && c.CompactEvery < 100*time.Millisecond {
		err = errors.Join(err, fmt.Errorf("compact_every: %v; must be 100ms or more, or 0 for never", c.CompactEvery))
	}
	return err
}

// Consumer is one ingester of the group.
type Consumer struct {
	cfg     Config
	batches pipeline.Config
	store   Database
	deliver *pipeline.Deliverer
	log     *slog.Logger
	inner   *kafkaconn.Consumer
	metrics *metrics
	memory  *pipeline.Memory
}

// NewConsumer is inert; Run does the work. The deliverer's Retries are the consumer's own.
func NewConsumer(conn kafkaconn.Config, cfg Config, batches pipeline.Config, store Database, deliver pipeline.Deliverer, log *slog.Logger, reg prometheus.Registerer) (*Consumer, error) {
	if err := errors.Join(cfg.Validate(), batches.Validate()); err != nil {
		return nil, err
	}
	c := &Consumer{cfg: cfg, batches: batches, store: store, log: log, memory: pipeline.NewMemory(batches.RememberSpans)}
	c.metrics = newMetrics(reg, c.memory)
	deliver.Retries = c.metrics
	c.deliver = &deliver
	var err error
	c.inner, err = kafkaconn.NewConsumer(conn, cfg.Group, c.handle, log, reg)
	return c, err
}

// Run consumes until ctx ends. Kafka and the database may be away for as long as they like; a database of another schema is
// an error, before anything is read.
func (c *Consumer) Run(ctx context.Context) error {
	var version error
	_ = c.persist(ctx, place{}, "schema", func() error { // ends early with ctx alone, and being told to stop is no fault
		err := c.store.Check(ctx)
		if errors.Is(err, schema.ErrVersion) {
			version, err = err, nil
		}
		return err
	})
	if version != nil || ctx.Err() != nil {
		return version
	}
	return c.inner.Run(ctx)
}

// Ready is nil while every partition of this member is carried on, and says otherwise what is waited for.
func (c *Consumer) Ready() error { return c.metrics.state.ready() }

// handle owns one partition for one generation.
func (c *Consumer) handle(ctx context.Context, claim *kafkaconn.Claim) error {
	topic, partition := claim.Topic(), claim.Partition()
	defer c.metrics.forget(topic, partition)
	if topic == wire.TopicSample && partition == 0 && c.cfg.CompactEvery > 0 {
		ctx, cancel := context.WithCancel(ctx)
		var tidying sync.WaitGroup
		defer tidying.Wait()
		defer cancel()
		tidying.Go(func() { c.compact(ctx) })
	}

	var known []pipeline.Stored
	err := c.persist(ctx, place{topic, partition}, "recall", func() (err error) {
		known, err = c.store.Recall(ctx, topic, partition, claim.Committed())
		return err
	})
	if err != nil {
		return err
	}
	p := pipeline.NewSharing(c.memory, c.batches, topic, partition, known)
	defer p.Close()
	for {
		msgs, err := claim.Fetch(ctx, p.Wait(now()))
		if err != nil {
			return err
		}
		if err := c.take(ctx, claim, p, messages(msgs)); err != nil {
			return err
		}
		c.metrics.lag(topic, partition, claim.End()-claim.Next())
	}
}

// take offers the messages to the pipeline and stores every batch that is due.
func (c *Consumer) take(ctx context.Context, claim *kafkaconn.Claim, p *pipeline.Pipeline, msgs []pipeline.Message) error {
	for part := range slices.Chunk(msgs, p.Chunk()) {
		for !p.Room(len(part)) {
			if err := c.flush(ctx, claim, p); err != nil {
				return err
			}
		}
		if err := c.learn(ctx, place{claim.Topic(), claim.Partition()}, p, part); err != nil {
			return err
		}
		for _, m := range part {
			for !p.Offer(m, now()) {
				if err := c.flush(ctx, claim, p); err != nil {
					return err
				}
				if ctx.Err() != nil {
					return ctx.Err() // what is left comes again, to whom the partition belongs then
				}
			}
		}
	}
	if !p.Due(now()) {
		return nil
	}
	return c.flush(ctx, claim, p)
}

// learn asks the database for what the pipeline does not know of the messages.
func (c *Consumer) learn(ctx context.Context, at place, p *pipeline.Pipeline, msgs []pipeline.Message) error {
	for asked := p.Ask(msgs); len(asked) > 0; asked = p.Ask(msgs) {
		var found []pipeline.Answer
		err := c.persist(ctx, at, "history", func() (err error) {
			found, err = c.store.Histories(ctx, at.topic, asked)
			return err
		})
		if err != nil {
			return err
		}
		p.Learn(asked, found)
	}
	return nil
}

// flush brings the batch into effect and commits it.
func (c *Consumer) flush(ctx context.Context, claim *kafkaconn.Claim, p *pipeline.Pipeline) error {
	// When the partition is taken away during an insert, the insert may still end, be it in success or not: one that is cut
	// off may be stored without our knowing, after the next owner has looked.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(c.cfg.Grace, cancel)
		context.AfterFunc(work, func() { timer.Stop() })
	})()

	b := p.Batch()
	deliver := *c.deliver
	deliver.Fence = claim.Held
	if err := deliver.Deliver(work, b); err != nil {
		return err
	}
	c.count(b)
	if err := claim.Commit(b.Next); err != nil {
		// All of it is stored. The next owner, which may be us, finds it beyond the committed offset and passes over it.
		return err
	}
	p.Done()
	return nil
}

func (c *Consumer) count(b *pipeline.Batch) {
	c.metrics.count(b, now())
	if b.Missing > 0 {
		c.log.Warn("sequence numbers missing", "reason", "gap", "topic", b.Topic, "partition", b.Partition, "next", b.Next, "missing", b.Missing)
	}
	if b.Redelivered > 0 {
		c.log.Info("messages were stored already", "topic", b.Topic, "partition", b.Partition, "next", b.Next, "redelivered", b.Redelivered)
	}
}

// persist does it until it is done or ctx ends: what is away comes back.
func (c *Consumer) persist(ctx context.Context, at place, what string, do func() error) error {
	defer c.metrics.state.resume(at.topic, at.partition)
	for wait := c.deliver.Backoff; ; wait = min(2*wait, c.deliver.BackoffMax) {
		err := do()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.metrics.retries.WithLabelValues(what).Inc()
		c.metrics.state.wait(at.topic, at.partition, what, err)
		c.log.Warn("database not read, trying again", "reason", what, "wait", wait, "error", err)
		if !sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

func messages(in []kafka.Message) []pipeline.Message {
	out := make([]pipeline.Message, len(in))
	for i, m := range in {
		out[i] = pipeline.Message{
			Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Value, Received: unit.Micros(m.Time.UnixMicro()),
		}
	}
	return out
}

func now() unit.Micros { return unit.Micros(time.Now().UnixMicro()) }

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// compact removes what stands twice, now and then, until ctx ends. It is done by one member at a time, as far as the group
// knows; two at once do no harm.
func (c *Consumer) compact(ctx context.Context) {
	for sleep(ctx, c.cfg.CompactEvery) {
		removed, err := c.store.Compact(ctx, time.Now().Add(-24*time.Hour))
		switch {
		case ctx.Err() != nil:
		case err != nil:
			c.metrics.retries.WithLabelValues("compact").Inc()
			c.log.Warn("rows that stand twice not removed, trying again later", "reason", "compact", "wait", c.cfg.CompactEvery, "error", err)
		default:
			for table, n := range removed {
				c.log.Warn("rows that stood twice removed", "reason", "compact", "table", table, "rows", n)
			}
		}
	}
}
