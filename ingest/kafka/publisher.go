package kafka

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"github.com/wattledger/wattledger/internal/kafkaconn"
)

// Publisher sends to one topic with the acknowledgement of every in-sync replica.
type Publisher struct {
	producer *kafkaconn.Producer
}

// NewPublisher dials nothing before the first message. Close it when done.
func NewPublisher(conn kafkaconn.Config, topic string, reg prometheus.Registerer) (*Publisher, error) {
	p, err := kafkaconn.NewProducer(conn, topic, reg)
	if err != nil {
		return nil, err
	}
	return &Publisher{p}, nil
}

// Publish sends one message; nil means that it is durable. A key of no bytes is sent as none.
func (p *Publisher) Publish(ctx context.Context, key, value []byte) error {
	if len(key) == 0 {
		key = nil
	}
	return p.producer.Publish(ctx, kafka.Message{Key: key, Value: value})
}

// Close waits for what is under way.
func (p *Publisher) Close() error { return p.producer.Close() }
