package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/wattledger/wattledger/aggregator/evidence"
	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	"github.com/wattledger/wattledger/schemas/unit"
)

// ledgerVerifyCmd checks a ledger.
type ledgerVerifyCmd struct {
	services
	Bundle     string    `help:"Check this bundle, offline, instead of the database." placeholder:"DIR" type:"existingdir"`
	VKey       string    `name:"vkey" help:"Public key of the log as its operator published it." placeholder:"FILE" type:"existingfile"`
	Checkpoint string    `help:"A checkpoint that was kept elsewhere: the log has to go on from it." placeholder:"FILE" type:"existingfile"`
	Textfile   string    `help:"Write what was found to this file as metrics, for node_exporter's textfile collector; its name ends in .prom." placeholder:"FILE"`
	SealsOnly  bool      `help:"Leave out the recomputation of closed hours."`
	From       time.Time `help:"Recompute from this hour on, RFC 3339; the ledger's first if absent." placeholder:"TIME"`
	To         time.Time `help:"Recompute up to the end of the last hour, RFC 3339; the ledger's end if absent." placeholder:"TIME"`
}

// Help shows examples.
func (ledgerVerifyCmd) Help() string {
	return `Checks every entry against its id, every column against the hashed bytes, subtotals, cuts and device-hours against the seals, the
seals against one another and the log, the log against its signed checkpoints; then recomputes the closed hours from the samples
that are still there, by other code than closed them. It names what is wrong and ends with 1. It changes nothing.

Examples:
  wattledger ledger verify --embedded
  wattledger ledger verify --config /etc/wattledger/wattledger.yaml --seals-only --json
  wattledger ledger verify --config /etc/wattledger/wattledger.yaml --textfile /var/lib/node_exporter/wattledger.prom
  wattledger ledger verify --embedded --checkpoint kept-in-march.txt
  wattledger ledger verify --config /etc/wattledger/wattledger.yaml --from 2026-01-31T00:00:00Z --to 2026-02-01T00:00:00Z
  wattledger ledger verify --bundle audit --vkey published.vkey`
}

// Validate is called by kong.
func (c *ledgerVerifyCmd) Validate() error {
	if c.Textfile != "" && filepath.Ext(c.Textfile) != ".prom" {
		return fmt.Errorf("--textfile %s: the name has to end in .prom, or node_exporter does not read it", c.Textfile)
	}
	if c.Bundle == "" && c.VKey != "" {
		return fmt.Errorf("--vkey is for a bundle; the database is checked with the keys of the configuration")
	}
	for _, t := range []time.Time{c.From, c.To} {
		if !t.Equal(t.Truncate(time.Hour)) {
			return fmt.Errorf("%s is not a full hour", t.Format(time.RFC3339))
		}
	}
	if (c.Bundle != "" || c.SealsOnly) && !(c.From.IsZero() && c.To.IsZero()) {
		return fmt.Errorf("--from and --to bound what is recomputed: leave them out, or --bundle and --seals-only")
	}
	if c.Bundle != "" && c.Embedded {
		return fmt.Errorf("a bundle is checked by itself: leave out --embedded")
	}
	return nil
}

// verified is what the command prints with --json.
type verified struct {
	*evidence.Report
	Recomputed *recomputed `json:"recomputed,omitempty"`
	Seconds    float64     `json:"seconds"`
	// EntriesPerSecond is for seals, log and columns; recomputation is not in it.
	EntriesPerSecond int64 `json:"entries_per_second"`
}

// Run checks a bundle or the database.
func (c *ledgerVerifyCmd) Run(ctx context.Context, env *process.Env) error {
	earlier, err := optional(c.Checkpoint)
	if err != nil {
		return err
	}
	if c.Bundle == "" {
		return c.withLedger(ctx, env, func(ctx context.Context, l *openLedger) error { return c.database(ctx, env, l, earlier) })
	}
	vkey, err := optional(c.VKey)
	if err != nil {
		return err
	}
	return once(ctx, env, func(ctx context.Context) error {
		began := time.Now()
		stage := progress.New(env.Stderr, env.Flags.Quiet || env.Flags.JSON).Stage("Check the bundle", 0, "batches")
		r, err := evidence.CheckBundle(ctx, os.DirFS(c.Bundle), evidence.BundleOptions{
			Verifier: string(vkey), Earlier: earlier, Progress: func(done, all int64) { stage.SetTotal(all); stage.Set(done) },
		})
		if err != nil {
			stage.Fail()
			return fmt.Errorf("%s: %w", c.Bundle, err)
		}
		stage.Done()
		return c.print(env, verdict(r, nil, began))
	})
}

