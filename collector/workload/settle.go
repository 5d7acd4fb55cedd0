package workload

import (
	"cmp"
	"slices"

	"github.com/wattledger/wattledger/schemas/unit"
)

// maxHolders is how many may share a device by their number: with more, a thousandth each would be too much.
const maxHolders = int(unit.WholeDevice)

// settle makes the allocations of one device from its episodes. What would go over 1000 thousandths at any instant is
// refused whole, as the aggregator would: whom it comes down to is decided by who was stated first.
func (b *book) settle(device string, at unit.Micros) (changed bool) {
	var all, admitted []*episode
	for _, e := range b.episodes {
		if e.Device == device {
			all = append(all, e)
		}
	}
	// Those already stated keep what they have; the rest come by their start.
	slices.SortStableFunc(all, func(x, y *episode) int {
		return cmp.Or(-cmp.Compare(min(1, len(x.Stated)), min(1, len(y.Stated))), cmp.Compare(x.Start, y.Start), cmp.Compare(x.Key, y.Key))
	})
	from := make(map[*episode]unit.Micros, len(all))
	// A first pass over those that are stated, as they stand; then each may still move.
	for _, e := range all {
		if len(e.Stated) > 0 {
			from[e] = e.from()
			admitted = append(admitted, e)
		}
	}
	for _, e := range all {
		mapped := b.name(e)
		if !mapped {
			to := e.End
			if to == 0 {
				to = max(at, e.Start)
			}
			state := "it runs"
			if e.End != 0 {
				state = "it has ended"
			}
			b.once(e, note{reason: reasonUnmapped, episode: e, from: e.Start, to: to, detail: state})
		}
		if e.Names.Tenant == "" && len(e.Stated) == 0 {
			e.Refused = reasonUnmapped
			continue
		}
		if e.Names.Tenant == "" { // it had a tenant before the rules or its labels changed: that one stays
			e.Names = e.Stated[len(e.Stated)-1].Names
		}
		if len(e.Stated) == 0 && b.present != nil && !b.present[device] {
			e.Refused = reasonUnknown
			b.once(e, note{reason: reasonUnknown, episode: e, from: e.Start, to: max(e.Start, at)})
			continue
		}
		first, ok := b.place(e, admitted, from)
		if !ok {
			e.Refused = reasonOverbooked
			b.once(e, note{reason: reasonOverbooked, episode: e, from: e.Start, to: max(e.Start, at), detail: "others hold it"})
			continue
		}
		if len(e.Stated) == 0 {
			admitted = append(admitted, e)
			if first > e.Start {
				b.once(e, note{reason: reasonOverbooked, episode: e, from: e.Start, to: first, detail: "others held it at first"})
			}
		}
		from[e], e.Refused = first, ""
	}
	for _, e := range admitted {
		changed = b.cut(e, admitted, from, at) || changed
	}
	return changed
}

// place finds from when there is room for an episode: at its start, or where another ends. One that is stated already is at
// worst where it is.
func (b *book) place(e *episode, admitted []*episode, from map[*episode]unit.Micros) (unit.Micros, bool) {
	stated := len(e.Stated) > 0
	candidates := []unit.Micros{e.Start}
	for _, o := range admitted {
		if o == e {
			continue
		}
		// One that was only seen to be gone has made room by the time that this one is known to have begun.
		if o.End != 0 && !o.EndTold && e.Told != 0 && o.End > e.Start && o.Confirmed <= e.Start && e.Start >= o.floor() && e.Start > from[o] {
			o.End = e.Start
		}
		if o.End > e.Start && o.End < e.until() {
			candidates = append(candidates, o.End)
		}
	}
	slices.Sort(candidates)
	for _, c := range candidates {
		if stated && c >= from[e] {
			break
		}
		if fits(e, c, e.until(), admitted, from) {
			return c, true
		}
	}
	if !stated {
		return 0, false
	}
	// An end that was taken back may have met another that came meanwhile.
	if !fits(e, from[e], e.until(), admitted, from) {
		b.contain(e, admitted, from)
	}
	return from[e], true
}

// contain ends a stated episode where another has taken its place.
func (b *book) contain(e *episode, admitted []*episode, from map[*episode]unit.Micros) {
	end := forever
	for _, o := range admitted {
		if o != e && from[o] >= e.floor() && from[o] < end && !fits(e, from[e], from[o]+1, admitted, from) {
			end = from[o]
		}
	}
	if end < e.until() {
		b.once(e, note{reason: reasonOverbooked, episode: e, from: end, to: max(end, e.End), detail: "another has come meanwhile"})
		e.End = end
	}
}

// fits says whether an episode's share is free over [first, until).
func fits(e *episode, first, until unit.Micros, admitted []*episode, from map[*episode]unit.Micros) bool {
	edges := []unit.Micros{first}
	for _, o := range admitted {
		if o != e && from[o] > first && from[o] < until {
			edges = append(edges, from[o])
		}
	}
	for _, t := range edges {
		sum, sharers := e.Share, 0
		if e.shared() {
			sharers = 1
		}
		for _, o := range admitted {
			if o == e || from[o] > t || o.until() <= t {
				continue
			}
			sum += o.Share
			if o.shared() {
				sharers++
			}
		}
		if sharers > maxHolders || sum > unit.WholeDevice || (sharers > 0 && sum > 0) {
			return false
		}
	}
	return true
}

// cut divides an episode where its share changes, which is only where others share the device by their number.
func (b *book) cut(e *episode, admitted []*episode, from map[*episode]unit.Micros, at unit.Micros) bool {
	changed := false
	if n := len(e.Stated); n > 0 && from[e] < e.Stated[0].Start { // a start that moved back keeps its id
		e.Stated[0].Start = from[e]
		e.Stated[0].Revision, e.Stated[0].dirty = max(e.Stated[0].Revision+1, uint64(at)), true
		changed = true
	}
	boundaries := []unit.Micros{from[e]}
	share := func(unit.Micros, unit.Micros) unit.Thousandths { return e.Share }
	if e.shared() {
		var others []*episode
		for _, o := range admitted {
			if o == e || !o.shared() {
				continue
			}
			others = append(others, o)
			for _, t := range []unit.Micros{from[o], o.End} {
				if t > from[e] && t < e.until() {
					boundaries = append(boundaries, t)
				}
			}
		}
		share = func(first, to unit.Micros) unit.Thousandths {
			n := unit.Thousandths(1)
			for _, o := range others {
				if from[o] < to && o.until() > first {
					n++
				}
			}
			return unit.WholeDevice / n
		}
	}
	return e.cut(boundaries, share, uint64(at)) || changed
}
