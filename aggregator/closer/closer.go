// Package closer closes hours, one after another.
//
// It owns when: an hour of a site closes when every node the inventory expects, and the site's scheduler, have declared
// it complete, or when the lateness limit is reached in event time, which the seal records with its reason. Sites are
// closed in order of (hour, site); a site that waits holds up no other. Closing may be interrupted or repeated anywhere:
// the seal row is the commit.
package closer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/adjusting"
	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Progress is how far a site has come.
type Progress struct {
	// Next is the hour to close next; 0 while nothing is known of the site.
	Next unit.Micros
	// Batch is the number of the batch that will close it, Previous the root of the one before.
	Batch    uint64
	Previous string
	// RulesSince is the first hour that was closed by the rules of this program; 0 when none was.
	RulesSince unit.Micros
	// Waiting names what has not declared the hour complete.
	Waiting []string
	// Newest is the furthest any node of the site has come.
	Newest unit.Micros
}

// Store is the ledger and what it is made from.
type Store interface {
	Sites(ctx context.Context) ([]record.Site, error)
	Progress(ctx context.Context, site record.Site) (Progress, error)
	Load(ctx context.Context, site record.Site, hour unit.Micros) (closing.Hour, error)
	// Changed says which hours before end something stored since the last batch may touch, and up to where it looked. Of what
	// is compared with the ledger it compares hours from an instant on.
	Changed(ctx context.Context, site record.Site, end, from unit.Micros) ([]Changed, Inputs, error)
	// Reload is Load for a batch that has made editions of cuts; of a closed hour it reads beyond the lookahead.
	Reload(ctx context.Context, site record.Site, hour unit.Micros, cuts []record.Cut, closed bool) (closing.Hour, error)
	// Booked is what the ledger holds of a closed hour, CutsIn the newest editions of the cuts in [from, to].
	Booked(ctx context.Context, site string, hour unit.Micros) (adjusting.Hour, error)
	CutsIn(ctx context.Context, site string, from, to unit.Micros) ([]record.Cut, error)
	// Append is atomic at its last write, the seal. ErrSealed means that another closer's batch of this number came first.
	Append(ctx context.Context, batch ledger.Sealed) error
}

// ErrSealed means that the batch has been sealed with another root: another closer is at work on this ledger. What it sealed
// stays, and the next attempt goes on from there.
var ErrSealed = errors.New("sealed by another closer")

// ErrFenced means that the right to close was lost: end, and come back when it is ours again.
var ErrFenced = errors.New("the right to close was lost")

// Config is when hours close.
type Config struct {
	// Lateness is how far another node may be past the end of an hour, in event time, before the hour closes without those
	// that have not declared it complete. 0 waits for ever.
	Lateness time.Duration `yaml:"lateness"`
	// Poll is how long to wait when nothing can be closed.
	Poll time.Duration `yaml:"poll"`
	// AdjustWithin is how far back, from the hour that closes, closed hours are evaluated anew by themselves. Older ones are
	// listed and wait for `wattledger ledger adjust`. 0 leaves all to it.
	AdjustWithin time.Duration `yaml:"adjust_within"`
	// AdjustHours is how many hours one batch evaluates anew; the others wait for the next batch. Hours to which a changed cut
	// leads come on top.
	AdjustHours int `yaml:"adjust_hours"`
}

// DefaultConfig waits six hours for a silent node, and corrects what is not older than a month's invoice.
func DefaultConfig() Config {
	return Config{Lateness: 6 * time.Hour, Poll: time.Second, AdjustWithin: 35 * 24 * time.Hour, AdjustHours: 24}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var errs []error
	if c.Lateness < 0 {
		errs = append(errs, fmt.Errorf("closer.lateness is %s; write 0 or more", c.Lateness))
	}
	if c.Poll <= 0 {
		errs = append(errs, fmt.Errorf("closer.poll is %s; write more than 0", c.Poll))
	}
	if c.AdjustWithin < 0 {
		errs = append(errs, fmt.Errorf("closer.adjust_within is %s; write 0 or more", c.AdjustWithin))
	}
	if c.AdjustHours < 1 {
		errs = append(errs, fmt.Errorf("closer.adjust_hours is %d; write 1 or more", c.AdjustHours))
	}
	return errors.Join(errs...)
}

// Closer closes hours.
type Closer struct {
	cfg      Config
	secret   ledger.Secret
	store    Store
	full     int // adjustments that fill a batch
	log      *slog.Logger
	closed   *prometheus.CounterVec
	findings *prometheus.CounterVec
	resets   prometheus.Counter
	steps    prometheus.Counter
	failed   *prometheus.CounterVec
	sites    *sites
	known    []string // sites whose counters are there; written by the loop only
	// Publish, when set, puts what was sealed into the transparency log: at the start, for what a crash left out, and after each
	// round that sealed something. Its errors are counted and it is called again.
	Publish func(ctx context.Context) error
	// Tenants, when set, says who allows which countries: what an hour shows against that is counted.
	Tenants func(ctx context.Context) ([]record.Tenant, error)
	// OnClose is called after each batch, when set: progress for people.
	OnClose func(seal record.Seal)
	// Pause, when set, says how long to wait when nothing can be closed, in the place of Poll.
	Pause func() time.Duration
	// Held is asked before each seal, when set: an error leaves the batch unsealed, as another closer may be at work.
	Held func() error

	adjusted    *prometheus.CounterVec
	reevaluated prometheus.Counter
	unfit       prometheus.Counter
	rivals      prometheus.Counter
	pending     *prometheus.GaugeVec
	old         *prometheus.GaugeVec
}

