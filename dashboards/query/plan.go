package query

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options are what an operator configures.
type Options struct {
	// Kept says how old levels of telemetry get.
	Kept Kept
	// SQL allows statements of the operator's own.
	SQL bool
}

// Plan is what is to be asked of the engine for a question: its statements, whose answers together are the frames.
type Plan struct {
	Statements []Statement
}

// Statement is one SELECT with the values of its parameters, and how its rows become frames.
type Statement struct {
	SQL    string
	Args   Args
	Result Result
	// Own says that the statement is an operator's own text, which runs under tighter limits.
	Own bool
}

// Result says what the columns of an answer are. Where Series is set, a row is a series: place, of, a column for each of By, times
// and values. Where Ranked is set, a row begins with place and of: the rank of the row, and how many there were. Otherwise the columns are those of Table.
type Result struct {
	Name   string
	Series *Series
	Table  []Column
	Ranked bool
	// Limit is how many series or rows are shown. Of ranked ones the rest stands in one more, where Other is set.
	Limit       int
	Other       bool
	Provisional bool
	Source      string
	Step        time.Duration
	Notices     []string
	AsOf        map[string]uint64
}

// Series says what a series is of.
type Series struct {
	Metric, Unit string
	By           []Dimension
	Labels       map[string]string
	Grid         Grid
}

// OtherName stands for all that a limit left out.
const OtherName = "other"

// The limits on series and rows: the usual ones, and the largest that can be asked for.
const (
	usualSeries, mostSeries = 25, 1000
	usualRows, mostRows     = 1000, 10_000
)

// Validate says whether the question can be asked at all, and fills in the metric. It looks at no scope.
func (q Query) Validate() (Metric, error) {
	if q.Kind == KindSQL {
		return Metric{Kind: KindSQL}, nil
	}
	var kinds []Kind
	var names []string
	for _, m := range Metrics {
		if !slices.Contains(kinds, m.Kind) {
			kinds = append(kinds, m.Kind)
		}
		if m.Kind != q.Kind {
			continue
		}
		if m.Name == q.Metric {
			return m, q.against(m)
		}
		names = append(names, m.Name)
	}
	if names == nil {
		return Metric{}, refuse(ReasonKind, "kind %s is not known: ask for %s or %s", quoted(q.Kind), list(kinds), KindSQL)
	}
	return Metric{}, refuse(ReasonMetric, "kind %s has no metric %s: ask for %s", q.Kind, quoted(q.Metric), list(names))
}

func (q Query) against(m Metric) error {
	if q.Form != "" && !slices.Contains(m.Forms, q.Form) {
		return refuse(ReasonForm, "%s of %s has no form %s: ask for %s", m.Name, m.Kind, quoted(q.Form), list(m.Forms))
	}
	known := func(d Dimension) error {
		switch {
		case slices.Contains(m.By, d):
			return nil
		case len(m.By) == 0:
			return refuse(ReasonDimension, "%s of %s knows no dimension %s: it knows none", m.Name, m.Kind, quoted(d))
		}
		return refuse(ReasonDimension, "%s of %s knows no dimension %s: ask for %s", m.Name, m.Kind, quoted(d), list(m.By))
	}
	seen := map[Dimension]bool{}
	for _, d := range q.By {
		if err := known(d); err != nil {
			return err
		}
		if seen[d] {
			return refuse(ReasonDimension, "%s stands twice in what to group by", d)
		}
		seen[d] = true
	}
	if len(q.Filters) > 64 {
		return refuse(ReasonFilter, "%d filters: 64 at most", len(q.Filters))
	}
	size := 0
	for _, f := range q.Filters {
		if err := known(f.Dimension); err != nil {
			return err
		}
		for _, v := range f.Values {
			size += len(v)
		}
		if len(f.Values) > 20_000 || size > 512<<10 {
			return refuse(ReasonFilter, "the filters hold too much: 20,000 values and 512 KiB at most; leave the filter on %s out to keep all", f.Dimension)
		}
	}
	if q.Limit < 0 || q.Limit > mostRows {
		return refuse(ReasonLimit, "limit %d: must lie between 0, which is the metric's own, and %d", q.Limit, mostRows)
	}
	return nil
}

// builder makes the statements of one question.
type builder struct {
	q     Query
	m     Metric
	form  Form
	by    []Dimension
	span  Span
	scope Scope
	state State
	opt   Options
	now   time.Time
	plan  Plan
}

// statement is a statement that is being made. Each has parameters of its own.
type statement struct {
	*builder
	reader
	// top is the condition for the devices that come first; empty keeps all.
	top string
}

func (b *builder) begin() statement {
	r := reader{who: b.scope, args: newArgs()}
	if !b.span.From.IsZero() {
		r.from, r.to = b.span.From.Add(-day).UnixMicro(), b.span.To.Add(day).UnixMicro()
	}
	r.known = b.state.Held
	return statement{b, r, ""}
}

