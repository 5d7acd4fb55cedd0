package fleet

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// OpenBOptions say which part of a scheduler trace is played (docs/demo-openb.md).
type OpenBOptions struct {
	// Nodes and Pods are the node and pod files of the trace, Duty GPU duty cycles by container or nil. Each may be gzipped.
	Nodes, Pods, Duty io.Reader
	// The names are what messages call the files. Empty: nodes.csv, pods.csv, duty.
	NodesName, PodsName, DutyName string
	// From is the second of the trace that becomes Start; Hours is how long the window is.
	From  int64
	Hours int
	Start unit.Micros
	Seed  uint64
	// MaxNodes plays at most so many nodes, taken evenly from the whole file so that the mix of models stays; pods are placed on
	// these alone. 0: all.
	MaxNodes int
	// MaxSeries bounds how many duty series are used. 0: 128.
	MaxSeries int
	// Site is where it plays; without an id, the fictional site "openb" in Germany.
	Site record.Site
}

// OpenBReport says what was played of a trace, and what was not. Of the pods that were read,
// Pods = NeverScheduled + WithoutGPU + NoTime + NoRoom + Earlier + InWindow + Later.
type OpenBReport struct {
	// Nodes and GPUs are those of the file, NodesWithoutGPU further rows that are passed over.
	Nodes           int `json:"nodes"`
	GPUs            int `json:"gpus"`
	NodesWithoutGPU int `json:"nodes_without_gpu"`
	NodesPlayed     int `json:"nodes_played"`
	GPUsPlayed      int `json:"gpus_played"`
	// Pods are the good rows.
	Pods int `json:"pods"`
	// NeverScheduled have no scheduled_time, WithoutGPU asked for none, NoTime ended the second they began.
	NeverScheduled int `json:"never_scheduled"`
	WithoutGPU     int `json:"without_gpu"`
	NoTime         int `json:"no_time"`
	// NoRoom found no node up to the end of the window: first fit is not the trace's own placement, and a part of the nodes holds less.
	NoRoom int `json:"no_room"`
	// Earlier had ended before the window, Later start after it and were not placed.
	Earlier int `json:"earlier"`
	Later   int `json:"later"`
	// InWindow hold a GPU in the window, as so many Allocations (one a GPU). Shared of the pods hold part of a GPU; Clipped ran
	// already and begin at Start, since the play has no earlier hour; Open still run at the end.
	InWindow    int `json:"in_window"`
	Allocations int `json:"allocations"`
	Shared      int `json:"shared"`
	Clipped     int `json:"clipped"`
	Open        int `json:"open_at_end"`
	// PeakPods and PeakThousandths are the most pods and thousandths of GPUs held at one time in the window.
	PeakPods        int   `json:"peak_pods"`
	PeakThousandths int64 `json:"peak_thousandths"`
	// Containers have duty data enough, Series of them are used; DutyStep is their step.
	Containers int         `json:"containers"`
	Series     int         `json:"series"`
	DutyStep   unit.Micros `json:"duty_step_us"`
	// Bad are the rows that were refused.
	Bad []BadRow `json:"bad_rows"`
	// Assumed says what is ours and not the trace's.
	Assumed []string `json:"assumed"`
}

// defaultOpenBSeries bounds the utilisation series.
const defaultOpenBSeries = 128

func (o *OpenBOptions) complete() error {
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(o.Nodes == nil, "no node file")
	wrong(o.Pods == nil, "no pod file")
	wrong(o.From < 0 || o.From > maxOpenBSecond, "from %d: write a second of the trace, from 0", o.From)
	wrong(o.Hours < 1 || o.Hours > 24*366, "%d hours: write from 1 to %d", o.Hours, 24*366)
	wrong(o.Start <= 0 || o.Start%unit.Second != 0, "start %d: write an instant on a whole second", o.Start)
	wrong(o.MaxNodes < 0, "at most %d nodes: write 0 for all", o.MaxNodes)
	wrong(o.MaxSeries < 0, "at most %d series: write 0 for %d", o.MaxSeries, defaultOpenBSeries)
	set := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	set(&o.NodesName, "nodes.csv")
	set(&o.PodsName, "pods.csv")
	set(&o.DutyName, "duty")
	if o.MaxSeries == 0 {
		o.MaxSeries = defaultOpenBSeries
	}
	if o.Site.ID == "" {
		o.Site = record.Site{
			ID: "openb", Country: "DE", Zone: "DE", Operator: "Fictional OpenB Cloud GmbH", OperatorCountry: "DE", PUEThousandths: 1300,
			AllocationSource: "first-fit-openb",
		}
	}
	set(&o.Site.AllocationSource, "first-fit-"+o.Site.ID)
	return errors.Join(errs...)
}

