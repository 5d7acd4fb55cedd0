package adjusting_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/aggregator/adjusting"
	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const (
	start = 1_790_000_000_000_000 / unit.Hour * unit.Hour
	hours = 4
)

// world is what there is to know of a GPU over some hours.
type world struct {
	points      []window.Point
	allocations []record.Allocation
}

// book is a ledger in memory: entries by hour, and the newest editions of cuts by edge.
type book struct {
	entries map[unit.Micros][]record.Entry
	cuts    []record.Cut
}

// hour is what Load and Reload would read of it.
func (b *book) hour(w world, at unit.Micros, closed bool) closing.Hour {
	d := closing.Device{
		Device: record.Device{UUID: "GPU-0", Kind: record.KindGPU, Energy: record.EnergyHardware, LimitMilliwatts: 1_000_000},
		Period: 10 * unit.Second,
	}
	for _, c := range b.cuts {
		if c.T == at && at > start && (d.Stored == nil || c.Epoch > d.Stored.Epoch) {
			d.Stored = &c
		}
	}
	ahead := at + unit.Hour + 15*60*unit.Second
	for _, p := range w.points {
		if p.T >= at+unit.Hour && (p.T >= ahead && !closed || len(d.Points) > 0 && d.Points[len(d.Points)-1].T >= at+unit.Hour) {
			break // the first after the hour, within the lookahead; of a closed hour however far away
		}
		if p.T >= at {
			d.Points = append(d.Points, p)
		}
	}
	d.Allocations = w.allocations
	return closing.Hour{Site: record.Site{ID: "s", PUEThousandths: 1000}, Start: at, Nodes: []closing.Node{{Node: record.Node{ID: "n"}, Devices: []closing.Device{d}}}}
}

func (b *book) store(cuts []record.Cut) {
	for _, c := range cuts {
		b.cuts = slices.DeleteFunc(b.cuts, func(o record.Cut) bool { return o.T == c.T && o.Edition < c.Edition })
	}
	b.cuts = append(b.cuts, cuts...)
}

func (b *book) close(t *rapid.T, w world) {
	for at := start; at < start+hours*unit.Hour; at += unit.Hour {
		res, err := closing.Close(b.hour(w, at, false))
		if err != nil {
			t.Fatal(err)
		}
		b.entries[at] = append(b.entries[at], res.Entries...)
		b.store(res.Cuts)
	}
}

// adjust evaluates all hours anew, in order, and says how many entries it booked.
func (b *book) adjust(t *rapid.T, w world) int {
	n := 0
	for at := start; at < start+hours*unit.Hour; at += unit.Hour {
		res, err := closing.Close(b.hour(w, at, true))
		if err != nil {
			t.Fatal(err)
		}
		h := adjusting.Hour{Root: "root"}
		for i, e := range b.entries[at] {
			h.Lines = append(h.Lines, adjusting.Booked{Entry: e, ID: fmt.Sprint(i)})
		}
		entries := adjusting.Adjust(h, res.Entries, []adjusting.Cause{{Word: "late_data", About: "n"}})
		b.entries[at] = append(b.entries[at], entries...)
		var stored []record.Cut
		for _, c := range b.cuts {
			if c.T >= at && c.T <= at+unit.Hour {
				stored = append(stored, c)
			}
		}
		b.store(adjusting.Editions(stored, res.Cuts))
		n += len(entries)
	}
	return n
}

// lines are the sums of energy and time by line.
func lines(entries []record.Entry) map[adjusting.Line]record.Entry {
	out := map[adjusting.Line]record.Entry{}
	for _, e := range entries {
		l := adjusting.LineOf(e)
		sum := adjusting.Sum(record.Entry{}, e)
		had, ok := out[l]
		if ok {
			sum = adjusting.Sum(had, sum)
		}
		out[l] = sum
		if reflect.DeepEqual(sum, record.Entry{}) {
			delete(out, l)
		}
	}
	return out
}

// Whatever came late, samples or allocations, into whichever hours: the hours closed without it, with their adjustments, hold what
// the same hours hold with all of it in time. An outage of hours whose far end is seen later is one case of it.
func TestLateEqualsInTimePlusAdjustment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var all, early world
		outage := start + unit.Micros(rng.Int64N(int64(hours*unit.Hour)))
		back := outage + unit.Micros(rng.Int64N(int64(2*unit.Hour)))
		c := int64(1000)
		for at := start - 5*unit.Second; at < start+(hours+1)*unit.Hour; at += unit.Micros(1 + rng.Int64N(600_000_000)) {
			p := window.Point{T: at, C: unit.Millijoules(c), Boot: "b", Run: "r", Integral: unit.Millijoules(c)}
			c += rng.Int64N(100_000)
			if rng.IntN(40) == 0 {
				c = 3
			}
			if at > outage && at < back && rng.IntN(2) == 0 {
				continue // never read
			}
			all.points = append(all.points, p)
			late := at > outage && at < back || rng.IntN(5) == 0
			if !late || at < start+30*unit.Second { // the first stands
				early.points = append(early.points, p)
			}
		}
		for i := range rng.IntN(5) {
			a := record.Allocation{ID: fmt.Sprint("a", i), Device: "GPU-0", Tenant: fmt.Sprint("t", rng.IntN(2)), Share: unit.Thousandths(1 + rng.Int64N(500))}
			a.Start = start + unit.Micros(rng.Int64N(int64(hours*unit.Hour)))
			a.End = a.Start + unit.Micros(1+rng.Int64N(int64(2*unit.Hour)))
			all.allocations = append(all.allocations, a)
			switch rng.IntN(3) {
			case 0: // stated late
			case 1: // first given to another
				a.Tenant = "other"
				early.allocations = append(early.allocations, a)
			default:
				early.allocations = append(early.allocations, a)
			}
		}
		inTime, late := &book{entries: map[unit.Micros][]record.Entry{}}, &book{entries: map[unit.Micros][]record.Entry{}}
		inTime.close(t, all)
		inTime.adjust(t, all) // cuts that were open within the lookahead are closed by what came after
		late.close(t, early)
		late.adjust(t, all)
		for at := start; at < start+hours*unit.Hour; at += unit.Hour {
			if got, want := lines(late.entries[at]), lines(inTime.entries[at]); !reflect.DeepEqual(got, want) {
				t.Fatalf("hour %d: late and adjusted\n%+v\nin time\n%+v", (at-start)/unit.Hour, got, want)
			}
		}
		if n := late.adjust(t, all); n != 0 {
			t.Fatalf("%d entries booked again", n)
		}
	})
}
