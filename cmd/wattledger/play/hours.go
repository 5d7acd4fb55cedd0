package play

import (
	"context"
	"sync"

	"github.com/wattledger/wattledger/cmd/wattledger/fleet"
	"github.com/wattledger/wattledger/schemas/unit"
)

// hours says when every node has come near the end of an hour, so that the scheduler can announce the next in time.
type hours struct {
	mu     sync.Mutex
	start  unit.Micros
	before unit.Micros
	near   []int // nodes that have come within before of the end of hour i
	ended  int
	nodes  int
	change chan struct{}
}

// newHours counts nodes that have come so near to the end of an hour; a little ahead of it, or with before 0 past it.
func newHours(f *fleet.Fleet, nodes int, before unit.Micros) *hours {
	return &hours{start: f.Start, before: before, near: make([]int, int((f.End-f.Start)/unit.Hour)+2), nodes: nodes, change: make(chan struct{})}
}

// reached says that a node has been played from one instant to another.
func (h *hours) reached(from, to unit.Micros) {
	a, b := (from-h.start+h.before)/unit.Hour, (to-h.start+h.before)/unit.Hour
	if a == b {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := max(a, 0); i < b && int(i) < len(h.near); i++ {
		h.near[i]++
	}
	h.signal()
}

// done says that a node will be played no further.
func (h *hours) done() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended++
	h.signal()
}

func (h *hours) signal() {
	close(h.change)
	h.change = make(chan struct{})
}

// wait returns when no node is more than an hour behind the end of the hour that begins at start: fast nodes may then go on
// while slow ones finish.
func (h *hours) wait(ctx context.Context, start unit.Micros) error {
	i := (start - h.start) / unit.Hour
	for {
		h.mu.Lock()
		ready, change := h.near[i] >= h.nodes || h.ended >= h.nodes, h.change
		h.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-change:
		}
	}
}
