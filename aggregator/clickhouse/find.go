package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/report"
)

// FindEntry is the entry whose id begins with prefix. None, or several, is an error that says so.
func (s *Store) FindEntry(ctx context.Context, prefix string) (report.Booked, error) {
	var found []report.Booked
	err := s.each(with(ctx, "prefix", prefix), `SELECT batch, id, canonical FROM entry WHERE startsWith(id, {prefix:String}) ORDER BY id LIMIT 2`,
		func(rows driver.Rows) error {
			var b report.Booked
			var canonical string
			err := rows.Scan(&b.Batch, &b.ID, &canonical)
			if err == nil {
				b.Entry, err = decode(b.ID, []byte(canonical))
			}
			found = append(found, b)
			return err
		})
	switch {
	case err != nil:
		return report.Booked{}, fmt.Errorf("find entry %s: %w", prefix, err)
	case len(found) == 0:
		return report.Booked{}, fmt.Errorf("no entry has an id that begins with %s: `wattledger ledger show entries --json` has the ids", prefix)
	case len(found) > 1:
		return report.Booked{}, fmt.Errorf("the ids of %.16s… and %.16s… both begin with %s: give more of it", found[0].ID, found[1].ID, prefix)
	}
	return found[0], nil
}
