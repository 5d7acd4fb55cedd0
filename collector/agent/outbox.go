package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/wire"
)

// outbox keeps finished batches in order until the publisher has taken them.
type outbox struct {
	cfg       Config
	publisher Publisher
	incidents *incidents
	stating   []record.Incident // owned by deliver
	log       *slog.Logger
	met       *metrics
	queue     chan *batch // the loop writes and closes it
	free      chan *batch
	sequence  uint64 // of the next message; owned by deliver
	left      atomic.Int64
	stats     counts
}

type counts struct{ rows, messages, dropped, refused atomic.Uint64 }

// Stats says what has become of the rows of this run.
type Stats struct {
	// Samples and Messages were acknowledged by the publisher. Samples is rows: one per device and tick.
	Samples, Messages uint64
	// Dropped rows had no room in the queue; Refused rows were never going to be accepted.
	Dropped, Refused uint64
}

// Stats may be called at any time, from any goroutine.
func (a *Agent) Stats() Stats {
	s := &a.out.stats
	return Stats{Samples: s.rows.Load(), Messages: s.messages.Load(), Dropped: s.dropped.Load(), Refused: s.refused.Load()}
}

func newOutbox(cfg Config, p Publisher, queue *incidents, log *slog.Logger, met *metrics) *outbox {
	return &outbox{
		cfg: cfg, publisher: p, incidents: queue, log: log, met: met,
		queue: make(chan *batch, cfg.Queue), free: make(chan *batch, cfg.Queue+2),
	}
}

// fresh is a batch to fill, one that was published before if there is one.
func (o *outbox) fresh() *batch {
	select {
	case b := <-o.free:
		return b
	default:
	}
	b := newBatch()
	m := b.msg
	m.SchemaVersion, m.Site, m.Node, m.Run, m.BootId = wire.SchemaVersion, o.cfg.Site, o.cfg.Node, o.cfg.Run[:], o.cfg.BootID[:]
	m.PreviousRun, m.PreviousRunLastSequence = o.cfg.PreviousRun, o.cfg.PreviousLast
	m.PeriodMs, m.Source = uint32(o.cfg.Period.Milliseconds()), o.cfg.Source
	return b
}

func (o *outbox) recycle(b *batch) {
	select {
	case o.free <- b:
	default:
	}
}

// put queues a batch. With wait it blocks until there is room; otherwise the oldest batch makes room and is counted.
func (o *outbox) put(ctx context.Context, b *batch, wait bool) error {
	for {
		select {
		case o.queue <- b:
			o.met.queued.Set(float64(len(o.queue)))
			return nil
		default:
		}
		if wait {
			select {
			case o.queue <- b:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		select {
		case old := <-o.queue:
			// It never had a sequence, so the run stays without a hole; the ticks show what is missing.
			rows := uint64(old.rows())
			o.stats.dropped.Add(rows)
			o.met.dropped.WithLabelValues(o.cfg.Node, "queue_full").Add(float64(rows))
			o.log.Warn("samples dropped", "reason", "queue_full", "rows", rows)
			if rows > 0 {
				o.incidents.add(record.Incident{
					Kind: record.IncidentGap, Reason: "queue_full", From: old.first, To: max(old.first, old.lastTick), Amount: int64(old.ticks),
				})
			}
			o.recycle(old)
		default:
		}
	}
}

// deliver publishes the queue in order until it is closed and empty, or the context ends.
func (o *outbox) deliver(ctx context.Context) {
	for b := range o.queue {
		o.met.queued.Set(float64(len(o.queue)))
		rows := uint64(b.rows())
		b.msg.Sequence = o.sequence
		state := o.state(b)
		switch err := o.publish(ctx, b); {
		case err == nil:
			state()
			o.sequence++
			o.stats.rows.Add(rows)
			o.stats.messages.Add(1)
			o.met.published.Add(float64(rows))
			o.met.messages.Inc()
			o.recycle(b)
		case errors.Is(err, ErrRefused):
			o.sequence++
			o.stats.refused.Add(rows)
			o.met.dropped.WithLabelValues(o.cfg.Node, "refused").Add(float64(rows))
			o.log.Error("samples dropped", "reason", "refused", "rows", rows, "sequence", b.msg.Sequence, "error", err)
			o.recycle(b)
		default: // the context ended: count what is left, without losing the wait for the loop to close the queue
			o.left.Add(1)
		}
	}
}

// state writes the incidents that wait into the batch. They have been stated when it is published; what is called then
// forgets them. A batch that is refused states nothing, and the next one does.
func (o *outbox) state(b *batch) (done func()) {
	own := o.incidents.first(o.stating[:0], perMessage)
	n, lost := len(own), 0
	if o.cfg.Losses != nil {
		pending := o.cfg.Losses.Pending()
		lost = min(len(pending), perMessage)
		for _, l := range pending[:lost] {
			if err := l.Validate(); err != nil {
				// The whole message would be refused for it, and every one after.
				o.met.unstated.Inc()
				o.log.Error("a loss cannot be stated", "reason", l.Reason, "error", err)
				continue
			}
			own = append(own, l)
		}
	}
	o.stating, b.msg.Incidents = own, b.msg.Incidents[:0]
	if n+lost == 0 {
		return func() {}
	}
	for _, i := range own {
		b.msg.Incidents = append(b.msg.Incidents, wire.IncidentTo(i))
	}
	return func() {
		o.incidents.stated(n)
		if lost > 0 {
			o.cfg.Losses.Stated(lost)
		}
	}
}

// publish offers a batch until it is taken or refused, or the context ends.
func (o *outbox) publish(ctx context.Context, b *batch) error {
	pause := o.cfg.RetryMin
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := o.publisher.Publish(ctx, b.msg)
		if err == nil || errors.Is(err, ErrRefused) {
			return err
		}
		o.met.errors.WithLabelValues(o.cfg.Node, "publish", reason(err)).Inc()
		if attempt == 1 || pause >= o.cfg.RetryMax {
			o.log.Warn("publish will be tried again", "reason", reason(err), "sequence", b.msg.Sequence, "attempt", attempt, "pause", pause, "error", err)
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
