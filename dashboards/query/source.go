package query

import (
	"slices"
	"strconv"
	"strings"
)

// reader yields what statements read FROM, within a scope. This file alone names tables: a plan that does not go through it cannot read
// anything, which a test holds. What a tenant may see:
//
//   - of the ledger, lines with its tenant; of seals, that they are there, when and under which root;
//   - of what devices read, rows that lie in a stretch in which it held the device wholly and nobody else held it, its GPU or an instance
//     of it; of an instance, only what is the instance's own;
//   - of the quality of device-hours, and of incidents of a device, those within such a stretch;
//   - of sites, nodes and devices, those where it held something; nothing of how many there are besides.
type reader struct {
	who  Scope
	args *args
	// from and to bound what is read of who held what, in microseconds; 0 and 0 is all of it.
	from, to int64
	// known is who held what in that time, where it was asked before.
	known *Holdings
}

// own is the condition for lines of the ledger.
func (r reader) own() string {
	if r.who.All {
		return "1"
	}
	return "(tenant = " + r.args.text(r.who.Tenant) + " AND account IN ('tenant', 'held_idle'))"
}

// tenantOnly is the condition where there is a tenant and no account.
func (r reader) tenantOnly(column string) string {
	if r.who.All {
		return "1"
	}
	return column + " = " + r.args.text(r.who.Tenant)
}

func item(columns, from string, where ...string) string {
	return "(SELECT " + columns + " FROM " + from + " WHERE " + and(where...) + ")"
}

func and(conditions ...string) string {
	kept := slices.DeleteFunc(slices.Clone(conditions), func(c string) bool { return c == "" || c == "1" })
	if len(kept) == 0 {
		return "1"
	}
	return strings.Join(kept, " AND ")
}

// book is a table of ledger lines: how fine it is.
type book int

const (
	subtotals book = iota // by site, hour, account, tenant
	hourSums              // and by node, model, project, model_id, purpose
	entries               // the lines themselves
)

func (b book) String() string { return []string{"subtotal", "hour_sum", "entry"}[b] }

// lines are those of the ledger that the scope may see.
func (r reader) lines(b book, columns string, where ...string) string {
	return item(columns, b.String(), append([]string{r.own()}, where...)...)
}

// seals are the batches. Why a batch closed as it did names others' nodes, and its sums are of all tenants.
func (r reader) seals(where ...string) string {
	const open = "site, batch, root, previous, hour, closing, rules, inserted"
	if r.who.All {
		return item(open+", reason, entries, adjustments, measured_mj + estimated_mj + modelled_mj AS energy_mj, sample_rows", "seals FINAL", where...)
	}
	return item(open+", '' AS reason, toUInt32(0) AS entries, toUInt32(0) AS adjustments, toInt64(0) AS energy_mj, toInt64(0) AS sample_rows",
		"seals FINAL", append([]string{r.ofSites("site")}, where...)...)
}

// log is where in the transparency log a seal stands.
func (r reader) log(where ...string) string {
	return item("position, site, batch, root", "log_records", append([]string{r.ofSites("site")}, where...)...)
}

// ofSites is the condition that a site is one where the tenant held something.
func (r reader) ofSites(column string) string {
	if r.who.All {
		return "1"
	}
	return column + " IN (SELECT site FROM allocations FINAL WHERE tenant = " + r.args.text(r.who.Tenant) + ")"
}

