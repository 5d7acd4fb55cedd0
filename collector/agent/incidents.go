package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Report has the next message state an incident. It may be called at any time, from any goroutine. What breaks the rules
// of an incident, and what finds no room, is counted and dropped.
func (a *Agent) Report(i record.Incident) { a.incidents.add(i) }

// TakeReading asks for an extra reading at once: something that bears on an account has just happened.
func (a *Agent) TakeReading() {
	select {
	case a.wake <- struct{}{}:
	default: // one is on its way
	}
}

// maxIncidents is how many wait at most; perMessage how many one message states.
const (
	maxIncidents = 4096
	perMessage   = 256
)

// incidents wait until a durable message has stated them.
type incidents struct {
	mu      sync.Mutex
	waiting []record.Incident // guarded by mu
	over    bool              // guarded by mu; no message comes any more
	dropped prometheus.Counter
}

func (q *incidents) add(i record.Incident) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i.Validate() != nil || len(q.waiting) >= maxIncidents || q.over {
		q.dropped.Inc()
		return
	}
	q.waiting = append(q.waiting, i)
}

// first appends the oldest to out, n at most.
func (q *incidents) first(out []record.Incident, n int) []record.Incident {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append(out, q.waiting[:min(n, len(q.waiting))]...)
}

func (q *incidents) stated(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting[:0], q.waiting[n:]...)
}

// abandon counts what no message has stated when the run is over.
func (q *incidents) abandon(log *slog.Logger) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.waiting); n > 0 {
		q.dropped.Add(float64(n))
		log.Warn("incidents not stated", "reason", "stopped", "incidents", n)
	}
	q.waiting, q.over = nil, true
}

// gap follows how long a device, or all of them, have not been read.
type gap struct {
	// since is the tick of the last reading, or where the gap was last stated.
	since unit.Micros
	// reason is a word for why not; empty while it is read.
	reason string
	// begun says that a part of it has been stated, so that its rest must be too.
	begun bool
}

func (g *gap) open() bool { return g.reason != "" }

// statedEvery is how often a gap that goes on is stated as far as it has come.
const statedEvery = 10 * 60 * unit.Second

// see follows the gap of one device while the node as a whole is read.
func (a *Agent) see(device int, at unit.Micros, read bool) {
	g := &a.gaps[device]
	switch {
	case read && g.open():
		a.stateGap(a.devices[device].UUID, g, at)
		*g = gap{since: at}
	case read:
		g.since = at
	default:
		g.reason = "unread"
		a.stateInParts(a.devices[device].UUID, g, at)
	}
}

// seeNode follows the gap of the whole node: its devices' gaps are no other ones.
func (a *Agent) seeNode(at unit.Micros, err error) {
	g := &a.nodeGap
	switch {
	case err != nil:
		if !g.open() {
			if g.since = a.lastTick; g.since == 0 {
				g.since = min(at, a.started)
			}
		}
		// A reading that a stop has cut short says nothing about why those before it failed.
		if !g.open() || !errors.Is(err, context.Canceled) {
			g.reason = reason(err)
		}
		a.stateInParts("", g, at)
	case g.open():
		a.stateGap("", g, at)
		*g = gap{}
		for i := range a.gaps {
			if !a.gaps[i].open() {
				a.gaps[i].since = at
			}
		}
	}
}

// stateInParts states a gap that goes on, each part once.
func (a *Agent) stateInParts(device string, g *gap, at unit.Micros) {
	if at-g.since >= statedEvery {
		a.stateGap(device, g, at)
		g.since, g.begun = at, true
	}
}

// stateGap reports a gap up to now, unless it is so short that a cut across it is as good as any.
func (a *Agent) stateGap(device string, g *gap, to unit.Micros) (stated bool) {
	if !g.begun && to-g.since <= meter.GapPeriods*a.period {
		return false
	}
	a.met.gap(g.reason)
	a.Report(record.Incident{
		Kind: record.IncidentGap, Reason: g.reason, Device: device, From: min(g.since, to), To: to, Amount: int64((to - g.since) / a.period),
	})
	return true
}

// closeGaps states what is open at the end of the run.
func (a *Agent) closeGaps(at unit.Micros) {
	if a.nodeGap.open() {
		a.stateGap("", &a.nodeGap, at)
	}
	for i := range a.gaps {
		if a.gaps[i].open() {
			a.stateGap(a.devices[i].UUID, &a.gaps[i], at)
		}
	}
}

// afterStandstill states the time between the run before this one and our first tick, in which nobody read. Its ticks were
// expected: that is how the dead time shows in the coverage of each device.
func (a *Agent) afterStandstill(first unit.Micros) {
	from := a.cfg.PreviousTick
	if from <= 0 || first-from <= a.period {
		return
	}
	a.met.gap("stopped")
	ticks := (first-from)/a.period - 1
	a.expect(uint64(ticks))
	a.Report(record.Incident{Kind: record.IncidentGap, Reason: "stopped", From: from, To: first, Amount: int64(ticks)})
}

// pace holds wall time against time that only passes.
type pace struct{ wall, steady unit.Micros }

// step is by how much the wall clock has gone further than time did since the last call.
func (p *pace) step(wall, steady unit.Micros) unit.Micros {
	d := (wall - p.wall) - (steady - p.steady)
	p.wall, p.steady = wall, steady
	return d
}

// bothClocks reads the two as one: a process that is put aside between them would see a step where there is none.
func (a *Agent) bothClocks() (wall, steady unit.Micros) {
	for range 5 {
		steady, wall = a.clock.Steady(), a.clock.Now()
		if a.clock.Steady()-steady <= unit.Millisecond {
			break
		}
	}
	return wall, steady
}

// watchClock reports a step of the wall clock since the last call, and ends the message: within one, ticks rise.
func (a *Agent) watchClock(ctx context.Context) (stepped bool, err error) {
	now, steady := a.bothClocks()
	by := a.pace.step(now, steady)
	if max(by, -by) <= unit.Micros(a.cfg.ClockStep.Microseconds()) {
		return false, nil
	}
	a.met.clockSteps.Inc()
	a.log.Warn("clock stepped", "by", by.Duration(), "now", now.Time())
	a.Report(record.Incident{Kind: record.IncidentClockStep, Reason: "clock", From: min(now, now-by), To: max(now, now-by), Amount: int64(by)})
	// What was before the step was so in another time: gaps are as long as they were.
	for i := range a.gaps {
		a.gaps[i].since += by
		a.lastRead[i] += by
	}
	for uuid, s := range a.gone.states {
		s.gap.since += by
		a.gone.states[uuid] = s
	}
	if a.nodeGap.open() {
		a.nodeGap.since += by
	}
	a.lastTick, a.lastEdge, a.started, a.lastFlush = 0, 0, now, now
	if a.current.rows() == 0 {
		return true, nil
	}
	return true, a.flush(ctx, a.completed)
}
