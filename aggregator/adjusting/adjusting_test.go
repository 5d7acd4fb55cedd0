package adjusting

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// entryOf is some line of account with some sums that agree with one another.
func entryOf(t *rapid.T) record.Entry {
	pick := func(name string, n int) int { return rapid.IntRange(0, n).Draw(t, name) }
	e := record.Entry{
		Site: "s", Hour: "2026-09-21T14:00:00Z", Kind: record.Closing, Account: record.AccountUnallocated,
		Node: fmt.Sprintf("n%d", pick("node", 1)), Device: fmt.Sprintf("GPU-%d", pick("device", 2)), DeviceKind: "gpu",
	}
	if pick("held", 2) > 0 {
		e.Account, e.Tenant, e.Allocation = record.AccountTenant, fmt.Sprintf("t%d", pick("tenant", 2)), fmt.Sprintf("a%d", pick("allocation", 3))
		e.From = unit.Micros(pick("from", 2))
	}
	e.To = e.From + 10
	additive(func(get func(*record.Entry) *int64) { *get(&e) = rapid.Int64Range(0, 1000).Draw(t, "sum") })
	e.Measured, e.Estimated, e.Modelled = e.Total(), 0, 0
	return e
}

func drawEntries(t *rapid.T) []record.Entry {
	return rapid.SliceOfNDistinct(rapid.Custom(entryOf), 0, 12, LineOf).Draw(t, "entries")
}

// bookedOf is the ledger's view of entries.
func bookedOf(lists ...[]record.Entry) Hour {
	h := Hour{Root: "root"}
	for i, e := range slices.Concat(lists...) {
		k := slices.IndexFunc(h.Lines, func(b Booked) bool { return LineOf(b.Entry) == LineOf(e) })
		if k < 0 {
			h.Lines = append(h.Lines, Booked{Entry: e, ID: fmt.Sprint("id", i)})
			continue
		}
		h.Lines[k].Entry, h.Lines[k].ID = Sum(e, h.Lines[k].Entry), fmt.Sprint("id", i)
	}
	return h
}

// sums are the lines that are not nought, with all that adds up.
func sums(lists ...[]record.Entry) map[Line][22]int64 {
	out := map[Line][22]int64{}
	for _, e := range slices.Concat(lists...) {
		v, i := out[LineOf(e)], 0
		additive(func(get func(*record.Entry) *int64) { v[i] += *get(&e); i++ })
		out[LineOf(e)] = v
		if v == [22]int64{} {
			delete(out, LineOf(e))
		}
	}
	return out
}

// What is booked and its adjustments sum to what is known now, to the last digit of every figure.
func TestBookedAndAdjustmentsAreNow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		booked, now := drawEntries(t), drawEntries(t)
		adjustments := Adjust(bookedOf(booked), now, []Cause{{Word: "late_data", About: "n0"}})
		if got, want := sums(booked, adjustments), sums(now); !reflect.DeepEqual(got, want) {
			t.Fatalf("booked and adjusted are\n%v\nknown now is\n%v", got, want)
		}
		for _, e := range adjustments {
			if err := e.Validate(); err != nil {
				t.Fatalf("%+v: %v", e, err)
			}
			if e.Kind != record.Adjustment || e.Corrects == "" || e.Reason != "late_data n0" {
				t.Fatalf("an adjustment of kind %s corrects %q because of %q", e.Kind, e.Corrects, e.Reason)
			}
		}
		// Twice equals once, and where nothing differs nothing is booked.
		if again := Adjust(bookedOf(booked, adjustments), now, []Cause{{Word: "late_data", About: "n0"}}); len(again) != 0 {
			t.Fatalf("adjusted again: %+v", again)
		}
	})
}

// The order in which lines are handed over does not matter, and neither does the way to what is known: two corrections one after the
// other end where one that has both ends.
func TestAdjustmentsDoNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		booked, between, now := drawEntries(t), drawEntries(t), drawEntries(t)
		want := Adjust(bookedOf(booked), now, []Cause{{Word: "cut"}})
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 1))
		h, other := bookedOf(booked), slices.Clone(now)
		rng.Shuffle(len(h.Lines), func(i, j int) { h.Lines[i], h.Lines[j] = h.Lines[j], h.Lines[i] })
		rng.Shuffle(len(other), func(i, j int) { other[i], other[j] = other[j], other[i] })
		if got := Adjust(h, other, []Cause{{Word: "cut"}}); !reflect.DeepEqual(got, want) {
			t.Fatalf("order changed the adjustments:\n%+v\n%+v", got, want)
		}
		first := Adjust(bookedOf(booked), between, []Cause{{Word: "cut"}})
		second := Adjust(bookedOf(booked, first), now, []Cause{{Word: "cut"}})
		if got := sums(booked, first, second); !reflect.DeepEqual(got, sums(now)) {
			t.Fatalf("by a detour the ledger holds\n%v, want\n%v", got, sums(now))
		}
	})
}

