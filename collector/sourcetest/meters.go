package sourcetest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/nodemeter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// MeterSource is a source of node meters that can be closed.
type MeterSource interface {
	nodemeter.Source
	io.Closer
}

// MeterSubject is a source of node meters to test.
type MeterSubject struct {
	// Open opens a source.
	Open func(t *testing.T) MeterSource
	// Advance moves the meters' time to an instant. It is not called from the goroutine of the test.
	Advance func(t *testing.T, to unit.Micros)
	// Start is when the source is opened; Period how often to read.
	Start, Period unit.Micros
}

// MeterCase is a fault of meters on the stage. At the first two ticks nothing is wrong, unless the fault is NotPermitted or Zero.
type MeterCase struct {
	MeterSubject
	// From and Until bound the fault: ticks in [From, Until) suffer it. Until 0 means that it stays.
	From, Until unit.Micros
	// Meter is the name of the meter that suffers.
	Meter string
}

// Wraps is a fault of meters only: the counter reaches its range and begins anew at 0.
const Wraps Fault = "counter wraps"

// MeterFaults lists the faults that every source of node meters is asked about.
var MeterFaults = []Fault{Blank, NotPermitted, Zero, Falls, Wraps, Frozen, Stale, Lost, Away, ClockBack}

// RunMeters runs the contract of nodemeter.Source, and every fault, through the loop that reads meters. stage returns the
// case, or the reason why the source cannot meet the fault: silence is no answer.
func RunMeters(t *testing.T, s MeterSubject, stage func(t *testing.T, f Fault) (c MeterCase, cannot string)) {
	t.Run("nothing wrong", func(t *testing.T) { meterContract(t, s) })
	for _, f := range MeterFaults {
		t.Run(string(f), func(t *testing.T) {
			c, cannot := stage(t, f)
			switch {
			case cannot != "":
				t.Logf("cannot happen: %s", cannot)
			case c.Open == nil:
				t.Error("no case and no reason why there is none")
			default:
				m := &meterPlay{c: c}
				if f == ClockBack {
					m.step = -unit.Hour
				}
				m.play(t)
				meterJudges[f](t, m)
			}
		})
	}
}

// meterPlay is a case, played through the loop, and what came of it. It is the loop's clock and publisher.
type meterPlay struct {
	c    MeterCase
	step unit.Micros // of the wall clock, at From
	end  unit.Micros // of the play, by the time that nothing steps
	stop func()
	t    *testing.T

	mu        sync.Mutex
	steady    unit.Micros
	readings  map[string][]*wl.Reading
	incidents []record.Incident
	ticks     []meterTick
}

// meterTick is one call of the source.
type meterTick struct {
	at     unit.Micros
	err    error
	meters []nodemeter.Meter
	values []nodemeter.Value
}