// held are the stretches in which the tenant held a device wholly: [s, e) in microseconds, whether it is a MIG instance, and nobody else
// held any part of it, of its GPU, or of an instance of it. Edges at one instant come with the tenant's own begin first, so that what it held
// twice on end is one stretch.
func (r reader) held() string {
	if k := r.known; k != nil && k.Tenant == r.who.Tenant && k.From <= r.from && k.To >= r.to && r.to != 0 {
		return "(SELECT z.1 AS site, z.2 AS device, z.3 AS s, z.4 AS e, z.5 = 1 AS mig FROM (SELECT arrayJoin(arrayZip(" + r.args.texts(k.Sites) + ", " + r.args.texts(k.Devices) + ", " +
			r.args.wholes(k.Begins) + ", " + r.args.wholes(k.Ends) + ", " + r.args.wholes(k.Instances) + ")) AS z))"
	}
	t := r.args.text(r.who.Tenant)
	when := ""
	if r.from != 0 || r.to != 0 {
		when = " AND start_us < " + r.args.whole(r.to) + " AND (end_us = 0 OR end_us > " + r.args.whole(r.from) + ")"
	}
	const instances = "(SELECT uuid, parent_uuid FROM devices FINAL WHERE kind = 'mig' AND parent_uuid != '')"
	kin := "(SELECT kin.1 AS of, groupUniqArray(kin.2) AS targets FROM (SELECT arrayJoin([(uuid, parent_uuid), (parent_uuid, uuid)]) AS kin FROM " + instances + ") GROUP BY of)"
	holdings := "(SELECT site, device, start_us AS s, if(end_us = 0, 9223372036854775807, end_us) AS e, toInt8(tenant = " + t + ") AS mine, toInt8(thousandths >= 1000) AS whole FROM allocations FINAL WHERE (end_us = 0 OR end_us > start_us)" + when + ")"
	edges := "(SELECT a.site AS site, arrayJoin(arrayConcat([a.device], k.targets)) AS device, toInt8(a.mine AND a.whole AND device = a.device) AS own, toInt8(NOT a.mine) AS rival, " +
		"arrayJoin([(a.s, toInt8(1)), (a.e, toInt8(-1))]) AS edge FROM " + holdings + " AS a LEFT ANY JOIN " + kin + " AS k ON k.of = a.device)"
	sorted := "(SELECT site, device, arraySort(groupArray((edge.1, -own * edge.2, rival * edge.2))) AS es, es.1 AS ts, " +
		"arrayMap((o, r) -> o > 0 AND r = 0, arrayCumSum(arrayMap(x -> -x, es.2)), arrayCumSum(es.3)) AS ok, " +
		"arrayFilter((t, now, before) -> now AND NOT before, ts, ok, arrayPushFront(arrayPopBack(ok), 0)) AS begins, " +
		"arrayFilter((t, now, after) -> now AND NOT after, arrayPushBack(arrayPopFront(ts), 9223372036854775807), ok, arrayPushBack(arrayPopFront(ok), 0)) AS ends FROM " +
		"(SELECT * FROM " + edges + " WHERE (own OR rival) AND " + r.mine("device") + ") GROUP BY site, device)"
	return "(SELECT site, device, stretch.1 AS s, stretch.2 AS e, device IN (SELECT uuid FROM " + instances + ") AS mig FROM " + sorted + " ARRAY JOIN arrayZip(begins, ends) AS stretch WHERE e > s)"
}

// mine is the condition that the tenant ever held the device wholly, which costs little and keeps most of what others held away.
func (r reader) mine(column string) string {
	return column + " IN (SELECT device FROM allocations FINAL WHERE tenant = " + r.args.text(r.who.Tenant) + " AND thousandths >= 1000)"
}

// ofInstance are the metrics that a MIG instance has of its own. All else that is read on one is its GPU's, which others share.
var ofInstance = []string{
	"gr_engine_active_us", "sm_active_us", "sm_occupancy_us", "tensor_active_us", "dram_active_us", "fp64_active_us", "fp32_active_us", "fp16_active_us",
	"fb_used_mib", "fb_free_mib", "ticks_expected", "ticks_read",
}

const (
	noCounter = "18446744073709551615"
	noCode    = "4294967295"
)

// SitesOf plans what to ask for the sites where a tenant ever held something, one column: of others it is not told how far they are.
func SitesOf(scope Scope) Statement {
	r := reader{who: scope, args: newArgs()}
	return Statement{SQL: "SELECT DISTINCT toString(site) FROM " + r.allocations(), Args: r.args.values}
}

