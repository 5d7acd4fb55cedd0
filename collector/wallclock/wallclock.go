// Package wallclock is the agent's clock in production: the machine's own time.
//
// It promises that waiting ends with the context. It leaves steps of the clock to the agent, which lives by instants and
// sees them as missed ticks or as time that repeats.
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

// Wait returns when the clock has reached until, or with the context's error.
func (c Clock) Wait(ctx context.Context, until unit.Micros) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		left := until - c.Now()
		if left <= 0 {
			return nil
		}
		// In parts, so that a clock set forward is noticed within a second.
		timer := time.NewTimer(min(left, unit.Second).Duration())
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}
