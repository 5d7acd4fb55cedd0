//go:build bench

package bench

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/wattledger/wattledger/internal/chconn"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
)

// ledgerFigures is the last line of make bench-ledger.
type ledgerFigures struct {
	Close     float64 `json:"close_hour_s"`
	CloseRSS  float64 `json:"close_hour_rss_mib"`
	OneTenant float64 `json:"month_one_tenant_ms"`
	All       float64 `json:"month_all_ms"`
	Growth    float64 `json:"growth_exponent"`

	Devices     int     `json:"devices"`
	Rows        int64   `json:"rows"`
	RowsRead    int64   `json:"distinct_rows_in_the_hour"`
	Load        float64 `json:"close_load_s"`
	Append      float64 `json:"close_append_s"`
	Entries     int     `json:"close_entries"`
	EngineCPU   float64 `json:"close_engine_cpu_s"`
	CloserCPU   float64 `json:"close_aggregator_cpu_s"`
	EngineRSS   float64 `json:"engine_rss_mib"`
	CloserRSS   float64 `json:"aggregator_rss_mib"`
	Scan        float64 `json:"bare_scan_s"`
	OverScan    float64 `json:"close_over_bare_scan"`
	Generated   float64 `json:"generate_s"`
	Parts       uint64  `json:"parts"`
	GrowthHours float64 `json:"growth_hours"`
	GrowthEdges float64 `json:"growth_edges"`

	MonthEntries uint64  `json:"month_entries"`
	RawOne       float64 `json:"month_one_tenant_entries_ms"`
	RawAll       float64 `json:"month_all_entries_ms"`
	Sealed       float64 `json:"seal_entries_per_s"`
	Verified     float64 `json:"verify_entries_per_s"`
}

const (
	ledgerFrom = 1_790_000_000 / 3600 * 3600
	ledgerDay  = 24 * 3600
)

// TestLedger closes an hour of a fleet read once a second, sums a month, and shows how the cost grows. What is compared is measured in the
// same run: closing beside a bare scan of the columns it reads.
func TestLedger(t *testing.T) {
	devices := setting(t, "BENCH_DEVICES", 18_000)
	f := ledgerFigures{Devices: devices}
	s := startLedger(t)
	only := os.Getenv("BENCH_ONLY")
	for _, part := range []struct {
		name string
		run  func(*testing.T, *stack)
	}{{"hour", f.hour}, {"seals", f.seals}, {"growth", f.growth}, {"month", f.month}} {
		if only == "" || only == part.name {
			part.run(t, s)
		}
	}
	for _, row := range []struct {
		what, unit string
		value, aim float64
	}{
		{"closing an hour", "s", f.Close, 20},
		{"memory, engine and aggregator", "MiB", f.CloseRSS, 2048},
		{"a month of one tenant", "ms", f.OneTenant, 200},
		{"a month of all", "ms", f.All, 2000},
		{"growth with devices, exponent", "", f.Growth, 1.1},
		{"growth with hours, exponent", "", f.GrowthHours, 1.1},
		{"growth with edges, exponent", "", f.GrowthEdges, 1.1},
	} {
		if row.value == 0 {
			continue // not of the part that was asked for
		}
		fmt.Printf("  %-34s %8.2f %-3s aim %g: %s\n", row.what, row.value, row.unit, row.aim, map[bool]string{true: "met", false: "NOT met"}[row.value <= row.aim])
	}
	line, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%s\n", line)
}

// startLedger is the engine as shipped with its tables, and nothing else: closing needs no Kafka.
func startLedger(t *testing.T) *stack {
	t.Helper()
	s := &stack{data: t.TempDir()}
	s.engine = s.wattledger(t, "embedded", "clickhouse", "--clickhouse-listen", "127.0.0.1:0", "--metrics-listen", "off")
	s.engine.start(t)
	s.await(t, s.engine, func() error {
		cfg, err := chconn.EmbeddedConfig(s.data)
		if err != nil {
			return err
		}
		cfg.Database = "default"
		cfg.ReadTimeout = 30 * time.Minute
		s.db, err = chconn.Open(t.Context(), cfg)
		return err
	})
	t.Cleanup(func() { s.db.Close() })
	s.exec(t, "CREATE DATABASE wattledger")
	s.tables(t)
	return s
}

