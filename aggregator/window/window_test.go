package window

import (
	"encoding/csv"
	"math/big"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/unit"
)

func points(boot string, tc ...int64) []Point {
	var out []Point
	for i := 0; i < len(tc); i += 2 {
		out = append(out, Point{T: unit.Micros(tc[i]), C: unit.Millijoules(tc[i+1]), Boot: boot, Run: "run", Integral: NoIntegral})
	}
	return out
}

func TestEpochs(t *testing.T) {
	f := func(what string, ps []Point, limit unit.Milliwatts, want ...unit.Micros) {
		t.Helper()
		got, _ := Epochs(ps, limit)
		var ids []unit.Micros
		for _, e := range got {
			ids = append(ids, e.ID)
		}
		if !reflect.DeepEqual(ids, want) {
			t.Errorf("%s: epochs begin at %v, want %v", what, ids, want)
		}
	}
	f("a rising counter is one epoch", points("b", 0, 0, 10, 5, 20, 9), 0, 0)
	f("a gap ends none", points("b", 0, 0, 10, 5, 900_000_000, 9), 0, 0)
	f("a fall begins one", points("b", 0, 7, 10, 9, 20, 1, 30, 4), 0, 0, 20)
	f("a reboot begins one", append(points("a", 0, 7), points("b", 10, 9)...), 0, 0, 10)
	f("more than the device can draw begins one", points("b", 0, 0, 1_000_000, 1051), 1000, 0, 1_000_000)
	f("five percent over the limit is the sensor", points("b", 0, 0, 1_000_000, 1050), 1000, 0)
	f("a repeated reading counts once", points("b", 0, 1, 0, 1, 10, 2, 10, 2), 0, 0)
	f("nothing read, no epoch", nil, 0)
	seen := func(codes ...int64) []Point {
		ps := points("b", 0, 0, 10, 5, 20, 9, 30, 12)
		for i := range codes {
			ps[i].Seen = codes[i]
		}
		return ps
	}
	f("the collector saw it begin anew", seen(0, 0, 1, 1), 0, 0, 20)
	f("a word that is missing matches any", seen(0, UnknownEpoch, 1, 1), 0, 0)
	f("a word given before all others too", seen(UnknownEpoch, 3, 3, 4), 0, 0, 30)
	later := seen(5, 5, 0, 0)
	later[2].Run, later[3].Run = "next", "next"
	f("each run counts for itself", later, 0, 0)
}

func TestEpochsIgnoreOrderOfArrival(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ps := drawPoints(t)
		want, _ := Epochs(ps, 0)
		shuffled := append(ps[:len(ps):len(ps)], ps[:len(ps)/2]...) // repeats too
		rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "order"))).Shuffle(len(shuffled), func(i, j int) {
			shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
		})
		if got, _ := Epochs(shuffled, 0); !reflect.DeepEqual(got, want) {
			t.Fatalf("order changed the epochs:\n%v\n%v", got, want)
		}
	})
}

// Any cut of a stretch adds up to it exactly, and a cut never leaves its bound.
func TestCutsConserve(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		epochs, _ := Epochs(drawPoints(t), 0)
		edges := rapid.SliceOfN(rapid.Int64Range(-100, 5000), 2, 10).Draw(t, "edges")
		for _, e := range epochs {
			var sum unit.Millijoules
			prev, err := e.At(e.First().T, 1, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range append(slices.Sorted(slices.Values(edges)), int64(e.Last().T)) {
				if unit.Micros(at) < prev.T || unit.Micros(at) > e.Last().T {
					continue
				}
				cut, err := e.At(unit.Micros(at), 1, 0)
				if err != nil {
					t.Fatal(err)
				}
				if cut.C < cut.Low || cut.C > cut.High {
					t.Fatalf("cut %+v is outside its own bound", cut)
				}
				if cut.C < prev.C {
					t.Fatalf("the counter falls from %+v to %+v", prev, cut)
				}
				sum += cut.C - prev.C
				prev = cut
			}
			if want := e.Last().C - e.First().C; sum != want {
				t.Fatalf("windows sum to %d, the counter says %d", sum, want)
			}
		}
	})
}

func TestValueIsTheFloorOfTheLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		t0 := rapid.Int64Range(0, 1<<52).Draw(t, "t0")
		dt := rapid.Int64Range(1, 1<<45).Draw(t, "dt")
		at := rapid.Int64Range(0, dt).Draw(t, "at")
		c0 := rapid.Int64Range(0, 1<<60).Draw(t, "c0")
		dc := rapid.Int64Range(0, 1<<60).Draw(t, "dc")
		got, err := Value(unit.Micros(t0), unit.Micros(t0+dt), unit.Millijoules(c0), unit.Millijoules(c0+dc), unit.Micros(t0+at))
		if err != nil {
			t.Fatal(err)
		}
		want := new(big.Int).Mul(big.NewInt(dc), big.NewInt(at))
		want.Div(want, big.NewInt(dt)).Add(want, big.NewInt(c0))
		if int64(got) != want.Int64() {
			t.Fatalf("got %d, want %v", got, want)
		}
	})
}

