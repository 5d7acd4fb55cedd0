package cache

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/wattledger/wattledger/dashboards/query"
)

// whole answers a question that is not answered in parts, as it was answered before if that is believed still.
func (c *Cache) whole(ctx context.Context, q question) ([]query.Frame, error) {
	k := q.key()
	if e, ok := c.store.get(k, c.now()); ok {
		c.metrics.hits.WithLabelValues(whole).Inc()
		return e.frames, nil
	}
	first := false
	got, err := c.flights.do(ctx, k, func(ctx context.Context) (any, error) {
		first = true
		c.metrics.misses.WithLabelValues(whole).Inc()
		asked := c.now()
		got, err := c.engine.Query(ctx, q.scope, q.q, q.span)
		if err == nil {
			c.store.put(k, entry{frames: got}, q.believed(), asked)
		}
		return got, err
	})
	if err != nil {
		return nil, err
	}
	if !first { // somebody else's question
		c.metrics.hits.WithLabelValues(whole).Inc()
	}
	return got.([]query.Frame), nil //nolint:forcetypeassert // what the function above answers
}

// believed is for how long an answer is: for a grain, after which a range that moves is another anyway. Of hours that are closed it says the
// same until there are more batches, and then it has another key.
func (q question) believed() time.Duration {
	if q.ledger && ceil(q.span.To, 1) <= q.closed {
		return ledgerFor
	}
	return q.grain
}

// owned is a copy that shares nothing that can be changed.
func owned(frames []query.Frame) []query.Frame {
	out := slices.Clone(frames)
	for i := range out {
		f := &out[i]
		f.Notices, f.AsOf, f.Columns = slices.Clone(f.Notices), maps.Clone(f.AsOf), slices.Clone(f.Columns)
		for j := range f.Columns {
			c := &f.Columns[j]
			c.Labels = maps.Clone(c.Labels)
			c.Times, c.Numbers, c.Texts, c.Flags = slices.Clone(c.Times), slices.Clone(c.Numbers), slices.Clone(c.Texts), slices.Clone(c.Flags)
		}
	}
	return out
}
