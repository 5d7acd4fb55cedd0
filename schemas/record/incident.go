package record

import (
	"errors"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/unit"
)

// IncidentKind is what happened on a node that bears on what its samples can prove.
type IncidentKind string

// The kinds of incident.
const (
	// IncidentGap is time in which a device, or the whole node, was not read.
	IncidentGap IncidentKind = "gap"
	// IncidentLoss is messages that were read and had to be given up before they were published.
	IncidentLoss IncidentKind = "loss"
	// IncidentClockStep is a step of the node's wall clock, by Amount microseconds.
	IncidentClockStep IncidentKind = "clock_step"
	// IncidentEpoch is a device whose energy counter began anew.
	IncidentEpoch IncidentKind = "epoch"
	// IncidentRestart is the collector replacing itself by a fresh process.
	IncidentRestart IncidentKind = "restart"
	// IncidentAllocation is a device whose holder is not known as well as an account needs: nobody that a rule names, more
	// claimed than there is, or a start or end that is only known to lie in [From, To].
	IncidentAllocation IncidentKind = "allocation"
)

// IncidentMissing is messages of a run that did not arrive: what ingest finds in the sequence numbers. A node does not state it,
// so it is not one of IncidentKinds. Reasons: hole, before_start, end_of_run. Amount counts the messages. It lies between the
// last tick before them and the first after them, or at the latter alone where nothing came before.
const IncidentMissing IncidentKind = "missing"

// IncidentKinds lists the kinds that a message may state; a reader knows no others.
var IncidentKinds = []IncidentKind{IncidentGap, IncidentLoss, IncidentClockStep, IncidentEpoch, IncidentRestart, IncidentAllocation}

// Incident is something that happened over [From, To] on a node. The same incident stated twice is one incident.
type Incident struct {
	Kind IncidentKind
	// Reason is a word: stopped, hung, unread, spool_full, fell, stuck, driver, source; of an allocation unmapped, overbooked, unknown_device,
	// start_unknown, end_unknown.
	Reason string
	// Device is the UUID; empty means the whole node.
	Device   string
	From, To unit.Micros
	// Amount is in the unit of the kind: ticks of a gap, messages of a loss, µs of a clock step, mJ of an epoch's last reading.
	Amount int64
	// Run, First and Last name the messages of a loss: hex of the run, and its sequences.
	Run         string
	First, Last uint64
}

// Validate reports every fault of the incident at once.
func (i Incident) Validate() error {
	var f faults
	if !slices.Contains(IncidentKinds, i.Kind) {
		words := make([]string, len(IncidentKinds))
		for n, k := range IncidentKinds {
			words[n] = string(k)
		}
		f.add("kind is %q; write one of %s", i.Kind, strings.Join(words, ", "))
	}
	f.need("reason", i.Reason)
	if i.From <= 0 {
		f.add("from is missing")
	}
	if i.To < i.From {
		f.add("it ends at %s, before it begins at %s", stamp(i.To), stamp(i.From))
	}
	if i.Last < i.First {
		f.add("its last sequence %d is before its first, %d", i.Last, i.First)
	}
	return errors.Join(f...)
}
