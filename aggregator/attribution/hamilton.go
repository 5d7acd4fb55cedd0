package attribution

import (
	"cmp"
	"errors"
	"math/bits"
	"slices"
)

// ErrNoWeight means that there is something to split and nobody to give it to. The caller books it as unallocated.
var ErrNoWeight = errors.New("nothing to split by: every weight is zero")

// Split divides amount by weights with the largest remainder method (Hamilton): each part is the floor of its exact share,
// and the units left over go to the largest remainders, ties to the lower index. A negative amount splits as the mirror
// of its opposite. The parts sum to amount.
func Split[T ~int64](amount T, weights []uint64) ([]T, error) {
	var total uint64
	for _, w := range weights {
		var carry uint64
		if total, carry = bits.Add64(total, w, 0); carry != 0 {
			return nil, errors.New("the weights sum to more than 64 bits hold")
		}
	}
	parts := make([]T, len(weights))
	if amount == 0 {
		return parts, nil
	}
	if total == 0 {
		return nil, ErrNoWeight
	}
	size, sign := uint64(amount), T(1)
	if amount < 0 {
		size, sign = -size, -1
	}
	remainders := make([]uint64, len(weights))
	order := make([]int, len(weights))
	left := size
	for i, w := range weights {
		hi, lo := bits.Mul64(size, w) // w ≤ total, so the quotient fits
		q, r := bits.Div64(hi, lo, total)
		parts[i], remainders[i], order[i] = sign*T(q), r, i
		left -= q
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(remainders[b], remainders[a]) })
	for _, i := range order[:left] {
		parts[i] += sign
	}
	return parts, nil
}
