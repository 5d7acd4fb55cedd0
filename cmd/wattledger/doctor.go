package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/adjusting"
	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/aggregator/clickhouse"
	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// doctorCmd names what is wrong with what the ledger is made from.
type doctorCmd struct {
	services
	Site  string    `help:"Only this site." placeholder:"ID"`
	From  time.Time `help:"First hour, RFC 3339; --hours before the end if absent." placeholder:"TIME"`
	To    time.Time `help:"End of the last hour, RFC 3339; the end of the last closed hour if absent." placeholder:"TIME"`
	Hours int       `help:"How many hours to look at when --from is absent." default:"24"`
}

// Help shows examples.
func (doctorCmd) Help() string {
	return `Names the records that the ledger could not take as they stand, and how to mend them: allocations that overlap, end before
they start, or are of a device or tenant that nobody knows; meters that run backwards or contradict themselves; carbon factors with
gaps, overlaps, duplicates or two boundaries. It looks at closed hours as they are known now, changes nothing, and ends with 1 when it
finds a record that is refused; what counts all the same is a note. Notes also name hours that closed without the word of all nodes, and
what has reached closed hours and is not booked yet. What is mended is booked as an adjustment with the next hour.

Examples:
  wattledger doctor --embedded
  wattledger doctor --config /etc/wattledger/wattledger.yaml --site fr-1 --hours 1
  wattledger doctor --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z --json`
}

// Validate is called by kong.
func (c *doctorCmd) Validate() error {
	if c.Hours < 1 {
		return fmt.Errorf("--hours %d: look at 1 or more", c.Hours)
	}
	for _, t := range []time.Time{c.From, c.To} {
		if !t.Equal(t.Truncate(time.Hour)) {
			return fmt.Errorf("%s is not a full hour", t.Format(time.RFC3339))
		}
	}
	return ordered(c.From, c.To)
}

// ordered refuses a period that is empty.
func ordered(from, to time.Time) error {
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return fmt.Errorf("the period from %s to %s is empty: the end must be after the start", from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	return nil
}

// ailment is something wrong with a record, over the hours in which it was found.
type ailment struct {
	Site  string `json:"site"`
	First string `json:"first_hour,omitempty"`
	Hours int    `json:"hours,omitempty"`
	Kind  string `json:"kind"`
	// Record is the allocation, the meter or the edition.
	Record string `json:"record"`
	Detail string `json:"detail"`
	// Refused says that the record does not count as it stands.
	Refused bool `json:"refused"`
}

// diagnosis is what the command prints.
type diagnosis struct {
	Hours    int       `json:"hours"`
	Findings []ailment `json:"findings"`
	Refused  int       `json:"refused"`

	at map[closing.Finding]int
}

func (d *diagnosis) add(a ailment) {
	key := closing.Finding{Kind: a.Site + "/" + a.Kind, Record: a.Record, Detail: a.Detail}
	if i, ok := d.at[key]; ok {
		d.Findings[i].Hours += a.Hours
		return
	}
	d.at[key] = len(d.Findings)
	d.Findings = append(d.Findings, a)
	if a.Refused {
		d.Refused++
	}
}

// Run looks at the factors, then at every hour.
func (c *doctorCmd) Run(ctx context.Context, env *process.Env) error {
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
		cl, err := closer.New(cfg.Closer, noSecret, store, env.Log, prometheus.NewRegistry())
		if err != nil {
			return err
		}
		d := diagnosis{Findings: []ailment{}, at: map[closing.Finding]int{}}
		if err := c.look(ctx, env, store, cl, &d); err != nil {
			return err
		}
		if env.Flags.JSON {
			if d.Refused > 0 {
				return &foundError{fmt.Sprintf("refused records: %d, of %d findings", d.Refused, len(d.Findings)), d}
			}
			return printJSON(env.Stdout, d)
		}
		return d.print(env)
	})
}

func (c *doctorCmd) look(ctx context.Context, env *process.Env, store *clickhouse.Store, cl *closer.Closer, d *diagnosis) error {
	all, err := store.Sites(ctx)
	if err != nil {
		return err
	}
	var sites []record.Site
	for _, s := range all {
		if c.Site == "" || s.ID == c.Site {
			sites = append(sites, s)
		}
	}
	if c.Site != "" && len(sites) == 0 {
		return fmt.Errorf("no site %q: the inventory has %d sites, `wattledger status` lists them", c.Site, len(all))
	}
	book, err := store.Book(ctx, factor.Newest, clickhouse.Span{})
	if err != nil {
		return err
	}
	for _, f := range slices.Concat(book.Check(), book.Repeated(), carbon.Check(book, sites)) {
		if f.Code == factor.FindUnused {
			continue // it never counts, so it is nobody's trouble
		}
		d.add(ailment{Kind: "factor_" + f.Code, Record: f.Record, Detail: f.Text, Refused: f.Refused})
	}
	seals, err := store.Seals(ctx)
	if err != nil {
		return err
	}
	for _, s := range sites {
		from, to, err := c.span(ctx, store, s.ID)
		if err != nil {
			return err
		}
		if err := c.hours(ctx, env, store, s, from, to, d); err != nil {
			return err
		}
		d.late(s.ID, seals, from, to)
		pending, old, err := cl.Waiting(ctx, s)
		if err != nil {
			return fmt.Errorf("site %s: %w", s.ID, err)
		}
		d.waiting(s.ID, "adjustment_pending", pending, "is booked with the next hour; `wattledger ledger simulate` shows what that changes")
		d.waiting(s.ID, "adjustment_too_old", old, "lies further back than is booked by itself (closer.adjust_within, or older rules): book it with `wattledger ledger adjust --site "+s.ID+" --hour TIME`")
	}
	return nil
}

