package pipeline

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

const noon = unit.Micros(1_767_268_800_000_000) // 2026-01-01T12:00:00Z

func samples(seq uint64, rows int) *wl.SampleBatch {
	m := &wl.SampleBatch{
		SchemaVersion: 1, Site: "paris-1", Node: "node-a", Run: []byte("0123456789abcdef"), Sequence: seq, BootId: []byte("fedcba9876543210"),
		Devices: []*wl.DeviceRef{{Uuid: "GPU-1", Kind: wl.DeviceKind_DEVICE_KIND_GPU, EnergySource: wl.EnergySource_ENERGY_SOURCE_HARDWARE}},
	}
	for i := range rows {
		m.Device, m.TickUs = append(m.Device, 0), append(m.TickUs, int64(noon)+int64(i)*1e6)
		m.EnergyTsUs, m.EnergyMj = append(m.EnergyTsUs, uint64(noon)), append(m.EnergyMj, uint64(i))
	}
	return m
}

func message(offset int64, m proto.Message) Message {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return Message{Topic: wire.TopicSample, Offset: offset, Value: b, Received: noon}
}

func offer(t *testing.T, p *Pipeline, m Message) {
	t.Helper()
	p.Learn(p.Ask([]Message{m}), nil)
	if !p.Offer(m, noon) {
		t.Fatalf("offset %d was not taken", m.Offset)
	}
}

