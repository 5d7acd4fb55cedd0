package cache

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattledger/wattledger/dashboards/query"
)

// question is what is asked, with what is known of it before it is.
type question struct {
	scope query.Scope
	q     query.Query
	span  query.Span // narrowed
	grain time.Duration
	text  string // q as one string
	// ledger says that nothing but batches moves the figures: version is the number of those of the sites in question, closed up to when the
	// hours of all of them are, in seconds since 1970.
	ledger  bool
	closed  int64
	version string
	// drawn is how the engine draws the series that are asked for; it has no step where none are.
	drawn query.Result
}

// key finds an answer or a part of one. The scope is in it, so that what one tenant was answered cannot be found by another's question.
type key struct {
	what     string // chunk, whole or unfit
	scope    query.Scope
	text     string
	version  string
	from, to int64 // nanoseconds
	points   int
	interval time.Duration
	zone     string
}

// What is kept under a key: a chunk of a series, a whole answer, or that a question is not answered in parts.
const (
	chunk = "chunk"
	whole = "whole"
	unfit = "unfit"
)

// key is that of the whole answer.
func (q question) key() key {
	zone := ""
	if q.span.Zone != nil {
		zone = q.span.Zone.String()
	}
	return key{whole, q.scope, q.text, q.version, q.span.From.UnixNano(), q.span.To.UnixNano(), q.span.MaxPoints, q.span.Interval, zone}
}

// learn finds out what can be known of a question whose range was moving before it was narrowed.
func (c *Cache) learn(asked question, moving query.Span, state query.State) question {
	metric, err := asked.q.Validate()
	if err != nil {
		return asked // the engine will say so itself
	}
	ledger := []query.Kind{query.KindUsage, query.KindEnergy, query.KindCarbon, query.KindCoverage}
	asked.ledger = slices.Contains(ledger, asked.q.Kind) && slices.Contains(metric.Forms, query.FormSeries)
	asked.closed, asked.version = closed(state, asked.q)
	if asked.q.Form == query.FormSeries || asked.q.Form == "" && len(metric.Forms) > 0 && metric.Forms[0] == query.FormSeries {
		asked.drawn = c.drawn(asked, moving, state)
		// A narrowed range is now and then a grain shorter than at other times. Its step is that of the range as it was asked for, which is
		// equally long at every refresh: otherwise it would change to and fro.
		asked.span.Interval = max(asked.span.Interval, asked.drawn.Step)
	}
	return asked
}

// drawn is what all statements of a series have in common.
func (c *Cache) drawn(asked question, span query.Span, state query.State) query.Result {
	planned, err := query.New(asked.q, asked.scope, span, state, query.Options{Kept: c.kept})
	if err != nil || len(planned.Statements) == 0 {
		return query.Result{}
	}
	first := planned.Statements[0].Result
	for _, s := range planned.Statements {
		if s.Result.Step != first.Step || s.Result.Series == nil {
			return query.Result{}
		}
	}
	return first
}

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

// text is a question as one string; equal questions have equal ones.
func text(q query.Query) string {
	raw, err := json.Marshal(q)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return string(raw)
}
