package carbon

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const kWh unit.Millijoules = unit.MillijoulesPerKWh

func edition(kind factor.Kind, name string, value int64) factor.Edition {
	return factor.Edition{Kind: kind, Key: "k", Name: name, Source: "s", Value: value, Boundary: factor.Lifecycle, Method: "m", Licence: "l"}
}

func chosen(e factor.Edition) factor.Chosen { return factor.Chosen{Edition: e} }

func covering(name string, value, ppm int64) factor.Edition {
	e := edition(factor.Instrument, name, value)
	e.Cover, e.Matching = ppm, factor.Yearly
	return e
}

func delivering(name string, value int64, volume unit.Millijoules) factor.Edition {
	e := edition(factor.Instrument, name, value)
	e.Volume, e.Matching = volume, factor.Hourly
	return e
}

func TestMarketFactor(t *testing.T) {
	grid, residual := chosen(edition(factor.GridIntensity, "grid", 40_000_000)), chosen(edition(factor.ResidualMix, "mix", 300_000_000))
	f := func(story string, factors Factors, site unit.Millijoules, want int64, ref string, flags ...string) {
		t.Helper()
		m, err := MarketFactor(factors, site)
		if err != nil || m.MicrogramsPerKWh != want || !slices.Equal(m.Flags, flags) {
			t.Errorf("%s: %d µg/kWh, flags %v, %v; want %d, %v", story, m.MicrogramsPerKWh, m.Flags, err, want, flags)
		}
		var names []string
		for part := range strings.SplitSeq(m.Ref, " + ") {
			if w := strings.Fields(strings.TrimPrefix(part, "no residual mix: ")); len(w) > 1 {
				name := w[1]
				if strings.HasPrefix(part, "no residual mix: ") {
					name = "no residual mix: " + name
				}
				names = append(names, name)
			}
		}
		if got := strings.Join(names, ", "); got != ref {
			t.Errorf("%s: made from %s, want %s", story, got, ref)
		}
	}
	f("nothing is known", Factors{}, kWh, 0, "", FlagMarketUnknown)
	f("the grid stands in", Factors{Grid: grid}, kWh, 40_000_000, "no residual mix: grid")
	f("the residual mix", Factors{Grid: grid, Residual: residual}, kWh, 300_000_000, "mix")
	f("half is covered over the year", Factors{Residual: residual, Instruments: []factor.Edition{covering("GO", 0, 500_000)}}, 10*kWh, 150_000_000, "GO, mix")
	f("all is covered over the year", Factors{Residual: residual, Instruments: []factor.Edition{covering("GO", 10_000_000, 1_000_000)}}, 10*kWh, 10_000_000, "GO")
	f("all is covered, and no residual mix is known", Factors{Instruments: []factor.Edition{covering("GO", 10_000_000, 1_000_000)}}, 10*kWh, 10_000_000, "GO")
	f("half is covered, and of the rest nothing is known", Factors{Instruments: []factor.Edition{covering("GO", 10_000_000, 500_000)}}, 10*kWh, 0, "", FlagMarketUnknown)
	f("a PPA delivers less than was taken", Factors{Residual: residual, Instruments: []factor.Edition{delivering("PPA", 0, 4*kWh)}}, 10*kWh, 180_000_000, "PPA, mix")
	f("a PPA delivers more than was taken", Factors{Residual: residual, Instruments: []factor.Edition{delivering("PPA", 5, 40*kWh)}}, 10*kWh, 5, "PPA")
	f("instruments are used up in order", Factors{Residual: residual, Instruments: []factor.Edition{
		delivering("PPA", 0, 4*kWh), covering("GO", 50_000_000, 500_000), covering("GO2", 1, 900_000),
	}}, 10*kWh, 25_000_000, "PPA, GO, GO2")
	f("what is left over is not used", Factors{Residual: residual, Instruments: []factor.Edition{covering("GO", 0, 1_000_000), delivering("PPA", 9, kWh)}}, 10*kWh, 0, "GO")
	f("nothing was taken", Factors{Residual: residual, Instruments: []factor.Edition{covering("GO", 0, 500_000)}}, 0, 300_000_000, "mix")
	f("rounded down once", Factors{Residual: residual, Instruments: []factor.Edition{delivering("PPA", 0, 1)}}, 7, 257_142_857, "PPA, mix")
}

func TestMarketRefusesTwoBoundaries(t *testing.T) {
	direct := covering("GO", 0, 500_000)
	direct.Boundary = factor.Direct
	_, err := MarketFactor(Factors{Residual: chosen(edition(factor.ResidualMix, "mix", 1)), Instruments: []factor.Edition{direct}}, kWh)
	if err == nil || !strings.Contains(err.Error(), "GO") || !strings.Contains(err.Error(), "one boundary") {
		t.Errorf("got %v", err)
	}
	if _, err := MarketFactor(Factors{Instruments: []factor.Edition{direct, covering("GO2", 0, 1)}}, kWh); err == nil {
		t.Error("instruments of two boundaries were added")
	}
	book := factor.NewBook([]factor.Edition{direct, edition(factor.ResidualMix, "", 1)}, nil, factor.Newest)
	if got := Check(book, []record.Site{{ID: "k", Zone: "k"}}); len(got) != 0 {
		t.Errorf("a residual mix without resolution was chosen: %v", got)
	}
	mix := edition(factor.ResidualMix, "mix", 1)
	mix.Resolution, mix.From, mix.To = factor.Yearly, unit.Hour, 3*unit.Hour
	book = factor.NewBook([]factor.Edition{direct, mix}, nil, factor.Newest)
	if got := Check(book, []record.Site{{ID: "k", Zone: "k"}}); len(got) != 1 || got[0].Code != factor.FindBoundary || !got[0].Refused {
		t.Errorf("found %v", got)
	}
}

