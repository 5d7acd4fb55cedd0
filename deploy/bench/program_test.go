//go:build bench

package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// roleVariable makes this test's program play a part in a process of its own, so that what it uses is counted apart.
const roleVariable = "WATTLEDGER_BENCH_ROLE"

func TestMain(m *testing.M) {
	var err error
	switch role := os.Getenv(roleVariable); role {
	case "":
		os.Exit(m.Run())
	case "engine":
		err = engineRole(os.Getenv("BENCH_DIR"), os.Stdin, os.Stdout)
	case "closer":
		err = closerRole(os.Getenv("BENCH_DIR"), os.Getenv("BENCH_HOURS"), os.Getenv("BENCH_PROFILE"), os.Stdout)
	default:
		err = fmt.Errorf("no role %s", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// program is a process whose use of the machine is measured from outside.
type program struct {
	cmd *exec.Cmd
	log *bytes.Buffer
	end func() // asks it to end
}

// newProgram prepares a process; what it says goes to its log.
func newProgram(t testing.TB, path string, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.CommandContext(t.Context(), path, args...), log: &bytes.Buffer{}}
	p.cmd.Stderr = p.log
	p.end = func() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }
	return p
}

// start starts it, and stops it when the test ends.
func (p *program) start(t testing.TB) {
	t.Helper()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() && p.log.Len() > 0 {
			t.Logf("%s said:\n%s", filepath.Base(p.cmd.Path), tail(p.log.String()))
		}
	})
}

func (p *program) stop() {
	if p.cmd.ProcessState != nil {
		return
	}
	p.end()
	late := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	_ = p.cmd.Wait()
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

// cpu is the processor time the process has used so far, in steps of 10 ms (utime and stime, proc(5)).
func (p *program) cpu(t testing.TB) time.Duration {
	t.Helper()
	stat := p.proc(t, "stat")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	return time.Duration(number(t, fields[11])+number(t, fields[12])) * 10 * time.Millisecond
}

// peak is the most memory that was resident since forget, in bytes.
func (p *program) peak(t testing.TB) int64 {
	t.Helper()
	n, err := peakOf(p.cmd.Process.Pid)
	if err != nil {
		t.Fatalf("%s is gone: %v\n%s", p.cmd.Path, err, tail(p.log.String()))
	}
	return n
}

// peakOf is the most memory that was resident of a process, in bytes.
func peakOf(pid int) (int64, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err
	}
	const name = "VmHWM:"
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n * 1024, err
		}
	}
	return 0, fmt.Errorf("no %s in the status of process %d", name, pid)
}

// forget sets the peak to what is resident now (clear_refs 5, proc(5)).
func (p *program) forget(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "clear_refs"), []byte("5"), 0); err != nil {
		t.Logf("the peak of memory counts from the process's start: %v", err)
	}
}

func (p *program) proc(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), file))
	if err != nil {
		t.Fatalf("%s is gone: %v\n%s", filepath.Base(p.cmd.Path), err, tail(p.log.String()))
	}
	return string(text)
}
