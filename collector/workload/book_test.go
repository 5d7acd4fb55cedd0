package workload

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const (
	second = unit.Second
	start  = unit.Micros(1_767_225_600_000_000)
)

func newBook(t interface{ Fatal(...any) }, rules ...Rule) (*book, *[]note) {
	compiled, err := CompileRules(rules)
	if err != nil {
		t.Fatal(err)
	}
	notes := &[]note{}
	return &book{
		rules: compiled, keep: 900 * second, heard: map[string]unit.Micros{}, note: func(n note) { *notes = append(*notes, n) },
	}, notes
}

var anyTenant = Rule{Set: Names{Tenant: "t"}}

// within fails when a device is held over 1000 thousandths at any instant, or a statement is not one that ingest accepts.
func within(t interface{ Fatalf(string, ...any) }, b *book) {
	all := b.statement(true)
	ids := map[string]bool{}
	for _, a := range all {
		if err := a.Validate(); err != nil {
			t.Fatalf("%+v: %v", a, err)
		}
		if ids[a.ID] {
			t.Fatalf("id %s twice", a.ID)
		}
		ids[a.ID] = true
	}
	for _, a := range all {
		var sum unit.Thousandths
		for _, o := range all {
			if o.Device == a.Device && o.Start <= a.Start && (o.End == 0 || o.End > a.Start) {
				sum += o.Share
			}
		}
		if sum > unit.WholeDevice {
			t.Fatalf("device %s is held by %d thousandths at %d:\n%v", a.Device, sum, a.Start-start, show(all))
		}
	}
}

func show(all []record.Allocation) (out []string) {
	for _, a := range all {
		end := unit.Micros(0)
		if a.End != 0 {
			end = a.End - start
		}
		out = append(out, fmt.Sprintf("%s %s [%d,%d) %d r%d\n", a.Device, a.Scheduler, a.Start-start, end, a.Share, a.Revision))
	}
	return out
}

// reader is what ingest and the dimension table make of messages: the highest revision of an id counts.
type reader map[string]record.Allocation

func (r reader) read(all []record.Allocation) {
	for _, a := range all {
		if old, ok := r[a.ID]; !ok || a.Revision > old.Revision {
			r[a.ID] = a
		}
	}
}

// Whatever statements come, and whoever claims what: no device is held over 1000 thousandths, a revision rises with every
// change, what was stated is not taken back, and a reader that missed messages is right after a full statement.
func TestNoClaimBreaksTheLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, _ := newBook(t, anyTenant)
		now := start
		table, lossy := reader{}, reader{}
		for range rapid.IntRange(1, 25).Draw(t, "statements") {
			now += unit.Micros(rapid.IntRange(0, 20).Draw(t, "wait")) * second
			source := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "source")
			var st Statement
			for range rapid.IntRange(0, 4).Draw(t, "holds") {
				h := Hold{
					Key: rapid.SampledFrom([]string{"1", "2", "3", "4"}).Draw(t, "key"), Device: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "device"),
					Thousandths: unit.Thousandths(rapid.SampledFrom([]int{0, 300, 500, 1000}).Draw(t, "share")),
					Replicas:    rapid.SampledFrom([]int{0, 0, 3, ByHolders, ByHolders}).Draw(t, "replicas"),
				}
				h.Ref = h.Key
				if rapid.Bool().Draw(t, "told") {
					h.Start = now - unit.Micros(rapid.IntRange(0, 60).Draw(t, "since"))*second
				}
				if rapid.IntRange(0, 3).Draw(t, "ended") == 0 {
					h.End = max(h.Start, start-90*second) + unit.Micros(rapid.IntRange(1, 60).Draw(t, "for"))*second
					h.End = min(h.End, now)
					if h.End <= h.Start {
						h.End = 0
					}
				}
				st.Holds = append(st.Holds, h)
			}
			if rapid.IntRange(0, 8).Draw(t, "devices") == 0 {
				b.devices(rapid.SampledFrom([][]string{{"x"}, {"x", "y"}, {"y"}}).Draw(t, "present"), now)
			}
			hint := unit.Micros(0)
			if rapid.Bool().Draw(t, "hinted") {
				hint = now - unit.Micros(rapid.IntRange(0, 5).Draw(t, "hint"))*second
			}
			b.apply(source, st, now, hint)
			within(t, b)
			all := b.statement(true)
			for _, a := range all {
				if old, ok := table[a.ID]; ok && old.Revision > a.Revision {
					t.Fatalf("revision of %s fell from %d to %d", a.Scheduler, old.Revision, a.Revision)
				} else if ok && old.Revision == a.Revision && old != a {
					t.Fatalf("%+v became %+v under one revision", old, a)
				}
			}
			for id, old := range table {
				if !slices.ContainsFunc(all, func(a record.Allocation) bool { return a.ID == id }) && max(old.End, start) > now-b.keep {
					t.Fatalf("%s was stated and is gone", old.Scheduler)
				}
			}
			table.read(b.statement(false))
			if rapid.Bool().Draw(t, "arrives") {
				lossy.read(b.statement(false))
			}
			b.handedOver()
			for _, a := range all {
				if table[a.ID] != a {
					t.Fatalf("events gave %+v, not %+v", table[a.ID], a)
				}
			}
		}
		lossy.read(b.statement(true))
		for _, a := range b.statement(true) {
			if lossy[a.ID] != a {
				t.Fatalf("after a full statement the reader has %+v, not %+v", lossy[a.ID], a)
			}
		}
	})
}

// job is what truly happened.
type job struct {
	key, device string
	share       unit.Thousandths
	start, end  unit.Micros
}

