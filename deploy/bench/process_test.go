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

	"github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/schemas/wire"
)

// root is where the repository is, with bin/ built by make.
func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, need := range []string{"bin/wattledger-collector", "bin/sim/libdcgm.so.4"} {
		if _, err := os.Stat(filepath.Join(dir, need)); err != nil {
			t.Fatalf("%v: run `make build sim` first", err)
		}
	}
	return dir
}

// usage is what a process has used so far. Times are of CPU.
type usage struct {
	cpu, simulator time.Duration
	rss            int64 // bytes
	library        int64 // of rss: what the simulated library has mapped and allocated
}

// collector is the shipped program against the simulated library on the wall clock.
type collector struct {
	cmd   *exec.Cmd
	stats string
	log   *bytes.Buffer
}

// startCollector starts one with a scenario, a broker of its own and the flags.
func startCollector(t testing.TB, scenario string, flags ...string) *collector {
	t.Helper()
	dir := t.TempDir()
	conn := kafkatest.Start(t, kafka.Topic{Name: wire.TopicSample, Partitions: 1}, kafka.Topic{Name: wire.TopicInventory, Partitions: 1},
		kafka.Topic{Name: wire.TopicAllocation, Partitions: 1}, kafka.Topic{Name: wire.TopicReading, Partitions: 1})
	file := filepath.Join(dir, "scenario.txt")
	if err := os.WriteFile(file, []byte(scenario), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &collector{stats: filepath.Join(dir, "stats"), log: &bytes.Buffer{}}
	args := append([]string{
		"--data", filepath.Join(dir, "data"), "--brokers", conn.Brokers[0], "--dcgm-library", filepath.Join(root(t), "bin/sim/libdcgm.so.4"),
		"--dcgm-address", "embedded", "--site", "bench", "--node", "localhost", "--metrics-listen", "127.0.0.1:0", "--log-level", "warn",
	}, flags...)
	c.cmd = exec.CommandContext(t.Context(), filepath.Join(root(t), "bin/wattledger-collector"), args...)
	c.cmd.Env = append(os.Environ(), "WLSIM_SCENARIO="+file, "WLSIM_STATS="+c.stats)
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			_ = c.cmd.Process.Signal(syscall.SIGTERM)
			_ = c.cmd.Wait()
		}
		if c.log.Len() > 0 {
			t.Logf("the collector said:\n%s", c.log)
		}
	})
	return c
}

// usage reads what the kernel and the simulator say.
func (c *collector) usage(t testing.TB) usage {
	t.Helper()
	pid := strconv.Itoa(c.cmd.Process.Pid)
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		t.Fatalf("the collector is gone: %v\n%s", err, c.log)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ticks := number(t, fields[11]) + number(t, fields[12]) // utime, stime in 1/100 s (proc(5))
	u := usage{cpu: time.Duration(ticks) * 10 * time.Millisecond}
	maps, err := os.ReadFile(filepath.Join("/proc", pid, "smaps"))
	if err != nil {
		t.Fatal(err)
	}
	ours := true
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line)
		switch {
		case len(f) >= 5 && strings.Contains(f[0], "-"):
			name := f[len(f)-1]
			ours = name != "[heap]" && !strings.Contains(name, "libdcgm") // Go's memory is anonymous; the heap is C's
		case f[0] == "Rss:":
			n := number(t, f[1]) * 1024
			u.rss += n
			if !ours {
				u.library += n
			}
		}
	}
	if text, err := os.ReadFile(c.stats); err == nil {
		for line := range strings.Lines(string(text)) {
			if ns, ok := strings.CutPrefix(strings.TrimSpace(line), "cpu_ns "); ok {
				u.simulator = time.Duration(number(t, ns))
			}
		}
	}
	return u
}

func number(t testing.TB, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// watch lets the collector run for a while after it has settled, and returns what it used of one core and its peak of memory.
func (c *collector) watch(t testing.TB, settle, span time.Duration) (percent, simulator float64, peak usage) {
	t.Helper()
	time.Sleep(settle)
	from, begun := c.usage(t), time.Now()
	if from.simulator == 0 {
		t.Fatal("the simulator does not say what it used")
	}
	next := begun
	for time.Since(begun) < span {
		next = next.Add(min(10*time.Second, span))
		time.Sleep(time.Until(next))
		if u := c.usage(t); u.rss > peak.rss {
			peak = u
		}
		fmt.Printf("  %3.0f s: %.1f MiB resident\n", time.Since(begun).Seconds(), float64(peak.rss)/(1<<20))
	}
	to, wall := c.usage(t), time.Since(begun)
	sim := to.simulator - from.simulator
	return 100 * float64(to.cpu-from.cpu-sim) / float64(wall), 100 * float64(sim) / float64(wall), peak
}

// stop ends the collector and says when it does not end well.
func (c *collector) stop(t testing.TB) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the collector ended with %v\n%s", err, c.log)
	}
}
