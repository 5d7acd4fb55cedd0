package play

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/wattledger/wattledger/cmd/wattledger/fleet"
	"github.com/wattledger/wattledger/schemas/unit"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := newGate(10)
		if err := g.wait(ctx, 10); err != nil {
			t.Fatal(err)
		}
		passed := make(chan error, 1)
		go func() { passed <- g.wait(ctx, 30) }()
		g.open(20)
		g.open(15) // never closes again
		synctest.Wait()
		select {
		case err := <-passed:
			t.Fatalf("passed before it was open: %v", err)
		default:
		}
		if g.limit != 20 {
			t.Errorf("the limit is %d", g.limit)
		}
		g.open(30)
		if err := <-passed; err != nil {
			t.Error(err)
		}
		go func() { passed <- g.wait(ctx, 40) }()
		synctest.Wait()
		cancel()
		if err := <-passed; !errors.Is(err, context.Canceled) {
			t.Errorf("a wait that was ended returns %v", err)
		}
	})
}

// The scheduler announces the next hour when every node has come near its beginning, and not before.
func TestHours(t *testing.T) {
	const start = 1_790_000_000_000_000 / unit.Hour * unit.Hour
	synctest.Test(t, func(t *testing.T) {
		h := newHours(&fleet.Fleet{Start: start, End: start + 2*unit.Hour}, 2, 5*60*unit.Second)
		ready := make(chan error, 1)
		go func() { ready <- h.wait(t.Context(), start) }()
		near := start + unit.Hour - 5*60*unit.Second
		h.reached(start, near-1)
		h.reached(start, near)
		synctest.Wait()
		if len(ready) != 0 {
			t.Fatal("announced before the second node came near")
		}
		h.reached(near-1, near)
		if err := <-ready; err != nil {
			t.Error(err)
		}
		go func() { ready <- h.wait(t.Context(), start+unit.Hour) }()
		h.done()
		synctest.Wait()
		if len(ready) != 0 {
			t.Fatal("announced for one node of two")
		}
		h.done()
		if err := <-ready; err != nil {
			t.Error(err)
		}
	})
}
