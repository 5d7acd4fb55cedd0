package rollup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Config says how often rollups are brought up to date.
type Config struct {
	// Enabled lets this process build rollups. Several may: they share the progress, and building a bucket twice changes nothing.
	Enabled bool `yaml:"enabled"`
	// Every is the time between two passes over the levels of 10 s and of a minute.
	Every time.Duration `yaml:"every"`
	// EveryHour is the time between two passes over the level of an hour.
	EveryHour time.Duration `yaml:"every_hour"`
}

// DefaultConfig is a minute, and ten for hours.
func DefaultConfig() Config {
	return Config{Enabled: true, Every: time.Minute, EveryHour: 10 * time.Minute}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	if c.Every < time.Second || c.Every > 24*time.Hour {
		faults = append(faults, fmt.Errorf("every: %v; must lie between a second and a day", c.Every))
	}
	if c.EveryHour < c.Every || c.EveryHour > 24*time.Hour {
		faults = append(faults, fmt.Errorf("every_hour: %v; must lie between every and a day", c.EveryHour))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("rollup: %w", err)
	}
	return nil
}

// Cursor is how far a Kafka partition is rolled up: its messages up to the offset. A message of a topic made anew has a lower offset
// and a later time of receipt.
type Cursor struct {
	Offset   int64
	Received unit.Micros
}

// Progress is how far a level is. At is when the last pass ended that found something.
type Progress struct {
	Cursors map[int32]Cursor
	At      unit.Micros
}

// Store reads what was stored and builds buckets. Levels count from 0, the finest.
type Store interface {
	// Progress is what Advance noted last.
	Progress(ctx context.Context, level int) (Progress, error)
	// Touched tells what messages beyond the progress brought, and how far that goes: not further than within, if it is given. No
	// cursors mean that there was nothing. It may stop early, and goes on at the next call.
	Touched(ctx context.Context, from Progress, within *Progress) ([]Touched, map[int32]Cursor, error)
	// Following are, of a level of sums, buckets after the windows that rest on what is in them. The windows do not follow one another.
	Following(ctx context.Context, level int, of []Window) ([]Touched, error)
	// Build builds the buckets of a window from all that is stored of them. Building twice is building once.
	Build(ctx context.Context, level int, w Window) error
	// Advance notes how far a level is.
	Advance(ctx context.Context, level int, cursors map[int32]Cursor, at unit.Micros) error
}

// Level is one level of rollups.
type Level struct {
	// Name is the level's in metrics and in its progress.
	Name string
	// Width is the length of a bucket.
	Width unit.Micros
	// Within is the level that must have what this one takes in, or Samples.
	Within int
	// Sums says that buckets are sums by node.
	Sums bool
}

// Samples stands for what no level is below of.
const Samples = -1

// Levels are built from the first on. The finest sums look for the last readings before a gap among minutes.
var Levels = []Level{
	{"10s", 10 * unit.Second, Samples, false},
	{"1m", 60 * unit.Second, 0, false},
	{"1h", unit.Hour, 1, false},
	{"node_10s", 10 * unit.Second, 1, true},
	{"node_1m", 60 * unit.Second, 1, true},
	{"node_1h", unit.Hour, 2, true},
}

// Roller brings rollups up to date. One pass runs at a time.
type Roller struct {
	cfg      Config
	store    Store
	log      *slog.Logger
	windows  *prometheus.CounterVec
	failures prometheus.Counter
	last     *prometheus.GaugeVec
}

// New is inert.
func New(cfg Config, store Store, log *slog.Logger, reg prometheus.Registerer) (*Roller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Roller{
		cfg: cfg, store: store, log: log,
		windows:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattledger_ingest_rollup_windows_total", Help: "Stretches of buckets, at most 24 of 1,000 nodes or more of fewer, that were built."}, []string{"level"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "wattledger_ingest_rollup_failures_total", Help: "Passes over rollups that ended with an error; the next goes on where the last rows were noted."}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wattledger_ingest_rollup_received_timestamp_seconds", Help: "Time of receipt of the latest message that a level holds.",
		}, []string{"level"}),
	}
	if reg != nil {
		reg.MustRegister(r.windows, r.failures, r.last)
	}
	return r, nil
}

// Pass brings every level that is due up to date.
func (r *Roller) Pass(ctx context.Context, now unit.Micros) error {
	for i := range Levels {
		if err := r.level(ctx, i, now); err != nil {
			if ctx.Err() == nil {
				r.failures.Inc()
				r.log.Warn("rollup failed", "level", Levels[i].Name, "error", err)
			}
			return fmt.Errorf("roll up to %s: %w", Levels[i].Name, err)
		}
	}
	return nil
}

func (r *Roller) level(ctx context.Context, i int, now unit.Micros) error {
	level := Levels[i]
	p, err := r.store.Progress(ctx, i)
	if err != nil {
		return err
	}
	if level.Width == unit.Hour && now >= p.At && now-p.At < unit.Micros(r.cfg.EveryHour.Microseconds()) {
		return nil
	}
	var within *Progress
	if level.Within != Samples {
		below, err := r.store.Progress(ctx, level.Within)
		if err != nil {
			return err
		}
		within = &below
	}
	for {
		touched, cursors, err := r.store.Touched(ctx, p, within)
		if err != nil || len(cursors) == 0 {
			return err
		}
		plan := Plan(level.Width, touched)
		if level.Sums {
			more, err := r.store.Following(ctx, i, spans(plan))
			if err != nil {
				return err
			}
			if len(more) > 0 {
				plan = Plan(level.Width, append(touched, more...))
			}
		}
		for _, w := range plan {
			if err := r.store.Build(ctx, i, w); err != nil {
				return err
			}
			r.windows.WithLabelValues(level.Name).Inc()
		}
		// Rows first, progress second. A crash between the two builds the same rows again.
		if err := r.store.Advance(ctx, i, cursors, now); err != nil {
			return err
		}
		if p.Cursors == nil {
			p.Cursors = map[int32]Cursor{}
		}
		for partition, c := range cursors {
			p.Cursors[partition] = c
			r.last.WithLabelValues(level.Name).Set(float64(c.Received) / 1e6)
		}
	}
}
