package closing

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const start = 1_790_000_000_000_000 / unit.Hour * unit.Hour

func drawHour(t *rapid.T) Hour {
	h := Hour{
		Site:   record.Site{ID: "site-a", PUEThousandths: rapid.Int64Range(1000, 2000).Draw(t, "pue")},
		Start:  start,
		Limits: Limits{Idle: unit.Thousandths(rapid.Int64Range(0, 1000).Draw(t, "idle")), SecondOpinion: 50},
		Factors: carbon.Factors{
			Grid: edition(factor.GridIntensity, "FR", 44_180_000), WUE: edition(factor.WUE, "site-a", 1_800_000),
			Embodied: map[string]factor.Chosen{"NVIDIA B200": edition(factor.Embodied, "NVIDIA B200", 284_250_000_000)},
		},
	}
	for n := range rapid.IntRange(1, 3).Draw(t, "nodes") {
		node := Node{Node: record.Node{
			ID: fmt.Sprintf("node-%d", n), RestMilliwatts: unit.Milliwatts(rapid.Int64Range(0, 5_000_000).Draw(t, "rest")),
		}}
		gpus := rapid.IntRange(0, 4).Draw(t, "gpus")
		cpu := rapid.Bool().Draw(t, "cpu")
		for g := range gpus {
			d := drawDevice(t, fmt.Sprintf("GPU-%d-%d", n, g), record.KindGPU)
			d.Index = uint32(g)
			if cpu {
				d.Parent = fmt.Sprintf("CPU-%d", n)
			}
			if rapid.IntRange(0, 3).Draw(t, "part") == 0 { // comes and goes within the hour
				d.From = start + unit.Micros(rapid.Int64Range(0, 1_700_000).Draw(t, "comes"))*unit.Millisecond
				d.To = start + unit.Micros(rapid.Int64Range(1_800_000, 3_500_000).Draw(t, "goes"))*unit.Millisecond
			}
			if rapid.IntRange(0, 3).Draw(t, "mig") == 0 {
				node.Devices = append(node.Devices, drawInstances(t, d)...)
			} else {
				d.Allocations = drawAllocations(t, d.UUID, true)
			}
			node.Devices = append(node.Devices, d)
		}
		if cpu {
			node.Devices = append(node.Devices, drawDevice(t, fmt.Sprintf("CPU-%d", n), record.KindCPU))
		}
		if rapid.Bool().Draw(t, "metered") {
			node.Readings = drawMeter(t, "bmc-"+node.ID, "node_energy", node.ID)
		}
		h.Nodes = append(h.Nodes, node)
	}
	for _, m := range []string{"site_energy", "it_shared_energy", "water", "heat"} {
		for i := range rapid.IntRange(0, 2).Draw(t, m) {
			h.Readings = append(h.Readings, drawMeter(t, fmt.Sprint(m, i), m, "")...)
		}
	}
	return h
}

func edition(kind factor.Kind, key string, value int64) factor.Chosen {
	e := factor.Edition{Kind: kind, Key: key, Value: value, Source: "test", Name: "1", Method: "declared"}
	if kind == factor.Embodied {
		e.Life = 4 * 8766 * 3_600_000
	}
	return factor.Chosen{Edition: e}
}

// drawMeter is a meter that tells the hour, as a counter or by intervals, of nothing or of much.
func drawMeter(t *rapid.T, name, quantity, node string) []record.Reading {
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "meter"), 1))
	most := []int64{1, 10_000, 1_000_000_000, 100_000_000_000}[rng.IntN(4)]
	counter := rng.IntN(2) == 0
	at, c := start-unit.Micros(rng.Int64N(int64(unit.Hour))), rng.Int64N(1<<40)
	var out []record.Reading
	for at < start+unit.Hour+unit.Hour/2 {
		r := record.Reading{Meter: name, Quantity: quantity, Unit: record.ReadingUnits[quantity], Node: node, From: at, To: at, Value: c, Counter: true, Epoch: "1"}
		at += 1 + unit.Micros(rng.Int64N(int64(20*60*unit.Second)))
		rise := rng.Int64N(most)
		if !counter {
			r.To, r.Value, r.Counter, r.Epoch = at, rise, false, ""
		}
		c += rise
		out = append(out, r)
	}
	if counter {
		last := out[len(out)-1]
		last.From, last.To, last.Value = at, at, c
		out = append(out, last)
	}
	return out
}

