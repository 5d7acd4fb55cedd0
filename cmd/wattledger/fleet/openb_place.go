package fleet

import (
	"container/heap"
	"slices"
)

// placement is where a pod lies.
type placement struct {
	pod  *openbPod
	node int
	gpus []int
}

// cluster is what of the nodes is free.
type cluster struct {
	nodes []openbNode
	cpu   []int64
	mem   []int64
	gpu   [][]int64 // thousandths of each GPU
}

func newCluster(nodes []openbNode) *cluster {
	c := &cluster{nodes: nodes}
	for _, n := range nodes {
		free := make([]int64, n.gpus)
		for g := range free {
			free[g] = 1000
		}
		c.cpu, c.mem, c.gpu = append(c.cpu, n.cpuMilli), append(c.mem, n.memMiB), append(c.gpu, free)
	}
	return c
}

// place is first fit: the first node of the file with enough CPU, memory and GPU of a model that the pod accepts, and on it
// the first GPUs that will do. A part of a GPU goes on the first GPU with so much free, whole GPUs must be empty.
func (c *cluster) place(p *openbPod) (placement, bool) {
	for i, n := range c.nodes {
		if c.cpu[i] < p.cpuMilli || c.mem[i] < p.memMiB || n.gpus < p.gpus {
			continue
		}
		if len(p.spec) > 0 && !slices.Contains(p.spec, n.model.name) {
			continue
		}
		var gpus []int
		for g, free := range c.gpu[i] {
			if free >= p.milli {
				if gpus = append(gpus, g); len(gpus) == p.gpus {
					pl := placement{pod: p, node: i, gpus: gpus}
					c.take(pl, 1)
					return pl, true
				}
			}
		}
	}
	return placement{}, false
}

// take holds what a placement needs, or frees it with sign −1.
func (c *cluster) take(pl placement, sign int64) {
	c.cpu[pl.node] -= sign * pl.pod.cpuMilli
	c.mem[pl.node] -= sign * pl.pod.memMiB
	for _, g := range pl.gpus {
		c.gpu[pl.node][g] -= sign * pl.pod.milli
	}
}

// firstFit places pods, which come in order of their start, up to a moment; what ends at an instant makes room for what starts
// at it. The pods for which there is no room then are counted: they do not wait, since the trace says when they ran.
func firstFit(nodes []openbNode, pods []openbPod, until int64) (placed []placement, noRoom int) {
	c := newCluster(nodes)
	var running ends
	for i := range pods {
		p := &pods[i]
		if p.start >= until {
			break
		}
		for len(running) > 0 && running[0].pod.end <= p.start {
			c.take(heap.Pop(&running).(placement), -1)
		}
		pl, ok := c.place(p)
		if !ok {
			noRoom++
			continue
		}
		heap.Push(&running, pl)
		placed = append(placed, pl)
	}
	return placed, noRoom
}

// ends is a heap of placements by end.
type ends []placement

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].pod.end < e[j].pod.end }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(placement)) }
func (e *ends) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}
