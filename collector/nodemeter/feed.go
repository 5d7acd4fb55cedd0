package nodemeter

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// grace is how much longer than its deadline a source may take to come back before it counts as hung.
const grace = 500 * time.Millisecond

// errHung means that the source has not come back from a call.
var errHung = errors.New("the source has not come back from a call; it is left alone until it does")

// feed reads one source. Its fields belong to the goroutine of run, except while a call is out: then values and the
// source are the call's.
type feed struct {
	cfg     Config
	name    string
	source  Source
	clock   agent.Clock
	met     *metrics
	log     *slog.Logger
	period  unit.Micros
	timeout time.Duration

	values   []Value
	listed   []*track // in the order of values; nil for a meter that nobody could understand
	counters map[string]*track
	gone     []*track   // meters that were listed once and are not now
	away     chan error // a call that did not come back in time
	start    unit.Micros
	blind    absence // while there is no meter to name
}

// track is a meter with its counter and with what is known of its absence.
type track struct {
	*counter
	absence
}

// absence is a run of readings that could not be had.
type absence struct {
	ticks int64
	why   Reason
}

func (a *absence) miss(why Reason) {
	if a.ticks == 0 {
		a.why = why
	}
	a.ticks++
}

// run reads tick by tick until the context ends or Config.Until is reached. put takes what was read at a tick.
func (f *feed) run(ctx context.Context, put func(readings []*wl.Reading, done, steady unit.Micros)) {
	f.start = f.clock.Now()
	f.learn()
	for next := f.clock.Steady(); ; {
		now, steady := f.clock.Now(), f.clock.Steady()
		until := now + max(next-steady, 0)
		if f.cfg.Until != 0 && until > f.cfg.Until {
			break
		}
		if _, err := f.clock.Wait(ctx, until, nil); err != nil {
			break
		}
		now, steady = f.clock.Now(), f.clock.Steady()
		readings := f.tick(ctx, now, steady)
		put(readings, f.done(now, steady), steady)
		next += f.period
		for late := f.clock.Steady(); next+f.period <= late; next += f.period {
			f.missAll(Overrun)
		}
	}
	f.tellRest(f.clock.Now())
}

// tick reads the source once and says what became of each meter.
func (f *feed) tick(ctx context.Context, now, steady unit.Micros) []*wl.Reading {
	err := f.ask(ctx, now)
	f.met.seconds.WithLabelValues(f.cfg.Node, f.name).Add((f.clock.Steady() - steady).Duration().Seconds())
	if err != nil {
		why := code(err)
		if errors.Is(err, errHung) {
			why = Hung
		}
		if ctx.Err() == nil {
			f.log.Warn("meters not read", "reason", why, "error", err)
			f.missAll(why)
		}
		return nil
	}
	if f.blind.ticks > 0 && len(f.listed) > 0 {
		f.tell(record.Incident{Kind: record.IncidentGap, Reason: string(f.blind.why), Device: f.nameless(), From: min(f.start, now), To: now, Amount: f.blind.ticks})
		f.blind = absence{}
	}
	readings := make([]*wl.Reading, 0, len(f.listed))
	f.missGone()
	for i, t := range f.listed {
		if t == nil {
			continue
		}
		if r, ok := f.account(t, f.values[i], now, steady); ok {
			readings = append(readings, r)
		}
	}
	f.met.read.WithLabelValues(f.cfg.Node, f.name).Add(float64(len(readings)))
	return readings
}

// account takes one value of one meter. now and steady are the same instant, at which the reading began.
func (f *feed) account(t *track, v Value, now, steady unit.Micros) (*wl.Reading, bool) {
	last, lastSteady := t.last.At, t.steady
	at := steady + v.At - now
	o := t.observe(v, at)
	if o.why != "" {
		f.met.unread.WithLabelValues(f.cfg.Node, f.name, string(o.why)).Inc()
		// A source may sample more slowly than we read: what is stale for a while is no gap.
		if o.why != Stale || steady-lastSteady > meter.GapPeriods*f.period {
			t.miss(o.why)
		}
		return nil, false
	}
	from := min(f.start, v.At)
	if last > 0 {
		from = min(last, v.At)
	}
	if t.ticks > 0 {
		f.tell(record.Incident{Kind: record.IncidentGap, Reason: string(t.why), Device: t.meter.Name, From: from, To: v.At, Amount: t.ticks})
		t.absence = absence{}
	}
	if o.ended != "" {
		f.met.epochs.WithLabelValues(f.cfg.Node, f.name, string(o.ended)).Inc()
		f.log.Warn("a meter's counter begins anew", "meter", t.meter.Name, "reason", o.ended, "before", o.before, "after", o.reading.Value)
		f.tell(record.Incident{Kind: record.IncidentEpoch, Reason: string(o.ended), Device: t.meter.Name, From: from, To: v.At, Amount: o.before})
	}
	if o.wrapped {
		f.met.wraps.WithLabelValues(f.cfg.Node, f.name).Inc()
	}
	if o.backwards {
		f.met.backwards.WithLabelValues(f.cfg.Node, f.name).Inc()
	}
	return wire.ReadingTo(o.reading), true
}