// told is what a meter of drawMeter says of the hour, found by other means.
func told(readings []record.Reading, scale int64) int64 {
	var points []window.Point
	var c int64
	for _, r := range readings {
		if !r.Counter {
			points = append(points, window.Point{T: r.From, C: unit.Millijoules(c * scale)})
			c += r.Value
			points = append(points, window.Point{T: r.To, C: unit.Millijoules(c * scale)})
			continue
		}
		points = append(points, window.Point{T: r.From, C: unit.Millijoules(r.Value * scale)})
	}
	return int64(walk(points, start, start+unit.Hour))
}

// toldBy adds up the meters of a quantity.
func toldBy(readings []record.Reading, quantity string, scale int64) (sum int64, metered bool) {
	byMeter := map[string][]record.Reading{}
	for _, r := range readings {
		if r.Quantity == quantity {
			byMeter[r.Meter] = append(byMeter[r.Meter], r)
		}
	}
	for _, rs := range byMeter {
		sum += told(rs, scale)
	}
	return sum, len(byMeter) > 0
}

func drawDevice(t *rapid.T, uuid string, kind record.DeviceKind) Device {
	d := Device{
		Device: record.Device{UUID: uuid, Kind: kind, Energy: record.EnergyHardware, Model: "NVIDIA B200", IdleMilliwatts: 140_000},
		Period: 60 * unit.Second,
	}
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)) // thousands of readings: too many to draw one by one
	at, c, work, integral := start-unit.Micros(rng.Int64N(100_000_000)), int64(1_000_000), int64(0), int64(0)
	quiet := rng.IntN(4) == 0 // a device that draws next to nothing
	for at < start+unit.Hour+90*unit.Second {
		d.Points = append(d.Points, window.Point{T: at, C: unit.Millijoules(c), Boot: "b", Run: "r", Integral: unit.Millijoules(integral)})
		d.Work = append(d.Work, Work{T: at, Run: "r", SMActive: unit.Micros(work), Expected: 1, Read: 1})
		step := 1 + rng.Int64N(300_000_000)
		at += unit.Micros(step)
		work += rng.Int64N(step)
		rise := rng.Int64N(step)
		if quiet {
			rise = rng.Int64N(2)
		}
		c, integral = c+rise, integral+rise
		if rng.IntN(30) == 0 {
			c = 5
		}
	}
	return d
}

func drawAllocations(t *rapid.T, device string, shared bool) []record.Allocation {
	var out []record.Allocation
	for i := range rapid.IntRange(0, 6).Draw(t, "allocations") {
		a := record.Allocation{
			ID: fmt.Sprintf("%s-%d", device, i), Device: device, Tenant: fmt.Sprintf("tenant-%d", i%3), Share: 1000,
			Start: start + unit.Micros(rapid.Int64Range(-1000, 3_600_000).Draw(t, "start"))*unit.Millisecond,
		}
		a.End = a.Start + unit.Micros(rapid.Int64Range(1, 3_600_000).Draw(t, "length"))*unit.Millisecond
		if shared {
			a.Share = unit.Thousandths(rapid.Int64Range(1, 1000).Draw(t, "share"))
		}
		out = append(out, a)
	}
	return out
}