// A past allocation that is given to another tenant is a pair: taken from the one, given to the other, each naming what it corrects.
func TestAnotherTenantIsAPair(t *testing.T) {
	e := record.Entry{
		Site: "s", Hour: "2026-09-21T14:00:00Z", Kind: record.Closing, Account: record.AccountTenant, Node: "n", Device: "GPU-0",
		Tenant: "a", Allocation: "job", GPU: 700, Measured: 700, DeviceTime: 50, Split: "slots", Flags: []string{"estimated"},
	}
	rest := record.Entry{Site: "s", Hour: e.Hour, Kind: record.Closing, Account: record.AccountUnallocated, Node: "n", Device: "GPU-0", GPU: 3, Measured: 3}
	now := e
	now.Tenant, now.Flags = "b", nil
	h := Hour{Root: "cafe", Lines: []Booked{{Entry: e, ID: "id-of-a"}, {Entry: rest, ID: "id-of-rest"}}}
	got := Adjust(h, []record.Entry{rest, now}, []Cause{{Word: "late_allocation", About: "job"}})
	if len(got) != 2 {
		t.Fatalf("%d adjustments: %+v", len(got), got)
	}
	from, to := got[0], got[1]
	if from.Tenant != "a" || from.GPU != -700 || from.DeviceTime != -50 || from.Corrects != "id-of-a" || !slices.Equal(from.Flags, e.Flags) {
		t.Errorf("taken back: %+v", from)
	}
	if to.Tenant != "b" || to.GPU != 700 || to.DeviceTime != 50 || to.Corrects != "id-of-rest" || len(to.Flags) != 0 {
		t.Errorf("given: %+v", to)
	}
	now.Device = "GPU-9" // a device the hour knew nothing of
	if got := Adjust(h, []record.Entry{e, rest, now}, []Cause{{Word: "inventory", About: "n"}}); len(got) != 1 || got[0].Corrects != "seal:cafe" {
		t.Errorf("a line that is new to the hour: %+v", got)
	}
}

// An hour is evaluated anew as a whole, and its causes are its own; a tenant's entry names nobody else's allocation.
func TestATenantIsToldOfItsOwnAllocations(t *testing.T) {
	causes := []Cause{{Word: "late_data", About: "node-a"}, {Word: "late_allocation", About: "job-1"}, {Word: "late_allocation", About: "job-2"}}
	f := func(e record.Entry, want string) {
		t.Helper()
		e.GPU = 1
		got := Adjust(Hour{Root: "cafe"}, []record.Entry{e}, causes)
		if len(got) != 1 || got[0].Reason != want {
			t.Errorf("%+v, want the reason %q", got, want)
		}
	}
	f(record.Entry{Tenant: "t", Allocation: "job-2"}, "late_data node-a; late_allocation job-2")
	f(record.Entry{Tenant: "t", Allocation: "job-3"}, "late_data node-a; late_allocation")
	f(record.Entry{Account: record.AccountUnallocated}, "late_data node-a; late_allocation job-1, job-2")
}

// Every figure of an entry is either summed here or is known not to sum.
func TestEveryFigureIsSummed(t *testing.T) {
	known := map[string]bool{"From": true, "To": true, "IdleLimit": true}
	n := 0
	additive(func(func(*record.Entry) *int64) { n++ })
	for _, f := range reflect.VisibleFields(reflect.TypeFor[record.Entry]()) {
		if f.Type.Kind() != reflect.Int64 || known[f.Name] {
			continue
		}
		n--
		var e record.Entry
		reflect.ValueOf(&e).Elem().FieldByName(f.Name).SetInt(7)
		if nothing(e) {
			t.Errorf("%s is not summed", f.Name)
		}
	}
	if n != 0 {
		t.Errorf("%d figures more are summed than there are", n)
	}
	// And every text but those that are attributes tells one line from another.
	attributes := []string{
		"Site", "Hour", "Kind", "Rules", "Split", "RestSource", "SharedSource", "FacilitySource", "WaterSource", "HeatSource", "Factor",
		"FactorMarket", "FactorEmbodied", "Corrects", "Reason",
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[record.Entry]()) {
		if f.Type.Kind() != reflect.String || slices.Contains(attributes, f.Name) {
			continue
		}
		var e record.Entry
		reflect.ValueOf(&e).Elem().FieldByName(f.Name).SetString("x")
		if LineOf(e) == (Line{}) {
			t.Errorf("%s is neither an attribute nor part of the line", f.Name)
		}
		if record.CompareEntries(e, record.Entry{}) == 0 {
			t.Errorf("%s does not order entries", f.Name)
		}
	}
}

func TestReasonBeginsWithItsWord(t *testing.T) {
	f := func(want string, causes ...Cause) {
		t.Helper()
		if got := Reason(causes); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("late_data n1, n2; cut n1", Cause{"cut", "n1"}, Cause{"late_data", "n2"}, Cause{"late_data", "n1"}, Cause{"late_data", "n2"})
	f("factor", Cause{"factor", ""})
	var many []Cause
	for i := range 9 {
		many = append(many, Cause{"late_data", fmt.Sprintf("n%d", i)})
	}
	f("late_data n0, n1, n2, n3, n4, and 4 more", many...)
	for _, word := range record.Reasons {
		if !strings.HasPrefix(Reason([]Cause{{word, "x"}}), word) {
			t.Errorf("a reason of %s reads %q", word, Reason([]Cause{{word, "x"}}))
		}
	}
}
