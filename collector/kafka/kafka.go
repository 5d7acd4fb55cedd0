// Package kafka takes the collector's messages to Kafka.
//
// It owns the way from the queue on the node's disk (Forwarder) and the way without one (Sink). A nil error of Put means
// that every in-sync replica has the message; retrying is left to the caller. The forwarder retries for ever, keeps the
// order within a key, forgets a message only when Kafka has it, and sets aside the few that Kafka will never take. How
// Kafka is reached is left to internal/kafkaconn.
package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/wire"
)

// topics are those that a node writes to.
var topics = []string{wire.TopicSample, wire.TopicAllocation, wire.TopicReading, wire.TopicInventory}

// Sink publishes messages, each at once. Several writers may share it.
type Sink struct {
	producers map[string]*kafkaconn.Producer
	// batchBytes is the most that goes to Kafka as one batch.
	batchBytes int
}

// NewSink prepares a sink; nothing is dialled before the first message. Close it when done.
func NewSink(cfg kafkaconn.Config, reg prometheus.Registerer) (*Sink, error) {
	s := &Sink{producers: map[string]*kafkaconn.Producer{}, batchBytes: cfg.MaxMessageBytes}
	for _, topic := range topics {
		p, err := kafkaconn.NewProducer(cfg, topic, reg)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.producers[topic] = p
	}
	return s, nil
}

// Put publishes one message and waits until it is durable.
func (s *Sink) Put(ctx context.Context, m *message.Message) error {
	// After a cancelled write the client may still hold the bytes.
	return s.publish(ctx, m.Topic, []kafka.Message{{Key: bytes.Clone(m.Key), Value: bytes.Clone(m.Value)}})
}

func (s *Sink) publish(ctx context.Context, topic string, msgs []kafka.Message) error {
	p := s.producers[topic]
	if p == nil {
		return &codedError{"unknown_topic", fmt.Errorf("%w: a node has nothing to say in topic %s", agent.ErrRefused, topic)}
	}
	return classify(p.Publish(ctx, msgs...))
}

// Close waits for what is under way and closes the connections.
func (s *Sink) Close() error {
	var errs []error
	for _, topic := range topics {
		if p := s.producers[topic]; p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}

// codedError carries Kafka's own name of an error for metrics.
type codedError struct {
	code string
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }
func (e *codedError) Code() string  { return e.code }

// classify tells the few errors that the same bytes would meet again from those that pass or that an operator can mend:
// a broker that is away, a wrong password, a topic that is missing. The agent keeps its samples through the latter.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if tooLarge := (kafka.MessageTooLargeError{}); errors.As(err, &tooLarge) {
		return &codedError{"message_too_large", fmt.Errorf("%w: %w: lower max_bytes of the agent", agent.ErrRefused, err)}
	}
	k := kafka.Error(0)
	if !errors.As(err, &k) {
		return &codedError{"network", err}
	}
	if k == kafka.MessageSizeTooLarge || k == kafka.InvalidMessage {
		err = fmt.Errorf("%w: %w", agent.ErrRefused, err)
	}
	return &codedError{k.Title(), err}
}
