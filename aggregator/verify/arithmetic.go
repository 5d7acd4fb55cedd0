package verify

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
)

// exact does rational arithmetic and keeps the first figure that no ledger can hold, so that callers read as formulas.
// One goroutine uses it.
type exact struct {
	err  error
	x, y big.Int
}

// floor is ⌊a·b/c⌋.
func (x *exact) floor(a, b, c int64) int64 {
	if c <= 0 {
		x.fail("%d·%d/%d has no value", a, b, c)
		return 0
	}
	x.x.Mul(x.x.SetInt64(a), x.y.SetInt64(b))
	x.x.Div(&x.x, x.y.SetInt64(c)) // Euclidean: floor for a positive divisor
	return x.int64(&x.x)
}

// line is the value at t of the line through (t0, c0) and (t1, c1), rounded down.
func (x *exact) line(t0, c0, t1, c1, t int64) int64 { return c0 + x.floor(c1-c0, t-t0, t1-t0) }

// above says whether rise > 105/100 · power · span, in mJ, mW and µs: no device draws that.
func (x *exact) above(rise, power, span int64) bool {
	x.x.Mul(x.x.SetInt64(rise), x.y.SetInt64(100*1_000_000))
	x.y.Mul(x.y.SetInt64(power), new(big.Int).SetInt64(span))
	x.y.Mul(&x.y, big.NewInt(105))
	return x.x.Cmp(&x.y) > 0
}

// apportion is Hamilton's method on exact quotas: everyone gets the whole part of amount·wᵢ/Σw, and what is left goes one
// by one to the largest fractions, of equal ones to the first.
func (x *exact) apportion(amount int64, weights []int64) []int64 {
	parts := make([]int64, len(weights))
	if amount == 0 {
		return parts
	}
	if amount < 0 {
		for i, p := range x.apportion(-amount, weights) {
			parts[i] = -p
		}
		return parts
	}
	total := new(big.Int)
	for _, w := range weights {
		total.Add(total, big.NewInt(max(w, 0)))
	}
	if total.Sign() == 0 {
		x.fail("nobody to give %d to", amount)
		return parts
	}
	fractions := make([]*big.Rat, len(weights))
	order := make([]int, len(weights))
	left := amount
	for i, w := range weights {
		quota := new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(amount), big.NewInt(max(w, 0))), total)
		whole := new(big.Int).Div(quota.Num(), quota.Denom())
		parts[i] = x.int64(whole)
		fractions[i] = quota.Sub(quota, new(big.Rat).SetInt(whole))
		left -= parts[i]
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(fractions[b].Cmp(fractions[a]), cmp.Compare(a, b)) })
	for i := range left {
		parts[order[i]]++
	}
	return parts
}

// halfEven is a·b/c rounded to the nearest, halves to the even neighbour.
func (x *exact) halfEven(a, b, c int64) int64 {
	r := new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(a), big.NewInt(b)), big.NewInt(c))
	twice := new(big.Rat).Mul(r, big.NewRat(2, 1))
	down := new(big.Int).Div(r.Num(), r.Denom())
	odd := new(big.Int).Add(new(big.Int).Lsh(down, 1), big.NewInt(1)) // twice the midpoint
	switch c := twice.Cmp(new(big.Rat).SetInt(odd)); {
	case c > 0, c == 0 && down.Bit(0) == 1:
		down.Add(down, big.NewInt(1))
	}
	return x.int64(down)
}

func (x *exact) int64(v *big.Int) int64 {
	if !v.IsInt64() {
		x.fail("%s does not fit in 64 bits", v)
		return 0
	}
	return v.Int64()
}

func (x *exact) fail(format string, args ...any) {
	if x.err == nil {
		x.err = fmt.Errorf("recompute: "+format, args...)
	}
}

func big0() *big.Int { return new(big.Int) }

func product(a, b int64) *big.Int { return new(big.Int).Mul(big.NewInt(a), big.NewInt(b)) }

func stamp(t unit.Micros) string { return t.Time().Format(time.RFC3339) }
