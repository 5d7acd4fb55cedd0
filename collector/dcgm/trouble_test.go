package dcgm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// tick is what one reading said.
type tick struct {
	at      unit.Micros
	changed bool
	err     error
	devices []agent.Device
	r       *meter.Readings
	events  []agent.Event
}

// energy is the counter of a device, 0 when there is none.
func (k tick) energy(device int) meter.Value { return k.r.Row(device)[meter.SlotEnergy] }

// code is the word of the reading's error.
func (k tick) code() string {
	var coded interface{ Code() string }
	if errors.As(k.err, &coded) {
		return coded.Code()
	}
	return ""
}

// watch reads once a second up to an instant, as the agent does.
func watch(t *testing.T, s *dcgm.Source, sim *simctl.Control, from, to unit.Micros) []tick {
	t.Helper()
	var out []tick
	for at := from + second; at <= to; at += second {
		if err := sim.Advance("n1", at); err != nil {
			t.Fatal(err)
		}
		k := tick{at: at, devices: s.Devices()}
		k.r = meter.NewReadings(len(k.devices))
		k.err = s.Read(t.Context(), at, k.r)
		if errors.Is(k.err, agent.ErrChanged) {
			k.changed, k.devices = true, s.Devices()
			k.r = meter.NewReadings(len(k.devices))
			k.err = s.Read(t.Context(), at, k.r)
		}
		if k.err == nil {
			var err error
			if k.events, err = s.Events(t.Context(), nil); err != nil {
				t.Fatalf("events at %v: %v", at.Time(), err)
			}
		}
		out = append(out, k)
	}
	return out
}

// failed are the codes of the ticks at which nothing was read.
func failed(ticks []tick) (codes []string) {
	for _, k := range ticks {
		if k.err != nil {
			codes = append(codes, k.code())
		}
	}
	return codes
}

func TestAResetIsTheCountersAffair(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nreset n1 2 +10500ms\n")
	reg := prometheus.NewRegistry()
	s := openWith(t, lib, reg, func(*dcgm.Config) {})
	ticks := watch(t, s, sim, start, start+30*second)
	for i, k := range ticks[1:] {
		before, now := ticks[i].energy(2), k.energy(2)
		if fell := now.Int < before.Int; k.err != nil || k.changed || fell != (k.at == start+11*second) {
			t.Errorf("at %v: changed %v, error %v, energy from %+v to %+v", k.at.Time(), k.changed, k.err, before, now)
		}
		if k.energy(3).Int <= ticks[i].energy(3).Int {
			t.Errorf("at %v the reset of GPU 2 is felt by GPU 3", k.at.Time())
		}
	}
	if metric(t, reg, "rediscoveries_total") != 0 || metric(t, reg, "reconnects_total") != 0 {
		t.Error("a reset is no reason to begin anew")
	}
}

func TestAnotherDriverIsNoticed(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\ndriver n1 +20s 999.10\n")
	reg := prometheus.NewRegistry()
	s := openWith(t, lib, reg, func(*dcgm.Config) {})
	before := s.Devices()
	ticks := watch(t, s, sim, start, start+40*second)
	var named unit.Micros
	for _, k := range ticks {
		away := k.at >= start+18*second && k.at < start+20*second
		if away != (k.err != nil) && k.at < start+20*second || k.err != nil && k.code() != "DCGM_ST_GPUS_DETACHED" && k.code() != "NO_DEVICE" {
			t.Errorf("at %v: %v", k.at.Time(), k.err)
		}
		if len(k.devices) != len(before) {
			t.Fatalf("at %v there are %d devices", k.at.Time(), len(k.devices))
		}
		for i, d := range k.devices {
			if d.UUID != before[i].UUID || d.Slots != before[i].Slots || d.Energy != record.EnergyHardware {
				t.Errorf("at %v device %d is %+v", k.at.Time(), i, d)
			}
		}
		if k.changed && k.devices[0].Driver == "999.10" && named == 0 {
			named = k.at
			if v := k.energy(0); v.At < start+20*second || v.Int > 100_000_000 {
				t.Errorf("after the driver was loaded the counter is %+v", v)
			}
		}
	}
	if named < start+20*second || named > start+22*second {
		t.Errorf("the driver is known at %v", named.Time())
	}
	if last := ticks[len(ticks)-1]; last.err != nil || last.energy(7).At == 0 {
		t.Errorf("at the end GPU 7 reads %+v, %v", last.energy(7), last.err)
	}
	if metric(t, reg, "reconnects_total") != 0 {
		t.Error("the connection was made anew, although the engine was there all the time")
	}
}

