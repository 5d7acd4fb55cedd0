package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	catalogue "github.com/wattledger/wattledger/dashboards/query"
)

// list is what a table of several columns has to hold, row by row and in order. Times are microseconds since 1970, 0 for none; a cell
// that is an array stands for any one of its words. {by} is what is grouped by, {where} what is filtered by, which otherwise holds for the
// columns of the list; {entry} is the entry asked for.
type list struct {
	frame, sql, order string
}

// lists are those that the catalogue has, by kind and metric; of most the frame has the metric's name.
var lists = map[string][]list{
	"ledger hours": {{
		sql: `SELECT site, 1000000 * toUnixTimestamp(s.hour) AS hour, 'closed' AS state, batch, closing, reason, lines AS entries, 0 AS adjusting_batches, mj / 3600000 AS energy,
			held / 3600000000 AS device_time, toUnixTimestamp64Micro(s.inserted) AS sealed, toUnixTimestamp64Micro(s.inserted) / 1000000 - toUnixTimestamp(s.hour) - 3600 AS closing_delay, root AS seal
			FROM seals AS s FINAL INNER JOIN (SELECT site, batch, count() AS lines, sum(` + energyMJ + `) AS mj, sum(device_time) AS held FROM ` + booked + ` GROUP BY site, batch) AS e USING (site, batch)`,
		order: "hour DESC, site",
	}},
	"ledger batches": {{
		sql: `SELECT site, batch, 1000000 * toUnixTimestamp(s.hour) AS hour, closing, reason, lines AS entries, adjustments, mj / 3600000 AS energy, toUnixTimestamp64Micro(s.inserted) AS sealed,
			root, previous, position AS log_position
			FROM seals AS s FINAL INNER JOIN (SELECT site, batch, count() AS lines, sum(` + energyMJ + `) AS mj FROM ` + booked + ` GROUP BY site, batch) AS e USING (site, batch)
			INNER JOIN log_records AS l USING (site, batch, root)`,
		order: "hour DESC, site, batch DESC",
	}},
	"ledger entries":     {{sql: "SELECT " + entryColumns + " FROM " + booked + " AS e", order: entryOrder}},
	"ledger adjustments": {{sql: "SELECT " + entryColumns + ", corrects, reason FROM " + booked + " AS e WHERE kind = 'adjustment'", order: entryOrder}},
	"ledger explain": {
		{frame: "figures", sql: explained(), order: "place"},
		{frame: "entry", sql: `SELECT id AS entry, site, 1000000 * toUnixTimestamp(e.hour) AS hour, kind, account, node, device, model, tenant, project, workload, allocation, model_id, purpose,
			from_us AS from, to_us AS to, rules, split, arrayStringConcat(e.flags, ', ') AS flags, corrects, reason FROM ` + booked + ` AS e WHERE id = '{entry}'`, order: "entry"},
		{frame: "cuts", sql: `SELECT device, t AS cut, c AS counter, t0 AS sample_before, c0 AS counter_before, t1 AS sample_after, c1 AS counter_after, low AS least, high AS most,
			open, interpolated, edition, batch FROM (SELECT * FROM cuts FINAL WHERE ` + sealed + `)
			WHERE (device, t) IN (SELECT device, arrayJoin([from_us, to_us]) FROM ` + booked + ` WHERE id = '{entry}')`, order: "cut, edition"},
		{frame: "seal", sql: `SELECT site, batch, 1000000 * toUnixTimestamp(s.hour) AS hour, closing, rules, toUnixTimestamp64Micro(s.inserted) AS sealed, root, previous, position AS log_position
			FROM seals AS s FINAL INNER JOIN log_records AS l USING (site, batch, root) WHERE (site, batch) IN (SELECT site, batch FROM ` + booked + ` WHERE id = '{entry}')`, order: "site, batch"},
	},
	"coverage lines": {{
		sql: `SELECT 1000000 * toUnixTimestamp(h.hour) AS hour, site, node, device, kind, model, arrayStringConcat(h.flags, ', ') AS flags, covered_us / nullIf(present_us, 0) AS coverage,
			ticks_expected - ticks_read AS ticks_missing, counter_mj / 3600000 AS counted, estimated_mj / 3600000 AS estimated, interpolated_mj / 3600000 AS interpolated, resets, clock_steps
			FROM ` + deviceHours + ` AS h WHERE notEmpty(h.flags)`,
		order: "hour DESC, site, node, device",
	}},
	// An age is told by the clock of whoever asked: the last tick beside it is held exactly.
	"pipeline nodes": {{
		sql: `SELECT site, rack, id AS node, model, gpus, last AS last_tick, toUnixTimestamp64Micro(now64(6)) / 1000000 - last / 1000000 AS age, complete AS complete_up_to, newest_run AS run FROM nodes AS n FINAL
			LEFT JOIN (SELECT node, countIf(kind = 'gpu') AS gpus FROM devices FINAL GROUP BY node) AS d ON d.node = n.id
			LEFT JOIN (SELECT source, toUnixTimestamp64Micro(max(last_tick)) AS last, toUnixTimestamp64Micro(max(complete_up_to)) AS complete, argMax(run, last_tick) AS newest_run
				FROM messages WHERE topic = 'wl.sample.v1' GROUP BY source) AS m ON m.source = n.id`,
		order: "last_tick, site, node",
	}},
	"coverage missing": {{sql: "SELECT * FROM incidents WHERE kind = 'missing'", order: "site"}},
	"sovereignty matrix": {{
		sql: `SELECT tenant, site, min(country) AS country, min(operator) AS operator, min(operator_country) AS operator_country, min(allowed_countries) AS allowed_countries, min(verdict) AS verdict,
			count() AS entries, sum(j.device_time) / 3600000000 AS device_time, sum(` + energyMJ + `) / 3600000 AS energy FROM ` + judged + ` AS j GROUP BY tenant, site`,
		order: "tenant, site",
	}},
	"sovereignty violations": {{
		sql: `SELECT tenant, site, min(country) AS country, min(allowed_countries) AS allowed_countries, allocation, min(project) AS project, min(workload) AS workload, min(from_us) AS from, max(to_us) AS to,
			uniqExact(hour) AS hours, sum(j.device_time) / 3600000000 AS device_time, sum(` + energyMJ + `) / 3600000 AS energy, groupArray(id) AS entry
			FROM ` + judged + ` AS j WHERE verdict = 'fail' GROUP BY tenant, site, allocation`,
		order: "to DESC, tenant, site, allocation",
	}},
	"events all": {{
		sql: `SELECT began_us AS time, ended_us AS time_end, ended_us AS timeEnd, event, site, node, device, tenant, text, entry,
			arrayStringConcat(arrayFilter(w -> w != '', [event, site, node, device]), ' ') AS title, arrayStringConcat(arrayFilter(w -> w != '', [event, site, node]), ',') AS tags FROM ` + events,
		order: "time DESC, event, site, node, device, text",
	}},
	"usage summary": {{
		sql: `SELECT {by}, sum(e.device_time) / 3600000000 AS device_time, sumIf(e.device_time, account = 'held_idle') / 3600000000 AS held_idle, sum(` + energyMJ + `) / 3600000 AS energy,
			sum(gpu_mj) / 3600000 AS gpu, sum(carbon_ug) / 1000000 AS carbon_location, sum(carbon_market_ug) / 1000000 AS carbon_market, sum(carbon_embodied_ug) / 1000000 AS carbon_embodied,
			sum(water_ul) / 1000000 AS water, sumIf(sm_active_us, tenant != '') / nullIf(sumIf(e.device_time, tenant != ''), 0) AS sm_active,
			sum(estimated_mj + modelled_mj) / nullIf(sum(measured_mj + estimated_mj + modelled_mj), 0) AS unmeasured FROM ` + booked + ` AS e WHERE {where} GROUP BY {by}`,
		order: "energy DESC, {by}",
	}},
	"carbon factors": {{
		sql: `SELECT site, f.1 AS figure, f.2 AS factor, 1000000 * toUnixTimestamp(min(hour)) AS from, 1000000 * toUnixTimestamp(max(hour)) AS to, sum(mj) / 3600000 AS energy
			FROM (SELECT site, hour, ` + energyMJ + ` AS mj, arrayJoin([('carbon, location-based', e.factor), ('carbon, market-based', factor_market), ('carbon, embodied', factor_embodied),
				('rest of the node', rest_source), ('shared IT', it_shared_source), ('facility', facility_source), ('water', water_source), ('heat', heat_source)]) AS f FROM ` + booked + ` AS e)
			WHERE f.2 != '' GROUP BY site, figure, factor`,
		order: "site, figure, energy DESC",
	}},
	"inventory sites": {{
		sql: `SELECT id AS site, country, zone, operator, operator_country, pue_thousandths / 1000 AS declared_pue, amount AS nodes, gpus, mig_instances FROM sites AS s FINAL
			LEFT JOIN (SELECT site, uniqExact(id) AS amount FROM nodes FINAL GROUP BY site) AS n ON n.site = s.id
			LEFT JOIN (SELECT site, countIf(kind = 'gpu') AS gpus, countIf(kind = 'mig') AS mig_instances FROM ` + placed + ` GROUP BY site) AS d ON d.site = s.id`,
		order: "site",
	}},
	"inventory nodes": {{
		sql: `SELECT site, rack, id AS node, model, gpus, from_us AS from, to_us AS to FROM nodes AS n FINAL
			LEFT JOIN (SELECT node, countIf(kind = 'gpu') AS gpus FROM devices FINAL GROUP BY node) AS d ON d.node = n.id`,
		order: "site, rack, node, from",
	}},
	"inventory devices": {{
		sql: `SELECT site, rack, node, uuid AS device, kind, parent_uuid AS parent, gpu_index AS index, model, serial, driver, vbios, energy_source, limit_mw / 1000 AS power_limit,
			greatest(from_us, node_from) AS from, to_us AS to FROM ` + placed,
		order: "site, node, index, device, from",
	}},
	"inventory tenants": {{
		sql:   `SELECT id AS tenant, name, sector, size_class, country, arrayStringConcat(arraySort(t.allowed_countries), ', ') AS allowed_countries FROM tenants AS t FINAL`,
		order: "tenant",
	}},
	"inventory allocations": {{
		sql: `SELECT a.site AS site, d.node AS node, a.device AS device, thousandths / 1000 AS share, tenant, project, workload, model_id, purpose, id AS allocation, scheduler_ref, start_us AS from, end_us AS to
			FROM allocations AS a FINAL LEFT JOIN ` + placed + ` AS d ON d.uuid = a.device WHERE start_us < {to} AND (end_us = 0 OR end_us > {from})`,
		order: "from DESC, site, device, allocation",
	}},
}

