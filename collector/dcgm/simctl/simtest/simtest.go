// Package simtest builds the simulated libdcgm for tests and writes their scenarios.
//
// It owns the compiler's command line and the temporary files. It promises one build per test binary; a machine without a
// C compiler is told so. Only tests import it.
package simtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/wattledger/wattledger/collector/dcgm/simctl"
)

var build = sync.OnceValues(func() (string, error) {
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return "", fmt.Errorf("the place of the simulator's sources is unknown: build without -trimpath")
	}
	sources, err := filepath.Glob(filepath.Join(filepath.Dir(here), "..", "..", "sim", "*.c"))
	if err != nil {
		return "", err
	}
	if len(sources) == 0 {
		return "", fmt.Errorf("no sources of the simulated libdcgm in collector/dcgm/sim, looked for from %s", here)
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "", fmt.Errorf("the simulated libdcgm is written in C and this machine has no compiler: install gcc or clang (cc): %w", err)
	}
	dir, err := os.MkdirTemp("", "wattledger-sim-")
	if err != nil {
		return "", err
	}
	lib := filepath.Join(dir, "libdcgm.so.4")
	args := append([]string{"-O2", "-shared", "-fPIC", "-pthread", "-Wl,-soname,libdcgm.so.4", "-o", lib}, sources...)
	if out, err := exec.Command(cc, append(args, "-lm")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the simulated libdcgm: %w\n%s", err, out)
	}
	return lib, nil
})

// Library is the path of a freshly built simulated libdcgm, the same for a whole test binary.
func Library(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Play loads a scenario into the simulated library. There is one scenario per process: such tests do not run in parallel.
func Play(t testing.TB, scenario string) (library string, sim *simctl.Control) {
	t.Helper()
	library = Library(t)
	sim, err := simctl.Open(library)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "scenario.txt")
	if err := os.WriteFile(file, []byte(scenario), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sim.Load(file); err != nil {
		t.Fatal(err)
	}
	return library, sim
}
