package factor

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Committed are the editions of the committed tables, in order of kind and key: what a chain ends with. Their sequence is 0.
// A row that has been released is never changed: what is known better is another row.
func Committed() ([]Edition, error) {
	grids, err := Grids()
	if err != nil {
		return nil, err
	}
	var out []Edition
	for _, g := range grids {
		out = append(out, g.edition())
	}
	err = eachRow("embodied.csv", 8, func(f []string) error {
		grams, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return fmt.Errorf("g %q is not an integer", f[1])
		}
		hours, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return fmt.Errorf("life_h %q is not an integer", f[2])
		}
		out = append(out, Edition{
			Kind: Embodied, Key: f[0], Value: grams * 1_000_000, Boundary: CradleToGate, Method: f[5], Estimated: f[4] == "proxy",
			Source: f[6], Name: f[3], Licence: f[7], Life: unit.Milliseconds(hours * 3_600_000), Committed: true,
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Edition) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key)) })
	return out, nil
}

// edition is the yearly value as others have it.
func (g Grid) edition() Edition {
	year := func(y int) unit.Micros { return unit.MicrosOf(time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC)) }
	return Edition{
		Kind: GridIntensity, Key: g.Zone, From: year(g.Year), To: year(g.Year + 1), Value: g.MicrogramsPerKWh, Boundary: g.Boundary,
		Resolution: Yearly, Method: "production average", Source: g.Source, Name: g.Edition, Licence: g.Licence, Committed: true,
	}
}