func drawInstances(t *rapid.T, gpu Device) []Device {
	var out []Device
	free := uint32(7)
	for i := 0; free > 0 && i < 4; i++ {
		slices := uint32(rapid.IntRange(1, int(free)).Draw(t, "slices"))
		free -= slices
		in := Device{Device: record.Device{
			UUID: fmt.Sprintf("MIG-%s-%d", gpu.UUID, i), Parent: gpu.UUID, Kind: record.KindMIG, Slices: slices, Energy: record.EnergyNone,
		}}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		active := unit.Micros(0)
		for _, w := range gpu.Work {
			if rng.IntN(20) > 0 {
				in.Work = append(in.Work, Work{T: w.T, Run: w.Run, SMActive: active})
			}
			active += unit.Micros(rng.Int64N(1000))
		}
		in.Allocations = drawAllocations(t, in.UUID, false)
		out = append(out, in)
	}
	if rapid.Bool().Draw(t, "layouts") {
		drawLayouts(t, out)
	}
	return out
}

// drawLayouts has instances begin and end in the hour, and ask for more slices than there are.
func drawLayouts(t *rapid.T, instances []Device) {
	at := func(what string) unit.Micros {
		return start + unit.Micros(rapid.Int64Range(-600_000, 4_200_000).Draw(t, what))*unit.Millisecond
	}
	for i := range instances {
		in := &instances[i]
		switch rapid.IntRange(0, 3).Draw(t, "stay") {
		case 0:
			in.From = at("from")
		case 1:
			in.To = at("to")
		case 2:
			in.From, in.To = at("from"), at("to") // never there, perhaps
		}
		if rapid.IntRange(0, 3).Draw(t, "more") == 0 {
			in.Slices = uint32(rapid.IntRange(0, 7).Draw(t, "slices"))
		}
	}
}

// Whatever was read and whoever held what, the entries of an hour sum to what the counters and the meters say, to the devices'
// wall time, to the declared node rest and to PUE × IT, without residue (design §2.2).
func TestAnHourIsConserved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHour(t)
		res, err := Close(h)
		if err != nil {
			t.Fatal(err)
		}
		if err := balance(h, res); err != nil {
			t.Fatal(err)
		}
		for _, e := range res.Entries {
			if err := e.Validate(); err != nil {
				t.Fatalf("%+v: %v", e, err)
			}
		}
	})
}

// A check that cannot fail proves nothing: one entry dropped, doubled or moved by one unit must unbalance the hour.
func TestTheBalanceNoticesMutations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHour(t)
		res, err := Close(h)
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Entries) == 0 {
			return // nodes without devices: there is nothing to mutate
		}
		i := rapid.IntRange(0, len(res.Entries)-1).Draw(t, "entry")
		if res.Entries[i].DeviceTime == 0 && res.Entries[i].Total() == 0 {
			return
		}
		mutate := func(what string, entries []record.Entry) {
			t.Helper()
			other := res
			other.Entries = entries
			if balance(h, other) == nil {
				t.Fatalf("%s of entry %d goes unnoticed", what, i)
			}
		}
		mutate("a drop", slices.Delete(slices.Clone(res.Entries), i, i+1))
		mutate("a double", append(slices.Clone(res.Entries), res.Entries[i]))
		moved := slices.Clone(res.Entries)
		moved[i].GPU++
		mutate("one mJ", moved)
	})
}