// telemetry is what devices read in a stretch, from samples or rollups alike: site, node, device, run, epoch, held (the begin of the
// holding that the row lies in; 0 for the operator), at (seconds since 1970), ft and lt (first and last instant, in microseconds, by the
// clock of the energy counter or by the tick), and of each metric name_lo and name_hi: the least and the greatest value, NULL where it was not read.
func (r reader) telemetry(s segment, energyClock bool, counters, gauges, codes []string, where ...string) string {
	type column struct{ name, expr, metric string }
	var columns []column
	add := func(name, expr, metric string) { columns = append(columns, column{name, expr, metric}) }
	lv := levels[s.level]
	from, time, width := "sample", "tick", "0"
	if s.level > 0 {
		from, time, width = "rollup_"+lv.name, "bucket", strconv.FormatInt(lv.width*1_000_000, 10)
	}
	switch {
	case s.level == 0 && energyClock:
		add("ft", "energy_ts", "")
		add("lt", "energy_ts", "")
	case s.level == 0:
		add("ft", "toNullable(toUnixTimestamp64Micro(tick))", "")
		add("lt", "toNullable(toUnixTimestamp64Micro(tick))", "")
	case energyClock:
		add("ft", "toInt64(nullIf(first_energy_ts, "+noCounter+"))", "")
		add("lt", "toInt64(nullIf(last_energy_ts, "+noCounter+"))", "")
	default:
		add("ft", "toNullable(toUnixTimestamp64Micro(first_tick))", "")
		add("lt", "toNullable(toUnixTimestamp64Micro(last_tick))", "")
	}
	both := func(names []string, rolled func(name, side string) string) {
		for _, n := range names {
			for side, short := range map[string]string{"_min": "_lo", "_max": "_hi"} {
				expr := n
				if s.level > 0 {
					expr = rolled(n, side)
				}
				add(n+short, expr, n)
			}
		}
	}
	both(counters, func(n, side string) string { return "nullIf(" + n + side + ", " + noCounter + ")" })
	both(gauges, func(n, side string) string { return "if(isNaN(" + n + side + "), NULL, " + n + side + ")" })
	both(codes, func(n, _ string) string { return "nullIf(" + n + ", " + noCode + ")" })
	slices.SortFunc(columns, func(a, b column) int { return strings.Compare(a.name, b.name) })

	seconds := "toInt64(toUnixTimestamp(" + time + "))"
	if s.level == 0 {
		seconds = "intDiv(toUnixTimestamp64Micro(tick), 1000000)"
	}
	lo, hi := r.args.seconds(s.from), r.args.seconds(s.to)
	conds := append([]string{
		lv.coarse + "(" + time + ") >= " + lv.coarse + "(" + lo + ")", lv.coarse + "(" + time + ") <= " + lv.coarse + "(" + hi + ")",
		time + " >= " + lo, time + " < " + hi,
	}, where...)
	place := "site, node, device, run, energy_epoch AS epoch, " + seconds + " AS at, "
	if s.level == 0 {
		place = "site, node, device, run, ifNull(energy_epoch, " + noCode + ") AS epoch, " + seconds + " AS at, "
	}
	if r.who.All {
		list := make([]string, len(columns))
		for i, c := range columns {
			list[i] = c.expr + " AS " + c.name
		}
		return item(place+"toInt64(0) AS held, "+strings.Join(list, ", "), from, conds...)
	}
	inner, outer := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		inner[i] = c.expr + " AS " + c.name
		outer[i] = "r." + c.name + " AS " + c.name
		if c.metric != "" && !slices.Contains(ofInstance, c.metric) {
			outer[i] = "if(h.mig, NULL, r." + c.name + ") AS " + c.name
		}
	}
	begin := "toInt64(toUnixTimestamp(" + time + ")) * 1000000"
	if s.level == 0 {
		begin = "toUnixTimestamp64Micro(tick)"
	}
	held := r.held()
	rows := item(place+begin+" AS begin, "+strings.Join(inner, ", "), from, append(conds, r.mine("device"))...)
	return "(SELECT r.site AS site, r.node AS node, r.device AS device, r.run AS run, r.epoch AS epoch, r.at AS at, h.s AS held, " + strings.Join(outer, ", ") +
		" FROM " + rows + " AS r ASOF INNER JOIN " + held + " AS h ON h.site = r.site AND h.device = r.device AND r.begin >= h.s WHERE r.begin + " + width + " <= h.e" +
		map[bool]string{true: " AND r.begin < h.e", false: ""}[s.level == 0] + ")"
}

