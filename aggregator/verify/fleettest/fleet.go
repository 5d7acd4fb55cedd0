// Package fleettest makes small fleets from a seed, with everything that can happen to a counter, a meter or a factor.
//
// What every device really draws is known exactly; samples and readings are taken from that. A fleet is for tests and for
// programs that hold two ways of accounting against each other and both against what happened. The same seed gives the same fleet.
package fleettest

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Begin is the first hour of every fleet.
const Begin = 1_790_000_000_000_000 / unit.Hour * unit.Hour

// Fleet is a small site.
type Fleet struct {
	Site  verify.Site
	Grid  factor.Grid
	Nodes []verify.Node
	Hours int
	// Truth is what devices and MIG instances really drew.
	Truth map[string]*Power
	// Late says what was known when: what is not named was known at once.
	Late Late
	// Lossless says that every second was read and nothing befell a counter.
	Lossless bool
	// Revisions are the factors of hours, in the order in which they were published.
	Revisions []Revision

	options Options
	rng     *rand.Rand
}

// Silence is what may keep a device unread for longer than closing looks ahead.
type Silence int

// The silences.
const (
	Short         Silence = iota // nothing does
	CollectorAway                // a new run of the collector comes after it
	DeviceSilent                 // the collector runs on
)

// Options choose what a fleet has.
type Options struct {
	Silence Silence
	// Lossless has every device read once a second and at every edge, without a loss.
	Lossless bool
	// Step is the collector's period; 0 draws one.
	Step unit.Micros
	// Meters and Factors give the site meters and editions of factors; without them it has declared values alone.
	Meters, Factors bool
	// Crowded leaves MIG instances in the inventory as if they had not ended when others took their place.
	Crowded bool
	// Late lets samples, allocations, readings and factors arrive after their hour has closed.
	Late bool
}

// New makes a fleet without meters, all of which is known in time.
func New(seed uint64, silence Silence) *Fleet { return NewWith(seed, Options{Silence: silence}) }

// NewWith makes a fleet.
func NewWith(seed uint64, o Options) *Fleet {
	rng := rand.New(rand.NewPCG(seed, 7))
	f := &Fleet{
		Site:  verify.Site{Site: record.Site{ID: "site-a", Zone: "FR", PUEThousandths: 1000 + rng.Int64N(900)}, IdleLimit: verify.DefaultIdleLimit},
		Grid:  factor.Grid{Zone: "FR", MicrogramsPerKWh: 44_180_000},
		Hours: 1 + rng.IntN(4), rng: rng, options: o, Truth: map[string]*Power{}, Lossless: o.Lossless, Late: NewLate(),
	}
	if o.Step == 0 {
		f.options.Step = unit.Second * unit.Micros(5+rng.Int64N(60))
	}
	if o.Lossless {
		f.options.Step = unit.Second
	}
	for i := range 1 + rng.IntN(3) {
		f.addNode(i)
	}
	if o.Meters {
		f.addSiteMeters()
	}
	f.addFactors()
	return f
}

// Period is the fleet's hours.
func (f *Fleet) Period() verify.Period {
	return verify.Period{From: Begin, To: Begin + unit.Micros(f.Hours)*unit.Hour}
}

func (f *Fleet) chance(n int) bool { return f.rng.IntN(n) == 0 }

// before and after are how far samples and readings reach beyond the fleet's hours.
const (
	before = 25 * 60 * unit.Second
	after  = 50 * 60 * unit.Second
)

func (f *Fleet) begin() unit.Micros { return Begin - before }
func (f *Fleet) end() unit.Micros   { return f.Period().To + after }

