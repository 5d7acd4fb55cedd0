package query

import (
	"strings"
	"time"
)

// columnsOf reads "text site, number energy watth" as the columns of a table.
func columnsOf(list string) []Column {
	var out []Column
	for _, c := range strings.Split(list, ", ") {
		w := append(strings.Fields(c), "")
		out = append(out, Column{Name: w[1], Type: map[string]Type{"text": Text, "number": Number, "time": Time, "flag": Flag}[w[0]], Unit: w[2]})
	}
	return out
}

// table ends a statement that lists rows: as many as asked for, and one more to know whether there are more.
func (s statement) table(selected, from, order, columns, source string) {
	n := s.limit()
	s.end("SELECT "+selected+" FROM "+from+" ORDER BY "+order+" LIMIT "+s.args.whole(int64(n)+1),
		Result{Name: s.m.Name, Table: columnsOf(columns), Limit: n, Source: source, AsOf: s.asOf()})
}

func moment(us string) string { return "fromUnixTimestamp64Micro(toInt64(" + us + "), 'UTC')" }

// dims are the columns and names of what is grouped by in a table, and its text columns.
func (s statement) dims(usual ...Dimension) (exprs, columns []string) {
	by := s.by
	if len(by) == 0 {
		by = usual
	}
	for _, d := range by {
		exprs = append(exprs, bookColumns[d].column)
		columns = append(columns, "text "+string(d))
	}
	return exprs, columns
}

// summary is what there is to say of each tenant in one row.
func (b *builder) summary() error {
	if len(b.by) == 0 {
		b.by = []Dimension{Tenant}
	}
	s := b.begin()
	exprs, columns := s.dims()
	cols, names := groups(exprs)
	chosen := b.bookOf()
	value := func(k Kind, name string) string { return figures[k][name].value }
	from := s.lines(chosen, "*", append([]string{s.hours()}, s.lineFilters()...)...)
	s.table(cols+", "+strings.Join([]string{
		value(KindUsage, "device_time"), "toFloat64(sumIf(toInt128(device_time), account = 'held_idle')) / " + timePerHour, value(KindEnergy, "total") + " AS energy",
		value(KindEnergy, "gpu"), value(KindCarbon, "location"), value(KindCarbon, "market"), value(KindCarbon, "embodied"), value(KindCarbon, "water"),
		value(KindUsage, "sm_active"), value(KindEnergy, "unmeasured_share"),
	}, ", "), from+" GROUP BY "+names, "energy DESC, "+names,
		strings.Join(columns, ", ")+", number device_time suffix:GPU-h, number held_idle suffix:GPU-h, number energy watth, number gpu watth, number carbon_location massg, number carbon_market massg, "+
			"number carbon_embodied massg, number water litre, number sm_active percentunit, number unmeasured percentunit", chosen.String())
	return nil
}

// factors are what the figures of the range rest on.
func (b *builder) factors() error {
	s := b.begin()
	source := "[('carbon, location-based', factor), ('carbon, market-based', factor_market), ('carbon, embodied', factor_embodied), ('rest of the node', rest_source), " +
		"('shared IT', it_shared_source), ('facility', facility_source), ('water', water_source), ('heat', heat_source)]"
	from := s.lines(entries, "site, hour, factor, factor_market, factor_embodied, rest_source, it_shared_source, facility_source, water_source, heat_source, gpu_mj, cpu_mj, node_rest_mj, it_shared_mj, facility_mj",
		s.hours(), s.key(Site, "site"))
	// Lines of an hour have nearly all the same: they are summed before they are spread over what they rest on.
	sums := "(SELECT site, factor, factor_market, factor_embodied, rest_source, it_shared_source, facility_source, water_source, heat_source, min(hour) AS first, max(hour) AS last, sum(" + total +
		") AS mj FROM " + from + " GROUP BY site, factor, factor_market, factor_embodied, rest_source, it_shared_source, facility_source, water_source, heat_source)"
	s.table("site, f.1 AS figure, f.2 AS factor_text, toDateTime64(min(first), 0, 'UTC') AS since, toDateTime64(max(last), 0, 'UTC') AS till, toFloat64(sum(mj)) / "+mjPerWh+" AS energy",
		sums+" ARRAY JOIN "+source+" AS f WHERE f.2 != '' GROUP BY site, figure, factor_text", "site, figure, energy DESC",
		"text site, text figure, text factor, time from, time to, number energy watth", "entry")
	return nil
}

