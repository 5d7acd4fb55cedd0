package attribution

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Part is what a holder gets of a counter over a window.
type Part struct {
	// Measured came from a counter, Estimated from the integral of power where no counter saw it.
	Measured, Estimated unit.Millijoules
	// Interpolated is the part of Measured between samples too far apart to place it in time.
	Interpolated unit.Millijoules
	// Low and High are how far Measured can be from the truth, down and up.
	Low, High unit.Millijoules
}

// Add sums two parts.
func (p Part) Add(q Part) Part {
	return Part{
		p.Measured + q.Measured, p.Estimated + q.Estimated, p.Interpolated + q.Interpolated, p.Low + q.Low, p.High + q.High,
	}
}

// Sub is what remains of p without q. Bounds add crosswise: where q is more than was measured, less remains.
func (p Part) Sub(q Part) Part {
	return Part{
		p.Measured - q.Measured, p.Estimated - q.Estimated, p.Interpolated - q.Interpolated, p.Low + q.High, p.High + q.Low,
	}
}

// Meter is the counter of one device over one hour, ready to be cut. Cuts are made once and shared.
type Meter struct {
	// Steps says what the counter did besides rising.
	Steps window.Step

	epochs     []window.Epoch
	start, end unit.Micros
	stored     *record.Cut
	period     unit.Micros
	limit      unit.Milliwatts
	cuts       map[cutKey]record.Cut
}

type cutKey struct {
	epoch int
	t     unit.Micros
}

// NewMeter prepares the counter of a device for the hour [start, end). points are its readings from the hour, with the
// first at or after its end; stored is the cut at start that closing the hour before made, nil when there is none.
func NewMeter(points []window.Point, stored *record.Cut, start, end, period unit.Micros, limit unit.Milliwatts) *Meter {
	if stored != nil {
		// The left-hand sample of the stored cut carries its epoch into this hour; nothing before it is looked at again.
		kept := []window.Point{{
			T: stored.T0, C: stored.C0, Boot: stored.Boot, Driver: stored.Driver, Run: stored.Run, Integral: stored.Integral0,
			Seen: stored.Seen0,
		}}
		for _, p := range points {
			if p.T > stored.T0 {
				kept = append(kept, p)
			}
		}
		points = kept
	}
	epochs, steps := window.Epochs(points, limit)
	if stored != nil && len(epochs) > 0 && epochs[0].First().T == stored.T0 {
		epochs[0].ID = stored.Epoch
		stored = widened(*stored, epochs[0], period, limit)
	}
	return &Meter{
		Steps: steps, epochs: window.Bridge(epochs), start: start, end: end, stored: stored, period: period, limit: limit,
		cuts: map[cutKey]record.Cut{},
	}
}

// widened is a stored cut that was open when its hour closed, bounded by the sample that has come since. Its value stays.
func widened(cut record.Cut, e window.Epoch, period unit.Micros, limit unit.Milliwatts) *record.Cut {
	if !cut.Open || len(e.Points) < 2 {
		return &cut
	}
	now, err := e.At(cut.T, period, limit)
	if err != nil {
		return &cut
	}
	cut.T1, cut.C1, cut.Interpolated = now.T1, now.C1, now.Interpolated
	cut.Low, cut.High = min(now.Low, cut.C), max(now.High, cut.C)
	return &cut
}

// Empty says that nothing was ever read.
func (m *Meter) Empty() bool { return len(m.epochs) == 0 }

func (m *Meter) cut(epoch int, t unit.Micros) (record.Cut, error) {
	e := m.epochs[epoch]
	if t == m.start && m.stored != nil && e.ID == m.stored.Epoch && !e.Estimated {
		return *m.stored, nil // a closed hour never changes: what it did not count falls to this one
	}
	if t == m.start && m.stored != nil && m.stored.Open && e.Estimated && e.First().T <= t {
		// When the hour before closed, nobody knew where the unseen stretch would end: it booked none of it.
		return record.Cut{Epoch: e.ID, T: t}, nil
	}
	key := cutKey{epoch, t}
	if c, ok := m.cuts[key]; ok {
		return c, nil
	}
	c, err := e.At(t, m.period, m.limit)
	if err != nil {
		return record.Cut{}, fmt.Errorf("epoch %d: %w", e.ID, err)
	}
	if c.Open && epoch+1 < len(m.epochs) {
		c.High = c.C // the epoch is over: what came after its last sample is in no counter
	}
	m.cuts[key] = c
	return c, nil
}

// Total is all the counter measured over [a, b).
func (m *Meter) Total(a, b unit.Micros) (Part, error) {
	return m.Slots([]Range{{0, 1}}, 1, a, b)
}