func (f *Fleet) addNode(i int) {
	n := verify.Node{
		Node:   record.Node{ID: fmt.Sprintf("node-%d", i), Site: f.Site.ID, RestMilliwatts: unit.Milliwatts(f.rng.Int64N(5_000_000))},
		Series: map[string]verify.Series{}, Allocations: map[string][]record.Allocation{}, IdleLimit: f.Site.IdleLimit,
	}
	switch f.rng.IntN(6) {
	case 0:
		n.From = Begin + unit.Micros(f.rng.Int64N(int64(unit.Hour)))
	case 1:
		n.To = f.Period().To - unit.Micros(f.rng.Int64N(int64(unit.Hour)))
	}
	cpus := f.rng.IntN(3)
	gpus := 1 + f.rng.IntN(4)
	if f.options.Meters && f.chance(12) {
		gpus = 0 // a node of CPUs, or of nothing that is counted
	}
	var powers []*Power
	for g := range gpus {
		d := record.Device{
			UUID: fmt.Sprintf("GPU-%d-%d", i, g), Node: n.ID, Kind: record.KindGPU, Index: uint32(g), Model: "NVIDIA B200",
			Energy: record.EnergyHardware, LimitMilliwatts: 1_000_000, IdleMilliwatts: 140_000, From: n.From, To: n.To,
		}
		if cpus > 0 {
			d.Parent = fmt.Sprintf("CPU-%d-%d", i, g%cpus)
		}
		if !f.Lossless {
			switch f.rng.IntN(6) {
			case 0:
				d.Energy = record.EnergyIntegrated
			case 1:
				if later := Begin + unit.Micros(f.rng.Int64N(int64(unit.Hour))); d.To == 0 || later < d.To {
					d.From = max(d.From, later)
				}
			case 2:
				d.LimitMilliwatts = 0
			}
		}
		if f.chance(3) {
			f.addPartitioned(&n, d)
		} else {
			n.Allocations[d.UUID] = f.allocations(d.UUID, true)
			f.Truth[d.UUID] = f.profile(f.begin()-unit.Hour, f.end()+2*unit.Hour, 60_000+f.rng.Int64N(100_000), 1_000_000, edges(n.Allocations[d.UUID]))
			n.Series[d.UUID] = f.readings(d, f.Truth[d.UUID], edges(n.Allocations[d.UUID]))
		}
		powers = append(powers, f.Truth[d.UUID])
		n.Devices = append(n.Devices, d)
	}
	for c := range cpus {
		d := record.Device{
			UUID: fmt.Sprintf("CPU-%d-%d", i, c), Node: n.ID, Kind: record.KindCPU, Index: uint32(c), Energy: record.EnergyIntegrated,
			LimitMilliwatts: 300_000, From: n.From, To: n.To,
		}
		f.Truth[d.UUID] = f.profile(f.begin()-unit.Hour, f.end()+2*unit.Hour, 20_000, 300_000, nil)
		n.Series[d.UUID] = f.readings(d, f.Truth[d.UUID], nil)
		powers = append(powers, f.Truth[d.UUID])
		n.Devices = append(n.Devices, d)
	}
	rest := f.profile(f.begin()-unit.Hour, f.end()+2*unit.Hour, 200_000, 2_500_000, nil)
	f.Truth[n.ID] = sum(append(powers, rest))
	if f.options.Meters {
		f.addNodeMeter(&n)
	}
	f.Nodes = append(f.Nodes, n)
}

func edges(list []record.Allocation) []unit.Micros {
	var out []unit.Micros
	for _, a := range list {
		out = append(out, a.Start)
		if a.End != 0 {
			out = append(out, a.End)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (f *Fleet) allocations(device string, shared bool) []record.Allocation {
	var out []record.Allocation
	for i := range f.rng.IntN(8) {
		a := record.Allocation{
			ID: fmt.Sprintf("%s-%d", device, i), Device: device, Tenant: fmt.Sprintf("tenant-%d", i%3), Share: unit.WholeDevice,
			Start: Begin + unit.Micros(f.rng.Int64N(int64(f.Hours)*3_700_000)-60_000)*unit.Millisecond,
		}
		if f.rng.IntN(6) > 0 {
			a.End = a.Start + unit.Micros(1+f.rng.Int64N(5_000_000))*unit.Millisecond
		}
		if shared {
			a.Share = unit.Thousandths(1 + f.rng.Int64N(1000))
		}
		if f.Lossless {
			f.inside(&a)
		}
		if f.chance(4) {
			a.Start = a.Start.FloorHour() // an edge on the hour
		}
		if a.End != 0 && a.End <= a.Start {
			a.End = a.Start + 1
		}
		if f.options.Late && f.chance(8) {
			f.Late.Allocations[a.ID] = f.afterwards(a.Start)
		}
		out = append(out, a)
	}
	return out
}

// inside puts an allocation of at least ten minutes between the outer edges of the fleet's hours. At those nobody reads, so what
// is known there is as good as the second allows, and a tenant's total would tell of that rather than of what was held.
func (f *Fleet) inside(a *record.Allocation) {
	p := f.Period()
	a.Start = p.From + unit.Micros(f.rng.Int64N(int64(p.To-p.From-least)/1000))*unit.Millisecond
	a.End = min(p.To, a.Start+least+unit.Micros(f.rng.Int64N(5_000_000))*unit.Millisecond)
}

// Energy is what a device or an instance really drew up to t.
func (f *Fleet) Energy(entity string, t unit.Micros) (unit.Microjoules, bool) {
	p, ok := f.Truth[entity]
	if !ok {
		return 0, false
	}
	return unit.Microjoules(p.Nanojoules(t) / 1000), true
}
