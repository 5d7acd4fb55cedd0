package slurm

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/workload"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Mapped states what dcgm-exporter's job-mapping directory says. It is a workload.Source. A job's start and end are when its
// line was seen to come and go, and of a job it knows the id and nothing else.
type Mapped struct {
	dir   string
	clock agent.Clock
	log   *slog.Logger
	met   *metrics
	said  map[string]bool // what has been complained of; Holds only
}

// NewMapped prepares a source of Config.MappingDirectory.
func NewMapped(cfg Config, clock agent.Clock, log *slog.Logger, reg prometheus.Registerer) (*Mapped, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("slurm: %w", err)
	}
	return &Mapped{dir: cfg.MappingDirectory, clock: clock, log: log, met: newMetrics(reg), said: map[string]bool{}}, nil
}

// Name is hpc.
func (m *Mapped) Name() string { return "hpc" }

// Run looks for changes ten times a second.
func (m *Mapped) Run(ctx context.Context, changed func(at unit.Micros)) error {
	return watchDirectory(ctx, m.clock, m.dir, changed)
}

// Holds reads every file that is named after a GPU. Several lines are jobs that share it.
func (m *Mapped) Holds(_ context.Context, devices []agent.Device) (workload.Statement, error) {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return workload.Statement{}, fmt.Errorf("read the job-mapping directory: %w", err)
	}
	var st workload.Statement
	for _, e := range entries {
		index, instance, ok := parseMappingName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		data, err := readBounded(filepath.Join(m.dir, e.Name()))
		if err != nil {
			return workload.Statement{}, fmt.Errorf("read the job-mapping directory: %w", err)
		}
		uuids := workload.ByIndex(devices, index)
		if instance >= 0 {
			uuids = workload.InstanceOfIndex(devices, index, instance)
		}
		jobs := parseMapping(data)
		if len(jobs) > 0 && len(uuids) == 0 && !m.said[e.Name()] {
			m.said[e.Name()] = true
			m.met.unplaced.WithLabelValues("device").Inc()
			m.log.Warn("job not as it should be", "reason", "device", "file", e.Name(), "detail", "no such GPU is here")
		}
		for _, id := range jobs {
			for _, uuid := range uuids {
				st.Holds = append(st.Holds, workload.Hold{
					Ref: id, Key: id + "/" + uuid, Device: uuid, Replicas: workload.ByHolders, Attributes: map[string]string{"job": id},
				})
			}
		}
	}
	return st, nil
}
