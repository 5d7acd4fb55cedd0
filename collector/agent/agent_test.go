package agent

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

const (
	second = unit.Second
	start  = unit.Micros(1_767_225_600_000_000)
)

var quiet = slog.New(slog.DiscardHandler)

// clock is a virtual clock; a reading may move it.
type clock struct{ now unit.Micros }

func (c *clock) Now() unit.Micros { return c.now }

func (c *clock) Steady() unit.Micros { return c.now }

func (c *clock) Wait(ctx context.Context, until unit.Micros, _ <-chan struct{}) (woken bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	c.now = max(c.now, until)
	return false, nil
}

// script is a source that does at each tick what the test says. By default every device has drawn 1 W for ever.
type script struct {
	devices []Device
	at      func(tick unit.Micros, r *meter.Readings) error
	events  []Event
}

func (s *script) Devices() []Device { return s.devices }

func (s *script) Read(_ context.Context, tick unit.Micros, r *meter.Readings) error {
	for i := range s.devices {
		r.Row(i)[meter.SlotEnergy] = meter.Value{At: tick - 10_000, Int: int64(tick-start) / 1000}
	}
	if s.at != nil {
		return s.at(tick, r)
	}
	return nil
}

func (s *script) Events(_ context.Context, events []Event) ([]Event, error) {
	events = append(events, s.events...)
	s.events = nil
	return events, nil
}

func gpus(n int) []Device {
	var out []Device
	for i := range n {
		out = append(out, Device{
			Device: record.Device{UUID: "GPU-" + string(rune('a'+i)), Kind: record.KindGPU, Energy: record.EnergyHardware, Driver: "580.1"},
			Slots:  meter.Set(0).With(meter.SlotEnergy).With(meter.SlotXID),
		})
	}
	return out
}

// keeper keeps what is published; fail may refuse.
type keeper struct {
	mu      sync.Mutex
	batches []*wl.SampleBatch
	fail    func(b *wl.SampleBatch) error
}

func (k *keeper) Publish(_ context.Context, b *wl.SampleBatch) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		if err := k.fail(b); err != nil {
			return err
		}
	}
	k.batches = append(k.batches, proto.Clone(b).(*wl.SampleBatch))
	return nil
}

func config() Config {
	c := DefaultConfig()
	c.Node, c.Site, c.BlockWhenFull, c.MaxAge = "n1", "s1", true, 10*time.Second
	c.RetryMin, c.RetryMax = time.Millisecond, 2*time.Millisecond
	c.Run[0], c.BootID[0] = 1, 2
	c.Until = start + 60*second
	return c
}

