package record

// Kind says how a metric is laid out and what a missing value looks like.
type Kind uint8

// The kinds of metric.
const (
	// Counter is a uint64 that only rises within an epoch. Missing is AbsentCounter.
	Counter Kind = iota + 1
	// Gauge is a float32 as read. Missing is NaN. Gauges never reach an account.
	Gauge
	// Code is a uint32 bit mask or number. Missing is AbsentCode.
	Code
)

// AbsentCounter is the value of a counter that could not be read at a tick.
const AbsentCounter = ^uint64(0)

// AbsentCode is the value of a code that could not be read at a tick.
const AbsentCode = ^uint32(0)

// Derivation says how a counter comes from what the device offers.
type Derivation uint8

// The derivations.
const (
	// AsRead is a value stored as the device gave it.
	AsRead Derivation = iota
	// RatioTime integrates a ratio 0..1, rounded to 1e-4 first, into microseconds of activity.
	RatioTime
	// PercentTime integrates a percentage into microseconds of activity.
	PercentTime
	// RateTime integrates a rate per second into a total: value × interval.
	RateTime
	// TrapezoidEnergy integrates watts into millijoules by trapezoid.
	TrapezoidEnergy
	// Ticks counts the collector's own ticks.
	Ticks
	// Epochs counts how often the collector saw the energy counter begin anew.
	Epochs
)

// Metric is one column of a sample: on the wire, in ClickHouse and in the documentation.
type Metric struct {
	// Name is the column name; its suffix is the unit.
	Name string
	Kind Kind
	// Field is the DCGM field id it comes from, 0 when it is the collector's own.
	Field      uint16
	Derivation Derivation
	Help       string
}

// Metrics lists the columns of a sample in wire and table order: counters, then gauges, then codes.
// Field ids are DCGM's (dcgm_fields.h); names changed in DCGM 4.6, ids did not.
var Metrics = []Metric{
	{"energy_mj", Counter, 156, AsRead, "energy since the driver was loaded, hardware counter"},
	{"power_integral_mj", Counter, 155, TrapezoidEnergy, "integral of board power by trapezoid, a second opinion on energy_mj"},
	{"gr_engine_active_us", Counter, 1001, RatioTime, "time the graphics or compute engine was busy"},
	{"sm_active_us", Counter, 1002, RatioTime, "time an SM had at least one resident warp, mean over SMs"},
	{"sm_occupancy_us", Counter, 1003, RatioTime, "resident warps over the maximum, as time"},
	{"tensor_active_us", Counter, 1004, RatioTime, "time any tensor pipe was active"},
	{"dram_active_us", Counter, 1005, RatioTime, "time the device memory interface was active"},
	{"fp64_active_us", Counter, 1006, RatioTime, "time the FP64 pipe was active"},
	{"fp32_active_us", Counter, 1007, RatioTime, "time the FP32 pipe was active"},
	{"fp16_active_us", Counter, 1008, RatioTime, "time the FP16 pipe was active"},
	{"pcie_tx_bytes", Counter, 1009, RateTime, "bytes sent over PCIe"},
	{"pcie_rx_bytes", Counter, 1010, RateTime, "bytes received over PCIe"},
	{"nvlink_tx_bytes", Counter, 1011, RateTime, "bytes sent over NVLink"},
	{"nvlink_rx_bytes", Counter, 1012, RateTime, "bytes received over NVLink"},
	{"gpu_util_us", Counter, 203, PercentTime, "time at least one kernel ran"},
	{"mem_copy_util_us", Counter, 204, PercentTime, "time device memory was read or written"},
	{"power_violation_ns", Counter, 240, AsRead, "time below requested clocks because of the power cap"},
	{"thermal_violation_ns", Counter, 241, AsRead, "time below requested clocks because of temperature"},
	{"pcie_replays", Counter, 202, AsRead, "PCIe replays"},
	{"ecc_sbe", Counter, 312, AsRead, "corrected memory errors, lifetime"},
	{"ecc_dbe", Counter, 313, AsRead, "uncorrected memory errors, lifetime"},
	{"ticks_expected", Counter, 0, Ticks, "ticks at which this device should have been read"},
	{"ticks_read", Counter, 0, Ticks, "ticks at which this device was read"},
	{"power_w", Gauge, 155, AsRead, "board power, 1 s mean on Ampere and later (except GA100)"},
	{"power_instant_w", Gauge, 157, AsRead, "board power, instantaneous"},
	{"gpu_temp_c", Gauge, 150, AsRead, "GPU temperature"},
	{"memory_temp_c", Gauge, 140, AsRead, "HBM temperature"},
	{"sm_clock_mhz", Gauge, 100, AsRead, "SM clock"},
	{"memory_clock_mhz", Gauge, 101, AsRead, "memory clock"},
	{"fb_used_mib", Gauge, 252, AsRead, "device memory in use"},
	{"fb_free_mib", Gauge, 251, AsRead, "device memory free"},
	{"power_limit_w", Gauge, 164, AsRead, "power limit in force"},
	{"clock_event_reasons", Code, 112, AsRead, "bit mask of why clocks are reduced"},
	{"xid", Code, 230, AsRead, "last XID error seen since the previous tick, 0 for none"},
	{"pstate", Code, 190, AsRead, "performance state"},
	{"energy_epoch", Code, 0, Epochs, "how often the collector saw the energy counter begin anew within its run"},
}

// Counters, Gauges and Codes are the metrics of one kind in table order.
var (
	Counters = ofKind(Counter)
	Gauges   = ofKind(Gauge)
	Codes    = ofKind(Code)
)

func ofKind(k Kind) []Metric {
	var out []Metric
	for _, m := range Metrics {
		if m.Kind == k {
			out = append(out, m)
		}
	}
	return out
}

// Indexes into Counters that code refers to by name. A test holds them against Metrics.
const (
	CEnergy = iota
	CPowerIntegral
	CGrEngineActive
	CSMActive
)

// CTicksExpected and CTicksRead are the collector's own counters, last in Counters.
const (
	CTicksExpected = 21
	CTicksRead     = 22
)

// CodeXID and CodeEnergyEpoch are indexes into Codes.
const (
	CodeXID         = 1
	CodeEnergyEpoch = 3
)
