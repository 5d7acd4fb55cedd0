package fleet

import (
	"testing"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

// The demo's editions are such as the store takes, and every hour of a play has a value for both ways of counting.
func TestDemoFactors(t *testing.T) {
	for _, start := range []unit.Micros{begin, begin + 97*24*unit.Hour} {
		f := Demo(7, start, 24)
		for _, finding := range factor.Check(f.Factors) {
			if finding.Refused {
				t.Error(finding)
			}
		}
		b := factor.NewBook(f.Factors, nil, 0)
		fallbacks := 0
		for h := f.Start; h < f.End; h += unit.Hour {
			for _, zone := range []string{"FR", "SE"} {
				grid, residual := b.Choose(factor.GridIntensity, zone, h), b.Choose(factor.ResidualMix, zone, h)
				if !grid.Known() || !residual.Known() {
					t.Fatalf("%s at %s: grid %q, residual %q", zone, h.Time(), grid.Ref(), residual.Ref())
				}
				if grid.Fallback != "" {
					fallbacks++
				}
			}
		}
		if fallbacks != 1 {
			t.Errorf("%d hours fall back, want the one that is missing", fallbacks)
		}
	}
}