// Slots is what the holder of some of the counter's slots gets over [a, b): the difference of the virtual counters
// B(s) = ⌊s·C/slots⌋ at the bounds of its ranges (design §3).
func (m *Meter) Slots(ranges []Range, slots int64, a, b unit.Micros) (Part, error) {
	var part Part
	for i, e := range m.epochs {
		from, err := m.cut(i, a)
		if err != nil {
			return Part{}, err
		}
		to, err := m.cut(i, b)
		if err != nil {
			return Part{}, err
		}
		if from.C == to.C && from.Low == from.High && to.Low == to.High {
			continue
		}
		var energy unit.Millijoules
		var width int64
		for _, r := range ranges {
			up, err := virtualDiff(from.C, to.C, r.Hi, slots)
			if err != nil {
				return Part{}, err
			}
			down, err := virtualDiff(from.C, to.C, r.Lo, slots)
			if err != nil {
				return Part{}, err
			}
			energy += up - down
			width += r.Hi - r.Lo
		}
		if e.Estimated {
			part.Estimated += energy
			continue
		}
		part.Measured += energy
		part.Interpolated += min(energy, scaled(interpolated(from, to), width, slots))
		part.Low += scaled(to.C-to.Low+from.High-from.C, width, slots)
		part.High += scaled(to.High-to.C+from.C-from.Low, width, slots)
	}
	return part, nil
}

// Below is what the slots below slot had from the hour's start up to t: a virtual counter that begins at 0. Differences of it
// are what Slots tells of a holder.
func (m *Meter) Below(slot, slots int64, t unit.Micros) (unit.Millijoules, error) {
	var sum unit.Millijoules
	if slot == 0 {
		return 0, nil
	}
	for i := range m.epochs {
		from, err := m.cut(i, m.start)
		if err != nil {
			return 0, err
		}
		to, err := m.cut(i, t)
		if err != nil {
			return 0, err
		}
		d, err := virtualDiff(from.C, to.C, slot, slots)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

func virtualDiff(from, to unit.Millijoules, slot, slots int64) (unit.Millijoules, error) {
	a, err := unit.FloorMulDiv(int64(from), slot, slots)
	if err != nil {
		return 0, fmt.Errorf("virtual counter %d of %d: %w", slot, slots, err)
	}
	b, err := unit.FloorMulDiv(int64(to), slot, slots)
	if err != nil {
		return 0, fmt.Errorf("virtual counter %d of %d: %w", slot, slots, err)
	}
	return unit.Millijoules(b - a), nil
}

// scaled is the share of a bound, rounded up: a bound is never made tighter than it is.
func scaled(e unit.Millijoules, width, slots int64) unit.Millijoules {
	if e <= 0 || width == 0 {
		return 0
	}
	if width == slots {
		return e
	}
	v, err := unit.FloorMulDiv(int64(e), width, slots)
	if err != nil {
		return e
	}
	return unit.Millijoules(v) + 2 // one for the floor here, one for the floors of the virtual counters
}

// interpolated is the energy between two cuts whose place in time no sample fixed.
func interpolated(from, to record.Cut) unit.Millijoules {
	var sum unit.Millijoules
	if from.Interpolated {
		sum += min(from.C1, to.C) - from.C
	}
	if to.Interpolated && to.T0 >= from.T {
		sum += to.C - to.C0
	} else if to.Interpolated && !from.Interpolated {
		sum += to.C - from.C
	}
	return max(sum, 0)
}

// AllCuts are the cuts made at edges inside their epoch, and for the hour's end the last epoch's even when it is open, so
// that the next hour can go on from it. In order of time, then epoch.
func (m *Meter) AllCuts() ([]record.Cut, error) {
	for i, e := range m.epochs {
		if !e.Estimated && e.First().T <= m.end {
			if _, err := m.cut(i, m.end); err != nil {
				return nil, err
			}
		}
	}
	keys := slices.SortedFunc(maps.Keys(m.cuts), func(a, b cutKey) int { return cmp.Or(cmp.Compare(a.t, b.t), cmp.Compare(a.epoch, b.epoch)) })
	var out []record.Cut
	latest := -1
	for _, key := range keys {
		e, c := m.epochs[key.epoch], m.cuts[key]
		switch {
		case e.Estimated || e.First().T > c.T:
		case key.t == m.end:
			latest = max(latest, key.epoch)
		case !c.Open:
			out = append(out, c)
		}
	}
	if latest >= 0 {
		c := m.cuts[cutKey{latest, m.end}]
		if latest+1 < len(m.epochs) && c.Open {
			c.Open = false // the epoch is over: what comes after is known
			c.T1, c.C1 = m.epochs[len(m.epochs)-1].First().T, c.C0
		}
		out = append(out, c)
	}
	return out, nil
}

// Covered is how much of [a, b) lies between two samples of an epoch, or after the stored cut of one.
func (m *Meter) Covered(a, b unit.Micros) unit.Micros {
	var sum unit.Micros
	for _, e := range m.epochs {
		from, to := max(a, e.First().T), min(b, e.Last().T)
		if to > from {
			sum += to - from
		}
	}
	return sum
}