func (s statement) end(sql string, result Result) {
	s.plan.Statements = append(s.plan.Statements, Statement{SQL: sql, Args: s.args.values, Result: result})
}

func newBuilder(q Query, scope Scope, span Span, state State, opt Options) (*builder, error) {
	if err := scope.Check(); err != nil {
		return nil, refuse(ReasonNoScope, "%s", err)
	}
	m, err := q.Validate()
	if err != nil {
		return nil, err
	}
	if span, err = span.checked(); err != nil {
		return nil, err
	}
	b := &builder{q: q, m: m, form: q.Form, by: q.By, span: span, scope: scope, state: state, opt: opt, now: state.At}
	if b.form == "" && len(m.Forms) > 0 {
		b.form = m.Forms[0]
	}
	return b, nil
}

// New plans a question. It reads no clock: what is now comes with the state.
func New(q Query, scope Scope, span Span, state State, opt Options) (Plan, error) {
	b, err := newBuilder(q, scope, span, state, opt)
	if err != nil {
		return Plan{}, err
	}
	if q.Kind == KindSQL {
		err = b.sql()
	} else {
		err = maker(q)(b)
	}
	return b.plan, err
}

// maker is what makes the statement of a question: that of its metric, else that of its kind.
func maker(q Query) func(*builder) error {
	if do, ok := special()[string(q.Kind)+" "+q.Metric]; ok {
		return do
	}
	return map[Kind]func(*builder) error{
		KindFleet: (*builder).fleet, KindDevice: (*builder).device,
		KindUsage: (*builder).accounts, KindEnergy: (*builder).accounts, KindCarbon: (*builder).accounts,
		KindCoverage: (*builder).quality, KindPipeline: (*builder).pipeline,
	}[q.Kind]
}

// special are the makers of metrics that are made another way than their kind's.
func special() map[string]func(*builder) error {
	return map[string]func(*builder) error{
		"usage summary":  (*builder).summary,
		"carbon factors": (*builder).factors,
		"device now":     (*builder).deviceNow,
		"ledger hours":   (*builder).ledgerHours,
		"ledger batches": (*builder).batches,
		"ledger entries": func(b *builder) error { return b.lineList("", "", "") },
		"ledger explain": (*builder).explain,
		"ledger adjustments": func(b *builder) error {
			return b.lineList("adjustment", ", corrects, reason", ", text corrects, text reason")
		},
		"ledger adjusted_energy":  (*builder).adjusted,
		"ledger open_hours":       (*builder).openHours,
		"ledger closing_delay":    (*builder).closingDelay,
		"coverage lines":          (*builder).qualityLines,
		"coverage missing":        (*builder).missingMessages,
		"pipeline age":            (*builder).age,
		"pipeline nodes":          (*builder).nodeList,
		"pipeline rollups":        (*builder).rollups,
		"sovereignty device_time": (*builder).verdicts,
		"sovereignty matrix":      (*builder).matrix,
		"sovereignty violations":  (*builder).violations,
		"events all":              (*builder).eventList,
		"events count":            (*builder).eventCount,
		"inventory sites":         (*builder).siteList,
		"inventory nodes":         (*builder).nodeInventory,
		"inventory devices":       (*builder).deviceInventory,
		"inventory tenants":       (*builder).tenantList,
		"inventory allocations":   (*builder).allocationList,
	}
}

// limit is how many series or rows are asked for.
func (b *builder) limit() int {
	usual, most := usualRows, mostRows
	if b.form == FormSeries {
		usual, most = usualSeries, mostSeries
	}
	if b.q.Limit == 0 {
		return usual
	}
	return min(b.q.Limit, most)
}

// values are those of all filters on a dimension: a value must be in each. No filter gives nil.
func (b *builder) values(d Dimension) []string {
	var out []string
	first := true
	for _, f := range b.q.Filters {
		if f.Dimension != d || len(f.Values) == 0 {
			continue
		}
		if first {
			out, first = slices.Clone(f.Values), false
			continue
		}
		out = slices.DeleteFunc(out, func(v string) bool { return !slices.Contains(f.Values, v) })
	}
	return out
}

// filtered says that a dimension is filtered; the values may be none, as of two filters that agree in nothing.
func (b *builder) filtered(d Dimension) bool {
	return slices.ContainsFunc(b.q.Filters, func(f Filter) bool { return f.Dimension == d && len(f.Values) > 0 })
}

// in is the condition that an expression has one of the values asked for.
func (s statement) in(d Dimension, expr string) string {
	if !s.filtered(d) {
		return ""
	}
	return "has(" + s.args.texts(s.values(d)) + ", toString(" + expr + "))"
}

// key is in for a column that leads a table's order, so that the index is used.
func (s statement) key(d Dimension, column string) string {
	if !s.filtered(d) {
		return ""
	}
	v := s.values(d)
	if len(v) == 0 {
		return "0"
	}
	return column + " IN " + s.args.texts(v)
}