// nodeSums are the sums of a level over the devices of a node and model. They are of whoever held them: the operator's.
func (r reader) nodeSums(s segment, columns string, where ...string) string {
	lv := levels[s.level]
	lo, hi := r.args.seconds(s.from), r.args.seconds(s.to)
	if !r.who.All {
		where = append(where, "0")
	}
	return item(columns, "node_sum_"+lv.name, append([]string{"bucket >= " + lo, "bucket < " + hi}, where...)...)
}

// deviceHours are the lines about quality: of a tenant, those of hours in which it held the device from end to end.
func (r reader) deviceHours(columns string, where ...string) string {
	if r.who.All {
		return item(columns, "device_hour", where...)
	}
	rows := item("*, toInt64(toUnixTimestamp(hour)) * 1000000 AS begin", "device_hour", append([]string{r.mine("device")}, where...)...)
	joined := "(SELECT q.*, h.e AS e, h.mig AS mig FROM " + rows + " AS q ASOF INNER JOIN " + r.held() +
		" AS h ON h.site = q.site AND h.device = q.device AND q.begin >= h.s WHERE q.begin + 3600000000 <= h.e)"
	return item(columns, joined, "NOT mig")
}

// qualitySums are sums of the lines about quality: the operator's.
func (r reader) qualitySums(columns string, where ...string) string {
	if !r.who.All {
		where = append(where, "0")
	}
	return item(columns, "quality_sum", where...)
}

// incidents are what happened: of a tenant, on a device while it held it.
func (r reader) incidents(where ...string) string {
	const columns = "site, node, kind, reason, device, from_us, to_us, amount"
	if r.who.All {
		return item(columns, "incident", where...)
	}
	rows := item(columns, "incident", append([]string{r.mine("device")}, where...)...)
	return "(SELECT i.site AS site, i.node AS node, i.kind AS kind, i.reason AS reason, i.device AS device, i.from_us AS from_us, i.to_us AS to_us, i.amount AS amount FROM " +
		rows + " AS i ASOF INNER JOIN " + r.held() + " AS h ON h.site = i.site AND h.device = i.device AND i.from_us >= h.s WHERE i.to_us <= h.e AND NOT h.mig)"
}

// cuts are the values of counters at edges: of a tenant, within a stretch in which it held the device, without the absolute
// values, whose differences would tell what others took between its holdings.
func (r reader) cuts(where ...string) string {
	const columns = "site, device, epoch, t, t0, c0, t1, c1, c, low, high, open, interpolated, edition, batch"
	if r.who.All {
		return item(columns, "cut", where...)
	}
	rows := item(columns, "cut", append([]string{r.mine("device")}, where...)...)
	return "(SELECT u.site AS site, u.device AS device, u.epoch AS epoch, u.t AS t, u.t AS t0, toInt64(-1) AS c0, u.t AS t1, toInt64(-1) AS c1, toInt64(-1) AS c, " +
		"toInt64(-1) AS low, toInt64(-1) AS high, u.open AS open, u.interpolated AS interpolated, u.edition AS edition, u.batch AS batch FROM " + rows +
		" AS u ASOF INNER JOIN " + r.held() + " AS h ON h.site = u.site AND h.device = u.device AND u.t >= h.s WHERE u.t <= h.e AND NOT h.mig)"
}

// sites, of a tenant those where it held something.
func (r reader) sites(where ...string) string {
	return item("id AS site, country, zone, operator, operator_country, pue_thousandths", "sites FINAL", append([]string{r.ofSites("id")}, where...)...)
}