// Jobs follow one another on two devices. The source is asked at random instants, some answers are lost, a collector restarts
// from its saved state; as long as the source reports each end later, the allocations are what truly happened.
func TestAllocationsConvergeToTheTruth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var jobs []job
		for d := range 2 {
			at := start
			for n := range rapid.IntRange(0, 6).Draw(t, "jobs") {
				at += unit.Micros(rapid.IntRange(0, 8000).Draw(t, "pause")) * unit.Millisecond
				end := at + unit.Micros(rapid.IntRange(1, 15_000).Draw(t, "length"))*unit.Millisecond
				for s := range rapid.IntRange(1, 2).Draw(t, "abreast") {
					jobs = append(jobs, job{fmt.Sprint(d, n, s), fmt.Sprint("dev", d), 500, at, end})
				}
				at = end
			}
		}
		b, _ := newBook(t, anyTenant)
		now := start - second
		ask := func(at unit.Micros) {
			var st Statement
			for _, j := range jobs {
				if j.start > at {
					continue
				}
				h := Hold{Ref: j.key, Key: j.key, Device: j.device, Thousandths: j.share, Start: j.start}
				if j.end <= at {
					h.End = j.end
				}
				st.Holds = append(st.Holds, h)
			}
			b.apply("s", st, at, 0)
			within(t, b)
		}
		for range rapid.IntRange(1, 20).Draw(t, "polls") {
			now += unit.Micros(rapid.IntRange(100, 9000).Draw(t, "wait")) * unit.Millisecond
			if rapid.IntRange(0, 3).Draw(t, "lost") > 0 {
				ask(now)
			}
			if rapid.IntRange(0, 5).Draw(t, "restart") == 0 {
				saved, err := json.Marshal(b.episodes)
				b.episodes = nil
				if err := errors.Join(err, json.Unmarshal(saved, &b.episodes)); err != nil {
					t.Fatal(err)
				}
			}
		}
		ask(start + 600*second)
		got := map[job]bool{}
		for _, a := range b.statement(true) {
			got[job{a.Scheduler, a.Device, a.Share, a.Start, a.End}] = true
		}
		want := map[job]bool{}
		for _, j := range jobs {
			want[j] = true
		}
		if !maps.Equal(got, want) {
			t.Fatalf("got %v\nwant %v", got, want)
		}
	})
}

func TestHoldsBecomeAllocations(t *testing.T) {
	b, notes := newBook(t, anyTenant)
	at := func(s float64) unit.Micros { return start + unit.Micros(s*1e6) }
	want := func(lines ...string) {
		t.Helper()
		var got []string
		for _, a := range b.statement(true) {
			end := "…"
			if a.End != 0 {
				end = fmt.Sprint((a.End - start).Duration().Seconds())
			}
			got = append(got, fmt.Sprintf("%s %v–%s %d", a.Scheduler, (a.Start-start).Duration().Seconds(), end, a.Share))
		}
		if !slices.Equal(got, lines) {
			t.Errorf("got  %q\nwant %q", got, lines)
		}
		within(t, b)
	}
	state := func(at, hint unit.Micros, holds ...Hold) {
		t.Helper()
		for i := range holds {
			holds[i].Ref = holds[i].Key
			if holds[i].Device == "" {
				holds[i].Device = "x"
			}
		}
		b.apply("s", Statement{Holds: holds}, at, hint)
	}
	state(at(0), 0)
	state(at(1), at(0.4), Hold{Key: "a"}) // the source said when
	want("a 0.4–… 1000")
	state(at(2), 0, Hold{Key: "a", Start: at(0.1)}) // and knows it better now
	want("a 0.1–… 1000")
	state(at(3), 0, Hold{Key: "a"}, Hold{Key: "b"}) // more than there is
	want("a 0.1–… 1000")
	if n := (*notes)[len(*notes)-1]; n.reason != reasonOverbooked || n.episode.Key != "b" {
		t.Errorf("noted %+v", n)
	}
	state(at(4), 0, Hold{Key: "b"}) // room at last
	want("a 0.1–4 1000", "b 4–… 1000")
	state(at(5), 0, Hold{Key: "b"}, Hold{Key: "a", Start: at(0.1), End: at(3.5)}) // the scheduler tells the end it knows
	want("a 0.1–3.5 1000", "b 3.5–… 1000")
	state(at(6), 0, Hold{Key: "c", Start: at(5.2), End: at(5.5)}) // lived between two statements; b was seen to be gone at 6 only
	want("a 0.1–3.5 1000", "b 3.5–5.2 1000", "c 5.2–5.5 1000")
}

func TestSharesByTheNumberOfHolders(t *testing.T) {
	b, _ := newBook(t, anyTenant)
	state := func(s int, keys ...string) {
		var st Statement
		for _, k := range keys {
			st.Holds = append(st.Holds, Hold{Ref: k, Key: k, Device: "x", Replicas: ByHolders})
		}
		b.apply("s", st, start+unit.Micros(s)*second, 0)
		within(t, b)
	}
	state(0, "a")
	state(5, "a", "b")
	state(6, "a", "b", "c")
	state(9, "b", "c")
	got := fmt.Sprint(show(b.statement(true)))
	for _, want := range []string{
		"x a [0,5000000) 1000", "x a [5000000,6000000) 500", "x a [6000000,9000000) 333", "x b [9000000,0) 500", "x c [6000000,9000000) 333",
	} {
		if !slices.ContainsFunc(show(b.statement(true)), func(s string) bool { return len(s) > len(want) && s[:len(want)] == want }) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
}
