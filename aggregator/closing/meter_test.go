package closing

import (
	"slices"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// steady is a device that draws so many watts throughout, with SMs active for a share of the time.
func steady(uuid string, kind record.DeviceKind, watts int64, active int64) Device {
	d := Device{Device: record.Device{UUID: uuid, Kind: kind, Energy: record.EnergyHardware, Model: "NVIDIA B200", IdleMilliwatts: 140_000}, Period: 60 * unit.Second}
	for t := start - 60*unit.Second; t <= start+unit.Hour+60*unit.Second; t += 60 * unit.Second {
		since := int64(t - start + 60*unit.Second)
		d.Points = append(d.Points, window.Point{T: t, C: unit.Millijoules(since * watts / 1000), Boot: "b", Run: "r", Integral: unit.Millijoules(since * watts / 1000)})
		d.Work = append(d.Work, Work{T: t, Run: "r", SMActive: unit.Micros(since * active / 1000), Expected: since / 60_000_000, Read: since / 60_000_000})
	}
	return d
}

// counts is a counter that rises by mj over the hour.
func counts(name, quantity, node string, mj int64) []record.Reading {
	r := record.Reading{Meter: name, Quantity: quantity, Unit: record.ReadingUnits[quantity], Node: node, Counter: true, From: start, To: start, Value: 7, Epoch: "1"}
	last := r
	last.From, last.To, last.Value = start+unit.Hour, start+unit.Hour, 7+mj
	return []record.Reading{r, last}
}

// oneNode is a site with a node of two GPUs at 500 W, one held by t, and 900 W of declared rest.
func oneNode() Hour {
	a, b := steady("GPU-a", record.KindGPU, 500, 900), steady("GPU-b", record.KindGPU, 500, 0)
	b.Index = 1
	a.Allocations = []record.Allocation{{ID: "one", Device: "GPU-a", Tenant: "t", Share: 1000, Start: start + 1}}
	return Hour{
		Site: record.Site{ID: "s", PUEThousandths: 1200}, Start: start, Limits: DefaultLimits(),
		Factors: carbon.Factors{Grid: edition(factor.GridIntensity, "FR", 44_180_000)},
		Nodes:   []Node{{Node: record.Node{ID: "n", RestMilliwatts: 900_000}, Devices: []Device{a, b}}},
	}
}

const kWh = unit.MillijoulesPerKWh

func sum(entries []record.Entry, of func(record.Entry) unit.Millijoules) (total unit.Millijoules) {
	for _, e := range entries {
		total += of(e)
	}
	return total
}

// Node rest is what the meter reads besides the devices; when that cannot be told it is as declared, and every entry says why.
func TestNodeRest(t *testing.T) {
	f := func(what string, readings []record.Reading, rest unit.Millijoules, source, flags, finding string, excess unit.Millijoules) {
		t.Helper()
		h := oneNode()
		h.Nodes[0].Readings = readings
		res, err := Close(h)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := sum(res.Entries, func(e record.Entry) unit.Millijoules { return e.NodeRest }); got != rest {
			t.Errorf("%s: node rest is %d mJ, want %d", what, got, rest)
		}
		for _, e := range res.Entries {
			if got := strings.Join(slices.DeleteFunc(slices.Clone(e.Flags), func(f string) bool { return f == flagPUE || f == flagSharedUnknown || strings.HasSuffix(f, "_unknown") }), " "); got != flags || e.RestSource != source {
				t.Errorf("%s: entry of %s has flags %q and %q, want %q and %q", what, e.Device, got, e.RestSource, flags, source)
			}
			if e.NodeRest < 0 || e.Facility < 0 {
				t.Errorf("%s: negative energy in %+v", what, e)
			}
		}
		var kinds []string
		for _, x := range res.Findings {
			kinds = append(kinds, x.Kind)
		}
		if got := strings.Join(kinds, " "); got != finding {
			t.Errorf("%s: findings %q, want %q", what, got, finding)
		}
		for _, d := range res.DeviceHours {
			if d.Kind == "node" && d.Excess != excess {
				t.Errorf("%s: excess %d mJ, want %d", what, d.Excess, excess)
			}
		}
	}
	declared := unit.Millijoules(900_000 * 3600)
	f("a meter", counts("bmc", "node_energy", "n", 2*kWh), kWh, "meter bmc", "", "", 0)
	f("no meter", nil, declared, "declared 900000mW", flagRestModelled, "", 0)
	f("a meter of a part", counts("cpus", "cpu_energy", "n", 2*kWh), declared, "declared 900000mW", flagRestModelled, "", 0)
	f("a meter that reads less than the devices", counts("bmc", "node_energy", "n", kWh/2), 0, "meter bmc", flagBelowDevices, FindingBelowParts, kWh/2)
	f("a meter that was read once", counts("bmc", "node_energy", "n", 2*kWh)[:1], declared, "declared 900000mW", flagMeterGap+" "+flagRestModelled, "", 0)
	back := counts("bmc", "node_energy", "n", 2*kWh)
	back[1].Value = 3
	f("a meter that runs backwards", back, declared, "declared 900000mW", flagMeterRefused+" "+flagRestModelled, FindingBackwards, 0)
	back[1].Epoch, back[0].To, back[0].From = "2", start-1, start-1
	f("a meter that was reset and read too seldom", back, declared, "declared 900000mW", flagMeterGap+" "+flagRestModelled, "", 0)
	two := append(counts("bmc", "node_energy", "n", 2*kWh), counts("pdu", "node_energy", "n", 2*kWh)...)
	f("two meters", two, declared, "declared 900000mW", flagMeterRefused+" "+flagRestModelled, FindingTwoMeters, 0)
}

// The site's meters add up to its IT and its facility; where they cannot be used a PUE stands in.
func TestFacility(t *testing.T) {
	f := func(what string, readings []record.Reading, facility, shared unit.Millijoules, source string, flags ...string) record.DeviceHour {
		t.Helper()
		h := oneNode()
		h.Nodes[0].Readings = counts("bmc", "node_energy", "n", 2*kWh)
		h.Readings = readings
		res, err := Close(h)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := sum(res.Entries, func(e record.Entry) unit.Millijoules { return e.Facility }); got != facility {
			t.Errorf("%s: facility is %d mJ, want %d", what, got, facility)
		}
		if got := sum(res.Entries, func(e record.Entry) unit.Millijoules { return e.ITShared }); got != shared {
			t.Errorf("%s: shared IT is %d mJ, want %d", what, got, shared)
		}
		for _, e := range res.Entries {
			for _, want := range flags {
				if !slices.Contains(e.Flags, want) {
					t.Errorf("%s: flags %q lack %s", what, e.Flags, want)
				}
			}
			if e.FacilitySource != source || e.Facility < 0 {
				t.Errorf("%s: %+v", what, e)
			}
		}
		return res.DeviceHours[len(res.DeviceHours)-1]
	}
	two := append(counts("east", "site_energy", "", 2*kWh), counts("west", "site_energy", "", kWh)...)
	f("two meters", two, kWh, 0, "meter east+west", flagSharedUnknown)
	f("one of two cannot be used", two[:3], 2*kWh/5, 0, "declared PUE 1200", flagPUE, flagMeterGap)
	f("none", nil, 2*kWh/5, 0, "declared PUE 1200", flagPUE, flagSharedUnknown)
	f("shared IT too", append(two, counts("net", "it_shared_energy", "", kWh/4)...), 3*kWh/4, kWh/4, "meter east+west")
	f("shared IT and a PUE", counts("net", "it_shared_energy", "", kWh/4), 9*kWh/20, kWh/4, "declared PUE 1200", flagPUE)
	if line := f("less than the IT", counts("east", "site_energy", "", kWh), 0, 0, "meter east", flagSiteBelowIT); line.Excess != kWh || line.Counter != kWh {
		t.Errorf("the line of the site is %+v", line)
	}
}

// A site that takes nothing on its nodes carries its shared IT and its facility itself.
func TestASiteWithoutLoad(t *testing.T) {
	h := Hour{Site: record.Site{ID: "s", PUEThousandths: 1500}, Start: start, Nodes: []Node{{Node: record.Node{ID: "n"}}}}
	h.Readings = append(counts("net", "it_shared_energy", "", 1000), counts("tap", "water", "", 3)...)
	res, err := Close(h)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Entries) != 1 {
		t.Fatalf("entries %+v", res.Entries)
	}
	e := res.Entries[0]
	if e.Account != record.AccountPlatform || e.Node != "" || e.ITShared != 1000 || e.Facility != 500 || e.Water != 3000 || e.SharedSource == "" {
		t.Errorf("entry %+v", e)
	}
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
}

