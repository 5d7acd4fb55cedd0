package attribution

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"

	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/unit"
)

// MIGSlices are the compute slices of a GPU in MIG mode.
const MIGSlices = 7

// Reading is the activity counter of a MIG instance at one of its GPU's readings.
type Reading struct {
	T      unit.Micros // the energy time stamp of the GPU's reading
	Run    string      // activity is integrated by the collector and starts anew with each run
	Active unit.Micros
}

// Instance is a MIG instance and what it did. It is there from From to To; 0 is open.
type Instance struct {
	UUID     string
	Slices   int64
	From, To unit.Micros
	Activity []Reading
}

// Partition is the counter of a GPU in MIG mode, split into one cumulative virtual counter per instance (design §3):
// per interval between samples, base = min(ΔE, P_idle·Δt) goes by compute slices over all slices of the GPU, the rest by
// activity × slices over the instances. The counter is cut where the layout changes, and of each part only the instances of its
// layout get something. The virtual counters are cut like any other.
type Partition struct {
	// Layouts are those of the hour, one after another.
	Layouts []Layout
	// BySlices counts the intervals split by slices because activity could not be read.
	BySlices int

	meter     *Meter
	instances []Instance
	curves    []curves // one for each epoch of the meter

	// What one interval is split by; kept here so that an hour of seconds allocates nothing.
	active, remainders []uint64
	parts              []unit.Millijoules
	left, right        []int // of each instance, the readings of its activity around the interval
}

// curves are the cumulative virtual counters of an epoch: sums[k] is what instances 0..k−1 had of it by times, since the
// hour's start.
type curves struct {
	estimated bool
	times     []unit.Micros
	sums      [][]unit.Millijoules
}

// at is counter k at t, on the line between the times around it and held at the outer ones.
func (c curves) at(k int, t unit.Micros) (unit.Millijoules, error) {
	i, exact := slices.BinarySearch(c.times, t)
	switch {
	case exact:
		return c.sums[k][i], nil
	case i == 0:
		return c.sums[k][0], nil
	case i == len(c.times):
		return c.sums[k][i-1], nil
	}
	return window.Value(c.times[i-1], c.times[i], c.sums[k][i-1], c.sums[k][i], t)
}

// NewPartition splits the hour of a GPU that is there, in MIG mode, in [from, to). idle is P_idle.
func NewPartition(m *Meter, from, to unit.Micros, instances []Instance, idle unit.Milliwatts) (*Partition, error) {
	n := len(instances)
	p := &Partition{
		meter: m, instances: slices.Clone(instances), active: make([]uint64, n),
		parts: make([]unit.Millijoules, n+1), remainders: make([]uint64, n+1), left: make([]int, n), right: make([]int, n),
	}
	slices.SortFunc(p.instances, func(a, b Instance) int { return cmp.Compare(a.UUID, b.UUID) })
	p.Layouts = layouts(p.instances, m.start, m.end, from, to)
	for i, e := range m.epochs {
		c, err := p.split(i, e, idle)
		if err != nil {
			return nil, err
		}
		p.curves = append(p.curves, c)
	}
	return p, nil
}

// split makes the virtual counters of an epoch, interval by interval.
func (p *Partition) split(i int, e window.Epoch, idle unit.Milliwatts) (curves, error) {
	from, err := p.meter.cut(i, p.meter.start)
	if err != nil {
		return curves{}, err
	}
	to, err := p.meter.cut(i, p.meter.end)
	if err != nil {
		return curves{}, err
	}
	first, last := max(p.meter.start, e.First().T), min(p.meter.end, e.Last().T)
	l, exact := slices.BinarySearchFunc(e.Points, first, func(p window.Point, t unit.Micros) int { return cmp.Compare(p.T, t) })
	if !exact {
		l-- // the sample before the hour's start
	}
	c := p.begin(e.Estimated, first, len(e.Points)-l+len(p.Layouts))
	at := window.Point{T: first, C: from.C}
	layout := &p.Layouts[0]
	for n := 0; at.T < last; {
		for layout.To <= at.T {
			n++
			layout = &p.Layouts[n]
		}
		r := min(l+1, len(e.Points)-1)
		next, reached := e.Points[r], r
		if next.T >= last {
			next = window.Point{T: last, C: to.C}
		}
		if layout.To < last && layout.To <= next.T {
			edge, err := p.meter.cut(i, layout.To)
			if err != nil {
				return curves{}, err
			}
			if layout.To < next.T {
				next, reached = window.Point{T: layout.To, C: edge.C}, l
			}
		}
		if !p.activity(layout, e.Points[l].T, e.Points[r].T) {
			p.BySlices++
		}
		if err := p.interval(layout, next.C-at.C, next.T-at.T, idle); err != nil {
			return curves{}, err
		}
		c.times = append(c.times, next.T)
		var sum unit.Millijoules
		end := len(c.sums[0]) - 1
		c.sums[0] = append(c.sums[0], 0)
		for k := range p.instances {
			sum += p.parts[k]
			c.sums[k+1] = append(c.sums[k+1], c.sums[k+1][end]+sum)
		}
		at, l = next, reached
	}
	return c, nil
}

// begin are curves that begin at first, with room for n times.
func (p *Partition) begin(estimated bool, first unit.Micros, n int) curves {
	c := curves{estimated: estimated, times: make([]unit.Micros, 1, n), sums: make([][]unit.Millijoules, len(p.instances)+1)}
	c.times[0] = first
	values := make([]unit.Millijoules, n*len(c.sums))
	for k := range c.sums {
		c.sums[k] = values[k*n : k*n+1 : (k+1)*n]
	}
	for k := range p.instances { // the activity of an epoch is looked for from its beginning
		p.left[k], p.right[k] = 0, 0
	}
	return c
}

