package clickhouse

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/ingest/rollup"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// How much of a partition is looked at between two notes of progress: so many offsets, and messages until so many rows are reached.
const (
	stepOffsets = 20_000
	stepRows    = 1_000_000
)

// Rollups is the database as ingest/rollup needs it.
type Rollups struct{ store *Store }

// NewRollups builds in the database of the store.
func NewRollups(s *Store) Rollups { return Rollups{s} }

// with opens a connection, and forgets one that is lost.
func (r Rollups) with(ctx context.Context, do func(driver.Conn) error) error {
	conn, err := r.store.open(ctx)
	if err != nil {
		return err
	}
	if err = do(conn); ctx.Err() == nil { // who is told to stop leaves the connection to the inserts that are still under way
		r.store.lost(conn, err)
	}
	return err
}

// Progress is what Advance noted last.
func (r Rollups) Progress(ctx context.Context, level int) (rollup.Progress, error) {
	p := rollup.Progress{Cursors: map[int32]rollup.Cursor{}}
	err := r.with(ctx, func(conn driver.Conn) error {
		rows, err := conn.Query(ctx, "SELECT kafka_partition, kafka_offset, toUnixTimestamp64Micro(received), toUnixTimestamp64Micro(at) FROM rollup_progress FINAL WHERE tier = ?", rollup.Levels[level].Name)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var partition int32
			var c rollup.Cursor
			var received, at int64
			if err := rows.Scan(&partition, &c.Offset, &received, &at); err != nil {
				return err
			}
			c.Received, p.At = unit.Micros(received), max(p.At, unit.Micros(at))
			p.Cursors[partition] = c
		}
		return rows.Err()
	})
	if err != nil {
		return p, fmt.Errorf("read the progress of rollups: %w", err)
	}
	return p, nil
}

