package dcgm

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
)

// class is the entities of one kind and model: they have the same fields, and one group in the engine.
type class struct {
	name  string
	kind  entityGroup
	rows  []int // positions in the source's entities; none for switches
	pairs []entityPair
	parts []entityPair // compute instances, for events

	group   uintptr
	watches []watch
	calls   []call

	log eventLog
}

// watch is a field group that the engine samples for us.
type watch struct {
	group       uintptr
	fields      []uint16
	every, keep time.Duration
	from        int64 // where the next look for samples begins, on an engine without bulk reads
}

// call is one bulk read.
type call struct {
	pairs  []entityPair
	fields []uint16
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
		if e.device.Kind == record.KindMIG {
			k.model = "" // instances of any size have the same fields
		}
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
func (s *Source) watchClass(ctx context.Context, rows []int) ([]*class, error) {
	first := s.entities[rows[0]]
	k := &class{rows: rows, kind: first.pair.Group, name: first.device.Model}
	if k.kind == groupGPUI {
		k.name = "MIG instances"
	}
	for _, r := range rows {
		k.pairs = append(k.pairs, s.entities[r].pair)
		k.parts = append(k.parts, s.entities[r].parts...)
	}
	var err error
	if k.group, err = s.conn.group(k.pairs); err == nil {
		err = s.watchAll(ctx, k, s.wanted(k, metricsOf(first.device.Kind)))
	}
	switch {
	case err == nil && len(k.watches) > 0, err == nil && len(rows) == 1:
		return []*class{k}, nil
	case err != nil && !ofField(err), len(rows) == 1:
		return nil, err
	}
	s.unwatch(k)
	var out []*class
	for _, r := range rows {
		one, err := s.watchClass(ctx, []int{r})
		if err != nil {
			if !ofField(err) {
				return nil, err
			}
			s.log.Error("device is not watched", "device", s.entities[r].device.UUID, "error", err)
			continue
		}
		out = append(out, one...)
	}
	return out, nil
}

// wanted are the fields to try on a class: those of its metrics, and those asked for besides that its entities have.
func (s *Source) wanted(k *class, metrics []uint16) []uint16 {
	out := make([]uint16, 0, len(metrics)+len(s.cfg.Extra))
	for _, f := range metrics {
		if s.lib.meta(f) == nil {
			s.leaveOut(k, f, lacking, "newer than the library")
			continue
		}
		out = append(out, f)
	}
	for _, f := range s.cfg.Extra {
		m := s.lib.meta(f)
		switch {
		case m == nil:
			s.leaveOut(k, f, lacking, "newer than the library")
		case !m.ofGroup(k.kind) || slices.Contains(out, f) || f == fieldXID || f == fieldSXIDFatal || f == fieldSXIDNonFatal:
			// another kind of entity has it, or it is there already
		case m.Type == typeString || m.Type == typeBlob:
			s.leaveOut(k, f, lacking, "not a number")
		default:
			out = append(out, f)
		}
	}
	return out
}

// watchAll watches fields, each at its own speed. Energy stands alone, because its samples are kept to catch up with; so do
// the performance counters, which can be refused as a whole.
func (s *Source) watchAll(ctx context.Context, k *class, fields []uint16) error {
	type key struct {
		every     time.Duration
		profiling bool
		energy    bool
	}
	sets := map[key][]uint16{}
	for _, f := range fields {
		x := key{s.cfg.Every(f), profiling(f), f == fieldEnergy}
		sets[x] = append(sets[x], f)
	}
	order := make([]key, 0, len(sets))
	for x := range sets {
		order = append(order, x)
	}
	slices.SortFunc(order, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.every, b.every), cmp.Compare(sets[a][0], sets[b][0]))
	})
	for _, x := range order {
		slices.Sort(sets[x])
		for some := range slices.Chunk(sets[x], maxFieldsPerCall) {
			if err := ctx.Err(); err != nil {
				return err
			}
			w := watch{fields: some, every: x.every, keep: 3 * x.every} // for the latest value; the engine keeps at least a second
			if x.energy {
				w.keep = max(w.keep, s.cfg.Remember)
			}
			if err := s.watchSet(k, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// watchSet watches fields at one pace. One unknown or unsupported field fails the whole call; the set is then made of
// those that pass.
func (s *Source) watchSet(k *class, w watch) error {
	err := s.start(k, &w)
	if ofField(err) {
		if w.fields, err = s.workable(k, w, err); err != nil || len(w.fields) == 0 {
			return err
		}
		err = s.start(k, &w)
	}
	if err == nil {
		k.watches = append(k.watches, w)
	}
	return err
}

// workable finds the fields of a set that can be watched, by halving: every attempt costs the engine a round over all
// devices. cause is why the set as a whole cannot.
func (s *Source) workable(k *class, w watch, cause error) ([]uint16, error) {
	r := code(cause)
	whole := profiling(w.fields[0]) && (r == ProfilingNotSupported || r == ProfilingLibraryError || r == LibraryNotFound || r.refusal() == denied)
	if len(w.fields) == 1 || whole {
		for _, f := range w.fields {
			s.leaveOut(k, f, r.refusal(), reason(r))
		}
		return nil, nil
	}
	var good []uint16
	for half := range slices.Chunk(w.fields, (len(w.fields)+1)/2) {
		trial := watch{fields: half, every: w.every, keep: w.keep}
		err := s.start(k, &trial)
		switch {
		case err == nil:
			s.conn.unwatch(k.group, trial.group)
			good = append(good, half...)
		case !ofField(err):
			return nil, err
		default:
			more, err := s.workable(k, trial, err)
			if err != nil {
				return nil, err
			}
			good = append(good, more...)
		}
	}
	return good, nil
}

func (s *Source) start(k *class, w *watch) (err error) {
	w.group, err = s.conn.watch(k.group, w.fields, w.every, w.keep)
	return err
}

// unwatch takes a class back from the engine, in reverse.
func (s *Source) unwatch(k *class) {
	c := s.conn
	s.unwatchEvents(k)
	for _, w := range slices.Backward(k.watches) {
		c.unwatch(k.group, w.group)
	}
	k.watches = nil
	if k.group != 0 {
		c.lib.groupDestroy(c.h, k.group)
	}
}

// settle reads a class once and keeps the fields that some entity has. It fills the slots of each device.
func (s *Source) settle(ctx context.Context, k *class) error {
	k.layOut()
	type cell struct {
		pair  entityPair
		field uint16
	}
	refused := map[cell]refusal{}
	if err := s.fetch(ctx, k, func(v value) {
		if why := v.refusal(); why != given {
			refused[cell{entityPair{v.group, v.id}, v.field}] = why
		} else {
			delete(refused, cell{entityPair{v.group, v.id}, v.field})
		}
	}); err != nil {
		return err
	}
	for i := range k.watches {
		w := &k.watches[i]
		good := make([]uint16, 0, len(w.fields))
		for _, f := range w.fields {
			slot, isMetric := s.columns.slotOf(f)
			why, has := given, false
			for j, p := range k.pairs {
				if r := refused[cell{p, f}]; r != given {
					why = max(why, r)
					continue
				}
				has = true
				if isMetric && k.rows != nil {
					s.slots[k.rows[j]] = s.slots[k.rows[j]].With(slot)
				}
			}
			if why != given {
				s.leaveOut(k, f, why, why.reason(has))
			}
			if has {
				good = append(good, f)
			}
		}
		if len(good) == len(w.fields) {
			continue
		}
		// Do not let the engine ask the driver for ever for what it does not have.
		s.conn.unwatch(k.group, w.group)
		w.fields = good
		if len(good) == 0 {
			continue
		}
		if err := s.start(k, w); err != nil {
			return err
		}
	}
	k.watches = slices.DeleteFunc(k.watches, func(w watch) bool { return len(w.fields) == 0 })
	k.layOut()
	return nil
}

// layOut plans the bulk reads: one, unless the engine's limits want more.
func (k *class) layOut() {
	var fields []uint16
	for _, w := range k.watches {
		fields = append(fields, w.fields...)
	}
	if k.log.fields != 0 {
		fields = append(fields, k.log.latest...)
	}
	slices.Sort(fields)
	k.calls = k.calls[:0]
	for some := range slices.Chunk(fields, maxFieldsPerCall) {
		step := max(1, maxReplyBytes/int(valueBytes)/len(some))
		for pairs := range slices.Chunk(k.pairs, step) {
			k.calls = append(k.calls, call{pairs, some})
		}
	}
	if k.log.fields != 0 && len(k.parts) > 0 {
		k.calls = append(k.calls, call{k.parts, k.log.latest})
	}
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
