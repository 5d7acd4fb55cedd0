package cache

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattledger/wattledger/dashboards/query"
)

// plan is how a question is answered in parts. All times are seconds since 1970, and slots are step apart.
type plan struct {
	scope query.Scope
	q     query.Query
	span  query.Span
	step  int64
	slots int64 // of a chunk
	limit int
	// from and to are the slots of the answer; first and beyond the chunks that do not move any more.
	from, to      int64
	first, beyond int64
	stable        int64
	ledger        bool
	question      string
	version       string
}

// levels are the rollups from the coarsest on, by their width in seconds.
var levels = []struct {
	name  string
	width int64
}{{"1h", 3600}, {"1m", 60}, {"10s", 10}}

// plan says whether a question can be answered in parts, and how.
func (c *Cache) plan(ctx context.Context, scope query.Scope, q query.Query, span query.Span) (plan, bool) {
	ledger := slices.Contains([]query.Kind{query.KindUsage, query.KindEnergy, query.KindCarbon, query.KindCoverage}, q.Kind)
	telemetry := q.Kind == query.KindFleet || q.Kind == query.KindDevice
	metric, err := q.Validate()
	if err != nil || !ledger && !telemetry || q.Form != query.FormSeries && (q.Form != "" || len(metric.Forms) == 0 || metric.Forms[0] != query.FormSeries) {
		return plan{}, false
	}
	state, err := c.State(ctx)
	if err != nil {
		return plan{}, false // the engine will say so itself
	}
	planned, err := query.New(q, scope, span, state, query.Options{Kept: c.kept})
	if err != nil || len(planned.Statements) == 0 {
		return plan{}, false
	}
	step := planned.Statements[0].Result.Step
	for _, s := range planned.Statements {
		if s.Result.Step != step || s.Result.Series == nil {
			return plan{}, false
		}
	}
	if step < time.Second || step >= 24*time.Hour || step%time.Second != 0 {
		return plan{}, false // days begin at midnight of a zone, not on a multiple
	}
	p := plan{scope: scope, q: q, span: span, step: int64(step / time.Second), limit: planned.Statements[0].Result.Limit, ledger: ledger, question: text(q)}
	if ledger {
		p.stable, p.version = closed(state, q)
	} else {
		p.stable = complete(state, p.step)
	}
	p.from, p.to = floor(span.From.Unix(), p.step), ceil(span.To, p.step)
	if ledger {
		p.slots = ledgerSlots
	} else {
		p.slots = telemetrySlots
	}
	length := p.slots * p.step
	p.first = floor(p.from, length)
	// The slot that the range ends in is only whole where the range ends with it; so no chunk reaches beyond the range.
	p.beyond = floor(min(span.To.Unix(), p.stable), length)
	if p.beyond <= p.first || (p.to-p.first)/p.step > mostSlots {
		return plan{}, false
	}
	if _, known := c.store.get(p.key(unfit), c.now()); known {
		return plan{}, false
	}
	return p, true
}

// mostSlots keeps what is asked at once under what query allows of points.
const mostSlots = 10_000

// closed is up to when all sites in question are closed, and their numbers of batches.
func closed(state query.State, q query.Query) (until int64, version string) {
	var b strings.Builder
	first := true
	for _, id := range slices.Sorted(maps.Keys(state.Sites)) {
		if !wanted(q, id) {
			continue
		}
		site := state.Sites[id]
		end := site.ClosedUpTo.Unix()
		if site.ClosedUpTo.IsZero() {
			end = 0
		}
		if first || end < until {
			until, first = end, false
		}
		b.WriteString(strconv.Quote(id) + strconv.FormatUint(site.Batches, 10))
	}
	return until, b.String()
}

// wanted says that the filters keep a site.
func wanted(q query.Query, site string) bool {
	for _, f := range q.Filters {
		if f.Dimension == query.Site && len(f.Values) > 0 && !slices.Contains(f.Values, site) {
			return false
		}
	}
	return true
}

// complete is up to when the level that a step is read from holds all that was stored.
func complete(state query.State, step int64) int64 {
	for i, l := range levels {
		if l.width > step && i < len(levels)-1 {
			continue
		}
		if s, ok := state.Levels[l.name]; ok && !s.Complete.IsZero() {
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

// text is a question as one string; equal questions have equal ones.
func text(q query.Query) string {
	raw, err := json.Marshal(q)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return string(raw)
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
