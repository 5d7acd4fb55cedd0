package kafka

import (
	"context"

	"github.com/wattledger/wattledger/ingest/pipeline"
)

// holder says whether a partition is still ours.
type holder interface {
	// Held is nil while it is. Any error means that it may be another's.
	Held() error
}

// fence is a store that asks before every insert whether the partition is still ours. A process that slept through a rebalance would
// otherwise store what its successor has stored already, in another batch and so under another token, and learn at the commit only
// that it had lost the partition. What is cut off between the question and the insert remains; see DESIGN.md.
type fence struct {
	pipeline.Store
	claim  holder
	giveUp func() // ends the delivery, which would try again for ever
}

func (f fence) InsertRows(ctx context.Context, b *pipeline.Batch, from, to int) error {
	if err := f.claim.Held(); err != nil {
		f.giveUp()
		return err
	}
	return f.Store.InsertRows(ctx, b, from, to)
}

func (f fence) InsertMessages(ctx context.Context, b *pipeline.Batch) error {
	if err := f.claim.Held(); err != nil {
		f.giveUp()
		return err
	}
	return f.Store.InsertMessages(ctx, b)
}
