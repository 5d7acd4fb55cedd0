package nvml

import (
	"context"
	"slices"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
)

// listen opens an event set and registers every GPU that answers for XIDs. What happened before is not news and not in it.
func (s *Source) listen() {
	c := s.c
	c.out.handle = 0
	if code := c.do1(callEventSetCreate, at(&c.out.handle)); code != OK {
		for i := range s.entities {
			s.withhold(&s.entities[i], "xid events", code)
		}
		return
	}
	s.events = c.out.handle
	for i := range s.entities {
		e := &s.entities[i]
		if e.lost || e.parent >= 0 {
			continue
		}
		if code := c.do3(callRegisterEvents, e.handle, eventXID, s.events); code != OK {
			s.withhold(e, "xid events", s.count(callRegisterEvents, code))
			continue
		}
		for j := range s.entities {
			if j == i || s.entities[j].parent == i {
				s.slots[j] = s.slots[j].With(meter.SlotXID)
			}
		}
	}
}

func (s *Source) deafen() {
	if s.events != 0 {
		s.c.do1(callEventSetFree, s.events)
		s.events = 0
	}
}

// Events appends the XIDs that were reported since the last call. NVML states no time: an event has that of the look.
func (s *Source) Events(_ context.Context, events []agent.Event) ([]agent.Event, error) {
	events = append(events, s.waiting...)
	s.waiting = s.waiting[:0]
	if !s.up {
		return events, nil
	}
	return s.drain(events)
}

// drain takes what is in the event set, without waiting.
func (s *Source) drain(events []agent.Event) ([]agent.Event, error) {
	if s.events == 0 {
		return events, nil
	}
	for range eventsPerLook {
		now := s.cfg.Now()
		s.c.out.event = eventData{}
		switch code := s.c.do3(callEventWait, s.events, at(&s.c.out.event), 0); {
		case code == OK:
		case code == Timeout:
			return events, nil
		case code.lost():
			s.lookAt = 1 // a set with a lost GPU in it gives nothing more; the next look makes a new one
			s.count(callEventWait, code)
			return events, nil
		default:
			return events, check(s.count(callEventWait, code), "read the XID events of node %s", s.cfg.Node)
		}
		d := &s.c.out.event
		row := s.rowOf(d)
		if d.Type&eventXID == 0 || d.Data == 0 || d.Data >= noInstance || row < 0 {
			continue
		}
		events = append(events, agent.Event{Device: row, At: now, XID: uint32(d.Data)})
	}
	return events, nil
}

// rowOf is the row of the device that an event names: the instance where it names one that we know, else the GPU; -1 for
// none of ours.
func (s *Source) rowOf(d *eventData) int {
	gpu := slices.IndexFunc(s.entities, func(e entity) bool { return e.parent < 0 && !e.lost && e.handle == d.Device })
	if gpu < 0 || d.GPUInstanceID == noInstance {
		return gpu
	}
	for i := range s.entities {
		if s.entities[i].parent == gpu && s.entities[i].instance == d.GPUInstanceID {
			return i
		}
	}
	return gpu
}
