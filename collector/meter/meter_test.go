package meter

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const (
	second = unit.Second
	start  = unit.Micros(1_700_000_000_000_000)
)

func counterOf(t interface{ Fatalf(string, ...any) }, name string) int {
	i := slices.IndexFunc(record.Counters, func(m record.Metric) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("no counter %s", name)
	}
	return i
}

// one observes a device that reads a single field.
type one struct {
	d    *Device
	slot Slot
	row  *Row
	vals []Value
}

func newOne(energy record.EnergySource, field uint16, period unit.Micros) *one {
	s, _ := SlotOf(field)
	return &one{New(energy, Set(0).With(s), period), s, NewRow(), make([]Value, len(Fields))}
}

func (o *one) at(t unit.Micros, f float64) *Row {
	o.vals[o.slot] = Value{At: t, Int: int64(f), Float: f}
	o.d.Expect(1)
	o.d.Observe(o.vals, o.row, Tick)
	return o.row
}

func TestFieldsFitASet(t *testing.T) {
	if len(Fields) > 64 {
		t.Fatalf("%d fields do not fit a Set of 64", len(Fields))
	}
	for _, want := range []struct {
		s Slot
		f uint16
	}{{SlotEnergy, 156}, {SlotPower, 155}, {SlotXID, 230}} {
		if Fields[want.s] != want.f {
			t.Errorf("slot of field %d holds field %d", want.f, Fields[want.s])
		}
	}
}

// However a stretch of constant value is cut into readings, the total is the same.
func TestAMeanDoesNotDependOnTheCut(t *testing.T) {
	for _, c := range []struct {
		name  string
		field uint16
		per   int64
	}{{"sm_active_us", 1002, perRatio}, {"gpu_util_us", 203, perPercent}, {"pcie_tx_bytes", 1009, perRate}} {
		i := counterOf(t, c.name)
		rapid.Check(t, func(t *rapid.T) {
			var raw int64
			var f float64
			switch c.field {
			case 1002:
				raw = rapid.Int64Range(0, perRatio).Draw(t, "ratio")
				f = float64(raw) / perRatio
			case 203:
				raw = rapid.Int64Range(0, perPercent).Draw(t, "percent")
				f = float64(raw)
			default:
				raw = rapid.Int64Range(0, 1<<40).Draw(t, "rate")
				f = float64(raw)
			}
			o := newOne(record.EnergyHardware, c.field, second)
			steps := rapid.SliceOfN(rapid.Int64Range(1, int64(GapPeriods*second)), 1, 40).Draw(t, "steps")
			at := start
			row := o.at(at, f)
			if row.Counters[i] != 0 {
				t.Fatalf("the first reading has no interval but counted %d", row.Counters[i])
			}
			for _, s := range steps {
				at += unit.Micros(s)
				row = o.at(at, f)
			}
			want := new(big.Int).Mul(big.NewInt(raw), big.NewInt(int64(at-start)))
			want.Div(want, big.NewInt(c.per))
			if got := new(big.Int).SetUint64(row.Counters[i]); got.Cmp(want) != 0 {
				t.Fatalf("%s: %d readings made %v, want %v", c.name, len(steps), got, want)
			}
		})
	}
}

// The trapezoid of any polygon is exact: the counter is the floor of the rational sum.
func TestTrapezoidIsExact(t *testing.T) {
	i := counterOf(t, "power_integral_mj")
	rapid.Check(t, func(t *rapid.T) {
		integrated := rapid.Bool().Draw(t, "integrated")
		source := record.EnergyHardware
		if integrated {
			source = record.EnergyIntegrated
		}
		o := newOne(source, 155, second)
		sum := new(big.Rat)
		at, before := start, int64(-1)
		for range rapid.IntRange(1, 50).Draw(t, "n") {
			mw := rapid.Int64Range(0, 1_500_000).Draw(t, "mw")
			step := rapid.Int64Range(1, int64(20*second)).Draw(t, "step") // gaps included
			at += unit.Micros(step)
			row := o.at(at, float64(mw)/1000)
			if before >= 0 {
				sum.Add(sum, big.NewRat((before+mw)*step, 2_000_000))
			}
			before = mw
			want := new(big.Int).Quo(sum.Num(), sum.Denom())
			if got := new(big.Int).SetUint64(row.Counters[i]); got.Cmp(want) != 0 {
				t.Fatalf("integral %v, want %v", got, want)
			}
			if integrated && (row.Counters[record.CEnergy] != row.Counters[i] || row.EnergyAt != uint64(at)) {
				t.Fatalf("energy %d at %d, want the integral %d at %d", row.Counters[record.CEnergy], row.EnergyAt, row.Counters[i], at)
			}
		}
	})
}

