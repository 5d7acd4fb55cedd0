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
	"github.com/wattledger/wattledger/aggregator/series"
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
	after, err := s.afterOpen(ctx, site.ID, h, devices, a)
	if err != nil {
		return h, err
	}
	allocations, err := s.allocations(ctx, site.ID, h.Start, h.End())
	if err != nil {
		return h, err
	}
	samples, err := s.samples(ctx, site.ID, h.Start, h.End(), purposes(h, nodes, devices, cuts, after, allocations))
	if err != nil {
		return h, err
	}
	h.Samples, h.SampleRows = samples.digest, samples.rows
	for _, n := range nodes {
		node := closing.Node{Node: n}
		for _, d := range devices[n.ID] {
			dev := closing.Device{Device: d, Allocations: allocations[d.UUID]}
			delete(allocations, d.UUID)
			if c, ok := cuts[d.UUID]; ok {
				dev.Stored = &c
			}
			samples.give(&dev)
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

// purposes says what the samples of each device are read for.
func purposes(h closing.Hour, nodes []record.Node, devices map[string][]record.Device, cuts map[string]record.Cut, after map[string]unit.Micros, allocations map[string][]record.Allocation) map[string]wanted {
	out := map[string]wanted{}
	for _, n := range nodes {
		// The counter of a Grace CPU is cut at the edges of the GPUs of its module, so each edge of a node is one of all its devices.
		edges := []unit.Micros{h.Start, h.End(), n.From, n.To}
		partitioned := map[string]bool{}
		for _, d := range devices[n.ID] {
			edges = append(edges, d.From, d.To)
			for _, a := range allocations[d.UUID] {
				edges = append(edges, a.Start, a.End)
			}
			if d.Kind == record.KindMIG {
				partitioned[d.UUID], partitioned[d.Parent] = true, true
			}
		}
		edges = slices.DeleteFunc(edges, func(t unit.Micros) bool { return t < h.Start || t > h.End() })
		slices.Sort(edges)
		edges = slices.Compact(edges)
		for _, d := range devices[n.ID] {
			w := wanted{Purpose: series.Purpose{End: h.End(), Limit: d.LimitMilliwatts, Edges: edges, All: partitioned[d.UUID]}, left: h.Start, after: after[d.UUID]}
			counter := d.UUID
			if d.Kind == record.KindMIG {
				counter = d.Parent
			}
			if c, ok := cuts[counter]; !ok {
				w.left = h.Start - Lookahead // it may have been read shortly before
			} else {
				w.left = max(c.T0-10*unit.Second, h.Start-maxLookback) // activity is needed from the sample to the left on
			}
			if c, ok := cuts[d.UUID]; ok {
				w.Stored = &c
			}
			out[d.UUID] = w
		}
	}
	return out
}

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
	rows, err := s.conn.Query(with(ctx, "site", site, "from", from, "to", to, "supposed", array(s.supposed.devices(site))),
		`WITH
		   stated AS (SELECT *, if(end_us = 0, 9223372036854775807, end_us) AS until FROM allocations FINAL WHERE site = {site:String} AND start_us < {to:Int64}),
		   shared AS (
		     SELECT device FROM (
		       SELECT device, start_us, max(until) OVER (PARTITION BY device ORDER BY start_us, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
		       FROM stated)
		     WHERE start_us < before)
		 SELECT id, device, thousandths, start_us, end_us, tenant, project, workload, model_id, purpose, scheduler_ref, revision
		 FROM stated WHERE until > {from:Int64} OR device IN (SELECT device FROM shared) OR device IN {supposed:Array(String)}
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
	s.supposed.over(site, to, out)
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
		`SELECT count(), max(hour), max(batch), argMax(root, batch), toInt64(toUnixTimestamp(minIf(hour, rules = {rules:String} AND closing != 'adjustment'))) FROM seals FINAL
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
