// Package closing turns one site-hour of readings and allocations into entries.
//
// It owns the order of the accounts: device energy by counter, Grace CPUs over the GPUs of their module, node rest over
// the devices of a node, facility over all, carbon last. Energy and device time are conserved at each step, in integers.
// Nothing here reads a clock, a file or the network: the same Hour gives the same entries.
package closing

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/wattledger/wattledger/aggregator/attribution"
	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Hour is everything the entries of one site-hour are made from.
type Hour struct {
	Site  record.Site
	Start unit.Micros
	Nodes []Node
	Grid  factor.Grid
	// Factors are the editions chosen for the hour, Readings those of the site's own meters around it.
	Factors  carbon.Factors
	Readings []record.Reading
	// Strays are allocations in the hour of devices that the site's inventory does not have. They hold nothing and are named.
	Strays []record.Allocation
}

// End is the first instant after the hour.
func (h Hour) End() unit.Micros { return h.Start + unit.Hour }

// Node is a host with its devices: GPUs, Grace CPUs and MIG instances.
type Node struct {
	record.Node
	Devices []Device
	// Readings are those of the node's own meters around the hour.
	Readings []record.Reading
}

// Device is what is known of one device for the hour.
type Device struct {
	record.Device
	// Points are the readings of the energy counter from the hour and the first at or after its end.
	Points []window.Point
	// Stored is the cut at the hour's start that closing the hour before made; nil when there is none.
	Stored *record.Cut
	// Work are the collector's own counters at the readings: activity and ticks.
	Work []Work
	// Period is the collector's.
	Period unit.Micros
	// Allocations are those of the device that may hold slots in the hour, with all that bear on where their slots lie.
	Allocations []record.Allocation
}

// Work is what the collector counted at a reading.
type Work struct {
	T   unit.Micros
	Run string
	// SMActive is the time SMs had work; it is also what a MIG GPU's energy is split by.
	SMActive       unit.Micros
	Expected, Read int64
}

// Result is what closing an hour makes.
type Result struct {
	Entries []record.Entry
	Cuts    []record.Cut
	// DeviceHours is what is known about the quality of the hour: a line a device, and one for each meter.
	DeviceHours []record.DeviceHour
	// Refused names allocations that asked for more of a device than was free, or for one that cannot be held.
	Refused []attribution.Overbooked
	// ClockSteps and Resets count what the counters did besides rising.
	ClockSteps, Resets int
}

// refuse names those that would have held something in [from, to), and says whether there were any. The history of a shared
// device may hold others, which were named in their own hours.
func (r *Result) refuse(list []attribution.Overbooked, from, to unit.Micros) bool {
	named := false
	for _, o := range list {
		if len(holds([]record.Allocation{o.Allocation}, from, to)) > 0 {
			r.Refused, named = append(r.Refused, o), true
		}
	}
	return named
}

// whole are allocations of which nothing at all is free.
func whole(allocations []record.Allocation) []attribution.Overbooked {
	var out []attribution.Overbooked
	for _, a := range allocations {
		out = append(out, attribution.Overbooked{Allocation: a})
	}
	return out
}

// Close makes the entries of a site-hour.
func Close(h Hour) (Result, error) {
	var res Result
	for _, n := range h.Nodes {
		c := nodeCloser{hour: h, node: n, meters: map[string]*attribution.Meter{}}
		if err := c.close(&res); err != nil {
			return Result{}, fmt.Errorf("close %s of node %s: %w", h.Start.Time().Format(time.RFC3339), n.ID, err)
		}
		entries, err := c.addRest()
		if err != nil {
			return Result{}, fmt.Errorf("node rest of %s: %w", n.ID, err)
		}
		res.Entries = append(res.Entries, entries...)
	}
	res.refuse(whole(h.Strays), h.Start, h.End())
	if err := addFacility(h, res.Entries); err != nil {
		return Result{}, fmt.Errorf("facility energy of %s: %w", h.Site.ID, err)
	}
	if err := addCarbon(h, res.Entries); err != nil {
		return Result{}, fmt.Errorf("carbon of %s: %w", h.Site.ID, err)
	}
	return res, nil
}

// span is the part of the hour in which the device exists.
func (h Hour) span(d record.Device) (from, to unit.Micros) {
	from, to = max(h.Start, d.From), h.End()
	if d.To != 0 {
		to = min(to, d.To)
	}
	return from, max(from, to)
}

func (h Hour) entry(n Node, d Device, account record.Account) record.Entry {
	return record.Entry{
		Site: h.Site.ID, Hour: h.Start.Time().Format(time.RFC3339), Kind: record.Closing, Account: account,
		Node: n.ID, Device: d.UUID, DeviceKind: d.Kind.String(), Model: d.Model, From: h.Start, To: h.End(), Rules: ledger.Rules,
	}
}

// hold is an allocation's stay on a device within the hour.
type hold struct {
	record.Allocation
	from, to unit.Micros
}

// holds are the allocations that hold the device in [from, to), in order of start.
func holds(allocations []record.Allocation, from, to unit.Micros) []hold {
	var out []hold
	for _, a := range allocations {
		h := hold{Allocation: a, from: max(from, a.Start), to: to}
		if a.End != 0 {
			h.to = min(to, a.End)
		}
		if h.to > h.from {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b hold) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// deviceTime is milliseconds × thousandths over [from, to). Instants are counted in whole milliseconds, so neighbours
// share their edge and the parts of an hour sum to it.
func deviceTime(from, to unit.Micros, share unit.Thousandths) unit.DeviceTime {
	ms := int64(to/unit.Millisecond) - int64(from/unit.Millisecond)
	return unit.DeviceTime(ms * int64(share))
}

// flag adds a flag once.
func flag(e *record.Entry, f string) {
	if !slices.Contains(e.Flags, f) {
		e.Flags = append(e.Flags, f)
	}
}

// The flags an entry may carry.
const (
	flagCounterReset  = "counter_reset" // the counter fell: an epoch ended in the hour
	flagClockStep     = "clock_step"    // readings whose time did not rise with their value were left out
	flagNoReadings    = "no_readings"   // nothing was read in the hour
	flagIntegrated    = "integrated"    // the device has no energy counter: power was integrated on the node
	flagEstimated     = "estimated"     // part of the energy was seen by no counter
	flagInterpolated  = "interpolated"  // part of the energy has no measured place in time
	flagRestModelled  = "rest_modelled" // node rest from declared watts
	flagFacility      = "pue_modelled"  // facility energy from a declared PUE
	flagSharedUnknown = "it_shared_unmetered"
	flagNoActivity    = "no_activity"   // the device gives no activity, so none is known
	flagMIGBySlices   = "mig_by_slices" // activity could not be read for part of the hour
	flagOverbooked    = "overbooked"    // an allocation asked for more than was free, or for what cannot be held
)
