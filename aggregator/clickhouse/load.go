package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Lookahead is how far beyond an hour's end the sample to the right of it is sought. A device silent for longer has an
// open cut, and the hour that sees it again goes on from there.
const Lookahead = 15 * 60 * unit.Second

// maxLookback bounds how far before an hour's start readings are sought.
const maxLookback = 24 * unit.Hour

// Load reads everything the entries of a site-hour are made from.
func (s *Store) Load(ctx context.Context, site record.Site, start unit.Micros) (closing.Hour, error) {
	return s.load(ctx, site, start, again{})
}

func (s *Store) load(ctx context.Context, site record.Site, start unit.Micros, a again) (closing.Hour, error) {
	h := closing.Hour{Site: site, Start: start}
	nodes, err := s.nodes(ctx, site.ID, h.Start, h.End())
	if err != nil {
		return h, err
	}
	devices, err := s.devices(ctx, site.ID, h.Start, h.End())
	if err != nil {
		return h, err
	}
	cuts, err := s.cutsAt(ctx, site.ID, h.Start)
	if err != nil {
		return h, err
	}
	cuts = a.start(cuts, h.Start)
	readings, err := s.readings(ctx, site.ID, leftmost(h.Start, devices, cuts), h.Start, h.End())
	if err != nil {
		return h, err
	}
	if err := s.beyond(ctx, site.ID, h, devices, readings, a); err != nil {
		return h, err
	}
	allocations, err := s.allocations(ctx, site.ID, h.Start, h.End())
	if err != nil {
		return h, err
	}
	for _, n := range nodes {
		node := closing.Node{Node: n}
		for _, d := range devices[n.ID] {
			r := readings[d.UUID]
			dev := closing.Device{Device: d, Allocations: allocations[d.UUID]}
			delete(allocations, d.UUID)
			if d.Kind == record.KindMIG {
				dev.Work = onParent(r, readings[d.Parent])
			} else {
				dev.Points, dev.Work = r.points, known(r.work)
			}
			dev.Period = r.period
			if c, ok := cuts[d.UUID]; ok {
				dev.Stored = &c
			}
			node.Devices = append(node.Devices, dev)
		}
		h.Nodes = append(h.Nodes, node)
	}
	for _, device := range slices.Sorted(maps.Keys(allocations)) {
		h.Strays = append(h.Strays, allocations[device]...)
	}
	err = s.addAround(ctx, &h)
	return h, err
}

// leftmost is where the readings of an hour begin. The stored cut carries a counter over the hour's start; a device that has
// none yet may have been read shortly before, and the activity of MIG instances is needed from the sample to the left on.
func leftmost(start unit.Micros, devices map[string][]record.Device, cuts map[string]record.Cut) unit.Micros {
	from := start
	for _, ds := range devices {
		for _, d := range ds {
			if c, ok := cuts[d.Parent]; ok && d.Kind == record.KindMIG {
				from = min(from, c.T0)
			}
			if _, ok := cuts[d.UUID]; !ok && d.Kind != record.KindMIG {
				from = min(from, start-Lookahead)
			}
		}
	}
	return max(from, start-maxLookback)
}

// series is what was read of one device.
type series struct {
	points []window.Point
	work   []closing.Work
	ticks  []int64
	period unit.Micros
}

// onParent puts a MIG instance's counters at the energy time stamps of its GPU: both were read at the same tick.
func onParent(instance, gpu series) []closing.Work {
	at := make(map[int64]unit.Micros, len(gpu.ticks))
	for i, tick := range gpu.ticks {
		at[tick] = gpu.points[i].T
	}
	var out []closing.Work
	for i, w := range instance.work {
		if t, ok := at[instance.ticks[i]]; ok {
			w.T = t
			out = append(out, w)
		}
	}
	return known(out)
}

// unread is the activity of a row in which it could not be read.
const unread = -1

// known leaves out rows whose activity could not be read: it is then not known, not zero.
func known(work []closing.Work) []closing.Work {
	return slices.DeleteFunc(slices.Clone(work), func(w closing.Work) bool { return w.SMActive == unread })
}

