package verify

import (
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

func TestApportion(t *testing.T) {
	f := func(amount int64, weights []int64, want ...int64) {
		t.Helper()
		x := &exact{}
		if got := x.apportion(amount, weights); !slices.Equal(got, want) || x.err != nil {
			t.Errorf("apportion(%d, %v) = %v, %v; want %v", amount, weights, got, x.err, want)
		}
	}
	f(101, []int64{1, 2, 1}, 25, 51, 25)
	f(-101, []int64{1, 2, 1}, -25, -51, -25)
	f(2, []int64{1, 1, 1}, 1, 1, 0) // ties to the first
	f(0, []int64{0, 0}, 0, 0)
	f(5, []int64{0, 1, 0}, 0, 5, 0)
	f(7, []int64{-3, 1}, 0, 7) // less than nothing takes no part
	x := &exact{}
	if x.apportion(1, []int64{0}); x.err == nil {
		t.Error("something was given to nobody")
	}
}

func TestHalfEven(t *testing.T) {
	f := func(a, b, c, want int64) {
		t.Helper()
		x := &exact{}
		if got := x.halfEven(a, b, c); got != want || x.err != nil {
			t.Errorf("halfEven(%d·%d/%d) = %d, %v; want %d", a, b, c, got, x.err, want)
		}
	}
	f(1, 1, 2, 0)
	f(3, 1, 2, 2)
	f(-3, 1, 2, -2)
	f(-1, 1, 2, 0)
	f(7, 1, 4, 2)
	f(-7, 1, 4, -2)
}

func TestFloor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := rapid.Int64().Draw(t, "a"), rapid.Int64().Draw(t, "b"), rapid.Int64Range(1, 1<<62).Draw(t, "c")
		x := &exact{}
		got := x.floor(a, b, c)
		if x.err != nil {
			return
		}
		product := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
		below := new(big.Int).Mul(big.NewInt(got), big.NewInt(c))
		if rest := product.Sub(product, below); rest.Sign() < 0 || rest.Cmp(big.NewInt(c)) >= 0 {
			t.Fatalf("⌊%d·%d/%d⌋ = %d leaves %v", a, b, c, got, rest)
		}
	})
}

// The collector's own counters end with its run even when the new one has already passed the old; the hardware's go on.
func TestIntegratedCountersEndWithTheirRun(t *testing.T) {
	f := func(source record.EnergySource, epochs int) {
		t.Helper()
		s := Series{
			Identities: []Identity{{Run: "a"}, {Run: "b"}},
			Samples: []Sample{
				{At: 10, Energy: 1, Integral: Absent}, {At: 20, Energy: 2, Integral: Absent}, {At: 30, Energy: 3, Integral: Absent, Identity: 1},
			},
		}
		x := &exact{}
		if c := x.newCounter(s, record.Device{Energy: source}); len(c.epochs) != epochs {
			t.Errorf("%s: %d epochs, want %d", source, len(c.epochs), epochs)
		}
	}
	f(record.EnergyHardware, 1)
	f(record.EnergyIntegrated, 2)
}

func TestPlace(t *testing.T) {
	at := func(id string, share unit.Thousandths, start, end unit.Micros) record.Allocation {
		return record.Allocation{ID: id, Share: share, Start: start, End: end}
	}
	slots := place([]record.Allocation{
		at("d", 700, 30, 0), // 300 from a and 400 after b, which is still there
		at("a", 300, 10, 30), at("b", 300, 20, 40), at("c", 500, 25, 50), at("e", 1, 35, 36),
	})
	if _, ok := slots["c"]; ok {
		t.Error("c holds 500 of the 400 that were free")
	}
	if got := slots["d"]; !slices.Equal(got, []row{{0, 300}, {600, 1000}}) {
		t.Errorf("d holds %v", got)
	}
	if _, ok := slots["e"]; ok {
		t.Error("e holds what d has")
	}
}
