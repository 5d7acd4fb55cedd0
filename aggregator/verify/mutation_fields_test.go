package verify_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest/books"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// metered draws a fleet with meters, factors and late data, with its adjusted ledger.
func metered(t *rapid.T) (*fleettest.Fleet, *books.Book) {
	f := fleettest.NewWith(rapid.Uint64().Draw(t, "seed"), fleettest.Options{Meters: true, Factors: true, Late: true})
	b, err := books.Settled(f)
	if err != nil {
		t.Fatal(err)
	}
	return f, b
}

// One unit of any figure that is summed shows, in a closing or in an adjustment, and so do its lines dropped, doubled or moved.
func TestOneUnitOfAnyFigureShows(t *testing.T) {
	fields := map[string]func(*record.Entry){
		"gpu":       func(e *record.Entry) { e.GPU++ },
		"cpu":       func(e *record.Entry) { e.CPU-- },
		"rest":      func(e *record.Entry) { e.NodeRest++ },
		"shared":    func(e *record.Entry) { e.ITShared-- },
		"facility":  func(e *record.Entry) { e.Facility++ },
		"measured":  func(e *record.Entry) { e.Measured-- },
		"estimated": func(e *record.Entry) { e.Estimated++ },
		"modelled":  func(e *record.Entry) { e.Modelled-- },
		"time":      func(e *record.Entry) { e.DeviceTime++ },
		"carbon":    func(e *record.Entry) { e.Carbon-- },
		"market":    func(e *record.Entry) { e.CarbonMarket++ },
		"embodied":  func(e *record.Entry) { e.CarbonEmbodied-- },
		"water":     func(e *record.Entry) { e.Water++ },
		"heat":      func(e *record.Entry) { e.HeatReused-- },
	}
	moves := map[string]func(*record.Entry){
		"account": func(e *record.Entry) { e.Account += "?" },
		"tenant":  func(e *record.Entry) { e.Tenant += "?" },
		"device":  func(e *record.Entry) { e.Device += "?" },
		"hour":    func(e *record.Entry) { e.Hour = "2026-01-01T00:00:00Z" },
		"project": func(e *record.Entry) { e.Project += "?" },
		"model":   func(e *record.Entry) { e.Model += "?" },
		"from":    func(e *record.Entry) { e.From++ },
	}
	rapid.Check(t, func(t *rapid.T) {
		f, b := metered(t)
		lines, _, err := recomputed(f, true)
		if err != nil {
			t.Fatal(err)
		}
		i := rapid.IntRange(0, len(b.Entries)-1).Draw(t, "entry")
		shows := func(what string, entries []record.Entry) {
			t.Helper()
			if verify.Compare(entries, lines).Entries == 0 {
				t.Fatalf("%s of %+v goes unnoticed", what, b.Entries[i])
			}
		}
		change := func(edit func(*record.Entry)) []record.Entry {
			out := slices.Clone(b.Entries)
			edit(&out[i])
			return out
		}
		for name, edit := range fields {
			shows(name, change(edit))
		}
		if e := b.Entries[i]; e.DeviceTime == 0 && e.Total() == 0 {
			return // it says nothing that could be missed
		}
		for name, edit := range moves {
			shows("a move of "+name, change(edit))
		}
		shows("a drop", slices.Delete(slices.Clone(b.Entries), i, i+1))
		shows("a double", append(slices.Clone(b.Entries), b.Entries[i]))
	})
}

// A cut whose value, or the value of a sample that it names, is off by one unit shows.
func TestAChangedCutShows(t *testing.T) {
	edits := map[string]func(*record.Cut){
		"value up":   func(c *record.Cut) { c.C++ },
		"value down": func(c *record.Cut) { c.C-- },
		"left":       func(c *record.Cut) { c.C0 += 2 }, // by one it may be the other of two readings that a made-up device gives at one instant
		"left time":  func(c *record.Cut) { c.T0-- },
		"bounds":     func(c *record.Cut) { c.Low, c.High = c.C+1, c.C+1 },
	}
	rapid.Check(t, func(t *rapid.T) {
		f, b := metered(t)
		series := map[string]verify.Series{}
		for _, n := range f.Nodes {
			for uuid, s := range n.Series {
				series[uuid] = s
			}
		}
		if c := verify.CompareCuts(series, b.Cuts); c.Cuts != 0 {
			t.Fatalf("a right ledger's cuts: %v", c.First)
		}
		if len(b.Cuts) == 0 {
			return
		}
		i := rapid.IntRange(0, len(b.Cuts)-1).Draw(t, "cut")
		for name, edit := range edits {
			cuts := slices.Clone(b.Cuts)
			edit(&cuts[i])
			if verify.CompareCuts(series, cuts).Cuts == 0 {
				t.Fatalf("%s of %+v goes unnoticed", name, b.Cuts[i])
			}
		}
	})
}

