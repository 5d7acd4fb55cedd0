package window

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// meterOf reads a counter: time, value, time, value.
func meterOf(epoch string, tv ...int64) []record.Reading {
	var out []record.Reading
	for i := 0; i < len(tv); i += 2 {
		out = append(out, record.Reading{
			Meter: "m", Quantity: "site_energy", Unit: "mJ", From: unit.Micros(tv[i]), To: unit.Micros(tv[i]), Value: tv[i+1], Counter: true, Epoch: epoch,
		})
	}
	return out
}

// intervals of a meter: from, to, value, from, to, value.
func intervals(ftv ...int64) []record.Reading {
	var out []record.Reading
	for i := 0; i < len(ftv); i += 3 {
		out = append(out, record.Reading{Meter: "m", Quantity: "site_energy", Unit: "mJ", From: unit.Micros(ftv[i]), To: unit.Micros(ftv[i+1]), Value: ftv[i+2]})
	}
	return out
}

func TestCurve(t *testing.T) {
	const minute = int64(60 * unit.Second)
	f := func(what string, readings []record.Reading, from, to, want, low, high int64, spans bool) {
		t.Helper()
		c, err := NewCurve(readings, 1)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got, l, h, err := c.Between(unit.Micros(from), unit.Micros(to))
		if err != nil || got != want || l != low || h != high || c.Spans(unit.Micros(from), unit.Micros(to)) != spans {
			t.Errorf("%s: %d −%d +%d, spans %t, %v; want %d −%d +%d, %t", what, got, l, h, c.Spans(unit.Micros(from), unit.Micros(to)), err, want, low, high, spans)
		}
	}
	f("a counter at the edges", meterOf("a", 0, 5, 60, 65), 0, 60, 60, 0, 0, true)
	f("a counter on the line between its readings", meterOf("a", 0, 0, 100, 10), 25, 75, 5, 5, 5, true)
	f("a counter read an hour apart loses nothing", meterOf("a", 0, 0, 60*minute, 100), 0, 60*minute, 100, 0, 0, true)
	f("a counter that was not read before", meterOf("a", 10, 7, 60, 57), 0, 60, 50, 0, 0, false)
	f("a counter that was not read after", meterOf("a", 0, 0, 50, 50), 0, 60, 50, 0, 0, false)
	f("a reset is a new epoch", append(meterOf("a", 0, 100, 30, 130), meterOf("b", 40, 3, 70, 33)...), 0, 70, 60, 0, 0, true)
	f("and so is a reset to a higher value", append(meterOf("a", 0, 100, 30, 130), meterOf("b", 40, 500, 70, 530)...), 0, 70, 60, 0, 0, true)
	f("a hole of a quarter of an hour", append(meterOf("a", 0, 0, 10*minute, 10), meterOf("b", 25*minute, 0, 60*minute, 35)...), 0, 60*minute, 45, 0, 0, true)
	f("a longer hole", append(meterOf("a", 0, 0, 10*minute, 10), meterOf("b", 25*minute+1, 0, 60*minute, 35)...), 0, 60*minute, 45, 0, 0, false)
	f("a longer hole outside of what is asked", append(meterOf("a", 0, 0, 10*minute, 10), meterOf("b", 40*minute, 0, 60*minute, 35)...), 30*minute, 60*minute, 35, 0, 0, true)
	f("an interval is spread evenly", intervals(0, 100, 10), 25, 75, 5, 5, 5, true)
	f("intervals add up", intervals(0, 30, 7, 30, 60, 5), 0, 60, 12, 0, 0, true)
	f("intervals with a hole", intervals(0, 30, 7, 40, 60, 5), 0, 60, 12, 0, 0, true)
	f("intervals that begin late", intervals(10, 30, 7, 30, 60, 5), 0, 60, 12, 0, 0, false)
	f("nothing was read", nil, 0, 60, 0, 0, 0, false)
}

