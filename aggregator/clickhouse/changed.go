package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/aggregator/adjusting"
	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// statedMargin is how far clocks of servers may be apart, and how long an insert may take to be seen. What is found twice is
// compared twice and booked once.
const statedMargin = 2 * 60 * unit.Second

// found gathers hours with their causes.
type found map[unit.Micros][]adjusting.Cause

func (f found) add(hour unit.Micros, word, about string) {
	c := adjusting.Cause{Word: word, About: about}
	for _, had := range f[hour] {
		if had == c {
			return
		}
	}
	f[hour] = append(f[hour], c)
}

// list is what was found of hours from the first closed one on: what lies before it is in no account, and cannot be put into one.
func (f found) list(first unit.Micros) []closer.Changed {
	out := make([]closer.Changed, 0, len(f))
	for hour, causes := range f {
		if hour < first {
			continue
		}
		out = append(out, closer.Changed{Hour: hour, Causes: causes})
	}
	return out
}

// Changed says which hours of a site before end something stored since the last batch may touch, and up to where it looked. It is
// asked before anything is loaded: what is stored in between is loaded and found again next time, and then nothing differs. No
// samples are searched: messages have a line each, statements the time at which they were stored.
func (s *Store) Changed(ctx context.Context, site record.Site, end, from unit.Micros) ([]closer.Changed, closer.Inputs, error) {
	last, first, err := s.lastInputs(ctx, site.ID)
	if err != nil {
		return nil, last, err
	}
	since := last
	// A ledger from before batches took note of what they saw is looked at from now on.
	since.Pending, since.Old = nil, nil
	fresh := last.Stated == 0
	f := found{}
	now := last
	var stated int64
	if err := s.conn.QueryRow(ctx, `SELECT toUnixTimestamp64Micro(now64(6))`).Scan(&stated); err != nil {
		return nil, last, fmt.Errorf("ask for the server's time: %w", err)
	}
	now.Stated = unit.Micros(stated)
	readings, err := s.changedBySamples(ctx, site.ID, since, &now, end, f)
	if err != nil {
		return nil, last, err
	}
	if now.Factors, err = s.changedByFactors(ctx, site, since.Factors, end, from, f); err != nil {
		return nil, last, err
	}
	if fresh {
		return nil, now, nil
	}
	if readings {
		if err := s.changedByReadings(ctx, site.ID, since, end, f); err != nil {
			return nil, last, err
		}
	}
	if err := s.changedByAllocations(ctx, site.ID, since.Stated-statedMargin, end, from, f); err != nil {
		return nil, last, err
	}
	if err := s.changedByInventory(ctx, site.ID, since.Stated-statedMargin, end, from, f); err != nil {
		return nil, last, err
	}
	return f.list(first), now, nil
}

// lastInputs are what the last batch of a site saw, and the first hour that is closed; nothing of either where none is.
func (s *Store) lastInputs(ctx context.Context, site string) (closer.Inputs, unit.Micros, error) {
	var text string
	var first int64
	if err := s.conn.QueryRow(with(ctx, "site", site), `SELECT argMax(inputs, batch), toInt64(toUnixTimestamp(min(hour))) FROM seals FINAL WHERE site = {site:String}`).
		Scan(&text, &first); err != nil {
		return closer.Inputs{}, 0, fmt.Errorf("read the last seal of %s: %w", site, err)
	}
	in, err := closer.ParseInputs(text)
	return in, unit.Micros(first) * unit.Second, err
}

// beyond is the condition for lines of messages that were not seen. Lines are written after the rows they tell of, in the order of
// offsets, so what lies below an offset seen is stored.
func beyond(in closer.Inputs) string {
	var terms []string
	for _, topic := range []string{wire.TopicSample, wire.TopicReading} {
		known := []string{"-1"}
		for _, l := range in.Lines {
			if l.Topic == topic {
				terms = append(terms, fmt.Sprintf("(topic = '%s' AND kafka_partition = %d AND (kafka_offset > %d OR received > fromUnixTimestamp64Micro(%d)))",
					topic, l.Partition, l.Offset, l.Received))
				known = append(known, fmt.Sprint(l.Partition))
			}
		}
		terms = append(terms, fmt.Sprintf("(topic = '%s' AND kafka_partition NOT IN (%s))", topic, strings.Join(known, ", ")))
	}
	return "(" + strings.Join(terms, " OR ") + ")"
}

