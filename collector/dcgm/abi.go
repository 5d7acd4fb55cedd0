package dcgm

import "unsafe"

// The part of DCGM's C ABI that we speak (dcgm_structs.h of 4.6.0, the same on linux/amd64 and linux/arm64).

// maxEntityID bounds the entity ids that our index by number holds; ids are small by DCGM's limits.
const maxEntityID = 1 << 12

// entityGroup is dcgm_field_entity_group_t.
type entityGroup uint32

const (
	groupNone   entityGroup = 0
	groupGPU    entityGroup = 1
	groupSwitch entityGroup = 3
	groupGPUI   entityGroup = 4
	groupGPUCI  entityGroup = 5
	groupCPU    entityGroup = 7
	groupCore   entityGroup = 8
	groupEnd    entityGroup = 10
)

// Return codes, limits and flags.
const (
	operationAuto  = 1
	groupTypeEmpty = 1
	flagLive       = 1

	maxGPUs          = 32
	maxSwitches      = 12
	maxFieldsPerCall = 128
	maxReplyBytes    = 3 << 20 // the engine caps a reply near 4 MiB
)

// Modules that a reader of telemetry refuses in an embedded engine: they could change or load the devices.
const (
	modulePolicy = 5
	moduleConfig = 6
	moduleDiag   = 7
)

type entityPair struct {
	Group entityGroup
	ID    uint32
}

type fieldValueV2 struct {
	Version   uint32
	Group     entityGroup
	ID        uint32
	FieldID   uint16
	FieldType uint16
	Status    Return
	_         uint32
	TS        int64
	Raw       [4096]byte
}

type fieldValueV1 struct {
	Version   uint32
	FieldID   uint16
	FieldType uint16
	Status    Return
	_         uint32
	TS        int64
	Raw       [4096]byte
}

type connectV2 struct{ Version, Persist, TimeoutMs, IsUnix uint32 }

type startV1 struct {
	Version  uint32
	OpMode   int32
	Handle   uintptr
	LogFile  *byte
	Severity int32
	DenyN    uint32
	Deny     [10]uint32
}

type versionInfoV2 struct {
	Version uint32
	Text    [512]byte
}

type healthV1 struct{ Version, Overall uint32 }

// fieldMeta is dcgm_field_meta_t. It lies in the library's own memory and stays there.
type fieldMeta struct {
	ID         uint16
	Type, Size uint8
	Tag        [48]byte
	Scope      int32 // 0 is global, 1 is of an entity
	NVML       int32
	Level      entityGroup // the smallest kind of entity with a value of its own
	Format     uintptr
}

type migEntry struct {
	Entity, Parent entityPair
	GPUUUID        [128]byte
	NvmlIndex      uint32
	NvmlGI, NvmlCI uint32
	ProfileID      uint32
	Slices         uint32
}

type migHierarchyV2 struct {
	Version, Count uint32
	List           [448]migEntry
}

type cpuHierarchyV2 struct {
	Version, Count uint32
	List           [8]struct {
		ID    uint32
		_     uint32
		Cores struct {
			Version, _ uint32
			Mask       [16]uint64
		}
		Serial [256]byte
	}
}

// version is DCGM's version word: the size of the struct and the number of its version.
func version(size uintptr, v uint32) uint32 { return uint32(size) | v<<24 }

var (
	versionFieldValueV2 = version(unsafe.Sizeof(fieldValueV2{}), 2)
	versionConnectV2    = version(unsafe.Sizeof(connectV2{}), 2)
	versionStartV1      = version(unsafe.Sizeof(startV1{}), 1)
	versionInfo         = version(unsafe.Sizeof(versionInfoV2{}), 2)
	versionHealthV1     = version(unsafe.Sizeof(healthV1{}), 1)
	versionMIGV2        = version(unsafe.Sizeof(migHierarchyV2{}), 2)
	versionCPUV2        = version(unsafe.Sizeof(cpuHierarchyV2{}), 2)
)

const valueBytes = unsafe.Sizeof(fieldValueV2{})

// A wrong layout does not compile: the length of the array would be negative.
var (
	_ [4128 - unsafe.Sizeof(fieldValueV2{})]byte
	_ [unsafe.Sizeof(fieldValueV2{}) - 4128]byte
	_ [4120 - unsafe.Sizeof(fieldValueV1{})]byte
	_ [unsafe.Sizeof(fieldValueV1{}) - 4120]byte
	_ [16 - unsafe.Sizeof(connectV2{})]byte
	_ [unsafe.Sizeof(connectV2{}) - 16]byte
	_ [72 - unsafe.Sizeof(startV1{})]byte
	_ [unsafe.Sizeof(startV1{}) - 72]byte
	_ [516 - unsafe.Sizeof(versionInfoV2{})]byte
	_ [unsafe.Sizeof(versionInfoV2{}) - 516]byte
	_ [72 - unsafe.Sizeof(fieldMeta{})]byte
	_ [unsafe.Sizeof(fieldMeta{}) - 72]byte
	_ [73480 - unsafe.Sizeof(migHierarchyV2{})]byte
	_ [unsafe.Sizeof(migHierarchyV2{}) - 73480]byte
	_ [3208 - unsafe.Sizeof(cpuHierarchyV2{})]byte
	_ [unsafe.Sizeof(cpuHierarchyV2{}) - 3208]byte
)

// text is the C string in a fixed array, empty when DCGM says it has none.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			b = b[:i]
			break
		}
	}
	if blankText(b) {
		return ""
	}
	return string(b)
}
