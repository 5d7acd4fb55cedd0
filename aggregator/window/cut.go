package window

import (
	"fmt"
	"sort"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Value is C(t) = c0 + ⌊(c1 − c0)·(t − t0)/(t1 − t0)⌋ for t0 ≤ t ≤ t1 and t0 < t1 (design §3), in 128 bits.
func Value(t0, t1 unit.Micros, c0, c1 unit.Millijoules, t unit.Micros) (unit.Millijoules, error) {
	if t < t0 || t > t1 || t0 == t1 {
		return 0, fmt.Errorf("cut at %d between samples at %d and %d: the edge must lie between two different instants", t, t0, t1)
	}
	d, err := unit.FloorMulDiv(int64(c1-c0), int64(t-t0), int64(t1-t0))
	if err != nil {
		return 0, fmt.Errorf("cut at %d: %w", t, err)
	}
	return c0 + unit.Millijoules(d), nil
}

// InterpolatedAfter is how many periods apart two samples may be before the place of their energy in time is no longer
// taken for measured.
const InterpolatedAfter = 3

// At cuts the epoch at t. Before the first reading the counter is held at it, after the last one too: what no sample saw
// is not invented. period is the collector's; limit bounds what the counter can have done between two samples, 0 if unknown.
func (e Epoch) At(t, period unit.Micros, limit unit.Milliwatts) (record.Cut, error) {
	first, last := e.First(), e.Last()
	cut := record.Cut{Epoch: e.ID, T: t, Boot: first.Boot, Driver: first.Driver}
	left := func(p Point) { cut.T0, cut.C0, cut.Run, cut.Integral0, cut.Seen0 = p.T, p.C, p.Run, p.Integral, p.Seen }
	switch {
	case t <= first.T:
		left(first)
		cut.T1, cut.C1, cut.C = first.T, first.C, first.C
		cut.Low, cut.High = first.C, first.C
		if t == first.T {
			cut.High++ // the counter shows whole mJ
		}
		return cut, nil
	case t == last.T:
		left(last)
		cut.T1, cut.C1, cut.C = last.T, last.C, last.C
		cut.Low, cut.High = last.C, last.C+1
		return cut, nil
	case t > last.T:
		left(last)
		cut.C, cut.Open = last.C, true
		cut.Low, cut.High = last.C, last.C
		if limit > 0 {
			more, err := most(limit, t-last.T)
			if err != nil {
				return record.Cut{}, err
			}
			cut.High += more
		}
		return cut, nil
	}
	// i is the first point after t, so t lies in [Points[i−1].T, Points[i].T).
	i := sort.Search(len(e.Points), func(i int) bool { return e.Points[i].T > t })
	a, b := e.Points[i-1], e.Points[i]
	c, err := Value(a.T, b.T, a.C, b.C, t)
	if err != nil {
		return record.Cut{}, err
	}
	left(a)
	cut.T1, cut.C1, cut.C = b.T, b.C, c
	cut.Interpolated = b.T-a.T > InterpolatedAfter*period
	cut.Low, cut.High, err = bound(a, b, t, limit)
	return cut, err
}

// bound is the hard bound of a cut: C lies in [max(c0, c1 − Pmax·(t1 − t)), min(c1, c0 + Pmax·(t − t0))] (design §3),
// rounded outwards, with one mJ for a counter that shows whole mJ. An unknown limit leaves [c0, c1], and so does a rise that
// the limit does not explain: the sensor reads above it, so the limit bounds nothing there.
func bound(a, b Point, t unit.Micros, limit unit.Milliwatts) (low, high unit.Millijoules, err error) {
	low, high = a.C, b.C+1
	if limit <= 0 {
		return low, high, nil
	}
	all, err := most(limit, b.T-a.T)
	if err != nil {
		return 0, 0, err
	}
	if b.C-a.C > all {
		return low, high, nil
	}
	after, err := most(limit, b.T-t)
	if err != nil {
		return 0, 0, err
	}
	before, err := most(limit, t-a.T)
	if err != nil {
		return 0, 0, err
	}
	return max(low, b.C-after), min(high, a.C+before+1), nil
}

// most is the energy a device can draw in a span, rounded up to whole mJ.
func most(limit unit.Milliwatts, span unit.Micros) (unit.Millijoules, error) {
	e, err := unit.FloorMulDiv(int64(limit), int64(span), 1_000_000)
	if err != nil {
		return 0, fmt.Errorf("bound a cut: %w", err)
	}
	return unit.Millijoules(e) + 1, nil
}
