package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// pulse watches the readings for /readyz and shows them to the observer behind it.
type pulse struct {
	next   agent.Observer // nil where nobody else looks
	period time.Duration

	mu  sync.Mutex
	at  unit.Micros // of the last tick; 0 before the first. Guarded by mu
	err error       // why nothing was read at it; guarded by mu
}

// Observe is agent.Observer.
func (p *pulse) Observe(tick unit.Micros, devices []agent.Device, r *meter.Readings, err error) {
	p.mu.Lock()
	p.at, p.err = tick, err
	p.mu.Unlock()
	if p.next != nil {
		p.next.Observe(tick, devices, r, err)
	}
}

// ObserveEvents is agent.Observer.
func (p *pulse) ObserveEvents(devices []agent.Device, events []agent.Event) {
	if p.next != nil {
		p.next.ObserveEvents(devices, events)
	}
}

// healthy says whether the devices are read: whether the last tick was, and is not long ago.
func (p *pulse) healthy(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch old := (now() - p.at).Duration(); {
	case p.at == 0:
		return errors.New("nothing has been read yet")
	case p.err != nil:
		return p.err
	case old > max(10*p.period, 5*time.Second):
		return fmt.Errorf("nothing has been read for %v", old.Round(time.Second))
	}
	return nil
}