// over is when the hours end that can be over: now, or where data are of the past, their end.
func (b *builder) over() time.Time {
	if n := b.state.Newest; !n.IsZero() && b.now.Sub(n) > 48*time.Hour {
		return n
	}
	return b.now
}

// hoursOf is a FROM item of all hours of sites in a stretch: site, hour (seconds), and of the closed ones batch, closing, reason, root and inserted
// (microseconds; 0 of an open one). Hours before a site's first closed one are none of it.
func (s statement) hoursOf(from, to time.Time) string {
	var list []int64
	for h := floor(from.Unix()+3599, 3600); h < to.Unix() && len(list) < 100_000; h += 3600 {
		list = append(list, h)
	}
	first, last := int64(0), int64(0)
	if len(list) > 0 {
		first, last = list[0], list[len(list)-1]+1
	}
	hours := "(SELECT s.site AS site, arrayJoin(range(toUInt32(greatest(f.first, " + s.args.whole(first) + ")), toUInt32(greatest(" + s.args.whole(last) + ", 0)), 3600)) AS hour FROM " +
		s.sites(s.key(Site, "id")) + " AS s INNER JOIN (SELECT site, toInt64(min(toUnixTimestamp(hour))) AS first FROM " + s.seals(s.key(Site, "site")) + " GROUP BY site) AS f ON f.site = s.site)"
	closed := "(SELECT site, toUnixTimestamp(hour) AS closed_hour, batch, closing, reason, root, toUnixTimestamp64Micro(inserted) AS at FROM " +
		s.seals("closing != 'adjustment'", s.key(Site, "site")) + ")"
	return "(SELECT h.site AS site, toInt64(h.hour) AS hour, c.batch AS batch, c.closing AS closing, c.reason AS reason, c.root AS root, c.at AS at FROM " + hours +
		" AS h LEFT JOIN " + closed + " AS c ON c.site = h.site AND c.closed_hour = h.hour)"
}

// ledgerHours says of each hour whether it is closed.
func (b *builder) ledgerHours() error {
	s := b.begin()
	to := b.span.To
	if over := b.over(); over.Before(to) {
		to = over
	}
	sums := "(SELECT site, toInt64(toUnixTimestamp(hour)) AS sum_hour, sum(entries) AS lines, uniqExact(batch) AS batches, sum(" + total + ") AS mj, sum(toInt128(device_time)) AS held FROM " +
		s.lines(subtotals, "*", s.hours(), s.key(Site, "site")) + " GROUP BY site, sum_hour)"
	s.table("h.site, toDateTime64(h.hour, 0, 'UTC'), multiIf(h.at > 0, 'closed', h.hour + 3600 <= "+s.args.whole(b.now.Unix())+", 'open', 'running') AS state, "+
		"h.batch, h.closing, h.reason, e.lines, if(h.at > 0 AND e.batches > 1, e.batches - 1, 0) AS adjusted, if(h.at > 0, toFloat64(e.mj) / "+mjPerWh+", NULL) AS energy, "+
		"if(h.at > 0, toFloat64(e.held) / "+timePerHour+", NULL) AS device_hours, "+moment("h.at")+" AS sealed, if(h.at > 0, h.at / 1e6 - (h.hour + 3600), NULL) AS delay, h.root",
		s.hoursOf(b.span.From, to)+" AS h LEFT JOIN "+sums+" AS e ON e.site = h.site AND e.sum_hour = h.hour", "h.hour DESC, h.site",
		"text site, time hour, text state, number batch, text closing, text reason, number entries, number adjusting_batches, number energy watth, number device_time suffix:GPU-h, time sealed, number closing_delay s, text seal",
		"seals")
	return nil
}

