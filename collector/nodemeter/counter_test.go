package nodemeter

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const (
	start  unit.Micros = 1_767_225_600_000_000
	second             = unit.Second
)

var run = [16]byte{1}

// A counter of limited range is unwrapped exactly wherever the limit shows that it wrapped at most once; its epoch ends
// everywhere else, and within an epoch it never falls.
func TestUnwrappingIsExactOrEndsTheEpoch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Meter{Name: "m", Quantity: "cpu_energy", Counter: true, PerMillijoule: 1000, Range: rapid.Uint64Range(1_000_000, 1<<38).Draw(t, "range"), Limit: 500_000}
		c := newCounter(m, run, 10*second)
		truth, now := rapid.Uint64Range(0, 1<<40).Draw(t, "truth"), start
		var base, epochTruth uint64 // truth and total when the epoch began
		var epoch string
		var last int64
		for range rapid.IntRange(1, 40).Draw(t, "readings") {
			o := c.observe(Value{At: now, Count: truth % m.Range}, now)
			if o.why != "" {
				t.Fatalf("not read: %s", o.why)
			}
			if err := o.reading.Validate(); err != nil {
				t.Fatal(err)
			}
			if o.reading.Epoch != epoch {
				epoch, base, epochTruth = o.reading.Epoch, truth%m.Range, truth
			} else if o.reading.Value < last {
				t.Fatalf("fell from %d to %d within epoch %s", last, o.reading.Value, epoch)
			}
			last = o.reading.Value
			if want := int64((base + truth - epochTruth) / 1000); o.reading.Value != want {
				t.Fatalf("reads %d mJ in epoch %s, want %d", o.reading.Value, epoch, want)
			}
			span := unit.Micros(rapid.Int64Range(1, 300_000_000).Draw(t, "span"))
			truth += uint64(rapid.Int64Range(0, 500_000).Draw(t, "mW")) * uint64(span) / 1000
			now += span
		}
	})
}

// Power is integrated to the last fraction of a millijoule, whatever the readings and however unequal their distance, and
// whatever the wall clock does meanwhile.
func TestPowerIsIntegratedExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCounter(Meter{Name: "m", Quantity: "node_energy"}, run, 10*second)
		sum, steady, wall := new(big.Int), unit.Micros(0), start
		var before int64
		for i := range rapid.IntRange(1, 50).Draw(t, "readings") {
			mw := rapid.Int64Range(0, 20_000_000).Draw(t, "mW")
			if i > 0 {
				span := rapid.Int64Range(1, 30_000_000).Draw(t, "span")
				steady += unit.Micros(span)
				// Anywhere but where it stood: a value with the time of the one before is not new.
				moved := rapid.Int64Range(-3_600_000_000, 3_600_000_000).Filter(func(by int64) bool { return by != 0 })
				wall += unit.Micros(moved.Draw(t, "wall"))
				sum.Add(sum, new(big.Int).Mul(big.NewInt(before+mw), big.NewInt(span)))
			}
			before = mw
			o := c.observe(Value{At: wall, Power: unit.Milliwatts(mw)}, steady)
			want := new(big.Int).Quo(sum, big.NewInt(2_000_000)).Int64()
			if o.why != "" || o.ended != "" || o.reading.Value != want || o.reading.Method != record.MethodIntegral {
				t.Fatalf("%+v, want %d mJ", o, want)
			}
		}
	})
}

func TestEpochs(t *testing.T) {
	type step struct {
		after unit.Micros
		v     Value
		ended Reason
		value int64
	}
	f := func(name string, m Meter, steps ...step) {
		t.Helper()
		m.Name, m.Quantity = "m", "node_energy"
		c := newCounter(m, run, 10*second)
		now, epochs, epoch := start, map[string]bool{}, ""
		for i, s := range steps {
			now += s.after
			s.v.At = now
			o := c.observe(s.v, now)
			if o.why != "" || o.ended != s.ended || o.reading.Value != s.value {
				t.Errorf("%s: step %d is %+v, want %d mJ and the end %q", name, i, o, s.value, s.ended)
			}
			if s.ended == "" && i > 0 && o.reading.Epoch != epoch || o.reading.Epoch != epoch && epochs[o.reading.Epoch] {
				t.Errorf("%s: step %d has epoch %q after %q", name, i, o.reading.Epoch, epoch)
			}
			epoch = o.reading.Epoch
			epochs[epoch] = true
		}
	}
	count := func(after unit.Micros, n uint64, ended Reason, value int64) step {
		return step{after, Value{Count: n}, ended, value}
	}
	power := func(after unit.Micros, p unit.Milliwatts, ended Reason, value int64) step {
		return step{after, Value{Power: p}, ended, value}
	}
	own := func(n uint64, epoch string, ended Reason) step {
		return step{10 * second, Value{Count: n, Epoch: epoch}, ended, int64(n)}
	}
	bmc, limited := Meter{Counter: true}, Meter{Counter: true, Limit: 1000}
	rapl := Meter{Counter: true, Range: 100_000, Limit: 1000} // 1 W: 100 s to go round

	f("three periods are no gap", Meter{}, power(0, 100, "", 0), power(30*second, 300, "", 6000), power(30*second+1, 300, Gap, 0), power(second, 500, "", 400))
	f("a counter outlives a gap", bmc, count(0, 5000, "", 5000), count(3600*second, 9000, "", 9000))
	f("a counter that falls", bmc, count(0, 5000, "", 5000), count(10*second, 4999, Fell, 4999), count(10*second, 5001, "", 5001))
	f("a counter that stands still", bmc, count(0, 5000, "", 5000), count(10*second, 5000, "", 5000))
	f("a rise no meter can make", limited, count(0, 5000, "", 5000), count(10*second, 15_502, Jumped, 15_502))
	f("a wrap", rapl, count(0, 95_000, "", 95_000), count(10*second, 4000, "", 104_000), count(10*second, 5000, "", 105_000))
	f("a reset that looks like a wrap", rapl, count(0, 50_000, "", 50_000), count(10*second, 4000, Fell, 4000))
	f("it may have wrapped twice", rapl, count(0, 50_000, "", 50_000), count(100*second, 60_000, Unsure, 60_000))
	f("nothing says that it wrapped once", Meter{Counter: true, Range: 100_000}, count(0, 95_000, "", 95_000), count(10*second, 96_000, "", 96_000), count(10*second, 4, Unsure, 4))
	f("the meter's own word", bmc, own(50, "a", ""), own(60, "a", ""), own(70, "b", Renewed), own(80, "b", ""))
	f("the meter's own word is wrong", bmc, own(50, "a", ""), own(40, "a", Fell), own(60, "b", ""), own(70, "a", ""))

	c := newCounter(Meter{Quantity: "node_energy"}, run, second)
	for _, v := range []Value{{}, {At: start, Power: -1}, {At: start, Power: maxPower + 1}, {Why: Forbidden}} {
		if o := c.observe(v, start); o.why == "" {
			t.Errorf("%+v was read as %+v", v, o.reading)
		}
	}
}
