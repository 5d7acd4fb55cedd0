package watchdog

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Source is an agent.Source that can be closed.
type Source interface {
	agent.Source
	Close() error
}

type operation uint8

const (
	opOpen operation = iota
	opRead
	opEdge
	opCatchUp
	opClose
)

// request asks the worker for one operation. One is under way at a time.
type request struct {
	op              operation
	tick            unit.Micros
	from, to, every unit.Micros
}

// caught is one tick that a source remembered.
type caught struct {
	tick   unit.Micros
	values []meter.Value // of the energy counter, by device
}

// worker calls one source on one goroutine. What it fills belongs to it from the request to the answer, and to the
// watchdog from then on; after it has been abandoned nobody looks again.
type worker struct {
	open     func(ctx context.Context) (Source, error)
	extra    int
	requests chan request
	answers  chan error

	source   Source
	devices  []agent.Device
	readings *meter.Readings
	events   []agent.Event
	eventErr error
	caught   []caught
	left     atomic.Bool // abandoned: end as soon as the call returns
	cancel   context.CancelFunc
	ended    chan struct{} // closed when it is gone, which of one that was abandoned nobody waits for
}

func newWorker(open func(ctx context.Context) (Source, error), extra int) *worker {
	return &worker{
		open: open, extra: extra, requests: make(chan request, 1), answers: make(chan error, 1), readings: meter.NewReadings(0),
		ended: make(chan struct{}),
	}
}

// run answers requests until it is closed or abandoned. An abandoned worker closes its source, if it ever gets there.
func (w *worker) run(ctx context.Context) {
	for r := range w.requests {
		err := w.do(ctx, r)
		w.answers <- err
		if r.op == opClose {
			return
		}
		if w.left.Load() {
			break
		}
	}
	if w.source != nil {
		_ = w.source.Close() // nobody is left to tell
	}
}

func (w *worker) do(ctx context.Context, r request) error {
	switch r.op {
	case opOpen:
		source, err := w.open(ctx)
		if err != nil {
			return err
		}
		w.source = source
		w.list()
		return nil
	case opRead:
		w.readings.Reset()
		w.events = w.events[:0]
		err := w.source.Read(ctx, r.tick, w.readings)
		if errors.Is(err, agent.ErrChanged) {
			w.list()
			return err
		}
		if err == nil {
			w.events, w.eventErr = w.source.Events(ctx, w.events)
		}
		return err
	case opEdge:
		e, can := w.source.(agent.Edger)
		if !can {
			return agent.ErrCannot
		}
		w.readings.Reset()
		return e.ReadEdge(ctx, w.readings)
	case opCatchUp:
		c, can := w.source.(agent.Catcher)
		if !can {
			return agent.ErrCannot
		}
		w.caught = w.caught[:0]
		return c.CatchUp(ctx, r.from, r.to, r.every, func(tick unit.Micros, r *meter.Readings) error {
			values := make([]meter.Value, r.Devices())
			for i := range values {
				values[i] = r.Row(i)[meter.SlotEnergy]
			}
			w.caught = append(w.caught, caught{tick, values})
			return nil
		})
	case opClose:
		if w.source == nil {
			return nil
		}
		return w.source.Close()
	}
	return nil
}

// list takes the devices from the source, and room for their readings.
func (w *worker) list() {
	w.devices = w.source.Devices()
	w.readings = meter.NewWideReadings(len(w.devices), w.extra)
}
