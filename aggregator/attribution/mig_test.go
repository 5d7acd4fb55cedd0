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
		p, err := NewPartition(meterOf(), 0, 60*unit.Second, instances, idle)
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
	f("idle power by slices, whether held or not", 1000, []Instance{{UUID: "a", Slices: 3, Activity: activity(9)}, {UUID: "b", Slices: 2, Activity: activity(0)}}, 60*428, 60*286)
	f("all that is above idle to the one that works", 700, []Instance{{UUID: "a", Slices: 3, Activity: activity(9)}, {UUID: "b", Slices: 2, Activity: activity(0)}}, 60*(300+300), 60*200)
	f("activity counts by slices", 0, []Instance{{UUID: "a", Slices: 3, Activity: activity(2)}, {UUID: "b", Slices: 2, Activity: activity(7)}}, 60*300, 60*700)
	f("nobody works: by slices of the instances", 0, []Instance{{UUID: "a", Slices: 3, Activity: activity(0)}, {UUID: "b", Slices: 2, Activity: activity(0)}}, 60*600, 60*400)
	f("nobody was read: by slices of the instances", 0, []Instance{{UUID: "a", Slices: 3, Activity: nil}, {UUID: "b", Slices: 2, Activity: activity(3)}}, 60*600, 60*400)
	f("an instance of unknown size takes no part", 700, []Instance{{UUID: "a", Slices: 0, Activity: activity(5)}}, 0)
}

// An activity counter that no device can have reached is one that could not be read: it must neither overflow a weight nor
// keep the hour from closing.
func TestPartitionOfCorruptActivity(t *testing.T) {
	corrupt := activity(1)
	corrupt[30].Active = 1<<62 + 5
	p, err := NewPartition(meterOf(), 0, 60*unit.Second, []Instance{{UUID: "a", Slices: 3, Activity: corrupt}, {UUID: "b", Slices: 4, Activity: activity(1)}}, 0)
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

// An instance for which there are no slices is left out, the last stated first; one that is smaller may still fit.
func TestPartitionLeavesOutWhatDoesNotFit(t *testing.T) {
	f := func(instances []Instance, want ...string) {
		t.Helper()
		p, err := NewPartition(meterOf(), 0, 60*unit.Second, instances, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, in := range p.Layouts[0].Over {
			got = append(got, in.UUID)
			k := p.Place(in.UUID)
			part, err := p.Part(k, 0, 60*unit.Second)
			if l := &p.Layouts[0]; err != nil || part.Measured != 0 || l.Bound(int64(k)) != l.Bound(int64(k)+1) || l.Has(int64(k)) {
				t.Errorf("%s is left out and has %+v, %v", in.UUID, part, err)
			}
		}
		if !slices.Equal(got, want) || len(p.Layouts) != 1 {
			t.Errorf("left out %q in %d layouts, want %q", got, len(p.Layouts), want)
		}
	}
	f([]Instance{{UUID: "a", Slices: 4}, {UUID: "b", Slices: 3}})
	f([]Instance{{UUID: "b", Slices: 4}, {UUID: "a", Slices: 4}}, "b")
	f([]Instance{{UUID: "a", Slices: 4}, {UUID: "b", Slices: 4, From: -2}}, "a")
	f([]Instance{{UUID: "a", Slices: 4, From: -3}, {UUID: "b", Slices: 4, From: -2}, {UUID: "c", Slices: 3, From: -1}}, "b")
}

// One layout gives way to another within the hour: each part of the hour is split over those who are there.
func TestPartitionChangesItsLayout(t *testing.T) {
	const half = 30*unit.Second + 500_000 // between two readings
	p, err := NewPartition(meterOf(), 0, 60*unit.Second, []Instance{
		{UUID: "a", Slices: 4, From: half, Activity: activity(1)},
		{UUID: "b", Slices: 3, Activity: activity(1)},
		{UUID: "c", Slices: 4, To: half, Activity: activity(9)},
	}, 700)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Layouts) != 2 || p.Layouts[0].To != half || p.Layouts[1].From != half {
		t.Fatalf("layouts %+v", p.Layouts)
	}
	f := func(what string, k int, a, b unit.Micros, want unit.Millijoules, bounds ...int64) {
		t.Helper()
		part, err := p.Part(k, a, b)
		if err != nil || part.Measured != want {
			t.Errorf("%s: %+v, %v; want %d mJ", what, part, err, want)
		}
		for i := range p.Layouts {
			if got := p.Layouts[i].Bound(int64(k)+1) - p.Layouts[i].Bound(int64(k)); got != bounds[i] {
				t.Errorf("%s: %d thousandths in layout %d, want %d", what, got, i, bounds[i])
			}
		}
	}
	// Of the second in which the layout changes each half is split by the activity of that second: nothing was unread.
	f("not there yet", 0, 0, half, 0, 0, 571)
	f("there from the edge on", 0, half, 60*unit.Second, 29*(400+171)+200+86, 0, 571)
	f("alone with one that works nine times as much, per slice", 1, 0, half, 30*(300+23)+150+12, 428, 429)
	f("then with one that works as much", 1, half, 60*unit.Second, 29*(300+129)+150+64, 428, 429)
	f("gone", 2, half, 60*unit.Second, 0, 572, 0)
	if p.BySlices != 0 {
		t.Errorf("%d intervals by slices", p.BySlices)
	}
}

// Instances never get more than the GPU took, and shares of the GPU's time sum to at most the whole, whatever the layouts.
func TestPartitionConserves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ins := drawInstances(t)
		p, err := NewPartition(meterOf(), 0, 60*unit.Second, ins, unit.Milliwatts(rapid.Int64Range(0, 2000).Draw(t, "idle")))
		if err != nil {
			t.Fatal(err)
		}
		at := unit.Micros(0)
		for i := range p.Layouts {
			l := &p.Layouts[i]
			if l.From != at || l.To <= at || l.Bound(int64(len(ins))) > int64(unit.WholeDevice) || !slices.IsSorted(l.bounds) {
				t.Fatalf("layout %d of %+v", i, p.Layouts)
			}
			at = l.To
		}
		edges := []unit.Micros{0, unit.Micros(rapid.Int64Range(1, 59_999_999).Draw(t, "edge")), 60 * unit.Second}
		var all unit.Millijoules
		for k := range ins {
			for i := range 2 {
				part, err := p.Part(k, edges[i], edges[i+1])
				if err != nil {
					t.Fatal(err)
				}
				all += part.Measured
			}
		}
		if at != 60*unit.Second || all < 0 || all > 60_000 {
			t.Fatalf("instances have %d of 60000 mJ up to %d", all, at)
		}
	})
}

