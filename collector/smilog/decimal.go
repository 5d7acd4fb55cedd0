package smilog

import (
	"errors"
	"math/big"
	"math/bits"

	"github.com/wattledger/wattledger/schemas/unit"
)

var errDecimal = errors.New("is not a decimal number of at most 12 digits and 6 decimals")

// parseMillionths reads a decimal exactly. Zeros beyond the sixth decimal are allowed, since they say nothing.
func parseMillionths(s string) (int64, error) {
	negative := len(s) > 0 && s[0] == '-'
	if negative {
		s = s[1:]
	}
	var v int64
	digits, decimals, point := 0, 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.' && !point && digits > 0:
			point = true
		case c < '0' || c > '9':
			return 0, errDecimal
		case point && decimals == 6:
			if c != '0' {
				return 0, errDecimal
			}
		case !point && digits == 12:
			return 0, errDecimal
		default:
			v = v*10 + int64(c-'0')
			if point {
				decimals++
			} else {
				digits++
			}
		}
	}
	if digits == 0 || s[len(s)-1] == '.' {
		return 0, errDecimal
	}
	for ; decimals < 6; decimals++ {
		v *= 10
	}
	if negative {
		v = -v
	}
	return v, nil
}

// energy is an exact sum of trapezoids: (µW + µW) × µs, which is half picojoules, in 128 bits. With power bounded by
// maxMicrowatts and time by the century that the wire allows it stays below 2^92.
type energy struct{ hi, lo uint64 }

const (
	maxMicrowatts         = 1_000_000_000_000 // 1 MW: no device draws it
	halfPicoPerMillijoule = 2_000_000_000
	halfPicoPerMicrojoule = 2_000_000
)

// add adds the trapezoid between two powers span apart.
func (e *energy) add(before, after int64, span unit.Micros) {
	hi, lo := bits.Mul64(uint64(before)+uint64(after), uint64(span))
	var carry uint64
	e.lo, carry = bits.Add64(e.lo, lo, 0)
	e.hi += hi + carry
}

// millijoules is the energy in whole millijoules, rounded down.
func (e energy) millijoules() uint64 {
	q, _ := bits.Div64(e.hi, e.lo, halfPicoPerMillijoule)
	return q
}

// microjoules is the energy without rounding.
func (e energy) microjoules() *big.Rat {
	n := new(big.Int).SetUint64(e.hi)
	n.Lsh(n, 64).Add(n, new(big.Int).SetUint64(e.lo))
	return new(big.Rat).SetFrac(n, big.NewInt(halfPicoPerMicrojoule))
}

// over is the energy divided by time, in milliwatts, to the nearest. No time gives no power.
func (e energy) over(span unit.Micros) unit.Milliwatts {
	if span <= 0 {
		return 0
	}
	// Half picojoules per microsecond are half microwatts: 2000 of them to the milliwatt.
	n := new(big.Int).SetUint64(e.hi)
	n.Lsh(n, 64).Add(n, new(big.Int).SetUint64(e.lo))
	d := new(big.Int).Mul(big.NewInt(int64(span)), big.NewInt(2000))
	n.Add(n, new(big.Int).Rsh(d, 1))
	return unit.Milliwatts(n.Quo(n, d).Int64())
}