// OpenB is a window of a scheduler trace in the format of Alibaba's cluster-trace-gpu-v2023, as a fleet of the shape of its nodes.
//
// The trace says which pods ran when and what they asked for. Where they ran, what power they drew and whose they were it does
// not say: they are placed by first fit, utilisation comes from another trace or from a hash, power from the model table, tenants
// from QoS and a hash, and the report says so. Everything is a function of the files and the options.
func OpenB(opts OpenBOptions) (*Fleet, OpenBReport, error) {
	var rep OpenBReport
	if err := opts.complete(); err != nil {
		return nil, rep, fmt.Errorf("play a trace: %w", err)
	}
	t, err := readOpenB(opts)
	if err != nil {
		return nil, rep, fmt.Errorf("read trace: %w", err)
	}
	rep.Nodes, rep.NodesWithoutGPU, rep.Pods, rep.Bad = len(t.nodes), t.nodesWithoutGPU, t.rows, t.bad
	rep.NeverScheduled, rep.WithoutGPU, rep.NoTime = t.neverScheduled, t.withoutGPU, t.noTime
	for _, n := range t.nodes {
		rep.GPUs += n.gpus
	}
	d, err := readDuty(opts, &rep)
	if err != nil {
		return nil, rep, fmt.Errorf("read duty cycles: %w", err)
	}
	nodes := t.nodes
	if opts.MaxNodes > 0 && opts.MaxNodes < len(nodes) {
		nodes = make([]openbNode, opts.MaxNodes)
		for i := range nodes {
			nodes[i] = t.nodes[i*len(t.nodes)/opts.MaxNodes]
		}
	}
	sum := sha256.Sum256(append(t.sum[:], d.sum[:]...))
	f := &Fleet{
		Name: fmt.Sprintf("openb from %d, %d of %d nodes, %d series, site %s, data %x", opts.From, len(nodes), len(t.nodes), opts.MaxSeries,
			opts.Site.ID, sum[:6]),
		Seed: opts.Seed, Start: opts.Start, End: opts.Start + unit.Micros(opts.Hours)*unit.Hour,
		Sites: []record.Site{opts.Site}, Tenants: openbTenants(),
	}
	if err := f.addOpenBNodes(nodes); err != nil {
		return nil, rep, err
	}
	rep.NodesPlayed, rep.GPUsPlayed = len(f.Nodes), f.GPUs()
	until := (opts.From + int64(opts.Hours)*3600) * 1000
	placed, noRoom := firstFit(nodes, t.pods, until)
	rep.NoRoom, rep.Later = noRoom, len(t.pods)-len(placed)-noRoom
	from := opts.From * 1000
	for _, pl := range placed {
		if pl.pod.end <= from {
			rep.Earlier++
			continue
		}
		f.addOpenBPod(pl, from, until, d, &rep)
	}
	f.Series = d.used(opts.Start)
	rep.Series = len(f.Series)
	rep.peak(placed, from, until)
	rep.assume(opts)
	if rep.InWindow == 0 {
		return nil, rep, fmt.Errorf("no pod with a GPU runs from second %d to %d of the trace: pods are scheduled from %d to %d; choose another second, or more nodes",
			opts.From, until/1000, t.first, t.last)
	}
	return f, rep, nil
}

