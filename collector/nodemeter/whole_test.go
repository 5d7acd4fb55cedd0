package nodemeter

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestWholeOfANode(t *testing.T) {
	part := func(name, quantity, of, module string) Part {
		return Part{Name: name, Quantity: quantity, Of: of, Module: module}
	}
	f := func(complete bool, parts []Part, want ...string) {
		t.Helper()
		whole, all := Whole(parts)
		var got []string
		for _, i := range whole {
			got = append(got, parts[i].Name)
		}
		if !slices.Equal(got, want) || all != complete {
			t.Errorf("the whole is %v (complete %t), want %v (%t)", got, all, want, complete)
		}
	}
	bmc := part("bmc", "node_energy", "", "")
	acpi := part("acpi", "node_energy", "", "")
	m0, m1 := part("m0", "module_energy", "module0", "0"), part("m1", "module_energy", "module1", "1")
	c0, c1 := part("c0", "cpu_energy", "cpu0", "0"), part("c1", "cpu_energy", "cpu1", "1")
	g0, g2, loose := part("g0", GPUEnergy, "GPU-0", "0"), part("g2", GPUEnergy, "GPU-2", "2"), part("g", GPUEnergy, "GPU-9", "")
	sw, dram := part("sw", "switch_energy", "", ""), part("dram", "dram_energy", "dram0", "")
	rapl := part("rapl", "cpu_energy", "cpu0", "")
	hard := rapl
	hard.Name, hard.Counter = "z", true

	f(true, []Part{bmc, m0, m1, c0, g0, sw}, "bmc")            // all is in the node meter
	f(true, []Part{bmc, acpi}, "acpi")                         // two views of one thing: one is taken
	f(false, []Part{m0, m1, c0, c1, g0, sw}, "m0", "m1", "sw") // a module holds its CPU and its GPUs, no switch
	f(false, []Part{m0, c0, c1, g2}, "m0", "c1", "g2")         // module 1 has no meter: its CPU counts itself
	f(false, []Part{m0, loose, rapl, dram}, "m0")              // may be inside: not added
	f(false, []Part{rapl, dram, loose, sw}, "rapl", "dram", "g", "sw")
	f(false, []Part{rapl, hard}, "z") // a counter before an integral
	f(false, nil)
}

// Whatever a node is made of and whichever of it is metered, in how many ways: no joule is in two parts of the whole, a
// meter of the node is the whole, and what is known to be outside of everything metered is not left out.
func TestNoJouleIsCountedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		modules := rapid.IntRange(0, 4).Draw(t, "modules")
		var parts []Part
		holds := [][]string{} // per part, the leaves whose energy it contains
		all := map[string]bool{}
		meter := func(p Part, leaves ...string) {
			for n := range rapid.IntRange(0, 2).Draw(t, "meters of "+p.Of) {
				p.Name, p.Counter = fmt.Sprintf("%s-%d", p.Of, n), rapid.Bool().Draw(t, "counter")
				parts, holds = append(parts, p), append(holds, leaves)
			}
		}
		for m := range modules + 1 { // the last is no module: what stands on the board itself
			id := fmt.Sprint(m)
			known := func() string {
				if m == modules || rapid.Bool().Draw(t, "says its module") {
					if m == modules && modules > 0 {
						return "" // nothing says that it is outside
					}
					return id
				}
				return ""
			}
			leaves := []string{"regulators" + id}
			for _, kind := range []string{"cpu", "dram", "gpu"} {
				for n := range rapid.IntRange(0, 2).Draw(t, kind) {
					leaf := fmt.Sprintf("%s%s.%d", kind, id, n)
					leaves = append(leaves, leaf)
					meter(Part{Quantity: kind + "_energy", Of: leaf, Module: known()}, leaf)
				}
			}
			if m < modules {
				meter(Part{Quantity: "module_energy", Of: "module" + id, Module: id}, leaves...)
			}
			for _, l := range leaves {
				all[l] = true
			}
		}
		meter(Part{Quantity: "switch_energy", Of: "switch"}, "switch")
		all["switch"] = true
		var node []string
		for l := range all {
			node = append(node, l)
		}
		meter(Part{Quantity: "node_energy", Of: "node"}, node...)
		order := rapid.Permutation(indexes(len(parts))).Draw(t, "order")
		shuffled := make([]Part, len(parts))
		for to, from := range order {
			shuffled[to] = parts[from]
		}

		whole, complete := Whole(shuffled)
		counted := map[string]string{}
		for _, i := range whole {
			for _, leaf := range holds[order[i]] {
				if other := counted[leaf]; other != "" {
					t.Fatalf("%s is in %s and in %s", leaf, other, shuffled[i].Name)
				}
				counted[leaf] = shuffled[i].Name
			}
		}
		if complete != slices.ContainsFunc(parts, func(p Part) bool { return p.Quantity == "node_energy" }) || complete && len(counted) != len(all) {
			t.Fatalf("complete is %t with %d of %d things counted", complete, len(counted), len(all))
		}
		metered := map[string]bool{}
		for _, p := range parts {
			metered[p.Module] = metered[p.Module] || p.Quantity == "module_energy"
		}
		anyModule := slices.ContainsFunc(parts, func(p Part) bool { return p.Quantity == "module_energy" })
		for i, p := range parts {
			outside := p.Quantity == "switch_energy" || !anyModule || p.Module != "" && !metered[p.Module]
			for _, leaf := range holds[i] {
				if counted[leaf] == "" && (outside || p.Quantity == "module_energy") {
					t.Fatalf("%s is metered by %+v and outside of every module, but not counted", leaf, p)
				}
			}
		}
		again := slices.Clone(whole)
		if w, _ := Whole(shuffled); !slices.Equal(w, again) {
			t.Fatalf("asked twice, the whole is %v and %v", again, w)
		}
	})
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
