package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/dashboards/query"
)

func of(form query.Form) query.Query {
	q := energy
	q.Form = form
	return q
}

// open is a range of four days that ends in hours that are not closed, at so many seconds.
func open(second int) query.Span {
	to := start.Add(98*time.Hour + time.Duration(second)*time.Second)
	return query.Span{From: to.Add(-4 * 24 * time.Hour), To: to, MaxPoints: 1000}
}

func TestAnAnswerIsBelievedForAGrain(t *testing.T) {
	w := newWorld()
	c, _ := newCache(w, 8<<20)
	clock := start.Add(100 * time.Hour)
	c.now = func() time.Time { return clock }
	f := func(what string, q query.Query, span query.Span, asked int64) {
		t.Helper()
		before := w.asked.Load()
		if _, err := c.Query(t.Context(), operator, q, span); err != nil {
			t.Fatal(err)
		}
		if got := w.asked.Load() - before; got != asked {
			t.Errorf("%s: the engine was asked %d times, want %d", what, got, asked)
		}
	}
	total := of(query.FormTotal)
	f("the first", total, open(1), 1)
	f("within the grain", total, open(6), 0)
	f("another form", of(query.FormTable), open(6), 1)
	f("the next grain", total, open(61), 1)
	f("the one before", total, open(59), 0)
	clock = clock.Add(time.Minute + time.Second)
	f("after a grain", total, open(59), 1)

	f("closed hours", total, days(2), 1)
	clock = clock.Add(50 * time.Minute)
	f("closed hours stay", total, days(2), 0)
	w.state.Sites["s1"] = query.SiteState{Batches: 91, ClosedUpTo: w.state.Sites["s1"].ClosedUpTo}
	clock = clock.Add(stateFor)
	f("until they are adjusted", total, days(2), 1)
	f("a list of them", query.Query{Kind: query.KindCoverage, Metric: "missing", Form: query.FormTable}, days(2), 1)
	clock = clock.Add(50 * time.Minute)
	f("is no sum of entries", query.Query{Kind: query.KindCoverage, Metric: "missing", Form: query.FormTable}, days(2), 1)
}

// What moves on is not asked for again, and leaves.
func TestWhatIsNotBelievedLeaves(t *testing.T) {
	w := newWorld()
	c, _ := newCache(w, 8<<20)
	clock := start
	c.now = func() time.Time { return clock }
	for i := range 1000 {
		clock = start.Add(time.Duration(i) * 5 * time.Second)
		if _, err := c.Query(t.Context(), operator, of(query.FormTotal), open(i*5)); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.store.lru.Len(); n > 4 {
		t.Errorf("%d answers are kept", n)
	}
	if testutil.ToFloat64(c.metrics.evicted) != 0 || testutil.ToFloat64(c.metrics.bytes) != float64(c.store.bytes) {
		t.Error("what left was counted wrong")
	}
	c.Close()
	if _, err := c.Query(t.Context(), operator, of(query.FormTotal), open(0)); err != nil || c.store.bytes != 0 {
		t.Errorf("after the end: %v, and %d bytes are kept", err, c.store.bytes)
	}
}

// One tenant asks right after another, and in the middle of others' questions: each gets its own, whether it is kept or not.
func TestTenantsShareNoEntry(t *testing.T) {
	w := newWorld()
	c, _ := newCache(w, 8<<20)
	scopes := []query.Scope{{All: true}, {Tenant: "a"}, {Tenant: "bb"}, {Tenant: "true"}, {Tenant: "false"}}
	for _, q := range []query.Query{energy, of(query.FormTotal), of(query.FormTable)} {
		for _, span := range []query.Span{days(4), open(1)} {
			for _, scope := range scopes {
				before := w.asked.Load()
				if _, err := c.Query(t.Context(), scope, q, span); err != nil {
					t.Fatal(err)
				}
				if w.asked.Load() == before {
					t.Errorf("%+v was answered %s from what was kept for others", scope, q.Form)
				}
			}
			var all sync.WaitGroup
			for i := range 50 {
				all.Go(func() {
					scope := scopes[i%len(scopes)]
					got, err := c.Query(context.Background(), scope, q, span)
					if err != nil {
						t.Error(err)
						return
					}
					want, err := w.Query(context.Background(), scope, q, settled(t, w, scope, q, span))
					if err != nil {
						t.Error(err)
						return
					}
					if err := same(got, want); err != nil {
						t.Errorf("%+v got another's %s: %v", scope, q.Form, err)
					}
				})
			}
			all.Wait()
		}
	}
	if testutil.ToFloat64(c.metrics.hits.WithLabelValues(whole)) < 150 {
		t.Error("hardly anything was kept")
	}
	before := w.asked.Load()
	for _, q := range []query.Query{energy, of(query.FormTotal), of(query.FormTable)} {
		if _, err := c.Query(t.Context(), query.Scope{}, q, days(4)); !errors.Is(err, query.ErrNoScope) {
			t.Errorf("nobody is answered: %v", err)
		}
	}
	if w.asked.Load() != before {
		t.Error("the engine was asked for nobody")
	}
}

// An answer is its asker's: what one does to it, nobody else sees, whether they asked later or at the same time.
func TestAnswersCanBeChanged(t *testing.T) {
	w := newWorld()
	c, _ := newCache(w, 8<<20)
	scribble := func(frames []query.Frame) {
		for i := range frames {
			f := &frames[i]
			f.Name = "x"
			for j := range f.Notices {
				f.Notices[j] = "x"
			}
			for id := range f.AsOf {
				f.AsOf[id] = 0
			}
			for j := range f.Columns {
				col := &f.Columns[j]
				for name := range col.Labels {
					col.Labels[name] = "x"
				}
				clear(col.Times)
				clear(col.Numbers)
				clear(col.Texts)
				clear(col.Flags)
			}
			clear(f.Columns)
		}
		clear(frames)
	}
	series := energy
	series.By = []query.Dimension{query.Site}
	for _, q := range []query.Query{series, of(query.FormTotal), of(query.FormTable)} {
		want, err := w.Query(t.Context(), operator, q, settled(t, w, operator, q, open(1)))
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				got, err := c.Query(context.Background(), operator, q, open(1))
				if err == nil {
					err = same(got, want)
				}
				if err != nil {
					t.Errorf("%s: %v", q.Form, err)
				}
				scribble(got)
			})
		}
		all.Wait()
	}
}

