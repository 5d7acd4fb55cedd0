package carbon

import (
	"slices"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Choose is what an hour of a site is accounted with: from the same book the same factors, whenever it is asked.
func Choose(book *factor.Book, site record.Site, models []string, hour unit.Micros) Factors {
	f := Factors{
		Grid: book.Choose(factor.GridIntensity, site.Zone, hour), Residual: book.Choose(factor.ResidualMix, site.Zone, hour),
		Instruments: book.Instruments(site.ID, hour),
		PUE:         book.Choose(factor.PUE, site.ID, hour), WUE: book.Choose(factor.WUE, site.ID, hour),
		HeatReuse: book.Choose(factor.HeatReuse, site.ID, hour),
		Embodied:  map[string]factor.Chosen{},
	}
	for _, m := range models {
		if c := book.Choose(factor.Embodied, m, hour); c.Known() {
			f.Embodied[m] = c
		}
	}
	return f
}

// Check finds what would stop an hour of the sites from being accounted with this book: emissions of two boundaries that would be
// added. It looks at the hours at which an instrument or a residual mix begins to hold.
func Check(book *factor.Book, sites []record.Site) []factor.Finding {
	var out []factor.Finding
	all := book.Editions()
	for _, site := range sites {
		said := map[string]bool{}
		for _, e := range all {
			if !(e.Kind == factor.Instrument && e.Key == site.ID || e.Kind == factor.ResidualMix && e.Key == site.Zone) {
				continue
			}
			f := Choose(book, site, nil, e.From)
			rest := f.Residual
			if !rest.Known() {
				rest = f.Grid
			}
			i := slices.IndexFunc(f.Instruments, func(i factor.Edition) bool { return rest.Known() && i.Boundary != rest.Boundary })
			if i < 0 || said[f.Instruments[i].ID()] {
				continue
			}
			said[f.Instruments[i].ID()] = true
			out = append(out, factor.Finding{
				Code: factor.FindBoundary, Record: f.Instruments[i].String(), Refused: true,
				Text: "it is " + f.Instruments[i].Boundary + ", and what counts beside it at " + site.ID + ", " + rest.Ref() + ", is " + rest.Boundary +
					": state the instrument with that boundary, or import a residual mix of the instrument's",
			})
		}
	}
	return out
}
