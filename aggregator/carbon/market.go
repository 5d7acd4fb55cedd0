package carbon

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Part is how much of a site's energy in an hour an edition stands for.
type Part struct {
	Edition factor.Edition
	Energy  unit.Millijoules
}

// Market is what a kWh counts market-based in an hour of a site, and from what that comes.
type Market struct {
	// MicrogramsPerKWh is 0 when it is not known; Flags then says so.
	MicrogramsPerKWh int64
	// Ref names the editions it was made from as an entry does, Boundary is theirs.
	Ref, Boundary string
	Flags         []string
	// Instruments are those that were used up, each with the energy it covered, in the order in which that was done.
	Instruments []Part
	// Rest is the energy that no instrument covers; RestFactor what that counts: the residual mix, or the grid where there is none.
	Rest       unit.Millijoules
	RestFactor factor.Chosen
}

// MarketFactor is the market-based factor of an hour in which the site took this energy (GHG Protocol Scope 2 Guidance, table 6.3):
// instruments in their order, each for its volume or its share and for no more than is left; what no instrument covers counts
// with the residual mix, and where there is none with the grid's average. Emissions of two boundaries are not added: that is an error.
//
// The factor is rounded down once, for the site's hour; entries then use it alike, so that what a tenant is counted depends on the
// site's total and on no other tenant's name.
func MarketFactor(f Factors, site unit.Millijoules) (Market, error) {
	m := Market{Rest: max(site, 0), RestFactor: f.Residual}
	if !f.Residual.Known() {
		m.RestFactor = f.Grid
	}
	m.Boundary = m.RestFactor.Boundary
	sum := new(big.Int)
	add := func(energy unit.Millijoules, perKWh int64) {
		sum.Add(sum, new(big.Int).Mul(big.NewInt(int64(energy)), big.NewInt(perKWh)))
	}
	var refs []string
	for _, e := range f.Instruments {
		if m.Boundary == "" {
			m.Boundary = e.Boundary
		}
		if e.Boundary != m.Boundary {
			return Market{}, fmt.Errorf("market-based carbon: %s is %s and %s is not: import the instrument, or choose the residual mix, with one boundary", e, e.Boundary, m.Boundary)
		}
		volume := e.Volume
		if volume == 0 {
			share, err := unit.FloorMulDiv(int64(max(site, 0)), e.Cover, 1_000_000)
			if err != nil {
				return Market{}, fmt.Errorf("share of %s: %w", e, err)
			}
			volume = unit.Millijoules(share)
		}
		used := min(volume, m.Rest)
		if used <= 0 {
			continue
		}
		m.Rest -= used
		m.Instruments = append(m.Instruments, Part{e, used})
		refs = append(refs, e.Ref())
		add(used, e.Value)
	}
	if m.Rest > 0 || len(refs) == 0 {
		if !m.RestFactor.Known() {
			return Market{Flags: []string{FlagMarketUnknown}, Rest: m.Rest, Instruments: m.Instruments}, nil
		}
		add(m.Rest, m.RestFactor.Value)
		if f.Residual.Known() {
			refs = append(refs, m.RestFactor.Ref())
		} else {
			refs = append(refs, "no residual mix: "+m.RestFactor.Ref())
		}
	}
	m.Ref = strings.Join(refs, " + ")
	if site <= 0 { // nothing was taken: the entries' sum is 0 with any factor
		m.MicrogramsPerKWh = m.RestFactor.Value
		return m, nil
	}
	m.MicrogramsPerKWh = sum.Div(sum, big.NewInt(int64(site))).Int64() // no more than the largest factor
	return m, nil
}
