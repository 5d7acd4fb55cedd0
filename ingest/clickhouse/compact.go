package clickhouse

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/schemas/wire"
)

// Repeated is what stands more often in a table than it should.
type Repeated struct {
	Table string
	// Day is the day of receipt, YYYYMMDD, Partition that of Kafka.
	Day       uint32
	Partition int32
	// Rows is how many there are too many.
	Rows uint64
}

type repeatedKey struct {
	table     string
	day       uint32
	partition int32
}

func (r Repeated) key() repeatedKey { return repeatedKey{r.Table, r.Day, r.Partition} }

// Repeats lists what stands more often than it should among what was received since then. It costs a look at three narrow columns:
// lines are counted against their offsets, and rows against what the lines say of them; lines are compared one by one only where
// an offset comes twice. Rows beyond the last line are not looked at, as their lines may be on their way.
func (s *Store) Repeats(ctx context.Context, since time.Time) ([]Repeated, error) {
	conn, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	out, err := repeats(ctx, conn, since)
	if err != nil {
		s.lost(conn, err)
		return nil, fmt.Errorf("look for rows that stand twice since %s: %w", since.UTC().Format(time.RFC3339), err)
	}
	return out, nil
}

func repeats(ctx context.Context, conn driver.Conn, since time.Time) ([]Repeated, error) {
	type spot struct {
		day       uint32
		partition int32
	}
	said := map[spot]uint64{}
	var again []spot // where an offset comes twice
	lines, err := conn.Query(ctx, `SELECT toYYYYMMDD(received) AS day, kafka_partition, toInt64(count() - groupBitmap(toUInt64(kafka_offset))), sum(rows)
		FROM messages WHERE topic = ? AND toYYYYMMDD(received) >= ? GROUP BY day, kafka_partition`, wire.TopicSample, dayOf(since))
	if err != nil {
		return nil, err
	}
	defer lines.Close()
	for lines.Next() {
		var at spot
		var more int64
		var rows uint64
		if err := lines.Scan(&at.day, &at.partition, &more, &rows); err != nil {
			return nil, err
		}
		said[at] = rows
		if more > 0 {
			again = append(again, at)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	var out []Repeated
	for _, at := range again {
		// A topic that was made anew under its name has its offsets again, with other lines.
		var more, rows uint64
		if err := conn.QueryRow(ctx, `SELECT toUInt64(sum(n) - count()), toUInt64(sum(r)) FROM (SELECT count() AS n, any(rows) AS r FROM messages
			WHERE topic = ? AND toYYYYMMDD(received) = ? AND kafka_partition = ? GROUP BY kafka_offset, run, seq, received, rows)`,
			wire.TopicSample, at.day, at.partition).Scan(&more, &rows); err != nil {
			return nil, err
		}
		said[at] = rows
		if more > 0 {
			out = append(out, Repeated{"messages", at.day, at.partition, more})
		}
	}
	rows, err := conn.Query(ctx, `SELECT toYYYYMMDD(received) AS day, kafka_partition, count() FROM samples AS s
		INNER JOIN (SELECT kafka_partition, max(kafka_offset) AS last FROM messages WHERE topic = ? AND toYYYYMMDD(received) >= ? GROUP BY kafka_partition) AS m
		USING (kafka_partition) WHERE toYYYYMMDD(s.received) >= ? AND s.kafka_offset <= m.last GROUP BY day, kafka_partition`,
		wire.TopicSample, dayOf(since), dayOf(since))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var at spot
		var n uint64
		if err := rows.Scan(&at.day, &at.partition, &n); err != nil {
			return nil, err
		}
		if n > said[at] {
			out = append(out, Repeated{"samples", at.day, at.partition, n - said[at]})
		}
	}
	return out, rows.Err()
}

// dayOf is the day as toYYYYMMDD has it.
func dayOf(t time.Time) uint32 {
	y, m, d := t.UTC().Date()
	return uint32(y*10_000 + int(m)*100 + d)
}

// Compact removes the rows that stand twice among what was received since the day of then, and answers how many it removed from
// which table. One member does it at a time. What it looked at in vain is not looked at again until more is found there.
//
// Rows are the same when all is the same that tells one from another: what remains is what would have been stored at first. It
// writes the table partitions anew in which it found something, a day of samples or a month of lines, hence it looks before.
func (s *Store) Compact(ctx context.Context, since time.Time) (map[string]uint64, error) {
	found, err := s.Repeats(ctx, since)
	if err != nil {
		return nil, err
	}
	days := map[string][]uint32{} // by table
	for _, r := range found {
		if s.leftOver(r.key()) != r.Rows && !slices.Contains(days[r.Table], r.Day) {
			days[r.Table] = append(days[r.Table], r.Day)
		}
	}
	out := map[string]uint64{}
	if len(days) == 0 {
		return out, nil
	}
	conn, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	for table, list := range days {
		for _, day := range list {
			if err := compact(ctx, conn, table, day); err != nil {
				s.lost(conn, err)
				return nil, fmt.Errorf("remove what stands twice in %s on day %d: %w", table, day, err)
			}
		}
	}
	after, err := s.Repeats(ctx, since)
	if err != nil {
		return nil, err
	}
	left := map[repeatedKey]uint64{}
	for _, r := range after {
		left[r.key()] = r.Rows
	}
	for _, r := range found {
		n := r.Rows - min(r.Rows, left[r.key()])
		out[r.Table] += n
		s.compacted.WithLabelValues(r.Table).Add(float64(n))
	}
	s.mu.Lock()
	s.left = left
	s.mu.Unlock()
	return out, nil
}

func (s *Store) leftOver(key repeatedKey) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left[key]
}