func verdict(r *evidence.Report, again *recomputed, began time.Time) verified {
	v := verified{Report: r, Recomputed: again, Seconds: time.Since(began).Seconds()}
	if v.Seconds > 0 {
		v.EntriesPerSecond = int64(float64(r.Entries) / v.Seconds)
	}
	return v
}

// optional reads a file when one is named.
func optional(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, process.Usage(err)
	}
	return b, nil
}

func (c *ledgerVerifyCmd) database(ctx context.Context, env *process.Env, l *openLedger, earlier []byte) error {
	keys, err := l.keys()
	if err != nil {
		return err
	}
	key, err := verifier(keys)
	if err != nil {
		return err
	}
	show := progress.New(env.Stderr, env.Flags.Quiet || env.Flags.JSON)
	stage := show.Stage("Check seals and log", 0, "seals")
	began := time.Now()
	r, err := evidence.Check(ctx, l.evidence, evidence.Options{
		Secret: keys.Secret, Key: key, Earlier: earlier, Progress: func(done, all int64) { stage.SetTotal(all); stage.Set(done) },
	})
	if err != nil {
		stage.Fail()
		return err
	}
	stage.Done()
	v := verdict(r, nil, began)
	if !c.SealsOnly && r.Seals > 0 {
		stage = show.Stage("Recompute closed hours", 0, "hours")
		if v.Recomputed, err = l.recompute(ctx, c.From, c.To, func(done, all int64) { stage.SetTotal(all); stage.Set(done) }); err != nil {
			stage.Fail()
			return err
		}
		stage.Done()
	}
	return c.print(env, v)
}

// recomputed is what the recomputation found.
type recomputed struct {
	// From says what it was made from: "samples", or "cuts" for the hours whose samples are gone.
	From string `json:"from"`
	// Samples is the first hour whose samples are all there; hours before it were checked by their cuts.
	Samples string `json:"samples_from,omitempty"`
	// ByCuts are the device-hours that were checked by cuts, of so many; one in which a counter began anew has not all its cuts.
	ByCuts      int64         `json:"device_hours_by_cuts,omitempty"`
	OfCuts      int64         `json:"device_hours_without_samples,omitempty"`
	Energy      verify.Energy `json:"energy_mj"`
	Time        verify.Time   `json:"device_ms"`
	Truth       verify.Truth  `json:"differences"`
	Differences []string      `json:"first_differences,omitempty"`
}

func (r *recomputed) wrong() int {
	if r == nil {
		return 0
	}
	n := len(r.Differences)
	if r.Energy.Residual != 0 || r.Time.Residual != 0 {
		n++
	}
	return n
}

// window is how much is recomputed at once: a day, so that a month takes no more memory than that.
const window = 24 * unit.Hour

