// Package entsoe makes the carbon intensity of a zone's electricity from what its plants generate, as the ENTSO-E Transparency
// Platform publishes it (document A75, actual generation per type).
//
// The value is a production average: Σ generation × factor of the type / Σ generation over the hour, with factors from a table with
// its sources (IPCC medians, life-cycle, unless another is configured). What a type takes itself is subtracted from what it
// generates. Storage is left out on both sides, which counts what it gives back at the hour's own mix. Imports are not counted. An hour
// in which a type that the answer has lacks a value, or has no factor, has none.
package entsoe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/wattledger/wattledger/aggregator/carbon/provider"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Name is the provider's on the command line and in metrics.
const Name = "entsoe"

// Source is how editions name the publisher.
const Source = "ENTSO-E Transparency Platform"

const licence = "ENTSO-E Transparency Platform terms: re-use with attribution (Reg. (EU) 543/2013)"

// chunk is the hours of one query: four weeks are some megabytes. The platform allows a year.
const chunk = 28 * 24

// Config is how the platform is reached and what a kWh of each type counts.
type Config struct {
	provider.Config `yaml:",inline"`
	// TokenFile is the file with the security token.
	TokenFile string `yaml:"token_file"`
	// FactorsFile is a CSV table of factors by production type, in place of the one that the program brings.
	FactorsFile string `yaml:"factors_file"`
	// FactorsName is how editions name that table.
	FactorsName string `yaml:"factors_name"`
}

// DefaultConfig is the public interface, asked well under the 400 requests a minute that it allows.
func DefaultConfig() Config {
	return Config{Config: provider.DefaultConfig("https://web-api.tp.entsoe.eu")}
}

// Validate reports every fault at once. Whether there is a token is asked when it is needed.
func (c Config) Validate() error {
	errs := []error{c.Config.Validate()}
	if (c.FactorsFile == "") != (c.FactorsName == "") {
		errs = append(errs, errors.New("factors_file and factors_name go together; write both, or neither"))
	}
	if len(c.FactorsName) > 100 {
		errs = append(errs, errors.New("factors_name is longer than 100 bytes"))
	}
	return errors.Join(errs...)
}

// Provider asks the platform.
type Provider struct {
	client  *provider.Client
	factors factors
	areas   map[string]string
}

// New makes a provider; token and factors are read from their files now.
func New(cfg Config, metrics *provider.Metrics) (*Provider, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("provider %s: %w", Name, err)
	}
	token, err := provider.Secret(cfg.TokenFile, "carbon.entsoe.token_file")
	if err != nil {
		return nil, err
	}
	f, err := readFactors(cfg)
	if err != nil {
		return nil, err
	}
	a, err := areas()
	if err != nil {
		return nil, err
	}
	c, err := provider.NewClient(Name, cfg.Config, metrics)
	if err != nil {
		return nil, err
	}
	c.Query.Set("securityToken", token)
	return &Provider{c, f, a}, nil
}

// Fetch is the hours of [from, to) in a zone of areas.csv.
func (p *Provider) Fetch(ctx context.Context, zone string, from, to unit.Micros) (provider.Series, error) {
	area, ok := p.areas[zone]
	if !ok {
		return provider.Series{}, fmt.Errorf("%s: zone %q is not known; write one of %v", Name, zone, slices.Sorted(maps.Keys(p.areas)))
	}
	if err := provider.CheckSpan(from, to); err != nil {
		return provider.Series{}, fmt.Errorf("%s: %w", Name, err)
	}
	g := generation{}
	err := provider.Chunks(from, to, chunk, func(from, to unit.Micros) error {
		query := url.Values{
			"documentType": {"A75"}, "processType": {"A16"}, "in_Domain": {area}, "periodStart": {minute(from)}, "periodEnd": {minute(to)},
		}
		a, err := p.client.Get(ctx, "/api", query, http.StatusBadRequest) // which is how it says that there is nothing, at times
		if err != nil {
			return err
		}
		if err := parse(a.Body, area, from, to, g); err != nil {
			return p.client.Refuse("malformed", "%s from %s: %w", zone, minute(from), err)
		}
		return nil
	})
	if err != nil {
		return provider.Series{}, err
	}
	values, why := map[unit.Micros]factor.Edition{}, map[unit.Micros]string{}
	for h := from; h < to; h += unit.Hour {
		value, estimated, reason := p.factors.intensity(g, h)
		if reason != "" {
			why[h] = reason
			continue
		}
		values[h] = p.edition(zone, h, value, estimated)
	}
	return provider.Gather(from, to, values, why), nil
}

// minute is an instant as the platform takes it, in UTC.
func minute(t unit.Micros) string { return t.Time().Format("200601021504") }

func (p *Provider) edition(zone string, h unit.Micros, value int64, estimated bool) factor.Edition {
	return factor.Edition{
		Kind: factor.GridIntensity, Key: zone, From: h, To: h + unit.Hour, Value: value, Boundary: p.factors.boundary, Resolution: factor.Hourly,
		Method: "production average, generation by type × factor, storage left out", Estimated: estimated,
		Source: Source, Name: "A75 × " + p.factors.name, Licence: licence,
	}
}

// intensity is µg per kWh of what is generated in the hour, rounded half to even, and whether more than 1 % of it has a proxy for a
// factor; or why there is none.
func (f factors) intensity(g generation, hour unit.Micros) (value int64, estimated bool, reason string) {
	sum, total, proxies := new(big.Int), new(big.Int), new(big.Int)
	var types []string
	for fl := range g {
		if !fl.consumes && !f.byType[fl.psr].storage {
			types = append(types, fl.psr)
		}
	}
	slices.Sort(types)
	if len(types) == 0 {
		return 0, false, "nothing is published"
	}
	var there int
	for _, psr := range types {
		var kw int64 // over the quarters of the hour
		for t := hour; t < hour+unit.Hour; t += quarter {
			made, ok := g[flow{psr, false}][t]
			if !ok {
				if reason == "" {
					reason = fmt.Sprintf("generation of type %s has no value at %s", psr, t.Time().Format(time.RFC3339))
				}
				continue
			}
			there++
			kw += max(made-g[flow{psr, true}][t], 0) // what it takes is published only where it takes any
		}
		factor, known := f.byType[psr]
		if !known && kw > 0 && reason == "" {
			reason = fmt.Sprintf("type %s has no factor in %s", psr, f.name)
		}
		energy := big.NewInt(kw)
		total.Add(total, energy)
		sum.Add(sum, new(big.Int).Mul(energy, big.NewInt(factor.micrograms)))
		if factor.proxy {
			proxies.Add(proxies, energy)
		}
	}
	switch {
	case there == 0:
		return 0, false, "nothing is published"
	case reason != "":
		return 0, false, reason
	case total.Sign() <= 0:
		return 0, false, "nothing is generated"
	}
	estimated = new(big.Int).Mul(proxies, big.NewInt(100)).Cmp(total) > 0
	return nearest(sum, total), estimated, ""
}

// nearest is a/b rounded half to even, for a ≥ 0 and b > 0.
func nearest(a, b *big.Int) int64 {
	q, r := new(big.Int).QuoRem(a, b, new(big.Int))
	if c := r.Lsh(r, 1).Cmp(b); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	return q.Int64() // no more than the largest factor
}