// changedBySamples finds hours that samples reached after they were closed, and those whose cut at the end has had a nearer sample,
// or its first one. It says whether there are new readings of meters, too.
func (s *Store) changedBySamples(ctx context.Context, site string, since closer.Inputs, now *closer.Inputs, end unit.Micros, f found) (readings bool, err error) {
	rows, err := s.conn.Query(with(ctx, "site", site),
		`SELECT topic, kafka_partition, source, toUnixTimestamp64Micro(minIf(first_tick, rows > 0)), toUnixTimestamp64Micro(max(last_tick)), max(kafka_offset),
		   toUnixTimestamp64Micro(max(received)), toUInt64(sum(rows))
		 FROM messages WHERE site = {site:String} AND `+beyond(since)+`
		 GROUP BY topic, kafka_partition, source, toStartOfHour(first_tick)`)
	if err != nil {
		return false, fmt.Errorf("read what came in of %s: %w", site, err)
	}
	defer rows.Close()
	edges := map[unit.Micros]map[string]unit.Micros{end: {}} // by edge and node, the first new sample at or after it
	for rows.Next() {
		var l closer.Line
		var node string
		var first, last, received int64
		var n uint64
		if err := rows.Scan(&l.Topic, &l.Partition, &node, &first, &last, &l.Offset, &received, &n); err != nil {
			return false, fmt.Errorf("read what came in of %s: %w", site, err)
		}
		l.Received = unit.Micros(received)
		now.See(l)
		at := unit.Micros(first)
		switch edge := at.FloorHour(); {
		case l.Topic == wire.TopicReading:
			readings = true
		case n > 0 && edge <= end:
			for h := edge; h <= unit.Micros(last) && h < end; h += unit.Hour {
				f.add(h, "late_data", node)
			}
			if edges[edge] == nil {
				edges[edge] = map[string]unit.Micros{}
			}
			if had, ok := edges[edge][node]; !ok || at < had {
				edges[edge][node] = at
			}
		}
	}
	if err := rows.Err(); err != nil {
		return false, fmt.Errorf("read what came in of %s: %w", site, err)
	}
	for edge, first := range edges {
		if err := s.changedByCuts(ctx, site, edge, first, edge == end, f); err != nil {
			return false, err
		}
	}
	return readings, nil
}

// changedByCuts looks at the cuts at an edge. One without a right-hand sample, or whose right-hand sample is further away than a new
// one of its node, is not what it would be now; neither are those back to its left-hand sample.
func (s *Store) changedByCuts(ctx context.Context, site string, edge unit.Micros, first map[string]unit.Micros, last bool, f found) error {
	earliest := unit.Micros(math.MaxInt64)
	for _, t := range first {
		earliest = min(earliest, t)
	}
	rows, err := s.conn.Query(with(ctx, "site", site, "t", edge, "earliest", earliest),
		`SELECT c.device, d.node, c.open, c.t0, c.t1 FROM (
		   SELECT device, open, t0, t1 FROM cut WHERE site = {site:String} AND t = {t:Int64}
		   ORDER BY device, edition DESC, epoch DESC LIMIT 1 BY device) AS c
		 INNER JOIN (SELECT uuid, node FROM devices FINAL ORDER BY uuid, revision DESC, node LIMIT 1 BY uuid) AS d ON d.uuid = c.device
		 WHERE c.open OR c.t1 > {earliest:Int64}`)
	if err != nil {
		return fmt.Errorf("read cuts of %s: %w", site, err)
	}
	defer rows.Close()
	type cut struct {
		node string
		t0   unit.Micros
	}
	back := func(c cut) {
		for h := edge - unit.Hour; h >= c.t0.FloorHour(); h -= unit.Hour {
			f.add(h, "cut", c.node)
		}
	}
	open := map[string]cut{}
	for rows.Next() {
		var c cut
		var device string
		var isOpen bool
		var t0, t1 int64
		if err := rows.Scan(&device, &c.node, &isOpen, &t0, &t1); err != nil {
			return fmt.Errorf("read cuts of %s: %w", site, err)
		}
		c.t0 = unit.Micros(t0)
		if isOpen && last {
			open[device] = c
			continue
		}
		if t, ok := first[c.node]; ok && (isOpen || unit.Micros(t1) > t) {
			back(c)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read cuts of %s: %w", site, err)
	}
	if len(open) == 0 {
		return nil
	}
	// Of the last edge's, the sample may have come with an earlier batch than the one that reaches it.
	seen, err := s.firstAfter(ctx, site, edge, edge+unit.Hour, sortedKeys(open))
	for device := range seen {
		back(open[device])
	}
	return err
}

// firstAfter are the first ticks at which devices' energy was read in [from, to).
func (s *Store) firstAfter(ctx context.Context, site string, from, to unit.Micros, devices []string) (map[string]unit.Micros, error) {
	rows, err := s.conn.Query(with(ctx, "site", site, "from", from, "to", to, "devices", array(devices)),
		`SELECT device, toUnixTimestamp64Micro(min(tick)) FROM sample
		 WHERE site = {site:String} AND device IN {devices:Array(String)} AND energy_ts IS NOT NULL AND energy_mj IS NOT NULL
		   AND tick >= fromUnixTimestamp64Micro({from:Int64}) AND tick < fromUnixTimestamp64Micro({to:Int64}) AND energy_ts >= {from:Int64}
		 GROUP BY device`)
	if err != nil {
		return nil, fmt.Errorf("look for samples after open cuts of %s: %w", site, err)
	}
	defer rows.Close()
	out := map[string]unit.Micros{}
	for rows.Next() {
		var device string
		var t int64
		if err := rows.Scan(&device, &t); err != nil {
			return nil, fmt.Errorf("look for samples after open cuts of %s: %w", site, err)
		}
		out[device] = unit.Micros(t)
	}
	return out, rows.Err()
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