// One unit of a reading of a meter, or of a sample, shows in the lines that are made from it.
func TestOneUnitOfAReadingShows(t *testing.T) {
	begin, end := fleettest.Begin, fleettest.Begin+unit.Hour
	made := func(edit func(s []verify.Sample, node, site []record.Reading)) []record.Entry {
		t.Helper()
		counter := func(meter, quantity, node string, first, last int64) []record.Reading {
			at := func(t unit.Micros, v int64) record.Reading {
				return record.Reading{Meter: meter, Quantity: quantity, Unit: record.ReadingUnits[quantity], Node: node, From: t, To: t, Value: v, Counter: true}
			}
			return []record.Reading{at(begin, first), at(end, last)}
		}
		samples := []verify.Sample{
			{Tick: begin, At: begin, Energy: 1_000, Integral: verify.Absent, Activity: verify.Absent},
			{Tick: end, At: end, Energy: 2_001_000, Integral: verify.Absent, Activity: verify.Absent},
		}
		node, site := counter("bmc", "node_energy", "n", 50, 3_000_050), counter("feed", "site_energy", "", 7, 4_000_007)
		site = append(site, counter("pipe", "water", "", 3, 90_003)...)
		edit(samples, node, site)
		f := fleettest.New(1, fleettest.Short)
		f.Site.Readings = site
		gpu := record.Device{UUID: "GPU-1", Node: "n", Kind: record.KindGPU, Energy: record.EnergyHardware, LimitMilliwatts: 1_000_000}
		lines, _, err := verify.Recompute(f.Site, []verify.Node{{
			Node: record.Node{ID: "n", Site: f.Site.ID}, Devices: []record.Device{gpu}, Readings: node, IdleLimit: 10,
			Series: map[string]verify.Series{"GPU-1": {Identities: []verify.Identity{{}}, Samples: samples}},
		}}, verify.Period{From: begin, To: end, Settled: true}, true)
		if err != nil {
			t.Fatal(err)
		}
		return lines
	}
	right := made(func([]verify.Sample, []record.Reading, []record.Reading) {})
	if e := right[0]; e.GPU != 2_000_000 || e.NodeRest != 1_000_000 || e.Facility != 1_000_000 || e.Water != 90_000_000 {
		t.Fatalf("%+v", e)
	}
	shows := func(what string, edit func(s []verify.Sample, node, site []record.Reading)) {
		t.Helper()
		if verify.Compare(right, made(edit)).Entries == 0 {
			t.Errorf("%s goes unnoticed", what)
		}
	}
	for i := range 2 {
		shows("a sample", func(s []verify.Sample, _, _ []record.Reading) { s[i].Energy++ })
		shows("the node's meter", func(_ []verify.Sample, node, _ []record.Reading) { node[i].Value++ })
		shows("the feed", func(_ []verify.Sample, _, site []record.Reading) { site[i].Value++ })
		shows("the water meter", func(_ []verify.Sample, _, site []record.Reading) { site[2+i].Value++ })
		shows("a reading that is moved", func(_ []verify.Sample, node, _ []record.Reading) {
			node[i].From += unit.Micros(1-2*i) * unit.Second // into the hour: it no longer tells the whole of it
			node[i].To = node[i].From
		})
	}
}

// A factor that is another one shows in what is counted with it.
func TestAChangedFactorShows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, b := metered(t)
		right := f.Site.Factors
		var energy unit.Millijoules
		for _, e := range b.Entries {
			energy += e.Total()
		}
		if energy < unit.MillijoulesPerKWh {
			return
		}
		shows := func(what string, edit func(*verify.Factors)) {
			t.Helper()
			f.Site.Factors = func(hour unit.Micros) verify.Factors {
				x := right(hour)
				edit(&x)
				return x
			}
			lines, _, err := recomputed(f, true)
			if err != nil {
				t.Fatal(err)
			}
			if c := verify.Compare(b.Entries, lines); c.Carbon == 0 && c.Water == 0 {
				t.Fatalf("another %s goes unnoticed", what)
			}
		}
		shows("grid", func(x *verify.Factors) { x.Grid.Value += 1000 })
		shows("residual mix", func(x *verify.Factors) {
			x.Instruments = nil
			x.Residual = factor.Chosen{Edition: factor.Edition{Kind: factor.ResidualMix, Value: 900_000_000, Boundary: "lifecycle"}}
		})
	})
}