// placed are the devices where their node is. Nobody came or went during the day.
const placed = `(SELECT d.*, site, rack, node_from FROM devices AS d FINAL INNER JOIN (SELECT id, site, rack, from_us AS node_from FROM nodes FINAL) AS n ON n.id = d.node)`

const (
	entryColumns = `1000000 * toUnixTimestamp(e.hour) AS hour, site, node, device, model, account, kind, tenant, project, workload, allocation, model_id, purpose, from_us AS from, to_us AS to,
		e.device_time / 3600000000 AS device_time, (` + energyMJ + `) / 3600000 AS energy, gpu_mj / 3600000 AS gpu, carbon_ug / 1000000 AS carbon_location, carbon_market_ug / 1000000 AS carbon_market,
		arrayStringConcat(e.flags, ', ') AS flags, batch, id AS entry, position AS z_position`
	entryOrder = "hour DESC, abs(energy) DESC, site, batch, z_position"
)

// explained are the figures of an entry, each with where it comes from.
func explained() string {
	var rows []string
	add := func(name, column, per, unit, source string) {
		rows = append(rows, fmt.Sprintf("SELECT %d AS place, '%s' AS figure, %s / %s AS value, toString(%s) AS exact, '%s' AS exact_unit, toString(%s) AS source FROM %s WHERE id = '{entry}'",
			len(rows), name, column, per, column, unit, source, booked))
	}
	energy := func(name, column, source string) { add(name+" (Wh)", column, "3600000", "mJ", source) }
	add("device time (h)", "device_time", "3600000000", "ms × thousandths", "concat('allocation ', allocation)")
	add("unavailable time (h)", "unavailable_time", "3600000000", "ms × thousandths", "'inventory'")
	energy("GPU energy", "gpu_mj", "concat('energy counter of ', device, if(split = '', '', ', split '), split)")
	energy("CPU energy", "cpu_mj", "'energy counter of the module'")
	energy("rest of the node", "node_rest_mj", "rest_source")
	energy("shared IT", "it_shared_mj", "it_shared_source")
	energy("facility", "facility_mj", "facility_source")
	energy("measured", "measured_mj", "''")
	energy("estimated", "estimated_mj", "''")
	energy("modelled", "modelled_mj", "''")
	energy("interpolated", "interpolated_mj", "'cuts'")
	energy("bound below", "bound_low_mj", "'cuts'")
	energy("bound above", "bound_high_mj", "'cuts'")
	energy("uncertainty", "uncertainty_mj", "'classes of sensors'")
	add("SM active (h)", "sm_active_us", "3600000000", "µs", "'activity counter'")
	add("ticks expected", "ticks_expected", "1", "ticks", "'collector'")
	add("ticks read", "ticks_read", "1", "ticks", "'collector'")
	add("idle limit", "idle_limit", "1000", "thousandths", "'configuration'")
	add("carbon, location-based (g)", "carbon_ug", "1000000", "µg CO2e", "factor")
	add("carbon, market-based (g)", "carbon_market_ug", "1000000", "µg CO2e", "factor_market")
	add("carbon, embodied (g)", "carbon_embodied_ug", "1000000", "µg CO2e", "factor_embodied")
	add("water (l)", "water_ul", "1000000", "µl", "water_source")
	energy("heat reused", "heat_reused_mj", "heat_source")
	return strings.Join(rows, " UNION ALL ")
}

