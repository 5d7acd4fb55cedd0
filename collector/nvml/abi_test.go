package nvml

import (
	"math"
	"slices"
	"testing"
	"unsafe"

	"github.com/wattledger/wattledger/collector/meter"
)

// The numbers are those of NVML 13's header as a C compiler lays it out, on amd64 and arm64 alike.
func TestLayouts(t *testing.T) {
	f := func(name string, got uintptr, want uintptr) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	var v fieldValue
	f("nvmlFieldValue_t.timestamp", unsafe.Offsetof(v.Timestamp), 8)
	f("nvmlFieldValue_t.valueType", unsafe.Offsetof(v.ValueType), 24)
	f("nvmlFieldValue_t.nvmlReturn", unsafe.Offsetof(v.Status), 28)
	f("nvmlFieldValue_t.value", unsafe.Offsetof(v.Raw), 32)
	f("nvmlPciInfo_t.busId", unsafe.Offsetof(pciInfo{}.BusID), 36)
	var m memoryV2
	f("nvmlMemory_v2_t.free", unsafe.Offsetof(m.Free), 24)
	f("nvmlMemory_v2_t.used", unsafe.Offsetof(m.Used), 32)
	f("nvmlDeviceAttributes_t.gpuInstanceSliceCount", unsafe.Offsetof(attributes{}.GISlices), 24)
	f("nvmlGpuInstanceProfileInfo_t.sliceCount", unsafe.Offsetof(profileInfo{}.Slices), 8)
	var e eventData
	f("nvmlEventData_t.eventData", unsafe.Offsetof(e.Data), 16)
	f("nvmlEventData_t.gpuInstanceId", unsafe.Offsetof(e.GPUInstanceID), 24)
	var g gpmMetricsGet
	f("nvmlGpmMetricsGet_t.sample1", unsafe.Offsetof(g.Earlier), 8)
	f("nvmlGpmMetricsGet_t.metrics", unsafe.Offsetof(g.Metrics), 24)
	f("nvmlGpmMetric_t.value", unsafe.Offsetof(gpmMetric{}.Value), 8)
	f("nvmlMemory_v2", uintptr(versionMemoryV2), 0x2000028)
	f("nvmlTemperature_v1", uintptr(versionTemperatureV1), 0x100000c)
}

func TestNumbersOfFields(t *testing.T) {
	f := func(kind int32, raw uint64, want float64, ok bool) {
		t.Helper()
		v := fieldValue{ValueType: kind, Raw: raw}
		_, got, isNumber := v.number()
		if isNumber != ok || ok && got != want {
			t.Errorf("type %d raw %#x is %v, %v, want %v, %v", kind, raw, got, isNumber, want, ok)
		}
	}
	f(typeUint, 0xdeadbeef_00000007, 7, true) // the rest of the union is whatever was there
	f(typeUint, math.MaxUint32, 0, false)     // not available
	f(typeInt, 0xffffffff_fffffffb, 0, false)
	f(typeInt, 5, 5, true)
	f(typeUshort, 0x10005, 5, true)
	f(typeUlong, 1<<40, 1<<40, true)
	f(typeUlongLong, math.MaxUint64, 0, false)
	f(typeLongLong, math.MaxUint64, 0, false)
	f(typeDouble, math.Float64bits(1.5), 1.5, true)
	f(typeDouble, math.Float64bits(math.NaN()), 0, false)
	f(99, 1, 0, false)
}

// slot takes it for granted that the fields are there.
func TestEveryFieldHasASlot(t *testing.T) {
	for _, id := range []uint16{157, 140, 240, 241, 164, 202, 312, 313, 150, 100, 101, 203, 204, 251, 252, 112, 190, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012} {
		if !slices.Contains(meter.Fields, id) {
			t.Errorf("no metric is made from field %d", id)
		}
	}
}

func TestWhatIsNoReadingIsLeftOut(t *testing.T) {
	row := make([]meter.Value, len(meter.Fields))
	put(row, meter.SlotPower, 1, 0, 0)
	put(row, slotPowerInstant, 1, 0, 0)
	putInt(row, slotMemoryTemp, 1, 255)
	putWatts(row, slot(164), 1, notAvailable32)
	putMebibytes(row, slot(251), 1, notAvailable64)
	for x, v := range row {
		if v != (meter.Value{}) {
			t.Errorf("field %d is %+v", meter.Fields[x], v)
		}
	}
}

func TestProfiles(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got := profileOf(name); got != want {
			t.Errorf("the profile of %q is %q, want %q", name, got, want)
		}
	}
	f("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "1g.5gb")
	f("NVIDIA H100 80GB HBM3 MIG 1c.3g.40gb", "3g.40gb")
	f("NVIDIA B200 MIG 1g.23gb+me", "1g.23gb+me")
	f("NVIDIA B200", "")
}