// interval divides one interval's energy over the instances of its layout into p.parts, by p.active; what is left of it belongs
// to slices without an instance.
func (p *Partition) interval(layout *Layout, energy unit.Millijoules, span unit.Micros, idle unit.Milliwatts) error {
	least, err := unit.FloorMulDiv(int64(idle), int64(span), 1_000_000)
	if err != nil {
		return fmt.Errorf("idle energy: %w", err)
	}
	clear(p.parts)
	base := min(energy, unit.Millijoules(least))
	hamilton(base, layout.slices, p.parts, p.remainders)
	weights := p.active
	if !slices.ContainsFunc(weights, func(w uint64) bool { return w > 0 }) {
		weights = layout.slices[:len(p.instances)]
	}
	// If no instance has a size the rest stays with the slices that have none.
	hamilton(energy-base, weights, p.parts, p.remainders)
	return nil
}

// hamilton adds to parts what Split makes of amount, without allocating: the weights are few and sum to less than 2^63. It adds
// nothing when every weight is zero.
func hamilton(amount unit.Millijoules, weights []uint64, parts []unit.Millijoules, remainders []uint64) {
	var total uint64
	for _, w := range weights {
		total += w
	}
	if total == 0 || amount == 0 {
		return
	}
	size, sign := uint64(amount), unit.Millijoules(1)
	if amount < 0 { // a late sample can lie below the cut that the hour before has sealed
		size, sign = -size, -1
	}
	left := size
	for i, w := range weights {
		hi, lo := bits.Mul64(size, w)
		q, r := bits.Div64(hi, lo, total)
		parts[i] += sign * unit.Millijoules(q)
		left -= q
		remainders[i] = r
	}
	for ; left > 0; left-- {
		best := 0
		for i, r := range remainders[:len(weights)] {
			if r > remainders[best] {
				best = i
			}
		}
		parts[best] += sign
		remainders[best] = 0 // a remainder of 0 gets no unit: those left over are fewer than the other remainders
	}
}

// mostActive is 285 years: an activity counter that rises by more between two samples has not been read.
const mostActive unit.Micros = 1 << 53

// activity writes activity × slices of every instance of the layout between the samples at left and right into p.active, and says
// whether all could be read. The samples come in order.
func (p *Partition) activity(layout *Layout, left, right unit.Micros) bool {
	for k := range p.instances {
		if !layout.has[k] {
			p.active[k] = 0
			continue
		}
		in := &p.instances[k]
		x, okX := reading(in.Activity, &p.left[k], left)
		p.right[k] = max(p.right[k], p.left[k])
		y, okY := reading(in.Activity, &p.right[k], right)
		if !okX || !okY || x.Run != y.Run || y.Active < x.Active || y.Active-x.Active > mostActive {
			clear(p.active)
			return false
		}
		p.active[k] = uint64(y.Active-x.Active) * uint64(in.Slices)
	}
	return true
}

// reading is the one at t, sought from *at on, which is left there.
func reading(readings []Reading, at *int, t unit.Micros) (*Reading, bool) {
	if i := *at; i < len(readings) && readings[i].T < t && (i+1 >= len(readings) || readings[i+1].T < t) {
		more, _ := slices.BinarySearchFunc(readings[i:], t, func(r Reading, t unit.Micros) int { return cmp.Compare(r.T, t) })
		*at = i + more
	}
	for *at < len(readings) && readings[*at].T < t {
		*at++
	}
	if *at == len(readings) || readings[*at].T != t {
		return nil, false
	}
	return &readings[*at], true
}

// Instance is what instance uuid gets over [a, b).
func (p *Partition) Instance(uuid string, a, b unit.Micros) (Part, error) {
	k := p.Place(uuid)
	if k < 0 {
		return Part{}, fmt.Errorf("no MIG instance %s on this GPU: mend the inventory", uuid)
	}
	return p.Part(k, a, b)
}

// Part is what the instance at place k gets over [a, b).
func (p *Partition) Part(k int, a, b unit.Micros) (Part, error) {
	whole, err := p.meter.Total(a, b)
	if err != nil {
		return Part{}, err
	}
	part := Part{Interpolated: whole.Interpolated, Low: whole.Low, High: whole.High}
	for _, c := range p.curves {
		var energy unit.Millijoules
		for _, corner := range []struct {
			sign unit.Millijoules
			k    int
			t    unit.Micros
		}{{1, k + 1, b}, {-1, k + 1, a}, {-1, k, b}, {1, k, a}} {
			v, err := c.at(corner.k, corner.t)
			if err != nil {
				return Part{}, err
			}
			energy += corner.sign * v
		}
		if c.estimated {
			part.Estimated += energy
		} else {
			part.Measured += energy
		}
	}
	part.Interpolated = min(part.Interpolated, part.Measured)
	return part, nil
}

// Place is where an instance stands in the order of their virtual counters; −1 when it is not on this GPU.
func (p *Partition) Place(uuid string) int {
	return slices.IndexFunc(p.instances, func(in Instance) bool { return in.UUID == uuid })
}

// Below is what the first k instances had from the hour's start up to t.
func (p *Partition) Below(k int, t unit.Micros) (unit.Millijoules, error) {
	var sum unit.Millijoules
	for _, c := range p.curves {
		v, err := c.at(k, t)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}
