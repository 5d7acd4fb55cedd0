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
		if woken, err := c.Wait(context.Background(), until, nil); woken || err != nil || c.Now() != until {
			t.Errorf("waited until %d: now %d, %v", until, c.Now(), err)
		}
		if _, err := c.Wait(context.Background(), until-1, nil); err != nil || c.Now() != until {
			t.Errorf("waiting for the past took %d µs, %v", c.Now()-until, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := c.Wait(ctx, c.Now()+unit.Hour, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a cancelled wait says %v", err)
		}
		wake := make(chan struct{}, 1)
		wake <- struct{}{}
		before, passed := c.Now(), c.Steady()
		if woken, err := c.Wait(context.Background(), before+unit.Hour, wake); !woken || err != nil || c.Now() != before {
			t.Errorf("woken: %v, %v, %v later", woken, err, (c.Now() - before).Duration())
		}
		time.Sleep(time.Minute)
		if d := c.Steady() - passed; d != 60*unit.Second {
			t.Errorf("a minute took %v of steady time", d.Duration())
		}
	})
}
