package nvml_test

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ebitengine/purego"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/collector/nvml"
	"github.com/wattledger/wattledger/schemas/unit"
)

const (
	start  = unit.Micros(1_767_225_600_000_000) // 2026-01-01
	second = unit.Second
)

// build compiles the simulated library, once for the test binary.
var build = sync.OnceValues(func() (string, error) {
	sources, err := filepath.Glob("sim/*.c")
	if err != nil || len(sources) == 0 {
		return "", fmt.Errorf("no sources of the simulated NVML in collector/nvml/sim: %w", err)
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "", fmt.Errorf("the simulated NVML is written in C and this machine has no compiler: install gcc or clang (cc): %w", err)
	}
	dir, err := os.MkdirTemp("", "wattledger-sim-")
	if err != nil {
		return "", err
	}
	lib := filepath.Join(dir, nvml.Soname)
	args := append([]string{"-std=gnu11", "-O2", "-shared", "-fPIC", "-pthread", "-Wl,-soname," + nvml.Soname, "-o", lib}, sources...)
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the simulated NVML: %w\n%s", err, out)
	}
	return lib, nil
})

// sim is the simulated library. It has one play per process: such tests do not run in parallel.
type sim struct {
	path string
	line func(string) int32
	left func() int32 // handles that nobody freed
	now  unit.Micros
}

// play begins anew with a number of GPUs.
func play(t *testing.T, gpus int, lines ...string) *sim {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		t.Fatal(err)
	}
	s := &sim{path: path, now: start}
	purego.RegisterLibFunc(&s.line, handle, "wlnvml_set")
	purego.RegisterLibFunc(&s.left, handle, "wlnvml_open")
	s.set(t, "gpus %d %d", gpus, start)
	for _, l := range lines {
		s.set(t, "%s", l)
	}
	return s
}

func (s *sim) set(t *testing.T, format string, args ...any) {
	t.Helper()
	if line := fmt.Sprintf(format, args...); s.line(line) != 0 {
		t.Fatalf("the simulated NVML does not understand %q", line)
	}
}

func (s *sim) advance(t *testing.T, to unit.Micros) {
	t.Helper()
	s.now = to
	s.set(t, "now %d", to)
}

func (s *sim) config() nvml.Config {
	cfg := nvml.DefaultConfig()
	cfg.Node, cfg.Period, cfg.Now = "n1", time.Second, func() unit.Micros { return s.now }
	return cfg
}

// open opens a source whose handles must all be freed at the end.
func (s *sim) open(t *testing.T, reg prometheus.Registerer) *nvml.Source {
	t.Helper()
	return s.openWith(t, s.config(), reg)
}

func (s *sim) openWith(t *testing.T, cfg nvml.Config, reg prometheus.Registerer) *nvml.Source {
	t.Helper()
	lib, err := nvml.Load(s.path)
	if err != nil {
		t.Fatal(err)
	}
	source, err := nvml.Open(lib, cfg, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := source.Close(); err != nil {
			t.Error(err)
		}
		if n := s.left(); n != 0 {
			t.Errorf("%d event sets and samples were not freed", n)
		}
	})
	return source
}

func slot(t *testing.T, field uint16) meter.Slot {
	t.Helper()
	s, ok := meter.SlotOf(field)
	if !ok {
		t.Fatalf("no slot for field %d", field)
	}
	return s
}
