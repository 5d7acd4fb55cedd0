package dcgm

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// eventLog is the engine's record of events of a class.
type eventLog struct {
	group  uintptr  // the class's, or one that holds its parts too
	fields uintptr  // field group; 0 when events cannot be watched
	latest []uint16 // the fields, whose latest values tell that there is something new
	next   int64    // where the next look starts
}

// overlap is how far back we ask again. The engine selects by time stamp, and a sample is stamped before it is stored:
// asking only from where the last answer ended would miss one that was on its way.
const overlap = 2 * unit.Second

// watchEvents makes the engine keep the XIDs of a class for us. Devices without them have no xid column.
func (s *Source) watchEvents(k *class, fields ...uint16) error {
	if len(k.watches) == 0 || k.kind == groupCPU {
		return nil
	}
	fields = slices.DeleteFunc(fields, func(f uint16) bool { return s.lib.meta(f) == nil })
	if len(fields) == 0 {
		return nil
	}
	k.log = eventLog{group: k.group, latest: fields}
	var err error
	if len(k.parts) > 0 {
		if k.log.group, err = s.conn.group(slices.Concat(k.pairs, k.parts)); err != nil {
			return err
		}
	}
	// Kept for long enough to be seen after a few missed readings.
	keep := max(time.Minute, 10*s.cfg.Period)
	k.log.fields, err = s.conn.watch(k.log.group, fields, s.cfg.Period, keep)
	if ofField(err) && slices.Contains(fields, fieldBind) { // an engine older than this event
		fields = slices.DeleteFunc(fields, func(f uint16) bool { return f == fieldBind })
		k.log.latest = fields
		k.log.fields, err = s.conn.watch(k.log.group, fields, s.cfg.Period, keep)
	}
	if err != nil {
		s.unwatchEvents(k)
		if !ofField(err) {
			return err
		}
		for _, f := range fields {
			s.leaveOut(k, f, code(err).refusal(), reason(code(err)))
		}
		return nil
	}
	for _, row := range k.rows {
		s.slots[row] = s.slots[row].With(meter.SlotXID)
	}
	k.layOut()
	return nil
}

func (s *Source) unwatchEvents(k *class) {
	if k.log.fields != 0 {
		s.conn.unwatch(k.log.group, k.log.fields)
	}
	if k.log.group != k.group && k.log.group != 0 {
		s.conn.lib.groupDestroy(s.conn.h, k.log.group)
	}
	k.log = eventLog{}
}

// noteEvent looks at the latest event of an entity, which the engine repeats for ever: a time stamp that was not there
// before means that there is something to fetch. Until then events cost no call.
func (s *Source) noteEvent(v value) {
	if v.status != OK || v.at <= 0 {
		return
	}
	key := factKey{entityPair{v.group, v.id}, v.field}
	if s.newest[key] == v.at {
		return
	}
	s.newest[key] = v.at
	if v.field == fieldBind { // devices come or go: look at once
		s.hint, s.hintAt = true, 0
		return
	}
	s.news = true
}

// Events appends the XIDs that were reported since the last call.
func (s *Source) Events(ctx context.Context, events []agent.Event) ([]agent.Event, error) {
	if !s.enter() {
		return events, ErrAbandoned
	}
	defer s.leave()
	events = append(events, s.waiting...)
	s.waiting = s.waiting[:0]
	if s.conn == nil || !s.news && !s.conn.old {
		return events, nil
	}
	var err error
	if events, err = s.fetchEvents(ctx, events); err == nil {
		s.news = false
	}
	return events, err
}

// keepEvents fetches what a reading that failed has seen coming: nobody asks for events after it, and the engine that knows
// them may be gone before the next. It is the XID that says why.
func (s *Source) keepEvents(ctx context.Context, err error) {
	if !s.news || code(err).dead() {
		return
	}
	if s.waiting, err = s.fetchEvents(ctx, s.waiting); err == nil {
		s.news = false
	}
}

// carry takes the events that wait along to other rows, by UUID. A device that is gone takes its events with it.
func (s *Source) carry(before []entity) {
	kept := s.waiting[:0]
	for _, e := range s.waiting {
		uuid := before[e.Device].device.UUID
		if e.Device = slices.IndexFunc(s.entities, func(x entity) bool { return x.device.UUID == uuid }); e.Device >= 0 {
			kept = append(kept, e)
		}
	}
	s.waiting = kept
}

func (s *Source) fetchEvents(ctx context.Context, events []agent.Event) ([]agent.Event, error) {
	for _, k := range s.classes {
		if k.log.fields == 0 || k.rows == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return events, err
		}
		from := len(events)
		err := s.fetchLog(k, func(v value) {
			row, xid := s.rowOf(v.group, v.id), int64(v.raw)
			if v.field != fieldXID || row < 0 || xid > math.MaxUint32-1 {
				return
			}
			if e := (agent.Event{Device: row, At: unit.Micros(v.at), XID: uint32(xid)}); !slices.Contains(s.seen, e) {
				s.seen = append(s.seen, e)
				events = append(events, e)
			}
		})
		slices.SortStableFunc(events[from:], func(a, b agent.Event) int { return int(a.At - b.At) })
		if err != nil {
			return events, err
		}
	}
	return events, nil
}

// fetchLog hands over the events of a class since the last look, and some from before it.
func (s *Source) fetchLog(k *class, take func(v value)) error {
	number := func(g entityGroup, id uint32, f *fieldValueV1) {
		v := f.value(g, id)
		if n, ok := v.number(); ok && n.Int > 0 {
			take(v)
		}
	}
	from := max(k.log.next-int64(overlap), 0)
	s.seen = slices.DeleteFunc(s.seen, func(e agent.Event) bool { return e.At < unit.Micros(from)-overlap })
	next, r := s.conn.since(k.log.group, k.log.fields, from, number)
	if r == OK && next < from {
		// The engine's clock was set back: what it stamped since then lies before where we asked from.
		from = max(next-s.cfg.Period.Microseconds()*10-int64(overlap), 0)
		next, r = s.conn.since(k.log.group, k.log.fields, from, number)
	}
	k.log.next = next
	switch r {
	case NoData, NotWatched: // nothing was ever reported
		return nil
	case InstanceNotFound, ComputeNotFound: // the others' were given; look at what is there now
		s.hint = true
		return nil
	default:
		return check(r, "read the events of %s", s.conn.where())
	}
}

// beginLogs takes where the engine's logs end: what happened before we came is not news. When only the devices have
// changed, we go on from where we were.
func (s *Source) beginLogs(asked int64) error {
	for _, k := range append(slices.Clone(s.classes), s.switches) {
		if k == nil || k.log.fields == 0 {
			continue
		}
		if k.log.next = asked; asked > 0 {
			continue
		}
		if err := s.fetchLog(k, func(v value) {
			s.newest[factKey{entityPair{v.group, v.id}, v.field}] = v.at
			if v.group == groupSwitch {
				s.sxids = append(s.sxids, sxid{v.id, v.field, int64(v.raw), v.at})
			}
		}); err != nil {
			return err
		}
	}
	return nil
}
