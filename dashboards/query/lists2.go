package query

import (
	"slices"
	"strings"
	"time"
)

// pipeline answers from the lines of messages: how long they were under way, and how much came.
func (b *builder) pipeline() error {
	if err := b.operatorOnly(); err != nil {
		return err
	}
	s := b.begin()
	grid := b.span.grid(b.span.step(10 * time.Second))
	from, to := b.reads(grid, 1)
	rows := s.ticks("ten >= "+s.args.seconds(from), "ten < "+s.args.seconds(to), s.key(Site, "site"), s.key(Node, "source"))
	var exprs []string
	for _, d := range b.grouping() {
		exprs = append(exprs, string(d))
	}
	cols, names := groups(exprs)
	var value, overall string
	switch b.q.Metric {
	case "delay":
		value = "toFloat64(sum(delay)) / count() / 1e6"
	case "delay_max":
		value = "toFloat64(max(delay)) / 1e6"
	case "rows":
		// The slot that the range ends in is not over.
		value, overall = "toFloat64(sum(rows)) / greatest(least(slot + "+s.args.whole(int64(grid.Step/time.Second))+", "+s.args.whole(to)+") - slot, 1)", "toFloat64(sum(rows)) / "+s.args.whole(max(to-from, 1))
	default:
		value = "toFloat64(count())"
	}
	if overall == "" {
		overall = value
	}
	p := points{names: names}
	p.item = "(SELECT " + cols + ", " + grid.slot(s.args, "at") + " AS slot, " + value + " AS v FROM " + rows + " GROUP BY " + names + ", slot)"
	p.total = "(SELECT " + cols + ", " + overall + " AS v FROM " + rows + " GROUP BY " + names + ")"
	s.rank(p, Result{Source: "messages"}, grid)
	return nil
}

// age is how long ago anything was read.
func (b *builder) age() error {
	if err := b.operatorOnly(); err != nil {
		return err
	}
	s := b.begin()
	rows := item("site, source AS node, last_tick", s.heads(s.key(Site, "site"), s.key(Node, "source")))
	var exprs []string
	for _, d := range b.grouping() {
		exprs = append(exprs, string(d))
	}
	cols, names := groups(exprs)
	p := points{names: names, total: "(SELECT " + cols + ", greatest(" + s.args.whole(b.now.UnixMicro()) + " - toUnixTimestamp64Micro(max(last_tick)), 0) / 1e6 AS v FROM " + rows + " GROUP BY " + names + ")"}
	s.rank(p, Result{Source: "messages"}, Grid{})
	return nil
}

// nodeList says of each node when it was last heard of.
func (b *builder) nodeList() error {
	if err := b.operatorOnly(); err != nil {
		return err
	}
	s := b.begin()
	heads := "(SELECT site, source, argMax(run, last_tick) AS last_run, max(last_tick) AS last, max(complete_up_to) AS complete FROM " + s.heads() + " GROUP BY site, source)"
	devices := "(SELECT site, node, countIf(kind = 'gpu') AS gpus FROM " + s.devices("to_us = 0") + " GROUP BY site, node)"
	s.table("n.site, n.rack, n.node, n.model, d.gpus, h.last, if(toUnixTimestamp64Micro(h.last) > 0, greatest("+s.args.whole(b.now.UnixMicro())+" - toUnixTimestamp64Micro(h.last), 0) / 1e6, NULL) AS age, "+
		"h.complete, h.last_run",
		s.nodes(s.key(Site, "site"), s.key(Node, "id"), s.in(Rack, "rack"))+" AS n LEFT JOIN "+heads+" AS h ON h.site = n.site AND h.source = n.node LEFT JOIN "+devices+
			" AS d ON d.site = n.site AND d.node = n.node",
		"age DESC NULLS FIRST, n.site, n.node",
		"text site, text rack, text node, text model, number gpus, time last_tick, number age s, time complete_up_to, text run", "messages")
	return nil
}

// rollups says how far each level is.
func (b *builder) rollups() error {
	if err := b.operatorOnly(); err != nil {
		return err
	}
	s := b.begin()
	var names []string
	var complete []int64
	for _, of := range []string{"", "node_"} {
		for _, l := range levels[1:] {
			if st, ok := b.state.Levels[of+l.name]; ok {
				names, complete = append(names, of+l.name), append(complete, st.Complete.UnixMicro())
			}
		}
	}
	s.table("tier, "+moment("transform(toString(tier), "+s.args.texts(names)+", "+s.args.wholes(complete)+", toInt64(0))")+", max(received), max(at) AS built, max(kafka_offset)",
		s.progress()+" GROUP BY tier", "indexOf("+s.args.texts(names)+", toString(tier)), tier",
		"text level, time complete_up_to, time received, time built, number offset", "rollup_progress")
	return nil
}

