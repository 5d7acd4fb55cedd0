package adjusting

import (
	"cmp"
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// edge is a place in time at which a device's counter was cut: once for each epoch that reaches over it.
type edge struct {
	device string
	t      unit.Micros
}

// Editions compares an hour's cuts with the newest editions the ledger has of them, and returns those of every edge at which any
// differs, under the next number. An edge is stated whole: the newest edition of it says all there is to say of it, even where
// another sample has made one epoch of two.
func Editions(stored, now []record.Cut) []record.Cut {
	before, after := byEdge(stored), byEdge(now)
	var out []record.Cut
	for e, cuts := range after {
		next := uint32(0)
		was := before[e]
		for _, c := range was {
			next = max(next, c.Edition+1)
		}
		if len(was) > 0 && slices.EqualFunc(was, cuts, same) {
			continue
		}
		for _, c := range cuts {
			c.Edition = next
			out = append(out, c)
		}
	}
	slices.SortFunc(out, compareCuts)
	return out
}

// EndsDiffer says whether editions made by Editions touch an instant: the end of an hour, at which the next one begins.
func EndsDiffer(editions []record.Cut, t unit.Micros) bool {
	return slices.ContainsFunc(editions, func(c record.Cut) bool { return c.T == t })
}

func byEdge(cuts []record.Cut) map[edge][]record.Cut {
	out := map[edge][]record.Cut{}
	for _, c := range cuts {
		e := edge{c.Device, c.T}
		out[e] = append(out[e], c)
	}
	for _, list := range out {
		slices.SortFunc(list, compareCuts)
	}
	return out
}

func compareCuts(a, b record.Cut) int {
	return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.T, b.T), cmp.Compare(a.Epoch, b.Epoch))
}

// same says that two cuts say the same, whatever their edition.
func same(a, b record.Cut) bool {
	a.Edition = b.Edition
	return a == b
}
