// Package play runs a fleet through the collector against the simulated libdcgm.
//
// It owns time: in a play every node lives on a virtual clock that this package moves, so that a day takes seconds; live,
// the nodes follow the wall clock. The collector's code is the one that runs on a real node, and everything leaves through
// Kafka. What is sent is counted here, on the collector's side.
package play

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/cmd/wattledger/fleet"
	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Statements takes what the operator and the scheduler state: sites, nodes, tenants and allocations.
type Statements interface {
	// Fleet states the inventory, less the devices, which collectors find for themselves.
	Fleet(ctx context.Context, f *fleet.Fleet) error
	// Allocations states the allocation events of [from, to) at every site, and that there are no others before to.
	Allocations(ctx context.Context, f *fleet.Fleet, from, to unit.Micros) error
	// Readings states what the meters of a site read, and that there is nothing more to come before to.
	Readings(ctx context.Context, f *fleet.Fleet, site string, readings []record.Reading, to unit.Micros) error
}

// Player plays fleets.
type Player struct {
	// Library is the simulated libdcgm.
	Library string
	// Dir takes the scenario and the truth.
	Dir        string
	Sink       message.Sink
	Statements Statements
	Log        *slog.Logger
	// Period is the collector's in a play.
	Period time.Duration

	sent atomic.Int64
}

// Sent is how many device samples the collectors have handed over for good.
func (p *Player) Sent() int64 { return p.sent.Load() }

// TruthFile is where Day leaves the simulator's truth.
func (p *Player) TruthFile() string { return filepath.Join(p.Dir, "truth.csv") }