// New makes a closer. The secret salts what it seals.
func New(cfg Config, secret ledger.Secret, store Store, log *slog.Logger, reg prometheus.Registerer) (*Closer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "wattledger", Subsystem: "aggregator", Name: name, Help: help})
	}
	c := &Closer{
		cfg: cfg, secret: secret, store: store, log: log, full: maxAdjustments,
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "wattledger", Subsystem: "aggregator", Name: "hours_closed_total", Help: "Site-hours closed, by site and how: complete, lateness; adjustment is a batch that closes none.",
		}, []string{"site", "closing"}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "wattledger", Subsystem: "aggregator", Name: "findings_total",
			Help: "Records that closing an hour found wrong, by kind: allocations and meters that were refused, readings that are impossible.",
		}, []string{"kind"}),
		resets: counter("counter_resets_total", "Energy counters that fell or rose faster than the device can draw."),
		steps:  counter("clock_steps_total", "Readings left out of cutting because their time did not rise with their value."),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "wattledger", Subsystem: "aggregator", Name: "closing_errors_total",
			Help: "Attempts to close an hour that ended in an error and will be made again, by site and reason: " + strings.Join(failReasons, ", ") + ".",
		}, []string{"site", "reason"}),
		sites: newSites(),
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "wattledger", Subsystem: "aggregator", Name: name, Help: help}, []string{"site"})
	}
	c.adjusted = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "wattledger", Subsystem: "aggregator", Name: "adjustments_total", Help: "Entries booked that correct closed hours, by the first word of their reason.",
	}, []string{"reason"})
	c.reevaluated = counter("hours_reevaluated_total", "Closed site-hours evaluated anew, whether anything differed or not.")
	c.unfit = counter("adjustments_refused_total", "Closed site-hours that something reached and that are left as they are, since samples they were closed from are gone.")
	c.rivals = counter("rival_seals_total", "Batches given up because another closer had sealed the number first.")
	c.pending = gauge("adjustments_pending_hours", "Closed hours that something reached since and that the next batches evaluate anew.")
	c.old = gauge("adjustments_old_hours", "Closed hours that something reached since and that wait for wattledger ledger adjust.")
	for _, word := range record.Reasons {
		c.adjusted.WithLabelValues(word)
	}
	for _, kind := range closing.Findings {
		c.findings.WithLabelValues(kind)
	}
	list := []prometheus.Collector{c.closed, c.findings, c.resets, c.steps, c.failed, c.adjusted, c.reevaluated, c.unfit, c.rivals, c.pending, c.old}
	for _, g := range c.sites.all {
		list = append(list, g)
	}
	return c, registerAll(reg, list...)
}