// readings are the rows around every edge in time and every break of a counter, and all rows of GPUs in MIG mode (their
// energy is split per sample interval) and of CPUs (cut at the edges of every GPU of their module).
func (s *Store) readings(ctx context.Context, site string, from, start, end unit.Micros) (map[string]series, error) {
	rows, err := s.conn.Query(with(ctx, "site", site, "start", start, "end", end, "lookahead", Lookahead, "from", from), readingsSQL)
	if err != nil {
		return nil, fmt.Errorf("read samples of %s: %w", site, err)
	}
	defer rows.Close()
	out := map[string]series{}
	for rows.Next() {
		var device, boot, driver, run string
		var tick, ts, c, integral, seen, sm, expected, read int64
		var period uint32
		if err := rows.Scan(&device, &tick, &ts, &c, &boot, &driver, &run, &integral, &seen, &sm, &expected, &read, &period); err != nil {
			return nil, fmt.Errorf("read samples of %s: %w", site, err)
		}
		r := out[device]
		r.ticks = append(r.ticks, tick)
		r.points = append(r.points, window.Point{
			T: unit.Micros(ts), C: unit.Millijoules(c), Boot: boot, Driver: driver, Run: run, Integral: unit.Millijoules(integral),
			Seen: seen,
		})
		r.work = append(r.work, closing.Work{
			T: unit.Micros(ts), Run: run, SMActive: unit.Micros(sm), Expected: expected, Read: read,
		})
		r.period = max(r.period, unit.Micros(period)*unit.Millisecond)
		out[device] = r
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read samples of %s: %w", site, err)
	}
	return out, nil
}

// A counter that the collector integrates begins anew with each of its runs, as if the machine had booted.
//
// readingsSQL keeps a row when an edge (of an allocation, of the device's own stay, of the hour) lies between it and a
// neighbour, when both have one time stamp, when the counter cannot have run on between it and
// a neighbour or the collector states another epoch, and the outer rows of each device. Of the rows at or after the hour's end it keeps the first; of MIG instances
// all, since which tick is the last that matters is their GPU's to say.
const readingsSQL = `
WITH
  edges AS (
    SELECT held AS edge_device, groupUniqArray(e) AS es
    FROM (SELECT device AS held, arrayJoin([start_us, end_us]) AS e FROM allocations FINAL WHERE site = {site:String}
      UNION ALL SELECT uuid AS held, arrayJoin([from_us, to_us]) AS e FROM device)
    WHERE e > {start:Int64} AND e < {end:Int64} GROUP BY held),
  whole AS (
    SELECT uuid FROM devices FINAL WHERE kind IN ('mig', 'cpu')
    UNION ALL SELECT parent_uuid FROM devices FINAL WHERE kind = 'mig'),
  limits AS (SELECT uuid AS limit_device, limit_mw FROM devices FINAL),
  raw AS (
    SELECT device, toUnixTimestamp64Micro(tick) AS tick_us, ifNull(energy_ts, toUnixTimestamp64Micro(tick)) AS ts,
      toInt64(ifNull(energy_mj, 0)) AS c, cityHash64(boot, driver, run) AS id, boot, driver, run, period_ms, energy_source,
      toInt64(ifNull(toNullable(toInt64(power_integral_mj)), -1)) AS integral,
      toInt64(ifNull(toNullable(toInt64(energy_epoch)), -1)) AS seen,
      toInt64(ifNull(toNullable(toInt64(sm_active_us)), -1)) AS sm,
      toInt64(ifNull(ticks_expected, 0)) AS expected, toInt64(ifNull(ticks_read, 0)) AS read
    FROM sample
    WHERE site = {site:String}
      AND tick >= fromUnixTimestamp64Micro({from:Int64}) AND tick < fromUnixTimestamp64Micro({end:Int64} + {lookahead:Int64})
      AND (energy_source = 'none' OR (energy_ts IS NOT NULL AND energy_mj IS NOT NULL))),
  near AS (
    SELECT *, lagInFrame(tick_us, 1, 0) OVER w AS tick0, leadInFrame(tick_us, 1, 0) OVER w AS tick1,
      lagInFrame(ts, 1, 0) OVER w AS ts0, leadInFrame(ts, 1, 0) OVER w AS ts1,
      lagInFrame(c, 1, 0) OVER w AS c0, leadInFrame(c, 1, 0) OVER w AS c1,
      lagInFrame(seen, 1, 0) OVER w AS seen0, leadInFrame(seen, 1, 0) OVER w AS seen1,
      lagInFrame(id, 1, 0) OVER w AS id0, leadInFrame(id, 1, 0) OVER w AS id1
    FROM raw
    WINDOW w AS (PARTITION BY device ORDER BY ts, c, tick_us ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING))
SELECT device, tick_us, ts, c, if(energy_source = 'integrated', concat(boot, ' ', run), boot), driver, run, integral, seen, sm, expected, read, period_ms
FROM near
LEFT JOIN edges ON edge_device = near.device
LEFT JOIN limits ON limit_device = near.device
WHERE (ts0 < {end:Int64} OR energy_source = 'none')
  AND (device IN (SELECT uuid FROM whole) OR tick0 = 0 OR tick1 = 0 OR ts >= {end:Int64}
    OR ts = ts0 OR ts = ts1
    OR arrayExists(e -> e >= ts0 AND e <= ts1, arrayConcat(es, [{start:Int64}, {end:Int64}]))
    OR id != id0 OR id != id1 OR seen != seen0 OR seen != seen1
    OR c < c0 OR c1 < c
    OR toInt128(c - c0) * 100000000 > toInt128(limit_mw) * 105 * (ts - ts0)
    OR toInt128(c1 - c) * 100000000 > toInt128(limit_mw) * 105 * (ts1 - ts))
ORDER BY device, ts, c, tick_us`

