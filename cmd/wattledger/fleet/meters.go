package fleet

import (
	"fmt"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// MeterPeriod is how often meters are read: on the full quarter of an hour, as billing meters are.
const MeterPeriod = 15 * 60 * unit.Second

// Meters are those of a site, which its building management states. What a site has no meter for stays modelled.
type Meters struct {
	Site string
	// Nodes have a meter of their own; of the others the rest is declared.
	Nodes []string
	// Energy, Water and Heat say which meters the site has besides; Shared is the steady power of what the nodes share.
	Energy, Water, Heat bool
	Shared              unit.Milliwatts
	// Overhead is the site's true PUE × 1000 by hour of the day.
	Overhead [24]int64
}

// Drawn is what devices of a node really drew, since the start of the play.
type Drawn func(node Node, at unit.Micros) (unit.Microjoules, error)

// Gauge turns what devices drew into what meters show. It is called quarter by quarter, in order.
type Gauge struct {
	fleet  *Fleet
	meters Meters
	at     unit.Micros
	// last is what each node's devices had drawn, counters what each meter showed, in µJ or nl.
	last     map[string]unit.Microjoules
	counters map[string]int64
}

// NewGauge begins at the start of the play, when every meter shows what it has come to over the years.
func NewGauge(f *Fleet, m Meters) *Gauge {
	return &Gauge{fleet: f, meters: m, at: f.Start, last: map[string]unit.Microjoules{}, counters: map[string]int64{}}
}

// restShare is how far the true draw of a node's fans, NICs and boards follows its devices, in thousandths of theirs; the rest of
// it is 700 thousandths of what is declared.
const restShare, restFloor = 35, 700

// First are the readings of all meters at the start.
func (g *Gauge) First() []record.Reading { return g.readings() }

// Next plays the meters up to the end of the next quarter.
func (g *Gauge) Next(drawn Drawn) ([]record.Reading, error) {
	from, to := g.at, g.at+MeterPeriod
	seconds := int64(MeterPeriod / unit.Second)
	var it int64 // µJ
	for _, n := range g.fleet.Nodes {
		if n.Site != g.meters.Site {
			continue
		}
		now, err := drawn(n, to)
		if err != nil {
			return nil, err
		}
		devices := int64(now - g.last[n.ID])
		g.last[n.ID] = now
		// A node that comes up within the quarter draws from then on.
		up := int64(to-max(from, n.Boot)) / int64(unit.Millisecond)
		rest := int64(n.RestMilliwatts)*restFloor/1000*max(up, 0) + devices/1000*restShare
		g.counters["node/"+n.ID] += devices + rest
		it += devices + rest
	}
	it += int64(g.meters.Shared) * seconds * 1000
	g.counters["shared"] += int64(g.meters.Shared) * seconds * 1000
	pue := g.meters.Overhead[int(from/unit.Hour)%24]
	site := it / 1000 * pue
	g.counters["site"] += site
	g.counters["water"] += site / 3600 * 9 / 10 // 0.9 litres a kWh: 3.6·10¹² µJ a kWh, 10⁹ nl a litre
	g.counters["heat"] += site / 10 * 3         // three tenths go to the district
	g.at = to
	return g.readings(), nil
}

func (g *Gauge) readings() []record.Reading {
	m := g.meters
	var out []record.Reading
	add := func(meter, node, quantity, unitName string, count int64) {
		out = append(out, record.Reading{
			Meter: meter, Node: node, Quantity: quantity, Unit: unitName, From: g.at, To: g.at, Counter: true, Method: record.MethodCounter,
			Epoch: "1", Value: 7_000_000_000 + count,
		})
	}
	for _, id := range m.Nodes {
		add(id+"/pdu", id, "node_energy", "mJ", g.counters["node/"+id]/1000)
	}
	if m.Shared > 0 {
		add(m.Site+"/network", "", "it_shared_energy", "mJ", g.counters["shared"]/1000)
	}
	if m.Energy {
		add(m.Site+"/main", "", "site_energy", "mJ", g.counters["site"]/1000)
	}
	if m.Water {
		add(m.Site+"/water", "", "water", "ml", g.counters["water"]/1_000_000)
	}
	if m.Heat {
		add(m.Site+"/heat", "", "heat", "mJ", g.counters["heat"]/1000)
	}
	return out
}

// addMeters gives the demo's sites their meters: France meters nodes, network, feed and water; Sweden the feed and the heat it hands on,
// and of nodes only the air-cooled ones.
func (f *Fleet) addMeters() {
	overhead := func(base int64) (o [24]int64) {
		for h := range o {
			o[h] = base + 4*int64(min((h+20)%24, 24-(h+20)%24)) // warmer in the afternoon
		}
		return o
	}
	fr := Meters{Site: siteFR, Energy: true, Water: true, Shared: 18_000_000, Overhead: overhead(1190)}
	se := Meters{Site: siteSE, Energy: true, Heat: true, Overhead: overhead(1080)}
	for _, n := range f.Nodes {
		switch {
		case n.Site == siteFR:
			fr.Nodes = append(fr.Nodes, n.ID)
		case n.Hardware == "hgx-b200":
			se.Nodes = append(se.Nodes, n.ID)
		}
	}
	f.Meters = []Meters{fr, se}
	for i := range f.Sites {
		f.Sites[i].ReadingSource = "building-" + f.Sites[i].ID
	}
	for t := f.Start; t <= f.End; t += MeterPeriod {
		f.Events = append(f.Events, fmt.Sprintf("mark %d", t))
	}
}
