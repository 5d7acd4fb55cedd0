package attribution

import (
	"cmp"
	"errors"
	"fmt"
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

// Instance is a MIG instance and what it did.
type Instance struct {
	UUID     string
	Slices   int64
	Activity []Reading
}

// Partition is the counter of a GPU in MIG mode, split into one cumulative virtual counter per instance (design §3):
// per interval between samples, base = min(ΔE, P_idle·Δt) goes by compute slices over all slices of the GPU, the rest by
// activity × slices over the instances. The virtual counters are cut like any other.
type Partition struct {
	// BySlices counts the intervals split by slices because activity could not be read.
	BySlices int

	meter     *Meter
	instances []Instance
	// cumulative[k] holds, for each measured or estimated epoch, what instances 0..k−1 had of it since the hour's start.
	cumulative [][]window.Epoch
}

// NewPartition splits the hour of a MIG GPU. idle is P_idle.
func NewPartition(m *Meter, instances []Instance, idle unit.Milliwatts) (*Partition, error) {
	p := &Partition{meter: m, instances: slices.Clone(instances)}
	slices.SortFunc(p.instances, func(a, b Instance) int { return cmp.Compare(a.UUID, b.UUID) })
	var sum int64
	for _, in := range p.instances {
		sum += in.Slices
	}
	if sum > MIGSlices {
		return nil, fmt.Errorf("MIG instances hold %d compute slices, a GPU has %d: mend the inventory", sum, MIGSlices)
	}
	p.cumulative = make([][]window.Epoch, len(p.instances)+1)
	for i, e := range m.epochs {
		if err := p.addEpoch(i, e, idle); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *Partition) addEpoch(i int, e window.Epoch, idle unit.Milliwatts) error {
	points, err := p.meter.within(i, e)
	if err != nil {
		return err
	}
	at := make([]window.Epoch, len(p.cumulative))
	sums := make([]unit.Millijoules, len(p.cumulative))
	for k := range at {
		at[k] = window.Epoch{ID: e.ID, Estimated: e.Estimated, Points: []window.Point{{T: points[0].T}}}
	}
	for j := 1; j < len(points); j++ {
		a, b := points[j-1], points[j]
		weights, read := p.activity(e, a.T, b.T)
		if !read {
			p.BySlices++
		}
		parts, err := p.split(b.C-a.C, b.T-a.T, idle, weights)
		if err != nil {
			return err
		}
		for k := range p.instances {
			for after := k + 1; after < len(sums); after++ {
				sums[after] += parts[k]
			}
		}
		for k := range at {
			at[k].Points = append(at[k].Points, window.Point{T: b.T, C: sums[k]})
		}
	}
	for k := range at {
		p.cumulative[k] = append(p.cumulative[k], at[k])
	}
	return nil
}

// within is the epoch's readings inside the hour, with the cuts at its edges as the outer ones.
func (m *Meter) within(i int, e window.Epoch) ([]window.Point, error) {
	from, err := m.cut(i, m.start)
	if err != nil {
		return nil, err
	}
	to, err := m.cut(i, m.end)
	if err != nil {
		return nil, err
	}
	first, last := max(m.start, e.First().T), min(m.end, e.Last().T)
	out := []window.Point{{T: first, C: from.C}}
	for _, pt := range e.Points {
		if pt.T > first && pt.T < last {
			out = append(out, pt)
		}
	}
	if last > first {
		out = append(out, window.Point{T: last, C: to.C})
	}
	return out, nil
}

// split divides one interval's energy over the instances; what is left of it belongs to slices without an instance.
func (p *Partition) split(energy unit.Millijoules, span unit.Micros, idle unit.Milliwatts, active []uint64) ([]unit.Millijoules, error) {
	least, err := unit.FloorMulDiv(int64(idle), int64(span), 1_000_000)
	if err != nil {
		return nil, fmt.Errorf("idle energy: %w", err)
	}
	base := min(energy, unit.Millijoules(least))
	bySlices := make([]uint64, len(p.instances)+1)
	free := uint64(MIGSlices)
	var anyActive bool
	for k, in := range p.instances {
		bySlices[k] = uint64(in.Slices)
		free -= uint64(in.Slices)
		anyActive = anyActive || active[k] > 0
	}
	bySlices[len(p.instances)] = free
	parts, err := Split(base, bySlices)
	if err != nil {
		return nil, err
	}
	if !anyActive {
		active = bySlices[:len(p.instances)]
	}
	rest, err := Split(energy-base, active)
	if errors.Is(err, ErrNoWeight) {
		return parts, nil // no instance has a size: the rest stays with the slices that have none
	}
	if err != nil {
		return nil, err
	}
	for k := range rest {
		parts[k] += rest[k]
	}
	return parts, nil
}

// mostActive is 285 years: an activity counter that rises by more between two samples has not been read.
const mostActive unit.Micros = 1 << 53

// activity is activity × slices of every instance over the sample interval that holds [a, b), and whether all could be read.
func (p *Partition) activity(e window.Epoch, a, b unit.Micros) ([]uint64, bool) {
	left, right := enclosing(e.Points, a, b)
	weights := make([]uint64, len(p.instances))
	for k, in := range p.instances {
		x, okX := readingAt(in.Activity, left)
		y, okY := readingAt(in.Activity, right)
		if !okX || !okY || x.Run != y.Run || y.Active < x.Active || y.Active-x.Active > mostActive {
			return make([]uint64, len(p.instances)), false
		}
		weights[k] = uint64(y.Active-x.Active) * uint64(in.Slices)
	}
	return weights, true
}

// enclosing are the samples around [a, b): the last at or before a, the first at or after b.
func enclosing(points []window.Point, a, b unit.Micros) (left, right unit.Micros) {
	byTime := func(p window.Point, t unit.Micros) int { return cmp.Compare(p.T, t) }
	i, exact := slices.BinarySearchFunc(points, a, byTime)
	if !exact {
		i--
	}
	j, _ := slices.BinarySearchFunc(points, b, byTime)
	return points[max(i, 0)].T, points[min(j, len(points)-1)].T
}

func readingAt(readings []Reading, t unit.Micros) (Reading, bool) {
	i, ok := slices.BinarySearchFunc(readings, t, func(r Reading, t unit.Micros) int { return cmp.Compare(r.T, t) })
	if !ok {
		return Reading{}, false
	}
	return readings[i], true
}

// Instance is what instance uuid gets over [a, b).
func (p *Partition) Instance(uuid string, a, b unit.Micros) (Part, error) {
	k := slices.IndexFunc(p.instances, func(in Instance) bool { return in.UUID == uuid })
	if k < 0 {
		return Part{}, fmt.Errorf("no MIG instance %s on this GPU: mend the inventory", uuid)
	}
	whole, err := p.meter.Total(a, b)
	if err != nil {
		return Part{}, err
	}
	part := Part{Interpolated: whole.Interpolated, Low: whole.Low, High: whole.High}
	for i, e := range p.cumulative[k] {
		var energy unit.Millijoules
		for _, side := range []struct {
			sign  unit.Millijoules
			epoch window.Epoch
		}{{1, p.cumulative[k+1][i]}, {-1, e}} {
			from, err := side.epoch.At(a, p.meter.period, 0)
			if err != nil {
				return Part{}, err
			}
			to, err := side.epoch.At(b, p.meter.period, 0)
			if err != nil {
				return Part{}, err
			}
			energy += side.sign * (to.C - from.C)
		}
		if e.Estimated {
			part.Estimated += energy
		} else {
			part.Measured += energy
		}
	}
	part.Interpolated = min(part.Interpolated, part.Measured)
	return part, nil
}

// RangeOf is the thousandths of the GPU that an instance stands for, by compute slices: neighbours share their bounds, so
// instances and the rest sum to 1000.
func (p *Partition) RangeOf(uuid string) []Range {
	var before int64
	for _, in := range p.instances {
		if in.UUID == uuid {
			return []Range{{before * 1000 / MIGSlices, (before + in.Slices) * 1000 / MIGSlices}}
		}
		before += in.Slices
	}
	return nil
}

// ShareOf is the size of RangeOf.
func (p *Partition) ShareOf(uuid string) unit.Thousandths {
	var sum int64
	for _, r := range p.RangeOf(uuid) {
		sum += r.Hi - r.Lo
	}
	return unit.Thousandths(sum)
}
