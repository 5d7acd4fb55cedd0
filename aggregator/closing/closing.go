// Package closing turns one site-hour of readings and allocations into entries.
//
// It owns the order of the accounts: device energy by counter, Grace CPUs over the GPUs of their module, node rest over
// the devices of a node, shared IT and facility over all, carbon, water and heat last. Energy and device time are conserved
// at each step, in integers, and what a tenant is counted depends on nobody else's edges or names (docs/accounting.md).
// What is wrong with the input is named in the result; it stops no hour from closing.
// Nothing here reads a clock, a file or the network: the same Hour gives the same entries.
package closing

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Hour is everything the entries of one site-hour are made from.
type Hour struct {
	Site   record.Site
	Start  unit.Micros
	Limits Limits
	Nodes  []Node
	// Factors are the editions chosen for the hour, Readings those of the site's own meters around it.
	Factors  carbon.Factors
	Readings []record.Reading
	// Strays are allocations in the hour of devices that the site's inventory does not have. They hold nothing and are named.
	Strays []record.Allocation
	// Tenants are those that are registered; nil when they are not looked at. Others are counted under their name, and named.
	Tenants map[string]bool
	// Samples is the digest (hex) of the site's samples with a tick in the hour, SampleRows how many there are, repeats aside.
	Samples    string
	SampleRows int64
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
	// IdleBasis says where IdleMilliwatts comes from: "model", or "measured" and the hour it was measured in.
	IdleBasis string
	// Points are the readings of the energy counter from the hour and the first at or after its end.
	Points []window.Point
	// Packed holds the points and the work instead, where there are many.
	Packed *Packed
	// Stored is the cut at the hour's start that closing the hour before made; nil when there is none.
	Stored *record.Cut
	// Work are the collector's own counters at the readings, in order of time: activity and ticks.
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
	// DeviceHours is what is known about the quality of the hour: a line a device, and one for each node with a meter and the site.
	DeviceHours []record.DeviceHour
	// Findings name what was wrong with the input, in order.
	Findings []Finding
	// ClockSteps and Resets count what the counters did besides rising.
	ClockSteps, Resets int
}

// Close makes the entries of a site-hour, in the ledger's order.
func Close(h Hour) (Result, error) {
	s, err := newSite(h)
	if err != nil {
		return Result{}, err
	}
	if err := s.closeNodes(); err != nil {
		return Result{}, err
	}
	for _, a := range h.Strays {
		s.res.stray(h, a)
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"shared IT energy", s.addShared},
		{"facility energy", s.addFacility},
		{"water and heat", s.addWaterAndHeat},
		{"carbon", s.addCarbon},
		{"uncertainty", s.addUncertainty},
	} {
		if err := step.do(); err != nil {
			return Result{}, fmt.Errorf("%s of %s: %w", step.what, h.Site.ID, err)
		}
	}
	return s.finish(), nil
}

// closeNodes closes the nodes on all processors. The result is in order of the nodes' ids, whoever was ready first.
func (s *site) closeNodes() error {
	nodes := slices.Clone(s.hour.Nodes)
	slices.SortStableFunc(nodes, func(a, b Node) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.From, b.From)) })
	closed := make([]closedNode, len(nodes))
	errs := make([]error, len(nodes))
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(nodes)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(nodes); i = int(next.Add(1)) - 1 {
				c := &nodeCloser{hour: &s.hour, sensors: s.sensors, node: nodes[i].unpacked()}
				errs[i] = c.close()
				closed[i] = closedNode{book: c.nodeBook, res: c.res}
				if s.explain {
					closed[i].closer = c
				} else {
					c.forget()
				}
			}
		})
	}
	all.Wait()
	for i := range closed {
		if errs[i] != nil {
			return fmt.Errorf("close %s of node %s: %w", s.hour.Start.Time().Format(time.RFC3339), nodes[i].ID, errs[i])
		}
		s.res.add(&closed[i].res)
		s.nodes = append(s.nodes, closed[i].book)
		if s.explain {
			s.closers = append(s.closers, closed[i].closer)
		}
	}
	return nil
}

// closedNode is what is left of a node when its hour is closed.
type closedNode struct {
	book   *nodeBook
	res    Result
	closer *nodeCloser
}

// forget lets go of what the accounts were made from: of a large site it does not fit in memory all at once.
func (n *nodeBook) forget() {
	for _, b := range n.books {
		b.dev.Points, b.dev.Work, b.dev.Allocations = nil, nil, nil
	}
}

// add takes over what one node made.
func (r *Result) add(o *Result) {
	r.Cuts = append(r.Cuts, o.Cuts...)
	r.DeviceHours = append(r.DeviceHours, o.DeviceHours...)
	r.Findings = append(r.Findings, o.Findings...)
	r.ClockSteps += o.ClockSteps
	r.Resets += o.Resets
}

// finish puts the entries in order and hands over.
func (s *site) finish() Result {
	keep := func(e *record.Entry) {
		for _, mark := range s.marks {
			mark(e)
		}
		slices.Sort(e.Flags)
		s.res.Entries = append(s.res.Entries, *e)
	}
	for _, n := range s.nodes {
		for _, b := range n.books {
			for i := range b.held {
				keep(&b.held[i].entry)
			}
			if b.keep || !empty(&b.rest) {
				keep(&b.rest)
			}
		}
		for i := range n.loose {
			keep(&n.loose[i])
		}
	}
	slices.SortFunc(s.res.Entries, record.CompareEntries)
	slices.SortFunc(s.res.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Record, b.Record), cmp.Compare(a.Detail, b.Detail))
	})
	s.res.Findings = slices.Compact(s.res.Findings)
	return s.res
}

// hour names the hour as an entry does.
func (h *Hour) hour() string { return h.Start.Time().Format(time.RFC3339) }

// span is the part of the hour in which something exists that is there from one instant to another; to 0 is open.
func (h *Hour) span(from, to unit.Micros) (unit.Micros, unit.Micros) {
	from = max(h.Start, from)
	if to == 0 || to > h.End() {
		to = h.End()
	}
	return from, max(from, to)
}

func (h *Hour) entry(node string, d Device, account record.Account) record.Entry {
	return record.Entry{
		Site: h.Site.ID, Hour: h.hour(), Kind: record.Closing, Account: account,
		Node: node, Device: d.UUID, DeviceKind: kindOf(d), Model: d.Model, From: h.Start, To: h.End(),
		Rules: ledger.Rules, IdleLimit: h.Limits.Idle,
	}
}

// kindOf is the kind of a line's device; a line without one has none.
func kindOf(d Device) string {
	if d.UUID == "" {
		return ""
	}
	return d.Kind.String()
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
