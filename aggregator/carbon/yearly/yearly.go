// Package yearly is the provider that is always there: the yearly table of grid intensities that the program brings (Ember, life-cycle).
//
// Every chain ends with this table by itself. Asked as a provider, it hands out the years that bear on a span.
package yearly

import (
	"context"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/aggregator/carbon/provider"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Name is the provider's on the command line and in metrics.
const Name = "yearly"

// Provider reads the table.
type Provider struct{ editions []factor.Edition }

// New makes a provider.
func New() (*Provider, error) {
	all, err := factor.Committed()
	if err != nil {
		return nil, err
	}
	return &Provider{slices.DeleteFunc(all, func(e factor.Edition) bool { return e.Kind != factor.GridIntensity })}, nil
}

// Fetch is the years of a zone that overlap [from, to). Hours of other years are missing: what stands in for them is a chain's to say.
func (p *Provider) Fetch(_ context.Context, zone string, from, to unit.Micros) (provider.Series, error) {
	if err := provider.CheckSpan(from, to); err != nil {
		return provider.Series{}, fmt.Errorf("yearly: %w", err)
	}
	var s provider.Series
	known := false
	for _, e := range p.editions {
		if e.Key != zone {
			continue
		}
		known = true
		if e.From < to && from < e.To {
			s.Editions = append(s.Editions, e)
		}
	}
	if !known {
		return provider.Series{}, fmt.Errorf("yearly: the table has no zone %q", zone)
	}
	for h := from; h < to; h += unit.Hour {
		if !slices.ContainsFunc(s.Editions, func(e factor.Edition) bool { return e.Covers(h) }) {
			s.Missing = append(s.Missing, provider.Missing{Hour: h, Reason: "the table has no value of its year"})
		}
	}
	return s, nil
}
