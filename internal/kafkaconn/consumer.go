package kafkaconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
)

// GroupConfig is how a process takes part in a consumer group.
type GroupConfig struct {
	// Group is the consumer group's name.
	Group string `yaml:"group"`
	// Topics are read together; every member of a group names the same ones.
	Topics []string `yaml:"topics"`
	// SessionTimeout is how long a dead member keeps its partitions.
	SessionTimeout time.Duration `yaml:"session_timeout"`
	// HeartbeatInterval is how often we say that we are alive, and how fast we learn of a rebalance.
	HeartbeatInterval time.Duration `yaml:"heartbeat_interval"`
	// RebalanceTimeout is how long a rebalance waits for the members to come back to it.
	RebalanceTimeout time.Duration `yaml:"rebalance_timeout"`
	// PartitionWatch is how often we look for partitions added to a topic.
	PartitionWatch time.Duration `yaml:"partition_watch"`
	// FetchBytes bounds one fetch of one partition. Two fetches are held per partition at most.
	FetchBytes int `yaml:"fetch_bytes"`
	// FetchWait is how long the broker may hold a fetch open while there is nothing new.
	FetchWait time.Duration `yaml:"fetch_wait"`
	// HoldBytes bounds the messages that are fetched and not committed yet, over all partitions, in bytes of keys and values
	// plus 200 a message. Fetches wait while it is reached. What may come on top is one fetch per partition that waits. 0 is
	// no bound.
	HoldBytes int64 `yaml:"-"`
	// AcceptLoss continues at the first offset that exists when the one wanted was removed before it
	// was read, after counting and logging what is missing. Off, the consumer stops with a RangeError.
	AcceptLoss bool `yaml:"accept_loss"`
}

// DefaultGroupConfig notices a dead member after ten seconds and a rebalance after one.
func DefaultGroupConfig() GroupConfig {
	return GroupConfig{
		SessionTimeout:    10 * time.Second,
		HeartbeatInterval: time.Second,
		RebalanceTimeout:  30 * time.Second,
		PartitionWatch:    5 * time.Second,
		FetchBytes:        4 << 20,
		FetchWait:         500 * time.Millisecond,
	}
}

// Validate reports every fault at once.
func (c GroupConfig) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Group == "" {
		bad("group: empty")
	}
	if len(c.Topics) == 0 {
		bad("topics: none given")
	}
	for _, t := range c.Topics {
		if t == "" {
			bad("topics: one is empty")
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"session_timeout", c.SessionTimeout},
		{"heartbeat_interval", c.HeartbeatInterval},
		{"rebalance_timeout", c.RebalanceTimeout},
		{"partition_watch", c.PartitionWatch},
		{"fetch_wait", c.FetchWait},
	} {
		if d.value < time.Millisecond {
			bad("%s: %v; must be a millisecond or more", d.name, d.value)
		}
	}
	if c.HeartbeatInterval > c.SessionTimeout/2 {
		bad("heartbeat_interval: %v is more than half of session_timeout %v; one lost heartbeat would end the session", c.HeartbeatInterval, c.SessionTimeout)
	}
	if c.FetchBytes < 64<<10 || c.FetchBytes > 256<<20 {
		bad("fetch_bytes: %d; must lie between %d and %d", c.FetchBytes, 64<<10, 256<<20)
	}
	if c.HoldBytes < 0 {
		bad("hold bytes: %d; must not be negative", c.HoldBytes)
	}
	return errors.Join(faults...)
}

// Handler owns one partition for one generation. It fetches, stores, then commits, in that order,
// and returns when ctx ends (another generation begins or the process stops). Until it returns the
// rebalance waits, so it may still store and commit what it holds, under a context of its own and
// within SessionTimeout: heartbeats have ended, and the broker gives up on us after that long. An error it returns while ctx lives stops the whole consumer with it; what
// may pass by itself (a store that is away) it has to wait out. After a RangeError, an ErrFenced or
// the end of ctx it just returns the error it got.
type Handler func(ctx context.Context, claim *Claim) error

