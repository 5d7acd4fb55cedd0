package nvml

import (
	"math"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// The slots that code refers to by name.
var (
	slotPowerInstant = slot(157)
	slotMemoryTemp   = slot(140)
)

// slot is for the fields named in this package, which meter.Fields is known to hold; a test says so.
func slot(field uint16) meter.Slot {
	s, _ := meter.SlotOf(field)
	return s
}

// field is a quantity that nvmlDeviceGetFieldValues gives: many in one call, which is why they are preferred.
type field struct {
	id   uint32
	slot meter.Slot
	per  float64 // NVML's number over this is ours
	slow bool    // hardly ever changes
}

// The energy and the power come first: an extra reading at an edge asks for those alone.
var fields = []field{
	{fiTotalEnergy, meter.SlotEnergy, 1, false},
	{fiPowerAverage, meter.SlotPower, 1000, false},
	{fiPowerInstant, slotPowerInstant, 1000, false},
	{fiMemoryTemp, slotMemoryTemp, 1, false},
	{fiPolicyPower, slot(240), 1, false},
	{fiPolicyThermal, slot(241), 1, false},
	{fiPowerLimit, slot(164), 1000, true},
	{fiPCIeReplays, slot(202), 1, true},
	{fiECCSBEAggregate, slot(312), 1, true},
	{fiECCDBEAggregate, slot(313), 1, true},
}

// ofEdge says whether a field belongs to an extra reading.
func (f field) ofEdge() bool {
	return f.slot == meter.SlotEnergy || f.slot == meter.SlotPower || f.slot == slotPowerInstant
}

// ask is a quantity, or two, that has a call of its own.
type ask struct {
	call       call
	arg        uintptr
	slot, also meter.Slot // also is slot again where there is one only
	slow       bool
	instance   bool // a MIG instance has it of its own
}

// asks are tried in this order; one whose slot is filled already, by a field or an earlier ask, is not needed.
var asks = []ask{
	{call: callPower, slot: meter.SlotPower, also: meter.SlotPower}, // GPUs before Ampere have no average
	{call: callTemperature, arg: sensorGPU, slot: slot(150), also: slot(150)},
	{call: callTemperatureV, arg: sensorGPU, slot: slot(150), also: slot(150)}, // its successor from NVML 13 on
	{call: callClock, arg: clockSM, slot: slot(100), also: slot(100)},
	{call: callClock, arg: clockMemory, slot: slot(101), also: slot(101)},
	{call: callUtilization, slot: slot(203), also: slot(204)},
	{call: callMemoryV2, slot: slot(251), also: slot(252), instance: true},
	{call: callMemory, slot: slot(251), also: slot(252), instance: true}, // drivers before 510; counts the reserve as used
	{call: callReasons, slot: slot(112), also: slot(112)},
	{call: callPState, slot: slot(190), also: slot(190), slow: true},
	{call: callEnforcedLimit, slot: slot(164), also: slot(164), slow: true},
	{call: callReplays, slot: slot(202), also: slot(202), slow: true},
}

// gpmFields are the profiling metrics: percentages become ratios, MiB/s bytes per second, as DCGM has them.
var gpmFields = []struct {
	id       uint32 // NVML_GPM_METRIC_…
	slot     meter.Slot
	times    float64
	instance bool
}{
	{1, slot(1001), 0.01, true},
	{2, slot(1002), 0.01, true},
	{3, slot(1003), 0.01, true},
	{5, slot(1004), 0.01, true}, // any tensor pipe
	{10, slot(1005), 0.01, true},
	{11, slot(1006), 0.01, true},
	{12, slot(1007), 0.01, true},
	{13, slot(1008), 0.01, true},
	{20, slot(1009), 1 << 20, false},
	{21, slot(1010), 1 << 20, false},
	{61, slot(1011), 1 << 20, false},
	{60, slot(1012), 1 << 20, false},
}

// put fills a column. What no working device has is left out: a power of exactly 0 is how a driver says that it does not
// know, and a memory hotter than 200 °C is an error code.
func put(row []meter.Value, s meter.Slot, at unit.Micros, i int64, f float64) {
	switch s {
	case meter.SlotPower, slotPowerInstant:
		if f == 0 {
			return
		}
	case slotMemoryTemp:
		if f > maxMemoryTemp {
			return
		}
	}
	row[s] = meter.Value{At: at, Int: i, Float: f}
}

func putInt(row []meter.Value, s meter.Slot, at unit.Micros, i int64) { put(row, s, at, i, float64(i)) }

func putWatts(row []meter.Value, s meter.Slot, at unit.Micros, milliwatts uint32) {
	if milliwatts != notAvailable32 {
		put(row, s, at, int64(milliwatts/1000), float64(milliwatts)/1000)
	}
}

func putMebibytes(row []meter.Value, s meter.Slot, at unit.Micros, bytes uint64) {
	if bytes != notAvailable64 && bytes <= math.MaxInt64 {
		put(row, s, at, int64(bytes>>20), float64(bytes)/(1<<20))
	}
}
