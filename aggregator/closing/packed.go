package closing

import (
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Packed are the readings of a device of which closing needs all: a GPU in MIG mode, or an instance of one. Of a large site
// they wait packed and are unpacked node by node.
type Packed struct {
	t, c, integral                window.Packed
	who                           []stretch
	wt, wactive, wexpected, wread window.Packed
	runs                          []stretch
}

// stretch is what does not change over some readings.
type stretch struct {
	n                 int
	boot, driver, run string
	seen              int64
}

// Pack packs readings.
func Pack(points []window.Point, work []Work) *Packed {
	var p Packed
	for _, pt := range points {
		who := stretch{boot: pt.Boot, driver: pt.Driver, run: pt.Run, seen: pt.Seen}
		p.who = extend(p.who, who)
	}
	for _, w := range work {
		p.runs = extend(p.runs, stretch{run: w.Run})
	}
	p.t = column(points, func(pt window.Point) int64 { return int64(pt.T) })
	p.c = column(points, func(pt window.Point) int64 { return int64(pt.C) })
	p.integral = column(points, func(pt window.Point) int64 { return int64(pt.Integral) })
	p.wt = column(work, func(w Work) int64 { return int64(w.T) })
	p.wactive = column(work, func(w Work) int64 { return int64(w.SMActive) })
	p.wexpected = column(work, func(w Work) int64 { return w.Expected })
	p.wread = column(work, func(w Work) int64 { return w.Read })
	return &p
}

func column[T any](list []T, value func(T) int64) window.Packed {
	out := make([]int64, len(list))
	for i, v := range list {
		out[i] = value(v)
	}
	return window.Pack(out)
}

func extend(list []stretch, s stretch) []stretch {
	if n := len(list); n > 0 {
		last := list[n-1]
		last.n = 0
		if last == s {
			list[n-1].n++
			return list
		}
	}
	s.n = 1
	return append(list, s)
}

// Points are the readings of the counter.
func (p *Packed) Points() []window.Point {
	t, c, integral := p.t.List(), p.c.List(), p.integral.List()
	out := make([]window.Point, 0, len(t))
	for _, s := range p.who {
		for range s.n {
			i := len(out)
			out = append(out, window.Point{
				T: unit.Micros(t[i]), C: unit.Millijoules(c[i]), Boot: s.boot, Driver: s.driver, Run: s.run,
				Integral: unit.Millijoules(integral[i]), Seen: s.seen,
			})
		}
	}
	return out
}

// Work are the collector's own counters.
func (p *Packed) Work() []Work {
	t, active, expected, read := p.wt.List(), p.wactive.List(), p.wexpected.List(), p.wread.List()
	out := make([]Work, 0, len(t))
	for _, s := range p.runs {
		for range s.n {
			i := len(out)
			out = append(out, Work{T: unit.Micros(t[i]), Run: s.run, SMActive: unit.Micros(active[i]), Expected: expected[i], Read: read[i]})
		}
	}
	return out
}

// unpacked is the node with the readings of all its devices.
func (n Node) unpacked() Node {
	devices := make([]Device, len(n.Devices))
	for i, d := range n.Devices {
		if p := d.Packed; p != nil {
			d.Points, d.Work, d.Packed = p.Points(), p.Work(), nil
		}
		devices[i] = d
	}
	n.Devices = devices
	return n
}
