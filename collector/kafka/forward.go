package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/message"
)

// Queue is where messages wait for Kafka.
type Queue interface {
	// Batch blocks for the oldest messages that are not acknowledged, and returns at least one, in order; they are valid
	// until the next call. Once ctx is done it returns what is there, and the context's error when there is nothing.
	Batch(ctx context.Context, messages, bytes int) ([]message.Message, error)
	// Ack forgets what Batch returned last. Without it the same messages come again.
	Ack() error
}

// ForwarderConfig says how messages leave the queue.
type ForwarderConfig struct {
	// RetryMin and RetryMax bound the wait between attempts to publish; it doubles from one to the other. The client's own
	// five quick attempts come before each.
	RetryMin time.Duration `yaml:"retry_min"`
	RetryMax time.Duration `yaml:"retry_max"`
	// StopTimeout is how long a stop goes on to publish what waits. The rest is published after the next start.
	StopTimeout time.Duration `yaml:"stop_timeout"`
	// Quarantine is the folder for messages that Kafka will never take. The collector takes quarantine under --data.
	Quarantine string `yaml:"quarantine"`
}

// DefaultForwarderConfig notices within seconds that Kafka is back.
func DefaultForwarderConfig() ForwarderConfig {
	return ForwarderConfig{RetryMin: 100 * time.Millisecond, RetryMax: 5 * time.Second, StopTimeout: 5 * time.Second}
}

// Validate reports every fault at once.
func (c ForwarderConfig) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.RetryMin <= 0 || c.RetryMax < c.RetryMin {
		bad("retry_min: %v and retry_max: %v; must be above zero and in that order", c.RetryMin, c.RetryMax)
	}
	if c.StopTimeout < 0 {
		bad("stop_timeout: %v; must not be negative", c.StopTimeout)
	}
	if c.Quarantine == "" {
		bad("quarantine: empty; name a folder with --data")
	}
	return errors.Join(faults...)
}

// batchMessages is the most that the producer sends as one batch. What is published at once must be one batch per
// partition: Kafka stores that whole or not at all, so that a later message never stands before an earlier one of its key.
const batchMessages = 1000

// Forwarder takes messages from a queue to Kafka, in order.
type Forwarder struct {
	cfg    ForwarderConfig
	queue  Queue
	sink   *Sink
	log    *slog.Logger
	met    *forwarderMetrics
	groups []group // reused from batch to batch
}

// group is the messages of a batch that go to one topic.
type group struct {
	topic string
	msgs  []kafka.Message
}

type forwarderMetrics struct {
	seconds          prometheus.Histogram
	retries, refused *prometheus.CounterVec
	lag              prometheus.Gauge
}

// NewForwarder is inert.
func NewForwarder(cfg ForwarderConfig, queue Queue, sink *Sink, log *slog.Logger, reg prometheus.Registerer) (*Forwarder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("forwarder: %w", err)
	}
	met := &forwarderMetrics{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wattledger_collector_forward_seconds", Help: "Time until a batch of messages was safe in Kafka, retries included.",
			Buckets: prometheus.ExponentialBuckets(0.002, 4, 10),
		}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_collector_forward_retries_total", Help: "Attempts that will be repeated, by reason.",
		}, []string{"reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_collector_forward_refused_total", Help: "Messages that Kafka will never take, by reason; they lie in the folder quarantine while it has room.",
		}, []string{"reason"}),
		lag: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wattledger_collector_forward_lag_seconds", Help: "How old the newest row of the last published message was when Kafka had it.",
		}),
	}
	// There before it happens: a rate knows no increase from nothing to one.
	for _, reason := range []string{"unknown_topic", "message_too_large", kafka.MessageSizeTooLarge.Title(), kafka.InvalidMessage.Title()} {
		met.refused.WithLabelValues(reason)
	}
	if reg != nil {
		reg.MustRegister(met.seconds, met.retries, met.refused, met.lag)
	}
	return &Forwarder{cfg: cfg, queue: queue, sink: sink, log: log, met: met}, nil
}

