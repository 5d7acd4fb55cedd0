package meter

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// counted is a device that draws constant power, read once a second.
type counted struct {
	d    *Device
	vals []Value
	row  *Row
	at   unit.Micros
}

func newCounted() *counted {
	return &counted{
		d:    New(record.EnergyHardware, Set(0).With(SlotEnergy).With(SlotPower), second),
		vals: make([]Value, len(Fields)), row: NewRow(), at: start,
	}
}

// tick reads the counter at mj while watts are drawn, and says what stands in the row.
func (c *counted) tick(mj int64, watts float64) (energy uint64, epoch uint32, reason string) {
	c.at += second
	c.vals[SlotEnergy] = Value{At: c.at, Int: mj, Float: float64(mj)}
	c.vals[SlotPower] = Value{At: c.at, Int: int64(watts), Float: watts}
	c.d.Observe(c.vals, c.row, Tick)
	b, _ := c.d.Break()
	return c.row.Counters[record.CEnergy], c.row.Codes[record.CodeEnergyEpoch], b.Reason
}

func TestACounterThatStandsStillIsNotRead(t *testing.T) {
	c := newCounted()
	f := func(mj int64, watts float64, energy uint64, epoch uint32, reason string) {
		t.Helper()
		e, n, r := c.tick(mj, watts)
		if e != energy || n != epoch || r != reason {
			t.Errorf("%d mJ at %v W: row has %d in epoch %d, break %q; want %d, %d, %q", mj, watts, e, n, r, energy, epoch, reason)
		}
	}
	const none = record.AbsentCounter
	f(0, 500, 0, 0, "")
	f(500_000, 500, 500_000, 0, "")
	f(500_000, 500, none, 0, "")
	f(500_000, 500, none, 0, "")
	f(2_000_000, 500, 2_000_000, 0, "") // it has caught up: it counted all along
	f(2_000_000, 500, none, 0, "")
	f(2_000_000, 500, none, 0, "")
	f(2_500_000, 500, 2_500_000, 1, "stuck") // it goes on from where it stood
	f(3_000_000, 500, 3_000_000, 1, "")
	f(10, 500, 10, 2, "fell")
	if b, _ := c.d.Break(); b.Last != 3_000_000 || b.To-b.From != second {
		t.Errorf("the break is %+v", b)
	}
	c.d.NewDriver()
	f(500_010, 500, 500_010, 3, "driver")
	f(500_010, 0, none, 3, "") // half a second of 500 W is in the trapezoid
	f(500_010, 0, none, 3, "")
	if n := c.d.Tally().Still; n != 6 {
		t.Errorf("%d readings withheld, want 6", n)
	}
}

func TestADeviceThatDrawsNothingMayStandStill(t *testing.T) {
	c := newCounted()
	for range 5 {
		if e, n, r := c.tick(7, 0); e != 7 || n != 0 || r != "" {
			t.Fatalf("row has %d in epoch %d, %q", e, n, r)
		}
	}
}

// However a counter freezes, catches up or falls, the energy of the epochs and the integral between them is what was drawn.
func TestStillCountersLoseAndInventNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCounted()
		const watts, each = 500, 500_000
		var shown, truth int64 // what the counter says, what was drawn
		var lost int64         // what no counter saw
		frozen := false
		var sum, last int64 // over epochs, as an aggregator adds up
		var integral uint64
		var epoch uint32
		ticks := rapid.SliceOfN(rapid.SampledFrom([]string{"go", "go", "go", "freeze", "catch up", "go on", "reset"}), 5, 60).Draw(t, "ticks")
		c.tick(0, watts)
		for _, what := range append(ticks, "catch up") {
			truth += each
			switch what {
			case "freeze":
				frozen = true
			case "catch up":
				if frozen {
					shown, frozen = truth-lost, false
				}
			case "go on":
				if frozen {
					lost += truth - each - lost - shown
					frozen = false
				}
			case "reset":
				lost, shown, frozen = truth-each, 0, false
			}
			if !frozen {
				shown = truth - lost
			}
			e, n, _ := c.tick(shown, watts)
			if e == record.AbsentCounter {
				continue
			}
			now, _ := c.d.drawn()
			if n != epoch {
				sum += int64(now - integral)
			} else {
				sum += int64(e) - last
			}
			last, epoch, integral = int64(e), n, now
		}
		if off := sum - truth; off < -each || off > each {
			t.Fatalf("%v: epochs and estimates sum to %d mJ, drawn were %d", ticks, sum, truth)
		}
	})
}

// An extra reading asks the device; the tick after it may bring what the engine had sampled before that.
func TestASampleFromBeforeAnExtraReadingEndsNoEpoch(t *testing.T) {
	c := newCounted()
	at := func(at unit.Micros, mj int64, why Occasion) {
		c.vals[SlotEnergy] = Value{At: at, Int: mj, Float: float64(mj)}
		c.d.Observe(c.vals, c.row, why)
	}
	at(start, 1_000_000, Tick)
	at(start+700*unit.Millisecond, 1_350_000, Edge)
	at(start+200*unit.Millisecond, 1_100_000, Tick)
	if b, broken := c.d.Break(); broken || c.row.Counters[record.CEnergy] != record.AbsentCounter {
		t.Errorf("the older sample ends an epoch: %+v, and the row has %d", b, c.row.Counters[record.CEnergy])
	}
	at(start+1200*unit.Millisecond, 1_600_000, Tick)
	if _, broken := c.d.Break(); broken || c.row.Counters[record.CEnergy] != 1_600_000 {
		t.Errorf("the next sample is not taken: the row has %d", c.row.Counters[record.CEnergy])
	}
	if got := c.d.Tally(); got.Backwards != 0 || got.Falls != 0 || got.Stale != 1 {
		t.Errorf("counted %+v", got)
	}
	at(start-second, 900_000, Tick) // no extra reading before it: the clock was set back
	if got := c.d.Tally().Backwards; got != 1 {
		t.Errorf("%d values are older than the one before", got)
	}
}