// Touched reads the lines of messages beyond the progress. Lines are written after the rows they tell of, in the order of offsets.
func (r Rollups) Touched(ctx context.Context, from rollup.Progress, within *rollup.Progress) ([]rollup.Touched, map[int32]rollup.Cursor, error) {
	var touched []rollup.Touched
	next := map[int32]rollup.Cursor{}
	err := r.with(ctx, func(conn driver.Conn) error {
		const lines = " FROM messages WHERE topic = '" + wire.TopicSample + "' AND "
		first, err := conn.Query(ctx, "SELECT kafka_partition, min(kafka_offset)"+lines+beyond(from, within)+" GROUP BY kafka_partition")
		if err != nil {
			return err
		}
		defer first.Close()
		part := map[int32]int64{} // the last offset of each partition to look at now
		for first.Next() {
			var partition int32
			var offset int64
			if err := first.Scan(&partition, &offset); err != nil {
				return err
			}
			part[partition] = offset + stepOffsets - 1
		}
		if err := first.Err(); err != nil || len(part) == 0 {
			return err
		}
		now := beyond(from, within) + " AND " + upTo(part)
		last, err := conn.Query(ctx, "SELECT kafka_partition, max(kafka_offset), toUnixTimestamp64Micro(max(received)) FROM ("+
			"SELECT kafka_partition, kafka_offset, received, sum(rows) OVER (PARTITION BY kafka_partition ORDER BY kafka_offset) - rows AS before"+lines+now+
			") WHERE before < ? GROUP BY kafka_partition", stepRows)
		if err != nil {
			return err
		}
		defer last.Close()
		for last.Next() {
			var partition int32
			var offset, received int64
			if err := last.Scan(&partition, &offset, &received); err != nil {
				return err
			}
			// Neither ever falls, or what is done would be found again.
			had := from.Cursors[partition]
			next[partition] = rollup.Cursor{Offset: max(offset, had.Offset), Received: max(unit.Micros(received), had.Received)}
			part[partition] = offset // lines may have come since
		}
		if err := last.Err(); err != nil {
			return err
		}
		now = beyond(from, within) + " AND " + upTo(part)
		told, err := conn.Query(ctx, "SELECT site, source, toUnixTimestamp64Micro(min(first_tick)), toUnixTimestamp64Micro(max(last_tick))"+lines+
			"rows > 0 AND "+now+" GROUP BY site, source, toStartOfHour(first_tick)")
		if err != nil {
			return err
		}
		defer told.Close()
		for told.Next() {
			var t rollup.Touched
			var first, last int64
			if err := told.Scan(&t.Site, &t.Node, &first, &last); err != nil {
				return err
			}
			t.First, t.Last = unit.Micros(first), unit.Micros(last)
			touched = append(touched, t)
		}
		return told.Err()
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read which buckets were touched: %w", err)
	}
	return touched, next, nil
}

// beyond is the condition for lines after a progress and not after another.
func beyond(from rollup.Progress, within *rollup.Progress) string {
	moment := func(t unit.Micros) string { return "fromUnixTimestamp64Micro(" + strconv.FormatInt(int64(t), 10) + ")" }
	after, known := make([]string, 0, len(from.Cursors)+1), make([]string, 0, len(from.Cursors))
	for p, c := range from.Cursors {
		after = append(after, fmt.Sprintf("kafka_partition = %d AND (kafka_offset > %d OR received > %s)", p, c.Offset, moment(c.Received)))
		known = append(known, strconv.Itoa(int(p)))
	}
	if len(known) == 0 {
		after = append(after, "1")
	} else {
		after = append(after, "kafka_partition NOT IN ("+strings.Join(known, ", ")+")")
	}
	condition := "(" + strings.Join(after, " OR ") + ")"
	if within == nil {
		return condition
	}
	until := []string{"0"}
	for p, c := range within.Cursors {
		until = append(until, fmt.Sprintf("kafka_partition = %d AND kafka_offset <= %d AND received <= %s", p, c.Offset, moment(c.Received)))
	}
	return condition + " AND (" + strings.Join(until, " OR ") + ")"
}

// upTo is the condition for lines up to an offset in each partition.
func upTo(offsets map[int32]int64) string {
	terms := make([]string, 0, len(offsets))
	for p, offset := range offsets {
		terms = append(terms, fmt.Sprintf("kafka_partition = %d AND kafka_offset <= %d", p, offset))
	}
	return "(" + strings.Join(terms, " OR ") + ")"
}

// Build builds the buckets of a window.
func (r Rollups) Build(ctx context.Context, level int, w rollup.Window) error {
	if rollup.Levels[level].Sums {
		return r.buildSums(ctx, level, w)
	}
	table := schema.Tiers[level].Table
	statement := "INSERT INTO " + table + " " + buildQuery(level, w)
	if err := r.with(ctx, func(conn driver.Conn) error { return conn.Exec(ctx, statement) }); err != nil {
		return fmt.Errorf("build %s of %s from %d to %d: %w", table, w.Site, w.From, w.To, err)
	}
	return nil
}

func moments(t unit.Micros) string {
	return "toDateTime(" + strconv.FormatInt(int64(t/unit.Second), 10) + ", 'UTC')"
}

func quoted(name string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(name) + "'"
}

// buildQuery selects the rows of a level from the level below it. Sentinels take no part, and come back where there is nothing else.
// The all-ones of a counter are more than any value: a least value is right as it is.
func buildQuery(level int, w rollup.Window) string {
	tier := schema.Tiers[level]
	fine := level == 0
	from, to, site := moments(w.From), moments(w.To), quoted(w.Site)
	when, bucket := "bucket", fmt.Sprintf("toStartOfInterval(bucket, INTERVAL %d SECOND)", tier.Seconds)
	source := tier.Source + " FINAL"
	columns := []string{"site", "any(node)", "device", "run", "energy_epoch"}
	least := func(name string) string { return name + "_min" }
	most := func(name string) string { return name + "_max" }
	if fine {
		when, bucket, source = "tick", fmt.Sprintf("toDateTime(toStartOfInterval(tick, INTERVAL %d SECOND), 'UTC')", tier.Seconds), tier.Source
		least = func(name string) string { return name }
		most = least
		columns = append(columns, bucket+" AS slot", "uniqExact(tick)", "min(tick)", "max(tick)", "min(energy_ts)", greatest("energy_ts", "energy_ts", counterAbsent), "max(received)")
	} else {
		columns = append(columns, bucket+" AS slot", "sum(ticks)", "min(first_tick)", "max(last_tick)", "min(first_energy_ts)", greatest("first_energy_ts", "last_energy_ts", counterAbsent), "max(received)")
	}
	for _, m := range record.Counters {
		columns = append(columns, "min("+least(m.Name)+")", greatest(least(m.Name), most(m.Name), counterAbsent))
	}
	for _, m := range record.Gauges {
		columns = append(columns, "ifNotFinite(min(ifNotFinite("+least(m.Name)+", inf)), nan)", "ifNotFinite(max(ifNotFinite("+most(m.Name)+", -inf)), nan)")
	}
	for _, m := range (schema.Flavour{}).Rolled() {
		if m.Name == "clock_event_reasons" { // a mask
			columns = append(columns, fmt.Sprintf("if(min(%[1]s) = %[2]s, %[2]s, groupBitOr(if(%[1]s = %[2]s, 0, %[1]s)))", m.Name, codeAbsent))
			continue
		}
		columns = append(columns, greatest(m.Name, m.Name, codeAbsent))
	}
	// The hour of a window's bounds is said apart, because the sorting keys begin with it.
	return fmt.Sprintf("SELECT %s FROM %s WHERE site = %s AND %[4]s(%[5]s) >= %[4]s(%[6]s) AND %[4]s(%[5]s) <= %[4]s(%[7]s) AND %[5]s >= %[6]s AND %[5]s < %[7]s AND node IN (%[8]s) "+
		"GROUP BY site, device, run, energy_epoch, slot", strings.Join(columns, ", "), source, site, coarse(level), when, from, to, list(w.Nodes))
}

// The sentinels of schemas/record in SQL.
const (
	counterAbsent = "18446744073709551615"
	codeAbsent    = "4294967295"
)

// greatest is the most of a column but for the sentinel; least is the column that is the sentinel only where nothing else was.
func greatest(least, most, absent string) string {
	return fmt.Sprintf("if(min(%[1]s) = %[3]s, %[3]s, max(if(%[2]s = %[3]s, 0, %[2]s)))", least, most, absent)
}

// coarse is the function of time that leads the sorting key of the table a level is built from.
func coarse(level int) string {
	if level == 0 {
		return "toStartOfHour"
	}
	return schema.Tiers[level-1].Coarse
}

// Advance notes how far a level is.
func (r Rollups) Advance(ctx context.Context, level int, cursors map[int32]rollup.Cursor, at unit.Micros) error {
	out := make([]string, 0, len(cursors))
	for p, c := range cursors {
		out = append(out, fmt.Sprintf("('%s', %d, %d, fromUnixTimestamp64Micro(%d), fromUnixTimestamp64Micro(%d))", rollup.Levels[level].Name, p, c.Offset, c.Received, at))
	}
	err := r.with(ctx, func(conn driver.Conn) error {
		return conn.Exec(ctx, "INSERT INTO rollup_progress (tier, kafka_partition, kafka_offset, received, at) SELECT t.1, t.2, t.3, t.4, t.5 FROM (SELECT arrayJoin(["+strings.Join(out, ", ")+"]) AS t)")
	})
	if err != nil {
		return fmt.Errorf("note the progress of rollups: %w", err)
	}
	return nil
}
