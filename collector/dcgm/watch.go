package dcgm

import (
	"cmp"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
)

// class is the devices of one kind and model: they have the same fields, and one group in the engine.
type class struct {
	rows  []int // positions in the source's entities
	pairs []entityPair
	// fields are those that work on at least one of the devices, in the order they are asked for.
	fields []uint16
	// buffer has room for every field of every pair; the engine writes 4128 bytes per value.
	buffer []uint64

	group   uintptr
	watches []watch
	events  uintptr // field group of XID events, 0 when they cannot be watched
	next    int64   // where the next look for events starts
}

// watch is a field group that the engine samples for us. meter.Set bounds the fields to 64, a field group to 128.
type watch struct {
	group  uintptr
	fields []uint16
	every  time.Duration
}

// classes sorts the devices that answer into classes, in the order of their first device.
func classes(entities []entity) [][]int {
	type key struct {
		kind  record.DeviceKind
		model string
		mig   bool
	}
	var order []key
	rows := map[key][]int{}
	for i, e := range entities {
		if e.lost {
			continue
		}
		k := key{e.device.Kind, e.device.Model, e.mig}
		if rows[k] == nil {
			order = append(order, k)
		}
		rows[k] = append(rows[k], i)
	}
	out := make([][]int, 0, len(order))
	for _, k := range order {
		out = append(out, rows[k])
	}
	return out
}

// watchClass makes the engine sample what works on the devices of the rows. When one device spoils every field, the
// devices are watched one by one, so that it is alone in its silence.
func (s *Source) watchClass(rows []int) ([]*class, error) {
	k := &class{rows: rows}
	for _, r := range rows {
		k.pairs = append(k.pairs, s.entities[r].pair)
	}
	var err error
	if k.group, err = s.conn.group(k.pairs); err != nil {
		if len(rows) == 1 || isDead(err) {
			return nil, err
		}
		return s.watchEach(rows)
	}
	var quick, lazy []uint16
	for _, f := range wanted(s.entities[rows[0]].device.Kind) {
		switch {
		case s.lib.fieldByID(f) == nil: // newer than the library
		case slices.Contains(slow, f):
			lazy = append(lazy, f)
		default:
			quick = append(quick, f)
		}
	}
	for _, set := range []watch{{fields: quick, every: s.cfg.Period}, {fields: lazy, every: max(s.cfg.SlowPeriod, s.cfg.Period)}} {
		if err := s.watchSet(k, set); err != nil {
			return nil, err
		}
	}
	if len(k.watches) == 0 && len(rows) > 1 {
		s.unwatch(k)
		return s.watchEach(rows)
	}
	return []*class{k}, nil
}

func (s *Source) watchEach(rows []int) ([]*class, error) {
	var out []*class
	for _, r := range rows {
		one, err := s.watchClass([]int{r})
		if err != nil {
			if isDead(err) {
				return nil, err
			}
			s.log.Error("device is not watched", "device", s.entities[r].device.UUID, "error", err)
			continue
		}
		out = append(out, one...)
	}
	return out, nil
}

// watchSet watches a set of fields at one pace. One unknown or unsupported field fails the whole call, so after a
// failure they are tried one by one and the set is made of those that passed.
func (s *Source) watchSet(k *class, set watch) error {
	for attempt := 0; len(set.fields) > 0; attempt++ {
		err := s.watchTogether(k, &set)
		if err == nil {
			k.watches = append(k.watches, set)
			return nil
		}
		if isDead(err) || attempt > 0 {
			return err
		}
		var good []uint16
		for _, f := range set.fields {
			trial := watch{fields: []uint16{f}, every: set.every}
			if err := s.watchTogether(k, &trial); err != nil {
				if isDead(err) {
					return err
				}
				s.log.Debug("field left out", "field", f, "device", s.entities[k.rows[0]].device.Model, "error", err)
				continue
			}
			s.conn.lib.unwatchFields(s.conn.h, k.group, trial.group)
			s.conn.lib.fieldGroupDestroy(s.conn.h, trial.group)
			good = append(good, f)
		}
		set.fields = good
	}
	return nil
}

