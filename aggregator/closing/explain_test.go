package closing

import (
	"encoding/json"
	"errors"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
)

var (
	quotients = regexp.MustCompile(`⌊(-?\d+) × (-?\d+) / (\d+)⌋ = (-?\d+)`)
	virtual   = regexp.MustCompile(`^\s+below slot \d+: `)
	signed    = regexp.MustCompile(`^  ([+−]) ⌊.*⌋ = (-?\d+)`)
)

// Every quotient that an explanation writes is right, the signed parts of a shared amount sum to what the entry has, and each step
// ends with the figure that closing booked.
func TestExplanationsAreRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHour(t)
		res, err := Close(h)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range res.Entries {
			now, steps, err := Explain(h, e)
			if err != nil {
				t.Fatal(err)
			}
			if text, want := asJSON(t, now), asJSON(t, e); text != want {
				t.Fatalf("explained as\n%s\nand booked as\n%s", text, want)
			}
			checkSteps(t, e, steps)
		}
	})
}

func checkSteps(t *rapid.T, e record.Entry, steps []Step) {
	var fields map[string]any
	d := json.NewDecoder(strings.NewReader(asJSON(t, e)))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, s := range steps {
		if number, ok := fields[s.Field].(json.Number); !ok || number.String() != big.NewInt(s.Value).String() {
			t.Fatalf("step %q ends with %s = %d, the entry has %v", s.Title, s.Field, s.Value, fields[s.Field])
		}
		told[s.Field] = true
		var sum int64
		parts := false
		for _, line := range s.Lines {
			for _, m := range quotients.FindAllStringSubmatch(line, -1) {
				a, b, c, want := number(m[1]), number(m[2]), number(m[3]), number(m[4])
				if got := new(big.Int).Div(a.Mul(a, b), c); got.Cmp(want) != 0 { // Euclidean: the floor, as c is positive
					t.Fatalf("%q is %v", line, got)
				}
			}
			if m := signed.FindStringSubmatch(line); m != nil && !virtual.MatchString(line) {
				parts = true
				if v := number(m[2]).Int64(); m[1] == "+" {
					sum += v
				} else {
					sum -= v
				}
			}
		}
		if parts && sum != s.Value {
			t.Fatalf("the parts of step %q sum to %d, not %d:\n%s", s.Title, sum, s.Value, strings.Join(s.Lines, "\n"))
		}
	}
	for _, field := range []string{"gpu_mj", "cpu_mj", "node_rest_mj", "it_shared_mj", "facility_mj", "water_ul", "carbon_ug"} {
		if v, _ := fields[field].(json.Number); v != "0" && !told[field] {
			t.Fatalf("%s is %s, and no step tells of it", field, v)
		}
	}
}

func number(s string) *big.Int {
	v, ok := new(big.Int).SetString(s, 10)
	if !ok {
		panic(s)
	}
	return v
}

func asJSON(t *rapid.T, e record.Entry) string {
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestALineThatIsGoneCannotBeExplained(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHour(t)
		_, _, err := Explain(h, record.Entry{Node: "node-0", Device: "GPU-0-0", Account: record.AccountTenant, Tenant: "somebody else"})
		if !errors.Is(err, ErrNoLine) {
			t.Fatalf("got %v", err)
		}
	})
}
