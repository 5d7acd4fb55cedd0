package dcgm

import (
	"cmp"
	"context"
	"slices"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// sample is one energy counter of the past.
type sample struct {
	row   int
	value meter.Value
}

// CatchUp implements agent.Catcher: the engine keeps field 156 for Config.Remember, so that a stall of ours loses no more
// than the place in time of what it did not keep. Each missed tick is given the newest sample at or before it that no tick
// before was given.
func (s *Source) CatchUp(ctx context.Context, from, to, every unit.Micros, row func(tick unit.Micros, r *meter.Readings) error) error {
	if !s.enter() {
		return ErrAbandoned
	}
	defer s.leave()
	if s.conn == nil {
		return s.away
	}
	if every <= 0 || to-from <= every {
		return nil
	}
	past, err := s.past(ctx, from, to)
	if err != nil {
		return err
	}
	r := meter.NewReadings(len(s.entities))
	for tick := from + every; tick < to; tick += every {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.Reset()
		for len(past) > 0 && past[0].value.At <= tick {
			r.Row(past[0].row)[meter.SlotEnergy] = past[0].value
			past = past[1:]
		}
		if err := row(tick, r); err != nil {
			return err
		}
	}
	return nil
}

// past is what the engine still knows of the energy counters in (from, to), oldest first.
func (s *Source) past(ctx context.Context, from, to unit.Micros) ([]sample, error) {
	var out []sample
	for _, k := range s.classes {
		i := slices.IndexFunc(k.watches, func(w watch) bool { return w.fields[0] == fieldEnergy })
		if i < 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		_, r := s.conn.since(k.group, k.watches[i].group, int64(from)+1, func(g entityGroup, id uint32, f *fieldValueV1) {
			v := f.value(g, id)
			n, ok := v.number()
			if at := s.rowOf(g, id); ok && at >= 0 && n.At > from && n.At < to && s.slots[at].Has(meter.SlotEnergy) {
				out = append(out, sample{at, n})
			}
		})
		if r != OK && r != NoData && r != NotWatched {
			return nil, check(r, "read the energy that %s remembers", s.conn.where())
		}
	}
	slices.SortStableFunc(out, func(a, b sample) int { return cmp.Compare(a.value.At, b.value.At) })
	return out, nil
}

// ReadEdge implements agent.Edger: one live read of energy and power of all GPUs, whatever their number.
func (s *Source) ReadEdge(ctx context.Context, r *meter.Readings) error {
	if !s.enter() {
		return ErrAbandoned
	}
	defer s.leave()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.conn == nil:
		return s.away
	case s.conn.old:
		return check(FunctionNotFound, "read energy at once from %s", s.conn.where())
	case len(s.edge.pairs) == 0:
		return nil
	}
	n := len(s.edge.pairs) * len(s.edge.fields)
	if n > len(s.buffer) {
		s.buffer = room(n)
	}
	if err := check(s.conn.latest(s.edge.pairs, s.edge.fields, flagLive, s.buffer), "read energy at once from %s", s.conn.where()); err != nil {
		return err
	}
	for i := range s.buffer[:n] {
		v := s.buffer[i].value()
		number, ok := v.number()
		row := s.rowOf(v.group, v.id)
		slot, known := s.columns.slotOf(v.field)
		if ok && known && row >= 0 && row < r.Devices() && s.slots[row].Has(slot) {
			r.Row(row)[slot] = number
		}
	}
	return nil
}
