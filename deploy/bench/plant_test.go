//go:build bench

package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/wattledger/wattledger/schemas/wire"
)

// plant is a site of GPUs and one or more hours of their samples, made by the engine itself.
//
// Every GPU is read once a second; power is between 400 and 900 W with noise, and so is activity. One GPU in twenty is in MIG mode with two
// instances, which are read as well. One row in a hundred is delivered twice, one in a thousand comes after all others. Fifty counters
// fall to zero within each hour. One GPU in ten is held by nobody, but for those that give the edges.
type plant struct {
	site    string
	devices int // GPUs
	hours   int
	edges   int // within each hour
	begin   int64
}

const (
	plantSlices = 12  // inserts an hour
	plantAfter  = 120 // seconds read after the last hour
	plantTenant = 200
)

func (p plant) partitioned(d string) string { return fmt.Sprintf("%s %% 20 = 5", d) }

// inventory states the site, its nodes and devices, and who holds them.
func (p plant) inventory(t testing.TB, s *stack) {
	t.Helper()
	from := p.begin * 1_000_000
	s.exec(t, `INSERT INTO wattledger.sites (id, country, zone, operator, operator_country, pue_thousandths, allocation_source, revision)
		VALUES ('%s', 'FR', 'FR', 'op', 'FR', 1200, 'sched', 1)`, p.site)
	s.exec(t, `INSERT INTO wattledger.nodes (id, site, rack, model, rest_mw, from_us, to_us, revision)
		SELECT %s, '%s', 'r', 'HGX B200', 1800000, %d, 0, 1 FROM numbers(%d)`, p.node("number * 8"), p.site, from, (p.devices+7)/8)
	s.exec(t, `INSERT INTO wattledger.devices (uuid, parent_uuid, node, kind, model, serial, driver, vbios, gpu_index, slices, energy_source, limit_mw, idle_mw, from_us, to_us, revision)
		SELECT %s, '', %s, 'gpu', 'NVIDIA B200', '', '580.65.06', 'v', number %% 8, if(%s, 7, 0), 'hardware', 1000000, 140000, %d, 0, 1 FROM numbers(%d)`,
		p.gpu("number"), p.node("number"), p.partitioned("number"), from, p.devices)
	s.exec(t, `INSERT INTO wattledger.devices (uuid, parent_uuid, node, kind, model, serial, driver, vbios, gpu_index, slices, energy_source, limit_mw, idle_mw, from_us, to_us, revision)
		SELECT %s, %s, %s, 'mig', 'NVIDIA B200', '', '580.65.06', 'v', d %% 8, 3 + i, 'none', 0, 0, %d, 0, 1
		FROM (SELECT number AS d, arrayJoin([0, 1]) AS i FROM numbers(%d) WHERE %s)`, p.instance("d", "i"), p.gpu("d"), p.node("d"), from, p.devices, p.partitioned("number"))
	const allocation = `INSERT INTO wattledger.allocations (id, site, device, thousandths, start_us, end_us, tenant, project, workload, model_id, purpose, scheduler_ref, revision) SELECT `
	const rest = `concat('tenant-', toString(intDiv(d, 8) %% %[4]d)), 'p', 'w', 'm', 'training', 'job', 1 `
	s.exec(t, allocation+`concat('a%s-', toString(d)), '%[1]s', %[2]s, 1000, %[3]d, 0, `+rest+`FROM (SELECT number AS d FROM numbers(%[5]d) WHERE d %% 10 != 9 AND NOT (%[6]s))`,
		p.site, p.gpu("d"), from, plantTenant, p.devices, p.partitioned("d"))
	s.exec(t, allocation+`concat('m%s-', toString(d), '-', toString(i)), '%[1]s', %[2]s, 1000, %[3]d, 0, `+rest+`FROM (SELECT number AS d, arrayJoin([0, 1]) AS i FROM numbers(%[5]d) WHERE %[6]s)`,
		p.site, p.instance("d", "i"), from, plantTenant, p.devices, p.partitioned("d"))
	// Two edges each: held for a while by one after another of those that were free.
	free := max(1, p.devices/10)
	s.exec(t, allocation+`concat('e%s-', toString(h), '-', toString(e)), '%[1]s', %[2]s, 1000,
		%[3]d + h * 3600000000 + (intDiv(e, %[7]d) * 3000000000 %% 3500000000) + 60123000 + e %% 1000000, %[3]d + h * 3600000000 + (intDiv(e, %[7]d) * 3000000000 %% 3500000000) + 75456000 + e %% 1000000, `+rest+`
		FROM (SELECT number AS e, arrayJoin(range(%[5]d)) AS h, (e %% %[7]d) * 10 + 9 AS d FROM numbers(%[6]d))`,
		p.site, p.gpu("d"), from, plantTenant, p.hours, p.edges/2, free)
}

