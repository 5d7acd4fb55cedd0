package factor

import (
	"strings"
	"testing"
)

func TestGridTable(t *testing.T) {
	grids, err := Grids()
	if err != nil {
		t.Fatal(err)
	}
	if len(grids) < 30 {
		t.Errorf("%d zones", len(grids))
	}
	for zone, g := range grids {
		if g.Zone != zone || len(zone) != 2 || strings.ToUpper(zone) != zone {
			t.Errorf("zone %q is filed under %q", g.Zone, zone)
		}
		// From hydropower to lignite, g/kWh: a unit taken wrong is off by a thousand.
		if v := g.MicrogramsPerKWh; v < 5_000_000 || v > 1_500_000_000 {
			t.Errorf("%s: %d µg/kWh", zone, v)
		}
		if g.Year != 2024 || g.Source != "Ember" || g.Edition != "2024" || g.Boundary != "lifecycle" || g.Licence != "CC BY 4.0" {
			t.Errorf("%s: provenance is %+v", zone, g)
		}
	}
	if got := grids["FR"].Ref(); got != "Ember 2024 FR lifecycle yearly 44180000µg/kWh" {
		t.Errorf("an entry names the factor as %q", got)
	}
}

// The attribution that the licence asks for stands in the file itself.
func TestTablesNameTheirSource(t *testing.T) {
	for file, word := range map[string]string{"ember_2024.csv": "CC BY 4.0", "models.csv": "data sheet"} {
		b, err := tables.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(b), "#") || !strings.Contains(strings.SplitN(string(b), "\n", 3)[0]+strings.SplitN(string(b), "\n", 3)[1], word) {
			t.Errorf("%s does not begin with its source: %v", file, err)
		}
	}
}
