package unit

import (
	"errors"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestMulDivAgreesWithBigIntegers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64().Draw(t, "a"), rapid.Int64().Draw(t, "b")
		c := rapid.Int64Range(1, 1<<62).Draw(t, "c")
		p := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
		floor := new(big.Int)
		m := new(big.Int)
		floor.DivMod(p, big.NewInt(c), m) // Euclidean: floor for a positive divisor
		got, err := FloorMulDiv(a, b, c)
		if floor.IsInt64() != (err == nil) {
			t.Fatalf("FloorMulDiv(%d, %d, %d) err = %v, want %v", a, b, c, err, floor)
		}
		if err == nil && got != floor.Int64() {
			t.Fatalf("FloorMulDiv(%d, %d, %d) = %d, want %v", a, b, c, got, floor)
		}
		if err != nil && !errors.Is(err, ErrOverflow) {
			t.Fatalf("overflow is named %v", err)
		}
	})
}

func TestRoundMulDiv(t *testing.T) {
	f := func(a, b, c, want int64) {
		t.Helper()
		if got, err := RoundMulDiv(a, b, c); err != nil || got != want {
			t.Errorf("RoundMulDiv(%d, %d, %d) = %d, %v; want %d", a, b, c, got, err, want)
		}
	}
	f(1, 1, 2, 0) // half goes to the even neighbour
	f(3, 1, 2, 2)
	f(-3, 1, 2, -2)
	f(5, 1, 3, 2)
	f(-5, 1, 3, -2)
	f(3_600_000_000, 44_180_000, 3_600_000_000, 44_180_000)
	if _, err := RoundMulDiv(1, 1, 0); err == nil {
		t.Error("a zero divisor was accepted")
	}
}

func TestFloorHour(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := Micros(rapid.Int64Range(-1<<50, 1<<55).Draw(t, "t"))
		h := at.FloorHour()
		if h > at || at-h >= Hour || h%Hour != 0 {
			t.Fatalf("FloorHour(%d) = %d", at, h)
		}
	})
}

func TestStrings(t *testing.T) {
	f := func(got interface{ String() string }, want string) {
		t.Helper()
		if got.String() != want {
			t.Errorf("got %q, want %q", got.String(), want)
		}
	}
	f(Millijoules(7_200_000_000), "2.000 kWh")
	f(Millijoules(12_345), "12.345 J")
	f(Millijoules(-12), "-12 mJ")
	f(MicrogramsCO2e(1_500_000_000), "1.500 kgCO2e")
}
