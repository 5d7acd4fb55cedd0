package factor

import (
	"fmt"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Kind is what a factor says something about.
type Kind string

// The kinds of factor, with the unit of Value and what Key names.
const (
	// GridIntensity is location-based: µg CO2e per kWh in a grid zone.
	GridIntensity Kind = "grid"
	// ResidualMix is market-based, for what no instrument covers: µg CO2e per kWh in a grid zone.
	ResidualMix Kind = "residual"
	// Instrument is a contractual instrument of a site (guarantee of origin, PPA): µg CO2e per kWh over Volume or Cover.
	Instrument Kind = "instrument"
	// PUE is the power usage effectiveness of a site × 1000 (ISO/IEC 30134-2).
	PUE Kind = "pue"
	// WUE is the water usage effectiveness of a site: µl per kWh of IT energy (ISO/IEC 30134-9).
	WUE Kind = "wue"
	// HeatReuse is the energy reuse factor of a site × 1000 (ISO/IEC 30134-6): energy handed on over all energy.
	HeatReuse Kind = "heat_reuse"
	// Embodied is the footprint of one device of a model: µg CO2e over Life.
	Embodied Kind = "embodied"
)

// Edition is a value with its validity and provenance. It never changes: a later word on the same hours is another edition.
type Edition struct {
	Kind Kind
	// Key is the grid zone, the site or the device model.
	Key string
	// From and To bound its validity; To 0 is open.
	From, To unit.Micros
	Value    int64
	// Boundary is "direct" or "lifecycle" of what is about emissions: never summed together, always named.
	Boundary string
	// Resolution is "hourly", "monthly" or "yearly": the finer one is chosen first. Other kinds leave it empty.
	Resolution string
	// Method says what kind of value it is: production average, consumption average (flow-traced), declared, metered.
	Method string
	// Estimated says that the publisher calls the value an estimate or provisional.
	Estimated bool
	// Source published it, Name is the publisher's name of the edition, Licence the terms.
	Source, Name, Licence string
	// Volume is the energy an instrument covers per hour; Cover the share of consumption it covers, in ppm, where it has no
	// volume. Matching is "hourly" or "yearly".
	Volume   unit.Millijoules
	Cover    int64
	Matching string
	// Life is the lifetime that embodied emissions are spread over.
	Life unit.Milliseconds
	// Sequence orders editions: of two that say something about the same hour, the higher one counts.
	Sequence uint64
}

// Chosen is the edition that counts for an hour, and how far down the declared chain it was found.
type Chosen struct {
	Edition
	// Fallback is empty when the first step of the chain had a value; otherwise the step that had.
	Fallback string
}

// Known says that there is a value.
func (c Chosen) Known() bool { return c.Kind != "" }

// Ref names the edition as an entry does; empty when there is none.
func (c Chosen) Ref() string {
	if !c.Known() {
		return ""
	}
	return fmt.Sprintf("%s %s %s %s %d", c.Source, c.Name, c.Key, c.Kind, c.Value)
}
