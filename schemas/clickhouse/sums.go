package clickhouse

import (
	"fmt"
	"strings"
)

// Sum is one level of sums by node, built from the rollups of the same width.
type Sum struct {
	// Table holds one row per node, model and bucket; View is how it is read.
	Table, View string
	// Seconds is the width of a bucket.
	Seconds int
	// Source is the table of rollups it is built from.
	Source string
	// Coarse and Partition are as those of a Tier. Coarse is shorter, because a node has fewer rows than its devices.
	Coarse, Partition string
}

// Sums are the levels.
var Sums = []Sum{
	{"node_10s", "node_sum_10s", 10, "rollup_10s", "toStartOfHour", "toYYYYMMDD"},
	{"node_1m", "node_sum_1m", 60, "rollup_1m", "toStartOfHour", "toYYYYMM"},
	{"node_1h", "node_sum_1h", 3600, "rollup_1h", "toStartOfDay", "toYear"},
}

// Sums are the levels of sums by node, for migrations.
func (Flavour) Sums() []Sum { return Sums }

// Added are the columns of entries that add up, in the order of hour_sums.
var Added = []string{
	"device_time", "unavailable_time", "gpu_mj", "cpu_mj", "node_rest_mj", "it_shared_mj", "facility_mj", "measured_mj", "estimated_mj", "modelled_mj",
	"interpolated_mj", "bound_low_mj", "bound_high_mj", "uncertainty_mj", "sm_active_us", "ticks_expected", "ticks_read",
	"carbon_ug", "carbon_market_ug", "carbon_embodied_ug", "water_ul", "heat_reused_mj",
}

// Added are the columns of entries that add up, for migrations.
func (Flavour) Added() []string { return Added }

// quality is a column of quality_sums and what it is of a line of device_hours.
type quality struct{ name, of string }

// The integral of power is not known of every line; what it is compared with is the counter of those of which it is.
var qualities = []quality{
	{"devices", "1"},
	{"flagged", "toInt64(notEmpty(flags))"},
	{"counter_mj", "counter_mj"},
	{"estimated_mj", "estimated_mj"},
	{"interpolated_mj", "interpolated_mj"},
	{"compared_mj", "if(integral_mj = -1, 0, counter_mj)"},
	{"integral_mj", "if(integral_mj = -1, 0, integral_mj)"},
	{"difference_mj", "if(integral_mj = -1, 0, abs(counter_mj - integral_mj))"},
	{"excess_mj", "excess_mj"},
	{"bound_low_mj", "bound_low_mj"},
	{"bound_high_mj", "bound_high_mj"},
	{"present_us", "present_us"},
	{"covered_us", "covered_us"},
	{"ticks_expected", "ticks_expected"},
	{"ticks_read", "ticks_read"},
	{"allocated_time", "allocated_time"},
	{"unallocated_time", "unallocated_time"},
	{"unavailable_time", "unavailable_time"},
	{"resets", "toInt64(resets)"},
	{"clock_steps", "toInt64(clock_steps)"},
}

// Quality are the columns of quality_sums that add up, in order.
func (Flavour) Quality() []string {
	out := make([]string, len(qualities))
	for i, q := range qualities {
		out[i] = q.name
	}
	return out
}

// SumEntries is the statement that fills hour_sums from sealed entries for which the condition holds.
func (Flavour) SumEntries(where string) string {
	sums := make([]string, len(Added))
	for i, c := range Added {
		sums[i] = "sum(" + c + ")"
	}
	const keys = "site, hour, node, model, account, tenant, project, model_id, purpose"
	return fmt.Sprintf("INSERT INTO hour_sums (%[1]s, entries, %[2]s, batch, root)\nSELECT %[1]s, count(), %[3]s, batch, root\n"+
		"FROM entries FINAL WHERE (site, batch, root) IN (SELECT site, batch, root FROM seals FINAL) AND %[4]s GROUP BY site, batch, root, %[5]s",
		keys, strings.Join(Added, ", "), strings.Join(sums, ", "), where, strings.TrimPrefix(keys, "site, "))
}

// SumQuality is the statement that fills quality_sums from sealed device-hours for which the condition holds: each line counts in the
// batch that said it, and is taken back in the batch that said it again. The condition must hold for all lines of an hour or for none.
func (Flavour) SumQuality(where string) string {
	names, sums, lines := make([]string, len(qualities)), make([]string, len(qualities)), make([]string, len(qualities))
	for i, q := range qualities {
		names[i], sums[i], lines[i] = q.name, "sum(said.1 * q_"+q.name+")", "toInt64("+q.of+") AS q_"+q.name
	}
	const keys = "site, hour, node, kind, model"
	return fmt.Sprintf(`INSERT INTO quality_sums (%[1]s, %[2]s, batch, root)
SELECT %[1]s, %[3]s, said.2, said.3
FROM (
    SELECT %[1]s, batch, root, %[4]s, leadInFrame(batch) OVER lines AS again, leadInFrame(root) OVER lines AS again_root
    FROM device_hours FINAL WHERE (site, batch, root) IN (SELECT site, batch, root FROM seals FINAL) AND %[5]s
    WINDOW lines AS (PARTITION BY site, hour, node, device, kind ORDER BY batch ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING)
)
ARRAY JOIN if(again = 0, [(1, batch, root)], [(1, batch, root), (-1, again, again_root)]) AS said
GROUP BY %[1]s, said.2, said.3`, keys, strings.Join(names, ", "), strings.Join(sums, ", "), strings.Join(lines, ", "), where)
}
