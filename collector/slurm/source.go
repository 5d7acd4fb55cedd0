package slurm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/workload"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Source states the jobs of the files. It is a workload.Source.
type Source struct {
	cfg   Config
	clock agent.Clock
	log   *slog.Logger
	met   *metrics

	mu     sync.Mutex             // guards what follows
	stated map[string]unit.Micros // by file: when its end was first stated
	said   map[string]bool        // what has been complained of
}

// New prepares a source of the files that prolog and epilog drop.
func New(cfg Config, clock agent.Clock, log *slog.Logger, reg prometheus.Registerer) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("slurm: %w", err)
	}
	return &Source{cfg: cfg, clock: clock, log: log, met: newMetrics(reg), stated: map[string]unit.Micros{}, said: map[string]bool{}}, nil
}

// Name is slurm.
func (s *Source) Name() string { return "slurm" }

// Run looks for a new file ten times a second: one stat of the directory.
func (s *Source) Run(ctx context.Context, changed func(at unit.Micros)) error {
	return watchDirectory(ctx, s.clock, s.cfg.Directory, changed)
}

// watchEvery is how often a directory is looked at.
const watchEvery = 100 * unit.Millisecond

// watchDirectory tells of each change of a directory with its time. A file that is renamed into it changes it.
func watchDirectory(ctx context.Context, clock agent.Clock, dir string, changed func(at unit.Micros)) error {
	var last int64
	for {
		if info, err := os.Stat(dir); err == nil {
			if t := info.ModTime().UnixNano(); t != last {
				if last != 0 {
					changed(unit.MicrosOf(info.ModTime()))
				}
				last = t
			}
		}
		if _, err := clock.Wait(ctx, clock.Now()+watchEvery, nil); err != nil {
			return err
		}
	}
}

// limitGrace is how long after the end of its time limit a job without an epilog is over: Slurm gives it KillWait and the
// epilog some time, and no job an hour.
const limitGrace = unit.Hour

type file struct {
	name string
	job  Job
}

// Holds reads every file.
func (s *Source) Holds(_ context.Context, devices []agent.Device) (workload.Statement, error) {
	now := s.clock.Now()
	files, err := s.files()
	if err != nil {
		return workload.Statement{}, err
	}
	slices.SortFunc(files, func(a, b file) int { return int(max(-1, min(1, a.job.Start-b.job.Start))) })
	s.mu.Lock()
	defer s.mu.Unlock()
	var st workload.Statement
	last := map[string]int{} // by device: the hold that has it, so that the next job ends one without an epilog
	present := map[string]bool{}
	for _, f := range files {
		j := f.job
		present[f.name] = true
		if j.End == 0 && j.Limit != 0 && now > j.Limit+limitGrace {
			j.End = max(j.Limit, j.Start+1)
			s.complain("epilog", j, "it should have ended by its time limit")
		}
		for _, g := range j.GPUs {
			uuids := find(devices, g)
			if len(uuids) == 0 {
				s.complain("device", j, "GPU "+g+" is not here")
			}
			for _, uuid := range uuids {
				if before, ok := last[uuid]; ok && !s.cfg.Shared && st.Holds[before].End == 0 && st.Holds[before].Start < j.Start {
					st.Holds[before].End = j.Start
					s.complain("epilog", j, "its GPU was still held by job "+st.Holds[before].Ref)
				}
				h := workload.Hold{Ref: j.ID, Key: j.ID + "/" + uuid, Device: uuid, Start: j.Start, End: j.End, Attributes: j.attributes()}
				if s.cfg.Shared {
					h.Replicas = workload.ByHolders
				}
				last[uuid] = len(st.Holds)
				st.Holds = append(st.Holds, h)
			}
		}
		if j.End != 0 && s.stated[f.name] == 0 {
			s.stated[f.name] = now
		}
	}
	for name := range s.stated {
		if !present[name] {
			delete(s.stated, name)
		}
	}
	return st, nil
}

// find reads a name of ParseGPUs: a number is that of a device file.
func find(devices []agent.Device, gpu string) []string {
	if minor, ok := number(gpu); ok {
		return workload.ByMinor(devices, minor)
	}
	// MIG-GPU-UUID/GI/CI is the old name of an instance.
	if old, ok := strings.CutPrefix(gpu, "MIG-GPU-"); ok {
		parts := strings.Split(old, "/")
		if len(parts) == 3 {
			if gi, ok := number(parts[1]); ok {
				return workload.ByInstance(devices, "GPU-"+parts[0], gi)
			}
		}
		return nil
	}
	return workload.LeavesOf(gpu, devices)
}

func (j *Job) attributes() map[string]string {
	out := map[string]string{}
	for name, value := range map[string]string{
		"job": j.ID, "job_uid": j.UID, "user": j.User, "account": j.Account, "partition": j.Partition, "job_name": j.Name, "comment": j.Comment, "cluster": j.Cluster,
	} {
		if value != "" {
			out[name] = value
		}
	}
	return out
}

// maxFiles bounds what is read in one go; there are as many files as jobs since the last publication.
const maxFiles = 20_000

// files reads the directory. One that is not there has no jobs: the first prolog makes it.
func (s *Source) files() (out []file, err error) {
	entries, err := os.ReadDir(s.cfg.Directory)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the files of jobs: %w", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") || strings.HasPrefix(e.Name(), ".") || !e.Type().IsRegular() {
			continue
		}
		if len(out) >= maxFiles {
			return nil, fmt.Errorf("read the files of jobs: %s holds more than %d; may the collector remove files there?", s.cfg.Directory, maxFiles)
		}
		name := filepath.Join(s.cfg.Directory, e.Name())
		data, err := readBounded(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the files of jobs: %w", err) // a file that cannot be read may be a job that runs
		}
		j, err := ParseJob(data)
		if err != nil {
			s.setAside(e.Name(), err)
			continue
		}
		out = append(out, file{e.Name(), j})
	}
	return out, nil
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// setAside gives a file that is no job a name under which it is not read again, for somebody to look at.
func (s *Source) setAside(name string, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.said[name] {
		return
	}
	s.remember(name)
	s.met.garbage.Inc()
	from := filepath.Join(s.cfg.Directory, name)
	err := os.Rename(from, from+".unreadable")
	s.log.Warn("file of a job not understood", "file", from, "set_aside_as", name+".unreadable", "error", errors.Join(cause, err))
}

// complain counts and names, once per job, what is not as it should be. The lock is held.
func (s *Source) complain(reason string, j Job, detail string) {
	key := reason + " " + j.ID + " " + detail
	if s.said[key] {
		return
	}
	s.remember(key)
	s.met.unplaced.WithLabelValues(reason).Inc()
	s.log.Warn("job not as it should be", "reason", reason, "scheduler_ref", j.ID, "detail", detail)
}

func (s *Source) remember(key string) {
	if len(s.said) > 1000 {
		clear(s.said)
	}
	s.said[key] = true
}

// Published clears away the files of jobs that have ended and whose end was stated before upTo, since a message that says so
// is durable. It is workload.Hooks.Published.
func (s *Source) Published(upTo unit.Micros) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, at := range s.stated {
		if at >= upTo {
			continue
		}
		if err := os.Remove(filepath.Join(s.cfg.Directory, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.met.kept.Inc()
			if !s.said["remove"] {
				s.remember("remove")
				s.log.Warn("file of a job not removed", "file", name, "error", err)
			}
			continue
		}
		delete(s.stated, name)
	}
}
