package attribution

import (
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Crossing is what one epoch of a counter did over a window: the cuts at its edges, which hold the samples around them.
type Crossing struct {
	// Estimated says that no counter saw this stretch: its cuts are of the integral of power.
	Estimated bool
	From, To  record.Cut
}

// Crossings are those of the epochs that moved in [a, b), in order: what Total and Slots are made from.
func (m *Meter) Crossings(a, b unit.Micros) ([]Crossing, error) {
	var out []Crossing
	for i, e := range m.epochs {
		from, err := m.cut(i, a)
		if err != nil {
			return nil, err
		}
		to, err := m.cut(i, b)
		if err != nil {
			return nil, err
		}
		if from.C != to.C {
			out = append(out, Crossing{Estimated: e.Estimated, From: from, To: to})
		}
	}
	return out, nil
}

// Interval is a stretch between two readings of a GPU in MIG mode: up to T its instances, in order of their ids, had come to Sums
// since the hour's start.
type Interval struct {
	T    unit.Micros
	Sums []unit.Millijoules
}

// Intervals are those that touch [a, b), with the edges where there is no reading.
func (p *Partition) Intervals(a, b unit.Micros) []Interval {
	var out []Interval
	for _, c := range p.curves {
		for i, t := range c.times {
			if t < a && (i+1 == len(c.times) || c.times[i+1] <= a) || t > b && i > 0 && c.times[i-1] >= b {
				continue
			}
			in := Interval{T: t}
			for k := range p.instances {
				in.Sums = append(in.Sums, c.sums[k+1][i]-c.sums[k][i])
			}
			out = append(out, in)
		}
	}
	return out
}
