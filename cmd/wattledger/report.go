package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/wattledger/wattledger/aggregator/clickhouse"
	"github.com/wattledger/wattledger/aggregator/documents"
	"github.com/wattledger/wattledger/aggregator/invoice"
	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/aggregator/tariff"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	"github.com/wattledger/wattledger/schemas/unit"
)

// reportCmd makes documents from the ledger.
type reportCmd struct {
	services
	Kind    string    `arg:"" enum:"usage,fleet,invoice,sovereignty,ledger,diff,all" help:"usage, fleet, invoice, sovereignty, ledger, diff or all."`
	Tenant  string    `help:"Only this tenant's." placeholder:"ID"`
	From    time.Time `help:"First hour, RFC 3339; the first closed hour if absent." placeholder:"TIME"`
	To      time.Time `help:"End of the last hour, RFC 3339; the end of the last closed hour if absent." placeholder:"TIME"`
	AsOf    string    `help:"Leave out what was sealed later: batches by site, as a report names them." placeholder:"SITE=N,…"`
	Against string    `help:"For diff: the earlier as-of to compare with." placeholder:"SITE=N,…"`
	Prices  string    `help:"Price list of the invoices; the example's if absent." placeholder:"FILE" type:"existingfile"`
	Out     string    `help:"Also write the documents as CSV, JSON and text to this folder." placeholder:"DIR"`
}

// Help shows examples.
func (reportCmd) Help() string {
	return `Examples:
  wattledger report usage --embedded --tenant fictional-bank
  wattledger report invoice --prices prices.yaml --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z --out january
  wattledger report ledger --embedded > ledger.jsonl
  wattledger report all --embedded --out documents --as-of fr-demo=24,se-demo=24
  wattledger report diff --tenant fictional-bank --against fr-demo=24,se-demo=24 --prices prices.yaml`
}

// Run reads the ledger and prints or writes what was asked for.
func (c *reportCmd) Run(ctx context.Context, env *process.Env) error {
	if c.Kind == "fleet" && c.Tenant != "" {
		return process.Usagef("the fleet report is the operator's: leave out --tenant")
	}
	if (c.Kind == "diff") != (c.Against != "") || c.Kind == "diff" && (c.Tenant == "" || c.Out != "") {
		return process.Usagef("what changed is shown by `report diff --tenant ID --against SITE=N,…`, with --as-of for the later state and without --out")
	}
	cfg, err := c.load(ctx, env)
	if err != nil {
		return err
	}
	opts := documents.Options{Tenant: c.Tenant}
	if opts.Prices, err = prices(c.Prices); err != nil {
		return err
	}
	if c.AsOf != "" {
		if opts.AsOf, err = report.ParseAsOf(c.AsOf); err != nil {
			return process.Usage(err)
		}
	}
	return once(ctx, env, func(ctx context.Context) error {
		db, err := chconn.Open(ctx, cfg.ClickHouse)
		if err != nil {
			return err
		}
		defer db.Close()
		store, err := clickhouse.New(db)
		if err != nil {
			return err
		}
		if opts.Period, err = c.period(ctx, store); err != nil {
			return err
		}
		if c.Kind == "ledger" && c.Out == "" {
			return store.Export(ctx, env.Stdout, opts.AsOf)
		}
		if c.Kind == "diff" {
			return c.diff(ctx, env, store, opts)
		}
		stage := progress.New(env.Stderr, env.Flags.Quiet || env.Flags.JSON).Stage("Read the ledger", 0, "")
		defer stage.Done()
		if c.Out == "" {
			set, err := documents.Gather(ctx, store, opts)
			if err != nil {
				return err
			}
			return c.print(env, set)
		}
		set, written, err := documents.WriteAll(ctx, store, opts, c.Out)
		if err != nil {
			return err
		}
		if env.Flags.JSON {
			return printJSON(env.Stdout, map[string]any{"out": c.Out, "files": written, "as_of": set.Log.AsOf().String()})
		}
		fmt.Fprintf(env.Stdout, "%d files written to %s, as of %s\n", len(written), c.Out, set.Log.AsOf())
		return nil
	})
}

// diff shows what changed between two states of the ledger.
func (c *reportCmd) diff(ctx context.Context, env *process.Env, store *clickhouse.Store, opts documents.Options) error {
	before, err := report.ParseAsOf(c.Against)
	if err != nil {
		return process.Usage(err)
	}
	d, err := documents.Compare(ctx, store, opts, before)
	if err != nil {
		return err
	}
	if env.Flags.JSON {
		return printJSON(env.Stdout, d)
	}
	return printReports(env.Stdout, d.Tables())
}

// prices reads a price list, or gives the example's.
func prices(file string) (*tariff.List, error) {
	if file == "" {
		return tariff.Parse("example.yaml", tariff.Example)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, process.Usage(fmt.Errorf("price list: %w", err))
	}
	list, err := tariff.Parse(file, data)
	return list, process.Usage(err)
}

// period is the one asked for; its ends default to those of what is closed.
func (c *reportCmd) period(ctx context.Context, store *clickhouse.Store) (report.Period, error) {
	p := report.Period{From: unit.MicrosOf(c.From), To: unit.MicrosOf(c.To)}
	if c.From.IsZero() || c.To.IsZero() {
		seals, err := store.Seals(ctx)
		if err != nil {
			return p, err
		}
		if len(seals) == 0 {
			return p, fmt.Errorf("no hour is closed yet: see `wattledger status` for what the ledger waits for")
		}
		if c.From.IsZero() {
			p.From = seals[0].Hour
		}
		if c.To.IsZero() {
			p.To = seals[len(seals)-1].Hour + unit.Hour
		}
	}
	return p, process.Usage(p.Validate())
}

func (c *reportCmd) print(env *process.Env, set documents.Set) error {
	if c.Tenant != "" && len(set.Usage) == 0 {
		return fmt.Errorf("no tenant %s in the inventory or the ledger of this period: see `wattledger report usage` for who is", c.Tenant)
	}
	var tables []report.Table
	var document any
	switch c.Kind {
	case "usage":
		document = set.Usage
		tables = append(tables, report.SummaryTable(set.Usage))
		for _, u := range set.Usage {
			if c.Tenant != "" {
				tables = u.Tables()
			}
		}
	case "invoice":
		document = set.Invoices
		tables = append(tables, invoice.SummaryTable(set.Invoices))
		for _, in := range set.Invoices {
			if c.Tenant != "" {
				tables = []report.Table{in.Table()}
			}
		}
	case "sovereignty":
		document = set.Sovereignty
		tables = append(tables, set.Sovereignty.Table())
	case "fleet":
		document = set.Fleet
		tables = append(tables, set.Fleet.Tables()...)
	default:
		return process.Usagef("report %s writes several files: name a folder with --out", c.Kind)
	}
	if env.Flags.JSON {
		return printJSON(env.Stdout, document)
	}
	if err := printReports(env.Stdout, tables); err != nil {
		return err
	}
	for _, f := range set.Faults {
		fmt.Fprintln(env.Stderr, "not made:", f)
	}
	return nil
}
