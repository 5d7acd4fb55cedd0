package slurm

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/wallclock"
	"github.com/wattledger/wattledger/collector/workload"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// The numbers of device files are not the indexes: nvidia1 is the first on the bus.
var devices = []agent.Device{
	{Device: record.Device{UUID: "GPU-a", Kind: record.KindGPU, Index: 0}, File: "nvidia1"},
	{Device: record.Device{UUID: "GPU-b", Kind: record.KindGPU, Index: 1}, File: "nvidia0"},
	{Device: record.Device{UUID: "GPU-m", Kind: record.KindGPU, Index: 2}, File: "nvidia2"},
	{Device: record.Device{UUID: "MIG-1", Parent: "GPU-m", Kind: record.KindMIG, Index: 5}},
	{Device: record.Device{UUID: "MIG-2", Parent: "GPU-m", Kind: record.KindMIG, Index: 6}},
}

func TestListsOfGPUs(t *testing.T) {
	f := func(list string, want ...string) {
		t.Helper()
		if got, err := ParseGPUs(list); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", list, got, err)
		}
	}
	f("")
	f("3", "3")
	f("0-3,5", "0", "1", "2", "3", "5")
	f("0,0, 1 ,", "0", "1")
	f("GPU-8a,MIG-3b,MIG-GPU-8a/7/0", "GPU-8a", "MIG-3b", "MIG-GPU-8a/7/0")
	for _, bad := range []string{"x", "3-1", "-1", "1-", "0-9999", "GPU-", "GPU-a b", "1.5", "99999"} {
		if got, err := ParseGPUs(bad); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

func FuzzGPUs(f *testing.F) {
	for _, s := range []string{"0-3,5", "GPU-8a", "MIG-GPU-8a/7/0", "1,,2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		out, err := ParseGPUs(list)
		if err != nil {
			return
		}
		again, err := ParseGPUs(strings.Join(out, ","))
		if err != nil || !slices.Equal(again, out) {
			t.Errorf("%q became %q, and that %q, %v", list, out, again, err)
		}
	})
}