// identity is what tells one row from another, besides the columns of the table's keys.
var identity = map[string][]string{
	"samples":  {"site", "node", "device", "run", "seq", "tick", "received", "kafka_partition", "kafka_offset"},
	"messages": {"topic", "site", "source", "run", "seq", "rows", "received", "kafka_partition", "kafka_offset"},
}

var distributed = regexp.MustCompile(`^Distributed\('?([^',]+)'?, *'?[^',]*'?, *'?([^',)]+)'?`)

// compact removes rows that stand twice from the partitions of the table in which rows of the day are.
func compact(ctx context.Context, conn driver.Conn, table string, day uint32) error {
	local, where := table, ""
	var engine string
	if err := conn.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = ?", table).Scan(&engine); err != nil {
		return err
	}
	if m := distributed.FindStringSubmatch(engine); m != nil {
		local, where = m[2], " ON CLUSTER '"+m[1]+"'"
	}
	columns := slices.Clone(identity[table])
	keys, err := conn.Query(ctx, "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = ? AND (is_in_sorting_key OR is_in_partition_key)", local)
	if err != nil {
		return err
	}
	defer keys.Close()
	for keys.Next() {
		var name string
		if err := keys.Scan(&name); err != nil {
			return err
		}
		if !slices.Contains(columns, name) {
			columns = append(columns, name)
		}
	}
	if err := keys.Err(); err != nil {
		return err
	}
	parts, err := conn.Query(ctx, fmt.Sprintf("SELECT DISTINCT _partition_id FROM %s WHERE toYYYYMMDD(received) = ?", table), day)
	if err != nil {
		return err
	}
	defer parts.Close()
	var ids []string
	for parts.Next() {
		var id string
		if err := parts.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	if err := parts.Err(); err != nil {
		return err
	}
	for _, id := range ids {
		if err := conn.Exec(ctx, fmt.Sprintf("OPTIMIZE TABLE %s%s PARTITION ID '%s' FINAL DEDUPLICATE BY %s", local, where, id, strings.Join(columns, ", "))); err != nil {
			return err
		}
	}
	return nil
}