func (p plant) node(d string) string {
	return fmt.Sprintf("concat('%s-node-', leftPad(toString(intDiv(%s, 8)), 5, '0'))", p.site, d)
}

func (p plant) gpu(d string) string {
	return fmt.Sprintf("concat('GPU-%s-', leftPad(toString(%s), 6, '0'))", p.site, d)
}

func (p plant) instance(d, i string) string {
	return fmt.Sprintf("concat('MIG-%s-', leftPad(toString(%s), 6, '0'), '-', toString(%s))", p.site, d, i)
}

// samples makes the rows and says how long that took. Those that come late, and those that come again, do so after all others.
func (p plant) samples(t testing.TB, s *stack) time.Duration {
	t.Helper()
	begun := time.Now()
	until := p.hours*3600 + plantAfter
	step := 3600 / plantSlices
	for from := 0; from < until; from += step {
		p.insert(t, s, from, min(until, from+step), "late != 0")
	}
	p.insert(t, s, 0, until, "late = 0")
	p.insert(t, s, 0, until, "again = 0")
	s.exec(t, `INSERT INTO wattledger.messages (topic, site, source, run, seq, schema_version, complete_up_to, rows, first_tick, last_tick, received)
		SELECT '%s', '%s', %s, 'run', 0, 1, toDateTime64(%d, 6), 1, now(), now(), now() FROM numbers(%d)`, wire.TopicSample, p.site, p.node("number * 8"), p.begin+int64(p.hours)*3600, (p.devices+7)/8)
	s.exec(t, `INSERT INTO wattledger.messages (topic, site, source, run, seq, schema_version, complete_up_to, rows, first_tick, last_tick, received)
		SELECT '%s', '%s', 'sched', 'run', 0, 1, toDateTime64(%d, 6), 1, now(), now(), now()`, wire.TopicAllocation, p.site, p.begin+int64(p.hours)*3600)
	return time.Since(begun)
}

// insert makes the rows of all devices with a second in [from, to) for which the condition holds.
func (p plant) insert(t testing.TB, s *stack, from, to int, condition string) {
	t.Helper()
	const columns = `INSERT INTO wattledger.samples (site, node, device, run, seq, boot, driver, energy_source, tick, period_ms, received, kafka_partition, kafka_offset,
		ticks_expected, ticks_read, energy_epoch, sm_active_us, energy_ts, energy_mj, power_integral_mj) `
	const settings = ` SETTINGS max_insert_threads = 2, min_insert_block_size_rows = 1000000, min_insert_block_size_bytes = 300000000`
	common := fmt.Sprintf(`hex(sipHash128(intDiv(d, 8))), intDiv(t, 10), hex(sipHash128('boot', intDiv(d, 8))), '580.65.06'`)
	rows := func(n int, device string) string {
		return fmt.Sprintf(`FROM (SELECT %[1]s, toInt64(intDiv(number, %[2]d)) + %[3]d AS t, cityHash64(number + %[2]d * %[3]d) AS h, h %% 1000 AS late, intDiv(h, 1000) %% 100 AS again,
			400000 + (d * 7919) %% 500000 AS p FROM numbers(%[4]d) WHERE %[5]s)`, device, n, from, n*(to-from), condition)
	}
	s.exec(t, "%s", columns+fmt.Sprintf(`SELECT '%s', %s, %s, %s, 'hardware', toDateTime64(%d, 6) + t, 1000, now64(6), 0, 0, t, t, 0,
		900000 * t + intDiv(h, 7000000) %% 90000, (%d + t) * 1000000 - intDiv(h, 100000) %% 30000,
		if(d < 50, p * ((t + 77 * d) %% 3600) + 1, 1000000000 + d + p * t) + intDiv(h, 1000000) %% 40000, 900000000 + p * t + intDiv(h, 10000000) %% 20000 `,
		p.site, p.node("d"), p.gpu("d"), common, p.begin, p.begin)+rows(p.devices, fmt.Sprintf("number %% %d AS d", p.devices))+settings)
	partitioned := (p.devices + 14) / 20 * 2
	if partitioned == 0 {
		return
	}
	s.exec(t, "%s", columns+fmt.Sprintf(`SELECT '%s', %s, %s, %s, 'none', toDateTime64(%d, 6) + t, 1000, now64(6), 0, 0, t, t, 0,
		400000 * t + intDiv(h, 7000000) %% 90000, 18446744073709551615, 18446744073709551615, 18446744073709551615 `,
		p.site, p.node("d"), p.instance("d", "i"), common, p.begin)+
		rows(partitioned, fmt.Sprintf("number %% 2 AS i, intDiv(number %% %d, 2) * 20 + 5 AS d", partitioned))+settings)
}

// settled waits until the engine merges no more, a minute at most.
func settled(t testing.TB, s *stack) {
	t.Helper()
	for range 120 {
		if one[uint64](t, s, "SELECT count() FROM system.merges") == 0 {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
}
