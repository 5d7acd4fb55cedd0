package watchdog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// hungError means that a call has not returned in time. It is still under way, or has been abandoned.
type hungError struct{ waited time.Duration }

func (e hungError) Error() string {
	return fmt.Sprintf("a call has not returned for %v: look at the driver (dmesg) and at nv-hostengine", e.waited.Round(time.Millisecond))
}

// Code is the error's word for itself in metrics, logs and gaps.
func (hungError) Code() string { return "hung" }

var errClosed = errors.New("the source is closed")

// Watchdog is a source that never keeps its caller waiting. It is for one goroutine, as agent.Source is.
type Watchdog struct {
	cfg  Config
	open func(ctx context.Context) (Source, error)
	log  *slog.Logger

	worker  *worker
	opened  bool // the worker's source is open
	changed bool // the devices are to be asked for again
	busy    operation
	since   time.Time // when the call under way began; zero when there is none
	timer   *time.Timer
	devices []agent.Device
	events  []agent.Event
	evErr   error

	abandonedCalls int
	exhausted      chan struct{}
	late           *prometheus.CounterVec
	abandoned      prometheus.Counter
}

// New prepares a watchdog over what open opens. open is called again whenever a source had to be abandoned.
func New(cfg Config, open func(ctx context.Context) (Source, error), log *slog.Logger, reg prometheus.Registerer) (*Watchdog, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("watchdog: %w", err)
	}
	w := &Watchdog{
		cfg: cfg, open: open, log: log, exhausted: make(chan struct{}), timer: time.NewTimer(time.Hour),
		late: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_collector_late_calls_total", Help: "Calls of the source that did not return before the deadline, by operation.",
		}, []string{"operation"}),
		abandoned: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wattledger_collector_abandoned_calls_total", Help: "Calls of the source that were given up, each with the thread it holds.",
		}),
	}
	w.timer.Stop()
	if reg != nil {
		for _, c := range []prometheus.Collector{w.late, w.abandoned} {
			if err := reg.Register(c); err != nil {
				return nil, fmt.Errorf("register metrics of the watchdog: %w", err)
			}
		}
	}
	return w, nil
}

// Exhausted is closed when so many calls have been abandoned that only a fresh process can help.
func (w *Watchdog) Exhausted() <-chan struct{} { return w.exhausted }

// Start opens the source for the first time, and waits for it as long as a call may take. An error says that there is
// nothing to read; Close is then not needed.
func (w *Watchdog) Start(ctx context.Context) error {
	w.hire(ctx)
	err := w.call(ctx, request{op: opOpen}, w.cfg.Abandon)
	if err != nil {
		if w.since.IsZero() {
			w.retire()
		} else {
			w.leave()
		}
		return err
	}
	w.opened = true
	w.devices = w.worker.devices
	return nil
}

func (w *Watchdog) hire(ctx context.Context) {
	w.worker, w.opened, w.since = newWorker(w.open, w.cfg.Extra), false, time.Time{}
	worker := w.worker
	ctx, worker.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(worker.ended)
		defer worker.cancel()
		worker.run(ctx)
	}()
}

// retire ends a worker that has nothing to do.
func (w *Watchdog) retire() {
	close(w.worker.requests)
	<-w.worker.ended
	w.worker = nil
}

// Abandoner is a source with something that the process has only once. It is told, while a call of it still hangs, that
// nobody waits for it any more, and lets go of that.
type Abandoner interface{ Abandon() }

// leave gives up the call under way, and whoever makes it.
func (w *Watchdog) leave() {
	w.worker.left.Store(true)
	w.worker.cancel()
	if w.opened { // until then the source is the worker's, who may just have opened it
		if a, can := w.worker.source.(Abandoner); can {
			a.Abandon()
		}
	}
	close(w.worker.requests)
	w.worker = nil
	w.since = time.Time{}
}

