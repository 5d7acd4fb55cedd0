package fleet

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
)

var start = unit.MicrosOf(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))

// shared opens a file of the real traces, which are not part of the repository.
func shared(t testing.TB, name string) io.Reader {
	t.Helper()
	path := filepath.Join("..", "..", "..", "..", "shared", "data", filepath.FromSlash(name))
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("the real traces are not here: %s belongs beside the repository", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func realTrace(t testing.TB, opts OpenBOptions) (*Fleet, OpenBReport) {
	t.Helper()
	opts.Nodes, opts.Pods, opts.Duty = shared(t, "openb/nodes.csv"), shared(t, "openb/pods.csv"), shared(t, "duty/pod_gpu_duty_cycle.csv.gz")
	opts.Start = start
	f, rep, err := OpenB(opts)
	if err != nil {
		t.Fatal(err)
	}
	return f, rep
}

// The counts are those of the published files (cluster-trace-gpu-v2023): 1,213 nodes, 6,212 GPUs, 8,152 pods, 897 of them never
// scheduled.
func TestTheRealTrace(t *testing.T) {
	f, rep := realTrace(t, OpenBOptions{From: 12_844_800, Hours: 1, Seed: 7})
	equal := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	equal("bad rows", len(rep.Bad), 0)
	equal("nodes", rep.Nodes, 1213)
	equal("GPUs", rep.GPUs, 6212)
	equal("nodes of the fleet", len(f.Nodes), 1213)
	equal("GPUs of the fleet", f.GPUs(), 6212)
	equal("pods", rep.Pods, 8152)
	equal("never scheduled", rep.NeverScheduled, 897)
	equal("without GPU", rep.WithoutGPU, 1052)
	equal("without time", rep.NoTime, 0)
	equal("no room", rep.NoRoom, 0)
	equal("earlier", rep.Earlier, 5927)
	equal("later", rep.Later, 180)
	equal("in the window", rep.InWindow, 96)
	equal("allocations", rep.Allocations, 104)
	equal("loads", len(f.Loads), 104)
	equal("shared", rep.Shared, 36)
	equal("clipped", rep.Clipped, 39)
	equal("open", rep.Open, 41)
	equal("containers", rep.Containers, 128)
	if rep.DutyStep != 57*unit.Second {
		t.Errorf("duty step %s, want 57s", rep.DutyStep.Duration())
	}
	sound(t, f)
}

// All pods of the trace find room on all its nodes, and what the trace says of its last second is that pods were still running.
func TestTheRealTraceToItsEnd(t *testing.T) {
	f, rep := realTrace(t, OpenBOptions{From: 12_816_000, Hours: 25})
	if rep.NoRoom != 0 || rep.Later != 0 {
		t.Errorf("%d pods without room and %d after the window, want none", rep.NoRoom, rep.Later)
	}
	if rep.Open == 0 {
		t.Error("no pod is open after the trace's last second, although some ran when it was taken")
	}
	sound(t, f)
}

func TestAPartOfTheRealTrace(t *testing.T) {
	whole, _ := realTrace(t, OpenBOptions{From: 12_844_800, Hours: 2})
	f, rep := realTrace(t, OpenBOptions{From: 12_844_800, Hours: 2, MaxNodes: 40})
	if len(f.Nodes) != 40 || rep.NodesPlayed != 40 || rep.Nodes != 1213 {
		t.Errorf("plays %d nodes, says %d of %d, want 40 of 1213", len(f.Nodes), rep.NodesPlayed, rep.Nodes)
	}
	if len(f.Models) < 4 {
		t.Errorf("%d models on 40 nodes: the part does not keep the mix", len(f.Models))
	}
	if f.Name == whole.Name {
		t.Errorf("part and whole are both called %q", f.Name)
	}
	sound(t, f)
}
