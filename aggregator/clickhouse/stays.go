package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Expected is when a node or a device is expected to be there.
type Expected struct {
	// Stays are in order of time. There is one at least; the operator's word has a revision.
	Stays []record.Stay
	// Revision is the highest of the operator's word; 0 where there is none.
	Revision uint64
}

// NodesExpected are the stays of all nodes, as stated or by the operator's word, in order of site and name.
func (s *Store) NodesExpected(ctx context.Context) ([]Expected, error) {
	return s.expected(ctx, `SELECT n.site, n.id, '', if(w.word = 1, w.stay_from, n.from_us) AS begins, if(w.word = 1, w.stay_to, n.to_us), w.reason, w.revision
		FROM nodes AS n FINAL
		LEFT JOIN (SELECT site, node, from_us AS stay_from, to_us AS stay_to, reason, revision, 1 AS word FROM stays FINAL WHERE device = '') AS w
		  ON w.site = n.site AND w.node = n.id
		ORDER BY n.site, n.id, begins`)
}

// DevicesExpected are the stays of all devices, each on the node that stated it last, in order of site and uuid.
func (s *Store) DevicesExpected(ctx context.Context) ([]Expected, error) {
	return s.expected(ctx, `SELECT h.site, d.node, d.uuid, if(w.word = 1, w.stay_from, d.from_us) AS begins, if(w.word = 1, w.stay_to, d.to_us), w.reason, w.revision
		FROM (SELECT uuid, node, from_us, to_us FROM devices FINAL ORDER BY uuid, revision DESC, node LIMIT 1 BY uuid) AS d
		INNER JOIN (SELECT site, id FROM nodes FINAL) AS h ON h.id = d.node
		LEFT JOIN (SELECT site, node, device, from_us AS stay_from, to_us AS stay_to, reason, revision, 1 AS word FROM stays FINAL WHERE device != '') AS w
		  ON w.site = h.site AND w.node = d.node AND w.device = d.uuid
		ORDER BY h.site, d.uuid, begins`)
}

func (s *Store) expected(ctx context.Context, query string) ([]Expected, error) {
	rows, err := s.conn.Query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("read who is expected: %w", err)
	}
	defer rows.Close()
	var out []Expected
	for rows.Next() {
		var r record.Stay
		var from, to int64
		var revision uint64
		if err := rows.Scan(&r.Site, &r.Node, &r.Device, &from, &to, &r.Reason, &revision); err != nil {
			return nil, fmt.Errorf("read who is expected: %w", err)
		}
		r.From, r.To = unit.Micros(from), unit.Micros(to)
		if n := len(out); n == 0 || out[n-1].Stays[0].Site != r.Site || out[n-1].Stays[0].Node != r.Node || out[n-1].Stays[0].Device != r.Device {
			out = append(out, Expected{})
		}
		e := &out[len(out)-1]
		e.Stays, e.Revision = append(e.Stays, r), max(e.Revision, revision)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read who is expected: %w", err)
	}
	return out, nil
}

// OpenHour is the first hour of a site that is not closed; 0 while nothing is known of the site.
func (s *Store) OpenHour(ctx context.Context, site string) (unit.Micros, error) {
	p, err := s.next(ctx, site)
	return p.Next, err
}

// FirstClosed is the first hour of a site that is closed; where none is, its first.
func (s *Store) FirstClosed(ctx context.Context, site string) (unit.Micros, error) {
	var n uint64
	var hour time.Time
	if err := s.conn.QueryRow(with(ctx, "site", site), `SELECT count(), min(hour) FROM seals FINAL WHERE site = {site:String}`).Scan(&n, &hour); err != nil {
		return 0, fmt.Errorf("read the first seal of %s: %w", site, err)
	}
	if n == 0 {
		return s.OpenHour(ctx, site)
	}
	return unit.MicrosOf(hour), nil
}

// CompleteUpTo is how far a node has declared its samples complete; 0 when it never has.
func (s *Store) CompleteUpTo(ctx context.Context, site, node string) (unit.Micros, error) {
	var t int64
	err := s.conn.QueryRow(with(ctx, "site", site, "node", node), `SELECT toUnixTimestamp64Micro(max(complete_up_to)) FROM messages
		WHERE topic = '`+wire.TopicSample+`' AND site = {site:String} AND source = {node:String}`).Scan(&t)
	if err != nil {
		return 0, fmt.Errorf("read how far node %s is complete: %w", node, err)
	}
	return unit.Micros(t), nil
}
