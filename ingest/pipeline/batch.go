package pipeline

import (
	"sync"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Entry is one accepted message: what the table messages says about it, and which rows of the batch are its own.
type Entry struct {
	Message       Message
	Run           Run
	Seq           uint64
	PreviousRun   string
	PreviousSeq   uint64
	SchemaVersion uint32
	CompleteUpTo  unit.Micros
	FirstTick     unit.Micros
	LastTick      unit.Micros
	// Rows is how many rows the message brought to its tables; 0 for a repeat.
	Rows int
	// Repeat says that the same message was stored from another offset.
	Repeat bool
	// Refused says that the store refused the rows of this message, and that it is among the batch's refusals.
	Refused bool

	// Boot, Driver and PeriodMS are the same for every row of a sample message.
	Boot, Driver string
	PeriodMS     uint32

	before Edge // the last that was known of the run before this message

	// Rows of the batch that this message brought, by table: [From, To). Empty when they are stored already.
	Samples, Incidents, Allocations, Readings, Sites, Nodes, Devices, Tenants, Stays Range
}

// Range is rows [From, To) of a table's part in a batch.
type Range struct{ From, To int }

// Len is how many rows the range has.
func (r Range) Len() int { return r.To - r.From }

// Samples are the rows for the table samples by column. What is constant in a message stands in its Entry.
type Samples struct {
	// UUIDs are the devices of the batch; Device points into them.
	UUIDs        []string
	index        map[string]uint32
	Device       []uint32
	EnergySource []int8
	// Columns are the columns of wire.Columns from ColumnTick on, each with a value per row: little-endian, as they came.
	// nil without rows.
	Columns [][]byte
}

// Rows is how many rows there are.
func (s *Samples) Rows() int { return len(s.Device) }

// Revised is a row of a dimension table with the revision that orders it.
type Revised[T any] struct {
	Site     string
	Revision uint64
	Value    T
}

// Told is a row with the message that told it.
type Told[T any] struct {
	Run      Run
	Seq      uint64
	Received unit.Micros
	Value    T
}

// Batch is what is stored, and committed, together: messages of one partition that came in one day.
type Batch struct {
	Topic     string
	Partition int
	// Next is the offset after the last message that was looked at.
	Next    int64
	Entries []Entry
	Refused []Refusal

	Samples   Samples
	Incidents []Told[record.Incident]
	// Gaps are the sequence numbers that the batch shows to be missing.
	Gaps        []Told[record.Incident]
	Allocations []Revised[record.Allocation]
	Readings    []Told[record.Reading]
	Sites       []Revised[record.Site]
	Nodes       []Revised[record.Node]
	Devices     []Revised[record.Device]
	Tenants     []Revised[record.Tenant]
	Stays       []Revised[record.Stay]

	// Repeats are entries that were stored from another offset; Redelivered are messages that were stored from this very
	// offset before their commit was lost; Missing are sequence numbers passed over; Late are those of them that came after all.
	Repeats, Redelivered, Late int
	Missing                    uint64

	day   int64
	since unit.Micros // when the first message was offered, by the caller's clock
	seen  int         // messages looked at
	bytes int         // of messages held
}

// Rows is how many rows wait to be inserted.
func (b *Batch) Rows() int {
	return b.Samples.Rows() + len(b.Incidents) + len(b.Allocations) + len(b.Readings) + len(b.Sites) + len(b.Nodes) + len(b.Devices) + len(b.Tenants) + len(b.Stays)
}

// Empty says that there is nothing to store, to refuse or to commit.
func (b *Batch) Empty() bool { return b.seen == 0 }

func newSamples() Samples { return Samples{index: map[string]uint32{}} }

// rooms are the columns of batches that are done, for those of any partition that come next.
var rooms = sync.Pool{New: func() any {
	columns := make([][]byte, len(wire.Columns)-wire.ColumnTick)
	return &columns
}}

// reset empties the batch.
func (b *Batch) reset() {
	s := &b.Samples
	clear(s.index)
	s.UUIDs, s.Device, s.EnergySource = s.UUIDs[:0], s.Device[:0], s.EnergySource[:0]
	if columns := s.Columns; columns != nil {
		for i := range columns {
			columns[i] = columns[i][:0]
		}
		s.Columns = nil
		rooms.Put(&columns)
	}
	clear(b.Entries) // lets go of the messages' bytes
	clear(b.Refused)
	*b = Batch{
		Topic: b.Topic, Partition: b.Partition, Next: b.Next, Samples: *s, Entries: b.Entries[:0], Refused: b.Refused[:0],
		Incidents: b.Incidents[:0], Gaps: b.Gaps[:0], Allocations: b.Allocations[:0], Readings: b.Readings[:0],
		Sites: b.Sites[:0], Nodes: b.Nodes[:0], Devices: b.Devices[:0], Tenants: b.Tenants[:0], Stays: b.Stays[:0],
	}
}

// add appends the rows of a message, column by column.
func (s *Samples) add(m *wire.Sheet) Range {
	from := s.Rows()
	if s.Columns == nil {
		s.Columns = *rooms.Get().(*[][]byte)
	}
	var room [64]uint32 // the devices of most nodes
	slot := room[:0]
	for _, d := range m.Devices {
		at, ok := s.index[string(d.UUID)]
		if !ok {
			at = uint32(len(s.UUIDs))
			uuid := string(d.UUID)
			s.UUIDs, s.index[uuid] = append(s.UUIDs, uuid), at
		}
		slot = append(slot, at)
	}
	for i := range m.Rows {
		d := m.Device(i)
		s.Device = append(s.Device, slot[d])
		s.EnergySource = append(s.EnergySource, int8(m.Devices[d].Energy))
	}
	for i, c := range m.Columns[wire.ColumnTick:] {
		if c == nil {
			s.Columns[i] = appendAbsent(s.Columns[i], wire.Columns[wire.ColumnTick+i].Absent, m.Rows)
			continue
		}
		s.Columns[i] = append(s.Columns[i], c...)
	}
	return Range{from, s.Rows()}
}

// appendAbsent appends the sentinel for each row when no device of a node supports the metric.
func appendAbsent(to, absent []byte, rows int) []byte {
	for range rows {
		to = append(to, absent...)
	}
	return to
}
