package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/ingest/quarantine"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Archive reads refused messages, and originals where they were read first, without a group. It also publishes them again.
type Archive struct {
	conn   kafkaconn.Config
	reader *kafkaconn.Reader
	to     map[string]*kafkaconn.Producer
}

// NewArchive is inert. Close it when done.
func NewArchive(conn kafkaconn.Config) *Archive {
	return &Archive{conn: conn, reader: kafkaconn.NewReader(conn), to: map[string]*kafkaconn.Producer{}}
}

// Spans is what wl.refused.v1 holds now.
func (a *Archive) Spans(ctx context.Context) ([]kafkaconn.Span, error) {
	return a.reader.Spans(ctx, wire.TopicRefused)
}

// Kept hands every refused message of the spans to each, partition by partition, in the order in which they were refused.
func (a *Archive) Kept(ctx context.Context, spans []kafkaconn.Span, each func(quarantine.Kept) error) error {
	for _, s := range spans {
		if err := a.reader.Read(ctx, wire.TopicRefused, s, func(m kafka.Message) error { return each(keptOf(m)) }); err != nil {
			return err
		}
	}
	return nil
}

// At is the refused message at a position.
func (a *Archive) At(ctx context.Context, p quarantine.Position) (quarantine.Kept, error) {
	m, err := a.reader.At(ctx, wire.TopicRefused, p.Partition, p.Offset)
	return keptOf(m), err
}

func keptOf(m kafka.Message) quarantine.Kept {
	return quarantine.Decode(quarantine.Position{Partition: m.Partition, Offset: m.Offset}, unit.Micros(m.Time.UnixMicro()), m.Key, m.Value)
}

// Original is quarantine.Originals: the message at its first place, if that still holds it.
func (a *Archive) Original(ctx context.Context, k quarantine.Kept) (quarantine.Kept, error) {
	m, err := a.reader.At(ctx, k.Topic, k.Partition, k.Offset)
	if err != nil {
		return k, fmt.Errorf("%d of %d bytes are kept, and the rest cannot be read at its first place: %w", len(k.Value), k.ValueBytes, err)
	}
	if len(m.Key) != k.KeyBytes || len(m.Value) != k.ValueBytes || !bytes.HasPrefix(m.Key, k.Key) || !bytes.HasPrefix(m.Value, k.Value) {
		return k, fmt.Errorf("%d of %d bytes are kept, and %s partition %d offset %d holds another message now: the topic was made anew",
			len(k.Value), k.ValueBytes, k.Topic, k.Partition, k.Offset)
	}
	k.Key, k.Value = m.Key, m.Value
	return k, nil
}

// Send is quarantine.Sender.
func (a *Archive) Send(ctx context.Context, topic string, messages []pipeline.Message) error {
	to := a.to[topic]
	if to == nil {
		var err error
		if to, err = kafkaconn.NewProducer(a.conn, topic, prometheus.NewRegistry()); err != nil {
			return err
		}
		a.to[topic] = to
	}
	out := make([]kafka.Message, len(messages))
	for i, m := range messages {
		if out[i].Value = m.Value; len(m.Key) > 0 {
			out[i].Key = m.Key
		}
	}
	return to.Publish(ctx, out...)
}

// Close closes the connections of what was published.
func (a *Archive) Close() error {
	var faults []error
	for _, p := range a.to {
		faults = append(faults, p.Close())
	}
	return errors.Join(faults...)
}
