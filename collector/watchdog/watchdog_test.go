package watchdog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const second = unit.Second

// engine is what sources are opened on. A reading takes as long as stall says; 0 in stuck means until the test ends.
type engine struct {
	mu            sync.Mutex // whoever hangs and whoever goes on touch it at once
	opens, closes int
	let           int // sources that were told to let go
	stall         time.Duration
	stuck         chan struct{} // while not nil, calls wait for it
	openStuck     bool
	ticks         []unit.Micros
}

type source struct {
	e       *engine
	devices []agent.Device
}

func (e *engine) open(context.Context) (Source, error) {
	e.mu.Lock()
	e.opens++
	stuck := e.openStuck
	e.mu.Unlock()
	if stuck {
		<-e.stuck
	}
	return &source{e: e, devices: []agent.Device{{
		Device: record.Device{UUID: "GPU-a", Kind: record.KindGPU, Energy: record.EnergyHardware}, Slots: meter.Set(0).With(meter.SlotEnergy),
	}}}, nil
}

func (s *source) Devices() []agent.Device { return s.devices }

func (s *source) Read(_ context.Context, tick unit.Micros, r *meter.Readings) error {
	s.e.mu.Lock()
	stall, stuck := s.e.stall, s.e.stuck
	s.e.mu.Unlock()
	if stall > 0 {
		time.Sleep(stall)
	}
	if stuck != nil {
		<-stuck
	}
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	s.e.ticks = append(s.e.ticks, tick)
	r.Row(0)[meter.SlotEnergy] = meter.Value{At: tick, Int: int64(tick)}
	return nil
}

func (s *source) Events(_ context.Context, events []agent.Event) ([]agent.Event, error) {
	return append(events, agent.Event{XID: 31}), nil
}

func (s *source) CatchUp(_ context.Context, from, to, every unit.Micros, row func(unit.Micros, *meter.Readings) error) error {
	r := meter.NewReadings(1)
	for at := from + every; at < to; at += every {
		r.Row(0)[meter.SlotEnergy] = meter.Value{At: at, Int: int64(at)}
		if err := row(at, r); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) ReadEdge(_ context.Context, r *meter.Readings) error {
	r.Row(0)[meter.SlotEnergy] = meter.Value{At: 7, Int: 7}
	return nil
}

func (s *source) Close() error {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	s.e.closes++
	return nil
}

// Abandon lets go while the call still hangs.
func (s *source) Abandon() {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	s.e.let++
}

func (e *engine) hang(on chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stuck = on
}

func started(t *testing.T, e *engine) *Watchdog {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Abandon = 5 * time.Second
	w, err := New(cfg, e.open, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return w
}

// read reads one tick, says how long the loop waited, and what came.
func read(w *Watchdog, tick unit.Micros) (v meter.Value, took time.Duration, err error) {
	begun := time.Now()
	r := meter.NewReadings(1)
	err = w.Read(context.Background(), tick, r)
	return r.Row(0)[meter.SlotEnergy], time.Since(begun), err
}

func code(err error) string {
	var c interface{ Code() string }
	if errors.As(err, &c) {
		return c.Code()
	}
	return ""
}

func TestAReadingInTimeIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, &engine{stall: 100 * time.Millisecond})
		v, took, err := read(w, second)
		if err != nil || v.Int != int64(second) || took != 100*time.Millisecond {
			t.Errorf("read %+v after %v, %v", v, took, err)
		}
		if events, err := w.Events(context.Background(), nil); err != nil || len(events) != 1 {
			t.Errorf("events %v, %v", events, err)
		}
		if events, _ := w.Events(context.Background(), nil); len(events) != 0 {
			t.Errorf("the same events come again: %v", events)
		}
		r := meter.NewReadings(1)
		if err := w.ReadEdge(context.Background(), r); err != nil || r.Row(0)[meter.SlotEnergy].Int != 7 {
			t.Errorf("edge: %+v, %v", r.Row(0)[meter.SlotEnergy], err)
		}
		n := 0
		if err := w.CatchUp(context.Background(), 0, 5*second, second, func(tick unit.Micros, r *meter.Readings) error {
			n++
			if v := r.Row(0)[meter.SlotEnergy]; v.At != tick || tick != unit.Micros(n)*second {
				t.Errorf("caught %+v at %v", v, tick)
			}
			return nil
		}); err != nil || n != 4 {
			t.Errorf("caught %d ticks, %v", n, err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if err := w.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
		if _, _, err := read(w, 9*second); err == nil {
			t.Error("a closed source is read")
		}
	})
}

func TestASlowCallDoesNotStopTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{stall: 2500 * time.Millisecond}
		w := started(t, e)
		if v, took, err := read(w, second); code(err) != "hung" || took != 800*time.Millisecond || v.At != 0 {
			t.Errorf("a slow reading gave %+v after %v, %v", v, took, err)
		}
		time.Sleep(200 * time.Millisecond)
		if _, took, err := read(w, 2*second); code(err) != "hung" || took != 0 {
			t.Errorf("while it is under way the next tick says %v after %v", err, took)
		}
		time.Sleep(2 * time.Second)
		e.mu.Lock()
		e.stall = 0
		e.mu.Unlock()
		if v, _, err := read(w, 4*second); err != nil || v.Int != int64(4*second) {
			t.Errorf("afterwards: %+v, %v: what came too late belongs to no tick", v, err)
		}
		if n := testutil.ToFloat64(w.late.WithLabelValues("read")); n != 1 {
			t.Errorf("%v late calls counted, want 1", n)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if e.opens != 1 || e.closes != 1 {
			t.Errorf("%d opened, %d closed", e.opens, e.closes)
		}
	})
}

func TestACallThatNeverReturnsIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{}
		w := started(t, e)
		never := make(chan struct{})
		for hang := 1; hang <= 3; hang++ {
			e.hang(never)
			var changed bool
			for i := range unit.Micros(9) {
				if i == 1 {
					e.hang(nil) // whoever hangs, hangs; the next source is well
				}
				_, took, err := read(w, i*second)
				if took > 800*time.Millisecond {
					t.Errorf("the loop waited %v", took)
				}
				if errors.Is(err, agent.ErrChanged) {
					changed = true
					if _, _, err := read(w, i*second); err != nil {
						t.Errorf("the source that was opened anew says %v", err)
					}
					break
				}
				time.Sleep(time.Second - took)
			}
			if !changed {
				t.Errorf("after hang %d no source was opened anew", hang)
			}
			if n := testutil.ToFloat64(w.abandoned); n != float64(hang) {
				t.Errorf("%v calls abandoned, want %d", n, hang)
			}
			select {
			case <-w.Exhausted():
				if hang < 3 {
					t.Errorf("exhausted after %d", hang)
				}
			default:
				if hang == 3 {
					t.Error("three hang, and nobody says so")
				}
			}
		}
		if e.let != 3 {
			t.Errorf("%d sources were told to let go", e.let)
		}
		ticks := len(e.ticks)
		close(never)
		synctest.Wait()
		if len(e.ticks) != ticks+3 || e.closes != 3 {
			t.Errorf("what hung has read %d ticks and closed %d sources in the end", len(e.ticks)-ticks, e.closes)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if e.opens != 4 || e.closes != 4 {
			t.Errorf("%d opened, %d closed", e.opens, e.closes)
		}
	})
}

func TestAnOpeningThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{openStuck: true, stuck: make(chan struct{})}
		cfg := DefaultConfig()
		w, err := New(cfg, e.open, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := w.Start(context.Background()); code(err) != "hung" || time.Since(begun) != cfg.Abandon {
			t.Errorf("opening says %v after %v", err, time.Since(begun))
		}
		close(e.stuck)
		synctest.Wait()
		if e.closes != 1 {
			t.Errorf("the source that came too late was closed %d times", e.closes)
		}
	})
}

func TestReadingDoesNotAllocate(t *testing.T) {
	e := &engine{ticks: make([]unit.Micros, 0, 1<<16)}
	w := started(t, e)
	defer w.Close()
	r, tick := meter.NewReadings(1), unit.Micros(0)
	events := make([]agent.Event, 0, 8)
	if n := testing.AllocsPerRun(100, func() {
		tick += second
		if err := w.Read(context.Background(), tick, r); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Events(context.Background(), events[:0]); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per reading, want 0", n)
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	if err := (Config{Abandon: -1}).Validate(); err == nil || len(err.Error()) < 60 {
		t.Errorf("faults are %v", err)
	}
	if _, err := New(Config{}, nil, nil, nil); err == nil {
		t.Error("an empty configuration is taken")
	}
}

// Closing while a reading is under way waits for it, so that the source is closed when Close returns.
func TestCloseWaitsForACallThatReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{stall: 500 * time.Millisecond}
		w := started(t, e)
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if err := w.Read(ctx, second, meter.NewReadings(1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the reading ended with %v", err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.closes != 1 || e.let != 0 {
			t.Errorf("it was closed %d times and abandoned %d times", e.closes, e.let)
		}
	})
}

// slowClosing takes as long to close as Close waits at most: whichever is first, nothing is given up twice.
type slowClosing struct{ *source }

func (s slowClosing) Close() error {
	time.Sleep(DefaultConfig().Deadline + time.Second)
	return s.source.Close()
}

func TestACloseThatReturnsAtTheLastMoment(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			e := &engine{}
			cfg := DefaultConfig()
			w, err := New(cfg, func(ctx context.Context) (Source, error) {
				s, err := e.open(ctx)
				return slowClosing{s.(*source)}, err
			}, slog.New(slog.DiscardHandler), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Start(context.Background()); err != nil {
				t.Fatal(err)
			}
			_ = w.Close()
			time.Sleep(time.Second)
		})
	}
}

// An opening that is given up just when it succeeds is closed, and nobody looks at what it opens meanwhile.
func TestAnOpeningThatIsGivenUpAsItSucceeds(t *testing.T) {
	for range 50 {
		e := &engine{openStuck: true, stuck: make(chan struct{})}
		w, err := New(DefaultConfig(), e.open, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			cancel()
			close(e.stuck)
		}()
		if err := w.Start(ctx); err == nil {
			_ = w.Close()
		}
	}
}