// Consumer is one member of a consumer group.
type Consumer struct {
	conn    Config
	cfg     GroupConfig
	handle  Handler
	log     *slog.Logger
	hold    *hold
	metrics consumerMetrics
}

type consumerMetrics struct {
	generations prometheus.Counter
	fetched     *prometheus.CounterVec
	commits     *prometheus.CounterVec
	retries     *prometheus.CounterVec
	lost        *prometheus.CounterVec
	assigned    prometheus.Gauge
}

// NewConsumer is inert; Run does the work.
func NewConsumer(conn Config, cfg GroupConfig, handle Handler, log *slog.Logger, reg prometheus.Registerer) (*Consumer, error) {
	if err := errors.Join(conn.Validate(), cfg.Validate()); err != nil {
		return nil, fmt.Errorf("kafka consumer: %w", err)
	}
	label := prometheus.Labels{"group": cfg.Group}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: label}, labels))
	}
	c := &Consumer{
		conn: conn, cfg: cfg, handle: handle, log: log, hold: newHold(cfg.HoldBytes, reg, label),
		metrics: consumerMetrics{
			generations: counter(reg, "wattledger_kafka_generations_total", "Generations of the consumer group this member took part in.", label),
			fetched:     vec("wattledger_kafka_fetched_total", "Messages fetched, repeats included.", "topic"),
			commits:     vec("wattledger_kafka_commits_total", "Offset commits by outcome.", "outcome"),
			retries:     vec("wattledger_kafka_retries_total", "Things tried again because Kafka was away or moving, by what was tried.", "what"),
			lost:        vec("wattledger_kafka_lost_total", "Messages the broker removed before they were read.", "topic"),
			assigned: register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "wattledger_kafka_assigned_partitions", Help: "Partitions this member holds now.", ConstLabels: label,
			})),
		},
	}
	for _, topic := range cfg.Topics { // there before it happens: a rate knows no increase from nothing to one
		c.metrics.lost.WithLabelValues(topic)
	}
	return c, nil
}

// Run takes part in the group until ctx ends (nil) or a handler fails (its error). A cluster that is
// away, and topics that do not exist yet, are waited for.
func (c *Consumer) Run(ctx context.Context) error {
	dialer, err := c.conn.dialer()
	if err != nil {
		return err
	}
	if err := c.waitForTopics(ctx); err != nil {
		return stopped(ctx, err)
	}
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:                     c.cfg.Group,
		Brokers:                c.conn.Brokers,
		Dialer:                 dialer,
		Topics:                 c.cfg.Topics,
		GroupBalancers:         []kafka.GroupBalancer{kafka.RangeGroupBalancer{}},
		HeartbeatInterval:      c.cfg.HeartbeatInterval,
		SessionTimeout:         c.cfg.SessionTimeout,
		RebalanceTimeout:       c.cfg.RebalanceTimeout,
		PartitionWatchInterval: c.cfg.PartitionWatch,
		WatchPartitionChanges:  true,
		JoinGroupBackoff:       500 * time.Millisecond,
		StartOffset:            kafka.FirstOffset,
		Timeout:                c.conn.RequestTimeout,
		Logger: kafka.LoggerFunc(func(format string, args ...any) {
			if c.log.Enabled(ctx, slog.LevelDebug) {
				c.log.Debug("consumer group", "group", c.cfg.Group, "detail", fmt.Sprintf(format, args...))
			}
		}),
	})
	if err != nil {
		return fmt.Errorf("consumer group %s: %w", c.cfg.Group, err)
	}
	// Close makes the handlers return, waits for them, and leaves the group, in this order, so that the
	// partitions pass on at once and what the handlers committed on their way out still counts.
	defer c.metrics.assigned.Set(0)
	var handlers sync.WaitGroup
	defer handlers.Wait()
	defer group.Close()

	failed := make(chan error, 1) // the first handler error; the others are consequences
	for {
		gen, err := group.Next(ctx)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case Temporary(err) || fenced(err) || errors.Is(err, kafka.GroupCoordinatorNotAvailable):
			c.metrics.retries.WithLabelValues("join").Inc()
			c.log.Warn("consumer group not joined, trying again", "reason", "join", "group", c.cfg.Group, "error", err)
			continue // the group backs off by itself
		default:
			return fmt.Errorf("join consumer group %s: %w", c.cfg.Group, err)
		}
		began := time.Now()
		over := c.start(ctx, gen, dialer, &handlers, failed)
		select {
		case <-over:
			// kafka-go waits for functions started before a generation ended, not for later ones.
			// Two generations of one partition must never be handled at the same time.
			handlers.Wait()
		case <-ctx.Done():
			return nil
		}
		select {
		case err := <-failed:
			return err
		default:
		}
		if lived := time.Since(began); lived < time.Second {
			// A topic deleted under us ends each generation at once; do not spin on it.
			if !sleep(ctx, 250*time.Millisecond) {
				return nil
			}
		}
	}
}

