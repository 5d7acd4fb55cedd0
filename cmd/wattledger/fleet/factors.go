package fleet

import (
	"math/rand/v2"
	"time"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

// played is who publishes the demo's factors: nobody. They move as real ones do and say nothing about real grids.
const played = "Fictional Grid"

// addFactors gives the demo a moving grid in both zones, residual mixes, a power purchase agreement of each matching and, where Sweden
// has no meter, a water factor. One hour of France is missing, so that the chain falls back to the month.
func (f *Fleet) addFactors() {
	rng := rand.New(rand.NewPCG(f.Seed, 0x67726964))
	add := func(e factor.Edition) {
		e.Source, e.Licence = played, "played by the demo"
		f.Factors = append(f.Factors, e)
	}
	for _, zone := range []struct {
		name                  string
		base, swing, residual int64 // µg/kWh
		missing               int   // hour of the play, −1 for none
	}{{"FR", 24_000_000, 14_000_000, 41_000_000, 11}, {"SE", 17_000_000, 6_000_000, 29_000_000, -1}} {
		for from, h := f.Start, 0; from < f.End; from, h = from+unit.Hour, h+1 {
			if h == zone.missing {
				continue
			}
			evening := min(int64((int(from/unit.Hour)+6)%24), 24-int64((int(from/unit.Hour)+6)%24)) // low at 18 h
			add(factor.Edition{
				Kind: factor.GridIntensity, Key: zone.name, From: from, To: from + unit.Hour, Boundary: factor.Lifecycle, Resolution: factor.Hourly,
				Method: "production average", Name: "hourly", Value: zone.base + zone.swing*(12-evening)/12 + rng.Int64N(1_000_000),
			})
		}
		month := f.Start.Time()
		first := month.AddDate(0, 0, 1-month.Day()).Truncate(24 * time.Hour)
		year := first.AddDate(0, 1-int(first.Month()), 0)
		add(factor.Edition{
			Kind: factor.GridIntensity, Key: zone.name, From: unit.MicrosOf(first), To: unit.MicrosOf(first.AddDate(0, 1, 0)),
			Boundary: factor.Lifecycle, Resolution: factor.Monthly, Method: "production average", Name: "monthly", Value: zone.base + zone.swing/2,
		})
		for y := range 2 { // a play may lie across the turn of a year
			add(factor.Edition{
				Kind: factor.ResidualMix, Key: zone.name, From: unit.MicrosOf(year.AddDate(y, 0, 0)), To: unit.MicrosOf(year.AddDate(y+1, 0, 0)),
				Boundary: factor.Lifecycle, Resolution: factor.Yearly, Method: "residual mix", Name: "residual", Value: zone.residual,
			})
		}
	}
	add(factor.Edition{
		Kind: factor.Instrument, Key: siteFR, Boundary: factor.Lifecycle, Method: "PPA", Name: "Fictional Wind PPA", Value: 12_000_000,
		Volume: 25 * unit.MillijoulesPerKWh, Matching: factor.Hourly, From: f.Start,
	})
	add(factor.Edition{
		Kind: factor.Instrument, Key: siteSE, Boundary: factor.Lifecycle, Method: "GoO", Name: "Fictional Hydro GoO", Value: 6_000_000,
		Cover: 800_000, Matching: factor.Yearly, From: f.Start,
	})
	add(factor.Edition{Kind: factor.WUE, Key: siteSE, Method: "declared", Name: "design figure", Value: 150_000, From: f.Start})
}
