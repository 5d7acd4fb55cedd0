//go:build bench

package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	schema "github.com/wattledger/wattledger/schemas/clickhouse"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/wire"
)

// halls is a fleet of three sites as dashboards find it after a month, made by the engine itself: rollups of hours for thirty days, of minutes for
// a day, of ten seconds for two hours, raw rows for ten minutes, messages for three hours, and the ledger.
//
// Each of the GPUs has a power of its own between 400 and 900 W, activity to match, and noise. Nodes have eight, racks eight nodes; a node is
// held by one of a hundred tenants for three days on end, one in ten by nobody, and a tenth of what is held is held idle. One node in ten changed
// its job in the running hour.
//
// What is not made: entries and device-hours older than a day, cuts, and the bytes that entries are hashed by. The sums of the ledger are there for
// the whole month, with the rows a closer would write; their amounts are made up. Sums of nodes are made from the rollups without a look at
// the buckets before.
type halls struct {
	devices int
	now     int64 // the present of the data, seconds since 1970
}

const (
	hallSites   = 3
	hallTenants = 100
	hallDays    = 30
	hallParts   = 24 // partitions of the topic
	hallLedger  = 24 // hours of entries and device-hours
)

func (h halls) nodes() int    { return (h.devices + 7) / 8 }
func (h halls) closed() int64 { return h.now / 3600 * 3600 } // the hours before are
func (h halls) begin() int64  { return h.closed() - hallDays*86400 }
func (h halls) spoken() int64 { return h.now - 3*3600 - 600 } // when the messages begin
func hallSite(n string) string {
	return fmt.Sprintf("arrayElement(['east', 'north', 'west'], 1 + %s %% %d)", n, hallSites)
}

func hallNode(n string) string {
	return fmt.Sprintf("concat('node-', leftPad(toString(%s), 5, '0'))", n)
}

func hallGPU(d string) string { return fmt.Sprintf("concat('GPU-', leftPad(toString(%s), 6, '0'))", d) }
func hallRun(n string) string { return fmt.Sprintf("hex(sipHash128(%s))", n) }
func hallModel(n string) string {
	return fmt.Sprintf("if(%s %% 10 = 0, 'NVIDIA H200', 'NVIDIA B200')", n)
}
func hallFree(n, b string) string { return fmt.Sprintf("(%s + %s) %% 10 = 9", n, b) } // held by nobody in a block of three days
func hallTenant(n, b string) string {
	return fmt.Sprintf("concat('tenant-', leftPad(toString((%s * 7 + %s * 13) %% %d), 2, '0'))", n, b, hallTenants)
}

const hallInsert = " SETTINGS max_insert_threads = 2, min_insert_block_size_rows = 500000, min_insert_block_size_bytes = 400000000"

// fill makes all of it.
func (h halls) fill(t testing.TB, s *stack) {
	t.Helper()
	for _, part := range []struct {
		what string
		make func()
	}{
		{"inventory", func() { h.inventory(t, s) }},
		{"rollup_1h", func() { h.rollups(t, s, schema.Tiers[2], h.begin(), h.closed()+3600, 86400*5) }},
		{"rollup_1m", func() { h.rollups(t, s, schema.Tiers[1], h.now-86400, h.now/60*60, 86400) }},
		{"rollup_10s", func() { h.rollups(t, s, schema.Tiers[0], h.now-7200, h.now/10*10, 3600) }},
		{"samples", func() { h.samples(t, s) }},
		{"messages", func() { h.messages(t, s) }},
		{"ledger", func() { h.ledger(t, s) }},
		{"node sums", func() { h.sums(t, s) }},
	} {
		begun := time.Now()
		part.make()
		fmt.Printf("  made %-12s in %4.0f s\n", part.what, time.Since(begun).Seconds())
	}
	h.passed(t, s, h.now-45)
	settled(t, s)
}

