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
	Facility    unit.Millijoules `json:"facility"`
	// Estimated was seen by no counter. It is in none of the above.
	Estimated unit.Millijoules `json:"estimated"`
	// Residual is Metered − Tenants − Unallocated.
	Residual unit.Millijoules `json:"residual"`
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
		if e.Account == record.AccountTenant {
			b.Tenants += e.Measured
		} else {
			b.Unallocated += e.Measured
		}
		b.NodeRest += e.NodeRest
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
