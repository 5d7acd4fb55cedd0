package dcgm

import (
	"bytes"
	"math"
	"unsafe"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Blanks are DCGM's values for "no value"; the last digits give the reason.
const (
	blankInt32 = 0x7ffffff0
	blankInt64 = int64(0x7ffffffffffffff0)
	blankFP64  = 140737488355328.0 // 2^47
)

const (
	reasonBlank = iota
	reasonNotFound
	reasonNotSupported
	reasonNotPermissioned
)

// Field types, as DCGM writes them.
const (
	typeInt    = 'i'
	typeDouble = 'd'
	typeTime   = 't'
	typeString = 's'
	typeBlob   = 'b'
)

// blankText says whether a string is one of <<<NULL>>>, <<<NOT_FOUND>>>, <<<NOT_SUPPORTED>>>, <<<NOT_PERM>>>.
func blankText(b []byte) bool {
	return bytes.HasPrefix(b, []byte("<<<")) && bytes.Contains(b, []byte(">>>"))
}

// blankDouble says whether a double is a blank, and why. NVIDIA's macro takes anything from 2^47 on; a cumulative double
// could pass that, so we compare with the four values.
func blankDouble(f float64) (reason int, blank bool) {
	switch f {
	case blankFP64, blankFP64 + 1, blankFP64 + 2, blankFP64 + 3:
		return int(f - blankFP64), true
	}
	return 0, math.IsNaN(f)
}

func blankInt(i int64) (reason int, blank bool) {
	if i >= blankInt64 {
		return int(i - blankInt64), true
	}
	return 0, false
}

// blankSmall is for the 32-bit numbers of the attributes.
func blankSmall(v uint32) bool { return v >= blankInt32 }

// number decodes a numeric value; ok is false for an error, a blank, a value never sampled, and what is not a number.
func (v *fieldValueV2) number() (out meter.Value, ok bool) {
	if v.Status != OK || v.TS <= 0 {
		return out, false
	}
	raw := *(*uint64)(unsafe.Pointer(&v.Raw))
	switch v.FieldType {
	case typeDouble:
		f := math.Float64frombits(raw)
		if _, blank := blankDouble(f); blank {
			return out, false
		}
		return meter.Value{At: unit.Micros(v.TS), Int: int64(f), Float: f}, true
	case typeInt, typeTime:
		i := int64(raw)
		if _, blank := blankInt(i); blank {
			return out, false
		}
		return meter.Value{At: unit.Micros(v.TS), Int: i, Float: float64(i)}, true
	}
	return out, false
}

// unsupported says whether the value tells that the device does not have the field at all.
func (v *fieldValueV2) unsupported() bool {
	switch v.Status {
	case NotSupported, ProfilingNotSupported, UnknownField, FieldUnsupportedByAPI, ModuleNotLoaded:
		return true
	case OK:
	default:
		return false
	}
	raw := *(*uint64)(unsafe.Pointer(&v.Raw))
	switch v.FieldType {
	case typeDouble:
		reason, blank := blankDouble(math.Float64frombits(raw))
		return blank && reason == reasonNotSupported
	case typeInt, typeTime:
		reason, blank := blankInt(int64(raw))
		return blank && reason == reasonNotSupported
	}
	return false
}

// text is a string value, empty when there is none.
func (v *fieldValueV2) text() string {
	if v.Status != OK || v.FieldType != typeString {
		return ""
	}
	return text(v.Raw[:256])
}
