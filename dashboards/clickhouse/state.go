package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/dashboards/query"
)

// recent is the state as it was known a few seconds ago at most.
func (s *Store) recent(ctx context.Context) (query.State, error) {
	s.mu.Lock()
	st := s.state
	s.mu.Unlock()
	if now := s.opt.Now(); !st.At.IsZero() && now.Sub(st.At) < s.opt.StateFor && !now.Before(st.At) {
		return st, nil
	}
	return s.State(ctx)
}

// State is how far the ledger and the rollups are: what lies before does not move until a batch is added or late data come.
func (s *Store) State(ctx context.Context) (query.State, error) {
	st := query.State{At: s.opt.Now(), Sites: map[string]query.SiteState{}, Levels: map[string]query.LevelState{}}
	for _, stmt := range query.StateStatements() {
		if err := s.rows(ctx, stmt.SQL, stmt.Args, false, func(rows driver.Rows) error { return stmt.Read(rows, &st) }); err != nil {
			return query.State{}, fmt.Errorf("read how far the ledger and the rollups are: %w", err)
		}
	}
	s.mu.Lock()
	s.state = st
	s.mu.Unlock()
	return st, nil
}

// Health says how the engine and what it holds are, of the sites that the scope may see.
func (s *Store) Health(ctx context.Context, scope query.Scope) (query.Health, error) {
	var h query.Health
	if err := scope.Check(); err != nil {
		return h, err
	}
	sites := map[string]*query.SiteHealth{}
	for _, stmt := range query.HealthStatements(scope) {
		if err := s.rows(ctx, stmt.SQL, stmt.Args, false, func(rows driver.Rows) error { return stmt.Read(rows, &h, sites) }); err != nil {
			return h, fmt.Errorf("read the health of the engine: %w", err)
		}
	}
	now := s.opt.Now()
	for _, id := range slices.Sorted(maps.Keys(sites)) {
		site := sites[id]
		site.Age = -1
		if !site.LastSample.IsZero() {
			site.Age = max(now.Sub(site.LastSample), 0).Truncate(time.Millisecond)
		}
		h.Sites = append(h.Sites, *site)
	}
	return h, nil
}
