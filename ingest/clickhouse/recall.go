package clickhouse

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Recall tells what the database holds of a partition from the committed offset on. A negative offset stands for a group
// without a commit.
//
// Beyond the committed offset there is at most the last batch of the partition's owner before us: rows whose lines in
// messages may be missing, and lines whose commit may be. A topic that was made anew counts its offsets from 0 again, so there
// may be lines of its former life at these offsets: the latest are taken, as many as a batch may have.
func (s *Store) Recall(ctx context.Context, topic string, partition int, committed int64) ([]pipeline.Stored, error) {
	conn, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	out, err := s.recall(ctx, topic, partition, committed)
	if err != nil {
		s.lost(conn, err)
		return nil, fmt.Errorf("recall %s partition %d from offset %d: %w", topic, partition, committed, err)
	}
	return out, nil
}

func (s *Store) recall(ctx context.Context, topic string, partition int, committed int64) ([]pipeline.Stored, error) {
	conn, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	// Lines are written in the order of offsets, so the last one bounds what is worth looking for without a commit.
	var highest int64
	row := conn.QueryRow(ctx, "SELECT toInt64(max(kafka_offset)) FROM messages WHERE topic = ? AND kafka_partition = ?", topic, int32(partition))
	if err := row.Scan(&highest); err != nil {
		return nil, err
	}
	from, lines := committed, committed
	if committed < 0 {
		from, lines = highest, highest-pipeline.MaxMessages
	}
	var out []pipeline.Stored
	rows, err := conn.Query(ctx, "SELECT kafka_offset, site, source, run, seq FROM messages WHERE topic = ? AND kafka_partition = ? AND kafka_offset >= ? "+
		"ORDER BY received DESC, kafka_offset DESC LIMIT ?", topic, int32(partition), lines, uint64(pipeline.MaxMessages))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		k := pipeline.Stored{Noted: true}
		var run string
		if err := rows.Scan(&k.Offset, &k.Run.Site, &k.Run.Source, &run, &k.Seq); err != nil {
			return nil, err
		}
		if err := runID(&k.Run, run); err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	if err := rows.Err(); err != nil || topic != wire.TopicSample {
		return out, err // rows of the other topics replace themselves: inserting them again changes nothing
	}
	type key struct {
		offset int64
		run    pipeline.Run
		seq    uint64
	}
	noted := map[key]bool{}
	for _, k := range out {
		noted[key{k.Offset, k.Run, k.Seq}] = true
	}
	half, err := conn.Query(ctx, "SELECT kafka_offset, site, node, run, seq, count() FROM samples WHERE kafka_partition = ? AND kafka_offset >= ? "+
		"GROUP BY kafka_offset, site, node, run, seq ORDER BY max(received) DESC LIMIT ?", int32(partition), from, uint64(pipeline.MaxMessages))
	if err != nil {
		return nil, err
	}
	defer half.Close()
	for half.Next() {
		var k pipeline.Stored
		var run string
		var n uint64
		if err := half.Scan(&k.Offset, &k.Run.Site, &k.Run.Source, &run, &k.Seq, &n); err != nil {
			return nil, err
		}
		if err := runID(&k.Run, run); err != nil {
			return nil, err
		}
		if k.Rows = int(n); !noted[key{k.Offset, k.Run, k.Seq}] {
			out = append(out, k)
		}
	}
	return out, half.Err()
}

// Histories answers questions about runs. Runs of which nothing is stored are left out.
func (s *Store) Histories(ctx context.Context, topic string, asked []pipeline.Question) ([]pipeline.Answer, error) {
	conn, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	out, err := histories(ctx, conn, topic, asked)
	if err != nil {
		s.lost(conn, err)
		return nil, fmt.Errorf("read what is stored of %d runs of %s: %w", len(asked), topic, err)
	}
	return out, nil
}

// A query names at most so many runs and so many messages, to stay below the engine's limit on its text.
const (
	runsAtOnce     = 500
	messagesAtOnce = 2000
)

