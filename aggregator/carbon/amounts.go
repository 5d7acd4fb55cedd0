package carbon

import (
	"fmt"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

// The flags that an entry carries when a factor was not known, or stood in for a meter.
const (
	FlagLocationUnknown = "location_unknown" // no intensity of the grid is known: location-based carbon is 0
	FlagMarketUnknown   = "market_unknown"   // part of the energy has no instrument, no residual mix and no grid factor: market-based carbon is 0
	FlagEmbodiedUnknown = "embodied_unknown" // no footprint of the device's model is known: embodied carbon is 0
	FlagWaterModelled   = "water_modelled"   // water from the site's WUE, as it has no meter
	FlagHeatModelled    = "heat_modelled"    // heat handed on from the site's reuse factor, as it has no meter
)

// Location is energy × grid intensity, rounded half to even: the location-based carbon of an entry. 0 when the grid is not known;
// the entry then carries FlagLocationUnknown.
func Location(energy unit.Millijoules, grid factor.Chosen) (unit.MicrogramsCO2e, error) {
	return perKWh(energy, grid.Value)
}

// MarketOf is energy × the hour's market factor, rounded half to even: the market-based carbon of an entry.
func MarketOf(energy unit.Millijoules, m Market) (unit.MicrogramsCO2e, error) {
	return perKWh(energy, m.MicrogramsPerKWh)
}

func perKWh(energy unit.Millijoules, micrograms int64) (unit.MicrogramsCO2e, error) {
	v, err := unit.RoundMulDiv(int64(energy), micrograms, unit.MillijoulesPerKWh)
	if err != nil {
		return 0, fmt.Errorf("carbon of %d mJ at %d µg/kWh: %w", energy, micrograms, err)
	}
	return unit.MicrogramsCO2e(v), nil
}

// EmbodiedOf is footprint × device time / life, rounded half to even (ISO/IEC 21031: M = TE × TS × RS): of an entry, held or not.
// 0 when the model's footprint is not known; the entry then carries FlagEmbodiedUnknown.
func EmbodiedOf(time unit.DeviceTime, c factor.Chosen) (unit.MicrogramsCO2e, error) {
	if !c.Known() {
		return 0, nil
	}
	life := int64(c.Life) * int64(unit.WholeDevice)
	v, err := unit.RoundMulDiv(c.Value, int64(time), life)
	if err != nil {
		return 0, fmt.Errorf("embodied carbon of %s over %d ms × ‰: %w", c.Edition, time, err)
	}
	return unit.MicrogramsCO2e(v), nil
}

// WaterOf is IT energy × WUE, rounded down: the water of an entry at a site without a water meter. 0 without a WUE.
func WaterOf(it unit.Millijoules, wue factor.Chosen) (unit.Microlitres, error) {
	v, err := unit.FloorMulDiv(int64(it), wue.Value, unit.MillijoulesPerKWh)
	if err != nil {
		return 0, fmt.Errorf("water of %d mJ at %d µl/kWh: %w", it, wue.Value, err)
	}
	return unit.Microlitres(v), nil
}

// HeatOf is energy × the site's reuse factor, rounded down: the heat handed on of an entry at a site without a heat meter. 0
// without a factor.
func HeatOf(total unit.Millijoules, reuse factor.Chosen) (unit.Millijoules, error) {
	v, err := unit.FloorMulDiv(int64(total), reuse.Value, 1000)
	if err != nil {
		return 0, fmt.Errorf("heat of %d mJ at %d‰: %w", total, reuse.Value, err)
	}
	return unit.Millijoules(v), nil
}