// fill makes a list's statement one of a question.
func (l list) fill(q catalogue.Query) string {
	by := []string{"tenant"}
	if len(q.By) > 0 {
		by = nil
		for _, d := range q.By {
			by = append(by, string(d))
		}
	}
	entry, where := "", "1"
	for _, f := range q.Filters {
		switch {
		case f.Dimension == catalogue.EntryID:
			entry = f.Values[0]
		case len(f.Values) > 0:
			where += fmt.Sprintf(" AND toString(%s) IN ('%s')", f.Dimension, strings.Join(f.Values, "', '"))
		}
	}
	sql, outer := l.sql, where
	if strings.Contains(sql, "{where}") {
		outer = "1"
	}
	return strings.NewReplacer("{by}", strings.Join(by, ", "), "{where}", where, "{entry}", entry).Replace("SELECT * FROM (" + sql + ") WHERE " + outer + " ORDER BY " + l.order)
}

// listed holds every cell of an answer to its list.
func (s *stage) listed(t *testing.T, q catalogue.Query, answer backend.DataResponse) []string {
	t.Helper()
	var wrong []string
	for _, l := range lists[string(q.Kind)+" "+q.Metric] {
		name := l.frame
		if name == "" {
			name = q.Metric
		}
		i := slices.IndexFunc(answer.Frames, func(f *data.Frame) bool { return f.Name == name })
		if i < 0 {
			wrong = append(wrong, "there is no frame "+name)
			continue
		}
		want := s.rows(t, s.spans(l.fill(q)))
		limit := q.Limit
		if limit == 0 {
			limit = 1000
		}
		wrong = append(wrong, cells(answer.Frames[i], want[:min(len(want), limit)])...)
	}
	return wrong
}

