package query

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// mostOpen is how far back hours that are not closed are estimated.
const mostOpen = 48 * time.Hour

// estimate is how a figure of hours that are not closed follows from the energy of GPUs and from time. A site's last closed hour says how much there
// was of all else: of CPUs for each GPU's energy, of the rest of nodes and shared IT for each hour that a device was there, busy or not, of the
// facility for all IT, and of carbon and water for all of it.
type estimate struct {
	// energy and time are what a figure has for each unit of them, as expressions of sums of the last closed hour; empty is nothing.
	energy, time string
	scale        string
}

const (
	facilityPerIT = "t / nullIf(g + c + r, 0)"
	perEnergy     = "(" + facilityPerIT + " * (1 + ifNull(c / nullIf(g, 0), 0)))"
	perTime       = "(" + facilityPerIT + " * ifNull(r / nullIf(d, 0), 0))"
)

// lastHour are the sums that estimates are expressions of; x is the column that a figure is a sum of itself.
func lastHour(column string) string {
	sums := func(expr, name string) string { return "toFloat64(" + sum(expr) + ") AS " + name }
	return strings.Join([]string{
		sums("gpu_mj", "g"), sums("cpu_mj", "c"), sums("toInt128(node_rest_mj) + it_shared_mj", "r"), sums(total, "t"), sums("device_time", "d"), sums(column, "x"),
	}, ", ")
}

// ofTotal is what a figure has for each mJ of all energy.
func ofTotal(scale string) estimate {
	return estimate{"x / nullIf(t, 0) * " + perEnergy, "x / nullIf(t, 0) * " + perTime, scale}
}

var estimates = map[string]struct {
	column string
	estimate
}{
	"usage device_time":  {"device_time", estimate{"", "1.", timePerHour}},
	"energy total":       {"gpu_mj", estimate{perEnergy, perTime, mjPerWh}},
	"energy gpu":         {"gpu_mj", estimate{"1.", "", mjPerWh}},
	"energy overhead":    {"gpu_mj", estimate{"(" + perEnergy + " - 1)", perTime, mjPerWh}},
	"carbon location":    {"carbon_ug", ofTotal(ugPerGram)},
	"carbon market":      {"carbon_market_ug", ofTotal(ugPerGram)},
	"carbon embodied":    {"carbon_embodied_ug", estimate{"", "x / nullIf(d, 0)", ugPerGram}},
	"carbon water":       {"water_ul", ofTotal(ulPerLitre)},
	"carbon heat_reused": {"heat_reused_mj", ofTotal(mjPerWh)},
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

// provisional adds the estimate of the hours that are over or running and not closed, as frames of their own.
func (b *builder) provisional() {
	e, ok := estimates[string(b.q.Kind)+" "+b.q.Metric]
	if !ok || b.q.ClosedOnly {
		return
	}
	sites, closed, from, to := b.openSites()
	if len(sites) == 0 || !from.Before(to) {
		return
	}
	for d := range split {
		if slices.Contains(b.grouping(), d) || b.filtered(d) {
			b.notice(fmt.Sprintf("hours that are not closed are left out: how their energy divides by %s is not known yet", d))
			return
		}
	}
	s := b.begin()
	// Of a large fleet the newest samples wait until they are rolled up.
	if st, ok := b.state.Levels[levels[1].name]; ok && st.Complete.Before(to) && s.tooMany(segment{0, st.Complete.Unix(), to.Unix()}) != "" {
		if to = st.Complete; !from.Before(to) {
			return
		}
	}
	names, ends := s.args.texts(sites), s.args.wholes(closed)
	after := "hour >= transform(toString(site), " + names + ", " + ends + ", toInt64(4102444800))"
	open := stretch{floor(from.Unix(), 3600), to.Unix(), s.args.whole(to.Unix())}
	rows := ""
	if e.energy == "" {
		rows = s.timeRows(open)
	} else if rows = s.ofNobody(open); rows == "" {
		edged := s.edged(open)
		rows = s.shared(s.spent(open, edged), s.holders(open, edged), open)
	}
	var conds []string
	conds = append(conds, after)
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
	// The last closed hour within the scope: of a tenant, its own.
	last := s.lines(subtotals, "*", "(toString(site), toInt64(toUnixTimestamp(hour)) + 3600) IN (SELECT arrayJoin(arrayZip("+names+", "+ends+")) AS z)")
	var terms []string
	for of, per := range map[string]string{"amount": e.energy, "time": e.time} {
		if per != "" {
			terms = append(terms, of+" * "+per)
		}
	}
	slices.Sort(terms)
	from1 := "(SELECT *, " + strings.Join(terms, " + ") + " AS figure FROM " + rows + " AS rows LEFT JOIN (SELECT toString(site) AS q_site, " + lastHour(e.column) + " FROM " + last +
		" GROUP BY site) AS l ON q_site = site WHERE " + and(conds...) + ")"
	value := "sum(figure) / " + e.scale
	grid := b.span.grid(b.span.step(time.Hour))
	p := points{names: groupNames}
	if b.form == FormSeries {
		p.item = "(SELECT " + cols + ", " + grid.slot(s.args, "hour") + " AS slot, " + value + " AS v FROM " + from1 + " GROUP BY " + groupNames + ", slot)"
	}
	p.total = "(SELECT " + cols + ", " + value + " AS v FROM " + from1 + " GROUP BY " + groupNames + ")"
	notices := []string{"provisional: hours that are not closed, from the devices' counters and the site's last closed hour"}
	if !b.scope.All {
		notices = []string{"provisional: hours that are not closed, of devices held wholly, from their counters and the last closed hour"}
	}
	oldest := to.Add(-mostOpen)
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

