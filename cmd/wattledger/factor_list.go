package main

import (
	"context"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

type factorListCmd struct {
	services
	Kind   string    `help:"Only this kind." enum:",grid,residual,instrument,pue,wue,heat_reuse,embodied" default:"" placeholder:"KIND"`
	Key    string    `help:"Only this grid zone, site or device model." placeholder:"NAME"`
	At     time.Time `help:"Only what holds at this time, RFC 3339, and what is chosen for its hour." placeholder:"TIME"`
	AsOf   uint64    `help:"As it was known when this sequence was the last; all if absent." placeholder:"SEQUENCE"`
	Latest bool      `help:"Of editions and their revisions only the one that counts."`
}

// Help shows examples.
func (factorListCmd) Help() string {
	return `Examples:
  wattledger factor list --kind pue --embedded
  wattledger factor list --kind grid --key FR --at 2026-11-03T04:00:00Z
  wattledger factor list --as-of 17 --json`
}

// listedFactor is one edition as the command prints it.
type listedFactor struct {
	ID         string           `json:"id"`
	Kind       factor.Kind      `json:"kind"`
	Key        string           `json:"key"`
	From       string           `json:"from"`
	To         string           `json:"to"`
	Value      int64            `json:"value"`
	Unit       string           `json:"unit"`
	Boundary   string           `json:"boundary"`
	Resolution string           `json:"resolution"`
	Method     string           `json:"method"`
	Estimated  bool             `json:"estimated"`
	Source     string           `json:"source"`
	Name       string           `json:"name"`
	Licence    string           `json:"licence"`
	Volume     unit.Millijoules `json:"volume_mj_per_hour"`
	Cover      int64            `json:"cover_ppm"`
	Matching   string           `json:"matching"`
	Life       int64            `json:"life_ms"`
	Sequence   uint64           `json:"sequence"`
	Ref        string           `json:"ref"`
}

// listed is what the command prints.
type listed struct {
	AsOf     uint64         `json:"as_of"`
	Editions []listedFactor `json:"editions"`
	// Chosen is what counts at the time asked for, as an entry names it.
	Chosen []string `json:"chosen"`
}

// Run reads and prints.
func (c *factorListCmd) Run(ctx context.Context, env *process.Env) error {
	return withFactors(ctx, env, c.services, func(ctx context.Context, _ config, f factors) error {
		book, err := f.store.Book(ctx, asOfOf(c.AsOf), factor.Span{})
		if err != nil {
			return err
		}
		out := c.choose(book)
		if env.Flags.JSON {
			return printJSON(env.Stdout, out)
		}
		return out.print(env)
	})
}

func (c *factorListCmd) choose(book *factor.Book) listed {
	out := listed{AsOf: book.Sequence(), Editions: []listedFactor{}, Chosen: []string{}}
	hour := unit.MicrosOf(c.At).FloorHour()
	all := book.Editions()
	type place struct {
		kind factor.Kind
		key  string
	}
	asked := map[place]bool{}
	for i, e := range all {
		if c.Kind != "" && string(e.Kind) != c.Kind || c.Key != "" && e.Key != c.Key {
			continue
		}
		if at := (place{e.Kind, e.Key}); !c.At.IsZero() && !asked[at] {
			asked[at] = true
			if e.Kind == factor.Instrument {
				for _, i := range book.Instruments(e.Key, hour) {
					out.Chosen = append(out.Chosen, i.Ref())
				}
			} else if ref := book.Choose(e.Kind, e.Key, hour).Ref(); ref != "" {
				out.Chosen = append(out.Chosen, ref)
			}
		}
		if !c.At.IsZero() && !e.Covers(hour) {
			continue
		}
		if c.Latest && revised(all, i) {
			continue
		}
		out.Editions = append(out.Editions, listedFactor{
			e.ID(), e.Kind, e.Key, instant(e.From), instant(e.To), e.Value, e.Unit(), e.Boundary, e.Resolution, e.Method, e.Estimated, e.Source, e.Name,
			e.Licence, e.Volume, e.Cover, e.Matching, int64(e.Life), e.Sequence, e.Ref(),
		})
	}
	return out
}

// revised says that a later edition says the same time anew. In the order of a book revisions of one begin follow one another.
func revised(all []factor.Edition, i int) bool {
	for _, o := range all[i+1:] {
		if o.From != all[i].From || o.Key != all[i].Key {
			return false
		}
		if o.Says(all[i]) && o.Sequence > all[i].Sequence {
			return true
		}
	}
	return false
}

// mostFactors is how many lines are printed; the JSON has all.
const mostFactors = 200

func (l listed) print(env *process.Env) error {
	if len(l.Editions) == 0 {
		_, err := fmt.Fprintf(env.Stdout, "No factor of what was asked for as of sequence %d; `wattledger factor list` without flags has all.\n", l.AsOf)
		return err
	}
	table := progress.Table{Title: fmt.Sprintf("Factors as of sequence %d", l.AsOf), Columns: []progress.Column{
		progress.Text("kind"), progress.Text("of"), progress.Text("from"), progress.Text("to"), progress.Number("value", ""), progress.Text("unit"),
		progress.Text("source"), progress.Text("edition"), progress.Number("sequence", ""),
	}}
	for _, e := range l.Editions[:min(len(l.Editions), mostFactors)] {
		table.Add(string(e.Kind), e.Key, e.From, e.To, progress.Grouped(e.Value), e.Unit, e.Source, e.Name, e.Sequence)
	}
	if err := printTable(env.Stdout, &table); err != nil {
		return err
	}
	if n := len(l.Editions) - mostFactors; n > 0 {
		fmt.Fprintf(env.Stdout, "%d lines more: the JSON has all\n", n)
	}
	for _, ref := range l.Chosen {
		fmt.Fprintf(env.Stdout, "counts: %s\n", ref)
	}
	return nil
}

type factorCheckCmd struct {
	services
}

// Help shows examples.
func (factorCheckCmd) Help() string {
	return `Names editions that contradict one another, sources of which no chain says which counts, emissions of two boundaries that would
be added, and gaps. It ends with 1 when something is found that would be refused; a gap alone, for which the next step of the chain counts,
is only named.

Examples:
  wattledger factor check --embedded
  wattledger factor check --config /etc/wattledger/wattledger.yaml --json`
}

// checkedFactors is what the command prints.
type checkedFactors struct {
	Findings []factor.Finding `json:"findings"`
	Refused  int              `json:"refused"`
}

// Run looks at everything that is stored.
func (c *factorCheckCmd) Run(ctx context.Context, env *process.Env) error {
	return withFactors(ctx, env, c.services, func(ctx context.Context, _ config, f factors) error {
		findings, err := f.intake.Check(ctx)
		if err != nil {
			return err
		}
		out := checkedFactors{Findings: append([]factor.Finding{}, findings...)}
		for _, x := range findings {
			if x.Refused {
				out.Refused++
			}
			if !env.Flags.JSON {
				fmt.Fprintln(env.Stdout, x)
			}
		}
		if out.Refused > 0 {
			return &foundError{fmt.Sprintf("%d findings among factors that would be counted with: mend them", out.Refused), out}
		}
		if env.Flags.JSON {
			return printJSON(env.Stdout, out)
		}
		line := "Nothing found."
		if n := len(findings); n > 0 {
			line = fmt.Sprintf("Findings: %d, which refuse nothing.", n)
		}
		_, err = fmt.Fprintln(env.Stdout, line)
		return err
	})
}