// verdict is rule SV-03 as aggregator/sovereignty has it: the country of the site is among those that the tenant allows. Who is not in the
// inventory, and a site without a country, are unknown, which is never pass.
const verdict = "multiIf(t.tenant = '', 'unknown', empty(t.allowed_countries), 'pass', NOT match(s.country, '^[A-Z][A-Z]$'), 'unknown', has(t.allowed_countries, s.country), 'pass', 'fail')"

// judgedColumns are what is read of lines to be judged.
const judgedColumns = "site, hour, tenant, entries, device_time, gpu_mj, cpu_mj, node_rest_mj, it_shared_mj, facility_mj"

// judged is a FROM item of what tenants held, by site, hour and tenant, with the verdict.
func (s statement) judged(b book, columns string, where ...string) string {
	lines := s.lines(b, columns, append([]string{heldAccounts, s.key(Site, "site"), s.key(Tenant, "tenant")}, where...)...)
	list := strings.Split(columns, ", ")
	for i, c := range list {
		list[i] = "l." + c + " AS " + c
	}
	return "(SELECT " + strings.Join(list, ", ") + ", " + verdict + " AS verdict, s.country AS country, s.operator AS operator, s.operator_country AS operator_country, t.allowed_countries AS allowed FROM " + lines +
		" AS l LEFT ANY JOIN " + s.sites() + " AS s ON s.site = l.site LEFT ANY JOIN " + s.tenants() + " AS t ON t.tenant = l.tenant)"
}

func (b *builder) verdicts() error {
	s := b.begin()
	rows := s.judged(subtotals, judgedColumns, s.hours())
	if c := s.in(Verdict, "verdict"); c != "" {
		rows = "(SELECT * FROM " + rows + " WHERE " + c + ")"
	}
	return b.simple(s, rows, "toInt64(toUnixTimestamp(hour))", scaled("device_time", timePerHour), time.Hour, "subtotal")
}

func (b *builder) matrix() error {
	s := b.begin()
	s.table("tenant, site, any(country), any(operator), any(operator_country), arrayStringConcat(arraySort(any(allowed)), ', '), any(verdict), sum(entries), "+
		scaled("device_time", timePerHour)+", "+scaled(total, mjPerWh)+" AS energy", s.judged(subtotals, judgedColumns, s.hours())+" GROUP BY tenant, site", "tenant, site",
		"text tenant, text site, text country, text operator, text operator_country, text allowed_countries, text verdict, number entries, number device_time suffix:GPU-h, number energy watth", "subtotal")
	return nil
}

// failing are the tenants and sites that rule SV-03 fails.
func (s statement) failing() string {
	return "(SELECT DISTINCT site, tenant FROM " + s.judged(subtotals, "site, tenant", s.hours()) + " WHERE verdict = 'fail')"
}

func (b *builder) violations() error {
	s := b.begin()
	s.table("tenant, site, any(country), arrayStringConcat(arraySort(any(allowed)), ', '), allocation, any(project), any(workload), "+moment("min(from_us)")+", "+moment("max(to_us)")+" AS till, uniqExact(hour), "+
		scaled("device_time", timePerHour)+", "+scaled(total, mjPerWh)+", any(id)",
		s.judged(entries, "id, site, hour, tenant, allocation, project, workload, from_us, to_us, device_time, gpu_mj, cpu_mj, node_rest_mj, it_shared_mj, facility_mj", s.hours(), "(site, tenant) IN "+s.failing())+" GROUP BY tenant, site, allocation", "till DESC, tenant, site, allocation",
		"text tenant, text site, text country, text allowed_countries, text allocation, text project, text workload, time from, time to, number hours, number device_time suffix:GPU-h, number energy watth, text entry", "entry")
	return nil
}

