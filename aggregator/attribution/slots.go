package attribution

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Range is a stretch of a device's slots: [Lo, Hi) of its thousandths.
type Range struct{ Lo, Hi int64 }

// Slots says which thousandths of a device each allocation holds, for as long as it holds it.
type Slots map[string][]Range

// Overbooked is an allocation that asked for more of a device than was free. It holds nothing, and is named.
type Overbooked struct {
	Allocation record.Allocation
	Free       unit.Thousandths
	// Holders are the allocations that hold the rest.
	Holders []string
}

func (o Overbooked) Error() string {
	by := o.Holders
	if len(by) == 0 {
		by = []string{"nothing"} // it asks for more than the device is
	}
	if n := len(by) - maxHolders; n > 0 {
		by = append(slices.Clone(by[:maxHolders]), fmt.Sprintf("%d more", n))
	}
	return fmt.Sprintf("allocation %s wants %d thousandths of %s from %s, %d are free beside %s: mend the scheduler's statement",
		o.Allocation.ID, o.Allocation.Share, o.Allocation.Device, o.Allocation.Start.Time().Format("2006-01-02T15:04:05.000Z"), o.Free, strings.Join(by, ", "))
}

// maxHolders bounds how many holders a refusal names.
const maxHolders = 4

// Place gives every allocation of one device its slots: the lowest that are free when it starts, in order of start and
// then of id. An allocation keeps its slots until it ends, so that no edge of another moves its energy. The result
// depends on the allocations only, not on their order.
func Place(allocations []record.Allocation) (Slots, []Overbooked) {
	order := slices.Clone(allocations)
	slices.SortFunc(order, func(a, b record.Allocation) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID))
	})
	slots := Slots{}
	var refused []Overbooked
	var held []record.Allocation
	for _, a := range order {
		held = slices.DeleteFunc(held, func(h record.Allocation) bool { return h.End != 0 && h.End <= a.Start })
		free := freeRanges(held, slots)
		var sum int64
		for _, r := range free {
			sum += r.Hi - r.Lo
		}
		if sum < int64(a.Share) {
			o := Overbooked{Allocation: a, Free: unit.Thousandths(sum)}
			for _, h := range held {
				o.Holders = append(o.Holders, h.ID)
			}
			refused = append(refused, o)
			continue
		}
		slots[a.ID] = take(free, int64(a.Share))
		held = append(held, a)
	}
	return slots, refused
}

func freeRanges(held []record.Allocation, slots Slots) []Range {
	var taken []Range
	for _, h := range held {
		taken = append(taken, slots[h.ID]...)
	}
	slices.SortFunc(taken, func(a, b Range) int { return cmp.Compare(a.Lo, b.Lo) })
	var free []Range
	at := int64(0)
	for _, r := range taken {
		if r.Lo > at {
			free = append(free, Range{at, r.Lo})
		}
		at = r.Hi
	}
	if at < int64(unit.WholeDevice) {
		free = append(free, Range{at, int64(unit.WholeDevice)})
	}
	return free
}

func take(free []Range, want int64) []Range {
	var out []Range
	for _, r := range free {
		if want == 0 {
			break
		}
		n := min(want, r.Hi-r.Lo)
		out = append(out, Range{r.Lo, r.Lo + n})
		want -= n
	}
	return out
}
