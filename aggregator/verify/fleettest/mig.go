package fleettest

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const (
	// sliceIdle is the idle power of one compute slice, slicePower what it draws above that at full load.
	sliceIdle  = 20_000
	slicePower = 100_000
	// least is how long an allocation of a lossless fleet lasts at least.
	least = 10 * 60 * unit.Second
)

// addPartitioned adds a GPU in MIG mode, most often with a layout that changes. Each instance draws its slices' part of idle power, and
// above it by slices × activity; slices without an instance draw idle power.
func (f *Fleet) addPartitioned(n *verify.Node, gpu record.Device) {
	l := f.layouts(gpu)
	parts := []*Power{l.free(f.begin() - unit.Hour)}
	var all []unit.Micros
	for i, d := range l.instances {
		n.Allocations[d.UUID] = f.longEnough(d, f.allocations(d.UUID, f.chance(5)))
		all = append(all, edges(n.Allocations[d.UUID])...)
		for _, t := range []unit.Micros{l.begin[i], l.end[i]} {
			if t != 0 {
				all = append(all, t)
			}
		}
		f.Truth[d.UUID] = f.instancePower(int64(d.Slices), l.begin[i], l.end[i])
		parts = append(parts, f.Truth[d.UUID])
	}
	f.Truth[gpu.UUID] = sum(parts)
	slices.Sort(all)
	n.Series[gpu.UUID] = f.readings(gpu, f.Truth[gpu.UUID], slices.Compact(all))
	for i, d := range l.instances {
		n.Series[d.UUID] = f.activity(f.Truth[d.UUID], n.Series[gpu.UUID], uint64(i), l.begin[i], l.end[i])
		n.Devices = append(n.Devices, d)
	}
}

// layouts are the instances of a GPU, and when each really began and ended; 0 is that it was always there, or still is.
type layouts struct {
	instances  []record.Device
	begin, end []unit.Micros
}

// layouts draws instances: now and then some end, and others begin in the place of those or of slices that were free.
func (f *Fleet) layouts(gpu record.Device) layouts {
	var l layouts
	free := uint32(7)
	begin := func(at, from unit.Micros) {
		for i := 0; free > 0 && i < 4; i++ {
			d := record.Device{
				// The order of names is not that of time.
				UUID: fmt.Sprintf("MIG-%s-%d%d", gpu.UUID, f.rng.IntN(10), len(l.instances)), Parent: gpu.UUID, Node: gpu.Node, Kind: record.KindMIG,
				Slices: 1 + uint32(f.rng.IntN(int(free))), Model: "NVIDIA B200 MIG", Energy: record.EnergyNone, From: from, To: gpu.To,
			}
			free -= d.Slices
			l.instances, l.begin, l.end = append(l.instances, d), append(l.begin, at), append(l.end, 0)
		}
	}
	begin(0, gpu.From)
	if f.chance(3) {
		return l
	}
	at := max(f.Period().From, gpu.From)
	for range 1 + f.rng.IntN(3) {
		soonest := at + least
		at = soonest + unit.Micros(f.rng.Int64N(int64(unit.Hour/unit.Millisecond)))*unit.Millisecond
		switch {
		case f.chance(8) && at.FloorHour() >= soonest:
			at = at.FloorHour()
		case !f.Lossless && f.chance(4):
			at += unit.Micros(f.rng.Int64N(1000))
		}
		if at >= f.Period().To-least || gpu.To != 0 && at >= gpu.To-least {
			break
		}
		for i := range l.instances {
			d := &l.instances[i]
			if l.end[i] != 0 || f.chance(3) {
				continue
			}
			free += d.Slices
			l.end[i] = at
			if !f.options.Crowded || f.chance(2) { // else nobody says that it has ended
				d.To = at
			}
		}
		if f.chance(6) {
			continue // some slices stay free, or all
		}
		begin(at, at)
	}
	return l
}

// free is what slices without an instance draw.
func (l layouts) free(from unit.Micros) *Power {
	at := append(slices.Clone(l.begin), l.end...)
	slices.Sort(at)
	p := &Power{}
	for _, t := range slices.Compact(at) {
		free := int64(7)
		for i, d := range l.instances {
			if l.begin[i] <= t && (l.end[i] == 0 || t < l.end[i]) {
				free -= int64(d.Slices)
			}
		}
		p.Then(max(t, from), sliceIdle*free, 0)
	}
	return p
}

// instancePower draws the power of an instance while it is there.
func (f *Fleet) instancePower(slices int64, begin, end unit.Micros) *Power {
	from, to := f.begin()-unit.Hour, f.end()+2*unit.Hour
	from = max(from, begin)
	if end != 0 {
		to = end
	}
	p := &Power{}
	quiet := f.chance(4)
	for t := from; t < to; t += unit.Micros(1+f.rng.Int64N(300_000)) * unit.Millisecond {
		level := f.rng.Int64N(1001)
		if quiet || f.chance(3) {
			level = 0
		}
		p.Then(t, sliceIdle*slices+slicePower/1000*level*slices, level)
	}
	if end != 0 {
		p.Then(end, 0, 0)
	}
	return p
}

// longEnough are the allocations of an instance of which a lossless fleet has all, or at least ten minutes.
func (f *Fleet) longEnough(d record.Device, list []record.Allocation) []record.Allocation {
	if !f.Lossless {
		return list
	}
	return slices.DeleteFunc(list, func(a record.Allocation) bool {
		from, to := max(a.Start, d.From), a.End
		if d.To != 0 {
			to = min(to, d.To)
		}
		return from < to && to < from+least
	})
}

// activity is what was read of an instance along with its GPU, from its beginning to its end. Of a lossless fleet that includes
// the readings just before and just after: the node reads when it makes an instance, and before it takes one away.
func (f *Fleet) activity(power *Power, gpu verify.Series, seed uint64, begin, end unit.Micros) verify.Series {
	s := verify.Series{Identities: gpu.Identities, Interval: gpu.Interval}
	began := map[int32]int64{}
	quiet := 2 + f.rng.IntN(60)
	rows := sortedByTick(gpu.Samples)
	for i, r := range rows {
		there := r.Tick >= begin && (end == 0 || r.Tick < end)
		if f.Lossless {
			there = (i+1 == len(rows) || rows[i+1].At > begin) && (i == 0 || end == 0 || rows[i-1].At < end)
		}
		if !there {
			continue
		}
		// Whether busy time was read goes with the energy reading, which more than one tick may show.
		noise := rand.New(rand.NewPCG(uint64(r.At), seed))
		at := r.At
		if at == verify.Absent {
			at = r.Tick
		}
		busy := power.Busy(at)
		if _, ok := began[r.Identity]; !ok {
			began[r.Identity] = busy
		}
		r.At, r.Energy, r.Integral = verify.Absent, verify.Absent, verify.Absent
		r.Activity = unit.Micros((busy - began[r.Identity]) / 1000)
		if !f.Lossless && noise.IntN(quiet) == 0 {
			r.Activity = verify.Absent
		}
		s.Samples = append(s.Samples, r)
	}
	return s
}

func sortedByTick(list []verify.Sample) []verify.Sample {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b verify.Sample) int { return int(a.Tick - b.Tick) })
	return out
}