// call makes a request and waits for the answer, at most for so long. With a call under way it waits for that one.
func (w *Watchdog) call(ctx context.Context, r request, patience time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.since.IsZero() {
		w.busy, w.since = r.op, time.Now()
		w.worker.requests <- r
	}
	w.timer.Reset(patience)
	defer w.timer.Stop()
	select {
	case err := <-w.worker.answers:
		w.since = time.Time{}
		return err
	case <-w.timer.C:
		w.late.WithLabelValues(w.busy.String()).Inc()
		return hungError{time.Since(w.since)}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ready says whether the worker waits for a request. A call that came back too late is looked at here; one that took too
// long is abandoned here, and a fresh source is asked for.
func (w *Watchdog) ready(ctx context.Context) error {
	if w.worker == nil {
		return errClosed
	}
	if !w.since.IsZero() {
		select {
		case err := <-w.worker.answers:
			took := time.Since(w.since)
			w.since = time.Time{}
			w.log.Warn("a call returned late", "operation", w.busy.String(), "after", took, "error", err)
			w.back(err)
		default:
			waited := time.Since(w.since)
			if waited < w.cfg.Abandon {
				return hungError{waited}
			}
			w.abandon(ctx, waited)
		}
	}
	if w.opened {
		return nil
	}
	if err := w.call(ctx, request{op: opOpen}, w.cfg.Deadline); err != nil {
		return err
	}
	w.back(nil)
	return nil
}

// back takes what a late call has brought: nothing but a source that has been opened, and word of other devices.
func (w *Watchdog) back(err error) {
	switch {
	case w.busy == opOpen && err == nil:
		w.opened, w.changed = true, true
	case errors.Is(err, agent.ErrChanged):
		w.changed = true
	}
}

func (w *Watchdog) abandon(ctx context.Context, waited time.Duration) {
	w.abandoned.Inc()
	w.abandonedCalls++
	w.log.Error("call abandoned", "operation", w.busy.String(), "after", waited, "abandoned", w.abandonedCalls)
	if w.abandonedCalls == w.cfg.Limit {
		close(w.exhausted)
	}
	w.leave()
	w.hire(ctx)
}

// Devices lists what was found when the source was last asked.
func (w *Watchdog) Devices() []agent.Device { return w.devices }

// Read reads, or says within the deadline that it could not.
func (w *Watchdog) Read(ctx context.Context, tick unit.Micros, r *meter.Readings) error {
	w.events, w.evErr = w.events[:0], nil
	if err := w.ready(ctx); err != nil {
		return err
	}
	if w.changed {
		w.changed = false
		w.devices = w.worker.devices
		return agent.ErrChanged
	}
	if err := w.call(ctx, request{op: opRead, tick: tick}, w.cfg.Deadline); err != nil {
		if errors.Is(err, agent.ErrChanged) {
			w.devices = w.worker.devices
		}
		return err
	}
	w.worker.copyTo(r)
	w.events, w.evErr = append(w.events, w.worker.events...), w.worker.eventErr
	return nil
}

func (w *worker) copyTo(r *meter.Readings) {
	for i := range min(w.readings.Devices(), r.Devices()) {
		copy(r.Row(i), w.readings.Row(i))
		copy(r.Extra(i), w.readings.Extra(i))
	}
}

// Events appends what came with the last reading.
func (w *Watchdog) Events(_ context.Context, events []agent.Event) ([]agent.Event, error) {
	events = append(events, w.events...)
	w.events = w.events[:0]
	return events, w.evErr
}

// ReadEdge reads the energy counters at once, if the source can and nothing is under way.
func (w *Watchdog) ReadEdge(ctx context.Context, r *meter.Readings) error {
	if err := w.idle(); err != nil {
		return err
	}
	if err := w.call(ctx, request{op: opEdge}, w.cfg.Deadline); err != nil {
		return err
	}
	w.worker.copyTo(r)
	return nil
}

// idle says whether a request can be made without waiting for another.
func (w *Watchdog) idle() error {
	switch {
	case w.worker == nil || !w.opened:
		return errClosed
	case !w.since.IsZero():
		return hungError{time.Since(w.since)}
	}
	return nil
}

// CatchUp asks the source what it remembers. A source that remembers nothing has nothing to say.
func (w *Watchdog) CatchUp(ctx context.Context, from, to, every unit.Micros, row func(tick unit.Micros, r *meter.Readings) error) error {
	if err := w.idle(); err != nil {
		return err
	}
	err := w.call(ctx, request{op: opCatchUp, from: from, to: to, every: every}, w.cfg.Deadline)
	if err != nil {
		if errors.Is(err, agent.ErrCannot) {
			return nil
		}
		return err
	}
	r := meter.NewReadings(len(w.devices))
	for _, c := range w.worker.caught {
		r.Reset()
		for i, v := range c.values[:min(len(c.values), len(w.devices))] {
			r.Row(i)[meter.SlotEnergy] = v
		}
		if err := row(c.tick, r); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the source, unless a call of it hangs: then it is left alone.
func (w *Watchdog) Close() error {
	if w.worker == nil {
		return nil
	}
	patience := w.cfg.Deadline + time.Second
	if !w.since.IsZero() {
		// A reading that was under way when the loop ended. Its error is nobody's any more.
		if _ = w.call(context.Background(), request{}, patience); !w.since.IsZero() {
			w.leave()
			return nil
		}
	}
	err := w.call(context.Background(), request{op: opClose}, patience)
	if !w.since.IsZero() {
		w.leave()
		return err
	}
	<-w.worker.ended
	w.worker = nil
	return err
}

// String is the operation's word in metrics and logs.
func (o operation) String() string {
	switch o {
	case opOpen:
		return "open"
	case opRead:
		return "read"
	case opEdge:
		return "edge"
	case opCatchUp:
		return "catch_up"
	case opClose:
		return "close"
	}
	return "unknown"
}
