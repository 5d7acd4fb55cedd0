package query

import (
	"slices"
	"strconv"
	"time"
)

// Open is what is found out of hours that are not closed before they are estimated, as each part that a statement need not have makes it cheaper.
type Open struct {
	// Last has the last closed hour of sites.
	Last map[string]LastHour
	// Held says that those asked for held anything in the stretch, Edged that anything of it changed hands.
	Held, Edged bool
}

// OpenStatement finds out a part of an Open.
type OpenStatement struct {
	SQL  string
	Args Args
	Read func(Row, *Open) error
}

// open is what of a question is estimated, and over which stretch.
type open struct {
	estimate
	sites []string
	// closed are the ends of the sites' last closed hours, in seconds since 1970.
	closed []int64
	// from and to are the stretch, in seconds since 1970: from the begin of its first hour to the end of what is looked at.
	from, to int64
}

// opened says what is to be estimated; nothing where it is not ok.
func (b *builder) opened() (o open, ok bool) {
	e, ok := estimates[string(b.q.Kind)+" "+b.q.Metric]
	if !ok || b.q.ClosedOnly || b.divided() != "" {
		return open{}, false
	}
	sites, closed, from, to := b.openSites()
	if len(sites) == 0 || !from.Before(to) {
		return open{}, false
	}
	// Of a large fleet the newest samples wait until they are rolled up.
	if st, known := b.state.Levels[levels[1].name]; known && st.Complete.Before(to) && (statement{builder: b}).tooMany(segment{0, st.Complete.Unix(), to.Unix()}) != "" {
		if to = st.Complete; !from.Before(to) {
			return open{}, false
		}
	}
	return open{e, sites, closed, from.Unix(), to.Unix()}, true
}

// divided is the dimension asked for by which the energy of hours that are not closed does not divide yet.
func (b *builder) divided() Dimension {
	for d := range split {
		if slices.Contains(b.grouping(), d) || b.filtered(d) {
			return d
		}
	}
	return ""
}

// openSites are the sites asked for with the end of their last closed hour, and the stretch in which hours are not closed.
func (b *builder) openSites() (sites []string, closed []int64, from, to time.Time) {
	to = b.span.To
	if over := b.over(); over.Before(to) {
		to = over
	}
	oldest := to.Add(-mostOpen)
	from = to
	asked := b.values(Site)
	for id, st := range b.state.Sites {
		if st.ClosedUpTo.IsZero() || b.filtered(Site) && !slices.Contains(asked, id) {
			continue
		}
		sites = append(sites, id)
		begin := st.ClosedUpTo
		if begin.Before(oldest) {
			begin = oldest
		}
		if begin.Before(from) {
			from = begin
		}
	}
	slices.Sort(sites)
	for _, id := range sites {
		closed = append(closed, b.state.Sites[id].ClosedUpTo.Unix())
	}
	if from.Before(b.span.From) {
		from = b.span.From
	}
	return sites, closed, time.Unix(floor(from.Unix()+3599, 3600), 0), to
}

// OpenOf plans what to find out before a question's open hours are estimated. Nil says that nothing is to be estimated, none that nothing has to be
// found out for it. Of a question that cannot be asked nothing is, and New says why.
func OpenOf(q Query, scope Scope, span Span, state State, opt Options) []OpenStatement {
	b, err := newBuilder(q, scope, span, state, opt)
	if err != nil {
		return nil
	}
	o, ok := b.opened()
	if !ok {
		return nil
	}
	out := []OpenStatement{} // not nil: there is something to estimate
	s := b.begin()
	last := OpenStatement{
		"SELECT toString(site) AS id, " + LastHour{}.columns(o.column) + " FROM " +
			s.lines(subtotals, "*", "(toString(site), toInt64(toUnixTimestamp(hour)) + 3600) IN (SELECT arrayJoin(arrayZip("+s.args.texts(o.sites)+", "+s.args.wholes(o.closed)+")) AS z)") + " GROUP BY id",
		s.args.values,
		func(rows Row, to *Open) error {
			to.Last = map[string]LastHour{}
			for rows.Next() {
				var site string
				var l LastHour
				if err := rows.Scan(&site, &l.GPU, &l.CPU, &l.Rest, &l.Total, &l.DeviceTime, &l.Figure); err != nil {
					return err
				}
				to.Last[site] = l
			}
			return nil
		},
	}
	if !o.alone {
		out = append(out, last)
	}
	if !o.energy || s.ofNobody(o) != "" {
		return out
	}
	s = b.begin()
	return append(out, OpenStatement{"SELECT * FROM " + s.allocated(o, "toUInt64(count()), toUInt64(countIf("+s.edge(o)+"))", s.askedFor()), s.args.values, func(rows Row, to *Open) error {
		for rows.Next() {
			var held, edged uint64
			if err := rows.Scan(&held, &edged); err != nil {
				return err
			}
			to.Held, to.Edged = held > 0, edged > 0
		}
		return nil
	}})
}

// askedFor is the condition that an allocation is of those asked for; 1 where all are.
func (s statement) askedFor() string {
	var conds []string
	for _, d := range []Dimension{Tenant, Project, Workload, Allocation, ModelID, Purpose} {
		column := bookColumns[d].column
		if d == Allocation {
			column = "id"
		}
		conds = append(conds, s.key(d, column))
	}
	return and(conds...)
}

// allocated are the allocations that touch a stretch.
func (s statement) allocated(o open, columns string, where ...string) string {
	return s.parts(columns, append(where, "start_us < "+s.args.whole(o.to*1_000_000), "(end_us = 0 OR end_us > "+s.args.whole(o.from*1_000_000)+")", s.key(Site, "site"))...)
}

// of is the condition for GPUs of allocations that touch a stretch.
func (s statement) of(device string, o open, where ...string) string {
	return device + " IN " + s.allocated(o, "gpu", where...)
}

// edge is the condition that an allocation begins or ends within a stretch.
func (s statement) edge(o open) string {
	lo, hi := s.args.whole(o.from*1_000_000), s.args.whole(o.to*1_000_000)
	return "(start_us > " + lo + " OR end_us > " + lo + " AND end_us < " + hi + ")"
}

// fine is the width of the pieces of a device that changed hands; where hours have been open for long, a larger one. All others have hours.
func (o open) fine() string {
	if o.to-o.from > 6*3600 {
		return "600"
	}
	return strconv.Itoa(60)
}
