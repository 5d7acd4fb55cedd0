package agent

import (
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// layout is what the rows of a batch have in common: the device table and the columns that some device supports.
type layout struct {
	refs                    []*wl.DeviceRef
	driver                  string
	counters, gauges, codes []bool
	rowBytes, headerBytes   int
}

func layoutOf(devices []Device) *layout {
	l := &layout{
		counters: make([]bool, len(record.Counters)), gauges: make([]bool, len(record.Gauges)), codes: make([]bool, len(record.Codes)),
		rowBytes:    4 + 8 + 8, // device, tick, energy_ts
		headerBytes: 256,
	}
	var all meter.Set
	var integrated bool
	for _, d := range devices {
		l.refs = append(l.refs, &wl.DeviceRef{
			Uuid: d.UUID, Kind: wl.DeviceKind(d.Kind), EnergySource: wl.EnergySource(d.Energy), ParentUuid: d.Parent,
		})
		l.headerBytes += len(d.UUID) + len(d.Parent) + 16
		if l.driver == "" {
			l.driver = d.Driver
		}
		all |= d.Slots
		integrated = integrated || d.Energy == record.EnergyIntegrated
	}
	mark := func(metrics []record.Metric, have []bool, size int) {
		for i, m := range metrics {
			s, ok := meter.SlotOf(m.Field)
			have[i] = m.Derivation == record.Ticks || m.Derivation == record.Epochs || (ok && all.Has(s)) || (m.Field == 156 && integrated)
			if have[i] {
				l.rowBytes += size
			}
		}
	}
	mark(record.Counters, l.counters, 8)
	mark(record.Gauges, l.gauges, 4)
	mark(record.Codes, l.codes, 4)
	return l
}

// batch is a message under construction. It is made once and refilled.
type batch struct {
	layout   *layout
	msg      *wl.SampleBatch
	counters []*[]uint64
	gauges   []*[]float32
	codes    []*[]uint32
	first    unit.Micros // tick of the first row
	lastTick unit.Micros
	ticks    int
}

func newBatch() *batch {
	m := &wl.SampleBatch{}
	return &batch{msg: m, counters: wire.Counters(m), gauges: wire.Gauges(m), codes: wire.Codes(m)}
}

// reset empties the batch and gives it a layout. The columns keep their room.
func (b *batch) reset(l *layout) {
	b.layout, b.ticks, b.first, b.lastTick = l, 0, 0, 0
	m := b.msg
	m.Device, m.TickUs, m.EnergyTsUs = m.Device[:0], m.TickUs[:0], m.EnergyTsUs[:0]
	for _, c := range b.counters {
		*c = (*c)[:0]
	}
	for _, c := range b.gauges {
		*c = (*c)[:0]
	}
	for _, c := range b.codes {
		*c = (*c)[:0]
	}
	m.Devices, m.DriverVersion = l.refs, l.driver
}

func (b *batch) rows() int { return len(b.msg.TickUs) }

// bytes is about how large the message is before compression.
func (b *batch) bytes() int { return b.layout.headerBytes + b.rows()*b.layout.rowBytes }

// add appends one row. Rows come in the order of (tick, device).
func (b *batch) add(tick unit.Micros, device int, row *meter.Row) {
	if b.ticks == 0 {
		b.first = tick
	}
	if b.ticks == 0 || tick != b.lastTick {
		b.ticks++
		b.lastTick = tick
	}
	m := b.msg
	m.Device = append(m.Device, uint32(device))
	m.TickUs = append(m.TickUs, int64(tick))
	m.EnergyTsUs = append(m.EnergyTsUs, row.EnergyAt)
	for i, c := range b.counters {
		if b.layout.counters[i] {
			*c = append(*c, row.Counters[i])
		}
	}
	for i, c := range b.gauges {
		if b.layout.gauges[i] {
			*c = append(*c, row.Gauges[i])
		}
	}
	for i, c := range b.codes {
		if b.layout.codes[i] {
			*c = append(*c, row.Codes[i])
		}
	}
}

// due says whether the batch must leave before the tick that comes next.
func (b *batch) due(c *Config, next unit.Micros) bool {
	if b.rows() == 0 {
		return false
	}
	return b.full(c) || next-b.first > unit.Micros(c.MaxAge.Microseconds())
}

// full says whether the rows of another tick would be too many.
func (b *batch) full(c *Config) bool {
	perTick := len(b.layout.refs) * b.layout.rowBytes
	return b.rows() > 0 && (c.MaxTicks > 0 && b.ticks >= c.MaxTicks || b.bytes()+perTick > c.MaxBytes)
}
