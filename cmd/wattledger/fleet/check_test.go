package fleet

import (
	"cmp"
	"slices"
	"testing"

	"github.com/wattledger/wattledger/schemas/unit"
)

// failer is a test or a drawn case of one.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
}

// sound checks what holds for every fleet: valid allocations with ids of their own, of devices and tenants that exist, never more
// than a whole device at a time, edges on whole milliseconds but on no whole second, except the start of what ran already.
func sound(t failer, f *Fleet) {
	t.Helper()
	nodes := map[string]Node{}
	for _, n := range f.Nodes {
		if _, twice := nodes[n.ID]; twice {
			t.Errorf("node %s twice", n.ID)
		}
		nodes[n.ID] = n
		if n.Boot <= f.Start || n.Boot >= f.Start+10*unit.Second || n.Boot%unit.Millisecond != 0 || n.Boot%unit.Second == 0 || n.From != n.Boot {
			t.Errorf("node %s boots %d µs after the start and is expected from %d on", n.ID, n.Boot-f.Start, n.From-f.Start)
		}
	}
	tenants := map[string]bool{}
	for _, x := range f.Tenants {
		tenants[x.ID] = true
	}
	ids := map[string]bool{}
	for _, l := range f.Loads {
		if err := l.Validate(); err != nil {
			t.Errorf("allocation %s: %v", l.ID, err)
		}
		if ids[l.ID] {
			t.Errorf("allocation %s twice", l.ID)
		}
		ids[l.ID] = true
		if !tenants[l.Tenant] {
			t.Errorf("allocation %s: no tenant %s", l.ID, l.Tenant)
		}
		n, ok := nodes[l.Node]
		if !ok || l.GPU < 0 || l.GPU >= n.GPUs {
			t.Errorf("allocation %s: node %s has no GPU %d", l.ID, l.Node, l.GPU)
		}
		want := GPUUUID(f.Seed, l.Node, l.GPU)
		if l.Instance >= 0 {
			want = MIGUUID(f.Seed, l.Node, l.GPU, l.Instance)
		}
		if l.Device != want {
			t.Errorf("allocation %s holds %s, which is not GPU %d of %s", l.ID, l.Device, l.GPU, l.Node)
		}
		for _, at := range []unit.Micros{l.Start, l.End} {
			if at == 0 || at == f.Start && at == l.Start {
				continue
			}
			if at < f.Start || at >= f.End {
				t.Errorf("allocation %s has an edge at %s, outside the play", l.ID, at.Time())
			}
			if at%unit.Millisecond != 0 || at%unit.Second == 0 {
				t.Errorf("allocation %s has an edge at %s, which is a whole second or no whole millisecond", l.ID, at.Time())
			}
		}
	}
	overbooked(t, f)
}

// overbooked walks the edges of every device.
func overbooked(t failer, f *Fleet) {
	t.Helper()
	type edge struct {
		at   unit.Micros
		by   unit.Thousandths
		load string
	}
	devices := map[string][]edge{}
	for _, l := range f.Loads {
		devices[l.Device] = append(devices[l.Device], edge{l.Start, l.Share, l.ID})
		if l.End != 0 {
			devices[l.Device] = append(devices[l.Device], edge{l.End, -l.Share, l.ID})
		}
	}
	for device, edges := range devices {
		slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.by, b.by)) })
		held := unit.Thousandths(0)
		for _, e := range edges {
			if held += e.by; held > unit.WholeDevice {
				t.Errorf("%d thousandths of %s are held from %s on, with %s", held, device, e.at.Time(), e.load)
			}
		}
	}
}

func TestOverbookingIsSeen(t *testing.T) {
	f := Demo(1, start, 24)
	l := f.Loads[0]
	l.ID += "-again"
	f.Loads = append(f.Loads, l)
	var c counter
	sound(&c, f)
	if c == 0 {
		t.Error("a device held twice passes as sound")
	}
}

// counter counts faults instead of failing.
type counter int

func (c *counter) Helper()               {}
func (c *counter) Errorf(string, ...any) { *c++ }
