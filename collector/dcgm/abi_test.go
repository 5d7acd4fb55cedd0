package dcgm

import (
	"math"
	"testing"
	"unsafe"
)

// The numbers are those of DCGM 4.6.0's headers as a C compiler lays them out, on amd64 and arm64 alike.
func TestLayouts(t *testing.T) {
	size := func(name string, got uintptr, want uintptr) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	word := func(name string, got, want uint32) {
		t.Helper()
		if got != want {
			t.Errorf("version of %s: %#08x, want %#08x", name, got, want)
		}
	}
	word("dcgmFieldValue_v2", versionFieldValueV2, 0x02001020)
	word("dcgmConnectV2Params_v2", versionConnectV2, 0x02000010)
	word("dcgmStartEmbeddedV2Params_v1", versionStartV1, 0x01000048)
	word("dcgmVersionInfo_v2", versionInfo, 0x02000204)
	word("dcgmHostengineHealth_v1", versionHealthV1, 0x01000008)
	word("dcgmMigHierarchy_v2", versionMIGV2, 0x02011f08)
	word("dcgmCpuHierarchy_v2", versionCPUV2, 0x02000c88)

	var v2 fieldValueV2
	size("v2.fieldId", unsafe.Offsetof(v2.FieldID), 12)
	size("v2.status", unsafe.Offsetof(v2.Status), 16)
	size("v2.ts", unsafe.Offsetof(v2.TS), 24)
	size("v2.value", unsafe.Offsetof(v2.Raw), 32)
	var v1 fieldValueV1
	size("v1.status", unsafe.Offsetof(v1.Status), 8)
	size("v1.ts", unsafe.Offsetof(v1.TS), 16)
	size("v1.value", unsafe.Offsetof(v1.Raw), 24)
	size("dcgmGroupEntityPair_t", unsafe.Sizeof(entityPair{}), 8)
	var st startV1
	size("start.dcgmHandle", unsafe.Offsetof(st.Handle), 8)
	size("start.severity", unsafe.Offsetof(st.Severity), 24)
	size("start.denyList", unsafe.Offsetof(st.Deny), 32)
	var f fieldMeta
	size("meta.scope", unsafe.Offsetof(f.Scope), 52)
	size("meta.entityLevel", unsafe.Offsetof(f.Level), 60)
	var m migEntry
	size("mig entry", unsafe.Sizeof(m), 164)
	size("mig.gpuUuid", unsafe.Offsetof(m.GPUUUID), 16)
	size("mig.nvmlInstanceId", unsafe.Offsetof(m.NvmlGI), 148)
	size("mig.nvmlProfileSlices", unsafe.Offsetof(m.Slices), 160)
	var c cpuHierarchyV2
	size("cpus", unsafe.Offsetof(c.List), 8)
	size("cpus[1]", unsafe.Sizeof(c.List[0]), 400)
	size("cpus[0].serial", unsafe.Offsetof(c.List)+unsafe.Offsetof(c.List[0].Serial), 152)
}

func TestBlanks(t *testing.T) {
	f := func(fieldType uint16, status Return, raw uint64, number bool, want refusal) {
		t.Helper()
		v := value{kind: fieldType, status: status, at: 1, raw: raw}
		if _, ok := v.number(); ok != number {
			t.Errorf("type %c status %v raw %#x: a number %v, want %v", rune(fieldType), status, raw, ok, number)
		}
		if got := v.refusal(); got != want {
			t.Errorf("type %c status %v raw %#x: refused %v, want %v", rune(fieldType), status, raw, got, want)
		}
	}
	f(typeInt, OK, 0, true, given)
	f(typeInt, OK, uint64(blankInt64-1), true, given)
	f(typeInt, OK, uint64(blankInt64), false, given)
	f(typeInt, OK, uint64(blankInt64+reasonNotFound), false, given)
	f(typeInt, OK, uint64(blankInt64+reasonNotSupported), false, lacking)
	f(typeInt, OK, uint64(blankInt64+reasonNotPermissioned), false, denied)
	f(typeInt, NotWatched, 0, false, given) // what engines up to 4.3 say: a plain 0 with a status
	f(typeInt, NotSupported, 0, false, lacking)
	f(typeDouble, OK, math.Float64bits(1.5), true, given)
	f(typeDouble, OK, math.Float64bits(blankFP64+10), true, given) // a large value, not a blank
	f(typeDouble, OK, math.Float64bits(blankFP64), false, given)
	f(typeDouble, OK, math.Float64bits(blankFP64+2), false, lacking)
	f(typeDouble, OK, math.Float64bits(blankFP64+3), false, denied)
	f(typeInt, NoPermission, 0, false, denied)
	f(typeDouble, OK, math.Float64bits(math.NaN()), false, given)
	f(typeString, OK, 0, false, given)

	old := value{kind: typeInt} // status OK, but never sampled
	if _, ok := old.number(); ok {
		t.Error("a value without a time stamp was taken for a reading")
	}
	for _, s := range []string{"<<<NULL>>>", "<<<NOT_FOUND>>>", "<<<NOT_SUPPORTED>>>", "<<<NOT_PERM>>>", ""} {
		if got := text([]byte(s + "\x00rest")); got != "" {
			t.Errorf("text %q was read as %q", s, got)
		}
	}
	if !blankSmall(blankInt32) || !blankSmall(blankInt32+2) || blankSmall(1000) || !blankSmall(math.MaxUint32) {
		t.Error("32-bit blanks are not told from values")
	}
}
