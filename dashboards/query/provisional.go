package query

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// mostOpen is how far back hours that are not closed are estimated.
const mostOpen = 48 * time.Hour

// estimate is how a figure of hours that are not closed follows from what GPUs took (or from the time that was held), by the
// proportion of the site's last closed hour.
type estimate struct {
	num    string // columns of the ledger that it is a sum of
	byTime bool
	scale  string
}

var estimates = map[string]estimate{
	"usage device_time":  {"device_time", true, timePerHour},
	"energy total":       {total, false, mjPerWh},
	"energy gpu":         {"gpu_mj", false, mjPerWh},
	"energy overhead":    {"toInt128(cpu_mj) + node_rest_mj + it_shared_mj + facility_mj", false, mjPerWh},
	"carbon location":    {"carbon_ug", false, ugPerGram},
	"carbon market":      {"carbon_market_ug", false, ugPerGram},
	"carbon embodied":    {"carbon_embodied_ug", true, ugPerGram},
	"carbon water":       {"water_ul", false, ulPerLitre},
	"carbon heat_reused": {"heat_reused_mj", false, mjPerWh},
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
	var list []int64
	for h := from.Unix(); h < to.Unix(); h += 3600 {
		list = append(list, h)
	}
	hours, end := s.args.wholes(list), s.args.whole(to.Unix())
	after := "hour >= transform(toString(site), " + names + ", " + ends + ", toInt64(4102444800))"
	rows := ""
	if e.byTime {
		rows = s.timeRows(s.holders(hours, end, from, to), hours, end, from, to)
	} else if sums := s.ofNobody(from, to); sums != "" {
		rows = sums
	} else {
		rows = s.shared(s.spent(from, to), s.holders(hours, end, from, to))
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
	base := "gpu_mj"
	if e.byTime {
		base = "device_time"
	}
	// The proportion of the last closed hour, within the scope: of a tenant, its own.
	last := s.lines(subtotals, "*", "(toString(site), toInt64(toUnixTimestamp(hour)) + 3600) IN (SELECT arrayJoin(arrayZip("+names+", "+ends+")) AS z)")
	ratio := "(SELECT toString(site) AS q_site, toFloat64(sum(toInt128(" + e.num + "))) / nullIf(toFloat64(sum(toInt128(" + base + "))), 0) AS q FROM " + last + " GROUP BY site)"
	q := "q"
	if e.num == base {
		q = "1."
	}
	from1 := "(SELECT *, " + q + " AS factor FROM " + rows + " AS r LEFT JOIN " + ratio + " AS l ON q_site = site WHERE " + and(conds...) + ")"
	value := "sum(amount * factor) / " + e.scale
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

// ofNobody is what the GPUs of each node took, from the sums of nodes, where nothing is asked about who held them; else empty.
func (s statement) ofNobody(from, to time.Time) string {
	if !s.scope.All {
		return ""
	}
	for d := range bookColumns {
		if d != Site && d != Node && d != Model && (slices.Contains(s.grouping(), d) || s.filtered(d)) {
			return ""
		}
	}
	var parts []string
	for _, seg := range s.state.segments("node_", 2, from.Unix(), ceil(to)) {
		if seg.level == 0 && seg.to-seg.from < levels[1].width {
			continue // the begin of a bucket
		}
		if seg.level == 0 {
			return "" // a small fleet, or sums that are not built
		}
		parts = append(parts, s.nodeSums(seg, "site, node, model, intDiv(toInt64(toUnixTimestamp(bucket)), 3600) * 3600 AS hour, toFloat64(energy_mj) AS amount", s.key(Site, "site"), s.key(Node, "node"), s.key(Model, "model")))
	}
	return "(" + strings.Join(parts, " UNION ALL ") + ")"
}

// nearEdge is how long before an edge a device was read, at most, to count at it.
const nearEdge = 120

// spent is a FROM item: what each device's energy counter grew by in each hour, in mJ: site, node, device, hour, amount. A counter need not be
// read all the time to know what it grew by: after the rollups of hours, which the running hour is among as far as it has come, the last
// readings before the ends of hours and before the end of all are enough. A counter that began anew in between shows with the next rollup.
func (s statement) spent(from, to time.Time) string {
	edge, end := floor(from.Unix(), 3600), ceil(to)
	var segs []segment
	if st, ok := s.state.Levels["1h"]; ok && st.Complete.After(from) {
		first := edge - lookback(len(levels)-1)
		edge = min(st.Complete.Unix(), end)
		segs = append(segs, segment{len(levels) - 1, first, edge})
		for edge < end {
			next := min(floor(edge, 3600)+3600, end)
			segs = append(segs, s.state.segments("", 1, max(edge, next-nearEdge), next)...)
			edge = next
		}
	} else {
		segs = s.state.segments("", 2, edge-lookback(2), end)
	}
	keep := []string{s.key(Site, "site"), s.key(Node, "node"), s.heldBy(from, to)}
	parts := make([]string, len(segs))
	for i, seg := range segs {
		parts[i] = "SELECT * FROM " + s.telemetry(seg, true, []string{"energy_mj"}, nil, nil, keep...)
	}
	// Sorted by the counter, of each run and epoch a reading follows the one before it in time.
	readings := "(SELECT site, any(node) AS node, device, arraySort(groupArray((assumeNotNull(energy_mj_hi), intDiv(at, 3600) * 3600, assumeNotNull(energy_mj_lo)))) AS r FROM (" +
		strings.Join(parts, " UNION ALL ") + ") WHERE isNotNull(energy_mj_hi) GROUP BY site, device, run, epoch, held)"
	grown := "arrayMap((x, p) -> (x.2, x.1 - if(p.2 > 0 AND x.2 - p.2 <= 3600, p.1, x.3)), r, arrayPushFront(arrayPopBack(r), (toUInt64(0), toInt64(0), toUInt64(0))))"
	return "(SELECT site, any(node) AS node, device, g.1 AS hour, toFloat64(sum(g.2)) AS amount FROM " + readings + " ARRAY JOIN " + grown + " AS g WHERE g.1 >= " +
		s.args.whole(floor(from.Unix(), 3600)) + " GROUP BY site, device, hour)"
}

// heldBy is the condition for devices that those asked for held something of: of others nothing is theirs. Empty where all are asked for.
func (s statement) heldBy(from, to time.Time) string {
	var conds []string
	for _, d := range []Dimension{Tenant, Project, Workload, Allocation, ModelID, Purpose} {
		column := bookColumns[d].column
		conds = append(conds, s.key(d, column))
	}
	if and(conds...) == "1" {
		return ""
	}
	held := s.allocations(append(conds, "start_us < "+s.args.whole(to.UnixMicro()), "(end_us = 0 OR end_us > "+s.args.whole(from.UnixMicro())+")")...)
	return "device IN (SELECT if(m.parent = '', a.device, m.parent) FROM " + held + " AS a LEFT ANY JOIN " + s.instances() + " AS m ON m.device = a.device)"
}

// holders is a FROM item: who held which GPU in which hour: site, device, hour, and an array of who and the share of the hour's time and of
// the device. A MIG instance has its slices' part of its GPU.
func (s statement) holders(hours, end string, from, to time.Time) string {
	lo, hi := s.args.whole(from.UnixMicro()), s.args.whole(to.UnixMicro())
	raw := "(SELECT *, arrayJoin(" + hours + ") AS hour, least(hour + 3600, " + end + ") AS till, " +
		"least(if(end_us = 0, 9223372036854775807, end_us), till * 1000000) - greatest(start_us, hour * 1000000) AS overlap FROM " +
		s.allocations("start_us < "+hi, "(end_us = 0 OR end_us > "+lo+")", s.key(Site, "site")) + ")"
	return "(SELECT a.site AS h_site, if(m.parent = '', a.device, m.parent) AS h_device, a.hour AS h_hour, " +
		"groupArray((toString(a.tenant), toString(a.project), a.workload, a.allocation, a.model_id, toString(a.purpose), a.overlap / ((a.till - a.hour) * 1000000.) * a.thousandths / 1000. * if(m.parent = '', 1., m.slices / 7.))) AS who FROM " +
		raw + " AS a LEFT ANY JOIN " + s.instances() + " AS m ON m.device = a.device WHERE a.overlap > 0 GROUP BY h_site, h_device, h_hour)"
}

const holderColumns = "x.1 AS tenant, x.2 AS project, x.3 AS workload, x.4 AS allocation, x.5 AS model_id, x.6 AS purpose"

// shared gives what a device took to those who held it, by their share, and the rest to nobody. Of a tenant, what a device took while it
// held it is its own as a whole.
func (s statement) shared(amounts, held string) string {
	nobody := "('', '', '', '', '', '', greatest(1. - arraySum(y -> y.7, w), 0.))"
	who := "arrayConcat(w, [" + nobody + "])"
	if !s.scope.All {
		who = "arrayMap(y -> (y.1, y.2, y.3, y.4, y.5, y.6, y.7 / arraySum(z -> z.7, w)), w)"
	}
	return "(SELECT site, node, device, model, hour, if(tenant = '', 'unallocated', 'tenant') AS account, " + holderColumns + ", amount * x.7 AS amount FROM " +
		"(SELECT e.site AS site, e.node AS node, e.device AS device, k.model AS model, e.hour AS hour, e.amount AS amount, h.who AS w FROM " + amounts + " AS e LEFT JOIN " + held +
		" AS h ON h_site = site AND h_device = device AND h_hour = hour LEFT ANY JOIN " + s.models() + " AS k ON k.device = device) ARRAY JOIN " + who + " AS x WHERE x.7 > 0)"
}

// timeRows are the times that devices were held, and the rest of the time of each GPU.
func (s statement) timeRows(held, hours, end string, from, to time.Time) string {
	lo, hi := s.args.whole(from.UnixMicro()), s.args.whole(to.UnixMicro())
	gpus := "(SELECT DISTINCT site, node, device, arrayJoin(" + hours + ") AS hour, (least(hour + 3600, " + end + ") - hour) * 1000000. AS amount FROM " +
		s.devices("kind = 'gpu'", "from_us < "+hi, "(to_us = 0 OR to_us > "+lo+")", s.key(Site, "site"), s.key(Node, "node")) + ")"
	if !s.scope.All {
		// What was held is all that a tenant sees: the holdings themselves are the rows.
		gpus = "(SELECT h_site AS site, any(d.node) AS node, h_device AS device, h_hour AS hour, any((least(h_hour + 3600, " + end + ") - h_hour) * 1000000.) AS amount FROM (SELECT *, (h_hour + 3600) * 1000000 - 1 AS h_till FROM " + held + ")" +
			" AS g ASOF LEFT JOIN " + s.stays() + " AS d ON d.site = h_site AND d.device = h_device AND h_till >= d.from_us GROUP BY site, device, hour)"
		rows := s.shared(gpus, held)
		return strings.Replace(rows, "y.7 / arraySum(z -> z.7, w)", "y.7", 1)
	}
	return s.shared(gpus, held)
}
