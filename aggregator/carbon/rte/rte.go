// Package rte reads the carbon intensity of French electricity from RTE's éCO2mix, as the ODRÉ portal publishes it.
//
// The value is the CO2 of combustion in French plants over what they produce: direct, a production average, imports not counted. It is
// published in grams every quarter of an hour (in the consolidated series every half) and averaged here to UTC hours; an hour that lacks
// one of them has no value. Real-time values are replaced by consolidated and later by definitive ones: fetch again, and what differs
// becomes another edition.
package rte

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wattledger/wattledger/aggregator/carbon/provider"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Name is the provider's on the command line and in metrics.
const Name = "rte"

// Source is how editions name the publisher.
const Source = "RTE éCO2mix"

// licence is the portal's for these data sets.
const licence = "Licence Ouverte (Etalab): source RTE, ODRÉ"

// The data sets, the one whose word counts more first.
const (
	consolidated = "eco2mix-national-cons-def"
	realTime     = "eco2mix-national-tr"
)

// pageSize is the most that the portal hands out at once; 10,000 rows is as far as it pages.
const pageSize = 100

// chunk is the hours asked for in one query: a week is 672 rows.
const chunk = 7 * 24

// Config is how the portal is reached.
type Config struct {
	provider.Config `yaml:",inline"`
}

// DefaultConfig is the portal's public interface.
func DefaultConfig() Config {
	return Config{provider.DefaultConfig("https://odre.opendatasoft.com/api/explore/v2.1")}
}

// Provider asks the portal.
type Provider struct{ client *provider.Client }

// New makes a provider. No secret is needed.
func New(cfg Config, metrics *provider.Metrics) (*Provider, error) {
	c, err := provider.NewClient(Name, cfg.Config, metrics)
	if err != nil {
		return nil, err
	}
	return &Provider{c}, nil
}

// Fetch is the hours of [from, to) in zone FR, the only one there is.
func (p *Provider) Fetch(ctx context.Context, zone string, from, to unit.Micros) (provider.Series, error) {
	if zone != "FR" {
		return provider.Series{}, fmt.Errorf("rte: zone is %q; RTE publishes FR alone", zone)
	}
	if err := provider.CheckSpan(from, to); err != nil {
		return provider.Series{}, fmt.Errorf("rte: %w", err)
	}
	values, why := map[unit.Micros]factor.Edition{}, map[unit.Micros]string{}
	err := provider.Chunks(from, to, chunk, func(from, to unit.Micros) error {
		for _, set := range []string{realTime, consolidated} { // the later one's word stands
			rows, err := p.rows(ctx, set, from, to)
			if err != nil {
				return err
			}
			hours(set, rows, from, to, values, why)
		}
		return nil
	})
	if err != nil {
		return provider.Series{}, err
	}
	return provider.Gather(from, to, values, why), nil
}

// row is what is known of a slot.
type row struct {
	at unit.Micros
	// micrograms per kWh; known is false where the portal has null.
	value  int64
	known  bool
	nature string
}

// rows asks for all slots of the span, page by page.
func (p *Provider) rows(ctx context.Context, set string, from, to unit.Micros) ([]row, error) {
	var out []row
	seen := map[unit.Micros]bool{}
	for offset := 0; ; offset += pageSize {
		query := url.Values{
			"select":   {"perimetre,nature,date_heure,taux_co2"},
			"where":    {fmt.Sprintf("date_heure >= date'%s' AND date_heure < date'%s'", stamp(from), stamp(to))},
			"order_by": {"date_heure"}, "limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(offset)}, "timezone": {"UTC"},
		}
		a, err := p.client.Get(ctx, "/catalog/datasets/"+set+"/records", query)
		if err != nil {
			return nil, err
		}
		page, total, err := parse(a.Body)
		if err != nil {
			return nil, p.client.Refuse("malformed", "%s from %s: %w", set, stamp(from), err)
		}
		for _, r := range page {
			if r.at < from || r.at >= to {
				return nil, p.client.Refuse("outside", "%s from %s: it holds %s, which was not asked for", set, stamp(from), stamp(r.at))
			}
			if seen[r.at] {
				return nil, p.client.Refuse("twice", "%s from %s: %s stands twice", set, stamp(from), stamp(r.at))
			}
			seen[r.at] = true
		}
		out = append(out, page...)
		if len(page) == 0 && len(out) < total {
			return nil, p.client.Refuse("incomplete", "%s from %s: it has %d rows and handed out %d", set, stamp(from), total, len(out))
		}
		if len(out) >= total {
			return out, nil
		}
	}
}

