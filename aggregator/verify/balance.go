package verify

import (
	"time"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Energy is the ledger against the raw counters, in mJ.
type Energy struct {
	// Metered is what the counters of all GPUs and CPUs rose by, epoch by epoch; never from the ledger.
	Metered unit.Millijoules `json:"metered"`
	// Tenants and Unallocated are the measured device energy of the entries, by account.
	Tenants     unit.Millijoules `json:"tenants"`
	Unallocated unit.Millijoules `json:"unallocated"`
	NodeRest    unit.Millijoules `json:"node_rest"`
	ITShared    unit.Millijoules `json:"it_shared"`
	Facility    unit.Millijoules `json:"facility"`
	// Estimated was seen by no counter. It is in none of the above.
	Estimated unit.Millijoules `json:"estimated"`
	// Residual is Metered − Tenants − Unallocated.
	Residual unit.Millijoules `json:"residual"`
	// Levels is how far sums of the ledger are from counters and meters, level by level.
	Levels Levels `json:"levels"`
}

// Levels are absolute differences, summed over hours: of GPUs and CPUs with their counters and estimates, of nodes and of the site
// with their meters, where there are any.
type Levels struct {
	Devices unit.Millijoules `json:"devices"`
	Nodes   unit.Millijoules `json:"nodes"`
	Sites   unit.Millijoules `json:"sites"`
}

// Sum is all of them.
func (l Levels) Sum() unit.Millijoules { return l.Devices + l.Nodes + l.Sites }

// deviceMeasured is what counters of devices saw of an entry: nothing but device energy is estimated.
func deviceMeasured(e record.Entry) unit.Millijoules { return e.GPU + e.CPU - e.Estimated }

// BalanceLevels sets sums of entries against what counters and meters say of each hour (design §2.2): site meter = IT + facility,
// node meter = Σ GPUs + Σ CPUs + rest, GPU = Σ its entries. What a meter shows less than its parts stands beside it as excess.
func BalanceLevels(devices []record.Device, quality []record.DeviceHour, entries []record.Entry) Levels {
	type place struct{ kind, hour, node, device string }
	parent := map[string]string{}
	for _, d := range devices {
		if d.Kind == record.KindMIG {
			parent[d.UUID] = d.Parent
		}
	}
	have := map[place]unit.Millijoules{}
	for _, e := range entries {
		gpu := e.Device
		if of, ok := parent[gpu]; ok {
			gpu = of
		}
		have[place{"gpu", e.Hour, e.Node, gpu}] += e.GPU
		have[place{"cpu", e.Hour, e.Node, ""}] += e.CPU
		have[place{"node", e.Hour, e.Node, ""}] += e.GPU + e.CPU + e.NodeRest
		have[place{"site", e.Hour, "", ""}] += e.Total()
	}
	want := map[place]unit.Millijoules{}
	for _, q := range quality {
		at := place{q.Kind, q.Hour, q.Node, q.Device}
		if q.Kind == "cpu" {
			at.device = "" // whose GPUs carry it is a matter of the entries
		}
		want[at] += q.Counter + q.Estimated + q.Excess
	}
	var l Levels
	for at, v := range want {
		diff := abs(v - have[at])
		switch at.kind {
		case "node":
			l.Nodes += diff
		case "site":
			l.Sites += diff
		default:
			l.Devices += diff
		}
		delete(have, at)
	}
	for at, v := range have { // energy of a device that counted none
		if at.kind == "gpu" || at.kind == "cpu" {
			l.Devices += abs(v)
		}
	}
	return l
}

// Time is the ledger against the wall time of the devices, in ms × thousandths of a device.
type Time struct {
	Wall     unit.DeviceTime `json:"wall"`
	Residual unit.DeviceTime `json:"residual"` // the absolute differences of all device-hours, summed
}

// BalanceEnergy sums entries against what was metered.
func BalanceEnergy(metered []Metered, entries []record.Entry) Energy {
	var b Energy
	for _, m := range metered {
		b.Metered += m.Energy
	}
	for _, e := range entries {
		if e.Account.Held() {
			b.Tenants += deviceMeasured(e)
		} else {
			b.Unallocated += deviceMeasured(e)
		}
		b.NodeRest += e.NodeRest
		b.ITShared += e.ITShared
		b.Facility += e.Facility
		b.Estimated += e.Estimated
	}
	b.Residual = b.Metered - b.Tenants - b.Unallocated
	return b
}

// BalanceTime sums entries against devices × wall time, by device and hour: a MIG instance's time is its GPU's.
func BalanceTime(devices []record.Device, p Period, entries []record.Entry) Time {
	type deviceHour struct{ device, hour string }
	parent := map[string]string{}
	left := map[deviceHour]unit.DeviceTime{}
	var t Time
	for _, d := range devices {
		switch d.Kind {
		case record.KindMIG:
			parent[d.UUID] = d.Parent
		case record.KindGPU:
			for _, h := range p.hours() {
				from, to := span(newWindow(h, false), d)
				if to > from {
					wall := deviceTime(from, to, int64(unit.WholeDevice))
					t.Wall += wall
					left[deviceHour{d.UUID, h.Time().Format(time.RFC3339)}] += wall
				}
			}
		}
	}
	for _, e := range entries {
		device := e.Device
		if gpu, ok := parent[device]; ok {
			device = gpu
		}
		left[deviceHour{device, e.Hour}] -= e.DeviceTime
	}
	for _, v := range left {
		t.Residual += max(v, -v)
	}
	return t
}

// SampleID is what makes a sample one and the same however often it was delivered.
type SampleID struct {
	Run    string
	Seq    uint64
	Device string
	Tick   unit.Micros
}

// Message is what a message declared to hold.
type Message struct {
	Run  string
	Seq  uint64
	Rows int64
}

// Count counts samples against the messages they came in; either may be repeated.
func Count(samples []SampleID, messages []Message) Counts {
	type message struct {
		run string
		seq uint64
	}
	c := Counts{Rows: int64(len(samples))}
	left := map[message]int64{}
	seen := map[SampleID]bool{}
	declared := map[message]bool{}
	for _, m := range messages {
		k := message{m.Run, m.Seq}
		if !declared[k] {
			declared[k] = true
			left[k] += m.Rows
			c.Declared += m.Rows
		}
	}
	for _, s := range samples {
		if !seen[s] {
			seen[s] = true
			left[message{s.Run, s.Seq}]--
		}
	}
	c.Stored = int64(len(seen))
	c.Repeated = c.Rows - c.Stored
	for _, v := range left {
		c.Mismatched += max(v, -v)
	}
	return c
}
