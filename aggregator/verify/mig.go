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
	// curves[k] are the epochs of what the instances before k had, from the hour's start.
	curves [][]epoch
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

// partitionHour splits the hour of a GPU interval by interval (design §3, "MIG"). Intervals lie between samples and are
// broken at the hour's edges.
func (x *exact) partitionHour(c counter, w window, instances []record.Device, active map[string]activity, idle int64) partition {
	p := partition{instances: slices.Clone(instances)}
	slices.SortFunc(p.instances, func(a, b record.Device) int { return cmp.Compare(a.UUID, b.UUID) })
	p.curves = make([][]epoch, len(instances)+1)
	bySlices := make([]int64, len(instances)+1)
	bySlices[len(instances)] = computeSlices
	for k, in := range p.instances {
		bySlices[k] = int64(in.Slices)
		bySlices[len(instances)] -= int64(in.Slices)
	}
	if free := bySlices[len(instances)]; free < 0 {
		x.fail("MIG instances of %s hold %d compute slices of %d", p.instances[0].Parent, computeSlices-free, computeSlices)
		return p
	}
	for i := range c.epochs {
		e := &c.epochs[i]
		edges, around := x.intervals(e, w)
		had := make([]int64, len(p.curves)) // by the instances before k
		for k := range p.curves {
			p.curves[k] = append(p.curves[k], epoch{estimated: e.estimated, points: []point{{t: edges[0].t}}})
		}
		for j := 1; j < len(edges); j++ {
			energy, span := edges[j].c-edges[j-1].c, edges[j].t-edges[j-1].t
			base := min(energy, x.floor(idle, span, 1_000_000))
			parts := x.apportion(base, bySlices)
			weights := x.weights(p.instances, active, around[j-1])
			if weights == nil {
				weights = bySlices[:len(instances)]
			}
			for k, v := range x.apportion(energy-base, weights) {
				parts[k] += v
			}
			for k := 1; k < len(had); k++ {
				for before := range k {
					had[k] += parts[before]
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

// intervals are the edges of the epoch's intervals within the hour, and the time stamps of the samples around each.
func (x *exact) intervals(e *epoch, w window) (edges []point, around [][2]int64) {
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

// weights are activity × slices over the interval between two samples; nil when one could not be read or all were idle.
func (x *exact) weights(instances []record.Device, active map[string]activity, around [2]int64) []int64 {
	out := make([]int64, len(instances))
	any := false
	for k, in := range instances {
		a, okA := active[in.UUID][around[0]]
		b, okB := active[in.UUID][around[1]]
		if !okA || !okB || a.run != b.run || b.us < a.us {
			return nil
		}
		out[k] = x.floor(b.us-a.us, int64(in.Slices), 1)
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

// below are the thousandths before the k-th instance.
func (p partition) below(x *exact, k int) int64 {
	var slices int64
	for _, in := range p.instances[:k] {
		slices += int64(in.Slices)
	}
	return x.floor(slices, 1000, computeSlices)
}

// thousandths of the GPU that an instance stands for, by compute slices.
func (p partition) thousandths(x *exact, uuid string) row {
	var before int64
	for _, in := range p.instances {
		if in.UUID == uuid {
			return row{x.floor(before, 1000, computeSlices), x.floor(before+int64(in.Slices), 1000, computeSlices)}
		}
		before += int64(in.Slices)
	}
	return row{}
}