// cutsAt are the newest editions of the cuts at an hour's start, the latest epoch of each device.
func (s *Store) cutsAt(ctx context.Context, site string, t unit.Micros) (map[string]record.Cut, error) {
	out := map[string]record.Cut{}
	err := s.each(with(ctx, "site", site, "t", t),
		`SELECT `+editionColumns+` FROM cut WHERE site = {site:String} AND t = {t:Int64} ORDER BY device, edition DESC, epoch DESC LIMIT 1 BY device`,
		func(rows driver.Rows) error {
			c, err := scanEdition(rows, site)
			out[c.Device] = c
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read cuts of %s: %w", site, err)
	}
	return out, nil
}

// allocations are those that hold a device in [from, to), by device. Of a device on which any two ever overlapped, all are
// read: where the slots of one lie, and whether there are any, depends on those before it.
func (s *Store) allocations(ctx context.Context, site string, from, to unit.Micros) (map[string][]record.Allocation, error) {
	rows, err := s.conn.Query(with(ctx, "site", site, "from", from, "to", to),
		`WITH
		   stated AS (SELECT *, if(end_us = 0, 9223372036854775807, end_us) AS until FROM allocations FINAL WHERE site = {site:String} AND start_us < {to:Int64}),
		   shared AS (
		     SELECT device FROM (
		       SELECT device, start_us, max(until) OVER (PARTITION BY device ORDER BY start_us, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
		       FROM stated)
		     WHERE start_us < before)
		 SELECT id, device, thousandths, start_us, end_us, tenant, project, workload, model_id, purpose, scheduler_ref, revision
		 FROM stated WHERE until > {from:Int64} OR device IN (SELECT device FROM shared)
		 ORDER BY device, start_us, id`)
	if err != nil {
		return nil, fmt.Errorf("read allocations of %s: %w", site, err)
	}
	defer rows.Close()
	out := map[string][]record.Allocation{}
	for rows.Next() {
		var a record.Allocation
		var share uint32
		var start, end int64
		if err := rows.Scan(&a.ID, &a.Device, &share, &start, &end, &a.Tenant, &a.Project, &a.Workload, &a.ModelID, &a.Purpose,
			&a.Scheduler, &a.Revision); err != nil {
			return nil, fmt.Errorf("read allocations of %s: %w", site, err)
		}
		a.Share, a.Start, a.End = unit.Thousandths(share), unit.Micros(start), unit.Micros(end)
		out[a.Device] = append(out[a.Device], a)
	}
	return out, rows.Err()
}

// Progress reads what is closed of a site and who has yet to declare the next hour complete.
func (s *Store) Progress(ctx context.Context, site record.Site) (closer.Progress, error) {
	p, err := s.next(ctx, site.ID)
	if err != nil || p.Next == 0 {
		return p, err
	}
	return p, s.waiting(ctx, site, &p)
}

// next is the hour of a site to close next, and the batch that will.
func (s *Store) next(ctx context.Context, site string) (closer.Progress, error) {
	var p closer.Progress
	var hour time.Time
	var since int64
	var n uint64
	if err := s.conn.QueryRow(with(ctx, "site", site, "rules", ledger.Rules),
		`SELECT count(), max(hour), max(batch), argMax(root, batch), toInt64(toUnixTimestamp(minIf(hour, rules = {rules:String}))) FROM seals FINAL
		 WHERE site = {site:String}`).Scan(&n, &hour, &p.Batch, &p.Previous, &since); err != nil {
		return p, fmt.Errorf("read seals of %s: %w", site, err)
	}
	if n > 0 {
		p.Next, p.Batch, p.RulesSince = unit.MicrosOf(hour)+unit.Hour, p.Batch+1, unit.Micros(since)*unit.Second
	} else {
		var first int64
		if err := s.conn.QueryRow(with(ctx, "site", site),
			`SELECT min(from_us) FROM node WHERE site = {site:String} AND from_us > 0`).Scan(&first); err != nil {
			return p, fmt.Errorf("read the first hour of %s: %w", site, err)
		}
		if first == 0 {
			return p, nil
		}
		p.Next = unit.Micros(first).FloorHour()
	}
	return p, nil
}

// ClosedHours counts the site-hours in [from, to) that are sealed.
func (s *Store) ClosedHours(ctx context.Context, from, to unit.Micros) (int64, error) {
	var n int64
	err := s.conn.QueryRow(with(ctx, "from", from, "to", to),
		`SELECT toInt64(uniqExact(site, hour)) FROM seals FINAL
		 WHERE hour >= fromUnixTimestamp64Micro({from:Int64}) AND hour < fromUnixTimestamp64Micro({to:Int64})`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count closed hours: %w", err)
	}
	return n, nil
}

func (s *Store) waiting(ctx context.Context, site record.Site, p *closer.Progress) error {
	nodes, err := s.nodes(ctx, site.ID, p.Next, p.Next+unit.Hour)
	if err != nil {
		return err
	}
	rows, err := s.conn.Query(with(ctx, "site", site.ID),
		`SELECT topic, source, toUnixTimestamp64Micro(max(complete_up_to)) FROM messages
		 WHERE site = {site:String} AND topic IN ('`+wire.TopicSample+`', '`+wire.TopicAllocation+`', '`+wire.TopicReading+`') GROUP BY topic, source`)
	if err != nil {
		return fmt.Errorf("read what is complete of %s: %w", site.ID, err)
	}
	defer rows.Close()
	// A node's own progress is what its samples declare; what it declares of its allocations or its meters is another matter.
	type stream struct{ topic, source string }
	complete := map[stream]unit.Micros{}
	for rows.Next() {
		var s stream
		var t int64
		if err := rows.Scan(&s.topic, &s.source, &t); err != nil {
			return fmt.Errorf("read what is complete of %s: %w", site.ID, err)
		}
		complete[s] = unit.Micros(t)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read what is complete of %s: %w", site.ID, err)
	}
	need := func(topic, source string, until unit.Micros) {
		if complete[stream{topic, source}] < until {
			p.Waiting = append(p.Waiting, source)
		}
	}
	// A node whose devices have all left is still one whose devices are known.
	var described []string
	if err := s.conn.QueryRow(with(ctx, "site", site.ID),
		`SELECT groupUniqArray(node) FROM devices WHERE node IN (SELECT id FROM nodes FINAL WHERE site = {site:String})`).Scan(&described); err != nil {
		return fmt.Errorf("read the devices of %s: %w", site.ID, err)
	}
	for _, n := range nodes {
		if !slices.Contains(described, n.ID) {
			p.Waiting = append(p.Waiting, "inventory of "+n.ID)
		}
		until := p.Next + unit.Hour
		if n.To != 0 {
			until = min(until, n.To)
		}
		need(wire.TopicSample, n.ID, until)
		if site.AllocationSource == record.AllocationsByNodes {
			need(wire.TopicAllocation, record.AllocationsOf(n.ID), until)
		}
	}
	for s, t := range complete {
		if s.topic == wire.TopicSample { // a scheduler may state what is yet to come
			p.Newest = max(p.Newest, t)
		}
	}
	// Nobody is expected in this hour: without word from anyone beyond it, it may not have come yet.
	if len(nodes) == 0 && p.Newest < p.Next+unit.Hour {
		p.Waiting = append(p.Waiting, "a node of "+site.ID)
	}
	if site.AllocationSource != "" && site.AllocationSource != record.AllocationsByNodes {
		need(wire.TopicAllocation, site.AllocationSource, p.Next+unit.Hour)
	}
	if site.ReadingSource != "" {
		need(wire.TopicReading, site.ReadingSource, p.Next+unit.Hour)
	}
	return nil
}
