package report

import (
	"cmp"
	"slices"

	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Carbon is emissions by one method within one boundary. Location-based and market-based are two ways to count the same emissions and
// stand side by side (GHG Protocol Scope 2 Guidance, chapter 7.1); neither they nor boundaries are ever summed.
type Carbon struct {
	// Method is location-based, market-based or embodied.
	Method   string              `json:"method"`
	Boundary string              `json:"boundary"`
	Carbon   unit.MicrogramsCO2e `json:"carbon_ug"`
	Kg       Number              `json:"carbon_kg"`
	// Energy and DeviceTime are what was counted so. With the boundary "none" no factor was known, and the carbon is 0.
	Energy     unit.Millijoules `json:"energy_mj"`
	KWh        Number           `json:"energy_kwh"`
	DeviceTime unit.DeviceTime  `json:"device_time"`
}

type emissionKey struct{ method, boundary string }

// emissions gathers carbon by method and boundary.
type emissions map[emissionKey]*Carbon

func (m emissions) add(e record.Entry) {
	for _, c := range []struct {
		method, ref string
		carbon      unit.MicrogramsCO2e
	}{{LocationBased, e.Factor, e.Carbon}, {MarketBased, e.FactorMarket, e.CarbonMarket}, {Embodied, e.FactorEmbodied, e.CarbonEmbodied}} {
		if c.method == Embodied && c.ref == "" && e.DeviceTime == 0 {
			continue // no device: there is no footprint to know
		}
		k := emissionKey{c.method, Boundary(c.ref)}
		s, ok := m[k]
		if !ok {
			s = &Carbon{Method: k.method, Boundary: k.boundary}
			m[k] = s
		}
		s.Carbon += c.carbon
		s.Energy += e.Total()
		s.DeviceTime += e.DeviceTime
	}
}

// rows are the emissions in a fixed order.
func (m emissions) rows() []Carbon {
	out := []Carbon{}
	for _, c := range m {
		c := *c
		c.Kg, c.KWh = Kilograms(c.Carbon), KWh(c.Energy)
		out = append(out, c)
	}
	order := []string{LocationBased, MarketBased, Embodied}
	slices.SortFunc(out, func(a, b Carbon) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Method), slices.Index(order, b.Method)), cmp.Compare(a.Boundary, b.Boundary))
	})
	return out
}

// boundaries counts those of a method that have a factor.
func (m emissions) boundaries(method string) int {
	n := 0
	for k := range m {
		if k.method == method && k.boundary != NoFactor {
			n++
		}
	}
	return n
}

// boundary is the only one of a method; empty where there are several or none.
func (m emissions) boundary(method string) string {
	if m.boundaries(method) != 1 {
		return ""
	}
	for k := range m {
		if k.method == method && k.boundary != NoFactor {
			return k.boundary
		}
	}
	return ""
}

// unmix takes out of sums what has no factor, and what would add up masses of several boundaries: of two boundaries there is no sum.
func (m emissions) unmix(list ...*Sums) {
	for _, s := range list {
		s.keep(m.boundaries(LocationBased) == 1, m.boundaries(MarketBased) == 1, m.boundaries(Embodied) == 1)
	}
}

// keep takes out carbon that is not known. An integer is then 0 and the figure beside it null.
func (s *Sums) keep(location, market, embodied bool) {
	if !location {
		s.Carbon, s.CarbonKg = 0, ""
	}
	if !market {
		s.CarbonMarket, s.CarbonMarketKg = 0, ""
	}
	if !embodied {
		s.CarbonEmbodied, s.CarbonEmbodiedKg = 0, ""
	}
}

// SCI is a software carbon intensity (ISO/IEC 21031:2024): (E × I + M) / R. I is location-based; certificates, contracts and
// offsets may not lower it, so market-based carbon is never in it.
type SCI struct {
	Standard       string `json:"standard"`
	FunctionalUnit string `json:"functional_unit"`
	// Score is grams of CO2e per functional unit; null where it cannot be told, and Because says why.
	Score   Number `json:"g_co2e_per_unit"`
	Because string `json:"because"`
	// Operational is E × I, Units is R as device time.
	Operational unit.MicrogramsCO2e `json:"operational_ug"`
	Embodied    unit.MicrogramsCO2e `json:"embodied_ug"`
	Units       unit.DeviceTime     `json:"device_time"`
	Boundary    string              `json:"boundary"`
	// Lacks is what the score leaves out because nothing is known of it.
	Lacks []string `json:"lacks"`
}

// functionalUnit is R.
const functionalUnit = "one GPU-hour held: a whole device for an hour, or as much in shares of devices"

// sci is the score of what was added.
func (m emissions) sci(s Sums, flags map[string]int64) SCI {
	out := SCI{Standard: "ISO/IEC 21031:2024", FunctionalUnit: functionalUnit, Units: s.DeviceTime, Lacks: []string{}}
	lacking := func(method, what string) {
		if c := m[emissionKey{method, NoFactor}]; c != nil {
			out.Lacks = append(out.Lacks, what+" of "+c.of())
		}
	}
	lacking(LocationBased, "operational carbon")
	lacking(Embodied, "embodied carbon")
	if flags["it_shared_unmetered"] > 0 {
		out.Lacks = append(out.Lacks, "energy of network, storage and switches, which is not metered")
	}
	switch {
	case m.boundaries(LocationBased) > 1:
		out.Because = "location-based carbon has two boundaries, which are not summed"
		return out
	case m.boundaries(Embodied) > 1:
		out.Because = "embodied carbon has two boundaries, which are not summed"
		return out
	case m.boundaries(LocationBased) == 0:
		out.Because = "no location-based factor is known"
		return out
	case s.DeviceTime <= 0:
		out.Because = "no GPU-hour was held"
		return out
	}
	out.Boundary = m.boundary(LocationBased)
	out.Operational, out.Embodied = s.Carbon, s.CarbonEmbodied
	if score, err := carbon.SCI(s.Carbon, s.CarbonEmbodied, int64(s.DeviceTime), unit.DeviceTimePerHour); err != nil {
		out.Because = err.Error()
	} else {
		out.Score = quotient(int64(score), 1_000_000, 3)
	}
	return out
}

// of is what a row of carbon is about, in words.
func (c Carbon) of() string {
	if c.Method == Embodied {
		return short(int64(c.DeviceTime), unit.DeviceTimePerHour, 2) + " GPU-h"
	}
	return short(int64(c.Energy), unit.MillijoulesPerKWh, 3) + " kWh"
}
