package provider

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Series is what a provider has of a zone.
type Series struct {
	Editions []factor.Edition
	// Missing are the hours that were asked for and have no value, in order.
	Missing []Missing
}

// Missing is an hour without a value, and why.
type Missing struct {
	Hour   unit.Micros
	Reason string
}

// ErrRefused means that the publisher's answer is not what was asked for: nothing of it is used. Ask again, or look at what it says.
var ErrRefused = errors.New("answer refused")

// maxSpan bounds one fetch: three years and a little of hours.
const maxSpan = 27_000 * unit.Hour

// CheckSpan says what is wrong with the hours asked for.
func CheckSpan(from, to unit.Micros) error {
	switch {
	case from%unit.Hour != 0 || to%unit.Hour != 0:
		return fmt.Errorf("from %s to %s: write whole hours in UTC", stamp(from), stamp(to))
	case from <= 0 || to <= from:
		return fmt.Errorf("from %s to %s: the end must be after the start", stamp(from), stamp(to))
	case to-from > maxSpan:
		return fmt.Errorf("from %s to %s: ask for three years at most, in several calls", stamp(from), stamp(to))
	}
	return nil
}

func stamp(t unit.Micros) string { return t.Time().Format(time.RFC3339) }

// Chunks calls f for one part of [from, to) after another, each of at most this many hours.
func Chunks(from, to unit.Micros, hours int64, f func(from, to unit.Micros) error) error {
	for from < to {
		end := min(to, from+unit.Micros(hours)*unit.Hour)
		if err := f(from, end); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// Gather makes a series of the values of hours in [from, to); why says why an hour has none, empty where nothing was published.
func Gather(from, to unit.Micros, values map[unit.Micros]factor.Edition, why map[unit.Micros]string) Series {
	var s Series
	for h := from; h < to; h += unit.Hour {
		if e, ok := values[h]; ok {
			s.Editions = append(s.Editions, e)
		} else {
			s.Missing = append(s.Missing, Missing{h, cmp.Or(why[h], "nothing is published")})
		}
	}
	slices.SortFunc(s.Editions, factor.Compare)
	return s
}

// Scaled is a decimal number × 10^digits as an integer, rounded half to even. No binary fraction stands between.
func Scaled(text string, digits int32) (int64, error) {
	d, err := number(text)
	if err != nil {
		return 0, err
	}
	return integer(text, d.Shift(digits).RoundBank(0))
}

// Exactly is Scaled for numbers that people state: one with more digits is refused.
func Exactly(text string, digits int32) (int64, error) {
	d, err := number(text)
	if err != nil {
		return 0, err
	}
	d = d.Shift(digits)
	if !d.IsInteger() {
		return 0, fmt.Errorf("%q has more than %d digits after the point, which is finer than accounts are", text, digits)
	}
	return integer(text, d)
}

// number bounds the text first: a short one can stand for a number of a billion digits.
func number(text string) (decimal.Decimal, error) {
	if len(text) > 40 {
		return decimal.Decimal{}, fmt.Errorf("%.40q… is no number: it is too long", text)
	}
	d, err := decimal.NewFromString(text)
	if err != nil {
		return decimal.Decimal{}, fmt.Errorf("%q is no number", text)
	}
	if e := d.Exponent(); e < -40 || e > 18 {
		return decimal.Decimal{}, fmt.Errorf("%q is out of range", text)
	}
	return d, nil
}

func integer(text string, d decimal.Decimal) (int64, error) {
	if !d.BigInt().IsInt64() {
		return 0, fmt.Errorf("%q is out of range", text)
	}
	return d.IntPart(), nil
}
