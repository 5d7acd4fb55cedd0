package nodemeter

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Publisher takes readings off our hands. A nil error means that they are durable and we may forget them; after an error
// we keep them and offer them again, unless it is agent.ErrRefused. The batch is ours again on return.
type Publisher interface {
	Readings(ctx context.Context, batch *wl.ReadingBatch) error
}

// outbox is the queue between the sources and the publisher.
type outbox struct {
	cfg       Config
	publisher Publisher
	log       *slog.Logger
	met       *metrics
	wake      chan struct{} // has one place: there is something new

	sequence uint64 // of the next message; written by deliver only

	mu     sync.Mutex // guards the rest
	queue  []*wl.ReadingBatch
	closed bool
	done   []unit.Micros // per source, up to when nothing more comes; 0 before its first word
	heard  []unit.Micros // per source, when it last gave word, in time that only passes
	upTo   unit.Micros   // what we have declared; never falls
}

func newOutbox(cfg Config, sources int, p Publisher, log *slog.Logger, met *metrics) *outbox {
	return &outbox{
		cfg: cfg, publisher: p, log: log, met: met, wake: make(chan struct{}, 1),
		done: make([]unit.Micros, sources), heard: make([]unit.Micros, sources),
	}
}

// put queues the readings of one tick of a source, which has nothing more to say up to done. patience is how long a source
// that gives no word is waited for.
func (o *outbox) put(source int, readings []*wl.Reading, done, steady unit.Micros, patience []unit.Micros) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done[source], o.heard[source] = done, steady
	up := done
	for i, d := range o.done {
		if steady-o.heard[i] <= patience[i] {
			up = min(up, d)
		}
	}
	o.upTo = max(o.upTo, up)
	o.append(readings)
}

// finish queues the last message: nothing more comes up to stop.
func (o *outbox) finish(stop unit.Micros) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.upTo = max(o.upTo, stop)
	o.append(nil)
	o.closed = true
}

// append is called with mu held. When the queue is full its oldest message makes room. It never had a sequence, so the
// run stays without a hole.
func (o *outbox) append(readings []*wl.Reading) {
	for len(o.queue) >= o.cfg.Queue {
		n := len(o.queue[0].Readings)
		o.met.dropped.WithLabelValues(o.cfg.Node, "queue_full").Add(float64(n))
		o.log.Warn("readings dropped", "reason", "queue_full", "readings", n)
		o.queue = o.queue[1:]
	}
	o.queue = append(o.queue, &wl.ReadingBatch{
		SchemaVersion: wire.SchemaVersion, Site: o.cfg.Site, Source: o.cfg.Node + "/meters", Run: o.cfg.Run[:],
		CompleteUpToUs: int64(o.upTo), Readings: readings,
	})
	o.met.queued.Set(float64(len(o.queue)))
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) next() (b *wl.ReadingBatch, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		return nil, o.closed
	}
	b = o.queue[0]
	o.queue = o.queue[1:]
	o.met.queued.Set(float64(len(o.queue)))
	return b, false
}

// deliver publishes in order until the queue is closed and empty, or the context ends. It returns how many messages are left.
func (o *outbox) deliver(ctx context.Context) (left int) {
	for {
		b, closed := o.next()
		switch {
		case closed:
			return left
		case b == nil:
			select {
			case <-o.wake:
			case <-ctx.Done():
				<-o.wake // finish wakes us, whatever happens
			}
			continue
		}
		b.Sequence = o.sequence
		switch err := o.publish(ctx, b); {
		case err == nil:
			o.sequence++
			o.met.messages.Inc()
		case errors.Is(err, agent.ErrRefused):
			o.sequence++
			o.met.dropped.WithLabelValues(o.cfg.Node, "refused").Add(float64(len(b.Readings)))
			o.log.Error("readings dropped", "reason", "refused", "readings", len(b.Readings), "sequence", b.Sequence, "error", err)
		default: // the context ended
			left++
			o.met.dropped.WithLabelValues(o.cfg.Node, "stopped").Add(float64(len(b.Readings)))
		}
	}
}

// publish offers a batch until it is taken or refused, or the context ends.
func (o *outbox) publish(ctx context.Context, b *wl.ReadingBatch) error {
	pause := o.cfg.RetryMin
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := o.publisher.Readings(ctx, b)
		if err == nil || errors.Is(err, agent.ErrRefused) {
			return err
		}
		why := code(err)
		o.met.errors.WithLabelValues(o.cfg.Node, string(why)).Inc()
		if attempt == 1 || pause >= o.cfg.RetryMax {
			o.log.Warn("readings will be published again", "reason", why, "sequence", b.Sequence, "attempt", attempt, "pause", pause, "error", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		pause = min(2*pause, o.cfg.RetryMax)
	}
}

// code is an error's own word for itself, when it has one.
func code(err error) Reason {
	var coded interface{ Code() string }
	switch {
	case errors.As(err, &coded):
		return Reason(coded.Code())
	case errors.Is(err, context.DeadlineExceeded):
		return Late
	default:
		return "other"
	}
}
