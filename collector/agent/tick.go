package agent

import (
	"context"
	"errors"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// noTime is the row's value for an energy counter that was not read.
const noTime = ^uint64(0)

// tick reads every device once and adds a row for each. A device that could not be read has its row too: it shows that
// it was expected.
func (a *Agent) tick(ctx context.Context, at unit.Micros) {
	a.met.ticks.Inc()
	begun := a.clock.Steady()
	err := a.read(ctx, at)
	a.met.readSeconds.Observe(float64(a.clock.Steady()-begun) / float64(unit.Second))
	if a.cfg.Observer != nil {
		a.cfg.Observer.Observe(at, a.devices, a.readings, err)
	}
	if err == nil && a.nodeGap.open() && ctx.Err() == nil {
		a.recall(ctx, a.nodeGap.since, at)
	}
	a.expect(1)
	a.seeNode(at, err) // before its devices: a gap of the node is none of theirs
	for i, m := range a.meters {
		read := m.Observe(a.readings.Row(i), a.row, meter.Tick)
		if read {
			a.met.read.Inc()
			a.met.health.see(i, &a.devices[i], a.row)
			if a.devices[i].Slots.Has(meter.SlotXID) {
				a.row.Codes[record.CodeXID] = a.xids[i]
			}
		}
		a.add(at, i)
		if err == nil {
			a.see(i, at, read)
		}
	}
	a.met.health.ticked()
	a.lastTick = at
}

// add puts the row that was just observed into the batch, and says what the meter noticed.
func (a *Agent) add(at unit.Micros, device int) {
	m := a.meters[device]
	if a.row.EnergyAt != noTime {
		a.lastRead[device] = max(a.lastRead[device], at)
	}
	a.current.add(at, device, a.row)
	tally := m.Tally()
	a.met.count(tally.Sub(a.tallies[device]))
	a.tallies[device] = tally
	if b, broke := m.Break(); broke {
		a.met.epochs.WithLabelValues(a.cfg.Node, b.Reason).Inc()
		a.log.Warn("energy counter began anew", "reason", b.Reason, "device", a.devices[device].UUID, "from", b.From.Time(), "to", b.To.Time())
		a.Report(record.Incident{
			Kind: record.IncidentEpoch, Reason: b.Reason, Device: a.devices[device].UUID, From: min(b.From, b.To), To: b.To, Amount: int64(b.Last),
		})
	}
}

// read fills the readings and the XIDs. When the devices have changed it starts a new layout and reads again.
func (a *Agent) read(ctx context.Context, at unit.Micros) error {
	a.readings.Reset()
	err := a.source.Read(ctx, at, a.readings)
	if errors.Is(err, ErrChanged) {
		a.log.Info("devices changed", "tick", at.Time())
		if a.current.rows() > 0 {
			// One message has one device table. If the queue cannot take it now, the context is done and finish will.
			if err := a.flush(ctx, a.complete(at-a.period)); err != nil {
				a.readings.Reset()
				return err
			}
		}
		a.rediscover()
		err = a.source.Read(ctx, at, a.readings)
	}
	clear(a.xids)
	if err != nil {
		a.readings.Reset()
		a.fault("read", err)
		return err
	}
	if a.events, err = a.source.Events(ctx, a.events[:0]); err != nil {
		a.fault("events", err)
	}
	if a.cfg.Observer != nil && len(a.events) > 0 {
		a.cfg.Observer.ObserveEvents(a.devices, a.events)
	}
	for _, e := range a.events {
		if e.Device < 0 || e.Device >= len(a.xids) {
			continue
		}
		a.xids[e.Device] = e.XID
		a.met.xid(e.XID)
		a.log.Warn("xid reported", "device", a.devices[e.Device].UUID, "xid", e.XID, "at", e.At.Time())
	}
	return nil
}

func (a *Agent) expect(ticks uint64) {
	a.expected += ticks
	a.met.health.expected.Add(float64(ticks) * float64(a.met.health.readable))
	for _, m := range a.meters {
		m.Expect(ticks)
	}
}

// missed counts the ticks from next on that passed unread, and recalls what the source remembers of them. It returns the
// tick to go on with.
func (a *Agent) missed(ctx context.Context, next unit.Micros, n uint64) (unit.Micros, error) {
	a.met.missed.Add(float64(n))
	from, to := a.lastTick, next+unit.Micros(n)*a.period
	if caught := a.recall(ctx, from, to); caught < n {
		a.expect(n - caught)
		if n > meter.GapPeriods {
			a.Report(record.Incident{Kind: record.IncidentGap, Reason: "late", From: from, To: to, Amount: int64(n - caught)})
		}
	}
	return to, ctx.Err()
}

// recall adds rows for the ticks in (from, to) whose energy the source remembers, and says how many ticks there were. Ticks that have
// had a row without values have one with them now, in a message of their own. What is older than what has been declared complete
// comes too late.
func (a *Agent) recall(ctx context.Context, from, to unit.Micros) (ticks uint64) {
	c, can := a.source.(Catcher)
	if !can || a.cfg.Remember == 0 {
		return 0
	}
	from = a.ceil(max(from, to-unit.Micros(a.cfg.Remember.Microseconds())) - a.period + 1) // the tick at or before it
	again := a.nodeGap.open()
	err := c.CatchUp(ctx, from, to, a.period, func(at unit.Micros, r *meter.Readings) error {
		if at <= from || at >= to {
			return nil
		}
		if a.current.rows() > 0 && at <= a.current.lastTick || a.current.full(&a.cfg) {
			if err := a.flush(ctx, a.completed); err != nil {
				return err
			}
		}
		ticks++
		for i, m := range a.meters {
			if !again {
				m.Expect(1)
			}
			if i < r.Devices() && r.Row(i)[meter.SlotEnergy].At >= a.completed && m.Observe(r.Row(i), a.row, meter.CatchUp) {
				a.add(at, i)
				a.gaps[i].since = max(a.gaps[i].since, at)
			}
		}
		return nil
	})
	if err != nil {
		a.fault("catch_up", err)
	}
	a.met.caught.Add(float64(ticks))
	return ticks
}

// edge takes an extra reading between two ticks, so that an allocation's edge has a sample beside it.
func (a *Agent) edge(ctx context.Context, next unit.Micros) {
	e, can := a.source.(Edger)
	now := a.clock.Now()
	// Close to another reading one more says nothing new.
	if !can || now >= next || now-max(a.lastEdge, a.lastTick) < minEdge {
		return
	}
	a.readings.Reset()
	if err := e.ReadEdge(ctx, a.readings); err != nil {
		if !errors.Is(err, ErrCannot) {
			a.fault("edge", err)
		}
		return
	}
	a.lastEdge = now
	a.met.edges.Inc()
	for i, m := range a.meters {
		if m.Observe(a.readings.Row(i), a.row, meter.Edge) {
			a.add(now, i)
		}
	}
}

// minEdge is how far an extra reading keeps from its neighbours: the counter itself moves in steps of about 100 ms.
const minEdge = 50 * unit.Millisecond
