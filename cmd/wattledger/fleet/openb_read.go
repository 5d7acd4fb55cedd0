package fleet

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
)

const (
	maxOpenBGPUs   = 32              // of one node: what the simulated libdcgm plays
	maxOpenBMilli  = 100_000_000     // 100,000 CPUs
	maxOpenBMiB    = 1 << 40         // an exbibyte
	maxOpenBSecond = 100_000_000_000 // three thousand years
)

// never is the end of a pod that does not end, in ms of the trace.
const never = int64(math.MaxInt64)

// openbNode is a row of the node file.
type openbNode struct {
	name             string
	cpuMilli, memMiB int64
	gpus             int
	model            *openbModel
}

// openbPod is a row of the pod file that asks for a GPU and was scheduled.
type openbPod struct {
	name             string
	cpuMilli, memMiB int64
	gpus             int
	milli            int64 // thousandths of each GPU
	spec             []string
	qos              *openbClass
	second           int64 // of scheduling
	start, end       int64 // ms of the trace
}

// trace is what the two files say.
type trace struct {
	nodes []openbNode
	pods  []openbPod
	bad   []BadRow
	// sum identifies the inputs.
	sum [sha256.Size]byte
	// nodesWithoutGPU, rows, neverScheduled, withoutGPU and noTime count what the files hold besides.
	nodesWithoutGPU, rows, neverScheduled, withoutGPU, noTime int
	// first and last scheduling second of the pods that want a GPU.
	first, last int64
}

func readOpenB(opts OpenBOptions) (*trace, error) {
	t := &trace{}
	nodesSum, err := t.readNodes(opts.NodesName, opts.Nodes)
	if err != nil {
		return nil, err
	}
	if len(t.nodes) == 0 {
		return nil, errors.Join(errors.New(opts.NodesName+": no node with a GPU"), firstBad(t.bad))
	}
	podsSum, err := t.readPods(opts.PodsName, opts.Pods, opts.Seed)
	if err != nil {
		return nil, err
	}
	if t.rows == 0 {
		return nil, errors.Join(errors.New(opts.PodsName+": no pod"), firstBad(t.bad))
	}
	t.sum = sha256.Sum256(append(nodesSum[:], podsSum[:]...))
	return t, nil
}

func firstBad(bad []BadRow) error {
	if len(bad) == 0 {
		return nil
	}
	return errors.New("the first row refused: " + bad[0].String())
}

func (t *trace) readNodes(name string, in io.Reader) ([sha256.Size]byte, error) {
	seen := map[string]bool{}
	bad, sum, err := readTable(name, in, []string{"sn", "cpu_milli", "memory_mib", "gpu", "model"}, func(r *tableRow) {
		n := openbNode{
			name: r.name(0), cpuMilli: r.integer(1, 0, maxOpenBMilli), memMiB: r.integer(2, 0, maxOpenBMiB),
			gpus: int(r.integer(3, 0, maxOpenBGPUs)),
		}
		if seen[n.name] {
			r.refuse(0, "node %s stands there twice", n.name)
		}
		if r.first != nil {
			return
		}
		if n.gpus == 0 {
			seen[n.name] = true
			t.nodesWithoutGPU++
			return
		}
		n.model = findOpenBModel(r.values[4])
		if n.model == nil {
			r.refuse(4, "model is %s; known are %s", shown(r.values[4]), strings.Join(openbModelNames(), ", "))
			return
		}
		seen[n.name] = true
		t.nodes = append(t.nodes, n)
	})
	t.bad = append(t.bad, bad...)
	return sum, err
}

func (t *trace) readPods(name string, in io.Reader, seed uint64) ([sha256.Size]byte, error) {
	columns := []string{
		"name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec", "qos", "pod_phase", "creation_time", "deletion_time",
		"scheduled_time",
	}
	seen := map[string]bool{}
	last := int64(-1) // the last second of the trace
	var running []int // pods that were running then, by index
	bad, sum, err := readTable(name, in, columns, func(r *tableRow) {
		p := openbPod{
			name: r.name(0), cpuMilli: r.integer(1, 0, maxOpenBMilli), memMiB: r.integer(2, 0, maxOpenBMiB),
			gpus: int(r.integer(3, 0, maxOpenBGPUs)), milli: r.integer(4, 0, 1000), qos: findOpenBClass(r.values[6]),
		}
		switch {
		case seen[p.name]:
			r.refuse(0, "pod %s stands there twice", p.name)
		case p.gpus == 0 && p.milli != 0:
			r.refuse(4, "gpu_milli is %d for a pod without a GPU; write 0, or num_gpu 1", p.milli)
		case p.gpus == 1 && p.milli == 0:
			r.refuse(4, "gpu_milli is 0 for a pod with a GPU; write 1 to 1000")
		case p.gpus > 1 && p.milli != 1000:
			r.refuse(4, "gpu_milli is %d for a pod with %d GPUs; only a single GPU can be shared, write 1000", p.milli, p.gpus)
		case p.qos == nil:
			r.refuse(6, "qos is %s; known are %s", shown(r.values[6]), strings.Join(openbClassNames(), ", "))
		}
		for _, spec := range strings.Split(r.values[5], "|") {
			if spec = strings.TrimSpace(spec); spec != "" {
				p.spec = append(p.spec, spec)
			}
		}
		created := r.integer(8, 0, maxOpenBSecond)
		deleted, scheduled := int64(-1), int64(-1)
		if r.values[9] != "" {
			deleted = r.integer(9, 0, maxOpenBSecond)
		}
		if r.values[10] != "" {
			scheduled = r.integer(10, 0, maxOpenBSecond)
		}
		if deleted >= 0 && deleted < max(created, scheduled) {
			r.refuse(9, "deletion_time %d lies before creation (%d) or scheduling (%d)", deleted, created, scheduled)
		}
		if scheduled >= 0 && scheduled < created {
			r.refuse(10, "scheduled_time %d lies before creation_time %d", scheduled, created)
		}
		if r.first != nil {
			return
		}
		seen[p.name] = true
		t.rows++
		if deleted > last {
			last, running = deleted, running[:0]
		}
		switch {
		case scheduled < 0:
			t.neverScheduled++
			return
		case p.gpus == 0:
			t.withoutGPU++
			return
		case deleted == scheduled:
			t.noTime++
			return
		}
		// Edges of the trace are whole seconds, on which collectors read. A millisecond of each pod's own keeps edges away from
		// samples; it moves start and end alike, so that the length stays.
		shift := 1 + int64(openbHash(seed, "edge", p.name)%999)
		p.second, p.start, p.end = scheduled, scheduled*1000+shift, never
		if deleted >= 0 {
			p.end = deleted*1000 + shift
		}
		if deleted == last && r.values[7] == "Running" {
			running = append(running, len(t.pods))
		}
		t.pods = append(t.pods, p)
	})
	t.bad = append(t.bad, bad...)
	// The trace writes its own last second as the deletion of what was still running when it was taken.
	for _, i := range running {
		t.pods[i].end = never
	}
	slices.SortStableFunc(t.pods, func(a, b openbPod) int { return cmp.Compare(a.start, b.start) })
	if n := len(t.pods); n > 0 {
		t.first, t.last = t.pods[0].second, t.pods[n-1].second
	}
	return sum, err
}

// openbHash is a number that depends on the seed, on what it is for and on a name, and on nothing else.
func openbHash(seed uint64, what, name string) uint64 {
	const prime = 0x100000001b3
	h := uint64(0xcbf29ce484222325) ^ mix(seed+0x9e3779b97f4a7c15)
	for _, s := range []string{what, "/", name} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * prime
		}
	}
	return mix(h)
}