// play runs an agent to its end and returns what was published, checked as ingest would check it.
func play(t *testing.T, cfg Config, s Source, k *keeper, c Clock) (*Agent, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	a, err := New(cfg, s, k, c, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	var next uint64
	var complete int64
	for _, b := range k.batches {
		if err := wire.ValidateSamples(b); err != nil {
			t.Fatal(err)
		}
		if b.Sequence != next || b.CompleteUpToUs < complete {
			t.Errorf("message %d is complete up to %d; expected number %d, and not before %d", b.Sequence, b.CompleteUpToUs, next, complete)
		}
		next, complete = b.Sequence+1, b.CompleteUpToUs
	}
	return a, reg
}

func ticks(batches []*wl.SampleBatch) (out []unit.Micros) {
	for _, b := range batches {
		for i, tick := range b.TickUs {
			if b.Device[i] == 0 {
				out = append(out, unit.Micros(tick))
			}
		}
	}
	return out
}

func TestEveryTickIsPublishedOnce(t *testing.T) {
	k := &keeper{}
	a, reg := play(t, config(), &script{devices: gpus(3)}, k, &clock{start + 300_000})
	got := ticks(k.batches)
	if len(got) != 60 || got[0] != start+second || got[59] != start+60*second {
		t.Fatalf("%d ticks from %v to %v", len(got), got[0].Time(), got[len(got)-1].Time())
	}
	last := k.batches[len(k.batches)-1]
	if last.CompleteUpToUs != int64(start+60*second) {
		t.Errorf("the last message is complete up to %d, want the stop", last.CompleteUpToUs)
	}
	for _, b := range k.batches {
		if b.Site != "s1" || b.PeriodMs != 1000 || b.Source != "dcgm" || b.DriverVersion != "580.1" || len(b.Devices) != 3 {
			t.Errorf("header is %v", b)
		}
		if len(b.SmActiveUs) != 0 || len(b.PowerW) != 0 {
			t.Error("a column that no device supports is present")
		}
		if n := len(b.TickUs); n > 3*11 {
			t.Errorf("a message of %d rows is older than 10 s", n)
		}
	}
	if s := a.Stats(); s.Samples != 180 || s.Messages != uint64(len(k.batches)) || s.Dropped+s.Refused != 0 {
		t.Errorf("stats are %+v", s)
	}
	want := `
# HELP wattledger_collector_samples_published_total Samples that the publisher acknowledged as durable, unread devices included.
# TYPE wattledger_collector_samples_published_total counter
wattledger_collector_samples_published_total{node="n1"} 180
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "wattledger_collector_samples_published_total"); err != nil {
		t.Error(err)
	}
}

func TestMessagesAreBounded(t *testing.T) {
	for _, f := range []struct {
		name string
		set  func(*Config)
		rows int
	}{
		{"age", func(c *Config) { c.MaxAge = 5 * time.Second }, 6 * 2},
		{"ticks", func(c *Config) { c.MaxAge, c.MaxTicks = time.Hour, 7 }, 7 * 2},
		{"bytes", func(c *Config) { c.MaxAge, c.MaxBytes = time.Hour, 1024 }, 1024 / 40},
		{"each tick, when a period is longer than the age", func(c *Config) { c.MaxAge, c.Period = time.Second, 10*time.Second }, 2},
	} {
		cfg, k := config(), &keeper{}
		f.set(&cfg)
		play(t, cfg, &script{devices: gpus(2)}, k, &clock{start})
		for _, b := range k.batches {
			if len(b.TickUs) > f.rows {
				t.Errorf("%s: a message has %d rows, want at most %d", f.name, len(b.TickUs), f.rows)
			}
			if size := proto.Size(b); size > cfg.MaxBytes {
				t.Errorf("%s: a message has %d bytes, the limit is %d", f.name, size, cfg.MaxBytes)
			}
		}
	}
}

func TestMissedTicksAreExpected(t *testing.T) {
	k, c := &keeper{}, &clock{start}
	s := &script{devices: gpus(1)}
	s.at = func(tick unit.Micros, _ *meter.Readings) error {
		if tick == start+10*second {
			c.now = tick + 4*second + 500_000 // a reading that took 4.5 s
		}
		return nil
	}
	_, reg := play(t, config(), s, k, c)
	b := k.batches[len(k.batches)-1]
	expected, read := last(b.TicksExpected), last(b.TicksRead)
	if expected != 61 || read != 58 {
		t.Errorf("%d of %d ticks were read, want 58 of 61", read, expected)
	}
	if got := ticks(k.batches); slices.Contains(got, start+13*second) || !slices.Contains(got, start+14*second) {
		t.Errorf("ticks are %v", got)
	}
	if n := testutil.CollectAndCount(reg, "wattledger_collector_missed_ticks_total"); n != 1 {
		t.Errorf("missed ticks are counted %d times", n)
	}
}

func last[E any](s []E) E { return s[len(s)-1] }

func TestAFailedReadingIsARowWithoutValues(t *testing.T) {
	k := &keeper{}
	s := &script{devices: gpus(2)}
	s.at = func(tick unit.Micros, _ *meter.Readings) error {
		if tick == start+30*second {
			return errors.New("the engine is away")
		}
		return nil
	}
	_, reg := play(t, config(), s, k, &clock{start})
	var absent int
	for _, b := range k.batches {
		for i, e := range b.EnergyMj {
			if e == record.AbsentCounter {
				absent++
				if b.TickUs[i] != int64(start+30*second) || b.EnergyTsUs[i] != wire.AbsentTime || b.Xid[i] != record.AbsentCode {
					t.Errorf("row at %d is without energy", b.TickUs[i])
				}
			}
		}
	}
	if absent != 2 {
		t.Errorf("%d rows without energy, want 2", absent)
	}
	if got := testutil.ToFloat64(mustVec(t, reg).WithLabelValues("n1", "read", "other")); got != 1 {
		t.Errorf("%v failures counted, want 1", got)
	}
}

func mustVec(t *testing.T, reg *prometheus.Registry) *prometheus.CounterVec {
	t.Helper()
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattledger_collector_errors_total", Help: "Operations that failed, by operation and code."}, []string{"node", "operation", "code"})
	return register(reg, v)
}

func TestCompleteWaitsForTheOldestReading(t *testing.T) {
	k := &keeper{}
	s := &script{devices: gpus(2)}
	s.at = func(tick unit.Micros, r *meter.Readings) error {
		if tick > start+10*second { // the second GPU falls silent
			r.Row(1)[meter.SlotEnergy] = meter.Value{}
		}
		return nil
	}
	cfg := config()
	cfg.MaxAge = 0 // a message per tick
	play(t, cfg, s, k, &clock{start})
	f := func(tick, want unit.Micros) {
		t.Helper()
		for _, b := range k.batches {
			if len(b.TickUs) > 0 && b.TickUs[0] == int64(tick) && b.CompleteUpToUs != int64(want) {
				t.Errorf("at %d s complete up to %d µs, want %d", (tick-start)/second, b.CompleteUpToUs-int64(start), want-start)
			}
		}
	}
	f(start+10*second, start+10*second-10_000)
	f(start+12*second, start+10*second-10_000)
	f(start+13*second, start+10*second-10_000)
	f(start+14*second, start+14*second-10_000) // silent for more than three periods: not waited for
	f(start+40*second, start+40*second-10_000)
}

func TestPublishingIsTriedUntilItWorks(t *testing.T) {
	k := &keeper{}
	failures := 0
	k.fail = func(b *wl.SampleBatch) error {
		if b.Sequence == 2 && failures < 5 {
			failures++
			return errors.New("no broker")
		}
		return nil
	}
	a, _ := play(t, config(), &script{devices: gpus(1)}, k, &clock{start})
	if failures != 5 || len(ticks(k.batches)) != 61 || a.Stats().Samples != 61 {
		t.Errorf("%d failures, %d ticks", failures, len(ticks(k.batches)))
	}
}

func TestARefusedMessageIsDroppedAndCounted(t *testing.T) {
	k := &keeper{fail: func(b *wl.SampleBatch) error {
		if b.Sequence == 1 {
			return ErrRefused
		}
		return nil
	}}
	cfg := config()
	a, err := New(cfg, &script{devices: gpus(1)}, k, &clock{start}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	s := a.Stats()
	if s.Refused == 0 || s.Refused+s.Samples != 61 {
		t.Errorf("stats are %+v", s)
	}
	if k.batches[1].Sequence != 2 {
		t.Errorf("after message 0 comes %d, want the hole to show", k.batches[1].Sequence)
	}
}

// Under a real clock nothing waits for a publisher that is away: the oldest messages go, and are counted.
func TestTheOldestMakesRoom(t *testing.T) {
	away := make(chan struct{})
	k := &keeper{fail: func(*wl.SampleBatch) error { <-away; return nil }}
	cfg := config()
	cfg.BlockWhenFull, cfg.Queue, cfg.MaxAge = false, 4, 0
	s := &script{devices: gpus(1)}
	s.at = func(tick unit.Micros, _ *meter.Readings) error {
		if tick == cfg.Until {
			close(away)
		}
		return nil
	}
	a, _ := play(t, cfg, s, k, &clock{start})
	stats := a.Stats()
	if stats.Dropped == 0 || stats.Dropped+stats.Samples != 61 {
		t.Errorf("stats are %+v, want 61 rows in all", stats)
	}
	if got := ticks(k.batches); last(got) != cfg.Until {
		t.Errorf("the newest tick was lost: %v", last(got).Time())
	}
	if e := last(k.batches[len(k.batches)-2].TicksExpected); e != 61 {
		t.Errorf("the counter says %d ticks were expected, want 61: the gap must show", e)
	}
}

func TestXIDsStandInTheRowOfTheirTick(t *testing.T) {
	k, s := &keeper{}, &script{devices: gpus(2)}
	s.at = func(tick unit.Micros, _ *meter.Readings) error {
		if tick == start+5*second {
			s.events = []Event{{Device: 1, At: tick - 2, XID: 31}, {Device: 1, At: tick - 1, XID: 43}, {Device: 9, XID: 1}}
		}
		return nil
	}
	play(t, config(), s, k, &clock{start})
	for _, b := range k.batches {
		for i, x := range b.Xid {
			want := uint32(0)
			if b.TickUs[i] == int64(start+5*second) && b.Device[i] == 1 {
				want = 43
			}
			if x != want {
				t.Errorf("tick %d device %d has XID %d, want %d", b.TickUs[i], b.Device[i], x, want)
			}
		}
	}
}

func TestNewDevicesMeanANewTable(t *testing.T) {
	k, s := &keeper{}, &script{devices: gpus(2)}
	var told bool
	s.at = func(tick unit.Micros, _ *meter.Readings) error {
		if tick == start+7*second && !told {
			told = true
			s.devices = gpus(3)[1:] // the first went, a third came
			return ErrChanged
		}
		return nil
	}
	cfg := config()
	var announced []int
	cfg.Announce = func(devices []Device) { announced = append(announced, len(devices)) }
	play(t, cfg, s, k, &clock{start})
	if !slices.Equal(announced, []int{2, 2}) {
		t.Errorf("announced %v devices", announced)
	}
	counts := map[string]uint64{}
	for _, b := range k.batches {
		for i, d := range b.Device {
			uuid := b.Devices[d].Uuid
			if e := b.TicksExpected[i]; e != counts[uuid]+1 {
				t.Fatalf("%s has %d expected ticks after %d", uuid, e, counts[uuid])
			}
			counts[uuid]++
		}
	}
	if counts["GPU-a"] != 7 || counts["GPU-b"] != 61 || counts["GPU-c"] != 54 {
		t.Errorf("rows per device are %v", counts)
	}
}

func TestACancelledRunSaysGoodbye(t *testing.T) {
	k := &keeper{}
	ctx, cancel := context.WithCancel(context.Background())
	s := &script{devices: gpus(1)}
	s.at = func(tick unit.Micros, _ *meter.Readings) error {
		if tick == start+20*second {
			cancel()
		}
		return nil
	}
	cfg := config()
	cfg.Until, cfg.MaxAge = 0, time.Hour
	c := &clock{start}
	a, err := New(cfg, s, k, c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(ticks(k.batches)); n != 21 || last(k.batches).CompleteUpToUs != int64(start+20*second) {
		t.Errorf("%d ticks, complete up to %d", n, last(k.batches).CompleteUpToUs-int64(start))
	}
}

func TestAStopDoesNotWaitForEver(t *testing.T) {
	k := &keeper{fail: func(*wl.SampleBatch) error { return errors.New("no broker") }}
	cfg := config()
	cfg.StopTimeout, cfg.Queue, cfg.MaxAge = 20*time.Millisecond, 100, 0
	a, err := New(cfg, &script{devices: gpus(1)}, k, &clock{start}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "unpublished") {
		t.Errorf("with everything left behind Run says %v", err)
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	err := Config{}.Validate()
	if err == nil {
		t.Fatal("an empty configuration is valid")
	}
	for _, want := range []string{"node", "site", "period", "max_bytes", "queue", "retry_min", "run", "boot id"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the faults:\n%v", want, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("01234567-89ab-cdef-0123-456789abcdef\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		if err != nil {
			return
		}
		again, err := ParseID(hex.EncodeToString(id[:]))
		if err != nil || again != id {
			t.Errorf("%q made %x, which reads as %x, %v", text, id, again, err)
		}
	})
}
