package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// built is what a user has after `make setup build sim`, in a folder that the tests remove.
type built struct {
	wattledger, collector string
	// library and nvml are the simulated libdcgm and NVML.
	library, nvml string
	libchdb       string
	// dir is for what several tests share, such as the undisturbed day.
	dir string
}

var scratch string // made and removed by TestMain

func TestMain(m *testing.M) {
	code, err := inScratch(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
	}
	os.Exit(code)
}

func inScratch(m *testing.M) (code int, err error) {
	if scratch, err = os.MkdirTemp("", "wattledger-e2e-"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	return m.Run(), nil
}

var buildOnce = sync.OnceValues(func() (built, error) {
	b := built{
		wattledger: filepath.Join(scratch, "bin", "wattledger"), collector: filepath.Join(scratch, "bin", "wattledger-collector"),
		library: filepath.Join(scratch, "bin", "sim", "libdcgm.so.4"), nvml: filepath.Join(scratch, "bin", "sim", "libnvidia-ml.so.1"), dir: scratch,
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return b, err
	}
	found, err := filepath.Glob(filepath.Join(root, ".cache", "libchdb", "node_modules", "@chdb", "lib-linux-*", "libchdb.so"))
	if err != nil || len(found) == 0 {
		return b, errors.New("no libchdb under .cache/libchdb; run `make setup`")
	}
	b.libchdb = found[0]
	if err := os.MkdirAll(filepath.Dir(b.library), 0o750); err != nil {
		return b, err
	}
	tool := func(env, name string, args ...string) error {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = root, append(os.Environ(), env)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
		return nil
	}
	// As the Makefile does it.
	if err := tool("CGO_ENABLED=0", "go", "build", "-trimpath", "-o", filepath.Dir(b.wattledger)+"/", "./cmd/..."); err != nil {
		return b, err
	}
	for source, library := range map[string]string{"dcgm": b.library, "nvml": b.nvml} {
		files, err := filepath.Glob(filepath.Join(root, "collector", source, "sim", "*.c"))
		if err != nil {
			return b, err
		}
		args := []string{"-std=gnu11", "-O2", "-g", "-ffp-contract=off", "-fPIC", "-shared", "-pthread", "-Wl,-z,defs", "-Wl,-soname," + filepath.Base(library), "-o", library}
		if err := tool("LC_ALL=C", "cc", append(append(args, files...), "-lm")...); err != nil {
			return b, err
		}
	}
	return b, nil
})

// binaries builds once per run of the tests.
func binaries(t *testing.T) built {
	t.Helper()
	b, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