// Day plays the whole fleet from its start to its end. progress is called with the virtual time played, summed over nodes.
func (p *Player) Day(ctx context.Context, f *fleet.Fleet, progress func(played unit.Micros)) error {
	ctl, lib, err := p.load(f)
	if err != nil {
		return err
	}
	if err := p.Statements.Fleet(ctx, f); err != nil {
		return err
	}
	g := newGate(f.Start)
	hours, passed := newHours(f, len(f.Nodes), 5*60*unit.Second), newHours(f, len(f.Nodes), 0)
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range f.Nodes {
		clock := &virtualClock{ctl: ctl, node: n.ID, gate: g, now: f.Start}
		last := f.Start
		clock.tick = func(at unit.Micros) {
			progress(at - last)
			hours.reached(last, at)
			passed.reached(last, at)
			last = at
		}
		cfg := p.config(f, n, p.Period)
		cfg.Until, cfg.BlockWhenFull, cfg.MaxAge, cfg.MaxTicks, cfg.MaxBytes, cfg.Queue = f.End, true, 24*time.Hour, 180, 512<<10, 2
		cfg.StopTimeout = 10 * time.Minute
		group.Go(func() error {
			defer hours.done()
			defer passed.done()
			return p.node(ctx, lib, n, cfg, clock, &counting{p, message.NewWriter(p.Sink), ctx.Done()}, f.End)
		})
	}
	group.Go(func() error {
		for hour := f.Start; hour < f.End; hour += unit.Hour {
			if err := p.Statements.Allocations(ctx, f, hour, hour+unit.Hour); err != nil {
				return err
			}
			g.open(hour + unit.Hour)
			if err := hours.wait(ctx, hour); err != nil {
				return err
			}
		}
		g.open(f.End + unit.Hour) // a clean stop may look a little past the end
		return nil
	})
	group.Go(func() error {
		m := newMeters(ctl, f, p.Statements)
		for hour := f.Start; hour < f.End; hour += unit.Hour {
			if err := passed.wait(ctx, hour); err != nil {
				return err
			}
			if err := m.hour(ctx, hour); err != nil {
				return err
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	return ctl.WriteTruth(p.TruthFile())
}

// Live plays the fleet along with the wall clock until ctx ends: a new boot of each node, read once a second.
func (p *Player) Live(ctx context.Context, f *fleet.Fleet) error {
	ctl, lib, err := p.load(f)
	if err != nil {
		return err
	}
	if err := p.Statements.Fleet(ctx, f); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for i, n := range f.Nodes {
		cfg := p.config(f, n, time.Second)
		cfg.Phase = time.Duration(i*1000/len(f.Nodes)) * time.Millisecond // nodes do not all read in one instant
		group.Go(func() error {
			return p.node(ctx, lib, n, cfg, &wallClock{ctl: ctl, node: n.ID}, &counting{p, message.NewWriter(p.Sink), nil}, 0)
		})
	}
	group.Go(func() error {
		from := f.Start
		for {
			now := unit.MicrosOf(time.Now())
			if err := p.Statements.Allocations(ctx, f, from, now); err == nil {
				from = now
			} else if ctx.Err() == nil {
				p.Log.Warn("scheduler not heard", "error", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(5 * time.Second):
			}
		}
	})
	return group.Wait()
}

func (p *Player) load(f *fleet.Fleet) (*simctl.Control, *dcgm.Library, error) {
	if _, err := os.Stat(p.Library); err != nil {
		return nil, nil, fmt.Errorf("simulated libdcgm: %w; build it with `make sim`, or name it with --library", err)
	}
	lib, err := dcgm.Load(p.Library)
	if err != nil {
		return nil, nil, err
	}
	ctl, err := simctl.Open(p.Library)
	if err != nil {
		return nil, nil, err
	}
	scenario := filepath.Join(p.Dir, "scenario.txt")
	if err := os.WriteFile(scenario, []byte(f.Scenario()), 0o600); err != nil {
		return nil, nil, fmt.Errorf("write scenario: %w", err)
	}
	return ctl, lib, ctl.Load(scenario)
}

func (p *Player) config(f *fleet.Fleet, n fleet.Node, period time.Duration) agent.Config {
	cfg := agent.DefaultConfig()
	cfg.Node, cfg.Site, cfg.Period, cfg.Source = n.ID, n.Site, period, "dcgm"
	cfg.Run, cfg.BootID = f.Identity("run", n.ID), f.Identity("boot", n.ID)
	return cfg
}

// node is one collector, from connecting to its clean stop.
func (p *Player) node(ctx context.Context, lib *dcgm.Library, n fleet.Node, cfg agent.Config, clock agent.Clock, out agent.Publisher, end unit.Micros) (err error) {
	// The hardware is there from its boot on. The engine samples in step with the instant at which it is asked to, so the
	// collector starts just before one of its ticks: what it reads is then fresh.
	period := unit.Micros(cfg.Period.Microseconds())
	start := n.Boot + period - n.Boot%period - 20*unit.Millisecond + unit.Micros(cfg.Phase.Microseconds())
	if _, err := clock.Wait(ctx, max(start, n.Boot), nil); err != nil {
		return stopped(ctx, err)
	}
	src := dcgm.DefaultConfig()
	src.Address, src.Node, src.Period = n.ID, n.ID, cfg.Period
	source, err := dcgm.Open(ctx, lib, src, p.Log, nil)
	if err != nil {
		return stopped(ctx, fmt.Errorf("node %s: %w", n.ID, err))
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	if err := message.NewWriter(p.Sink).Inventory(ctx, n.Site, uint64(n.Boot), n.From, source.Devices()); err != nil {
		return stopped(ctx, fmt.Errorf("node %s: %w", n.ID, err))
	}
	a, err := agent.New(cfg, source, out, clock, p.Log, prometheus.NewRegistry())
	if err != nil {
		return fmt.Errorf("node %s: %w", n.ID, err)
	}
	if err := a.Run(ctx); err != nil {
		return stopped(ctx, fmt.Errorf("node %s: %w", n.ID, err))
	}
	if end != 0 && ctx.Err() == nil && clock.Now() < end {
		_, err := clock.Wait(ctx, end, nil) // so that the truth is written to the end
		return err
	}
	return nil
}

// stopped is nil for an error that only says that we were told to stop.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// counting counts the rows that the publisher has taken for good.
type counting struct {
	p  *Player
	to *message.Writer
	// halted, once closed, keeps back what a stop cuts short: a play that is taken up again sends the same messages, and
	// half a message under the sequence of a whole one would make the whole one a repeat.
	halted <-chan struct{}
}

// Publish hands the batch on and counts its rows.
func (c *counting) Publish(ctx context.Context, b *wl.SampleBatch) error {
	select {
	case <-c.halted:
		return fmt.Errorf("the play was stopped: %w", agent.ErrRefused)
	default:
	}
	if err := c.to.Publish(ctx, b); err != nil {
		return err
	}
	c.p.sent.Add(int64(len(b.TickUs)))
	return nil
}
