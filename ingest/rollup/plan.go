package rollup

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/unit"
)

const (
	// cell is how many buckets a window of many nodes has at most. Cells lie on a grid of their own length, which divides a day, so that a
	// window lies in one partition of its table.
	cell = 24
	// maxNodes is how many nodes are built at once, which bounds the memory of it: a row of some 600 bytes for each device and bucket.
	maxNodes = 1000
)

// cellOf is the length of a cell: of few nodes a longer one, which costs the same memory and fewer statements.
func cellOf(width unit.Micros, nodes int) unit.Micros {
	length := cell * width
	for _, longer := range []unit.Micros{unit.Hour, 3 * unit.Hour, 6 * unit.Hour, 12 * unit.Hour, 24 * unit.Hour} {
		if longer > length && int64(nodes)*int64(longer/width) <= cell*maxNodes {
			length = longer
		}
	}
	return length
}

// Touched says that samples of a node came in. First and Last are ticks.
type Touched struct {
	Site, Node  string
	First, Last unit.Micros
}

// Window is what is built at once: the buckets in [From, To) of some nodes.
type Window struct {
	Site     string
	Nodes    []string
	From, To unit.Micros
}

// Plan covers what was touched with windows: every bucket of the width that holds one of the ticks, for its node, and others where that
// makes fewer windows. Windows of one node do not overlap. The order of touched does not matter.
func Plan(width unit.Micros, touched []Touched) []Window {
	type place struct {
		site, node string
		cell       unit.Micros
	}
	type span struct{ from, to unit.Micros }
	type name struct{ site, node string }
	nodes := map[name]bool{}
	for _, t := range touched {
		nodes[name{t.Site, t.Node}] = true
	}
	length := cellOf(width, len(nodes))
	hulls := map[place]span{}
	for _, t := range touched {
		from, to := floor(t.First, width), floor(t.Last, width)+width
		for c := floor(from, length); c < to; c += length {
			at, s := place{t.Site, t.Node, c}, span{max(from, c), min(to, c+length)}
			if had, ok := hulls[at]; ok {
				s = span{min(s.from, had.from), max(s.to, had.to)}
			}
			hulls[at] = s
		}
	}
	if length > cell*width { // Where one statement can build a cell of all, it does: each more costs more than buckets that nothing touched.
		type whole struct {
			site string
			cell unit.Micros
		}
		of := map[whole]span{}
		for at, s := range hulls {
			if had, ok := of[whole{at.site, at.cell}]; ok {
				s = span{min(s.from, had.from), max(s.to, had.to)}
			}
			of[whole{at.site, at.cell}] = s
		}
		for at := range hulls {
			hulls[at] = of[whole{at.site, at.cell}]
		}
	}
	type key struct {
		site     string
		from, to unit.Micros
	}
	groups := map[key][]string{}
	for at, s := range hulls {
		k := key{at.site, s.from, s.to}
		groups[k] = append(groups[k], at.node)
	}
	keys := slices.SortedFunc(maps.Keys(groups), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(a.site, b.site))
	})
	var out []Window
	for _, k := range keys {
		slices.Sort(groups[k])
		for part := range slices.Chunk(groups[k], maxNodes) {
			out = append(out, Window{k.site, part, k.from, k.to})
		}
	}
	return out
}

// spans joins windows of the same nodes that follow one another.
func spans(plan []Window) []Window {
	var out []Window
	at := map[string]int{}   // the last span of some nodes
	for _, w := range plan { // in order of time
		key := strings.Join(append([]string{w.Site}, w.Nodes...), "\x00")
		if i, ok := at[key]; ok && out[i].To == w.From {
			out[i].To = w.To
			continue
		}
		at[key] = len(out)
		out = append(out, w)
	}
	return out
}

// floor is the multiple of step at or before t, before 1970 too.
func floor(t, step unit.Micros) unit.Micros {
	m := t % step
	if m < 0 {
		m += step
	}
	return t - m
}
