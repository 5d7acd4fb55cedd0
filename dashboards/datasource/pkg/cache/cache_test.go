package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/dashboards/query"
)

// world is an engine whose figures follow from site, tenant, slot and number of batches, so that a wrong part shows.
type world struct {
	mu    sync.Mutex
	state query.State
	asked atomic.Int64
	spans []query.Span
	delay time.Duration
}

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func newWorld() *world {
	return &world{state: query.State{
		At: start, Newest: start.Add(100 * time.Hour),
		Sites:  map[string]query.SiteState{"s1": {Batches: 90, ClosedUpTo: start.Add(90 * time.Hour)}, "s2": {Batches: 95, ClosedUpTo: start.Add(95 * time.Hour)}},
		Levels: map[string]query.LevelState{},
	}}
}

func (w *world) State(context.Context) (query.State, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.state
	s.Sites = map[string]query.SiteState{}
	for k, v := range w.state.Sites {
		s.Sites[k] = v
	}
	s.Levels = map[string]query.LevelState{}
	for k, v := range w.state.Levels {
		s.Levels[k] = v
	}
	return s, nil
}

// Query answers hours from the ledger and, after the last closed one, provisional ones; and telemetry.
func (w *world) Query(ctx context.Context, scope query.Scope, q query.Query, span query.Span) ([]query.Frame, error) {
	w.asked.Add(1)
	if w.delay > 0 {
		select {
		case <-time.After(w.delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	state, _ := w.State(ctx)
	w.mu.Lock()
	w.spans = append(w.spans, span)
	w.mu.Unlock()
	p, err := query.New(q, scope, span, state, query.Options{})
	if err != nil {
		return nil, err
	}
	if q.Form != query.FormSeries {
		return w.figure(state, scope, q, span), nil
	}
	step := int64(p.Statements[0].Result.Step / time.Second)
	from, to := floor(span.From.Unix(), step), ceil(span.To, step)
	var out []query.Frame
	for _, provisional := range []bool{false, true} {
		var firm []query.Frame
		sites := []string{"s1", "s2"}
		if len(q.By) == 0 {
			sites = []string{""}
		}
		for _, site := range sites {
			if site != "" && !wanted(q, site) {
				continue
			}
			f := query.Frame{Name: "total", Step: time.Duration(step) * time.Second, Source: "made"}
			labels := map[string]string{}
			if site != "" {
				f.Name, labels["site"] = site, site
			}
			if provisional {
				labels["provisional"] = "true"
			}
			times := query.Column{Name: "time", Type: query.Time}
			numbers := query.Column{Name: q.Metric, Type: query.Number, Unit: "watth", Labels: labels, Provisional: provisional}
			some, grid, values := false, query.Grid{}, []float64{}
			for t := from; t < to; t += step {
				v := w.value(state, scope, q, site, t, min(t+step, span.To.Unix()), provisional)
				some = some || present(v)
				grid.Starts, values = append(grid.Starts, t), append(values, v)
			}
			times.Times, numbers.Numbers = fill(grid, values)
			if f.Columns = []query.Column{times, numbers}; some {
				firm = append(firm, f)
			}
		}
		slices.SortStableFunc(firm, func(a, b query.Frame) int {
			return cmp.Or(cmp.Compare(mean(b.Columns[1].Numbers), mean(a.Columns[1].Numbers)), strings.Compare(a.Name, b.Name))
		})
		out = append(out, firm...)
	}
	return out, nil
}

// figure is one over a range, as a table that says whose it is.
func (w *world) figure(state query.State, scope query.Scope, q query.Query, span query.Span) []query.Frame {
	sum := 0.0
	for t := floor(span.From.Unix(), 3600); t < ceil(span.To, 3600); t += 3600 {
		for _, provisional := range []bool{false, true} {
			if v := w.value(state, scope, q, "", max(t, span.From.Unix()), min(t+3600, span.To.Unix()), provisional); present(v) {
				sum += v
			}
		}
	}
	return []query.Frame{{Name: q.Metric, AsOf: map[string]uint64{"s1": state.Sites["s1"].Batches}, Notices: []string{"made"}, Columns: []query.Column{
		{Name: "whose", Type: query.Text, Texts: []string{fmt.Sprint(scope.All) + scope.Tenant}},
		{Name: q.Metric, Type: query.Number, Labels: map[string]string{"form": string(q.Form)}, Numbers: []float64{sum}},
	}}}
}

func (w *world) value(state query.State, scope query.Scope, q query.Query, site string, from, to int64, provisional bool) float64 {
	sum := math.NaN()
	for i, id := range []string{"s1", "s2"} {
		s := state.Sites[id]
		if site != "" && site != id || !wanted(q, id) {
			continue
		}
		closed := to <= s.ClosedUpTo.Unix()
		if q.Kind == query.KindFleet {
			closed = true
		}
		if closed == provisional || to > state.Newest.Unix() {
			continue
		}
		if from/3600%7 == int64(i) { // a gap
			continue
		}
		v := float64(from%1000) + float64(to-from) + float64(len(scope.Tenant)*1_000_000)
		if q.Kind != query.KindFleet {
			v += float64(s.Batches) // each batch moves all, as an adjustment might
		}
		if sum != sum {
			sum = 0
		}
		sum += v
	}
	return sum
}

func newCache(w *world, bytes int64) (*Cache, *prometheus.Registry) {
	r := prometheus.NewRegistry()
	c := New(w, bytes, NewMetrics(r))
	c.kept = query.Kept{}
	c.progress.patience = time.Hour // no test waits for it by the wall's clock
	return c, r
}

// settled is the range that a cache asks for: narrowed, and as finely drawn as the one that was asked for.
func settled(t interface{ Fatal(args ...any) }, w *world, scope query.Scope, q query.Query, span query.Span) query.Span {
	out, _ := narrowed(span)
	if q.Form == query.FormSeries {
		planned, err := query.New(q, scope, span, w.state, query.Options{})
		if err != nil {
			t.Fatal(err)
		}
		out.Interval = max(out.Interval, planned.Statements[0].Result.Step)
	}
	return out
}

func same(a, b []query.Frame) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d series instead of %d", len(a), len(b))
	}
	for i := range a {
		x, y := a[i], b[i]
		if y.Step == 0 {
			if fmt.Sprint(x) != fmt.Sprint(y) {
				return fmt.Errorf("%v instead of %v", x, y)
			}
			continue
		}
		if identify(x) != identify(y) || x.Step != y.Step || x.Columns[1].Unit != y.Columns[1].Unit || x.Columns[1].Provisional != y.Columns[1].Provisional {
			return fmt.Errorf("series %d is %q instead of %q", i, x.Name, y.Name)
		}
		if !slices.EqualFunc(x.Columns[0].Times, y.Columns[0].Times, time.Time.Equal) {
			return fmt.Errorf("%s: other times: %v instead of %v", x.Name, x.Columns[0].Times, y.Columns[0].Times)
		}
		for j, v := range x.Columns[1].Numbers {
			if want := y.Columns[1].Numbers[j]; v != want && (present(v) || present(want)) {
				return fmt.Errorf("%s at %s: %v instead of %v", x.Name, x.Columns[0].Times[j], v, want)
			}
		}
	}
	return nil
}

// Under moving ranges, closings, adjustments and other askers, what is kept equals what the engine would say.
func TestKeptAnswersEqualFreshOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.state.Levels = map[string]query.LevelState{"10s": {Complete: start.Add(99 * time.Hour)}, "1m": {Complete: start.Add(98 * time.Hour)}, "1h": {Complete: start.Add(97 * time.Hour)}}
		c, _ := newCache(w, rapid.SampledFrom([]int64{8 << 20, 160_000, 100}).Draw(t, "bytes"))
		clock := start.Add(100 * time.Hour)
		c.now = func() time.Time { return clock }
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0: // an hour closes
				id := rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "site")
				s := w.state.Sites[id]
				w.state.Sites[id] = query.SiteState{Batches: s.Batches + 1, ClosedUpTo: s.ClosedUpTo.Add(time.Hour)}
				clock = clock.Add(stateFor)
			case 1: // a closed hour is adjusted
				s := w.state.Sites["s1"]
				s.Batches++
				w.state.Sites["s1"] = s
				clock = clock.Add(stateFor)
			default:
				scope := rapid.SampledFrom([]query.Scope{{All: true}, {Tenant: "a"}, {Tenant: "bb"}}).Draw(t, "scope")
				q := query.Query{
					Kind:   rapid.SampledFrom([]query.Kind{query.KindEnergy, query.KindFleet}).Draw(t, "kind"),
					Form:   rapid.SampledFrom([]query.Form{query.FormSeries, query.FormSeries, query.FormTotal, query.FormTable}).Draw(t, "form"),
					Metric: "total",
				}
				if q.Kind == query.KindFleet {
					q.Metric = "power"
				}
				if rapid.Bool().Draw(t, "by") {
					q.By = []query.Dimension{query.Site}
				}
				if rapid.Bool().Draw(t, "filter") {
					q.Filters = []query.Filter{{Dimension: query.Site, Values: []string{"s1"}}}
				}
				from := start.Add(time.Duration(rapid.IntRange(0, 99*3600).Draw(t, "from")) * time.Second)
				span := query.Span{
					From: from, To: from.Add(time.Duration(rapid.IntRange(1, 99*3600).Draw(t, "length")) * time.Second),
					MaxPoints: rapid.IntRange(1, 3000).Draw(t, "points"),
				}
				if rapid.IntRange(0, 2).Draw(t, "moving") > 0 { // a dashboard that is open, and refreshes
					span = query.Span{From: start.Add(time.Duration(rapid.IntRange(0, 180_000).Draw(t, "moved")) * time.Millisecond), MaxPoints: 1000}
					span.To = span.From.Add(99 * time.Hour)
				}
				want, err := w.Query(context.Background(), scope, q, settled(t, w, scope, q, span))
				if err != nil {
					t.Fatal(err)
				}
				got, err := c.Query(context.Background(), scope, q, span)
				if err != nil {
					t.Fatal(err)
				}
				if err := same(got, want); err != nil {
					t.Fatalf("%+v %+v %+v: %v", scope, q, span, err)
				}
			}
		}
	})
}

