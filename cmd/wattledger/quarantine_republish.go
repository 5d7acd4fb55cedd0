package main

import (
	"context"
	"time"

	"github.com/wattledger/wattledger/ingest/kafka"
	"github.com/wattledger/wattledger/ingest/quarantine"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
)

// republish is one run of the command.
type republish struct {
	quarantine.Replayer
	archive *kafka.Archive
	before  []kafkaconn.Span // what wl.refused.v1 held before anything was published
	result  republished
}

// A piece of a replay: what is in memory at once, and what one question to the database is about.
const (
	pieceMessages = 500
	pieceBytes    = 16 << 20
)

// positions replays the messages named, or the one with its mended bytes.
func (r *republish) positions(ctx context.Context, at []quarantine.Position, mend bool, mended []byte) error {
	for _, p := range at {
		k, err := r.archive.At(ctx, p)
		if err != nil {
			return err
		}
		if mend {
			k.Value, k.ValueBytes = mended, len(mended)
		}
		if err := r.replay(ctx, []quarantine.Kept{k}); err != nil {
			return err
		}
	}
	return nil
}

// picked replays those that were refused before it began and that the filter picks.
func (r *republish) picked(ctx context.Context, env *process.Env, filter quarantine.Filter) error {
	var piece []quarantine.Kept
	bytes := 0
	flush := func() error {
		err := r.replay(ctx, piece)
		piece, bytes = nil, 0
		return err
	}
	err := eachKept(ctx, env, r.archive, r.before, func(k quarantine.Kept) error {
		if !filter.Picks(k) {
			return nil
		}
		if piece, bytes = append(piece, k), bytes+len(k.Value); len(piece) < pieceMessages && bytes < pieceBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

func (r *republish) replay(ctx context.Context, kept []quarantine.Kept) error {
	out, err := r.Replay(ctx, kept, now())
	r.result.Messages = append(r.result.Messages, out...)
	return err
}

// await looks until what was published is stored or refused again, or the time is up: ingest may not be running.
func (r *republish) await(ctx context.Context, env *process.Env, limit time.Duration) error {
	waiting := map[quarantine.Identity][]*quarantine.Outcome{}
	for i := range r.result.Messages {
		if o := &r.result.Messages[i]; o.Done == quarantine.Published && o.ID != nil {
			waiting[*o.ID] = append(waiting[*o.ID], o)
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	total := int64(len(waiting))
	stage := progress.New(env.Stderr, env.Flags.Quiet || env.Flags.JSON).Stage("Wait for ingest", total, "messages")
	defer stage.Done()
	settled := func(id quarantine.Identity, done quarantine.Done, detail string) {
		for _, o := range waiting[id] {
			o.Done, o.Detail = done, detail
		}
		delete(waiting, id)
		stage.Set(total - int64(len(waiting)))
	}
	deadline := time.Now().Add(limit)
	for pause := 100 * time.Millisecond; len(waiting) > 0 && time.Now().Before(deadline); pause = min(2*pause, 2*time.Second) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		if err := r.refusedAgain(ctx, func(k quarantine.Kept) {
			if id, ok := k.Identity(); ok && waiting[id] != nil {
				settled(id, quarantine.DoneAgain, "at "+k.Position.String()+" for "+k.Reason+": "+k.Detail)
			}
		}); err != nil {
			return err
		}
		ids := make([]quarantine.Identity, 0, len(waiting))
		for id := range waiting {
			ids = append(ids, id)
		}
		there, err := quarantine.StoredOf(ids, r.Stored)
		if err != nil {
			return err
		}
		for id := range there {
			if there[id] {
				settled(id, quarantine.DoneStored, "")
			}
		}
	}
	return nil
}

// refusedAgain reads what has been put aside since it looked last.
func (r *republish) refusedAgain(ctx context.Context, each func(quarantine.Kept)) error {
	after, err := r.archive.Spans(ctx)
	if err != nil {
		return err
	}
	ends := map[int]int64{}
	for _, s := range r.before {
		ends[s.Partition] = s.End
	}
	var fresh []kafkaconn.Span
	for _, s := range after {
		fresh = append(fresh, kafkaconn.Span{Partition: s.Partition, First: max(s.First, ends[s.Partition]), End: s.End})
	}
	r.before = after
	return r.archive.Kept(ctx, fresh, func(k quarantine.Kept) error {
		each(k)
		return nil
	})
}