func TestANewPartition(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nmig n1 2 3 4\nrepartition n1 2 +20s 2 2 3\nload n1 2.4 +20s +10m const:0.5\n")
	s := open(t, lib, "n1", time.Second)
	old := map[string]bool{}
	for _, d := range s.Devices()[8:] {
		old[d.UUID] = true
	}
	for _, k := range watch(t, s, sim, start, start+40*second) {
		if k.err != nil {
			t.Fatal(k.err)
		}
		for i, d := range k.devices {
			if v := k.r.Row(i); d.Kind == record.KindMIG && (v[meter.SlotEnergy].At != 0 || v[meter.SlotPower].At != 0) {
				t.Errorf("at %v instance %d shows its GPU's energy or power", k.at.Time(), i)
			}
			for slot, v := range k.r.Row(i) {
				if d.Kind == record.KindMIG && old[d.UUID] && v.At > start+20*second {
					t.Errorf("at %v an instance that is gone has %+v for field %d", k.at.Time(), v, meter.Fields[slot])
				}
			}
		}
		if k.energy(2).At == 0 {
			t.Errorf("at %v the GPU of the instances fell silent", k.at.Time())
		}
		if k.at < start+30*second {
			continue
		}
		if len(k.devices) != 11 || old[k.devices[8].UUID] || k.devices[8].Slices != 2 || k.devices[10].Slices != 3 {
			t.Fatalf("at %v the devices are %+v", k.at.Time(), k.devices[8:])
		}
		if sm := k.r.Row(10)[slot(t, 1002)]; sm.Float != 0.5 {
			t.Errorf("at %v the busy instance has SM activity %+v", k.at.Time(), sm)
		}
	}
}

func TestAGPUGoesAndComesBack(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nxid n1 5 +9900ms 79\nlost n1 5 +10s\nplug n1 5 +30s\n")
	s := open(t, lib, "n1", time.Second)
	before := s.Devices()
	var xids []agent.Event
	var back unit.Micros
	for _, k := range watch(t, s, sim, start, start+50*second) {
		if k.err != nil {
			t.Fatal(k.err)
		}
		xids = append(xids, k.events...)
		if len(k.devices) != 8 || k.devices[5].UUID != before[5].UUID || k.devices[5].Slots != before[5].Slots {
			t.Fatalf("at %v the devices are %+v", k.at.Time(), k.devices)
		}
		if k.energy(4).At < k.at-2*second {
			t.Errorf("at %v GPU 4 has %+v", k.at.Time(), k.energy(4))
		}
		v := k.energy(5)
		switch {
		case k.at >= start+12*second && k.at < start+30*second && v.At > start+10*second:
			t.Errorf("at %v the lost GPU has %+v", k.at.Time(), v)
		case v.At >= start+30*second && back == 0:
			back = k.at
		}
	}
	if len(xids) != 1 || xids[0].XID != 79 || xids[0].Device != 5 {
		t.Errorf("events are %+v, want XID 79 of device 5", xids)
	}
	if back == 0 || back > start+32*second {
		t.Errorf("the GPU is back at %v", back.Time())
	}
}

