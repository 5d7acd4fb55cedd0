package clickhouse_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/dashboards/clickhouse"
	"github.com/wattledger/wattledger/dashboards/query"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
	"github.com/wattledger/wattledger/schemas/record"
)

// The fleet of the tests: site s1 in DE with nodes n1 and n2, site s2 in US with n3. Ticks every 10 s from 20:00 to 23:10 on the evening
// before a day of 23 hours in Berlin. Hours 20 to 22 are closed, 23 runs.
//
//	GPU-a   n1   alpha until 21:30, then beta              500 W, then 700 W
//	GPU-b   n1   500 thousandths alpha, 500 beta           400 W
//	GPU-c   n2   in MIG mode: MIG-c1 alpha, MIG-c2 beta    300 W
//	GPU-d   n2   beta                                      600 W, no readings from 21:10 to 21:20
//	GPU-e   n3   alpha, whom its policy keeps to DE        200 W
//	GPU-f   n3   nobody                                    100 W
var (
	base  = time.Date(2026, 3, 28, 20, 0, 0, 0, time.UTC)
	until = base.Add(3*time.Hour + 10*time.Minute)
)

const (
	runA  = "00000000000000000000000000000001"
	ticks = 6*190 + 1
)

type lake struct {
	t     testing.TB
	conn  driver.Conn
	cfg   chconn.Config
	store *clickhouse.Store
	now   time.Time
	rows  map[string][]string
}

