package meter

import (
	"math"
	"math/bits"
)

// Integral is a sum of value × time, kept as a whole number of units and an exact remainder.
type Integral struct {
	whole, rem uint64
	// per is how many of value × microsecond make one unit.
	per uint64
}

// The sizes of one unit, in the products that are added.
const (
	// perRatio: a ratio in 1e-4 × µs, counted in µs.
	perRatio = 10_000
	// perPercent: per cent × µs, counted in µs.
	perPercent = 100
	// perRate: units per second × µs, counted in units.
	perRate = 1_000_000
	// perEnergy: (mW + mW) × µs is half a nanojoule, counted in mJ.
	perEnergy = 2_000_000
)

// NewEnergyIntegral adds up power into mJ. Add it the sum of two neighbouring readings in mW and the µs between them.
func NewEnergyIntegral() Integral { return Integral{per: perEnergy} }

// Add adds value × span. It says false, and adds nothing, when the sum would not fit: the value is then corrupt.
func (x *Integral) Add(value, span uint64) bool {
	hi, lo := bits.Mul64(value, span)
	lo, carry := bits.Add64(lo, x.rem, 0)
	hi += carry // at most 2^64-2 before, so it cannot wrap
	if hi >= x.per {
		return false
	}
	q, r := bits.Div64(hi, lo, x.per)
	sum, over := bits.Add64(x.whole, q, 0)
	if over != 0 || sum == math.MaxUint64 { // all ones means absent on the wire
		return false
	}
	x.whole, x.rem = sum, r
	return true
}

// Whole is the total in whole units, rounded down. What is left is carried into the next Add.
func (x *Integral) Whole() uint64 { return x.whole }

// Bounds beyond which a value is corrupt rather than large: 10 MW for a device, 1 PB/s for a link.
const (
	maxMilliwatts = 10_000_000_000
	maxRate       = 1_000_000_000_000_000
)

// ratio rounds 0..1 to 1e-4, half away from zero. Readings above 1 have been seen on MIG instances: they count as 1.
func ratio(f float64) (v uint64, clamped, ok bool) {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return 0, false, false
	case f < 0:
		return 0, true, true
	case f > 1:
		return perRatio, true, true
	}
	return uint64(math.Round(f * perRatio)), false, true
}

// percent takes 0..100 as read.
func percent(i int64) (v uint64, clamped, ok bool) {
	switch {
	case i < 0:
		return 0, true, true
	case i > perPercent:
		return perPercent, true, true
	}
	return uint64(i), false, true
}

// rate takes a rate per second as read.
func rate(i int64) (v uint64, clamped, ok bool) {
	switch {
	case i < 0:
		return 0, true, true
	case i > maxRate:
		return 0, false, false
	}
	return uint64(i), false, true
}

// milliwatts rounds watts to a milliwatt, half away from zero.
func milliwatts(w float64) (v uint64, clamped, ok bool) {
	switch {
	case math.IsNaN(w) || w > maxMilliwatts/1000:
		return 0, false, false
	case w < 0:
		return 0, true, true
	}
	return uint64(math.Round(w * 1000)), false, true
}