func (b *builder) batches() error {
	s := b.begin()
	sums := "(SELECT site, batch AS sum_batch, sum(entries) AS lines, sum(" + total + ") AS mj FROM " + s.lines(subtotals, "*", s.key(Site, "site")) + " GROUP BY site, sum_batch)"
	s.table("b.site, b.batch, toDateTime64(b.hour, 0, 'UTC'), b.closing, b.reason, e.lines, if("+boolean(s.scope.All)+", toNullable(b.adjustments), NULL), toFloat64(e.mj) / "+mjPerWh+", b.inserted, b.root, b.previous, l.position",
		s.seals(s.hours(), s.key(Site, "site"))+" AS b LEFT JOIN "+sums+" AS e ON e.site = b.site AND e.sum_batch = b.batch LEFT JOIN "+s.log()+" AS l ON l.site = b.site AND l.batch = b.batch AND l.root = b.root",
		"b.hour DESC, b.site, b.batch DESC",
		"text site, number batch, time hour, text closing, text reason, number entries, number adjustments, number energy watth, time sealed, text root, text previous, number log_position", "seals")
	return nil
}

func boolean(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// lineList lists entries: found by few columns first, then read whole.
func (b *builder) lineList(kind, extra, columns string) error {
	s := b.begin()
	conds := append([]string{s.hours()}, s.lineFilters()...)
	if kind != "" {
		conds = append(conds, "kind = '"+kind+"'")
	}
	energy := "gpu_mj + cpu_mj + node_rest_mj + it_shared_mj + facility_mj"
	const order = "hour DESC, abs(mj) DESC, site, batch, position"
	few := s.lines(entries, "site, batch, position, hour, "+energy+" AS mj", conds...)
	picked := "(SELECT site, batch, position FROM " + few + " ORDER BY " + order + " LIMIT " + s.args.whole(int64(s.limit())+1) + ")"
	rows := s.lines(entries, "*, "+energy+" AS mj", append(conds, "(site, batch, position) IN "+picked)...)
	s.table("toDateTime64(hour, 0, 'UTC'), site, node, device, model, account, kind, tenant, project, workload, allocation, model_id, purpose, "+moment("from_us")+", "+moment("to_us")+
		", toFloat64(device_time) / "+timePerHour+", toFloat64(mj) / "+mjPerWh+", toFloat64(gpu_mj) / "+mjPerWh+", toFloat64(carbon_ug) / "+ugPerGram+", toFloat64(carbon_market_ug) / "+ugPerGram+
		", arrayStringConcat(flags, ', '), batch, id"+extra, rows, order,
		"time hour, text site, text node, text device, text model, text account, text kind, text tenant, text project, text workload, text allocation, text model_id, text purpose, time from, time to, "+
			"number device_time suffix:GPU-h, number energy watth, number gpu watth, number carbon_location massg, number carbon_market massg, text flags, number batch, text entry"+columns, "entry")
	return nil
}

// adjusted is the energy that adjustments moved: up and down added up.
func (b *builder) adjusted() error {
	s := b.begin()
	return b.simple(s, s.lines(entries, "*", s.hours(), s.key(Site, "site"), s.key(Tenant, "tenant"), "kind = 'adjustment'"), "toInt64(toUnixTimestamp(hour))",
		"toFloat64(sum(abs("+total+"))) / "+mjPerWh, time.Hour, "entry")
}

// simple makes points of rows that have the dimensions of the ledger as columns of the same name.
func (b *builder) simple(s statement, rows, seconds, value string, least time.Duration, source string) error {
	var exprs []string
	for _, d := range b.grouping() {
		exprs = append(exprs, simpleColumn(d))
	}
	cols, names := groups(exprs)
	grid := b.span.grid(b.span.step(least))
	p := points{names: names}
	if b.form == FormSeries {
		p.item = "(SELECT " + cols + ", " + grid.slot(s.args, seconds) + " AS slot, " + value + " AS v FROM " + rows + " GROUP BY " + names + ", slot)"
	}
	p.total = "(SELECT " + cols + ", " + value + " AS v FROM " + rows + " GROUP BY " + names + ")"
	s.rank(p, Result{Source: source, AsOf: b.asOf()}, grid)
	return nil
}

func simpleColumn(d Dimension) string {
	switch d {
	case DeviceID:
		return "device"
	case EventKind:
		return "event"
	default:
		return string(d)
	}
}

// openHours counts the hours that were over and not sealed at each moment; over the whole range, at its end.
func (b *builder) openHours() error {
	s := b.begin()
	to := b.span.To
	if over := b.over(); over.Before(to) {
		to = over
	}
	rows := "(SELECT site, hour + 3600 AS began, if(at = 0, 4102444800, intDiv(at, 1000000)) AS ended FROM " + s.hoursOf(b.span.From.Add(-7*day), to) + ")"
	var exprs []string
	for range b.grouping() {
		exprs = append(exprs, "site")
	}
	cols, names := groups(exprs)
	grid := b.span.grid(b.span.step(5 * time.Minute))
	end := s.args.whole(to.Unix())
	const value = "toFloat64(countIf(began <= moment AND ended > moment))"
	moments := "(SELECT *, arrayJoin(" + s.args.wholes(upTo(grid.Starts, to.Unix())) + ") AS moment FROM " + rows + ")"
	p := points{names: names}
	p.item = "(SELECT " + cols + ", moment AS slot, " + value + " AS v FROM " + moments + " GROUP BY " + names + ", slot)"
	p.total = "(SELECT " + cols + ", " + value + " AS v FROM (SELECT *, " + end + " AS moment FROM " + rows + ") GROUP BY " + names + ")"
	s.rank(p, Result{Source: "seals", AsOf: b.asOf()}, grid)
	return nil
}

func upTo(starts []int64, end int64) []int64 {
	for i, t := range starts {
		if t > end {
			return starts[:i]
		}
	}
	return starts
}

// closingDelay is the time from the end of hours to their seals, the mean of those in a slot.
func (b *builder) closingDelay() error {
	s := b.begin()
	rows := "(SELECT site, hour, toUnixTimestamp64Micro(inserted) / 1e6 - toUnixTimestamp(hour) - 3600 AS delay FROM " + s.seals("closing != 'adjustment'", s.hours(), s.key(Site, "site")) + ")"
	return b.simple(s, rows, "toInt64(toUnixTimestamp(hour))", "avg(delay)", time.Hour, "seals")
}

// explain says of one entry each figure with its source, the cuts at its edges, and its seal.
func (b *builder) explain() error {
	ids := b.values(EntryID)
	if len(ids) != 1 {
		return refuse(ReasonFilter, "explain wants the id of one entry, as a filter on %s; the metric entries lists them", EntryID)
	}
	b.form = FormTable
	find := func(s statement) string { return s.lines(entries, "*", s.hours(), "id = "+s.args.text(ids[0])) }

	s := b.begin()
	figure := func(name, value, exact, unit, source string) string {
		return "('" + name + "', " + value + ", toString(" + exact + "), '" + unit + "', " + source + ")"
	}
	energy := func(name, column, source string) string {
		return figure(name, "toFloat64("+column+") / "+mjPerWh, column, "mJ", source)
	}
	list := []string{
		figure("device time (h)", "toFloat64(device_time) / "+timePerHour, "device_time", "ms × thousandths", "'allocation ' || allocation"),
		figure("unavailable time (h)", "toFloat64(unavailable_time) / "+timePerHour, "unavailable_time", "ms × thousandths", "'inventory'"),
		energy("GPU energy (Wh)", "gpu_mj", "'energy counter of ' || device || if(split = '', '', ', split ' || split)"),
		energy("CPU energy (Wh)", "cpu_mj", "'energy counter of the module'"),
		energy("rest of the node (Wh)", "node_rest_mj", "rest_source"),
		energy("shared IT (Wh)", "it_shared_mj", "it_shared_source"),
		energy("facility (Wh)", "facility_mj", "facility_source"),
		energy("measured (Wh)", "measured_mj", "''"), energy("estimated (Wh)", "estimated_mj", "''"), energy("modelled (Wh)", "modelled_mj", "''"),
		energy("interpolated (Wh)", "interpolated_mj", "'cuts'"), energy("bound below (Wh)", "bound_low_mj", "'cuts'"), energy("bound above (Wh)", "bound_high_mj", "'cuts'"),
		energy("uncertainty (Wh)", "uncertainty_mj", "'classes of sensors'"),
		figure("SM active (h)", "toFloat64(sm_active_us) / 3600000000", "sm_active_us", "µs", "'activity counter'"),
		figure("ticks expected", "toFloat64(ticks_expected)", "ticks_expected", "ticks", "'collector'"), figure("ticks read", "toFloat64(ticks_read)", "ticks_read", "ticks", "'collector'"),
		figure("idle limit", "toFloat64(idle_limit) / 1000", "idle_limit", "thousandths", "'configuration'"),
		figure("carbon, location-based (g)", "toFloat64(carbon_ug) / "+ugPerGram, "carbon_ug", "µg CO2e", "factor"),
		figure("carbon, market-based (g)", "toFloat64(carbon_market_ug) / "+ugPerGram, "carbon_market_ug", "µg CO2e", "toString(factor_market)"),
		figure("carbon, embodied (g)", "toFloat64(carbon_embodied_ug) / "+ugPerGram, "carbon_embodied_ug", "µg CO2e", "toString(factor_embodied)"),
		figure("water (l)", "toFloat64(water_ul) / "+ulPerLitre, "water_ul", "µl", "toString(water_source)"),
		energy("heat reused (Wh)", "heat_reused_mj", "toString(heat_source)"),
	}
	numbered := "arrayZip(range(toUInt32(" + s.args.whole(int64(len(list))) + ")), [" + strings.Join(list, ", ") + "])"
	s.table("f.2.1, f.2.2, f.2.3, f.2.4, toString(f.2.5)", find(s)+" ARRAY JOIN "+numbered+" AS f", "f.1",
		"text figure, number value, text exact, text exact_unit, text source", "entry")
	b.plan.Statements[0].Result.Name = "figures"

	s = b.begin()
	s.table("id, site, toDateTime64(hour, 0, 'UTC'), kind, account, node, device, model, tenant, project, workload, allocation, model_id, purpose, "+moment("from_us")+", "+moment("to_us")+
		", rules, split, arrayStringConcat(flags, ', '), corrects, reason", find(s), "id",
		"text entry, text site, time hour, text kind, text account, text node, text device, text model, text tenant, text project, text workload, text allocation, text model_id, text purpose, time from, time to, "+
			"text rules, text split, text flags, text corrects, text reason", "entry")
	b.plan.Statements[1].Result.Name = "entry"

	s = b.begin()
	edge := "(SELECT site, device, arrayJoin([from_us, to_us]) AS edge FROM " + find(s) + ")"
	value := func(c string) string { return "if(u." + c + " < 0, NULL, toFloat64(u." + c + "))" }
	s.table("u.device, "+moment("u.t")+" AS cut_at, "+value("c")+", "+moment("u.t0")+", "+value("c0")+", "+moment("u.t1")+", "+value("c1")+", "+value("low")+", "+value("high")+", u.open, u.interpolated, u.edition, u.batch",
		s.cuts("(site, device, t) IN (SELECT site, device, edge FROM "+edge+")")+" AS u", "cut_at, u.edition",
		"text device, time cut, number counter mJ, time sample_before, number counter_before mJ, time sample_after, number counter_after mJ, number least mJ, number most mJ, flag open, flag interpolated, number edition, number batch", "cut")
	b.plan.Statements[2].Result.Name = "cuts"

	s = b.begin()
	s.table("b.site, b.batch, toDateTime64(b.hour, 0, 'UTC'), b.closing, b.rules, b.inserted, b.root, b.previous, if(l.root = '', NULL, toNullable(l.position))",
		s.seals("(site, batch) IN (SELECT site, batch FROM "+find(s)+")")+" AS b LEFT JOIN "+s.log()+" AS l ON l.site = b.site AND l.batch = b.batch AND l.root = b.root", "b.site, b.batch",
		"text site, number batch, time hour, text closing, text rules, time sealed, text root, text previous, number log_position", "seals")
	b.plan.Statements[3].Result.Name = "seal"
	return nil
}

// qualityOf are ratios of sums of the lines about quality.
var qualityOf = map[string]struct{ num, den, scale string }{
	"coverage":           {"covered_us", "present_us", "1"},
	"ticks_missing":      {"ticks_expected - ticks_read", "", "1"},
	"estimated_share":    {"estimated_mj", "counter_mj + estimated_mj", "1"},
	"interpolated_share": {"interpolated_mj", "counter_mj", "1"},
	"second_opinion":     {"integral_mj - compared_mj", "compared_mj", "1"},
	"resets":             {"resets", "", "1"},
	"clock_steps":        {"clock_steps", "", "1"},
}

// quality answers from the lines about the quality of device-hours, or their sums by node.
func (b *builder) quality() error {
	s := b.begin()
	f := qualityOf[b.q.Metric]
	value := "toFloat64(" + sum(f.num) + ")"
	if f.den != "" {
		value = ratio(sum(f.num), sum(f.den))
	}
	conds := []string{s.hours(), "kind IN ('gpu', 'cpu', 'mig')", s.key(Site, "site"), s.key(Node, "node"), s.in(Model, "model"), s.key(DeviceID, "device"), s.ofRacks()}
	single := !b.scope.All || b.filtered(DeviceID)
	join := ""
	var exprs []string
	for _, d := range b.grouping() {
		switch d {
		case DeviceID:
			single = true
			exprs = append(exprs, "device")
		case Rack:
			join = s.withRacks()
			exprs = append(exprs, "rack")
		default:
			exprs = append(exprs, string(d))
		}
	}
	rows, source := "", "quality_sum"
	const few = "site, hour, node, model, kind, estimated_mj, counter_mj, interpolated_mj, covered_us, present_us, ticks_expected, ticks_read, resets, clock_steps"
	if single {
		source = "device_hour"
		rows = s.deviceHours(few+", device, if(integral_mj = -1, 0, counter_mj) AS compared_mj, greatest(integral_mj, 0) AS integral", conds...)
		value = strings.ReplaceAll(value, "integral_mj", "integral")
	} else {
		rows = s.qualitySums(few+", integral_mj, compared_mj", conds...)
	}
	cols, names := groups(exprs)
	grid := b.span.grid(b.span.step(time.Hour))
	p := points{names: names}
	if b.form == FormSeries {
		p.item = "(SELECT " + cols + ", " + grid.slot(s.args, "toInt64(toUnixTimestamp(hour))") + " AS slot, " + value + " AS v FROM " + rows + " AS q" + join + " GROUP BY " + names + ", slot)"
	}
	p.total = "(SELECT " + cols + ", " + value + " AS v FROM " + rows + " AS q" + join + " GROUP BY " + names + ")"
	s.rank(p, Result{Source: source, AsOf: b.asOf()}, grid)
	return nil
}

func (b *builder) qualityLines() error {
	s := b.begin()
	conds := []string{s.hours(), "notEmpty(flags)", s.key(Site, "site"), s.key(Node, "node"), s.in(Model, "model"), s.key(DeviceID, "device"), s.ofRacks()}
	s.table("toDateTime64(hour, 0, 'UTC'), site, node, device, kind, model, arrayStringConcat(flags, ', '), if(present_us > 0, covered_us / present_us, NULL), ticks_expected - ticks_read, "+
		"counter_mj / "+mjPerWh+", estimated_mj / "+mjPerWh+", interpolated_mj / "+mjPerWh+", resets, clock_steps",
		s.deviceHours("*", conds...), "hour DESC, site, node, device",
		"time hour, text site, text node, text device, text kind, text model, text flags, number coverage percentunit, number ticks_missing, number counted watth, number estimated watth, number interpolated watth, number resets, number clock_steps",
		"device_hour")
	return nil
}

func (b *builder) missingMessages() error {
	if err := b.operatorOnly(); err != nil {
		return err
	}
	s := b.begin()
	from, to := moment(s.args.whole(b.span.From.UnixMicro())), moment(s.args.whole(b.span.To.UnixMicro()))
	s.table("site, source, topic, run, reason, first_seq, last_seq, amount, arrived, outstanding, began, ended, found",
		s.missing("ended >= "+from, "began < "+to, s.key(Site, "site"), s.key(Node, "source")), "began DESC, site, source, first_seq",
		"text site, text node, text topic, text run, text reason, number first, number last, number messages, number arrived, number outstanding, time from, time to, time found", "missing")
	return nil
}

func (b *builder) operatorOnly() error {
	if b.scope.All {
		return nil
	}
	return refuse(ReasonOperatorOnly, "%s of %s tells of all tenants together, so it is the operator's: ask for device, usage, energy, carbon or coverage", b.q.Metric, b.q.Kind)
}