func stamp(t unit.Micros) string { return t.Time().Format(time.RFC3339) }

// maxTotal is how many rows a query can have: one a minute would be fewer.
const maxTotal = 60 * chunk

// parse reads a page of records and how many there are in all.
func parse(body []byte) (rows []row, total int, err error) {
	var page struct {
		Total   *int `json:"total_count"`
		Results []struct {
			Perimetre string      `json:"perimetre"`
			Nature    string      `json:"nature"`
			At        string      `json:"date_heure"`
			CO2       json.Number `json:"taux_co2"`
		} `json:"results"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, 0, err
	}
	if page.Total == nil || *page.Total < len(page.Results) || *page.Total > maxTotal {
		return nil, 0, fmt.Errorf("total_count is missing, or no number from %d to %d", len(page.Results), maxTotal)
	}
	for _, r := range page.Results {
		if r.Perimetre != "France" {
			return nil, 0, fmt.Errorf("perimetre is %q, not France", r.Perimetre)
		}
		at, err := time.Parse(time.RFC3339, r.At) // with its offset: local time has an hour twice a year that comes twice
		if err != nil {
			return nil, 0, fmt.Errorf("date_heure is %q, no time with an offset", r.At)
		}
		out := row{at: unit.MicrosOf(at), nature: r.Nature}
		if out.at%(15*60*unit.Second) != 0 {
			return nil, 0, fmt.Errorf("date_heure is %q, no quarter of an hour", r.At)
		}
		if r.CO2 != "" {
			if out.value, err = provider.Scaled(r.CO2.String(), 6); err != nil {
				return nil, 0, fmt.Errorf("taux_co2 at %s: %w", r.At, err)
			}
			if out.value < 0 || out.value > 2_000_000_000 {
				return nil, 0, fmt.Errorf("taux_co2 at %s is %s g/kWh, which no electricity has", r.At, r.CO2)
			}
			out.known = true
		}
		rows = append(rows, out)
	}
	return rows, *page.Total, nil
}

// hours averages the slots of each hour of [from, to) for which all are there.
func hours(set string, rows []row, from, to unit.Micros, values map[unit.Micros]factor.Edition, why map[unit.Micros]string) {
	byHour := map[unit.Micros]map[unit.Micros]row{}
	for _, r := range rows {
		h := r.at.FloorHour()
		if byHour[h] == nil {
			byHour[h] = map[unit.Micros]row{}
		}
		byHour[h][r.at-h] = r
	}
	for h := from; h < to; h += unit.Hour {
		slots := byHour[h]
		if len(slots) == 0 {
			continue
		}
		value, nature, ok := mean(slots, set == consolidated)
		if !ok {
			if _, known := values[h]; !known {
				why[h] = "a slot of the hour has no value in " + set
			}
			continue
		}
		values[h] = factor.Edition{
			Kind: factor.GridIntensity, Key: "FR", From: h, To: h + unit.Hour, Value: value, Boundary: factor.Direct, Resolution: factor.Hourly,
			Method: "production average, combustion CO2, imports not counted", Estimated: !strings.HasSuffix(nature, "définitives"),
			Source: Source, Name: strings.TrimSpace(set + " " + plain(nature)), Licence: licence,
		}
	}
}

// mean is the average of an hour's quarters, or of its halves where the series has no quarters, rounded half to even; and the least
// settled nature among them.
func mean(slots map[unit.Micros]row, halves bool) (value int64, nature string, ok bool) {
	const quarter = 15 * 60 * unit.Second
	var sum, n int64
	for i := range unit.Micros(4) {
		r, there := slots[i*quarter]
		if !there || !r.known {
			if halves && i%2 == 1 {
				continue
			}
			return 0, "", false
		}
		sum += r.value
		n++
		if nature == "" || strings.HasSuffix(nature, "définitives") {
			nature = r.nature
		}
	}
	if n == 3 { // a quarter is missing: neither series
		return 0, "", false
	}
	value, err := unit.RoundMulDiv(sum, 1, n)
	return value, nature, err == nil
}

// plain is the nature as one short line, whatever the portal writes.
func plain(nature string) string {
	out := strings.Join(strings.Fields(strings.ToValidUTF8(nature, "?")), " ")
	if r := []rune(out); len(r) > 60 {
		out = string(r[:60])
	}
	return out
}
