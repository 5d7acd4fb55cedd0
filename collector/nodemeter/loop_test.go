package nodemeter

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// bubble is the clock inside a synctest bubble; step moves its wall clock only.
type bubble struct {
	start time.Time
	mu    sync.Mutex
	step  unit.Micros
}

func (b *bubble) Now() unit.Micros {
	b.mu.Lock()
	defer b.mu.Unlock()
	return unit.MicrosOf(time.Now()) + b.step
}

func (b *bubble) Steady() unit.Micros { return unit.Micros(time.Since(b.start).Microseconds()) }

func (b *bubble) Wait(ctx context.Context, until unit.Micros, _ <-chan struct{}) (bool, error) {
	timer := time.NewTimer((until - b.Now()).Duration())
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-timer.C:
		return false, nil
	}
}

// keeper keeps what is published; fail may refuse.
type keeper struct {
	mu        sync.Mutex
	batches   []*wl.ReadingBatch
	incidents []record.Incident
	fail      func(b *wl.ReadingBatch) error
}

func (k *keeper) Readings(_ context.Context, b *wl.ReadingBatch) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		if err := k.fail(b); err != nil {
			return err
		}
	}
	k.batches = append(k.batches, proto.Clone(b).(*wl.ReadingBatch))
	return nil
}

func (k *keeper) incident(i record.Incident) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.incidents = append(k.incidents, i)
}

// of is what was published of a meter.
func (k *keeper) of(meter string) (out []*wl.Reading) {
	for _, b := range k.batches {
		for _, r := range b.Readings {
			if r.Meter == meter {
				out = append(out, r)
			}
		}
	}
	return out
}

// play runs the loop for a time in a bubble and checks what holds always.
func play(t *testing.T, feeds []Feed, change func(*Config), k *keeper, during func(c *bubble), span time.Duration) (*prometheus.Registry, error) {
	t.Helper()
	clock := &bubble{start: time.Now()}
	cfg := DefaultConfig()
	cfg.Node, cfg.Site, cfg.Run, cfg.Incident = "n1", "s1", run, k.incident
	if change != nil {
		change(&cfg)
	}
	reg := prometheus.NewRegistry()
	l, err := New(cfg, feeds, k, clock, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	if during != nil {
		go during(clock)
	}
	err = l.Run(ctx)
	var complete int64
	epochs := map[[2]string]int64{}
	for i, b := range k.batches {
		if err := wire.ValidateReadings(b); err != nil {
			t.Error(err)
		}
		if b.Sequence != uint64(i) || b.CompleteUpToUs < complete || b.Source != "n1/meters" {
			t.Errorf("message %d is %d of %s, complete up to %d after %d", i, b.Sequence, b.Source, b.CompleteUpToUs, complete)
		}
		for _, r := range b.Readings {
			key := [2]string{r.Meter, r.Epoch}
			if r.Value < epochs[key] {
				t.Errorf("%s fell from %d to %d in epoch %s", r.Meter, epochs[key], r.Value, r.Epoch)
			}
			epochs[key] = r.Value
		}
		complete = b.CompleteUpToUs
	}
	for _, i := range k.incidents {
		if err := i.Validate(); err != nil {
			t.Errorf("incident %+v: %v", i, err)
		}
	}
	return reg, err
}

// metric is the sum of a family's samples whose labels hold all the words.
func metric(t *testing.T, reg *prometheus.Registry, name string, words ...string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "wattledger_collector_meter_"+name {
			continue
		}
		for _, m := range f.Metric {
			has := func(w string) bool {
				return slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetValue() == w })
			}
			if !slices.ContainsFunc(words, func(w string) bool { return !has(w) }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// steady draws 1 W from one meter.
func steady(name string) FuncSource {
	return FuncSource{
		List: []Meter{{Name: name, Quantity: "switch_energy", Node: "n1"}},
		Fill: func(_ context.Context, at unit.Micros, v []Value) error {
			v[0] = Value{At: at, Power: 1000}
			return nil
		},
	}
}

func TestASourceThatHangsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		good, bad := steady("n1/a"), steady("n1/b")
		bad.Fill = func(_ context.Context, at unit.Micros, v []Value) error {
			if calls++; calls == 3 {
				time.Sleep(95 * time.Second) // whatever the context says
			}
			v[0] = Value{At: at, Power: 1000}
			return nil
		}
		k := &keeper{}
		reg, err := play(t, []Feed{{Name: "good", Source: good}, {Name: "bad", Source: bad}}, nil, k, nil, 205*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := k.of("n1/a"), k.of("n1/b"); len(a) != 21 || a[20].Value != 200_000 || len(b) != 11 || b[10].Value != 80_000 || b[1].Epoch == b[2].Epoch {
			t.Errorf("%d readings of the good source, last %v; %d of the bad: %v", len(a), a[len(a)-1], len(b), b)
		}
		// Hung from 20 s on; away until 115 s.
		if hung := metric(t, reg, "unread_total", "bad", "hung"); hung != 10 || metric(t, reg, "unread_total", "good") != 0 {
			t.Errorf("%v ticks counted as hung", hung)
		}
		if metric(t, reg, "source_hung") != 0 || metric(t, reg, "epochs_total", "bad", "gap") != 1 {
			t.Error("the source is still said to hang, or its epoch went on")
		}
		var kinds []string
		for _, i := range k.incidents {
			kinds = append(kinds, string(i.Kind)+" "+i.Reason+" "+i.Device+" "+(i.To-i.From).Duration().String())
		}
		if got := strings.Join(kinds, ", "); got != "gap hung n1/b 1m50s, epoch gap n1/b 1m50s" {
			t.Errorf("told: %s", got)
		}
		// While the bad one was silent, the good one's word was enough.
		last := k.batches[len(k.batches)-1]
		if want := unit.MicrosOf(time.Now()); last.CompleteUpToUs != int64(want) || len(last.Readings) != 0 {
			t.Errorf("the last message is complete up to %d, want %d", last.CompleteUpToUs, want)
		}
	})
}

func TestASlowSourceIsCutOffAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := steady("n1/a")
		s.Fill = func(ctx context.Context, _ unit.Micros, _ []Value) error {
			<-ctx.Done()
			return ctx.Err()
		}
		k := &keeper{}
		reg, err := play(t, []Feed{{Name: "slow", Source: s, Period: 5 * time.Second, Timeout: 4 * time.Second}}, nil, k, nil, 19500*time.Millisecond)
		if err != nil || metric(t, reg, "unread_total", "slow", "timeout") != 4 {
			t.Errorf("%v; %v readings cut off, want 4", err, metric(t, reg, "unread_total", "slow", "timeout"))
		}
		if len(k.incidents) != 1 || k.incidents[0].Device != "n1/a" || k.incidents[0].Amount != 4 {
			t.Errorf("told: %+v", k.incidents)
		}
	})
}

func TestReadingsAreKeptWhileThePublisherIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{}
		from := time.Now()
		k.fail = func(*wl.ReadingBatch) error {
			if d := time.Since(from); d > 20*time.Second && d < 100*time.Second {
				return errors.New("away")
			}
			return nil
		}
		reg, err := play(t, []Feed{{Name: "a", Source: steady("n1/a")}}, nil, k, nil, 205*time.Second)
		if r := k.of("n1/a"); err != nil || len(r) != 21 || metric(t, reg, "publish_errors_total") == 0 || metric(t, reg, "readings_dropped_total") != 0 {
			t.Errorf("%v; %d readings", err, len(r))
		}

		// With room for three the oldest go first: what is published is in order and without a hole in its numbers.
		k2 := &keeper{}
		from = time.Now()
		k2.fail = func(b *wl.ReadingBatch) error { return k.fail(b) }
		reg, err = play(t, []Feed{{Name: "a", Source: steady("n1/a")}}, func(c *Config) { c.Queue = 3 }, k2, nil, 205*time.Second)
		dropped := int(metric(t, reg, "readings_dropped_total", "queue_full"))
		if r := k2.of("n1/a"); err != nil || dropped == 0 || len(r)+dropped != 21 || r[len(r)-1].Value != 200_000 {
			t.Errorf("%v; %d readings and %d dropped", err, len(r), dropped)
		}

		// What can never be accepted is counted, and does not stand in the way.
		k3 := &keeper{}
		k3.fail = func(b *wl.ReadingBatch) error {
			if len(b.Readings) > 0 && b.Readings[0].Value == 50_000 && b.Sequence == 5 {
				return agent.ErrRefused
			}
			return nil
		}
		reg = prometheus.NewRegistry()
		cfg := DefaultConfig()
		cfg.Node, cfg.Site, cfg.Run = "n1", "s1", run
		l, err := New(cfg, []Feed{{Name: "a", Source: steady("n1/a")}}, k3, &bubble{start: time.Now()}, slog.New(slog.DiscardHandler), reg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 105*time.Second)
		defer cancel()
		if err := l.Run(ctx); err != nil || len(k3.of("n1/a")) != 10 || metric(t, reg, "readings_dropped_total", "refused") != 1 {
			t.Errorf("%v; %d readings", err, len(k3.of("n1/a")))
		}
	})
}

func TestStoppingWithoutThePublisherSaysWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{fail: func(*wl.ReadingBatch) error { return errors.New("away") }}
		reg, err := play(t, []Feed{{Name: "a", Source: steady("n1/a")}}, nil, k, nil, 35*time.Second)
		if err == nil || !strings.Contains(err.Error(), "5 messages unpublished") || metric(t, reg, "readings_dropped_total", "stopped") != 4 {
			t.Errorf("%v; %v readings counted", err, metric(t, reg, "readings_dropped_total", "stopped"))
		}
	})
}

func TestAStepOfTheClockMovesNoEnergy(t *testing.T) {
	for _, step := range []unit.Micros{-unit.Hour, unit.Hour, -3 * second} {
		synctest.Test(t, func(t *testing.T) {
			k := &keeper{}
			reg, err := play(t, []Feed{{Name: "a", Source: steady("n1/a")}}, nil, k, func(c *bubble) {
				time.Sleep(52 * time.Second)
				c.mu.Lock()
				c.step = step
				c.mu.Unlock()
			}, 105*time.Second)
			r := k.of("n1/a")
			if err != nil || len(r) != 11 || r[10].Value != 100_000 || r[0].Epoch != r[10].Epoch {
				t.Errorf("stepped by %v: %v; %v", step.Duration(), err, r)
			}
			if back := metric(t, reg, "backwards_total"); (step == -unit.Hour) != (back == 1) {
				t.Errorf("stepped by %v: %v readings went back", step.Duration(), back)
			}
		})
	}
}

func TestMetersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shifting{}
		k := &keeper{}
		reg, err := play(t, []Feed{{Name: "a", Source: s}}, nil, k, nil, 125*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, i := range k.incidents {
			told = append(told, string(i.Kind)+" "+i.Reason+" "+i.Device)
		}
		// Nothing for two ticks, then power, then nothing listed for two, then the same meter with a counter of its own.
		if got := strings.Join(told, ", "); got != "gap other n1/a, gap gone n1/m, epoch renewed n1/m" {
			t.Errorf("told: %s", got)
		}
		r := k.of("n1/m")
		if len(r) != 9 || r[2].Method != record.MethodIntegral || r[8].Method != record.MethodCounter || r[0].Epoch == r[8].Epoch {
			t.Errorf("read: %v", r)
		}
		if metric(t, reg, "unread_total", "gone") != 2 || metric(t, reg, "meters") != 1 || metric(t, reg, "incidents_total", "gap") != 2 {
			t.Error("the absence was not counted")
		}
	})
}

// One meter that makes no sense takes no other with it.
func TestAMeterThatMakesNoSenseIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := steady("n1/a")
		s.List = []Meter{{Name: "n1/heat", Quantity: "water"}, {Quantity: "cpu_energy"}, s.List[0], s.List[0]}
		s.Fill = func(_ context.Context, at unit.Micros, v []Value) error {
			for i := range v {
				v[i] = Value{At: at, Power: unit.Milliwatts(1000 * i)}
			}
			return nil
		}
		k := &keeper{}
		reg, err := play(t, []Feed{{Name: "a", Source: s}}, nil, k, nil, 25*time.Second)
		if r := k.of("n1/a"); err != nil || len(r) != 3 || r[2].Value != 40_000 || metric(t, reg, "unread_total", "nameless") != 3 {
			t.Errorf("%v; %v", err, r)
		}
	})
}

// shifting is a source whose meters come late, go away and come back as something else.
type shifting struct {
	calls  int
	listed []Meter
}

func (s *shifting) Meters() []Meter { return s.listed }

func (s *shifting) Read(_ context.Context, at unit.Micros, v []Value) error {
	s.calls++
	m := Meter{Name: "n1/m", Quantity: "node_energy", Node: "n1"}
	switch s.calls {
	case 1, 2:
		return errors.New("nobody answers")
	case 3:
		s.listed = []Meter{m}
		return agent.ErrChanged
	case 8:
		s.listed = nil
		return agent.ErrChanged
	case 11:
		m.Counter = true
		s.listed = []Meter{m}
		return agent.ErrChanged
	}
	for i := range v {
		v[i] = Value{At: at, Power: 1000, Count: uint64(s.calls)}
	}
	return nil
}

func TestConfigurationSaysAllItsFaults(t *testing.T) {
	_, err := New(Config{}, []Feed{{}, {Name: "a"}, {Name: "a"}, {Name: "b", Timeout: -1}}, nil, nil, slog.New(slog.DiscardHandler), nil)
	for _, word := range []string{"node:", "site:", "period:", "timeout:", "queue:", "retry_min", "stop_timeout:", "run:", `source ""`, `source "a"`, `source "b"`} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not name %s", err, word)
		}
	}
}
