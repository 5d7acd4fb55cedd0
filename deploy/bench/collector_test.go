//go:build bench

package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/schemas/unit"
)

// figures is the last line.
type figures struct {
	CPUPercent float64 `json:"cpu_percent"`
	RSSMiB     float64 `json:"rss_mib"`
	Allocs     float64 `json:"allocs_per_tick"`
	Bytes1s    float64 `json:"bytes_per_gpu_sample_1s"`
	Bytes10s   float64 `json:"bytes_per_gpu_sample_10s"`
	CPURatio   float64 `json:"cpu_ratio_vs_go_dcgm_style"`

	Seconds           float64 `json:"seconds"`
	SimulatorPercent  float64 `json:"simulator_cpu_percent"`
	RSSWithoutLibrary float64 `json:"rss_without_library_mib"`
	OursMicros        float64 `json:"read_cpu_us_per_tick"`
	PeerMicros        float64 `json:"go_dcgm_style_cpu_us_per_tick"`
	MIGPercent        float64 `json:"cpu_percent_10hz_56_mig"`
	MIGSimulator      float64 `json:"simulator_cpu_percent_10hz_56_mig"`
	MIGRSSMiB         float64 `json:"rss_mib_10hz_56_mig"`
	ValuesPerTick     int     `json:"values_per_tick"`
}

// seconds is how long the long measurement takes: ten minutes, unless BENCH_SECONDS says otherwise.
func seconds(t testing.TB) time.Duration {
	t.Helper()
	text := os.Getenv("BENCH_SECONDS")
	if text == "" {
		return 10 * time.Minute
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("BENCH_SECONDS is %q; write whole seconds", text)
	}
	return time.Duration(n) * time.Second
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// TestCollector prints the figures of one run.
func TestCollector(t *testing.T) {
	var f figures
	fmt.Println("what a tick allocates, from reading to encoding")
	f.Allocs = allocsPerTick(t)
	fmt.Println("what a sample weighs after zstd")
	f.Bytes1s, f.Bytes10s = bytesPerSample(t, 1), bytesPerSample(t, 10)
	fmt.Println("what a reading costs beside one in the style of go-dcgm")
	ours, peer, values := cpuPerTick(t)
	f.OursMicros, f.PeerMicros, f.ValuesPerTick = float64(ours.Nanoseconds())/1000, float64(peer.Nanoseconds())/1000, values
	f.CPURatio = float64(peer) / float64(ours)

	fmt.Println("the shipped program at 10 Hz with 56 MIG instances, 40 s")
	var text strings.Builder
	text.WriteString("clock wall\nstart now\nnode localhost hgx-b200\n")
	for g := range 8 {
		fmt.Fprintf(&text, "mig localhost %d 1 1 1 1 1 1 1\n", g)
	}
	for g := range 8 {
		fmt.Fprintf(&text, "load localhost %d.0 +0s +1d training\n", g)
	}
	c := startCollector(t, text.String(), "--period", "100ms", "--set", "watchdog.deadline=90ms")
	var u usage
	f.MIGPercent, f.MIGSimulator, u = c.watch(t, 10*time.Second, min(30*time.Second, seconds(t)))
	f.MIGRSSMiB = mib(u.rss)
	c.stop(t)

	fmt.Printf("the shipped program at 1 Hz with 8 GPUs, %v\n", seconds(t))
	text.Reset()
	text.WriteString("clock wall\nstart now\nnode localhost hgx-b200\n")
	for g := range 8 {
		fmt.Fprintf(&text, "load localhost %d +0s +1d training\n", g)
	}
	c = startCollector(t, text.String())
	begun := time.Now()
	f.CPUPercent, f.SimulatorPercent, u = c.watch(t, 10*time.Second, seconds(t))
	f.Seconds, f.RSSMiB, f.RSSWithoutLibrary = time.Since(begun).Seconds(), mib(u.rss), mib(u.rss-u.library)
	c.stop(t)

	for _, row := range []struct {
		what, unit  string
		value, goal float64
		atLeast     bool
	}{
		{"CPU, 8 GPUs at 1 Hz", "% of a core", f.CPUPercent, 0.5, false},
		{"resident", "MiB", f.RSSMiB, 40, false},
		{"allocations a tick", "", f.Allocs, 0, false},
		{"CPU, 56 instances at 10 Hz", "% of a core", f.MIGPercent, 5, false},
		{"CPU of a reading in the style of go-dcgm, over ours", "times", f.CPURatio, 1, true},
	} {
		met := row.value <= row.goal
		if row.atLeast {
			met = row.value >= row.goal
		}
		fmt.Printf("  %-52s %8.2f %-11s aim %g: %s\n", row.what, row.value, row.unit, row.goal, map[bool]string{true: "met", false: "NOT met"}[met])
	}
	line, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%s\n", line)
}

// TestSoak plays 36,000 ticks as fast as they go and fails when memory grows.
func TestSoak(t *testing.T) {
	lib, sim := busyNode(t)
	const ticks = 36_000
	clock := &virtual{sim: sim, now: start}
	type point struct {
		heap, objects uint64
		rss           int64
	}
	var points []point
	clock.tick = func(at unit.Micros) {
		if at == start || (at-start)%(6000*second) != 0 {
			return
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		points = append(points, point{m.HeapAlloc, m.HeapObjects, resident(t)})
		p := points[len(points)-1]
		fmt.Printf("  tick %6d: heap %.2f MiB in %d objects, resident %.1f MiB\n", (at-start)/second, float64(p.heap)/(1<<20), p.objects, mib(p.rss))
	}
	a, source := newAgent(t, lib, clock, message.NewWriter(discard{}), ticks, 1)
	defer source.Close()
	begun := time.Now()
	if err := a.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begun)
	first, last := points[0], points[len(points)-1]
	grown := float64(last.heap)/float64(first.heap) - 1
	fmt.Printf("{\"ticks\":%d,\"wall_seconds\":%.1f,\"heap_growth\":%.4f,\"rss_growth_mib\":%.1f}\n", ticks, took.Seconds(), grown, mib(last.rss-first.rss))
	if grown > 0.02 || last.rss-first.rss > 4<<20 {
		t.Errorf("from tick 6000 to %d the heap grew by %.1f %% and resident memory by %.1f MiB", ticks, 100*grown, mib(last.rss-first.rss))
	}
}

func resident(t testing.TB) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	return number(t, strings.Fields(string(text))[1]) * int64(os.Getpagesize())
}
