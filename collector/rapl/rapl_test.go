package rapl

import (
	"context"
	"errors"
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
	// largest is what a package of a server shows as its largest value, and turn is where it begins anew.
	largest, turn = 262_143_328_850, 262_143_328_911
)

// machine is a tree of power zones with what they have counted, in µJ.
type machine struct {
	t      *testing.T
	root   string
	energy map[string]uint64
	denied map[string]bool
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, root: t.TempDir(), energy: map[string]uint64{}, denied: map[string]bool{}}
	m.zone("intel-rapl:0", "package-0")
	m.zone("intel-rapl:0:0", "core")
	m.zone("intel-rapl:0:1", "dram")
	m.zone("intel-rapl:1", "package-1")
	m.zone("intel-rapl:2", "psys")
	return m
}

func (m *machine) zone(dir, name string) {
	m.write(dir, "name", name)
	m.write(dir, "max_energy_range_uj", strconv.Itoa(largest))
	m.set(dir, 1_000_000_000)
}

func (m *machine) set(dir string, uj uint64) {
	m.energy[dir] = uj
	m.write(dir, "energy_uj", strconv.FormatUint(uj, 10))
}

func (m *machine) write(dir, file, text string) {
	path := filepath.Join(m.root, dir)
	if err := os.MkdirAll(path, 0o755); err != nil {
		m.t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(path, file), []byte(text+"\n"), 0o600); err != nil {
		m.t.Error(err)
	}
}

// read is os.ReadFile for somebody who is not root.
func (m *machine) read(path string) ([]byte, error) {
	if rel, err := filepath.Rel(m.root, path); err == nil && m.denied[rel] {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
	}
	return os.ReadFile(path)
}