func (h halls) inventory(t testing.TB, s *stack) {
	t.Helper()
	from := h.begin() * 1_000_000
	s.exec(t, `INSERT INTO wattledger.sites (id, country, zone, operator, operator_country, pue_thousandths, allocation_source, revision)
		SELECT %s, arrayElement(['FR', 'DE', 'FR'], 1 + number), arrayElement(['FR', 'DE', 'FR'], 1 + number), 'op', 'FR', 1200, 'sched', 1 FROM numbers(%d)`, hallSite("number"), hallSites)
	s.exec(t, `INSERT INTO wattledger.nodes (id, site, rack, model, rest_mw, from_us, to_us, revision)
		SELECT %s, %s, concat('rack-', leftPad(toString(intDiv(number, 24)), 3, '0')), 'HGX', 1800000, %d, 0, 1 FROM numbers(%d)`, hallNode("number"), hallSite("number"), from, h.nodes())
	s.exec(t, `INSERT INTO wattledger.devices (uuid, parent_uuid, node, kind, model, serial, driver, vbios, gpu_index, slices, energy_source, limit_mw, idle_mw, from_us, to_us, revision)
		SELECT %s, '', %s, 'gpu', %s, toString(number), '580.65.06', 'v', number %% 8, 0, 'hardware', 1000000, 140000, %d, 0, 1 FROM numbers(%d)`,
		hallGPU("number"), hallNode("intDiv(number, 8)"), hallModel("intDiv(number, 8)"), from, h.devices)
	s.exec(t, `INSERT INTO wattledger.tenants (id, name, sector, size_class, country, allowed_countries, revision)
		SELECT concat('tenant-', leftPad(toString(number), 2, '0')), concat('Tenant ', toString(number)), 'research', 'large', 'FR', if(number %% 4 = 0, ['FR'], ['FR', 'DE']), 1 FROM numbers(%d)`, hallTenants)
	s.exec(t, `INSERT INTO wattledger.allocations (id, site, device, thousandths, start_us, end_us, tenant, project, workload, model_id, purpose, scheduler_ref, revision)
		SELECT concat('a-', toString(d), '-', toString(b), if(again, '-2', '')), %s, %s, 1000, if(again, %[10]d, %[3]d + b * 259200000000), multiIf(again, 0, changes, %[10]d, b = %[4]d, 0, %[3]d + (b + 1) * 259200000000), %[6]s,
			concat('p', toString(n %% 3)), concat('job-', toString(n), '-', toString(b), if(again, '-2', '')), concat('model-', toString(n %% 40)), if(n %% 3 = 0, 'inference', 'training'), 'job', 1
		FROM (SELECT number %% %[7]d AS d, intDiv(d, 8) AS n, intDiv(number, %[7]d) AS b, b = %[4]d AND n %% 10 = 3 AS changes, arrayJoin(if(changes, [0, 1], [0])) AS again FROM numbers(%[8]d) WHERE NOT (%[9]s))`,
		hallSite("n"), hallGPU("d"), from, hallDays/3, from, hallTenant("n", "b"), h.devices, h.devices*(hallDays/3+1), hallFree("n", "b"), (h.closed()+600)*1_000_000)
	s.exec(t, `INSERT INTO wattledger.incidents (site, node, kind, reason, device, from_us, to_us, amount, run, first_seq, last_seq, received)
		SELECT %s, %s, arrayElement(['gap', 'restart', 'loss', 'clock_step'], 1 + number %% 4), 'late', '', at, at + 5000000, 5, '', 0, 0, now64(6)
		FROM (SELECT number, cityHash64(number) %% %d AS n, %d + cityHash64(number, 1) %% %d AS at FROM numbers(5000))`, hallSite("n"), hallNode("n"), h.nodes(), from, hallDays*86400*1_000_000)
}

// rate is by how much a counter grows in a second, of device d.
func hallRate(m record.Metric) string {
	switch {
	case m.Name == "energy_mj" || m.Name == "power_integral_mj":
		return "(400000 + (d * 7919) % 500000)"
	case strings.HasPrefix(m.Name, "ticks_"):
		return "1"
	case strings.HasSuffix(m.Name, "_us"):
		return "(200000 + (d * 104729) % 700000)"
	case strings.HasSuffix(m.Name, "_bytes"):
		return "(1000000000 + (d * 7919) % 4000000000)"
	case strings.HasSuffix(m.Name, "_ns"):
		return "(if(d % 50 = 0, 30000000, 0))"
	}
	return "0"
}

