package wallclock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
)

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Clock
		until := c.Now() + 3*unit.Second + 500
		if err := c.Wait(context.Background(), until); err != nil || c.Now() != until {
			t.Errorf("waited until %d: now %d, %v", until, c.Now(), err)
		}
		if err := c.Wait(context.Background(), until-1); err != nil || c.Now() != until {
			t.Errorf("waiting for the past took %d µs, %v", c.Now()-until, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := c.Wait(ctx, c.Now()+unit.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a cancelled wait says %v", err)
		}
	})
}
