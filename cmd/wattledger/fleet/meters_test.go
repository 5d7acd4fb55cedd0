package fleet

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const begin = 1_790_000_000_000_000 / unit.Hour * unit.Hour

// What a site's meter shows is never less than what its nodes' and its network's do, no meter runs backwards, and each
// reading is one that the wire takes.
func TestMetersAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := Demo(rapid.Uint64Range(0, 1<<40).Draw(t, "seed"), begin, 2)
		for _, m := range f.Meters {
			g := NewGauge(f, m)
			before := map[string]int64{}
			var energy unit.Microjoules
			check := func(readings []record.Reading) {
				at := map[string]int64{}
				sum := map[string]int64{}
				for _, r := range readings {
					if err := r.Validate(); err != nil {
						t.Fatalf("%s: %v", r.Meter, err)
					}
					if r.Value < before[r.Meter] {
						t.Fatalf("%s runs from %d to %d", r.Meter, before[r.Meter], r.Value)
					}
					at[r.Meter] = r.Value
					sum[r.Quantity] += r.Value - max(before[r.Meter], 7_000_000_000)
				}
				if parts := sum["node_energy"] + sum["it_shared_energy"]; sum["site_energy"] < parts {
					t.Fatalf("the site shows %d mJ, its parts %d", sum["site_energy"], parts)
				}
				before = at
			}
			check(g.First())
			for range 8 {
				energy += unit.Microjoules(rapid.Int64Range(0, 8*1_000_000_000*900).Draw(t, "a node's quarter"))
				readings, err := g.Next(func(Node, unit.Micros) (unit.Microjoules, error) { return energy, nil })
				if err != nil {
					t.Fatal(err)
				}
				check(readings)
			}
		}
	})
}
