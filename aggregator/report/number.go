package report

import (
	"strconv"

	"github.com/shopspring/decimal"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Number is a decimal for people, beside the integer it was made from. In JSON it is a number; empty it is null.
type Number string

// MarshalJSON writes the digits as they are.
func (n Number) MarshalJSON() ([]byte, error) {
	if n == "" {
		return []byte("null"), nil
	}
	return []byte(n), nil
}

// quotient is a/b to so many decimals, rounded half away from zero; of nothing it is empty.
func quotient(a, b int64, digits int32) Number {
	if b == 0 {
		return ""
	}
	return Number(decimal.NewFromInt(a).DivRound(decimal.NewFromInt(b), digits).StringFixed(digits))
}

// litresPerKWh is water over energy.
func litresPerKWh(v unit.Microlitres, e unit.Millijoules) Number {
	if e == 0 {
		return ""
	}
	litres := decimal.NewFromInt(int64(v)).Mul(decimal.NewFromInt(unit.MillijoulesPerKWh / 1_000_000))
	return Number(litres.DivRound(decimal.NewFromInt(int64(e)), 3).StringFixed(3))
}

// Hours is device time in hours of a whole device.
func Hours(t unit.DeviceTime) Number { return quotient(int64(t), unit.DeviceTimePerHour, 6) }

// KWh is energy in kilowatt-hours.
func KWh(e unit.Millijoules) Number { return quotient(int64(e), unit.MillijoulesPerKWh, 6) }

// Kilograms is a mass of CO2e.
func Kilograms(m unit.MicrogramsCO2e) Number { return quotient(int64(m), 1_000_000_000, 6) }

// Litres is an amount of water.
func Litres(v unit.Microlitres) Number { return quotient(int64(v), 1_000_000, 6) }

// short is a number for a table on a terminal.
func short(a, b int64, digits int32) string {
	if n := quotient(a, b, digits); n != "" {
		return string(n)
	}
	return "–"
}

// Count is a number of things: 1 seal, 2 seals.
func Count[I ~int | ~int64 | ~uint64](n I, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(int64(n), 10) + " " + many
}

// signed is a difference for a table: with its sign, so that nobody takes it for an amount.
func signed(a, b int64, digits int32) string {
	s := short(a, b, digits)
	if a > 0 {
		s = "+" + s
	}
	return s
}