func TestAColumnThatIsNotThereIsFilledWithItsSentinel(t *testing.T) {
	p := New(DefaultConfig(), wire.TopicSample, 0, nil)
	offer(t, p, message(0, samples(0, 2)))
	for i, m := range record.Metrics {
		got := column(p.Batch(), m.Name)
		var want []byte
		for row := range uint64(2) {
			switch {
			case m.Name == "energy_mj":
				want = binary.LittleEndian.AppendUint64(want, row)
			case m.Kind == record.Counter:
				want = binary.LittleEndian.AppendUint64(want, record.AbsentCounter)
			case m.Kind == record.Gauge:
				want = binary.LittleEndian.AppendUint32(want, math.Float32bits(float32(math.NaN())))
			case m.Kind == record.Code:
				want = binary.LittleEndian.AppendUint32(want, record.AbsentCode)
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("column %d, %s, is %x, want %x", i, m.Name, got, want)
		}
	}
}

func column(b *Batch, name string) []byte {
	at := slices.IndexFunc(wire.Columns, func(c wire.Column) bool { return c.Name == name })
	return b.Samples.Columns[at-wire.ColumnTick]
}

// Compression brings a message through Kafka that is longer than it may be.
func TestAnOverLongMessageIsRefused(t *testing.T) {
	f := func(length int, refused bool) {
		t.Helper()
		m := samples(0, 1)
		empty := len(message(0, m).Value)
		m.DriverVersion = strings.Repeat("x", length-empty-4) // the length of its length, and its tag
		long := message(0, m)
		if len(long.Value) != length {
			t.Fatalf("the message has %d bytes, want %d", len(long.Value), length)
		}
		p := New(DefaultConfig(), wire.TopicSample, 0, nil)
		offer(t, p, long)
		if b := p.Batch(); (len(b.Refused) == 1) != refused || len(b.Entries)+len(b.Refused) != 1 || refused && b.Refused[0].Reason != wire.ReasonShape {
			t.Errorf("%d bytes: refused %v, %d entries", length, b.Refused, len(b.Entries))
		}
	}
	f(wire.MaxMessageBytes, false)
	f(maxMessage, false)
	f(maxMessage+1, true)
}

func TestABatchEndsByRowsByAgeAndByDay(t *testing.T) {
	cfg := DefaultConfig()
	cfg.BatchRows = 5
	p := New(cfg, wire.TopicSample, 0, nil)
	offer(t, p, message(0, samples(0, 3)))
	if p.Due(noon) {
		t.Error("3 of 5 rows are due")
	}
	if !p.Due(noon + unit.Micros(cfg.BatchAge.Microseconds())) {
		t.Error("an old batch is not due")
	}
	if w := p.Wait(noon + 1000); w != cfg.BatchAge-time.Millisecond {
		t.Errorf("waits %v after a millisecond, want %v", w, cfg.BatchAge-time.Millisecond)
	}
	offer(t, p, message(1, samples(1, 3)))
	if !p.Due(noon) {
		t.Error("6 of 5 rows are not due")
	}
	if p.Offer(message(2, samples(2, 1)), noon) {
		t.Error("a full batch took another message")
	}
	p.Done()
	tomorrow := message(3, samples(3, 1))
	offer(t, p, message(2, samples(2, 1)))
	tomorrow.Received += day
	if p.Offer(tomorrow, noon) {
		t.Error("a batch took a message of another day: its insert would span two table partitions")
	}
	if b := p.Batch(); b.Next != 3 || len(b.Entries) != 1 {
		t.Errorf("batch has %d entries before offset %d, want 1 before 3", len(b.Entries), b.Next)
	}
}

func TestRefusalsOfThePipeline(t *testing.T) {
	f := func(m Message, want wire.Reason) {
		t.Helper()
		p := New(DefaultConfig(), m.Topic, 0, nil)
		offer(t, p, m)
		b := p.Batch()
		if len(b.Refused) != 1 || b.Refused[0].Reason != want || b.Refused[0].Detail == "" || b.Rows() != 0 || len(b.Entries) != 0 {
			t.Errorf("refused %+v with %d rows, want one as %s and no rows", b.Refused, b.Rows(), want)
		}
		if b.Next != m.Offset+1 {
			t.Errorf("next offset is %d, want %d: a refused message is passed", b.Next, m.Offset+1)
		}
	}
	f(Message{Topic: "wl.nonsense.v1", Received: noon}, wire.ReasonUnknownTopic)
	f(Message{Topic: wire.TopicReading, Received: noon}, wire.ReasonNoIdentity)
	f(Message{Topic: wire.TopicSample, Received: noon, Value: []byte{0xff}}, wire.ReasonUndecodable)
	f(Message{Topic: wire.TopicSample, Received: noon}, wire.ReasonNoIdentity)
	f(Message{Topic: wire.TopicAllocation, Received: noon}, wire.ReasonNoIdentity)
	old := message(4, samples(0, 1))
	old.Received = 0
	f(old, wire.ReasonTime)
	future := samples(0, 1)
	future.CompleteUpToUs = math.MaxInt64
	f(message(0, future), wire.ReasonTime)
}

func TestALossBetweenRunsIsCounted(t *testing.T) {
	p := New(DefaultConfig(), wire.TopicSample, 0, nil)
	offer(t, p, message(0, samples(0, 1)))
	next := samples(0, 1)
	next.PreviousRun, next.PreviousRunLastSequence, next.Run = next.Run, 3, []byte("another run 1234")
	offer(t, p, message(1, next))
	if got := p.Batch().Missing; got != 3 {
		t.Errorf("%d missing, want the 3 that the run before says it sent", got)
	}
}

// A topic made anew counts from offset 0: equal offsets of other messages say nothing.
func TestAnOffsetAloneIsNoIdentity(t *testing.T) {
	p := New(DefaultConfig(), wire.TopicSample, 0, []Stored{{Offset: 0, Run: Run{"paris-1", "node-z", [16]byte{1}}, Noted: true}, {Offset: 0, Run: Run{"paris-1", "node-z", [16]byte{1}}, Rows: 1}})
	offer(t, p, message(0, samples(0, 1)))
	if b := p.Batch(); b.Redelivered != 0 || b.Rows() != 1 {
		t.Errorf("%d redelivered and %d rows, want none and 1", b.Redelivered, b.Rows())
	}
}

// choosy is a store that refuses some messages, and fails now and then.
type choosy struct {
	bad     map[int64]bool
	stored  map[int64]int
	noted   map[int64]int
	kept    []Refusal
	stumble int
	calls   int
}

func (c *choosy) InsertRows(_ context.Context, b *Batch, from, to int) error {
	if c.stumbles() {
		return errors.New("away")
	}
	for _, e := range b.Entries[from:to] {
		if c.bad[e.Message.Offset] {
			return fmt.Errorf("%w: offset %d", ErrRows, e.Message.Offset)
		}
	}
	for _, e := range b.Entries[from:to] {
		c.stored[e.Message.Offset]++
	}
	return nil
}

func (c *choosy) InsertMessages(_ context.Context, b *Batch) error {
	if c.stumbles() {
		return errors.New("away")
	}
	for _, e := range b.Entries {
		if !e.Refused {
			c.noted[e.Message.Offset]++
		}
	}
	return nil
}

func (c *choosy) Keep(_ context.Context, refused []Refusal) error {
	if c.stumbles() {
		return errors.New("away")
	}
	c.kept = append(c.kept, refused...)
	return nil
}

func (c *choosy) stumbles() bool                { c.calls++; return c.calls%3 == c.stumble }
func (c *choosy) Retried(string, *Batch, error) {}
func (c *choosy) Resumed(*Batch)                {}

func TestTheMessageAtFaultIsFound(t *testing.T) {
	f := func(n int, bad ...int64) {
		t.Helper()
		c := &choosy{bad: map[int64]bool{}, stored: map[int64]int{}, noted: map[int64]int{}, stumble: 1}
		for _, o := range bad {
			c.bad[o] = true
		}
		p := New(DefaultConfig(), wire.TopicSample, 0, nil)
		for i := range n {
			offer(t, p, message(int64(i), samples(uint64(i), 1)))
		}
		d := Deliverer{Store: c, Quarantine: c, Retries: c, Log: slog.New(slog.DiscardHandler), Backoff: time.Microsecond, BackoffMax: time.Microsecond}
		if err := d.Deliver(t.Context(), p.Batch()); err != nil {
			t.Fatal(err)
		}
		for i := range int64(n) {
			want := 1
			if c.bad[i] {
				want = 0
			}
			if c.stored[i] != want || c.noted[i] != want {
				t.Errorf("offset %d stored %d and noted %d times, want %d; at fault are %v", i, c.stored[i], c.noted[i], want, bad)
			}
		}
		if len(c.kept) != len(bad) {
			t.Errorf("%d kept, want %d", len(c.kept), len(bad))
		}
	}
	f(1)
	f(9)
	f(1, 0)
	f(9, 0)
	f(9, 8)
	f(9, 3, 4)
	f(4, 0, 1, 2, 3)
}

func TestDeliverEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &choosy{stumble: 1, stored: map[int64]int{}, noted: map[int64]int{}}
	p := New(DefaultConfig(), wire.TopicSample, 0, nil)
	offer(t, p, message(0, samples(0, 1)))
	d := Deliverer{Store: c, Quarantine: c, Retries: c, Log: slog.New(slog.DiscardHandler), Backoff: time.Hour, BackoffMax: time.Hour}
	if err := d.Deliver(ctx, p.Batch()); err == nil {
		t.Error("a batch that was not stored is said to be")
	}
}