// nodes, of a tenant those that a device was on while it held it wholly.
func (r reader) nodes(where ...string) string {
	if !r.who.All {
		where = append(where, "(site, id) IN (SELECT site, node FROM "+r.devices()+")")
	}
	return item("site, id AS node, rack, model, from_us, to_us", "node", where...)
}

// devices, of a tenant those that it held wholly, from and to when it did: where a device is afterwards is another's.
func (r reader) devices(where ...string) string {
	const same = "site, node, uuid, parent_uuid, kind, model, serial, driver, vbios, gpu_index, slices, energy_source, limit_mw"
	from := "device"
	if !r.who.All {
		from = "(SELECT d.site AS site, " + same[len("site, "):] + ", greatest(d.from_us, h.s) AS from_us, " +
			"multiIf(h.e = " + noEnd + ", d.to_us, d.to_us = 0, h.e, least(d.to_us, h.e)) AS to_us FROM " +
			item(same+", from_us, to_us", "device", r.mine("uuid")) + " AS d INNER JOIN " + r.held() + " AS h ON h.site = d.site AND h.device = d.uuid)"
		where = append(where, "(to_us = 0 OR to_us > from_us)")
	}
	return item("site, node, uuid AS device, parent_uuid AS parent, kind, model, serial, driver, vbios, gpu_index, slices, energy_source, limit_mw, from_us, to_us", from, where...)
}

// noEnd is the end of what has none yet.
const noEnd = "9223372036854775807"

// stock are the rows of the inventory, of which the operator alone may know how many there are.
func (r reader) stock() string { return item("uuid", "devices", r.operator()) }

// models are the models of devices by uuid, without stays, which is cheaper.
func (r reader) models(where ...string) string {
	if !r.who.All {
		where = append(where, "uuid IN (SELECT device FROM "+r.held()+")")
	}
	return item("uuid AS device, any(model) AS model, any(gpu_index) AS gpu_index", "devices FINAL", and(where...)+" GROUP BY uuid")
}

// racks are the racks of nodes.
func (r reader) racks(where ...string) string {
	return item("site, id AS node, rack", "nodes FINAL", append([]string{r.ofSites("site")}, where...)...)
}

// tenants, of a tenant itself.
func (r reader) tenants(where ...string) string {
	return item("id AS tenant, name, sector, size_class, country, allowed_countries", "tenants FINAL", append([]string{r.tenantOnly("id")}, where...)...)
}

// allocations, of a tenant its own.
func (r reader) allocations(where ...string) string {
	return item("id AS allocation, site, device, thousandths, start_us, end_us, tenant, project, workload, model_id, purpose, scheduler_ref",
		"allocations FINAL", append([]string{r.tenantOnly("tenant")}, where...)...)
}

func (r reader) missing(where ...string) string {
	return item("*", "missing", append([]string{r.operator()}, where...)...)
}

func (r reader) progress(where ...string) string {
	return item("tier, kafka_partition, kafka_offset, received, at", "rollup_progress FINAL", append([]string{r.operator()}, where...)...)
}

func (r reader) operator() string {
	if r.who.All {
		return "1"
	}
	return "0"
}

// noGPUs are the devices that are no GPU, or only a part of one.
func (r reader) noGPUs() string {
	return "(SELECT uuid FROM devices FINAL WHERE kind IN ('mig', 'cpu'))"
}

// heads, which are the operator's as all of the pipeline is, are the runs of collectors: the latest tick, receipt and declaration of each. A projection of the table has them at hand.
func (r reader) heads(where ...string) string {
	return "(SELECT site, source, run, max(last_tick) AS last_tick, max(received) AS received, max(complete_up_to) AS complete_up_to FROM messages WHERE " +
		and(append([]string{"topic = 'wl.sample.v1'", r.operator()}, where...)...) + " GROUP BY topic, site, source, run)"
}