func histories(ctx context.Context, conn driver.Conn, topic string, asked []pipeline.Question) ([]pipeline.Answer, error) {
	var out []pipeline.Answer
	at := map[pipeline.Run]int{}
	var points []pipeline.Question // those with numbers, few at a time
	for part := range slices.Chunk(asked, runsAtOnce) {
		found, err := heads(ctx, conn, topic, part)
		if err != nil {
			return nil, err
		}
		for _, a := range found {
			at[a.Run] = len(out)
			out = append(out, a)
		}
	}
	for _, q := range asked {
		if _, known := at[q.Run]; !known {
			continue
		}
		for seqs := range slices.Chunk(q.Seqs, messagesAtOnce/4) {
			points = append(points, pipeline.Question{Run: q.Run, Seqs: seqs})
		}
	}
	for len(points) > 0 {
		runs, n := 0, 0
		for runs < len(points) && runs < runsAtOnce && n+len(points[runs].Seqs) <= messagesAtOnce {
			n += len(points[runs].Seqs)
			runs++
		}
		err := storedOf(ctx, conn, topic, points[:runs], func(run pipeline.Run, seq uint64) {
			if i, ok := at[run]; ok {
				out[i].Stored = append(out[i].Stored, seq)
			}
		})
		if err != nil {
			return nil, err
		}
		points = points[runs:]
	}
	return out, nil
}

// heads are the highest number and the latest times of each run, which a projection of the table keeps at hand.
func heads(ctx context.Context, conn driver.Conn, topic string, asked []pipeline.Question) ([]pipeline.Answer, error) {
	sites, sources, ids := names(asked)
	rows, err := conn.Query(ctx, `SELECT site, source, run, max(seq), toUnixTimestamp64Micro(max(last_tick)), toUnixTimestamp64Micro(max(received))
		FROM messages WHERE topic = ? AND site IN (?) AND source IN (?) AND run IN (?) GROUP BY site, source, run`, topic, sites, sources, ids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []pipeline.Answer
	for rows.Next() {
		var a pipeline.Answer
		var id string
		var tick, received int64
		if err := rows.Scan(&a.Run.Site, &a.Run.Source, &id, &a.Highest, &tick, &received); err != nil {
			return nil, err
		}
		if err := runID(&a.Run, id); err != nil {
			return nil, err
		}
		a.Edge = pipeline.Edge{Tick: unit.Micros(tick), Received: unit.Micros(received)}
		out = append(out, a)
	}
	return out, rows.Err()
}

// storedOf calls found for each of the messages asked about that is stored, and for others of the same runs perhaps.
func storedOf(ctx context.Context, conn driver.Conn, topic string, asked []pipeline.Question, found func(pipeline.Run, uint64)) error {
	sites, sources, ids := names(asked)
	pairs := make([]clickhouse.GroupSet, 0, len(asked))
	for _, q := range asked {
		for _, seq := range q.Seqs {
			pairs = append(pairs, clickhouse.GroupSet{Value: []any{q.Run.Hex(), seq}})
		}
	}
	rows, err := conn.Query(ctx, "SELECT DISTINCT site, source, run, seq FROM messages WHERE topic = ? AND site IN (?) AND source IN (?) AND run IN (?) AND (run, seq) IN (?)",
		topic, sites, sources, ids, pairs)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var run pipeline.Run
		var id string
		var seq uint64
		if err := rows.Scan(&run.Site, &run.Source, &id, &seq); err != nil {
			return err
		}
		if err := runID(&run, id); err != nil {
			return err
		}
		found(run, seq)
	}
	return rows.Err()
}

// names are the words by which the table's index finds the runs.
func names(asked []pipeline.Question) (sites, sources, ids []string) {
	add := func(to *[]string, seen map[string]bool, v string) {
		if !seen[v] {
			seen[v] = true
			*to = append(*to, v)
		}
	}
	bySite, bySource, byID := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, q := range asked {
		add(&sites, bySite, q.Run.Site)
		add(&sources, bySource, q.Run.Source)
		add(&ids, byID, q.Run.Hex())
	}
	return sites, sources, ids
}

func runID(r *pipeline.Run, text string) error {
	if text == "" {
		return nil // a run of zeros
	}
	id, err := hex.DecodeString(text)
	if err != nil || len(id) != len(r.ID) {
		return fmt.Errorf("run %q of source %s is not the hex of %d bytes", text, r.Source, len(r.ID))
	}
	copy(r.ID[:], id)
	return nil
}
