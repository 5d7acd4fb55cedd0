package attribution

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/unit"
)

// meterOf reads 1 J a second over a minute, once a second.
func meterOf() *Meter {
	var ps []window.Point
	for i := range unit.Micros(61) {
		ps = append(ps, window.Point{T: i * unit.Second, C: unit.Millijoules(i * 1000), Boot: "b", Integral: window.NoIntegral})
	}
	return NewMeter(ps, nil, 0, 60*unit.Second, unit.Second, 0)
}

func activity(perSecond unit.Micros) []Reading {
	var out []Reading
	for i := range unit.Micros(61) {
		out = append(out, Reading{T: i * unit.Second, Active: i * perSecond})
	}
	return out
}

func TestPartition(t *testing.T) {
	f := func(what string, idle unit.Milliwatts, instances []Instance, want ...unit.Millijoules) {
		t.Helper()
		p, err := NewPartition(meterOf(), instances, idle)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for i, in := range instances {
			part, err := p.Instance(in.UUID, 0, 60*unit.Second)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if part.Measured != want[i] {
				t.Errorf("%s: %s has %d mJ, want %d", what, in.UUID, part.Measured, want[i])
			}
		}
	}
	f("idle power by slices, whether held or not", 1000, []Instance{{"a", 3, activity(9)}, {"b", 2, activity(0)}}, 60*428, 60*286)
	f("all that is above idle to the one that works", 700, []Instance{{"a", 3, activity(9)}, {"b", 2, activity(0)}}, 60*(300+300), 60*200)
	f("activity counts by slices", 0, []Instance{{"a", 3, activity(2)}, {"b", 2, activity(7)}}, 60*300, 60*700)
	f("nobody works: by slices of the instances", 0, []Instance{{"a", 3, activity(0)}, {"b", 2, activity(0)}}, 60*600, 60*400)
	f("nobody was read: by slices of the instances", 0, []Instance{{"a", 3, nil}, {"b", 2, activity(3)}}, 60*600, 60*400)
	f("an instance of unknown size takes no part", 700, []Instance{{"a", 0, activity(5)}}, 0)
}

// An activity counter that no device can have reached is one that could not be read: it must neither overflow a weight nor
// keep the hour from closing.
func TestPartitionOfCorruptActivity(t *testing.T) {
	corrupt := activity(1)
	corrupt[30].Active = 1<<62 + 5
	p, err := NewPartition(meterOf(), []Instance{{"a", 3, corrupt}, {"b", 4, activity(1)}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	part, err := p.Instance("a", 0, 60*unit.Second)
	if err != nil {
		t.Fatal(err)
	}
	if want := unit.Millijoules(60 * 429); part.Measured != want {
		t.Errorf("a has %d mJ, want %d", part.Measured, want)
	}
	if p.BySlices != 2 {
		t.Errorf("%d intervals by slices, want 2", p.BySlices)
	}
}

func TestPartitionRefusesMoreSlicesThanThereAre(t *testing.T) {
	if _, err := NewPartition(meterOf(), []Instance{{"a", 4, nil}, {"b", 4, nil}}, 0); err == nil {
		t.Error("8 slices of 7 were accepted")
	}
}

// Instances never get more than the GPU took, and shares of the GPU's time sum to at most the whole.
func TestPartitionConserves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ins []Instance
		left := int64(MIGSlices)
		for _, uuid := range []string{"a", "b", "c"} {
			n := rapid.Int64Range(0, left).Draw(t, "slices")
			left -= n
			ins = append(ins, Instance{uuid, n, activity(unit.Micros(rapid.Int64Range(0, 1_000_000).Draw(t, "active")))})
		}
		p, err := NewPartition(meterOf(), ins, unit.Milliwatts(rapid.Int64Range(0, 2000).Draw(t, "idle")))
		if err != nil {
			t.Fatal(err)
		}
		edges := []unit.Micros{0, unit.Micros(rapid.Int64Range(1, 59_999_999).Draw(t, "edge")), 60 * unit.Second}
		var all unit.Millijoules
		share := p.Bound(len(ins))
		for _, in := range ins {
			for i := range 2 {
				part, err := p.Instance(in.UUID, edges[i], edges[i+1])
				if err != nil {
					t.Fatal(err)
				}
				all += part.Measured
			}
		}
		if all < 0 || all > 60_000 || share > int64(unit.WholeDevice) {
			t.Fatalf("instances have %d of 60000 mJ and %d thousandths", all, share)
		}
	})
}

// The split without allocations is the split.
func TestHamiltonIsSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.Uint64Range(0, rapid.SampledFrom([]uint64{2, 7, 1 << 55}).Draw(t, "most")), 1, 8).Draw(t, "weights")
		amount := unit.Millijoules(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "amount"))
		want, err := Split(amount, weights)
		if err != nil {
			want = make([]unit.Millijoules, len(weights)) // nobody to give it to
		}
		got := make([]unit.Millijoules, len(weights))
		hamilton(amount, weights, got, make([]uint64, len(weights)))
		if !slices.Equal(got, want) {
			t.Fatalf("%d by %v: %v, want %v", amount, weights, got, want)
		}
	})
}