func TestAFatalXIDBlanksAllUntilTheEngineIsRestarted(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nfatal n1 3 +10500ms 119\nrestart n1 +30s\n")
	reg := prometheus.NewRegistry()
	s := openWith(t, lib, reg, func(*dcgm.Config) {})
	var xids []agent.Event
	var blank int
	ticks := watch(t, s, sim, start, start+45*second)
	for _, k := range ticks {
		xids = append(xids, k.events...)
		if k.code() == "ALL_BLANK" {
			blank++
		}
		for i := range k.r.Devices() {
			if v := k.energy(i); v.At > start+10500*unit.Millisecond && k.at < start+30*second {
				t.Errorf("at %v device %d has %+v", k.at.Time(), i, v)
			}
		}
	}
	if blank < 18 || blank > 20 {
		t.Errorf("%d ticks were blank: %v", blank, failed(ticks))
	}
	if len(xids) != 1 || xids[0].XID != 119 || xids[0].Device != 3 {
		t.Errorf("events are %+v, want XID 119 of device 3", xids)
	}
	if last := ticks[len(ticks)-1]; last.err != nil || last.energy(3).At == 0 {
		t.Errorf("after the restart: %v", last.err)
	}
	if metric(t, reg, "reconnects_total") != 1 {
		t.Error("the connection made anew is not counted")
	}
}

// Nobody but us can restart an engine of our own. The simulated fault stays, so it is tried again and again.
func TestABlankEngineOfOurOwnIsStartedAnew(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nfatal n1 3 +500ms 119\n")
	reg := prometheus.NewRegistry()
	s := openWith(t, lib, reg, func(c *dcgm.Config) { c.Address = dcgm.Embedded })
	before := s.Devices()
	for _, k := range watch(t, s, sim, start, start+150*second) {
		if k.at > start+2*second && k.code() != "ALL_BLANK" && k.code() != "NO_DEVICE" {
			t.Errorf("at %v: %v", k.at.Time(), k.err)
		}
		for i, d := range k.devices {
			if d != before[i] && d.Slots != before[i].Slots {
				t.Errorf("at %v device %d is %+v", k.at.Time(), i, d)
			}
		}
	}
	if n := metric(t, reg, "reconnects_total"); n != 2 {
		t.Errorf("the engine was started anew %v times in 150 s, want 2", n)
	}
}

func TestASourceOpenedWithoutADriverFindsItsDevicesLater(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\ndriver n1 +5s 999.10\n")
	if err := sim.Advance("n1", start+4*second); err != nil {
		t.Fatal(err)
	}
	s := open(t, lib, "n1", time.Second)
	if n := len(s.Devices()); n != 0 {
		t.Errorf("%d devices while the driver is away", n)
	}
	ticks := watch(t, s, sim, start+4*second, start+10*second)
	if last := ticks[len(ticks)-1]; last.err != nil || len(last.devices) != 8 || last.energy(0).At == 0 || last.devices[0].Driver != "999.10" {
		t.Errorf("with the driver there are %d devices, %v", len(last.devices), last.err)
	}
}

func TestXIDsSurviveAClockThatGoesBack(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nxid n1 3 +5500ms 31\nclockback n1 +10200ms 3600000000\nxid n1 3 +10400ms 43\nxid n1 3 +20s 13\n")
	s := open(t, lib, "n1", time.Second)
	var got []uint32
	for _, k := range watch(t, s, sim, start, start+30*second) {
		for _, e := range k.events {
			got = append(got, e.XID)
		}
	}
	if fmt.Sprint(got) != "[31 43 13]" {
		t.Errorf("events are %v, want 31, 43, 13", got)
	}
}

func TestACancelledReadingMakesNoCall(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\n")
	s := open(t, lib, "n1", time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := sim.Calls("dcgmEntitiesGetLatestValues")
	r := meter.NewReadings(8)
	if err := s.Read(ctx, start+second, r); !errors.Is(err, context.Canceled) {
		t.Errorf("a reading gave %v", err)
	}
	if err := s.ReadEdge(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("an edge gave %v", err)
	}
	cfg := dcgm.DefaultConfig()
	cfg.Node, cfg.Address = "n1", "n1"
	if _, err := dcgm.Open(ctx, load(t, lib), cfg, slog.New(slog.DiscardHandler), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("opening gave %v", err)
	}
	if n := sim.Calls("dcgmEntitiesGetLatestValues"); n != before {
		t.Errorf("%d calls were made", n-before)
	}
}
