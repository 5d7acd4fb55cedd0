package clickhouse

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Audit reads what verification needs, by queries that share nothing with those of closing: whole series of samples, the
// inventory as declared, and the ledger as booked.
type Audit struct {
	conn  driver.Conn
	store *Store // for the list of sites only
}

var _ verify.Store = (*Audit)(nil)

// NewAudit makes an audit over an open connection, which stays the caller's to close.
func NewAudit(conn driver.Conn) *Audit { return &Audit{conn: conn, store: &Store{conn: conn}} }

// Sites are the sites of the inventory in order of id.
func (a *Audit) Sites(ctx context.Context) ([]record.Site, error) { return a.store.Sites(ctx) }

// Closed is the stretch of the site's sealed hours within p.
func (a *Audit) Closed(ctx context.Context, site string, p verify.Period) (verify.Period, bool, error) {
	var first, from, to time.Time
	var hours uint64
	err := a.conn.QueryRow(with(ctx, "site", site, "from", p.From, "to", p.To),
		`SELECT min(hour), minIf(hour, inside), maxIf(hour, inside), uniqExactIf(hour, inside)
		 FROM (SELECT hour, toUnixTimestamp(hour) * 1000000 >= {from:Int64} AND toUnixTimestamp(hour) * 1000000 < {to:Int64} AS inside
		       FROM seals FINAL WHERE site = {site:String})`).Scan(&first, &from, &to, &hours)
	if err != nil {
		return verify.Period{}, false, fmt.Errorf("read the closed hours of %s: %w", site, err)
	}
	if hours == 0 {
		return verify.Period{}, false, nil
	}
	closed := verify.Period{From: unit.MicrosOf(from), To: unit.MicrosOf(to) + unit.Hour}
	if n := uint64(closed.To-closed.From) / uint64(unit.Hour); n != hours {
		return closed, false, fmt.Errorf("of the %d hours of %s from %s on only %d are sealed: hours close in sequence, so seals are missing",
			n, site, from.UTC().Format(time.RFC3339), hours)
	}
	return closed, first.Equal(from), nil
}

// Kept is the tick of the oldest sample of the site.
func (a *Audit) Kept(ctx context.Context, site string) (unit.Micros, error) {
	var tick int64
	var n uint64
	if err := a.conn.QueryRow(with(ctx, "site", site), `SELECT count(), toUnixTimestamp64Micro(min(tick)) FROM sample WHERE site = {site:String}`).Scan(&n, &tick); err != nil {
		return 0, fmt.Errorf("find the oldest sample of %s: %w", site, err)
	}
	if n == 0 {
		return 0, nil
	}
	return unit.Micros(tick), nil
}

