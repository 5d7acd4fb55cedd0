package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Agent is one run of one node's collector. Make it with New, run it once.
type Agent struct {
	cfg       Config
	source    Source
	clock     Clock
	log       *slog.Logger
	met       *metrics
	out       *outbox
	incidents *incidents
	wake      chan struct{}
	period    unit.Micros

	// The rest is written by the loop only.
	devices   []Device
	meters    []*meter.Device
	tallies   []meter.Tally
	lastRead  []unit.Micros // per device, the tick that last read its energy
	gaps      []gap         // per device
	nodeGap   gap           // of all devices at once
	gone      gone
	expected  uint64 // ticks at which devices were expected
	layout    *layout
	readings  *meter.Readings
	row       *meter.Row
	events    []Event
	xids      []uint32
	current   *batch
	started   unit.Micros // of the run, or the last step of the clock
	completed unit.Micros // what we have declared; never falls
	lastTick  unit.Micros // of the last regular tick; 0 before the first
	lastEdge  unit.Micros
	lastFlush unit.Micros
	pace      pace
}

// New prepares a run. Nothing is read, published or registered under a name of another node before Run.
func New(cfg Config, source Source, publisher Publisher, clock Clock, log *slog.Logger, reg prometheus.Registerer) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("agent of node %q: %w", cfg.Node, err)
	}
	met := newMetrics(reg, cfg.Node)
	log = log.With("node", cfg.Node)
	queue := &incidents{dropped: met.unstated}
	return &Agent{
		cfg: cfg, source: source, clock: clock, log: log, met: met, out: newOutbox(cfg, publisher, queue, log, met),
		incidents: queue, wake: make(chan struct{}, 1), period: unit.Micros(cfg.Period.Microseconds()), row: meter.NewRow(),
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
	a.incidents.abandon(a.log)
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
	a.lastFlush = a.started
	a.completed = a.started - a.period // a first value may be that much older than the first tick
	a.current = a.out.fresh()
	a.rediscover()
	a.pace.wall, a.pace.steady = a.bothClocks()
	next := a.ceil(a.started)
	a.afterStandstill(next)
	for a.cfg.Until == 0 || next <= a.cfg.Until {
		woken, err := a.clock.Wait(ctx, next, a.wake)
		if err != nil {
			return err
		}
		if stepped, err := a.watchClock(ctx); err != nil {
			return err
		} else if stepped {
			next = a.ceil(a.clock.Now())
			continue
		}
		if woken {
			a.edge(ctx, next)
			continue
		}
		a.tick(ctx, next)
		next += a.period
		if stepped, err := a.watchClock(ctx); err != nil {
			return err
		} else if stepped {
			next = a.ceil(a.clock.Now())
			continue
		}
		// A reading that took longer than a period, or a machine that was busy: the ticks it missed are expected and unread.
		// One that is less than a period late is read at once and keeps its place.
		if missed := uint64(max(a.clock.Now()-next, 0) / a.period); missed > 0 {
			if next, err = a.missed(ctx, next, missed); err != nil {
				return err
			}
		}
		if a.current.due(&a.cfg, next) || a.idle(next) {
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

// complete is the instant before which no further sample of this run bears: the oldest of the devices' last energy
// readings. A device that has been silent for more than three periods is not waited for.
//
// What was not read of the whole node may still be in the memory of the source, and is waited for as long as it is kept there.
func (a *Agent) complete(tick unit.Micros) unit.Micros {
	if _, can := a.source.(Catcher); can && a.nodeGap.open() && a.cfg.Remember > 0 {
		a.completed = max(a.completed, tick-unit.Micros(a.cfg.Remember.Microseconds()))
		return a.completed
	}
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

// idleEvery is how often a node speaks that has no devices, and so no rows.
const idleEvery = 60 * unit.Second

// idle says that a node without rows has been silent for long enough. It declares how far it has come, and states its incidents.
func (a *Agent) idle(next unit.Micros) bool {
	return a.current.rows() == 0 && next-a.lastFlush >= idleEvery
}

// flush hands the current batch to the outbox and starts the next one. On an error the batch is still ours.
func (a *Agent) flush(ctx context.Context, complete unit.Micros) error {
	a.current.msg.CompleteUpToUs = int64(complete)
	if err := a.out.put(ctx, a.current, a.cfg.BlockWhenFull); err != nil {
		return err
	}
	a.current, a.lastFlush = a.out.fresh(), a.clock.Now()
	a.current.reset(a.layout)
	return nil
}

// finish sends the last message: what is left, or nothing but the word that this run is over.
func (a *Agent) finish(ctx context.Context, stop unit.Micros) {
	a.closeGaps(stop)
	a.completed = max(a.completed, stop)
	a.current.msg.CompleteUpToUs = int64(a.completed)
	if err := a.out.put(ctx, a.current, true); err != nil {
		a.out.left.Add(1)
	}
}
