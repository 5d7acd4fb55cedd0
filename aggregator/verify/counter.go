package verify

import (
	"cmp"
	"slices"
	"sort"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// point is a reading of an energy counter.
type point struct {
	t, c     int64
	tick     int64 // of the first sample that showed it
	integral int64
	seen     int64 // epochs the collector saw within its run, or Absent
	id       Identity
}

// epoch is a stretch in which a counter only rose. An estimated one has two points: power, integrated by the collector
// between two epochs of a counter that itself saw nothing.
type epoch struct {
	points    []point
	estimated bool
}

func (e *epoch) first() point { return e.points[0] }
func (e *epoch) last() point  { return e.points[len(e.points)-1] }

// counter is all that a device's energy counter did.
type counter struct{ epochs []epoch }

// life is a stretch of hours in which a device was there, and what its counter did.
type life struct {
	hours Period
	// begins says that it begins in hours.From: the closing of that hour had no cut to go on from.
	begins bool
	counter
}

// lives are the stretches of hours within p in which any of the rows, the stays of one device, is there. first says that p
// begins with the ledger.
func lives(rows []record.Device, p Period, first bool) []life {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b record.Device) int { return cmp.Compare(a.From, b.From) })
	var out []life
	for _, d := range rows {
		l := life{hours: p}
		l.begins = first
		if d.From >= p.From {
			l.hours.From, l.begins = d.From.FloorHour(), true
		}
		if d.To != 0 {
			l.hours.To = min(p.To, (d.To + unit.Hour - 1).FloorHour())
		}
		switch n := len(out); {
		case l.hours.From >= l.hours.To:
		case n > 0 && out[n-1].hours.To >= l.hours.From: // hour after hour: one closing goes on from the other
			out[n-1].hours.To = max(out[n-1].hours.To, l.hours.To)
		default:
			out = append(out, l)
		}
	}
	return out
}

// known are the samples that closing its hours knew of.
func (l life) known(s Series) Series {
	if !l.begins {
		return s
	}
	out := Series{Identities: s.Identities}
	for _, r := range s.Samples {
		if r.Tick >= l.hours.From-Lookahead {
			out.Samples = append(out.Samples, r)
		}
	}
	return out
}

// newCounter orders readings and splits them into epochs (design §3, "Epochs").
func (x *exact) newCounter(s Series, d record.Device) counter {
	var ps []point
	for _, r := range s.Samples {
		if r.At != Absent && r.Energy != Absent {
			ps = append(ps, point{
				t: int64(r.At), c: int64(r.Energy), tick: int64(r.Tick), integral: int64(r.Integral), seen: r.Seen,
				id: s.Identities[r.Identity],
			})
		}
	}
	slices.SortFunc(ps, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.t, b.t), cmp.Compare(a.id.Boot, b.id.Boot), cmp.Compare(a.id.Driver, b.id.Driver),
			cmp.Compare(a.c, b.c), cmp.Compare(a.tick, b.tick), cmp.Compare(a.id.Run, b.id.Run),
			cmp.Compare(a.seen, b.seen))
	})
	var measured []epoch
	for _, p := range ps {
		if n := len(measured); n > 0 {
			last := measured[n-1].last()
			same := last.id.Boot == p.id.Boot && last.id.Driver == p.id.Driver
			if same && last.t == p.t {
				continue // the same reading again, or one whose time does not rise
			}
			// A counter that the collector integrates ends with its run.
			same = same && (d.Energy != record.EnergyIntegrated || last.id.Run == p.id.Run)
			// Within a run the collector may have seen the counter begin anew, whatever it shows.
			if last.id.Run == p.id.Run && last.seen != Absent && p.seen != Absent {
				same = same && last.seen == p.seen
			}
			fast := d.LimitMilliwatts > 0 && x.above(p.c-last.c, int64(d.LimitMilliwatts), p.t-last.t)
			if same && p.c >= last.c && !fast {
				measured[n-1].points = append(measured[n-1].points, p)
				continue
			}
		}
		measured = append(measured, epoch{points: []point{p}})
	}
	var c counter
	for i, e := range measured {
		if i > 0 {
			a, b := measured[i-1].last(), e.first()
			seen := a.id.Boot == b.id.Boot && a.id.Run == b.id.Run && a.integral != Absent && b.integral != Absent
			if rise := b.integral - a.integral; seen && rise > 0 && b.t > a.t {
				c.epochs = append(c.epochs, epoch{estimated: true, points: []point{{t: a.t, tick: a.tick}, {t: b.t, c: rise, tick: b.tick}}})
			}
		}
		c.epochs = append(c.epochs, e)
	}
	return c
}

// window is an hour as its closing sees it.
type window struct {
	start, end int64
	first      bool // of the ledger: no closing before it cut its start
	settled    bool // hours were looked at again since: all is known
	// Unless the ledger still holds a counter open at the edge.
	openStart, openEnd bool
}

func newWindow(start unit.Micros, first bool) window {
	return window{start: int64(start), end: int64(start + unit.Hour), first: first}
}

// known is the tick from which on nothing was known when the value at t was fixed. The start of an hour was fixed by the
// closing of the hour before, and stays: a closed hour never changes.
func (w window) known(t int64) int64 {
	if w.settled {
		switch {
		case t == w.start && w.openStart:
			return w.start + int64(Lookahead)
		case t > w.start && w.openEnd:
			return w.end + int64(Lookahead)
		}
		return 1<<63 - 1
	}
	if t == w.start && !w.first {
		return w.start + int64(Lookahead)
	}
	return w.end + int64(Lookahead)
}

// at is the epoch's value at t: on the line between the samples around t, held at the outer ones and at the last one that
// was known.
func (x *exact) at(e *epoch, w window, t int64) int64 {
	i := sort.Search(len(e.points), func(i int) bool { return e.points[i].t > t })
	if i == 0 {
		return e.points[0].c
	}
	a := e.points[i-1]
	if i == len(e.points) || a.t == t || e.points[i].tick >= w.known(t) {
		return a.c
	}
	b := e.points[i]
	return x.line(a.t, a.c, b.t, b.c, t)
}

// amount is energy by where it comes from.
type amount struct{ measured, estimated int64 }

func (a amount) sum() int64 { return a.measured + a.estimated }

func (a *amount) add(e *epoch, v int64) {
	if e.estimated {
		a.estimated += v
	} else {
		a.measured += v
	}
}

func (a amount) plus(b amount) amount {
	return amount{a.measured + b.measured, a.estimated + b.estimated}
}

func (a amount) minus(b amount) amount {
	return amount{a.measured - b.measured, a.estimated - b.estimated}
}

// slotsEnergy is what some of n slots of a counter get over [a, b): each slot's virtual counter is the difference of
// ⌊s·C/n⌋ at its two bounds, so a row of slots is the difference at the bounds of the row (design §3, "Time slices").
func (x *exact) slotsEnergy(c counter, w window, rows []row, n, a, b int64) amount {
	var out amount
	for i := range c.epochs {
		e := &c.epochs[i]
		from, to := x.at(e, w, a), x.at(e, w, b)
		if from == to {
			continue
		}
		for _, r := range rows {
			upper := x.floor(to, r.hi, n) - x.floor(from, r.hi, n)
			lower := x.floor(to, r.lo, n) - x.floor(from, r.lo, n)
			out.add(e, upper-lower)
		}
	}
	return out
}