func FuzzJob(f *testing.F) {
	f.Add([]byte(`{"version":1,"job":"7","start_us":1767225600000000,"end_us":1767225600000001,"gpus":["0","GPU-a"]}`))
	f.Add([]byte(`{"version":1,"job":"7_1","start_us":1767225600000000,"gpus":["0-3"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := ParseJob(data)
		if err != nil {
			return
		}
		if len(j.GPUs) == 0 || (j.End != 0 && j.End <= j.Start) || filepath.Base(j.ID) != j.ID {
			t.Errorf("%q became %+v", data, j)
		}
		for _, g := range j.GPUs {
			find(devices, g)
		}
	})
}

func FuzzMapping(f *testing.F) {
	f.Add("3.7", []byte("12\n13\n"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		parseMapping(data)
		if index, instance, ok := parseMappingName(name); ok && (index < 0 || instance < -1) {
			t.Errorf("%q is %d.%d", name, index, instance)
		}
	})
}

// host is a node: its directories, and slurmd calling the hooks.
type host struct {
	t             *testing.T
	dir, mapping  string
	proc          string
	now           time.Time
	writesMapping bool
}

func newHost(t *testing.T) *host {
	root := t.TempDir()
	h := &host{t: t, dir: filepath.Join(root, "jobs"), mapping: filepath.Join(root, "mapping"), proc: filepath.Join(root, "proc"), now: time.Now()}
	for i, minor := range []int{1, 0, 2} {
		dir := filepath.Join(h.proc, "driver/nvidia/gpus", fmt.Sprintf("0000:%02x:00.0", 16*(i+1)))
		os.MkdirAll(dir, 0o755)
		os.WriteFile(filepath.Join(dir, "information"), []byte(fmt.Sprintf("Model: \t\t NVIDIA B200\nDevice Minor: \t %d\n", minor)), 0o600)
	}
	return h
}

func (h *host) hook(env ...string) Hook {
	hook := Hook{Directory: h.dir, Environ: append([]string{"PATH=/bin"}, env...), Now: h.now, Proc: h.proc}
	if h.writesMapping {
		hook.MappingDirectory = h.mapping
	}
	return hook
}

func (h *host) prolog(job, gpus string, more ...string) {
	h.t.Helper()
	if err := h.hook(append(more, "SLURM_JOB_ID="+job, "SLURM_JOB_GPUS="+gpus, "SLURM_JOB_USER=eve", "SLURM_JOB_ACCOUNT=bank")...).Prolog(); err != nil {
		h.t.Error(err)
	}
}

func (h *host) epilog(job string, more ...string) {
	h.t.Helper()
	if err := h.hook(append(more, "SLURM_JOB_ID="+job)...).Epilog(); err != nil {
		h.t.Error(err)
	}
}

func (h *host) source(cfg Config) *Source {
	h.t.Helper()
	cfg.Enabled, cfg.Directory = true, h.dir
	s, err := New(cfg, wallclock.Clock{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *host) want(s workload.Source, want ...string) {
	h.t.Helper()
	st, err := s.Holds(h.t.Context(), devices)
	if err != nil {
		h.t.Error(err)
		return
	}
	var got []string
	for _, x := range st.Holds {
		state := ""
		if x.End != 0 {
			state = fmt.Sprintf(" for %v", (x.End - x.Start).Duration())
		}
		got = append(got, x.Ref+" "+x.Device+state)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		h.t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestAJobFromPrologToPublication(t *testing.T) {
	h := newHost(t)
	s := h.source(Config{})
	h.want(s) // nobody has run yet: no directory
	h.prolog("7", "0,2", "SLURM_JOB_PARTITION=gpu", "SLURM_JOB_NAME=tr\xffain", "SLURM_JOB_UID=1000")
	h.want(s, "7 GPU-b", "7 MIG-1", "7 MIG-2") // file 0 is the second on the bus, and the GPU of file 2 is divided
	st, _ := s.Holds(t.Context(), devices)
	if a := st.Holds[0].Attributes; a["account"] != "bank" || a["user"] != "eve" || a["partition"] != "gpu" || a["job"] != "7" || a["job_name"] != "tr\uFFFDain" {
		t.Errorf("attributes are %v", a)
	}
	h.now = h.now.Add(time.Second)
	h.prolog("7", "0,2") // again: nothing changes
	h.want(s, "7 GPU-b", "7 MIG-1", "7 MIG-2")
	h.now = h.now.Add(time.Second)
	h.epilog("7") // its environment may have no list of GPUs
	h.epilog("7", "SLURM_JOB_GPUS=0,2")
	h.want(s, "7 GPU-b for 2s", "7 MIG-1 for 2s", "7 MIG-2 for 2s")
	s.Published(1)
	h.want(s, "7 GPU-b for 2s", "7 MIG-1 for 2s", "7 MIG-2 for 2s")
	s.Published(unit.MicrosOf(time.Now().Add(time.Hour)))
	h.want(s)
	h.now = h.now.Add(time.Second)
	h.prolog("7", "1") // requeued
	h.want(s, "7 GPU-a")
}

func TestUUIDsWinOverNumbers(t *testing.T) {
	h := newHost(t)
	s := h.source(Config{})
	h.prolog("1", "0", "CUDA_VISIBLE_DEVICES=GPU-a")
	h.prolog("2", "3", "CUDA_VISIBLE_DEVICES=MIG-2")
	h.prolog("3", "0", "CUDA_VISIBLE_DEVICES=5") // renumbered, or not: not used
	h.prolog("4", "", "CUDA_VISIBLE_DEVICES=MIG-GPU-m/5/0")
	h.prolog("5", "") // no GPUs, no file
	h.want(s, "1 GPU-a", "2 MIG-2", "3 GPU-b", "4 MIG-1")
	h.prolog("6", "9")
	h.want(s, "1 GPU-a", "2 MIG-2", "3 GPU-b", "4 MIG-1")
	if testutil.ToFloat64(s.met.unplaced.WithLabelValues("device")) != 1 {
		t.Error("a GPU that is not here is not counted")
	}
}

func TestAnEpilogWithoutItsProlog(t *testing.T) {
	h := newHost(t)
	s := h.source(Config{})
	begun := h.now.Add(-time.Minute).Truncate(time.Second)
	h.now = begun.Add(90 * time.Second)
	h.epilog("8", "SLURM_JOB_GPUS=0", fmt.Sprintf("SLURM_JOB_START_TIME=%d", begun.Unix()))
	h.want(s, "8 GPU-b for 1m30s")
	if err := h.hook("SLURM_JOB_ID=9", "SLURM_JOB_GPUS=0").Epilog(); err == nil || !strings.Contains(err.Error(), "Prolog") {
		t.Errorf("got %v", err)
	}
	if err := h.hook().Prolog(); err == nil {
		t.Error("a prolog outside Slurm found a job")
	}
}

func TestAJobWhoseEpilogNeverCame(t *testing.T) {
	h := newHost(t)
	s := h.source(Config{})
	h.now = h.now.Add(-3 * time.Hour)
	h.prolog("1", "0")
	limit := h.now.Add(time.Hour).Truncate(time.Second)
	h.prolog("2", "1", fmt.Sprintf("SLURM_JOB_END_TIME=%d", limit.Unix()))
	took := limit.Sub(h.now).Truncate(time.Microsecond)
	h.now = h.now.Add(time.Minute)
	h.prolog("3", "0")
	st, err := s.Holds(t.Context(), devices)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]time.Duration{}
	for _, x := range st.Holds {
		if x.End != 0 {
			got[x.Ref] = (x.End - x.Start).Duration()
		}
	}
	if len(got) != 2 || got["1"] != time.Minute || (got["2"]-took).Abs() > time.Microsecond {
		t.Errorf("ended are %v; the second by its limit after %v", got, took)
	}
	if testutil.ToFloat64(s.met.unplaced.WithLabelValues("epilog")) != 2 {
		t.Error("not counted")
	}
	h.want(h.source(Config{Shared: true}), "1 GPU-b", fmt.Sprintf("2 GPU-a for %v", got["2"]), "3 GPU-b")
}

func TestGarbageIsSetAside(t *testing.T) {
	h := newHost(t)
	s := h.source(Config{})
	h.prolog("1", "0")
	os.WriteFile(filepath.Join(h.dir, "2.x.json"), []byte("{"), 0o600)
	os.WriteFile(filepath.Join(h.dir, "note.txt"), []byte("hello"), 0o600)
	h.want(s, "1 GPU-b")
	h.want(s, "1 GPU-b")
	if _, err := os.Stat(filepath.Join(h.dir, "2.x.json.unreadable")); err != nil {
		t.Error(err)
	}
	if n := testutil.ToFloat64(s.met.garbage); n != 1 {
		t.Errorf("counted %v times", n)
	}
}

func TestTheMappingDirectoryOfDCGMExporter(t *testing.T) {
	h := newHost(t)
	h.writesMapping = true
	read := func(name string) string {
		data, _ := os.ReadFile(filepath.Join(h.mapping, name))
		return string(data)
	}
	h.prolog("7", "0,2")
	h.prolog("8", "0")
	if read("1") != "7\n8\n" || read("2") != "7\n" || read("0") != "" { // by index, as dcgm-exporter labels GPUs
		t.Errorf("index 1 has %q, 2 %q, 0 %q", read("1"), read("2"), read("0"))
	}
	os.WriteFile(filepath.Join(h.mapping, "2.5"), []byte("9\n"), 0o600)
	m, err := NewMapped(Config{MappingDirectory: h.mapping}, wallclock.Clock{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	h.want(m, "7 GPU-b", "7 MIG-1", "7 MIG-2", "8 GPU-b", "9 MIG-1")
	h.epilog("7")
	h.want(m, "8 GPU-b", "9 MIG-1")
	os.WriteFile(filepath.Join(h.mapping, "5"), []byte("9\n"), 0o600)
	h.want(m, "8 GPU-b", "9 MIG-1")
	if testutil.ToFloat64(m.met.unplaced.WithLabelValues("device")) != 1 {
		t.Error("a GPU that is not here is not counted")
	}
}

func TestANewFileIsNoticedAtOnce(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := &host{t: t, dir: dir, now: time.Now()}
		s := h.source(Config{})
		ctx, cancel := context.WithCancel(t.Context())
		edges := make(chan unit.Micros, 10)
		done := make(chan error)
		go func() { done <- s.Run(ctx, func(at unit.Micros) { edges <- at }) }()
		time.Sleep(time.Second)
		h.prolog("1", "0")
		select {
		case <-edges:
		case <-time.After(200 * time.Millisecond):
			t.Error("not noticed")
		}
		cancel()
		<-done
	})
}

func TestConfigNamesEveryFault(t *testing.T) {
	err := Config{Enabled: true, Directory: "x", MappingDirectory: "y"}.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("got %v", err)
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}
