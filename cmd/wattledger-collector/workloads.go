package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wattledger/wattledger/collector/kubernetes"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/collector/slurm"
	"github.com/wattledger/wattledger/collector/wallclock"
	"github.com/wattledger/wattledger/collector/workload"
	"github.com/wattledger/wattledger/schemas/unit"
)

// allocationsFile holds what is known of allocations, in the data folder.
const allocationsFile = "allocations.json"

// track makes the tracker, if somebody can be asked who holds what.
func (n *node) track(cfg config) error {
	var sources []workload.Source
	published := func(unit.Micros) {}
	if cfg.Kubernetes.Enabled {
		s, err := kubernetes.New(cfg.Kubernetes, wallclock.Clock{}, n.env.Log, n.env.Metrics)
		if err != nil {
			return err
		}
		sources = append(sources, s)
	}
	if cfg.Slurm.Enabled {
		s, err := slurm.New(cfg.Slurm, wallclock.Clock{}, n.env.Log, n.env.Metrics)
		if err != nil {
			return err
		}
		sources, published = append(sources, s), s.Published
	}
	if cfg.Slurm.MappingDirectory != "" && !cfg.Slurm.Enabled {
		s, err := slurm.NewMapped(cfg.Slurm, wallclock.Clock{}, n.env.Log, n.env.Metrics)
		if err != nil {
			return err
		}
		sources = append(sources, s)
	}
	if len(cfg.Workload.Static) > 0 {
		sources = append(sources, workload.NewStatic(cfg.Workload.Static, wallclock.Clock{}))
	}
	if len(sources) == 0 {
		return nil
	}
	dir := filepath.Dir(cfg.Spool.Dir)
	hooks := workload.Hooks{
		Edge:      func(unit.Micros) { n.agent.TakeReading() },
		Incident:  n.agent.Report,
		Save:      func(state []byte) error { return keep(dir, allocationsFile, state) },
		Published: published,
	}
	id := workload.Identity{Node: cfg.Agent.Node, Site: cfg.Agent.Site, Run: cfg.Agent.Run}
	t, err := workload.New(cfg.Workload, id, sources, message.NewWriter(n.spool), wallclock.Clock{}, hooks, n.env.Log, n.env.Metrics)
	if err != nil {
		return err
	}
	state, err := os.ReadFile(filepath.Join(dir, allocationsFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return fmt.Errorf("what is known of allocations: %w", err)
	default:
		if err := t.Restore(state); err != nil {
			// Without it running jobs are stated again from now on; with a broken start they would be stated wrongly.
			n.env.Log.Error("allocations of the run before are not known", "file", filepath.Join(dir, allocationsFile), "error", err)
		}
	}
	n.tracker = t
	return nil
}
