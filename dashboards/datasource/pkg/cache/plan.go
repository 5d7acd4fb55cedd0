package cache

import (
	"time"

	"github.com/wattledger/wattledger/dashboards/query"
)

// plan is how a question is answered in parts. All times are seconds since 1970, and slots are step apart.
type plan struct {
	question
	step  int64
	slots int64 // of a chunk
	// from and to are the slots of the answer; first and beyond the chunks that do not move any more.
	from, to      int64
	first, beyond int64
	stable        int64
}

// key is that of a chunk that begins then, or of what else is kept of the question whatever its range.
func (p plan) key(what string, at int64) key {
	k := key{what: what, scope: p.scope, text: p.text, interval: time.Duration(p.step) * time.Second}
	if what == chunk {
		k.from, k.to = at*int64(time.Second), (at+p.slots*p.step)*int64(time.Second)
		if p.ledger {
			k.version = p.version
		}
	}
	return k
}

// levels are the rollups from the coarsest on, by their width in seconds.
var levels = []struct {
	name  string
	width int64
}{{"1h", 3600}, {"1m", 60}, {"10s", 10}}

// plan says whether a question can be answered in parts, and how.
func (c *Cache) plan(asked question, state query.State) (plan, bool) {
	telemetry := asked.q.Kind == query.KindFleet || asked.q.Kind == query.KindDevice
	step := asked.drawn.Step
	if !asked.ledger && !telemetry || step < time.Second || step >= 24*time.Hour || step%time.Second != 0 {
		return plan{}, false // days begin at midnight of a zone, not on a multiple
	}
	p := plan{question: asked, step: int64(step / time.Second), slots: telemetrySlots}
	if asked.ledger {
		p.slots, p.stable = ledgerSlots, asked.closed
	} else {
		p.stable = complete(state, asked, p.step)
	}
	p.from, p.to = floor(p.span.From.Unix(), p.step), ceil(p.span.To, p.step)
	length := p.slots * p.step
	p.first = floor(p.from, length)
	// The slot that the range ends in is only whole where the range ends with it; so no chunk reaches beyond the range.
	p.beyond = floor(min(p.span.To.Unix(), p.stable), length)
	if p.beyond <= p.first || (p.to-p.first)/p.step > mostSlots {
		return plan{}, false
	}
	if _, known := c.store.get(p.key(unfit, 0), c.now()); known {
		return plan{}, false
	}
	return p, true
}

// mostSlots keeps what is asked at once under what query allows of points.
const mostSlots = 10_000

// complete is up to when the level that a step is read from holds all that was stored. A fleet is read from sums of nodes, which have their own.
func complete(state query.State, asked question, step int64) int64 {
	for i, l := range levels {
		if l.width > step && i < len(levels)-1 {
			continue
		}
		s, ok := state.Levels[l.name]
		if sums, there := state.Levels["node_"+l.name]; there && asked.q.Kind == query.KindFleet && asked.scope.All {
			s, ok = sums, true
		}
		if ok && !s.Complete.IsZero() {
			return floor(s.Complete.Unix(), l.width)
		}
		return 0
	}
	return 0
}

// keptFor is for how long a chunk that ends then is believed.
func (p plan) keptFor(end int64) time.Duration {
	switch {
	case p.ledger:
		return ledgerFor
	case p.stable-end < int64(young/time.Second):
		return youngFor
	default:
		return oldFor
	}
}

func floor(t, width int64) int64 { return t - ((t%width)+width)%width }

func ceilTo(t, width int64) int64 { return floor(t+width-1, width) }

// ceil is the end of the slot that the last moment before t lies in.
func ceil(t time.Time, step int64) int64 {
	s := t.Unix()
	if t.Nanosecond() > 0 {
		s++
	}
	return ceilTo(s, step)
}
