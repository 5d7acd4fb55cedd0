// Package carbon turns energy into greenhouse gases, and into water and heat, with the factors valid then.
//
// Location-based (GHG Protocol Scope 2 Guidance, chapter 6.1): energy of the hour × intensity of the grid zone the site is
// in. Each entry is rounded once; a total is the sum of entries. Nothing here reads a clock, a file or the network.
package carbon

import (
	"fmt"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Of is energy × intensity in µg CO2e, rounded half to even through 128 bits.
func Of(energy unit.Millijoules, grid factor.Grid) (unit.MicrogramsCO2e, error) {
	v, err := unit.RoundMulDiv(int64(energy), grid.MicrogramsPerKWh, unit.MillijoulesPerKWh)
	if err != nil {
		return 0, fmt.Errorf("carbon of %d mJ at %d µg/kWh: %w", energy, grid.MicrogramsPerKWh, err)
	}
	return unit.MicrogramsCO2e(v), nil
}
