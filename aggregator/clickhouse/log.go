package clickhouse

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/transparency"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

var _ transparency.Store = (*Store)(nil)

// LogRecords are the records of the transparency log from an index on, in order.
func (s *Store) LogRecords(ctx context.Context, from int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		rows, err := s.conn.Query(with(ctx, "from", from),
			`SELECT position, any(record), uniqExact(record, site, batch, root) FROM log_records WHERE position >= {from:UInt64} GROUP BY position ORDER BY position`)
		if err != nil {
			yield(nil, fmt.Errorf("read the log from record %d: %w", from, err))
			return
		}
		defer rows.Close()
		for next := uint64(from); rows.Next(); next++ {
			var index, different uint64
			var text string
			if err := rows.Scan(&index, &text, &different); err != nil {
				yield(nil, fmt.Errorf("read the log: %w", err))
				return
			}
			if index != next || different != 1 {
				err = fmt.Errorf("%w: record %d of the log is missing", transparency.ErrInconsistent, next)
				if index == next {
					err = fmt.Errorf("%w: there are %d records with the index %d", transparency.ErrInconsistent, different, index)
				}
				yield(nil, err)
				return
			}
			if !yield([]byte(text), nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, fmt.Errorf("read the log: %w", err))
		}
	}
}

// AppendLog offers records from an index on. The index is the token of the insert: of two that offer records for it the server
// takes the first and drops the other, which only reading them back shows.
func (s *Store) AppendLog(ctx context.Context, index int64, records [][]byte) error {
	var taken uint64
	err := s.conn.QueryRow(with(ctx, "index", index), `SELECT count() FROM log_records WHERE position >= {index:UInt64}`).Scan(&taken)
	if err != nil {
		return fmt.Errorf("read the end of the log: %w", err)
	}
	if taken > 0 { // the server forgets tokens after a while
		return nil
	}
	return s.insert(ctx, "log_records (position, site, batch, root, record)", fmt.Sprintf("log/%d", index), len(records), func(b driver.Batch, i int) error {
		r, err := ledger.ParseLogRecord(records[i])
		if err != nil {
			return err
		}
		return b.Append(uint64(index)+uint64(i), r.Site, r.Batch, r.Root, string(records[i]))
	})
}

// SealsAfter are the seals of batches from next[site] on. Only what the log says of them is filled in.
func (s *Store) SealsAfter(ctx context.Context, next map[string]uint64) ([]record.Seal, error) {
	sites, batches := arrays(next)
	rows, err := s.conn.Query(with(ctx, "sites", sites, "batches", batches),
		`SELECT site, batch, root, previous, hour FROM seals FINAL
		 WHERE batch >= transform(site, {sites:Array(String)}, {batches:Array(UInt64)}, toUInt64(0)) ORDER BY hour, site, batch`)
	if err != nil {
		return nil, fmt.Errorf("read seals that the log lacks: %w", err)
	}
	defer rows.Close()
	var out []record.Seal
	for rows.Next() {
		var l record.Seal
		var hour time.Time
		if err := rows.Scan(&l.Site, &l.Batch, &l.Root, &l.Previous, &hour); err != nil {
			return nil, fmt.Errorf("read seals that the log lacks: %w", err)
		}
		l.Hour = unit.MicrosOf(hour)
		out = append(out, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read seals that the log lacks: %w", err)
	}
	return out, nil
}

// LastCheckpoint is the largest that was kept; nil when there is none.
func (s *Store) LastCheckpoint(ctx context.Context) ([]byte, error) {
	rows, err := s.conn.Query(ctx, `SELECT note FROM log_checkpoints ORDER BY size DESC, inserted LIMIT 1`)
	if err != nil {
		return nil, fmt.Errorf("read the last checkpoint: %w", err)
	}
	defer rows.Close()
	var msg []byte
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("read the last checkpoint: %w", err)
		}
		msg = []byte(text)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the last checkpoint: %w", err)
	}
	return msg, nil
}

// KeepCheckpoint keeps one; of two of a size the server takes the first.
func (s *Store) KeepCheckpoint(ctx context.Context, size int64, root string, msg []byte) error {
	return s.insert(ctx, "log_checkpoints (size, root, note)", fmt.Sprintf("checkpoint/%d", size), 1, func(b driver.Batch, _ int) error {
		return b.Append(uint64(size), root, string(msg))
	})
}
