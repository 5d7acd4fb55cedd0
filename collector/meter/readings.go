package meter

import (
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Slot is the position of a field in a row of Readings.
type Slot uint8

// Fields lists the distinct fields that record.Metrics is made from, in slot order. The ids are DCGM's for a GPU; a
// source whose device offers the same quantity under another name (the power of a Grace CPU, field 1130) fills the
// slot of the GPU's field.
var Fields = fields()

// The slots that code refers to by name.
var (
	SlotEnergy = mustSlot(156)
	SlotPower  = mustSlot(155)
	SlotXID    = mustSlot(230)
)

func fields() []uint16 {
	var out []uint16
	seen := map[uint16]bool{0: true}
	for _, m := range record.Metrics {
		if !seen[m.Field] {
			seen[m.Field] = true
			out = append(out, m.Field)
		}
	}
	return out
}

// SlotOf is the slot of a field; ok is false for a field no metric is made from.
func SlotOf(field uint16) (s Slot, ok bool) {
	for i, f := range Fields {
		if f == field {
			return Slot(i), true
		}
	}
	return 0, false
}

// mustSlot is for the fields named in this file, which record.Metrics is known to hold; a test says so.
func mustSlot(field uint16) Slot {
	s, _ := SlotOf(field)
	return s
}

// Set is a set of slots.
type Set uint64

// Has says whether s is in the set.
func (x Set) Has(s Slot) bool { return x>>s&1 == 1 }

// With is the set and s.
func (x Set) With(s Slot) Set { return x | 1<<s }

// Without is the set less s.
func (x Set) Without(s Slot) Set { return x &^ (1 << s) }

// Value is one reading of one field.
type Value struct {
	// At is the value's own time stamp; 0 means there is no value.
	At unit.Micros
	// Int is the value of an integer field.
	Int int64
	// Float is the value of any numeric field.
	Float float64
}

// Readings is what one tick reads: a row per device, a column per slot. It is made once and refilled.
type Readings struct {
	values      []Value
	extra       []Value
	rows, wider int
}

// NewReadings makes room for a number of devices.
func NewReadings(devices int) *Readings { return NewWideReadings(devices, 0) }

// NewWideReadings makes room for a number of devices and of extra columns, which no metric is made from: a source may fill
// them for whoever observes the readings.
func NewWideReadings(devices, extra int) *Readings {
	return &Readings{values: make([]Value, devices*len(Fields)), extra: make([]Value, devices*extra), rows: devices, wider: extra}
}

// Devices is the number of rows.
func (r *Readings) Devices() int { return r.rows }

// Reset forgets every value.
func (r *Readings) Reset() {
	clear(r.values)
	clear(r.extra)
}

// Extra is the values of one device in the extra columns, to be read or filled in place.
func (r *Readings) Extra(device int) []Value {
	return r.extra[device*r.wider : (device+1)*r.wider : (device+1)*r.wider]
}

// Row is the values of one device by slot, to be read or filled in place.
func (r *Readings) Row(device int) []Value {
	n := len(Fields)
	return r.values[device*n : (device+1)*n : (device+1)*n]
}
