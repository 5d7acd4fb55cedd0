// Package electricitymaps reads the carbon intensity of a zone's electricity from Electricity Maps, version 4 of its interface.
//
// The value is a consumption average: the mix of what is consumed in the zone with imports traced to where they were produced, and by
// default life-cycle. Boundary and tracing are asked for by name and must come back as asked, since they change the value several times
// over. A value that the publisher calls an estimate is marked so, or refused by configuration. The contract with the publisher says what
// may be done with the values: nothing here republishes them.
package electricitymaps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/wattledger/wattledger/aggregator/carbon/provider"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Name is the provider's on the command line and in metrics.
const Name = "electricitymaps"

// Source is how editions name the publisher.
const Source = "Electricity Maps"

const licence = "contract with Electricity Maps: attribution, no republication of values"

// chunk is the hours of one query: ten days is what the interface allows of hourly values.
const chunk = 10 * 24

// Config is how the interface is reached and which value is wanted.
type Config struct {
	provider.Config `yaml:",inline"`
	// TokenFile is the file with the auth-token.
	TokenFile string `yaml:"token_file"`
	// Boundary is lifecycle or direct.
	Boundary string `yaml:"boundary"`
	// FlowTraced follows imports to where they were produced; false is the mix of what the zone produces.
	FlowTraced bool `yaml:"flow_traced"`
	// Estimates takes values that the publisher calls estimates, and marks them; false takes none.
	Estimates bool `yaml:"estimates"`
}

// DefaultConfig is the public interface with the publisher's own defaults, stated.
func DefaultConfig() Config {
	return Config{Config: provider.DefaultConfig("https://api.electricitymaps.com/v4"), Boundary: factor.Lifecycle, FlowTraced: true, Estimates: true}
}

// Validate reports every fault at once. Whether there is a token is asked when it is needed.
func (c Config) Validate() error {
	errs := []error{c.Config.Validate()}
	if c.Boundary != factor.Lifecycle && c.Boundary != factor.Direct {
		errs = append(errs, fmt.Errorf("boundary is %q; write lifecycle or direct", c.Boundary))
	}
	return errors.Join(errs...)
}

// Provider asks the interface.
type Provider struct {
	client *provider.Client
	cfg    Config
}

// New makes a provider; the token is read from its file now.
func New(cfg Config, metrics *provider.Metrics) (*Provider, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("provider %s: %w", Name, err)
	}
	token, err := provider.Secret(cfg.TokenFile, "carbon.electricity_maps.token_file")
	if err != nil {
		return nil, err
	}
	c, err := provider.NewClient(Name, cfg.Config, metrics)
	if err != nil {
		return nil, err
	}
	c.Header.Set("auth-token", token)
	return &Provider{c, cfg}, nil
}

// zones are a country, or a part of one: FR, DK-DK1, US-CAL-CISO.
var zones = regexp.MustCompile(`^[A-Z]{2}(-[A-Z0-9]{1,8}){0,3}$`)

// Fetch is the hours of [from, to) in a zone, by the publisher's name of it.
func (p *Provider) Fetch(ctx context.Context, zone string, from, to unit.Micros) (provider.Series, error) {
	if !zones.MatchString(zone) {
		return provider.Series{}, fmt.Errorf("%s: zone is %q; write one as FR, or DK-DK1", Name, zone)
	}
	if err := provider.CheckSpan(from, to); err != nil {
		return provider.Series{}, fmt.Errorf("%s: %w", Name, err)
	}
	values, why := map[unit.Micros]factor.Edition{}, map[unit.Micros]string{}
	err := provider.Chunks(from, to, chunk, func(from, to unit.Micros) error {
		query := url.Values{
			"zone": {zone}, "start": {stamp(from)}, "end": {stamp(to)}, "temporalGranularity": {"hourly"}, "emissionFactorType": {p.cfg.Boundary},
			"flowTraced": {strconv.FormatBool(p.cfg.FlowTraced)}, "disableEstimations": {strconv.FormatBool(!p.cfg.Estimates)},
			"disableCallerLookup": {"true"}, // the zone is what is asked for, never where we are
		}
		a, err := p.client.Get(ctx, "/carbon-intensity/past-range", query)
		if err != nil {
			return err
		}
		points, err := parse(a.Body, p.cfg, zone)
		if err != nil {
			return p.client.Refuse("malformed", "%s from %s: %w", zone, stamp(from), err)
		}
		for _, v := range points {
			_, twice := values[v.at]
			switch {
			case v.at < from || v.at >= to:
				if v.at == to { // whether the end is in the answer has differed between versions
					continue
				}
				return p.client.Refuse("outside", "%s from %s: it holds %s, which was not asked for", zone, stamp(from), stamp(v.at))
			case twice:
				return p.client.Refuse("twice", "%s from %s: %s stands twice", zone, stamp(from), stamp(v.at))
			case !v.known:
				why[v.at] = "the value is null"
			case v.estimated && !p.cfg.Estimates:
				why[v.at] = "the value is an estimate, which carbon.electricity_maps.estimates refuses"
			default:
				values[v.at] = p.edition(zone, v)
			}
		}
		return nil
	})
	if err != nil {
		return provider.Series{}, err
	}
	return provider.Gather(from, to, values, why), nil
}

