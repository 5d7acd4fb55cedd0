package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/wattledger/wattledger/aggregator/carbon/csvfile"
	"github.com/wattledger/wattledger/aggregator/carbon/electricitymaps"
	"github.com/wattledger/wattledger/aggregator/carbon/entsoe"
	"github.com/wattledger/wattledger/aggregator/carbon/intake"
	"github.com/wattledger/wattledger/aggregator/carbon/provider"
	"github.com/wattledger/wattledger/aggregator/carbon/rte"
	"github.com/wattledger/wattledger/aggregator/carbon/yearly"
	"github.com/wattledger/wattledger/aggregator/clickhouse"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/process"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

// factorCmd keeps the book of factors.
type factorCmd struct {
	Fetch  factorFetchCmd  `cmd:"" help:"Ask a provider for the carbon intensity of a zone, and keep what it says."`
	Import factorImportCmd `cmd:"" help:"Keep what a CSV file says."`
	List   factorListCmd   `cmd:"" help:"Show the editions that are kept."`
	Check  factorCheckCmd  `cmd:"" help:"Look for gaps, overlaps, duplicates and mixed boundaries."`
}

// factors are the store and what goes with it.
type factors struct {
	store   *clickhouse.Store
	intake  *intake.Intake
	metrics *provider.Metrics
}

// withFactors opens the store of factors for a command.
func withFactors(ctx context.Context, env *process.Env, s services, do func(context.Context, config, factors) error) error {
	cfg, err := s.load(ctx, env)
	if err != nil {
		return err
	}
	metrics, err := provider.NewMetrics(env.Metrics)
	if err != nil {
		return err
	}
	return once(ctx, env, func(ctx context.Context) error {
		db, err := chconn.Open(ctx, cfg.ClickHouse)
		if err != nil {
			return err
		}
		defer db.Close()
		if err := schema.Check(ctx, func(ctx context.Context, query string) schema.Row { return db.QueryRow(ctx, query) }); err != nil {
			return err
		}
		store, err := clickhouse.New(db)
		if err != nil {
			return err
		}
		store.UseChains(cfg.Carbon.Chains)
		return do(ctx, cfg, factors{store, intake.New(store, cfg.Carbon.Chains, metrics), metrics})
	})
}

type factorFetchCmd struct {
	services
	Provider string    `required:"" enum:"rte,electricitymaps,entsoe,yearly" help:"rte, electricitymaps, entsoe or yearly (the table that the program brings)." placeholder:"NAME"`
	Zone     string    `required:"" help:"The grid zone, as the site names it: FR, DE, DK-DK1." placeholder:"ZONE"`
	From     time.Time `required:"" help:"The first hour, RFC 3339." placeholder:"TIME"`
	To       time.Time `required:"" help:"The end of the last hour, RFC 3339." placeholder:"TIME"`
	DryRun   bool      `help:"Ask and say what would be kept, and keep nothing."`
}

// Help shows examples.
func (factorFetchCmd) Help() string {
	return `Fetching again is safe: what is known already changes nothing, and what the provider has revised becomes a new edition beside
the old one. Hours without a value are named; for those the next step of the zone's chain counts. docs/carbon.md says what each provider
measures.

Examples:
  wattledger factor fetch --provider rte --zone FR --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z
  wattledger factor fetch --provider entsoe --zone DE --from 2026-11-01T00:00:00Z --to 2026-11-02T00:00:00Z --set carbon.entsoe.token_file=/etc/wattledger/entsoe.token --json`
}

// missingHours is a run of hours without a value for one reason.
type missingHours struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Hours  int64  `json:"hours"`
	Reason string `json:"reason"`
}

// taken is what the command prints.
type taken struct {
	From     string           `json:"from"` // the provider or the file
	Editions int              `json:"editions"`
	Stored   int              `json:"stored"`
	Revised  int              `json:"revised"`
	Known    int              `json:"known"`
	Sequence uint64           `json:"sequence"`
	DryRun   bool             `json:"dry_run"`
	Missing  []missingHours   `json:"missing"`
	Faults   []csvfile.Fault  `json:"faults"`
	Refused  []factor.Finding `json:"refused"`
	Noted    []factor.Finding `json:"noted"`
}

// Run asks, checks and keeps.
func (c *factorFetchCmd) Run(ctx context.Context, env *process.Env) error {
	from, to := unit.MicrosOf(c.From), unit.MicrosOf(c.To)
	if err := provider.CheckSpan(from, to); err != nil {
		return process.Usage(fmt.Errorf("--%w", err))
	}
	return withFactors(ctx, env, c.services, func(ctx context.Context, cfg config, f factors) error {
		source, err := providerOf(c.Provider, cfg.Carbon, f.metrics)
		if err != nil {
			return err
		}
		series, err := source.Fetch(ctx, c.Zone, from, to)
		if err != nil {
			return err
		}
		f.metrics.Missing(c.Provider, len(series.Missing))
		out := taken{From: c.Provider, Editions: len(series.Editions), Missing: runs(series.Missing), DryRun: c.DryRun}
		return f.take(ctx, env, c.Provider, series.Editions, true, out)
	})
}

// fetcher is a provider of carbon intensity. What it has no value of is missing, never 0.
type fetcher interface {
	Fetch(ctx context.Context, zone string, from, to unit.Micros) (provider.Series, error)
}

