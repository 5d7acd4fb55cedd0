package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	catalogue "github.com/wattledger/wattledger/dashboards/query"
)

// measure says how a metric comes from the samples of a node or a device: from what its counters grew by from one reading to the next, over
// the time between the two or over another counter, or from the gauges that were read.
type measure struct {
	grew, over string
	gauge      string
	// most is how the gauges of a device become one, and all how those of several devices become one.
	most, all string
	scale     string
}

const absentCounter, absentCode = "18446744073709551615", "4294967295"

var measures = map[string]measure{
	"sm_active":         {grew: "sm_active_us"},
	"sm_occupancy":      {grew: "sm_occupancy_us"},
	"tensor_active":     {grew: "tensor_active_us"},
	"dram_active":       {grew: "dram_active_us"},
	"gr_engine_active":  {grew: "gr_engine_active_us"},
	"throttled_power":   {grew: "power_violation_ns", scale: "/ 1000"},
	"throttled_thermal": {grew: "thermal_violation_ns", scale: "/ 1000"},
	"nvlink_tx":         {grew: "nvlink_tx_bytes", scale: "* 1000000"},
	"nvlink_rx":         {grew: "nvlink_rx_bytes", scale: "* 1000000"},
	"pcie_tx":           {grew: "pcie_tx_bytes", scale: "* 1000000"},
	"pcie_rx":           {grew: "pcie_rx_bytes", scale: "* 1000000"},
	"power":             {grew: "energy_mj", over: "energy_ts", scale: "* 1000"},
	"coverage":          {grew: "ticks_read", over: "ticks_expected"},
	"ecc_sbe":           {grew: "ecc_sbe", over: "nothing"},
	"ecc_dbe":           {grew: "ecc_dbe", over: "nothing"},
	"pcie_replays":      {grew: "pcie_replays", over: "nothing"},
	"gpu_temp":          {gauge: "gpu_temp_c", most: "max", all: "max"},
	"memory_temp":       {gauge: "memory_temp_c", most: "max", all: "max"},
	"power_max":         {gauge: "power_w", most: "max", all: "max"},
	"sm_clock":          {gauge: "sm_clock_mhz", most: "min", all: "min", scale: "* 1000000"},
	"memory_clock":      {gauge: "memory_clock_mhz", most: "min", all: "min", scale: "* 1000000"},
	"memory_used":       {gauge: "fb_used_mib", most: "max", all: "sum", scale: "* 1048576"},
	"power_limit":       {gauge: "power_limit_w", most: "max", all: "sum"},
	"xid":               {gauge: "if(xid = " + absentCode + ", nan, xid)", most: "max", all: "max"},
}

// readingBound is for values that are means of quotients, which the engine adds up in floating point.
const readingBound = 1e-12

// measured is what the samples say to a question about a node or a device. Questions about more are those of sums, which are held to the
// ledger by their energy.
func (s *stage) measured(t *testing.T, q catalogue.Query, step time.Duration) (map[string]map[int64]float64, bool) {
	t.Helper()
	m, ok := measures[q.Metric]
	if !ok || q.Kind != catalogue.KindFleet && q.Kind != catalogue.KindDevice {
		return nil, false
	}
	one := func(d catalogue.Dimension) bool {
		return slices.ContainsFunc(q.Filters, func(f catalogue.Filter) bool { return f.Dimension == d && len(f.Values) == 1 })
	}
	if !one(catalogue.Node) && !one(catalogue.DeviceID) {
		return nil, false
	}
	byDevice := one(catalogue.DeviceID) || q.Kind == catalogue.KindDevice && slices.Equal(q.By, []catalogue.Dimension{catalogue.DeviceID}) && formOf(q) != catalogue.FormTotal
	// Of several devices a power is a sum of quotients, and an amount in a slot is the mean of minutes.
	if !byDevice && (m.all == "sum" || q.Metric == "power") {
		return nil, false
	}
	by := []string{"''"}
	if len(q.By) > 0 && formOf(q) != catalogue.FormTotal {
		by = nil
		for _, d := range q.By {
			by = append(by, "toString("+string(d)+")")
		}
	} else if q.Kind == catalogue.KindDevice && formOf(q) != catalogue.FormTotal {
		by = []string{"toString(device)"}
	}
	where := fmt.Sprintf("toUnixTimestamp64Micro(tick) < %d", s.to.UnixMicro())
	for _, f := range q.Filters {
		if len(f.Values) > 0 {
			where += fmt.Sprintf(" AND %s IN ('%s')", f.Dimension, strings.Join(f.Values, "', '"))
		}
	}
	if q.Kind == catalogue.KindFleet {
		where += " AND device IN (SELECT uuid FROM devices FINAL WHERE kind = 'gpu')"
	}
	slot := "0"
	if formOf(q) == catalogue.FormSeries {
		slot = fmt.Sprintf("intDiv(toUnixTimestamp(tick), %[1]d) * %[1]d", int64(step/time.Second))
	}
	out := map[string]map[int64]float64{}
	for _, row := range s.rows(t, m.sql(strings.Join(by, ", '\\0', "), slot, where)) {
		v, isNumber := row["v"].(json.Number)
		at, _ := row["slot"].(json.Number)
		if !isNumber {
			continue
		}
		value, errV := v.Float64()
		moment, errAt := at.Int64()
		if errV != nil || errAt != nil {
			t.Fatalf("%v, %v in %v", errV, errAt, row)
		}
		key := fmt.Sprint(row["key"])
		if q.Kind == catalogue.KindDevice && len(q.By) == 0 {
			key = ""
		}
		if out[key] == nil {
			out[key] = map[int64]float64{}
		}
		out[key][moment] = value
	}
	return out, true
}

func (m measure) sql(by, slot, where string) string {
	if m.gauge != "" {
		return fmt.Sprintf(`SELECT key, slot, %[2]s(v) %[3]s AS v FROM (SELECT concat(%[4]s, '') AS key, device, %[5]s AS slot, %[1]s(toFloat64(%[6]s)) AS v
			FROM samples WHERE %[7]s AND NOT isNaN(%[6]s) GROUP BY key, device, slot) GROUP BY key, slot`, m.most, m.all, m.scale, by, slot, m.gauge, where)
	}
	over, value := m.over, "sum(d) / nullIf(sum(e), 0)"
	switch over {
	case "":
		over = "toUnixTimestamp64Micro(tick)"
	case "nothing":
		over, value = "toUInt64(0)", "sum(d)"
	}
	return fmt.Sprintf(`SELECT concat(%[3]s, '') AS key, %[4]s AS slot, %[6]s %[7]s AS v FROM (
		SELECT *, toInt64(%[1]s - lagInFrame(%[1]s, 1, %[1]s) OVER before) AS d, toInt64(%[2]s - lagInFrame(%[2]s, 1, %[2]s) OVER before) AS e FROM samples
		WHERE %[5]s AND %[1]s != %[8]s AND %[2]s != %[8]s WINDOW before AS (PARTITION BY device, run, energy_epoch ORDER BY tick ROWS BETWEEN 1 PRECEDING AND CURRENT ROW))
		GROUP BY key, slot`, m.grew, over, by, slot, where, value, m.scale, absentCounter)
}

// nearly allows for the roundings of a mean.
func nearly(a, b float64) bool { return same(a, b) || math.Abs(a-b) <= readingBound*math.Abs(b) }
