// Package adjusting books what changes in a closed hour: the difference between what is known of it now and what the ledger
// holds, line by line.
//
// A closed hour never changes. When late data, a late allocation or a revised factor would give other entries, the whole hour is
// evaluated anew and the differences are entries of their own, which name what they correct and why. What the ledger then holds
// of the hour is in sum what an hour closed with all of it in time would hold. Where nothing differs nothing is booked, so that
// to look again costs nothing. Nothing here reads a clock, a file or the network.
package adjusting

import (
	"slices"
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Line is what makes entries of one hour the same line of account: who held what when. Two lines that differ in any of it are
// reversed and booked, never changed into one another.
type Line struct {
	Node, Device, DeviceKind, Model string
	Account                         record.Account
	Tenant, Project, Allocation     string
	Workload, ModelID, Purpose      string
	From, To                        unit.Micros
}

// LineOf is the line an entry belongs to.
func LineOf(e record.Entry) Line {
	return Line{
		Node: e.Node, Device: e.Device, DeviceKind: e.DeviceKind, Model: e.Model, Account: e.Account,
		Tenant: e.Tenant, Project: e.Project, Allocation: e.Allocation, Workload: e.Workload, ModelID: e.ModelID, Purpose: e.Purpose,
		From: e.From, To: e.To,
	}
}

// Booked is what the ledger holds of one line of an hour.
type Booked struct {
	// Entry has the sums of all entries of the line, and the attributes of the newest.
	record.Entry
	// ID is that of the newest entry.
	ID string
}

// Hour is what the ledger holds of a closed hour.
type Hour struct {
	Lines []Booked
	// Root is that of the seal that closed the hour.
	Root string
	// SampleRows is how many samples the hour was closed from; 0 where that was not noted.
	SampleRows int64
}

// Adjust makes the entries by which the ledger's sums become those of now. They are in the ledger's order; there are none where
// nothing differs.
func Adjust(booked Hour, now []record.Entry, causes []Cause) []record.Entry {
	type pair struct {
		booked  record.Entry
		id      string
		now     record.Entry
		has, is bool // in the ledger, in what is known now
	}
	lines := map[Line]*pair{}
	at := func(l Line) *pair {
		p := lines[l]
		if p == nil {
			p = &pair{}
			lines[l] = p
		}
		return p
	}
	// What a line without predecessor corrects: the device's hour, of which it takes its part.
	unallocated := map[[2]string]string{}
	for _, b := range booked.Lines {
		p := at(LineOf(b.Entry))
		if p.has {
			p.booked = Sum(b.Entry, p.booked)
		} else {
			p.booked, p.has = b.Entry, true
		}
		p.id = b.ID
		if b.Account == record.AccountUnallocated {
			unallocated[[2]string{b.Node, b.Device}] = b.ID
		}
	}
	for _, e := range now {
		p := at(LineOf(e))
		if p.is {
			e = Sum(e, p.now)
		}
		p.now, p.is = e, true
	}
	var out []record.Entry
	for _, p := range lines {
		e := p.now
		if !p.is { // nobody holds it any more: the line is taken back, with what it was made from
			e = Zero(p.booked)
		}
		e = minus(e, p.booked)
		if nothing(e) {
			continue
		}
		e.Kind, e.Reason = record.Adjustment, Reason(toldTo(e, causes))
		switch id := unallocated[[2]string{e.Node, e.Device}]; {
		case p.has:
			e.Corrects = p.id
		case id != "":
			e.Corrects = id
		default:
			e.Corrects = "seal:" + booked.Root
		}
		out = append(out, e)
	}
	slices.SortFunc(out, record.CompareEntries)
	return out
}

// Cause is why an hour is evaluated anew.
type Cause struct {
	// Word is one of record.Reasons.
	Word string
	// About names the node, the allocation or the edition.
	About string
}

// maxNamed is how many causes of one word a reason names; of more it gives the number, as a line that nobody reads to its end
// proves nothing.
const maxNamed = 5

// toldTo are the causes as an entry may tell them: a tenant reads its own entries, and which allocations others have is not its to
// know.
func toldTo(e record.Entry, causes []Cause) []Cause {
	if e.Tenant == "" {
		return causes
	}
	out := slices.Clone(causes)
	for i, c := range out {
		if c.Word == "late_allocation" && c.About != e.Allocation {
			out[i].About = ""
		}
	}
	return out
}

// Reason writes causes as an adjustment's reason: in the order of record.Reasons, each thing once, whatever order they were
// found in.
func Reason(causes []Cause) string {
	var parts []string
	for _, word := range record.Reasons {
		var about []string
		found := false
		for _, c := range causes {
			if c.Word != word {
				continue
			}
			found = true
			if c.About != "" && !slices.Contains(about, c.About) {
				about = append(about, c.About)
			}
		}
		if !found {
			continue
		}
		slices.Sort(about)
		if more := len(about) - maxNamed; more > 0 {
			about = append(about[:maxNamed], "and "+strconv.Itoa(more)+" more")
		}
		parts = append(parts, strings.TrimSpace(word+" "+strings.Join(about, ", ")))
	}
	return strings.Join(parts, "; ")
}
