package main

import (
	"context"
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/carbon/csvfile"
	"github.com/wattledger/wattledger/aggregator/clickhouse"
	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/ingest/allocations"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
)

type ledgerSimulateCmd struct {
	services
	hoursAsked
	Allocations string `type:"existingfile" help:"A CSV file of allocations that are supposed to be stated besides; docs/allocations-csv.md describes it. Needs --site." placeholder:"FILE"`
	Factors     string `type:"existingfile" help:"A CSV file of factors that are supposed to be stated besides; docs/carbon.md describes it." placeholder:"FILE"`
}

// Help shows examples.
func (ledgerSimulateCmd) Help() string {
	return `Evaluates closed hours anew and shows by hour, account and tenant what would be booked: by itself what has come since, with a file
also what that file would change. Nothing is booked, and nothing stated.

Examples:
  wattledger ledger simulate --embedded
  wattledger ledger simulate --allocations late.csv --site fr-1
  wattledger ledger simulate --factors revised.csv --json`
}

// Run shows.
func (c *ledgerSimulateCmd) Run(ctx context.Context, env *process.Env) error {
	cfg, err := c.load(ctx, env)
	if err != nil {
		return err
	}
	held, editions, err := c.read()
	if err != nil {
		return err
	}
	return once(ctx, env, func(ctx context.Context) error {
		store, done, err := closingStore(ctx, cfg)
		if err != nil {
			return err
		}
		defer done()
		cfg.Closer.AdjustHours = 1_000_000 // all of them: whoever asks wants to know
		cl, err := closer.New(cfg.Closer, noSecret, clickhouse.Supposing(store, c.Site, held, editions), env.Log, prometheus.NewRegistry())
		if err != nil {
			return err
		}
		return c.each(ctx, env, store, func(site record.Site) (closer.Adjustments, error) {
			return cl.Pending(ctx, site, c.micros())
		}, "nothing is booked")
	})
}

// read takes the files. A row that is wrong ends the command: what would become of the rest says nothing.
func (c *ledgerSimulateCmd) read() (held []record.Allocation, editions []factor.Edition, err error) {
	if c.Allocations != "" {
		if c.Site == "" {
			return nil, nil, process.Usagef("--allocations needs --site: the file does not say which site its devices are at")
		}
		data, err := os.ReadFile(c.Allocations)
		if err != nil {
			return nil, nil, fmt.Errorf("allocations: %w", err)
		}
		file, err := allocations.Parse(data)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", c.Allocations, err)
		}
		if len(file.Faults) > 0 {
			return nil, nil, fmt.Errorf("%s: %w; and %d rows in all", c.Allocations, file.Faults[0], len(file.Faults))
		}
		held = file.Allocations
	}
	if c.Factors != "" {
		data, err := os.ReadFile(c.Factors)
		if err != nil {
			return nil, nil, fmt.Errorf("factors: %w", err)
		}
		var faults []csvfile.Fault
		editions, faults, err = csvfile.Parse(data)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", c.Factors, err)
		}
		if len(faults) > 0 {
			return nil, nil, fmt.Errorf("%s: %w; and %d rows in all", c.Factors, faults[0], len(faults))
		}
	}
	return held, editions, nil
}
