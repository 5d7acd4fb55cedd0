package dcgm

import (
	"context"

	"github.com/wattledger/wattledger/collector/meter"
)

// silence is a reading without a single value although all calls went well.
type silence struct{ code, text string }

func (e *silence) Error() string { return e.text }

// Code is the error's word for itself in metrics and logs.
func (e *silence) Code() string { return e.code }

var (
	errBlind = &silence{"ALL_BLANK", "every field of every device is blank: after a fatal XID the host engine stops all driver calls; " +
		"look at the kernel log, reset the GPU and restart nv-hostengine"}
	errSilent = &silence{"NO_DEVICE", "no device answers: they are lost or detached from the driver; readings resume when they are back"}
)

// count is what a reading met.
type count struct {
	values, unwatched, absent int
	// state is what the engine says about itself in place of values: detached, paused, without a driver.
	state Return
}

// fetch hands every value of a class to take, wherever the engine put it: by bulk reads, or by samples since the last time
// from an engine that does not know those.
func (s *Source) fetch(ctx context.Context, k *class, take func(v value)) error {
	if s.conn.old {
		return s.fetchOld(ctx, k, take)
	}
	for i := range k.calls {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := &k.calls[i]
		n := len(c.pairs) * len(c.fields)
		if n > len(s.buffer) {
			s.buffer = room(n) // one for all calls, made by the first reading
		}
		switch r := s.conn.latest(c.pairs, c.fields, 0, s.buffer); r {
		case OK:
		case FunctionNotFound:
			s.conn.old = true
			return s.fetchOld(ctx, k, take)
		default:
			return check(r, "read %d fields of %d entities of %s", len(c.fields), len(c.pairs), s.conn.where())
		}
		for j := range s.buffer[:n] {
			take(s.buffer[j].value())
		}
	}
	return nil
}

// fetchOld takes what was sampled since the last time.
func (s *Source) fetchOld(ctx context.Context, k *class, take func(v value)) error {
	for i := range k.watches {
		if err := ctx.Err(); err != nil {
			return err
		}
		w := &k.watches[i]
		next, r := s.conn.since(k.group, w.group, w.from-int64(overlap), func(g entityGroup, id uint32, f *fieldValueV1) {
			take(f.value(g, id))
		})
		if r != OK && r != NoData && r != NotWatched {
			return check(r, "read %d fields of %d entities of %s", len(w.fields), len(k.pairs), s.conn.where())
		}
		w.from = next
	}
	return nil
}

// rowOf is the row of an entity, or -1.
func (s *Source) rowOf(g entityGroup, id uint32) int {
	if g >= groupEnd || id >= uint32(len(s.rows[g])) {
		return -1
	}
	return int(s.rows[g][id])
}

// place puts a value where it belongs in the readings of this tick. What its device did not have when it was found is left
// out, and so is a value of somebody we did not ask for.
func (s *Source) place(v value) {
	if v.field == fieldXID || v.field == fieldBind {
		s.noteEvent(v)
		return
	}
	s.count.values++
	n, ok := v.number()
	if !ok {
		s.oddity(v.status)
		if !s.conn.old {
			return
		}
		n = meter.Value{} // the sample before is no longer the latest
	}
	row := s.rowOf(v.group, v.id)
	if row < 0 || row >= s.into.Devices() || int(v.field) >= len(s.columns.slot) {
		return
	}
	if c := s.columns.slot[v.field]; c >= 0 && s.slots[row].Has(meter.Slot(c)) {
		s.into.Row(row)[c] = n
		// Slower ones keep the values of before when nothing is sampled any more.
		s.any = s.any || ok && s.columns.fast[v.field]
	}
	if x, extra := s.columns.extra[v.field], s.into.Extra(row); x >= 0 && int(x) < len(extra) {
		extra[x] = n
	}
	if v.field == fieldEnergy && ok {
		if n.Int < s.energy[row] {
			s.hint = true // a reset, or another driver: look at what is there
		}
		s.energy[row] = n.Int
	}
}

// oddity notes what the status of a value says about the engine and its entities.
func (s *Source) oddity(r Return) {
	switch r {
	case NotWatched:
		s.count.unwatched++
	case GPUsDetached, NVMLNotLoaded, NVMLDriverTimeout, Paused:
		s.count.state = r
	case InstanceNotFound, ComputeNotFound, BadParam, GPUIsLost:
		s.count.absent++
	}
}
