package play

import (
	"context"
	"sync"

	"github.com/wattledger/wattledger/collector/dcgm/simctl"
	"github.com/wattledger/wattledger/collector/wallclock"
	"github.com/wattledger/wattledger/schemas/unit"
)

// gate keeps the nodes of a play together in virtual time: none runs ahead of what the scheduler has announced.
type gate struct {
	mu    sync.Mutex
	limit unit.Micros
	moved chan struct{} // closed and replaced when limit moves
}

func newGate(limit unit.Micros) *gate {
	return &gate{limit: limit, moved: make(chan struct{})}
}

func (g *gate) open(limit unit.Micros) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if limit > g.limit {
		g.limit = limit
		close(g.moved)
		g.moved = make(chan struct{})
	}
}

func (g *gate) wait(ctx context.Context, until unit.Micros) error {
	for {
		g.mu.Lock()
		pass, moved := until <= g.limit, g.moved
		g.mu.Unlock()
		if pass {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		}
	}
}

// virtualClock is one node's time in a play: waiting advances the simulated hardware.
type virtualClock struct {
	ctl  *simctl.Control
	node string
	gate *gate
	mu   sync.Mutex
	now  unit.Micros
	tick func(unit.Micros)
}

// Now is the instant the node has been played to.
func (c *virtualClock) Now() unit.Micros {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Steady is the same: nothing steps a virtual clock.
func (c *virtualClock) Steady() unit.Micros { return c.Now() }

// Wait plays the node up to until, once the gate lets it. Nothing wakes it.
func (c *virtualClock) Wait(ctx context.Context, until unit.Micros, _ <-chan struct{}) (woken bool, err error) {
	if err := c.gate.wait(ctx, until); err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if until <= c.now {
		return false, nil
	}
	if err := c.ctl.Advance(c.node, until); err != nil {
		return false, err
	}
	c.now = until
	if c.tick != nil {
		c.tick(until)
	}
	return false, nil
}

// wallClock plays a node along with the wall clock.
type wallClock struct {
	ctl  *simctl.Control
	node string
}

// Now is the present instant.
func (c *wallClock) Now() unit.Micros { return wallclock.Clock{}.Now() }

// Steady is the machine's monotonic time.
func (c *wallClock) Steady() unit.Micros { return wallclock.Clock{}.Steady() }

// Wait sleeps until the instant has come and plays the node up to it.
func (c *wallClock) Wait(ctx context.Context, until unit.Micros, wake <-chan struct{}) (woken bool, err error) {
	if woken, err := (wallclock.Clock{}).Wait(ctx, until, wake); err != nil || woken {
		return woken, err
	}
	return false, c.ctl.Advance(c.node, until)
}