func open(t testing.TB) *lake {
	t.Helper()
	cfg := chtest.Start(t)
	db, err := chconn.OpenDB(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := schema.Migrate(t.Context(), db, schema.Flavour{}); err != nil {
		t.Fatal(err)
	}
	conn, err := chconn.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	l := &lake{t: t, conn: conn, cfg: cfg, now: until}
	l.store = clickhouse.New(conn, clickhouse.Options{AllowSQL: true, Now: func() time.Time { return l.now }, StateFor: time.Hour})
	return l
}

func (l *lake) exec(format string, args ...any) {
	l.t.Helper()
	statement := fmt.Sprintf(format, args...)
	if err := l.conn.Exec(l.t.Context(), statement); err != nil {
		l.t.Fatalf("%s: %v", statement, err)
	}
}

func (l *lake) ask(scope query.Scope, q query.Query, span query.Span) []query.Frame {
	l.t.Helper()
	frames, err := l.store.Query(l.t.Context(), scope, q, span)
	if err != nil {
		l.t.Fatalf("%s %s %s by %v: %v", q.Kind, q.Metric, q.Form, q.By, err)
	}
	return frames
}

// put gathers rows of a table; flush stores them.
func (l *lake) put(table, format string, args ...any) {
	if l.rows == nil {
		l.rows = map[string][]string{}
	}
	l.rows[table] = append(l.rows[table], "("+fmt.Sprintf(format, args...)+")")
}

func (l *lake) flush() {
	l.t.Helper()
	for table, rows := range l.rows {
		l.exec("INSERT INTO %s VALUES %s", table, strings.Join(rows, ", "))
	}
	l.rows = nil
}

func us(t time.Time) int64 { return t.UnixMicro() }

func at(hour, minute int) time.Time {
	return time.Date(2026, 3, 28, hour, minute, 0, 0, time.UTC)
}

// seed fills the database.
func seed(t testing.TB) *lake {
	l := open(t)
	l.exec(`INSERT INTO sites (id, country, zone, operator, operator_country, pue_thousandths, revision) VALUES
		('s1', 'DE', 'DE', 'Cloud', 'DE', 1200, 1), ('s2', 'US', 'US-CA', 'Cloud', 'US', 1300, 1)`)
	l.exec(`INSERT INTO nodes (id, site, rack, model, from_us, revision) VALUES ('n1', 's1', 'r1', 'dgx', 1, 1), ('n2', 's1', 'r2', 'dgx', 1, 1), ('n3', 's2', 'r1', 'dgx', 1, 1)`)
	l.exec(`INSERT INTO devices (uuid, parent_uuid, node, kind, model, serial, driver, vbios, gpu_index, slices, energy_source, limit_mw, from_us, revision) VALUES
		('GPU-a', '', 'n1', 'gpu', 'B200', 'sa', 'd1', 'v1', 0, 7, 'hardware', 1000000, 1, 1), ('GPU-b', '', 'n1', 'gpu', 'B200', 'sb', 'd1', 'v1', 1, 7, 'hardware', 1000000, 1, 1),
		('GPU-c', '', 'n2', 'gpu', 'B200', 'sc', 'd1', 'v1', 0, 7, 'hardware', 1000000, 1, 1), ('MIG-c1', 'GPU-c', 'n2', 'mig', 'B200', '', 'd1', '', 0, 4, 'none', 0, 1, 1),
		('MIG-c2', 'GPU-c', 'n2', 'mig', 'B200', '', 'd1', '', 0, 3, 'none', 0, 1, 1), ('GPU-d', '', 'n2', 'gpu', 'B300', 'sd', 'd1', 'v1', 1, 7, 'hardware', 1000000, 1, 1),
		('GPU-e', '', 'n3', 'gpu', 'B200', 'se', 'd1', 'v1', 0, 7, 'hardware', 1000000, 1, 1), ('GPU-f', '', 'n3', 'gpu', 'B200', 'sf', 'd1', 'v1', 1, 7, 'hardware', 1000000, 1, 1)`)
	l.exec(`INSERT INTO tenants (id, name, sector, size_class, country, vat_id, allowed_countries, revision) VALUES
		('alpha', 'Alpha', 'bank', 'large', 'DE', 'x', ['DE'], 1), ('beta', 'Beta', 'rail', 'large', 'DE', 'x', [], 1)`)
	type hold struct {
		id, site, device, tenant string
		part                     int
		from, to                 int64
	}
	for _, h := range []hold{
		{"a1", "s1", "GPU-a", "alpha", 1000, us(base.Add(-time.Hour)), us(at(21, 30))},
		{"a2", "s1", "GPU-a", "beta", 1000, us(at(21, 30)), 0},
		{"b1", "s1", "GPU-b", "alpha", 500, us(base.Add(-time.Hour)), 0},
		{"b2", "s1", "GPU-b", "beta", 500, us(base.Add(-time.Hour)), 0},
		{"c1", "s1", "MIG-c1", "alpha", 1000, us(base.Add(-time.Hour)), 0},
		{"c2", "s1", "MIG-c2", "beta", 1000, us(base.Add(-time.Hour)), 0},
		{"d1", "s1", "GPU-d", "beta", 1000, us(base.Add(-time.Hour)), 0},
		{"e1", "s2", "GPU-e", "alpha", 1000, us(base.Add(-time.Hour)), 0},
	} {
		l.put("allocations (id, site, device, thousandths, start_us, end_us, tenant, project, workload, model_id, purpose, scheduler_ref, revision)", `'%s', '%s', '%s', %d, %d, %d, '%s', 'p-%s', 'w-%s', 'm-%[7]s', 'training', '', 1`, h.id, h.site, h.device, h.part, h.from, h.to, h.tenant, h.tenant, h.id)
	}
	type device struct {
		id, site, node string
		watt           string
		mig            bool
	}
	for i, d := range []device{
		{"GPU-a", "s1", "n1", "if(n < 540, 500, 700)", false},
		{"GPU-b", "s1", "n1", "400", false},
		{"GPU-c", "s1", "n2", "300", false},
		{"MIG-c1", "s1", "n2", "300", true},
		{"MIG-c2", "s1", "n2", "300", true},
		{"GPU-d", "s1", "n2", "600", false},
		{"GPU-e", "s2", "n3", "200", false},
		{"GPU-f", "s2", "n3", "100", false},
	} {
		// Energy at tick n is that of n periods; GPU-a's power rises at 21:30, tick 540.
		energy := "toUInt64(1000000000 + 10000 * n * " + d.watt + ")"
		if d.id == "GPU-a" {
			energy = "toUInt64(1000000000 + 10000 * (500 * least(n, 540) + 700 * greatest(n - 540, 0)))"
		}
		if d.mig {
			energy = "18446744073709551615"
		}
		gap := "1"
		if d.id == "GPU-d" {
			gap = "NOT (n > 420 AND n < 480)"
		}
		l.exec(`INSERT INTO samples (site, node, device, run, seq, boot, driver, energy_source, energy_epoch, tick, energy_ts, period_ms, received, kafka_partition, kafka_offset,
				energy_mj, power_integral_mj, gr_engine_active_us, sm_active_us, sm_occupancy_us, tensor_active_us, dram_active_us, fp64_active_us, fp32_active_us, fp16_active_us,
				pcie_tx_bytes, pcie_rx_bytes, nvlink_tx_bytes, nvlink_rx_bytes, power_violation_ns, thermal_violation_ns, ecc_sbe, ticks_expected, ticks_read,
				power_w, gpu_temp_c, memory_temp_c, sm_clock_mhz, memory_clock_mhz, fb_used_mib, power_limit_w, xid)
			SELECT '%s', '%s', '%s', '%s', n, 'b', 'd1', 'hardware', 0, fromUnixTimestamp64Micro(%d + n * 10000000) AS tick, toUnixTimestamp64Micro(tick), 10000, tick + INTERVAL 1 SECOND, 0, n,
				%s, 10000 * n * 300, n * 8000000, n * 5000000, n * 2500000, n * 4000000, n * 3000000, 0, n * 1000000, n * 2000000,
				n * 10000000, n * 20000000, n * 30000000, n * 40000000, n * 1000000000, n * 100000000, intDiv(n, 100), n + 1, n + 1,
				%s, %d, %d, 1900, 2600, %d, 1000, if(n = 100, 79, 0)
			FROM (SELECT toInt64(number) AS n FROM numbers(%d)) WHERE %s`,
			d.site, d.node, d.id, runA, us(base), energy, d.watt, 50+i, 60+i, 1000+i, ticks, gap)
	}
	for _, node := range []string{"s1 n1", "s1 n2", "s2 n3"} {
		site, name, _ := strings.Cut(node, " ")
		l.exec(`INSERT INTO messages (topic, site, source, run, seq, schema_version, complete_up_to, rows, first_tick, last_tick, received, kafka_partition, kafka_offset)
			SELECT 'wl.sample.v1', '%s', '%s', '%s', n, 1, fromUnixTimestamp64Micro(%d + n * 10000000) AS tick, 2, tick, tick, tick + INTERVAL 1 SECOND, 0, n FROM (SELECT toInt64(number) AS n FROM numbers(%d))`,
			site, name, runA, us(base), ticks)
	}
	l.ledger()
	return l
}

// ledger books the hours 20 to 22: a batch for each, and in the last an adjustment of hour 20.
func (l *lake) ledger() {
	type line struct {
		device, node, site, account, tenant, alloc string
		part                                       int64 // ms × thousandths
		mj                                         int64
	}
	hour := int64(3_600_000_000)
	for h := range 3 {
		start := base.Add(time.Duration(h) * time.Hour)
		lines := []line{
			{"GPU-b", "n1", "s1", "tenant", "alpha", "b1", hour / 2, 720_000_001},
			{"GPU-b", "n1", "s1", "tenant", "beta", "b2", hour / 2, 720_000_002},
			{"MIG-c1", "n2", "s1", "tenant", "alpha", "c1", hour, 500_000_003},
			{"MIG-c2", "n2", "s1", "held_idle", "beta", "c2", hour, 400_000_004},
			{"GPU-c", "n2", "s1", "unallocated", "", "", 0, 180_000_005},
			{"GPU-d", "n2", "s1", "tenant", "beta", "d1", hour, 2_160_000_006},
			{"GPU-e", "n3", "s2", "tenant", "alpha", "e1", hour, 720_000_007},
			{"GPU-f", "n3", "s2", "unallocated", "", "", hour, 360_000_008},
		}
		switch h {
		case 0:
			lines = append(lines, line{"GPU-a", "n1", "s1", "tenant", "alpha", "a1", hour, 1_800_000_009})
		case 1:
			lines = append(lines, line{"GPU-a", "n1", "s1", "tenant", "alpha", "a1", hour / 2, 900_000_010}, line{"GPU-a", "n1", "s1", "tenant", "beta", "a2", hour / 2, 1_260_000_011})
		case 2:
			lines = append(lines, line{"GPU-a", "n1", "s1", "tenant", "beta", "a2", hour, 2_520_000_012})
		}
		for _, site := range []string{"s1", "s2"} {
			root := fmt.Sprintf("%s-root-%d", site, h)
			l.put("seals (site, batch, root, previous, hour, entries, adjustments, closing, reason, rules, inserted)", `'%s', %d, '%s', '', fromUnixTimestamp(%d), 9, %d, 'complete', 'all nodes n1 n2', '2026-12', fromUnixTimestamp64Micro(%d)`,
				site, h+1, root, start.Unix(), map[bool]int{true: 2}[h == 2 && site == "s1"], us(start.Add(time.Hour+2*time.Minute)))
			l.put("log_records (position, site, batch, root, record)", `%d, '%s', %d, '%s', ''`, 2*h+map[string]int{"s1": 0, "s2": 1}[site], site, h+1, root)
		}
		put := func(n int, kind string, of time.Time, x line, sign int64, corrects, reason string) {
			l.put("entries (id, site, batch, root, position, hour, kind, account, node, device, device_kind, model, tenant, project, allocation, workload, model_id, purpose, from_us, to_us, device_time, unavailable_time, gpu_mj, cpu_mj, node_rest_mj, it_shared_mj, facility_mj, measured_mj, estimated_mj, modelled_mj, interpolated_mj, bound_low_mj, bound_high_mj, uncertainty_mj, sm_active_us, ticks_expected, ticks_read, carbon_ug, carbon_market_ug, carbon_embodied_ug, water_ul, heat_reused_mj, rules, split, factor, factor_market, factor_embodied, facility_source, corrects, reason)", `'%016x%048d', '%s', %d, '%s-root-%d', %d, fromUnixTimestamp(%d), '%s', '%s', '%s', '%s', 'gpu', '%s', '%s', '%s', '%s', '%s', '%s', 'training', %d, %d,
				%d, 0, %d, %d, %d, 0, %d, %d, %d, %d, 1000, 5, 6, 7000, %d, 360, 360, %d, %d, %d, %d, %d, '2026-12', 'whole', 'grid yearly (DE 2025, direct)', 'residual', 'footprint', 'declared', '%s', '%s'`,
				us(of)+int64(n)*7+int64(h), n, x.site, h+1, x.site, h, n, of.Unix(), kind, x.account, x.node, x.device, map[string]string{"GPU-d": "B300"}[x.device]+map[bool]string{true: "B200"}[x.device != "GPU-d"],
				x.tenant, pre("p-", x.tenant), x.alloc, pre("w-", x.alloc), pre("m-", x.tenant), us(of), us(of.Add(time.Hour)),
				sign*x.part, sign*x.mj, sign*x.mj/20, sign*x.mj/10, sign*x.mj/5, sign*(x.mj+x.mj/20), sign*(x.mj/10), sign*(x.mj/5),
				sign*x.part/2, sign*x.mj*100, sign*x.mj*50, sign*x.part/100, sign*x.mj/3600, sign*x.mj/50, corrects, reason)
		}
		for n, x := range lines {
			put(n, "closing", start, x, 1, "", "")
		}
		if h == 2 {
			x := lines[0]
			x.part, x.mj = 0, 1_000_033
			put(90, "adjustment", base, x, 1, "deadbeef", "late_data of n1")
			y := lines[1]
			y.part, y.mj = 0, 1_000_033
			put(91, "adjustment", base, y, -1, "deadbeef", "late_data of n1")
		}
		for n, x := range lines {
			if x.tenant == "" && x.device == "GPU-c" {
				continue
			}
			l.put("device_hours (site, hour, node, device, kind, model, counter_mj, estimated_mj, interpolated_mj, integral_mj, present_us, covered_us, ticks_expected, ticks_read, allocated_time, resets, clock_steps, sensor, flags, batch, root)", `'%s', fromUnixTimestamp(%d), '%s', '%s', 'gpu', 'B200', %d, 0, 1000, %d, 3600000000, 3590000000, 360, 359, 0, %d, 0, 'gpu_counter', %s, %d, '%s-root-%d'`,
				x.site, start.Unix(), x.node, x.device, x.mj, x.mj+1000, n%2, map[bool]string{true: "['gap']", false: "[]"}[x.device == "GPU-d" || x.device == "GPU-a"], h+1, x.site, h)
		}
	}
	l.flush()
	columns := "device_time, unavailable_time, gpu_mj, cpu_mj, node_rest_mj, it_shared_mj, facility_mj, measured_mj, estimated_mj, modelled_mj, interpolated_mj, bound_low_mj, bound_high_mj, uncertainty_mj, sm_active_us, ticks_expected, ticks_read, carbon_ug, carbon_market_ug, carbon_embodied_ug, water_ul, heat_reused_mj"
	var sums []string
	for _, c := range strings.Split(columns, ", ") {
		sums = append(sums, "sum("+c+")")
	}
	l.exec("INSERT INTO subtotals (site, hour, account, tenant, entries, %s, batch, root) SELECT site, hour, account, tenant, count(), %s, batch, root FROM entries GROUP BY site, hour, account, tenant, batch, root", columns, strings.Join(sums, ", "))
	l.exec("%s", schema.Flavour{}.SumEntries("1"))
	l.exec("%s", schema.Flavour{}.SumQuality("1"))
}

func pre(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

var (
	all   = query.Scope{All: true}
	alpha = query.Scope{Tenant: "alpha"}
	beta  = query.Scope{Tenant: "beta"}
)

func hours() query.Span { return query.Span{From: base, To: until, MaxPoints: 1000} }

// rollups builds every level and its sums by node from the samples of messages up to an offset, as ingest does, and notes the progress.
func (l *lake) rollups(offset int) {
	for _, t := range schema.Tiers {
		names := []string{"site", "node", "device", "run", "energy_epoch", "bucket", "ticks", "first_tick", "last_tick", "first_energy_ts", "last_energy_ts", "received"}
		from := []string{"site", "any(node)", "device", "run", "energy_epoch", fmt.Sprintf("toDateTime(toStartOfInterval(tick, INTERVAL %d SECOND), 'UTC') AS slot", t.Seconds), "uniqExact(tick)", "min(tick)", "max(tick)", "min(energy_ts)", "max(energy_ts)", "max(received)"}
		for _, m := range record.Counters {
			names, from = append(names, m.Name+"_min", m.Name+"_max"), append(from, "min("+m.Name+")", "max("+m.Name+")")
		}
		for _, m := range record.Gauges {
			names, from = append(names, m.Name+"_min", m.Name+"_max"), append(from, "min("+m.Name+")", "max("+m.Name+")")
		}
		for _, m := range (schema.Flavour{}).Rolled() {
			names, from = append(names, m.Name), append(from, "max("+m.Name+")")
		}
		l.exec("INSERT INTO %s (%s) SELECT %s FROM samples WHERE kafka_offset <= %d GROUP BY site, device, run, energy_epoch, slot", t.Table, strings.Join(names, ", "), strings.Join(from, ", "), offset)
		l.exec("INSERT INTO rollup_progress (tier, kafka_partition, kafka_offset, received, at) VALUES ('%s', 0, %d, fromUnixTimestamp64Micro(%d), now64(6))", strings.TrimPrefix(t.Table, "rollup_"), offset, us(base)+int64(offset)*10_000_000+1_000_000)
	}
	for _, s := range schema.Sums {
		last := "lagInFrame(%[1]s, 1, %[1]s) OVER (PARTITION BY device ORDER BY tick ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)"
		grew := func(c string) string { return "toInt64(" + c + " - " + fmt.Sprintf(last, c) + ") AS d_" + c }
		counters := []string{"energy_mj", "sm_active_us", "tensor_active_us", "dram_active_us", "gr_engine_active_us", "nvlink_tx_bytes", "nvlink_rx_bytes", "pcie_tx_bytes", "pcie_rx_bytes", "power_violation_ns", "thermal_violation_ns", "ecc_sbe", "ticks_expected", "ticks_read"}
		var diffs []string
		for _, c := range counters {
			diffs = append(diffs, grew(c))
		}
		rows := "(SELECT s.*, d.model AS model, toUnixTimestamp64Micro(tick) - toUnixTimestamp64Micro(" + fmt.Sprintf(last, "tick") + ") AS span, " + strings.Join(diffs, ", ") +
			" FROM (SELECT * FROM samples WHERE kafka_offset <= " + fmt.Sprint(offset) + ") AS s INNER JOIN (SELECT uuid, model FROM devices FINAL WHERE kind = 'gpu') AS d ON d.uuid = s.device)"
		device := fmt.Sprintf("(SELECT site, node, model, device, toDateTime(toStartOfInterval(tick, INTERVAL %d SECOND), 'UTC') AS slot, sum(span) AS span", s.Seconds)
		for _, c := range counters {
			device += ", sum(d_" + c + ") AS " + c
		}
		device += ", max(gpu_temp_c) AS t, max(memory_temp_c) AS mt, max(fb_used_mib) AS fb, max(power_limit_w) AS lim, max(received) AS rec, count() AS n FROM " + rows + " GROUP BY site, node, model, device, slot)"
		l.exec("INSERT INTO %s (site, node, model, bucket, devices, power_mw, energy_mj, span_us, sm_active_us, tensor_active_us, dram_active_us, gr_engine_active_us, nvlink_bytes, pcie_bytes, power_violation_ns, thermal_violation_ns, ecc_sbe, ticks_expected, ticks_read, gpu_temp_c_max, memory_temp_c_max, fb_used_mib, power_limit_w, received, known) "+
			"SELECT site, node, model, slot, count(), toInt64(sum(if(span > 0, energy_mj / span * 1000000, 0))), sum(energy_mj), sum(span), sum(sm_active_us), sum(tensor_active_us), sum(dram_active_us), sum(gr_engine_active_us), sum(nvlink_tx_bytes + nvlink_rx_bytes), sum(pcie_tx_bytes + pcie_rx_bytes), "+
			"sum(power_violation_ns), sum(thermal_violation_ns), sum(ecc_sbe), sum(ticks_expected), sum(ticks_read), max(t), max(mt), sum(fb), sum(lim), max(rec), sum(n) FROM %s GROUP BY site, node, model, slot", s.Table, device)
	}
	if _, err := l.store.State(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}
