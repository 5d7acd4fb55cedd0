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

// The accounts. Who pays for each is the contract's to say; nothing is moved silently from one to another.
const (
	// AccountTenant is energy and time of a device that a tenant held.
	AccountTenant Account = "tenant"
	// AccountHeldIdle is the same where the device's activity stayed under the stated limit. It names the tenant too.
	AccountHeldIdle Account = "held_idle"
	// AccountUnallocated is the operator's: nobody held the device.
	AccountUnallocated Account = "unallocated"
	// AccountPlatform is the operator's: energy of a node without devices, or of the site, that no device can carry.
	AccountPlatform Account = "platform"
)

// Held says that a tenant held the device.
func (a Account) Held() bool { return a == AccountTenant || a == AccountHeldIdle }

// Entry is one immutable line of the ledger: who held which device in which hour, and what that took.
//
// docs/ledger-format.md says what is hashed. Energy is in mJ, device time in ms × thousandths, carbon in µg CO2e, water in µl.
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

	// Uncertainty is how far the sensors and models behind the components can be off in sum, ≥ 0 (docs/accounting.md).
	Uncertainty unit.Millijoules `json:"uncertainty_mj"`

	// SMActive is time with a warp on an SM. IdleLimit is the activity, in thousandths, under which held time is held_idle.
	SMActive      unit.Micros `json:"sm_active_us"`
	TicksExpected int64       `json:"ticks_expected"`
	TicksRead     int64       `json:"ticks_read"`

	IdleLimit unit.Thousandths `json:"idle_limit"`

	// Carbon is location-based, CarbonMarket market-based: two ways to count the same emissions, never summed
	// (GHG Protocol Scope 2 Guidance, chapter 6). CarbonEmbodied is the hardware's, by the time held.
	Carbon         unit.MicrogramsCO2e `json:"carbon_ug"`
	CarbonMarket   unit.MicrogramsCO2e `json:"carbon_market_ug"`
	CarbonEmbodied unit.MicrogramsCO2e `json:"carbon_embodied_ug"`

	// Water is the site's by energy, HeatReused the part of the heat that was handed on to be used; it is in no total.
	Water      unit.Microlitres `json:"water_ul"`
	HeatReused unit.Millijoules `json:"heat_reused_mj"`

	// Rules is the edition of the rules, Split how the device was split, the sources where each shared component came
	// from (a meter, or a factor with its edition), the factors what carbon was counted with. Empty: there is none.
	Rules          string   `json:"rules"`
	Split          string   `json:"split"`
	RestSource     string   `json:"rest_source"`
	SharedSource   string   `json:"it_shared_source"`
	FacilitySource string   `json:"facility_source"`
	WaterSource    string   `json:"water_source"`
	HeatSource     string   `json:"heat_source"`
	Factor         string   `json:"factor"`
	FactorMarket   string   `json:"factor_market"`
	FactorEmbodied string   `json:"factor_embodied"`
	Flags          []string `json:"flags"`

	// Corrects names what an adjustment corrects: the id of the entry, or "seal:" and the root of the hour's seal where the
	// line is new to the hour. Reason is a word of Reasons and what it was about.
	Corrects string `json:"corrects"`
	Reason   string `json:"reason"`
}

// Reasons are the words an adjustment's reason begins with.
var Reasons = []string{"late_data", "late_allocation", "cut", "factor", "meter", "inventory"}

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

// DeviceHour is what is known about the quality of a device's hour, or of a node's or the site's meter where Device or Node
// is empty. A later batch replaces the line of an earlier one.
type DeviceHour struct {
	Site, Hour, Node, Device string
	// Kind is gpu, cpu, node or site.
	Kind, Model string
	// Counter is what the counter, or the meter, measured over the hour; Estimated and Interpolated as in Entry.
	Counter, Estimated, Interpolated unit.Millijoules
	// Integral is the integral of power over the same hour, a second opinion; NoIntegral where it is not known.
	Integral unit.Millijoules
	// Excess is by how much the devices of a node, or the nodes of a site, read more than its meter: an impossible reading.
	Excess              unit.Millijoules
	BoundLow, BoundHigh unit.Millijoules
	// Present is how long the device was expected, Covered how much of that lies between two readings.
	Present, Covered         unit.Micros
	TicksExpected, TicksRead int64
	Allocated, Unallocated   unit.DeviceTime
	Unavailable              unit.DeviceTime
	Resets, ClockSteps       int
	// Sensor is the class of what measured, as the table of sensors names it.
	Sensor string
	Flags  []string
}

// NoIntegral is the Integral of an hour for which the integral of power is not known.
const NoIntegral unit.Millijoules = -1

// Seal is the commit of a batch of entries: the closing of an hour with the adjustments of earlier ones, or adjustments alone.
type Seal struct {
	Site  string
	Batch uint64
	// Root covers all else in the seal but Inputs, and every entry; Previous is the root of the batch before.
	Root     string
	Previous string
	// Hour is the hour closed; of adjustments alone, the last hour closed before.
	Hour unit.Micros
	// Entries counts all, Adjustments those of them that are no closings.
	Entries, Adjustments int
	Measured, Estimated,
	Modelled unit.Millijoules
	DeviceTime                           unit.DeviceTime
	Carbon, CarbonMarket, CarbonEmbodied unit.MicrogramsCO2e
	Water                                unit.Microlitres
	// Cuts, DeviceHours and Samples are digests (hex) of the batch's cuts, of its device-hours, and of the raw rows it was made
	// from; SampleRows counts those.
	Cuts, DeviceHours, Samples string
	SampleRows                 int64
	// Closing is "complete" when every expected node had declared the hour complete, "lateness" when the limit was reached,
	// "adjustment" when no hour was closed.
	Closing, Reason, Rules string
	// Inputs says up to which Kafka offsets the batch saw what it was made from. It depends on the order of arrival, so it is
	// in no hash.
	Inputs string
}

// Subtotal is the sum of a batch's entries of one hour, account and tenant: what a tenant's statement of the hour is proved by.
type Subtotal struct {
	Site    string
	Hour    string
	Account Account
	Tenant  string
	Entries int
	// Root is that of the tree over the entries' salted leaves.
	Root                                        string
	DeviceTime, Unavailable                     unit.DeviceTime
	GPU, CPU, NodeRest, ITShared, Facility      unit.Millijoules
	Measured, Estimated, Modelled, Interpolated unit.Millijoules
	BoundLow, BoundHigh, Uncertainty            unit.Millijoules
	SMActive                                    unit.Micros
	TicksExpected, TicksRead                    int64
	Carbon, CarbonMarket, CarbonEmbodied        unit.MicrogramsCO2e
	Water                                       unit.Microlitres
	HeatReused                                  unit.Millijoules
}

// CompareEntries is the order of a ledger's entries: by hour, node, device, account, start and allocation; then by all else that tells
// two lines of account apart, as an adjustment may take from one tenant what it gives to another under the same allocation.
func CompareEntries(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Account, b.Account),
		cmp.Compare(a.From, b.From), cmp.Compare(a.Allocation, b.Allocation), cmp.Compare(a.To, b.To), cmp.Compare(a.Tenant, b.Tenant),
		cmp.Compare(a.Project, b.Project), cmp.Compare(a.Workload, b.Workload), cmp.Compare(a.ModelID, b.ModelID), cmp.Compare(a.Purpose, b.Purpose),
		cmp.Compare(a.DeviceKind, b.DeviceKind), cmp.Compare(a.Model, b.Model))
}