// Run forwards until ctx ends, and then for at most Config.StopTimeout what is left: hand it a context that ends after the
// writers have. It returns nil; what was not published is still in the queue.
func (f *Forwarder) Run(ctx context.Context) error {
	sending, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(f.cfg.StopTimeout)
		defer timer.Stop()
		select {
		case <-timer.C:
			giveUp()
		case <-sending.Done():
		}
	})
	defer stop()
	for pause := f.cfg.RetryMin; ; {
		batch, err := f.queue.Batch(ctx, batchMessages, f.sink.batchBytes)
		if err == nil {
			pause = f.cfg.RetryMin
			if f.forward(sending, batch) != nil {
				return nil // it was time to stop
			}
			// Kafka first, then the queue: a kill between the two repeats messages, which readers know by run and sequence.
			err = f.queue.Ack()
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		default:
			f.met.retries.WithLabelValues("queue").Inc()
			f.log.Warn("queue not read", "reason", "queue", "pause", pause, "error", err)
			if wait(sending, pause) != nil {
				return nil
			}
			pause = min(2*pause, f.cfg.RetryMax)
		}
	}
}

// forward publishes a batch topic by topic. Order holds within a key, and a key belongs to one topic.
func (f *Forwarder) forward(ctx context.Context, batch []message.Message) error {
	start := time.Now()
	for i := range f.groups {
		f.groups[i].msgs = f.groups[i].msgs[:0]
	}
	for i := range batch {
		g := f.group(batch[i].Topic)
		g.msgs = append(g.msgs, kafka.Message{Key: batch[i].Key, Value: batch[i].Value, WriterData: &batch[i]})
	}
	for i := range f.groups {
		if err := f.send(ctx, f.groups[i].topic, f.groups[i].msgs); err != nil {
			return err
		}
	}
	f.met.seconds.Observe(time.Since(start).Seconds())
	if to := batch[len(batch)-1].Mark.To; to > 0 {
		f.met.lag.Set(max(0, time.Since(to.Time()).Seconds()))
	}
	return nil
}

func (f *Forwarder) group(topic string) *group {
	for i := range f.groups {
		if f.groups[i].topic == topic {
			return &f.groups[i]
		}
	}
	f.groups = append(f.groups, group{topic: topic})
	return &f.groups[len(f.groups)-1]
}

// send publishes messages of one topic until each is stored or set aside, or the context ends.
func (f *Forwarder) send(ctx context.Context, topic string, msgs []kafka.Message) error {
	pause := f.cfg.RetryMin
	for attempt := 1; len(msgs) > 0; attempt++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := f.sink.publish(ctx, topic, msgs)
		if err == nil {
			return nil
		}
		msgs = unsent(msgs, err)
		if errors.Is(err, agent.ErrRefused) {
			if half := len(msgs) / 2; half > 0 {
				// Somewhere among them is one that is refused, or they are only too large together.
				if err := f.send(ctx, topic, msgs[:half]); err != nil {
					return err
				}
				msgs, attempt = msgs[half:], 0
				continue
			}
			if err = f.setAside(msgs[0].WriterData.(*message.Message), err); err == nil {
				return nil
			}
		}
		f.met.retries.WithLabelValues(code(err)).Inc()
		if attempt == 1 || pause >= f.cfg.RetryMax {
			f.log.Warn("publish will be tried again", "reason", code(err), "topic", topic, "messages", len(msgs), "attempt", attempt, "pause", pause, "error", err)
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, f.cfg.RetryMax)
	}
	return nil
}

// unsent leaves out the messages that were stored although others were not. It works in place and keeps the order.
func unsent(msgs []kafka.Message, err error) []kafka.Message {
	var errs kafka.WriteErrors
	if !errors.As(err, &errs) || len(errs) != len(msgs) || errs.Count() == 0 {
		return msgs
	}
	left := msgs[:0]
	for i := range msgs {
		if errs[i] != nil {
			left = append(left, msgs[i])
		}
	}
	return left
}

// code is an error's own word for itself.
func code(err error) string {
	var coded interface{ Code() string }
	if errors.As(err, &coded) {
		return coded.Code()
	}
	return "other"
}

func wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
