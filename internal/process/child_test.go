package process

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// childMode makes the test binary play a child, or a parent of one, instead of testing.
const childMode = "PROCESS_TEST_CHILD"

func TestMain(m *testing.M) {
	mode := os.Getenv(childMode)
	if mode == "" {
		os.Exit(m.Run())
	}
	switch mode {
	case "replace":
		var c replacing
		Program{Name: "prog"}.Main(&c, &c.Flags)
	case "wait", "stubborn":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		fmt.Fprintf(os.Stderr, "up %d\n", os.Getpid())
		<-signals
		if mode == "stubborn" {
			fmt.Fprintln(os.Stderr, "not stopping")
			select {}
		}
		fmt.Fprintln(os.Stderr, "stopping")
	case "die":
		fmt.Fprintln(os.Stderr, "no library found")
		os.Exit(1)
	case "usage":
		fmt.Fprintln(os.Stderr, "unknown flag")
		os.Exit(2)
	case "parent":
		cfg := DefaultChildConfig("grandchild")
		cfg.Env = []string{childMode + "=wait"}
		c, err := NewChild(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			panic(err)
		}
		if err := c.Run(context.Background()); err != nil {
			panic(err)
		}
	}
	os.Exit(0)
}

// supervise runs a child in the given mode and returns its lines and how to stop it.
func supervise(t *testing.T, mode string, change func(*ChildConfig)) (lines *bufio.Reader, reg *prometheus.Registry, stop func() error) {
	t.Helper()
	r, w := io.Pipe()
	cfg := DefaultChildConfig("helper")
	cfg.Env = []string{childMode + "=" + mode}
	cfg.Stderr = w
	cfg.Backoff = time.Millisecond
	if change != nil {
		change(&cfg)
	}
	reg = prometheus.NewRegistry()
	c, err := NewChild(cfg, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		err := c.Run(ctx)
		w.Close()
		done <- err
	}()
	return bufio.NewReader(r), reg, func() error { cancel(); go io.Copy(io.Discard, r); return <-done }
}

func upLine(t *testing.T, lines *bufio.Reader) (pid int) {
	t.Helper()
	line, err := lines.ReadString('\n')
	if _, bad := fmt.Sscanf(line, "up %d", &pid); bad != nil || err != nil {
		t.Fatalf("the child said %q, %v", line, err)
	}
	return pid
}

func TestChildIsRestartedAndStopped(t *testing.T) {
	dir := t.TempDir()
	lines, reg, stop := supervise(t, "wait", func(c *ChildConfig) { c.DataDir = dir })
	first := upLine(t, lines)
	// The child says that it is up before the parent has written the file, perhaps.
	var raw []byte
	for len(raw) == 0 {
		raw, _ = os.ReadFile(PIDFile(dir, "helper"))
		time.Sleep(time.Millisecond)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || pid != first {
		t.Fatalf("pid file says %q, the child %d", raw, first)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if second := upLine(t, lines); second == first {
		t.Error("the same process again")
	}
	if n, err := testutil.GatherAndCount(reg, "wattledger_child_restarts_total"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if got := metric(t, reg, "wattledger_child_restarts_total"); got != 1 {
		t.Errorf("%v restarts are counted", got)
	}
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	if _, err := os.Stat(PIDFile(dir, "helper")); !os.IsNotExist(err) {
		t.Errorf("the pid file stays: %v", err)
	}
	if got := metric(t, reg, "wattledger_child_up"); got != 0 {
		t.Errorf("up = %v after the stop", got)
	}
}

func metric(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue() + f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestStubbornChildIsKilled(t *testing.T) {
	lines, _, stop := supervise(t, "stubborn", func(c *ChildConfig) { c.Grace = 50 * time.Millisecond })
	pid := upLine(t, lines)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("the child still lives")
	}
}

func TestHopelessChildIsGivenUp(t *testing.T) {
	f := func(mode string, change func(*ChildConfig), wants ...string) {
		t.Helper()
		r, w := io.Pipe()
		go io.Copy(io.Discard, r)
		cfg := DefaultChildConfig("helper")
		cfg.Env, cfg.Stderr, cfg.Backoff, cfg.Attempts = []string{childMode + "=" + mode}, w, time.Millisecond, 3
		if change != nil {
			change(&cfg)
		}
		c, err := NewChild(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		err = c.Run(t.Context())
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", mode, err, want)
			}
		}
	}
	f("die", nil, "died 3 times", "no library found")
	f("usage", nil, "wrong usage", "unknown flag")
	f("", func(c *ChildConfig) { c.Program = "/nonexistent/program" }, "/nonexistent/program")
}

func TestGrandchildDiesWithItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the parent-death signal exists on Linux only")
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), childMode+"=parent")
	out, err := parent.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	pid := upLine(t, lines)
	if !alive(pid) {
		t.Fatal("the grandchild is not there to begin with")
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	for deadline := time.Now().Add(30 * time.Second); alive(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the grandchild outlived its parent")
		}
	}
}

// alive reports whether the process runs; one that nobody has reaped yet does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}
