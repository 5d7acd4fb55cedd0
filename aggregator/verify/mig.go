package verify

import (
	"cmp"
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
)

// computeSlices of a GPU in MIG mode.
const computeSlices = 7

// partition is an hour of a GPU in MIG mode: a virtual counter up to each instance, in order of uuid.
type partition struct {
	instances []record.Device
	layouts   []layout
	// curves[k] are the epochs of what the instances before k had, from the hour's start.
	curves [][]epoch
}

// layout is a stretch in which the same instances are there.
type layout struct {
	from, to int64
	// takes are the slices of the instances that take part, by uuid; free are those of none.
	takes map[string]int64
	free  int64
}

// layoutsOf cuts the hour wherever an instance begins or ends while its GPU, which is there in [from, to), is.
func layoutsOf(w window, from, to int64, instances []record.Device) []layout {
	changes := map[int64]bool{w.end: true}
	for _, in := range instances {
		for _, t := range []int64{int64(in.From), int64(in.To)} {
			changes[t] = changes[t] || (from < t && t < to)
		}
	}
	byStatement := slices.Clone(instances)
	slices.SortFunc(byStatement, func(a, b record.Device) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.UUID, b.UUID))
	})
	var ends []int64
	for t, is := range changes {
		if is {
			ends = append(ends, t)
		}
	}
	slices.Sort(ends)
	var out []layout
	begin := w.start
	for _, end := range ends {
		l := layout{from: begin, to: end, takes: map[string]int64{}, free: computeSlices}
		when := max(begin, from) // nothing changes until end
		for _, in := range byStatement {
			there := int64(in.From) <= when && (in.To == 0 || when < int64(in.To))
			if there && int64(in.Slices) <= l.free { // else the GPU has no room left for it
				l.takes[in.UUID] = int64(in.Slices)
				l.free -= int64(in.Slices)
			}
		}
		out = append(out, l)
		begin = end
	}
	return out
}

// below are the thousandths before the k-th instance while a layout lasts.
func (p partition) below(x *exact, l layout, k int) int64 {
	var slices int64
	for _, in := range p.instances[:k] {
		slices += l.takes[in.UUID]
	}
	return x.floor(slices, 1000, computeSlices)
}

// piece is a stretch of time and the thousandths of the GPU that an instance stands for in it.
type piece struct {
	from, to int64
	row      row
}

// pieces are those of [a, b) for the instances from the j-th up to the k-th.
func (p partition) pieces(x *exact, j, k int, a, b int64) []piece {
	var out []piece
	for _, l := range p.layouts {
		if from, to := max(a, l.from), min(b, l.to); from < to {
			out = append(out, piece{from, to, row{p.below(x, l, j), p.below(x, l, k)}})
		}
	}
	return out
}

// takesPart says whether an instance does in any layout of [a, b).
func (p partition) takesPart(uuid string, a, b int64) bool {
	return slices.ContainsFunc(p.layouts, func(l layout) bool {
		_, ok := l.takes[uuid]
		return ok && l.from < b && a < l.to
	})
}

// activity of an instance by the energy time stamp of its GPU's sample: both were read at one tick.
type activity map[int64]busy

type busy struct {
	run string
	us  int64
}

func newActivity(gpu, instance Series) activity {
	at := map[int64]int64{} // tick → time stamp
	for _, s := range gpu.Samples {
		if s.At != Absent && s.Energy != Absent {
			at[int64(s.Tick)] = int64(s.At)
		}
	}
	rows := slices.Clone(instance.Samples)
	slices.SortFunc(rows, func(a, b Sample) int { return cmp.Compare(a.Tick, b.Tick) })
	out := activity{}
	for _, s := range rows {
		t, ok := at[int64(s.Tick)]
		if _, twice := out[t]; ok && !twice && s.Activity != Absent {
			out[t] = busy{run: instance.Identities[s.Identity].Run, us: int64(s.Activity)}
		}
	}
	return out
}

// partitionHour splits the hour of a GPU that is there in [from, to) interval by interval (design §3, "MIG"). Intervals lie between
// samples and are broken at the hour's edges and where the layout changes.
func (x *exact) partitionHour(c counter, w window, from, to int64, instances []record.Device, active map[string]activity, idle int64) partition {
	p := partition{instances: slices.Clone(instances), layouts: layoutsOf(w, from, to, instances)}
	slices.SortFunc(p.instances, func(a, b record.Device) int { return cmp.Compare(a.UUID, b.UUID) })
	p.curves = make([][]epoch, len(instances)+1)
	for i := range c.epochs {
		e := &c.epochs[i]
		edges, around := x.intervals(e, w, p.layouts)
		had := make([]int64, len(p.curves)) // by the instances before k
		for k := range p.curves {
			p.curves[k] = append(p.curves[k], epoch{estimated: e.estimated, points: []point{{t: edges[0].t}}})
		}
		for j := 1; j < len(edges); j++ {
			at := slices.IndexFunc(p.layouts, func(l layout) bool { return l.from <= edges[j-1].t && edges[j-1].t < l.to })
			for k, v := range x.interval(p, p.layouts[at], edges[j-1], edges[j], around[j-1], active, idle) {
				for after := k + 1; after < len(had); after++ {
					had[after] += v
				}
			}
			for k := range p.curves {
				curve := &p.curves[k][i]
				curve.points = append(curve.points, point{t: edges[j].t, c: had[k]})
			}
		}
	}
	return p
}