func hallGauge(m record.Metric) string {
	switch m.Name {
	case "power_w", "power_instant_w":
		return "toFloat32(400 + (d * 7919) % 500000 / 1000 + h % 1000 / 20)"
	case "gpu_temp_c", "memory_temp_c":
		return "toFloat32(45 + h % 30)"
	case "sm_clock_mhz", "memory_clock_mhz":
		return "toFloat32(1900 - h % 3 * 15)"
	case "fb_used_mib", "fb_free_mib":
		return "toFloat32(60000 + (d * 31) % 90000)"
	case "power_limit_w":
		return "toFloat32(1000)"
	}
	return "toFloat32(0)"
}

// rollups makes the rows of a level in [from, to), so many seconds an insert, in the order of the table's key.
func (h halls) rollups(t testing.TB, s *stack, tier schema.Tier, from, to, step int64) {
	t.Helper()
	w := int64(tier.Seconds)
	last := fmt.Sprintf("(at + least(%d, %d - at) - 1)", w, h.now) // the running hour is not over
	columns := []string{"site", "node", "device", "run", "energy_epoch", "bucket", "ticks", "first_tick", "last_tick", "first_energy_ts", "last_energy_ts", "received"}
	values := []string{
		hallSite("n"), hallNode("n"), hallGPU("d"), hallRun("n"), "0", "toDateTime(at, 'UTC')", last + " - at + 1", "toDateTime64(at, 6, 'UTC')", "toDateTime64(" + last + ", 6, 'UTC')",
		"at * 1000000 - 20000 + h % 10000", last + " * 1000000 - 20000 + h % 10000", "toDateTime64(" + last + " + 1, 6, 'UTC')",
	}
	for _, m := range record.Counters {
		columns = append(columns, m.Name+"_min", m.Name+"_max")
		noise := "h % 20000"
		if hallRate(m) == "0" || hallRate(m) == "1" {
			noise = "0"
		}
		values = append(values, fmt.Sprintf("1000000000 + %s * (at - %d) + %s", hallRate(m), h.begin(), noise), fmt.Sprintf("1000000000 + %s * (%s - %d) + %s", hallRate(m), last, h.begin(), noise))
	}
	for _, m := range record.Gauges {
		columns = append(columns, m.Name+"_min", m.Name+"_max")
		values = append(values, hallGauge(m), hallGauge(m)+" + 3")
	}
	for _, m := range (schema.Flavour{}).Rolled() {
		columns = append(columns, m.Name)
		values = append(values, map[bool]string{true: "if(h % 200000 = 7, 79, 0)", false: "0"}[m.Name == "xid"])
	}
	from = from / w * w
	for at := from; at < to; at += step {
		n := (min(at+step, to) - at + w - 1) / w
		s.exec(t, "INSERT INTO wattledger.%s (%s) SELECT %s FROM (SELECT intDiv(number, %d) AS d, intDiv(d, 8) AS n, %d + number %% %[4]d * %[6]d AS at, cityHash64(d, at) AS h FROM numbers(%[7]d))%[8]s",
			tier.Table, strings.Join(columns, ", "), strings.Join(values, ", "), n, at, w, n*int64(h.devices), hallInsert)
	}
}

// samples makes ten minutes of raw rows.
func (h halls) samples(t testing.TB, s *stack) {
	t.Helper()
	columns := []string{"site", "node", "device", "run", "seq", "boot", "driver", "energy_source", "tick", "energy_ts", "period_ms", "received", "kafka_partition", "kafka_offset"}
	values := []string{
		hallSite("n"), hallNode("n"), hallGPU("d"), hallRun("n"), fmt.Sprintf("at - %d", h.spoken()), "hex(sipHash128('boot', n))", "'580.65.06'", "'hardware'", "toDateTime64(at, 6, 'UTC')",
		"at * 1000000 - 20000 + h % 10000", "1000", "toDateTime64(at + 0.4, 6, 'UTC')", fmt.Sprintf("n %% %d", hallParts), h.offset("n", "at"),
	}
	for _, m := range record.Counters {
		columns, values = append(columns, m.Name), append(values, fmt.Sprintf("1000000000 + %s * (at - %d)", hallRate(m), h.begin()))
	}
	for _, m := range record.Gauges {
		columns, values = append(columns, m.Name), append(values, hallGauge(m))
	}
	for _, m := range record.Codes {
		columns, values = append(columns, m.Name), append(values, "0")
	}
	const step = 60
	for at := h.now - 600; at < h.now; at += step {
		s.exec(t, "INSERT INTO wattledger.samples (%s) SELECT %s FROM (SELECT intDiv(number, %d) AS d, intDiv(d, 8) AS n, %d + number %% %[3]d AS at, cityHash64(d, at) AS h FROM numbers(%[5]d))%[6]s",
			strings.Join(columns, ", "), strings.Join(values, ", "), step, at, step*h.devices, hallInsert)
	}
}

