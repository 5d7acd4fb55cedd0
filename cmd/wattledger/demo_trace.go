package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/wattledger/wattledger/cmd/wattledger/fleet"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	"github.com/wattledger/wattledger/schemas/unit"
)

// trace reads a scheduler trace as a fleet and says on standard error what of it will be played.
func (c *demoCmd) trace(start unit.Micros, env *process.Env) (_ *fleet.Fleet, err error) {
	opts := fleet.OpenBOptions{
		NodesName: c.Nodes, PodsName: c.Pods, DutyName: c.Duty, From: c.FromS, Hours: c.Hours, Start: start, Seed: c.Seed, MaxNodes: c.MaxNodes,
	}
	for _, f := range []struct {
		name string
		into *io.Reader
	}{{c.Nodes, &opts.Nodes}, {c.Pods, &opts.Pods}, {c.Duty, &opts.Duty}} {
		if f.name == "" {
			continue
		}
		file, err := os.Open(f.name)
		if err != nil {
			return nil, fmt.Errorf("trace: %w", err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		*f.into = file
	}
	f, rep, err := fleet.OpenB(opts)
	if err != nil {
		return nil, err
	}
	if env.Flags.Quiet || env.Flags.JSON {
		return f, nil
	}
	n := func(v int) string { return progress.Grouped(int64(v)) }
	fmt.Fprintf(env.Stderr, "Trace: %s of %s nodes, %s of %s GPUs; %s pods, of which %s were never scheduled, %s have no GPU and %s found no room; %s hold a GPU in the window (%s share one, %s ran already), as %s allocations\n",
		n(rep.NodesPlayed), n(rep.Nodes), n(rep.GPUsPlayed), n(rep.GPUs), n(rep.Pods), n(rep.NeverScheduled), n(rep.WithoutGPU), n(rep.NoRoom),
		n(rep.InWindow), n(rep.Shared), n(rep.Clipped), n(rep.Allocations))
	for _, a := range rep.Assumed {
		fmt.Fprintln(env.Stderr, "  ours, not the trace's:", a)
	}
	for _, b := range rep.Bad {
		fmt.Fprintln(env.Stderr, "  left out:", b.String())
	}
	return f, nil
}
