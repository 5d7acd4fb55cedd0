package closing

import (
	"cmp"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// ownNames gives every allocation of an hour a tenant of its own.
func ownNames(h Hour) {
	for _, n := range h.Nodes {
		for _, d := range n.Devices {
			for i := range d.Allocations {
				d.Allocations[i].Tenant = "tenant of " + d.Allocations[i].ID
			}
		}
	}
}

// copied is an hour whose allocations can be changed.
func copied(h Hour) Hour {
	h.Nodes = slices.Clone(h.Nodes)
	for i := range h.Nodes {
		h.Nodes[i].Devices = slices.Clone(h.Nodes[i].Devices)
		for k := range h.Nodes[i].Devices {
			h.Nodes[i].Devices[k].Allocations = slices.Clone(h.Nodes[i].Devices[k].Allocations)
		}
	}
	return h
}

// lastHeld is a device that is held, and which of its allocations starts last: no other's slots depend on that one.
func lastHeld(t *rapid.T, h Hour) (d *Device, last int) {
	var held []*Device
	for i := range h.Nodes {
		for k := range h.Nodes[i].Devices {
			if d := &h.Nodes[i].Devices[k]; len(d.Allocations) > 0 {
				held = append(held, d)
			}
		}
	}
	if len(held) == 0 {
		return nil, 0
	}
	d = held[rapid.IntRange(0, len(held)-1).Draw(t, "device")]
	for i, a := range d.Allocations {
		b := d.Allocations[last]
		if cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID)) > 0 {
			last = i
		}
	}
	return d, last
}

// Whatever another does, and whatever it is called: no figure of a tenant moves, of energy, carbon, water or else (design §3).
func TestNobodysEdgeOrNameMovesAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHour(t)
		ownNames(h)
		other := copied(h)
		d, i := lastHeld(t, other)
		if d == nil {
			return
		}
		mover := &d.Allocations[i]
		mover.Tenant = "another name"
		switch rapid.IntRange(0, 2).Draw(t, "what") {
		case 0:
			mover.End = mover.Start + unit.Micros(rapid.Int64Range(1, int64(unit.Hour)).Draw(t, "length"))
		case 1:
			mover.Start += unit.Micros(rapid.Int64Range(0, int64(mover.End-mover.Start)-1).Draw(t, "later"))
		}
		figures := func(h Hour) map[string]record.Entry {
			res, err := Close(h)
			if err != nil {
				t.Fatal(err)
			}
			out := map[string]record.Entry{}
			for _, e := range res.Entries {
				if e.Account.Held() && e.Allocation != mover.ID {
					out[e.Allocation] = e
				}
			}
			return out
		}
		before, after := figures(h), figures(other)
		for id, e := range before {
			if !reflect.DeepEqual(e, after[id]) {
				t.Fatalf("allocation %s moved because of %s:\n%+v\n%+v", id, mover.ID, e, after[id])
			}
		}
		if len(after) != len(before) {
			t.Fatalf("%d others hold something, %d did", len(after), len(before))
		}
	})
}

// Under other names an hour has the same figures.
func TestNamesMoveNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHour(t)
		other := copied(h)
		ownNames(other)
		a, errA := Close(h)
		b, errB := Close(other)
		if errA != nil || errB != nil || len(a.Entries) != len(b.Entries) {
			t.Fatalf("%d and %d entries, %v, %v", len(a.Entries), len(b.Entries), errA, errB)
		}
		for i := range a.Entries {
			x, y := a.Entries[i], b.Entries[i]
			y.Tenant = x.Tenant
			if !reflect.DeepEqual(x, y) {
				t.Fatalf("a name moved\n%+v to\n%+v", x, y)
			}
		}
	})
}

// With the same instances all the hour, when they came and went is nothing to it.
func TestOneLayoutIsAsWithoutTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHour(t)
		timed := copied(h)
		for i := range h.Nodes {
			for k := range h.Nodes[i].Devices {
				a, b := &h.Nodes[i].Devices[k], &timed.Nodes[i].Devices[k]
				if a.Kind == record.KindMIG {
					a.From, a.To, b.From, b.To = 0, 0, start-unit.Micros(i), start+unit.Hour+unit.Micros(k)
				}
			}
		}
		a, errA := Close(h)
		b, errB := Close(timed)
		if errA != nil || errB != nil || !reflect.DeepEqual(a.Entries, b.Entries) || !reflect.DeepEqual(a.Cuts, b.Cuts) {
			t.Fatalf("%+v\n%+v\n%v, %v", a.Entries, b.Entries, errA, errB)
		}
	})
}

