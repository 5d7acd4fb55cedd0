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

// recent is the state as it was known a few seconds ago at most. Of many questions that find it older, one asks, and the others go on with what was
// known, unless that is three times as old as it should be.
func (s *Store) recent(ctx context.Context) (query.State, error) {
	if st, ok := s.known(s.opt.StateFor); ok {
		return st, nil
	}
	select {
	case s.asking <- struct{}{}:
	default:
		if st, ok := s.known(3 * s.opt.StateFor); ok {
			return st, nil
		}
		select {
		case s.asking <- struct{}{}:
		case <-ctx.Done():
			return query.State{}, ctx.Err()
		}
	}
	defer func() { <-s.asking }()
	if st, ok := s.known(s.opt.StateFor); ok { // asked while this one waited
		return st, nil
	}
	return s.State(ctx)
}

// known is the state, if it is no older than that.
func (s *Store) known(within time.Duration) (query.State, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := s.opt.Now().Sub(s.state.At)
	return s.state, !s.state.At.IsZero() && age >= 0 && age < within
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
	s.state, s.sites = st, map[string][]string{}
	s.mu.Unlock()
	return st, nil
}

// sitesOf are those of a state that a tenant may know of.
func (s *Store) sitesOf(ctx context.Context, scope query.Scope, st query.State) (map[string]query.SiteState, error) {
	s.mu.Lock()
	ids, known := s.sites[scope.Tenant]
	s.mu.Unlock()
	if !known {
		stmt := query.SitesOf(scope)
		if err := s.rows(ctx, stmt.SQL, stmt.Args, false, func(rows driver.Rows) error {
			for rows.Next() {
				var id string
				if err := rows.Scan(&id); err != nil {
					return err
				}
				ids = append(ids, id)
			}
			return nil
		}); err != nil {
			return nil, fmt.Errorf("read where the tenant held something: %w", err)
		}
		s.mu.Lock()
		s.sites[scope.Tenant] = ids
		s.mu.Unlock()
	}
	out := map[string]query.SiteState{}
	for _, id := range ids {
		if site, ok := st.Sites[id]; ok {
			out[id] = site
		}
	}
	return out, nil
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
