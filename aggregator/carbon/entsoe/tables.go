package entsoe

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"os"

	"github.com/wattledger/wattledger/aggregator/carbon/provider"
	"github.com/wattledger/wattledger/schemas/factor"
)

//go:embed factors.csv
var committedFactors []byte

//go:embed areas.csv
var committedAreas []byte

// committedName is how editions name the committed table.
const committedName = "IPCC AR5 2014 medians"

// typeFactor is what a kWh of a production type counts.
type typeFactor struct {
	micrograms     int64
	storage, proxy bool
}

// factors are those of a table, all of one boundary.
type factors struct {
	byType         map[string]typeFactor
	boundary, name string
}

// readFactors reads the table that the configuration names, or the committed one.
func readFactors(cfg Config) (factors, error) {
	table, name := committedFactors, committedName
	if cfg.FactorsFile != "" {
		b, err := os.ReadFile(cfg.FactorsFile)
		if err != nil {
			return factors{}, fmt.Errorf("carbon.entsoe.factors_file: %w", err)
		}
		table, name = b, cfg.FactorsName
	}
	f, err := parseFactors(table)
	if err != nil {
		return factors{}, fmt.Errorf("factors by production type (%s): %w", name, err)
	}
	f.name = name
	return f, nil
}

// parseFactors reads a table as factors.csv is.
func parseFactors(table []byte) (factors, error) {
	f := factors{byType: map[string]typeFactor{}}
	err := eachRow(table, []string{"type", "name", "g_per_kwh", "boundary", "basis", "source"}, func(row []string) error {
		t := typeFactor{storage: row[4] == "storage", proxy: row[4] == "proxy"}
		var err error
		if _, twice := f.byType[row[0]]; twice || row[0] == "" {
			return fmt.Errorf("type %q stands twice, or is empty", row[0])
		}
		if !t.storage {
			if t.micrograms, err = provider.Exactly(row[2], 6); err != nil || t.micrograms < 0 || t.micrograms > 2_500_000_000 {
				return fmt.Errorf("g_per_kwh of %s is %q; write a number from 0 to 2500", row[0], row[2])
			}
		}
		switch {
		case row[3] != factor.Direct && row[3] != factor.Lifecycle:
			return fmt.Errorf("boundary of %s is %q; write direct or lifecycle", row[0], row[3])
		case f.boundary != "" && f.boundary != row[3]:
			return fmt.Errorf("boundary of %s is %s and others are %s; a table has one", row[0], row[3], f.boundary)
		case row[5] == "":
			return fmt.Errorf("%s has no source", row[0])
		}
		f.boundary = row[3]
		f.byType[row[0]] = t
		return nil
	})
	if err == nil && len(f.byType) == 0 {
		err = errors.New("it is empty")
	}
	return f, err
}

// areas is the EIC of each zone.
func areas() (map[string]string, error) {
	out := map[string]string{}
	err := eachRow(committedAreas, []string{"zone", "eic"}, func(row []string) error {
		out[row[0]] = row[1]
		return nil
	})
	return out, err
}

// eachRow calls f for every row below the header; # begins a comment.
func eachRow(table []byte, header []string, f func(row []string) error) error {
	r := csv.NewReader(bytes.NewReader(table))
	r.Comment, r.FieldsPerRecord, r.TrimLeadingSpace = '#', len(header), true
	rows, err := r.ReadAll()
	if err != nil {
		return err
	}
	for i, row := range rows {
		if i > 0 {
			if err := f(row); err != nil {
				return err
			}
			continue
		}
		for k, name := range header {
			if row[k] != name {
				return fmt.Errorf("column %d is %q; write %s", k+1, row[k], name)
			}
		}
	}
	return nil
}
