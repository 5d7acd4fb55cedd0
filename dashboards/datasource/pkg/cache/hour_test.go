package cache

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/dashboards/query"
)

// hall is an engine whose rollups go on behind the clock as they do in production: steps of half a minute to a minute, half a minute late.
type hall struct {
	*world
	clock time.Time
	looks int
	slots atomic.Int64 // answered by the engine
}

func (h *hall) State(ctx context.Context) (query.State, error) {
	h.looks++
	h.mu.Lock()
	complete := h.clock.Add(-30 * time.Second).Truncate(time.Minute)
	h.state.At, h.state.Newest = h.clock, h.clock.Add(-3*time.Second)
	for _, name := range []string{"10s", "1m", "1h"} {
		h.state.Levels[name] = query.LevelState{Complete: complete}
		h.state.Levels["node_"+name] = query.LevelState{Complete: complete.Add(-10 * time.Second)}
	}
	h.mu.Unlock()
	return h.world.State(ctx)
}

func (h *hall) Query(ctx context.Context, scope query.Scope, q query.Query, span query.Span) ([]query.Frame, error) {
	got, err := h.world.Query(ctx, scope, q, span)
	for _, f := range got {
		h.slots.Add(int64(len(f.Columns[0].Times)))
	}
	return got, err
}

// An hour of a dashboard that refreshes every five seconds: a series and a total over six hours. The engine is asked for hardly anything twice.
func TestAnHourOfRefreshes(t *testing.T) {
	h := &hall{world: newWorld(), clock: start.Add(80*time.Hour + 1234567*time.Microsecond)}
	c := New(h, 64<<20, NewMetrics(prometheus.NewRegistry()))
	c.progress.patience = time.Hour
	c.now = func() time.Time { return h.clock }
	series := query.Query{Kind: query.KindFleet, Metric: "power", Form: query.FormSeries}
	total := query.Query{Kind: query.KindFleet, Metric: "power", Form: query.FormTotal}
	const refreshes = 720
	var drawn, asked, totals int64
	for range refreshes {
		span := query.Span{From: h.clock.Add(-6 * time.Hour), To: h.clock, MaxPoints: 900, Interval: 24 * time.Second}
		before := h.slots.Load()
		got, err := c.Query(t.Context(), operator, series, span)
		if err != nil {
			t.Fatal(err)
		}
		asked += h.slots.Load() - before
		want, err := h.world.Query(t.Context(), operator, series, settled(t, h.world, operator, series, span))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range got {
			drawn += int64(len(f.Columns[0].Times))
		}
		if err := same(but(got, h.clock), but(want, h.clock)); err != nil {
			t.Fatalf("at %s: %v", h.clock, err)
		}
		n := h.asked.Load()
		if _, err := c.Query(t.Context(), operator, total, span); err != nil {
			t.Fatal(err)
		}
		totals += h.asked.Load() - n
		h.clock = h.clock.Add(5 * time.Second)
	}
	hits, misses := testutil.ToFloat64(c.metrics.hits.WithLabelValues(chunk)), testutil.ToFloat64(c.metrics.misses.WithLabelValues(chunk))
	t.Logf("%d slots drawn, %d of them asked (%.1f %%); chunks kept %.0f, asked %.0f; totals asked %d of %d; %d looks", drawn, asked, 100*float64(asked)/float64(drawn),
		hits, misses, totals, refreshes, h.looks)
	if asked*20 > drawn {
		t.Errorf("%d of %d slots were asked of the engine", asked, drawn)
	}
	if hits/(hits+misses) < 0.95 {
		t.Errorf("%v chunks were kept, %v asked", hits, misses)
	}
	if totals > refreshes/6+1 {
		t.Errorf("the total was asked %d times", totals)
	}
	if h.looks > refreshes {
		t.Errorf("%d looks at how far the data are", h.looks)
	}
}

// but leaves out the last minute of series, which comes in while a grain lasts.
func but(frames []query.Frame, now time.Time) []query.Frame {
	out := owned(frames)
	for i := range out {
		times, numbers := &out[i].Columns[0], &out[i].Columns[1]
		n := len(times.Times)
		for n > 0 && times.Times[n-1].After(now.Add(-time.Minute)) {
			n--
		}
		times.Times, numbers.Numbers = times.Times[:n], numbers.Numbers[:n]
	}
	return out
}