// A superchip: GPUs, CPU and the meter of its module are each there once; the module's is evidence and in no sum.
func TestASuperchipCountsOnce(t *testing.T) {
	a, b, cpu := steady("GPU-a", record.KindGPU, 800, 900), steady("GPU-b", record.KindGPU, 600, 900), steady("CPU-0", record.KindCPU, 200, 0)
	a.Parent, b.Parent, b.Index = "CPU-0", "CPU-0", 1
	a.Allocations = []record.Allocation{{ID: "one", Device: "GPU-a", Tenant: "t", Share: 1000, Start: start - 1}}
	h := Hour{Site: record.Site{ID: "s", PUEThousandths: 1000}, Start: start, Nodes: []Node{{Node: record.Node{ID: "n"}, Devices: []Device{cpu, b, a}}}}
	h.Nodes[0].Readings = append(counts("module0", "module_energy", "n", 17*kWh/10), counts("bmc", "node_energy", "n", 2*kWh)...)
	res, err := Close(h)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][3]unit.Millijoules{ // GPU, CPU, node rest
		"GPU-a": {8 * kWh / 10, kWh / 10, 2 * kWh / 10}, "GPU-b": {6 * kWh / 10, kWh / 10, 2 * kWh / 10},
	}
	if len(res.Entries) != 2 {
		t.Fatalf("entries %+v", res.Entries)
	}
	for _, e := range res.Entries {
		if got := [3]unit.Millijoules{e.GPU, e.CPU, e.NodeRest}; got != want[e.Device] {
			t.Errorf("%s has %v, want %v", e.Device, got, want[e.Device])
		}
	}
}

