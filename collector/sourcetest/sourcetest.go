// Package sourcetest is the conformance suite that every source of the agent passes.
//
// It owns the contract of agent.Source as tests: the order of devices is stable and every UUID occurs once, time stamps
// rise, what could not be read is a gap and not a zero, fields outside a device's set stay empty, and closing is clean.
// What the values should be is for each source's own tests.
package sourcetest

import (
	"context"
	"testing"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Subject is a source to test.
type Subject struct {
	// Open opens a source on devices that do not change.
	Open func(t *testing.T) Source
	// Advance moves the source's time to an instant, so that there is something new to read.
	Advance func(t *testing.T, to unit.Micros)
	// Start is when the first source is opened; Period how often to read.
	Start, Period unit.Micros
	// Gap, if not 0, is an instant at which GapDevice has no value for GapField.
	Gap       unit.Micros
	GapDevice int
	GapField  uint16
}

// Source is an agent.Source that can be closed.
type Source interface {
	agent.Source
	Close() error
}

// Run runs the suite.
func Run(t *testing.T, s Subject) {
	t.Helper()
	ctx := context.Background()
	now := s.Start
	source := s.Open(t)
	devices := source.Devices()
	if len(devices) == 0 {
		t.Fatal("no devices: the suite proves nothing")
	}
	checkDevices(t, devices)

	again := source.Devices()
	for i := range devices {
		if devices[i] != again[i] {
			t.Errorf("asked twice, device %d is %+v and %+v", i, devices[i], again[i])
		}
	}

	last := make([]unit.Micros, len(devices)*len(meter.Fields))
	r := meter.NewReadings(len(devices))
	for range 20 {
		now += s.Period
		s.Advance(t, now)
		r.Reset()
		if err := source.Read(ctx, now, r); err != nil {
			t.Fatalf("read at %v: %v", now.Time(), err)
		}
		events, err := source.Events(ctx, nil)
		if err != nil {
			t.Fatalf("events at %v: %v", now.Time(), err)
		}
		for _, e := range events {
			if e.Device < 0 || e.Device >= len(devices) || e.XID == 0 || e.At > now {
				t.Errorf("at %v comes the event %+v", now.Time(), e)
			}
		}
		checkReadings(t, devices, r, last, now)
		if now == s.Gap {
			slot, ok := meter.SlotOf(s.GapField)
			if !ok {
				t.Fatalf("field %d has no slot", s.GapField)
			}
			if v := r.Row(s.GapDevice)[slot]; v.At != 0 {
				t.Errorf("a missing value was read as %+v", v)
			}
		}
	}
	if s.Gap != 0 && s.Gap > now {
		t.Errorf("the gap at %v was never reached", s.Gap.Time())
	}

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := source.Read(cancelled, now, r); err == nil {
		t.Error("a reading under a cancelled context went through")
	}
	if err := source.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := source.Close(); err != nil {
		t.Errorf("close a second time: %v", err)
	}

	reopened := s.Open(t)
	for i, d := range reopened.Devices() {
		if i >= len(devices) || d != devices[i] {
			t.Errorf("opened again, device %d is %+v", i, d)
		}
	}
	if err := reopened.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func checkDevices(t *testing.T, devices []agent.Device) {
	t.Helper()
	seen := map[string]bool{}
	for i, d := range devices {
		switch {
		case d.UUID == "":
			t.Errorf("device %d has no UUID", i)
		case seen[d.UUID]:
			t.Errorf("device %d has the UUID of another, %s", i, d.UUID)
		}
		seen[d.UUID] = true
		if i > 0 && d.Kind < devices[i-1].Kind {
			t.Errorf("device %d is a %s after a %s", i, d.Kind, devices[i-1].Kind)
		}
		if d.Kind == record.KindMIG && (d.Energy != record.EnergyNone || !seen[d.Parent]) {
			t.Errorf("instance %s has energy %s and parent %q", d.UUID, d.Energy, d.Parent)
		}
		if d.Energy == record.EnergyHardware && !d.Slots.Has(meter.SlotEnergy) || d.Energy == record.EnergyIntegrated && !d.Slots.Has(meter.SlotPower) {
			t.Errorf("device %s says its energy is %s, but has no field for it", d.UUID, d.Energy)
		}
	}
}

func checkReadings(t *testing.T, devices []agent.Device, r *meter.Readings, last []unit.Micros, now unit.Micros) {
	t.Helper()
	for i, d := range devices {
		for s, v := range r.Row(i) {
			if v == (meter.Value{}) {
				continue
			}
			field := meter.Fields[s]
			if !d.Slots.Has(meter.Slot(s)) {
				t.Errorf("%s has a value for field %d, which it does not support", d.UUID, field)
			}
			if v.At <= 0 || v.At > now {
				t.Errorf("%s field %d has time stamp %d at %d", d.UUID, field, v.At, now)
			}
			if before := &last[i*len(meter.Fields)+s]; v.At < *before {
				t.Errorf("%s field %d went back from %d to %d", d.UUID, field, *before, v.At)
			} else {
				*before = v.At
			}
		}
	}
}
