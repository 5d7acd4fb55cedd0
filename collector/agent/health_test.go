package agent

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// What a fleet's alerts read: sums over the node's devices, there from the first scrape on.
func TestHealthOfANode(t *testing.T) {
	slot := func(field uint16) meter.Slot {
		t.Helper()
		s, ok := meter.SlotOf(field)
		if !ok {
			t.Fatalf("field %d has no slot", field)
		}
		return s
	}
	power, throttled, hot, ecc := slot(155), slot(240), slot(241), slot(313)
	devices := gpus(2)
	for i := range devices {
		devices[i].Slots = devices[i].Slots.With(power).With(throttled).With(hot).With(ecc)
	}
	cpu := devices[0]
	cpu.UUID, cpu.Kind, cpu.Energy = "CPU-a", record.KindCPU, record.EnergyIntegrated
	cpu.Slots = meter.Set(0).With(power)
	silent := Device{Device: record.Device{UUID: "MIG-a", Kind: record.KindMIG, Energy: record.EnergyNone}} // has nothing to read: it is not missed
	s := &script{devices: append(devices, cpu, silent)}
	s.at = func(tick unit.Micros, r *meter.Readings) error {
		n := int64(tick-start) / int64(second)
		if n == 30 {
			return errors.New("the engine is away")
		}
		if n == 31 {
			s.events = []Event{{Device: 0, At: tick, XID: 79}, {Device: 0, At: tick, XID: 13}, {Device: 1, At: tick, XID: 4_000_000}}
		}
		for i := range 3 {
			at := tick - 10_000
			r.Row(i)[power] = meter.Value{At: at, Float: 500}
			// The lifetime counters begin where they are; the first device throttles half a second in every one, by power.
			r.Row(i)[throttled] = meter.Value{At: at, Int: 1e12 + n*int64(1-min(i, 1))*5e8}
			r.Row(i)[hot] = meter.Value{At: at, Int: 7}
			r.Row(i)[ecc] = meter.Value{At: at, Int: 3 + n/40}
			if n >= 50 { // the driver was loaded anew
				r.Row(i)[throttled].Int = 0
			}
		}
		return nil
	}
	_, reg := play(t, config(), s, &keeper{}, &clock{start})
	const want = `
# HELP wattledger_collector_ecc_errors_total Memory errors of the node's GPUs since the collector began, by kind: corrected, uncorrected.
# TYPE wattledger_collector_ecc_errors_total counter
wattledger_collector_ecc_errors_total{kind="corrected",node="n1"} 0
wattledger_collector_ecc_errors_total{kind="uncorrected",node="n1"} 2
# HELP wattledger_collector_gpus GPUs of the node, MIG instances apart.
# TYPE wattledger_collector_gpus gauge
wattledger_collector_gpus{node="n1"} 2
# HELP wattledger_collector_power_watts Power that the node's devices drew at the last tick, summed over those that said it, by kind: gpu, cpu.
# TYPE wattledger_collector_power_watts gauge
wattledger_collector_power_watts{kind="cpu",node="n1"} 500
wattledger_collector_power_watts{kind="gpu",node="n1"} 1000
# HELP wattledger_collector_samples_expected_total Samples that should have been read: one per tick, missed ones included, and device that has anything to read.
# TYPE wattledger_collector_samples_expected_total counter
wattledger_collector_samples_expected_total{node="n1"} 183
# HELP wattledger_collector_samples_read_total Samples with at least one new value: one per device and tick.
# TYPE wattledger_collector_samples_read_total counter
wattledger_collector_samples_read_total{node="n1"} 180
# HELP wattledger_collector_throttled_seconds_total Time for which GPUs of the node ran below the clocks asked for, summed over them, by cause: power, thermal.
# TYPE wattledger_collector_throttled_seconds_total counter
wattledger_collector_throttled_seconds_total{cause="power",node="n1"} 24.5
wattledger_collector_throttled_seconds_total{cause="thermal",node="n1"} 0
# HELP wattledger_collector_xids_by_action_total XID events that devices reported, by what NVIDIA's catalogue says is to be done at once: reset, reboot, fabric, support, restart_app, none, unknown.
# TYPE wattledger_collector_xids_by_action_total counter
wattledger_collector_xids_by_action_total{action="fabric",node="n1"} 0
wattledger_collector_xids_by_action_total{action="none",node="n1"} 0
wattledger_collector_xids_by_action_total{action="reboot",node="n1"} 1
wattledger_collector_xids_by_action_total{action="reset",node="n1"} 0
wattledger_collector_xids_by_action_total{action="restart_app",node="n1"} 1
wattledger_collector_xids_by_action_total{action="support",node="n1"} 0
wattledger_collector_xids_by_action_total{action="unknown",node="n1"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "wattledger_collector_ecc_errors_total", "wattledger_collector_power_watts",
		"wattledger_collector_throttled_seconds_total", "wattledger_collector_xids_by_action_total",
		"wattledger_collector_gpus", "wattledger_collector_samples_expected_total", "wattledger_collector_samples_read_total"); err != nil {
		t.Error(err)
	}
	// A rate needs the series before the first event.
	for _, name := range []string{"wattledger_collector_samples_dropped_total", "wattledger_collector_epochs_total"} {
		if n := testutil.CollectAndCount(reg, name); n < 2 {
			t.Errorf("%s has %d series before anything happened", name, n)
		}
	}
}

// Where nothing is read no power is claimed: the last value would stand for ever.
func TestPowerIsNotShownWhereNothingIsRead(t *testing.T) {
	power, _ := meter.SlotOf(155)
	devices := gpus(1)
	devices[0].Slots = devices[0].Slots.With(power)
	s := &script{devices: devices, at: func(tick unit.Micros, r *meter.Readings) error {
		if tick > start+30*second {
			return errors.New("away")
		}
		r.Row(0)[power] = meter.Value{At: tick - 10_000, Float: 700}
		return nil
	}}
	a, _ := play(t, config(), s, &keeper{}, &clock{start})
	if w := testutil.ToFloat64(a.met.health.power[record.KindGPU]); w != 0 {
		t.Errorf("%v W are shown half a minute after the last reading", w)
	}
}

// Each number of the catalogue that an alert hangs on, and those that must never call anybody.
func TestActionOf(t *testing.T) {
	f := func(want Action, xids ...uint32) {
		t.Helper()
		for _, x := range xids {
			if got := ActionOf(x); got != want {
				t.Errorf("XID %d is %s, want %s", x, got, want)
			}
		}
	}
	f(Reset, 48, 62, 64, 95, 119, 120, 140, 158)
	f(Reboot, 79)
	f(Fabric, 74, 144, 149, 150)
	f(Support, 54)
	f(RestartApp, 13, 31, 94, 103)
	f(None, 43, 45, 63, 92, 154)
	f(Unknown, 0, 1, 171, 4_000_000)
}

// The page that somebody reads at night names the numbers that the table has.
func TestTheRunbookNamesTheXIDs(t *testing.T) {
	text, err := os.ReadFile("../../docs/runbooks/WattledgerXidNeedsAction.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range []Action{Reset, Reboot, Fabric, Support} {
		m := regexp.MustCompile("`" + string(action) + "`[^(`]*\\(([^)]*)\\)").FindSubmatch(text)
		if m == nil {
			t.Errorf("the page does not say which XIDs ask for %s", action)
			continue
		}
		named := map[uint32]bool{}
		for part := range strings.SplitSeq(string(m[1]), ", ") {
			var from, to uint32
			if n, _ := fmt.Sscanf(part, "%d to %d", &from, &to); n == 1 {
				to = from
			}
			for x := from; x <= to; x++ {
				named[x] = true
			}
		}
		for x := range uint32(1000) {
			if (ActionOf(x) == action) != named[x] {
				t.Errorf("XID %d: the table says %s, the page names it under %s: %v", x, ActionOf(x), action, named[x])
			}
		}
	}
}
