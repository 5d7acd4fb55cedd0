// Package kafka takes the agent's batches to Kafka.
//
// It owns the encoding of the collector's messages, their topics and keys. A nil error of Publish means that every
// in-sync replica has the message; messages of one node are published one after the other by their agent and so keep
// their order. Retrying is left to the agent; how Kafka is reached is left to internal/kafkaconn.
package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Publisher publishes samples and inventory. Several agents may share one.
type Publisher struct {
	samples, inventory *kafkaconn.Producer
}

// NewPublisher prepares a publisher; nothing is dialled before the first message. Close it when done.
func NewPublisher(cfg kafkaconn.Config, reg prometheus.Registerer) (*Publisher, error) {
	samples, err := kafkaconn.NewProducer(cfg, wire.TopicSample, reg)
	if err != nil {
		return nil, err
	}
	inventory, err := kafkaconn.NewProducer(cfg, wire.TopicInventory, reg)
	if err != nil {
		return nil, errors.Join(err, samples.Close())
	}
	return &Publisher{samples, inventory}, nil
}

// Publish sends one batch, keyed by its node.
func (p *Publisher) Publish(ctx context.Context, batch *wl.SampleBatch) error {
	// The bytes are fresh each time: after a cancelled write the client may still hold them.
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(batch)
	if err != nil {
		return fmt.Errorf("encode samples of node %s: %w: %w", batch.Node, agent.ErrRefused, err)
	}
	return classify(p.samples.Publish(ctx, kafka.Message{Key: []byte(batch.Node), Value: value}))
}

// PublishInventory states the devices of a node, keyed by its site. Of the node itself it says nothing: its rack, model
// and declared draw are the operator's to state. A later revision replaces an earlier one.
func (p *Publisher) PublishInventory(ctx context.Context, site string, revision uint64, from unit.Micros, devices []agent.Device) error {
	inv := &wl.Inventory{SchemaVersion: wire.SchemaVersion, Revision: revision}
	for _, d := range devices {
		rec := d.Device
		rec.From = from
		inv.Devices = append(inv.Devices, wire.DeviceTo(rec))
	}
	if err := wire.ValidateInventory(inv); err != nil {
		return fmt.Errorf("inventory of site %s: %w: %w", site, agent.ErrRefused, err)
	}
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(inv)
	if err != nil {
		return fmt.Errorf("encode inventory of site %s: %w: %w", site, agent.ErrRefused, err)
	}
	return classify(p.inventory.Publish(ctx, kafka.Message{Key: []byte(site), Value: value}))
}

// Close waits for what is under way and closes the connections.
func (p *Publisher) Close() error { return errors.Join(p.samples.Close(), p.inventory.Close()) }

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