// Run closes hours until ctx ends. Errors are counted and tried again: nothing is lost by waiting. One that stays the same
// is logged once.
func (c *Closer) Run(ctx context.Context) error {
	defer c.sites.forget()
	var said string
	published := c.Publish == nil
	for ctx.Err() == nil {
		n, err := c.Once(ctx)
		if c.Publish != nil && (n > 0 || !published) {
			if late := c.Publish(ctx); late != nil {
				if ctx.Err() == nil {
					c.count("", failed(failLog, late))
				}
				published, err = false, errors.Join(err, fmt.Errorf("transparency log: %w", late))
			} else {
				published = true
			}
		}
		switch {
		case err == nil:
			said = ""
		case ctx.Err() == nil:
			if errors.Is(err, ErrFenced) {
				return err
			}
			if text := err.Error(); text != said {
				c.log.Warn("hour not closed or not published", "error", err)
				said = text
			}
		}
		if n > 0 {
			continue
		}
		pause := c.cfg.Poll
		if c.Pause != nil {
			pause = c.Pause()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
	return nil
}

// ready is a site-hour that can be closed.
type ready struct {
	site     record.Site
	progress Progress
	late     []string
}

// Once closes the next hour of each site that has one ready, in order of (hour, site), and says how many it closed. A site
// whose hour cannot be closed holds up no other; its error is part of the one returned.
func (c *Closer) Once(ctx context.Context) (int, error) {
	sites, err := c.store.Sites(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.count("", err)
		}
		return 0, err
	}
	var list []ready
	var errs []error
	fault := func(site string, err error) {
		errs = append(errs, err)
		if ctx.Err() == nil && !errors.Is(err, ErrFenced) {
			c.count(site, err)
		}
	}
	for _, s := range sites {
		c.met(s.ID)
		p, err := c.store.Progress(ctx, s)
		if err != nil {
			fault(s.ID, err)
			continue
		}
		c.sites.progress(s.ID, p)
		if p.Next == 0 {
			continue
		}
		r := ready{site: s, progress: p}
		if len(p.Waiting) > 0 {
			limit := p.Next + unit.Hour + unit.Micros(c.cfg.Lateness.Microseconds())
			if c.cfg.Lateness == 0 || p.Newest < limit {
				continue
			}
			r.late = p.Waiting
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b ready) int {
		return cmp.Or(cmp.Compare(a.progress.Next, b.progress.Next), cmp.Compare(a.site.ID, b.site.ID))
	})
	closed := 0
	for _, r := range list {
		if err := c.close(ctx, r); err != nil {
			fault(r.site.ID, fmt.Errorf("site %s: %w", r.site.ID, err))
			continue
		}
		closed++
	}
	return closed, errors.Join(errs...)
}

func (c *Closer) close(ctx context.Context, r ready) error {
	end := r.progress.Next
	found, inputs, err := c.store.Changed(ctx, r.site, end, c.automatic(r.progress))
	if err != nil {
		return err
	}
	b, err := c.reevaluate(ctx, r.site, r.progress, c.choose(r.progress, found, &inputs), false)
	if err != nil {
		return err
	}
	b.leave(&inputs)
	var hour closing.Hour
	if len(b.cuts) > 0 {
		hour, err = c.store.Reload(ctx, r.site, end, b.cuts, false)
	} else {
		hour, err = c.store.Load(ctx, r.site, end)
	}
	if err != nil {
		return err
	}
	res, err := closing.Close(hour)
	if err != nil {
		return failed(failRules, err)
	}
	b.entries, b.cuts, b.deviceHours = append(b.entries, res.Entries...), append(b.cuts, res.Cuts...), append(b.deviceHours, res.DeviceHours...)
	batch := ledger.Batch{Hour: end, Closing: "complete", Samples: hour.Samples, SampleRows: hour.SampleRows}
	if len(r.late) > 0 {
		batch.Closing, batch.Reason = "lateness", "no word from "+strings.Join(r.late, ", ")
	}
	if _, err := c.append(ctx, r.site, r.progress, batch, b, inputs); err != nil {
		return err
	}
	c.found(r.site.ID, res.Findings)
	c.sites.hour(hour, res)
	c.judge(ctx, r.site, res.Entries)
	c.resets.Add(float64(res.Resets))
	c.steps.Add(float64(res.ClockSteps))
	return nil
}

// judge counts what the hour shows against the tenants' wills. What it needs is no part of closing, so an error only leaves the
// count as it was.
func (c *Closer) judge(ctx context.Context, site record.Site, entries []record.Entry) {
	if c.Tenants == nil {
		return
	}
	tenants, err := c.Tenants(ctx)
	if err != nil {
		c.log.Warn("sovereignty not looked at", "site", site.ID, "error", err)
		return
	}
	c.sites.judge(site, tenants, entries)
}

// named is how many findings of a kind the log names in an hour: a fleet can have one for each of its GPUs.
const named = 10

// found counts findings, and names the first of each kind.
func (c *Closer) found(site string, findings []closing.Finding) {
	count := map[string]int{}
	for _, f := range findings {
		c.findings.WithLabelValues(f.Kind).Inc()
		if count[f.Kind]++; count[f.Kind] <= named {
			c.log.Warn("hour closed with a finding", "site", site, "kind", f.Kind, "record", f.Record, "detail", f.Detail)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(count)) {
		if n := count[kind] - named; n > 0 {
			c.log.Warn("hour closed with more findings of a kind", "site", site, "kind", kind, "more", n)
		}
	}
}

// append seals what a batch has and tells about it.
func (c *Closer) append(ctx context.Context, site record.Site, p Progress, batch ledger.Batch, b evaluated, inputs Inputs) (seal record.Seal, err error) {
	text, err := inputs.Text()
	if err != nil {
		return seal, err
	}
	batch.Site, batch.Number, batch.Previous, batch.Inputs = site.ID, p.Batch, p.Previous, text
	batch.Entries, batch.Cuts, batch.DeviceHours = b.entries, b.cuts, b.deviceHours
	sealed, err := ledger.Make(batch, c.secret.Site(site.ID))
	if err != nil {
		return seal, err
	}
	// Nobody else closes while we hold the claim. A process that slept may have lost it, and learns that here rather than by
	// the seal of another.
	if c.Held != nil {
		if err := c.Held(); err != nil {
			return seal, fmt.Errorf("batch %d not sealed: %w: %w", p.Batch, ErrFenced, err)
		}
	}
	if err := c.store.Append(ctx, sealed); err != nil {
		if errors.Is(err, ErrSealed) {
			c.rivals.Inc()
		}
		return seal, failed(failWrite, err)
	}
	seal = sealed.Seal
	c.closed.WithLabelValues(site.ID, seal.Closing).Inc()
	c.tell(site, seal, b, inputs)
	if c.OnClose != nil {
		c.OnClose(seal)
	}
	return seal, nil
}