// Without meters of the site, what happens on one node is nothing to another.
func TestANodeMovesNoOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHour(t)
		h.Readings = nil
		all, err := Close(h)
		if err != nil {
			t.Fatal(err)
		}
		alone := h
		alone.Nodes = h.Nodes[:1]
		one, err := Close(alone)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.DeleteFunc(slices.Clone(all.Entries), func(e record.Entry) bool { return e.Node != h.Nodes[0].ID })
		if !reflect.DeepEqual(one.Entries, want) && len(one.Entries)+len(want) > 0 {
			t.Fatalf("alone the node has\n%+v\nnot\n%+v", one.Entries, want)
		}
	})
}

// What is not known is not made up: sums of the parts of an hour stay within what sensors and bounds allow, and every entry says
// where each of its components comes from.
func TestEveryComponentHasASource(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHour(t)
		res, err := Close(h)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range res.Entries {
			switch {
			case e.NodeRest != 0 && e.RestSource == "", e.ITShared != 0 && e.SharedSource == "", e.Facility != 0 && e.FacilitySource == "",
				e.Water != 0 && e.WaterSource == "", e.HeatReused != 0 && e.HeatSource == "", e.Carbon != 0 && e.Factor == "",
				e.CarbonMarket != 0 && e.FactorMarket == "", e.CarbonEmbodied != 0 && e.FactorEmbodied == "":
				t.Fatalf("a component without a source: %+v", e)
			case e.Modelled != 0 && !slices.Contains(e.Flags, flagRestModelled) && !slices.Contains(e.Flags, flagPUE):
				t.Fatalf("modelled without a flag: %+v", e)
			case e.SharedSource == "" != slices.Contains(e.Flags, flagSharedUnknown):
				t.Fatalf("shared IT: %+v", e)
			case !slices.IsSorted(e.Flags):
				t.Fatalf("flags: %q", e.Flags)
			case e.Uncertainty < max(e.BoundLow, e.BoundHigh):
				t.Fatalf("uncertainty: %+v", e)
			}
		}
	})
}

// What a device's hour says of its quality agrees with its entries.
func TestDeviceHoursAgreeWithEntries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHour(t)
		res, err := Close(h)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		gpu := map[string]unit.Millijoules{}
		sites, cpus := 0, unit.Millijoules(0)
		for _, d := range res.DeviceHours {
			if key := d.Kind + d.Node + d.Device; seen[key] {
				t.Fatalf("two lines of %s", key)
			} else {
				seen[key] = true
			}
			if d.Excess < 0 || d.Covered < 0 || d.Covered > d.Present || d.BoundLow < 0 || d.BoundHigh < 0 {
				t.Fatalf("impossible line %+v", d)
			}
			switch d.Kind {
			case "gpu":
				gpu[d.Device] = d.Counter + d.Estimated
				if wall := d.Allocated + d.Unallocated + d.Unavailable; d.Unavailable < 0 || d.Unallocated < 0 || wall != deviceTime(0, d.Present, 1000) {
					t.Fatalf("device time of %+v is %d", d, wall)
				}
			case "cpu":
				cpus += d.Counter + d.Estimated
			case "site":
				sites++
			}
		}
		parents := map[string]string{}
		for _, n := range h.Nodes {
			for _, d := range n.Devices {
				parents[d.UUID] = d.UUID
				if d.Kind == record.KindMIG {
					parents[d.UUID] = d.Parent
				}
			}
		}
		for _, e := range res.Entries {
			gpu[parents[e.Device]] -= e.GPU
			cpus -= e.CPU
		}
		for uuid, left := range gpu {
			if uuid != "" && left != 0 {
				t.Fatalf("%s: its line and its entries differ by %d mJ", uuid, left)
			}
		}
		if sites != 1 || cpus != 0 {
			t.Fatalf("%d lines of the site, CPUs differ by %d mJ", sites, cpus)
		}
	})
}
