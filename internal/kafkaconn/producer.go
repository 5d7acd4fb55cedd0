package kafkaconn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
)

// Producer sends messages to one topic. Its nil error means that every in-sync replica has them.
//
// Messages of one key keep their order as long as the caller waits for one Publish before it
// makes the next for that key. There is no idempotent producer behind it: a retry may store a
// message twice, and readers must not mind (ours identify messages by node, run and sequence).
type Producer struct {
	topic   string
	writer  *kafka.Writer
	tr      *kafka.Transport
	sent    prometheus.Counter
	bytes   prometheus.Counter
	failed  prometheus.Counter
	seconds prometheus.Observer
}

// NewProducer prepares a producer; nothing is dialled before the first Publish. Close it when done.
func NewProducer(cfg Config, topic string, reg prometheus.Registerer) (*Producer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	if topic == "" {
		return nil, errors.New("kafka producer: the topic is empty")
	}
	tr, err := cfg.transport()
	if err != nil {
		return nil, err
	}
	// Asked for by name, a topic that we may not see says so; it would just be missing among all topics.
	tr.MetadataTopics = []string{topic}
	p := &Producer{
		topic: topic,
		tr:    tr,
		writer: &kafka.Writer{
			Addr:     kafka.TCP(cfg.Brokers...),
			Topic:    topic,
			Balancer: kafka.Murmur2Balancer{Consistent: true}, // the Java client's choice of partition, also for empty keys
			// kafka-go's own defaults ask for no acknowledgement and wait a second for company.
			RequiredAcks:    kafka.RequireAll,
			BatchTimeout:    cfg.BatchTimeout,
			BatchSize:       1000,
			BatchBytes:      int64(cfg.MaxMessageBytes),
			Compression:     kafka.Zstd,
			ReadTimeout:     cfg.RequestTimeout,
			WriteTimeout:    cfg.RequestTimeout,
			MaxAttempts:     5,
			WriteBackoffMin: 50 * time.Millisecond,
			WriteBackoffMax: time.Second,
			Transport:       tr,
		},
	}
	label := prometheus.Labels{"topic": topic}
	p.sent = counter(reg, "wattledger_kafka_produced_total", "Messages acknowledged by every in-sync replica.", label)
	p.bytes = counter(reg, "wattledger_kafka_produced_bytes_total", "Bytes of acknowledged messages, before compression.", label)
	p.failed = counter(reg, "wattledger_kafka_produce_failures_total", "Calls to publish that ended in an error and left the messages with the caller.", label)
	p.seconds = register(reg, prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "wattledger_kafka_produce_seconds", Help: "Time one publish took.", ConstLabels: label, Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
	}))
	return p, nil
}

// Publish sends the messages and waits until they are durable. After an error the caller still
// owns all of them: some may be stored, and offering them again is right. See Temporary.
// The topic of each message is the producer's; Time should stay zero, which is now.
func (p *Producer) Publish(ctx context.Context, msgs ...kafka.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	start := time.Now()
	if err := p.writer.WriteMessages(ctx, msgs...); err != nil {
		p.failed.Inc()
		return fmt.Errorf("publish %d messages to %s: %w", len(msgs), p.topic, plainer(err))
	}
	p.seconds.Observe(time.Since(start).Seconds())
	p.sent.Add(float64(len(msgs)))
	var n int
	for i := range msgs {
		n += len(msgs[i].Key) + len(msgs[i].Value)
	}
	p.bytes.Add(float64(n))
	return nil
}

// Close waits for what is under way and closes the connections.
func (p *Producer) Close() error {
	err := p.writer.Close()
	p.tr.CloseIdleConnections()
	return err
}

// plainer turns kafka-go's "kafka write errors (3/5)" into the first real reason, so that one line says
// what went wrong; the full list stays reachable through errors.As.
func plainer(err error) error {
	var errs kafka.WriteErrors
	if errors.As(err, &errs) {
		for i, e := range errs {
			if e != nil {
				return &writeError{first: fmt.Errorf("%d of %d refused, the first is message %d: %w", errs.Count(), len(errs), i, e), all: errs}
			}
		}
	}
	return err
}

type writeError struct {
	first error
	all   kafka.WriteErrors
}

func (e *writeError) Error() string   { return e.first.Error() }
func (e *writeError) Unwrap() []error { return []error{e.all, e.first} }

// register adds a collector, or returns the one that is there: two producers of a process share a registry.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	if err := reg.Register(c); err != nil {
		var already prometheus.AlreadyRegisteredError
		if errors.As(err, &already) {
			if old, ok := already.ExistingCollector.(C); ok {
				return old
			}
		}
	}
	return c
}

func counter(reg prometheus.Registerer, name, help string, label prometheus.Labels) prometheus.Counter {
	return register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: label}))
}