// interval is what the instances get of one interval, which lies within one layout; the last part is nobody's.
func (x *exact) interval(p partition, l layout, a, b point, around [2]int64, active map[string]activity, idle int64) []int64 {
	bySlices := make([]int64, len(p.instances), len(p.instances)+1)
	var taken int64
	for k, in := range p.instances {
		bySlices[k] = l.takes[in.UUID]
		taken += bySlices[k]
	}
	energy := b.c - a.c
	base := min(energy, x.floor(idle, b.t-a.t, 1_000_000))
	parts := x.apportion(base, append(bySlices, l.free))
	weights := x.weights(p.instances, l, active, around)
	if weights == nil {
		weights = bySlices
	}
	if taken == 0 { // there is no instance, or none of a size
		parts[len(parts)-1] += energy - base
		return parts
	}
	for k, v := range x.apportion(energy-base, weights) {
		parts[k] += v
	}
	return parts
}

// intervals are the edges of the epoch's intervals within the hour, and the time stamps of the samples around each.
func (x *exact) intervals(e *epoch, w window, layouts []layout) (edges []point, around [][2]int64) {
	points := e.points
	for len(points) > 1 && points[len(points)-1].tick >= w.known(w.end) {
		points = points[:len(points)-1] // not known when the hour closed
	}
	from, to := max(w.start, points[0].t), min(w.end, points[len(points)-1].t)
	edges = []point{{t: from, c: x.at(e, w, from)}}
	if to <= from {
		return edges, nil
	}
	for _, p := range points {
		if p.t > from && p.t < to {
			edges = append(edges, point{t: p.t, c: p.c})
		}
	}
	for _, l := range layouts {
		if l.to > from && l.to < to && !slices.ContainsFunc(points, func(p point) bool { return p.t == l.to }) {
			edges = append(edges, point{t: l.to, c: x.at(e, w, l.to)})
		}
	}
	slices.SortFunc(edges, func(a, b point) int { return cmp.Compare(a.t, b.t) })
	edges = append(edges, point{t: to, c: x.at(e, w, to)})
	for j := 1; j < len(edges); j++ {
		var s [2]int64
		after, _ := slices.BinarySearchFunc(points, edges[j].t, func(p point, t int64) int { return cmp.Compare(p.t, t) })
		s[1] = points[after].t
		s[0] = points[after-1].t
		around = append(around, s)
	}
	return edges, around
}

// weights are activity × slices of the instances of a layout over the interval between two samples; nil when one could not be read or
// all were idle.
func (x *exact) weights(instances []record.Device, l layout, active map[string]activity, around [2]int64) []int64 {
	out := make([]int64, len(instances))
	any := false
	for k, in := range instances {
		slices, ok := l.takes[in.UUID]
		if !ok {
			continue
		}
		a, okA := active[in.UUID][around[0]]
		b, okB := active[in.UUID][around[1]]
		if !okA || !okB || a.run != b.run || b.us < a.us {
			return nil
		}
		out[k] = x.floor(b.us-a.us, slices, 1)
		any = any || out[k] > 0
	}
	if !any {
		return nil
	}
	return out
}

// instance is what an instance gets over [a, b): the rise of the counter up to and with it, less that of the one before.
func (x *exact) instance(p partition, uuid string, a, b int64) amount {
	var out amount
	k := slices.IndexFunc(p.instances, func(in record.Device) bool { return in.UUID == uuid })
	whole := window{end: 1<<63 - 1 - int64(Lookahead), first: true} // the curves know no more than the hour did
	for i := range p.curves[k] {
		before, with := &p.curves[k][i], &p.curves[k+1][i]
		out.add(with, x.at(with, whole, b)-x.at(with, whole, a)-x.at(before, whole, b)+x.at(before, whole, a))
	}
	return out
}

// before is what the instances before the k-th had over [a, b).
func (x *exact) before(p partition, k int, a, b int64) int64 {
	whole := window{end: 1<<63 - 1 - int64(Lookahead), first: true}
	var sum int64
	for i := range p.curves[k] {
		e := &p.curves[k][i]
		sum += x.at(e, whole, b) - x.at(e, whole, a)
	}
	return sum
}

// place of an instance among those of its GPU.
func (p partition) place(uuid string) int {
	return slices.IndexFunc(p.instances, func(in record.Device) bool { return in.UUID == uuid })
}
