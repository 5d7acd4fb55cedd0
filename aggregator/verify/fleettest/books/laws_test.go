package books_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest/books"
	"github.com/wattledger/wattledger/schemas/record"
)

func draw(t *rapid.T) *fleettest.Fleet {
	return fleettest.NewWith(rapid.Uint64().Draw(t, "seed"), fleettest.Options{
		Meters: true, Factors: true, Late: true, Silence: fleettest.Silence(rapid.IntRange(0, 2).Draw(t, "silence")),
	})
}

func kept(t *rapid.T, of func(*fleettest.Fleet) (*books.Book, error), f *fleettest.Fleet) *books.Book {
	t.Helper()
	b, err := of(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What is known late and booked as an adjustment is in sum what it would be had it been known in time.
func TestLateIsInTimePlusAdjustments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := draw(t)
		late, inTime := kept(t, books.Settled, f), kept(t, books.AllKnown, f)
		if c := verify.Compare(late.Entries, inTime.Entries); c.Entries != 0 {
			t.Fatalf("%d lines differ: %v", c.Entries, c.First)
		}
	})
}

// To play the same fleet a second time gives the same entries, to the byte.
func TestTheSameInputsGiveTheSameEntries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		o := fleettest.Options{Meters: true, Factors: true, Late: true}
		a, b := kept(t, books.Settled, fleettest.NewWith(seed, o)), kept(t, books.Settled, fleettest.NewWith(seed, o))
		if !reflect.DeepEqual(a.Entries, b.Entries) {
			t.Fatal("the same fleet has another ledger")
		}
	})
}

// Order of arrival does not matter, and neither does what arrives twice.
func TestOrderAndRepeatsDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := draw(t)
		want := kept(t, books.Settled, f)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 3))
		for _, n := range f.Nodes {
			for uuid, s := range n.Series {
				s.Samples = again(rng, s.Samples)
				n.Series[uuid] = s
			}
			for uuid, list := range n.Allocations {
				rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
				n.Allocations[uuid] = list
			}
			rng.Shuffle(len(n.Devices), func(i, j int) { n.Devices[i], n.Devices[j] = n.Devices[j], n.Devices[i] })
		}
		f.Site.Readings = again(rng, f.Site.Readings)
		for i := range f.Nodes {
			f.Nodes[i].Readings = again(rng, f.Nodes[i].Readings)
		}
		rng.Shuffle(len(f.Nodes), func(i, j int) { f.Nodes[i], f.Nodes[j] = f.Nodes[j], f.Nodes[i] })
		got := kept(t, books.Settled, f)
		if !reflect.DeepEqual(got.Entries, want.Entries) {
			c := verify.Compare(got.Entries, want.Entries)
			t.Fatalf("another order gives other entries: %v", c.First)
		}
	})
}

// again has a tenth of a list a second time, in any order.
func again[T any](rng *rand.Rand, list []T) []T {
	out := slices.Clone(list)
	for _, v := range list {
		if rng.IntN(10) == 0 {
			out = append(out, v)
		}
	}
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// A tenant's totals depend neither on the names of others nor on when they came and went, as long as its own slots stay where
// they are.
func TestATenantsTotalIsItsOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := draw(t)
		own := "tenant-0"
		want := sums(kept(t, books.AllKnown, f).Entries, own)
		for _, n := range f.Nodes {
			for uuid, list := range n.Allocations {
				others := slices.Clone(list)
				for i := range others {
					if others[i].Tenant != own {
						others[i].Tenant = "somebody else"
					}
				}
				// The last to come holds nobody's slots back but its own.
				last := -1
				for i := range others {
					if last < 0 || others[i].Start > others[last].Start {
						last = i
					}
				}
				if last >= 0 && others[last].Tenant != own && !slices.ContainsFunc(others, func(a record.Allocation) bool {
					return a.ID != others[last].ID && a.Start == others[last].Start
				}) {
					others[last].End = others[last].Start + 60_000_000
				}
				n.Allocations[uuid] = others
			}
		}
		if got := sums(kept(t, books.AllKnown, f).Entries, own); got != want {
			t.Fatalf("%+v became %+v", want, got)
		}
	})
}

// total are a tenant's sums. No edge of another moves any of them: devices weigh by what they drew, whoever held them.
type total struct{ gpu, cpu, rest, shared, facility, time, carbon, market, embodied, water, heat int64 }

func sums(entries []record.Entry, tenant string) total {
	var t total
	for _, e := range entries {
		if e.Tenant == tenant {
			t.gpu, t.cpu, t.rest, t.shared = t.gpu+int64(e.GPU), t.cpu+int64(e.CPU), t.rest+int64(e.NodeRest), t.shared+int64(e.ITShared)
			t.facility, t.time, t.water, t.heat = t.facility+int64(e.Facility), t.time+int64(e.DeviceTime), t.water+int64(e.Water), t.heat+int64(e.HeatReused)
			t.carbon, t.market, t.embodied = t.carbon+int64(e.Carbon), t.market+int64(e.CarbonMarket), t.embodied+int64(e.CarbonEmbodied)
		}
	}
	return t
}