// start runs a handler for each partition of the generation and returns a channel that closes when the
// generation is over.
func (c *Consumer) start(ctx context.Context, gen *kafka.Generation, dialer *kafka.Dialer, handlers *sync.WaitGroup, failed chan<- error) <-chan struct{} {
	c.metrics.generations.Inc()
	// The handlers' context ends with the generation, not with ctx: when ctx ends, Run closes the group,
	// which ends the generation and waits for them.
	genCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	over := make(chan struct{})
	gen.Start(func(ended context.Context) {
		<-ended.Done()
		cancel()
		close(over)
	})
	n := 0
	for topic, partitions := range gen.Assignments {
		for _, p := range partitions {
			n++
			start := max(p.Offset, -1) // kafka-go says -2 for a group without a commit
			claim := &Claim{consumer: c, gen: gen, dialer: dialer, topic: topic, partition: p.ID, committed: start, next: start, first: -1, proven: time.Now()}
			handlers.Add(1)
			// When the function returns, the generation ends for every partition of this member.
			gen.Start(func(context.Context) {
				defer handlers.Done()
				err := claim.run(genCtx, c.handle)
				if errors.Is(err, ErrFenced) {
					c.log.Warn("claim lost, joining anew", "reason", "fenced", "topic", topic, "partition", claim.partition, "error", err)
					return
				}
				if genCtx.Err() != nil {
					return // the end of the generation is no fault; what it left behind comes again
				}
				if err == nil {
					err = errors.New("the handler returned although its generation goes on")
				}
				select {
				case failed <- fmt.Errorf("consume %s partition %d: %w", topic, claim.partition, err):
				default:
				}
			})
		}
	}
	c.metrics.assigned.Set(float64(n))
	c.log.Info("partitions assigned", "group", c.cfg.Group, "generation", gen.ID, "partitions", n)
	return over
}

// waitForTopics keeps a member from joining before its topics exist: kafka-go ends every generation
// at once, without a pause, when a topic it watches is unknown.
func (c *Consumer) waitForTopics(ctx context.Context) error {
	client, done, err := c.conn.client(c.cfg.Topics...)
	if err != nil {
		return err
	}
	defer done()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		missing, err := missingTopics(ctx, client, c.cfg.Topics)
		switch {
		case err == nil && len(missing) == 0:
			return nil
		case err == nil:
			c.metrics.retries.WithLabelValues("topics").Inc()
			c.log.Warn("topics do not exist yet, waiting", "reason", "topics", "topics", missing)
		case Temporary(err):
			c.metrics.retries.WithLabelValues("connect").Inc()
			c.log.Warn("kafka does not answer, trying again", "reason", "connect", "brokers", c.conn.Brokers, "error", err)
		default:
			return fmt.Errorf("kafka at %v: %w", c.conn.Brokers, err)
		}
		if !sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

// stopped turns an error that only says that we were asked to stop into none.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // being told to stop is no fault
	}
	return err
}

// sleep reports whether the time went by; false means that ctx ended.
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
