package fleettest

import (
	"fmt"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// addNodeMeter gives a node a meter of its own: of the whole, or one that shows less than its devices.
func (f *Fleet) addNodeMeter(n *verify.Node) {
	if f.chance(4) {
		return
	}
	permille := int64(1000)
	if f.chance(6) {
		permille = 300 // an impossible reading
	}
	n.Readings = f.meter(n.ID+"/bmc", "node_energy", n.ID, f.Truth[n.ID], permille)
	if f.chance(15) {
		n.Readings = append(n.Readings, f.meter(n.ID+"/pdu", "node_energy", n.ID, f.Truth[n.ID], permille)...)
	}
}

func (f *Fleet) addSiteMeters() {
	var nodes []*Power
	for _, n := range f.Nodes {
		nodes = append(nodes, f.Truth[n.ID])
	}
	all := sum(nodes)
	add := func(name, quantity string, p *Power, permille int64) {
		f.Site.Readings = append(f.Site.Readings, f.meter(name, quantity, "", p, permille)...)
	}
	if f.chance(2) {
		add("switches", "it_shared_energy", f.profile(f.begin()-unit.Hour, f.end()+2*unit.Hour, 100_000, 2_000_000, nil), 1000)
	}
	if !f.chance(3) {
		permille := 1000 + f.rng.Int64N(600)
		if f.chance(6) {
			permille = 500 // less than the IT it feeds
		}
		if f.chance(2) {
			add("feed-a", "site_energy", all, permille/2)
			add("feed-b", "site_energy", all, permille-permille/2)
		} else {
			add("feed", "site_energy", all, permille)
		}
	}
	if f.chance(2) {
		add("water", "water", all, 1) // a millilitre for each kJ
	}
	if f.chance(2) {
		add("heat", "heat", all, 400)
	}
}

// meter reads a power as a counter or by intervals, with resets, holes and, seldom, values that fall.
func (f *Fleet) meter(name, quantity, node string, p *Power, permille int64) []record.Reading {
	r := f.rng
	var out []record.Reading
	value := func(t unit.Micros) int64 { return p.Nanojoules(t) / 1_000_000 * permille / 1000 }
	step := unit.Micros(10+r.Int64N(900)) * unit.Second
	counter := !f.chance(3)
	epoch, zero := 0, value(f.begin())
	base := record.Reading{
		Meter: name, Quantity: quantity, Unit: record.ReadingUnits[quantity], Node: node, Counter: counter, Method: record.MethodCounter,
	}
	if base.Unit == "" {
		base.Unit = "mJ"
	}
	for t := f.begin() - unit.Micros(r.Int64N(int64(step))); t < f.end(); {
		next := t + step
		if f.chance(60) {
			next += unit.Micros(r.Int64N(int64(40 * 60 * unit.Second)))
		}
		v := base
		if counter {
			if f.chance(60) {
				epoch, zero = epoch+1, value(t)
			}
			v.From, v.To, v.Value, v.Epoch = t, t, value(t)-zero, fmt.Sprint(epoch)
			v.Value = max(0, v.Value)
			if f.chance(3000) {
				v.Value /= 2 // it fell, or will seem to have
			}
		} else {
			v.From, v.To, v.Value = t, next, value(next)-value(t)
			if f.chance(100) {
				v.From += step / 4 // a hole
			}
		}
		out = append(out, v)
		if f.chance(20) {
			out = append(out, v)
		}
		t = next
	}
	if f.options.Late && f.chance(3) {
		f.Late.Outage(name, f.within())
	}
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// addFactors draws an edition for each hour, and later words on it.
func (f *Fleet) addFactors() {
	f.Site.Factors = func(hour unit.Micros) verify.Factors { return f.Factors(hour, 1<<62) }
	grid := factor.Chosen{Edition: factor.Edition{Kind: factor.GridIntensity, Key: "FR", Value: f.Grid.MicrogramsPerKWh}}
	if !f.options.Factors {
		f.Revisions = []Revision{{Factors: verify.Factors{Grid: grid}}}
		return
	}
	for h := range f.Hours {
		from := Begin + unit.Micros(h)*unit.Hour
		f.Revisions = append(f.Revisions, Revision{From: from, Factors: f.editions()})
		if f.options.Late && f.chance(4) {
			f.Revisions = append(f.Revisions, Revision{From: from, Known: f.afterwards(from), Factors: f.editions()})
		}
	}
}

func (f *Fleet) editions() verify.Factors {
	r := f.rng
	chosen := func(kind factor.Kind, key string, v int64) factor.Chosen {
		return factor.Chosen{Edition: factor.Edition{Kind: kind, Key: key, Value: v, Boundary: "lifecycle", Source: "drawn", Name: "1"}}
	}
	out := verify.Factors{Grid: chosen(factor.GridIntensity, "FR", 10_000_000+r.Int64N(600_000_000))}
	if f.chance(2) {
		out.Residual = chosen(factor.ResidualMix, "FR", 10_000_000+r.Int64N(600_000_000))
	}
	for range r.IntN(3) {
		i := factor.Edition{Kind: factor.Instrument, Key: f.Site.ID, Value: r.Int64N(50_000_000), Boundary: "lifecycle", Source: "drawn", Name: fmt.Sprint(r.IntN(100))}
		if f.chance(2) {
			i.Volume, i.Matching = unit.Millijoules(1+r.Int64N(20_000_000_000)), "hourly"
		} else {
			i.Cover, i.Matching = 1+r.Int64N(900_000), "yearly"
		}
		out.Instruments = append(out.Instruments, i)
	}
	if f.chance(2) {
		out.PUE = chosen(factor.PUE, f.Site.ID, 1000+r.Int64N(900))
	}
	if f.chance(2) {
		out.WUE = chosen(factor.WUE, f.Site.ID, r.Int64N(2_000_000))
	}
	if f.chance(2) {
		out.HeatReuse = chosen(factor.HeatReuse, f.Site.ID, r.Int64N(900))
	}
	if f.chance(2) {
		e := chosen(factor.Embodied, "NVIDIA B200", 300_000_000_000+r.Int64N(1_000_000_000_000))
		e.Life = 5 * 365 * 24 * 3_600_000
		out.Embodied = map[string]factor.Chosen{"NVIDIA B200": e}
	}
	return out
}
