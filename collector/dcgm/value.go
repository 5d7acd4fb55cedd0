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

// value is one value as the engine gives it, whichever call it came by. Numbers fit in raw.
type value struct {
	group  entityGroup
	id     uint32
	field  uint16
	kind   uint16
	status Return
	at     int64
	raw    uint64
}

func (v *fieldValueV2) value() value {
	return value{v.Group, v.ID, v.FieldID, v.FieldType, v.Status, v.TS, *(*uint64)(unsafe.Pointer(&v.Raw))}
}

func (v *fieldValueV1) value(group entityGroup, id uint32) value {
	return value{group, id, v.FieldID, v.FieldType, v.Status, v.TS, *(*uint64)(unsafe.Pointer(&v.Raw))}
}

// number decodes a numeric value; ok is false for an error, a blank, a value never sampled, and what is not a number.
func (v *value) number() (out meter.Value, ok bool) {
	if v.status != OK || v.at <= 0 {
		return out, false
	}
	switch v.kind {
	case typeDouble:
		f := math.Float64frombits(v.raw)
		if _, blank := blankDouble(f); blank {
			return out, false
		}
		// DCGM reports instantaneous power as an exact 0 where the driver has none; no device that answers draws nothing.
		if v.field == fieldPowerInstant && f == 0 {
			return out, false
		}
		return meter.Value{At: unit.Micros(v.at), Int: int64(f), Float: f}, true
	case typeInt, typeTime:
		i := int64(v.raw)
		if _, blank := blankInt(i); blank {
			return out, false
		}
		return meter.Value{At: unit.Micros(v.at), Int: i, Float: float64(i)}, true
	}
	return out, false
}

// refusal says why a device will not give a field.
type refusal uint8

const (
	given   refusal = iota // it gives it, or may later
	lacking                // the device does not have it
	denied                 // we may not have it
)

// refusal tells what a value says about the field as such.
func (v *value) refusal() refusal {
	switch v.status {
	case NotSupported, ProfilingNotSupported, UnknownField, FieldUnsupportedByAPI, ModuleNotLoaded:
		return lacking
	case NoPermission, RequiresRoot:
		return denied
	case OK:
	default:
		return given
	}
	var reason int
	var blank bool
	switch v.kind {
	case typeDouble:
		f := math.Float64frombits(v.raw)
		reason, blank = blankDouble(f)
		if v.field == fieldPowerInstant && f == 0 && v.at > 0 {
			return lacking
		}
	case typeInt, typeTime:
		reason, blank = blankInt(int64(v.raw))
	}
	switch {
	case blank && reason == reasonNotSupported:
		return lacking
	case blank && reason == reasonNotPermissioned:
		return denied
	}
	return given
}

// stringOf is a string value, empty when there is none.
func stringOf(status Return, kind uint16, raw *[4096]byte) string {
	if status != OK || kind != typeString {
		return ""
	}
	return text(raw[:256])
}