// A GPU in MIG mode on which nobody works: what it takes is all there, by slices.
func TestAnIdleMIGGPUIsAllThere(t *testing.T) {
	gpu := steady("GPU-m", record.KindGPU, 100, 0)
	gpu.IdleMilliwatts, gpu.IdleBasis = 90_000, "measured 2026-11-03T04:00:00Z"
	devices := []Device{gpu}
	for i, slices := range []uint32{3, 2} {
		in := Device{Device: record.Device{UUID: "MIG-" + string(rune('0'+i)), Parent: "GPU-m", Kind: record.KindMIG, Slices: slices}, Work: gpu.Work, Period: gpu.Period}
		in.Allocations = []record.Allocation{{ID: in.UUID, Device: in.UUID, Tenant: in.UUID, Share: 1000, Start: start - 1}}
		devices = append(devices, in)
	}
	h := Hour{Site: record.Site{ID: "s", PUEThousandths: 1000}, Start: start, Limits: DefaultLimits(), Nodes: []Node{{Node: record.Node{ID: "n"}, Devices: devices}}}
	res, err := Close(h)
	if err != nil {
		t.Fatal(err)
	}
	if got := sum(res.Entries, func(e record.Entry) unit.Millijoules { return e.GPU }); got != kWh/10 {
		t.Errorf("entries have %d mJ, the GPU took %d", got, kWh/10)
	}
	for _, e := range res.Entries {
		if e.Split != "mig P_idle=90000mW measured 2026-11-03T04:00:00Z" {
			t.Errorf("split %q", e.Split)
		}
		if e.Tenant != "" && (e.Account != record.AccountHeldIdle || e.GPU <= 0) {
			t.Errorf("an instance that did nothing: %+v", e)
		}
	}
}

// Held time is idle under the limit and not at it; without activity nothing is said.
func TestHeldIdle(t *testing.T) {
	f := func(what string, active int64, limit unit.Thousandths, share unit.Thousandths, want record.Account) {
		t.Helper()
		d := steady("GPU-a", record.KindGPU, 500, max(active, 0))
		if active < 0 {
			d.Work = nil
		}
		d.Allocations = []record.Allocation{{ID: "one", Device: "GPU-a", Tenant: "t", Share: share, Start: start - 1}}
		h := Hour{Site: record.Site{ID: "s", PUEThousandths: 1000}, Start: start, Limits: Limits{Idle: limit}, Nodes: []Node{{Devices: []Device{d}, Node: record.Node{ID: "n"}}}}
		res, err := Close(h)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range res.Entries {
			if e.Tenant == "t" && (e.Account != want || e.IdleLimit != limit) {
				t.Errorf("%s: account %s with limit %d, want %s", what, e.Account, e.IdleLimit, want)
			}
		}
	}
	f("half a hundredth", 5, 10, 1000, record.AccountHeldIdle)
	f("at the limit", 10, 10, 1000, record.AccountTenant)
	f("just under the limit", 9, 10, 1000, record.AccountHeldIdle)
	f("a share of the device", 10, 10, 250, record.AccountTenant)
	f("a share of an idle device", 9, 10, 250, record.AccountHeldIdle)
	f("no limit", 0, 0, 1000, record.AccountTenant)
	f("activity is not known", -1, 10, 1000, record.AccountTenant)
}

