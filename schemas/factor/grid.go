package factor

import (
	"embed"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
)

//go:embed ember_2024.csv embodied.csv models.csv sensors.csv
var tables embed.FS

// Grid is the carbon intensity of a zone's electricity for a year.
type Grid struct {
	Zone string
	// MicrogramsPerKWh is µg CO2e per kWh.
	MicrogramsPerKWh int64
	Year             int
	Source, Edition  string
	// Boundary is "direct" or "lifecycle" (GHG Protocol Scope 2 and 3.3): never summed together, always named.
	Boundary string
	Licence  string
}

// Ref names the factor as an entry does: source, edition, zone, boundary and method.
func (g Grid) Ref() string {
	return fmt.Sprintf("%s %s %s %s yearly %dµg/kWh", g.Source, g.Edition, g.Zone, g.Boundary, g.MicrogramsPerKWh)
}

// Grids is the committed yearly table by zone: Ember 2024, life-cycle.
func Grids() (map[string]Grid, error) {
	out := map[string]Grid{}
	err := eachRow("ember_2024.csv", 7, func(f []string) error {
		v, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return fmt.Errorf("ug_per_kwh %q is not an integer", f[1])
		}
		year, err := strconv.Atoi(f[2])
		if err != nil {
			return fmt.Errorf("year %q is not a number", f[2])
		}
		if _, twice := out[f[0]]; twice {
			return fmt.Errorf("zone %s stands twice", f[0])
		}
		out[f[0]] = Grid{Zone: f[0], MicrogramsPerKWh: v, Year: year, Source: f[3], Edition: f[4], Boundary: f[5], Licence: f[6]}
		return nil
	})
	return out, err
}

// eachRow calls f for every row of a committed table after its header; # begins a comment.
func eachRow(name string, fields int, f func([]string) error) error {
	file, err := tables.Open(name)
	if err != nil {
		return fmt.Errorf("open table %s: %w", name, err)
	}
	defer file.Close()
	r := csv.NewReader(file)
	r.Comment, r.FieldsPerRecord = '#', fields
	header := true
	for {
		row, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
		if header {
			header = false
			continue
		}
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		if err := f(row); err != nil {
			line, _ := r.FieldPos(0)
			return fmt.Errorf("table %s, line %d: %w", name, line, err)
		}
	}
}
