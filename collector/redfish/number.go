package redfish

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
)

// maxDecimals is how many decimals of a number are looked at. Beyond them a BMC's float shows its binary form, and a
// billionth of a kWh is 3.6 mJ.
const maxDecimals = 9

// number is a number as a BMC writes it: a JSON number, a string that holds one, or null or anything else, which is none.
type number string

// UnmarshalJSON never fails: what is no number is a missing one.
func (n *number) UnmarshalJSON(data []byte) error {
	*n = ""
	text := string(bytes.TrimSpace(data))
	if strings.HasPrefix(text, `"`) {
		var s word
		_ = json.Unmarshal(data, &s) // a word never fails
		text = strings.TrimSpace(string(s))
	}
	if _, _, ok := number(text).scaled(0); ok {
		*n = number(text)
	}
	return nil
}

// scaled is the number × 10^places, rounded half away from zero, and how many decimals the number shows. It is exact: no
// float is on the way. It is not ok for what is no decimal number, or does not fit.
func (n number) scaled(places int) (v int64, decimals int, ok bool) {
	digits, exp, negative, ok := n.split()
	if !ok {
		return 0, 0, false
	}
	// For the decimals to nine places, so that 12.300000000000001 shows one.
	shown, at, ok := round(digits, exp, -maxDecimals)
	if !ok {
		return 0, 0, false
	}
	for shown != 0 && shown%10 == 0 {
		shown, at = shown/10, at+1
	}
	if shown != 0 {
		decimals = max(0, -at)
	}
	v, exp, ok = round(digits, exp+places, 0)
	for ; ok && v != 0 && exp > 0; exp-- {
		if v > math.MaxInt64/10 {
			return 0, 0, false
		}
		v *= 10
	}
	if negative {
		v = -v
	}
	return v, decimals, ok
}

// split reads the digits and the exponent: digits × 10^exp. Digits that no account needs are cut off.
func (n number) split() (digits int64, exp int, negative, ok bool) {
	text := string(n)
	if text, negative = strings.CutPrefix(text, "-"); !negative {
		text = strings.TrimPrefix(text, "+")
	}
	mantissa, e, hasExp := text, "", false
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa, e, hasExp = text[:i], text[i+1:], true
	}
	seen, point := 0, false
	for _, c := range []byte(mantissa) {
		switch {
		case c == '.' && !point:
			point = true
			continue
		case c < '0' || c > '9':
			return 0, 0, false, false
		}
		seen++
		switch {
		case digits <= (math.MaxInt64-int64(c-'0'))/10:
			digits = digits*10 + int64(c-'0')
			if point {
				exp--
			}
		case !point:
			exp++ // too many digits to keep: the magnitude is kept, and will not fit
		}
	}
	if seen == 0 || hasExp && e == "" {
		return 0, 0, false, false
	}
	if hasExp {
		e, minus := strings.CutPrefix(e, "-")
		if !minus {
			e = strings.TrimPrefix(e, "+")
		}
		power := 0
		for _, c := range []byte(e) {
			if c < '0' || c > '9' {
				return 0, 0, false, false
			}
			power = min(power*10+int(c-'0'), 10_000)
		}
		if e == "" {
			return 0, 0, false, false
		}
		if minus {
			power = -power
		}
		exp += power
	}
	return digits, exp, negative, true
}

// round brings digits × 10^exp to an exponent of at least least, half away from zero. It is not ok when the exponent is
// beyond any number that fits.
func round(digits int64, exp, least int) (int64, int, bool) {
	switch {
	case digits == 0:
		return 0, max(exp, least), true
	case exp >= least:
		return digits, exp, exp <= 60
	case least-exp > 18:
		return 0, least, true
	}
	size := int64(1)
	for range least - exp {
		size *= 10
	}
	q, r := digits/size, digits%size
	if r >= size-r {
		q++
	}
	return q, least, true
}
