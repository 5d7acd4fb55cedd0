package message

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Mark is what is known of a message without decoding it.
type Mark struct {
	// Run and Sequence identify it within its topic and source. An inventory has neither.
	Run      [wire.RunBytes]byte
	Sequence uint64
	// From and To bound the time that its rows tell about; both are 0 when it has no rows.
	From, To unit.Micros
	// Rows is how many samples, allocations, readings or devices it holds.
	Rows uint32
}

// Message is one message for Kafka.
type Message struct {
	Topic      string
	Key, Value []byte
	Mark       Mark
}

// Sink takes messages. A nil error means that the message is durable; after an error it is still the caller's, who offers
// it again, unless the error is agent.ErrRefused. A sink keeps nothing of the message after it has returned.
type Sink interface {
	Put(ctx context.Context, m *Message) error
}

// Writer encodes for a sink. It is for one goroutine; several writers may share a sink.
type Writer struct {
	sink Sink
	msg  Message
	buf  []byte
}

// NewWriter writes to a sink.
func NewWriter(sink Sink) *Writer { return &Writer{sink: sink} }

// Publish writes one batch of samples, keyed by its node. It is agent.Publisher.
func (w *Writer) Publish(ctx context.Context, b *wl.SampleBatch) error {
	if err := wire.ValidateSamples(b); err != nil {
		return fmt.Errorf("samples of %s: %w: %w", b.Node, agent.ErrRefused, err)
	}
	w.msg.Mark = Mark{Sequence: b.Sequence, Rows: uint32(len(b.TickUs))}
	copy(w.msg.Mark.Run[:], b.Run)
	if n := len(b.TickUs); n > 0 {
		w.msg.Mark.From, w.msg.Mark.To = unit.Micros(b.TickUs[0]), unit.Micros(b.TickUs[n-1])
	}
	return w.put(ctx, wire.TopicSample, b.Node, b)
}

// Allocations writes what is known of who holds what, keyed by its site.
func (w *Writer) Allocations(ctx context.Context, b *wl.AllocationBatch) error {
	if err := wire.ValidateAllocations(b); err != nil {
		return fmt.Errorf("allocations of %s: %w: %w", b.Source, agent.ErrRefused, err)
	}
	w.msg.Mark = Mark{Sequence: b.Sequence, Rows: uint32(len(b.Allocations))}
	copy(w.msg.Mark.Run[:], b.Run)
	for _, a := range b.Allocations {
		w.span(a.StartUs, max(a.StartUs, a.EndUs))
	}
	return w.put(ctx, wire.TopicAllocation, b.Site, b)
}

// Readings writes what meters read, keyed by its site.
func (w *Writer) Readings(ctx context.Context, b *wl.ReadingBatch) error {
	if err := wire.ValidateReadings(b); err != nil {
		return fmt.Errorf("readings of %s: %w: %w", b.Source, agent.ErrRefused, err)
	}
	w.msg.Mark = Mark{Sequence: b.Sequence, Rows: uint32(len(b.Readings))}
	copy(w.msg.Mark.Run[:], b.Run)
	for _, r := range b.Readings {
		w.span(r.FromUs, r.ToUs)
	}
	return w.put(ctx, wire.TopicReading, b.Site, b)
}

// Inventory states the devices of a node, keyed by its site and the devices. Of the node itself it says nothing: its rack, model and
// declared draw are the operator's to state. A later revision replaces an earlier one.
func (w *Writer) Inventory(ctx context.Context, site string, revision uint64, from unit.Micros, devices []agent.Device) error {
	inv := &wl.Inventory{SchemaVersion: wire.SchemaVersion, Revision: revision}
	for _, d := range devices {
		rec := d.Device
		rec.From = from
		inv.Devices = append(inv.Devices, wire.DeviceTo(rec))
	}
	if err := wire.ValidateInventory(inv); err != nil {
		return fmt.Errorf("inventory of site %s: %w: %w", site, agent.ErrRefused, err)
	}
	w.msg.Mark = Mark{Rows: uint32(len(devices))}
	return w.put(ctx, wire.TopicInventory, wire.InventoryKey(site, inv), inv)
}

// Stays states when devices began and ended, keyed by the site and the stays. A later revision of the same stay replaces an earlier one.
func (w *Writer) Stays(ctx context.Context, site string, revision uint64, stays []record.Stay) error {
	inv := &wl.Inventory{SchemaVersion: wire.SchemaVersion, Revision: revision}
	for _, s := range stays {
		inv.Stays = append(inv.Stays, wire.StayTo(s))
	}
	if err := wire.ValidateInventory(inv); err != nil {
		return fmt.Errorf("stays of devices of site %s: %w: %w", site, agent.ErrRefused, err)
	}
	w.msg.Mark = Mark{Rows: uint32(len(stays))}
	return w.put(ctx, wire.TopicInventory, wire.InventoryKey(site, inv), inv)
}

// span widens the time of the message to hold [from, to].
func (w *Writer) span(from, to int64) {
	m := &w.msg.Mark
	if m.From == 0 || unit.Micros(from) < m.From {
		m.From = unit.Micros(from)
	}
	m.To = max(m.To, unit.Micros(to))
}

func (w *Writer) put(ctx context.Context, topic, key string, m proto.Message) error {
	var err error
	if w.buf, err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(w.buf[:0], m); err != nil {
		return fmt.Errorf("encode a message for %s: %w: %w", topic, agent.ErrRefused, err)
	}
	w.msg.Topic, w.msg.Value = topic, w.buf
	w.msg.Key = append(w.msg.Key[:0], key...)
	return w.sink.Put(ctx, &w.msg)
}