func (m *machine) open(t *testing.T, reg prometheus.Registerer) *Source {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Root, cfg.Node = m.root, "n1"
	s, err := Open(cfg, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	s.read = m.read
	return s
}

// draw lets every zone draw 200 W until an instant.
func (m *machine) draw(to unit.Micros) {
	for dir := range m.energy {
		m.set(dir, (1_000_000_000+uint64(to-start)*200)%turn)
	}
}

func TestZonesThatAreReadAreInsideNoOther(t *testing.T) {
	m := newMachine(t)
	s := m.open(t, nil)
	var got []string
	for _, x := range s.Meters() {
		got = append(got, x.Name+" "+x.Quantity+" of "+x.Of)
		if x.Range != turn || x.Limit != 1_000_000 || x.PerMillijoule != 1000 || !x.Counter {
			t.Errorf("%+v", x)
		}
	}
	if want := "n1/package-0 cpu_energy of cpu0, n1/package-0-dram dram_energy of dram0, n1/package-1 cpu_energy of cpu1"; strings.Join(got, ", ") != want {
		t.Errorf("meters are %v", got)
	}
}

func TestTheSizeOfACounterFollowsFromItsLargestValue(t *testing.T) {
	f := func(most, want uint64) {
		t.Helper()
		if got := modulus(most); got != want {
			t.Errorf("a counter whose largest value is %d begins anew after %d, want %d", most, got, want)
		}
	}
	f(largest, turn)                          // 61.035 µJ
	f(65_532_610_987, 65_532_611_002)         // 15.258 µJ
	f(65_712_999_613, 65_712_999_628)         // 15.3 µJ
	f(1_000_000, 1_000_001)                   // no register of 32 bits
	f(18_446_744_073_709, 18_446_744_073_710) // nor is this
	f(0, 0)
}

func TestConformance(t *testing.T) {
	subject := func(m *machine, advance func(t *testing.T, to unit.Micros)) sourcetest.MeterSubject {
		if advance == nil {
			advance = func(_ *testing.T, to unit.Micros) { m.draw(to) }
		}
		return sourcetest.MeterSubject{
			Open: func(t *testing.T) sourcetest.MeterSource { return m.open(t, nil) }, Advance: advance, Start: start, Period: period,
		}
	}
	sourcetest.RunMeters(t, subject(newMachine(t), nil), func(t *testing.T, f sourcetest.Fault) (sourcetest.MeterCase, string) {
		m := newMachine(t)
		from, until := start+3*period, start+9*period
		during := func(to unit.Micros) bool { return to >= from && to < until }
		var advance func(t *testing.T, to unit.Micros)
		switch f {
		case sourcetest.Blank: // a file without a number
			advance = func(_ *testing.T, to unit.Micros) {
				if m.draw(to); during(to) {
					m.write("intel-rapl:1", "energy_uj", "")
				}
			}
		case sourcetest.NotPermitted:
			from, until = start, 0
			m.denied["intel-rapl:1/energy_uj"] = true
		case sourcetest.Falls: // the machine slept
			until = 0
			advance = func(_ *testing.T, to unit.Micros) {
				if m.draw(to); to >= from {
					m.set("intel-rapl:1", uint64(to-from)*200)
				}
			}
		case sourcetest.Wraps:
			until = 0
			advance = func(_ *testing.T, to unit.Micros) {
				m.draw(to)
				m.set("intel-rapl:0", (uint64(to-start)*200+turn-5_000_000_000)%turn)
			}
			return sourcetest.MeterCase{MeterSubject: subject(m, advance), From: from, Meter: "n1/package-0"}, ""
		case sourcetest.Frozen:
			advance = func(_ *testing.T, to unit.Micros) {
				m.draw(to)
				switch {
				case during(to):
					m.set("intel-rapl:1", 1_000_000_000+uint64(from-start)*200)
				case to >= until:
					m.set("intel-rapl:1", 1_000_000_000+uint64(to-until+from-start)*200)
				}
			}
		case sourcetest.Lost:
			advance = func(t *testing.T, to unit.Micros) {
				m.draw(to)
				if during(to) {
					if err := os.RemoveAll(filepath.Join(m.root, "intel-rapl:1")); err != nil {
						t.Error(err)
					}
				} else {
					m.zone("intel-rapl:1", "package-1")
					m.draw(to)
				}
			}
		case sourcetest.Away: // the module is unloaded
			advance = func(t *testing.T, to unit.Micros) {
				m.draw(to)
				away := m.root + ".away"
				switch _, err := os.Stat(away); {
				case during(to) && err != nil:
					if err := os.Rename(m.root, away); err != nil {
						t.Error(err)
					}
				case during(to):
					if err := os.RemoveAll(m.root); err != nil {
						t.Error(err)
					}
				case err == nil:
					if err := errors.Join(os.RemoveAll(m.root), os.Rename(away, m.root)); err != nil {
						t.Error(err)
					}
					m.draw(to)
				}
			}
		case sourcetest.ClockBack:
			until = from
		case sourcetest.Zero:
			return sourcetest.MeterCase{}, "the zones count energy; no power is read"
		case sourcetest.Stale:
			return sourcetest.MeterCase{}, "the file is made when it is read; it has no time of its own"
		}
		return sourcetest.MeterCase{MeterSubject: subject(m, advance), From: from, Until: until, Meter: "n1/package-1"}, ""
	})
}

func TestCountersThatMayNotBeReadAreAStatusWithARemedy(t *testing.T) {
	m := newMachine(t)
	reg := prometheus.NewRegistry()
	s := m.open(t, reg)
	for _, z := range []string{"0", "0:1", "1"} {
		m.denied["intel-rapl:"+z+"/energy_uj"] = true
	}
	values := make([]nodemeter.Value, 3)
	if err := s.Read(context.Background(), start, values); err != nil {
		t.Fatal(err)
	}
	if values[0].Why != nodemeter.Forbidden || testutil.ToFloat64(s.zones.WithLabelValues("forbidden")) != 3 || !strings.Contains(s.Status(), "CAP_DAC_READ_SEARCH") {
		t.Errorf("%+v; %s", values, s.Status())
	}
	clear(m.denied)
	if err := s.Read(context.Background(), start, values); err != nil || values[0].At == 0 || s.Status() != "3 power zones" {
		t.Errorf("%v; %+v; %s", err, values, s.Status())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	m.open(t, reg) // the metrics are free again
}

func TestAMachineWithoutZonesIsNoFault(t *testing.T) {
	m := &machine{t: t, root: filepath.Join(t.TempDir(), "none"), energy: map[string]uint64{}}
	s := m.open(t, nil)
	if err := s.Read(context.Background(), start, nil); err != nil || len(s.Meters()) != 0 || !strings.Contains(s.Status(), "no power zones") {
		t.Errorf("%v, %v, %s", err, s.Meters(), s.Status())
	}
	m.zone("intel-rapl:0", "package-0") // the module was loaded later
	if err := s.Read(context.Background(), start, nil); !errors.Is(err, agent.ErrChanged) || len(s.Meters()) != 1 {
		t.Errorf("%v, %v", err, s.Meters())
	}
}

func TestConfigurationSaysAllItsFaults(t *testing.T) {
	_, err := Open(Config{}, slog.New(slog.DiscardHandler), nil)
	for _, word := range []string{"root:", "max_watts:", "node:"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not name %s", err, word)
		}
	}
}

// Whatever the files hold: no panic, no zone twice, and a counter below its size stays below it.
func FuzzZones(f *testing.F) {
	f.Add("package-0", "262143328850", "123")
	f.Add("dram", "0", "-1")
	f.Add("package-\x00/..", "9223372036854775807", "9223372036854775808")
	f.Fuzz(func(t *testing.T, name, most, energy string) {
		m := newMachine(t)
		m.write("intel-rapl:3", "name", name)
		m.write("intel-rapl:3", "max_energy_range_uj", most)
		m.write("intel-rapl:3", "energy_uj", energy)
		m.write("intel-rapl:3:x", "name", name)
		s := m.open(t, nil)
		values := make([]nodemeter.Value, len(s.Meters()))
		if err := s.Read(context.Background(), start, values); err != nil && !errors.Is(err, agent.ErrChanged) {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for i, x := range s.Meters() {
			if seen[x.Name] || x.Range > 1<<63+1 {
				t.Fatalf("meter %d is %+v", i, x)
			}
			seen[x.Name] = true
		}
		if n, ok := counter([]byte(most)); ok && n > 0 && modulus(n) <= n {
			t.Fatalf("a counter that shows %d begins anew after %d", n, modulus(n))
		}
	})
}