func (s *stack) tables(t *testing.T) {
	t.Helper()
	cfg, err := chconn.EmbeddedConfig(s.data)
	if err != nil {
		t.Fatal(err)
	}
	db, err := chconn.OpenDB(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := schema.Migrate(t.Context(), db, schema.Flavour{}); err != nil {
		t.Fatal(err)
	}
}

// empty drops all rows.
func (s *stack) empty(t *testing.T) {
	t.Helper()
	s.exec(t, "DROP DATABASE wattledger SYNC")
	s.exec(t, "CREATE DATABASE wattledger")
	s.tables(t)
}

// hour closes one hour of the whole fleet.
func (f *ledgerFigures) hour(t *testing.T, s *stack) {
	t.Helper()
	p := plant{site: "s", devices: f.Devices, hours: 1, edges: 500, begin: ledgerFrom}
	p.inventory(t, s)
	f.Generated = p.samples(t, s).Seconds()
	f.Rows = int64(one[uint64](t, s, "SELECT count() FROM wattledger.sample"))
	settled(t, s)
	f.Parts = one[uint64](t, s, "SELECT count() FROM system.parts WHERE active AND database = 'wattledger' AND table = 'samples'")
	fmt.Printf("%d GPUs: %d rows made in %.0f s, in %d parts\n", f.Devices, f.Rows, f.Generated, f.Parts)
	f.Scan = bareScan(t, s)
	s.engine.forget(t)
	before := s.engine.cpu(t)
	c := s.close(t, 1)
	f.EngineCPU, f.CloserCPU = (s.engine.cpu(t) - before).Seconds(), c.CPU
	f.Close, f.Load, f.Append, f.Entries, f.RowsRead = c.Total, c.Load, c.Append, c.Entries, c.Rows
	f.EngineRSS, f.CloserRSS = mib(s.engine.peak(t)), mib(c.Peak)
	f.CloseRSS, f.OverScan = f.EngineRSS+f.CloserRSS, f.Close/f.Scan
	fmt.Printf("closed in %.1f s: loading %.1f, appending %.1f; %d entries; engine %.1f CPU-s and %.0f MiB, aggregator %.1f CPU-s and %.0f MiB; a bare scan takes %.2f s\n",
		c.Total, c.Load, c.Append, c.Entries, f.EngineCPU, f.EngineRSS, f.CloserCPU, f.CloserRSS, f.Scan)
	fmt.Printf("root %s\n", c.Root)
}

// bareScan is how long the engine takes to read the columns that closing reads, the better of two runs, in seconds.
func bareScan(t *testing.T, s *stack) float64 {
	t.Helper()
	best := math.Inf(1)
	for range 2 {
		begun := time.Now()
		one[uint64](t, s, `SELECT count() FROM wattledger.series WHERE NOT ignore(site, device, run, boot, driver, source, period_ms, epoch, tick,
			energy_ts, energy_mj, power_integral_mj, sm_active_us, ticks_expected, ticks_read)`)
		best = min(best, time.Since(begun).Seconds())
	}
	return best
}

// growth closes plants of three sizes each way, and takes the processor time of engine and aggregator for the cost: of a machine that
// does other things as well, the time on the clock says little.
func (f *ledgerFigures) growth(t *testing.T, s *stack) {
	t.Helper()
	most := max(64, min(f.Devices, 4500))
	run := func(what string, p func(size int) plant, sizes ...int) float64 {
		var took []float64
		for _, size := range sizes {
			s.empty(t)
			plant := p(size)
			plant.inventory(t, s)
			plant.samples(t, s)
			settled(t, s)
			before := s.engine.cpu(t)
			c := s.close(t, plant.hours)
			cpu := (s.engine.cpu(t) - before).Seconds() + c.CPU
			took = append(took, cpu)
			fmt.Printf("  %d %s: %.2f CPU-s, closed in %.2f s\n", size, what, cpu, c.Total)
		}
		return exponent(sizes, took)
	}
	f.Growth = run("devices", func(n int) plant { return plant{site: "s", devices: n, hours: 1, edges: 500, begin: ledgerFrom} }, most/4, most/2, most)
	f.GrowthHours = run("hours", func(n int) plant { return plant{site: "s", devices: most / 4, hours: n, edges: 500, begin: ledgerFrom} }, 1, 2, 4)
	f.GrowthEdges = run("edges", func(n int) plant { return plant{site: "s", devices: most / 4, hours: 1, edges: n, begin: ledgerFrom} }, 500, 5000, 50000)
}

// exponent is the slope of the line through the logarithms, by least squares.
func exponent(sizes []int, took []float64) float64 {
	var sx, sy, sxx, sxy float64
	n := float64(len(sizes))
	for i, size := range sizes {
		x, y := math.Log(float64(size)), math.Log(took[i])
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

// month sums a month of ledger.
func (f *ledgerFigures) month(t *testing.T, s *stack) {
	t.Helper()
	s.empty(t)
	const hours = 30 * 24
	for day := range 30 {
		s.exec(t, `INSERT INTO wattledger.entries (id, site, batch, root, position, hour, kind, account, node, device, device_kind, model, tenant, project, allocation, workload, model_id, purpose,
			from_us, to_us, device_time, gpu_mj, node_rest_mj, facility_mj, measured_mj, modelled_mj, bound_low_mj, bound_high_mj, uncertainty_mj, sm_active_us, ticks_expected, ticks_read,
			carbon_ug, carbon_market_ug, carbon_embodied_ug, water_ul, rules, split)
			SELECT hex(sipHash128(number)), 's', h, hex(sipHash128('root', h)), d, toDateTime(%[1]d + h * 3600), 'closing', if(d %% 10 = 9, 'unallocated', 'tenant'),
			concat('node-', toString(intDiv(d, 8))), concat('GPU-', leftPad(toString(d), 6, '0')), 'gpu', 'NVIDIA B200', if(d %% 10 = 9, '', concat('tenant-', toString(intDiv(d, 8) %% %[2]d))), 'p', concat('a', toString(d)), 'w', 'm', 'training',
			(%[1]d + h * 3600) * 1000000, (%[1]d + h * 3600 + 3600) * 1000000, 3600000000, e, 200000000 + e %% 1000, intDiv(e, 5), e, 200000000, 500, 500, intDiv(e, 20), 3000000000, 3600, 3600,
			e * 16, e * 12, 1000000, e, '2026-12', 'slots'
			FROM (SELECT number, number %% %[3]d AS d, toInt64(intDiv(number, %[3]d)) + %[4]d AS h, toInt64(1500000000 + cityHash64(number, %[4]d) %% 1000000000) AS e FROM numbers(%[3]d * 24))
			SETTINGS min_insert_block_size_rows = 500000`, ledgerFrom, plantTenant, f.Devices, day*24)
	}
	s.exec(t, `INSERT INTO wattledger.seals (site, batch, root, previous, hour, entries) SELECT 's', number, hex(sipHash128('root', toInt64(number))), '', toDateTime(%d + number * 3600), %d FROM numbers(%d)`,
		ledgerFrom, f.Devices, hours)
	s.exec(t, `INSERT INTO wattledger.subtotals (site, hour, account, tenant, entries, device_time, gpu_mj, node_rest_mj, facility_mj, measured_mj, modelled_mj, bound_low_mj, bound_high_mj, uncertainty_mj,
		sm_active_us, ticks_expected, ticks_read, carbon_ug, carbon_market_ug, carbon_embodied_ug, water_ul, batch, root)
		SELECT site, hour, CAST(account, 'String'), tenant, count(), sum(device_time), sum(gpu_mj), sum(node_rest_mj), sum(facility_mj), sum(measured_mj), sum(modelled_mj), sum(bound_low_mj), sum(bound_high_mj),
		sum(uncertainty_mj), sum(sm_active_us), sum(ticks_expected), sum(ticks_read), sum(carbon_ug), sum(carbon_market_ug), sum(carbon_embodied_ug), sum(water_ul), batch, root
		FROM wattledger.entries GROUP BY site, hour, account, tenant, batch, root`)
	settled(t, s)
	f.MonthEntries = one[uint64](t, s, "SELECT count() FROM wattledger.entries")
	const sums = `toInt64(sum(gpu_mj + cpu_mj + node_rest_mj + it_shared_mj + facility_mj)), sum(device_time), sum(measured_mj), sum(modelled_mj), sum(carbon_ug), sum(water_ul)`
	where := func(tenant string) string {
		w := fmt.Sprintf("WHERE hour >= toDateTime(%d) AND hour < toDateTime(%d)", ledgerFrom, ledgerFrom+30*ledgerDay)
		if tenant != "" {
			w += " AND tenant = '" + tenant + "'"
		}
		return w
	}
	ask := func(view, tenant string, runs int) float64 {
		var took []float64
		for range runs {
			begun := time.Now()
			one[uint64](t, s, "SELECT count() FROM (SELECT tenant, account, %s FROM wattledger.%s %s GROUP BY tenant, account)", sums, view, where(tenant))
			took = append(took, time.Since(begun).Seconds()*1000)
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	f.OneTenant, f.All = ask("subtotal", "tenant-7", 5), ask("subtotal", "", 5)
	f.RawOne, f.RawAll = ask("entry", "tenant-7", 3), ask("entry", "", 3)
	fmt.Printf("a month of %d entries: one tenant %.0f ms, all %.0f ms from sums; %.0f and %.0f ms from the entries\n", f.MonthEntries, f.OneTenant, f.All, f.RawOne, f.RawAll)
	for _, tenant := range []string{"tenant-7", ""} {
		a := one[int64](t, s, "SELECT toInt64(sum(gpu_mj)) FROM wattledger.subtotal %s", where(tenant))
		if b := one[int64](t, s, "SELECT toInt64(sum(gpu_mj)) FROM wattledger.entry %s", where(tenant)); a != b || a == 0 {
			t.Errorf("sums of %q: %d from subtotals, %d from entries", tenant, a, b)
		}
	}
}
