package fleet

import (
	"slices"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/schemas/record"
)

func TestDemoIsSoundForManySeeds(t *testing.T) {
	for seed := uint64(1); seed <= 50; seed++ {
		f := Demo(seed, start, 24)
		sound(t, f)
		if f.GPUs() != 144 || len(f.Tenants) != 10 || len(f.Nodes) != 20 || len(f.Sites) != 2 {
			t.Errorf("seed %d: %d GPUs, %d tenants, %d nodes, %d sites; want 144, 10, 20, 2", seed, f.GPUs(), len(f.Tenants), len(f.Nodes), len(f.Sites))
		}
		if violations(f) == 0 {
			t.Errorf("seed %d: nobody works where its policy forbids", seed)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// violations counts the allocations of tenants that allow France alone, at a site in Sweden.
func violations(f *Fleet) int {
	site, tenant := map[string]record.Site{}, map[string]record.Tenant{}
	for _, n := range f.Nodes {
		site[n.ID] = f.siteOf(n.Site)
	}
	for _, x := range f.Tenants {
		tenant[x.ID] = x
	}
	n := 0
	for _, l := range f.Loads {
		if slices.Equal(tenant[l.Tenant].AllowedCountries, []string{"FR"}) && site[l.Node].Country == "SE" {
			n++
		}
	}
	return n
}

// A short play is a demo too, down to a single hour.
func TestDemoOfAnyLength(t *testing.T) {
	for seed := uint64(1); seed <= 50; seed++ {
		for _, hours := range []int{1, 2, 6, 48} {
			f := Demo(seed, start, hours)
			sound(t, f)
			if t.Failed() {
				t.Fatalf("seed %d, %d hours", seed, hours)
			}
		}
	}
}

func TestDemoIsTheSameForTheSameSeed(t *testing.T) {
	a, b, c := Demo(7, start, 24), Demo(7, start, 24), Demo(8, start, 24)
	if a.Scenario() != b.Scenario() {
		t.Error("two scenarios of one seed differ")
	}
	if !slices.Equal(allocations(a), allocations(b)) {
		t.Error("two plays of one seed have other allocations")
	}
	if a.Scenario() == c.Scenario() || slices.Equal(allocations(a), allocations(c)) {
		t.Error("seeds 7 and 8 give the same")
	}
}

func allocations(f *Fleet) []record.Allocation {
	var out []record.Allocation
	for _, l := range f.Loads {
		out = append(out, l.Allocation)
	}
	return out
}

// No table of the demo may be empty.
func TestDemoHasSomethingOfEverything(t *testing.T) {
	for seed := uint64(1); seed <= 50; seed++ {
		f := Demo(seed, start, 24)
		found := map[string]bool{}
		for _, l := range f.Loads {
			found[l.Kind], found[l.Tenant] = true, true
			found["shared"] = found["shared"] || l.Share < 1000
			found["instance"] = found["instance"] || l.Instance >= 0
			found["running"] = found["running"] || l.End == 0
		}
		for _, e := range f.Events {
			found[strings.Fields(e)[0]] = true
		}
		want := []string{"training", "inference", "idle", "shared", "instance", "running", "reset", "missing", "xid"}
		for _, x := range f.Tenants {
			want = append(want, x.ID)
		}
		for _, w := range want {
			if !found[w] {
				t.Errorf("seed %d: nothing %s", seed, w)
			}
		}
	}
}

// The scheduler knows devices by the UUIDs that this package derives; the simulated library derives its own.
func TestDevicesAreThoseOfTheLibrary(t *testing.T) {
	for _, seed := range []uint64{1, 7, 1 << 62} {
		f := Demo(seed, start, 24)
		_, sim := simtest.Play(t, f.Scenario())
		for _, n := range f.Nodes {
			for g := range n.GPUs {
				if got, err := sim.GPUUUID(n.ID, g); err != nil || got != GPUUUID(seed, n.ID, g) {
					t.Errorf("seed %d, GPU %d of %s: library %q (%v), fleet %q", seed, g, n.ID, got, err, GPUUUID(seed, n.ID, g))
				}
				for i := range n.MIG[g] {
					if got, err := sim.MIGUUID(n.ID, g, i); err != nil || got != MIGUUID(seed, n.ID, g, i) {
						t.Errorf("seed %d, instance %d.%d of %s: library %q (%v), fleet %q", seed, g, i, n.ID, got, err, MIGUUID(seed, n.ID, g, i))
					}
				}
			}
		}
	}
}

// Every length of the demo, and what goes on living after it, can be played.
func TestTheLibraryTakesTheScenario(t *testing.T) {
	for seed := uint64(1); seed <= 12; seed++ {
		for _, hours := range []int{1, 2, 24} {
			f := Demo(seed, start, hours)
			simtest.Play(t, f.Scenario())
			simtest.Play(t, Live(f, f.End+12345).Scenario())
		}
	}
}
