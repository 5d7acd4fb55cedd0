package clickhouse

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// changedByFactors finds closed hours that an edition with a higher sequence than the last batch knew says something about, and says
// which sequence is the highest now. Whether the edition is the one that counts for an hour, evaluating it tells. Of an edition for
// years, hours before from are not listed: they would be thousands, and are there for whoever asks for them.
func (s *Store) changedByFactors(ctx context.Context, site record.Site, since uint64, end, from unit.Micros, f found) (uint64, error) {
	highest := since
	if err := s.conn.QueryRow(ctx, `SELECT max(sequence) FROM factors`).Scan(&highest); err != nil {
		return since, fmt.Errorf("read the last sequence of factors: %w", err)
	}
	if highest <= since || from >= end {
		return max(highest, since), nil
	}
	// A key is a grid zone, a site or a model: those of other zones and sites say nothing here. A zone is part of a country, whose
	// committed value stands in for its own.
	country, _, _ := strings.Cut(site.Zone, "-")
	err := s.each(with(ctx, "site", site.ID, "zone", site.Zone, "country", country, "since", since, "end", end, "from", from, "embodied", string(factor.Embodied)),
		`SELECT kind, key, source, name, from_us, to_us FROM factors FINAL
		 WHERE sequence > {since:UInt64} AND (key IN ({zone:String}, {site:String}) OR key = {country:String} AND committed OR kind = {embodied:String})
		   AND from_us < {end:Int64} AND (to_us = 0 OR to_us > {from:Int64})
		 ORDER BY sequence, kind, key, from_us`,
		func(rows driver.Rows) error {
			var kind, key, source, name string
			var begins, ends int64
			if err := rows.Scan(&kind, &key, &source, &name, &begins, &ends); err != nil {
				return err
			}
			stop := end
			if ends != 0 {
				stop = min(stop, unit.Micros(ends))
			}
			for hour := max(unit.Micros(begins), from).FloorHour(); hour < stop; hour += unit.Hour {
				f.add(hour, "factor", fmt.Sprintf("%s %s %s %s", source, name, key, kind))
			}
			return nil
		})
	if err != nil {
		return since, fmt.Errorf("read revised factors of %s: %w", site.ID, err)
	}
	return highest, nil
}
