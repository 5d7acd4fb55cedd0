package clickhouse

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Sites are the sites of the inventory in order of id.
func (s *Store) Sites(ctx context.Context) ([]record.Site, error) {
	rows, err := s.conn.Query(ctx, `SELECT id, country, zone, operator, operator_country, pue_thousandths, allocation_source, reading_source FROM sites FINAL ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read sites: %w", err)
	}
	defer rows.Close()
	var out []record.Site
	for rows.Next() {
		var r record.Site
		var pue uint32
		if err := rows.Scan(&r.ID, &r.Country, &r.Zone, &r.Operator, &r.OperatorCountry, &pue, &r.AllocationSource, &r.ReadingSource); err != nil {
			return nil, fmt.Errorf("read sites: %w", err)
		}
		r.PUEThousandths = int64(pue)
		out = append(out, r)
	}
	return out, rows.Err()
}

// nodes are the nodes of a site that are expected to report in [from, to), in order of id.
func (s *Store) nodes(ctx context.Context, site string, from, to unit.Micros) ([]record.Node, error) {
	rows, err := s.conn.Query(with(ctx, "site", site, "from", from, "to", to),
		`SELECT id, site, rack, model, rest_mw, from_us, to_us FROM node
		 WHERE site = {site:String} AND from_us < {to:Int64} AND (to_us = 0 OR to_us > {from:Int64}) ORDER BY id, from_us`)
	if err != nil {
		return nil, fmt.Errorf("read nodes of %s: %w", site, err)
	}
	defer rows.Close()
	var out []record.Node
	for rows.Next() {
		var n record.Node
		var rest, a, b int64
		if err := rows.Scan(&n.ID, &n.Site, &n.Rack, &n.Model, &rest, &a, &b); err != nil {
			return nil, fmt.Errorf("read nodes of %s: %w", site, err)
		}
		n.RestMilliwatts, n.From, n.To = unit.Milliwatts(rest), unit.Micros(a), unit.Micros(b)
		if last := len(out) - 1; last >= 0 && out[last].ID == n.ID && oneHour(out[last].To, n.From) {
			out[last].To = n.To
			continue
		}
		out = append(out, n)
	}
	return out, rows.Err()
}

// stationedSQL are a site's devices, each on the node that stated it last: one that was moved is still stated on the node it
// left, and must not count there as well.
const stationedSQL = `(SELECT * FROM device WHERE site = {site:String} AND (uuid, node) IN (
  SELECT uuid, node FROM devices FINAL WHERE node IN (SELECT id FROM nodes FINAL WHERE site = {site:String})
  ORDER BY uuid, revision DESC, node LIMIT 1 BY uuid))`

// oneHour says that a stay ends in the hour in which the next begins: the two are then one, since an hour has one beginning and
// one end of each node and device.
func oneHour(to, from unit.Micros) bool { return to == 0 || to > from.FloorHour() }

// devices are the devices of a site's nodes by node, in order of uuid, completed from the table of models.
func (s *Store) devices(ctx context.Context, site string, from, to unit.Micros) (map[string][]record.Device, error) {
	rows, err := s.conn.Query(with(ctx, "site", site, "from", from, "to", to),
		`SELECT uuid, parent_uuid, node, CAST(kind, 'Int8'), model, serial, driver, vbios, gpu_index, slices, CAST(energy_source, 'Int8'),
		   limit_mw, idle_mw, from_us, to_us
		 FROM `+stationedSQL+`
		 WHERE from_us < {to:Int64} AND (to_us = 0 OR to_us > {from:Int64}) ORDER BY node, uuid, from_us`)
	if err != nil {
		return nil, fmt.Errorf("read devices of %s: %w", site, err)
	}
	defer rows.Close()
	out := map[string][]record.Device{}
	for rows.Next() {
		var d record.Device
		var kind, energy int8
		var limit, idle, a, b int64
		if err := rows.Scan(&d.UUID, &d.Parent, &d.Node, &kind, &d.Model, &d.Serial, &d.Driver, &d.VBIOS, &d.Index, &d.Slices,
			&energy, &limit, &idle, &a, &b); err != nil {
			return nil, fmt.Errorf("read devices of %s: %w", site, err)
		}
		d.Kind, d.Energy = record.DeviceKind(kind), record.EnergySource(energy)
		d.LimitMilliwatts, d.IdleMilliwatts = unit.Milliwatts(limit), unit.Milliwatts(idle)
		d.From, d.To = unit.Micros(a), unit.Micros(b)
		if ds := out[d.Node]; len(ds) > 0 && ds[len(ds)-1].UUID == d.UUID && oneHour(ds[len(ds)-1].To, d.From) {
			ds[len(ds)-1].To = d.To
			continue
		}
		out[d.Node] = append(out[d.Node], d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read devices of %s: %w", site, err)
	}
	for _, ds := range out {
		s.complete(ds)
	}
	return out, nil
}

// complete fills in what the collector cannot know: idle power and the module a GPU sits on, from the table of models.
func (s *Store) complete(ds []record.Device) {
	cpus := map[uint32]string{}
	for _, d := range ds {
		if d.Kind == record.KindCPU {
			cpus[d.Index] = d.UUID
		}
	}
	for i := range ds {
		d := &ds[i]
		m, ok := factor.FindModel(s.models, d.Model)
		if !ok {
			continue
		}
		if d.IdleMilliwatts == 0 {
			d.IdleMilliwatts = m.Idle
		}
		if d.LimitMilliwatts == 0 {
			d.LimitMilliwatts = m.Limit
		}
		if d.Kind == record.KindGPU && d.Parent == "" && m.GPUsPerCPU > 0 {
			d.Parent = cpus[d.Index/uint32(m.GPUsPerCPU)]
		}
	}
}

// with puts server-side query parameters into a context: name, value, name, value.
func with(ctx context.Context, pairs ...any) context.Context {
	params := clickhouse.Parameters{}
	for i := 0; i < len(pairs); i += 2 {
		var v string
		switch x := pairs[i+1].(type) {
		case string:
			v = x
		case unit.Micros:
			v = strconv.FormatInt(int64(x), 10)
		case uint64:
			v = strconv.FormatUint(x, 10)
		default:
			v = fmt.Sprint(x)
		}
		params[pairs[i].(string)] = v
	}
	return clickhouse.Context(ctx, clickhouse.WithParameters(params))
}
