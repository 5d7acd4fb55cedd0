package dcgm

import (
	"slices"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
)

// Fields that code refers to.
const (
	fieldBind         = 6 // of the node: a GPU was taken by the driver or given up
	fieldPower        = 155
	fieldEnergy       = 156
	fieldPowerInstant = 157
	fieldXID          = 230
	fieldSXIDFatal    = 856
	fieldSXIDNonFatal = 857
	fieldCPUPower     = 1130
)

// speed is how often the engine samples a field.
type speed uint8

const (
	medium speed = iota // the default: it moves, but nothing is integrated from it
	fast                // at every reading
	slow                // hardly ever changes, or is costly
)

// speeds are the fields that are not medium. What a counter is integrated from must be fast: the node integrates what it
// has seen. The choice follows what a call of the driver costs and how soon a change matters.
var speeds = func() map[uint16]speed {
	m := map[uint16]speed{}
	put := func(s speed, fields ...uint16) {
		for _, f := range fields {
			m[f] = s
		}
	}
	span := func(s speed, from, to uint16) {
		for f := from; f <= to; f++ {
			m[f] = s
		}
	}
	put(fast, 100, 101, 112, 140, 150, 153, fieldPower, fieldEnergy, fieldPowerInstant, 203, 204, 240, 241, 252, 1201, 1203, fieldCPUPower, 1132, 1133)
	span(fast, 1001, 1016)
	span(fast, 1076, 1079)
	span(fast, 1084, 1096)
	span(fast, 1422, 1424)
	put(slow, 69, 74, 94, 160, 161, 162, 163, 235, 236, 250, 301, 346, 1507)
	span(slow, 113, 115)
	span(slow, 385, 396)
	span(slow, 571, 577)
	span(slow, 1404, 1419)
	span(slow, 1501, 1503)
	return m
}()

// profiling says whether a field comes from the performance counters, which can be refused as a whole.
func profiling(f uint16) bool { return f >= 1001 && f <= 1096 || f == 1532 || f == 1533 }

// ofInstance are the metrics that a MIG instance has of its own. Everything else read on one is its GPU's.
var ofInstance = []uint16{1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 251, 252}

// SwitchFields are read of every NVSwitch, in the order of Switch.Values: temperature, power of three rails, bytes sent and
// received.
var SwitchFields = []uint16{858, 705, 706, 707, 861, 862}

// metricsOf lists the fields that metrics of a kind of device are made from, events aside.
func metricsOf(kind record.DeviceKind) []uint16 {
	switch kind {
	case record.KindGPU:
		return slices.DeleteFunc(slices.Clone(meter.Fields), func(f uint16) bool { return f == fieldXID })
	case record.KindMIG:
		return ofInstance
	case record.KindCPU:
		return []uint16{fieldCPUPower}
	}
	return nil
}

// ofGroup says whether an entity has a value of its own of a field, going by the library's own description of it.
func (m *fieldMeta) ofGroup(g entityGroup) bool {
	if m.Scope == 0 {
		return false
	}
	switch g {
	case groupGPU:
		return m.Level == groupGPU || m.Level == groupGPUI || m.Level == groupGPUCI
	case groupGPUI:
		return m.Level == groupGPUI || m.Level == groupGPUCI
	case groupCPU:
		return m.Level == groupCPU || m.Level == groupCore
	}
	return m.Level == g
}

// columns finds where a field's values go by its number: the engine does not promise the order of its answers.
type columns struct {
	slot  [2048]int16 // in a row of Readings, -1 for none
	extra [2048]int16 // among the extra columns, -1 for none
	fast  [2048]bool  // sampled for every reading
}

func newColumns(extra []uint16) *columns {
	x := new(columns)
	for i := range x.slot {
		x.slot[i], x.extra[i] = -1, -1
		x.fast[i] = speeds[uint16(i)] == fast
	}
	for s, f := range meter.Fields {
		x.slot[f] = int16(s)
	}
	x.slot[fieldXID] = -1                          // an event, not a value
	x.slot[fieldCPUPower] = int16(meter.SlotPower) // the power of a CPU is power like any other
	for i, f := range extra {
		if int(f) < len(x.extra) {
			x.extra[f] = int16(i)
		}
	}
	return x
}

func (x *columns) slotOf(f uint16) (meter.Slot, bool) {
	if int(f) >= len(x.slot) || x.slot[f] < 0 {
		return 0, false
	}
	return meter.Slot(x.slot[f]), true
}
