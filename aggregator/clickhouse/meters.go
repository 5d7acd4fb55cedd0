package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// meterReach is how far around an hour the readings of meters are sought. A meter that is read less often cannot tell an hour.
const meterReach = 2 * unit.Hour

// idleDays is how far back the idle power of a device is sought.
const idleDays = 30

// UseLimits has hours closed with these limits.
func (s *Store) UseLimits(l closing.Limits) { s.limits = l }

// addAround adds to an hour what is known besides samples and allocations: meters, factors, the devices' idle power and the
// tenants that are registered.
func (s *Store) addAround(ctx context.Context, h *closing.Hour) error {
	h.Limits = s.limits
	if err := s.addReadings(ctx, h); err != nil {
		return err
	}
	if err := s.addIdle(ctx, h); err != nil {
		return err
	}
	if err := s.addTenants(ctx, h); err != nil {
		return err
	}
	if err := s.addBackwards(ctx, h); err != nil {
		return err
	}
	book, err := s.Book(ctx, factor.Newest, Span{From: h.Start, To: h.End()})
	if err != nil {
		return err
	}
	h.Factors = carbon.Choose(book, h.Site, models(h), h.Start)
	return nil
}

// models are those of the site's GPUs and MIG instances, each once.
func models(h *closing.Hour) []string {
	var out []string
	for _, n := range h.Nodes {
		for _, d := range n.Devices {
			if d.Kind != record.KindCPU && d.Model != "" {
				out = append(out, d.Model)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// readingsOfMetersSQL keeps of an interval meter all around the hour, and of each epoch of a counter the outer readings and those
// around an edge of the hour, or of the node's stay: between others nothing is cut. It keeps readings that contradict a
// neighbour too, so that the meter is refused. A reading is received after it was made, but for a day of clocks that differ.
const readingsOfMetersSQL = `
WITH
  edges AS (
    SELECT id AS edge_node, groupUniqArray(e) AS es FROM (SELECT id, arrayJoin([from_us, to_us]) AS e FROM node WHERE site = {site:String})
    WHERE e > {start:Int64} AND e < {end:Int64} GROUP BY id),
  raw AS (
    SELECT node, meter, quantity, unit, from_us, to_us, value, counter, method, epoch FROM reading
    WHERE site = {site:String} AND quantity IN ('node_energy', 'site_energy', 'it_shared_energy', 'water', 'heat')
      AND to_us >= {start:Int64} - {reach:Int64} AND from_us <= {end:Int64} + {reach:Int64}
      AND received >= fromUnixTimestamp64Micro({start:Int64} - {reach:Int64} - 86400000000)),
  near AS (
    SELECT *, lagInFrame(from_us, 1, 0) OVER w AS from0, leadInFrame(from_us, 1, 0) OVER w AS from1,
      lagInFrame(value, 1, value) OVER w AS value0, leadInFrame(value, 1, value) OVER w AS value1
    FROM raw
    WINDOW w AS (PARTITION BY node, meter, quantity, counter, epoch ORDER BY from_us, value ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING))
SELECT node, meter, quantity, unit, from_us, to_us, value, counter, method, epoch
FROM near LEFT JOIN edges ON edge_node = node
WHERE NOT counter OR from0 = 0 OR from1 = 0 OR from_us = from0 OR from_us = from1 OR value < value0 OR value1 < value
  OR arrayExists(e -> e >= from0 AND e <= from1, arrayConcat(es, [{start:Int64}, {end:Int64}]))
ORDER BY node, meter, quantity, from_us, to_us, epoch, value`

// addReadings gives each node the readings of its own meter, and the site those of its meters.
func (s *Store) addReadings(ctx context.Context, h *closing.Hour) error {
	rows, err := s.conn.Query(with(ctx, "site", h.Site.ID, "start", h.Start, "end", h.End(), "reach", meterReach), readingsOfMetersSQL)
	if err != nil {
		return fmt.Errorf("read meters of %s: %w", h.Site.ID, err)
	}
	defer rows.Close()
	byNode := map[string][]record.Reading{}
	for rows.Next() {
		var r record.Reading
		var from, to int64
		if err := rows.Scan(&r.Node, &r.Meter, &r.Quantity, &r.Unit, &from, &to, &r.Value, &r.Counter, &r.Method, &r.Epoch); err != nil {
			return fmt.Errorf("read meters of %s: %w", h.Site.ID, err)
		}
		r.From, r.To = unit.Micros(from), unit.Micros(to)
		if r.Quantity == "node_energy" {
			byNode[r.Node] = append(byNode[r.Node], r)
		} else {
			h.Readings = append(h.Readings, r)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read meters of %s: %w", h.Site.ID, err)
	}
	for i := range h.Nodes {
		h.Nodes[i].Readings = byNode[h.Nodes[i].ID]
	}
	return nil
}

// addIdle gives each GPU in MIG mode its own idle power: the lowest mean of an hour, of the 30 days before, in which it was there,
// nobody held it and its counter told it all. The table of models stands in.
func (s *Store) addIdle(ctx context.Context, h *closing.Hour) error {
	gpus := map[string]*closing.Device{}
	for i := range h.Nodes {
		parents := map[string]bool{}
		for _, d := range h.Nodes[i].Devices {
			if d.Kind == record.KindMIG {
				parents[d.Parent] = true
			}
		}
		for k := range h.Nodes[i].Devices {
			if d := &h.Nodes[i].Devices[k]; d.Kind == record.KindGPU && parents[d.UUID] {
				d.IdleBasis = "model"
				gpus[d.UUID] = d
			}
		}
	}
	if len(gpus) == 0 {
		return nil
	}
	// Without FINAL, which would read the whole month: of the lines of one device-hour the highest batch is taken here.
	rows, err := s.conn.Query(with(ctx, "site", h.Site.ID, "start", h.Start, "days", idleDays), `
		SELECT device, min(mw), argMin(toUnixTimestamp(hour), tuple(mw, hour))
		FROM (
			SELECT device, hour, intDiv(tupleElement(line, 1), 3600) AS mw, tupleElement(line, 2) AS allocated, tupleElement(line, 3) AS present,
				tupleElement(line, 4) AS covered, tupleElement(line, 5) AS estimated
			FROM (
				SELECT device, hour, argMax(tuple(counter_mj, allocated_time, present_us, covered_us, estimated_mj), batch) AS line
				FROM device_hours
				WHERE site = {site:String} AND kind = 'gpu' AND hour < fromUnixTimestamp64Micro({start:Int64})
					AND hour >= fromUnixTimestamp64Micro({start:Int64}) - INTERVAL {days:UInt16} DAY
					AND device IN (SELECT parent_uuid FROM devices FINAL WHERE kind = 'mig')
					AND (site, batch, root) IN (SELECT site, batch, root FROM seals FINAL WHERE site = {site:String})
				GROUP BY device, hour))
		WHERE allocated = 0 AND present = 3600000000 AND covered >= 3564000000 AND estimated = 0 AND mw > 0
		GROUP BY device`)
	if err != nil {
		return fmt.Errorf("read idle power of %s: %w", h.Site.ID, err)
	}
	defer rows.Close()
	for rows.Next() {
		var device string
		var mw int64
		var hour uint32
		if err := rows.Scan(&device, &mw, &hour); err != nil {
			return fmt.Errorf("read idle power of %s: %w", h.Site.ID, err)
		}
		if d, ok := gpus[device]; ok {
			d.IdleMilliwatts = unit.Milliwatts(mw)
			d.IdleBasis = "measured " + time.Unix(int64(hour), 0).UTC().Format(time.RFC3339)
		}
	}
	return rows.Err()
}

// addTenants says who is registered. Where nobody is, nobody is looked for.
func (s *Store) addTenants(ctx context.Context, h *closing.Hour) error {
	var ids []string
	if err := s.conn.QueryRow(ctx, `SELECT groupUniqArray(id) FROM tenants`).Scan(&ids); err != nil {
		return fmt.Errorf("read tenants: %w", err)
	}
	for _, id := range ids {
		if h.Tenants == nil {
			h.Tenants = map[string]bool{}
		}
		h.Tenants[id] = true
	}
	return nil
}

// addBackwards adds the allocations that end before they start in the hour, to be named.
func (s *Store) addBackwards(ctx context.Context, h *closing.Hour) error {
	rows, err := s.conn.Query(with(ctx, "site", h.Site.ID, "start", h.Start, "end", h.End()),
		`SELECT id, device, start_us, end_us, tenant FROM allocations FINAL
		 WHERE site = {site:String} AND start_us >= {start:Int64} AND start_us < {end:Int64} AND end_us != 0 AND end_us < start_us ORDER BY id`)
	if err != nil {
		return fmt.Errorf("read allocations of %s: %w", h.Site.ID, err)
	}
	defer rows.Close()
	for rows.Next() {
		var a record.Allocation
		var start, end int64
		if err := rows.Scan(&a.ID, &a.Device, &start, &end, &a.Tenant); err != nil {
			return fmt.Errorf("read allocations of %s: %w", h.Site.ID, err)
		}
		a.Start, a.End = unit.Micros(start), unit.Micros(end)
		h.Strays = append(h.Strays, a)
	}
	return rows.Err()
}
