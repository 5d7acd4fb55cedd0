package smilog

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/unit"
)

// The sum is exact far beyond 64 bits: up to the most that power and the century allow.
func TestEnergyBeyond64Bits(t *testing.T) {
	const century = int64(100 * 366 * 86_400_000_000)
	rapid.Check(t, func(t *rapid.T) {
		var e energy
		sum, left := new(big.Rat), century
		for range rapid.IntRange(1, 20).Draw(t, "n") {
			a, b := rapid.Int64Range(0, maxMicrowatts).Draw(t, "before"), rapid.Int64Range(0, maxMicrowatts).Draw(t, "after")
			span := rapid.Int64Range(0, left).Draw(t, "span")
			left -= span
			e.add(a, b, unit.Micros(span))
			area := new(big.Int).Mul(big.NewInt(a+b), big.NewInt(span))
			sum.Add(sum, new(big.Rat).SetFrac(area, big.NewInt(2_000_000)))
		}
		if e.microjoules().Cmp(sum) != 0 {
			t.Fatalf("%s µJ, want %s", e.microjoules().RatString(), sum.RatString())
		}
		mj := new(big.Rat).Quo(sum, big.NewRat(1000, 1))
		if floor := new(big.Int).Quo(mj.Num(), mj.Denom()); floor.Cmp(new(big.Int).SetUint64(e.millijoules())) != 0 {
			t.Fatalf("%d mJ, want %v", e.millijoules(), floor)
		}
		if span := century - left; span > 0 {
			mean := new(big.Rat).Quo(sum, big.NewRat(span, 1000)) // µJ/µs are W
			diff := mean.Sub(mean, big.NewRat(int64(e.over(unit.Micros(span))), 1))
			if diff.Abs(diff).Cmp(big.NewRat(1, 2)) > 0 {
				t.Fatalf("the mean is off by %s mW", diff.FloatString(3))
			}
		}
	})
}
