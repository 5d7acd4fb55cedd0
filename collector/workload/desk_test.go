package workload

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

func hours(n int) unit.Micros { return unit.Micros(n) * unit.Hour }

// clock is the time of a synctest bubble, or stands still.
type clock struct{ now unit.Micros }

func (c *clock) Now() unit.Micros {
	if c.now != 0 {
		return c.now
	}
	return now()
}

func (c *clock) Steady() unit.Micros { return c.Now() }

func (c *clock) Wait(ctx context.Context, until unit.Micros, wake <-chan struct{}) (bool, error) {
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-wake:
		return true, nil
	case <-time.After((until - c.Now()).Duration()):
		return false, nil
	}
}

// scheduler is a source that says what the test says.
type scheduler struct {
	mu      sync.Mutex
	holds   []Hold
	err     error
	changed chan unit.Micros
}

func (s *scheduler) Name() string { return "test" }

func (s *scheduler) Holds(context.Context, []agent.Device) (Statement, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Statement{Holds: slices.Clone(s.holds)}, s.err
}

func (s *scheduler) Run(ctx context.Context, changed func(unit.Micros)) error {
	for {
		select {
		case at := <-s.changed:
			changed(at)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *scheduler) say(holds ...Hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range holds {
		holds[i].Ref = holds[i].Key
		if holds[i].Device == "" {
			holds[i].Device = "GPU-a"
		}
	}
	s.holds, s.err = holds, nil
}

func (s *scheduler) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// desk is a tracker at work and all that it says.
type desk struct {
	t         *testing.T
	tracker   *Tracker
	scheduler *scheduler
	reg       *prometheus.Registry
	stop      func()

	mu        sync.Mutex
	fail      error
	batches   []*wl.AllocationBatch
	incidents []record.Incident
	edges     []unit.Micros
	saved     []byte
	published unit.Micros
}

func (d *desk) Allocations(_ context.Context, b *wl.AllocationBatch) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := wire.ValidateAllocations(b); err != nil {
		d.t.Error(err)
	}
	if d.fail != nil {
		return d.fail
	}
	d.batches = append(d.batches, proto.CloneOf(b))
	return nil
}

func open(t *testing.T, cfg Config, s *scheduler, saved []byte) *desk {
	t.Helper()
	d := &desk{t: t, scheduler: s, reg: prometheus.NewRegistry()}
	var err error
	d.tracker, err = New(cfg, Identity{Node: "n", Site: "fr", Run: [16]byte{1}}, []Source{s}, d, &clock{}, Hooks{
		Edge:      func(at unit.Micros) { d.mu.Lock(); d.edges = append(d.edges, at); d.mu.Unlock() },
		Incident:  func(i record.Incident) { d.mu.Lock(); d.incidents = append(d.incidents, i); d.mu.Unlock() },
		Save:      func(b []byte) error { d.mu.Lock(); d.saved = b; d.mu.Unlock(); return nil },
		Published: func(up unit.Micros) { d.mu.Lock(); d.published = up; d.mu.Unlock() },
	}, slog.New(slog.DiscardHandler), d.reg)
	if err != nil {
		t.Fatal(err)
	}
	if saved != nil {
		if err := d.tracker.Restore(saved); err != nil {
			t.Fatal(err)
		}
	}
	d.tracker.SetDevices([]agent.Device{
		{Device: record.Device{UUID: "GPU-a", Kind: record.KindGPU}}, {Device: record.Device{UUID: "GPU-b", Kind: record.KindGPU}},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); d.tracker.Run(ctx) }()
	d.stop = func() { cancel(); <-done }
	return d
}

func (d *desk) sent() []*wl.AllocationBatch {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.batches)
}

func configured(rules ...Rule) Config {
	c := DefaultConfig()
	c.Rules = rules
	return c
}

// table is what a reader makes of the messages, in lines. Times are seconds since from.
func (d *desk) table(from unit.Micros) (out []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	latest := map[string]*wl.Allocation{}
	for _, b := range d.batches {
		for _, a := range b.Allocations {
			if old := latest[a.AllocationId]; old == nil || a.Revision > old.Revision {
				latest[a.AllocationId] = a
			}
		}
	}
	for _, a := range latest {
		end := "…"
		if a.EndUs != 0 {
			end = fmt.Sprint((unit.Micros(a.EndUs) - from).Duration().Seconds())
		}
		out = append(out, fmt.Sprintf("%s of %s holds %d of %s %v–%s", a.SchedulerRef, a.Tenant, a.Thousandths, a.DeviceUuid, (unit.Micros(a.StartUs)-from).Duration().Seconds(), end))
	}
	slices.Sort(out)
	return out
}

func (d *desk) want(from unit.Micros, lines ...string) {
	d.t.Helper()
	synctest.Wait()
	if got := d.table(from); !slices.Equal(got, lines) {
		d.t.Errorf("got  %q\nwant %q", got, lines)
	}
}

func (d *desk) counter(name string) float64 {
	families, err := d.reg.Gather()
	if err != nil {
		d.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		for _, m := range f.Metric {
			labels := []string{f.GetName()}
			for _, l := range m.Label {
				if l.GetName() != "node" {
					labels = append(labels, l.GetValue())
				}
			}
			if strings.Join(labels, " ") == "wattledger_collector_"+name {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

var forAll = Rule{Set: Names{Tenant: "t"}}

// now is the time of the bubble, which begins in 2000, in the years for which messages are valid.
func now() unit.Micros { return unit.MicrosOf(time.Now()) + 26*365*24*unit.Hour }
