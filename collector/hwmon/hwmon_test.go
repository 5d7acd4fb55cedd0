package hwmon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/nodemeter"
	"github.com/wattledger/wattledger/collector/sourcetest"
	"github.com/wattledger/wattledger/schemas/unit"
)

const (
	start  unit.Micros = 1_767_225_600_000_000
	period             = 10 * unit.Second
)

// machine is a tree of sensors.
type machine struct {
	t      *testing.T
	root   string
	denied map[string]bool
}

func newMachine(t *testing.T) *machine {
	return &machine{t: t, root: filepath.Join(t.TempDir(), "hwmon"), denied: map[string]bool{}}
}

func (m *machine) write(path, text string) {
	path = filepath.Join(m.root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text+"\n"), 0o600)); err != nil {
		m.t.Error(err)
	}
}

// acpi is a power meter with its attributes in a folder.
func (m *machine) acpi(hwmon, folder, oem string, watts int) {
	m.write(hwmon+"/name", "power_meter")
	m.write(filepath.Join(hwmon, folder, "power1_oem_info"), oem)
	m.write(filepath.Join(hwmon, folder, "power1_average"), strconv.Itoa(watts*1_000_000))
}

// superchips are two Grace modules, one with its attributes where old kernels put them.
func (m *machine) superchips() {
	m.acpi("hwmon1", "device", "Module Power Socket 0", 1800)
	m.acpi("hwmon2", "device", "Grace Power Socket 0", 240)
	m.acpi("hwmon3", "device", "CPU Power Socket 0", 180)
	m.acpi("hwmon4", "device", "SysIO Power Socket 0", 30)
	m.acpi("hwmon5", "", "Module Power Socket 1", 1900)
	m.acpi("hwmon6", "", "Grace Power Socket 1", 250)
	m.acpi("hwmon7", "", "SysIO Power Socket 1", 31)
}

// counters is a machine whose sockets count their energy.
func (m *machine) counters(uj uint64) {
	m.write("hwmon9/name", "amd_energy")
	for i := range 2 {
		m.write(fmt.Sprintf("hwmon9/energy%d_label", 129+i), fmt.Sprintf("Esocket%d", i))
		m.write(fmt.Sprintf("hwmon9/energy%d_input", 129+i), strconv.FormatUint(uj, 10))
	}
	m.write("hwmon9/energy1_label", "Ecore000")
	m.write("hwmon9/energy1_input", "1")
}

// read is os.ReadFile for somebody who is not root.
func (m *machine) read(path string) ([]byte, error) {
	if rel, err := filepath.Rel(m.root, path); err == nil && m.denied[rel] {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
	}
	return os.ReadFile(path)
}