func TestRepeatsAddNothing(t *testing.T) {
	i := counterOf(t, "sm_active_us")
	rapid.Check(t, func(t *rapid.T) {
		once, often := newOne(record.EnergyHardware, 1002, second), newOne(record.EnergyHardware, 1002, second)
		at := start
		for range rapid.IntRange(1, 20).Draw(t, "n") {
			at += unit.Micros(rapid.Int64Range(1, int64(second)).Draw(t, "step"))
			f := rapid.Float64Range(0, 1).Draw(t, "f")
			want := once.at(at, f).Counters[i]
			if got := often.at(at, f).Counters[i]; got != want {
				t.Fatalf("counter %d, want %d", got, want)
			}
			for range rapid.IntRange(0, 3).Draw(t, "repeats") {
				if got := often.at(at, f).Counters[i]; got != record.AbsentCounter {
					t.Fatalf("a repeated value is shown as %d, want it absent", got)
				}
			}
		}
		if want, got := often.d.expected-once.d.expected, often.d.Tally().Stale; got != want {
			t.Fatalf("counted %d repeats, want %d", got, want)
		}
	})
}

func TestAMeanIsNotStretchedOverAGap(t *testing.T) {
	i := counterOf(t, "sm_active_us")
	o := newOne(record.EnergyHardware, 1002, second)
	o.at(start, 0.5)
	o.at(start+second, 0.5)
	row := o.at(start+second+GapPeriods*second, 0.5) // still no gap
	if row.Counters[i] != 2_000_000 {
		t.Errorf("counter %d, want 2 s of activity", row.Counters[i])
	}
	row = o.at(start+100*second, 0.5) // 96 s of which one period is known
	if row.Counters[i] != 2_500_000 || o.d.Tally().Gaps != 1 {
		t.Errorf("counter %d with %d gaps, want one period more and 1 gap", row.Counters[i], o.d.Tally().Gaps)
	}
}

func TestAClockSetBack(t *testing.T) {
	i := counterOf(t, "sm_active_us")
	o := newOne(record.EnergyHardware, 1002, second)
	o.at(start, 1)
	o.at(start+second, 1)
	row := o.at(start-3600*second, 1)
	if row.Counters[i] != uint64(second) || o.d.Tally().Backwards != 1 {
		t.Errorf("counter %d, %d steps back; want nothing added and 1", row.Counters[i], o.d.Tally().Backwards)
	}
	if row = o.at(start-3599*second, 1); row.Counters[i] != uint64(2*second) {
		t.Errorf("counter %d, want time to count again", row.Counters[i])
	}
}

func TestBlanksKeepTheTotal(t *testing.T) {
	i := counterOf(t, "sm_active_us")
	o := newOne(record.EnergyHardware, 1002, second)
	o.at(start, 1)
	row := o.at(0, 1) // no value
	if row.Counters[i] != record.AbsentCounter || o.d.Tally().Blank != 1 {
		t.Errorf("a blank is shown as %d", row.Counters[i])
	}
	if row.Counters[record.CTicksExpected] != 2 || row.Counters[record.CTicksRead] != 1 {
		t.Errorf("ticks %d of %d, want 1 of 2", row.Counters[record.CTicksRead], row.Counters[record.CTicksExpected])
	}
	if row = o.at(start+2*second, 1); row.Counters[i] != uint64(2*second) {
		t.Errorf("counter %d, want the blank bridged", row.Counters[i])
	}
}

func TestHardwareCountersPassThroughAFall(t *testing.T) {
	o := newOne(record.EnergyHardware, 156, second)
	o.at(start, 1000)
	row := o.at(start+second, 10)
	if row.Counters[record.CEnergy] != 10 || row.EnergyAt != uint64(start+second) || o.d.Tally().Falls != 1 {
		t.Errorf("energy %d at %d, %d falls; want 10 and 1 fall", row.Counters[record.CEnergy], row.EnergyAt, o.d.Tally().Falls)
	}
	if o.d.LastEnergy() != start+second {
		t.Errorf("last energy at %d", o.d.LastEnergy())
	}
}

func TestAnInstanceHasNoEnergy(t *testing.T) {
	slots := Set(0).With(SlotEnergy).With(SlotPower)
	d := New(record.EnergyNone, slots, second)
	vals, row := make([]Value, len(Fields)), NewRow()
	for i := range 3 {
		at := start + unit.Micros(i)*second
		vals[SlotEnergy] = Value{At: at, Int: int64(i * 1000), Float: 1}
		vals[SlotPower] = Value{At: at, Float: 500}
		d.Observe(vals, row, Tick)
		if row.Counters[record.CEnergy] != record.AbsentCounter || row.Counters[record.CPowerIntegral] != record.AbsentCounter || row.EnergyAt != absentTime {
			t.Fatalf("an instance showed its GPU's energy: %+v", row)
		}
	}
}

