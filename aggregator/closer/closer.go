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
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
	// Append is atomic at its last write, the seal.
	Append(ctx context.Context, batch ledger.Sealed) error
}

// Config is when hours close.
type Config struct {
	// Lateness is how far another node may be past the end of an hour, in event time, before the hour closes without those
	// that have not declared it complete. 0 waits for ever.
	Lateness time.Duration `yaml:"lateness"`
	// Poll is how long to wait when nothing can be closed.
	Poll time.Duration `yaml:"poll"`
}

// DefaultConfig waits six hours for a silent node.
func DefaultConfig() Config {
	return Config{Lateness: 6 * time.Hour, Poll: time.Second}
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
	return errors.Join(errs...)
}

// Closer closes hours.
type Closer struct {
	cfg      Config
	secret   ledger.Secret
	store    Store
	log      *slog.Logger
	closed   *prometheus.CounterVec
	findings *prometheus.CounterVec
	resets   prometheus.Counter
	steps    prometheus.Counter
	failed   prometheus.Counter
	// Publish, when set, puts what was sealed into the transparency log: at the start, for what a crash left out, and after each
	// round that sealed something. Its errors are counted and it is called again.
	Publish func(ctx context.Context) error
	// OnClose is called after each batch, when set: progress for people.
	OnClose func(seal record.Seal)
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
		cfg: cfg, secret: secret, store: store, log: log,
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "wattledger", Subsystem: "aggregator", Name: "hours_closed_total", Help: "Site-hours closed, by how.",
		}, []string{"closing"}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "wattledger", Subsystem: "aggregator", Name: "findings_total",
			Help: "Records that closing an hour found wrong, by kind: allocations and meters that were refused, readings that are impossible.",
		}, []string{"kind"}),
		resets: counter("counter_resets_total", "Energy counters that fell or rose faster than the device can draw."),
		steps:  counter("clock_steps_total", "Readings left out of cutting because their time did not rise with their value."),
		failed: counter("closing_errors_total", "Attempts to close an hour that ended in an error and will be made again."),
	}
	for _, m := range []prometheus.Collector{c.closed, c.findings, c.resets, c.steps, c.failed} {
		if err := reg.Register(m); err != nil {
			return nil, fmt.Errorf("register metrics of the closer: %w", err)
		}
	}
	return c, nil
}

// Run closes hours until ctx ends. Errors are counted and tried again: nothing is lost by waiting. One that stays the same
// is logged once.
func (c *Closer) Run(ctx context.Context) error {
	var said string
	published := c.Publish == nil
	for ctx.Err() == nil {
		n, err := c.Once(ctx)
		if c.Publish != nil && (n > 0 || !published) {
			if late := c.Publish(ctx); late != nil {
				published, err = false, errors.Join(err, fmt.Errorf("transparency log: %w", late))
			} else {
				published = true
			}
		}
		switch {
		case err == nil:
			said = ""
		case ctx.Err() == nil:
			c.failed.Inc()
			if text := err.Error(); text != said {
				c.log.Warn("hour not closed or not published", "error", err)
				said = text
			}
		}
		if n > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(c.cfg.Poll):
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
		return 0, err
	}
	var list []ready
	var errs []error
	for _, s := range sites {
		p, err := c.store.Progress(ctx, s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
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
			errs = append(errs, fmt.Errorf("site %s: %w", r.site.ID, err))
			continue
		}
		closed++
	}
	return closed, errors.Join(errs...)
}

func (c *Closer) close(ctx context.Context, r ready) error {
	hour, err := c.store.Load(ctx, r.site, r.progress.Next)
	if err != nil {
		return err
	}
	res, err := closing.Close(hour)
	if err != nil {
		return err
	}
	batch := ledger.Batch{
		Site: r.site.ID, Number: r.progress.Batch, Previous: r.progress.Previous, Hour: r.progress.Next, Closing: "complete",
		Entries: res.Entries, Cuts: res.Cuts, DeviceHours: res.DeviceHours,
	}
	if len(r.late) > 0 {
		batch.Closing, batch.Reason = "lateness", "no word from "+strings.Join(r.late, ", ")
	}
	sealed, err := ledger.Make(batch, c.secret.Site(r.site.ID))
	if err != nil {
		return err
	}
	if err := c.store.Append(ctx, sealed); err != nil {
		return err
	}
	seal := sealed.Seal
	for _, f := range res.Findings {
		c.log.Warn("hour closed with a finding", "site", r.site.ID, "kind", f.Kind, "record", f.Record, "detail", f.Detail)
		c.findings.WithLabelValues(f.Kind).Inc()
	}
	c.closed.WithLabelValues(seal.Closing).Inc()
	c.resets.Add(float64(res.Resets))
	c.steps.Add(float64(res.ClockSteps))
	c.log.Info("hour closed", "site", r.site.ID, "hour", hour.Start.Time().Format(time.RFC3339), "entries", seal.Entries,
		"closing", seal.Closing, "root", seal.Root)
	if c.OnClose != nil {
		c.OnClose(seal)
	}
	return nil
}
