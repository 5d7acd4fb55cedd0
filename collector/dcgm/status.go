package dcgm

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
)

// Status says what the source is connected to and what it may not read.
type Status struct {
	Connected bool
	// Where is the host engine; Error why there is no connection, empty while there is one.
	Where, Error string
	// Library and Engine are versions of DCGM.
	Library, Engine string
	// Since is when the connection was made.
	Since time.Time
	// Reading is how values come: in one call, or, from an engine older than the library, piece by piece.
	Reading string
	// Profiling is "ok", "not supported", or "not permitted: …" with what to do.
	Profiling string
	// LeftOut are the fields that cannot be read, by class and field.
	LeftOut []LeftOut
}

// LeftOut is a field that devices of a class do not give.
type LeftOut struct {
	Class  string
	Field  uint16
	Reason string
	// Denied says that it is a matter of permission.
	Denied bool
}

// The ways of reading.
const (
	readingBulk = "bulk"
	readingOld  = "one by one: the library is newer than the host engine; load the node's own libdcgm.so.4"
)

// permitProfiling is what to do where the performance counters are refused.
const permitProfiling = "run the host engine as root, or load the driver with NVreg_RestrictProfilingToAdminUsers=0"

// reason is a return code for a person.
func reason(r Return) string {
	if text := r.Remedy(); text != "" {
		return r.String() + ": " + text
	}
	return r.String()
}

// reason says what a refusal of values means, for all entities of a class or for some.
func (r refusal) reason(some bool) string {
	text := "the device does not have it"
	if r == denied {
		text = "not permitted"
	}
	if some {
		text += " (some devices only)"
	}
	return text
}

// leaveOut notes a field that a class does without.
func (s *Source) leaveOut(k *class, field uint16, why refusal, reason string) {
	s.log.Debug("field left out", "field", field, "class", k.name, "reason", reason)
	if profiling(field) && why == denied {
		reason = "not permitted: " + permitProfiling
	}
	s.leftOut = append(s.leftOut, LeftOut{k.name, field, reason, why == denied})
}

// Status may be called by any goroutine.
func (s *Source) Status() Status {
	s.public.Lock()
	defer s.public.Unlock()
	out := s.public.status
	out.LeftOut = slices.Clone(out.LeftOut)
	return out
}

// Label is the text of a field of Config.Labels, by its position there, empty when the device is unknown or has none. Any
// goroutine may call it.
func (s *Source) Label(uuid string, i int) string {
	s.public.Lock()
	defer s.public.Unlock()
	if l := s.public.labels[uuid]; i >= 0 && i < len(l) {
		return l[i]
	}
	return ""
}

// announce makes a new connection, or new devices, known to whoever asks.
func (s *Source) announce() {
	slices.SortStableFunc(s.leftOut, func(a, b LeftOut) int { return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Field, b.Field)) })
	s.leftOut = slices.Compact(s.leftOut)
	labels := make(map[string][]string, len(s.entities))
	for _, e := range s.entities {
		labels[e.device.UUID] = e.labels
	}
	s.public.Lock()
	defer s.public.Unlock()
	old := s.public.status
	s.public.labels = labels
	s.public.status = Status{
		Connected: true, Where: s.conn.where(), Library: s.libraryVersion, Engine: s.engineVersion, Since: s.since, Reading: readingBulk,
		Profiling: s.profilingStatus(), LeftOut: slices.Clone(s.leftOut),
	}
	if s.conn.old {
		s.public.status.Reading = readingOld
	}
	if p := s.public.status.Profiling; p != old.Profiling && p != "ok" {
		s.log.Warn("activity is not measured", "profiling", p)
	}
	s.met.show(s.cfg.Node, s.public.status, s.conn.options.Address)
}

// disappear makes the loss of the connection known.
func (s *Source) disappear(err error) {
	s.public.Lock()
	defer s.public.Unlock()
	s.public.status.Connected = false
	if err != nil {
		s.public.status.Error = err.Error()
	}
	s.met.connected.Set(0)
}

// profilingStatus is about GPUs and their instances: CPUs have no such counters.
func (s *Source) profilingStatus() string {
	for _, f := range s.leftOut {
		if f.Denied && profiling(f.Field) {
			return "not permitted: " + permitProfiling
		}
	}
	for i, e := range s.entities {
		for slot, f := range meter.Fields {
			if e.device.Kind != record.KindCPU && profiling(f) && s.slots[i].Has(meter.Slot(slot)) {
				return "ok"
			}
		}
	}
	return "not supported"
}

// Unsupported lists the metrics that no device has a field for, by name.
func (s *Source) Unsupported() []string {
	var all meter.Set
	for _, x := range s.slots {
		all |= x
	}
	out := []string{}
	for _, m := range record.Metrics {
		if slot, ok := meter.SlotOf(m.Field); ok && !all.Has(slot) {
			out = append(out, m.Name)
		}
	}
	return out
}

func (f LeftOut) String() string {
	return f.Class + " field " + strconv.Itoa(int(f.Field)) + ": " + f.Reason
}