func providerOf(name string, cfg carbonConfig, m *provider.Metrics) (fetcher, error) {
	switch name {
	case rte.Name:
		return rte.New(cfg.RTE, m)
	case electricitymaps.Name:
		return electricitymaps.New(cfg.ElectricityMaps, m)
	case entsoe.Name:
		return entsoe.New(cfg.ENTSOE, m)
	case yearly.Name:
		return yearly.New()
	}
	return nil, process.Usagef("--provider %s is not known", name)
}

// runs joins hours that follow one another and have one reason.
func runs(list []provider.Missing) []missingHours {
	out := []missingHours{}
	var end unit.Micros
	for _, m := range list {
		if n := len(out); n > 0 && end == m.Hour && out[n-1].Reason == m.Reason {
			out[n-1].To, out[n-1].Hours = instant(m.Hour+unit.Hour), out[n-1].Hours+1
		} else {
			out = append(out, missingHours{instant(m.Hour), instant(m.Hour + unit.Hour), 1, m.Reason})
		}
		end = m.Hour + unit.Hour
	}
	return out
}

type factorImportCmd struct {
	services
	File      string `arg:"" type:"existingfile" help:"The CSV file; docs/carbon.md describes it."`
	AllowGaps bool   `help:"Take a series with holes in it: there the next step of the chain counts."`
	DryRun    bool   `help:"Say what is wrong and what would be kept, and keep nothing."`
}

// Help shows examples.
func (factorImportCmd) Help() string {
	return `A file is taken whole or not at all, and importing it again changes nothing. A value that is to be replaced stays: state the new
one in a later file, and it counts from then on.

Examples:
  wattledger factor import factors.csv --config /etc/wattledger/wattledger.yaml
  wattledger factor import residual-mix.csv --embedded --dry-run --json`
}

// Run reads, checks and keeps.
func (c *factorImportCmd) Run(ctx context.Context, env *process.Env) error {
	data, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("factors: %w", err)
	}
	return withFactors(ctx, env, c.services, func(ctx context.Context, _ config, f factors) error {
		editions, faults, err := csvfile.Parse(data)
		if err != nil {
			f.metrics.Refused(csvfile.Name, "file")
			return fmt.Errorf("%s: %w", c.File, err)
		}
		out := taken{From: c.File, Editions: len(editions), Faults: faults, DryRun: c.DryRun}
		for range faults {
			f.metrics.Refused(csvfile.Name, "row")
		}
		if len(faults) > 0 {
			return out.refused(env, fmt.Sprintf("%s: %d rows are wrong and nothing is taken: mend them and import the file again", c.File, len(faults)))
		}
		return f.take(ctx, env, csvfile.Name, editions, c.AllowGaps, out)
	})
}

// take keeps editions and says what became of them.
func (f factors) take(ctx context.Context, env *process.Env, from string, editions []factor.Edition, gaps bool, out taken) error {
	if out.DryRun {
		refused, noted, err := f.intake.Try(ctx, editions, gaps)
		if err != nil {
			return err
		}
		out.Refused, out.Noted = refused, noted
	} else {
		res, noted, err := f.intake.Take(ctx, from, editions, gaps)
		var r *factor.RefusedError
		switch {
		case errors.As(err, &r):
			out.Refused = r.Findings
		case err != nil:
			return err
		}
		out.Stored, out.Revised, out.Known, out.Sequence, out.Noted = res.Stored, res.Revised, res.Known, res.Sequence, noted
	}
	if n := len(out.Refused); n > 0 {
		return out.refused(env, fmt.Sprintf("%s: %d findings and nothing is taken: %s", out.From, n, out.Refused[0]))
	}
	if env.Flags.JSON {
		return printJSON(env.Stdout, out.whole())
	}
	out.tell(env)
	if out.DryRun {
		fmt.Fprintf(env.Stdout, "editions in %s that could be kept: %d; nothing was\n", out.From, out.Editions)
		return nil
	}
	fmt.Fprintf(env.Stdout, "editions in %s: %d; %d stored", out.From, out.Editions, out.Stored)
	if out.Stored > 0 {
		fmt.Fprintf(env.Stdout, " as sequence %d, %d of them revisions", out.Sequence, out.Revised)
	}
	fmt.Fprintf(env.Stdout, "; %d known already\n", out.Known)
	return nil
}

// refused ends the command with what was found.
func (t taken) refused(env *process.Env, text string) error {
	if env.Flags.JSON {
		return &foundError{text, t.whole()}
	}
	t.tell(env)
	return errors.New(text)
}

// tell prints what was found, a line each.
func (t taken) tell(env *process.Env) {
	for _, f := range t.Faults {
		fmt.Fprintf(env.Stderr, "%s: %s\n", t.From, f.Error())
	}
	for _, f := range t.Refused {
		fmt.Fprintf(env.Stderr, "refused: %s\n", f)
	}
	for _, f := range t.Noted {
		fmt.Fprintf(env.Stderr, "note: %s\n", f)
	}
	for _, m := range t.Missing {
		fmt.Fprintf(env.Stderr, "no value from %s to %s (%d hours): %s\n", m.From, m.To, m.Hours, m.Reason)
	}
}

// whole has lists where there is nothing.
func (t taken) whole() taken {
	t.Missing, t.Faults = append([]missingHours{}, t.Missing...), append([]csvfile.Fault{}, t.Faults...)
	t.Refused, t.Noted = append([]factor.Finding{}, t.Refused...), append([]factor.Finding{}, t.Noted...)
	return t
}

// asOfOf is the sequence that 0 on the command line stands for.
func asOfOf(flag uint64) uint64 { return cmp.Or(flag, factor.Newest) }
