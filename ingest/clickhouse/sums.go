package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/ingest/rollup"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
	"github.com/wattledger/wattledger/schemas/unit"
)

// sumLevel is a level of sums with what is read for it.
type sumLevel struct {
	schema.Sum
	width unit.Micros
	// near is where readings of neighbouring buckets are looked for first, in the rollups of the same width: so far beyond a window,
	// up to a full step of far.
	near, step unit.Micros
	// far has all that lies beyond, and coarse is the function of time that leads its key; source is that of the rollups themselves.
	far, farCoarse, coarse string
	// farther is how long before a bucket a reading may be, at least. Nothing is said of 0.
	farther time.Duration
}

// gap is how far apart two readings of a run may be and still be found as neighbours. Where it was longer, a bucket begins with its own first
// reading; sums of hours know no limit.
const gap = 31 * 24 * time.Hour

func sumOf(level int) sumLevel {
	i := level - len(schema.Tiers)
	l := sumLevel{Sum: schema.Sums[i], coarse: schema.Tiers[i].Coarse, width: rollup.Levels[level].Width}
	l.near, l.step = 3*l.width, l.width
	l.far, l.farCoarse = l.Source, l.coarse
	switch i {
	case 0:
		l.near, l.step = 60*unit.Second, 60*unit.Second
		l.far, l.farCoarse, l.farther = schema.Tiers[1].Table, schema.Tiers[1].Coarse, gap
	case 1:
		l.farther = gap
	}
	return l
}

// before and after are where the near readings of a window begin and end.
func (l sumLevel) before(w rollup.Window) unit.Micros { return w.From - mod(w.From, l.step) - l.near }

func (l sumLevel) after(w rollup.Window) unit.Micros {
	return w.To + mod(-w.To, l.step) + l.near
}

func mod(t, step unit.Micros) unit.Micros { return ((t % step) + step) % step }

// part is the condition for rollups of a window's nodes in [from, to); zero is no limit.
func part(w rollup.Window, coarse string, from, to unit.Micros) string {
	out := "site = " + quoted(w.Site) + " AND node IN (" + list(w.Nodes) + ")"
	if from != 0 {
		out += fmt.Sprintf(" AND bucket >= %[1]s AND %[2]s(bucket) >= %[2]s(%[1]s)", moments(from), coarse)
	}
	if to != 0 {
		out += fmt.Sprintf(" AND bucket < %[1]s AND %[2]s(bucket) <= %[2]s(%[1]s)", moments(to), coarse)
	}
	return out
}

const series = "device, run, energy_epoch"

// orphans selects those series of a window that have no reading just before it, or none of the energy counter that the window has.
func (l sumLevel) orphans(w rollup.Window) string {
	const has = "energy_mj_min != " + counterAbsent
	from := moments(w.From)
	return fmt.Sprintf("SELECT %s FROM %s WHERE %s GROUP BY %s HAVING countIf(bucket >= %s) > 0 AND (countIf(bucket < %[5]s) = 0 OR countIf(%s AND bucket >= %[5]s) > 0 AND countIf(%[6]s AND bucket < %[5]s) = 0)",
		series, l.Source, part(w, l.coarse, l.before(w), w.To), series, from, has)
}

// grown are the counters that are summed, by the name they have in rollups.
var grown = []string{
	"energy_mj", "sm_active_us", "tensor_active_us", "dram_active_us", "gr_engine_active_us", "nvlink_tx_bytes", "nvlink_rx_bytes", "pcie_tx_bytes", "pcie_rx_bytes",
	"power_violation_ns", "thermal_violation_ns", "ecc_sbe", "ecc_dbe", "pcie_replays", "ticks_expected", "ticks_read",
}