// drawInstances are some that come and go, and may ask for more than there is.
func drawInstances(t *rapid.T) []Instance {
	var ins []Instance
	left := int64(MIGSlices)
	crowded, changing := rapid.Bool().Draw(t, "crowded"), rapid.Bool().Draw(t, "changing")
	for _, uuid := range []string{"a", "b", "c"} {
		n := rapid.Int64Range(0, left).Draw(t, "slices")
		if !crowded {
			left -= n
		}
		in := Instance{UUID: uuid, Slices: n, Activity: activity(unit.Micros(rapid.Int64Range(0, 1_000_000).Draw(t, "active")))}
		if changing {
			in.From = unit.Micros(rapid.Int64Range(-10, 70_000_000).Draw(t, "from"))
			in.To = rapid.SampledFrom([]unit.Micros{0, in.From + 1, in.From + 20*unit.Second, 40 * unit.Second}).Draw(t, "to")
		}
		ins = append(ins, in)
	}
	return ins
}

// Where the same instances are there all the hour, when they came and went changes nothing; nor does one that is not there.
func TestOneLayoutIsAsWithoutTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ins := drawInstances(t)
		idle := unit.Milliwatts(rapid.Int64Range(0, 2000).Draw(t, "idle"))
		for i := range ins {
			ins[i].From, ins[i].To = 0, 0
		}
		timed := slices.Clone(ins)
		for i := range timed {
			timed[i].From, timed[i].To = -5*unit.Second, 60*unit.Second
		}
		timed = append(timed, Instance{UUID: "z", Slices: 7, From: 60 * unit.Second})
		p, errP := NewPartition(meterOf(), 0, 60*unit.Second, ins, idle)
		q, errQ := NewPartition(meterOf(), 0, 60*unit.Second, timed, idle)
		if errP != nil || errQ != nil {
			t.Fatal(errP, errQ)
		}
		for k := range ins {
			a, _ := p.Part(k, 7*unit.Second, 41*unit.Second+3)
			b, _ := q.Part(k, 7*unit.Second, 41*unit.Second+3)
			if a != b || p.Layouts[0].Bound(int64(k)+1) != q.Layouts[0].Bound(int64(k)+1) || len(q.Layouts) != 1 {
				t.Fatalf("%s has %+v and %+v", ins[k].UUID, a, b)
			}
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
