package closing

import (
	"cmp"
	"slices"

	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// work writes what the collector counted over [from, to) into an entry: the share part/whole of it.
//
// Activity and ticks are counters of the collector, so they start anew with each run; they are cut like energy. They
// describe an entry and bill nothing.
func (c *nodeCloser) work(e *record.Entry, d Device, from, to unit.Micros, part, whole int64) {
	if len(d.Work) == 0 {
		flag(e, flagNoActivity) // no activity is known, which is not the same as none
		return
	}
	list := runs(d.Work, d.Period)
	diff := func(value func(Work) int64) int64 {
		var sum int64
		for _, run := range list {
			sum += valueAt(run, to, value) - valueAt(run, from, value)
		}
		return sum
	}
	e.SMActive = unit.Micros(diff(func(w Work) int64 { return int64(w.SMActive) }) * part / whole)
	e.TicksExpected = diff(func(w Work) int64 { return w.Expected })
	e.TicksRead = diff(func(w Work) int64 { return w.Read })
}

// runs are the readings of each run of the collector, in order of time.
//
// The counters of a run began at 0 where the run before had ended: the collector counts the ticks of a standstill as expected.
// A run that has read more than fits in between began earlier, and is one of two that went on side by side.
func runs(work []Work, period unit.Micros) [][]Work {
	var out [][]Work
	for i := 0; i < len(work); {
		w, end := work[i], i+1
		for end < len(work) && work[end].Run == w.Run {
			end++
		}
		run := work[i:end:end]
		if i > 0 && unit.Micros(w.Read-1) <= (w.T-work[i-1].T)/max(period, 1) {
			run = append([]Work{{T: work[i-1].T, Run: w.Run}}, run...)
		}
		out = append(out, run)
		i = end
	}
	return out
}

// activityKnown says that the collector's runs span nine tenths of [from, to) or more: what it did not count may have been work.
func activityKnown(d Device, from, to unit.Micros) bool {
	var spans [][2]unit.Micros
	for _, run := range runs(d.Work, d.Period) {
		spans = append(spans, [2]unit.Micros{run[0].T, run[len(run)-1].T})
	}
	slices.SortFunc(spans, func(a, b [2]unit.Micros) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	var covered unit.Micros
	at := from
	for _, s := range spans {
		if a, b := max(s[0], at), min(s[1], to); b > a {
			covered, at = covered+b-a, b
		}
	}
	return covered*10 >= (to-from)*9 && to > from
}

// valueAt is a counter at t on the line between the readings around it, held at the outer ones.
func valueAt(run []Work, t unit.Micros, value func(Work) int64) int64 {
	i, exact := slices.BinarySearchFunc(run, t, func(w Work, t unit.Micros) int { return cmp.Compare(w.T, t) })
	switch {
	case i == len(run):
		return value(run[i-1])
	case i == 0 || exact:
		return value(run[i])
	}
	a, b := run[i-1], run[i]
	v, err := window.Value(a.T, b.T, unit.Millijoules(value(a)), unit.Millijoules(value(b)), t)
	if err != nil {
		return value(a) // the difference fits in no counter: nothing is known in between
	}
	return int64(v)
}
