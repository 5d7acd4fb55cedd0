package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// stated lists the incidents of all messages in a short form, times in seconds from the start.
func stated(batches []*wl.SampleBatch) (out []string) {
	for _, b := range batches {
		for _, x := range b.Incidents {
			i := wire.IncidentOf(x)
			at := func(t unit.Micros) float64 { return float64(t-start) / float64(second) }
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %g..%g %d %s", i.Kind, i.Reason, at(i.From), at(i.To), i.Amount, i.Device)))
		}
	}
	return out
}

func want(t *testing.T, batches []*wl.SampleBatch, want ...string) {
	t.Helper()
	got := stated(batches)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("stated:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func counted(t *testing.T, reg *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "wattledger_collector_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetName()+"="+l.GetValue())
			}
			if strings.Join(values, " ") == strings.Join(labels, " ") {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func TestTheTimeSinceTheRunBeforeIsAGap(t *testing.T) {
	k, cfg := &keeper{}, config()
	cfg.PreviousRun, cfg.PreviousLast, cfg.PreviousTick = make([]byte, wire.RunBytes), 41, start-20*second
	_, reg := play(t, cfg, &script{devices: gpus(1)}, k, &clock{now: start})
	want(t, k.batches, "gap stopped -20..0 19")
	if b := k.batches[0]; b.PreviousRunLastSequence != 41 || len(b.Incidents) != 1 {
		t.Errorf("the first message is %v", b)
	}
	if n := counted(t, reg, "gaps_total", "node=n1", "reason=stopped"); n != 1 {
		t.Errorf("%v gaps counted", n)
	}
	if x, r := tickCounts(k.batches); x != 19+61 || r != 61 {
		t.Errorf("%d of %d ticks were read, want 61 of those and of the 19 before", r, x)
	}
	cfg.PreviousTick = start - second
	k = &keeper{}
	play(t, cfg, &script{devices: gpus(1)}, k, &clock{now: start})
	want(t, k.batches) // nothing was missed
}

func TestASilentDeviceIsAGap(t *testing.T) {
	k, s := &keeper{}, &script{devices: gpus(2)}
	s.at = func(tick unit.Micros, r *meter.Readings) error {
		i := (tick - start) / second
		if i >= 10 && i < 20 || i == 30 { // one missing reading is none
			r.Row(1)[meter.SlotEnergy] = meter.Value{}
		}
		if i >= 50 {
			r.Row(0)[meter.SlotEnergy] = meter.Value{}
		}
		return nil
	}
	play(t, config(), s, k, &clock{now: start})
	want(t, k.batches, "gap unread 9..20 11 GPU-b", "gap unread 49..60 11 GPU-a")
}

func TestASilentNodeIsOneGap(t *testing.T) {
	k, s := &keeper{}, &script{devices: gpus(8)}
	s.at = func(tick unit.Micros, _ *meter.Readings) error {
		if i := (tick - start) / second; i >= 10 && i < 20 {
			return errors.New("the engine is away")
		}
		return nil
	}
	play(t, config(), s, k, &clock{now: start})
	want(t, k.batches, "gap other 9..20 11")
}

// A device whose next value comes a tick later than the others' had no gap of its own.
func TestTheNodesGapIsNotTheDevicesToo(t *testing.T) {
	k, s, cfg := &keeper{}, &script{devices: gpus(2)}, config()
	cfg.Until = start + 1500*second
	s.at = func(tick unit.Micros, r *meter.Readings) error {
		i := (tick - start) / second
		if i >= 10 && i < 910 {
			return errors.New("the engine is away")
		}
		if i == 910 {
			r.Row(1)[meter.SlotEnergy] = meter.Value{}
		}
		return nil
	}
	play(t, cfg, s, k, &clock{now: start})
	want(t, k.batches, "gap other 9..609 600", "gap other 609..910 301")
}

func TestALongGapIsStatedInParts(t *testing.T) {
	k, s, cfg := &keeper{}, &script{devices: gpus(1)}, config()
	cfg.Until = start + 1500*second
	s.at = func(tick unit.Micros, r *meter.Readings) error {
		if tick >= start+100*second && tick < start+1302*second {
			r.Row(0)[meter.SlotEnergy] = meter.Value{}
		}
		return nil
	}
	play(t, cfg, s, k, &clock{now: start})
	want(t, k.batches, "gap unread 99..699 600 GPU-a", "gap unread 699..1299 600 GPU-a", "gap unread 1299..1302 3 GPU-a")
}

func TestADeviceThatGoesIsAGapToItsEnd(t *testing.T) {
	k, s := &keeper{}, &script{devices: gpus(2)}
	told := false
	s.at = func(tick unit.Micros, r *meter.Readings) error {
		if i := (tick - start) / second; i >= 10 && i < 20 {
			r.Row(1)[meter.SlotEnergy] = meter.Value{}
		}
		if tick == start+20*second && !told {
			told, s.devices = true, gpus(1)
			return ErrChanged
		}
		return nil
	}
	play(t, config(), s, k, &clock{now: start})
	want(t, k.batches, "gap gone 9..20 11 GPU-b")
}

// stepping is a clock whose wall time is set while steady time goes on.
type stepping struct {
	clock
	ahead unit.Micros // of wall time before steady time
}

func (c *stepping) Now() unit.Micros { return c.now + c.ahead }

func (c *stepping) Wait(ctx context.Context, until unit.Micros, wake <-chan struct{}) (woken bool, err error) {
	return c.clock.Wait(ctx, until-c.ahead, wake)
}

func TestClockStepsAreStated(t *testing.T) {
	for _, by := range []unit.Micros{-30 * second, 30 * second} {
		k, s, c := &keeper{}, &script{devices: gpus(1)}, &stepping{clock: clock{now: start}}
		reads := 0
		s.at = func(tick unit.Micros, r *meter.Readings) error {
			if reads++; reads == 20 {
				c.ahead += by
			}
			if at := tick - c.Now(); reads != 20 && (at > 0 || at < -second) {
				t.Errorf("the tick %v is read at %v", tick.Time(), c.Now().Time())
			}
			r.Row(0)[meter.SlotEnergy] = meter.Value{At: tick - 10_000, Int: int64(c.now-start) / 1000} // a counter knows no clock
			return nil
		}
		cfg := config()
		cfg.Until = 0
		ctx, cancel := context.WithCancel(context.Background())
		s.devices[0].Slots = s.devices[0].Slots.Without(meter.SlotXID)
		stop := s.at
		s.at = func(tick unit.Micros, r *meter.Readings) error {
			if reads == 59 {
				cancel()
			}
			return stop(tick, r)
		}
		reg := prometheus.NewRegistry()
		a, err := New(cfg, s, k, c, quiet, reg)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Run(ctx); err != nil {
			t.Fatal(err)
		}
		got := stated(k.batches)
		if len(got) != 1 || !strings.HasPrefix(got[0], "clock_step clock ") || !strings.HasSuffix(got[0], fmt.Sprint(" ", int64(by))) {
			t.Errorf("a step by %v is stated as %q", by.Duration(), got)
		}
		if n := counted(t, reg, "clock_steps_total", "node=n1"); n != 1 {
			t.Errorf("%v steps counted", n)
		}
		if e, _ := tickCounts(k.batches); e < 59 || e > 61 {
			t.Errorf("after a step by %v %d ticks were expected in a minute", by.Duration(), e)
		}
		for _, b := range k.batches {
			if err := wire.ValidateSamples(b); err != nil {
				t.Error(err)
			}
		}
	}
}

// starved is a clock on a machine that takes the processor away for a while right after the wall time was read.
type starved struct {
	clock
	asked int
}

func (c *starved) Now() unit.Micros {
	now := c.now
	if c.asked++; c.asked%10 == 0 {
		c.now += 300_000
	}
	return now
}

func TestABusyMachineIsNoClockStep(t *testing.T) {
	k := &keeper{}
	_, reg := play(t, config(), &script{devices: gpus(1)}, k, &starved{clock: clock{now: start}})
	if n := counted(t, reg, "clock_steps_total", "node=n1"); n != 0 {
		t.Errorf("%v steps counted: %q", n, stated(k.batches))
	}
}

// remembering is a source that knows the energy of every tick, also of those at which nobody asked.
type remembering struct{ script }

func (s *remembering) CatchUp(_ context.Context, from, to, every unit.Micros, row func(unit.Micros, *meter.Readings) error) error {
	r := meter.NewReadings(len(s.devices))
	for at := from + every; at < to; at += every {
		for i := range s.devices {
			r.Row(i)[meter.SlotEnergy] = meter.Value{At: at - 10_000, Int: int64(at-start) / 1000}
		}
		if err := row(at, r); err != nil {
			return err
		}
	}
	return nil
}

func energies(batches []*wl.SampleBatch) map[unit.Micros]int {
	out := map[unit.Micros]int{}
	for _, b := range batches {
		for i, e := range b.EnergyMj {
			if e != record.AbsentCounter {
				out[unit.Micros(b.TickUs[i])]++
			}
		}
	}
	return out
}

// tickCounts are the counters of the last row.
func tickCounts(batches []*wl.SampleBatch) (expected, read uint64) {
	for _, b := range batches {
		if len(b.TickUs) > 0 {
			expected, read = last(b.TicksExpected), last(b.TicksRead)
		}
	}
	return expected, read
}

func TestALateLoopCatchesUp(t *testing.T) {
	k, c, s := &keeper{}, &clock{now: start}, &remembering{script{devices: gpus(2)}}
	s.at = func(tick unit.Micros, _ *meter.Readings) error {
		if tick == start+10*second {
			c.now = tick + 14*second
		}
		return nil
	}
	_, reg := play(t, config(), s, k, c)
	e := energies(k.batches)
	for i := unit.Micros(0); i <= 60; i++ {
		if e[start+i*second] != 2 {
			t.Errorf("tick %d has %d energies, want one of each device", i, e[start+i*second])
		}
	}
	if x, r := tickCounts(k.batches); x != 61 || r != 61 {
		t.Errorf("%d of %d ticks were read", r, x)
	}
	if n := counted(t, reg, "caught_up_ticks_total", "node=n1"); n != 13 {
		t.Errorf("%v ticks caught up, want 13", n)
	}
	want(t, k.batches)
}

func TestASilentNodeCatchesUpBeforeItIsComplete(t *testing.T) {
	k, s, cfg := &keeper{}, &remembering{script{devices: gpus(2)}}, config()
	cfg.MaxAge = 0
	s.at = func(tick unit.Micros, _ *meter.Readings) error {
		if i := (tick - start) / second; i >= 10 && i < 20 {
			return errors.New("the engine is away")
		}
		return nil
	}
	play(t, cfg, s, k, &clock{now: start})
	e := energies(k.batches)
	for i := unit.Micros(0); i <= 60; i++ {
		if e[start+i*second] != 2 {
			t.Errorf("tick %d has %d energies, want one of each device", i, e[start+i*second])
		}
	}
	var complete int64
	for _, b := range k.batches {
		for i, e := range b.EnergyMj {
			if e != record.AbsentCounter && int64(b.EnergyTsUs[i]) < complete {
				t.Errorf("energy of %d comes after the node was complete up to %d", b.EnergyTsUs[i], complete)
			}
		}
		complete = b.CompleteUpToUs
	}
	if x, r := tickCounts(k.batches); x != 61 || r != 61 {
		t.Errorf("%d of %d ticks were read", r, x)
	}
	want(t, k.batches, "gap other 9..20 11") // nothing else than energy is known of that time
}

// edging is a source that can be asked between ticks.
type edging struct {
	script
	c     *waking
	asked int
}

func (s *edging) ReadEdge(_ context.Context, r *meter.Readings) error {
	s.asked++
	r.Row(0)[meter.SlotEnergy] = meter.Value{At: s.c.now, Int: int64(s.c.now-start) / 1000}
	return nil
}

// waking is a clock that hears wake halfway between ticks.
type waking struct{ clock }

func (c *waking) Wait(ctx context.Context, until unit.Micros, wake <-chan struct{}) (woken bool, err error) {
	select {
	case <-wake:
		c.now = until - second/2
		return true, nil
	default:
		return c.clock.Wait(ctx, until, nil)
	}
}

func TestAnEdgeIsReadAtOnce(t *testing.T) {
	k, c := &keeper{}, &waking{clock{now: start}}
	s := &edging{script: script{devices: gpus(1)}, c: c}
	var a *Agent
	s.at = func(tick unit.Micros, _ *meter.Readings) error {
		if tick == start+10*second {
			a.TakeReading()
			a.TakeReading() // two at once are one
		}
		return nil
	}
	reg := prometheus.NewRegistry()
	var err error
	if a, err = New(config(), s, k, c, quiet, reg); err != nil {
		t.Fatal(err)
	}
	if err := a.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	e := energies(k.batches)
	if e[start+10*second+second/2] != 1 || s.asked != 1 {
		t.Errorf("asked %d times, and the edge has %d readings", s.asked, e[start+10*second+second/2])
	}
	if x, r := tickCounts(k.batches); x != 61 || r != 61 {
		t.Errorf("with an extra reading %d of %d ticks were read", r, x)
	}
	if n := counted(t, reg, "edge_readings_total", "node=n1"); n != 1 {
		t.Errorf("%v edges counted", n)
	}
}

// unable is a watchdog over a source that cannot be asked between ticks.
type unable struct{ edging }

func (*unable) ReadEdge(context.Context, *meter.Readings) error { return ErrCannot }

func TestASourceWithoutEdgesHasNoFault(t *testing.T) {
	c := &waking{clock{now: start}}
	s := &unable{edging{script: script{devices: gpus(1)}, c: c}}
	var a *Agent
	s.at = func(unit.Micros, *meter.Readings) error {
		a.TakeReading()
		return nil
	}
	reg := prometheus.NewRegistry()
	var err error
	if a, err = New(config(), s, &keeper{}, c, quiet, reg); err != nil {
		t.Fatal(err)
	}
	if err := a.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n, err := testutil.GatherAndCount(reg, "wattledger_collector_errors_total"); n != 0 || err != nil {
		t.Errorf("%d kinds of errors counted, %v", n, err)
	}
}

// A failure right after a step of the clock began then, not with the run.
func TestAGapAfterAClockStepBeginsThere(t *testing.T) {
	k, s, c, cfg := &keeper{}, &script{devices: gpus(1)}, &stepping{clock: clock{now: start}}, config()
	reads := 0
	s.at = func(unit.Micros, *meter.Readings) error {
		if reads++; reads == 30 {
			c.ahead += 5 * second
		}
		if reads > 30 && reads < 40 {
			return errors.New("the engine is away")
		}
		return nil
	}
	play(t, cfg, s, k, c)
	got := stated(k.batches)
	if len(got) != 2 || got[1] != "gap other 34..43 9" {
		t.Errorf("stated is %q", got)
	}
}

// book is a list of losses as the spool keeps it.
type book struct{ waiting []record.Incident }

func (b *book) Pending() []record.Incident { return b.waiting }
func (b *book) Stated(n int)               { b.waiting = b.waiting[n:] }

func TestLossesAreStatedUntilTheyAreDurable(t *testing.T) {
	k, cfg := &keeper{}, config()
	losses := &book{waiting: []record.Incident{{Kind: record.IncidentLoss, Reason: "spool_full", From: start, To: start + second, Amount: 3, First: 1, Last: 3}}}
	cfg.Losses, cfg.MaxAge = losses, 0
	failed := 0
	k.fail = func(b *wl.SampleBatch) error {
		switch {
		case b.Sequence == 0 && failed < 3:
			failed++
			return errors.New("no room")
		case b.Sequence == 0:
			return ErrRefused
		}
		return nil
	}
	a, _ := play2(t, cfg, &script{devices: gpus(1)}, k)
	a.Report(record.Incident{}) // breaks the rules of an incident
	want(t, k.batches, "loss spool_full 0..1 3")
	if len(losses.waiting) != 0 {
		t.Error("what is stated still waits")
	}
	if n := testutil.ToFloat64(a.met.unstated); n != 1 {
		t.Errorf("%v incidents counted as dropped", n)
	}
}

// A loss that is not well formed costs itself and nothing else: a message with it would be refused, and so the next.
func TestALossThatIsNotWellFormedIsLeftOut(t *testing.T) {
	k, cfg := &keeper{}, config()
	losses := &book{waiting: []record.Incident{
		{Kind: record.IncidentLoss, Reason: "corrupt", To: start},
		{Kind: record.IncidentLoss, Reason: "spool_full", From: start, To: start + second, Amount: 3},
	}}
	cfg.Losses = losses
	_, reg := play(t, cfg, &script{devices: gpus(1)}, k, &clock{now: start})
	want(t, k.batches, "loss spool_full 0..1 3")
	if n := counted(t, reg, "incidents_dropped_total", "node=n1"); n != 1 || len(losses.waiting) != 0 {
		t.Errorf("%v counted as dropped, %d wait", n, len(losses.waiting))
	}
}

// play2 is play without the checks that a refused message would fail.
func play2(t *testing.T, cfg Config, s Source, k *keeper) (*Agent, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	a, err := New(cfg, s, k, &clock{now: start}, quiet, reg)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	return a, reg
}

func TestAResetAndANewDriverAreEpochs(t *testing.T) {
	k, s := &keeper{}, &script{devices: gpus(1)}
	told := false
	s.at = func(tick unit.Micros, r *meter.Readings) error {
		v := &r.Row(0)[meter.SlotEnergy]
		if tick >= start+20*second {
			v.Int -= 20_000
		}
		if tick >= start+40*second && !told {
			told, s.devices = true, gpus(1)
			s.devices[0].Driver = "590.1"
			return ErrChanged
		}
		return nil
	}
	_, reg := play(t, config(), s, k, &clock{now: start})
	want(t, k.batches, "epoch fell 18.99..19.99 19000 GPU-a", "epoch driver 38.99..39.99 19000 GPU-a")
	if n := counted(t, reg, "epochs_total", "node=n1", "reason=driver"); n != 1 {
		t.Errorf("%v epochs counted", n)
	}
	for _, b := range k.batches {
		for i, e := range b.EnergyEpoch {
			at := (unit.Micros(b.TickUs[i]) - start) / second
			if n := uint32(min(at/20, 2)); e != n {
				t.Errorf("tick %d is in epoch %d, want %d", at, e, n)
			}
		}
	}
}

func TestTheQueueOfIncidentsIsBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	a, err := New(config(), &script{devices: gpus(1)}, &keeper{}, &clock{now: start}, quiet, reg)
	if err != nil {
		t.Fatal(err)
	}
	for range maxIncidents + 5 {
		a.Report(record.Incident{Kind: record.IncidentGap, Reason: "x", From: start, To: start})
	}
	if n := counted(t, reg, "incidents_dropped_total", "node=n1"); n != 5 {
		t.Errorf("%v dropped, want 5", n)
	}
}

// halting cannot be read from some tick on, and at a later one it is told to stop while it is being read.
type halting struct {
	script
	stop  context.CancelFunc
	reads int
}

func (s *halting) Read(ctx context.Context, tick unit.Micros, r *meter.Readings) error {
	switch s.reads++; {
	case s.reads > 9:
		s.stop()
		return ctx.Err()
	case s.reads > 3:
		return coded{"hung"}
	}
	return s.script.Read(ctx, tick, r)
}

type coded struct{ code string }

func (c coded) Error() string { return "it is " + c.code }
func (c coded) Code() string  { return c.code }

func TestAStopDoesNotHideWhyTheNodeWasNotRead(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	k, reg := &keeper{}, prometheus.NewRegistry()
	a, err := New(config(), &halting{script: script{devices: gpus(1)}, stop: stop}, k, &clock{now: start}, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(ctx); err != nil {
		t.Fatal(err)
	}
	want(t, k.batches, "gap hung 2..9 7")
	if n := counted(t, reg, "errors_total", "code=stopped", "node=n1", "operation=read"); n != 0 {
		t.Errorf("the stop is counted as %v failures", n)
	}
}
