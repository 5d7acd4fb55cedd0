// Package cache keeps answers, and of those that move the parts that do not.
//
// A panel that refreshes asks for a range that has moved by seconds; nearly all of it was answered a moment ago. So three things are done:
//
//   - A range is narrowed to a grain of seconds (grain.go): within it, all who refresh ask the same.
//   - A series is put together of chunks of slots that are aligned to the clock and not to the range (plan.go, parts.go). What a chunk may
//     hold, the state of the data says: of the ledger, hours that every site in question has closed, under the number of its batches, so that
//     a late adjustment asks anew; of telemetry, what the rollups have completed, for some minutes only, as late data may still come.
//   - Whatever else is asked, tables, totals, lists and the end of a series, is kept as a whole until its grain is over (whole.go).
//
// How far the data are is asked at most every two seconds, and while that takes long what was known before is used (progress.go). Equal
// questions at the same time are asked once. Statements of an operator's own are asked as they are, and not kept.
//
// Every key begins with the scope: there is no way to look something up without one. Memory is bounded in bytes, least used first out.
// Whoever is handed an answer may change it.
package cache

import (
	"context"
	"errors"
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
	// How many slots a chunk has. What is asked each time, the end of a range, is less than a chunk and what still moves. 24 hours of the
	// ledger are a day.
	ledgerSlots, telemetrySlots = 24, 60
	// Telemetry near its end is kept for a moment, as most late data are late by little; what is older for longer.
	young, youngFor, oldFor = 2 * time.Hour, time.Minute, 10 * time.Minute
	// The ledger's figures change with the number of batches, which is in the key; names of its racks and models with the inventory.
	ledgerFor = time.Hour
	// unfitFor is for how long a question that proved to be none for parts is asked as a whole at once.
	unfitFor = 10 * time.Minute
)

// Cache answers as its engine does to the narrowed range.
type Cache struct {
	engine   Engine
	metrics  Metrics
	now      func() time.Time
	kept     query.Kept
	store    *store
	flights  flights
	progress *progress
}

// New keeps up to so many bytes of the engine's answers.
func New(e Engine, bytes int64, m Metrics) *Cache {
	r := schema.DefaultRetention()
	days := func(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }
	c := &Cache{
		engine: e, metrics: m, now: time.Now, store: newStore(bytes, m),
		kept: query.Kept{Samples: days(r.Samples), S10: days(r.Rollup10s), M1: days(r.Rollup1m), H1: days(r.Rollup1h)},
	}
	c.progress = newProgress(e.State, func() time.Time { return c.now() })
	return c
}

// Close forgets everything. What is asked after it is answered still, and not kept.
func (c *Cache) Close() {
	c.progress.close()
	c.store.close()
}

// State is the engine's, or was some seconds ago.
func (c *Cache) State(ctx context.Context) (query.State, error) {
	return c.progress.state(ctx)
}

// errUnfit means that parts do not add up to the answer: the question is asked as a whole.
var errUnfit = errors.New("not in parts")

// Query answers a question, from what is kept as far as that goes.
func (c *Cache) Query(ctx context.Context, scope query.Scope, q query.Query, span query.Span) ([]query.Frame, error) {
	if err := scope.Check(); err != nil {
		return nil, err
	}
	got, err := c.answer(ctx, scope, q, span)
	return owned(got), err
}

// answer is shared with others who ask, and with the store.
func (c *Cache) answer(ctx context.Context, scope query.Scope, q query.Query, span query.Span) ([]query.Frame, error) {
	asked := question{scope: scope, q: q, span: span, text: text(q)}
	if q.Kind == query.KindSQL {
		c.metrics.passed.Inc()
		return c.ask(ctx, asked)
	}
	asked.span, asked.grain = narrowed(span)
	state, err := c.State(ctx)
	if err != nil { // the engine will say so itself
		c.metrics.passed.Inc()
		return c.ask(ctx, asked)
	}
	asked = c.learn(asked, span, state)
	if plan, ok := c.plan(asked, state); ok {
		got, err := c.parts(ctx, plan)
		if !errors.Is(err, errUnfit) {
			return got, err
		}
		c.store.put(plan.key(unfit, 0), entry{}, unfitFor, c.now())
	}
	return c.whole(ctx, asked)
}

// ask asks the engine; of equal questions at the same time only the first.
func (c *Cache) ask(ctx context.Context, q question) ([]query.Frame, error) {
	got, err := c.flights.do(ctx, q.key(), func(ctx context.Context) (any, error) { return c.engine.Query(ctx, q.scope, q.q, q.span) })
	if err != nil {
		return nil, err
	}
	return got.([]query.Frame), nil //nolint:forcetypeassert // what the function above answers
}
