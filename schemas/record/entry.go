package record

import (
	"cmp"

	"github.com/wattledger/wattledger/schemas/unit"
)

// EntryKind tells what closes an hour from what corrects one.
type EntryKind string

// The kinds of entry.
const (
	Closing    EntryKind = "closing"
	Adjustment EntryKind = "adjustment"
)

// Account says whose entry it is.
type Account string

// The accounts. Unallocated is the operator's: nobody held the device.
const (
	AccountTenant      Account = "tenant"
	AccountUnallocated Account = "unallocated"
)

// Entry is one immutable line of the ledger: who held which device in which hour, and what that took.
//
// The order of the fields is the order of the canonical JSON that is hashed; a field is only ever added at the end,
// with omitempty. Energy is in mJ, device time in ms × thousandths, carbon in µg CO2e.
type Entry struct {
	Site    string    `json:"site"`
	Hour    string    `json:"hour"` // 2026-01-31T23:00:00Z
	Kind    EntryKind `json:"kind"`
	Account Account   `json:"account"`

	Node       string `json:"node"`
	Device     string `json:"device"`
	DeviceKind string `json:"device_kind"`
	Model      string `json:"model"`

	Tenant     string `json:"tenant"`
	Project    string `json:"project"`
	Allocation string `json:"allocation"`
	Workload   string `json:"workload"`
	ModelID    string `json:"model_id"`
	Purpose    string `json:"purpose"`

	// From and To bound the time held within the hour; of an unallocated entry they are the hour.
	From unit.Micros `json:"from_us"`
	To   unit.Micros `json:"to_us"`

	DeviceTime  unit.DeviceTime `json:"device_time"`
	Unavailable unit.DeviceTime `json:"unavailable_time"`

	GPU      unit.Millijoules `json:"gpu_mj"`
	CPU      unit.Millijoules `json:"cpu_mj"`
	NodeRest unit.Millijoules `json:"node_rest_mj"`
	ITShared unit.Millijoules `json:"it_shared_mj"`
	Facility unit.Millijoules `json:"facility_mj"`

	// Measured + Estimated + Modelled is the sum of the components. Interpolated is the part of Measured whose total is
	// known and whose place in time is not.
	Measured     unit.Millijoules `json:"measured_mj"`
	Estimated    unit.Millijoules `json:"estimated_mj"`
	Modelled     unit.Millijoules `json:"modelled_mj"`
	Interpolated unit.Millijoules `json:"interpolated_mj"`
	// BoundLow and BoundHigh are how far the measured energy can be from the truth, down and up (both ≥ 0).
	BoundLow  unit.Millijoules `json:"bound_low_mj"`
	BoundHigh unit.Millijoules `json:"bound_high_mj"`

	SMActive      unit.Micros `json:"sm_active_us"`
	TicksExpected int64       `json:"ticks_expected"`
	TicksRead     int64       `json:"ticks_read"`

	Carbon unit.MicrogramsCO2e `json:"carbon_ug"`

	Rules  string   `json:"rules"`
	Split  string   `json:"split"`
	Factor string   `json:"factor"`
	Flags  []string `json:"flags"`

	Corrects string `json:"corrects,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// Total is the energy of all components.
func (e Entry) Total() unit.Millijoules {
	return e.GPU + e.CPU + e.NodeRest + e.ITShared + e.Facility
}

// Cut is the value of a device's energy counter at an edge in time, stored once and shared by both neighbours.
type Cut struct {
	Site, Device string
	// Epoch is the time stamp of the first sample of the counter's epoch.
	Epoch unit.Micros
	T     unit.Micros
	// Boot and Driver are those of the epoch.
	Boot, Driver string
	// T0, C0 and T1, C1 are the samples around T. Without a right-hand sample T1 is 0 and Open is set.
	T0, T1 unit.Micros
	C0, C1 unit.Millijoules
	// Run and Integral0 are the collector's run and integral of power at T0; Integral0 is −1 when it was not read.
	Run       string
	Integral0 unit.Millijoules
	// Seen0 is how often the collector had seen the counter begin anew within its run at T0; −1 when it is not known.
	Seen0 int64
	C     unit.Millijoules
	// Low and High bound C: it cannot have been outside, whatever the load did.
	Low, High unit.Millijoules
	Open      bool
	// Interpolated says that the samples around T are more than three periods apart.
	Interpolated bool
	Edition      uint32
}

// Seal is the commit of a batch of entries.
type Seal struct {
	Site     string
	Batch    uint64
	Root     string
	Previous string
	Hour     unit.Micros
	Entries  int
	Measured, Estimated,
	Modelled unit.Millijoules
	DeviceTime unit.DeviceTime
	Carbon     unit.MicrogramsCO2e
	// Closing is "complete" when every expected node had declared the hour complete, "lateness" when the limit was reached.
	Closing, Reason, Rules string
}

// CompareEntries is the order of a ledger's entries: by node, device, account, start and allocation.
func CompareEntries(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Account, b.Account),
		cmp.Compare(a.From, b.From), cmp.Compare(a.Allocation, b.Allocation))
}
