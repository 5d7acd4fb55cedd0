package clickhouse

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/schemas/wire"
)

// recent is how many messages before the committed offset are recalled, so that the runs that are at work now are known
// without asking for each.
const recent = 20_000

// Recall tells what the database holds of a partition from the committed offset on, and shortly before it. A negative
// offset stands for a group without a commit.
//
// Beyond the committed offset there is at most the last batch of the partition's owner before us: rows whose lines in
// messages may be missing, and lines whose commit may be.
func (s *Store) Recall(ctx context.Context, topic string, partition int, committed int64) ([]pipeline.Stored, error) {
	conn, _, err := s.open(ctx)
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
	conn, _, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	// Lines are written in the order of offsets, so the last one bounds what is worth looking for without a commit.
	var highest int64
	row := conn.QueryRow(ctx, "SELECT toInt64(max(kafka_offset)) FROM messages WHERE topic = ? AND kafka_partition = ?", topic, int32(partition))
	if err := row.Scan(&highest); err != nil {
		return nil, err
	}
	from := committed
	if from < 0 {
		from = highest
	}
	var out []pipeline.Stored
	rows, err := conn.Query(ctx, "SELECT kafka_offset, site, source, run, seq FROM messages WHERE topic = ? AND kafka_partition = ? AND kafka_offset >= ?",
		topic, int32(partition), from-recent)
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
		"GROUP BY kafka_offset, site, node, run, seq", int32(partition), from)
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

// Histories tells which sequence numbers of the runs are stored. Runs of which nothing is stored are left out.
func (s *Store) Histories(ctx context.Context, topic string, runs []pipeline.Run) ([]pipeline.History, error) {
	var out []pipeline.History
	for part := range slices.Chunk(runs, 500) {
		found, err := s.histories(ctx, topic, part)
		if err != nil {
			return nil, fmt.Errorf("read what is stored of %d runs of %s: %w", len(part), topic, err)
		}
		out = append(out, found...)
	}
	return out, nil
}

func (s *Store) histories(ctx context.Context, topic string, runs []pipeline.Run) ([]pipeline.History, error) {
	conn, _, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	sources, sites, ids := make([]string, 0, len(runs)), make([]string, 0, 1), make([]string, 0, len(runs))
	for _, r := range runs {
		sources, ids = append(sources, r.Source), append(ids, r.Hex())
		if !slices.Contains(sites, r.Site) {
			sites = append(sites, r.Site)
		}
	}
	// Numbers without a hole between them have the same distance to their rank: one line per span, however long the run.
	rows, err := conn.Query(ctx, `SELECT site, source, run, min(seq), max(seq) FROM (
			SELECT site, source, run, seq, seq - row_number() OVER (PARTITION BY site, source, run ORDER BY seq) AS island FROM (
				SELECT DISTINCT site, source, run, seq FROM messages WHERE topic = ? AND site IN (?) AND source IN (?) AND run IN (?)))
		GROUP BY site, source, run, island ORDER BY site, source, run, min(seq)`, topic, sites, sources, ids)
	if err != nil {
		s.lost(conn, err)
		return nil, err
	}
	defer rows.Close()
	var out []pipeline.History
	for rows.Next() {
		var run pipeline.Run
		var id string
		var span pipeline.Span
		if err := rows.Scan(&run.Site, &run.Source, &id, &span.First, &span.Last); err != nil {
			return nil, err
		}
		if err := runID(&run, id); err != nil {
			return nil, err
		}
		if n := len(out); n == 0 || out[n-1].Run != run {
			out = append(out, pipeline.History{Run: run})
		}
		last := &out[len(out)-1]
		last.Spans = append(last.Spans, span)
	}
	if err := rows.Err(); err != nil {
		s.lost(conn, err)
		return nil, err
	}
	return out, nil
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