func (f *Fleet) addOpenBNodes(nodes []openbNode) error {
	models, err := factor.Models()
	if err != nil {
		return fmt.Errorf("read model table: %w", err)
	}
	used := map[string]bool{}
	for i, n := range nodes {
		used[n.model.name] = true
		// Nodes come up within the first four seconds, off the whole second on which collectors read.
		boot := f.Start + unit.Micros(1+openbHash(f.Seed, "boot", n.name)%999+1000*uint64(i%4))*unit.Millisecond
		f.Nodes = append(f.Nodes, Node{
			Node: record.Node{
				ID: n.name, Site: f.Sites[0].ID, Rack: fmt.Sprintf("r%03d", i/16+1), Model: fmt.Sprintf("%d x %s", n.gpus, n.model.product),
				RestMilliwatts: openbRest(n), From: boot,
			},
			Boot: boot, Hardware: n.model.name, GPUs: n.gpus,
		})
	}
	for i := range openbModels {
		m := &openbModels[i]
		if !used[m.name] {
			continue
		}
		power, ok := factor.FindModel(models, m.product)
		if !ok {
			return fmt.Errorf("the model table has no power for %s", m.product)
		}
		f.Models = append(f.Models, m.line(power))
	}
	return nil
}

// addOpenBPod books a pod's GPUs for its tenant. An end after the play leaves the allocations running.
func (f *Fleet) addOpenBPod(pl placement, from, until int64, d *duty, rep *OpenBReport) {
	p := pl.pod
	instant := func(ms int64) unit.Micros { return f.Start + unit.Micros(ms-from)*unit.Millisecond }
	start, end := instant(max(p.start, from)), unit.Micros(0)
	if p.end < until {
		end = instant(p.end)
	} else {
		rep.Open++
	}
	if p.start < from {
		rep.Clipped++
	}
	if p.milli < int64(unit.WholeDevice) {
		rep.Shared++
	}
	rep.InWindow++
	rep.Allocations += len(pl.gpus)
	node, kind := f.Nodes[pl.node], d.kind(f.Seed, p.name)
	for _, g := range pl.gpus {
		f.Loads = append(f.Loads, Load{
			Allocation: record.Allocation{
				ID: fmt.Sprintf("%s-%d", p.name, g), Device: GPUUUID(f.Seed, node.ID, g), Share: unit.Thousandths(p.milli), Start: start, End: end,
				Tenant: p.qos.tenant(p.name), Project: "openb-" + p.qos.code, Workload: p.name, Purpose: p.qos.purpose,
				Scheduler: f.Sites[0].AllocationSource + "/pod/" + p.name,
			},
			Node: node.ID, GPU: g, Instance: -1, Kind: kind,
		})
	}
}

// peak finds the busiest moment of the window. Load only rises where a pod starts.
func (rep *OpenBReport) peak(placed []placement, from, until int64) {
	var running []placement
	for _, pl := range placed {
		now := max(pl.pod.start, from)
		kept := running[:0]
		for _, r := range running {
			if r.pod.end > now {
				kept = append(kept, r)
			}
		}
		running = kept
		if pl.pod.end <= from || pl.pod.start >= until {
			continue
		}
		running = append(running, pl)
		held := int64(0)
		for _, r := range running {
			held += r.pod.milli * int64(len(r.gpus))
		}
		rep.PeakPods = max(rep.PeakPods, len(running))
		rep.PeakThousandths = max(rep.PeakThousandths, held)
	}
}

func (rep *OpenBReport) assume(opts OpenBOptions) {
	add := func(format string, args ...any) { rep.Assumed = append(rep.Assumed, fmt.Sprintf(format, args...)) }
	add("placement: first fit in the order of the node file, ours; the trace holds none")
	if rep.NodesPlayed < rep.Nodes {
		add("nodes: %d of %d, taken evenly", rep.NodesPlayed, rep.Nodes)
	}
	if rep.Clipped > 0 {
		add("start: %d pods ran already at second %d and are held from the play's start", rep.Clipped, opts.From)
	}
	add("edges: moved by 1 to 999 ms, the same for start and end of a pod, so that none falls on a sample")
	add("tenants: %d fictional ones, from QoS and a hash of the pod's name; purpose from QoS", len(openbTenants()))
	if rep.Series > 0 {
		add("utilisation: %d duty-cycle series of another service, one a pod by hash, repeated", rep.Series)
	} else {
		add("utilisation: constant for each pod, by hash")
	}
	add("power: limits from data sheets, idle power assumed; G2 and G3 are undisclosed, 150 W and 400 W assumed")
	add("node rest: 60 W + 2 W for each logical CPU + 20 W for each GPU, assumed")
	add("site: %s in %s, fictional, PUE %d.%03d", opts.Site.ID, opts.Site.Country, opts.Site.PUEThousandths/1000, opts.Site.PUEThousandths%1000)
}
