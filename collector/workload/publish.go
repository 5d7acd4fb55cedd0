package workload

import (
	"context"
	"errors"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// maxPerMessage keeps a message far below its limit: an allocation has at most eight texts of maxText bytes.
const maxPerMessage = 250

// publish hands over what is new, or everything. A message that could not be handed over is offered again as it is before
// another is made, since a message of the same run and sequence with other content would be taken for a repeat.
func (t *Tracker) publish(ctx context.Context, now unit.Micros, full bool) {
	if !t.deliver(ctx) {
		return
	}
	t.mu.Lock()
	complete := t.declare()
	allocations := t.book.statement(full)
	if len(allocations) == 0 && !full {
		t.mu.Unlock()
		return
	}
	for {
		n := min(len(allocations), maxPerMessage)
		b := &wl.AllocationBatch{
			SchemaVersion: wire.SchemaVersion, Site: t.id.Site, Source: t.id.Node + "/allocations", Run: t.id.Run[:], Sequence: t.sequence,
		}
		t.sequence++
		for _, a := range allocations[:n] {
			b.Allocations = append(b.Allocations, wire.AllocationTo(a))
		}
		allocations = allocations[n:]
		if len(allocations) == 0 {
			b.CompleteUpToUs = int64(complete) // the last declares; those before it are not all
		}
		t.pending = append(t.pending, b)
		if len(allocations) == 0 {
			break
		}
	}
	t.book.handedOver() // they are in pending, which is offered until it is taken
	t.mu.Unlock()
	if full {
		t.nextFull = now + unit.Micros(t.cfg.FullInterval.Microseconds())
	}
	t.deliver(ctx)
}

// declare is the instant up to which every source has told everything, less what late words may still come. It never falls.
func (t *Tracker) declare() unit.Micros {
	up := forever
	for _, s := range t.sources {
		up = min(up, t.upTo[s.Name()]) // 0 for one that was never read
	}
	if len(t.sources) > 0 && up > 0 {
		t.complete = max(t.complete, up-unit.Micros(t.cfg.Settle.Microseconds()))
	}
	t.met.complete.Set(float64(t.complete) / 1e6)
	return t.complete
}

// deliver offers what is pending in order and says whether all of it is gone.
func (t *Tracker) deliver(ctx context.Context) bool {
	for len(t.pending) > 0 {
		b := t.pending[0]
		err := t.pub.Allocations(ctx, b)
		switch {
		case err == nil:
			t.met.messages.WithLabelValues("published").Inc()
			t.met.stated.Add(float64(len(b.Allocations)))
		case errors.Is(err, agent.ErrRefused):
			t.met.messages.WithLabelValues("refused").Inc()
			t.log.Error("allocations refused", "allocations", len(b.Allocations), "error", err)
		default:
			t.met.messages.WithLabelValues("retried").Inc()
			t.log.Warn("allocations not published", "allocations", len(b.Allocations), "error", err)
			return false
		}
		t.pending = t.pending[1:]
		if up := unit.Micros(b.CompleteUpToUs); err == nil && up > t.announced && t.hooks.Published != nil {
			t.announced = up
			t.hooks.Published(up)
		}
	}
	return true
}
