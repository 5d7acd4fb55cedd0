// Package kafka takes the collector's messages to Kafka.
//
// A nil error of Put means that every in-sync replica has the message. Messages that are put one after the other keep
// their order within a key. Retrying is left to the caller, how Kafka is reached to internal/kafkaconn.
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
}

// NewSink prepares a sink; nothing is dialled before the first message. Close it when done.
func NewSink(cfg kafkaconn.Config, reg prometheus.Registerer) (*Sink, error) {
	s := &Sink{producers: map[string]*kafkaconn.Producer{}}
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
	p := s.producers[m.Topic]
	if p == nil {
		return fmt.Errorf("%w: a node has nothing to say in topic %s", agent.ErrRefused, m.Topic)
	}
	// After a cancelled write the client may still hold the bytes.
	return classify(p.Publish(ctx, kafka.Message{Key: bytes.Clone(m.Key), Value: bytes.Clone(m.Value)}))
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
