package nvml_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/collector/nvml"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

func mustRead(t *testing.T, source *nvml.Source, s *sim, at unit.Micros) *meter.Readings {
	t.Helper()
	s.advance(t, at)
	r := meter.NewReadings(len(source.Devices()))
	if err := source.Read(context.Background(), at, r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWhatAGPUGives(t *testing.T) {
	s := play(t, 2, "power 1 654321")
	source := s.open(t, nil)
	d := source.Devices()[1]
	if d.UUID != "GPU-00000000-0000-0000-0000-000000000002" || d.Kind != record.KindGPU || d.Index != 1 || d.Node != "n1" ||
		d.Model != "NVIDIA H100 80GB HBM3" || d.Serial != "1650000000001" || d.Driver != "580.95.05" || d.VBIOS != "96.00.A5.00.01" ||
		d.LimitMilliwatts != 700_000 || d.Energy != record.EnergyHardware {
		t.Errorf("the device is %+v", d)
	}
	// Slurm counts by the name of the device file, whose number is not the index.
	if d.PCI != "00000000:2B:00.0" || d.File != "nvidia0" {
		t.Errorf("it is at %s and %s", d.PCI, d.File)
	}
	mustRead(t, source, s, start+second)
	row := mustRead(t, source, s, start+2*second).Row(1)
	f := func(field uint16, want float64) {
		t.Helper()
		v := row[slot(t, field)]
		if v.At != start+2*second || v.Float < want-1e-9 || v.Float > want+1e-9 || v.Int != int64(v.Float) {
			t.Errorf("field %d is %+v, want %v", field, v, want)
		}
	}
	f(156, 2*654_321) // mJ
	f(155, 654.321)
	f(157, 654.321)
	f(140, 50)
	f(150, 40)
	f(100, 1980)
	f(101, 2619)
	f(112, 4)
	f(203, 21)
	f(204, 10)
	f(251, 40<<10)
	f(252, 35<<10)
	f(240, 0)
	f(241, 0)
	f(1001, 0.21)
	f(1002, 0.105)
	f(1004, 0.042) // any tensor pipe is NVML's metric 5
	f(1005, 0.021)
	f(1009, 21*20*(1<<20)) // bytes per second
	f(1011, 21*61*(1<<20)) // sent is NVML's 61, received its 60
	f(1012, 21*60*(1<<20))
	for _, slow := range []uint16{164, 190, 202, 312, 313} {
		if v := row[slot(t, slow)]; v.At != start+second {
			t.Errorf("field %d is %+v, want the one of the first reading: it is slow", slow, v)
		}
	}
	if v := row[slot(t, 164)]; v.Float != 700 {
		t.Errorf("the limit is %+v", v)
	}
	if missing := source.Unsupported(); len(missing) != 0 {
		t.Errorf("no device has %v", missing)
	}
	if v := mustRead(t, source, s, start+11*second).Row(1)[slot(t, 164)]; v.At != start+11*second {
		t.Errorf("after the slow period the limit is %+v", v)
	}
}

func TestEnergyIsTheIntegralOfPower(t *testing.T) {
	s := play(t, 1)
	source := s.open(t, nil)
	at, want := start, int64(0)
	for _, mw := range []int64{100_000, 700_000, 60_001, 333_333} {
		s.set(t, "power 0 %d", mw)
		at += 7 * second
		want += 7 * mw
		if got := mustRead(t, source, s, at).Row(0)[meter.SlotEnergy]; got.Int != want || got.At != at {
			t.Errorf("the counter is %+v, want %d", got, want)
		}
	}
}

func TestAnEdgeIsReadAtOnce(t *testing.T) {
	s := play(t, 2, "fail 1 185 3") // an older GPU: power has a call of its own
	source := s.open(t, nil)
	s.advance(t, start+1500*unit.Millisecond)
	r := meter.NewReadings(2)
	if err := source.ReadEdge(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	for i, mw := range []int64{100_000, 150_000} {
		for x, v := range r.Row(i) {
			switch f := meter.Fields[x]; {
			case f == 156 && (v.Int != mw*3/2 || v.At != start+1500*unit.Millisecond), f == 155 && v.Float != float64(mw)/1000:
				t.Errorf("field %d of device %d is %+v", f, i, v)
			case f != 155 && f != 156 && f != 157 && v.At != 0:
				t.Errorf("field %d was asked for at an edge", f)
			}
		}
	}
}

func TestTheDriverIsLoadedAgain(t *testing.T) {
	s := play(t, 2)
	reg := prometheus.NewRegistry()
	source := s.open(t, reg)
	before := mustRead(t, source, s, start+60*second).Row(0)[meter.SlotEnergy]
	s.set(t, "driver 0")
	s.advance(t, start+61*second)
	r := meter.NewReadings(2)
	err := source.Read(context.Background(), start+61*second, r)
	if !errors.Is(err, &nvml.Error{Return: nvml.Uninitialized}) {
		t.Fatalf("without a driver comes %v", err)
	}
	if err = source.Read(context.Background(), start+62*second, r); !errors.Is(err, &nvml.Error{Return: nvml.DriverNotLoaded}) ||
		!strings.Contains(err.Error(), "load the NVIDIA driver") {
		t.Errorf("asked again, comes %v", err)
	}
	if events, err := source.Events(context.Background(), nil); err != nil || len(events) != 0 {
		t.Errorf("events %v, %v", events, err)
	}
	if err := source.ReadEdge(context.Background(), r); err == nil {
		t.Error("an edge was read without a driver")
	}
	s.set(t, "driver 1")
	s.advance(t, start+80*second)
	if err := source.Read(context.Background(), start+80*second, r); !errors.Is(err, agent.ErrChanged) {
		t.Fatalf("with a driver again comes %v", err)
	}
	after := mustRead(t, source, s, start+81*second).Row(0)[meter.SlotEnergy]
	if after.Int >= before.Int || after.At <= before.At {
		t.Errorf("the counter went from %+v to %+v: it begins anew with the driver", before, after)
	}
	const name = "wattledger_collector_nvml_initialisations_total"
	if got := counter(t, reg, name); got != 2 {
		t.Errorf("%s is %v, want 2", name, got)
	}
}

func TestALostGPUIsMissedAndFoundAgain(t *testing.T) {
	f := func(t *testing.T, code nvml.Return) {
		t.Helper()
		s := play(t, 3, mig...)
		reg := prometheus.NewRegistry()
		source := s.open(t, reg)
		devices := source.Devices()
		mustRead(t, source, s, start+second)
		s.set(t, "xid 1 - 79")
		s.set(t, "lost 1 %d", code)
		r := mustRead(t, source, s, start+2*second)
		if v := r.Row(1)[meter.SlotEnergy]; v.At != 0 {
			t.Errorf("the lost GPU reads %+v", v)
		}
		if v := r.Row(2)[meter.SlotEnergy]; v.At == 0 {
			t.Error("the one beside it is silent too")
		}
		s.advance(t, start+3*second)
		if err := source.Read(context.Background(), start+3*second, r); !errors.Is(err, agent.ErrChanged) {
			t.Fatalf("at the reading after comes %v", err)
		}
		if now := source.Devices(); len(now) != len(devices) || now[1] != devices[1] || now[3] != devices[3] {
			t.Errorf("the devices are %+v, want %+v: what is lost is missed", now, devices)
		}
		if events, err := source.Events(context.Background(), nil); err != nil || len(events) != 1 || events[0].XID != 79 || events[0].Device != 1 {
			t.Errorf("events are %+v, %v", events, err)
		}
		r = mustRead(t, source, s, start+4*second)
		if r.Row(1)[meter.SlotEnergy].At != 0 || r.Row(2)[meter.SlotEnergy].At == 0 {
			t.Errorf("rows are %+v and %+v", r.Row(1)[meter.SlotEnergy], r.Row(2)[meter.SlotEnergy])
		}
		if got := counter(t, reg, "wattledger_collector_nvml_lost_devices"); got != 3 {
			t.Errorf("%v devices are lost, want the GPU and its two instances", got)
		}
		if got := counter(t, reg, "wattledger_collector_nvml_failed_calls_total"); got < 1 {
			t.Errorf("%v calls failed", got)
		}
		// The GPU was reset: the next look finds it.
		s.set(t, "lost 1 0")
		s.advance(t, start+90*second)
		if err := source.Read(context.Background(), start+90*second, r); !errors.Is(err, agent.ErrChanged) {
			t.Fatalf("after the reset comes %v", err)
		}
		if r = mustRead(t, source, s, start+91*second); r.Row(1)[meter.SlotEnergy].At == 0 || r.Row(3)[slot(t, 252)].At == 0 {
			t.Error("the GPU is still missed")
		}
	}
	t.Run("off the bus", func(t *testing.T) { f(t, nvml.GPUIsLost) })
	t.Run("to be reset", func(t *testing.T) { f(t, nvml.ResetRequired) })
}

func TestInstancesOfMIG(t *testing.T) {
	s := play(t, 2, append(mig, "instance 1 1 2 1c.2g.20gb")...)
	source := s.open(t, nil)
	devices := source.Devices()
	var got []string
	for _, d := range devices[2:] {
		got = append(got, d.Profile)
		if d.Kind != record.KindMIG || d.Energy != record.EnergyNone || d.Parent != devices[1].UUID || !strings.HasPrefix(d.UUID, "MIG-") ||
			d.PCI != devices[1].PCI || d.Slots.Has(meter.SlotEnergy) || d.Slots.Has(meter.SlotPower) || !d.Slots.Has(slot(t, 1002)) {
			t.Errorf("an instance is %+v", d)
		}
	}
	if want := []string{"2g.20gb", "4g.40gb", "1g.10gb"}; !slices.Equal(got, want) {
		t.Errorf("profiles are %v, want %v, by id of the GPU instance", got, want)
	}
	if devices[3].Slices != 4 || devices[3].Index != 3 || devices[1].Slices != 7 || devices[0].Slices != 0 {
		t.Errorf("slices are %d, %d and %d", devices[3].Slices, devices[1].Slices, devices[0].Slices)
	}
	if devices[1].Slots.Has(slot(t, 203)) || !devices[0].Slots.Has(slot(t, 203)) {
		t.Error("a GPU in MIG mode has no utilisation, another has")
	}
	mustRead(t, source, s, start+second)
	r := mustRead(t, source, s, start+2*second)
	if v := r.Row(3)[slot(t, 1002)]; v.At != start+2*second || v.Float <= 0 || v.Float > 1 {
		t.Errorf("SM activity of an instance is %+v", v)
	}
	if v := r.Row(3)[slot(t, 252)]; v.At == 0 {
		t.Error("an instance has memory of its own, but it was not read")
	}

	s.set(t, "xid 1 3 43")
	s.set(t, "xid 1 - 48")
	s.set(t, "xid 1 6 31") // of an instance that is gone: the GPU's
	events, err := source.Events(context.Background(), nil)
	want := []agent.Event{{Device: 3, At: s.now, XID: 43}, {Device: 1, At: s.now, XID: 48}, {Device: 1, At: s.now, XID: 31}}
	if err != nil || !slices.Equal(events, want) {
		t.Errorf("events are %+v, %v, want %+v", events, err, want)
	}
}

func TestProfilingIsNotPermitted(t *testing.T) {
	s := play(t, 2, "fail 1 nvmlGpmSampleGet 4", "fail 0 nvmlDeviceRegisterEvents 4")
	reg := prometheus.NewRegistry()
	source := s.open(t, reg)
	devices := source.Devices()
	if !devices[0].Slots.Has(slot(t, 1002)) || devices[1].Slots.Has(slot(t, 1002)) || devices[1].Slots.Has(slot(t, 1009)) {
		t.Error("GPU 0 can be profiled, GPU 1 cannot")
	}
	if devices[0].Slots.Has(meter.SlotXID) || !devices[1].Slots.Has(meter.SlotXID) {
		t.Error("GPU 1 reports XIDs, GPU 0 does not")
	}
	want := []nvml.Status{
		{devices[1].UUID, "profiling", "NVML_ERROR_NO_PERMISSION", nvml.NoPermission.Remedy()},
		{devices[0].UUID, "xid events", "NVML_ERROR_NO_PERMISSION", nvml.NoPermission.Remedy()},
	}
	if got := source.Status(); !slices.Equal(got, want) {
		t.Errorf("the status is %+v, want %+v", got, want)
	}
	if got := testutil.CollectAndCount(reg, "wattledger_collector_nvml_withheld_devices"); got != 2 {
		t.Errorf("%d series of what is withheld", got)
	}
	if r := mustRead(t, source, s, start+second); r.Row(1)[meter.SlotEnergy].At == 0 || r.Row(1)[slot(t, 1002)].At != 0 {
		t.Error("all else is read")
	}

	if err := source.Close(); err != nil {
		t.Error(err)
	}
	cfg := s.config()
	cfg.Profiling = false
	quiet := s.openWith(t, cfg, nil)
	if quiet.Devices()[0].Slots.Has(slot(t, 1002)) {
		t.Error("profiling was switched off")
	}
}

func TestProfilingAskedTooSoonKeepsItsTime(t *testing.T) {
	s := play(t, 1)
	source := s.open(t, nil)
	a := mustRead(t, source, s, start+second).Row(0)[slot(t, 1002)]
	b := mustRead(t, source, s, start+second+50*unit.Millisecond).Row(0)[slot(t, 1002)]
	if a.At != start+second || a != b {
		t.Errorf("SM activity went from %+v to %+v within 50 ms", a, b)
	}
}

func TestAnOldGPUWithoutACounter(t *testing.T) {
	s := play(t, 1, "fail 0 83 3", "fail 0 185 3", "fail 0 190 2", "fail 0 nvmlGpmQueryDeviceSupport 3", "fail 0 nvmlDeviceGetMemoryInfo_v2 13")
	source := s.open(t, nil)
	d := source.Devices()[0]
	if d.Energy != record.EnergyIntegrated || d.Slots.Has(meter.SlotEnergy) {
		t.Errorf("its energy is %s", d.Energy)
	}
	row := mustRead(t, source, s, start+second).Row(0)
	if row[meter.SlotPower].Float != 100 || row[slot(t, 164)].Float != 700 || row[slot(t, 252)].Float != 40<<10 {
		t.Errorf("power %+v, limit %+v, memory %+v", row[meter.SlotPower], row[slot(t, 164)], row[slot(t, 252)])
	}
	if row[meter.SlotEnergy].At != 0 {
		t.Error("a counter that is not there was read")
	}
	if !slices.Contains(source.Unsupported(), "energy_mj") {
		t.Errorf("unsupported are %v", source.Unsupported())
	}
}

func TestADriverWithoutFields(t *testing.T) {
	s := play(t, 1, "fail 0 nvmlDeviceGetFieldValues 3")
	source := s.open(t, nil)
	d := source.Devices()[0]
	if d.Energy != record.EnergyIntegrated || d.Slots.Has(slot(t, 140)) || !d.Slots.Has(slot(t, 202)) {
		t.Errorf("the device is %+v", d)
	}
	if v := mustRead(t, source, s, start+second).Row(0)[meter.SlotPower]; v.Float != 100 || v.At != start+second {
		t.Errorf("power is %+v", v)
	}
}

func TestNoDriverAndNoLibrary(t *testing.T) {
	s := play(t, 1, "driver 0")
	lib, err := nvml.Load(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = nvml.Open(lib, s.config(), nil, nil); !errors.Is(err, &nvml.Error{Return: nvml.DriverNotLoaded}) {
		t.Errorf("without a driver comes %v", err)
	}
	var missing *nvml.NotFoundError
	if _, err := nvml.Load(filepath.Join(t.TempDir(), "none.so")); !errors.As(err, &missing) || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("without the library comes %v", err)
	}
	if _, err := nvml.Load("/lib/x86_64-linux-gnu/libm.so.6"); err == nil {
		t.Error("another library was taken for NVML")
	}
}

func TestConfigSaysAllItsFaults(t *testing.T) {
	cfg := nvml.Config{SlowPeriod: -time.Second}
	err := cfg.Validate()
	for _, word := range []string{"node", "period", "slow_period", "rediscover", "clock"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not mention %s", err, word)
		}
	}
	good := nvml.DefaultConfig()
	good.Node = "n"
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

// counter is the sum of the series of a metric.
func counter(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
