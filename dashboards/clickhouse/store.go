// Package clickhouse runs the questions of dashboards/query on ClickHouse and shapes the answers into frames.
//
// It owns the limits under which statements run (time, memory, rows; read only) and what is known for a few seconds about how far the
// ledger and the rollups are. It promises that nothing is asked of the engine but what query planned within the scope it was
// handed, and that cancelling a question cancels its statements. Who asks, and what is kept, is the caller's to decide.
package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/dashboards/query"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
)

// Limits bound what one statement may take.
type Limits struct {
	Time   time.Duration
	Memory int64 // bytes
	Rows   int   // of the answer
}

// Options are what an operator configures. The zero value of a limit is the default.
type Options struct {
	// Panel bounds the statements of panels, SQL those of an operator's own.
	Panel, SQL Limits
	// AllowSQL lets an operator's own statements run at all.
	AllowSQL bool
	// Retention says how old levels of telemetry get; the zero value is the default of `wattledger migrate`.
	Retention schema.Retention
	// StateFor is for how long what is known of the ledger and the rollups is taken for granted.
	StateFor time.Duration
	// Threads is how many threads of the server a statement may take; 0 leaves it to the server.
	Threads int
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// DefaultOptions are those of an operator who configures nothing.
func DefaultOptions() Options {
	return Options{
		Panel:     Limits{Time: 30 * time.Second, Memory: 1 << 30, Rows: 200_000},
		SQL:       Limits{Time: 10 * time.Second, Memory: 1 << 30, Rows: 100_000},
		Retention: schema.DefaultRetention(),
		StateFor:  5 * time.Second,
		Now:       time.Now,
	}
}

// Store answers questions. It is safe for use by several goroutines.
type Store struct {
	conn driver.Conn
	opt  Options
	// asking holds one place, for who asks how far things are.
	asking chan struct{}

	mu    sync.Mutex // guards all below
	state query.State
	// sites are those of tenants, as long as state is believed.
	sites map[string][]string
}

// New is inert. The connection stays the caller's.
func New(conn driver.Conn, opt Options) *Store {
	def := DefaultOptions()
	fill := func(l *Limits, d Limits) {
		if l.Time <= 0 {
			l.Time = d.Time
		}
		if l.Memory <= 0 {
			l.Memory = d.Memory
		}
		if l.Rows <= 0 {
			l.Rows = d.Rows
		}
	}
	fill(&opt.Panel, def.Panel)
	fill(&opt.SQL, def.SQL)
	if opt.Retention == (schema.Retention{}) {
		opt.Retention = def.Retention
	}
	if opt.StateFor <= 0 {
		opt.StateFor = def.StateFor
	}
	if opt.Now == nil {
		opt.Now = def.Now
	}
	return &Store{conn: conn, opt: opt, asking: make(chan struct{}, 1), sites: map[string][]string{}}
}

func (s *Store) options() query.Options {
	days := func(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }
	r := s.opt.Retention
	return query.Options{SQL: s.opt.AllowSQL, Kept: query.Kept{Samples: days(r.Samples), S10: days(r.Rollup10s), M1: days(r.Rollup1m), H1: days(r.Rollup1h)}}
}

// Query answers a question within a scope. A question that is refused gives a *query.Refusal.
func (s *Store) Query(ctx context.Context, scope query.Scope, q query.Query, span query.Span) ([]query.Frame, error) {
	if err := scope.Check(); err != nil {
		return nil, err
	}
	if _, err := q.Validate(); err != nil {
		return nil, err // before anything is asked
	}
	state, err := s.recent(ctx)
	if err != nil {
		return nil, err
	}
	if !scope.All {
		if state.Sites, err = s.sitesOf(ctx, scope, state); err != nil {
			return nil, err
		}
	}
	if !scope.All && holds[q.Kind] {
		if state.Held, err = s.holdings(ctx, scope, span); err != nil {
			return nil, err
		}
	}
	if asked := query.OpenOf(q, scope, span, state, s.options()); asked != nil {
		state.Open = &query.Open{}
		for _, st := range asked {
			if err := s.rows(ctx, st.SQL, st.Args, false, func(rows driver.Rows) error { return st.Read(rows, state.Open) }); err != nil {
				return nil, fmt.Errorf("find out about hours that are not closed: %w", err)
			}
		}
	}
	plan, err := query.New(q, scope, span, state, s.options())
	if err != nil {
		return nil, err
	}
	frames := make([][]query.Frame, len(plan.Statements))
	group, ctx := errgroup.WithContext(ctx) // the first that fails ends the others
	for i, st := range plan.Statements {
		group.Go(func() (err error) {
			frames[i], err = s.run(ctx, st)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("ask for %s %s: %w", q.Kind, q.Metric, err)
	}
	var out []query.Frame
	for _, f := range frames {
		out = append(out, f...)
	}
	return out, nil
}

// holds are the kinds of question that are about what devices did while a tenant held them.
var holds = map[query.Kind]bool{
	query.KindFleet: true, query.KindDevice: true, query.KindUsage: true, query.KindEnergy: true, query.KindCarbon: true, query.KindEvents: true,
	query.KindCoverage: true,
}

// holdings are a tenant's, or nil where they are too many to carry.
func (s *Store) holdings(ctx context.Context, scope query.Scope, span query.Span) (*query.Holdings, error) {
	st, h := query.HoldingsOf(scope, span)
	err := s.rows(ctx, st.SQL, st.Args, false, func(rows driver.Rows) error {
		for rows.Next() {
			var site, device string
			var begin, end, instance int64
			if err := rows.Scan(&site, &device, &begin, &end, &instance); err != nil {
				return err
			}
			h.Sites, h.Devices = append(h.Sites, site), append(h.Devices, device)
			h.Begins, h.Ends, h.Instances = append(h.Begins, begin), append(h.Ends, end), append(h.Instances, instance)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what the tenant held: %w", err)
	}
	if len(h.Devices) > query.MostHoldings {
		return nil, nil //nolint:nilnil // the plan finds them itself
	}
	return h, nil
}

// settings are those that every statement runs under. All of them are among those that a read-only user may be let change.
func (s *Store) settings(own bool) clickhouse.Settings {
	l := s.opt.Panel
	if own {
		l = s.opt.SQL
	}
	out := clickhouse.Settings{
		"max_execution_time": max(int(l.Time/time.Second), 1),
		"max_memory_usage":   l.Memory,
		"max_result_rows":    l.Rows,
		// A grouping that is too large for memory goes to the disk before it fails.
		"max_bytes_before_external_group_by": l.Memory / 2,
		"join_use_nulls":                     0,
		// Over HTTP a server goes on when a client has gone, unless it is told.
		"cancel_http_readonly_queries_on_client_close": 1,
		"do_not_merge_across_partitions_select_final":  1,
	}
	if s.opt.Threads > 0 {
		out["max_threads"] = s.opt.Threads
	}
	if own {
		delete(out, "do_not_merge_across_partitions_select_final")
		out["max_result_bytes"] = 256 << 20
	}
	return out
}

// rows runs a statement and hands its rows to each.
func (s *Store) rows(ctx context.Context, sql string, values query.Args, own bool, each func(driver.Rows) error) error {
	l := s.opt.Panel
	if own {
		l = s.opt.SQL
	}
	// The server ends a statement by itself; this is for a server that does not answer.
	ctx, cancel := context.WithTimeout(ctx, l.Time+5*time.Second)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(s.settings(own)))
	named := make([]any, 0, len(values))
	for name, v := range values {
		named = append(named, clickhouse.Named(name, v))
	}
	rows, err := s.conn.Query(ctx, sql, named...)
	if err != nil {
		return oneLine(err)
	}
	defer rows.Close()
	if err := each(rows); err != nil {
		return oneLine(err)
	}
	return oneLine(rows.Err())
}

// oneLine is an error whose text has no breaks.
func oneLine(err error) error {
	if err == nil || !strings.ContainsAny(err.Error(), "\r\n") {
		return err
	}
	return &flat{err}
}

type flat struct{ err error }

func (f *flat) Error() string { return strings.Join(strings.Fields(f.err.Error()), " ") }
func (f *flat) Unwrap() error { return f.err }