// groups are the columns g1, g2, … to group by; there is always one.
func groups(exprs []string) (columns, names string) {
	if len(exprs) == 0 {
		return "'' AS g1", "g1"
	}
	c, n := make([]string, len(exprs)), make([]string, len(exprs))
	for i, e := range exprs {
		n[i] = "g" + strconv.Itoa(i+1)
		c[i] = "toString(" + e + ") AS " + n[i]
	}
	return strings.Join(c, ", "), strings.Join(n, ", ")
}

// points is a FROM item with the columns g1, g2, …, slot and v: a point of a series.
type points struct {
	item  string
	names string // g1, g2, …
	// total is a FROM item with g1, g2, … and v over the whole range.
	total string
}

// rank makes a question's answer of points: the largest so many series, and the sum of the others where parts add up.
func (s statement) rank(p points, r Result, grid Grid) {
	n := s.limit()
	limit, beyond := s.args.whole(int64(n)), s.args.whole(int64(n)+1)
	names := strings.Split(p.names, ", ")
	shown, same := make([]string, len(names)), make([]string, len(names))
	for i, g := range names {
		shown[i] = "if(place <= " + limit + ", " + g + ", '') AS " + g + "x"
		same[i] = g + "x"
	}
	r.Limit, r.Other, r.Ranked = n, s.m.Sums && len(s.by) > 0, true
	r.Name = s.m.Name
	switch s.form {
	case FormSeries:
		arrays := "groupArrayIf(slot, isFinite(ifNull(v, nan))) AS ts, groupArrayIf(assumeNotNull(v), isFinite(ifNull(v, nan))) AS vs"
		r.Series = &Series{Metric: s.m.Name, Unit: s.m.Unit, By: s.by, Grid: grid}
		r.Step = grid.Step
		if len(s.by) == 0 { // fewer selects in one another are understood sooner
			s.end("SELECT toUInt64(1), toUInt64(1), "+p.names+", "+arrays+" FROM "+p.item+" GROUP BY "+p.names+" HAVING notEmpty(ts)", r)
			return
		}
		ranked := "SELECT row_number() OVER (ORDER BY weight DESC, " + p.names + ") AS place, count() OVER () AS of, " + p.names + ", ts, vs FROM (SELECT " + p.names + ", " + arrays +
			", arrayAvg(vs) AS weight FROM " + p.item + " GROUP BY " + p.names + " HAVING notEmpty(ts))"
		if r.Other {
			// sumMap leaves out what is zero in all its sums: the count keeps the slots in which nothing was drawn.
			const sums = "sumMap(ts, vs, arrayMap(v -> 1, vs))"
			s.end("SELECT toUInt64(least(place, "+beyond+")) AS rank, max(of) AS amount, "+strings.Join(shown, ", ")+
				", "+sums+".1 AS times, "+sums+".2 AS numbers FROM ("+ranked+") GROUP BY rank, "+strings.Join(same, ", ")+" ORDER BY rank", r)
			return
		}
		s.end(ranked+" ORDER BY place LIMIT "+limit, r)
	default:
		ranked := "SELECT row_number() OVER (ORDER BY ifNull(v, 0) DESC, " + p.names + ") AS place, count() OVER () AS of, " + p.names + ", v FROM " + p.total
		for _, d := range s.by {
			r.Table = append(r.Table, Column{Name: string(d), Type: Text})
		}
		if len(s.by) == 0 || s.form == FormTotal {
			r.Table = nil
		}
		r.Table = append(r.Table, Column{Name: s.m.Name, Type: Number, Unit: s.m.Unit})
		switch {
		case s.form == FormTotal || len(s.by) == 0:
			r.Limit, r.Other, r.Ranked = 0, false, false
			// One number over the range, also where there is no row: of what is booked or happened that is none, of what is read it is unknown.
			none := "NULL"
			if s.m.Sums && s.form == FormTotal && !slices.Contains([]Kind{KindFleet, KindDevice, KindPipeline}, s.q.Kind) {
				none = "0"
			}
			s.end("SELECT if(count() = 0, "+none+", anyOrNull(toNullable(v))) FROM "+p.total, r)
		case r.Other:
			s.end("SELECT toUInt64(least(place, "+beyond+")) AS rank, max(of) AS amount, "+strings.Join(shown, ", ")+
				", sumOrNull(v) AS total FROM ("+ranked+") GROUP BY rank, "+strings.Join(same, ", ")+" ORDER BY rank", r)
		default:
			s.end(ranked+" ORDER BY place LIMIT "+limit, r)
		}
	}
}

// grouping is what to group by for a form: a total has one line.
func (b *builder) grouping() []Dimension {
	if b.form == FormTotal {
		return nil
	}
	return b.by
}
