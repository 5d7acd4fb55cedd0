package dcgm

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/wattledger/wattledger/collector/meter"
)

// Fields that say what a device is. They are read when devices are discovered, not watched.
const (
	fieldDriver       = 1
	fieldName         = 50
	fieldNvmlIndex    = 52
	fieldSerial       = 53
	fieldUUID         = 54
	fieldMinor        = 55
	fieldPCI          = 57
	fieldMIGMode      = 67
	fieldMaxSlices    = 69
	fieldVBIOS        = 85
	fieldLimitMax     = 162
	fieldLimitDefault = 163
	fieldLimit        = 164
	fieldCPULimit     = 1131
	fieldCPUModel     = 1141
)

type factKey struct {
	pair  entityPair
	field uint16
}

type fact struct {
	value
	text string
}

// facts are values that were read once.
type facts map[factKey]fact

func (f facts) text(p entityPair, field uint16) string { return f[factKey{p, field}].text }

func (f facts) number(p entityPair, field uint16) (meter.Value, bool) {
	v, ok := f[factKey{p, field}]
	if !ok {
		return meter.Value{}, false
	}
	return v.number()
}

// words is a fact for a person, whatever its type.
func (f facts) words(p entityPair, field uint16) string {
	if t := f.text(p, field); t != "" {
		return t
	}
	n, ok := f.number(p, field)
	switch {
	case !ok:
		return ""
	case f[factKey{p, field}].kind == typeDouble:
		return strconv.FormatFloat(n.Float, 'g', -1, 64)
	}
	return strconv.FormatInt(n.Int, 10)
}

// facts reads fields of entities from the driver now. Fields that the library does not know are left out, since one would
// spoil the call. What cannot be read is not among the facts; the error is for a connection that does not work at all.
func (c *Conn) facts(pairs []entityPair, fields ...uint16) (facts, error) {
	out := facts{}
	fields = slices.DeleteFunc(slices.Clone(fields), func(f uint16) bool { return c.lib.meta(f) == nil })
	slices.Sort(fields)
	fields = slices.Compact(fields)
	if len(pairs) == 0 || len(fields) == 0 {
		return out, nil
	}
	for some := range slices.Chunk(fields, maxFieldsPerCall) {
		step := max(1, maxReplyBytes/int(valueBytes)/len(some))
		for part := range slices.Chunk(pairs, step) {
			if err := c.factsOf(part, some, out); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (c *Conn) factsOf(pairs []entityPair, fields []uint16, out facts) error {
	if !c.old {
		values := room(len(pairs) * len(fields))
		switch r := c.latest(pairs, fields, flagLive, values); r {
		case OK:
			for i := range values {
				v := &values[i]
				out[factKey{entityPair{v.Group, v.ID}, v.FieldID}] = fact{v.value(), stringOf(v.Status, v.FieldType, &v.Raw)}
			}
			return nil
		case FunctionNotFound:
			c.old = true
		case BadParam, NotSupported, GPUIsLost, InstanceNotFound, ComputeNotFound, FieldUnsupportedByAPI:
			// An entity is gone. It must not hide the others.
			if len(pairs) == 1 {
				return nil
			}
			for i := range pairs {
				if err := c.factsOf(pairs[i:i+1], fields, out); err != nil {
					return err
				}
			}
			return nil
		default:
			return check(r, "read %d fields of %d entities from the driver", len(fields), len(pairs))
		}
	}
	return c.factsOfOld(pairs, fields, out)
}

// factsOfOld is the way of an engine without bulk reads: watch for a moment, and take what that sampled.
func (c *Conn) factsOfOld(pairs []entityPair, fields []uint16, out facts) error {
	group, err := c.group(pairs)
	if err != nil {
		return err
	}
	defer c.lib.groupDestroy(c.h, group)
	watched, err := c.watch(group, fields, time.Minute, time.Minute)
	if err != nil {
		if len(fields) == 1 {
			if ofField(err) {
				return nil
			}
			return err
		}
		for half := range slices.Chunk(fields, (len(fields)+1)/2) {
			if err := c.factsOfOld(pairs, half, out); err != nil {
				return err
			}
		}
		return nil
	}
	defer c.unwatch(group, watched)
	if err := check(c.lib.updateAll(c.h, 1), "sample %d fields once", len(fields)); err != nil {
		return err
	}
	_, r := c.since(group, watched, 0, func(g entityGroup, id uint32, v *fieldValueV1) {
		out[factKey{entityPair{g, id}, v.FieldID}] = fact{v.value(g, id), stringOf(v.Status, v.FieldType, &v.Raw)}
	})
	if r == NoData || r == NotWatched {
		return nil
	}
	return check(r, "read %d fields of %d entities", len(fields), len(pairs))
}

func (p entityPair) String() string { return fmt.Sprintf("(group %d, id %d)", p.Group, p.ID) }