// sumQuery selects the rows of a level of sums. far says that readings before the near ones are needed.
//
// Of each series, which is a device in a run and an energy epoch, the rows of the window lie in order behind those before it. A
// counter's value is kept one higher, so that 0 stands for absent. Counters lie in arrays: named one by one they make a statement that takes
// longer to understand than to run.
func (l sumLevel) sumQuery(w rollup.Window, far bool) string {
	each := func(format string) string {
		out := make([]string, len(grown))
		for i, c := range grown {
			out[i] = fmt.Sprintf(format, c)
		}
		return strings.Join(out, ", ")
	}
	g := func(name string) string { return "g[" + strconv.Itoa(slices.Index(grown, name)+1) + "]" }
	rows := fmt.Sprintf(`SELECT node, %s, toUnixTimestamp(bucket) * 1000000 AS at, ticks, received, toUnixTimestamp64Micro(first_tick) AS tick0, toUnixTimestamp64Micro(last_tick) AS tick1,
        if(first_energy_ts = %[2]s, tick0, toInt64(first_energy_ts)) AS ts0, if(last_energy_ts = %[2]s, tick1, toInt64(last_energy_ts)) AS ts1,
        [power_w_min + power_w_max, gpu_temp_c_max, memory_temp_c_max, fb_used_mib_max, power_limit_w_max] AS gauges, xid != %[3]s AND xid > 0 AS coded,
        [%[4]s] AS least, [%[5]s] AS most
      FROM %[6]s FINAL WHERE %[7]s`, series, counterAbsent, codeAbsent, each("%s_min + 1"), each("%s_max + 1"), l.Source, part(w, l.coarse, l.before(w), w.To)) // all ones become 0
	if far {
		until := l.before(w)
		var since unit.Micros
		if l.farther != 0 {
			since = until - unit.Micros(l.farther.Microseconds())
		}
		rows += fmt.Sprintf(`
      UNION ALL
      SELECT any(node), %s, 0, 0, max(received), 0, toUnixTimestamp64Micro(max(last_tick)), 0,
        maxIf(if(last_energy_ts = %[2]s, toUnixTimestamp64Micro(last_tick), toInt64(last_energy_ts)), energy_mj_max != %[2]s), [], 0, [], maxForEach([%[3]s])
      FROM %[4]s FINAL WHERE %[5]s AND (%[1]s) IN (%[6]s) GROUP BY %[1]s`,
			series, counterAbsent, each("%s_max + 1"), l.far, part(w, l.farCoarse, since, until), l.orphans(w))
	}
	sums := []string{
		"devices", "mw", g("energy_mj"), "span", g("sm_active_us"), g("tensor_active_us"), g("dram_active_us"), g("gr_engine_active_us"),
		g("nvlink_tx_bytes") + " + " + g("nvlink_rx_bytes"), g("pcie_tx_bytes") + " + " + g("pcie_rx_bytes"), g("power_violation_ns"), g("thermal_violation_ns"),
		g("ecc_sbe"), g("ecc_dbe"), g("pcie_replays"), g("ticks_expected"), g("ticks_read"), "hot[2]", "hot[3]", "totals[4]", "totals[5]", "xids", "came", "knows",
	}
	return fmt.Sprintf(`INSERT INTO %[1]s (site, node, model, bucket, devices, power_mw, energy_mj, span_us, sm_active_us, tensor_active_us, dram_active_us, gr_engine_active_us,
  nvlink_bytes, pcie_bytes, power_violation_ns, thermal_violation_ns, ecc_sbe, ecc_dbe, pcie_replays, ticks_expected, ticks_read, gpu_temp_c_max, memory_temp_c_max, fb_used_mib,
  power_limit_w, xids, received, known)
SELECT %[2]s, node, made, toDateTime(intDiv(at, 1000000), 'UTC'), %[3]s
FROM (
 SELECT node, made, at, count() AS devices, sum(mw) AS mw, sum(span) AS span, sumForEach(grown) AS g, arrayMap(x -> ifNotFinite(x, nan), maxForEach(arrayMap(x -> ifNotFinite(x, -inf), read))) AS hot,
   sumForEach(arrayMap(x -> toFloat64(ifNotFinite(x, 0)), read)) AS totals, countIf(xids > 0) AS xids, max(came) AS came, sum(knows) AS knows
 FROM (
  SELECT node, device, at, if(sum(us) > 0, intDiv(sum(mj) * 1000000, sum(us)), max(gauge_mw)) AS mw, sum(span_) AS span, sumForEach(grown_) AS grown,
    maxForEach(gauges) AS read, sum(coded) AS xids, max(received) AS came, sum(ticks + intDiv(p_tick, 1000)) AS knows
  FROM (
    SELECT node, device, at, ticks, received, coded, gauges, p_tick, most[1] > 0 AND prior[1] > 0 AND p_ts >= at - 2 * %[4]d AND ts1 > p_ts AS joins,
      if(joins, toInt64(most[1] - prior[1]), if(most[1] > 0 AND ts1 > ts0, toInt64(most[1] - least[1]), 0)) AS mj,
      if(joins, ts1 - p_ts, if(most[1] > 0 AND ts1 > ts0, ts1 - ts0, 0)) AS us,
      if(isNaN(gauges[1]), 0, toInt64(round(gauges[1] * 500))) AS gauge_mw,
      if(most[%[5]d] = 0, 0, tick1 - if(p_sm_tick = 0, tick0, p_sm_tick)) AS span_,
      arrayMap((m, l, p) -> if(m = 0, 0, greatest(0, toInt64(m - if(p = 0, l, p)))), most, least, if(empty(prior), arrayWithConstant(%[6]d, toUInt64(0)), prior)) AS grown_
    FROM (
      SELECT *, maxForEach(most) OVER before AS prior,
        max(tick1) OVER before AS p_tick, max(if(most[1] > 0, ts1, 0)) OVER before AS p_ts, max(if(most[%[5]d] > 0, tick1, 0)) OVER before AS p_sm_tick
      FROM (
      %[7]s
      )
      WINDOW before AS (PARTITION BY %[8]s ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ) WHERE at >= %[9]d
  ) GROUP BY node, device, at
 ) AS d LEFT JOIN (%[10]s) AS stock ON stock.uuid = d.device
 WHERE sort NOT IN ('mig', 'cpu') GROUP BY node, made, at
)`,
		l.Table, quoted(w.Site), strings.Join(sums, ", "), l.width, slices.Index(grown, "sm_active_us")+1, len(grown), rows, series, w.From, stock(w))
}

