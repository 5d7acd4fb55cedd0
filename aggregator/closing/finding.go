package closing

import (
	"errors"
	"fmt"

	"github.com/wattledger/wattledger/aggregator/attribution"
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Finding is something wrong with the input of an hour: the kind, the record it is about, and what, why and how to mend it.
type Finding struct {
	Kind, Record, Detail string
}

// The kinds of finding. Those of allocations begin with allocation_, those of meters with meter_. An allocation that is refused
// holds nothing; a meter that is refused is not used.
const (
	FindingOverbooked    = "allocation_overbooked"         // it asks for more of a device than is free
	FindingUnheld        = "allocation_of_unheld"          // the device cannot be held, or not in this way
	FindingUnknownDevice = "allocation_of_unknown_device"  // the inventory of the site does not have the device
	FindingEndsEarly     = "allocation_ends_before_start"  // it holds nothing and takes no room
	FindingUnknownTenant = "allocation_of_unknown_tenant"  // counted under the name it states
	FindingBackwards     = window.MeterBackwards           // a counter falls within one epoch
	FindingContradiction = window.MeterContradicts         // two readings cannot both be true
	FindingImpossible    = window.MeterImpossible          // a value that no meter can have
	FindingTwoMeters     = "meter_claimed_twice"           // several meters claim one node
	FindingBelowParts    = "meter_below_parts"             // a meter reads less than what is behind it: the excess is kept
	FindingNoGrid        = "factor_grid_unknown"           // carbon is 0 until an intensity of the site's zone is known
	FindingBoundary      = "factor_instrument_of_boundary" // an instrument of another boundary than the residual mix
	FindingLayout        = "mig_layout"                    // the instances of a GPU have more compute slices than it: some are left out
)

// Findings lists the kinds.
var Findings = []string{
	FindingOverbooked, FindingUnheld, FindingUnknownDevice, FindingEndsEarly, FindingUnknownTenant, FindingBackwards, FindingContradiction,
	FindingImpossible, FindingTwoMeters, FindingBelowParts, FindingNoGrid, FindingBoundary, FindingLayout,
}

// AllocationFinding says that a finding is about an allocation.
func (f Finding) AllocationFinding() bool { return len(f.Kind) > 11 && f.Kind[:11] == "allocation_" }

// Refuses says that the record does not count as it stands. What is only remarkable counts all the same.
func (f Finding) Refuses() bool { return f.Kind != FindingUnknownTenant && f.Kind != FindingBelowParts }

func (r *Result) find(kind, record, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{kind, record, fmt.Sprintf(format, args...)})
}

// overbooked names those that would have held something in [from, to), and says whether there were any. The history of a
// shared device may hold others, which were named in their own hours.
func (r *Result) overbooked(list []attribution.Overbooked, from, to unit.Micros) bool {
	named := false
	for _, o := range list {
		if len(holds([]record.Allocation{o.Allocation}, from, to)) > 0 {
			r.find(FindingOverbooked, o.Allocation.ID, "%s", o.Error())
			named = true
		}
	}
	return named
}

// unheld names allocations of something that cannot be held, and says whether there were any in [from, to).
func (r *Result) unheld(allocations []record.Allocation, from, to unit.Micros, why string) bool {
	list := holds(allocations, from, to)
	for _, a := range list {
		r.find(FindingUnheld, a.ID, "allocation %s of tenant %s is of %s, %s: mend the scheduler's statement", a.ID, a.Tenant, a.Device, why)
	}
	return len(list) > 0
}

// crowded names the instances that a GPU has no room for, layout by layout, and says whether there were any.
func (r *Result) crowded(gpu string, layouts []attribution.Layout) bool {
	named := false
	for _, l := range layouts {
		if len(l.Over) == 0 {
			continue
		}
		named = true
		text := ""
		for i, in := range l.Over {
			if i > 0 {
				text += ", "
			}
			text += fmt.Sprintf("%s (%d)", in.UUID, in.Slices)
		}
		r.find(FindingLayout, gpu, "from %s to %s the MIG instances of %s have more than its %d compute slices; left out, as stated last: %s. Retire those that are gone (`wattledger retire device UUID --at TIME`), or give them a `to` in the inventory",
			stamp(l.From), stamp(l.To), gpu, attribution.MIGSlices, text)
	}
	return named
}

// stray names an allocation of a device that the site does not have.
func (r *Result) stray(h Hour, a record.Allocation) {
	if backwards(a) {
		r.backwards(&h, a)
		return
	}
	if len(holds([]record.Allocation{a}, h.Start, h.End())) > 0 {
		r.find(FindingUnknownDevice, a.ID, "allocation %s of tenant %s is of %s, which the inventory of %s does not have: mend the statement or the inventory",
			a.ID, a.Tenant, a.Device, h.Site.ID)
	}
}

func backwards(a record.Allocation) bool { return a.End != 0 && a.End < a.Start }

// backwards names an allocation that ends before it starts, in the hour it starts in.
func (r *Result) backwards(h *Hour, a record.Allocation) {
	if a.Start >= h.Start && a.Start < h.End() {
		r.find(FindingEndsEarly, a.ID, "allocation %s of tenant %s on %s ends at %s, before it starts at %s: mend the scheduler's statement",
			a.ID, a.Tenant, a.Device, stamp(a.End), stamp(a.Start))
	}
}

// sound are the allocations that can be: it names the others.
func (r *Result) sound(h *Hour, allocations []record.Allocation) []record.Allocation {
	bad := false
	for _, a := range allocations {
		bad = bad || backwards(a)
	}
	if !bad {
		return allocations
	}
	var out []record.Allocation
	for _, a := range allocations {
		if backwards(a) {
			r.backwards(h, a)
			continue
		}
		out = append(out, a)
	}
	return out
}

// refused names a meter whose readings were refused.
func (r *Result) refused(meter string, err error) {
	var refusal *window.Refusal
	if errors.As(err, &refusal) {
		r.find(refusal.Kind, meter, "%s", refusal.Detail)
	}
}

func stamp(t unit.Micros) string { return t.Time().Format("2006-01-02T15:04:05.000Z") }

// flag adds a flag once.
func flag(e *record.Entry, f string) { e.Flags = flagged(e.Flags, f) }

func flagged(flags []string, f string) []string {
	for _, have := range flags {
		if have == f {
			return flags
		}
	}
	return append(flags, f)
}
