package carbon

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

func intensity(perKWh int64) factor.Chosen {
	return factor.Chosen{Edition: factor.Edition{Value: perKWh}}
}

func TestLocation(t *testing.T) {
	f := func(energy unit.Millijoules, perKWh int64, want unit.MicrogramsCO2e) {
		t.Helper()
		got, err := Location(energy, intensity(perKWh))
		if err != nil || got != want {
			t.Errorf("%d mJ at %d µg/kWh is %d µg, %v; want %d", energy, perKWh, got, err, want)
		}
	}
	f(unit.MillijoulesPerKWh, 44_180_000, 44_180_000)
	f(1_000*unit.MillijoulesPerKWh, 44_180_000, 44_180_000_000) // a MWh in France: 44.18 kg
	f(0, 44_180_000, 0)
	f(1, 1_800_000_000, 0) // half a microgram goes to the even neighbour
	f(3, 1_800_000_000, 2)
	f(-3, 1_800_000_000, -2) // a correction weighs what it corrects
}

func TestLocationRefusesWhatDoesNotFit(t *testing.T) {
	if v, err := Location(math.MaxInt64, intensity(math.MaxInt64)); !errors.Is(err, unit.ErrOverflow) {
		t.Errorf("got %d, %v", v, err)
	}
}

// An entry is off by half a microgram at most, and a correction cancels what it corrects.
func TestLocationIsTheNearest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		energy := rapid.Int64Range(-1<<50, 1<<50).Draw(t, "mJ")
		grid := intensity(rapid.Int64Range(0, 2_000_000_000).Draw(t, "µg/kWh"))
		got, err := Location(unit.Millijoules(energy), grid)
		if err != nil {
			t.Fatal(err)
		}
		exact := new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(energy), big.NewInt(grid.Value)), big.NewInt(unit.MillijoulesPerKWh))
		diff := exact.Sub(exact, new(big.Rat).SetInt64(int64(got)))
		if diff.Abs(diff).Cmp(big.NewRat(1, 2)) > 0 {
			t.Fatalf("%d is %s from the exact value", got, diff.FloatString(3))
		}
		if back, err := Location(unit.Millijoules(-energy), grid); err != nil || back != -got {
			t.Fatalf("its opposite is %d, %v", back, err)
		}
	})
}