// slow answers as the engine does of a collector that reads every ten seconds: a point is where one is expected.
type slow struct{ *world }

func (s slow) Query(_ context.Context, _ query.Scope, _ query.Query, span query.Span) ([]query.Frame, error) {
	g := query.Grid{Step: time.Second}
	var at []int64
	var values []float64
	for t := span.From.Unix(); t < span.To.Unix(); t++ {
		g.Starts = append(g.Starts, t)
		if t%10 == 0 && (t < start.Unix()+300 || t >= start.Unix()+360) {
			at, values = append(at, t), append(values, float64(t%100))
		}
	}
	times, numbers := g.Fill(at, values)
	return []query.Frame{{Name: "power", Step: g.Step, Columns: []query.Column{{Name: "time", Type: query.Time, Times: times}, {Name: "power", Type: query.Number, Numbers: numbers}}}}, nil
}

// Between the readings of a slow collector there is no gap, kept or not: only where one is missing.
func TestSlowReadingsAreNoGaps(t *testing.T) {
	w := newWorld()
	w.state.Levels = map[string]query.LevelState{"10s": {Complete: start.Add(time.Hour)}}
	c := New(slow{w}, 1<<20, NewMetrics(prometheus.NewRegistry()))
	c.kept = query.Kept{}
	q := query.Query{Kind: query.KindDevice, Metric: "power", Form: query.FormSeries}
	span := query.Span{From: start, To: start.Add(10 * time.Minute), MaxPoints: 1000}
	want, _ := slow{w}.Query(t.Context(), operator, q, span)
	for range 2 {
		got, err := c.Query(t.Context(), operator, q, span)
		if err != nil {
			t.Fatal(err)
		}
		if err := same(got, want); err != nil {
			t.Error(err)
		}
	}
	if testutil.ToFloat64(c.metrics.hits.WithLabelValues(chunk)) == 0 {
		t.Error("nothing was kept")
	}
}