func TestOddValues(t *testing.T) {
	i := counterOf(t, "sm_active_us")
	o := newOne(record.EnergyHardware, 1002, second)
	o.at(start, 1)
	if row := o.at(start+second, 1.7); row.Counters[i] != uint64(second) || o.d.Tally().Clamped != 1 {
		t.Errorf("a ratio above 1 made %d", row.Counters[i])
	}
	if row := o.at(start+2*second, math.NaN()); row.Counters[i] != record.AbsentCounter || o.d.Tally().Refused != 1 {
		t.Errorf("NaN made %d", row.Counters[i])
	}
	p := newOne(record.EnergyHardware, 155, second)
	p.at(start, 100)
	p.at(start+second, math.Inf(1))
	if row := p.at(start+2*second, 100); row.Counters[record.CPowerIntegral] != 200_000 {
		t.Errorf("integral %d, want the good readings joined: 200000", row.Counters[record.CPowerIntegral])
	}
}

func TestObserveDoesNotAllocate(t *testing.T) {
	d := New(record.EnergyHardware, ^Set(0), second)
	vals, row := make([]Value, len(Fields)), NewRow()
	at := start
	if n := testing.AllocsPerRun(100, func() {
		at += second
		for s := range vals {
			vals[s] = Value{At: at, Int: 1, Float: 1}
		}
		d.Observe(vals, row, Tick)
	}); n != 0 {
		t.Errorf("%v allocations per reading, want 0", n)
	}
}

func TestIntegralRefusesWhatDoesNotFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := Integral{per: rapid.SampledFrom([]uint64{perRatio, perPercent, perRate, perEnergy}).Draw(t, "per")}
		want := new(big.Int)
		for range rapid.IntRange(1, 10).Draw(t, "n") {
			v, s := rapid.Uint64().Draw(t, "v"), rapid.Uint64().Draw(t, "s")
			next := new(big.Int).Mul(new(big.Int).SetUint64(v), new(big.Int).SetUint64(s))
			next.Add(next, want)
			whole := new(big.Int).Div(next, new(big.Int).SetUint64(x.per))
			fits := whole.IsUint64() && whole.Uint64() != math.MaxUint64
			if got := x.Add(v, s); got != fits {
				t.Fatalf("Add(%d, %d) = %v, want %v", v, s, got, fits)
			}
			if fits {
				want = next
			}
			if got := new(big.Int).Div(want, new(big.Int).SetUint64(x.per)); got.Uint64() != x.Whole() {
				t.Fatalf("total %d, want %v", x.Whole(), got)
			}
		}
	})
}

// An extra reading is ahead of the sample that the source took before it and shows afterwards: that one is old, no fall.
func TestASampleFromBeforeAnExtraReadingIsStale(t *testing.T) {
	o := newOne(record.EnergyHardware, 156, second)
	o.at(start, 1000)
	o.vals[o.slot] = Value{At: start + 900_000, Int: 1900}
	if !o.d.Observe(o.vals, o.row, Edge) || o.row.Counters[record.CEnergy] != 1900 {
		t.Fatalf("the extra reading says %d", o.row.Counters[record.CEnergy])
	}
	row := o.at(start+800_000, 1800)
	if _, broke := o.d.Break(); broke || row.EnergyAt != absentTime {
		t.Errorf("what was sampled before the extra reading is energy at %d, a new epoch: %v", row.EnergyAt, broke)
	}
	if tally := o.d.Tally(); tally.Stale != 1 || tally.Backwards != 0 || tally.Falls != 0 {
		t.Errorf("it is counted as %+v", tally)
	}
	if row := o.at(start+1_800_000, 2800); row.Counters[record.CEnergy] != 2800 || row.Codes[record.CodeEnergyEpoch] != 0 {
		t.Errorf("the sample after it says %d in epoch %d", row.Counters[record.CEnergy], row.Codes[record.CodeEnergyEpoch])
	}
	// A clock that was set back is another matter.
	o.vals[o.slot] = Value{At: start + 1_900_000, Int: 2900}
	o.d.Observe(o.vals, o.row, Edge)
	if row := o.at(start-10*second, 3000); row.EnergyAt != uint64(start-10*second) {
		t.Errorf("after a step of the clock nothing is read: %d", row.EnergyAt)
	}
}