// events is a FROM item of what happened: at and till (microseconds), event, site, node, device, tenant, text, entry.
func (s statement) events() string {
	from, to := s.span.From.UnixMicro(), s.span.To.UnixMicro()
	lo, hi := s.args.whole(from), s.args.whole(to)
	var parts []string
	wanted := func(kinds ...string) bool {
		return !s.filtered(EventKind) || slices.ContainsFunc(kinds, func(k string) bool { return slices.Contains(s.values(EventKind), k) })
	}
	places := []string{s.key(Site, "site"), s.key(Node, "node"), s.key(DeviceID, "device")}
	deviceOnly, nodeOnly := s.filtered(DeviceID), s.filtered(Node) || s.filtered(DeviceID)
	if wanted("xid") {
		at, _ := s.opt.Kept.reach(max(s.span.To.Sub(s.span.From)/time.Duration(1000), time.Second), s.span.From, s.now, s.finest())
		for _, seg := range s.state.segments("", at, floor(s.span.From.Unix(), levels[at].width), ceil(s.span.To)) {
			parts = append(parts, "SELECT ft AS at, toInt64(lt) AS till, 'xid' AS event, toString(site) AS site, toString(node) AS node, toString(device) AS device, '' AS tenant, 'XID ' || toString(xid_hi) AS text, '' AS entry FROM "+
				s.telemetry(seg, false, nil, nil, []string{"xid"}, append(places, "xid != 0 AND xid != "+noCode)...)+" WHERE xid_hi > 0 AND ft >= "+lo+" AND ft < "+hi)
		}
	}
	if wanted("gap", "loss", "clock_step", "epoch", "restart", "missing") {
		parts = append(parts, "SELECT from_us AS at, to_us AS till, toString(kind) AS event, toString(site) AS site, toString(node) AS node, device, '' AS tenant, "+
			"toString(reason) || ' (' || toString(amount) || transform(toString(kind), ['gap', 'loss', 'missing', 'clock_step', 'epoch'], [' ticks', ' messages', ' messages', ' µs', ' mJ'], '') || ')' AS text, '' AS entry FROM "+
			s.incidents(append(places, "from_us < "+hi, "to_us >= "+lo)...))
	}
	if wanted("violation") && !deviceOnly && !nodeOnly {
		// What the tenant and the site are judged to be, each of their lines is.
		lines := s.lines(entries, "id, site, tenant, allocation, from_us, to_us", heldAccounts, s.hours(), s.key(Site, "site"), s.key(Tenant, "tenant"), "(site, tenant) IN "+s.failing())
		parts = append(parts, "SELECT v.at AS at, v.till AS till, 'violation' AS event, toString(v.site) AS site, '' AS node, '' AS device, toString(v.tenant) AS tenant, "+
			"'allocation ' || v.allocation || ' ran in ' || s.country AS text, v.id AS entry FROM (SELECT site, tenant, allocation, min(from_us) AS at, max(to_us) AS till, any(id) AS id FROM "+lines+
			" GROUP BY site, tenant, allocation) AS v LEFT ANY JOIN "+s.sites()+" AS s ON s.site = v.site")
	}
	if wanted("closing") && !nodeOnly {
		parts = append(parts, "SELECT toInt64(toUnixTimestamp(hour) + 3600) * 1000000 AS at, at AS till, 'closing' AS event, toString(site) AS site, '' AS node, '' AS device, '' AS tenant, "+
			"'hour closed, ' || toString(closing) || ', batch ' || toString(batch) || if(reason = '', '', ': ' || reason) AS text, root AS entry FROM "+
			s.seals("closing != 'adjustment'", "hour >= "+s.args.seconds(s.span.From.Unix()-3600), "hour < "+s.args.seconds(s.span.To.Unix()), s.key(Site, "site"))+" WHERE at >= "+lo+" AND at < "+hi)
	}
	if wanted("adjustment") && s.adjustedAny() {
		parts = append(parts, "SELECT toInt64(toUnixTimestamp(hour)) * 1000000 AS at, at + 3600000000 AS till, 'adjustment' AS event, toString(site) AS site, toString(node) AS node, "+
			"if(uniqExact(device) = 1, toString(any(device)), '') AS device, toString(tenant) AS tenant, toString(count()) || ' lines of batch ' || toString(batch) || ', ' || toString(round(toFloat64(sum("+total+")) / "+mjPerWh+", 3)) || ' Wh: ' || any(reason) AS text, any(id) AS entry FROM "+
			s.lines(entries, "id, site, node, device, tenant, hour, batch, reason, "+energyOf, append(places, "kind = 'adjustment'", s.hours())...)+" GROUP BY site, node, tenant, hour, batch")
	}
	if parts == nil {
		return "(SELECT toInt64(0) AS at, at AS till, '' AS event, '' AS site, '' AS node, '' AS device, '' AS tenant, '' AS text, '' AS entry WHERE 0)"
	}
	rows := "(" + strings.Join(parts, " UNION ALL ") + ")"
	if c := s.in(EventKind, "event"); c != "" {
		rows = "(SELECT * FROM " + rows + " WHERE " + c + ")"
	}
	return rows
}