var (
	energy   = query.Query{Kind: query.KindEnergy, Metric: "total", Form: query.FormSeries}
	operator = query.Scope{All: true}
)

func days(n int) query.Span {
	return query.Span{From: start, To: start.Add(time.Duration(n) * 24 * time.Hour), MaxPoints: 1000}
}

func TestAMovingRangeAsksOnlyForItsEnd(t *testing.T) {
	w := newWorld()
	c, r := newCache(w, 8<<20)
	for i := range 10 {
		span := days(4)
		span.From, span.To = span.From.Add(time.Duration(i)*time.Minute), span.To.Add(time.Duration(i)*time.Minute)
		for range 2 {
			if _, err := c.Query(t.Context(), operator, energy, span); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := w.asked.Load(); got != 11 { // three days once, the end each time that it moved
		t.Errorf("the engine was asked %d times, want 11", got)
	}
	for _, span := range w.spans[2:] {
		if length := span.To.Sub(span.From); length > 25*time.Hour {
			t.Errorf("a range of %s was asked again", length)
		}
	}
	counts(t, c, 57, 3, 10, 10)
	if n, err := testutil.GatherAndCount(r); err != nil || n != 7 {
		t.Errorf("%d metrics, %v", n, err)
	}
}

// counts compares what was kept and what was asked, of chunks and of whole answers.
func counts(t *testing.T, c *Cache, hits, misses, wholeHits, wholeMisses float64) {
	t.Helper()
	m := c.metrics
	got := []float64{
		testutil.ToFloat64(m.hits.WithLabelValues(chunk)), testutil.ToFloat64(m.misses.WithLabelValues(chunk)),
		testutil.ToFloat64(m.hits.WithLabelValues(whole)), testutil.ToFloat64(m.misses.WithLabelValues(whole)),
	}
	if want := []float64{hits, misses, wholeHits, wholeMisses}; !slices.Equal(got, want) {
		t.Errorf("chunks kept and asked, whole answers kept and asked: %v, want %v", got, want)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	w := newWorld()
	c, _ := newCache(w, 100_000)
	for i := range 400 {
		q := energy
		q.By = []query.Dimension{query.Site}
		q.Limit = i + 1
		if _, err := c.Query(t.Context(), operator, q, days(4)); err != nil {
			t.Fatal(err)
		}
		if c.store.bytes > 100_000 || testutil.ToFloat64(c.metrics.bytes) != float64(c.store.bytes) {
			t.Fatalf("%d bytes are kept, the metric says %v", c.store.bytes, testutil.ToFloat64(c.metrics.bytes))
		}
	}
	if testutil.ToFloat64(c.metrics.evicted) == 0 {
		t.Error("nothing was given up")
	}
	c.Close()
	if c.store.bytes != 0 || testutil.ToFloat64(c.metrics.bytes) != 0 {
		t.Errorf("%d bytes are left", c.store.bytes)
	}
}

func TestLateTelemetryShowsWithinMinutes(t *testing.T) {
	w := newWorld()
	w.state.Levels = map[string]query.LevelState{"10s": {Complete: start.Add(90 * time.Hour)}, "1m": {Complete: start.Add(90 * time.Hour)}, "1h": {Complete: start.Add(90 * time.Hour)}}
	c, _ := newCache(w, 1<<20)
	clock := start.Add(100 * time.Hour)
	c.now = func() time.Time { return clock }
	q := query.Query{Kind: query.KindFleet, Metric: "power", Form: query.FormSeries}
	ask := func() int64 {
		t.Helper()
		before := w.asked.Load()
		if _, err := c.Query(t.Context(), operator, q, days(2)); err != nil {
			t.Fatal(err)
		}
		return w.asked.Load() - before
	}
	first, again := ask(), ask()
	clock = clock.Add(oldFor + time.Second)
	if later := ask(); first < 1 || again != 0 || later != first {
		t.Errorf("asked %d, %d and %d times", first, again, later)
	}
}

func TestEqualQuestionsAreAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.delay = time.Second
		c, _ := newCache(w, 1<<20)
		q := energy
		q.Form = query.FormTotal
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := c.Query(t.Context(), operator, q, days(4)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := w.asked.Load(); got != 1 {
			t.Errorf("the engine was asked %d times", got)
		}
		counts(t, c, 0, 0, 19, 1)
	})
}

func TestAQuestionEndsWhenNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.delay = time.Hour
		c, _ := newCache(w, 1<<20)
		q := energy
		q.Form = query.FormTotal
		first, stop := context.WithCancel(t.Context())
		second, stopToo := context.WithCancel(t.Context())
		errs := make(chan error, 2)
		for _, ctx := range []context.Context{first, second} {
			go func() {
				_, err := c.Query(ctx, operator, q, days(4))
				errs <- err
			}()
		}
		synctest.Wait()
		stop()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if len(c.flights.open) != 1 {
			t.Error("the question ended although somebody waits")
		}
		stopToo()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		synctest.Wait() // the engine's goroutine ends with its context, or synctest fails
		if len(c.flights.open) != 0 {
			t.Error("the question goes on although nobody waits")
		}
	})
}
