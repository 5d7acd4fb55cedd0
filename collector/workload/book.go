package workload

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// book is all that is known of who holds what. It is a plain value under the tracker's lock: it waits for nothing, and what
// it finds wrong it hands to note.
type book struct {
	rules    Rules
	unmapped string // the tenant of what no rule names; may be empty
	keep     unit.Micros
	episodes []*episode
	present  map[string]bool // devices that exist; nil until they are known
	heard    map[string]unit.Micros
	note     func(n note)
}

// note is something that somebody should know of.
type note struct {
	reason  string
	episode *episode
	from    unit.Micros
	to      unit.Micros
	detail  string
}

// apply takes a full statement of a source that was asked at an instant. hint is when the source said that something
// changed, 0 if it did not. It comes back whether an allocation began, ended or changed.
func (b *book) apply(source string, st Statement, at, hint unit.Micros) bool {
	last := b.heard[source]
	if at < last {
		return false // an old word about absence would end what runs
	}
	edge := at
	if hint > last && hint < at {
		edge = hint
	}
	changed := false
	touched := map[string]bool{}
	seen := map[*episode]bool{}
	holds := slices.Clone(st.Holds)
	slices.SortStableFunc(holds, func(x, y Hold) int {
		return cmp.Or(cmp.Compare(x.Start, y.Start), cmp.Compare(x.Key, y.Key), cmp.Compare(x.Device, y.Device))
	})
	for _, h := range holds {
		e := b.find(source, h, seen)
		if e != nil && e.End != 0 && h.End == 0 && b.present != nil && !b.present[h.Device] {
			continue // the scheduler has not noticed yet that the device is gone
		}
		if e == nil {
			if h.Start == 0 && h.End != 0 && last == 0 {
				continue // it ended before we came, and nobody knows when it began
			}
			e = b.begin(source, h, last, edge)
		}
		if seen[e] {
			continue // the same key and device twice in one statement is one hold
		}
		seen[e] = true
		b.learn(e, h, at)
		touched[e.Device] = true
	}
	for _, e := range b.episodes {
		if e.Source == source && e.End == 0 && !seen[e] {
			b.vanish(e, edge, at)
			touched[e.Device] = true
		}
	}
	b.heard[source] = at
	for _, device := range slices.Sorted(maps.Keys(touched)) {
		changed = b.settle(device, at) || changed
	}
	b.forget(at)
	return changed
}

// find is the episode that a hold is about.
func (b *book) find(source string, h Hold, seen map[*episode]bool) *episode {
	var best *episode
	for _, e := range b.episodes {
		if e.Source != source || e.Key != h.Key || e.Device != h.Device {
			continue
		}
		switch {
		case h.Start != 0 && e.Told != 0:
			if e.Told == h.Start {
				return e
			}
		case h.End == 0 && e.EndTold: // runs again: another episode
		case h.Start != 0 && e.End != 0 && h.Start >= e.End: // began after the one we know had ended
		case h.Start > e.Start+lateStart: // likewise; its name was used again
		case h.End != 0 && h.End <= e.Start && !seen[e] && h.Start == 0: // ended before the one we know began
		default:
			best = e // the latest, since episodes are in the order of being known
		}
	}
	return best
}

// lateStart is how much later than it was noticed a scheduler may say that a hold began: a device is given before a
// container starts, and schedulers round.
const lateStart = 10 * unit.Second

// begin is a new episode. Without the scheduler's own start it began when it was noticed.
func (b *book) begin(source string, h Hold, last, edge unit.Micros) *episode {
	e := &episode{Source: source, Ref: clean(h.Ref), Key: h.Key, Device: h.Device, Start: edge, Told: h.Start, Confirmed: edge}
	if h.Start != 0 {
		e.Start = h.Start
	}
	if h.End != 0 && e.Start >= h.End {
		e.Start = h.End - 1
	}
	for taken := true; taken; {
		taken = slices.ContainsFunc(b.episodes, func(o *episode) bool {
			return o.Source == source && o.Key == e.Key && o.Device == e.Device && o.Born == e.Start
		})
		if taken {
			e.Start++
		}
	}
	e.Born = e.Start
	if h.Start == 0 && last == 0 {
		b.note(note{reason: reasonStart, episode: e, from: edge, to: edge, detail: "it ran already when the collector came"})
	}
	b.episodes = append(b.episodes, e)
	return e
}

