package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/adjusting"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Booked is what the ledger holds of a closed hour, from the bytes that were sealed. Entries lie by batch: of those after the one
// that closed the hour only batches with adjustments are read.
func (s *Store) Booked(ctx context.Context, site string, hour unit.Micros) (adjusting.Hour, error) {
	var h adjusting.Hour
	at := map[adjusting.Line]int{}
	err := s.each(with(ctx, "site", site, "hour", hour),
		`SELECT id, canonical FROM entry
		 WHERE site = {site:String} AND hour = fromUnixTimestamp64Micro({hour:Int64}) AND batch IN (
		   SELECT batch FROM seals FINAL WHERE site = {site:String} AND hour >= fromUnixTimestamp64Micro({hour:Int64})
		     AND (adjustments > 0 OR hour = fromUnixTimestamp64Micro({hour:Int64})))
		 ORDER BY batch, position`,
		func(rows driver.Rows) error {
			var id, canonical string
			if err := rows.Scan(&id, &canonical); err != nil {
				return err
			}
			e, err := decode(id, []byte(canonical))
			if err != nil {
				return err
			}
			line := adjusting.LineOf(e)
			i, ok := at[line]
			if !ok {
				at[line] = len(h.Lines)
				h.Lines = append(h.Lines, adjusting.Booked{Entry: e, ID: id})
				return nil
			}
			b := &h.Lines[i]
			b.Entry, b.ID = adjusting.Sum(e, b.Entry), id
			return nil
		})
	if err != nil {
		return h, fmt.Errorf("read what is booked of %s at %s: %w", site, hour.Time().Format(time.RFC3339), err)
	}
	var roots []string
	err = s.each(with(ctx, "site", site, "hour", hour),
		`SELECT root, sample_rows FROM seals FINAL WHERE site = {site:String} AND hour = fromUnixTimestamp64Micro({hour:Int64}) AND closing != 'adjustment'`,
		func(rows driver.Rows) error {
			var root string
			err := rows.Scan(&root, &h.SampleRows)
			roots = append(roots, root)
			return err
		})
	if err != nil {
		return h, fmt.Errorf("read the seal of %s at %s: %w", site, hour.Time().Format(time.RFC3339), err)
	}
	if len(roots) != 1 {
		return h, fmt.Errorf("hour %s of %s is not closed: %d seals close it", hour.Time().Format(time.RFC3339), site, len(roots))
	}
	h.Root = roots[0]
	return h, nil
}

// CutsIn are the newest editions of the cuts in [from, to], by edge.
func (s *Store) CutsIn(ctx context.Context, site string, from, to unit.Micros) ([]record.Cut, error) {
	var out []record.Cut
	err := s.each(with(ctx, "site", site, "from", from, "to", to),
		`SELECT `+editionColumns+` FROM (
		   SELECT *, max(edition) OVER (PARTITION BY device, t) AS newest FROM cut WHERE site = {site:String} AND t >= {from:Int64} AND t <= {to:Int64})
		 WHERE edition = newest ORDER BY device, t, epoch LIMIT 1 BY device, t, epoch`,
		func(rows driver.Rows) error {
			c, err := scanEdition(rows, site)
			out = append(out, c)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read cuts of %s: %w", site, err)
	}
	return out, nil
}

const editionColumns = "device, epoch, boot, driver, t, t0, c0, t1, c1, run, integral0, seen0, c, low, high, open, interpolated, edition"

func scanEdition(rows driver.Rows, site string) (record.Cut, error) {
	c := record.Cut{Site: site}
	var epoch, at, t0, c0, t1, c1, integral, seen, value, low, high int64
	if err := rows.Scan(&c.Device, &epoch, &c.Boot, &c.Driver, &at, &t0, &c0, &t1, &c1, &c.Run, &integral, &seen, &value, &low, &high,
		&c.Open, &c.Interpolated, &c.Edition); err != nil {
		return c, err
	}
	c.Epoch, c.T, c.T0, c.T1 = unit.Micros(epoch), unit.Micros(at), unit.Micros(t0), unit.Micros(t1)
	c.C0, c.C1, c.Integral0, c.Seen0 = unit.Millijoules(c0), unit.Millijoules(c1), unit.Millijoules(integral), seen
	c.C, c.Low, c.High = unit.Millijoules(value), unit.Millijoules(low), unit.Millijoules(high)
	return c, nil
}
