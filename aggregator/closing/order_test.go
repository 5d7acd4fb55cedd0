package closing

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
)

// The entries of an hour are the same whatever order its nodes, devices, allocations and readings are handed over in.
func TestEntriesDoNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHour(t)
		want, err := Close(h)
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 3))
		other := h
		other.Nodes, other.Readings = shuffled(rng, h.Nodes), shuffled(rng, h.Readings)
		for i := range other.Nodes {
			other.Nodes[i].Devices = shuffled(rng, other.Nodes[i].Devices)
			other.Nodes[i].Readings = append(shuffled(rng, other.Nodes[i].Readings), other.Nodes[i].Readings...) // and twice
			for k := range other.Nodes[i].Devices {
				d := &other.Nodes[i].Devices[k]
				d.Allocations, d.Points = shuffled(rng, d.Allocations), shuffled(rng, d.Points)
			}
		}
		got, err := Close(other)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Entries, want.Entries) {
			t.Fatalf("order changed the entries:\n%+v\n%+v", got.Entries, want.Entries)
		}
		if !reflect.DeepEqual(got.DeviceHours, want.DeviceHours) || !reflect.DeepEqual(got.Findings, want.Findings) {
			t.Fatalf("order changed what is said of the hour:\n%+v %+v\n%+v %+v", got.DeviceHours, got.Findings, want.DeviceHours, want.Findings)
		}
		slices.SortFunc(got.Cuts, compareCuts)
		slices.SortFunc(want.Cuts, compareCuts)
		if !reflect.DeepEqual(got.Cuts, want.Cuts) {
			t.Fatalf("order changed the cuts:\n%+v\n%+v", got.Cuts, want.Cuts)
		}
	})
}

func shuffled[T any](rng *rand.Rand, list []T) []T {
	out := slices.Clone(list)
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func compareCuts(a, b record.Cut) int {
	switch {
	case a.Device < b.Device, a.Device == b.Device && (a.T < b.T || a.T == b.T && a.Epoch < b.Epoch):
		return -1
	case a == b:
		return 0
	}
	return 1
}

// What a scheduler states of a device that cannot be held is named, and nobody is charged for it in silence.
func TestAllocationsOfWhatCannotBeHeldAreNamed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gpu := drawDevice(t, "GPU-0", record.KindGPU)
		mig := drawInstances(t, gpu)
		for i := range mig {
			mig[i].Allocations = nil
		}
		cpu := drawDevice(t, "CPU-0", record.KindCPU)
		held := func(id, device string) record.Allocation {
			return record.Allocation{ID: id, Device: device, Tenant: "a", Share: 1000, Start: start + 1000}
		}
		past := held("past", "GPU-0")
		past.Start, past.End = start-2000, start-1000
		gpu.Allocations = []record.Allocation{held("whole-gpu", "GPU-0"), past}
		orphan := Device{Device: record.Device{UUID: "MIG-x", Parent: "GPU-gone", Kind: record.KindMIG, Slices: 1}}
		orphan.Allocations = []record.Allocation{held("orphan", "MIG-x")}
		cpu.Allocations = []record.Allocation{held("cpu", "CPU-0")}
		res, err := Close(Hour{
			Site: record.Site{ID: "s", PUEThousandths: 1000}, Start: start,
			Nodes:  []Node{{Node: record.Node{ID: "n"}, Devices: append(mig, gpu, cpu, orphan)}},
			Strays: []record.Allocation{held("typo", "GPU-O")},
		})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range res.Findings {
			if f.AllocationFinding() {
				names = append(names, f.Record)
			}
		}
		slices.Sort(names)
		if want := []string{"cpu", "orphan", "typo", "whole-gpu"}; !slices.Equal(names, want) {
			t.Fatalf("refused %v, want %v", names, want)
		}
		for _, e := range res.Entries {
			if e.Account.Held() {
				t.Fatalf("a tenant is charged: %+v", e)
			}
			if e.Device == "GPU-0" && !slices.Contains(e.Flags, flagOverbooked) {
				t.Fatalf("the entry of the GPU has flags %v", e.Flags)
			}
		}
	})
}