func (s *Source) watchTogether(k *class, w *watch) error {
	fg, err := s.conn.fieldGroup(w.fields)
	if err != nil {
		return err
	}
	keep := 3 * w.every.Seconds() // for the latest value; the engine keeps at least a second
	r := s.conn.lib.watchFields(s.conn.h, k.group, fg, w.every.Microseconds(), keep, 0)
	if r != OK {
		s.conn.lib.fieldGroupDestroy(s.conn.h, fg)
		return check(r, "watch fields %v on %d devices of %s", w.fields, len(k.pairs), s.conn.where())
	}
	w.group = fg
	return nil
}

// unwatch takes a class back from the engine, in reverse.
func (s *Source) unwatch(k *class) {
	c := s.conn
	if k.events != 0 {
		c.lib.unwatchFields(c.h, k.group, k.events)
		c.lib.fieldGroupDestroy(c.h, k.events)
		k.events = 0
	}
	for _, w := range slices.Backward(k.watches) {
		c.lib.unwatchFields(c.h, k.group, w.group)
		c.lib.fieldGroupDestroy(c.h, w.group)
	}
	k.watches = nil
	c.lib.groupDestroy(c.h, k.group)
}

// settle reads a class once and keeps the fields that some device has. It fills the slots of each device.
func (s *Source) settle(k *class) error {
	k.layOut()
	if len(k.fields) == 0 {
		return nil
	}
	if err := s.fetch(k); err != nil {
		return err
	}
	has := map[uint16]bool{}
	for i := range k.values() {
		v := &k.values()[i]
		row := s.rowOf(v.Group, v.ID)
		slot, known := slotOf(v.FieldID)
		if row < 0 || !known || v.unsupported() {
			continue
		}
		// DCGM reports instantaneous power as an exact 0 where the driver has none; no device that answers draws nothing.
		if n, ok := v.number(); v.FieldID == fieldPowerInstant && ok && n.Float == 0 {
			continue
		}
		has[v.FieldID] = true
		s.slots[row] = s.slots[row].With(slot)
	}
	for i := range k.watches {
		w := &k.watches[i]
		good := slices.DeleteFunc(slices.Clone(w.fields), func(f uint16) bool { return !has[f] })
		if len(good) == len(w.fields) {
			continue
		}
		// Do not let the engine ask the driver for ever for what it does not have.
		s.conn.lib.unwatchFields(s.conn.h, k.group, w.group)
		s.conn.lib.fieldGroupDestroy(s.conn.h, w.group)
		w.fields = good
		if len(good) == 0 {
			continue
		}
		if err := s.watchTogether(k, w); err != nil {
			return err
		}
	}
	k.watches = slices.DeleteFunc(k.watches, func(w watch) bool { return len(w.fields) == 0 })
	k.layOut()
	return nil
}

// layOut lists the fields of the watches and makes room for their values.
func (k *class) layOut() {
	k.fields = k.fields[:0]
	for _, w := range k.watches {
		k.fields = append(k.fields, w.fields...)
	}
	slices.SortFunc(k.fields, cmp.Compare)
	k.buffer = make([]uint64, len(k.pairs)*len(k.fields)*int(valueBytes)/8)
	for i := range k.values() {
		k.values()[i].Version = versionFieldValueV2
	}
}

// values is the buffer as values.
func (k *class) values() []fieldValueV2 {
	if len(k.buffer) == 0 {
		return nil
	}
	return unsafe.Slice((*fieldValueV2)(unsafe.Pointer(&k.buffer[0])), len(k.pairs)*len(k.fields))
}

// energyOf says what a device's energy counter is, from the fields it has.
func energyOf(kind record.DeviceKind, slots meter.Set) record.EnergySource {
	switch {
	case kind == record.KindMIG:
		return record.EnergyNone
	case kind == record.KindGPU && slots.Has(meter.SlotEnergy):
		return record.EnergyHardware
	case slots.Has(meter.SlotPower):
		return record.EnergyIntegrated
	}
	return record.EnergyNone
}

func (p entityPair) String() string { return fmt.Sprintf("(group %d, id %d)", p.Group, p.ID) }