// A process that was stopped and woke up stores nothing of what it held.
func TestAFencedBatchIsNotStored(t *testing.T) {
	f := func(rows, noted, tries int) {
		t.Helper()
		c := &choosy{stumble: -1, stored: map[int64]int{}, noted: map[int64]int{}}
		p := New(DefaultConfig(), wire.TopicSample, 0, nil)
		offer(t, p, message(0, samples(0, 1)))
		over := errors.New("the claim is over")
		d := Deliverer{Store: c, Quarantine: c, Retries: c, Log: slog.New(slog.DiscardHandler), Backoff: time.Microsecond, BackoffMax: time.Microsecond, Fence: func() error {
			if tries--; tries < 0 {
				return over
			}
			return nil
		}}
		if err := d.Deliver(t.Context(), p.Batch()); !errors.Is(err, over) {
			t.Errorf("ends with %v", err)
		}
		if c.stored[0] != rows || c.noted[0] != noted {
			t.Errorf("stored %d and noted %d times, want %d and %d", c.stored[0], c.noted[0], rows, noted)
		}
	}
	f(0, 0, 0)
	f(1, 0, 1)
}

// Whatever comes lands in exactly one place, and batches keep equal columns.
func FuzzOffer(f *testing.F) {
	for i, m := range []proto.Message{
		samples(3, 2), &wl.AllocationBatch{Site: "s", Source: "x", Run: []byte("0123456789abcdef"), Allocations: []*wl.Allocation{{AllocationId: "a"}}},
		&wl.ReadingBatch{Site: "s", Source: "x", Run: []byte("0123456789abcdef"), Readings: []*wl.Reading{{Meter: "m", Quantity: "water", Unit: "ml", FromUs: 1, ToUs: 2}}},
		&wl.Inventory{Revision: 1, Tenants: []*wl.Tenant{{Id: "t"}}},
	} {
		f.Add(i, message(0, m).Value)
	}
	f.Fuzz(func(t *testing.T, topic int, value []byte) {
		m := Message{Topic: Topics[uint(topic)%uint(len(Topics))], Value: value, Received: noon, Key: []byte("k")}
		p := New(DefaultConfig(), m.Topic, 0, nil)
		for i := range int64(2) { // the second is a repeat, or refused as the first
			m.Offset = i
			offer(t, p, m)
		}
		b := p.Batch()
		if len(b.Entries)+len(b.Refused) != 2 {
			t.Fatalf("%d accepted and %d refused of two messages", len(b.Entries), len(b.Refused))
		}
		if len(b.Entries) == 2 && m.Topic != wire.TopicInventory && (b.Entries[0].Repeat || !b.Entries[1].Repeat) {
			t.Fatal("the second of two equal messages is not the repeat")
		}
		s := b.Samples
		rows := s.Rows()
		for i, c := range s.Columns {
			if of := wire.Columns[wire.ColumnTick+i]; len(c) != rows*of.Width {
				t.Fatalf("%s has %d bytes for %d rows", of.Name, len(c), rows)
			}
		}
		for _, d := range s.Device {
			if int(d) >= len(s.UUIDs) {
				t.Fatalf("device %d of %d", d, len(s.UUIDs))
			}
		}
		if len(s.EnergySource) != rows {
			t.Fatal("columns of unequal length")
		}
	})
}

// Peeking finds the identity that decoding finds, whatever the bytes.
func FuzzPeek(f *testing.F) {
	f.Add(message(0, samples(3, 2)).Value)
	f.Fuzz(func(t *testing.T, value []byte) {
		var m wl.SampleBatch
		if decode(value, &m) != nil || wire.ValidateSamples(&m) != nil {
			return
		}
		id, ok := peek(wire.TopicSample, value)
		if want := (Run{m.Site, m.Node, [16]byte(m.Run)}); !ok || id.run != want || id.seq != m.Sequence {
			t.Fatalf("peek says %+v, %v; decoded is %+v, %d", id, ok, want, m.Sequence)
		}
	})
}