// The integral of power is a second opinion: far from the counter the hour is flagged; across a restart it is not known.
func TestSecondOpinion(t *testing.T) {
	f := func(what string, change func(i int, p *window.Point), want unit.Millijoules, flagged bool) {
		t.Helper()
		h := oneNode()
		for i := range h.Nodes[0].Devices[0].Points {
			change(i, &h.Nodes[0].Devices[0].Points[i])
		}
		res, err := Close(h)
		if err != nil {
			t.Fatal(err)
		}
		line := res.DeviceHours[0]
		if line.Device != "GPU-a" || line.Integral != want || slices.Contains(line.Flags, flagSecondOpinion) != flagged {
			t.Errorf("%s: %+v, want %d mJ", what, line, want)
		}
		for _, e := range res.Entries {
			if got := slices.Contains(e.Flags, flagSecondOpinion); got != (flagged && e.Device == "GPU-a") {
				t.Errorf("%s: entry of %s has flags %q", what, e.Device, e.Flags)
			}
		}
	}
	f("they agree", func(int, *window.Point) {}, kWh/2, false)
	f("within the limit", func(_ int, p *window.Point) { p.Integral = p.Integral * 105 / 100 }, kWh/2*105/100, false)
	f("beyond the limit", func(_ int, p *window.Point) { p.Integral = p.Integral * 106 / 100 }, kWh/2*106/100, true)
	f("power was never read", func(_ int, p *window.Point) { p.Integral = window.NoIntegral }, record.NoIntegral, false)
	f("power was not read once", func(i int, p *window.Point) {
		if i == 30 {
			p.Integral = window.NoIntegral
		}
	}, kWh/2, false)
	f("the collector restarted", func(i int, p *window.Point) {
		if i >= 30 {
			p.Run, p.Integral = "s", p.Integral-p.Integral/2
		}
	}, record.NoIntegral, false)
}

// Market-based carbon is by the site's instruments, then the residual mix, then the grid; boundaries are never mixed.
func TestMarket(t *testing.T) {
	lifecycle := func(c factor.Chosen) factor.Chosen { c.Boundary = factor.Lifecycle; return c }
	instrument := func(ppm int64, boundary string) factor.Edition {
		return factor.Edition{Kind: factor.Instrument, Key: "s", Value: 0, Cover: ppm, Matching: factor.Yearly, Boundary: boundary, Source: "GoO", Name: "1"}
	}
	f := func(what string, factors carbon.Factors, location, market unit.MicrogramsCO2e, flag, finding string) {
		t.Helper()
		h := oneNode()
		h.Factors = factors
		res, err := Close(h)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var l, m unit.MicrogramsCO2e
		for _, e := range res.Entries {
			l, m = l+e.Carbon, m+e.CarbonMarket
			if flag != "" && !slices.Contains(e.Flags, flag) {
				t.Errorf("%s: flags %q lack %s", what, e.Flags, flag)
			}
		}
		if l != location || m != market {
			t.Errorf("%s: %d µg and %d µg, want %d and %d", what, l, m, location, market)
		}
		var kinds []string
		for _, x := range res.Findings {
			kinds = append(kinds, x.Kind)
		}
		if got := strings.Join(kinds, " "); got != finding {
			t.Errorf("%s: findings %q, want %q", what, got, finding)
		}
	}
	// 2.28 kWh with all overhead
	grid, residual := lifecycle(edition(factor.GridIntensity, "FR", 100_000)), lifecycle(edition(factor.ResidualMix, "FR", 200_000))
	f("the grid alone", carbon.Factors{Grid: grid}, 228_000, 228_000, "", "")
	f("the residual mix", carbon.Factors{Grid: grid, Residual: residual}, 228_000, 456_000, "", "")
	f("half of it green", carbon.Factors{Grid: grid, Residual: residual, Instruments: []factor.Edition{instrument(500_000, factor.Lifecycle)}}, 228_000, 228_000, "", "")
	f("of another boundary", carbon.Factors{Grid: grid, Residual: residual, Instruments: []factor.Edition{instrument(500_000, factor.Direct)}}, 228_000, 456_000, "", FindingBoundary)
	f("nothing is known", carbon.Factors{}, 0, 0, carbon.FlagMarketUnknown, FindingNoGrid)
}
