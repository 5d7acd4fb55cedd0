package pipeline

import (
	"log/slog"
	"testing"
	"time"

	"github.com/wattledger/wattledger/schemas/wire"
)

// A message whose rows the store refused is not stored: when it comes again from the quarantine, and the store takes it by
// then, it is stored. Its repeats are put aside with it, or their line would say that it is there.
func TestWhatTheStoreRefusedCanBeReplayed(t *testing.T) {
	c := &choosy{bad: map[int64]bool{1: true}, stored: map[int64]int{}, noted: map[int64]int{}, stumble: 1}
	d := Deliverer{Store: c, Quarantine: c, Retries: c, Log: slog.New(slog.DiscardHandler), Backoff: time.Microsecond, BackoffMax: time.Microsecond}
	p := New(DefaultConfig(), wire.TopicSample, 0, nil)
	deliver := func(rows int, messages ...Message) {
		t.Helper()
		for _, m := range messages {
			offer(t, p, m)
		}
		if n := p.Batch().Rows(); n != rows {
			t.Errorf("%d rows from offset %d on, want %d", n, messages[0].Offset, rows)
		}
		if err := d.Deliver(t.Context(), p.Batch()); err != nil {
			t.Fatal(err)
		}
		p.Done()
	}
	deliver(3, message(0, samples(0, 1)), message(1, samples(1, 1)), message(2, samples(2, 1)), message(3, samples(1, 1)))
	if len(c.kept) != 2 || c.kept[0].Message.Offset != 1 || c.kept[1].Message.Offset != 3 || c.kept[1].Detail != c.kept[0].Detail {
		t.Errorf("kept are %+v, want the message and its repeat", c.kept)
	}
	if c.noted[3] != 0 {
		t.Error("the repeat of a refused message has a line")
	}
	deliver(1, message(4, samples(1, 1)))
	deliver(1, message(5, samples(1, 1)), message(6, samples(3, 1)))
	if c.stored[4] != 1 || c.noted[4] != 1 {
		t.Errorf("replayed, it is stored %d and noted %d times, want once", c.stored[4], c.noted[4])
	}
	if b := p.Batch(); c.noted[5] != 1 || len(c.kept) != 2 || b.Repeats != 0 {
		t.Errorf("replayed again it is noted %d times as a repeat, %d are kept", c.noted[5], len(c.kept))
	}
}
