package unit

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// ErrOverflow means that the exact result does not fit in 64 bits. Quantities of one device-hour never get near it;
// a caller that sees it has been handed corrupt input and refuses it.
var ErrOverflow = errors.New("result does not fit in 64 bits")

// FloorMulDiv is ⌊a·b/c⌋ computed through 128 bits, for c > 0 and any sign of a and b.
func FloorMulDiv(a, b, c int64) (int64, error) {
	q, r, neg, err := mulDiv(a, b, c)
	if err != nil {
		return 0, err
	}
	if neg && r != 0 {
		q++ // towards minus infinity
	}
	return signed(q, neg, a, b, c)
}

// RoundMulDiv is a·b/c rounded half to even (IEEE 754 roundTiesToEven), computed through 128 bits, for c > 0.
func RoundMulDiv(a, b, c int64) (int64, error) {
	q, r, neg, err := mulDiv(a, b, c)
	if err != nil {
		return 0, err
	}
	uc := uint64(c)
	if r > uc-r || (r == uc-r && q&1 == 1) {
		q++
	}
	return signed(q, neg, a, b, c)
}

func mulDiv(a, b, c int64) (q, r uint64, neg bool, err error) {
	if c <= 0 {
		return 0, 0, false, fmt.Errorf("divide %d·%d by %d: the divisor must be positive", a, b, c)
	}
	hi, lo := bits.Mul64(abs(a), abs(b))
	if hi >= uint64(c) {
		return 0, 0, false, fmt.Errorf("%d·%d/%d: %w", a, b, c, ErrOverflow)
	}
	q, r = bits.Div64(hi, lo, uint64(c))
	return q, r, (a < 0) != (b < 0), nil
}

func signed(q uint64, neg bool, a, b, c int64) (int64, error) {
	limit := uint64(math.MaxInt64)
	if neg {
		limit++
	}
	if q > limit {
		return 0, fmt.Errorf("%d·%d/%d: %w", a, b, c, ErrOverflow)
	}
	if neg {
		return -int64(q), nil
	}
	return int64(q), nil
}

func abs(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}
