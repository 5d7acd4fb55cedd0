package verify

import (
	"cmp"
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// row is a row of slots, [lo, hi).
type row struct{ lo, hi int64 }

func (r row) shift(by int64) row { return row{r.lo + by, r.hi + by} }

// place gives each allocation of a device its thousandths, one by one the lowest that are free from its start, in order
// of (start, id); those that ask for more than is free get none and are not in the map.
func place(allocations []record.Allocation) map[string][]row {
	const never = unit.Micros(1<<63 - 1)
	sorted := slices.Clone(allocations)
	slices.SortFunc(sorted, func(a, b record.Allocation) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID))
	})
	var until [unit.WholeDevice]unit.Micros // when each thousandth becomes free
	placed := map[string][]row{}
	for _, a := range sorted {
		var slots []int64
		for s := range until {
			if until[s] <= a.Start && len(slots) < int(a.Share) {
				slots = append(slots, int64(s))
			}
		}
		if len(slots) < int(a.Share) {
			continue
		}
		end := a.End
		if end == 0 {
			end = never
		}
		var rows []row
		for _, s := range slots {
			until[s] = end
			if n := len(rows); n > 0 && rows[n-1].hi == s {
				rows[n-1].hi++
			} else {
				rows = append(rows, row{s, s + 1})
			}
		}
		placed[a.ID] = rows
	}
	return placed
}
