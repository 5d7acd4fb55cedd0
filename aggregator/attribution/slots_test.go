package attribution

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

func TestPlace(t *testing.T) {
	held := func(id string, share unit.Thousandths, start, end unit.Micros) record.Allocation {
		return record.Allocation{ID: id, Device: "GPU-1", Share: share, Start: start, End: end}
	}
	f := func(what string, as []record.Allocation, want Slots, refused ...string) {
		t.Helper()
		got, over := Place(as)
		var names []string
		for _, o := range over {
			names = append(names, o.Allocation.ID)
		}
		if !reflect.DeepEqual(got, want) || !slices.Equal(names, refused) {
			t.Errorf("%s: placed %v, refused %v; want %v and %v", what, got, names, want, refused)
		}
	}
	f("the lowest that are free", []record.Allocation{held("a", 300, 1, 9), held("b", 300, 2, 9)}, Slots{"a": {{0, 300}}, "b": {{300, 600}}})
	f("what ended is free again", []record.Allocation{held("a", 1000, 1, 5), held("b", 1000, 5, 9)}, Slots{"a": {{0, 1000}}, "b": {{0, 1000}}})
	f("in pieces if need be", []record.Allocation{held("a", 300, 1, 4), held("b", 300, 2, 0), held("c", 700, 5, 9)},
		Slots{"a": {{0, 300}}, "b": {{300, 600}}, "c": {{0, 300}, {600, 1000}}})
	f("more than is free is refused and named", []record.Allocation{held("a", 600, 1, 0), held("b", 500, 2, 3), held("c", 400, 2, 3)},
		Slots{"a": {{0, 600}}, "c": {{600, 1000}}}, "b")
}

// No two holders share a slot at any time, and the order in which a scheduler says things does not matter.
func TestPlaceIsExclusiveAndOrderless(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var as []record.Allocation
		for i := range rapid.IntRange(1, 12).Draw(t, "n") {
			a := record.Allocation{
				ID: strconv.Itoa(i), Share: unit.Thousandths(rapid.Int64Range(1, 1000).Draw(t, "share")),
				Start: unit.Micros(rapid.Int64Range(0, 20).Draw(t, "start")),
			}
			if rapid.Bool().Draw(t, "ends") {
				a.End = a.Start + unit.Micros(rapid.Int64Range(1, 10).Draw(t, "length"))
			}
			as = append(as, a)
		}
		slots, refused := Place(as)
		for at := range unit.Micros(31) {
			taken := map[int64]string{}
			for _, a := range as {
				if a.Start > at || (a.End != 0 && a.End <= at) {
					continue
				}
				var width int64
				for _, r := range slots[a.ID] {
					width += r.Hi - r.Lo
					for s := r.Lo; s < r.Hi; s++ {
						if who, ok := taken[s]; ok {
							t.Fatalf("at %d slot %d is held by %s and %s", at, s, who, a.ID)
						}
						taken[s] = a.ID
					}
				}
				if width != 0 && width != int64(a.Share) {
					t.Fatalf("%s holds %d thousandths of %d", a.ID, width, a.Share)
				}
			}
		}
		shuffled := slices.Clone(as)
		rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "order"))).Shuffle(len(as), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		again, refusedAgain := Place(shuffled)
		if !reflect.DeepEqual(slots, again) || !reflect.DeepEqual(refused, refusedAgain) {
			t.Fatalf("order of statements changed the slots: %v, %v", slots, again)
		}
	})
}
