package sourcetest

import (
	"context"
	"errors"
	"testing"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Fault is something that goes wrong with what a source reads. A fault begins at an instant and may end at another.
type Fault string

// The faults that every source is asked about: what DCGM, drivers and exporters are known to do.
const (
	// Blank: one value of one device is missing, in whatever way the source is told so.
	Blank Fault = "blank"
	// Unsupported: the device does not have the field at all.
	Unsupported Fault = "unsupported"
	// NotPermitted: the field is there for others, not for us.
	NotPermitted Fault = "not permitted"
	// Zero: power is an exact 0, which is how a driver says that it does not know.
	Zero Fault = "zero power"
	// Falls: the energy counter begins anew at 0: a reset, or the driver was loaded again.
	Falls Fault = "counter falls"
	// Frozen: the energy counter stands still while its time goes on.
	Frozen Fault = "counter frozen"
	// Stale: the latest value is given again and again with its old time.
	Stale Fault = "stale"
	// Lost: one device does not answer any more; the others do.
	Lost Fault = "device lost"
	// Away: nothing answers for a while; later all is as before, or made anew.
	Away Fault = "everything away"
	// ClockBack: time stamps go back.
	ClockBack Fault = "clock set back"
	// Shuffled: answers come in another order than asked for.
	Shuffled Fault = "answers out of order"
	// Repartition: an instance goes and another comes.
	Repartition Fault = "MIG made anew"
)

// Faults lists all of them.
var Faults = []Fault{Blank, Unsupported, NotPermitted, Zero, Falls, Frozen, Stale, Lost, Away, ClockBack, Shuffled, Repartition}

// Case is a fault on the stage.
type Case struct {
	Open    func(t *testing.T) Source
	Advance func(t *testing.T, to unit.Micros)
	// Start is when the source is opened; Period how often to read. At the first tick nothing is wrong.
	Start, Period unit.Micros
	// From and Until bound the fault: ticks in [From, Until) suffer it. Until 0 means that it stays. For Unsupported, NotPermitted,
	// Zero and Shuffled, From is Start: they are there from the beginning.
	From, Until unit.Micros
	// Device is the position of the device that suffers, Field the field.
	Device int
	Field  uint16
}

// RunFaults runs every fault. stage returns the case, or the reason why the source cannot meet the fault: silence is no
// answer.
func RunFaults(t *testing.T, stage func(t *testing.T, f Fault) (c Case, cannot string)) {
	for _, f := range Faults {
		t.Run(string(f), func(t *testing.T) {
			c, cannot := stage(t, f)
			switch {
			case cannot != "":
				t.Logf("cannot happen: %s", cannot)
			case c.Open == nil:
				t.Error("no case and no reason why there is none")
			default:
				RunFault(t, f, c)
			}
		})
	}
}

// RunFault runs one case of a fault, for a source that can meet it in more ways than one.
func RunFault(t *testing.T, f Fault, c Case) {
	t.Helper()
	p := play(t, c)
	p.others(t)
	judges[f](t, p)
}

// seen is one tick of a play.
type seen struct {
	tick    unit.Micros
	err     error
	changed bool
	devices []agent.Device
	rows    [][]meter.Value
}

// stageplay is what a source said over a case.
type stageplay struct {
	c     Case
	ticks []seen
}

// play reads from the start until some ticks after the end of the fault.
func play(t *testing.T, c Case) *stageplay {
	t.Helper()
	source := c.Open(t)
	defer func() {
		if err := source.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	p := &stageplay{c: c}
	end := max(c.From, c.Until) + 8*c.Period
	devices := source.Devices()
	for now := c.Start + c.Period; now <= end; now += c.Period {
		c.Advance(t, now)
		s := seen{tick: now}
		r := meter.NewReadings(len(devices))
		s.err = source.Read(context.Background(), now, r)
		if errors.Is(s.err, agent.ErrChanged) {
			s.changed = true
			devices = source.Devices()
			checkDevices(t, devices)
			r = meter.NewReadings(len(devices))
			s.err = source.Read(context.Background(), now, r)
		}
		s.devices = devices
		for i := range devices {
			s.rows = append(s.rows, append([]meter.Value(nil), r.Row(i)...))
		}
		p.ticks = append(p.ticks, s)
	}
	return p
}

func (p *stageplay) slot(t *testing.T, field uint16) meter.Slot {
	t.Helper()
	s, ok := meter.SlotOf(field)
	if !ok {
		t.Fatalf("no metric is made from field %d", field)
	}
	return s
}

func (p *stageplay) during(tick unit.Micros) bool {
	return tick >= p.c.From && (p.c.Until == 0 || tick < p.c.Until)
}

// others checks that a fault of one device is nobody else's: whatever happens, a value is in its own row, below its own time,
// and of a field that the device has.
func (p *stageplay) others(t *testing.T) {
	t.Helper()
	for _, s := range p.ticks {
		for i, d := range s.devices {
			for slot, v := range s.rows[i] {
				if v != (meter.Value{}) && (!d.Slots.Has(meter.Slot(slot)) || v.At <= 0) {
					t.Errorf("at %v device %d has %+v for field %d", s.tick.Time(), i, v, meter.Fields[slot])
				}
			}
		}
	}
}

// values yields the ticks at which the suffering field had a value, with it.
func (p *stageplay) values(t *testing.T, device int, field uint16) (out []meter.Value, ticks []unit.Micros) {
	t.Helper()
	slot := p.slot(t, field)
	for _, s := range p.ticks {
		if s.err == nil && device < len(s.rows) && s.rows[device][slot].At != 0 {
			out, ticks = append(out, s.rows[device][slot]), append(ticks, s.tick)
		}
	}
	return out, ticks
}

var judges = map[Fault]func(t *testing.T, p *stageplay){
	Blank: func(t *testing.T, p *stageplay) {
		slot := p.slot(t, p.c.Field)
		missing := 0
		for _, s := range p.ticks {
			if s.err != nil {
				t.Errorf("at %v: one missing value is no reason for %v", s.tick.Time(), s.err)
				continue
			}
			v := s.rows[p.c.Device][slot]
			switch {
			case p.during(s.tick) && v != (meter.Value{}) && v.At >= p.c.From:
				t.Errorf("at %v a missing value was read as %+v", s.tick.Time(), v)
			case p.during(s.tick):
				missing++
			case v.At == 0:
				t.Errorf("at %v the value is still missing", s.tick.Time())
			}
		}
		if missing == 0 {
			t.Error("the fault was never met")
		}
	},
	Unsupported:  never,
	NotPermitted: never,
	Zero:         never,
	Falls: func(t *testing.T, p *stageplay) {
		v, _ := p.values(t, p.c.Device, 156)
		falls := 0
		for i := 1; i < len(v); i++ {
			if v[i].Int < v[i-1].Int {
				falls++
			}
		}
		if falls != 1 {
			t.Errorf("the counter was seen to fall %d times in %v, want once: a source passes it on as it is", falls, v)
		}
	},
	Frozen: func(t *testing.T, p *stageplay) {
		v, ticks := p.values(t, p.c.Device, 156)
		still := 0
		for i := 1; i < len(v); i++ {
			if p.during(ticks[i]) && p.during(ticks[i-1]) && v[i].Int == v[i-1].Int {
				still++
			}
			if v[i].Int < v[i-1].Int {
				t.Errorf("a frozen counter fell from %+v to %+v", v[i-1], v[i])
			}
		}
		if still == 0 {
			t.Errorf("the frozen counter reads %v: a source extrapolates nothing", v)
		}
	},
	Stale: func(t *testing.T, p *stageplay) {
		slot := p.slot(t, p.c.Field)
		var first meter.Value
		for _, s := range p.ticks {
			if s.err != nil || !p.during(s.tick) {
				continue
			}
			v := s.rows[p.c.Device][slot]
			if v.At == 0 {
				continue // left out: as good as given with its old time
			}
			if first.At == 0 {
				first = v
			}
			if v != first {
				t.Errorf("at %v a value that was not sampled again went from %+v to %+v", s.tick.Time(), first, v)
			}
		}
	},
	Lost: func(t *testing.T, p *stageplay) {
		uuid := p.ticks[0].devices[p.c.Device].UUID
		var silent, heard int
		for _, s := range p.ticks {
			if s.tick < p.c.From+2*p.c.Period || !p.during(s.tick) {
				continue
			}
			found := false
			for i, d := range s.devices {
				fresh := false
				for _, v := range s.rows[i] {
					fresh = fresh || v.At > p.c.From
				}
				switch {
				case d.UUID == uuid:
					found = true
					if !fresh {
						silent++
					}
				case fresh:
					heard++
				}
			}
			if !found {
				t.Errorf("at %v the lost device is not listed: its silence would not show", s.tick.Time())
			}
		}
		if silent == 0 {
			t.Error("the lost device still has fresh values")
		}
		if len(p.ticks[0].devices) > 1 && heard == 0 {
			t.Error("the loss of one device silenced the others")
		}
	},
	Away: func(t *testing.T, p *stageplay) {
		var failed, again int
		for _, s := range p.ticks {
			switch {
			case s.err != nil && p.during(s.tick):
				failed++
			case s.err == nil && !p.during(s.tick) && s.tick >= p.c.Until && p.c.Until != 0:
				again++
			}
			if s.err != nil {
				for i := range s.rows {
					for _, v := range s.rows[i] {
						if v != (meter.Value{}) && v.At >= p.c.From {
							t.Errorf("at %v, after %v, there is %+v", s.tick.Time(), s.err, v)
						}
					}
				}
			}
		}
		if failed == 0 || again == 0 {
			t.Errorf("%d readings failed while all was away, %d went well afterwards; want both", failed, again)
		}
	},
	ClockBack: func(t *testing.T, p *stageplay) {
		v, _ := p.values(t, p.c.Device, p.c.Field)
		back := 0
		for i := 1; i < len(v); i++ {
			if v[i].At < v[i-1].At {
				back++
			}
		}
		if back != 1 {
			t.Errorf("time stamps went back %d times, want once: a source passes on the time it was told", back)
		}
	},
	Shuffled: func(t *testing.T, p *stageplay) {
		// Every device draws another power: a value in the wrong row shows as a fall of a counter.
		for i := range p.ticks[0].devices {
			if p.ticks[0].devices[i].Energy != record.EnergyHardware {
				continue
			}
			v, _ := p.values(t, i, 156)
			if len(v) < 2 {
				t.Errorf("device %d was not read", i)
			}
			for j := 1; j < len(v); j++ {
				if v[j].Int < v[j-1].Int {
					t.Errorf("device %d fell from %+v to %+v", i, v[j-1], v[j])
				}
			}
		}
	},
	Repartition: func(t *testing.T, p *stageplay) {
		uuids := func(s seen) map[string]bool {
			out := map[string]bool{}
			for _, d := range s.devices {
				if d.Kind == record.KindMIG {
					out[d.UUID] = true
				}
			}
			return out
		}
		before, after := uuids(p.ticks[0]), uuids(p.ticks[len(p.ticks)-1])
		changed := 0
		for _, s := range p.ticks {
			if s.changed {
				changed++
			}
		}
		same := len(before) == len(after)
		for u := range before {
			same = same && after[u]
		}
		if changed == 0 || same {
			t.Errorf("instances went from %v to %v in %d changes", before, after, changed)
		}
	},
}

// never judges a field that gives nothing: it is not among the device's slots, and nothing is in its column.
func never(t *testing.T, p *stageplay) {
	slot := p.slot(t, p.c.Field)
	for _, s := range p.ticks {
		if s.err != nil {
			t.Errorf("at %v: a field that is not there is no reason for %v", s.tick.Time(), s.err)
			continue
		}
		if s.devices[p.c.Device].Slots.Has(slot) || s.rows[p.c.Device][slot] != (meter.Value{}) {
			t.Errorf("at %v device %d is said to have field %d: %+v", s.tick.Time(), p.c.Device, p.c.Field, s.rows[p.c.Device][slot])
		}
		any := false
		for _, v := range s.rows[p.c.Device] {
			any = any || v.At != 0
		}
		if !any {
			t.Errorf("at %v the device has nothing at all", s.tick.Time())
		}
	}
}