func stamp(t unit.Micros) string { return t.Time().Format(time.RFC3339) }

// point is the value of an hour.
type point struct {
	at               unit.Micros
	value            int64
	known, estimated bool
}

func (p *Provider) edition(zone string, v point) factor.Edition {
	method := "consumption average, flow-traced"
	if !p.cfg.FlowTraced {
		method = "production average"
	}
	return factor.Edition{
		Kind: factor.GridIntensity, Key: zone, From: v.at, To: v.at + unit.Hour, Value: v.value, Boundary: p.cfg.Boundary, Resolution: factor.Hourly,
		Method: method, Estimated: v.estimated, Source: Source, Name: "v4 carbon-intensity", Licence: licence,
	}
}

// parse reads an answer and holds it to what was asked for: a value of another zone, boundary, tracing or step is none.
func parse(body []byte, cfg Config, zone string) ([]point, error) {
	type labels struct {
		Zone       *string `json:"zone"`
		Boundary   *string `json:"emissionFactorType"`
		FlowTraced *bool   `json:"flowTraced"`
		Step       *string `json:"temporalGranularity"`
	}
	var answer struct {
		labels
		Data *[]struct {
			labels
			At        string       `json:"datetime"`
			Value     *json.Number `json:"carbonIntensity"`
			Estimated bool         `json:"isEstimated"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	if answer.Data == nil {
		return nil, errors.New("it has no data")
	}
	var named bool
	check := func(l labels) error {
		switch {
		case l.Zone != nil && *l.Zone != zone:
			return fmt.Errorf("zone is %q, not %s", *l.Zone, zone)
		case l.Boundary != nil && *l.Boundary != cfg.Boundary:
			return fmt.Errorf("emissionFactorType is %q, not %s", *l.Boundary, cfg.Boundary)
		case l.FlowTraced != nil && *l.FlowTraced != cfg.FlowTraced:
			return fmt.Errorf("flowTraced is %v, not %v", *l.FlowTraced, cfg.FlowTraced)
		case l.Step != nil && *l.Step != "hourly":
			return fmt.Errorf("temporalGranularity is %q, not hourly", *l.Step)
		}
		named = named || l.Zone != nil
		return nil
	}
	if err := check(answer.labels); err != nil {
		return nil, err
	}
	var out []point
	for _, d := range *answer.Data {
		if err := check(d.labels); err != nil {
			return nil, fmt.Errorf("at %s: %w", d.At, err)
		}
		at, err := time.Parse(time.RFC3339, d.At)
		if err != nil {
			return nil, fmt.Errorf("datetime is %q, no time", d.At)
		}
		v := point{at: unit.MicrosOf(at), estimated: d.Estimated}
		if v.at%unit.Hour != 0 {
			return nil, fmt.Errorf("datetime is %q, no whole hour", d.At)
		}
		if d.Value != nil {
			if v.value, err = provider.Scaled(d.Value.String(), 6); err != nil {
				return nil, fmt.Errorf("carbonIntensity at %s: %w", d.At, err)
			}
			if v.value < 0 || v.value > 2_500_000_000 {
				return nil, fmt.Errorf("carbonIntensity at %s is %s g/kWh, which no electricity has", d.At, *d.Value)
			}
			v.known = true
		}
		out = append(out, v)
	}
	if !named {
		return nil, errors.New("it does not say of which zone it is")
	}
	return out, nil
}
