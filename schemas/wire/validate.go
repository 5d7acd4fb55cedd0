package wire

import (
	"errors"
	"fmt"
	"math"

	"github.com/wattledger/wattledger/schemas/record"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Reason is why a message was refused: a word of a closed list, used as a metric's label.
type Reason string

// The reasons.
const (
	ReasonUndecodable  Reason = "undecodable"   // the bytes are not the protobuf message of the topic
	ReasonNoIdentity   Reason = "no_identity"   // node, run or sequence missing: repeats could not be recognised
	ReasonShape        Reason = "shape"         // columns of unequal length, a device index outside the table
	ReasonTime         Reason = "time"          // a tick out of order or outside any plausible time
	ReasonInvalid      Reason = "invalid"       // a record inside breaks its own rules
	ReasonUnknownTopic Reason = "unknown_topic" // nobody reads this topic
	ReasonNewerSchema  Reason = "newer_schema"  // what this version cannot store was written by a newer one: upgrade, then replay it
)

// Reasons lists them.
var Reasons = []Reason{ReasonUndecodable, ReasonNoIdentity, ReasonShape, ReasonTime, ReasonInvalid, ReasonUnknownTopic, ReasonNewerSchema}

// RefusedError says why a message cannot be accepted. The message goes to TopicRefused with it.
type RefusedError struct {
	Reason Reason
	Detail string
}

func (e *RefusedError) Error() string { return string(e.Reason) + ": " + e.Detail }

func refuse(r Reason, format string, args ...any) error {
	return &RefusedError{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

// MaxNameBytes is the most that the name of a site, a node or a source may have. Longer ones could not be asked about in a query.
const MaxNameBytes = 1024

// names says what is wrong with the names of an identity.
func names(site, what, source string) error {
	for _, n := range []struct{ what, name string }{{"site", site}, {what, source}} {
		switch {
		case n.name == "":
			return refuse(ReasonNoIdentity, "%s is empty", n.what)
		case len(n.name) > MaxNameBytes:
			return refuse(ReasonNoIdentity, "%s has %d bytes; a name has at most %d", n.what, len(n.name), MaxNameBytes)
		}
	}
	return nil
}

// RunBytes is the length of a run id and of a boot id.
const RunBytes = 16

// Times outside these are refused: 2000-01-01 and 2100-01-01, in microseconds.
const (
	earliest = 946_684_800_000_000
	latest   = 4_102_444_800_000_000
)

// ValidateSamples checks what ingest relies on: identity, equal columns, device indexes, order of ticks.
// It returns a *RefusedError that names the first fault found, since a message is accepted or refused whole.
func ValidateSamples(b *wl.SampleBatch) error {
	if b.Node == "" || len(b.Run) != RunBytes {
		return refuse(ReasonNoIdentity, "node is %q and run has %d bytes; a message needs a node and a run of %d bytes", b.Node, len(b.Run), RunBytes)
	}
	if len(b.BootId) != RunBytes {
		return refuse(ReasonNoIdentity, "boot_id has %d bytes, needs %d", len(b.BootId), RunBytes)
	}
	if err := names(b.Site, "node", b.Node); err != nil {
		return err
	}
	rows := len(b.TickUs)
	if len(b.Device) != rows || len(b.EnergyTsUs) != rows {
		return refuse(ReasonShape, "tick_us has %d rows, device %d, energy_ts_us %d; they must be equal", rows, len(b.Device), len(b.EnergyTsUs))
	}
	for i, d := range b.Devices {
		if d.GetUuid() == "" || d.Kind == wl.DeviceKind_DEVICE_KIND_UNSPECIFIED || d.EnergySource == wl.EnergySource_ENERGY_SOURCE_UNSPECIFIED {
			return refuse(ReasonShape, "device %d of the table lacks a uuid, kind or energy source", i)
		}
	}
	if err := checkTable(b.Devices); err != nil {
		return err
	}
	if err := columnsEqual(b, rows); err != nil {
		return err
	}
	for i, x := range b.Incidents {
		if err := checkIncident(i, x); err != nil {
			return err
		}
	}
	var last int64
	var lastDevice uint32
	for i, tick := range b.TickUs {
		if int(b.Device[i]) >= len(b.Devices) {
			return refuse(ReasonShape, "row %d names device %d of a table of %d", i, b.Device[i], len(b.Devices))
		}
		if tick < earliest || tick > latest {
			return refuse(ReasonTime, "row %d has tick %d µs, which is not between the years 2000 and 2100", i, tick)
		}
		if tick < last || (tick == last && b.Device[i] <= lastDevice && i > 0) {
			return refuse(ReasonTime, "row %d (tick %d, device %d) is not after the row before it (tick %d, device %d)", i, tick, b.Device[i], last, lastDevice)
		}
		if ts := b.EnergyTsUs[i]; ts != AbsentTime && (ts < earliest || ts > latest) {
			return refuse(ReasonTime, "row %d has energy_ts %d µs, which is not between the years 2000 and 2100", i, ts)
		}
		last, lastDevice = tick, b.Device[i]
	}
	return completeUpTo(b.CompleteUpToUs)
}

func checkIncident(i int, x *wl.Incident) error {
	if err := IncidentOf(x).Validate(); err != nil {
		return refuse(ReasonInvalid, "incident %d: %s", i, oneLine(err))
	}
	return nil
}

// ClickHouse keeps kinds and energy sources as enumerations and takes any byte for them in the Native format, so that an
// unknown one would show only when it is read. A newer producer may know more of them than we do.

func knownKind(k wl.DeviceKind) bool { _, ok := wl.DeviceKind_name[int32(k)]; return ok }

func knownSource(s wl.EnergySource) bool { _, ok := wl.EnergySource_name[int32(s)]; return ok }

const unknownWord = "device %d (%s) has kind %d and energy source %d, one of which this version does not know; upgrade ingest before the collectors"

// checkTable looks for values we have no word for, and for a device that stands twice in the table, which would have two
// rows for one tick.
func checkTable(devices []*wl.DeviceRef) error {
	at := make(map[string]int, len(devices))
	for i, d := range devices {
		if !knownKind(d.Kind) || !knownSource(d.EnergySource) {
			return refuse(ReasonShape, unknownWord, i, d.Uuid, d.Kind, d.EnergySource)
		}
		if first, twice := at[d.Uuid]; twice {
			return refuse(ReasonShape, "device %s stands at %d and at %d of the table; once is enough", d.Uuid, first, i)
		}
		at[d.Uuid] = i
	}
	return nil
}

// completeUpTo may be absent, which is 0: then nothing is declared.
func completeUpTo(t int64) error {
	if t != 0 && (t < earliest || t > latest) {
		return refuse(ReasonTime, "complete_up_to is %d µs, which is not between the years 2000 and 2100", t)
	}
	return nil
}

func columnsEqual(b *wl.SampleBatch, rows int) error {
	bad := func(name string, n int) error {
		return refuse(ReasonShape, "column %s has %d values for %d rows; a column is empty or full", name, n, rows)
	}
	for i, c := range Counters(b) {
		if n := len(*c); n != 0 && n != rows {
			return bad(record.Counters[i].Name, n)
		}
	}
	for i, c := range Gauges(b) {
		if n := len(*c); n != 0 && n != rows {
			return bad(record.Gauges[i].Name, n)
		}
	}
	for i, c := range Codes(b) {
		if n := len(*c); n != 0 && n != rows {
			return bad(record.Codes[i].Name, n)
		}
	}
	return nil
}

// ValidateAllocations checks identity and every allocation. A batch is accepted or refused whole; a producer that
// wants its good rows to pass sends them without the bad one.
func ValidateAllocations(b *wl.AllocationBatch) error {
	if b.Source == "" || b.Site == "" || len(b.Run) != RunBytes {
		return refuse(ReasonNoIdentity, "site is %q, source %q and run has %d bytes; a message needs all three", b.Site, b.Source, len(b.Run))
	}
	if err := names(b.Site, "source", b.Source); err != nil {
		return err
	}
	if err := completeUpTo(b.CompleteUpToUs); err != nil {
		return err
	}
	for i, a := range b.Allocations {
		if err := AllocationOf(a).Validate(); err != nil {
			return refuse(ReasonInvalid, "allocation %d (%s): %s", i, a.GetAllocationId(), oneLine(err))
		}
	}
	return nil
}

// ValidateReadings checks identity and every reading. A batch is accepted or refused whole.
func ValidateReadings(b *wl.ReadingBatch) error {
	if b.Source == "" || b.Site == "" || len(b.Run) != RunBytes {
		return refuse(ReasonNoIdentity, "site is %q, source %q and run has %d bytes; a message needs all three", b.Site, b.Source, len(b.Run))
	}
	if err := names(b.Site, "source", b.Source); err != nil {
		return err
	}
	if err := completeUpTo(b.CompleteUpToUs); err != nil {
		return err
	}
	for i, r := range b.Readings {
		if err := ReadingOf(r).Validate(); err != nil {
			return refuse(ReasonInvalid, "reading %d (%s): %s", i, r.GetMeter(), oneLine(err))
		}
	}
	return nil
}

// ValidateInventory checks every record.
func ValidateInventory(b *wl.Inventory) error {
	for i, s := range b.Sites {
		if err := SiteOf(s).Validate(); err != nil {
			return refuse(ReasonInvalid, "site %d (%q): %s", i, s.GetId(), oneLine(err))
		}
		if s.PueThousandths > math.MaxInt32 {
			return refuse(ReasonInvalid, "site %d (%s) has a PUE × 1000 of %d", i, s.Id, s.PueThousandths)
		}
	}
	for i, n := range b.Nodes {
		if err := NodeOf(n).Validate(); err != nil {
			return refuse(ReasonInvalid, "node %d (%q): %s", i, n.GetId(), oneLine(err))
		}
	}
	for i, d := range b.Devices {
		if err := DeviceOf(d).Validate(); err != nil {
			return refuse(ReasonInvalid, "device %d (%q): %s", i, d.GetUuid(), oneLine(err))
		}
		if !knownKind(d.Kind) || !knownSource(d.EnergySource) {
			return refuse(ReasonInvalid, unknownWord, i, d.Uuid, d.Kind, d.EnergySource)
		}
	}
	for i, t := range b.Tenants {
		if err := TenantOf(t).Validate(); err != nil {
			return refuse(ReasonInvalid, "tenant %d (%q): %s", i, t.GetId(), oneLine(err))
		}
	}
	for i, s := range b.Stays {
		if err := StayOf(s).Validate(); err != nil {
			return refuse(ReasonInvalid, "stay %d (node %q, device %q): %s", i, s.GetNode(), s.GetDeviceUuid(), oneLine(err))
		}
	}
	return nil
}

func oneLine(err error) string {
	var out string
	var join interface{ Unwrap() []error }
	if errors.As(err, &join) {
		for i, e := range join.Unwrap() {
			if i > 0 {
				out += "; "
			}
			out += e.Error()
		}
		return out
	}
	return err.Error()
}