// learn takes what a statement says of an episode. Later knowledge replaces earlier, but a start only moves back and an end
// that the scheduler gave is final.
func (b *book) learn(e *episode, h Hold, at unit.Micros) {
	e.Seen = at
	if h.Start != 0 && e.Told == 0 {
		e.Told = h.Start
		e.Start = min(e.Start, h.Start)
	}
	switch {
	case h.End != 0:
		e.endAt(max(h.End, e.Start+1), true)
	case !e.EndTold:
		e.End = 0 // also when it was thought to be gone: it is there
		e.Confirmed = max(e.Confirmed, at)
	}
	if len(e.Stated) == 0 { // a share that was stated stays: others were given what it left
		e.Share = h.share()
	}
	e.Given = h.Names
	e.Attributes = make(map[string]string, len(h.Attributes)+2)
	for k, v := range h.Attributes {
		e.Attributes[k] = clean(v)
	}
	e.Attributes["source"], e.Attributes["ref"] = e.Source, e.Ref
}

// vanish ends what is no longer stated. Where it was not confirmed for long, as after a restart, the end is uncertain.
func (b *book) vanish(e *episode, edge, at unit.Micros) {
	e.Seen = at // its end is news from now on, however long ago it was
	if at-e.Confirmed <= uncertainAfter {
		e.endAt(edge, false)
		return
	}
	e.endAt(e.Confirmed, false)
	b.note(note{reason: reasonEnd, episode: e, from: e.Confirmed, to: at, detail: "the source was not read meanwhile"})
}

// uncertainAfter is how long a source may be unread before the end of what vanished meanwhile is called uncertain, and put
// at the last instant at which it was confirmed instead of the one at which it was noticed.
const uncertainAfter = 10 * unit.Second

// devices says what exists; what is held on the rest ends.
func (b *book) devices(uuids []string, at unit.Micros) bool {
	b.present = map[string]bool{}
	for _, u := range uuids {
		b.present[u] = true
	}
	touched := map[string]bool{}
	for _, e := range b.episodes {
		if e.End == 0 && !b.present[e.Device] {
			touched[e.Device] = true
			e.endAt(at, false)
		}
	}
	changed := false
	for _, device := range slices.Sorted(maps.Keys(touched)) {
		changed = b.settle(device, at) || changed
	}
	return changed
}

// name applies the rules to an episode and says whether it has a tenant.
func (b *book) name(e *episode) bool {
	names, bad := b.rules.Name(e.Attributes, e.Given)
	if bad != "" {
		b.once(e, note{reason: reasonPurpose, episode: e, from: e.Start, to: e.Start, detail: bad})
	}
	mapped := names.Tenant != ""
	if !mapped {
		names.Tenant = b.unmapped
	}
	for _, n := range names.each() {
		*n = clean(*n)
	}
	e.Names = names
	return mapped
}

// maxHeard bounds what is remembered of one episode; what its owner changes all the time is not noted more often than that.
const maxHeard = 8

// once hands a note on, but no two alike of one episode.
func (b *book) once(e *episode, n note) {
	word := n.reason + ": " + n.detail
	if !slices.Contains(e.Heard, word) && len(e.Heard) < maxHeard {
		e.Heard = append(e.Heard, word)
		b.note(n)
	}
}

// forget drops what ended long ago and is no longer spoken of.
func (b *book) forget(at unit.Micros) {
	b.episodes = slices.DeleteFunc(b.episodes, func(e *episode) bool {
		return e.End != 0 && max(e.End, e.Seen) < at-b.keep
	})
}

// holders are the episodes that run, by device.
func (b *book) holders() map[string][]Holder {
	out := map[string][]Holder{}
	for _, e := range b.episodes {
		if e.End != 0 {
			continue
		}
		h := Holder{Ref: e.Ref, Source: e.Source, Names: e.Names, Refused: e.Refused, Attributes: e.Attributes}
		if n := len(e.Stated); n > 0 && e.Refused == "" {
			h.Share = e.Stated[n-1].Share
		}
		out[e.Device] = append(out[e.Device], h)
	}
	return out
}

// statement is all allocations, or those that were not yet handed over as they are.
func (b *book) statement(full bool) []record.Allocation {
	var out []record.Allocation
	for _, e := range b.episodes {
		for i := range e.Stated {
			if p := &e.Stated[i]; full || p.dirty {
				out = append(out, p.allocation(e))
			}
		}
	}
	return out
}

func (b *book) handedOver() {
	for _, e := range b.episodes {
		for i := range e.Stated {
			e.Stated[i].dirty = false
		}
	}
}

// maxText is the most bytes of a text that came from outside and goes into a message.
const maxText = 256

// clean makes a text from outside fit for a message: valid UTF-8 without control characters, and bounded.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}
