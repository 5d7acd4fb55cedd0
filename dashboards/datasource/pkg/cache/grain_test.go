package cache

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/dashboards/query"
)

func TestAGrainSuitsTheLengthOfARange(t *testing.T) {
	f := func(length, want time.Duration) {
		t.Helper()
		if got := grain(length); got != want {
			t.Errorf("of %s: %s, want %s", length, got, want)
		}
	}
	f(-time.Hour, time.Second)
	f(0, time.Second)
	f(5*time.Minute, time.Second)
	f(15*time.Minute, time.Second)
	f(time.Hour-time.Millisecond, time.Second)
	f(time.Hour, 5*time.Second)
	f(2*time.Hour, 10*time.Second)
	f(3*time.Hour, 15*time.Second)
	f(6*time.Hour, 30*time.Second)
	f(12*time.Hour, time.Minute)
	f(24*time.Hour, time.Minute)
	f(3650*24*time.Hour, time.Minute)
}

// drawnRange is a range of any length that begins at any moment.
func drawnRange(t *rapid.T) query.Span {
	from := start.Add(time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, "from")))
	most := rapid.SampledFrom([]time.Duration{3 * time.Second, time.Hour, 24 * time.Hour, 60 * 24 * time.Hour}).Draw(t, "most")
	length := time.Duration(rapid.Int64Range(1, int64(most)).Draw(t, "length"))
	if rapid.Bool().Draw(t, "round") {
		length = max(length.Truncate(time.Minute), time.Minute)
	}
	return query.Span{From: from, To: from.Add(length)}
}

func TestARangeIsOnlyNarrowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span := drawnRange(t)
		got, g := narrowed(span)
		switch {
		case !got.From.Before(got.To):
			t.Fatalf("%v is empty", got)
		case got.From.Before(span.From) || got.To.After(span.To):
			t.Fatalf("%v is wider than %v", got, span)
		case got.From.Sub(span.From) >= g || span.To.Sub(got.To) >= g:
			t.Fatalf("%v lacks more than a grain of %v", got, span)
		case got != span && (got.From.UnixNano()%int64(g) != 0 || got.To.UnixNano()%int64(g) != 0):
			t.Fatalf("%v does not lie on its grain", got)
		case got == span && span.To.Sub(span.From) > 2*g && (span.From.UnixNano()%int64(g) != 0 || span.To.UnixNano()%int64(g) != 0):
			t.Fatalf("%v was not narrowed", got)
		}
		minutes := query.Span{From: span.From.Truncate(time.Minute), To: span.To.Truncate(time.Minute)}
		if same, _ := narrowed(minutes); same != minutes {
			t.Fatalf("%v is of whole minutes, and became %v", minutes, same)
		}
	})
}

// A panel whose range moves keeps its step, and with it its chunks.
func TestTheStepOfAMovingRangeStays(t *testing.T) {
	w := newWorld()
	c, _ := newCache(w, 1<<20)
	rapid.Check(t, func(t *rapid.T) {
		q := query.Query{Form: query.FormSeries}
		q.Kind = rapid.SampledFrom([]query.Kind{query.KindFleet, query.KindDevice, query.KindEnergy, query.KindPipeline}).Draw(t, "kind")
		q.Metric = map[query.Kind]string{query.KindFleet: "power", query.KindDevice: "power", query.KindEnergy: "total", query.KindPipeline: "delay"}[q.Kind]
		span := drawnRange(t)
		span.MaxPoints = rapid.IntRange(1, 3000).Draw(t, "points")
		if rapid.Bool().Draw(t, "edge") { // where a grain less makes another step
			span.MaxPoints = max(1, int(span.To.Sub(span.From)/(30*time.Second))-rapid.IntRange(0, 1).Draw(t, "less"))
		}
		var step time.Duration
		for i := range 3 {
			moved := span
			by := time.Duration(rapid.Int64Range(0, int64(2*time.Minute)).Draw(t, "moved"))
			moved.From, moved.To = span.From.Add(by), span.To.Add(by)
			asked := question{scope: operator, q: q}
			asked.span, asked.grain = narrowed(moved)
			asked = c.learn(asked, moved, w.state)
			planned, err := query.New(q, operator, asked.span, w.state, query.Options{})
			if err != nil {
				t.Fatal(err)
			}
			got := planned.Statements[0].Result.Step
			if got != asked.drawn.Step {
				t.Fatalf("the engine takes %s, the range as it was asked for %s", got, asked.drawn.Step)
			}
			if i > 0 && got != step {
				t.Fatalf("%s after %s", got, step)
			}
			step = got
		}
	})
}
