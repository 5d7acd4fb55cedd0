package fleettest

import (
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// player reads a device tick by tick.
type player struct {
	f     *Fleet
	d     record.Device
	power *Power
	s     verify.Series
	id    verify.Identity
	lag   unit.Micros
	// The counter shows what was drawn since zero, and plus; busy and the integral count from where the run began.
	zero, plus, busy, integral int64
	seen, read                 int64
	silent, noActivity         bool
	// broken says that the counter has begun anew or leapt since the last value that was read.
	broken bool
	last   verify.Sample
}

func (p *player) change(edit func(n string)) {
	edit(fmt.Sprint(len(p.s.Identities)))
	p.s.Identities = append(p.s.Identities, p.id)
}

func (p *player) counter(at unit.Micros) int64 {
	return p.plus + (p.power.Nanojoules(at)-p.zero)/1_000_000
}

// reset has the counter begin anew at an instant with what it shows then.
func (p *player) reset(at unit.Micros, plus int64) { p.zero, p.plus = p.power.Nanojoules(at), plus }

// restart is a new run of the collector: its own counters begin anew.
func (p *player) restart(at unit.Micros) {
	p.integral, p.seen, p.read, p.busy = 0, 0, 0, p.power.Busy(at)
	if p.d.Energy == record.EnergyIntegrated {
		p.reset(at, 0)
	}
}

func (p *player) sample(tick unit.Micros) verify.Sample {
	at := tick - p.lag
	s := verify.Sample{
		Tick: tick, At: at, Energy: unit.Millijoules(p.counter(at)), Integral: unit.Millijoules(p.integral), Activity: verify.Absent,
		Seen: p.seen, Read: p.read, Identity: int32(len(p.s.Identities) - 1),
	}
	if !p.noActivity && p.d.Kind == record.KindGPU {
		s.Activity = unit.Micros((p.power.Busy(at) - p.busy) / 1000)
	}
	if p.silent {
		s.Seen = verify.Absent
	}
	return s
}

// shown says whether the samples tell that the counter did not run on from the last value to s. Of what no reading, no boot, no
// collector and no limit tells nothing could be known, by this ledger or any other.
func (p *player) shown(s verify.Sample) bool {
	a, b := p.s.Identities[p.last.Identity], p.s.Identities[s.Identity]
	switch {
	case a.Boot != b.Boot, a.Driver != b.Driver, s.Energy < p.last.Energy:
		return true
	case p.d.Energy == record.EnergyIntegrated && a.Run != b.Run:
		return true
	case a.Run == b.Run && p.last.Seen != verify.Absent && s.Seen != verify.Absent && p.last.Seen != s.Seen:
		return true
	}
	limit := int64(p.d.LimitMilliwatts)
	return limit > 0 && int64(s.Energy-p.last.Energy)*1_000_000 > limit*int64(s.At-p.last.At)/100*105
}

// readings play a counter: steady rises, silences, resets, reboots, new drivers, restarts of the collector, stuck values,
// clocks that stand still, rises faster than the device can draw, counters that freeze and go on or catch up, and deliveries that
// come twice; or, of a lossless fleet, none of that.
func (f *Fleet) readings(d record.Device, power *Power, edges []unit.Micros) verify.Series {
	r := f.rng
	p := &player{
		f: f, d: d, power: power, id: verify.Identity{Boot: "boot-0", Driver: "570", Run: "run-0"}, lag: unit.Micros(r.Int64N(100_000)),
		silent: f.chance(4), noActivity: f.chance(8),
	}
	p.s.Identities, p.s.Interval = append(p.s.Identities, p.id), f.options.Step
	tick := max(Begin, d.From) - unit.Micros(r.Int64N(int64(5*60*unit.Second)))
	p.zero, p.plus, p.busy = power.Nanojoules(tick-p.lag), r.Int64N(1_000_000_000), power.Busy(tick-p.lag)
	if d.Energy == record.EnergyIntegrated {
		p.plus = 0
	}
	if f.Lossless {
		p.whole(tick, edges)
	} else {
		p.eventful(tick, edges)
	}
	if f.options.Late && f.chance(3) {
		f.Late.Outage(d.UUID, f.within())
	}
	r.Shuffle(len(p.s.Samples), func(i, j int) { p.s.Samples[i], p.s.Samples[j] = p.s.Samples[j], p.s.Samples[i] })
	return p.s
}

// whole reads every second and, within a millisecond, at every edge.
func (p *player) whole(tick unit.Micros, edges []unit.Micros) {
	var ticks []unit.Micros
	for t := tick; t < p.f.end(); t += unit.Second {
		ticks = append(ticks, t)
	}
	for _, e := range edges {
		if e > tick && e < p.f.end() {
			ticks = append(ticks, e+p.lag+unit.Micros(p.f.rng.Int64N(1_000)))
		}
	}
	slices.Sort(ticks)
	last := tick
	for _, t := range slices.Compact(ticks) {
		p.integral += (p.power.Nanojoules(t-p.lag) - p.power.Nanojoules(last-p.lag)) / 1_000_000
		last = t
		p.read++
		s := p.sample(t)
		if p.d.Energy == record.EnergyIntegrated {
			s.Integral = verify.Absent
		}
		p.s.Samples = append(p.s.Samples, s)
		if p.f.chance(500) {
			p.s.Samples = append(p.s.Samples, s) // delivered twice: nothing is lost by that
		}
	}
}

func (p *player) eventful(tick unit.Micros, edges []unit.Micros) {
	f, r, d := p.f, p.f.rng, p.d
	step := f.options.Step
	// Things happen as often in an hour whatever the step.
	rare := max(20, int(20*unit.Second/max(step, 1))) * (1 + r.IntN(10))
	var frozen, since unit.Micros
	for tick < f.end() {
		p.read++
		s := p.sample(tick)
		if frozen != 0 {
			s.At, s.Energy = verify.Absent, verify.Absent // the collector leaves out what stands still
		}
		if d.Energy == record.EnergyIntegrated || f.chance(rare) {
			s.Integral = verify.Absent
		}
		if f.chance(rare) && s.Activity != verify.Absent && len(p.s.Samples) > 0 {
			s.Activity = verify.Absent
		}
		if began := len(p.s.Samples) > 0 && p.s.Samples[len(p.s.Samples)-1].Identity == s.Identity; began && f.chance(rare) {
			s.At, s.Energy = verify.Absent, verify.Absent // a run's first reading is there: its integral begins with it
		}
		if s.Energy != verify.Absent {
			if p.broken && !p.shown(s) {
				p.change(func(n string) { p.id.Boot, p.id.Run = "boot-"+n, "run-"+n })
				p.restart(tick - p.lag)
				p.read++
				s = p.sample(tick)
				if d.Energy == record.EnergyIntegrated {
					s.Integral = verify.Absent
				}
			}
			p.broken, p.last = false, s
		}
		p.s.Samples = append(p.s.Samples, s)
		p.repeat(s, step, rare)
		next := tick + step + unit.Micros(r.Int64N(int64(step/10)+1))
		restart := false
		switch kind := r.IntN(rare * 3); {
		case kind == 0 && frozen == 0:
			next += unit.Micros(r.Int64N(int64(10 * 60 * unit.Second)))
		case kind == 1 && f.options.Silence != Short:
			next += unit.Micros(r.Int64N(int64(100 * 60 * unit.Second)))
			restart = f.options.Silence == CollectorAway
		}
		for _, e := range edges { // the node learns of an edge and reads at once
			if at := e + p.lag + 3_000; at > tick && at < next && f.chance(2) {
				next = at
				break
			}
		}
		dt := next - tick
		rise := (p.power.Nanojoules(next-p.lag) - p.power.Nanojoules(tick-p.lag)) / 1_000_000
		p.integral += rise * (990 + r.Int64N(20)) / 1000
		tick = next
		if frozen != 0 {
			if tick < frozen {
				continue // nothing else happens meanwhile
			}
			frozen = 0
			if !f.chance(2) { // it does not catch up
				p.zero += p.power.Nanojoules(tick-p.lag) - p.power.Nanojoules(since)
				p.seen++
				p.broken = true
			}
		}
		event := r.IntN(rare * 4)
		if restart {
			event = 3
		}
		// What befalls the counter does so somewhere between the two ticks.
		at := tick - p.lag - unit.Micros(r.Int64N(int64(dt)))
		if d.Energy == record.EnergyIntegrated {
			at = tick - p.lag // the collector counts from its first reading on
		}
		switch event {
		case 0, 1:
			if d.Energy != record.EnergyIntegrated {
				p.reset(at, r.Int64N(3_000))
				p.seen += int64(event) // which the collector saw, or not
				p.broken = true
			}
		case 2:
			p.change(func(n string) { p.id.Boot, p.id.Run = "boot-"+n, "run-"+n })
			p.reset(at, 0)
			p.restart(at)
			p.broken = true
		case 3:
			p.change(func(n string) { p.id.Run = "run-" + n })
			p.restart(at)
			p.broken = p.broken || d.Energy == record.EnergyIntegrated
		case 4:
			p.change(func(n string) { p.id.Driver, p.id.Run = "driver-"+n, "run-"+n })
			p.restart(at)
		case 5:
			if d.LimitMilliwatts > 0 {
				p.plus += 2 * int64(d.LimitMilliwatts) * int64(dt) / 1_000_000 // no device draws that
				p.broken = true
			}
		case 6:
			if d.Energy != record.EnergyIntegrated && dt < 2*60*unit.Second { // with what came before shorter than closing looks ahead
				frozen, since = tick+unit.Micros(r.Int64N(int64(4*60*unit.Second))), tick-p.lag
			}
		case 7:
			p.silent = !p.silent
		}
	}
}

// repeat delivers a sample again, shows its reading at another tick, or another value under its time stamp.
func (p *player) repeat(s verify.Sample, step unit.Micros, rare int) {
	if p.f.chance(rare) {
		p.s.Samples = append(p.s.Samples, s)
	}
	if p.f.chance(rare) && s.Activity == verify.Absent {
		s.Tick += step / 2 // the engine shows the same reading at the next tick
		if s.Integral != verify.Absent {
			s.Integral += 7
		}
		p.s.Samples = append(p.s.Samples, s)
	}
	if p.f.chance(rare*2) && s.Energy != verify.Absent && s.Activity == verify.Absent {
		s.Tick, s.Energy = s.Tick+1, s.Energy+1
		p.s.Samples = append(p.s.Samples, s)
	}
}
