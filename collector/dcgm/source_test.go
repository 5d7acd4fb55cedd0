package dcgm_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
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

const (
	start  = unit.Micros(1_767_225_600_000_000) // 2026-01-01
	second = unit.Second
	head   = "seed 7\nstart 1767225600000000\n"
)

func open(t *testing.T, lib string, address string, period time.Duration) *dcgm.Source {
	t.Helper()
	return openWith(t, lib, nil, func(c *dcgm.Config) { c.Address, c.Period = address, period })
}

func load(t *testing.T, path string) *dcgm.Library {
	t.Helper()
	l, err := dcgm.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// openWith opens a source of node n1 with some of the configuration changed.
func openWith(t *testing.T, lib string, reg prometheus.Registerer, change func(c *dcgm.Config)) *dcgm.Source {
	t.Helper()
	cfg := dcgm.DefaultConfig()
	cfg.Node, cfg.Address = "n1", "n1"
	change(&cfg)
	s, err := dcgm.Open(context.Background(), load(t, lib), cfg, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// metric is the value of a metric of the source, summed over its label values that match.
func metric(t *testing.T, reg *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "wattledger_collector_dcgm_"+name {
			continue
		}
		var sum float64
		for _, m := range f.GetMetric() {
			match := 0
			for _, l := range m.GetLabel() {
				for i := 0; i+1 < len(labels); i += 2 {
					if l.GetName() == labels[i] && l.GetValue() == labels[i+1] {
						match++
					}
				}
			}
			if match == len(labels)/2 {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		return sum
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func read(t *testing.T, s *dcgm.Source, sim *simctl.Control, at unit.Micros) *meter.Readings {
	t.Helper()
	if err := sim.Advance("n1", at); err != nil {
		t.Fatal(err)
	}
	r := meter.NewReadings(len(s.Devices()))
	if err := s.Read(context.Background(), at, r); err != nil {
		t.Fatal(err)
	}
	return r
}

func slot(t *testing.T, field uint16) meter.Slot {
	t.Helper()
	s, ok := meter.SlotOf(field)
	if !ok {
		t.Fatalf("no slot for field %d", field)
	}
	return s
}

func TestAnHGXNode(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nload n1 0 1767225600000000 1767312000000000 training\n")
	s := open(t, lib, "n1", time.Second)
	devices := s.Devices()
	if len(devices) != 8 {
		t.Fatalf("%d devices, want 8 GPUs", len(devices))
	}
	for i, d := range devices {
		want, err := sim.GPUUUID("n1", i)
		if err != nil {
			t.Fatal(err)
		}
		if d.UUID != want || d.Kind != record.KindGPU || d.Index != uint32(i) || d.Energy != record.EnergyHardware || d.Node != "n1" {
			t.Errorf("device %d is %+v, want GPU %s", i, d.Device, want)
		}
		if d.Model == "" || d.Serial == "" || d.Driver == "" || d.VBIOS == "" || d.LimitMilliwatts != 1_000_000 {
			t.Errorf("inventory of device %d is incomplete: %+v", i, d.Device)
		}
	}
	first := read(t, s, sim, start+10*second)
	later := read(t, s, sim, start+20*second)
	for i := range devices {
		a, b := first.Row(i)[meter.SlotEnergy], later.Row(i)[meter.SlotEnergy]
		if a.At <= 0 || b.At <= a.At || b.Int <= a.Int {
			t.Errorf("energy of device %d went from %+v to %+v", i, a, b)
		}
		if lag := start + 20*second - b.At; lag < 0 || lag > second {
			t.Errorf("energy of device %d is %v old", i, lag)
		}
	}
	busy, idle := later.Row(0)[meter.SlotPower].Float, later.Row(1)[meter.SlotPower].Float
	if busy <= idle || idle <= 0 || busy > 1100 {
		t.Errorf("the busy GPU draws %v W and the idle one %v W", busy, idle)
	}
	for _, f := range meter.Fields {
		x := slot(t, f)
		if x == meter.SlotXID || !devices[0].Slots.Has(x) {
			continue
		}
		if later.Row(0)[x].At == 0 {
			t.Errorf("field %d is supported but was not read", f)
		}
	}
}

func TestAnUnchangedLatestValueKeepsItsTime(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\n")
	s := open(t, lib, "n1", time.Second)
	a := read(t, s, sim, start+10*second).Row(0)[meter.SlotEnergy]
	b := read(t, s, sim, start+10*second+1000).Row(0)[meter.SlotEnergy]
	if a != b {
		t.Errorf("nothing was sampled between, but the value went from %+v to %+v", a, b)
	}
}

func TestAGraceTray(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 gb200\n")
	s := open(t, lib, "n1", time.Second)
	var kinds []string
	for _, d := range s.Devices() {
		kinds = append(kinds, d.Kind.String())
	}
	if got := strings.Join(kinds, " "); got != "gpu gpu gpu gpu cpu cpu" {
		t.Fatalf("devices are %s", got)
	}
	cpu := s.Devices()[4]
	if cpu.Energy != record.EnergyIntegrated || cpu.LimitMilliwatts != 300_000 || cpu.UUID == s.Devices()[5].UUID {
		t.Errorf("the first CPU is %+v", cpu.Device)
	}
	if p := read(t, s, sim, start+10*second).Row(4)[meter.SlotPower]; p.Float < 50 || p.Float > 300 {
		t.Errorf("the first CPU draws %+v", p)
	}
}

func TestMIGInstances(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nmig n1 2 3 2 2\nload n1 2.1 1767225600000000 1767312000000000 training\n")
	s := open(t, lib, "n1", time.Second)
	devices := s.Devices()
	if len(devices) != 11 {
		t.Fatalf("%d devices, want 8 GPUs and 3 instances", len(devices))
	}
	if g := devices[2]; g.Slices != 7 || g.Energy != record.EnergyHardware || g.Slots.Has(slot(t, 203)) {
		t.Errorf("the GPU in MIG mode is %+v with slots %b", g.Device, g.Slots)
	}
	if !devices[1].Slots.Has(slot(t, 203)) {
		t.Error("field 203 is lost on the GPUs that are not in MIG mode")
	}
	r := read(t, s, sim, start+10*second)
	for i, d := range devices[8:] {
		want, err := sim.MIGUUID("n1", 2, i)
		if err != nil {
			t.Fatal(err)
		}
		if d.UUID != want || d.Parent != devices[2].UUID || d.Kind != record.KindMIG || d.Energy != record.EnergyNone {
			t.Errorf("instance %d is %+v, want %s", i, d.Device, want)
		}
		row := r.Row(8 + i)
		if row[meter.SlotEnergy].At != 0 || row[meter.SlotPower].At != 0 {
			t.Errorf("instance %d shows its GPU's energy or power", i)
		}
		if sm := row[slot(t, 1002)]; sm.At == 0 || (sm.Float > 0) != (i == 1) {
			t.Errorf("instance %d has SM activity %+v", i, sm)
		}
	}
	if devices[8].Slices != 3 || devices[9].Slices != 2 {
		t.Errorf("slices are %d and %d, want 3 and 2", devices[8].Slices, devices[9].Slices)
	}
}

func TestADeviceWithoutCounter(t *testing.T) {
	lib, sim := simtest.Play(t, head+"model old gpus=2 idle_w=30 limit_w=250 arch=4 energy_counter=0 power_instant=0\nnode n1 old\n")
	s := open(t, lib, "n1", time.Second)
	d := s.Devices()[0]
	if d.Energy != record.EnergyIntegrated || d.Slots.Has(meter.SlotEnergy) || !d.Slots.Has(meter.SlotPower) {
		t.Errorf("a device without field 156 is %v with slots %b", d.Energy, d.Slots)
	}
	if d.Slots.Has(slot(t, 157)) {
		t.Error("a constant 0 W of field 157 was taken for a reading")
	}
	if d.Slots.Has(slot(t, 1002)) {
		t.Error("profiling is said to work")
	}
	if p := read(t, s, sim, start+5*second).Row(0)[meter.SlotPower]; p.Float <= 0 {
		t.Errorf("power is %+v", p)
	}
}

func TestXIDsAreSeenOnce(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nxid n1 3 1767225605500000 31\nxid n1 3 1767225605600000 43\n")
	s := open(t, lib, "n1", time.Second)
	f := func(at unit.Micros, want ...uint32) {
		t.Helper()
		read(t, s, sim, at)
		events, err := s.Events(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint32
		for _, e := range events {
			if e.Device != 3 || e.At <= start || e.At > at {
				t.Errorf("event %+v is not of device 3 before the tick", e)
			}
			got = append(got, e.XID)
		}
		if len(got) != len(want) || (len(want) == 2 && (got[0] != want[0] || got[1] != want[1])) {
			t.Errorf("events %v, want %v", got, want)
		}
	}
	f(start + 5*second)
	f(start+6*second, 31, 43)
	f(start + 7*second)
}

func TestABlankIsAGap(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nmissing n1 1 156 1767225610000000 1767225620000000\n")
	s := open(t, lib, "n1", time.Second)
	before := read(t, s, sim, start+9*second)
	during := read(t, s, sim, start+15*second)
	after := read(t, s, sim, start+25*second)
	if before.Row(1)[meter.SlotEnergy].At == 0 || after.Row(1)[meter.SlotEnergy].At == 0 {
		t.Error("energy is missing outside the fault")
	}
	if v := during.Row(1)[meter.SlotEnergy]; v.At != 0 {
		t.Errorf("a blank was read as %+v", v)
	}
	if during.Row(0)[meter.SlotEnergy].At == 0 || during.Row(1)[meter.SlotPower].At == 0 {
		t.Error("the fault spread")
	}
}

func TestALostGPUStaysExpected(t *testing.T) {
	// It is lost in the second before the devices are listed again, and the XID says why.
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nxid n1 5 1767225660500000 79\nlost n1 5 1767225660600000\n")
	s := open(t, lib, "n1", time.Second)
	r := meter.NewReadings(8)
	var changed bool
	var events []agent.Event
	for at := start + second; at < start+200*second; at += second {
		if err := sim.Advance("n1", at); err != nil {
			t.Fatal(err)
		}
		r.Reset()
		err := s.Read(context.Background(), at, r)
		if errors.Is(err, agent.ErrChanged) {
			changed = true
			err = s.Read(context.Background(), at, r)
		}
		if err != nil {
			t.Fatal(err)
		}
		if events, err = s.Events(context.Background(), events); err != nil {
			t.Fatal(err)
		}
		if r.Row(4)[meter.SlotEnergy].At == 0 {
			t.Fatalf("GPU 4 fell silent at %v", at.Time())
		}
	}
	if !changed {
		t.Error("the loss was never noticed")
	}
	if len(events) != 1 || events[0].XID != 79 || events[0].Device != 5 {
		t.Errorf("events are %+v, want XID 79 of device 5", events)
	}
	if d := s.Devices(); len(d) != 8 || !d[5].Slots.Has(meter.SlotEnergy) || d[5].Energy != record.EnergyHardware {
		t.Errorf("the lost GPU is not expected any more: %d devices", len(d))
	}
	if r.Row(5)[meter.SlotEnergy].At != 0 {
		t.Error("the lost GPU still has energy")
	}
}

func TestARebootIsSurvived(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nend n1 1767225610000000\nboot n1 1767225640000000\n")
	s := open(t, lib, "n1", time.Second)
	if down := outage(t, s, sim); down < 30 {
		t.Errorf("%d ticks without a connection, want at least 30", down)
	}
}

func TestARestartOfTheHostEngineIsSurvived(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nrestart n1 1767225610000000\n")
	s := open(t, lib, "n1", time.Second)
	if down := outage(t, s, sim); down < 1 || down > 3 {
		t.Errorf("%d ticks without a connection, want 1 to 3", down)
	}
}

// outage reads two minutes that hold one break of the connection, and says how many ticks went without it.
func outage(t *testing.T, s *dcgm.Source, sim *simctl.Control) (down int) {
	t.Helper()
	r := meter.NewReadings(8)
	var changed int
	for at := start + second; at <= start+120*second; at += second {
		if err := sim.Advance("n1", at); err != nil {
			t.Fatal(err)
		}
		r.Reset()
		err := s.Read(context.Background(), at, r)
		var e *dcgm.Error
		switch {
		case errors.Is(err, agent.ErrChanged):
			changed++
		case errors.As(err, &e) && e.Return == dcgm.ConnectionNotValid:
			down++
		case err != nil:
			t.Fatal(err)
		}
	}
	if changed != 1 {
		t.Errorf("%d reconnections, want 1", changed)
	}
	if r.Row(0)[meter.SlotEnergy].At == 0 {
		t.Error("nothing is read after the break")
	}
	return down
}
