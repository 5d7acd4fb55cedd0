package fleettest

import (
	"slices"
	"sort"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Power is what a device really draws: constant between instants of whole milliseconds, known exactly.
type Power struct {
	from []unit.Micros
	mw   []int64
	nj   []int64 // drawn before from[i]; mW × µs is nJ
	busy []int64 // thousandths of the SMs that have work
	ran  []int64 // busy × µs before from[i]
}

// Then goes on with another power from t on.
func (p *Power) Then(t unit.Micros, mw, busy int64) {
	if n := len(p.from); n > 0 {
		dt := int64(t - p.from[n-1])
		p.nj = append(p.nj, p.nj[n-1]+p.mw[n-1]*dt)
		p.ran = append(p.ran, p.ran[n-1]+p.busy[n-1]*dt)
	} else {
		p.nj, p.ran = append(p.nj, 0), append(p.ran, 0)
	}
	p.from, p.mw, p.busy = append(p.from, t), append(p.mw, mw), append(p.busy, busy)
}

func (p *Power) segment(t unit.Micros) int {
	return max(0, sort.Search(len(p.from), func(i int) bool { return p.from[i] > t })-1)
}

// Nanojoules is all that was drawn up to t.
func (p *Power) Nanojoules(t unit.Micros) int64 {
	i := p.segment(t)
	return p.nj[i] + p.mw[i]*int64(max(0, t-p.from[i]))
}

// Busy is for how long SMs had work up to t, in µs × thousandths.
func (p *Power) Busy(t unit.Micros) int64 {
	i := p.segment(t)
	return p.ran[i] + p.busy[i]*int64(max(0, t-p.from[i]))
}

// profile draws the power of a device over [from, to): stretches of a second to ten minutes, some of them idle for long, and a
// step soon after each edge, as a job that begins or ends causes it.
func (f *Fleet) profile(from, to unit.Micros, idle, limit int64, edges []unit.Micros) *Power {
	steps := []unit.Micros{from}
	long := f.chance(4)
	for t := from; t < to; {
		span := unit.Micros(1+f.rng.Int64N(600_000)) * unit.Millisecond
		if long {
			span *= 8
		}
		t += span
		steps = append(steps, t)
	}
	for _, e := range edges {
		if e > from && e < to {
			steps = append(steps, (e/unit.Millisecond+unit.Micros(1+f.rng.Int64N(3000)))*unit.Millisecond)
		}
	}
	slices.Sort(steps)
	steps = slices.Compact(steps)
	p := &Power{}
	for _, t := range steps {
		if f.chance(4) {
			p.Then(t, idle, 0)
			continue
		}
		mw := idle + f.rng.Int64N(limit-idle)
		p.Then(t, mw, 1000*(mw-idle)/(limit-idle))
	}
	return p
}

// sum is the power of several devices together.
func sum(parts []*Power) *Power {
	var steps []unit.Micros
	for _, p := range parts {
		steps = append(steps, p.from...)
	}
	slices.Sort(steps)
	out := &Power{}
	for _, t := range slices.Compact(steps) {
		var mw int64
		for _, p := range parts {
			if len(p.from) > 0 && t >= p.from[0] {
				mw += p.mw[p.segment(t)]
			}
		}
		out.Then(t, mw, 0)
	}
	return out
}
