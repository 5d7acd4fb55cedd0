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
		frozen, resets := false, int64(0)
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
				// No two begin at the same value: one that came to stand where the counter stood would look as if it still did.
				resets++
				lost, shown, frozen = truth-each+resets, 0, false
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
		if off := sum - truth; off < -each-resets || off > each+resets {
			t.Fatalf("%v: epochs and estimates sum to %d mJ, drawn were %d", ticks, sum, truth)
		}
	})
}

// At ten readings a second a counter that moves every 100 ms shows some value twice, whenever it moves right beside a reading.
func TestACounterReadAsFastAsItMovesIsNotStill(t *testing.T) {
	const watts, every = 500, 100_000
	d, vals, row := New(record.EnergyHardware, Set(0).With(SlotEnergy).With(SlotPower), every), make([]Value, len(Fields)), NewRow()
	for i := range 600 {
		jitter := []unit.Micros{500, -500, 500, -500, -500}[i%5]
		at := start + unit.Micros(i)*every + jitter
		moved := (at - start + every) / every * every
		vals[SlotEnergy] = Value{At: at, Int: int64(moved) * watts / 1000}
		vals[SlotPower] = Value{At: at, Float: watts}
		d.Observe(vals, row, Tick)
		if b, broke := d.Break(); broke || row.EnergyAt == absentTime {
			t.Fatalf("reading %d: energy at %d, break %q", i, row.EnergyAt, b.Reason)
		}
	}
	// One that really stands is noticed all the same.
	for i := range 10 {
		vals[SlotEnergy].At += every
		vals[SlotPower].At += every
		d.Observe(vals, row, Tick)
		if withheld := row.EnergyAt == absentTime; withheld != (i >= 5) && i != 4 {
			t.Errorf("after %d readings without a movement it is withheld: %v", i+1, withheld)
		}
	}
}
