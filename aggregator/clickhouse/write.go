package clickhouse

import (
	"context"
	"errors"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/record"
)

// Append writes a batch: cuts and entries first, the seal last. The seal is the commit: readers join on it, so a batch
// that was left half written is not seen, and writing it again with the same root changes nothing.
func (s *Store) Append(ctx context.Context, seal record.Seal, lines []ledger.Line, cuts []record.Cut) error {
	if err := s.insertCuts(ctx, seal, cuts); err != nil {
		return err
	}
	if err := s.insertEntries(ctx, seal, lines); err != nil {
		return err
	}
	if err := s.unsealed(ctx, seal); err != nil {
		return err
	}
	return s.insert(ctx, "seals (site, batch, root, previous, hour, entries, measured_mj, estimated_mj, modelled_mj, device_time, carbon_ug, closing, reason, rules)",
		token(seal), 1, func(b driver.Batch, _ int) error {
			return b.Append(seal.Site, seal.Batch, seal.Root, seal.Previous, seal.Hour.Time(), uint32(seal.Entries),
				int64(seal.Measured), int64(seal.Estimated), int64(seal.Modelled), int64(seal.DeviceTime), int64(seal.Carbon),
				seal.Closing, seal.Reason, seal.Rules)
		})
}

// ErrSealed means that the batch has been sealed with another root: another closer is at work on this ledger. What it sealed
// stays; end one of the two.
var ErrSealed = errors.New("sealed by another closer")

// unsealed is nil when the batch has no seal yet, or the very one that is to be written. A closed hour never changes: of two
// closers that saw different data the first one counts.
func (s *Store) unsealed(ctx context.Context, seal record.Seal) error {
	var others []string
	err := s.conn.QueryRow(with(ctx, "site", seal.Site, "batch", seal.Batch, "root", seal.Root),
		`SELECT groupArray(root) FROM seals WHERE site = {site:String} AND batch = {batch:UInt64} AND root != {root:String}`).Scan(&others)
	if err != nil {
		return fmt.Errorf("read the seal of batch %d of %s: %w", seal.Batch, seal.Site, err)
	}
	if len(others) > 0 {
		return fmt.Errorf("batch %d of %s has root %s, not %s: %w", seal.Batch, seal.Site, others[0], seal.Root, ErrSealed)
	}
	return nil
}

// token makes the server drop an insert that it has already: the same batch is the same rows.
func token(seal record.Seal) string { return fmt.Sprintf("%s/%d/%s", seal.Site, seal.Batch, seal.Root) }

func (s *Store) insertCuts(ctx context.Context, seal record.Seal, cuts []record.Cut) error {
	return s.insert(ctx, "cuts", token(seal), len(cuts), func(b driver.Batch, i int) error {
		c := cuts[i]
		return b.Append(c.Site, c.Device, int64(c.Epoch), c.Boot, c.Driver, int64(c.T), int64(c.T0), int64(c.C0), int64(c.T1), int64(c.C1),
			c.Run, int64(c.Integral0), int64(c.C), int64(c.Low), int64(c.High), c.Open, c.Interpolated, c.Edition, seal.Batch, seal.Root,
			c.Seen0)
	})
}

func (s *Store) insertEntries(ctx context.Context, seal record.Seal, lines []ledger.Line) error {
	return s.insert(ctx, "entries", token(seal), len(lines), func(b driver.Batch, i int) error {
		l := lines[i]
		return b.Append(l.ID, l.Site, seal.Batch, seal.Root, uint32(i), seal.Hour.Time(), string(l.Kind), string(l.Account),
			l.Node, l.Device, l.DeviceKind, l.Model, l.Tenant, l.Project, l.Allocation, l.Workload, l.ModelID, l.Purpose,
			int64(l.From), int64(l.To), int64(l.DeviceTime), int64(l.Unavailable),
			int64(l.GPU), int64(l.CPU), int64(l.NodeRest), int64(l.ITShared), int64(l.Facility),
			int64(l.Measured), int64(l.Estimated), int64(l.Modelled), int64(l.Interpolated), int64(l.BoundLow), int64(l.BoundHigh),
			int64(l.SMActive), l.TicksExpected, l.TicksRead, int64(l.Carbon),
			l.Rules, l.Split, l.Factor, append([]string{}, l.Flags...), l.Corrects, l.Reason, string(l.Canonical))
	})
}

func (s *Store) insert(ctx context.Context, table, token string, rows int, add func(driver.Batch, int) error) error {
	if rows == 0 {
		return nil
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": token}))
	batch, err := s.conn.PrepareBatch(ctx, "INSERT INTO "+table)
	if err != nil {
		return fmt.Errorf("insert into %.20s: %w", table, err)
	}
	defer batch.Close()
	for i := range rows {
		if err := add(batch, i); err != nil {
			return fmt.Errorf("insert into %.20s, row %d: %w", table, i, err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("insert %d rows into %.20s: %w", rows, table, err)
	}
	return nil
}