// balance recomputes what an hour must sum to by means of its own: walking the readings, not the epochs.
func balance(h Hour, res Result) error {
	type sums struct{ it, devices, shared, facility unit.Millijoules }
	nodes := map[string]sums{}
	var all sums
	var water unit.Microlitres
	var heat unit.Millijoules
	time := map[string]unit.DeviceTime{}
	for _, e := range res.Entries {
		n := nodes[e.Node]
		n.devices += e.GPU + e.CPU
		n.it += e.GPU + e.CPU + e.NodeRest
		n.shared += e.ITShared
		n.facility += e.Facility
		nodes[e.Node] = n
		all.it += e.GPU + e.CPU + e.NodeRest
		all.shared += e.ITShared
		all.facility += e.Facility
		water += e.Water
		heat += e.HeatReused
		time[e.Node] += e.DeviceTime
		if e.Measured+e.Estimated+e.Modelled != e.Total() {
			return fmt.Errorf("entry of %s: %d measured + %d estimated + %d modelled is not %d", e.Device, e.Measured, e.Estimated, e.Modelled, e.Total())
		}
		if e.BoundLow < 0 || e.BoundHigh < 0 || e.Uncertainty < 0 || e.Unavailable > max(e.DeviceTime, 0) {
			return fmt.Errorf("entry of %s: impossible bounds %+v", e.Device, e)
		}
		if e.NodeRest < -10 { // a holder of slots here and there is off by a floor at each of them
			return fmt.Errorf("entry of %s: node rest is %d mJ", e.Device, e.NodeRest)
		}
	}
	excess := map[string]unit.Millijoules{}
	for _, d := range res.DeviceHours {
		if d.Device == "" {
			excess[d.Node] = d.Excess
		}
	}
	var facility unit.Millijoules
	for _, n := range h.Nodes {
		var counters unit.Millijoules
		var wall unit.DeviceTime
		for _, d := range n.Devices {
			if d.Kind == record.KindGPU {
				from, to := max(d.From, h.Start), h.End()
				if d.To != 0 {
					to = min(to, d.To)
				}
				wall += unit.DeviceTime(to/unit.Millisecond-from/unit.Millisecond) * 1000
			}
			if d.Kind != record.KindMIG {
				counters += walk(d.Points, h.Start, h.End())
				counters += bridged(d.Points, h.Start, h.End())
			}
		}
		got := nodes[n.ID]
		want := counters + unit.Millijoules(n.RestMilliwatts*3600)
		if meter, ok := toldBy(n.Readings, "node_energy", 1); ok {
			want = max(counters, unit.Millijoules(meter))
			if excess[n.ID] != want-unit.Millijoules(meter) {
				return fmt.Errorf("node %s: the excess is %d mJ, its devices took %d and its meter read %d", n.ID, excess[n.ID], counters, meter)
			}
		}
		if got.devices != counters || got.it != want {
			return fmt.Errorf("node %s has %d mJ, %d of them of devices; the counters say %d, the whole is %d", n.ID, got.it, got.devices, counters, want)
		}
		if time[n.ID] != wall {
			return fmt.Errorf("node %s has device time %d of %d", n.ID, time[n.ID], wall)
		}
		facility += (got.it + got.shared) * unit.Millijoules(h.Site.PUEThousandths-1000) / 1000
	}
	facility += nodes[""].shared * unit.Millijoules(h.Site.PUEThousandths-1000) / 1000
	if shared, _ := toldBy(h.Readings, "it_shared_energy", 1); all.shared != unit.Millijoules(shared) {
		return fmt.Errorf("shared IT is %d mJ, its meters read %d", all.shared, shared)
	}
	if meter, ok := toldBy(h.Readings, "site_energy", 1); ok {
		facility = max(0, unit.Millijoules(meter)-all.it-all.shared)
		if excess[""] != max(0, all.it+all.shared-unit.Millijoules(meter)) {
			return fmt.Errorf("the site's excess is %d mJ", excess[""])
		}
	}
	if all.facility != facility {
		return fmt.Errorf("facility is %d mJ, not %d", all.facility, facility)
	}
	if v, ok := toldBy(h.Readings, "water", 1000); ok && int64(water) != v {
		return fmt.Errorf("water is %d µl, metered %d", water, v)
	}
	if v, _ := toldBy(h.Readings, "heat", 1); int64(heat) != v {
		return fmt.Errorf("heat is %d mJ, metered %d", heat, v)
	}
	return nil
}

// bridged is what the integral of power rose by where the counter began anew.
func bridged(points []window.Point, from, to unit.Micros) unit.Millijoules {
	var sum unit.Millijoules
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		if b.C < a.C && b.Integral > a.Integral {
			sum += walk([]window.Point{{T: a.T}, {T: b.T, C: b.Integral - a.Integral}}, from, to)
		}
	}
	return sum
}

