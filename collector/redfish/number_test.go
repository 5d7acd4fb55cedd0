package redfish

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"
)

func TestNumbersAsBMCsWriteThem(t *testing.T) {
	f := func(text string, places int, want int64, decimals int) {
		t.Helper()
		var n number
		if err := json.Unmarshal([]byte(text), &n); err != nil {
			t.Fatal(err)
		}
		if v, d, ok := n.scaled(places); !ok || v != want || d != decimals {
			t.Errorf("%s × 10^%d is %d with %d decimals (%t), want %d with %d", text, places, v, d, ok, want, decimals)
		}
	}
	f(`412`, 3, 412_000, 0)
	f(`412.5`, 3, 412_500, 1)
	f(`"412.5"`, 3, 412_500, 1)
	f(`" 412 "`, 3, 412_000, 0)
	f(`1.2345e3`, 3, 1_234_500, 1)
	f(`1.2E+3`, 0, 1200, 0)
	f(`12.300000000000001`, 6, 12_300_000, 1)
	f(`12.2999999999999989`, 3, 12_300, 1)
	f(`0.0005`, 3, 1, 4) // half a milliwatt goes away from zero
	f(`0.00049999999999999`, 3, 0, 4)
	f(`-0.0005`, 3, -1, 4)
	f(`1e-400`, 3, 0, 0)
	f(`0e400`, 3, 0, 0)
	f(`9223372036854775807`, 0, 9223372036854775807, 0)
	f(`1500.000`, 3, 1_500_000, 0)

	none := func(text string) {
		t.Helper()
		var n number
		if err := json.Unmarshal([]byte(text), &n); err != nil || n != "" {
			t.Errorf("%s was read as %q, %v", text, n, err)
		}
	}
	for _, text := range []string{`null`, `"n/a"`, `""`, `"412 W"`, `true`, `{}`, `[1]`, `1e60`, `123456789012345678901234567890`, `"0x10"`, `"1.2.3"`, `"e5"`, `"1e"`, `"NaN"`, `"-+0"`} {
		none(text)
	}
}

// Whatever the text: no panic, and a number is what big arithmetic makes of it.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"1", "-1.5", "1e9", "0.000000001", "12.300000000000001", "99999999999999999999", "1e-999999999", ".", "-+0", "1e-+5", "+1", "1e5"} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, text string, places int) {
		places = min(max(places, -9), 9)
		v, decimals, ok := number(text).scaled(places)
		if !ok {
			return
		}
		if decimals < 0 || decimals > maxDecimals {
			t.Fatalf("%q has %d decimals", text, decimals)
		}
		if _, e, has := strings.Cut(strings.ToLower(text), "e"); len(text) > 18 || has && len(e) > 3 {
			return // digits may have been cut off, or the exponent is beyond what big arithmetic bears
		}
		want, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%q was read as %d", text, v)
		}
		scale := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(9), nil))
		got := new(big.Rat).SetFrac(big.NewInt(v), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places+9)), nil))
		got.Mul(got, scale)
		diff := got.Sub(got, want)
		half := new(big.Rat).SetFrac(big.NewInt(1), big.NewInt(2))
		half.Mul(half, new(big.Rat).SetFrac(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(9-places)), nil), new(big.Int).Exp(big.NewInt(10), big.NewInt(9), nil)))
		if diff.Abs(diff).Cmp(half) > 0 {
			t.Fatalf("%q × 10^%d was read as %d", text, places, v)
		}
	})
}
