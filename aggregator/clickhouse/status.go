package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// SiteStatus is how far a site's ledger has come.
type SiteStatus struct {
	Site string
	// LastClosed is the start of the last closed hour; 0 before the first.
	LastClosed unit.Micros
	Batches    uint64
	// ByLateness counts hours that closed without every node.
	ByLateness uint64
	// OpenCuts are cuts at the end of the last closed hour without a sample after them.
	OpenCuts uint64
	// Waiting names what has not declared the next hour complete.
	Waiting []string
	// Newest is the furthest any node of the site has come.
	Newest unit.Micros
}

// Status says for each site how far its ledger has come and what it waits for.
func (s *Store) Status(ctx context.Context) ([]SiteStatus, error) {
	sites, err := s.Sites(ctx)
	if err != nil {
		return nil, err
	}
	var out []SiteStatus
	for _, site := range sites {
		st, err := s.siteStatus(ctx, site)
		if err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

func (s *Store) siteStatus(ctx context.Context, site record.Site) (SiteStatus, error) {
	st := SiteStatus{Site: site.ID}
	var last time.Time
	if err := s.conn.QueryRow(with(ctx, "site", site.ID),
		`SELECT count(), countIf(closing = 'lateness'), max(hour) FROM seals FINAL WHERE site = {site:String}`).Scan(&st.Batches, &st.ByLateness, &last); err != nil {
		return st, fmt.Errorf("read seals of %s: %w", site.ID, err)
	}
	if st.Batches > 0 {
		st.LastClosed = unit.MicrosOf(last)
		if err := s.conn.QueryRow(with(ctx, "site", site.ID, "t", st.LastClosed+unit.Hour),
			`SELECT countIf(open) FROM cut WHERE site = {site:String} AND t = {t:Int64}`).Scan(&st.OpenCuts); err != nil {
			return st, fmt.Errorf("read cuts of %s: %w", site.ID, err)
		}
	}
	p, err := s.Progress(ctx, site)
	if err != nil {
		return st, err
	}
	st.Waiting, st.Newest = p.Waiting, p.Newest
	return st, nil
}

// NodeIncidents are the incidents of one kind on one node.
type NodeIncidents struct {
	Site, Node, Kind, Reason string
	Count                    uint64
	// Last is when the last of them ended.
	Last unit.Micros
}

// Missing is what did not arrive of one source on one topic.
type Missing struct {
	Site, Topic, Source string
	// Gaps is the number of stretches, Messages that of the messages in them.
	Gaps, Messages uint64
	// From and To are the bounds of all of them together.
	From, To unit.Micros
}

// Missing lists what is known to have been sent and has not arrived to this day, by source, the most first.
func (s *Store) Missing(ctx context.Context) ([]Missing, error) {
	rows, err := s.conn.Query(ctx, `SELECT site, topic, source, count(), sum(outstanding) AS n, toUnixTimestamp64Micro(min(began)), toUnixTimestamp64Micro(max(ended))
		FROM missing WHERE outstanding > 0 GROUP BY site, topic, source ORDER BY n DESC, site, topic, source`)
	if err != nil {
		return nil, fmt.Errorf("read what is missing: %w", err)
	}
	defer rows.Close()
	var out []Missing
	for rows.Next() {
		var m Missing
		var from, to int64
		if err := rows.Scan(&m.Site, &m.Topic, &m.Source, &m.Gaps, &m.Messages, &from, &to); err != nil {
			return nil, fmt.Errorf("read what is missing: %w", err)
		}
		m.From, m.To = unit.Micros(from), unit.Micros(to)
		out = append(out, m)
	}
	return out, rows.Err()
}

// Incidents counts what was received since an instant by node, kind and reason, the most frequent first.
func (s *Store) Incidents(ctx context.Context, since unit.Micros) ([]NodeIncidents, error) {
	rows, err := s.conn.Query(with(ctx, "since", since),
		`SELECT site, node, kind, reason, count() AS n, max(to_us) FROM incident WHERE received >= fromUnixTimestamp64Micro({since:Int64})
		 GROUP BY site, node, kind, reason ORDER BY n DESC, site, node, kind, reason`)
	if err != nil {
		return nil, fmt.Errorf("read incidents: %w", err)
	}
	defer rows.Close()
	var out []NodeIncidents
	for rows.Next() {
		var i NodeIncidents
		var last int64
		if err := rows.Scan(&i.Site, &i.Node, &i.Kind, &i.Reason, &i.Count, &last); err != nil {
			return nil, fmt.Errorf("read incidents: %w", err)
		}
		i.Last = unit.Micros(last)
		out = append(out, i)
	}
	return out, rows.Err()
}
