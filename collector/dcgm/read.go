package dcgm

import (
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/wattledger/wattledger/collector/meter"
)

// blindError means that every field of every device is blank.
type blindError struct{}

func (blindError) Error() string {
	return "every field of every device is blank: after a fatal XID the host engine stops all driver calls; " +
		"look at the kernel log, reset the GPU and restart nv-hostengine"
}

// Code is the error's word for itself in metrics and logs.
func (blindError) Code() string { return "ALL_BLANK" }

var errBlind error = blindError{}

// latest is dcgmEntitiesGetLatestValues: fields of entities into out, which has room for a value each. The slices live
// on the heap and stay there during the call.
func (l *Library) latest(h uintptr, pairs []entityPair, fields []uint16, flags uint32, out unsafe.Pointer) Return {
	r, _, _ := purego.SyscallN(l.bulk, h,
		uintptr(unsafe.Pointer(&pairs[0])), uintptr(len(pairs)), uintptr(unsafe.Pointer(&fields[0])), uintptr(len(fields)),
		uintptr(flags), uintptr(out))
	runtime.KeepAlive(pairs)
	runtime.KeepAlive(fields)
	runtime.KeepAlive(out)
	return Return(int32(r))
}

// fetch reads every field of a class into its buffer, in as many calls as the engine's limit on a reply needs.
func (s *Source) fetch(k *class) error {
	perEntity := len(k.fields) * int(valueBytes)
	step := max(1, maxReplyBytes/perEntity)
	for from := 0; from < len(k.pairs); from += step {
		pairs := k.pairs[from:min(from+step, len(k.pairs))]
		r := s.lib.latest(s.conn.h, pairs, k.fields, 0, unsafe.Pointer(&k.buffer[from*perEntity/8]))
		if r != OK {
			return check(r, "read %d fields of %d devices of %s", len(k.fields), len(pairs), s.conn.where())
		}
	}
	return nil
}

// rowOf is the row of an entity, or -1.
func (s *Source) rowOf(g entityGroup, id uint32) int {
	if g >= groupEnd || id >= uint32(len(s.rows[g])) {
		return -1
	}
	return int(s.rows[g][id])
}

// decode puts the values of a class into the readings, wherever the engine put them. It says whether there was any, and
// whether the engine knows nothing of our watches: it was restarted under us.
func (s *Source) decode(k *class, r *meter.Readings) (any, lost bool) {
	values := k.values()
	unwatched := 0
	for i := range values {
		v := &values[i]
		n, ok := v.number()
		if !ok {
			switch v.Status {
			case NotWatched:
				unwatched++
			case InstanceNotFound, ComputeNotFound, GPUsDetached:
				s.lookAt = 1 // at the next reading
			}
			continue
		}
		if int(v.FieldID) >= len(s.index) || s.index[v.FieldID] == noSlot {
			continue
		}
		row := s.rowOf(v.Group, v.ID)
		if row < 0 || row >= r.Devices() {
			continue
		}
		if v.FieldID == fieldPowerInstant && n.Float == 0 {
			continue // what DCGM says when the driver does not know
		}
		r.Row(row)[s.index[v.FieldID]] = n
		any = true
	}
	return any, unwatched == len(values)
}
