package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// codeXID is the column of XID events among record.Codes.
var codeXID = slices.IndexFunc(record.Codes, func(m record.Metric) bool { return m.Name == "xid" })

// Agent is one run of one node's collector. Make it with New, run it once.
type Agent struct {
	cfg    Config
	source Source
	clock  Clock
	log    *slog.Logger
	met    *metrics
	out    *outbox
	period unit.Micros

	// The rest is written by the loop only.
	devices   []Device
	meters    []*meter.Device
	tallies   []meter.Tally
	lastRead  []unit.Micros // per device, the tick that last read its energy
	layout    *layout
	readings  *meter.Readings
	row       *meter.Row
	events    []Event
	xids      []uint32
	current   *batch
	started   unit.Micros
	completed unit.Micros // what we have declared; never falls
}

// New prepares a run. Nothing is read, published or registered under a name of another node before Run.
func New(cfg Config, source Source, publisher Publisher, clock Clock, log *slog.Logger, reg prometheus.Registerer) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("agent of node %q: %w", cfg.Node, err)
	}
	met := newMetrics(reg, cfg.Node)
	log = log.With("node", cfg.Node)
	return &Agent{
		cfg: cfg, source: source, clock: clock, log: log, met: met, out: newOutbox(cfg, publisher, log, met),
		period: unit.Micros(cfg.Period.Microseconds()), row: meter.NewRow(),
	}, nil
}

// Run reads and publishes until the context is cancelled or Config.Until is reached; then it sends what is left with a
// last message that declares the run complete up to the stop. It returns an error when messages were left behind.
func (a *Agent) Run(ctx context.Context) error {
	publishing, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.out.deliver(publishing)
	}()

	loopErr := a.loop(ctx)

	// What is in the queue leaves before the last message, and the wait for both is bounded.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.StopTimeout)
	defer cancel()
	stopped := context.AfterFunc(stopping, giveUp)
	defer stopped()
	stop := a.clock.Now()
	if loopErr == nil {
		stop = max(stop, a.cfg.Until)
	}
	a.finish(stopping, stop)
	close(a.out.queue)
	<-done
	if loopErr != nil && !errors.Is(loopErr, context.Canceled) && !errors.Is(loopErr, context.DeadlineExceeded) {
		return fmt.Errorf("agent of node %s: %w", a.cfg.Node, loopErr)
	}
	if n := a.out.left.Load(); n > 0 {
		return fmt.Errorf("agent of node %s: stopped with %d messages unpublished after waiting %v", a.cfg.Node, n, a.cfg.StopTimeout)
	}
	return nil
}

