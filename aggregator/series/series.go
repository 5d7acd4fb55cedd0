// Package series puts the samples of one device into an order that does not depend on how they came, names them by a digest,
// and keeps of them what closing an hour needs.
//
// What is kept gives the same cuts, epochs, clock steps, bounds and activity as all would: a sample that only lies on the way
// up, with no edge beside it, is left out. Nothing here reads a clock, a file or the network.
package series

import (
	"cmp"
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Absent stands for what was not read.
const Absent int64 = -1

// The columns of Rows.
const (
	Tick     = iota // instant of the reading, microseconds
	At              // the energy counter's own time stamp
	Energy          // mJ
	Integral        // of power, mJ
	Active          // time with a warp on an SM, microseconds
	Expected        // ticks
	Read
	Columns
)

// Rows are samples in columns. Who is an index into identities.
type Rows struct {
	Cols [Columns][]int64
	Who  []int32
}

// Len is how many samples there are.
func (r *Rows) Len() int { return len(r.Who) }

// Resize makes room for n samples, whose values the caller writes.
func (r *Rows) Resize(n int) {
	for c := range r.Cols {
		r.Cols[c] = resize(r.Cols[c], n)
	}
	r.Who = resize(r.Who, n)
}

func resize[T any](list []T, n int) []T {
	return slices.Grow(list[:min(n, len(list))], n-min(n, len(list)))[:n]
}

// Span is a stretch of Rows.
type Span struct{ From, To int }

// Identity is what tells one stretch of a device's samples from the next.
type Identity struct {
	Run, Boot, Driver string
	Source            record.EnergySource
	// Period is the collector's. Epoch is how often it had seen the energy counter begin anew; Absent when it does not say.
	Period unit.Micros
	Epoch  int64
}

func (a Identity) compare(b Identity) int {
	return cmp.Or(cmp.Compare(a.Run, b.Run), cmp.Compare(a.Boot, b.Boot), cmp.Compare(a.Driver, b.Driver), cmp.Compare(a.Source, b.Source),
		cmp.Compare(a.Period, b.Period), cmp.Compare(a.Epoch, b.Epoch))
}

// boot is the boot under which the energy counter runs: one that the collector integrates begins anew with each of its runs.
func (a Identity) boot() string {
	if a.Source == record.EnergyIntegrated {
		return a.Boot + " " + a.Run
	}
	return a.Boot
}

// Workspace holds what is reused from device to device. One goroutine uses it at a time.
type Workspace struct {
	rows      Rows
	perm, tmp []int32
	starts    []int
	t, c      []int64
	keep      []bool
	bytes     []byte
}

// Sorted are the samples of one device, each once, in order of tick and then of all their values.
type Sorted struct {
	Rows
	ids []Identity
	w   *Workspace
}

// Sort orders the samples of one device, which lie in some spans of all. It holds until the workspace is used again.
func (w *Workspace) Sort(all *Rows, spans []Span, ids []Identity) Sorted {
	tick := all.Cols[Tick]
	slices.SortFunc(spans, func(a, b Span) int {
		return cmp.Or(cmp.Compare(tick[a.From], tick[b.From]), cmp.Compare(a.From, b.From))
	})
	w.perm = w.perm[:0]
	for _, s := range spans {
		for i := s.From; i < s.To; i++ {
			w.perm = append(w.perm, int32(i))
		}
	}
	compare := func(a, b int32) int {
		for c := range all.Cols {
			if x, y := all.Cols[c][a], all.Cols[c][b]; x != y {
				return cmp.Compare(x, y)
			}
		}
		if all.Who[a] == all.Who[b] {
			return 0
		}
		return ids[all.Who[a]].compare(ids[all.Who[b]])
	}
	w.sort(tick, compare)
	w.perm = slices.CompactFunc(w.perm, func(a, b int32) bool { return tick[a] == tick[b] && compare(a, b) == 0 })
	w.rows.Resize(len(w.perm))
	for c := range all.Cols {
		gather(w.rows.Cols[c], all.Cols[c], w.perm)
	}
	gather(w.rows.Who, all.Who, w.perm)
	return Sorted{Rows: w.rows, ids: ids, w: w}
}

func gather[T any](to, from []T, perm []int32) {
	for i, p := range perm {
		to[i] = from[p]
	}
}

// sort sorts perm by key, ties by compare, stably. It merges the stretches that are in order already, which are few.
func (w *Workspace) sort(key []int64, compare func(a, b int32) int) {
	after := func(a, b int32) bool { return key[a] > key[b] || (key[a] == key[b] && compare(a, b) > 0) }
	perm := w.perm
	starts := append(w.starts[:0], 0)
	for i := 1; i < len(perm); i++ {
		if after(perm[i-1], perm[i]) {
			starts = append(starts, i)
		}
	}
	for len(starts) > 1 {
		w.tmp = w.tmp[:0]
		next := 0
		for k := 0; k < len(starts); k += 2 {
			lo, mid, hi := starts[k], len(perm), len(perm)
			if k+1 < len(starts) {
				mid = starts[k+1]
			}
			if k+2 < len(starts) {
				hi = starts[k+2]
			}
			starts[next] = lo
			next++
			a, b := perm[lo:mid], perm[mid:hi]
			for len(a) > 0 && len(b) > 0 {
				if after(a[0], b[0]) {
					w.tmp, b = append(w.tmp, b[0]), b[1:]
				} else {
					w.tmp, a = append(w.tmp, a[0]), a[1:]
				}
			}
			w.tmp = append(append(w.tmp, a...), b...)
		}
		starts = starts[:next]
		perm, w.tmp = w.tmp, perm
	}
	w.perm, w.starts = perm, starts
}

// Within is the stretch of samples with a tick in [from, to).
func (s Sorted) Within(from, to unit.Micros) Span {
	lo, _ := slices.BinarySearch(s.Cols[Tick], int64(from))
	hi, _ := slices.BinarySearch(s.Cols[Tick], int64(to))
	return Span{lo, max(lo, hi)}
}
