package verify

import (
	"cmp"
	"maps"
	"slices"

	"github.com/wattledger/wattledger/schemas/unit"
)

// work is the time in which a device or an instance had work, as its collector counted it: a counter for each run. energy are the
// instants at which the energy counter was read.
type work struct {
	runs   []workRun
	energy []int64
}

type workRun []workPoint

type workPoint struct{ t, busy, tick int64 }

// newWork reads the activity of a device at the time stamps of the energy counter that it is on.
func newWork(s, gpu Series) work {
	at := map[int64]int64{} // tick → time stamp
	for _, r := range gpu.Samples {
		if r.At != Absent && r.Energy != Absent {
			at[int64(r.Tick)] = int64(r.At)
		}
	}
	type reading struct {
		workPoint
		run  string
		read int64
	}
	var list []reading
	for _, r := range s.Samples {
		if t, ok := at[int64(r.Tick)]; ok && r.Activity != Absent {
			list = append(list, reading{workPoint{t, int64(r.Activity), int64(r.Tick)}, s.Identities[r.Identity].Run, r.Read})
		}
	}
	slices.SortFunc(list, func(a, b reading) int {
		return cmp.Or(cmp.Compare(a.t, b.t), cmp.Compare(a.tick, b.tick), cmp.Compare(a.busy, b.busy), cmp.Compare(a.run, b.run))
	})
	out := work{energy: slices.Sorted(maps.Values(at))}
	for i, r := range list {
		if i > 0 && list[i-1].t == r.t && list[i-1].run == r.run {
			continue
		}
		if i == 0 || list[i-1].run != r.run {
			var began workRun
			// A run begins with nothing where the one before ended, unless it has read more ticks than fit in between.
			if i > 0 && r.read-1 <= (r.t-list[i-1].t)/int64(max(s.Interval, 1)) {
				began = workRun{{t: list[i-1].t}}
			}
			out.runs = append(out.runs, began)
		}
		last := &out.runs[len(out.runs)-1]
		*last = append(*last, r.workPoint)
	}
	return out
}

// idle says that the activity of [a, b) is known for nine tenths of it, by runs that lie beside each other, and under limit
// thousandths of the time held, share being the thousandths held.
// Of what was read after the hour no more is looked at than the reading that also cuts its energy, nor what came at known or later.
func (w work) idle(x *exact, a, b, share, limit int64, hour window) bool {
	if len(w.runs) == 0 {
		return false
	}
	until := int64(1<<63 - 1)
	if i, _ := slices.BinarySearch(w.energy, hour.end); i < len(w.energy) {
		until = w.energy[i]
	}
	known := hour.known(hour.end)
	var busy int64
	told := map[int64]int{} // instant → runs that begin there less runs that end there
	for _, run := range w.runs {
		for len(run) > 0 && (run[len(run)-1].tick >= known || run[len(run)-1].t > until) {
			run = run[:len(run)-1]
		}
		if len(run) == 0 {
			continue
		}
		busy += run.at(x, b) - run.at(x, a)
		told[min(max(run[0].t, a), b)]++
		told[min(max(run[len(run)-1].t, a), b)]--
	}
	if product(spanned(told), 10).Cmp(product(b-a, 9)) < 0 {
		return false
	}
	busy = x.floor(busy, share, int64(unit.WholeDevice))
	return product(busy, 1_000_000).Cmp(product(limit*share, b-a)) < 0
}

// spanned is how long at least one of some stretches lasted, whose ends are counted by instant.
func spanned(ends map[int64]int) int64 {
	var sum, since int64
	depth := 0
	for _, t := range slices.Sorted(maps.Keys(ends)) {
		if depth > 0 {
			sum += t - since
		}
		depth, since = depth+ends[t], t
	}
	return sum
}

func (r workRun) at(x *exact, t int64) int64 {
	i, ok := slices.BinarySearchFunc(r, t, func(p workPoint, t int64) int { return cmp.Compare(p.t, t) })
	switch {
	case ok, i == 0:
		return r[i].busy
	case i == len(r):
		return r[i-1].busy
	}
	return x.line(r[i-1].t, r[i-1].busy, r[i].t, r[i].busy, t)
}
