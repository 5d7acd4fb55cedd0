package verify_test

import (
	"cmp"
	"slices"

	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest"
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// booked closes the fleet's hours one after the other, as the aggregator does: with the samples known by then, and the
// cuts that the hour before stored.
func booked(f *fleettest.Fleet) ([]record.Entry, []record.Cut, error) {
	var entries []record.Entry
	var all []record.Cut
	stored := map[string]record.Cut{}
	for h := f.Period().From; h < f.Period().To; h += unit.Hour {
		hour := closing.Hour{Site: f.Site, Start: h, Grid: f.Grid}
		for _, n := range f.Nodes {
			if exists(n.From, n.To, h) {
				hour.Nodes = append(hour.Nodes, closing.Node{Node: n.Node, Devices: load(n, h, stored)})
			}
		}
		res, err := closing.Close(hour)
		if err != nil {
			return nil, nil, err
		}
		entries, all = append(entries, res.Entries...), append(all, res.Cuts...)
		clear(stored)
		for _, c := range res.Cuts {
			if have, ok := stored[c.Device]; c.T == hour.End() && (!ok || c.Epoch > have.Epoch) {
				stored[c.Device] = c
			}
		}
	}
	return entries, all, nil
}

func exists(from, to, hour unit.Micros) bool {
	return from < hour+unit.Hour && (to == 0 || to > hour)
}

func load(n verify.Node, h unit.Micros, stored map[string]record.Cut) []closing.Device {
	var out []closing.Device
	for _, d := range n.Devices {
		if !exists(d.From, d.To, h) {
			continue
		}
		dev := closing.Device{Device: d, Period: 10 * unit.Second}
		for _, a := range n.Allocations[d.UUID] {
			if a.Start < h+unit.Hour {
				dev.Allocations = append(dev.Allocations, a)
			}
		}
		if c, ok := stored[d.UUID]; ok {
			dev.Stored = &c
		}
		if d.Kind == record.KindMIG {
			dev.Work = onParent(n.Series[d.UUID], known(n.Series[d.Parent], h))
		} else {
			s := n.Series[d.UUID]
			for _, r := range known(s, h) {
				id := s.Identities[r.Identity]
				dev.Points = append(dev.Points, window.Point{
					T: r.At, C: r.Energy, Boot: id.Boot, Driver: id.Driver, Run: id.Run, Integral: r.Integral, Seen: r.Seen,
				})
				dev.Work = append(dev.Work, closing.Work{T: r.At, Run: id.Run})
			}
		}
		out = append(out, dev)
	}
	return out
}

// known are the readings that closing the hour at h knows of: those of the hour and the first at or after its end.
func known(s verify.Series, h unit.Micros) []verify.Sample {
	var rows []verify.Sample
	for _, r := range s.Samples {
		if r.At != verify.Absent && r.Tick >= h-verify.Lookahead && r.Tick < h+unit.Hour+verify.Lookahead {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b verify.Sample) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Energy, b.Energy), cmp.Compare(a.Tick, b.Tick))
	})
	rows = slices.Compact(rows) // deliveries that came twice
	for i := 1; i < len(rows); i++ {
		if rows[i-1].At >= h+unit.Hour {
			return rows[:i]
		}
	}
	return rows
}

func onParent(s verify.Series, gpu []verify.Sample) []closing.Work {
	at := map[unit.Micros]unit.Micros{}
	for _, r := range gpu {
		at[r.Tick] = r.At
	}
	rows := slices.Clone(s.Samples)
	slices.SortFunc(rows, func(a, b verify.Sample) int { return cmp.Compare(a.Tick, b.Tick) })
	var out []closing.Work
	for _, r := range slices.Compact(rows) {
		if t, ok := at[r.Tick]; ok && r.Activity != verify.Absent {
			out = append(out, closing.Work{T: t, Run: s.Identities[r.Identity].Run, SMActive: r.Activity})
		}
	}
	return out
}
