package series

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Purpose says what samples are kept for.
type Purpose struct {
	// From is the first tick that counts, End the end of the hour.
	From, End unit.Micros
	// Stored is the cut at the hour's start, nil when there is none.
	Stored *record.Cut
	Limit  unit.Milliwatts
	// Edges are the instants at which the counters may be cut, in order.
	Edges []unit.Micros
	// All keeps every reading, as the energy of a GPU in MIG mode is split per interval between two.
	All bool
}

// Kept is what closing needs of a device.
type Kept struct {
	Points []window.Point
	// Ticks are those of the points, when all are kept.
	Ticks []int64
	// Work is what the collector counted. Of a device without an energy counter it stands at the ticks.
	Work   []closing.Work
	Period unit.Micros
}

// Keep is what closing needs. The counter is followed as window.Epochs does, so that every sample at which that would do anything
// else than go on is kept, with the one before it.
func (s Sorted) Keep(p Purpose) Kept {
	w := s.w
	n := s.Len()
	w.t, w.c = resize(w.t, n), resize(w.c, n)
	w.perm = w.perm[:0]
	var k Kept
	rising := true
	none := true
	last := int64(0)
	for i := range n {
		id := &s.ids[s.Who[i]]
		t, c := s.Cols[At][i], s.Cols[Energy][i]
		if s.Cols[Tick][i] < int64(p.From) || (id.Source != record.EnergyNone && (t == Absent || c == Absent)) {
			continue
		}
		if t == Absent {
			t = s.Cols[Tick][i]
		}
		if c == Absent {
			c = 0
		}
		rising = rising && (len(w.perm) == 0 || t > last)
		none = none && id.Source == record.EnergyNone
		w.t[i], w.c[i], last = t, c, t
		w.perm = append(w.perm, int32(i))
		k.Period = max(k.Period, id.Period)
	}
	if !rising {
		w.sort(w.t, s.compare)
	}
	instance := p.All && none // which of its ticks is the last that matters is its GPU's to say
	if !instance {
		// The first reading at or after the end is the last that closing looks at.
		end, _ := slices.BinarySearchFunc(w.perm, int64(p.End), func(i int32, t int64) int { return cmp.Compare(w.t[i], t) })
		w.perm = w.perm[:min(len(w.perm), end+1)]
	}
	switch {
	case instance: // it has no energy counter
	case p.All:
		for _, i := range w.perm {
			k.Points = append(k.Points, s.point(i))
			k.Ticks = append(k.Ticks, s.Cols[Tick][i])
		}
	default:
		s.keepPoints(p, &k)
	}
	s.keepWork(p, instance, &k)
	return k
}

// compare is the order of window.Epochs for readings of one time stamp.
func (s Sorted) compare(a, b int32) int {
	if r := cmp.Compare(s.w.t[a], s.w.t[b]); r != 0 {
		return r
	}
	x, y := &s.ids[s.Who[a]], &s.ids[s.Who[b]]
	return cmp.Or(cmp.Compare(x.boot(), y.boot()), cmp.Compare(x.Driver, y.Driver), cmp.Compare(s.w.c[a], s.w.c[b]),
		cmp.Compare(s.Cols[Integral][a], s.Cols[Integral][b]), cmp.Compare(x.Run, y.Run), cmp.Compare(x.Epoch, y.Epoch))
}

func (s Sorted) point(i int32) window.Point {
	id := &s.ids[s.Who[i]]
	return window.Point{
		T: unit.Micros(s.w.t[i]), C: unit.Millijoules(s.w.c[i]), Boot: id.boot(), Driver: id.Driver, Run: id.Run,
		Integral: unit.Millijoules(s.Cols[Integral][i]), Seen: id.Epoch,
	}
}

// keepPoints follows the counter. Between two samples that are kept and follow one another in an epoch, those left out have the
// same identity, rise in time, do not fall and never rise too fast: so neither do the two.
func (s Sorted) keepPoints(p Purpose, k *Kept) {
	w := s.w
	perm := w.perm
	if p.Stored != nil {
		// The meter goes on from the stored cut's left-hand sample and looks at nothing before it.
		first, _ := slices.BinarySearchFunc(perm, int64(p.Stored.T0)+1, func(i int32, t int64) int { return cmp.Compare(w.t[i], t) })
		perm = perm[first:]
	}
	if len(perm) == 0 {
		return
	}
	w.keep = resize(w.keep, len(perm))
	clear(w.keep)
	keep := w.keep
	integral := s.Cols[Integral]
	edges := p.Edges
	last := 0 // the last sample that the epoch took up
	keep[0] = true
	for j := 1; j < len(perm); j++ {
		a, before, b := perm[last], perm[j-1], perm[j]
		ta, tb, ca, cb := w.t[a], w.t[b], w.c[a], w.c[b]
		for len(edges) > 0 && int64(edges[0]) < ta {
			edges = edges[1:]
		}
		again := tb == ta && s.sameBoot(a, b) // the counter or its clock stood still: the epoch does not take it up
		special := s.Who[a] != s.Who[b] || s.Who[before] != s.Who[b] || cb < ca || (again && ca != cb) || tooFast(uint64(cb-ca), uint64(tb-ta), p.Limit) ||
			integral[b] < integral[before] || (integral[before] == Absent) != (integral[b] == Absent) || (len(edges) > 0 && int64(edges[0]) <= tb)
		if special {
			keep[last], keep[j-1], keep[j] = true, true, true
		}
		if !again {
			last = j
		}
	}
	keep[last], keep[len(perm)-1] = true, true
	for j, yes := range keep {
		if yes {
			k.Points = append(k.Points, s.point(perm[j]))
		}
	}
}

func (s Sorted) sameBoot(a, b int32) bool {
	x, y := &s.ids[s.Who[a]], &s.ids[s.Who[b]]
	return s.Who[a] == s.Who[b] || (x.boot() == y.boot() && x.Driver == y.Driver)
}

// keepWork keeps the samples around every edge and change of run, of those whose activity was read; of an instance all.
func (s Sorted) keepWork(p Purpose, all bool, k *Kept) {
	w := s.w
	edges := p.Edges
	var kept int32 = -1
	before := int32(-1)
	keep := func(i int32) {
		if i != kept {
			k.Work = append(k.Work, closing.Work{
				T: unit.Micros(w.t[i]), Run: s.ids[s.Who[i]].Run, SMActive: unit.Micros(s.Cols[Active][i]),
				Expected: max(s.Cols[Expected][i], 0), Read: max(s.Cols[Read][i], 0),
			})
			kept = i
		}
	}
	for _, i := range w.perm {
		if s.Cols[Active][i] == Absent {
			continue
		}
		if before >= 0 {
			for len(edges) > 0 && int64(edges[0]) < w.t[before] {
				edges = edges[1:]
			}
		}
		if all || before < 0 || s.Who[i] != s.Who[before] || (len(edges) > 0 && int64(edges[0]) <= w.t[i]) {
			if before >= 0 {
				keep(before)
			}
			keep(i)
		}
		before = i
	}
	if before >= 0 {
		keep(before)
	}
}

// tooFast says that the counter rose faster than the device can draw; window.Epochs has the rule.
func tooFast(rise, span uint64, limit unit.Milliwatts) bool {
	if limit <= 0 {
		return false
	}
	lh, ll := bits.Mul64(rise, 100_000_000)
	rh, rl := bits.Mul64(uint64(limit)*105, span)
	return lh > rh || (lh == rh && ll > rl)
}
