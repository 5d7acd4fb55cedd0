package nvml

import (
	"math"
	"unsafe"
)

// The part of NVML's C ABI that we speak (nvml.h of NVML 13, the same on linux/amd64 and linux/arm64).

// Field ids of nvmlDeviceGetFieldValues (NVML_FI_DEV_…).
const (
	fiECCSBEAggregate = 5
	fiECCDBEAggregate = 6
	fiPolicyPower     = 74
	fiPolicyThermal   = 75
	fiMemoryTemp      = 82
	fiTotalEnergy     = 83
	fiPCIeReplays     = 94
	fiPowerAverage    = 185
	fiPowerInstant    = 186
	fiPowerLimit      = 190
)

// Arguments and sentinels.
const (
	sensorGPU       = 0 // NVML_TEMPERATURE_GPU
	clockSM         = 1 // NVML_CLOCK_SM
	clockMemory     = 2 // NVML_CLOCK_MEM
	pstateUnknown   = 32
	migEnabled      = 1
	eventXID        = 8 // nvmlEventTypeXidCriticalError
	noInstance      = math.MaxUint32
	gpmMaxMetrics   = 477 // NVML_GPM_METRIC_MAX
	gpmVersion      = 1
	notAvailable32  = math.MaxUint32 // NVML_VALUE_NOT_AVAILABLE
	notAvailable64  = math.MaxUint64
	maxMemoryTemp   = 200 // above, it is an error code
	profileKinds    = 32  // more than NVML_GPU_INSTANCE_PROFILE_COUNT
	textBytes       = 96  // NVML_DEVICE_NAME_V2_BUFFER_SIZE, the longest of the texts
	eventsPerLook   = 256 // of XIDs: a GPU that reports without end must not hold the loop
	maxPlausibleMIG = 64
)

// Types of a field's value (nvmlValueType_t).
const (
	typeDouble = iota
	typeUint
	typeUlong
	typeUlongLong
	typeLongLong
	typeInt
	typeUshort
)

// fieldValue is nvmlFieldValue_t.
type fieldValue struct {
	FieldID, ScopeID uint32
	Timestamp        int64 // µs since 1970, 0 when the driver has none
	Latency          int64
	ValueType        int32
	Status           Return
	Raw              uint64
}

// number is the value as an integer, when it is one, and as a float.
func (v *fieldValue) number() (i int64, f float64, ok bool) {
	var u uint64
	switch v.ValueType {
	case typeDouble:
		f = math.Float64frombits(v.Raw)
		return int64(f), f, !math.IsNaN(f) && !math.IsInf(f, 0)
	case typeLongLong:
		return int64(v.Raw), float64(int64(v.Raw)), int64(v.Raw) >= 0
	case typeInt:
		return int64(int32(v.Raw)), float64(int32(v.Raw)), int32(v.Raw) >= 0
	case typeUint:
		u = uint64(uint32(v.Raw))
		ok = u != notAvailable32
	case typeUshort:
		u, ok = uint64(uint16(v.Raw)), true
	case typeUlong, typeUlongLong:
		u = v.Raw
		ok = u <= math.MaxInt64
	}
	return int64(u), float64(u), ok
}

// pciInfo is nvmlPciInfo_t.
type pciInfo struct {
	_                                 [16]byte
	Domain, Bus, Device, ID, SubsysID uint32
	BusID                             [32]byte
}

type utilization struct{ GPU, Memory uint32 }

// memoryV1 counts what the driver reserves as used.
type memoryV1 struct{ Total, Free, Used uint64 }

type memoryV2 struct {
	Version                     uint32
	Total, Reserved, Free, Used uint64
}

type temperatureV1 struct {
	Version, Sensor uint32
	Celsius         int32
}

// attributes is nvmlDeviceAttributes_t, of a MIG device.
type attributes struct {
	_        [6]uint32
	GISlices uint32
	CISlices uint32
	MemoryMB uint64
}

// profileInfo is nvmlGpuInstanceProfileInfo_t.
type profileInfo struct {
	ID, P2P, Slices uint32
	_               [7]uint32
	MemoryMB        uint64
}

// eventData is nvmlEventData_t.
type eventData struct {
	Device                           uintptr
	Type, Data                       uint64
	GPUInstanceID, ComputeInstanceID uint32
}

type gpmSupport struct{ Version, Supported uint32 }

type gpmMetric struct {
	ID     uint32
	Status Return
	Value  float64
	_      [3]uintptr // names and unit
}

// gpmMetricsGet is nvmlGpmMetricsGet_t: the ratios and rates between two samples.
type gpmMetricsGet struct {
	Version, Count uint32
	Earlier, Later uintptr
	Metrics        [gpmMaxMetrics]gpmMetric
}

// version is NVML's version word: the size of the struct and the number of its version.
func version(size uintptr, v uint32) uint32 { return uint32(size) | v<<24 }

var (
	versionMemoryV2      = version(unsafe.Sizeof(memoryV2{}), 2)
	versionTemperatureV1 = version(unsafe.Sizeof(temperatureV1{}), 1)
)

// A wrong layout does not compile: the length of the array would be negative.
var (
	_ [40 - unsafe.Sizeof(fieldValue{})]byte
	_ [unsafe.Sizeof(fieldValue{}) - 40]byte
	_ [68 - unsafe.Sizeof(pciInfo{})]byte
	_ [unsafe.Sizeof(pciInfo{}) - 68]byte
	_ [8 - unsafe.Sizeof(utilization{})]byte
	_ [unsafe.Sizeof(utilization{}) - 8]byte
	_ [24 - unsafe.Sizeof(memoryV1{})]byte
	_ [unsafe.Sizeof(memoryV1{}) - 24]byte
	_ [40 - unsafe.Sizeof(memoryV2{})]byte
	_ [unsafe.Sizeof(memoryV2{}) - 40]byte
	_ [12 - unsafe.Sizeof(temperatureV1{})]byte
	_ [unsafe.Sizeof(temperatureV1{}) - 12]byte
	_ [40 - unsafe.Sizeof(attributes{})]byte
	_ [unsafe.Sizeof(attributes{}) - 40]byte
	_ [48 - unsafe.Sizeof(profileInfo{})]byte
	_ [unsafe.Sizeof(profileInfo{}) - 48]byte
	_ [32 - unsafe.Sizeof(eventData{})]byte
	_ [unsafe.Sizeof(eventData{}) - 32]byte
	_ [8 - unsafe.Sizeof(gpmSupport{})]byte
	_ [unsafe.Sizeof(gpmSupport{}) - 8]byte
	_ [40 - unsafe.Sizeof(gpmMetric{})]byte
	_ [unsafe.Sizeof(gpmMetric{}) - 40]byte
	_ [19104 - unsafe.Sizeof(gpmMetricsGet{})]byte
	_ [unsafe.Sizeof(gpmMetricsGet{}) - 19104]byte
)

// text is the C string in a fixed array.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
