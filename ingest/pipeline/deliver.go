package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/wattledger/wattledger/schemas/wire"
)

// ErrRows means that the store will never take these rows, however often they are offered: one of them is at fault.
// Any other error of a Store is met by waiting and offering the same bytes under the same token.
var ErrRows = errors.New("rows refused by the store")

// Store writes a batch. A nil error means that what was asked for is durable. Each call is one insert per table, atomic,
// and the same call on the same batch is the same insert, so that repeating it changes nothing.
type Store interface {
	// InsertRows writes the rows of the entries [from, to).
	InsertRows(ctx context.Context, b *Batch, from, to int) error
	// InsertMessages writes the gap records, then a line for each entry that is not refused.
	InsertMessages(ctx context.Context, b *Batch) error
}

// Quarantine keeps refused messages. A nil error means that they are durable.
type Quarantine interface {
	Keep(ctx context.Context, refused []Refusal) error
}

// Retries is told of everything that is tried again.
type Retries interface {
	// Retried says that something failed and is tried again: rows, messages or refused of a batch.
	Retried(what string, b *Batch, err error)
	// Resumed says that it went through after all.
	Resumed(b *Batch)
}

// Deliverer brings batches into effect. It is used by many goroutines.
type Deliverer struct {
	Store      Store
	Quarantine Quarantine
	Retries    Retries
	Log        *slog.Logger
	// Fence, unless it is nil, is asked before each try; after an error of its the batch is no longer ours to store.
	Fence func() error
	// Backoff is the first wait after a failure; it doubles up to BackoffMax.
	Backoff, BackoffMax time.Duration
}

// Deliver brings the batch into effect; then its offset may be committed. It ends early only with ctx.
//
// Rows first, then gap records and the line of their message, then the refused, and the offset by the caller at last. A crash
// between any two of them repeats the later steps: rows without a line are recognised by their offset, gap records replace
// themselves, lines are recognised by the identity of their message, and a refused message may stand twice in its topic
// under one offset.
func (d *Deliverer) Deliver(ctx context.Context, b *Batch) error {
	if err := d.rows(ctx, b, 0, len(b.Entries)); err != nil {
		return err
	}
	b.refuseRepeats()
	b.NoteRefused()
	err := d.retry(ctx, "messages", b, func(ctx context.Context) error { return d.Store.InsertMessages(ctx, b) })
	if err != nil {
		return err
	}
	if len(b.Refused) == 0 {
		return nil
	}
	return d.retry(ctx, "refused", b, func(ctx context.Context) error { return d.Quarantine.Keep(ctx, b.Refused) })
}

// rows inserts the rows of the entries [from, to). When the store refuses them for what they are, it halves them until
// the message at fault is alone.
func (d *Deliverer) rows(ctx context.Context, b *Batch, from, to int) error {
	if from == to {
		return nil
	}
	err := d.retry(ctx, "rows", b, func(ctx context.Context) error { return d.Store.InsertRows(ctx, b, from, to) })
	if err == nil || !errors.Is(err, ErrRows) {
		return err
	}
	if to-from == 1 {
		e := &b.Entries[from]
		e.Refused = true
		b.Refused = append(b.Refused, Refusal{Message: e.Message, Reason: wire.ReasonInvalid, Detail: "the store refused its rows: " + err.Error()})
		return nil
	}
	middle := (from + to) / 2
	if err := d.rows(ctx, b, from, middle); err != nil {
		return err
	}
	return d.rows(ctx, b, middle, to)
}

// retry does it until it is done, ctx ends, or the rows are at fault.
func (d *Deliverer) retry(ctx context.Context, what string, b *Batch, do func(context.Context) error) error {
	waited := false
	for wait := d.Backoff; ; wait = min(2*wait, d.BackoffMax) {
		if d.Fence != nil {
			if err := d.Fence(); err != nil {
				d.Retries.Resumed(b)
				return fmt.Errorf("%s of %s partition %d before offset %d: %w", what, b.Topic, b.Partition, b.Next, err)
			}
		}
		err := do(ctx)
		if waited && (err == nil || errors.Is(err, ErrRows) || ctx.Err() != nil) {
			d.Retries.Resumed(b)
		}
		if err == nil || errors.Is(err, ErrRows) && what == "rows" {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s of %s partition %d before offset %d: %w", what, b.Topic, b.Partition, b.Next, err)
		}
		d.Retries.Retried(what, b, err)
		waited = true
		d.Log.Warn("not stored, trying again", "reason", what, "topic", b.Topic, "partition", b.Partition, "next", b.Next, "wait", wait, "error", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			d.Retries.Resumed(b) // nobody waits any more
			return fmt.Errorf("%s of %s partition %d before offset %d: %w (%w)", what, b.Topic, b.Partition, b.Next, err, ctx.Err())
		}
	}
}

// refuseRepeats puts aside the repeats of messages that the store refused. Their lines would say that the message is stored,
// and it could never be replayed.
func (b *Batch) refuseRepeats() {
	type id struct {
		run Run
		seq uint64
	}
	var faults map[id]string
	for _, e := range b.Entries {
		if e.Refused && !e.Repeat {
			if faults == nil {
				faults = map[id]string{}
			}
			faults[id{e.Run, e.Seq}] = b.detail(e.Message.Offset)
		}
	}
	for i := range b.Entries {
		e := &b.Entries[i]
		if fault, ok := faults[id{e.Run, e.Seq}]; ok && e.Repeat && !e.Refused {
			e.Refused = true
			b.Repeats--
			b.Refused = append(b.Refused, Refusal{Message: e.Message, Reason: wire.ReasonInvalid, Detail: fault})
		}
	}
}

// detail is why the message at the offset is refused.
func (b *Batch) detail(offset int64) string {
	for _, r := range b.Refused {
		if r.Message.Offset == offset {
			return r.Detail
		}
	}
	return ""
}
