package dcgm

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// sinks routes the one callback that this process gives to C: its slots are few and never freed. The user data is a
// number, since C must not keep a pointer of ours.
var sinks struct {
	sync.Mutex
	callback uintptr
	last     uintptr
	byID     map[uintptr]*Source
}

// listen makes a source known to the callback; deafen is its inverse.
func (s *Source) listen() {
	sinks.Lock()
	defer sinks.Unlock()
	if sinks.callback == 0 {
		sinks.callback = purego.NewCallback(onValues)
		sinks.byID = map[uintptr]*Source{}
	}
	sinks.last++
	s.callback, s.sink = sinks.callback, sinks.last
	sinks.byID[s.sink] = s
}

func (s *Source) deafen() {
	sinks.Lock()
	defer sinks.Unlock()
	delete(sinks.byID, s.sink)
}

// onValues is called by C with an array of values of one entity, on the goroutine of our own call.
func onValues(group, entity uint32, values unsafe.Pointer, n int32, id uintptr) uintptr {
	sinks.Lock()
	s := sinks.byID[id]
	sinks.Unlock()
	if s == nil || values == nil || n <= 0 {
		return 0
	}
	row := s.rowOf(entityGroup(group), entity)
	if row < 0 {
		return 0
	}
	for i := range unsafe.Slice((*fieldValueV1)(values), n) {
		v := (*fieldValueV1)(unsafe.Add(values, uintptr(i)*unsafe.Sizeof(fieldValueV1{})))
		xid := *(*int64)(unsafe.Pointer(&v.Raw))
		if _, blank := blankInt(xid); v.Status != OK || blank || xid <= 0 || xid > math.MaxUint32-1 {
			continue
		}
		if e := (agent.Event{Device: row, At: unit.Micros(v.TS), XID: uint32(xid)}); !slices.Contains(s.seen, e) {
			s.seen = append(s.seen, e)
			s.pending = append(s.pending, e)
		}
	}
	return 0
}

// watchEvents makes the engine keep the XIDs of a class for us. Devices without them have no xid column.
func (s *Source) watchEvents(k *class) error {
	if len(k.fields) == 0 || k.pairs[0].Group == groupCPU || s.lib.fieldByID(fieldXID) == nil {
		return nil
	}
	fg, err := s.conn.fieldGroup([]uint16{fieldXID})
	if err != nil {
		return err
	}
	// Kept for long enough to be seen after a few missed readings.
	keep := max(time.Minute, 10*s.cfg.Period).Seconds()
	if r := s.lib.watchFields(s.conn.h, k.group, fg, s.cfg.Period.Microseconds(), keep, 0); r != OK {
		s.lib.fieldGroupDestroy(s.conn.h, fg)
		if r.dead() {
			return check(r, "watch XID events")
		}
		s.log.Warn("xid events cannot be watched", "device", s.entities[k.rows[0]].device.Model, "code", r.String(), "remedy", r.Remedy())
		return nil
	}
	k.events = fg
	for _, row := range k.rows {
		s.slots[row] = s.slots[row].With(meter.SlotXID)
	}
	// What happened before we came is not news: take where the engine's log ends. When only the devices have changed, go on
	// from where we were.
	if k.next = s.asked; k.next > 0 {
		return nil
	}
	_, err = s.eventsOf(k, nil)
	return err
}

// Events appends the XIDs that were reported since the last call.
func (s *Source) Events(_ context.Context, events []agent.Event) ([]agent.Event, error) {
	events = append(events, s.waiting...)
	s.waiting = s.waiting[:0]
	if s.conn == nil {
		return events, nil
	}
	var err error
	for _, k := range s.classes {
		if k.events == 0 {
			continue
		}
		if events, err = s.eventsOf(k, events); err != nil {
			return events, err
		}
	}
	return events, nil
}

// overlap is how far back we ask again. The engine selects by time stamp, and an event is stamped before it is stored:
// asking only from where the last answer ended would miss one that was on its way.
const overlap = 2 * unit.Second

func (s *Source) eventsOf(k *class, events []agent.Event) ([]agent.Event, error) {
	s.pending = events
	from := max(k.next-int64(overlap), 0)
	s.seen = slices.DeleteFunc(s.seen, func(e agent.Event) bool { return e.At < unit.Micros(from)-overlap })
	r, _, _ := purego.SyscallN(s.lib.since, s.conn.h, k.group, k.events, uintptr(from), uintptr(unsafe.Pointer(&k.next)), s.callback, s.sink)
	runtime.KeepAlive(k)
	s.asked = k.next
	events, s.pending = s.pending, nil
	switch code := Return(int32(r)); code {
	case NoData, NotWatched: // nothing was ever reported
		return events, nil
	default:
		return events, check(code, "read the XID events of %s", s.conn.where())
	}
}
