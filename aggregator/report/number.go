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

// Hours is device time in hours of a whole device.
func Hours(t unit.DeviceTime) Number { return quotient(int64(t), unit.DeviceTimePerHour, 6) }

// KWh is energy in kilowatt-hours.
func KWh(e unit.Millijoules) Number { return quotient(int64(e), unit.MillijoulesPerKWh, 6) }

// Kilograms is a mass of CO2e.
func Kilograms(m unit.MicrogramsCO2e) Number { return quotient(int64(m), 1_000_000_000, 6) }

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
