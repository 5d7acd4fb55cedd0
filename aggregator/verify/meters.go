package verify

import (
	"cmp"
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// The quantities of meters that the accounts are made from.
const (
	quantityNode     = "node_energy"
	quantityShared   = "it_shared_energy"
	quantitySite     = "site_energy"
	quantityWater    = "water"
	quantityHeat     = "heat"
	microlitresPerMl = 1000
)

// longestHole is how long a meter may be silent between two of its lives, or between two of its intervals, and still count.
const longestHole = int64(15 * 60 * unit.Second)

// metering is what the meters of one quantity say about a stretch of time.
type metering struct {
	amount int64
	// found says that there is a meter, usable that all there are were read throughout.
	found, usable bool
	// meters are their names, in order.
	meters []string
}

// metered adds up the meters of a quantity over [from, to), each value times scale. One that was not read throughout spoils all:
// a sum that lacks a part is no measurement of the whole.
func (x *exact) metered(readings []record.Reading, quantity string, scale, from, to int64) metering {
	byMeter := map[string][]record.Reading{}
	for _, r := range readings {
		// An hour looks no further than closing does, so what a meter did at noon says nothing of the night.
		if hour := unit.Micros(from).FloorHour(); r.Quantity == quantity && r.To >= hour-Around && r.From <= hour+unit.Hour+Around {
			byMeter[r.Meter] = append(byMeter[r.Meter], r)
		}
	}
	m := metering{found: len(byMeter) > 0, usable: len(byMeter) > 0}
	for name, list := range byMeter {
		m.meters = append(m.meters, name)
		v, ok := x.meter(list, scale, from, to)
		m.amount += v
		m.usable = m.usable && ok
	}
	slices.Sort(m.meters)
	return m
}

// meter is what one meter measured, and whether it was read throughout and does not contradict itself.
func (x *exact) meter(list []record.Reading, scale, from, to int64) (int64, bool) {
	slices.SortFunc(list, func(a, b record.Reading) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Value, b.Value))
	})
	list = slices.CompactFunc(list, func(a, b record.Reading) bool {
		return a.From == b.From && a.To == b.To && a.Epoch == b.Epoch && a.Value == b.Value
	})
	if slices.ContainsFunc(list, func(r record.Reading) bool { return r.Counter != list[0].Counter }) {
		return 0, false // it is read as a counter and by intervals
	}
	if list[0].Counter {
		return x.counterMeter(list, scale, from, to)
	}
	return x.intervalMeter(list, scale, from, to)
}

// counterMeter is the rise of a meter's counter, over all its lives. Within a life it only rises, and a life does not begin
// before the one before has ended.
func (x *exact) counterMeter(list []record.Reading, scale, from, to int64) (int64, bool) {
	var lives []epoch
	seen := map[string]bool{}
	var name string
	for _, r := range list {
		p := point{t: int64(r.From), c: x.floor(r.Value, scale, 1)}
		if n := len(lives); n > 0 && r.Epoch == name {
			if last := lives[n-1].last(); p.t == last.t || p.c < last.c {
				return 0, false
			}
			lives[n-1].points = append(lives[n-1].points, p)
			continue
		}
		if seen[r.Epoch] {
			return 0, false
		}
		seen[r.Epoch] = true
		lives, name = append(lives, epoch{points: []point{p}}), r.Epoch
	}
	ok := lives[0].first().t <= from && lives[len(lives)-1].last().t >= to
	var sum int64
	for i := range lives {
		l := &lives[i]
		sum += x.on(l, to) - x.on(l, from)
		if i > 0 && min(l.first().t, to)-max(lives[i-1].last().t, from) > longestHole {
			ok = false
		}
	}
	return sum, ok
}

// on is the value of a life of a counter at t: on the line between the readings around t, held at the outer ones.
func (x *exact) on(e *epoch, t int64) int64 {
	for i, p := range e.points {
		switch {
		case p.t == t:
			return p.c
		case p.t > t && i == 0:
			return p.c
		case p.t > t:
			a := e.points[i-1]
			return x.line(a.t, a.c, p.t, p.c, t)
		}
	}
	return e.last().c
}

// intervalMeter counts amounts of intervals up into a counter and cuts that one.
func (x *exact) intervalMeter(list []record.Reading, scale, from, to int64) (int64, bool) {
	at := func(t int64) int64 {
		var sum int64
		for _, r := range list {
			a, b, v := int64(r.From), int64(r.To), x.floor(r.Value, scale, 1)
			switch {
			case b <= t:
				sum += v
			case a < t:
				sum += x.floor(v, t-a, b-a)
			}
		}
		return sum
	}
	ok := int64(list[0].From) <= from && int64(list[len(list)-1].To) >= to
	for i, r := range list {
		if r.Value < 0 || r.To <= r.From || (i > 0 && r.From < list[i-1].To) {
			return 0, false // no amount of a time, or two of one
		}
		if i > 0 && min(int64(r.From), to)-max(int64(list[i-1].To), from) > longestHole {
			ok = false
		}
	}
	return at(to) - at(from), ok
}