// loop reads tick by tick. It returns nil at Until and the context's error when cancelled.
func (a *Agent) loop(ctx context.Context) error {
	a.started = a.clock.Now()
	a.completed = a.started - a.period // a first value may be that much older than the first tick
	a.current = a.out.fresh()
	a.rediscover()
	next := a.ceil(a.started)
	for a.cfg.Until == 0 || next <= a.cfg.Until {
		if _, err := a.clock.Wait(ctx, next, nil); err != nil {
			return err
		}
		a.tick(ctx, next)
		next += a.period
		// A reading that took longer than a period, or a machine that slept: the ticks it missed are expected and unread.
		// One that is less than a period late is read at once and keeps its place.
		if missed := uint64(max(a.clock.Now()-next, 0) / a.period); missed > 0 {
			next += unit.Micros(missed) * a.period
			a.expect(missed)
			a.met.missed.Add(float64(missed))
		}
		if a.current.due(&a.cfg, next) {
			if err := a.flush(ctx, a.complete(next-a.period)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ceil is the first tick that is not before t.
func (a *Agent) ceil(t unit.Micros) unit.Micros {
	phase := unit.Micros(a.cfg.Phase.Microseconds())
	tick := (t-phase)/a.period*a.period + phase
	if tick < t {
		tick += a.period
	}
	return tick
}

// tick reads every device once and adds a row for each. A device that could not be read has its row too: it shows that
// it was expected.
func (a *Agent) tick(ctx context.Context, at unit.Micros) {
	a.met.ticks.Inc()
	a.read(ctx, at)
	a.expect(1)
	for i, m := range a.meters {
		read := m.Observe(a.readings.Row(i), a.row)
		if read {
			a.met.read.Inc()
			if a.devices[i].Slots.Has(meter.SlotXID) {
				a.row.Codes[codeXID] = a.xids[i]
			}
		}
		if a.row.EnergyAt != noTime {
			a.lastRead[i] = at
		}
		a.current.add(at, i, a.row)
		tally := m.Tally()
		a.met.count(tally.Sub(a.tallies[i]))
		a.tallies[i] = tally
	}
}

// noTime is the row's value for an energy counter that was not read.
const noTime = ^uint64(0)

// read fills the readings and the XIDs. When the devices have changed it starts a new layout and reads again.
func (a *Agent) read(ctx context.Context, at unit.Micros) {
	a.readings.Reset()
	err := a.source.Read(ctx, at, a.readings)
	if errors.Is(err, ErrChanged) {
		a.log.Info("devices changed", "tick", at.Time())
		if a.current.rows() > 0 {
			// One message has one device table. If the queue cannot take it now, the context is done and finish will.
			if err := a.flush(ctx, a.complete(at-a.period)); err != nil {
				a.readings.Reset()
				return
			}
		}
		a.rediscover()
		err = a.source.Read(ctx, at, a.readings)
	}
	if err != nil {
		a.readings.Reset()
		a.fault("read", err)
		return
	}
	clear(a.xids)
	if a.events, err = a.source.Events(ctx, a.events[:0]); err != nil {
		a.fault("events", err)
	}
	for _, e := range a.events {
		if e.Device < 0 || e.Device >= len(a.xids) {
			continue
		}
		a.xids[e.Device] = e.XID
		a.met.xid(e.XID)
		a.log.Warn("xid reported", "device", a.devices[e.Device].UUID, "xid", e.XID, "at", e.At.Time())
	}
}

// rediscover takes the devices from the source. A device that stays keeps its counters.
func (a *Agent) rediscover() {
	type state struct {
		device Device
		meter  *meter.Device
		tally  meter.Tally
		last   unit.Micros
	}
	old := make(map[string]state, len(a.devices))
	for i, d := range a.devices {
		old[d.UUID] = state{d, a.meters[i], a.tallies[i], a.lastRead[i]}
	}
	a.devices = slices.Clone(a.source.Devices())
	n := len(a.devices)
	a.meters, a.tallies, a.lastRead = make([]*meter.Device, n), make([]meter.Tally, n), make([]unit.Micros, n)
	a.xids, a.readings, a.layout = make([]uint32, n), meter.NewReadings(n), layoutOf(a.devices)
	for i, d := range a.devices {
		s, known := old[d.UUID]
		if !known || s.device.Slots != d.Slots || s.device.Energy != d.Energy {
			s = state{meter: meter.New(d.Energy, d.Slots, a.period), last: a.clock.Now()}
		}
		a.meters[i], a.tallies[i], a.lastRead[i] = s.meter, s.tally, s.last
	}
	a.current.reset(a.layout)
	a.met.devices.Set(float64(n))
	if a.cfg.Announce != nil {
		a.cfg.Announce(slices.Clone(a.devices))
	}
}

func (a *Agent) expect(ticks uint64) {
	for _, m := range a.meters {
		m.Expect(ticks)
	}
}

// complete is the instant before which no further sample of this run bears: the oldest of the devices' last energy
// readings. A device that has been silent for more than three periods is not waited for.
func (a *Agent) complete(tick unit.Micros) unit.Micros {
	up := tick
	for i, m := range a.meters {
		if a.devices[i].Energy == record.EnergyNone || tick-a.lastRead[i] > meter.GapPeriods*a.period {
			continue
		}
		if last := m.LastEnergy(); last > 0 {
			up = min(up, last)
		} else {
			up = min(up, a.completed)
		}
	}
	a.completed = max(a.completed, up)
	return a.completed
}

// flush hands the current batch to the outbox and starts the next one. On an error the batch is still ours.
func (a *Agent) flush(ctx context.Context, complete unit.Micros) error {
	a.current.msg.CompleteUpToUs = int64(complete)
	if err := a.out.put(ctx, a.current, a.cfg.BlockWhenFull); err != nil {
		return err
	}
	a.current = a.out.fresh()
	a.current.reset(a.layout)
	return nil
}

// finish sends the last message: what is left, or nothing but the word that this run is over.
func (a *Agent) finish(ctx context.Context, stop unit.Micros) {
	a.completed = max(a.completed, stop)
	a.current.msg.CompleteUpToUs = int64(a.completed)
	if err := a.out.put(ctx, a.current, true); err != nil {
		a.out.left.Add(1)
	}
}
