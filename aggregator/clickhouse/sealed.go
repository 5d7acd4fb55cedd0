package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/evidence"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Evidence reads the ledger as it is stored, row for row, for whoever checks it.
type Evidence struct{ conn driver.Conn }

var _ evidence.Source = (*Evidence)(nil)

// NewEvidence makes one over an open connection, which stays the caller's to close.
func NewEvidence(conn driver.Conn) *Evidence { return &Evidence{conn} }

// Seals are all rows of seals, in order of site and batch. Rows that say the same are one; of two that differ both are given.
func (v *Evidence) Seals(ctx context.Context) ([]record.Seal, error) {
	seals, err := (&Store{conn: v.conn}).seals(ctx, "seals")
	if err != nil {
		return nil, err
	}
	seen := map[record.Seal]bool{}
	var out []record.Seal
	for _, s := range seals {
		s.Inputs = "" // of the attempt, not of the batch, and it can be long
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out, nil
}

// Batches are the rows of some batches of one site.
func (v *Evidence) Batches(ctx context.Context, seals []record.Seal) ([]evidence.Batch, error) {
	if len(seals) == 0 {
		return nil, nil
	}
	out := make([]evidence.Batch, len(seals))
	at := map[batchRoot]*evidence.Batch{}
	for i, s := range seals {
		out[i].Seal = s
		at[batchRoot{s.Batch, s.Root}] = &out[i]
	}
	ctx = with(ctx, "site", seals[0].Site, "first", seals[0].Batch, "last", seals[len(seals)-1].Batch)
	const of = " WHERE site = {site:String} AND batch BETWEEN {first:UInt64} AND {last:UInt64} "
	for _, part := range []struct {
		query string
		scan  func(driver.Rows) (batchRoot, func(*evidence.Batch), error)
	}{
		{"SELECT " + entryColumns + " FROM entries FINAL" + of + "ORDER BY batch, position", scanEntry},
		{"SELECT " + subtotalColumns + " FROM subtotals FINAL" + of + "ORDER BY batch, hour, toString(account), tenant", scanSubtotal},
		{"SELECT " + cutColumns + " FROM cuts FINAL" + of + "ORDER BY batch, device, t, epoch, edition", scanCut},
		{"SELECT " + deviceHourColumns + " FROM device_hours FINAL" + of + "ORDER BY batch, hour, node, device, kind", scanDeviceHour},
		{
			`SELECT batch, root, toInt64(count()) FROM (
			  SELECT batch, root FROM entries` + of + `UNION ALL SELECT batch, root FROM subtotals` + of + `UNION ALL SELECT batch, root FROM cuts` + of +
				`UNION ALL SELECT batch, root FROM device_hours` + of + `) GROUP BY batch, root`, scanRows,
		},
	} {
		if err := v.each(ctx, part.query, func(rows driver.Rows) error {
			key, put, err := part.scan(rows)
			if b := at[key]; err == nil && b != nil {
				put(b)
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

type batchRoot struct {
	batch uint64
	root  string
}

func (v *Evidence) each(ctx context.Context, query string, do func(driver.Rows) error) error {
	rows, err := v.conn.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// hourOf writes a time as records do.
func hourOf(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func scanRows(rows driver.Rows) (batchRoot, func(*evidence.Batch), error) {
	var key batchRoot
	var stored int64
	err := rows.Scan(&key.batch, &key.root, &stored)
	return key, func(b *evidence.Batch) {
		b.Repeated = stored - int64(len(b.Entries)+len(b.Subtotals)+len(b.Cuts)+len(b.DeviceHours))
	}, err
}

func scanEntry(rows driver.Rows) (batchRoot, func(*evidence.Batch), error) {
	var key batchRoot
	var s evidence.Entry
	var hour time.Time
	var kind, account, canonical string
	var n [25]int64
	c := &s.Columns
	err := rows.Scan(&s.ID, &c.Site, &key.batch, &key.root, &s.Position, &hour, &kind, &account, &c.Node, &c.Device, &c.DeviceKind, &c.Model,
		&c.Tenant, &c.Project, &c.Allocation, &c.Workload, &c.ModelID, &c.Purpose, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8],
		&n[9], &n[10], &n[11], &n[12], &n[13], &n[14], &n[15], &n[16], &n[17], &n[18], &n[19], &n[20], &n[21], &n[22], &n[23], &n[24],
		&c.Rules, &c.Split, &c.RestSource, &c.SharedSource, &c.FacilitySource, &c.WaterSource, &c.HeatSource,
		&c.Factor, &c.FactorMarket, &c.FactorEmbodied, &c.Flags, &c.Corrects, &c.Reason, &canonical)
	c.Hour, c.Kind, c.Account, s.Canonical = hourOf(hour), record.EntryKind(kind), record.Account(account), []byte(canonical)
	c.From, c.To, c.DeviceTime, c.Unavailable = unit.Micros(n[0]), unit.Micros(n[1]), unit.DeviceTime(n[2]), unit.DeviceTime(n[3])
	c.GPU, c.CPU, c.NodeRest = unit.Millijoules(n[4]), unit.Millijoules(n[5]), unit.Millijoules(n[6])
	c.ITShared, c.Facility = unit.Millijoules(n[7]), unit.Millijoules(n[8])
	c.Measured, c.Estimated, c.Modelled = unit.Millijoules(n[9]), unit.Millijoules(n[10]), unit.Millijoules(n[11])
	c.Interpolated, c.BoundLow, c.BoundHigh = unit.Millijoules(n[12]), unit.Millijoules(n[13]), unit.Millijoules(n[14])
	c.Uncertainty, c.SMActive, c.IdleLimit = unit.Millijoules(n[15]), unit.Micros(n[16]), unit.Thousandths(n[17])
	c.TicksExpected, c.TicksRead = n[18], n[19]
	c.Carbon, c.CarbonMarket, c.CarbonEmbodied = unit.MicrogramsCO2e(n[20]), unit.MicrogramsCO2e(n[21]), unit.MicrogramsCO2e(n[22])
	c.Water, c.HeatReused = unit.Microlitres(n[23]), unit.Millijoules(n[24])
	return key, func(b *evidence.Batch) { b.Entries = append(b.Entries, s) }, err
}

func scanSubtotal(rows driver.Rows) (batchRoot, func(*evidence.Batch), error) {
	var key batchRoot
	var s record.Subtotal
	var hour time.Time
	var account string
	var entries uint32
	var n [22]int64
	err := rows.Scan(&s.Site, &hour, &account, &s.Tenant, &entries, &s.Root, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8], &n[9],
		&n[10], &n[11], &n[12], &n[13], &n[14], &n[15], &n[16], &n[17], &n[18], &n[19], &n[20], &n[21], &key.batch, &key.root)
	s.Hour, s.Account, s.Entries = hourOf(hour), record.Account(account), int(entries)
	s.DeviceTime, s.Unavailable = unit.DeviceTime(n[0]), unit.DeviceTime(n[1])
	s.GPU, s.CPU, s.NodeRest = unit.Millijoules(n[2]), unit.Millijoules(n[3]), unit.Millijoules(n[4])
	s.ITShared, s.Facility = unit.Millijoules(n[5]), unit.Millijoules(n[6])
	s.Measured, s.Estimated, s.Modelled, s.Interpolated = unit.Millijoules(n[7]), unit.Millijoules(n[8]), unit.Millijoules(n[9]), unit.Millijoules(n[10])
	s.BoundLow, s.BoundHigh, s.Uncertainty = unit.Millijoules(n[11]), unit.Millijoules(n[12]), unit.Millijoules(n[13])
	s.SMActive, s.TicksExpected, s.TicksRead = unit.Micros(n[14]), n[15], n[16]
	s.Carbon, s.CarbonMarket, s.CarbonEmbodied = unit.MicrogramsCO2e(n[17]), unit.MicrogramsCO2e(n[18]), unit.MicrogramsCO2e(n[19])
	s.Water, s.HeatReused = unit.Microlitres(n[20]), unit.Millijoules(n[21])
	return key, func(b *evidence.Batch) { b.Subtotals = append(b.Subtotals, s) }, err
}

// cutColumns are those of a cut and of the seal it belongs to.
const cutColumns = "site, device, epoch, boot, driver, t, t0, c0, t1, c1, run, integral0, c, low, high, open, interpolated, edition, batch, root, seen0"

func scanCut(rows driver.Rows) (batchRoot, func(*evidence.Batch), error) {
	var key batchRoot
	var s record.Cut
	var n [10]int64
	err := rows.Scan(&s.Site, &s.Device, &n[0], &s.Boot, &s.Driver, &n[1], &n[2], &n[3], &n[4], &n[5], &s.Run, &n[6], &n[7], &n[8], &n[9],
		&s.Open, &s.Interpolated, &s.Edition, &key.batch, &key.root, &s.Seen0)
	s.Epoch, s.T, s.T0, s.T1 = unit.Micros(n[0]), unit.Micros(n[1]), unit.Micros(n[2]), unit.Micros(n[4])
	s.C0, s.C1, s.Integral0 = unit.Millijoules(n[3]), unit.Millijoules(n[5]), unit.Millijoules(n[6])
	s.C, s.Low, s.High = unit.Millijoules(n[7]), unit.Millijoules(n[8]), unit.Millijoules(n[9])
	return key, func(b *evidence.Batch) { b.Cuts = append(b.Cuts, s) }, err
}

func scanDeviceHour(rows driver.Rows) (batchRoot, func(*evidence.Batch), error) {
	key, s, err := scanLine(rows)
	return key, func(b *evidence.Batch) { b.DeviceHours = append(b.DeviceHours, s) }, err
}

// scanLine reads a row of deviceHourColumns.
func scanLine(rows driver.Rows) (batchRoot, record.DeviceHour, error) {
	var key batchRoot
	var s record.DeviceHour
	var hour time.Time
	var n [14]int64
	var resets, steps int32
	err := rows.Scan(&s.Site, &hour, &s.Node, &s.Device, &s.Kind, &s.Model, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8], &n[9],
		&n[10], &n[11], &n[12], &n[13], &resets, &steps, &s.Sensor, &s.Flags, &key.batch, &key.root)
	s.Hour, s.Resets, s.ClockSteps = hourOf(hour), int(resets), int(steps)
	s.Counter, s.Estimated, s.Interpolated = unit.Millijoules(n[0]), unit.Millijoules(n[1]), unit.Millijoules(n[2])
	s.Integral, s.Excess = unit.Millijoules(n[3]), unit.Millijoules(n[4])
	s.BoundLow, s.BoundHigh = unit.Millijoules(n[5]), unit.Millijoules(n[6])
	s.Present, s.Covered, s.TicksExpected, s.TicksRead = unit.Micros(n[7]), unit.Micros(n[8]), n[9], n[10]
	s.Allocated, s.Unallocated, s.Unavailable = unit.DeviceTime(n[11]), unit.DeviceTime(n[12]), unit.DeviceTime(n[13])
	return key, s, err
}

// Unsealed counts the rows that no seal covers, by table.
func (v *Evidence) Unsealed(ctx context.Context) (map[string]int64, error) {
	out := map[string]int64{}
	for _, table := range []string{"entries", "subtotals", "cuts", "device_hours"} {
		var n int64
		if err := v.conn.QueryRow(ctx, "SELECT toInt64(count()) FROM "+table+" WHERE (site, batch, root) NOT IN (SELECT site, batch, root FROM seals)").Scan(&n); err != nil {
			return nil, fmt.Errorf("count rows of %s without a seal: %w", table, err)
		}
		out[table] = n
	}
	return out, nil
}

// LogRows are the records of the log as they are stored, in order.
func (v *Evidence) LogRows(ctx context.Context) ([]evidence.LogRow, error) {
	var out []evidence.LogRow
	err := v.each(ctx, "SELECT position, site, batch, root, record FROM log_records ORDER BY position, inserted", func(rows driver.Rows) error {
		var r evidence.LogRow
		var text string
		err := rows.Scan(&r.Index, &r.Site, &r.Batch, &r.Root, &text)
		r.Record = []byte(text)
		out = append(out, r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	return out, nil
}

// CheckpointRows are the checkpoints as they are stored, in order of size.
func (v *Evidence) CheckpointRows(ctx context.Context) ([]evidence.CheckpointRow, error) {
	var out []evidence.CheckpointRow
	err := v.each(ctx, "SELECT size, root, note FROM log_checkpoints ORDER BY size, inserted", func(rows driver.Rows) error {
		var c evidence.CheckpointRow
		var text string
		err := rows.Scan(&c.Size, &c.Root, &text)
		c.Note = []byte(text)
		out = append(out, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	return out, nil
}
