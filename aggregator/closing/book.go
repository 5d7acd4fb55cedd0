package closing

import (
	"github.com/wattledger/wattledger/aggregator/attribution"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// book is the account of a GPU while an hour is closed: who held it, and how its part of what is shared is split among them.
//
// An amount A that falls to the device is split as its own energy was, by the virtual counters Φ(k, t) = ⌊A·X(k, t)/X⌋, X(k, t)
// being what the places below k had up to t. A holder's part is the difference at its own corners (places × edges) and at no
// other's, so another's edge or name does not move it; what nobody held is the rest.
type book struct {
	dev      Device
	from, to unit.Micros // the part of the hour in which the device is there
	held     []holding
	rest     record.Entry // unallocated
	keep     bool         // rest stands in the ledger whatever it amounts to
	// whole is X: all that the device took so far. own is the part of it that its counters measured.
	whole, own unit.Millijoules
}

// holding is an entry of a holder and its corners.
type holding struct {
	entry   record.Entry
	corners []corner
}

// corner is one bound of a holder's places at one of its edges.
type corner struct {
	sign  int64
	place int64 // a thousandth of the device, or one of its instances
	t     unit.Micros
	x     unit.Millijoules // X(place, t)
	spent int64            // µs × thousandths that the places below had since the device was there
}

// corners are those of [lo, hi) over [a, b). Where lo is 0 nothing lies below.
func cornersOf(r attribution.Range, a, b unit.Micros) []corner {
	out := []corner{{sign: 1, place: r.Hi, t: b}, {sign: -1, place: r.Hi, t: a}}
	if r.Lo > 0 {
		out = append(out, corner{sign: -1, place: r.Lo, t: b}, corner{sign: 1, place: r.Lo, t: a})
	}
	return out
}

// addRest splits the device's part of node rest by the time it was held.
func (b *book) addRest(amount unit.Millijoules) error {
	span := int64(b.to-b.from) * int64(unit.WholeDevice)
	left := amount
	for i := range b.held {
		h := &b.held[i]
		for k := range h.corners {
			c := &h.corners[k]
			v, err := unit.FloorMulDiv(int64(amount), c.spent, span)
			if err != nil {
				return err
			}
			c.x += unit.Millijoules(v)
			h.entry.NodeRest += unit.Millijoules(c.sign * v)
		}
		left -= h.entry.NodeRest
	}
	b.rest.NodeRest = left
	b.whole += amount
	return nil
}

// spread splits an amount by what the slots took. take hands each entry its part; grow adds the amount to what they took.
func (b *book) spread(amount int64, grow bool, take func(*record.Entry, int64)) error {
	left := amount
	for i := range b.held {
		h := &b.held[i]
		var part int64
		for k := range h.corners {
			c := &h.corners[k]
			if b.whole <= 0 {
				continue // nothing to split by: nobody's
			}
			v, err := unit.FloorMulDiv(amount, int64(c.x), int64(b.whole))
			if err != nil {
				return err
			}
			part += c.sign * v
			if grow {
				c.x += unit.Millijoules(v)
			}
		}
		take(&h.entry, part)
		left -= part
	}
	take(&b.rest, left)
	if grow {
		b.whole += unit.Millijoules(amount)
	}
	return nil
}

// each calls f for every entry.
func (b *book) each(f func(*record.Entry)) {
	for i := range b.held {
		f(&b.held[i].entry)
	}
	f(&b.rest)
}

// empty says that an entry has nothing to tell.
func empty(e *record.Entry) bool {
	return e.DeviceTime == 0 && e.GPU == 0 && e.CPU == 0 && e.NodeRest == 0 && e.ITShared == 0 && e.Facility == 0 && e.Water == 0 && e.HeatReused == 0
}