// offset is that of a node's message at a second.
func (h halls) offset(n, at string) string {
	return fmt.Sprintf("(%s - %d) * %d + intDiv(%s, %d)", at, h.spoken(), (h.nodes()+hallParts-1)/hallParts, n, hallParts)
}

// messages makes a line a second for each node.
func (h halls) messages(t testing.TB, s *stack) {
	t.Helper()
	const step = 1800
	for at := h.spoken(); at < h.now; at += step {
		n := min(step, h.now-at)
		s.exec(t, `INSERT INTO wattledger.messages (topic, site, source, run, seq, schema_version, complete_up_to, rows, first_tick, last_tick, received, kafka_partition, kafka_offset)
			SELECT '%s', %s, %s, %s, at - %d, 1, toDateTime64(at, 6, 'UTC'), 8, toDateTime64(at, 6, 'UTC'), toDateTime64(at, 6, 'UTC'), toDateTime64(at + 0.4, 6, 'UTC'), n %% %d, %s
			FROM (SELECT intDiv(number, %d) AS n, %d + number %% %[8]d AS at FROM numbers(%[10]d))%[11]s`,
			wire.TopicSample, hallSite("n"), hallNode("n"), hallRun("n"), h.spoken(), hallParts, h.offset("n", "at"), n, at, n*int64(h.nodes()), hallInsert)
	}
}

// passed notes that the levels hold what came up to a second; those of hours, which are built less often, what came five minutes before.
func (h halls) passed(t testing.TB, s *stack, at int64) {
	t.Helper()
	s.exec(t, `INSERT INTO wattledger.rollup_progress (tier, kafka_partition, kafka_offset, received, at)
		SELECT arrayJoin(['10s', '1m', '1h', 'node_10s', 'node_1m', 'node_1h']) AS level, number, (%d - (if(endsWith(level, '1h'), 300, 0) AS late) + 1) * %d - 1, toDateTime64(%d - late + 0.4, 6, 'UTC'), now64(6) FROM (SELECT number FROM numbers(%d))`,
		at-h.spoken(), (h.nodes()+hallParts-1)/hallParts, at, hallParts)
}