// late names the hours that closed without the word of all that were expected; the record is the first of several alike.
func (d *diagnosis) late(site string, seals []record.Seal, from, to unit.Micros) {
	first, reason := "", ""
	for _, s := range seals {
		if s.Site == site && s.Closing == "lateness" && s.Hour >= from && s.Hour < to {
			if s.Reason != reason {
				first, reason = instant(s.Hour), s.Reason
			}
			d.add(ailment{
				Site: site, First: first, Hours: 1, Kind: "hour_closed_by_lateness", Record: first,
				Detail: "closed when closer.lateness was over: " + s.Reason + "; what comes yet is booked as adjustments, and a node that is gone is taken out with `wattledger retire`",
			})
		}
	}
}

// waiting sums up the closed hours that something reached, whichever hours the command looks at.
func (d *diagnosis) waiting(site, kind string, hours []closer.Changed, mend string) {
	first, reason := "", ""
	for _, h := range hours {
		if r := adjusting.Reason(h.Causes); first == "" || r != reason {
			first, reason = instant(h.Hour), r
		}
		d.add(ailment{Site: site, First: first, Hours: 1, Kind: kind, Record: first, Detail: reason + ": " + mend})
	}
}

// span is which closed hours of a site to look at.
func (c *doctorCmd) span(ctx context.Context, store *clickhouse.Store, site string) (from, to unit.Micros, err error) {
	open, err := store.OpenHour(ctx, site)
	if err != nil {
		return 0, 0, err
	}
	to = open
	if !c.To.IsZero() {
		to = min(open, unit.MicrosOf(c.To))
	}
	from = to - unit.Micros(c.Hours)*unit.Hour
	if !c.From.IsZero() {
		from = unit.MicrosOf(c.From)
	}
	first, err := store.FirstClosed(ctx, site)
	return max(from, first), to, err
}

// hours closes the hours of a site anew, without booking anything, for what that finds.
func (c *doctorCmd) hours(ctx context.Context, env *process.Env, store *clickhouse.Store, site record.Site, from, to unit.Micros, d *diagnosis) error {
	stage := progress.New(env.Stderr, env.Flags.Quiet || env.Flags.JSON).Stage("Look at "+site.ID, int64(max(to-from, 0)/unit.Hour), "hours")
	for h := from; h < to; h += unit.Hour {
		hour, err := store.Load(ctx, site, h)
		if err != nil {
			stage.Fail()
			return err
		}
		res, err := closing.Close(hour)
		if err != nil {
			stage.Fail()
			return err
		}
		for _, f := range res.Findings {
			d.add(ailment{
				Site: site.ID, First: instant(h), Hours: 1, Kind: f.Kind, Record: f.Record, Detail: f.Detail, Refused: f.Refuses(),
			})
		}
		d.Hours++
		stage.Set(int64(h-from)/int64(unit.Hour) + 1)
	}
	stage.Done()
	return nil
}

func (d diagnosis) print(env *process.Env) error {
	if len(d.Findings) == 0 && d.Hours == 0 {
		_, err := fmt.Fprintln(env.Stdout, "No closed hour in what was asked for (`wattledger status` names the last ones); all factors are sound.")
		return err
	}
	if len(d.Findings) == 0 {
		_, err := fmt.Fprintf(env.Stdout, "Nothing found: %d site-hours and all factors are sound.\n", d.Hours)
		return err
	}
	for _, a := range d.Findings {
		word, where, detail := "note", "factors", a.Detail
		if a.Refused {
			word = "REFUSED"
		}
		if a.Site == "" {
			detail = a.Record + ": " + detail // what is said of an allocation or a meter names it
		} else {
			where = fmt.Sprintf("%s from %s, %d h", a.Site, a.First, a.Hours)
		}
		if _, err := fmt.Fprintf(env.Stdout, "%-8s %s (%s)\n         %s\n", word, a.Kind, where, detail); err != nil {
			return err
		}
	}
	if d.Refused > 0 {
		return fmt.Errorf("refused records: %d, of %d findings", d.Refused, len(d.Findings))
	}
	_, err := fmt.Fprintf(env.Stdout, "Findings: %d, no record refused.\n", len(d.Findings))
	return err
}
