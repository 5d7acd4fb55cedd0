package report

import (
	"cmp"
	"slices"

	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Indicator is a site's effectiveness over the period, from the entries of all its accounts: IT is measured at the equipment
// (ISO/IEC 30134-2, category 3). The standards ask for twelve months; over a shorter period a figure is interim.
type Indicator struct {
	Site    string           `json:"site"`
	Interim bool             `json:"interim"`
	Energy  unit.Millijoules `json:"energy_mj"`
	IT      unit.Millijoules `json:"it_mj"`
	// PUE is all energy over IT energy (ISO/IEC 30134-2). Its basis says whether the facility's energy was metered or modelled.
	PUE      Number `json:"pue"`
	PUEBasis string `json:"pue_basis"`
	// WUE is litres per kWh of IT energy (ISO/IEC 30134-9).
	Water      unit.Microlitres `json:"water_ul"`
	WUE        Number           `json:"wue_litres_per_kwh"`
	WaterBasis string           `json:"water_basis"`
	// CUE is kg CO2e of all energy, location-based, per kWh of IT energy (ISO/IEC 30134-8).
	CUE         Number              `json:"cue_kg_per_kwh"`
	CUEBoundary string              `json:"cue_boundary"`
	Carbon      unit.MicrogramsCO2e `json:"carbon_ug"`
	// ERF is heat handed on over all energy (ISO/IEC 30134-6).
	ERF       Number           `json:"erf"`
	Heat      unit.Millijoules `json:"heat_reused_mj"`
	HeatBasis string           `json:"heat_basis"`
	// Lacks names what is in none of these figures.
	Lacks []string `json:"lacks"`
}

// indication is an indicator in the making.
type indication struct {
	sums   Sums
	carbon emissions
	// The bases found, and whether shared IT is unmetered in an hour.
	pue, water, heat map[string]bool
	unmetered        bool
}

func (f *Fleet) indicate(e record.Entry) {
	i, ok := f.indicators[e.Site]
	if !ok {
		i = &indication{carbon: emissions{}, pue: map[string]bool{}, water: map[string]bool{}, heat: map[string]bool{}}
		f.indicators[e.Site] = i
	}
	i.sums.add(e, f.opts.IdleLimit)
	i.carbon.add(e)
	basis := func(found map[string]bool, there bool, flag string) {
		switch {
		case !there:
		case slices.Contains(e.Flags, flag):
			found["modelled"] = true
		default:
			found["metered"] = true
		}
	}
	basis(i.pue, e.Facility != 0 || e.FacilitySource != "", "pue_modelled")
	basis(i.water, e.Water != 0 || e.WaterSource != "", "water_modelled")
	basis(i.heat, e.HeatReused != 0 || e.HeatSource != "", "heat_modelled")
	i.unmetered = i.unmetered || slices.Contains(e.Flags, "it_shared_unmetered")
}

// interimBelow is the shortest period over which an indicator is no interim one.
const interimBelow = 365 * 24 * unit.Hour

func (f *Fleet) indicatorRows() []Indicator {
	out := []Indicator{}
	for site, i := range f.indicators {
		s, it := i.sums, int64(i.sums.it())
		r := Indicator{
			Site: site, Interim: f.opts.Period.To-f.opts.Period.From < interimBelow, Energy: s.Energy, IT: s.it(), Water: s.Water,
			Heat: s.HeatReused, Carbon: s.Carbon,
			PUEBasis: basisOf(i.pue), WaterBasis: basisOf(i.water), HeatBasis: basisOf(i.heat), Lacks: []string{},
		}
		if len(i.pue) > 0 {
			r.PUE = quotient(int64(s.Energy), it, 3)
		}
		if len(i.water) > 0 {
			r.WUE = litresPerKWh(s.Water, s.it())
		}
		if len(i.heat) > 0 {
			r.ERF = quotient(int64(s.HeatReused), int64(s.Energy), 3)
		}
		for _, c := range i.carbon.rows() {
			if c.Method == LocationBased && c.Boundary == NoFactor {
				r.Lacks = append(r.Lacks, "carbon of "+c.of())
			}
		}
		if boundary := i.carbon.boundary(LocationBased); boundary != "" {
			if cue, err := carbon.CUE(s.Carbon, s.it()); err == nil { // without IT energy there is none
				r.CUE, r.CUEBoundary = quotient(int64(cue), 1_000_000_000, 6), boundary
			}
		} else {
			r.Carbon = 0 // of two boundaries, or none, there is no sum
		}
		if i.unmetered {
			r.Lacks = append(r.Lacks, "network, storage and switches")
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Indicator) int { return cmp.Compare(a.Site, b.Site) })
	return out
}

// basisOf says where a figure of a period came from.
func basisOf(found map[string]bool) string {
	switch {
	case found["metered"] && found["modelled"]:
		return "partly modelled"
	case found["metered"]:
		return "metered"
	case found["modelled"]:
		return "modelled"
	default:
		return "unknown"
	}
}
