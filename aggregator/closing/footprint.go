package closing

import (
	"fmt"

	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// microlitresPerMillilitre: a water meter counts in ml. It is scaled before it is cut, so that no floor loses a millilitre.
const microlitresPerMillilitre = 1000

// addWaterAndHeat spreads the site's water and the heat that it hands on: by its meters, else by its factors.
func (s *site) addWaterAndHeat() error {
	water, err := s.metered("water", microlitresPerMillilitre)
	if err != nil {
		return err
	}
	err = s.addFlow(water, s.hour.Factors.WUE, carbon.FlagWaterModelled,
		func(e *record.Entry, v int64) { e.Water += unit.Microlitres(v) },
		func(e *record.Entry, f factor.Chosen) error {
			v, err := carbon.WaterOf(max(it(*e), 0), f)
			e.Water = v
			return err
		},
		func(e *record.Entry, source string) { e.WaterSource = source })
	if err != nil {
		return err
	}
	heat, err := s.metered("heat", 1)
	if err != nil {
		return err
	}
	return s.addFlow(heat, s.hour.Factors.HeatReuse, carbon.FlagHeatModelled,
		func(e *record.Entry, v int64) { e.HeatReused += unit.Millijoules(v) },
		func(e *record.Entry, f factor.Chosen) error {
			v, err := carbon.HeatOf(max(e.Total(), 0), f)
			e.HeatReused = v
			return err
		},
		func(e *record.Entry, source string) { e.HeatSource = source })
}

func (s *site) addFlow(
	m metered, f factor.Chosen, modelled string, take func(*record.Entry, int64), model func(*record.Entry, factor.Chosen) error, source func(*record.Entry, string),
) error {
	switch {
	case m.usable():
		name := m.source()
		s.mark(func(e *record.Entry) { source(e, name) })
		return s.spread(m.amount, false, take)
	case f.Known():
		var failed error
		s.each(func(e *record.Entry) {
			if err := model(e, f); err != nil {
				failed = err
			}
		})
		name := f.Ref()
		s.mark(func(e *record.Entry) { source(e, name) }, append(m.flags, modelled)...)
		return failed
	}
	s.mark(func(*record.Entry) {}, m.flags...)
	return nil
}

// addCarbon rounds each entry once; a total is the sum of entries.
func (s *site) addCarbon() error {
	var total unit.Millijoules
	s.each(func(e *record.Entry) { total += e.Total() })
	factors := s.hour.Factors
	factors.Instruments = s.instruments()
	market, err := carbon.MarketFactor(factors, total)
	if err != nil {
		return err
	}
	var failed error
	s.each(func(e *record.Entry) {
		if e.Carbon, err = carbon.Location(e.Total(), factors.Grid); err != nil {
			failed = err
		}
		if e.CarbonMarket, err = carbon.MarketOf(e.Total(), market); err != nil {
			failed = err
		}
	})
	if failed != nil {
		return failed
	}
	if ref := factors.Grid.Ref(); ref != "" {
		s.mark(func(e *record.Entry) { e.Factor = ref })
	} else {
		s.mark(func(*record.Entry) {}, carbon.FlagLocationUnknown)
		s.res.find(FindingNoGrid, s.hour.Site.Zone, "no intensity is known of grid zone %q of site %s: name a zone that is published, or import a factor for it",
			s.hour.Site.Zone, s.hour.Site.ID)
	}
	s.mark(func(e *record.Entry) { e.FactorMarket = market.Ref }, market.Flags...)
	return s.addEmbodied()
}

// instruments are those that can be counted with the residual mix, or with the grid where there is none: emissions of different
// boundaries are never added.
func (s *site) instruments() []factor.Edition {
	f := s.hour.Factors
	boundary := f.Residual.Boundary
	if !f.Residual.Known() {
		boundary = f.Grid.Boundary
	}
	var out []factor.Edition
	for _, e := range f.Instruments {
		if boundary == "" {
			boundary = e.Boundary
		}
		if e.Boundary != boundary {
			s.res.find(FindingBoundary, fmt.Sprint(e), "%s is %s, what it is counted with is %s: import it with that boundary", e, e.Boundary, boundary)
			continue
		}
		out = append(out, e)
	}
	return out
}

// addEmbodied spreads the footprint of making a device over its life, by the time it is there, held or not.
func (s *site) addEmbodied() error {
	refs := map[string]string{}
	for _, n := range s.nodes {
		for _, b := range n.books {
			var failed error
			b.each(func(e *record.Entry) {
				f, ok := s.hour.Factors.Embodied[e.Model]
				if !ok || !f.Known() { // the model of a MIG instance is its GPU's
					f = s.hour.Factors.Embodied[b.dev.Model]
				}
				if !f.Known() {
					flag(e, carbon.FlagEmbodiedUnknown)
					return
				}
				ref, ok := refs[f.Key]
				if !ok {
					ref = f.Ref()
					refs[f.Key] = ref
				}
				e.FactorEmbodied = ref
				v, err := carbon.EmbodiedOf(e.DeviceTime, f)
				if err != nil {
					failed = err
				}
				e.CarbonEmbodied = v
			})
			if failed != nil {
				return fmt.Errorf("device %s: %w", b.dev.UUID, failed)
			}
		}
	}
	return nil
}