func TestBoundHoldsForEveryLoad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 1000 // mW: one mJ a second
		// A load that switches between nothing and the limit once, at any instant: the extremes of what can happen.
		dt := rapid.Int64Range(1, 60).Draw(t, "seconds")
		on := rapid.Int64Range(0, dt).Draw(t, "on")
		first := rapid.Bool().Draw(t, "load first")
		at := rapid.Int64Range(0, dt-1).Draw(t, "edge")
		truth := max(0, at-(dt-on))
		if first {
			truth = min(at, on)
		}
		e := Epoch{Points: points("b", 0, 0, dt*1_000_000, on)}
		cut, err := e.At(unit.Micros(at*1_000_000), unit.Second, limit)
		if err != nil {
			t.Fatal(err)
		}
		if unit.Millijoules(truth) < cut.Low || unit.Millijoules(truth) > cut.High {
			t.Fatalf("truth %d is outside [%d, %d]", truth, cut.Low, cut.High)
		}
	})
}

// A counter that stands still for ten seconds under 500 W. The collector leaves out what stands still.
func TestACounterThatFreezes(t *testing.T) {
	f := func(what string, after unit.Millijoules, seen int64, measured, estimated unit.Millijoules) {
		t.Helper()
		epochs, _ := Epochs([]Point{
			{T: 0, C: 1000, Boot: "b", Run: "r", Integral: 0},
			{T: unit.Second, C: 1500, Boot: "b", Run: "r", Integral: 500},
			{T: 11 * unit.Second, C: after, Boot: "b", Run: "r", Integral: 5500, Seen: seen},
			{T: 12 * unit.Second, C: after + 500, Boot: "b", Run: "r", Integral: 6000, Seen: seen},
		}, 1000)
		var got [2]unit.Millijoules
		for _, e := range Bridge(epochs) {
			i := 0
			if e.Estimated {
				i = 1
			}
			got[i] += e.Last().C - e.First().C
		}
		if got != [2]unit.Millijoules{measured, estimated} {
			t.Errorf("%s: %d mJ measured and %d estimated, want %d and %d", what, got[0], got[1], measured, estimated)
		}
	}
	f("it catches up: all is measured", 6500, 0, 6000, 0)
	f("it goes on from where it stood: power says what it missed", 1500, 1, 1000, 5000)
	f("it goes on and had moved a little by the first reading", 1600, 1, 1000, 5000)
}

func TestBridge(t *testing.T) {
	a := Point{T: 10, C: 500, Boot: "b", Run: "r", Integral: 480}
	b := Point{T: 20, C: 3, Boot: "b", Run: "r", Integral: 487}
	f := func(what string, b Point, want int) {
		t.Helper()
		epochs, _ := Epochs([]Point{a, b}, 0)
		if got := Bridge(epochs); len(got) != want {
			t.Errorf("%s: %d epochs, want %d", what, len(got), want)
		}
	}
	f("a reset under the collector's eyes is bridged", b, 3)
	other := b
	other.Run = "s"
	f("another run saw nothing in between", other, 2)
	other = b
	other.Boot = "c"
	f("a reboot is a gap, not energy", other, 2)
	other = b
	other.Integral = NoIntegral
	f("without power there is no estimate", other, 2)
}

func drawPoints(t *rapid.T) []Point {
	n := rapid.IntRange(1, 30).Draw(t, "n")
	var out []Point
	at, c := int64(0), int64(100)
	for range n {
		at += rapid.Int64Range(1, 200).Draw(t, "dt")
		if rapid.IntRange(0, 9).Draw(t, "reset") == 0 {
			c = rapid.Int64Range(0, 50).Draw(t, "after reset")
		} else {
			c += rapid.Int64Range(0, 1000).Draw(t, "dc")
		}
		out = append(out, Point{T: unit.Micros(at), C: unit.Millijoules(c), Boot: "b", Seen: rapid.Int64Range(-1, 1).Draw(t, "seen")})
	}
	return out
}

// Up to five percent above the limit a rise still belongs to its epoch; its cut lies within its own bound all the same.
func TestACutIsWithinItsBoundAboveTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 1_000_000 // mW
		rise := rapid.Int64Range(0, 10_500_000).Draw(t, "mJ in ten seconds")
		epochs, step := Epochs(points("b", 0, 0, 10_000_000, rise), limit)
		if len(epochs) != 1 || step.Resets != 0 {
			t.Fatalf("%d mJ make %d epochs", rise, len(epochs))
		}
		cut, err := epochs[0].At(unit.Micros(rapid.Int64Range(1, 9_999_999).Draw(t, "edge")), 10*unit.Second, limit)
		if err != nil {
			t.Fatal(err)
		}
		if cut.C < cut.Low || cut.C > cut.High {
			t.Fatalf("cut %+v is outside its own bound", cut)
		}
	})
}

// The vectors are shared with the SQL of the engine: see the test of the same name in aggregator/clickhouse.
func TestCutVectors(t *testing.T) {
	file, err := os.Open("testdata/cuts.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := csv.NewReader(file)
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil || len(rows) < 10 {
		t.Fatalf("%d vectors, %v", len(rows), err)
	}
	for _, row := range rows[1:] {
		var v [6]int64
		for i, text := range row {
			if v[i], err = strconv.ParseInt(text, 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		got, err := Value(unit.Micros(v[0]), unit.Micros(v[1]), unit.Millijoules(v[2]), unit.Millijoules(v[3]), unit.Micros(v[4]))
		if err != nil || int64(got) != v[5] {
			t.Errorf("%v: got %d, %v", row, got, err)
		}
	}
}

func TestValueRefusesAnEdgeOutside(t *testing.T) {
	for _, at := range []unit.Micros{-1, 11} {
		if v, err := Value(0, 10, 0, 10, at); err == nil {
			t.Errorf("the counter at %d is %d between 0 and 10", at, v)
		}
	}
	if v, err := Value(5, 5, 0, 10, 5); err == nil {
		t.Errorf("two readings at one instant give %d", v)
	}
}