func (m *machine) open(t *testing.T, change func(*Config), reg prometheus.Registerer) *Source {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Root, cfg.Node = m.root, "n1"
	if change != nil {
		change(&cfg)
	}
	s, err := Open(cfg, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	s.read = m.read
	return s
}

func list(s *Source) string {
	var out []string
	for _, x := range s.Meters() {
		out = append(out, x.Name+"="+x.Quantity)
	}
	return strings.Join(out, " ")
}

func TestSensorsAreKnownByWhatTheySayOfThemselves(t *testing.T) {
	f := func(name string, change func(*Config), build func(m *machine), want string) {
		t.Helper()
		m := newMachine(t)
		build(m)
		if got := list(m.open(t, change, nil)); got != want {
			t.Errorf("%s: the meters are %q, want %q", name, got, want)
		}
	}
	whole := func(c *Config) { c.PowerMeterIsNode = true }
	f("nothing", nil, func(*machine) {}, "")
	f("superchips", nil, (*machine).superchips, "n1/cpu0=cpu_energy n1/grace1=cpu_energy n1/module0=module_energy n1/module1=module_energy")
	f("sockets that count", nil, func(m *machine) { m.counters(5) }, "n1/cpu0=cpu_energy n1/cpu1=cpu_energy")
	f("a power meter that says nothing", nil, func(m *machine) { m.acpi("hwmon1", "device", "", 500) }, "")
	f("the operator says it is the node", whole, func(m *machine) { m.acpi("hwmon1", "device", "", 500) }, "n1/power_meter=node_energy")
	f("two of them are no whole", whole, func(m *machine) {
		m.acpi("hwmon1", "device", "", 500)
		m.acpi("hwmon2", "", "", 500)
	}, "")
	f("a battery", whole, func(m *machine) {
		m.acpi("hwmon1", "", "", 500)
		m.write("hwmon1/power1_is_battery", "1")
	}, "")
	f("a graphics card is left alone", whole, func(m *machine) {
		m.write("hwmon0/name", "amdgpu")
		m.write("hwmon0/power1_average", "1000000")
	}, "")
	f("a sensor that the operator knows", func(c *Config) {
		c.Sensors = []Sensor{
			{Chip: "ina", Label: "Main input", Meter: "input", Quantity: "node_energy"},
			{Chip: "ina", Sensor: "power2", Meter: "switch 1", Quantity: "switch_energy"},
		}
	}, func(m *machine) {
		m.write("hwmon0/name", "ina")
		m.write("hwmon0/power1_label", "Main input")
		for _, p := range []string{"power1_input", "power2_input", "power3_input", "power1_average_interval", "power_input", "power1_input_highest"} {
			m.write("hwmon0/"+p, "1000000")
		}
	}, "n1/input=node_energy n1/switch_1=switch_energy")
}

func TestAModuleIsCountedOnce(t *testing.T) {
	m := newMachine(t)
	m.superchips()
	s := m.open(t, nil, nil)
	meters := s.Meters()
	values := make([]nodemeter.Value, len(meters))
	if err := s.Read(context.Background(), start, values); err != nil {
		t.Fatal(err)
	}
	var parts []nodemeter.Part
	for _, x := range meters {
		parts = append(parts, x.Part())
	}
	for _, module := range []string{"0", "0", "1", "1"} {
		parts = append(parts, nodemeter.Part{Name: "GPU-" + strconv.Itoa(len(parts)), Quantity: nodemeter.GPUEnergy, Module: module, Counter: true})
	}
	whole, complete := nodemeter.Whole(parts)
	var watts unit.Milliwatts
	for _, i := range whole {
		if i >= len(values) {
			t.Fatalf("%s is added to its module", parts[i].Name)
		}
		watts += values[i].Power
	}
	if watts != 3_700_000 || complete {
		t.Errorf("the node draws %v, want the 3.7 kW of its modules", watts)
	}
}

func TestAMeterKeepsItsNameWhenTheKernelCountsAnew(t *testing.T) {
	m := newMachine(t)
	m.superchips()
	s := m.open(t, nil, nil)
	before := list(s)
	if err := errors.Join(os.RemoveAll(m.root)); err != nil {
		t.Fatal(err)
	}
	m.acpi("hwmon31", "", "Module Power Socket 1", 1700)
	m.acpi("hwmon30", "", "Module Power Socket 0", 1600)
	m.acpi("hwmon32", "", "CPU Power Socket 0", 100)
	m.acpi("hwmon33", "", "Grace Power Socket 1", 100)
	values := make([]nodemeter.Value, 4)
	if err := s.Read(context.Background(), start, values); !errors.Is(err, agent.ErrChanged) {
		t.Fatal(err)
	}
	if err := s.Read(context.Background(), start, values); err != nil || list(s) != before || values[2].Power != 1_600_000 || values[3].Power != 1_700_000 {
		t.Errorf("%v; %s; %+v", err, list(s), values)
	}
}

func TestConformanceOfPower(t *testing.T) {
	subject := func(m *machine, advance func(t *testing.T, to unit.Micros)) sourcetest.MeterSubject {
		m.superchips()
		if advance == nil {
			advance = func(*testing.T, unit.Micros) {}
		}
		return sourcetest.MeterSubject{
			Open: func(t *testing.T) sourcetest.MeterSource { return m.open(t, nil, nil) }, Advance: advance, Start: start, Period: period,
		}
	}
	sourcetest.RunMeters(t, subject(newMachine(t), nil), func(t *testing.T, f sourcetest.Fault) (sourcetest.MeterCase, string) {
		m := newMachine(t)
		from, until := start+3*period, start+10*period
		during := func(to unit.Micros) bool { return to >= from && to < until }
		const module = "hwmon5/power1_average"
		says := func(text string) func(t *testing.T, to unit.Micros) {
			return func(_ *testing.T, to unit.Micros) {
				if m.superchips(); during(to) {
					m.write(module, text)
				}
			}
		}
		var advance func(t *testing.T, to unit.Micros)
		switch f {
		case sourcetest.Blank:
			advance = says("")
		case sourcetest.NotPermitted:
			from, until = start, 0
			m.denied[module] = true
		case sourcetest.Zero:
			advance = says("0")
		case sourcetest.Lost:
			advance = func(t *testing.T, to unit.Micros) {
				if m.superchips(); during(to) {
					if err := os.RemoveAll(filepath.Join(m.root, "hwmon5")); err != nil {
						t.Error(err)
					}
				}
			}
		case sourcetest.Away:
			advance = func(t *testing.T, to unit.Micros) {
				if m.superchips(); during(to) {
					if err := os.RemoveAll(m.root); err != nil {
						t.Error(err)
					}
				}
			}
		case sourcetest.ClockBack:
			until = from
		case sourcetest.Falls, sourcetest.Frozen, sourcetest.Wraps:
			return sourcetest.MeterCase{}, "no counter is read, and power that stands still is power; see the conformance of energy"
		case sourcetest.Stale:
			return sourcetest.MeterCase{}, "the file has no time of its own"
		}
		return sourcetest.MeterCase{MeterSubject: subject(m, advance), From: from, Until: until, Meter: "n1/module1"}, ""
	})
}

func TestConformanceOfEnergy(t *testing.T) {
	energy := func(to unit.Micros) uint64 { return 1_000_000_000 + uint64(to-start)*200 }
	subject := func(m *machine, advance func(t *testing.T, to unit.Micros)) sourcetest.MeterSubject {
		m.counters(energy(start))
		if advance == nil {
			advance = func(_ *testing.T, to unit.Micros) { m.counters(energy(to)) }
		}
		return sourcetest.MeterSubject{
			Open: func(t *testing.T) sourcetest.MeterSource { return m.open(t, nil, nil) }, Advance: advance, Start: start, Period: period,
		}
	}
	sourcetest.RunMeters(t, subject(newMachine(t), nil), func(t *testing.T, f sourcetest.Fault) (sourcetest.MeterCase, string) {
		m := newMachine(t)
		from := start + 3*period
		switch f {
		case sourcetest.Falls: // the driver was loaded again
			return sourcetest.MeterCase{MeterSubject: subject(m, func(_ *testing.T, to unit.Micros) {
				if m.counters(energy(to)); to >= from {
					m.write("hwmon9/energy129_input", strconv.FormatInt(int64(to-from), 10))
				}
			}), From: from, Meter: "n1/cpu0"}, ""
		case sourcetest.Frozen:
			return sourcetest.MeterCase{MeterSubject: subject(m, func(_ *testing.T, to unit.Micros) { m.counters(energy(min(to, from))) }), From: from, Meter: "n1/cpu0"}, ""
		case sourcetest.Wraps:
			return sourcetest.MeterCase{}, "the driver counts in 64 bits"
		case sourcetest.Zero:
			return sourcetest.MeterCase{}, "0 is a counter's first value"
		default:
			return sourcetest.MeterCase{}, "as for power: the same code reads the file"
		}
	})
}

func TestReadingsAreCountedByState(t *testing.T) {
	m := newMachine(t)
	m.superchips()
	reg := prometheus.NewRegistry()
	s := m.open(t, nil, reg)
	m.denied["hwmon3/device/power1_average"] = true
	if err := s.Read(context.Background(), start, make([]nodemeter.Value, 4)); err != nil {
		t.Fatal(err)
	}
	f := func(state string, want float64) {
		t.Helper()
		if got := testutil.ToFloat64(s.count.WithLabelValues(state)); got != want {
			t.Errorf("%v sensors are %s, want %v", got, state, want)
		}
	}
	f("read", 3)
	f("forbidden", 1)
	f("left_alone", 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	m.open(t, nil, reg) // the metrics are free again
}

func TestConfigurationSaysAllItsFaults(t *testing.T) {
	_, err := Open(Config{Sensors: []Sensor{{Quantity: "water"}}}, slog.New(slog.DiscardHandler), nil)
	for _, word := range []string{"root:", "node:", "sensors[0]:", "sensors[0].meter:", "sensors[0].quantity:"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not name %s", err, word)
		}
	}
}

// Whatever the files hold: no panic, no name twice, and no power that no meter can have.
func FuzzSensors(f *testing.F) {
	f.Add("power_meter", "Module Power Socket 0", "", "1800000000")
	f.Add("amd_energy", "", "Esocket3", "18446744073709551615")
	f.Add("power_meter", "CPU Power Socket 0\x00", "", "-1")
	f.Fuzz(func(t *testing.T, chip, oem, label, text string) {
		m := newMachine(t)
		for _, at := range []string{"hwmon0/", "hwmon1/device/"} {
			m.write(at+"name", chip)
			m.write(at+"power1_oem_info", oem)
			m.write(at+"energy1_label", label)
			m.write(at+"power1_average", text)
			m.write(at+"energy1_input", text)
		}
		s := m.open(t, func(c *Config) { c.PowerMeterIsNode = true }, nil)
		meters := s.Meters()
		values := make([]nodemeter.Value, len(meters))
		if err := s.Read(context.Background(), start, values); err != nil && !errors.Is(err, agent.ErrChanged) {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for i, x := range meters {
			if seen[x.Name] || x.Quantity == "" || values[i].Power < 0 {
				t.Fatalf("meter %d is %+v with %+v", i, x, values[i])
			}
			seen[x.Name] = true
		}
	})
}