// told is an engine of which each question fails, or is answered too much.
type told struct {
	*world
	err  error
	rows int
}

func (e *told) Query(context.Context, query.Scope, query.Query, query.Span) ([]query.Frame, error) {
	e.asked.Add(1)
	return []query.Frame{{Columns: []query.Column{{Name: "site", Type: query.Text, Texts: make([]string, e.rows)}}}}, e.err
}

func TestWhatIsNotKept(t *testing.T) {
	f := func(what string, e *told, q query.Query, passed float64) {
		t.Helper()
		e.world = newWorld()
		c, _ := newCache(e.world, 1<<20)
		c.engine = e
		for range 3 {
			if _, err := c.Query(t.Context(), operator, q, open(1)); !errors.Is(err, e.err) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if got := e.asked.Load(); got != 3 {
			t.Errorf("%s was asked %d times of 3", what, got)
		}
		if got := testutil.ToFloat64(c.metrics.passed); got != passed {
			t.Errorf("%s: %v passed, want %v", what, got, passed)
		}
		if size := c.store.bytes; size > 1000 {
			t.Errorf("%s: %d bytes are kept", what, size)
		}
	}
	f("an error", &told{err: errors.New("away")}, of(query.FormTotal), 0)
	f("an answer that is too large", &told{rows: 1 << 20}, of(query.FormTable), 0)
	f("a statement of an operator's own", &told{}, query.Query{Kind: query.KindSQL, SQL: "SELECT 1"}, 3)
	f("what is asked wrongly", &told{err: errors.New("refused")}, query.Query{Kind: "x"}, 0)
}

// What an answer weighs is about what it takes: within a few tenths for lists that are long.
func TestTextsAndTimesWeigh(t *testing.T) {
	var c query.Column
	for i := range 1000 {
		c.Texts = append(c.Texts, fmt.Sprintf("GPU-%036d", i))
	}
	f := func(what string, c query.Column, least int64) {
		t.Helper()
		if got := weigh(key{}, entry{frames: []query.Frame{{Columns: []query.Column{c}}}}); got < least || got > 2*least {
			t.Errorf("%s weigh %d, at least %d", what, got, least)
		}
	}
	f("texts", c, 1000*(16+40))
	f("times", query.Column{Times: make([]time.Time, 1000)}, 24_000)
	f("numbers", query.Column{Numbers: make([]float64, 1000)}, 8000)
	f("flags", query.Column{Flags: make([]bool, 1000)}, 1000)
}
