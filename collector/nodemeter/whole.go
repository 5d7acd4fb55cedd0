package nodemeter

import (
	"cmp"
	"slices"
)

// GPUEnergy is the quantity of a GPU's own counter, which travels in samples and not in readings.
const GPUEnergy = "gpu_energy"

// Part is something on a node whose energy is known.
type Part struct {
	Name string
	// Quantity is one of record.ReadingUnits, or GPUEnergy.
	Quantity string
	// Of is the thing that is measured: a UUID, cpu0, module1. Two parts of one quantity and one thing are two ways to read
	// the same energy. Empty means the name.
	Of string
	// Module is the superchip module that the thing is on. Empty means that it is not known, or that there are no modules.
	Module string
	// Counter says that the energy is counted and not integrated.
	Counter bool
}

// Whole says which parts, added up, are the energy of the node as far as it is metered; complete says that this is all of it.
// It returns positions in parts, in rising order. No joule is in two of them:
//
//   - A node meter is the whole, and everything else is inside it. Of several, one is taken.
//   - The meter of a module holds the CPU, the GPUs, the memory and the regulators of that module. None of these is added to
//     it, and neither is a part that does not say which module it is on: it may be inside.
//   - A switch is outside of every module.
//   - Of two ways to read the same thing one is taken: a counter before an integral, then the lower name.
func Whole(parts []Part) (whole []int, complete bool) {
	best := map[[2]string]int{}
	better := func(a, b int) bool { // whether a is to be taken before b
		x, y := parts[a], parts[b]
		if x.Counter != y.Counter {
			return x.Counter
		}
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(a, b)) < 0
	}
	take := func(key [2]string, i int) {
		if j, ok := best[key]; !ok || better(i, j) {
			best[key] = i
		}
	}
	modules := map[string]bool{}
	for i, p := range parts {
		switch p.Quantity {
		case "node_energy":
			take([2]string{"node_energy"}, i)
			complete = true
		case "module_energy":
			modules[module(p)] = true
		}
	}
	if complete {
		return []int{best[[2]string{"node_energy"}]}, true
	}
	for i, p := range parts {
		switch p.Quantity {
		case "module_energy":
			take([2]string{p.Quantity, module(p)}, i)
		case "switch_energy":
			take([2]string{p.Quantity, of(p)}, i)
		case "cpu_energy", "dram_energy", GPUEnergy:
			if len(modules) > 0 && (p.Module == "" || modules[p.Module]) {
				continue
			}
			take([2]string{p.Quantity, of(p)}, i)
		}
	}
	for _, i := range best {
		whole = append(whole, i)
	}
	slices.Sort(whole)
	return whole, false
}

func of(p Part) string { return cmp.Or(p.Of, p.Name) }

// module is the module that a module's meter measures.
func module(p Part) string { return cmp.Or(p.Module, of(p)) }
