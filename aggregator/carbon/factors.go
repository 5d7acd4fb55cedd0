package carbon

import "github.com/wattledger/wattledger/schemas/factor"

// Factors are the editions that an hour of a site is accounted with, chosen before it closes.
type Factors struct {
	// Grid is location-based; Residual is the market's mix, for what no instrument covers.
	Grid, Residual factor.Chosen
	// Instruments are those valid in the hour, in the order in which they are used up.
	Instruments []factor.Edition
	// PUE, WUE and HeatReuse stand in where the site has no meter.
	PUE, WUE, HeatReuse factor.Chosen
	// Embodied is by device model.
	Embodied map[string]factor.Chosen
}