// adjustedAny says that there is a line that corrects another.
func (b *builder) adjustedAny() bool {
	for _, site := range b.state.Sites {
		if site.Adjustments > 0 {
			return true
		}
	}
	return false
}

func (b *builder) eventList() error {
	s := b.begin()
	s.table(moment("at")+" AS began, "+moment("till")+", event, site, node, device, tenant, text, entry", s.events(), "began DESC, event, site, node, device, text",
		"time time, time time_end, text event, text site, text node, text device, text tenant, text text, text entry", "events")
	return nil
}

func (b *builder) eventCount() error {
	s := b.begin()
	return b.simple(s, s.events(), "intDiv(ifNull(at, 0), 1000000)", "toFloat64(count())", 10*time.Second, "events")
}

func (b *builder) siteList() error {
	s := b.begin()
	nodes := "(SELECT site, count() AS n FROM (SELECT DISTINCT site, node FROM " + s.nodes(s.running()) + ") GROUP BY site)"
	devices := "(SELECT site, countIf(kind = 'gpu') AS gpus, countIf(kind = 'mig') AS migs FROM (SELECT DISTINCT site, device, kind FROM " + s.devices(s.running()) + ") GROUP BY site)"
	s.table("s.site, s.country, s.zone, s.operator, s.operator_country, s.pue_thousandths / 1000, n.n, d.gpus, d.migs",
		s.sites(s.key(Site, "id"))+" AS s LEFT JOIN "+nodes+" AS n ON n.site = s.site LEFT JOIN "+devices+" AS d ON d.site = s.site", "s.site",
		"text site, text country, text zone, text operator, text operator_country, number declared_pue, number nodes, number gpus, number mig_instances", "sites")
	return nil
}

// running is the condition for stays that the range touches.
func (s statement) running() string {
	return "(to_us = 0 OR to_us > " + s.args.whole(s.span.From.UnixMicro()) + ") AND from_us < " + s.args.whole(s.span.To.UnixMicro())
}

func (b *builder) nodeInventory() error {
	s := b.begin()
	devices := "(SELECT site, node, countIf(kind = 'gpu') AS gpus FROM (SELECT DISTINCT site, node, device, kind FROM " + s.devices(s.running()) + ") GROUP BY site, node)"
	s.table("n.site, n.rack, n.node, n.model, d.gpus, "+moment("n.from_us")+", "+moment("n.to_us"),
		s.nodes(s.running(), s.key(Site, "site"), s.key(Node, "id"), s.in(Rack, "rack"))+" AS n LEFT JOIN "+devices+" AS d ON d.site = n.site AND d.node = n.node", "n.site, n.rack, n.node, n.from_us",
		"text site, text rack, text node, text model, number gpus, time from, time to", "nodes")
	return nil
}

// devicePlaces are the conditions of filters on devices of the inventory.
func (s statement) devicePlaces() []string {
	return []string{s.key(Site, "site"), s.key(Node, "node"), s.key(DeviceID, "uuid"), s.in(Model, "model"), s.ofRacks()}
}

func (b *builder) deviceInventory() error {
	s := b.begin()
	s.table("d.site, n.rack, d.node, d.device, toString(d.kind), d.parent, d.gpu_index, d.model, d.serial, d.driver, d.vbios, toString(d.energy_source), d.limit_mw / 1000, "+moment("d.from_us")+", "+moment("d.to_us"),
		s.devices(append(s.devicePlaces(), s.running())...)+" AS d LEFT ANY JOIN "+s.racks()+" AS n ON n.site = d.site AND n.node = d.node", "d.site, d.node, d.gpu_index, d.device, d.from_us",
		"text site, text rack, text node, text device, text kind, text parent, number index, text model, text serial, text driver, text vbios, text energy_source, number power_limit watt, time from, time to", "devices")
	return nil
}

func (b *builder) tenantList() error {
	s := b.begin()
	s.table("tenant, name, sector, size_class, country, arrayStringConcat(arraySort(allowed_countries), ', ')", s.tenants(s.key(Tenant, "id")), "tenant",
		"text tenant, text name, text sector, text size_class, text country, text allowed_countries", "tenants")
	return nil
}