// cells are those of a frame that are not as the rows have them.
func cells(f *data.Frame, want []map[string]any) []string {
	if f.Rows() != len(want) {
		return []string{fmt.Sprintf("%s has %d rows, by the tables %d", f.Name, f.Rows(), len(want))}
	}
	var wrong []string
	for _, field := range f.Fields {
		for row := range f.Rows() {
			w, ok := want[row][field.Name]
			if !ok {
				wrong = append(wrong, fmt.Sprintf("%s has a column %s, of which the tables know nothing", f.Name, field.Name))
				break
			}
			if got, ok := cell(field, row, w); !ok {
				wrong = append(wrong, fmt.Sprintf("%s of row %d of %s is %s, by the tables %v", field.Name, row, f.Name, got, w))
			}
		}
	}
	return wrong
}

// clocks is by how much an age may be another when it is looked at.
const clocks = 10 * time.Minute

// cell reads one and says whether it is what the tables have.
func cell(field *data.Field, row int, want any) (string, bool) {
	v, there := field.ConcreteAt(row)
	if options, ok := want.([]any); ok {
		return fmt.Sprint(v), slices.ContainsFunc(options, func(o any) bool { return fmt.Sprint(o) == fmt.Sprint(v) })
	}
	switch x := v.(type) {
	case time.Time:
		us := "0"
		if there {
			us = strconv.FormatInt(x.UnixMicro(), 10)
		}
		return us, us == fmt.Sprint(want)
	case float64:
		n, ok := want.(json.Number)
		if !there || !ok {
			return "nothing", !there && want == nil
		}
		w, err := n.Float64()
		within := 0.0
		switch {
		case field.Name == "age":
			within = clocks.Seconds()
		case unitOf(field) == "s":
			within = 1e-6
		}
		return fmt.Sprint(x), err == nil && near(within)(x, w)
	default:
		return fmt.Sprint(v), fmt.Sprint(v) == fmt.Sprint(want)
	}
}