// ask reads the source within its deadline, and again when its meters have changed.
func (f *feed) ask(ctx context.Context, now unit.Micros) error {
	if f.away != nil {
		select {
		case err := <-f.away:
			f.away = nil
			f.met.busy.WithLabelValues(f.cfg.Node, f.name).Set(0)
			f.log.Info("the source has come back", "brought", err) // which is of an earlier tick
		default:
			return errHung
		}
	}
	deadline, cancel := context.WithTimeout(ctx, f.timeout)
	err := f.call(deadline, cancel, now)
	if errors.Is(err, agent.ErrChanged) {
		f.learn()
		deadline, cancel = context.WithTimeout(ctx, f.timeout)
		err = f.call(deadline, cancel, now)
	}
	return err
}

// call lets a goroutine of its own wait for the source. The buffer is the call's until it has come back.
func (f *feed) call(ctx context.Context, cancel context.CancelFunc, now unit.Micros) error {
	clear(f.values)
	back := make(chan error, 1)
	go func() {
		defer cancel()
		back <- f.source.Read(ctx, now, f.values)
	}()
	timer := time.NewTimer(f.timeout + grace)
	defer timer.Stop()
	select {
	case err := <-back:
		return err
	case <-timer.C:
		f.away = back
		f.met.busy.WithLabelValues(f.cfg.Node, f.name).Set(1)
		return errHung
	}
}

// learn takes the meters from the source. A meter that stays keeps its counter. One without a name of its own, or whose
// quantity is no energy, would have every reading of its message refused: it is left out.
func (f *feed) learn() {
	meters := f.source.Meters()
	f.values, f.listed = make([]Value, len(meters)), make([]*track, len(meters))
	f.met.meters.WithLabelValues(f.cfg.Node, f.name).Set(float64(len(meters)))
	listed := map[string]bool{}
	for i, m := range meters {
		if m.Name == "" || listed[m.Name] || record.ReadingUnits[m.Quantity] != "mJ" {
			f.met.unread.WithLabelValues(f.cfg.Node, f.name, string(Nameless)).Inc()
			f.log.Error("a meter is left out", "reason", Nameless, "meter", m.Name, "quantity", m.Quantity)
			continue
		}
		m.PerMillijoule = max(m.PerMillijoule, 1)
		listed[m.Name] = true
		switch old := f.counters[m.Name]; {
		case old == nil:
			f.counters[m.Name] = &track{counter: newCounter(m, f.cfg.Run, f.period)}
		case old.meter != m:
			f.counters[m.Name] = &track{counter: old.replace(m), absence: old.absence}
		}
		f.listed[i] = f.counters[m.Name]
	}
	f.gone = f.gone[:0]
	for _, name := range slices.Sorted(maps.Keys(f.counters)) {
		if !listed[name] {
			f.gone = append(f.gone, f.counters[name])
		}
	}
}

// missAll counts a tick at which nothing was read.
func (f *feed) missAll(why Reason) {
	f.met.unread.WithLabelValues(f.cfg.Node, f.name, string(why)).Add(float64(max(len(f.listed), 1)))
	if len(f.listed) == 0 {
		f.blind.miss(why)
	}
	for _, t := range f.listed {
		if t != nil {
			t.miss(why)
		}
	}
	f.missGone()
}

// missGone counts a tick for the meters that the source does not list any more: their silence would not show otherwise.
func (f *feed) missGone() {
	for _, t := range f.gone {
		f.met.unread.WithLabelValues(f.cfg.Node, f.name, string(Gone)).Inc()
		t.miss(Gone)
	}
}

// done is up to when nothing more comes: a meter's next value is later than its last. A meter that has been silent for
// longer is not waited for.
func (f *feed) done(now, steady unit.Micros) unit.Micros {
	up := now
	for _, t := range f.listed {
		if t != nil && t.started && steady-t.steady <= meter.GapPeriods*f.period {
			up = min(up, t.last.At)
		}
	}
	return up
}

// tellRest tells of the gaps that are still open at the end.
func (f *feed) tellRest(now unit.Micros) {
	if f.blind.ticks > 0 {
		f.tell(record.Incident{Kind: record.IncidentGap, Reason: string(f.blind.why), Device: f.nameless(), From: min(f.start, now), To: now, Amount: f.blind.ticks})
	}
	for _, name := range slices.Sorted(maps.Keys(f.counters)) {
		t := f.counters[name]
		if t.ticks == 0 {
			continue
		}
		from := f.start
		if t.started {
			from = t.last.At
		}
		f.tell(record.Incident{Kind: record.IncidentGap, Reason: string(t.why), Device: name, From: min(from, now), To: now, Amount: t.ticks})
	}
}

// nameless stands for the meters of a source that has not said yet which it has.
func (f *feed) nameless() string { return f.cfg.Node + "/" + f.name }

func (f *feed) tell(i record.Incident) {
	f.met.incidents.WithLabelValues(f.cfg.Node, string(i.Kind)).Inc()
	if f.cfg.Incident != nil {
		f.cfg.Incident(i)
	}
}