// ledger makes the sums of a month and the lines of a day.
func (h halls) ledger(t testing.TB, s *stack) {
	t.Helper()
	hours := hallDays * 24
	root := func(site, k string) string { return fmt.Sprintf("hex(sipHash128(%s, %s))", site, k) }
	s.exec(t, `INSERT INTO wattledger.seals (site, batch, root, previous, hour, entries, closing, reason, rules, inserted)
		SELECT %s, k, %s, '', toDateTime(%d + k * 3600, 'UTC'), 7000, 'complete', '', 'bench', toDateTime64(%d + (k + 1) * 3600 + 90, 6, 'UTC')
		FROM (SELECT number %% %d AS i, intDiv(number, %[5]d) AS k FROM numbers(%[6]d))`, hallSite("i"), root(hallSite("i"), "k"), h.begin(), h.begin(), hallSites, hallSites*hours)
	// What held a node-hour: its tenant, a tenth of it idle in one of three hours, or nobody.
	const amounts = `1000 * toInt64(w) AS device_time, 0 AS unavailable_time, toInt64(e) AS gpu_mj, 0 AS cpu_mj, intDiv(gpu_mj, 5) AS node_rest_mj, intDiv(gpu_mj, 20) AS it_shared_mj, intDiv(gpu_mj, 4) AS facility_mj,
		gpu_mj AS measured_mj, intDiv(gpu_mj, 10000) AS estimated_mj, node_rest_mj + it_shared_mj + facility_mj AS modelled_mj, intDiv(gpu_mj, 1000) AS interpolated_mj,
		intDiv(gpu_mj, 100) AS bound_low_mj, intDiv(gpu_mj, 100) AS bound_high_mj, intDiv(gpu_mj, 50) AS uncertainty_mj, intDiv(device_time, 1000) * 600 AS sm_active_us,
		intDiv(device_time, 1000000) AS ticks_expected, ticks_expected - h %% 3 AS ticks_read, intDiv(gpu_mj, 60) AS carbon_ug, intDiv(gpu_mj, 90) AS carbon_market_ug,
		intDiv(gpu_mj, 200) AS carbon_embodied_ug, intDiv(gpu_mj, 1800) AS water_ul, 0 AS heat_reused_mj`
	columns := strings.Join(schema.Added, ", ")
	rows := func(units, per, first int, count string) string {
		return literal(`(SELECT number %% %[1]d AS d, intDiv(d, %[2]d) AS n, %[3]d + intDiv(intDiv(number, %[1]d), 2) AS k, intDiv(number, %[1]d) %% 2 AS idle, intDiv(k, 72) AS b, cityHash64(number) AS h,
			%[4]s AS free, multiIf(free, 'unallocated', idle, 'held_idle', 'tenant') AS account, if(free, '', %[5]s) AS tenant, if(free, '', concat('p', toString(n %% 3))) AS project,
			if(free, '', concat('model-', toString(n %% 40))) AS model_id, multiIf(free, '', n %% 3 = 0, 'inference', 'training') AS purpose, concat('job-', toString(n), '-', toString(b)) AS job,
			%[6]s * if(idle, 360000, 3240000) AS w, w * (400 + (n * 7919) %% 500) AS e
			FROM numbers(%[7]d) WHERE idle = 0 OR (NOT free AND (n + k) %% 3 = 0))`, units, per, first, hallFree("n", "b"), hallTenant("n", "b"), count, units*2*(hours-first))
	}
	s.exec(t, "INSERT INTO wattledger.hour_sums (site, hour, node, model, account, tenant, project, model_id, purpose, entries, "+columns+", batch, root) SELECT %s AS s, toDateTime(%d + k * 3600, 'UTC'), %s, %s, account, tenant, project, model_id, purpose, 8, "+
		amounts+", k, %s FROM "+rows(h.nodes(), 1, 0, "8")+hallInsert, hallSite("n"), h.begin(), hallNode("n"), hallModel("n"), root("s", "k"))
	s.exec(t, `INSERT INTO wattledger.subtotals (site, hour, account, tenant, entries, tree, %[1]s, batch, root) SELECT site, hour, account, tenant, sum(entries), '', sum(%[2]s), batch, root FROM wattledger.hour_sums
		GROUP BY site, hour, account, tenant, batch, root`, columns, strings.Join(schema.Added, "), sum("))
	quality := schema.Flavour{}.Quality()
	of := map[string]string{
		"devices": "8", "flagged": "h % 50 = 0", "counter_mj": "8 * 3600 * 600000", "compared_mj": "8 * 3600 * 600000", "integral_mj": "8 * 3600 * 601000", "difference_mj": "8 * 3600 * 1000",
		"present_us": "8 * 3600000000", "covered_us": "8 * 3600000000 - h % 1000000", "ticks_expected": "8 * 3600", "ticks_read": "8 * 3600 - h % 5", "allocated_time": "8 * 3600000000",
	}
	values := make([]string, len(quality))
	for i, q := range quality {
		if values[i] = of[q]; values[i] == "" {
			values[i] = "0"
		}
	}
	s.exec(t, "INSERT INTO wattledger.quality_sums (site, hour, node, kind, model, "+strings.Join(quality, ", ")+", batch, root) SELECT %s AS s, toDateTime(%d + k * 3600, 'UTC'), %s, 'gpu', %s, "+strings.ReplaceAll(strings.Join(values, ", "), "%", "%%")+
		", k, %s FROM (SELECT number %% %d AS n, intDiv(number, %[6]d) AS k, cityHash64(number) AS h FROM numbers(%[7]d))%[8]s", hallSite("n"), h.begin(), hallNode("n"), hallModel("n"), root("s", "k"), h.nodes(), h.nodes()*hours, hallInsert)
	first := hours - hallLedger
	s.exec(t, "INSERT INTO wattledger.entries (id, site, batch, root, position, hour, kind, account, node, device, device_kind, model, tenant, project, allocation, workload, model_id, purpose, from_us, to_us, "+columns+", rules, split, factor) SELECT hex(SHA256(toString(h))), %s AS s, k, %s, d * 2 + idle, toDateTime(%d + k * 3600, 'UTC') AS hour, 'closing', account, %s, %s, 'gpu', %s, tenant, project, if(free, '', concat('a-', toString(d), '-', toString(b))), if(free, '', job), model_id, purpose, toUnixTimestamp(hour) * 1000000, toUnixTimestamp(hour) * 1000000 + 3600000000, "+
		amounts+", 'bench', 'whole', 'grid' FROM "+rows(h.devices, 8, first, "1")+hallInsert, hallSite("n"), root("s", "k"), h.begin(), hallNode("n"), hallGPU("d"), hallModel("n"))
	s.exec(t, `INSERT INTO wattledger.device_hours (site, hour, node, device, kind, model, counter_mj, integral_mj, present_us, covered_us, ticks_expected, ticks_read, allocated_time, flags, batch, root)
		SELECT %s AS s, toDateTime(%d + k * 3600, 'UTC'), %s, %s, 'gpu', %s, 3600 * 600000, 3600 * 601000, 3600000000, 3600000000 - h %% 100000, 3600, 3600 - h %% 2, 3600000000, if(h %% 50 = 0, ['gap'], []), k, %s
		FROM (SELECT number %% %d AS d, intDiv(d, 8) AS n, %d + intDiv(number, %[7]d) AS k, cityHash64(number) AS h FROM numbers(%[9]d))%[10]s`,
		hallSite("n"), h.begin(), hallNode("n"), hallGPU("d"), hallModel("n"), root("s", "k"), h.devices, first, h.devices*hallLedger, hallInsert)
}

