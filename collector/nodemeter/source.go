package nodemeter

import (
	"context"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Meter is something that a source reads.
type Meter struct {
	// Name is stable and unique at the site: the node and what is measured, as in n1/module0.
	Name string
	// Quantity is one of record.ReadingUnits whose unit is mJ.
	Quantity string
	// Node is the node that the meter is on.
	Node string
	// Counter says that the meter has an energy counter of its own. The others read power.
	Counter bool
	// PerMillijoule is how many counts of the counter make one mJ: 1000 where it counts µJ. 0 counts as 1.
	PerMillijoule uint64
	// Range is the number of counts after which the counter begins anew at 0; 0 means that it never does.
	Range uint64
	// Limit is more than the meter can ever read in power; 0 means that this is not known. A counter with a Range is
	// unwrapped only where Limit shows that it wrapped once.
	Limit unit.Milliwatts
	// Of and Module say what is measured, as in Part.
	Of, Module string
}

// Part is the meter as Whole wants it.
func (m Meter) Part() Part {
	return Part{Name: m.Name, Quantity: m.Quantity, Of: m.Of, Module: m.Module, Counter: m.Counter}
}

// Reason is why a reading could not be had, or why an epoch ended: a word of a closed list, used as a metric's label.
type Reason string

// The reasons for which there is no reading. An error of a source that has a Code adds its own.
const (
	// Missing: the meter gave no value.
	Missing Reason = "missing"
	// Forbidden: we are not permitted to read it.
	Forbidden Reason = "permission"
	// Zero: power is an exact 0, which is how firmware says that it does not know.
	Zero Reason = "zero"
	// Refused: no meter can have that value.
	Refused Reason = "refused"
	// Stale: the value is the one before, with its old time.
	Stale Reason = "stale"
	// Late: the source did not answer within its deadline.
	Late Reason = "timeout"
	// Hung: the source has not come back from an earlier call.
	Hung Reason = "hung"
	// Nameless: the meter has no name of its own, or a quantity that is no energy, and is left out.
	Nameless Reason = "nameless"
	// Gone: the source does not list the meter any more.
	Gone Reason = "gone"
	// Overrun: the tick passed while an earlier reading went on, or while the machine slept.
	Overrun Reason = "overrun"
)

// The reasons for which an epoch ends.
const (
	// Fell: the counter fell, and not because it wrapped.
	Fell Reason = "fell"
	// Gap: power was not read for more than GapPeriods periods, so the energy in between is not known.
	Gap Reason = "gap"
	// Unsure: the counter may have wrapped more than once since the reading before, or nothing says that it did not.
	Unsure Reason = "wrap_unsure"
	// Jumped: the counter rose by more than the meter can read in that time.
	Jumped Reason = "jumped"
	// Renewed: the meter itself says that its counter began anew, or it is read in another way than before.
	Renewed Reason = "renewed"
)

// Value is one reading of one meter.
type Value struct {
	// At is when the value was true, by the clock that the instant given to Read comes from; 0 means that there is no value.
	At unit.Micros
	// Count is the counter as the meter shows it, for a meter with a counter.
	Count uint64
	// Power is for a meter without one.
	Power unit.Milliwatts
	// Epoch is the meter's own word for the life of its counter, which changes exactly when the counter begins anew and
	// outlives this program. Empty where the meter has none.
	Epoch string
	// Why says why there is no value; empty means Missing.
	Why Reason
}

// Source reads meters. All calls come one after another; a call that outlives its context delays only this source.
type Source interface {
	// Meters lists what is read now. Every name occurs once.
	Meters() []Meter
	// Read fills a value for each meter; at is now. What could not be read is left without a time. An error means that
	// nothing could be read; a later call may succeed. After agent.ErrChanged the caller asks for Meters again and reads
	// at once.
	Read(ctx context.Context, at unit.Micros, values []Value) error
}

// FuncSource is a source made from a function: power that another part of the collector reads anyway.
type FuncSource struct {
	// List is what is read.
	List []Meter
	// Fill is Source.Read.
	Fill func(ctx context.Context, at unit.Micros, values []Value) error
}

// Meters lists what is read.
func (s FuncSource) Meters() []Meter { return s.List }

// Read fills the values.
func (s FuncSource) Read(ctx context.Context, at unit.Micros, values []Value) error {
	return s.Fill(ctx, at, values)
}
