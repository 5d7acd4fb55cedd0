package query

import (
	"strconv"
	"time"
)

// Row reads the row that a statement is at into places for its columns.
type Row interface {
	Next() bool
	Scan(into ...any) error
}

// StateStatement reads a part of a State.
type StateStatement struct {
	SQL  string
	Args Args
	Read func(Row, *State) error
}

// StateStatements read all of a State. They are asked for nobody: what they tell is how far things are, never of whom.
func StateStatements() []StateStatement {
	every := func() reader { return reader{who: Scope{All: true}, args: newArgs()} }
	seals, ticks, levels, stock := every(), every(), every(), every()
	return []StateStatement{
		{
			"SELECT count() FROM " + stock.stock(), stock.args.values,
			func(rows Row, st *State) error {
				for rows.Next() {
					if err := rows.Scan(&st.Devices); err != nil {
						return err
					}
				}
				return nil
			},
		},
		{
			"SELECT site, toUInt64(count()), toUInt64(sum(adjustments)), toInt64(toUnixTimestamp(maxIf(hour, closing != 'adjustment'))) FROM " + seals.seals() + " GROUP BY site", seals.args.values,
			func(rows Row, st *State) error {
				for rows.Next() {
					var site string
					var batches, adjustments uint64
					var hour int64
					if err := rows.Scan(&site, &batches, &adjustments, &hour); err != nil {
						return err
					}
					s := SiteState{Batches: batches, Adjustments: adjustments}
					if hour > 0 {
						s.ClosedUpTo = time.Unix(hour+3600, 0).UTC()
					}
					st.Sites[site] = s
				}
				return nil
			},
		},
		{
			"SELECT toUnixTimestamp64Micro(newest) FROM " + ticks.newest(), ticks.args.values,
			func(rows Row, st *State) error {
				for rows.Next() {
					var us int64
					if err := rows.Scan(&us); err != nil {
						return err
					}
					if us > 0 {
						st.Newest = time.UnixMicro(us).UTC()
					}
				}
				return nil
			},
		},
		{
			// What a level lacks is what came beyond its progress: it is complete up to the first tick of that. Late data, of ticks longer ago than
			// lateMost, do not hold it back: the next pass brings them.
			"SELECT tier, toUnixTimestamp64Micro(max(progress)), toUnixTimestamp64Micro(min(begin)), toUnixTimestamp64Micro(max(done)) FROM (" +
				"SELECT p.tier AS tier, p.received AS progress, m.kafka_offset > p.kafka_offset OR m.received > p.received AS beyond, " +
				"if(beyond, m.first_tick, toDateTime64('2105-01-01 00:00:00', 6, 'UTC')) AS begin, if(beyond, toDateTime64(0, 6, 'UTC'), m.last_tick) AS done FROM " +
				"(SELECT kafka_partition, ten, max(kafka_offset) AS kafka_offset, max(received) AS received, min(first_tick) AS first_tick, max(last_tick) AS last_tick FROM " +
				levels.ticks("ten >= assumeNotNull("+levels.newest()+") - INTERVAL "+strconv.Itoa(int(lateMost/time.Minute))+" MINUTE") + " GROUP BY kafka_partition, ten)" +
				" AS m INNER JOIN " + levels.progress() + " AS p ON p.kafka_partition = m.kafka_partition) GROUP BY tier", levels.args.values,
			func(rows Row, st *State) error {
				for rows.Next() {
					var tier string
					var received, begin, done int64
					if err := rows.Scan(&tier, &received, &begin, &done); err != nil {
						return err
					}
					complete := time.UnixMicro(begin).UTC()
					if complete.Year() >= 2105 { // nothing came since
						complete = time.UnixMicro(done).UTC().Add(time.Microsecond)
						if st.Newest.After(complete) {
							complete = st.Newest.Add(time.Microsecond)
						}
					}
					if floor := st.Newest.Add(-lateMost); complete.Before(floor) {
						complete = floor
					}
					st.Levels[tier] = LevelState{Complete: complete, Received: time.UnixMicro(received).UTC()}
				}
				return nil
			},
		},
	}
}

// lateMost is how long before the newest tick samples are read at most, where a level is behind.
const lateMost = 15 * time.Minute

// HealthStatement reads a part of a Health.
type HealthStatement struct {
	SQL  string
	Args Args
	Read func(Row, *Health, map[string]*SiteHealth) error
}

// HealthStatements read a Health but for ages.
func HealthStatements(scope Scope) []HealthStatement {
	begin := func() reader { return reader{who: scope, args: newArgs()} }
	version, sites, seals, fresh := begin(), begin(), begin(), begin()
	site := func(sites map[string]*SiteHealth, id string) *SiteHealth {
		if sites[id] == nil {
			sites[id] = &SiteHealth{Site: id}
		}
		return sites[id]
	}
	return []HealthStatement{
		{
			"SELECT version(), toInt64(max(version_id)) FROM " + version.migrations(), version.args.values,
			func(rows Row, h *Health, _ map[string]*SiteHealth) error {
				for rows.Next() {
					if err := rows.Scan(&h.Version, &h.Schema); err != nil {
						return err
					}
				}
				return nil
			},
		},
		{
			"SELECT site FROM " + sites.sites(), sites.args.values,
			func(rows Row, _ *Health, all map[string]*SiteHealth) error {
				for rows.Next() {
					var id string
					if err := rows.Scan(&id); err != nil {
						return err
					}
					site(all, id)
				}
				return nil
			},
		},
		{
			"SELECT site, toUInt64(count()), toInt64(toUnixTimestamp(maxIf(hour, closing != 'adjustment'))) FROM " + seals.seals() + " GROUP BY site", seals.args.values,
			func(rows Row, _ *Health, all map[string]*SiteHealth) error {
				for rows.Next() {
					var id string
					var batches uint64
					var hour int64
					if err := rows.Scan(&id, &batches, &hour); err != nil {
						return err
					}
					site(all, id).Batches = batches
					if hour > 0 {
						site(all, id).ClosedUpTo = time.Unix(hour+3600, 0).UTC()
					}
				}
				return nil
			},
		},
		{
			"SELECT site, toUnixTimestamp64Micro(max(last_tick)) FROM " + fresh.freshness() + " GROUP BY site", fresh.args.values,
			func(rows Row, _ *Health, all map[string]*SiteHealth) error {
				for rows.Next() {
					var id string
					var us int64
					if err := rows.Scan(&id, &us); err != nil {
						return err
					}
					site(all, id).LastSample = time.UnixMicro(us).UTC()
				}
				return nil
			},
		},
	}
}
