package agent

import (
	"slices"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// state is what is known of a device from one list of devices to the next.
type state struct {
	device   Device
	meter    *meter.Device
	tally    meter.Tally
	lastRead unit.Micros
	gap      gap
	expected uint64 // Agent.expected when it went
}

// maxGone is how many devices that went are remembered: more than the MIG instances that a node can have at once.
const maxGone = 256

// gone are the devices that are not listed any more, in the order in which they went.
type gone struct {
	order  []string
	states map[string]state
}

func (g *gone) put(uuid string, s state) {
	if g.states == nil {
		g.states = map[string]state{}
	}
	if len(g.order) == maxGone {
		delete(g.states, g.order[0])
		g.order = slices.Delete(g.order, 0, 1)
	}
	g.states[uuid], g.order = s, append(g.order, uuid)
}

func (g *gone) take(uuid string) (s state, ok bool) {
	if s, ok = g.states[uuid]; ok {
		delete(g.states, uuid)
		i := slices.Index(g.order, uuid)
		g.order = slices.Delete(g.order, i, i+1)
	}
	return s, ok
}

// rediscover takes the devices from the source. A device that stays, or comes back, keeps its counters: within a run they
// never begin anew.
func (a *Agent) rediscover() {
	now := a.clock.Now()
	old := make(map[string]state, len(a.devices))
	for i, d := range a.devices {
		old[d.UUID] = state{device: d, meter: a.meters[i], tally: a.tallies[i], lastRead: a.lastRead[i], gap: a.gaps[i]}
	}
	a.devices = slices.Clone(a.source.Devices())
	n := len(a.devices)
	a.meters, a.tallies, a.lastRead, a.gaps = make([]*meter.Device, n), make([]meter.Tally, n), make([]unit.Micros, n), make([]gap, n)
	a.xids, a.readings, a.layout = make([]uint32, n), meter.NewWideReadings(n, a.cfg.Extra), layoutOf(a.devices)
	for i, d := range a.devices {
		s, stays := old[d.UUID]
		delete(old, d.UUID)
		if !stays {
			s = a.comes(d, now)
		}
		if s.device.Slots != d.Slots || s.device.Energy != d.Energy {
			s.meter.Change(d.Energy, d.Slots)
		}
		if s.device.Driver != d.Driver {
			s.meter.NewDriver()
		}
		a.meters[i], a.tallies[i], a.lastRead[i], a.gaps[i] = s.meter, s.tally, s.lastRead, s.gap
	}
	for uuid, s := range old {
		// It is not listed any more: from its last reading on nothing is known of it.
		s.gap.reason, s.expected = "gone", a.expected
		if a.stateGap(uuid, &s.gap, now) {
			s.gap.since, s.gap.begun = now, true
		}
		a.gone.put(uuid, s)
	}
	a.current.reset(a.layout)
	a.met.devices.Set(float64(n))
	a.met.health.devices(a.devices)
	if a.cfg.Announce != nil {
		a.cfg.Announce(slices.Clone(a.devices))
	}
}

// comes is the state of a device that was not listed before. One that had gone was expected all the time.
func (a *Agent) comes(d Device, now unit.Micros) state {
	s, back := a.gone.take(d.UUID)
	if !back {
		return state{device: d, meter: meter.New(d.Energy, d.Slots, a.period), lastRead: now, gap: gap{since: now}}
	}
	s.meter.Expect(a.expected - s.expected)
	a.stateGap(d.UUID, &s.gap, now)
	s.lastRead, s.gap = now, gap{since: now}
	return s
}
