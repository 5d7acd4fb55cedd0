package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/wattledger/wattledger/aggregator/adjusting"
	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/record"
)

// ledgerExplainCmd tells how a figure came about.
type ledgerExplainCmd struct {
	services
	Entry string `arg:"" help:"The entry's id, or as much of its beginning as is its own."`
}

// Help shows examples.
func (ledgerExplainCmd) Help() string {
	return `Tells how every figure of an entry came about: the readings around its edges, the slots it held, its part of what the node and
the site share, the factors, each with the quotient that a person can check with a pocket calculator. It starts from the samples and
statements as they are stored now, so the line comes out with all its adjustments, and says whether that is what the ledger holds.

Examples:
  wattledger ledger explain --embedded 3f2a9c0d
  wattledger ledger explain 3f2a9c0d --config /etc/wattledger/wattledger.yaml --json`
}

var hexDigits = regexp.MustCompile(`^[0-9a-f]{4,64}$`)

// Validate is called by kong.
func (c *ledgerExplainCmd) Validate() error {
	if !hexDigits.MatchString(c.Entry) {
		return fmt.Errorf("entry %q: give at least four hexadecimal digits of its id", c.Entry)
	}
	return nil
}

// explained is what --json prints.
type explained struct {
	ID    string       `json:"id"`
	Batch uint64       `json:"batch"`
	Entry record.Entry `json:"entry"`
	// Line is the entry with all that was booked on its line, Now the line as it comes out today.
	Line  record.Entry   `json:"line"`
	Now   record.Entry   `json:"now"`
	Steps []closing.Step `json:"steps"`
	// Agrees says that the two are the same. If not, something has come since that the next batch will book.
	Agrees bool `json:"agrees"`
}

// Run explains.
func (c *ledgerExplainCmd) Run(ctx context.Context, env *process.Env) error {
	cfg, err := c.loadDatabase(ctx, env)
	if err != nil {
		return err
	}
	return once(ctx, env, func(ctx context.Context) error {
		store, done, err := closingStore(ctx, cfg)
		if err != nil {
			return err
		}
		defer done()
		entry, err := store.FindEntry(ctx, c.Entry)
		if err != nil {
			return err
		}
		start, err := entry.Start()
		if err != nil {
			return err
		}
		sites, err := store.Sites(ctx)
		if err != nil {
			return err
		}
		x := explained{ID: entry.ID, Batch: entry.Batch, Entry: entry.Entry}
		for _, site := range sites {
			if site.ID != entry.Site {
				continue
			}
			booked, err := store.Booked(ctx, site.ID, start)
			if err != nil {
				return err
			}
			for _, l := range booked.Lines {
				if adjusting.LineOf(l.Entry) == adjusting.LineOf(entry.Entry) {
					x.Line = l.Entry
				}
			}
			hour, err := store.Reload(ctx, site, start, nil, true)
			if err != nil {
				return err
			}
			if hour.SampleRows < booked.SampleRows {
				return fmt.Errorf("of the %d samples that the hour was closed from %d are left, so it cannot be told from readings; `wattledger ledger verify` holds it against its cuts",
					booked.SampleRows, hour.SampleRows)
			}
			closer.KeepIdle(&hour, booked)
			x.Now, x.Steps, err = closing.Explain(hour, entry.Entry)
			if err != nil && !errors.Is(err, closing.ErrNoLine) {
				return err
			}
			if err != nil {
				x.Now = adjusting.Zero(x.Line)
			}
		}
		x.Agrees = adjusting.Same(x.Now, x.Line)
		if env.Flags.JSON {
			return printJSON(env.Stdout, x)
		}
		return x.print(env)
	})
}

func (x explained) print(env *process.Env) error {
	e := x.Entry
	who := string(e.Account)
	if e.Tenant != "" {
		who += fmt.Sprintf(" of %s, allocation %s", e.Tenant, e.Allocation)
	}
	out := env.Stdout
	fmt.Fprintf(out, "Entry %s\n  %s, hour %s, batch %d (%s)\n  node %s, device %s %s\n  %s, from %s to %s, rules %s\n",
		x.ID, e.Site, e.Hour, x.Batch, e.Kind, e.Node, e.Device, e.Model, who, report.Stamp(e.From), report.Stamp(e.To), e.Rules)
	if e.Kind == record.Adjustment {
		fmt.Fprintf(out, "  corrects %s: %s\n", e.Corrects, e.Reason)
	}
	for i, s := range x.Steps {
		fmt.Fprintf(out, "\n%d. %s\n", i+1, s.Title)
		for _, l := range s.Lines {
			fmt.Fprintf(out, "   %s\n", l)
		}
		if s.Field != "" {
			fmt.Fprintf(out, "   %s = %d\n", s.Field, s.Value)
		}
	}
	fmt.Fprintf(out, "\nEnergy %d mJ (%s): measured %d, estimated %d, modelled %d\n", x.Now.Total(), x.Now.Total(), x.Now.Measured, x.Now.Estimated, x.Now.Modelled)
	switch {
	case !x.Agrees:
		_, err := fmt.Fprintf(out, "The ledger holds %d mJ and %d µg CO2e on this line: something has come since, which the next batch books (`wattledger ledger simulate` shows it).\n",
			x.Line.Total(), x.Line.Carbon)
		return err
	case !adjusting.Same(x.Line, e):
		_, err := fmt.Fprintf(out, "That is what the ledger holds on this line in sum: this entry has %d mJ and %d µg CO2e of it, the line's other entries the rest (closing and adjustments).\n",
			e.Total(), e.Carbon)
		return err
	}
	_, err := fmt.Fprintln(out, "That is what the ledger holds.")
	return err
}