func (b *builder) allocationList() error {
	s := b.begin()
	from, to := s.args.whole(b.span.From.UnixMicro()), s.args.whole(b.span.To.UnixMicro())
	conds := []string{"start_us < " + to, "(end_us = 0 OR end_us > " + from + ")"}
	for _, d := range []Dimension{Site, DeviceID, Tenant, Project, Workload, ModelID, Purpose} {
		conds = append(conds, s.key(d, bookColumns[d].column))
	}
	s.table("a.site, a.node, a.device, a.thousandths / 1000, a.tenant, a.project, a.workload, a.model_id, a.purpose, a.allocation, a.scheduler_ref, "+moment("a.start_us")+" AS began, "+moment("a.end_us"),
		item("*", s.placed(conds...), s.key(Node, "node"))+" AS a", "began DESC, a.site, a.device, a.allocation",
		"text site, text node, text device, number share percentunit, text tenant, text project, text workload, text model_id, text purpose, text allocation, text scheduler_ref, time from, time to", "allocations")
	return nil
}

// nowFor is how long before the end of the range a device may have been read last, to be shown as it is now.
const nowFor = 90 * time.Second

// deviceNow is one row per device: what was read last.
func (b *builder) deviceNow() error {
	s := b.begin()
	end := b.span.To
	if n := b.state.Newest; !n.IsZero() && n.Before(end) {
		end = n.Add(time.Microsecond)
	}
	counters, gauges := []string{"sm_active_us", "tensor_active_us", "dram_active_us"}, []string{"power_w", "gpu_temp_c", "memory_temp_c", "fb_used_mib", "fb_free_mib", "sm_clock_mhz", "power_limit_w"}
	filters := s.deviceFilters()
	seg := segment{0, end.Add(-nowFor).Unix(), ceil(end)}
	share := func(c string) string {
		return "if(max(lt) > min(ft) AND max(" + c + "_hi) >= min(" + c + "_lo), toFloat64(max(" + c + "_hi) - min(" + c + "_lo)) / (max(lt) - min(ft)), NULL)"
	}
	last := func(g string) string { return "argMax(" + g + "_hi, lt) AS " + g }
	cols := []string{"site", "device", "run", "any(node) AS node", "max(lt) AS last"}
	for _, c := range counters {
		cols = append(cols, share(c)+" AS "+c)
	}
	for _, g := range gauges {
		cols = append(cols, last(g))
	}
	read := "(SELECT " + strings.Join(cols, ", ") + " FROM " + s.telemetry(seg, false, counters, gauges, nil, filters...) + " GROUP BY site, device, run ORDER BY last DESC LIMIT 1 BY site, device)"
	at := s.args.whole(end.UnixMicro())
	holders := "(SELECT device, arrayStringConcat(arraySort(groupUniqArray(toString(tenant))), ', ') AS tenants FROM " + s.allocations("start_us <= "+at, "(end_us = 0 OR end_us > "+at+")", s.key(Site, "site")) + " GROUP BY device)"
	s.table("d.site AS d_site, n.rack, d.node AS d_node, d.device AS d_device, toString(d.kind), d.gpu_index, d.model, h.tenants, r.power_w, r.power_limit_w, r.gpu_temp_c, r.memory_temp_c, r.sm_active_us, r.tensor_active_us, r.dram_active_us, "+
		"r.fb_used_mib * 1048576, (r.fb_used_mib + r.fb_free_mib) * 1048576, r.sm_clock_mhz * 1000000, "+moment("ifNull(r.last, 0)"),
		s.devices(append(s.devicePlaces(), "from_us <= "+at, "(to_us = 0 OR to_us > "+at+")")...)+" AS d LEFT JOIN "+read+" AS r ON r.site = d.site AND r.device = d.device LEFT ANY JOIN "+s.racks()+
			" AS n ON n.site = d.site AND n.node = d.node LEFT JOIN "+holders+" AS h ON h.device = d.device", "d_site, d_node, d.gpu_index, d_device",
		"text site, text rack, text node, text device, text kind, number index, text model, text tenant, number power watt, number power_limit watt, number gpu_temp celsius, number memory_temp celsius, "+
			"number sm_active percentunit, number tensor_active percentunit, number dram_active percentunit, number memory_used bytes, number memory bytes, number sm_clock hertz, time last_tick", "samples")
	return nil
}