// stock selects what the inventory says of the devices of a window's nodes.
func stock(w rollup.Window) string {
	return "SELECT uuid, any(node) AS at_node, argMax(model, revision) AS made, argMax(toString(kind), revision) AS sort FROM devices WHERE node IN (" + list(w.Nodes) + ") GROUP BY uuid"
}

// corrected is the condition for sums of a window under a model that the node has no GPU of, as the inventory stands now.
func (l sumLevel) corrected(w rollup.Window) string {
	coarse := l.Sum.Coarse
	return part(w, coarse, w.From, w.To) + " AND devices > 0 AND (node, model) NOT IN (SELECT at_node, made FROM (" + stock(w) + ") WHERE sort NOT IN ('mig', 'cpu'))"
}

// buildSums builds the buckets of a window. Of a model that the inventory has corrected since, a row would stay that nothing replaces:
// it is replaced by one without devices, which what is built then replaces again where it still holds.
func (r Rollups) buildSums(ctx context.Context, level int, w rollup.Window) error {
	l := sumOf(level)
	err := r.with(ctx, func(conn driver.Conn) error {
		var orphans, corrected uint64
		if err := conn.QueryRow(ctx, "SELECT (SELECT count() FROM ("+l.orphans(w)+")), (SELECT count() FROM "+l.Table+" FINAL WHERE "+l.corrected(w)+")").Scan(&orphans, &corrected); err != nil {
			return err
		}
		if corrected > 0 {
			if err := conn.Exec(ctx, "INSERT INTO "+l.Table+" (site, node, model, bucket, received, known) SELECT site, node, model, bucket, received, known FROM "+l.Table+" FINAL WHERE "+l.corrected(w)); err != nil {
				return err
			}
		}
		return conn.Exec(ctx, l.sumQuery(w, orphans > 0))
	})
	if err != nil {
		return fmt.Errorf("build %s of %s from %d to %d: %w", l.Table, w.Site, w.From, w.To, err)
	}
	return nil
}

// Following are the buckets after windows that begin where the windows end: for each series in them its next reading, and the next of the
// energy counter.
func (r Rollups) Following(ctx context.Context, level int, of []rollup.Window) ([]rollup.Touched, error) {
	l := sumOf(level)
	var out []rollup.Touched
	err := r.with(ctx, func(conn driver.Conn) error {
		for _, w := range of {
			// Most often nothing is later than what came last.
			var later uint64
			after := rollup.Window{Site: w.Site, Nodes: w.Nodes, From: w.To}
			if err := conn.QueryRow(ctx, "SELECT count() FROM (SELECT 1 FROM "+l.Source+" WHERE "+part(after, l.coarse, w.To, 0)+" LIMIT 1)").Scan(&later); err != nil {
				return err
			}
			if later == 0 {
				continue
			}
			rows, err := conn.Query(ctx, l.following(w))
			if err != nil {
				return err
			}
			for rows.Next() {
				var node string
				var at int64
				if err := rows.Scan(&node, &at); err != nil {
					rows.Close()
					return err
				}
				out = append(out, rollup.Touched{Site: w.Site, Node: node, First: unit.Micros(at), Last: unit.Micros(at)})
			}
			rows.Close()
			if err := rows.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what follows the buckets that were touched: %w", err)
	}
	return out, nil
}

// following selects nodes with the time of a reading in each bucket that follows a window.
func (l sumLevel) following(w rollup.Window) string {
	next := func(table, coarse string, from, to unit.Micros) string {
		return "SELECT node, " + series + ", min(first_tick) AS any_, minIf(first_tick, energy_mj_min != " + counterAbsent + ") AS read_ FROM " + table +
			" WHERE " + part(w, coarse, from, to) + " AND (" + series + ") IN (SELECT " + series + " FROM " + l.Source + " WHERE " + part(w, l.coarse, w.From, w.To) + ") GROUP BY node, " + series
	}
	var until unit.Micros
	if l.farther != 0 {
		until = l.after(w) + unit.Micros(l.farther.Microseconds())
	}
	// The least time of none is 1970.
	return "SELECT DISTINCT node, toUnixTimestamp64Micro(arrayJoin(arrayFilter(t -> toUnixTimestamp64Micro(t) > 0, [min(any_), minIf(read_, toUnixTimestamp64Micro(read_) > 0)]))) FROM (" +
		next(l.Source, l.coarse, w.To, l.after(w)) + " UNION ALL " + next(l.far, l.farCoarse, l.after(w), until) + ") GROUP BY node, " + series
}

func list(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = quoted(n)
	}
	return strings.Join(out, ", ")
}