// recompute recomputes what is closed from the samples that are still there.
func (l *openLedger) recompute(ctx context.Context, from, to time.Time, progress func(done, all int64)) (*recomputed, error) {
	seals, err := l.store.Seals(ctx)
	if err != nil || len(seals) == 0 {
		return nil, err
	}
	p := verify.Period{From: seals[0].Hour, To: seals[len(seals)-1].Hour + unit.Hour}
	if !from.IsZero() {
		p.From = max(p.From, unit.MicrosOf(from))
	}
	if !to.IsZero() {
		p.To = min(p.To, unit.MicrosOf(to))
	}
	if p.From >= p.To {
		return nil, fmt.Errorf("no hour is closed from %s to %s", p.From.Time().Format(time.RFC3339), p.To.Time().Format(time.RFC3339))
	}
	first, err := l.evidence.SamplesFrom(ctx)
	if err != nil {
		return nil, err
	}
	out := &recomputed{From: "samples"}
	if !from.IsZero() || !to.IsZero() {
		out.Samples = p.From.Time().Format(time.RFC3339)
	}
	if first >= p.From+unit.Hour {
		out.From = "samples and cuts"
		cuts, err := l.evidence.CheckCuts(ctx, p.From, min(first, p.To))
		if err != nil {
			return nil, err
		}
		out.ByCuts, out.OfCuts, out.Differences = cuts.DeviceHours, cuts.All, cuts.Differences
		if p.From = first; p.From >= p.To {
			out.From = "cuts"
			return out, nil
		}
		out.Samples = first.Time().Format(time.RFC3339)
	}
	var r verify.Report
	for begin := p.From; begin < p.To; begin += window {
		progress(int64((begin-p.From)/unit.Hour), int64((p.To-p.From)/unit.Hour))
		part, err := verify.Run(ctx, l.audit, verify.Period{From: begin, To: min(begin+window, p.To)}, "")
		if err != nil {
			return nil, err
		}
		r.Join(part)
	}
	progress(int64((p.To-p.From)/unit.Hour), int64((p.To-p.From)/unit.Hour))
	out.Energy, out.Time, out.Truth = r.Energy, r.Time, r.Truth
	out.Differences = append(out.Differences, r.Differences...)
	return out, nil
}

func (c *ledgerVerifyCmd) print(env *process.Env, v verified) error {
	wrong := int(v.Found) + v.Recomputed.wrong()
	if c.Textfile != "" {
		if err := writeVerified(c.Textfile, wrong, v.Seconds, time.Now()); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%d things are wrong with the ledger", wrong)
	if env.Flags.JSON {
		if wrong > 0 {
			return &foundError{text, v}
		}
		return printJSON(env.Stdout, v)
	}
	out := env.Stdout
	g := progress.Grouped
	whose := ""
	if v.Tenant != "" {
		whose = " of tenant " + v.Tenant
	}
	fmt.Fprintf(out, "Checked   %s entries%s, %s subtotals, %s cuts and %s device-hours under %s seals of %d sites\n",
		g(v.Entries), whose, g(v.Subtotals), g(v.Cuts), g(v.DeviceHours), g(v.Seals), v.Sites)
	if v.Checkpoint {
		fmt.Fprintf(out, "Log       %s records of %s, under a signed checkpoint\n", g(v.Log), v.Origin)
	} else {
		fmt.Fprintf(out, "Log       %s records of %s, under no checkpoint that holds\n", g(v.Log), v.Origin)
	}
	if r := v.Recomputed; r != nil {
		if r.OfCuts > 0 {
			fmt.Fprintf(out, "Cuts      where samples are gone, %s of %s device-hours have cuts at both edges and were recomputed from them, and entries were set against device-hours\n",
				g(r.ByCuts), g(r.OfCuts))
		}
		if r.From != "cuts" {
			since := "all closed hours"
			if r.Samples != "" {
				since = "the hours from " + r.Samples
			}
			fmt.Fprintf(out, "Samples   %s were recomputed from the samples; %d mJ and %d device-milliseconds do not balance\n", since, r.Energy.Residual, r.Time.Residual)
		}
	} else if c.Bundle == "" {
		fmt.Fprintln(out, "Samples   not recomputed: seals and log only")
	}
	for _, n := range v.Notes {
		fmt.Fprintln(out, "Note      "+n)
	}
	for _, f := range v.Findings {
		fmt.Fprintln(out, "WRONG     "+f.String())
	}
	if n := v.Found - int64(len(v.Findings)); n > 0 {
		fmt.Fprintf(out, "WRONG     and %s more\n", g(n))
	}
	if v.Recomputed != nil {
		for _, d := range v.Recomputed.Differences {
			fmt.Fprintln(out, "WRONG     recomputed: "+d)
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%s", text)
	}
	_, err := fmt.Fprintln(out, "Nothing is wrong.")
	return err
}
