// Package cache keeps the parts of answers that do not move any more.
//
// A panel that refreshes asks for a range that has moved by seconds; nearly all of it was answered a moment ago. So a series is kept in
// chunks of slots, aligned to the clock and not to the range, and only what is not there yet is asked: the chunks that are missing, and
// the end of the range, which still moves. What a chunk may hold, the state of the data says: of the ledger, hours that every site in
// question has closed, under the number of its batches, so that a late adjustment asks anew; of telemetry, what the rollups have completed,
// for some minutes only, as late data may still come. Whatever does not fit is asked of the engine as it is, equal questions once at a time.
//
// Every key begins with the scope: there is no way to look something up without one. Memory is bounded in bytes, least used first out.
package cache

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wattledger/wattledger/dashboards/query"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
)

// Engine answers what is not kept.
type Engine interface {
	Query(ctx context.Context, scope query.Scope, q query.Query, span query.Span) ([]query.Frame, error)
	State(ctx context.Context) (query.State, error)
}

const (
	// stateFor is for how long the state of the data is taken for granted: a closing or an adjustment shows after that.
	stateFor = 2 * time.Second
	// How many slots a chunk has. What is asked each time, the end of a range, is less than a chunk and what still moves. 24 hours of the
	// ledger are a day.
	ledgerSlots, telemetrySlots = 24, 60
	// Telemetry near its end is kept for a moment, as most late data are late by little; what is older for longer.
	young, youngFor, oldFor = 2 * time.Hour, time.Minute, 10 * time.Minute
	// The ledger's figures change with the number of batches, which is in the key; names of its racks and models with the inventory.
	ledgerFor = time.Hour
)

// Cache answers as its engine does.
type Cache struct {
	engine  Engine
	metrics Metrics
	now     func() time.Time
	kept    query.Kept
	store   *store
	flights flights

	mu    sync.Mutex // guards all below
	state query.State
	asked time.Time
}

// New keeps up to so many bytes of the engine's answers.
func New(e Engine, bytes int64, m Metrics) *Cache {
	r := schema.DefaultRetention()
	days := func(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }
	return &Cache{
		engine: e, metrics: m, now: time.Now, store: newStore(bytes, m),
		kept: query.Kept{Samples: days(r.Samples), S10: days(r.Rollup10s), M1: days(r.Rollup1m), H1: days(r.Rollup1h)},
	}
}

// Close forgets everything.
func (c *Cache) Close() { c.store.clear() }

// State is the engine's.
func (c *Cache) State(ctx context.Context) (query.State, error) {
	c.mu.Lock()
	state, asked := c.state, c.asked
	c.mu.Unlock()
	if age := c.now().Sub(asked); age >= 0 && age < stateFor {
		return state, nil
	}
	got, err := c.flights.do(ctx, flightKey{what: "state"}, func(ctx context.Context) (any, error) {
		asked := c.now()
		state, err := c.engine.State(ctx)
		if err == nil {
			c.mu.Lock()
			c.state, c.asked = state, asked
			c.mu.Unlock()
		}
		return state, err
	})
	if err != nil {
		return query.State{}, err
	}
	return got.(query.State), nil //nolint:forcetypeassert // what the function above answers
}

// errUnfit means that parts do not add up to the answer: the question is asked as a whole.
var errUnfit = errors.New("not in parts")

// Query answers a question, from what is kept as far as that goes.
func (c *Cache) Query(ctx context.Context, scope query.Scope, q query.Query, span query.Span) ([]query.Frame, error) {
	if err := scope.Check(); err != nil {
		return nil, err
	}
	plan, ok := c.plan(ctx, scope, q, span)
	if ok {
		got, err := c.parts(ctx, plan)
		if !errors.Is(err, errUnfit) {
			return got, err
		}
		c.store.put(plan.key(unfit), entry{until: c.now().Add(youngFor)})
	}
	c.metrics.passed.Inc()
	return c.ask(ctx, scope, q, span)
}

// ask asks the engine; of equal questions at the same time only the first.
func (c *Cache) ask(ctx context.Context, scope query.Scope, q query.Query, span query.Span) ([]query.Frame, error) {
	zone := ""
	if span.Zone != nil {
		zone = span.Zone.String()
	}
	key := flightKey{scope: scope, what: text(q), from: span.From.UnixNano(), to: span.To.UnixNano(), points: span.MaxPoints, interval: span.Interval, zone: zone}
	got, err := c.flights.do(ctx, key, func(ctx context.Context) (any, error) { return c.engine.Query(ctx, scope, q, span) })
	if err != nil {
		return nil, err
	}
	return got.([]query.Frame), nil //nolint:forcetypeassert // what the function above answers
}
