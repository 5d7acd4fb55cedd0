package query

import (
	"fmt"
	"slices"
	"time"
)

// mostOpen is how far back hours that are not closed are estimated.
const mostOpen = 48 * time.Hour

// provisional adds the estimate of the hours that are over or running and not closed, as frames of their own.
func (b *builder) provisional() {
	o, ok := b.opened()
	if !ok {
		if d := b.divided(); d != "" && !b.q.ClosedOnly {
			b.notice(fmt.Sprintf("hours that are not closed are left out: how their energy divides by %s is not known yet", d))
		}
		return
	}
	if b.state.Open == nil { // not found out
		return
	}
	s := b.begin()
	if o.energy && !b.state.Open.Held && (s.askedFor() != "1" || !b.scope.All) {
		return // nothing was held
	}
	var sites []string
	var ends []int64
	var perEnergy, perTime []float64
	for i, id := range o.sites {
		if e, t, ok := o.per(b.state.Open.Last[id]); ok {
			sites, ends, perEnergy, perTime = append(sites, id), append(ends, o.closed[i]), append(perEnergy, e), append(perTime, t)
		}
	}
	if sites == nil {
		return
	}
	rows := ""
	if !o.energy {
		rows = s.timeRows(o)
	} else if rows = s.ofNobody(o); rows == "" {
		rows = s.shared(s.spent(o), s.holders(o), o)
	}
	of := func(per string) string {
		return "transform(toString(site), " + s.args.texts(sites) + ", " + per + ", 0.)"
	}
	value := "sum(amount * " + of(s.args.numbers(perEnergy)) + " + time * " + of(s.args.numbers(perTime)) + ") / " + o.scale
	conds := []string{"hour >= transform(toString(site), " + s.args.texts(sites) + ", " + s.args.wholes(ends) + ", toInt64(4102444800))"}
	for _, d := range s.m.By {
		if c, ok := bookColumns[d]; ok {
			conds = append(conds, s.key(d, c.column))
		}
	}
	var exprs []string
	for _, d := range b.grouping() {
		exprs = append(exprs, bookColumns[d].column)
	}
	cols, groupNames := groups(exprs)
	from := rows + " WHERE " + and(conds...)
	grid := b.span.grid(b.span.step(time.Hour))
	p := points{names: groupNames}
	if b.form == FormSeries {
		p.item = "(SELECT " + cols + ", " + grid.slot(s.args, "hour") + " AS slot, " + value + " AS v FROM " + from + " GROUP BY " + groupNames + ", slot)"
	}
	p.total = "(SELECT " + cols + ", " + value + " AS v FROM " + from + " GROUP BY " + groupNames + ")"
	notices := []string{"provisional: hours that are not closed, from the devices' counters and the site's last closed hour"}
	if !b.scope.All {
		notices = []string{"provisional: hours that are not closed, of devices held wholly, from their counters and the last closed hour"}
	}
	oldest := time.Unix(o.to, 0).Add(-mostOpen)
	if oldest.After(b.span.From) && slices.ContainsFunc(sites, func(id string) bool { return b.state.Sites[id].ClosedUpTo.Before(oldest) }) {
		notices = append(notices, fmt.Sprintf("hours that have been open for more than %.0f hours are left out", mostOpen.Hours()))
	}
	s.rank(p, Result{Provisional: true, Source: "rollups", Notices: notices}, grid)
	st := &b.plan.Statements[len(b.plan.Statements)-1]
	if st.Result.Series != nil {
		st.Result.Series.Labels = map[string]string{"provisional": "true"}
	}
}

func (b *builder) notice(text string) {
	for i := range b.plan.Statements {
		b.plan.Statements[i].Result.Notices = append(b.plan.Statements[i].Result.Notices, text)
	}
}