// What cannot be is refused with the meter's name, and is never a negative amount.
func TestCurveRefuses(t *testing.T) {
	f := func(what string, readings []record.Reading, kind string, words ...string) {
		t.Helper()
		_, err := NewCurve(readings, 1)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Kind != kind || slices.ContainsFunc(append(words, "meter m"), func(w string) bool { return !strings.Contains(err.Error(), w) }) {
			t.Errorf("%s: %v, want %s with %q", what, err, kind, words)
		}
	}
	f("it runs backwards", meterOf("a", 0, 5, 10, 4), MeterBackwards, "from 5 to 4")
	f("two values at one instant", meterOf("a", 0, 5, 0, 6), MeterContradicts, "5 and 6")
	f("an epoch goes on after the next began", append(meterOf("a", 0, 5, 20, 9), meterOf("b", 10, 1)...), MeterContradicts, `"a"`)
	f("intervals overlap", intervals(0, 30, 7, 29, 60, 5), MeterContradicts, "overlap")
	f("one interval has two values", intervals(0, 30, 7, 0, 30, 8), MeterContradicts, "overlap")
	f("an interval within another", intervals(0, 60, 7, 10, 20, 1), MeterContradicts, "overlap")
	f("a counter and intervals", append(meterOf("a", 0, 5), intervals(10, 20, 1)...), MeterContradicts, "both")
	f("less than nothing", intervals(0, 60, -1), MeterImpossible, "-1 mJ")
	f("an interval without length", intervals(60, 60, 1), MeterImpossible, "length")
	if _, err := NewCurve(meterOf("a", 0, 1<<62), 1000); err == nil {
		t.Error("a value that overflows was accepted")
	}
}

// drawMeterReadings are those of a sound meter, with resets or as intervals with holes.
func drawMeterReadings(t *rapid.T) []record.Reading {
	counter := rapid.Bool().Draw(t, "counter")
	var out []record.Reading
	at, c, epoch := rapid.Int64Range(-500, 500).Draw(t, "begin"), int64(0), 0
	for i := range rapid.IntRange(1, 20).Draw(t, "n") {
		rise := rapid.Int64Range(0, 1<<40).Draw(t, "rise")
		next := at + rapid.Int64Range(1, 1000).Draw(t, "step")
		switch {
		case !counter:
			out = append(out, intervals(at, next, rise)...)
			next += rapid.Int64Range(0, 100).Draw(t, "hole")
		case i > 0 && rapid.IntRange(0, 5).Draw(t, "reset") == 0:
			epoch++
			c = rapid.Int64Range(0, 100).Draw(t, "anew")
			out = append(out, meterOf(string(rune('a'+epoch)), at, c)...)
		default:
			c += rise
			out = append(out, meterOf(string(rune('a'+epoch)), at, c)...)
		}
		at = next
	}
	return out
}

// Any cuts of a stretch add up to it, none is negative, and the bounds hold what the meter said.
func TestCurveConserves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, err := NewCurve(drawMeterReadings(t), rapid.Int64Range(1, 1000).Draw(t, "scale"))
		if err != nil {
			t.Fatal(err)
		}
		edges := rapid.SliceOfN(rapid.Int64Range(-1000, 25_000), 2, 12).Draw(t, "edges")
		slices.Sort(edges)
		var sum int64
		for i := 1; i < len(edges); i++ {
			v, low, high, err := c.Between(unit.Micros(edges[i-1]), unit.Micros(edges[i]))
			if err != nil || v < 0 || low < 0 || high < 0 || low > v {
				t.Fatalf("[%d, %d) has %d −%d +%d, %v", edges[i-1], edges[i], v, low, high, err)
			}
			sum += v
		}
		whole, _, _, err := c.Between(unit.Micros(edges[0]), unit.Micros(edges[len(edges)-1]))
		if err != nil || whole != sum {
			t.Fatalf("parts sum to %d, the whole is %d, %v", sum, whole, err)
		}
	})
}

// Neither order nor repeats change what a meter says, or why it is refused.
func TestCurveIgnoresOrderAndRepeats(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		readings := drawMeterReadings(t)
		if rapid.Bool().Draw(t, "spoiled") {
			i := rapid.IntRange(0, len(readings)-1).Draw(t, "which")
			readings[i].Value = rapid.Int64Range(-1, 10).Draw(t, "value")
		}
		want, wantErr := NewCurve(readings, 1)
		other := append(slices.Clone(readings), readings[:len(readings)/2]...)
		rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "order"))).Shuffle(len(other), func(i, j int) { other[i], other[j] = other[j], other[i] })
		got, err := NewCurve(other, 1)
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(err, wantErr) {
			t.Fatalf("%+v, %v; want %+v, %v", got, err, want, wantErr)
		}
	})
}
