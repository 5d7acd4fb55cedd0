// Package wallclock is the agent's clock in production: the machine's own time.
//
// It promises that waiting ends with the context, and that a step of the clock neither shortens nor lengthens a wait. What
// a step means is left to the agent, which compares Now with Steady.
package wallclock

import (
	"context"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Clock is the machine's clock, CLOCK_REALTIME, as DCGM's time stamps are.
type Clock struct{}

// Now is the present instant.
func (Clock) Now() unit.Micros { return unit.MicrosOf(time.Now()) }

// start is where Steady counts from. Go's times carry the monotonic clock along, which no step moves.
var start = time.Now()

// Steady is CLOCK_MONOTONIC. It stands still while a machine is suspended, which then looks like a step of the wall clock.
func (Clock) Steady() unit.Micros { return unit.Micros(time.Since(start).Microseconds()) }

// Wait returns when the time from now until then has passed, when wake receives, or with the context's error.
func (c Clock) Wait(ctx context.Context, until unit.Micros, wake <-chan struct{}) (woken bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	left := until - c.Now()
	if left <= 0 {
		return false, nil
	}
	timer := time.NewTimer(left.Duration())
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-wake:
		return true, nil
	case <-timer.C:
		return false, nil
	}
}
