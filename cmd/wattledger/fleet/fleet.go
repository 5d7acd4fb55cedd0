// Package fleet describes a data centre that can be played: its sites, nodes, tenants and who holds which GPU when.
//
// It owns the demo's fictional fleet and the writing of a fleet as a scenario of the simulated libdcgm. The same seed and
// start give the same fleet, to the byte. Nothing here reads a clock, a file or the network.
package fleet

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Fleet is all that is played.
type Fleet struct {
	// Name says what this is: part of every run's identity.
	Name string
	Seed uint64
	// Start and End bound the play.
	Start, End unit.Micros
	Sites      []record.Site
	Nodes      []Node
	Tenants    []record.Tenant
	Loads      []Load
	// Meters are those of the sites that have any.
	Meters []Meters
	// Factors are editions that the play is accounted with, besides the committed tables.
	Factors []factor.Edition
	// Models are model lines of the scenario for hardware that is not built in.
	Models []string
	// Events are further scenario lines: resets, missing values, XIDs.
	Events []string
	// Series are utilisation series by name.
	Series []Series
}

// Node is a host to play.
type Node struct {
	record.Node
	// Boot is when the hardware comes up: its counters count from there.
	Boot unit.Micros
	// Hardware is the scenario's word for it: hgx-b200, gb200, or the name of one of Models.
	Hardware string
	GPUs     int
	// MIG are the compute slices of the instances of each GPU in MIG mode.
	MIG map[int][]int
}

// CPUs is how many Grace CPUs are played: one for two GPUs of a superchip.
func (n Node) CPUs() int {
	if n.Hardware == "gb200" {
		return n.GPUs / 2
	}
	return 0
}

// Load is an allocation and what it does to the GPU it holds.
type Load struct {
	record.Allocation
	Node string
	GPU  int
	// Instance is the MIG instance, −1 for the whole GPU.
	Instance int
	// Kind is what runs: training, inference, idle, const U, series NAME, as the scenario says it.
	Kind string
}

// Series is a utilisation series, each value from 0 to 1.
type Series struct {
	Name   string
	Start  unit.Micros
	Step   unit.Micros
	Values []float32
}

// Identity is 16 bytes that are the same for the same fleet and name: run and boot ids of a play.
func (f *Fleet) Identity(kind, name string) [wire.RunBytes]byte {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%s/%d/%d/%s/%s", f.Name, f.Seed, f.Start, kind, name)))
	return [wire.RunBytes]byte(sum[:wire.RunBytes])
}

// GPUs is how many GPUs the fleet has.
func (f *Fleet) GPUs() int {
	n := 0
	for _, node := range f.Nodes {
		n += node.GPUs
	}
	return n
}

// Scenario is the fleet as a scenario of the simulated libdcgm (collector/dcgm/sim/SCENARIO.md).
func (f *Fleet) Scenario() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# %s, seed %d", f.Name, f.Seed)
	line("seed %d", f.Seed)
	line("start %d", f.Start)
	for _, m := range f.Models {
		line("%s", m)
	}
	for _, n := range f.Nodes {
		if n.Hardware == "hgx-b200" || n.Hardware == "gb200" {
			line("node %s %s", n.ID, n.Hardware)
		} else {
			line("node %s model=%s gpus=%d", n.ID, n.Hardware, n.GPUs)
		}
		for g := range n.GPUs {
			if parts := n.MIG[g]; len(parts) > 0 {
				line("mig %s %d %s", n.ID, g, strings.Trim(fmt.Sprint(parts), "[]"))
			}
		}
		line("boot %s %d", n.ID, n.Boot)
	}
	for _, s := range f.Series {
		fmt.Fprintf(&b, "series %s %d %d", s.Name, s.Start, s.Step)
		for _, v := range s.Values {
			fmt.Fprintf(&b, " %.3g", v)
		}
		b.WriteByte('\n')
	}
	for _, l := range f.Loads {
		gpu := fmt.Sprint(l.GPU)
		if l.Instance >= 0 {
			gpu += fmt.Sprintf(".%d", l.Instance)
		}
		end := l.End
		if end == 0 {
			end = f.End + 24*unit.Hour
		}
		share := ""
		if l.Share < unit.WholeDevice {
			share = fmt.Sprintf(" share=%d", l.Share)
		}
		line("load %s %s %d %d %s%s", l.Node, gpu, l.Start, end, l.Kind, share)
	}
	for _, e := range f.Events {
		line("%s", e)
	}
	return b.String()
}

// Live is a fleet's hardware booted anew at an instant: every GPU that was held at the end of the play is held again, by the
// same tenant, until told otherwise.
func Live(f *Fleet, start unit.Micros) *Fleet {
	start -= start % unit.Millisecond
	out := *f
	out.Name, out.Start, out.End = f.Name+" live", start, start+10*365*24*unit.Hour
	out.Nodes, out.Loads, out.Events, out.Meters = nil, nil, nil, nil
	out.Sites = slices.Clone(f.Sites)
	for i := range out.Sites {
		out.Sites[i].ReadingSource = "" // nobody reads meters live: what they would say is modelled
	}
	for _, n := range f.Nodes {
		n.Boot = start
		out.Nodes = append(out.Nodes, n)
	}
	for _, l := range f.Loads {
		if l.End == 0 {
			l.ID += "-live"
			l.Start = start
			out.Loads = append(out.Loads, l)
		}
	}
	return &out
}