// play runs until eight ticks after the end of the fault.
func (m *meterPlay) play(t *testing.T) {
	t.Helper()
	m.t, m.readings = t, map[string][]*wl.Reading{}
	source := m.c.Open(t)
	cfg := nodemeter.DefaultConfig()
	cfg.Node, cfg.Site, cfg.Run, cfg.Incident = "n1", "s1", [16]byte{1}, m.incident
	cfg.Period = m.c.Period.Duration()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	m.stop, m.end = stop, max(m.c.From, m.c.Until)+8*m.c.Period
	l, err := nodemeter.New(cfg, []nodemeter.Feed{{Name: "source", Source: recorded{source, m}}}, m, m, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Run(ctx); err != nil {
		t.Error(err)
	}
	if err := source.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	for name, readings := range m.readings {
		last := map[string]int64{}
		for _, r := range readings {
			if r.Value < last[r.Epoch] {
				t.Errorf("%s fell from %d to %d within epoch %s", name, last[r.Epoch], r.Value, r.Epoch)
			}
			last[r.Epoch] = r.Value
		}
	}
}

// Now is the wall clock, which may step at From.
func (m *meterPlay) Now() unit.Micros {
	now := m.truth()
	if now >= m.c.From {
		now += m.step
	}
	return now
}

// truth is the time that nothing steps, counted from Start.
func (m *meterPlay) truth() unit.Micros {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.c.Start + m.steady
}

// Steady is time that only passes.
func (m *meterPlay) Steady() unit.Micros { return m.truth() - m.c.Start }

// Wait moves time on at once.
func (m *meterPlay) Wait(ctx context.Context, until unit.Micros, _ <-chan struct{}) (bool, error) {
	if left := until - m.Now(); left > 0 {
		m.mu.Lock()
		m.steady += left
		m.mu.Unlock()
	}
	if m.truth() > m.end {
		m.stop()
		return false, ctx.Err()
	}
	m.c.Advance(m.t, m.truth())
	return false, ctx.Err()
}

// Readings keeps what is published.
func (m *meterPlay) Readings(_ context.Context, b *wl.ReadingBatch) error {
	if err := wire.ValidateReadings(b); err != nil {
		m.t.Error(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range b.Readings {
		m.readings[r.Meter] = append(m.readings[r.Meter], proto.Clone(r).(*wl.Reading))
	}
	return nil
}

func (m *meterPlay) incident(i record.Incident) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.incidents = append(m.incidents, i)
}

// recorded is a source whose answers are kept.
type recorded struct {
	MeterSource
	play *meterPlay
}

func (r recorded) Read(ctx context.Context, at unit.Micros, values []nodemeter.Value) error {
	err := r.MeterSource.Read(ctx, at, values)
	if !errors.Is(err, agent.ErrChanged) {
		r.play.ticks = append(r.play.ticks, meterTick{
			at: r.play.truth(), err: err, meters: append([]nodemeter.Meter(nil), r.Meters()...), values: append([]nodemeter.Value(nil), values...),
		})
	}
	return err
}

func (m *meterPlay) during(tick unit.Micros) bool {
	return tick >= m.c.From && (m.c.Until == 0 || tick < m.c.Until)
}

// each yields the ticks at which a meter was listed, with what it said. A tick at which nothing could be read has an empty value.
func (m *meterPlay) each(name string, yield func(tick meterTick, meter nodemeter.Meter, v nodemeter.Value)) {
	for _, s := range m.ticks {
		for i, meter := range s.meters {
			if meter.Name == name {
				yield(s, meter, s.values[i])
			}
		}
	}
}

// told is what was told of a meter, as kind and reason.
func (m *meterPlay) told(name string) (out []string) {
	for _, i := range m.incidents {
		if i.Device == name {
			out = append(out, string(i.Kind)+" "+i.Reason)
		}
	}
	return out
}

// meterContract is a run in which nothing is wrong.
func meterContract(t *testing.T, s MeterSubject) {
	t.Helper()
	m := &meterPlay{c: MeterCase{MeterSubject: s, From: s.Start + 12*s.Period}}
	m.play(t)
	if len(m.ticks) != 21 || len(m.ticks[0].meters) == 0 {
		t.Fatalf("%d ticks, with the meters %v: the suite proves nothing", len(m.ticks), m.ticks[0].meters)
	}
	for _, i := range m.incidents {
		t.Errorf("told without a reason: %+v", i)
	}
	var parts []nodemeter.Part
	seen := map[string]bool{}
	for i, meter := range m.ticks[0].meters {
		if record.ReadingUnits[meter.Quantity] != "mJ" || meter.Node != "n1" || seen[meter.Name] {
			t.Errorf("meter %d is %+v: it needs a name of its own, an energy as its quantity, and its node", i, meter)
		}
		seen[meter.Name] = true
		parts = append(parts, meter.Part())
		if r := m.readings[meter.Name]; len(r) != 21 {
			t.Errorf("%s has %d readings of 21", meter.Name, len(r))
		} else if r[20].Value <= r[0].Value {
			t.Errorf("%s went from %d to %d", meter.Name, r[0].Value, r[20].Value)
		}
		m.each(meter.Name, func(tick meterTick, again nodemeter.Meter, v nodemeter.Value) {
			if again != meter {
				t.Errorf("at %v the meter %+v is %+v", tick.at.Time(), meter, again)
			}
			if v.At < tick.at || v.At > tick.at+s.Period {
				t.Errorf("at %v %s has the time %v", tick.at.Time(), meter.Name, v.At.Time())
			}
		})
	}
	if whole, _ := nodemeter.Whole(parts); len(whole) == 0 {
		t.Error("none of the meters counts towards the node")
	}

	source := s.Open(t)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := source.Read(cancelled, s.Start, make([]nodemeter.Value, len(source.Meters()))); err == nil || errors.Is(err, agent.ErrChanged) {
		t.Errorf("a reading under a cancelled context: %v", err)
	}
	for range 2 {
		if err := source.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}