// Nodes are those of a site that exist in some part of p.
func (a *Audit) Nodes(ctx context.Context, site string, p verify.Period) ([]record.Node, error) {
	var out []record.Node
	err := a.each(with(ctx, "site", site, "from", p.From, "to", p.To),
		`SELECT id, site, rest_mw, from_us, to_us FROM node
		 WHERE site = {site:String} AND from_us < {to:Int64} AND (to_us = 0 OR to_us > {from:Int64}) ORDER BY id, from_us`,
		func(rows driver.Rows) error {
			var n record.Node
			var rest, from, to int64
			err := rows.Scan(&n.ID, &n.Site, &rest, &from, &to)
			n.RestMilliwatts, n.From, n.To = unit.Milliwatts(rest), unit.Micros(from), unit.Micros(to)
			if last := len(out) - 1; last >= 0 && out[last].ID == n.ID && oneHour(out[last].To, n.From) {
				out[last].To = n.To
				return err
			}
			out = append(out, n)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read nodes of %s: %w", site, err)
	}
	return out, nil
}

// Devices are those of a site's nodes that exist in some part of p, in order of node and uuid.
func (a *Audit) Devices(ctx context.Context, site string, p verify.Period) ([]record.Device, error) {
	var out []record.Device
	err := a.each(with(ctx, "site", site, "from", p.From, "to", p.To),
		`SELECT uuid, parent_uuid, node, toInt32(kind), model, gpu_index, slices, toInt32(energy_source), limit_mw, idle_mw, from_us, to_us
		 FROM `+stationedSQL+`
		 WHERE from_us < {to:Int64} AND (to_us = 0 OR to_us > {from:Int64}) ORDER BY node, uuid, from_us`,
		func(rows driver.Rows) error {
			var d record.Device
			var kind, energy int32
			var limit, idle, from, to int64
			err := rows.Scan(&d.UUID, &d.Parent, &d.Node, &kind, &d.Model, &d.Index, &d.Slices, &energy, &limit, &idle, &from, &to)
			d.Kind, d.Energy = record.DeviceKind(kind), record.EnergySource(energy)
			d.LimitMilliwatts, d.IdleMilliwatts = unit.Milliwatts(limit), unit.Milliwatts(idle)
			d.From, d.To = unit.Micros(from), unit.Micros(to)
			if last := len(out) - 1; last >= 0 && out[last].UUID == d.UUID && out[last].Node == d.Node && oneHour(out[last].To, d.From) {
				out[last].To = d.To
				return err
			}
			out = append(out, d)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read devices of %s: %w", site, err)
	}
	return out, nil
}

// Allocations are all of a site that start before an instant, by device.
func (a *Audit) Allocations(ctx context.Context, site string, before unit.Micros) (map[string][]record.Allocation, error) {
	out := map[string][]record.Allocation{}
	err := a.each(with(ctx, "site", site, "before", before),
		`SELECT id, device, thousandths, start_us, end_us, tenant, project, workload, model_id, purpose FROM allocations FINAL
		 WHERE site = {site:String} AND start_us < {before:Int64} ORDER BY device, id`,
		func(rows driver.Rows) error {
			var r record.Allocation
			var share uint32
			var start, end int64
			err := rows.Scan(&r.ID, &r.Device, &share, &start, &end, &r.Tenant, &r.Project, &r.Workload, &r.ModelID, &r.Purpose)
			r.Share, r.Start, r.End = unit.Thousandths(share), unit.Micros(start), unit.Micros(end)
			out[r.Device] = append(out[r.Device], r)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read allocations of %s: %w", site, err)
	}
	return out, nil
}

// samplesSQL gathers whole columns, so that a million samples arrive as some hundred rows. Of the time before p it takes
// the newest reading of each device, for which most are never looked at.
const samplesSQL = `
SELECT device, boot, driver, run, groupArray(t), groupArray(ts), groupArray(c), groupArray(integral), groupArray(busy), groupArray(seen), groupArray(read), max(period_ms)
FROM (
  SELECT device, boot, driver, run, toUnixTimestamp64Micro(tick) AS t, ifNull(toInt64(energy_ts), -1) AS ts,
    ifNull(toInt64(energy_mj), -1) AS c, ifNull(toInt64(power_integral_mj), -1) AS integral, ifNull(toInt64(sm_active_us), -1) AS busy,
    ifNull(toInt64(energy_epoch), -1) AS seen, ifNull(toInt64(ticks_read), 0) AS read, period_ms
  FROM sample
  WHERE site = {site:String} AND device IN {devices:Array(String)}
    AND tick >= fromUnixTimestamp64Micro({from:Int64}) AND tick < fromUnixTimestamp64Micro({to:Int64})
  UNION ALL
  SELECT device, boot, driver, run, toUnixTimestamp64Micro(tick) AS t, ifNull(toInt64(energy_ts), -1) AS ts,
    ifNull(toInt64(energy_mj), -1) AS c, ifNull(toInt64(power_integral_mj), -1) AS integral, ifNull(toInt64(sm_active_us), -1) AS busy,
    ifNull(toInt64(energy_epoch), -1) AS seen, ifNull(toInt64(ticks_read), 0) AS read, period_ms
  FROM sample
  WHERE {first:UInt8} = 0 AND site = {site:String} AND device IN {devices:Array(String)} AND tick < fromUnixTimestamp64Micro({from:Int64})
    AND (energy_source = 'none' OR energy_mj IS NOT NULL)
  ORDER BY tick DESC LIMIT 1 BY device)
GROUP BY device, boot, driver, run`

// Samples are those of some devices with a tick in p and, unless p begins with the ledger, the newest before it.
func (a *Audit) Samples(ctx context.Context, site string, devices []string, p verify.Period, first bool) (map[string]verify.Series, error) {
	out := map[string]verify.Series{}
	ctx = with(ctx, "site", site, "devices", array(devices), "from", p.From, "to", p.To, "first", bit(first))
	err := a.each(ctx, samplesSQL, func(rows driver.Rows) error {
		var device string
		var id verify.Identity
		var tick, at, energy, integral, busy, seen, read []int64
		var period uint32
		if err := rows.Scan(&device, &id.Boot, &id.Driver, &id.Run, &tick, &at, &energy, &integral, &busy, &seen, &read, &period); err != nil {
			return err
		}
		s := out[device]
		s.Identities = append(s.Identities, id)
		s.Interval = max(s.Interval, unit.Micros(period)*unit.Millisecond)
		for i := range tick {
			s.Samples = append(s.Samples, verify.Sample{
				Tick: unit.Micros(tick[i]), At: unit.Micros(at[i]), Energy: unit.Millijoules(energy[i]),
				Integral: unit.Millijoules(integral[i]), Activity: unit.Micros(busy[i]), Seen: seen[i], Read: read[i],
				Identity: int32(len(s.Identities) - 1),
			})
		}
		out[device] = s
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read samples of %s: %w", site, err)
	}
	return out, nil
}

// meteredSQL finds the epochs of each counter and, of each, the first and last raw value. Where the counter runs on over an
// edge of the period, the value there lies on the line between the samples around it (design §3); an edge that the ledger holds open,
// since the right-hand sample has not been looked at yet, is held at the left one.
const meteredSQL = `
WITH {from:Int64} AS lo, {to:Int64} AS hi, {ahead:Int64} AS ahead,
  points AS (
    SELECT device, toInt64(energy_ts) AS ts, toInt64(energy_mj) AS c, concat(boot, '/', driver, '/', if(energy_source = 'integrated', run, '')) AS id,
      boot, driver, run, ifNull(toInt64(energy_epoch), -1) AS seen, toUnixTimestamp64Micro(tick) AS tick_us
    FROM sample
    WHERE site = {site:String} AND device IN {devices:Array(String)} AND energy_ts IS NOT NULL AND energy_mj IS NOT NULL
      AND tick < fromUnixTimestamp64Micro(if(device IN {held_hi:Array(String)}, hi + ahead, {until:Int64})) AND ({first:UInt8} = 0 OR tick >= fromUnixTimestamp64Micro(lo - ahead))
    ORDER BY device, ts, boot, driver, c, tick_us, run, seen
    LIMIT 1 BY device, ts, boot, driver),
  steps AS (
    SELECT *, lagInFrame(c, 1, toInt64(-1)) OVER w AS c0, lagInFrame(ts, 1, toInt64(0)) OVER w AS ts0, lagInFrame(id, 1, '') OVER w AS id0,
      lagInFrame(run, 1, '') OVER w AS run0, lagInFrame(seen, 1, toInt64(-1)) OVER w AS seen0,
      transform(device, {devices:Array(String)}, {limits:Array(Int64)}, toInt64(0)) AS limit_mw
    FROM points
    WINDOW w AS (PARTITION BY device ORDER BY ts, boot, driver, c ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)),
  numbered AS (
    SELECT *, sum(c0 = -1 OR id != id0 OR c < c0 OR (run = run0 AND seen != seen0 AND seen != -1 AND seen0 != -1)
        OR (limit_mw > 0 AND toInt128(c - c0) * 100000000 > toInt128(limit_mw) * 105 * (ts - ts0)))
      OVER (PARTITION BY device ORDER BY ts, boot, driver, c ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS epoch
    FROM steps),
  epochs AS (
    SELECT device, epoch, min(c) AS first_c, min(ts) AS first_ts, max(c) AS last_c, max(ts) AS last_ts,
      maxIf((ts, c), ts <= lo) AS a, minIf((ts, c, tick_us), ts > lo) AS b,
      maxIf((ts, c), ts <= hi) AS d, minIf((ts, c, tick_us), ts > hi) AS e
    FROM numbered GROUP BY device, epoch)
SELECT device, toInt64(count()), toInt64(sum(at_end - at_start)) FROM (
  SELECT device,
    multiIf(first_ts >= lo, first_c, last_ts <= lo OR a.1 = lo OR (b.3 >= lo + ahead AND device IN {held_lo:Array(String)}), a.2,
      a.2 + toInt64(intDiv(toInt128(b.2 - a.2) * (lo - a.1), b.1 - a.1))) AS at_start,
    multiIf(first_ts >= hi, first_c, last_ts <= hi, last_c, d.1 = hi, d.2,
      d.2 + toInt64(intDiv(toInt128(e.2 - d.2) * (hi - d.1), e.1 - d.1))) AS at_end
  FROM epochs WHERE last_ts > lo AND first_ts < hi)
GROUP BY device ORDER BY device`

// Metered is what the raw counters rose by within p. The time it takes grows with all that is stored of the devices.
func (a *Audit) Metered(ctx context.Context, site string, devices []record.Device, p verify.Period, first bool, edges verify.Edges) ([]verify.Metered, error) {
	var uuids, limits, heldLo, heldHi []string
	for _, d := range devices {
		uuids = append(uuids, d.UUID)
		limits = append(limits, strconv.FormatInt(int64(d.LimitMilliwatts), 10))
		if edges.Held[verify.Edge{Device: d.UUID, T: p.From}] {
			heldLo = append(heldLo, d.UUID)
		}
		if edges.Held[verify.Edge{Device: d.UUID, T: p.To}] {
			heldHi = append(heldHi, d.UUID)
		}
	}
	ctx = with(ctx, "site", site, "devices", array(uuids), "limits", "["+strings.Join(limits, ",")+"]", "from", p.From, "to", p.To,
		"ahead", verify.Lookahead, "first", bit(first),
		"held_lo", array(heldLo), "held_hi", array(heldHi), "until", max(edges.Until, p.To+verify.Lookahead))
	var out []verify.Metered
	err := a.each(ctx, meteredSQL, func(rows driver.Rows) error {
		var m verify.Metered
		var epochs, energy int64
		err := rows.Scan(&m.Device, &epochs, &energy)
		m.Epochs, m.Energy = int(epochs), unit.Millijoules(energy)
		out = append(out, m)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("meter the counters of %s: %w", site, err)
	}
	return out, nil
}

// Entries are the lines of the ledger in p, closings and adjustments, as far as they are compared.
func (a *Audit) Entries(ctx context.Context, site string, p verify.Period) ([]record.Entry, error) {
	var out []record.Entry
	err := a.each(with(ctx, "site", site, "from", p.From, "to", p.To),
		`SELECT site, hour, CAST(kind, 'String'), CAST(account, 'String'), node, device, device_kind, model, tenant, project, allocation,
		   workload, model_id, CAST(purpose, 'String'), from_us, to_us, split, device_time, gpu_mj, cpu_mj, node_rest_mj, it_shared_mj, facility_mj, measured_mj, estimated_mj, modelled_mj,
		   bound_low_mj, bound_high_mj, carbon_ug, carbon_market_ug, carbon_embodied_ug, water_ul, heat_reused_mj
		 FROM entry
		 WHERE site = {site:String} AND toUnixTimestamp(hour) * 1000000 >= {from:Int64} AND toUnixTimestamp(hour) * 1000000 < {to:Int64}`,
		func(rows driver.Rows) error {
			var e record.Entry
			var hour time.Time
			var kind, account string
			var from, to, held, gpu, cpu, rest, shared, facility, measured, estimated, modelled, low, high, carbon, market, embodied, water, heat int64
			err := rows.Scan(&e.Site, &hour, &kind, &account, &e.Node, &e.Device, &e.DeviceKind, &e.Model, &e.Tenant, &e.Project,
				&e.Allocation, &e.Workload, &e.ModelID, &e.Purpose, &from, &to, &e.Split, &held, &gpu, &cpu, &rest, &shared, &facility, &measured, &estimated, &modelled, &low, &high, &carbon,
				&market, &embodied, &water, &heat)
			e.Hour, e.Kind, e.Account = hour.UTC().Format(time.RFC3339), record.EntryKind(kind), record.Account(account)
			e.From, e.To, e.DeviceTime = unit.Micros(from), unit.Micros(to), unit.DeviceTime(held)
			e.GPU, e.CPU, e.NodeRest = unit.Millijoules(gpu), unit.Millijoules(cpu), unit.Millijoules(rest)
			e.ITShared, e.Facility = unit.Millijoules(shared), unit.Millijoules(facility)
			e.Measured, e.Estimated, e.Modelled = unit.Millijoules(measured), unit.Millijoules(estimated), unit.Millijoules(modelled)
			e.BoundLow, e.BoundHigh, e.Carbon = unit.Millijoules(low), unit.Millijoules(high), unit.MicrogramsCO2e(carbon)
			e.CarbonMarket, e.CarbonEmbodied = unit.MicrogramsCO2e(market), unit.MicrogramsCO2e(embodied)
			e.Water, e.HeatReused = unit.Microlitres(water), unit.Millijoules(heat)
			out = append(out, e)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read entries of %s: %w", site, err)
	}
	return out, nil
}

// Readings are those of all meters of the site and its nodes that touch p.
func (a *Audit) Readings(ctx context.Context, site string, p verify.Period) ([]record.Reading, error) {
	var out []record.Reading
	err := a.each(with(ctx, "site", site, "from", p.From, "to", p.To),
		`SELECT node, meter, quantity, unit, from_us, to_us, value, counter, method, epoch FROM readings FINAL
		 WHERE site = {site:String} AND to_us >= {from:Int64} AND from_us <= {to:Int64}
		 ORDER BY node, meter, quantity, from_us, to_us, epoch`,
		func(rows driver.Rows) error {
			var r record.Reading
			var from, to int64
			err := rows.Scan(&r.Node, &r.Meter, &r.Quantity, &r.Unit, &from, &to, &r.Value, &r.Counter, &r.Method, &r.Epoch)
			r.From, r.To = unit.Micros(from), unit.Micros(to)
			out = append(out, r)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read meters of %s: %w", site, err)
	}
	return out, nil
}

// Factors gives the editions that count for each hour of p. Which they are is the book's to say, as everywhere: an edition is an
// input, like a reading.
func (a *Audit) Factors(ctx context.Context, site record.Site, p verify.Period) (func(unit.Micros) verify.Factors, error) {
	book, err := a.store.Book(ctx, factor.Newest, Span{From: p.From, To: p.To})
	if err != nil {
		return nil, err
	}
	var models []string
	err = a.each(with(ctx, "site", site.ID), `SELECT DISTINCT model FROM device WHERE site = {site:String} AND kind IN ('gpu', 'mig') ORDER BY model`,
		func(rows driver.Rows) error {
			var m string
			err := rows.Scan(&m)
			models = append(models, m)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read models of %s: %w", site.ID, err)
	}
	return func(hour unit.Micros) verify.Factors {
		f := verify.Factors{
			Grid: book.Choose(factor.GridIntensity, site.Zone, hour), Residual: book.Choose(factor.ResidualMix, site.Zone, hour),
			Instruments: book.Instruments(site.ID, hour), PUE: book.Choose(factor.PUE, site.ID, hour), WUE: book.Choose(factor.WUE, site.ID, hour),
			HeatReuse: book.Choose(factor.HeatReuse, site.ID, hour), Embodied: map[string]factor.Chosen{},
		}
		for _, m := range models {
			if c := book.Choose(factor.Embodied, m, hour); c.Known() {
				f.Embodied[m] = c
			}
		}
		return f
	}, nil
}

// DeviceHours are the newest lines of quality of the hours of p.
func (a *Audit) DeviceHours(ctx context.Context, site string, p verify.Period) ([]record.DeviceHour, error) {
	var out []record.DeviceHour
	err := a.each(with(ctx, "site", site, "from", p.From, "to", p.To),
		`SELECT site, hour, node, device, kind, model, counter_mj, estimated_mj, interpolated_mj, integral_mj, excess_mj, present_us, covered_us,
		   allocated_time, unallocated_time, unavailable_time, flags
		 FROM device_hour
		 WHERE site = {site:String} AND toUnixTimestamp(hour) * 1000000 >= {from:Int64} AND toUnixTimestamp(hour) * 1000000 < {to:Int64}
		 ORDER BY hour, kind, node, device, batch DESC LIMIT 1 BY hour, kind, node, device`,
		func(rows driver.Rows) error {
			var h record.DeviceHour
			var hour time.Time
			var counter, estimated, interpolated, integral, excess, present, covered, allocated, free, gone int64
			err := rows.Scan(&h.Site, &hour, &h.Node, &h.Device, &h.Kind, &h.Model, &counter, &estimated, &interpolated, &integral, &excess,
				&present, &covered, &allocated, &free, &gone, &h.Flags)
			h.Hour = hour.UTC().Format(time.RFC3339)
			h.Counter, h.Estimated, h.Interpolated = unit.Millijoules(counter), unit.Millijoules(estimated), unit.Millijoules(interpolated)
			h.Integral, h.Excess = unit.Millijoules(integral), unit.Millijoules(excess)
			h.Present, h.Covered = unit.Micros(present), unit.Micros(covered)
			h.Allocated, h.Unallocated, h.Unavailable = unit.DeviceTime(allocated), unit.DeviceTime(free), unit.DeviceTime(gone)
			out = append(out, h)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read device-hours of %s: %w", site, err)
	}
	return out, nil
}

// Cuts are the newest editions of those from the start of p to its end, both included.
func (a *Audit) Cuts(ctx context.Context, site string, p verify.Period) ([]record.Cut, error) {
	var out []record.Cut
	err := a.each(with(ctx, "site", site, "from", p.From, "to", p.To),
		`SELECT device, epoch, boot, driver, t, t0, c0, t1, c1, c, low, high, open, interpolated, edition FROM cut
		 WHERE site = {site:String} AND t >= {from:Int64} AND t <= {to:Int64}
		 ORDER BY device, t, epoch, edition DESC LIMIT 1 BY device, t, epoch`,
		func(rows driver.Rows) error {
			r := record.Cut{Site: site}
			var epoch, t, t0, c0, t1, c1, c, low, high int64
			err := rows.Scan(&r.Device, &epoch, &r.Boot, &r.Driver, &t, &t0, &c0, &t1, &c1, &c, &low, &high, &r.Open, &r.Interpolated, &r.Edition)
			r.Epoch, r.T, r.T0, r.T1 = unit.Micros(epoch), unit.Micros(t), unit.Micros(t0), unit.Micros(t1)
			r.C0, r.C1, r.C = unit.Millijoules(c0), unit.Millijoules(c1), unit.Millijoules(c)
			r.Low, r.High = unit.Millijoules(low), unit.Millijoules(high)
			out = append(out, r)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read cuts of %s: %w", site, err)
	}
	return out, nil
}

// Counts sets the samples stored of a period against the messages they came in.
func (a *Audit) Counts(ctx context.Context, p verify.Period) (verify.Counts, error) {
	var c verify.Counts
	// A message that lies across an edge of the period is not held to what it declared, and neither are rows whose line may be gone:
	// lines may be kept for less long than samples, and go by parts.
	err := a.conn.QueryRow(with(ctx, "from", p.From, "to", p.To), `
		SELECT toInt64(sum(all_rows)), toInt64(sum(stored)), toInt64(sum(if(known = 1, declared, toInt64(0)))),
		  toInt64(sum(multiIf(known = 0, stored, known = 1, toInt64(abs(declared - stored)), toInt64(0))))
		FROM (
		  SELECT run, seq, sum(r) AS all_rows, sum(s) AS stored, sum(d) AS declared, max(k) AS known
		  FROM (
		    SELECT run, seq, toInt64(count()) AS r, toInt64(uniqExact(device, tick)) AS s, toInt64(0) AS d,
		      if(max(received) < (SELECT if(days = 0, toDateTime(0), now() - toIntervalDay(days)) FROM (
		        SELECT max(toUInt32OrZero(extract(create_table_query, 'TTL toDateTime\\(received\\) \\+ toIntervalDay\\(([0-9]+)\\)'))) AS days FROM system.tables
		        WHERE database = currentDatabase() AND name IN ('messages', 'messages_local'))), 2, 0) AS k FROM sample
		    WHERE tick > fromUnixTimestamp64Micro({from:Int64}) AND tick <= fromUnixTimestamp64Micro({to:Int64}) GROUP BY run, seq
		    UNION ALL
		    SELECT run, seq, toInt64(0) AS r, toInt64(0) AS s, toInt64(any(rows)) AS d,
		      if(min(first_tick) > fromUnixTimestamp64Micro({from:Int64}) AND max(last_tick) <= fromUnixTimestamp64Micro({to:Int64}), 1, 2) AS k
		    FROM messages WHERE topic = 'wl.sample.v1' AND rows > 0 GROUP BY run, seq)
		  GROUP BY run, seq)`).Scan(&c.Rows, &c.Stored, &c.Declared, &c.Mismatched)
	if err != nil {
		return c, fmt.Errorf("count samples: %w", err)
	}
	c.Repeated = c.Rows - c.Stored
	return c, nil
}

func (a *Audit) each(ctx context.Context, query string, row func(driver.Rows) error) error {
	rows, err := a.conn.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// array writes strings as the literal of an array.
func array(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
