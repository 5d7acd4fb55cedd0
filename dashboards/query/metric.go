package query

// Metric is something a kind can be asked for.
type Metric struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
	// Unit is Grafana's id of it.
	Unit string `json:"unit"`
	Help string `json:"help"`
	// By are the dimensions it can be grouped and filtered by; Forms what it can be shaped as, the first by default.
	By    []Dimension `json:"by"`
	Forms []Form      `json:"forms"`
	// Sums says that parts add up to the whole, so that series can be stacked.
	Sums bool `json:"sums"`
}

var (
	fleetBy   = []Dimension{Site, Rack, Node, Model}
	deviceBy  = []Dimension{Site, Rack, Node, DeviceID, Model}
	ledgerBy  = []Dimension{Site, Node, Model, Account, Tenant, Project, Workload, Allocation, ModelID, Purpose}
	qualityBy = []Dimension{Site, Rack, Node, DeviceID, Model}
	anyForm   = []Form{FormSeries, FormTable, FormTotal}
	table     = []Form{FormTable}
	series    = []Form{FormSeries}
)

// Metrics are all that can be asked.
var Metrics = []Metric{
	{KindFleet, "power", "watt", "power drawn by the devices, mean of each bucket", fleetBy, anyForm, true},
	{KindFleet, "power_limit", "watt", "power limits in force, in sum", fleetBy, anyForm, true},
	{KindFleet, "devices", "none", "devices that were read", fleetBy, anyForm, true},
	{KindFleet, "sm_active", "percentunit", "share of time an SM had work, mean over devices", fleetBy, anyForm, false},
	{KindFleet, "tensor_active", "percentunit", "share of time a tensor pipe was active, mean over devices", fleetBy, anyForm, false},
	{KindFleet, "dram_active", "percentunit", "share of time device memory was active, mean over devices", fleetBy, anyForm, false},
	{KindFleet, "memory_used", "bytes", "device memory in use", fleetBy, anyForm, true},
	{KindFleet, "nvlink", "Bps", "bytes over NVLink, both ways", fleetBy, anyForm, true},
	{KindFleet, "pcie", "Bps", "bytes over PCIe, both ways", fleetBy, anyForm, true},
	{KindFleet, "gpu_temp", "celsius", "hottest GPU", fleetBy, anyForm, false},
	{KindFleet, "memory_temp", "celsius", "hottest device memory", fleetBy, anyForm, false},
	{KindFleet, "throttled_power", "percentunit", "share of time below requested clocks because of the power cap, mean over devices", fleetBy, anyForm, false},
	{KindFleet, "throttled_thermal", "percentunit", "share of time below requested clocks because of temperature, mean over devices", fleetBy, anyForm, false},
	{KindFleet, "ecc_sbe", "none", "corrected memory errors that came", fleetBy, anyForm, true},
	{KindFleet, "ecc_dbe", "none", "uncorrected memory errors that came", fleetBy, anyForm, true},
	{KindFleet, "coverage", "percentunit", "ticks read over ticks expected", fleetBy, anyForm, false},

	{KindDevice, "power", "watt", "mean power of each bucket", deviceBy, anyForm, true},
	{KindDevice, "power_max", "watt", "highest power read in each bucket", deviceBy, anyForm, false},
	{KindDevice, "power_limit", "watt", "power limit in force", deviceBy, anyForm, false},
	{KindDevice, "sm_active", "percentunit", "share of time an SM had work", deviceBy, anyForm, false},
	{KindDevice, "sm_occupancy", "percentunit", "resident warps over the most there can be", deviceBy, anyForm, false},
	{KindDevice, "tensor_active", "percentunit", "share of time a tensor pipe was active", deviceBy, anyForm, false},
	{KindDevice, "dram_active", "percentunit", "share of time device memory was active", deviceBy, anyForm, false},
	{KindDevice, "gr_engine_active", "percentunit", "share of time the graphics or compute engine was busy", deviceBy, anyForm, false},
	{KindDevice, "fp64_active", "percentunit", "share of time the FP64 pipe was active", deviceBy, anyForm, false},
	{KindDevice, "fp32_active", "percentunit", "share of time the FP32 pipe was active", deviceBy, anyForm, false},
	{KindDevice, "fp16_active", "percentunit", "share of time the FP16 pipe was active", deviceBy, anyForm, false},
	{KindDevice, "gpu_temp", "celsius", "GPU temperature, highest of each bucket", deviceBy, anyForm, false},
	{KindDevice, "memory_temp", "celsius", "HBM temperature, highest of each bucket", deviceBy, anyForm, false},
	{KindDevice, "sm_clock", "hertz", "SM clock, lowest of each bucket", deviceBy, anyForm, false},
	{KindDevice, "memory_clock", "hertz", "memory clock, lowest of each bucket", deviceBy, anyForm, false},
	{KindDevice, "memory_used", "bytes", "device memory in use, highest of each bucket", deviceBy, anyForm, true},
	{KindDevice, "nvlink_tx", "Bps", "bytes sent over NVLink", deviceBy, anyForm, true},
	{KindDevice, "nvlink_rx", "Bps", "bytes received over NVLink", deviceBy, anyForm, true},
	{KindDevice, "pcie_tx", "Bps", "bytes sent over PCIe", deviceBy, anyForm, true},
	{KindDevice, "pcie_rx", "Bps", "bytes received over PCIe", deviceBy, anyForm, true},
	{KindDevice, "throttled_power", "percentunit", "share of time below requested clocks because of the power cap", deviceBy, anyForm, false},
	{KindDevice, "throttled_thermal", "percentunit", "share of time below requested clocks because of temperature", deviceBy, anyForm, false},
	{KindDevice, "ecc_sbe", "none", "corrected memory errors that came", deviceBy, anyForm, true},
	{KindDevice, "ecc_dbe", "none", "uncorrected memory errors that came", deviceBy, anyForm, true},
	{KindDevice, "pcie_replays", "none", "PCIe replays that came", deviceBy, anyForm, true},
	{KindDevice, "xid", "none", "last XID of each bucket; 0 for none", deviceBy, series, false},
	{KindDevice, "coverage", "percentunit", "ticks read over ticks expected", deviceBy, anyForm, false},
	{KindDevice, "now", "", "one row per device: place, holder, power, temperatures, activity, memory, last tick", deviceBy, table, false},

	{KindUsage, "device_time", "suffix:GPU-h", "device-hours: time × part of the device", ledgerBy, anyForm, true},
	{KindUsage, "unavailable_time", "suffix:GPU-h", "device-hours in which the device was not there", ledgerBy, anyForm, true},
	{KindUsage, "allocated_share", "percentunit", "device-hours held over all", []Dimension{Site, Node, Model}, anyForm, false},
	{KindUsage, "sm_active", "percentunit", "share of held time with work on an SM", ledgerBy, anyForm, false},
	{KindUsage, "held_idle_share", "percentunit", "share of held time under the idle limit", ledgerBy, anyForm, false},
	{KindUsage, "summary", "", "one row per tenant (or what is asked for): device-hours, held idle, energy, carbon, activity", ledgerBy, table, false},

	{KindEnergy, "total", "watth", "energy of all components", append([]Dimension{Component, Provenance}, ledgerBy...), anyForm, true},
	{KindEnergy, "gpu", "watth", "energy of the GPUs' own counters", ledgerBy, anyForm, true},
	{KindEnergy, "overhead", "watth", "all but the GPUs: CPUs, rest of the node, shared IT, facility", ledgerBy, anyForm, true},
	{KindEnergy, "uncertainty", "watth", "by how much sensors and models can be off, in sum", ledgerBy, anyForm, true},
	{KindEnergy, "pue", "none", "all energy over that of IT: ISO/IEC 30134-2", []Dimension{Site}, anyForm, false},
	{KindEnergy, "unmeasured_share", "percentunit", "share of energy that is estimated or modelled", ledgerBy, anyForm, false},

	{KindCarbon, "location", "massg", "CO2e, location-based (GHG Protocol Scope 2)", ledgerBy, anyForm, true},
	{KindCarbon, "market", "massg", "CO2e, market-based (GHG Protocol Scope 2); never added to location-based", ledgerBy, anyForm, true},
	{KindCarbon, "embodied", "massg", "CO2e of making the hardware, by device time", ledgerBy, anyForm, true},
	{KindCarbon, "intensity_location", "suffix:g/kWh", "g CO2e per kWh, location-based", ledgerBy, anyForm, false},
	{KindCarbon, "intensity_market", "suffix:g/kWh", "g CO2e per kWh, market-based", ledgerBy, anyForm, false},
	{KindCarbon, "water", "litre", "water", ledgerBy, anyForm, true},
	{KindCarbon, "heat_reused", "watth", "heat handed on to be used", ledgerBy, anyForm, true},
	{KindCarbon, "factors", "", "the factors that the figures rest on: source, edition, boundary, energy under each", []Dimension{Site}, table, false},

	{KindLedger, "hours", "", "one row per site and hour: closed or open, batch, closing, entries, adjustments, seal", []Dimension{Site}, table, false},
	{KindLedger, "batches", "", "one row per batch: hour, closing, reason, entries, energy, root", []Dimension{Site}, table, false},
	{KindLedger, "entries", "", "the entries themselves, with their ids", append([]Dimension{DeviceID}, ledgerBy...), table, false},
	{KindLedger, "explain", "", "how one entry came about: each figure with its source, the cuts it rests on, its seal", []Dimension{EntryID}, table, false},
	{KindLedger, "adjustments", "", "what corrected a closed hour: by how much, and why", append([]Dimension{DeviceID}, ledgerBy...), table, false},
	{KindLedger, "adjusted_energy", "watth", "energy that adjustments moved, up and down added up", []Dimension{Site, Tenant}, anyForm, true},
	{KindLedger, "open_hours", "none", "hours that are over and not closed", []Dimension{Site}, anyForm, true},
	{KindLedger, "closing_delay", "s", "from the end of an hour to its seal", []Dimension{Site}, anyForm, false},

	{KindCoverage, "coverage", "percentunit", "time between two readings over time expected", qualityBy, anyForm, false},
	{KindCoverage, "ticks_missing", "none", "ticks expected and not read", qualityBy, anyForm, true},
	{KindCoverage, "estimated_share", "percentunit", "share of energy that no counter saw", qualityBy, anyForm, false},
	{KindCoverage, "interpolated_share", "percentunit", "share of energy whose place in time is interpolated", qualityBy, anyForm, false},
	{KindCoverage, "second_opinion", "percentunit", "energy counter against the integral of power: difference over the counter", qualityBy, anyForm, false},
	{KindCoverage, "resets", "none", "counters that began anew", qualityBy, anyForm, true},
	{KindCoverage, "clock_steps", "none", "clocks that were set", qualityBy, anyForm, true},
	{KindCoverage, "lines", "", "device-hours with a flag: what is wrong with which", qualityBy, table, false},
	{KindCoverage, "missing", "", "messages that never came, by source and run", []Dimension{Site, Node}, table, false},

	{KindPipeline, "delay", "s", "from tick to row, mean of the messages", []Dimension{Site, Node}, anyForm, false},
	{KindPipeline, "delay_max", "s", "from tick to row, the longest", []Dimension{Site, Node}, anyForm, false},
	{KindPipeline, "rows", "rowsps", "rows of samples stored", []Dimension{Site, Node}, anyForm, true},
	{KindPipeline, "messages", "none", "messages stored", []Dimension{Site, Node}, anyForm, true},
	{KindPipeline, "age", "s", "age of the last sample", []Dimension{Site, Node}, []Form{FormTable, FormTotal}, false},
	{KindPipeline, "nodes", "", "one row per node: last tick, age, complete up to, run, devices", []Dimension{Site, Rack, Node}, table, false},
	{KindPipeline, "rollups", "", "how far each level of rollups is", nil, table, false},

	{KindSovereignty, "device_time", "suffix:GPU-h", "device-hours by verdict: pass, fail, unknown", []Dimension{Site, Tenant, Verdict}, anyForm, true},
	{KindSovereignty, "matrix", "", "one row per tenant and site: country, operator, allowed countries, verdict, device-hours, energy", []Dimension{Site, Tenant}, table, false},
	{KindSovereignty, "violations", "", "allocations that ran where their tenant does not allow it", []Dimension{Site, Tenant}, table, false},

	{KindEvents, "all", "", "what happened, newest first: XIDs, incidents, violations, closings, adjustments", []Dimension{Site, Node, DeviceID, EventKind}, table, false},
	{KindEvents, "count", "none", "how many", []Dimension{Site, Node, EventKind}, anyForm, true},

	{KindInventory, "sites", "", "sites: country, zone, operator, nodes, devices", []Dimension{Site}, table, false},
	{KindInventory, "nodes", "", "nodes: rack, model, devices, from, to", []Dimension{Site, Rack, Node}, table, false},
	{KindInventory, "devices", "", "devices: node, model, serial, driver, VBIOS, energy source", deviceBy, table, false},
	{KindInventory, "tenants", "", "tenants: name, sector, size class, allowed countries", []Dimension{Tenant}, table, false},
	{KindInventory, "allocations", "", "who holds or held what", []Dimension{Site, Node, DeviceID, Tenant, Project, Workload, ModelID, Purpose}, table, false},
}
