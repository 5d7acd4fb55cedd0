package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// newest are the ticks and the epoch in the newest row of a device.
func newest(batches []*wl.SampleBatch, uuid string) (expected, read uint64, epoch uint32) {
	for _, b := range batches {
		for i, d := range b.Device {
			if b.Devices[d].Uuid == uuid {
				expected, read, epoch = b.TicksExpected[i], b.TicksRead[i], b.EnergyEpoch[i]
			}
		}
	}
	return expected, read, epoch
}

func TestADeviceThatComesBackCountsOn(t *testing.T) {
	k, s := &keeper{}, &script{devices: gpus(2)}
	var told [2]bool
	s.at = func(tick unit.Micros, r *meter.Readings) error {
		i := (tick - start) / second
		switch {
		case i == 20 && !told[0]:
			told[0], s.devices = true, gpus(1)
			return ErrChanged
		case i == 40 && !told[1]:
			told[1], s.devices = true, gpus(2)
			return ErrChanged
		}
		if i >= 10 && i < 20 || i >= 40 {
			r.Row(1)[meter.SlotEnergy].Int -= 10_000 // a reset at 10 s, and one while it was gone
		}
		if i >= 40 {
			r.Row(1)[meter.SlotEnergy].Int -= 30_000
		}
		return nil
	}
	play(t, config(), s, k, &clock{now: start})
	want(t, k.batches, "epoch fell 8.99..9.99 9000 GPU-b", "gap gone 19..40 21 GPU-b", "epoch fell 18.99..39.99 9000 GPU-b")
	if x, r, e := newest(k.batches, "GPU-b"); x != 61 || r != 41 || e != 2 {
		t.Errorf("it has read %d of %d ticks and is in epoch %d; want 41 of 61 in epoch 2", r, x, e)
	}
	if x, r, _ := newest(k.batches, "GPU-a"); x != 61 || r != 61 {
		t.Errorf("the other has read %d of %d ticks", r, x)
	}
}

func TestOtherFieldsDoNotBeginTheCountersAnew(t *testing.T) {
	k, s := &keeper{}, &script{devices: gpus(1)}
	told := false
	s.at = func(tick unit.Micros, r *meter.Readings) error {
		if tick == start+20*second && !told {
			told, s.devices = true, gpus(1)
			s.devices[0].Slots = s.devices[0].Slots.With(meter.SlotPower)
			return ErrChanged
		}
		if tick >= start+10*second {
			r.Row(0)[meter.SlotEnergy].Int -= 10_000
		}
		return nil
	}
	play(t, config(), s, k, &clock{now: start})
	want(t, k.batches, "epoch fell 8.99..9.99 9000 GPU-a")
	if x, r, e := newest(k.batches, "GPU-a"); x != 61 || r != 61 || e != 1 {
		t.Errorf("it has read %d of %d ticks and is in epoch %d; want 61 of 61 in epoch 1", r, x, e)
	}
}

func TestWhatHasGoneIsNotRememberedForEver(t *testing.T) {
	var g gone
	for i := range maxGone + 5 {
		g.put(string(rune(i)), state{})
	}
	if _, ok := g.take(string(rune(4))); ok || len(g.order) != maxGone {
		t.Errorf("%d are remembered", len(g.order))
	}
	if _, ok := g.take(string(rune(5))); !ok || len(g.order) != maxGone-1 {
		t.Errorf("%d are remembered", len(g.order))
	}
}

// What is remembered of a long silence goes out in messages of bounded size, and nothing of it is older than what was
// declared complete.
func TestALongSilenceIsRecalledAsFarAsItIsNotComplete(t *testing.T) {
	k, s, cfg := &keeper{}, &remembering{script{devices: gpus(8)}}, config()
	cfg.MaxAge, cfg.Remember, cfg.Until, cfg.MaxBytes = time.Second, time.Minute, start+400*second, 16<<10
	s.at = func(tick unit.Micros, _ *meter.Readings) error {
		if i := (tick - start) / second; i >= 10 && i < 300 {
			return errors.New("the engine is away")
		}
		return nil
	}
	play(t, cfg, s, k, &clock{now: start})
	complete, caught := int64(0), 0
	for _, b := range k.batches {
		for i, e := range b.EnergyMj {
			if e == record.AbsentCounter {
				continue
			}
			if int64(b.EnergyTsUs[i]) < complete {
				t.Fatalf("energy of %v comes after the node was complete up to %v", unit.Micros(b.EnergyTsUs[i]).Time(), unit.Micros(complete).Time())
			}
			if at := unit.Micros(b.TickUs[i]); at > start+10*second && at < start+300*second {
				caught++
			}
		}
		complete = b.CompleteUpToUs
		if rows, tick := len(b.TickUs), 8; rows > 0 && rows > cfg.MaxBytes/layoutOf(s.devices).rowBytes+tick {
			t.Errorf("a message has %d rows", rows)
		}
	}
	if caught < 58*8 {
		t.Errorf("%d readings of the silence were recalled, want those of a minute", caught)
	}
}

// A node whose devices have all gone still says how far it has come: nobody is to wait for it.
func TestANodeWithoutDevicesDeclaresItself(t *testing.T) {
	k, s, cfg := &keeper{}, &script{}, config()
	cfg.Until = start + 600*second
	play(t, cfg, s, k, &clock{now: start})
	if n := len(k.batches); n < 9 || n > 12 {
		t.Fatalf("%d messages in ten minutes", n)
	}
	complete := start
	for i, b := range k.batches {
		if up := unit.Micros(b.CompleteUpToUs); i < len(k.batches)-1 && up-complete > 61*second {
			t.Errorf("message %d is complete up to %v, after %v", i, up.Time(), complete.Time())
		}
		complete = unit.Micros(b.CompleteUpToUs)
	}
}

// What is still to be stated when a run ends is not lost without a word.
func TestIncidentsThatAreLeftAreCounted(t *testing.T) {
	k, s := &keeper{}, &script{devices: gpus(1)}
	var a *Agent
	s.at = func(tick unit.Micros, _ *meter.Readings) error {
		if tick == start+60*second {
			for range perMessage + 7 {
				a.Report(record.Incident{Kind: record.IncidentGap, Reason: "x", From: start, To: start})
			}
		}
		return nil
	}
	cfg, reg := config(), prometheus.NewRegistry()
	cfg.MaxAge = time.Hour
	var err error
	if a, err = New(cfg, s, k, &clock{now: start}, quiet, reg); err != nil {
		t.Fatal(err)
	}
	if err := a.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	a.Report(record.Incident{Kind: record.IncidentGap, Reason: "too late", From: start, To: start})
	if n, d := len(stated(k.batches)), counted(t, reg, "incidents_dropped_total", "node=n1"); n+int(d) != perMessage+8 || d == 0 {
		t.Errorf("%d are stated and %v counted as dropped", n, d)
	}
}
