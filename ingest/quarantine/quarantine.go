// Package quarantine keeps the messages that could not be stored.
//
// It owns the form of a refused message (wattledger.v1.Refused on wl.refused.v1, under the key of the original) and its
// counter. It promises that Keep returns nil only when every one of them is durable, so that the caller may commit
// past them. One message may be kept twice after a crash; topic, partition and offset tell. What becomes of them
// is a person's decision: mended and published again under the same identity, they count once.
package quarantine

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Publisher sends one message. A nil error means that it is durable.
type Publisher interface {
	Publish(ctx context.Context, key, value []byte) error
}

// maxKept is how much of a message is kept: what fits into one of ours with room for the reason around it.
const maxKept = wire.MaxMessageBytes - 16<<10

// Keeper publishes refused messages.
type Keeper struct {
	to      Publisher
	log     *slog.Logger
	refused *prometheus.CounterVec
}

// New is inert.
func New(to Publisher, log *slog.Logger, reg prometheus.Registerer) *Keeper {
	k := &Keeper{to: to, log: log, refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wattledger_ingest_refused_total", Help: "Messages put aside on wl.refused.v1, by reason.",
	}, []string{"reason"})}
	// A rate knows no increase from nothing to one.
	for _, r := range wire.Reasons {
		k.refused.WithLabelValues(string(r))
	}
	if reg != nil {
		reg.MustRegister(k.refused)
	}
	return k
}

// Keep publishes the refused messages and counts them.
func (k *Keeper) Keep(ctx context.Context, refused []pipeline.Refusal) error {
	for i, r := range refused {
		value, err := Encode(r)
		if err != nil {
			return err
		}
		if err := k.to.Publish(ctx, r.Message.Key, value); err != nil {
			return fmt.Errorf("keep %d refused messages, %d are kept: %w", len(refused), i, err)
		}
	}
	// Counted when all are kept: Keep is called again as a whole after an error.
	said := map[wire.Reason]bool{}
	for _, r := range refused {
		k.refused.WithLabelValues(string(r.Reason)).Inc()
		if !said[r.Reason] { // one line per reason and batch
			said[r.Reason] = true
			k.log.Warn("message refused", "reason", r.Reason, "topic", r.Message.Topic, "partition", r.Message.Partition, "offset", r.Message.Offset, "detail", r.Detail)
		}
	}
	return nil
}

// Encode is the message that keeps another.
func Encode(r pipeline.Refusal) ([]byte, error) {
	m := &wl.Refused{
		SchemaVersion: wire.SchemaVersion, Topic: r.Message.Topic, Partition: int32(r.Message.Partition), Offset: r.Message.Offset,
		Reason: string(r.Reason), Detail: valid(r.Detail), Key: r.Message.Key, Value: r.Message.Value, ReceivedUs: int64(r.Message.Received),
	}
	if len(m.Key)+len(m.Value) > maxKept {
		m.KeyBytes, m.ValueBytes = uint64(len(m.Key)), uint64(len(m.Value))
		m.Key = m.Key[:min(len(m.Key), 1<<10)]
		m.Value = m.Value[:min(len(m.Value), maxKept-len(m.Key))]
		m.Detail += fmt.Sprintf(" (the message has %d bytes; the first %d are kept here, all of them at its offset while the topic holds it)", len(r.Message.Value), len(m.Value))
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode the refusal of %s partition %d offset %d: %w", r.Message.Topic, r.Message.Partition, r.Message.Offset, err)
	}
	return b, nil
}
