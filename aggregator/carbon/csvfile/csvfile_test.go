package csvfile

import (
	"os"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

func TestParse(t *testing.T) {
	data, err := os.ReadFile("testdata/factors.csv")
	if err != nil {
		t.Fatal(err)
	}
	editions, faults, err := Parse(data)
	if err != nil || len(faults) > 0 {
		t.Fatalf("%v, %v", faults, err)
	}
	want := []string{
		"operator monitoring 2025 fr-1 declared, category 2 1180‰",
		"operator monitoring 2025 fr-1 declared 800000µl/kWh",
		"operator heat contract fr-1 metered yearly 125‰",
		"AIB European Residual Mixes 2025 FR direct residual mix yearly 41500000µg/kWh",
		"registry GO 2026-117 fr-1 direct guarantee of origin yearly matching 350000ppm 0µg/kWh",
		"example wind PPA 7 fr-1 direct power purchase agreement hourly matching 9001800000000mJ/h 11000000µg/kWh",
		"maker PCF 2026 Example X1 cradle-to-gate PCF of the board estimated 310500000000µg over 157788000000ms",
		"example v1 FR lifecycle consumption average hourly 31250000µg/kWh",
	}
	for i, e := range editions {
		if i >= len(want) || e.Ref() != want[i] {
			t.Errorf("edition %d is %q", i, e.Ref())
		}
	}
	if len(editions) != len(want) {
		t.Errorf("%d editions", len(editions))
	}
	// The hour that summer time ends in, written with its offset, and nothing else.
	if e := editions[7]; e.From.Time().Format("2006-01-02T15") != "2026-10-25T00" || e.To != e.From+unit.Hour {
		t.Errorf("%s", e)
	}
	for _, f := range factor.Check(editions) {
		t.Errorf("%s", f)
	}
}

// The example of the manual is a file that is taken.
func TestManual(t *testing.T) {
	page, err := os.ReadFile("../../../docs/carbon.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```csv\n")
	example, _, _ = strings.Cut(example, "```")
	editions, faults, err := Parse([]byte(example))
	if err != nil || len(faults) > 0 || len(editions) != 4 {
		t.Errorf("%d editions, %v, %v", len(editions), faults, err)
	}
	for _, f := range factor.Check(editions) {
		t.Errorf("%s", f)
	}
	for _, c := range columns {
		if !strings.Contains(string(page), "`"+c+"`") {
			t.Errorf("the manual does not name column %s", c)
		}
	}
}

func TestFaults(t *testing.T) {
	const header = "kind,key,from,to,value,unit,method,source,name,licence,boundary,resolution,estimated,volume_kwh_per_hour,cover_percent,matching,life_hours\n"
	row := func(want, text string) {
		t.Helper()
		editions, faults, err := Parse([]byte(header + text + "\n"))
		if err != nil || len(editions) != 0 || len(faults) != 1 || faults[0].Line != 2 || !strings.Contains(faults[0].Text, want) {
			t.Errorf("%s: %v, %v, %v; want %q", text, editions, faults, err, want)
		}
	}
	row("kind", "wind,fr-1,2026-01-01,,1.2,ratio,m,s,n,l,,,,,,,")
	row("pue is stated in one of ratio", "pue,fr-1,2026-01-01,,1.2,percent,m,s,n,l,,,,,,,")
	row("more than 3 digits", "pue,fr-1,2026-01-01,,1.23456,ratio,m,s,n,l,,,,,,,")
	row("no number", "pue,fr-1,2026-01-01,,,ratio,m,s,n,l,,,,,,,")
	row("1000 or more", "pue,fr-1,2026-01-01,,0.9,ratio,m,s,n,l,,,,,,,")
	row("not after it begins", "pue,fr-1,2026-01-01,2025-01-01,1.2,ratio,m,s,n,l,,,,,,,")
	row("2026-01-31", "pue,fr-1,01/01/2026,,1.2,ratio,m,s,n,l,,,,,,,")
	row("whole hours", "pue,fr-1,2026-01-01T00:30:00Z,,1.2,ratio,m,s,n,l,,,,,,,")
	row("source is empty", "pue,fr-1,2026-01-01,,1.2,ratio,m,,n,l,,,,,,,")
	row("yes or no", "pue,fr-1,2026-01-01,,1.2,ratio,m,s,n,l,,,maybe,,,,")
	row("matching is", "instrument,fr-1,2026-01-01,,0,g/kWh,m,s,n,l,direct,,,,50,,")
	row("at most 1000000 ppm", "instrument,fr-1,2026-01-01,,0,g/kWh,m,s,n,l,direct,,,,101,yearly,")
	row("life is 0", "embodied,X,,,1,kg,m,s,n,l,cradle-to-gate,,,,,,")
	row("out of range", "embodied,X,,,1,kg,m,s,n,l,cradle-to-gate,,,,,,9999999")
	row("fields and the header", "pue,fr-1")
	whole := func(want, text string) {
		t.Helper()
		if _, _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
	whole("it is empty", "")
	whole("no row", header)
	whole("column licence is missing", "kind,key,from,to,value,unit,method,source,name\n")
	whole(`column "price" is not known`, "kind,key,from,to,value,unit,method,source,name,licence,price\n")
	whole("stands twice", "kind,key,from,to,value,unit,method,source,name,licence,kind\n")
	whole("not UTF-8", "kind\xff\n")
	whole("quoted-field", header+"pue,\"a\"b,,\n")
}

func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/factors.csv")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		editions, _, err := Parse(data)
		if err != nil {
			return
		}
		for _, e := range editions {
			if err := e.Validate(); err != nil {
				t.Error(err)
			}
		}
	})
}
