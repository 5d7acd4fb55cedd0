package window

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// MostHole is how long a meter may have seen nothing, between two of its epochs or intervals, and still tell an hour's amount.
const MostHole = 15 * 60 * unit.Second

// Refusal is why nothing can be made of a meter's readings.
type Refusal struct{ Kind, Detail string }

func (r *Refusal) Error() string { return r.Detail }

// The kinds of refusal.
const (
	MeterBackwards   = "meter_runs_backwards"
	MeterContradicts = "meter_contradicts"
	MeterImpossible  = "meter_impossible"
)

// Curve is the running total of one meter and quantity, made from its readings. It is cut by the line between the readings
// around an edge, as the counter of a device is, so that any cuts of a stretch add up to it.
type Curve struct {
	stretches []stretch
	counter   bool
}

// stretch is an epoch of a counter, or one interval, whose total begins at 0. Marks are in order of time and of value.
type stretch struct{ marks []mark }

type mark struct {
	t unit.Micros
	v int64
}

func (s stretch) first() unit.Micros { return s.marks[0].t }
func (s stretch) last() unit.Micros  { return s.marks[len(s.marks)-1].t }

// NewCurve makes the curve of one meter's readings of one quantity, each value times scale. Neither order nor repeats matter.
// The error is a *Refusal: the readings contradict one another or the nature of a meter.
func NewCurve(readings []record.Reading, scale int64) (Curve, error) {
	rs := slices.Clone(readings)
	slices.SortFunc(rs, func(a, b record.Reading) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Value, b.Value))
	})
	var c Curve
	for i, r := range rs {
		c.counter = c.counter || r.Counter
		switch {
		case r.Counter != rs[0].Counter:
			return Curve{}, refuse(MeterContradicts, "meter %s states both a counter and intervals of %s, at %s: state one of them", r.Meter, r.Quantity, clock(r.From))
		case r.Value < 0:
			return Curve{}, refuse(MeterImpossible, "meter %s states %d %s at %s: a meter counts upwards from 0", r.Meter, r.Value, r.Unit, clock(r.From))
		case r.Value > math.MaxInt64/scale:
			return Curve{}, refuse(MeterImpossible, "meter %s states %d %s at %s: no meter counts as far", r.Meter, r.Value, r.Unit, clock(r.From))
		case r.Counter:
		case r.To <= r.From:
			return Curve{}, refuse(MeterImpossible, "meter %s states an interval without length at %s: state its end", r.Meter, clock(r.From))
		case i > 0 && same(rs[i-1], r):
		case i > 0 && r.From < rs[i-1].To:
			return Curve{}, refuse(MeterContradicts, "meter %s states the intervals from %s and from %s, which overlap: state each time once",
				r.Meter, clock(rs[i-1].From), clock(r.From))
		default:
			c.stretches = append(c.stretches, stretch{[]mark{{r.From, 0}, {r.To, r.Value * scale}}})
		}
	}
	if c.counter {
		return counterCurve(rs, scale)
	}
	return c, nil
}

func same(a, b record.Reading) bool {
	return a.From == b.From && a.To == b.To && a.Epoch == b.Epoch && a.Value == b.Value
}

// counterCurve gathers the readings of a counter, in order of time, by epoch.
func counterCurve(rs []record.Reading, scale int64) (Curve, error) {
	c := Curve{counter: true}
	index := map[string]int{}
	for _, r := range rs {
		i, ok := index[r.Epoch]
		if !ok {
			index[r.Epoch] = len(c.stretches)
			c.stretches = append(c.stretches, stretch{[]mark{{r.From, r.Value * scale}}})
			continue
		}
		s := &c.stretches[i]
		switch last := s.marks[len(s.marks)-1]; {
		case last.t == r.From && last.v == r.Value*scale:
		case last.t == r.From:
			return Curve{}, refuse(MeterContradicts, "meter %s reads both %d and %d %s at %s: state one of them", r.Meter, last.v/scale, r.Value, r.Unit, clock(r.From))
		case last.v > r.Value*scale:
			return Curve{}, refuse(MeterBackwards, "meter %s runs backwards, from %d to %d %s at %s: a meter that was reset begins a new epoch",
				r.Meter, last.v/scale, r.Value, r.Unit, clock(r.From))
		case i != len(c.stretches)-1:
			return Curve{}, refuse(MeterContradicts, "meter %s reads its epoch %q at %s, after the next had begun: a counter has one epoch at a time",
				r.Meter, r.Epoch, clock(r.From))
		default:
			s.marks = append(s.marks, mark{r.From, r.Value * scale})
		}
	}
	return c, nil
}

func refuse(kind, format string, args ...any) *Refusal {
	return &Refusal{kind, fmt.Sprintf(format, args...)}
}

func clock(t unit.Micros) string { return t.Time().Format("2006-01-02T15:04:05.000Z") }

// Spans says whether the curve tells the amount of [a, b): it was read on both sides of both edges, and no hole in between is
// longer than MostHole. Within an epoch there are no holes, since a counter loses nothing.
func (c Curve) Spans(a, b unit.Micros) bool {
	if len(c.stretches) == 0 || c.stretches[0].first() > a || c.stretches[len(c.stretches)-1].last() < b {
		return false
	}
	for i := 1; i < len(c.stretches); i++ {
		if min(b, c.stretches[i].first())-max(a, c.stretches[i-1].last()) > MostHole {
			return false
		}
	}
	return true
}

// Covered is how much of [a, b) the curve has seen.
func (c Curve) Covered(a, b unit.Micros) unit.Micros {
	var sum unit.Micros
	for _, s := range c.stretches {
		sum += max(0, min(b, s.last())-max(a, s.first()))
	}
	return sum
}

// Between is the amount of [a, b), and how far it can be from the truth, down and up: of a cut between two readings it is known
// only that it lies between them. Outside its readings the curve stands still.
func (c Curve) Between(a, b unit.Micros) (amount, low, high int64, err error) {
	for _, s := range c.stretches {
		if s.last() <= a || s.first() >= b {
			continue
		}
		from, err := s.at(a)
		if err != nil {
			return 0, 0, 0, err
		}
		to, err := s.at(b)
		if err != nil {
			return 0, 0, 0, err
		}
		amount += to.c - from.c
		low += min(to.c-from.c, to.c-to.low+from.high-from.c)
		high += to.high - to.c + from.c - from.low
	}
	return amount, low, high, nil
}

type edge struct{ c, low, high int64 }

func (s stretch) at(t unit.Micros) (edge, error) {
	i, exact := slices.BinarySearchFunc(s.marks, t, func(m mark, t unit.Micros) int { return cmp.Compare(m.t, t) })
	switch {
	case exact:
		return edge{s.marks[i].v, s.marks[i].v, s.marks[i].v}, nil
	case i == 0:
		return edge{s.marks[0].v, s.marks[0].v, s.marks[0].v}, nil
	case i == len(s.marks):
		v := s.marks[i-1].v
		return edge{v, v, v}, nil
	}
	l, r := s.marks[i-1], s.marks[i]
	v, err := Value(l.t, r.t, unit.Millijoules(l.v), unit.Millijoules(r.v), t)
	return edge{int64(v), l.v, r.v}, err
}