func walk(points []window.Point, from, to unit.Micros) unit.Millijoules {
	var sum unit.Millijoules
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		if b.C < a.C {
			continue
		}
		at := func(t unit.Micros) unit.Millijoules {
			t = min(max(t, a.T), b.T)
			v, _ := unit.FloorMulDiv(int64(b.C-a.C), int64(t-a.T), int64(b.T-a.T))
			return unit.Millijoules(v)
		}
		sum += at(to) - at(from)
	}
	return sum
}

// One tenant's edge never moves another tenant's energy (design §3): an allocation added to the free slots of a device
// leaves every other holder's figures as they were.
func TestAnEdgeMovesNobodyElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDevice(t, "GPU-0", record.KindGPU)
		d.Allocations = []record.Allocation{
			{ID: "a", Device: "GPU-0", Tenant: "a", Share: 300, Start: start + 1000, End: start + 3_000_000_000},
			{ID: "b", Device: "GPU-0", Tenant: "b", Share: 200, Start: start + 2000, End: 0},
		}
		other := d
		at := start + unit.Micros(rapid.Int64Range(3000, 3_599_000_000).Draw(t, "edge"))
		other.Allocations = append(slices.Clone(d.Allocations), record.Allocation{ID: "c", Device: "GPU-0", Tenant: "c", Share: 500, Start: at, End: at + 1000})
		energies := func(d Device) map[string]unit.Millijoules {
			res, err := Close(Hour{Site: record.Site{ID: "s", PUEThousandths: 1000}, Start: start, Nodes: []Node{{Devices: []Device{d}}}})
			if err != nil {
				t.Fatal(err)
			}
			out := map[string]unit.Millijoules{}
			for _, e := range res.Entries {
				out[e.Tenant] = e.Measured
			}
			return out
		}
		before, after := energies(d), energies(other)
		for _, tenant := range []string{"a", "b"} {
			if before[tenant] != after[tenant] {
				t.Fatalf("tenant %s had %d mJ, now %d, because c came at %d", tenant, before[tenant], after[tenant], at)
			}
		}
	})
}

// Hours closed one after the other from stored cuts sum to the counter, and the order of readings does not matter.
func TestHoursChain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Device{Device: record.Device{UUID: "GPU-0", Kind: record.KindGPU, Energy: record.EnergyHardware}, Period: 10 * unit.Second}
		var all []window.Point
		at, c := start+unit.Micros(rapid.Int64Range(0, 1_000_000).Draw(t, "boot")), int64(7)
		for at < start+5*unit.Hour {
			all = append(all, window.Point{T: at, C: unit.Millijoules(c), Boot: "b", Integral: window.NoIntegral})
			at += unit.Micros(rapid.Int64Range(1, 5_000_000_000).Draw(t, "dt")) // gaps of more than an hour too
			c += rapid.Int64Range(0, 1_000_000).Draw(t, "dc")
		}
		var sum unit.Millijoules
		var stored *record.Cut
		for hour := start; hour < start+5*unit.Hour; hour += unit.Hour {
			d.Stored, d.Points = stored, nil
			for i, p := range all {
				if p.T >= hour-15*60*unit.Second && (p.T < hour+unit.Hour || (p.T < hour+unit.Hour+15*60*unit.Second && all[i-1].T < hour+unit.Hour)) {
					d.Points = append(d.Points, p)
				}
			}
			slices.Reverse(d.Points)
			res, err := Close(Hour{Site: record.Site{PUEThousandths: 1000}, Start: hour, Nodes: []Node{{Devices: []Device{d}}}})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range res.Entries {
				sum += e.Measured
			}
			for _, cut := range res.Cuts {
				if cut.T == hour+unit.Hour {
					stored = &cut
				}
			}
		}
		if want := all[len(all)-1].C - all[0].C; sum != want {
			t.Fatalf("hours sum to %d, the counter rose by %d", sum, want)
		}
	})
}