// literal is text for the format of a statement.
func literal(format string, args ...any) string {
	return strings.ReplaceAll(fmt.Sprintf(format, args...), "%", "%%")
}

// sums makes those of nodes from the rollups, by one short statement for each piece of time: panels read the rows that the roller would have
// written but for what a bucket takes from the reading before it, and the roller, which looks for those, would take an hour.
func (h halls) sums(t testing.TB, s *stack) {
	t.Helper()
	grown := func(name string) string { return fmt.Sprintf("sum(toInt64(%[1]s_max - %[1]s_min))", name) }
	counters := []string{"energy_mj", "sm_active_us", "tensor_active_us", "dram_active_us", "gr_engine_active_us", "power_violation_ns", "thermal_violation_ns", "ecc_sbe", "ecc_dbe", "pcie_replays", "ticks_expected", "ticks_read"}
	var sums []string
	for _, name := range counters {
		sums = append(sums, grown(name))
	}
	from := map[string]int64{"node_10s": h.now - 7200, "node_1m": h.now - 86400, "node_1h": h.begin()}
	for _, level := range schema.Sums {
		const pieces = 12
		begin := from[level.Table]
		for i := range int64(pieces) {
			first, last := begin+(h.now-begin)*i/pieces, begin+(h.now-begin)*(i+1)/pieces
			s.exec(t, `INSERT INTO wattledger.%s (site, node, model, bucket, devices, power_mw, span_us, %s, nvlink_bytes, pcie_bytes, gpu_temp_c_max, memory_temp_c_max, fb_used_mib, power_limit_w, xids, received, known)
				SELECT site, node, model, bucket, count(), sum(toInt64(round((power_w_min + power_w_max) * 500))), sum(toUnixTimestamp64Micro(last_tick) - toUnixTimestamp64Micro(first_tick)), %s,
					%s + %s, %s + %s, max(gpu_temp_c_max), max(memory_temp_c_max), sum(fb_used_mib_max), sum(power_limit_w_max), countIf(xid > 0 AND xid < 4294967295), max(received), sum(ticks)
				FROM wattledger.%s AS r INNER JOIN (SELECT uuid, any(model) AS model FROM wattledger.devices GROUP BY uuid) AS d ON d.uuid = r.device
				WHERE bucket >= toDateTime(%d) AND bucket < toDateTime(%d) GROUP BY site, node, model, bucket`,
				level.Table, strings.Join(counters, ", "), strings.Join(sums, ", "), grown("nvlink_tx_bytes"), grown("nvlink_rx_bytes"), grown("pcie_tx_bytes"), grown("pcie_rx_bytes"), level.Source, first, last)
		}
	}
}
