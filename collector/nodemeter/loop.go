package nodemeter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Feed is a source and the pace at which it is read.
type Feed struct {
	// Name is a word for metrics and logs: redfish, rapl, hwmon, dcgm.
	Name   string
	Source Source
	// Period and Timeout are the loop's when 0.
	Period, Timeout time.Duration
}

// Loop reads the meters of one node in one run. Make it with New, run it once.
type Loop struct {
	cfg   Config
	feeds []*feed
	clock agent.Clock
	out   *outbox
}

// New prepares a run. Nothing is read or published before Run.
func New(cfg Config, feeds []Feed, publisher Publisher, clock agent.Clock, log *slog.Logger, reg prometheus.Registerer) (*Loop, error) {
	faults := []error{cfg.Validate()}
	if len(feeds) == 0 {
		faults = append(faults, errors.New("no source; without one the loop has nothing to do"))
	}
	seen := map[string]bool{}
	for _, f := range feeds {
		if f.Name == "" || seen[f.Name] {
			faults = append(faults, fmt.Errorf("source %q: every source needs a name of its own", f.Name))
		}
		seen[f.Name] = true
		if f.Period < 0 || f.Timeout < 0 || f.Period > 0 && f.Period < time.Millisecond {
			faults = append(faults, fmt.Errorf("source %q: period %v and timeout %v; the period must be at least 1ms, and neither negative", f.Name, f.Period, f.Timeout))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("meters of node %q: %w", cfg.Node, err)
	}
	met := newMetrics(reg, cfg.Node)
	log = log.With("node", cfg.Node)
	l := &Loop{cfg: cfg, clock: clock, out: newOutbox(cfg, len(feeds), publisher, log, met)}
	for _, f := range feeds {
		period := unit.Micros(cmp.Or(f.Period, cfg.Period).Microseconds())
		l.feeds = append(l.feeds, &feed{
			cfg: cfg, name: f.Name, source: f.Source, clock: clock, met: met, log: log.With("source", f.Name),
			period: period, timeout: cmp.Or(f.Timeout, cfg.Timeout), counters: map[string]*track{},
		})
	}
	return l, nil
}

// Run reads and publishes until the context is cancelled or Config.Until is reached; then it sends what is left with a
// last message that declares the run complete up to the stop. It returns an error when messages were left behind. A call
// of a source that does not come back is waited for no longer than its timeout; it then still has its goroutine.
func (l *Loop) Run(ctx context.Context) error {
	publishing, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	left := make(chan int, 1)
	go func() { left <- l.out.deliver(publishing) }()

	patience := make([]unit.Micros, len(l.feeds))
	for i, f := range l.feeds {
		patience[i] = meter.GapPeriods * f.period
	}
	var reading sync.WaitGroup
	for i, f := range l.feeds {
		reading.Go(func() {
			f.run(ctx, func(readings []*wl.Reading, done, steady unit.Micros) { l.out.put(i, readings, done, steady, patience) })
		})
	}
	reading.Wait()

	l.out.finish(max(l.clock.Now(), l.cfg.Until))
	timer := time.AfterFunc(l.cfg.StopTimeout, giveUp)
	defer timer.Stop()
	if n := <-left; n > 0 {
		return fmt.Errorf("meters of node %s: stopped with %d messages unpublished after waiting %v", l.cfg.Node, n, l.cfg.StopTimeout)
	}
	return nil
}
