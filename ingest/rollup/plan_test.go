package rollup_test

import (
	"fmt"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/ingest/rollup"
	"github.com/wattledger/wattledger/schemas/unit"
)

const minute = 60 * unit.Second

func TestPlan(t *testing.T) {
	f := func(width unit.Micros, touched []rollup.Touched, want ...rollup.Window) {
		t.Helper()
		if got := rollup.Plan(width, touched); !reflect.DeepEqual(got, want) {
			t.Errorf("Plan(%d, %v) = %v, want %v", width, touched, got, want)
		}
	}
	s := unit.Second
	f(10*s, nil)
	// Nodes that are up to date share a window.
	f(10*s, []rollup.Touched{{"a", "n2", 61 * s, 70 * s}, {"a", "n1", 65 * s, 79 * s}}, rollup.Window{"a", []string{"n1", "n2"}, minute, minute + 20*s})
	// A late one has its own, and costs the others nothing; but where one statement can build a cell of all, it builds what lies between, too.
	f(10*s, []rollup.Touched{{"a", "n1", 49 * unit.Hour, 49 * unit.Hour}, {"a", "n2", 5 * s, 5 * s}},
		rollup.Window{"a", []string{"n2"}, 0, 10 * s}, rollup.Window{"a", []string{"n1"}, 49 * unit.Hour, 49*unit.Hour + 10*s})
	f(10*s, []rollup.Touched{{"a", "n1", 3601 * s, 3602 * s}, {"a", "n2", 5 * s, 5 * s}}, rollup.Window{"a", []string{"n1", "n2"}, 0, unit.Hour + 10*s})
	// No window crosses the grid of cells, hence neither a day. Cells of few nodes are longer.
	f(10*s, []rollup.Touched{{"a", "n1", 239 * s, 241 * s}}, rollup.Window{"a", []string{"n1"}, 230 * s, 250 * s})
	f(10*s, []rollup.Touched{{"a", "n1", 24*unit.Hour - 1, 24 * unit.Hour}},
		rollup.Window{"a", []string{"n1"}, 24*unit.Hour - 10*s, 24 * unit.Hour}, rollup.Window{"a", []string{"n1"}, 24 * unit.Hour, 24*unit.Hour + 10*s})
	var many []rollup.Touched
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("n%03d", i))
		many = append(many, rollup.Touched{"a", names[i], 239 * s, 241 * s})
	}
	f(10*s, many, rollup.Window{"a", names, 230 * s, 240 * s}, rollup.Window{"a", names, 240 * s, 250 * s})
	f(unit.Hour, []rollup.Touched{{"a", "n1", 24*unit.Hour - 1, 24 * unit.Hour}},
		rollup.Window{"a", []string{"n1"}, 23 * unit.Hour, 24 * unit.Hour}, rollup.Window{"a", []string{"n1"}, 24 * unit.Hour, 25 * unit.Hour})
	// What a node brought in two messages is one window.
	f(minute, []rollup.Touched{{"a", "n1", 0, 1}, {"a", "n1", 3 * minute, 3 * minute}}, rollup.Window{"a", []string{"n1"}, 0, 4 * minute})
}

// Every bucket touched lies in exactly one window of its node, whatever the order, and no window crosses a day.
func TestEveryTouchedBucketIsInOneWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.SampledFrom(rollup.Levels).Draw(t, "level").Width
		var touched []rollup.Touched
		for range rapid.IntRange(0, 12).Draw(t, "messages") {
			first := unit.Micros(rapid.Int64Range(-100*int64(unit.Hour), 100*int64(unit.Hour)).Draw(t, "first"))
			touched = append(touched, rollup.Touched{
				Site: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "site"), Node: rapid.SampledFrom([]string{"n", "m"}).Draw(t, "node"),
				First: first, Last: first + unit.Micros(rapid.Int64Range(0, int64(3*unit.Hour)).Draw(t, "span")),
			})
		}
		plan := rollup.Plan(width, touched)
		in := func(site, node string, at unit.Micros) (n int) {
			for _, w := range plan {
				for _, name := range w.Nodes {
					if w.Site == site && name == node && w.From <= at && at < w.To {
						n++
					}
				}
			}
			return n
		}
		for _, x := range touched {
			for at := x.First; at <= x.Last; at += max(width, (x.Last-x.First)/50+1) {
				if n := in(x.Site, x.Node, at); n != 1 {
					t.Fatalf("tick %d of %s lies in %d windows", at, x.Node, n)
				}
			}
			if n := in(x.Site, x.Node, x.Last); n != 1 {
				t.Fatalf("the last tick %d of %s lies in %d windows", x.Last, x.Node, n)
			}
		}
		for _, w := range plan {
			day := func(t unit.Micros) int64 { return int64(math.Floor(float64(t) / float64(24*unit.Hour))) }
			if w.From >= w.To || w.From%width != 0 || w.To%width != 0 || day(w.From) != day(w.To-1) {
				t.Fatalf("window %v of buckets of %d", w, width)
			}
		}
		turned := make([]rollup.Touched, 0, len(touched))
		for i := range touched {
			turned = append(turned, touched[len(touched)-1-i])
		}
		if again := rollup.Plan(width, turned); !reflect.DeepEqual(plan, again) {
			t.Fatalf("%v in one order, %v in the other", plan, again)
		}
	})
}
