package attribution

import (
	"cmp"
	"slices"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Layout is a stretch [From, To) in which a device is divided in one way. Its places are the bounds between those that hold it:
// thousandths, or the MIG instances of an hour in order of their ids.
type Layout struct {
	From, To unit.Micros
	// Over are the instances that are left out: with them there would be more slices than a GPU has.
	Over []Instance

	has    []bool   // which of the hour's instances take part
	slices []uint64 // of each instance that takes part, and last those of none
	bounds []int64  // of each place, in thousandths
}

// Thousandths is the layout of a device that is held in thousandths: a place is one of them.
func Thousandths(from, to unit.Micros) Layout { return Layout{From: from, To: to} }

// Bound is where a place lies on the device, in thousandths. Neighbours share their bounds, so that they and what is left sum to 1000.
func (l *Layout) Bound(place int64) int64 {
	if l.bounds == nil {
		return place
	}
	return l.bounds[place]
}

// Has says whether the instance at a place takes part.
func (l *Layout) Has(place int64) bool { return l.bounds == nil || l.has[place] }

// layouts divides the hour [start, end) of a GPU that is there in [from, to) where the set of its instances changes.
func layouts(instances []Instance, start, end, from, to unit.Micros) []Layout {
	edges := []unit.Micros{end}
	for _, in := range instances {
		for _, t := range []unit.Micros{in.From, in.To} {
			if t > from && t < to {
				edges = append(edges, t)
			}
		}
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	out := make([]Layout, len(edges))
	for i, t := range edges {
		out[i] = Layout{From: start, To: t}
		out[i].settle(instances, max(start, from))
		start = t
	}
	return out
}

// settle finds the instances that are there at t. In the order in which they were stated, each takes part that still fits.
func (l *Layout) settle(instances []Instance, t unit.Micros) {
	n := len(instances)
	l.has, l.slices, l.bounds = make([]bool, n), make([]uint64, n+1), make([]int64, n+1)
	order := make([]int, n)
	for k := range order {
		order[k] = k
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(instances[a].From, instances[b].From) }) // else by id, as they come
	free := int64(MIGSlices)
	for _, k := range order {
		in := &instances[k]
		switch {
		case in.From > t || in.To != 0 && in.To <= t:
		case in.Slices > free:
			l.Over = append(l.Over, *in)
		default:
			free -= in.Slices
			l.has[k], l.slices[k] = true, uint64(in.Slices)
		}
	}
	l.slices[n] = uint64(free)
	var below int64
	for k := range instances {
		below += int64(l.slices[k])
		l.bounds[k+1] = below * int64(unit.WholeDevice) / MIGSlices
	}
}

// Stretches calls f for the parts of [a, b), in order, in which the ranges of places lie at the same thousandths, with those.
func Stretches(layouts []Layout, places []Range, a, b unit.Micros, f func(of []Range, a, b unit.Micros) error) error {
	of := make([]Range, len(places))
	for i := 0; i < len(layouts) && a < b; i++ {
		l := &layouts[i]
		if l.To <= a {
			continue
		}
		for k, r := range places {
			of[k] = Range{l.Bound(r.Lo), l.Bound(r.Hi)}
		}
		for i+1 < len(layouts) && layouts[i+1].lie(places, of) {
			i++ // nothing changes for these
		}
		to := min(b, layouts[i].To)
		if err := f(of, a, to); err != nil {
			return err
		}
		a = to
	}
	return nil
}

// lie says that the ranges of places lie there.
func (l *Layout) lie(places, there []Range) bool {
	for k, r := range places {
		if l.Bound(r.Lo) != there[k].Lo || l.Bound(r.Hi) != there[k].Hi {
			return false
		}
	}
	return true
}
