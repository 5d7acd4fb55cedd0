package closing

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const start = 1_790_000_000_000_000 / unit.Hour * unit.Hour

func drawHour(t *rapid.T) Hour {
	h := Hour{
		Site:  record.Site{ID: "site-a", PUEThousandths: rapid.Int64Range(1000, 2000).Draw(t, "pue")},
		Start: start, Grid: factor.Grid{Zone: "FR", MicrogramsPerKWh: 44_180_000, Source: "Ember", Edition: "2024", Boundary: "lifecycle"},
	}
	for n := range rapid.IntRange(1, 3).Draw(t, "nodes") {
		node := Node{Node: record.Node{
			ID: fmt.Sprintf("node-%d", n), RestMilliwatts: unit.Milliwatts(rapid.Int64Range(0, 5_000_000).Draw(t, "rest")),
		}}
		gpus := rapid.IntRange(1, 4).Draw(t, "gpus")
		cpu := rapid.Bool().Draw(t, "cpu")
		for g := range gpus {
			d := drawDevice(t, fmt.Sprintf("GPU-%d-%d", n, g), record.KindGPU)
			d.Index = uint32(g)
			if cpu {
				d.Parent = fmt.Sprintf("CPU-%d", n)
			}
			if !cpu && rapid.IntRange(0, 3).Draw(t, "mig") == 0 {
				node.Devices = append(node.Devices, drawInstances(t, d)...)
			} else {
				d.Allocations = drawAllocations(t, d.UUID, true)
			}
			node.Devices = append(node.Devices, d)
		}
		if cpu {
			node.Devices = append(node.Devices, drawDevice(t, fmt.Sprintf("CPU-%d", n), record.KindCPU))
		}
		h.Nodes = append(h.Nodes, node)
	}
	return h
}

func drawDevice(t *rapid.T, uuid string, kind record.DeviceKind) Device {
	d := Device{
		Device: record.Device{UUID: uuid, Kind: kind, Energy: record.EnergyHardware, Model: "NVIDIA B200", IdleMilliwatts: 140_000},
		Period: 60 * unit.Second,
	}
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)) // thousands of readings: too many to draw one by one
	at, c, work := start-unit.Micros(rng.Int64N(100_000_000)), int64(1_000_000), int64(0)
	quiet := rng.IntN(4) == 0 // a device that draws next to nothing
	for at < start+unit.Hour+90*unit.Second {
		d.Points = append(d.Points, window.Point{T: at, C: unit.Millijoules(c), Boot: "b", Run: "r", Integral: unit.Millijoules(c)})
		d.Work = append(d.Work, Work{T: at, Run: "r", SMActive: unit.Micros(work), Expected: 1, Read: 1})
		step := 1 + rng.Int64N(300_000_000)
		at += unit.Micros(step)
		work += rng.Int64N(step)
		if quiet {
			c += rng.Int64N(2)
		} else {
			c += rng.Int64N(step)
		}
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
	return out
}

// Whatever was read and whoever held what, the entries of an hour sum to what the counters say, to the devices' wall time,
// to the declared node rest and to PUE × IT, without residue (design §2.2).
func TestAnHourIsConserved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHour(t)
		res, err := Close(h)
		if err != nil {
			t.Fatal(err)
		}
		if err := balance(h, res.Entries); err != nil {
			t.Fatal(err)
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
		i := rapid.IntRange(0, len(res.Entries)-1).Draw(t, "entry")
		if res.Entries[i].DeviceTime == 0 && res.Entries[i].Total() == 0 {
			return
		}
		mutate := func(what string, entries []record.Entry) {
			t.Helper()
			if balance(h, entries) == nil {
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
func balance(h Hour, entries []record.Entry) error {
	var gpu, cpu, rest, facility, measured, it unit.Millijoules
	var time unit.DeviceTime
	for _, e := range entries {
		gpu += e.GPU
		cpu += e.CPU
		rest += e.NodeRest
		facility += e.Facility
		measured += e.Measured
		it += e.Total() - e.Facility
		time += e.DeviceTime
		if e.Measured+e.Estimated+e.Modelled != e.Total() {
			return fmt.Errorf("entry of %s: %d measured + %d estimated + %d modelled is not %d", e.Device, e.Measured, e.Estimated, e.Modelled, e.Total())
		}
		if e.BoundLow < 0 || e.BoundHigh < 0 || e.Unavailable > max(e.DeviceTime, 0) {
			return fmt.Errorf("entry of %s: impossible bounds %+v", e.Device, e)
		}
	}
	var wantMeasured, wantRest unit.Millijoules
	var wantTime unit.DeviceTime
	for _, n := range h.Nodes {
		wantRest += unit.Millijoules(n.RestMilliwatts * 3600)
		for _, d := range n.Devices {
			if d.Kind == record.KindGPU {
				wantTime += unit.DeviceTimePerHour
			}
			if d.Kind != record.KindMIG {
				wantMeasured += walk(d.Points, h.Start, h.End())
			}
		}
	}
	switch {
	case measured != wantMeasured:
		return fmt.Errorf("entries measure %d mJ, the counters %d", measured, wantMeasured)
	case gpu+cpu-measured < 0:
		return fmt.Errorf("more measured than there is")
	case rest != wantRest:
		return fmt.Errorf("node rest is %d mJ, declared %d", rest, wantRest)
	case facility != it*unit.Millijoules(h.Site.PUEThousandths-1000)/1000:
		return fmt.Errorf("facility is %d mJ of %d IT", facility, it)
	case time != wantTime:
		return fmt.Errorf("device time is %d, wall time %d", time, wantTime)
	}
	return nil
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