// newest, a FROM item of one row, is the latest tick of a run that was heard of in the last hour: a clock that was ahead before is forgotten.
func (r reader) newest() string {
	return "(SELECT maxIf(last_tick, received >= latest - INTERVAL 1 HOUR) AS newest FROM (SELECT last_tick, received, max(received) OVER () AS latest FROM " + r.heads() + "))"
}

// ticks are messages by the ten seconds that their last tick lies in: ten, and at in seconds since 1970. Of
// sums, counts and extremes by ten, site and partition a projection has them at hand, where they are written as there; anything else reads every message.
func (r reader) ticks(where ...string) string {
	return "(SELECT *, toInt64(toUnixTimestamp(ten)) AS at FROM " + item("toStartOfInterval(last_tick, INTERVAL 10 SECOND) AS ten, site, source AS node, kafka_partition, kafka_offset, rows, received, first_tick, last_tick, "+
		"greatest(toUnixTimestamp64Micro(received) - toUnixTimestamp64Micro(last_tick), 0) AS delay", "messages",
		append([]string{"topic = 'wl.sample.v1'", "rows > 0", r.operator()}, where...)...) + ")"
}

// freshness is when anything was last read at a site, which tells nothing of whose.
func (r reader) freshness() string {
	return item("site, last_tick", "messages", "topic = 'wl.sample.v1'", r.ofSites("site"))
}

// migrations are the steps by which the tables were made.
func (r reader) migrations() string { return item("version_id", "goose_db_version") }

// stays are since when devices have been on their nodes. They are joined to the last moment of what a tenant held, as what it may know of.
func (r reader) stays() string {
	where := "1"
	if !r.who.All {
		where = "uuid IN (SELECT device FROM allocations FINAL WHERE " + r.tenantOnly("tenant") + ")"
	}
	return item("site, uuid AS device, node, from_us", "device", where)
}

// parts are the parts of GPUs that were held; of a tenant, by itself.
func (r reader) parts(columns string, where ...string) string {
	return item(columns, "gpu_allocation", append([]string{r.tenantOnly("tenant")}, where...)...)
}

// placed are allocations with the node that their device was on last.
func (r reader) placed(where ...string) string {
	columns := strings.Split("allocation, site, device, thousandths, start_us, end_us, tenant, project, workload, model_id, purpose, scheduler_ref", ", ")
	for i, c := range columns {
		columns[i] = "a." + c + " AS " + c
	}
	return "(SELECT " + strings.Join(columns, ", ") + ", d.node AS node FROM (SELECT *, if(end_us = 0, " + noEnd + ", end_us) - 1 AS seen FROM " + r.allocations(where...) +
		") AS a ASOF LEFT JOIN " + r.stays() + " AS d ON d.site = a.site AND d.device = a.device AND a.seen >= d.from_us)"
}

// Holdings are the stretches in which a tenant held devices wholly, within [From, To) in microseconds. They are asked once for a question
// that reads several levels, which costs the engine less than to find them anew for each.
type Holdings struct {
	Tenant                  string
	From, To                int64
	Sites, Devices          []string
	Begins, Ends, Instances []int64
}

// MostHoldings is how many stretches a statement carries as parameters; of more, the engine finds them itself.
const MostHoldings = 500

// HoldingsOf plans what to ask for a tenant's holdings around a range: site, device, begin, end, whether it is a MIG instance. The
// second answer is empty but for its bounds; it is for a State.
func HoldingsOf(scope Scope, span Span) (Statement, *Holdings) {
	r := reader{who: scope, args: newArgs(), from: span.From.Add(-day).UnixMicro(), to: span.To.Add(day).UnixMicro()}
	h := &Holdings{Tenant: scope.Tenant, From: r.from, To: r.to}
	return Statement{
		SQL:  "SELECT toString(site), toString(device), toInt64(s), toInt64(e), toInt64(mig) FROM " + r.held() + " ORDER BY 1, 2, 3 LIMIT " + r.args.whole(MostHoldings+1),
		Args: r.args.values,
	}, h
}
