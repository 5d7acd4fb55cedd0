// Package csvfile reads editions of factors from a CSV file: what an operator states (PUE, WUE, instruments, footprints), and values of
// publishers that have no interface (residual mixes, yearly tables). docs/carbon.md describes the columns.
//
// Numbers are exact decimals in the unit that stands beside them; one that is finer than accounts are is refused, not rounded. A file is
// taken whole or not at all.
package csvfile

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wattledger/wattledger/aggregator/carbon/provider"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Name is the provider's in metrics.
const Name = "csv"

// What a file may be: five years of hours of a zone fit.
const (
	maxBytes = 32 << 20
	maxRows  = 100_000
)

// Fault is a row that is refused, and why.
type Fault struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

func (f Fault) Error() string { return fmt.Sprintf("line %d: %s", f.Line, f.Text) }

// columns are those there are; the first ones must be there.
var columns = []string{
	"kind", "key", "from", "to", "value", "unit", "method", "source", "name", "licence",
	"boundary", "resolution", "estimated", "volume_kwh_per_hour", "cover_percent", "matching", "life_hours",
}

// required is how many of columns must be there.
const required = 10

// scales are the units that each kind may be stated in, as digits to the integer that is kept.
var scales = map[factor.Kind]map[string]int32{
	factor.GridIntensity: perKWh, factor.ResidualMix: perKWh, factor.Instrument: perKWh,
	factor.PUE:       {"ratio": 3},
	factor.HeatReuse: {"ratio": 3, "percent": 1},
	factor.WUE:       {"l/kWh": 6, "ul/kWh": 0},
	factor.Embodied:  {"kg": 9, "g": 6, "ug": 0},
}

var perKWh = map[string]int32{"g/kWh": 6, "kg/MWh": 6, "ug/kWh": 0}

// Parse reads a file. The error is about the file as a whole; faults are rows, all of them, in order.
func Parse(data []byte) (editions []factor.Edition, faults []Fault, err error) {
	switch {
	case len(data) > maxBytes:
		return nil, nil, fmt.Errorf("it has %d bytes; split it into files of at most %d", len(data), maxBytes)
	case !utf8.Valid(data):
		return nil, nil, errors.New("it is not UTF-8; save it as that")
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	r.Comment, r.TrimLeadingSpace, r.ReuseRecord = '#', true, true
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, nil, errors.New("it is empty; the first line names the columns")
	}
	if err != nil {
		return nil, nil, err
	}
	at, err := places(slices.Clone(header))
	if err != nil {
		return nil, nil, err
	}
	for rows := 0; ; rows++ {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, csv.ErrFieldCount) {
			line, _ := r.FieldPos(0)
			faults = append(faults, Fault{line, fmt.Sprintf("it has %d fields and the header %d", len(row), len(header))})
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if rows == maxRows {
			return nil, nil, fmt.Errorf("it has more than %d rows; split it", maxRows)
		}
		line, _ := r.FieldPos(0)
		e, err := parse(func(column string) string {
			if i, ok := at[column]; ok {
				return strings.TrimSpace(row[i])
			}
			return ""
		})
		if err == nil {
			err = e.Validate()
		}
		if err != nil {
			faults = append(faults, Fault{line, strings.ReplaceAll(err.Error(), "\n", "; ")})
			continue
		}
		editions = append(editions, e)
	}
	if len(editions)+len(faults) == 0 {
		return nil, nil, errors.New("it has a header and no row")
	}
	return editions, faults, nil
}

// places is where each column stands.
func places(header []string) (map[string]int, error) {
	at := map[string]int{}
	var errs []error
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if !slices.Contains(columns, name) {
			errs = append(errs, fmt.Errorf("column %q is not known; the columns are %s", name, strings.Join(columns, ", ")))
		}
		if _, twice := at[name]; twice {
			errs = append(errs, fmt.Errorf("column %s stands twice", name))
		}
		at[name] = i
	}
	for _, name := range columns[:required] {
		if _, ok := at[name]; !ok {
			errs = append(errs, fmt.Errorf("column %s is missing", name))
		}
	}
	return at, errors.Join(errs...)
}

func parse(field func(column string) string) (factor.Edition, error) {
	e := factor.Edition{
		Kind: factor.Kind(field("kind")), Key: field("key"), Boundary: field("boundary"), Resolution: field("resolution"), Method: field("method"),
		Source: field("source"), Name: field("name"), Licence: field("licence"), Matching: field("matching"),
	}
	var errs []error
	add := func(column string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", column, err))
		}
	}
	var err error
	e.From, err = instant(field("from"))
	add("from", err)
	e.To, err = instant(field("to"))
	add("to", err)
	if digits, ok := scales[e.Kind][field("unit")]; ok {
		e.Value, err = provider.Exactly(field("value"), digits)
		add("value", err)
	} else if units := scales[e.Kind]; units != nil {
		add("unit", fmt.Errorf("%q; %s is stated in one of %s", field("unit"), e.Kind, strings.Join(sorted(units), ", ")))
	} else {
		add("kind", fmt.Errorf("%q; write grid, residual, instrument, pue, wue, heat_reuse or embodied", e.Kind))
	}
	switch field("estimated") {
	case "", "no", "false":
	case "yes", "true":
		e.Estimated = true
	default:
		add("estimated", fmt.Errorf("%q; write yes or no", field("estimated")))
	}
	if v := field("volume_kwh_per_hour"); v != "" {
		volume, err := kWh(v)
		add("volume_kwh_per_hour", err)
		e.Volume = volume
	}
	if v := field("cover_percent"); v != "" {
		e.Cover, err = provider.Exactly(v, 4)
		add("cover_percent", err)
	}
	if v := field("life_hours"); v != "" {
		hours, err := provider.Exactly(v, 0)
		if err == nil && (hours < 0 || hours > 1_000_000) {
			err = fmt.Errorf("%q is out of range", v)
		}
		add("life_hours", err)
		e.Life = unit.Milliseconds(hours * 3_600_000)
	}
	return e, errors.Join(errs...)
}

// kWh is an energy in mJ. Six digits after the point are 3,600 mJ, so none is lost.
func kWh(text string) (unit.Millijoules, error) {
	v, err := provider.Exactly(text, 6)
	if err != nil {
		return 0, err
	}
	mj, err := unit.FloorMulDiv(v, unit.MillijoulesPerKWh/1_000_000, 1)
	return unit.Millijoules(mj), err
}

// instant is RFC 3339 with its offset, or a day in UTC; empty is open.
func instant(text string) (unit.Micros, error) {
	if text == "" {
		return 0, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t, err = time.Parse(time.DateOnly, text)
	}
	if err != nil {
		return 0, fmt.Errorf("%q; write 2026-01-31, which begins in UTC, or 2026-01-31T00:00:00+01:00", text)
	}
	if t.Year() < 1970 || t.Year() > 2200 {
		return 0, fmt.Errorf("%q is out of range", text)
	}
	return unit.MicrosOf(t), nil
}

func sorted(units map[string]int32) []string {
	var out []string
	for u := range units {
		out = append(out, u)
	}
	slices.Sort(out)
	return out
}
