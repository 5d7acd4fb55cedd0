package dcgm_test

import (
	"context"
	"testing"
	"time"

	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

func TestAStallIsCaughtUpWith(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nload n1 0 1767225600000000 1767312000000000 training\n")
	s := openWith(t, lib, nil, func(c *dcgm.Config) { c.Remember = time.Minute })
	from := start + 10*second
	last := read(t, s, sim, from).Row(0)[meter.SlotEnergy]
	f := func(to unit.Micros, wantFirst unit.Micros) {
		t.Helper()
		if err := sim.Advance("n1", to); err != nil {
			t.Fatal(err)
		}
		var ticks, filled int
		if err := s.CatchUp(context.Background(), from, to, second, func(tick unit.Micros, r *meter.Readings) error {
			if ticks++; tick != from+unit.Micros(ticks)*second || tick >= to {
				t.Errorf("tick %d is %v", ticks, tick.Time())
			}
			for i := range 8 {
				v := r.Row(i)[meter.SlotEnergy]
				switch {
				case v.At == 0 && tick < wantFirst:
				case v.At == 0, v.At > tick, v.At <= tick-second:
					t.Errorf("at %v device %d has %+v", tick.Time(), i, v)
				}
			}
			v := r.Row(0)[meter.SlotEnergy]
			if v.At == 0 {
				return nil
			}
			if filled++; v.Int <= last.Int || v.At <= last.At {
				t.Errorf("the counter went from %+v to %+v", last, v)
			}
			last = v
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if want := int((to-from)/second) - 1; ticks != want || filled == 0 {
			t.Errorf("%d ticks of %d were caught up with, %d with a value", ticks, want, filled)
		}
		if now := read(t, s, sim, to).Row(0)[meter.SlotEnergy]; now.At <= last.At || now.Int <= last.Int {
			t.Errorf("after %+v comes %+v", last, now)
		}
		last, from = read(t, s, sim, to).Row(0)[meter.SlotEnergy], to
	}
	f(from+30*second, 0)
	f(from+300*second, start+40*second+241*second) // the engine remembers a minute of five
}

func TestOnlyEnergyIsRemembered(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\n")
	s := open(t, lib, "n1", time.Second)
	read(t, s, sim, start+10*second)
	if err := sim.Advance("n1", start+20*second); err != nil {
		t.Fatal(err)
	}
	if err := s.CatchUp(context.Background(), start+10*second, start+20*second, second, func(_ unit.Micros, r *meter.Readings) error {
		for slot, v := range r.Row(0) {
			if meter.Slot(slot) != meter.SlotEnergy && v.At != 0 {
				t.Errorf("field %d is %+v", meter.Fields[slot], v)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAnEdgeIsReadBetweenSamples(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 gb200\nmig n1 1 3 4\nload n1 0 1767225600000000 1767312000000000 training\n")
	s := open(t, lib, "n1", 10*time.Second)
	before := read(t, s, sim, start+10*second)
	if err := sim.Advance("n1", start+14*second); err != nil {
		t.Fatal(err)
	}
	r := meter.NewReadings(len(s.Devices()))
	if err := s.ReadEdge(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		v, p := r.Row(i)[meter.SlotEnergy], r.Row(i)[meter.SlotPower]
		if lag := start + 14*second - v.At; lag < 0 || lag > 200*unit.Millisecond || v.Int <= before.Row(i)[meter.SlotEnergy].Int || p.At == 0 {
			t.Errorf("GPU %d has %+v and %+v at the edge", i, v, p)
		}
	}
	for i := 4; i < r.Devices(); i++ {
		for slot, v := range r.Row(i) {
			if v.At != 0 {
				t.Errorf("device %d, which has no counter, has field %d at the edge", i, meter.Fields[slot])
			}
		}
	}
	// The next sample is newer, and the counter has not fallen.
	if next := read(t, s, sim, start+20*second).Row(0)[meter.SlotEnergy]; next.At <= r.Row(0)[meter.SlotEnergy].At || next.Int <= r.Row(0)[meter.SlotEnergy].Int {
		t.Errorf("after the edge comes %+v", next)
	}
}