// The factor is the exact mean, rounded down; what is used sums to the site's energy; and the order of instruments that are all used
// up in full makes no difference.
func TestMarketFactorIsTheMean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		site := unit.Millijoules(rapid.Int64Range(1, 1<<52).Draw(t, "site"))
		value := func(name string) int64 { return rapid.Int64Range(0, 3_000_000_000).Draw(t, name) }
		f := Factors{Residual: chosen(edition(factor.ResidualMix, "mix", value("residual")))}
		for i := range rapid.IntRange(0, 5).Draw(t, "instruments") {
			if name := fmt.Sprint(i); rapid.Bool().Draw(t, "by volume") {
				f.Instruments = append(f.Instruments, delivering(name, value(name), unit.Millijoules(rapid.Int64Range(1, 1<<52).Draw(t, "volume"))))
			} else {
				f.Instruments = append(f.Instruments, covering(name, value(name), rapid.Int64Range(1, 1_000_000).Draw(t, "ppm")))
			}
		}
		m, err := MarketFactor(f, site)
		if err != nil {
			t.Fatal(err)
		}
		sum, total := new(big.Int).Mul(big.NewInt(int64(m.Rest)), big.NewInt(f.Residual.Value)), m.Rest
		for _, p := range m.Instruments {
			total += p.Energy
			sum.Add(sum, new(big.Int).Mul(big.NewInt(int64(p.Energy)), big.NewInt(p.Edition.Value)))
		}
		if total != site {
			t.Fatalf("instruments and rest are %d mJ of %d", total, site)
		}
		if want := sum.Div(sum, big.NewInt(int64(site))).Int64(); m.MicrogramsPerKWh != want {
			t.Fatalf("%d µg/kWh, want %d", m.MicrogramsPerKWh, want)
		}
		if m.Rest > 0 {
			other := f
			other.Instruments = rapid.Permutation(f.Instruments).Draw(t, "other order")
			if o, err := MarketFactor(other, site); err != nil || o.MicrogramsPerKWh != m.MicrogramsPerKWh {
				t.Fatalf("in another order %d µg/kWh, %v; want %d", o.MicrogramsPerKWh, err, m.MicrogramsPerKWh)
			}
		}
	})
}

func TestAmounts(t *testing.T) {
	b200 := chosen(factor.Edition{Kind: factor.Embodied, Value: 284_250_000_000, Life: 4 * 8766 * 3_600_000})
	f := func(what string, got int64, err error, want int64) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", what, got, err, want)
		}
	}
	v, err := EmbodiedOf(unit.DeviceTimePerHour, b200)
	f("an hour of a B200, 8.1066 g", int64(v), err, 8_106_605)
	v, err = EmbodiedOf(-unit.DeviceTimePerHour, b200)
	f("its correction", int64(v), err, -8_106_605)
	v, err = EmbodiedOf(35_064*unit.DeviceTimePerHour, b200)
	f("its life is its footprint", int64(v), err, 284_250_000_000)
	v, err = EmbodiedOf(unit.DeviceTimePerHour, chosen(factor.Edition{Kind: factor.Embodied, Value: 1_000_000_000_000, Life: 4 * 8766 * 3_600_000}))
	f("the check value of SCI: 1000 kg over 4 years, one hour, about 28.5 g", int64(v), err, 28_519_279)
	v, err = EmbodiedOf(unit.DeviceTimePerHour, factor.Chosen{})
	f("an unknown model", int64(v), err, 0)
	w, err := WaterOf(kWh+kWh/2, chosen(factor.Edition{Kind: factor.WUE, Value: 800_001}))
	f("water, rounded down", int64(w), err, 1_200_001)
	w, err = WaterOf(kWh, factor.Chosen{})
	f("no WUE", int64(w), err, 0)
	h, err := HeatOf(1999, chosen(factor.Edition{Kind: factor.HeatReuse, Value: 300}))
	f("heat, rounded down", int64(h), err, 599)
	l, err := Location(1000*kWh, chosen(edition(factor.GridIntensity, "g", 44_180_000)))
	f("a MWh in France: 44.18 kg", int64(l), err, 44_180_000_000)
	m, err := MarketOf(3, Market{MicrogramsPerKWh: 1_800_000_000})
	f("half a microgram goes to the even neighbour", int64(m), err, 2)
	if _, err := MarketOf(1<<62, Market{MicrogramsPerKWh: 1 << 62}); err == nil {
		t.Error("an overflow was not refused")
	}
}

func TestChoose(t *testing.T) {
	zone := edition(factor.GridIntensity, "g", 5)
	zone.Key, zone.Resolution, zone.From, zone.To = "FR", factor.Hourly, 0, unit.Hour
	of := func(kind factor.Kind, key string) factor.Edition {
		e := edition(kind, "x", 1)
		e.Key = key
		return e
	}
	instrument := covering("GO", 0, 1)
	instrument.Key = "s"
	list := []factor.Edition{zone, of(factor.PUE, "s"), of(factor.WUE, "s"), of(factor.HeatReuse, "s"), of(factor.Embodied, "NVIDIA B200"), of(factor.PUE, "other"), instrument}
	f := Choose(factor.NewBook(list, nil, factor.Newest), record.Site{ID: "s", Zone: "FR"}, []string{"NVIDIA B200 180GB", "NVIDIA B20"}, 0)
	if f.Grid.Value != 5 || f.Residual.Known() || !f.PUE.Known() || !f.WUE.Known() || !f.HeatReuse.Known() || len(f.Instruments) != 1 || len(f.Embodied) != 1 || !f.Embodied["NVIDIA B200 180GB"].Known() {
		t.Errorf("chose %+v", f)
	}
}
