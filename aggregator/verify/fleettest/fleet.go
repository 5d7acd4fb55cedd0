// Package fleettest makes small fleets from a seed, with everything that can happen to a counter.
//
// A fleet is for tests that hold two ways of accounting against each other. The same seed gives the same fleet.
package fleettest

import (
	"fmt"
	"math/rand/v2"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Begin is the first hour of every fleet.
const Begin = 1_790_000_000_000_000 / unit.Hour * unit.Hour

// Fleet is a small site.
type Fleet struct {
	Site  record.Site
	Grid  factor.Grid
	Nodes []verify.Node
	Hours int

	rng     *rand.Rand
	silence Silence
}

// Silence is what may keep a device unread for longer than closing looks ahead.
type Silence int

// The silences.
const (
	Short         Silence = iota // nothing does
	CollectorAway                // a new run of the collector comes after it
	DeviceSilent                 // the collector runs on
)

// New makes a fleet.
func New(seed uint64, silence Silence) *Fleet {
	rng := rand.New(rand.NewPCG(seed, 7))
	f := &Fleet{
		Site:  record.Site{ID: "site-a", Zone: "FR", PUEThousandths: 1000 + rng.Int64N(900)},
		Grid:  factor.Grid{Zone: "FR", MicrogramsPerKWh: 44_180_000},
		Hours: 1 + rng.IntN(4), rng: rng, silence: silence,
	}
	for i := range 1 + rng.IntN(3) {
		f.addNode(i)
	}
	return f
}

// Period is the fleet's hours.
func (f *Fleet) Period() verify.Period {
	return verify.Period{From: Begin, To: Begin + unit.Micros(f.Hours)*unit.Hour}
}

func (f *Fleet) chance(n int) bool { return f.rng.IntN(n) == 0 }

func (f *Fleet) addNode(i int) {
	n := verify.Node{
		Node:   record.Node{ID: fmt.Sprintf("node-%d", i), Site: f.Site.ID, RestMilliwatts: unit.Milliwatts(f.rng.Int64N(5_000_000))},
		Series: map[string]verify.Series{}, Allocations: map[string][]record.Allocation{},
	}
	switch f.rng.IntN(4) {
	case 0:
		n.From = Begin + unit.Micros(f.rng.Int64N(int64(unit.Hour)))
	case 1:
		n.To = f.Period().To - unit.Micros(f.rng.Int64N(int64(unit.Hour)))
	}
	cpus := f.rng.IntN(3)
	for g := range 1 + f.rng.IntN(4) {
		d := record.Device{
			UUID: fmt.Sprintf("GPU-%d-%d", i, g), Node: n.ID, Kind: record.KindGPU, Index: uint32(g), Model: "NVIDIA B200",
			Energy: record.EnergyHardware, LimitMilliwatts: 1_000_000, IdleMilliwatts: 140_000, From: n.From, To: n.To,
		}
		if cpus > 0 {
			d.Parent = fmt.Sprintf("CPU-%d-%d", i, g%cpus)
		}
		switch f.rng.IntN(6) {
		case 0:
			d.Energy = record.EnergyIntegrated
		case 1:
			d.From = max(d.From, Begin+unit.Micros(f.rng.Int64N(int64(unit.Hour))))
		case 2:
			d.LimitMilliwatts = 0
		}
		n.Series[d.UUID] = f.readings(d)
		if f.chance(3) {
			f.addInstances(&n, d)
		} else {
			n.Allocations[d.UUID] = f.allocations(d.UUID, true)
		}
		n.Devices = append(n.Devices, d)
	}
	for c := range cpus {
		d := record.Device{
			UUID: fmt.Sprintf("CPU-%d-%d", i, c), Node: n.ID, Kind: record.KindCPU, Index: uint32(c), Energy: record.EnergyIntegrated,
			LimitMilliwatts: 300_000, From: n.From, To: n.To,
		}
		n.Series[d.UUID] = f.readings(d)
		n.Devices = append(n.Devices, d)
	}
	f.Nodes = append(f.Nodes, n)
}

// readings play a counter: steady rises, silences, resets, reboots, new drivers, restarts of the collector, stuck values,
// clocks that stand still, rises faster than the device can draw, counters that freeze and go on or catch up, and deliveries that
// come twice.
func (f *Fleet) readings(d record.Device) verify.Series {
	r, s := f.rng, verify.Series{}
	id := verify.Identity{Boot: "boot-0", Driver: "570", Run: "run-0"}
	s.Identities = append(s.Identities, id)
	change := func(edit func(n string)) {
		edit(fmt.Sprint(len(s.Identities)))
		s.Identities = append(s.Identities, id)
	}
	tick := max(Begin, d.From) - unit.Micros(r.Int64N(int64(5*60*unit.Second)))
	lag := unit.Micros(r.Int64N(100_000))
	c, integral := r.Int64N(1_000_000_000), int64(0)
	// What the collector saw of epochs: some say nothing of it. frozen is until when the counter stands still, and what it owes.
	seen, silent := int64(0), f.chance(4)
	var frozen unit.Micros
	var owed int64
	if d.Energy == record.EnergyIntegrated {
		c = 0
	}
	step := unit.Second * unit.Micros(5+r.Int64N(60))
	rare := 20 + r.IntN(200)
	for tick < f.Period().To+20*60*unit.Second {
		sample := verify.Sample{
			Tick: tick, At: tick - lag, Energy: unit.Millijoules(c), Integral: unit.Millijoules(integral), Activity: verify.Absent,
			Seen: seen, Identity: int32(len(s.Identities) - 1),
		}
		if silent {
			sample.Seen = verify.Absent
		}
		if frozen != 0 {
			sample.At, sample.Energy = verify.Absent, verify.Absent // the collector leaves out what stands still
		}
		if d.Energy == record.EnergyIntegrated || f.chance(rare) {
			sample.Integral = verify.Absent
		}
		if began := len(s.Samples) > 0 && s.Samples[len(s.Samples)-1].Identity == sample.Identity; began && f.chance(rare) {
			sample.At, sample.Energy = verify.Absent, verify.Absent // a run's first reading is there: its integral begins with it
		}
		s.Samples = append(s.Samples, sample)
		if f.chance(rare) {
			s.Samples = append(s.Samples, sample) // delivered twice
		}
		if f.chance(rare) {
			sample.Tick += step / 2 // the engine shows the same reading at the next tick
			sample.Integral = unit.Millijoules(integral + 7)
			s.Samples = append(s.Samples, sample)
		}
		if f.chance(rare * 2) {
			sample.Tick, sample.Energy = sample.Tick+1, sample.Energy+1 // another value under the same time stamp
			s.Samples = append(s.Samples, sample)
		}
		dt := step + unit.Micros(r.Int64N(int64(unit.Second)))
		restart := false
		switch kind := r.IntN(rare * 3); {
		case kind == 0 && frozen == 0:
			dt += unit.Micros(r.Int64N(int64(10 * 60 * unit.Second)))
		case kind == 1 && f.silence != Short:
			dt += unit.Micros(r.Int64N(int64(100 * 60 * unit.Second)))
			restart = f.silence == CollectorAway
		}
		tick += dt
		watts := 50 + r.Int64N(900)
		rise := watts * int64(dt) / 1000
		c += rise
		integral += rise * (990 + r.Int64N(20)) / 1000
		if frozen != 0 {
			c, owed = c-rise, owed+rise
			if tick < frozen {
				continue // nothing else happens meanwhile
			}
			frozen = 0
			if f.chance(2) {
				c += owed
			} else {
				seen++
			}
			owed = 0
		}
		event := r.IntN(rare * 4)
		if restart {
			event = 3
		}
		switch event {
		case 0, 1:
			if d.Energy != record.EnergyIntegrated {
				c = r.Int64N(3_000)  // reset of the device
				seen += int64(event) // which the collector saw, or not
			}
		case 2:
			change(func(n string) { id.Boot, id.Run = "boot-"+n, "run-"+n })
			c, integral, seen = 0, 0, 0
		case 3:
			change(func(n string) { id.Run = "run-" + n })
			integral, seen = 0, 0
			if d.Energy == record.EnergyIntegrated {
				c = 0
			}
		case 4:
			change(func(n string) { id.Driver, id.Run = "driver-"+n, "run-"+n })
			integral, seen = 0, 0
			if d.Energy == record.EnergyIntegrated {
				c = 0
			}
		case 5:
			c += 4 * rise
		case 6:
			if d.Energy != record.EnergyIntegrated && dt < 2*60*unit.Second { // with what came before shorter than closing looks ahead
				frozen = tick + unit.Micros(r.Int64N(int64(4*60*unit.Second)))
			}
		case 7:
			silent = !silent
		}
	}
	r.Shuffle(len(s.Samples), func(i, j int) { s.Samples[i], s.Samples[j] = s.Samples[j], s.Samples[i] })
	return s
}

func (f *Fleet) addInstances(n *verify.Node, gpu record.Device) {
	free := 7
	for i := 0; free > 0 && i < 4; i++ {
		slices := 1 + f.rng.IntN(free)
		free -= slices
		d := record.Device{
			UUID: fmt.Sprintf("MIG-%s-%d", gpu.UUID, i), Parent: gpu.UUID, Node: n.ID, Kind: record.KindMIG, Slices: uint32(slices),
			Energy: record.EnergyNone, From: gpu.From, To: gpu.To,
		}
		s := verify.Series{Identities: n.Series[gpu.UUID].Identities}
		level := f.rng.Int64N(3)
		quiet := 2 + f.rng.IntN(60)
		for _, r := range n.Series[gpu.UUID].Samples {
			// Whether busy time was read goes with the energy reading, which more than one tick may show.
			noise := rand.New(rand.NewPCG(uint64(r.At), uint64(i)))
			r.At, r.Energy, r.Integral = verify.Absent, verify.Absent, verify.Absent
			r.Activity = (r.Tick - Begin + unit.Hour) * unit.Micros(level) / 3
			if level == 2 {
				r.Activity += unit.Micros(noise.Int64N(1000))
			}
			if noise.IntN(quiet) == 0 {
				r.Activity = verify.Absent
			}
			s.Samples = append(s.Samples, r)
		}
		n.Series[d.UUID] = s
		n.Allocations[d.UUID] = f.allocations(d.UUID, f.chance(5))
		n.Devices = append(n.Devices, d)
	}
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
		if f.chance(4) {
			a.Start = a.Start.FloorHour() // an edge on the hour
		}
		if a.End != 0 && a.End <= a.Start {
			a.End = a.Start + 1
		}
		out = append(out, a)
	}
	return out
}
