package clickhouse

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/record"
)

// Append writes a batch: all else first, the seal last. The seal is the commit: readers join on it, so a batch
// that was left half written is not seen, and writing it again with the same root changes nothing.
func (s *Store) Append(ctx context.Context, b ledger.Sealed) error {
	if err := s.insertCuts(ctx, b.Seal, b.Cuts); err != nil {
		return err
	}
	if err := s.insertEntries(ctx, b.Seal, b.Lines); err != nil {
		return err
	}
	if err := s.insertDeviceHours(ctx, b.Seal, b.DeviceHours); err != nil {
		return err
	}
	if err := s.insertSubtotals(ctx, b.Seal, b.Subtotals); err != nil {
		return err
	}
	if err := s.insertSums(ctx, b); err != nil {
		return err
	}
	return s.seal(ctx, b.Seal)
}

// seal commits a batch. Of two closers that saw different data the first one counts: the token is the batch's alone, without its
// root, so the server drops whichever insert comes second, and reading back tells whose it was. The look before is for a seal so
// old that the server has forgotten its token.
func (s *Store) seal(ctx context.Context, seal record.Seal) error {
	if err := s.sealedAs(ctx, seal, false); err != nil {
		return err
	}
	err := s.insert(ctx, "seals ("+sealColumns+")", fmt.Sprintf("seal/%s/%d", seal.Site, seal.Batch), 1, func(b driver.Batch, _ int) error {
		return b.Append(seal.Site, seal.Batch, seal.Root, seal.Previous, seal.Hour.Time(), uint32(seal.Entries), uint32(seal.Adjustments),
			int64(seal.Measured), int64(seal.Estimated), int64(seal.Modelled), int64(seal.DeviceTime),
			int64(seal.Carbon), int64(seal.CarbonMarket), int64(seal.CarbonEmbodied), int64(seal.Water),
			seal.Cuts, seal.DeviceHours, seal.Samples, seal.SampleRows, seal.Closing, seal.Reason, seal.Rules, seal.Inputs)
	})
	if err != nil {
		return err
	}
	return s.sealedAs(ctx, seal, true)
}

// sealColumns names the columns in the order in which Append fills them and Seals reads them.
const sealColumns = "site, batch, root, previous, hour, entries, adjustments, measured_mj, estimated_mj, modelled_mj, device_time, carbon_ug, " +
	"carbon_market_ug, carbon_embodied_ug, water_ul, cuts, device_hours, samples, sample_rows, closing, reason, rules, inputs"

// sealedAs is nil when the batch has the seal that is to be written or, unless it must be there, none. A closed hour never changes.
func (s *Store) sealedAs(ctx context.Context, seal record.Seal, must bool) error {
	var roots []string
	err := s.conn.QueryRow(with(ctx, "site", seal.Site, "batch", seal.Batch),
		`SELECT groupUniqArray(root) FROM seals WHERE site = {site:String} AND batch = {batch:UInt64}`).Scan(&roots)
	switch other := slices.DeleteFunc(slices.Clone(roots), func(r string) bool { return r == seal.Root }); {
	case err != nil:
		return fmt.Errorf("read the seal of batch %d of %s: %w", seal.Batch, seal.Site, err)
	case len(other) > 0:
		return fmt.Errorf("batch %d of %s has root %s, not %s: %w", seal.Batch, seal.Site, other[0], seal.Root, closer.ErrSealed)
	case must && len(roots) == 0:
		return fmt.Errorf("batch %d of %s: the server took the seal and does not show it; it is written again", seal.Batch, seal.Site)
	}
	return nil
}

// token makes the server drop an insert that it has already: the same batch is the same rows.
func token(seal record.Seal) string { return fmt.Sprintf("%s/%d/%s", seal.Site, seal.Batch, seal.Root) }

// cutsPartition is the span of time of a partition of cuts.
const cutsPartition = 2_678_400_000_000

// byPartition calls insert with the places of each partition's rows: one insert never spans two, as the server takes an insert
// whole or not at all only within one.
func byPartition[K cmp.Ordered](rows int, partition func(i int) (K, error), insert func(K, []int) error) error {
	places := map[K][]int{}
	for i := range rows {
		k, err := partition(i)
		if err != nil {
			return err
		}
		places[k] = append(places[k], i)
	}
	for _, k := range slices.Sorted(maps.Keys(places)) {
		if err := insert(k, places[k]); err != nil {
			return err
		}
	}
	return nil
}

// byMonth inserts rows of several hours: their tables are partitioned by month.
func (s *Store) byMonth(ctx context.Context, table string, seal record.Seal, rows int, hour func(int) string, add func(driver.Batch, int, time.Time) error) error {
	at := make([]time.Time, rows)
	return byPartition(rows, func(i int) (string, error) {
		var err error
		if at[i], err = time.Parse(time.RFC3339, hour(i)); err != nil {
			return "", fmt.Errorf("hour %q is not an RFC 3339 time", hour(i))
		}
		return at[i].UTC().Format("200601"), nil
	}, func(month string, places []int) error {
		return s.insert(ctx, table, token(seal)+"/"+month, len(places), func(b driver.Batch, i int) error { return add(b, places[i], at[places[i]]) })
	})
}

func (s *Store) insertCuts(ctx context.Context, seal record.Seal, cuts []record.Cut) error {
	add := func(b driver.Batch, c record.Cut) error {
		return b.Append(c.Site, c.Device, int64(c.Epoch), c.Boot, c.Driver, int64(c.T), int64(c.T0), int64(c.C0), int64(c.T1), int64(c.C1),
			c.Run, int64(c.Integral0), int64(c.C), int64(c.Low), int64(c.High), c.Open, c.Interpolated, c.Edition, seal.Batch, seal.Root,
			c.Seen0)
	}
	return byPartition(len(cuts), func(i int) (int64, error) { return int64(cuts[i].T) / cutsPartition, nil }, func(span int64, places []int) error {
		return s.insert(ctx, "cuts", fmt.Sprintf("%s/%d", token(seal), span), len(places), func(b driver.Batch, i int) error { return add(b, cuts[places[i]]) })
	})
}

// entryColumns names the columns in the order in which insertEntries fills them, so that a migration may add others.
const entryColumns = "id, site, batch, root, position, hour, kind, account, node, device, device_kind, model, tenant, project, allocation, " +
	"workload, model_id, purpose, from_us, to_us, device_time, unavailable_time, gpu_mj, cpu_mj, node_rest_mj, it_shared_mj, facility_mj, " +
	"measured_mj, estimated_mj, modelled_mj, interpolated_mj, bound_low_mj, bound_high_mj, uncertainty_mj, sm_active_us, idle_limit, " +
	"ticks_expected, ticks_read, carbon_ug, carbon_market_ug, carbon_embodied_ug, water_ul, heat_reused_mj, rules, split, rest_source, " +
	"it_shared_source, facility_source, water_source, heat_source, factor, factor_market, factor_embodied, flags, corrects, reason, canonical"

func (s *Store) insertEntries(ctx context.Context, seal record.Seal, lines []ledger.Line) error {
	return s.byMonth(ctx, "entries ("+entryColumns+")", seal, len(lines), func(i int) string { return lines[i].Hour }, func(b driver.Batch, i int, hour time.Time) error {
		l := lines[i]
		return b.Append(l.ID, l.Site, seal.Batch, seal.Root, uint32(i), hour, string(l.Kind), string(l.Account),
			l.Node, l.Device, l.DeviceKind, l.Model, l.Tenant, l.Project, l.Allocation, l.Workload, l.ModelID, l.Purpose,
			int64(l.From), int64(l.To), int64(l.DeviceTime), int64(l.Unavailable),
			int64(l.GPU), int64(l.CPU), int64(l.NodeRest), int64(l.ITShared), int64(l.Facility),
			int64(l.Measured), int64(l.Estimated), int64(l.Modelled), int64(l.Interpolated), int64(l.BoundLow), int64(l.BoundHigh),
			int64(l.Uncertainty), int64(l.SMActive), int64(l.IdleLimit), l.TicksExpected, l.TicksRead,
			int64(l.Carbon), int64(l.CarbonMarket), int64(l.CarbonEmbodied), int64(l.Water), int64(l.HeatReused),
			l.Rules, l.Split, l.RestSource, l.SharedSource, l.FacilitySource, l.WaterSource, l.HeatSource,
			l.Factor, l.FactorMarket, l.FactorEmbodied, append([]string{}, l.Flags...), l.Corrects, l.Reason, string(l.Canonical))
	})
}

// deviceHourColumns names the columns in the order in which insertDeviceHours fills them.
const deviceHourColumns = "site, hour, node, device, kind, model, counter_mj, estimated_mj, interpolated_mj, integral_mj, excess_mj, " +
	"bound_low_mj, bound_high_mj, present_us, covered_us, ticks_expected, ticks_read, allocated_time, unallocated_time, unavailable_time, " +
	"resets, clock_steps, sensor, flags, batch, root"

func (s *Store) insertDeviceHours(ctx context.Context, seal record.Seal, list []record.DeviceHour) error {
	return s.byMonth(ctx, "device_hours ("+deviceHourColumns+")", seal, len(list), func(i int) string { return list[i].Hour }, func(b driver.Batch, i int, hour time.Time) error {
		h := list[i]
		return b.Append(h.Site, hour, h.Node, h.Device, h.Kind, h.Model,
			int64(h.Counter), int64(h.Estimated), int64(h.Interpolated), int64(h.Integral), int64(h.Excess),
			int64(h.BoundLow), int64(h.BoundHigh), int64(h.Present), int64(h.Covered), h.TicksExpected, h.TicksRead,
			int64(h.Allocated), int64(h.Unallocated), int64(h.Unavailable), int32(h.Resets), int32(h.ClockSteps),
			h.Sensor, append([]string{}, h.Flags...), seal.Batch, seal.Root)
	})
}

// subtotalColumns names the columns in the order in which insertSubtotals fills them.
const subtotalColumns = "site, hour, account, tenant, entries, tree, device_time, unavailable_time, gpu_mj, cpu_mj, node_rest_mj, " +
	"it_shared_mj, facility_mj, measured_mj, estimated_mj, modelled_mj, interpolated_mj, bound_low_mj, bound_high_mj, uncertainty_mj, " +
	"sm_active_us, ticks_expected, ticks_read, carbon_ug, carbon_market_ug, carbon_embodied_ug, water_ul, heat_reused_mj, batch, root"

func (s *Store) insertSubtotals(ctx context.Context, seal record.Seal, list []record.Subtotal) error {
	return s.byMonth(ctx, "subtotals ("+subtotalColumns+")", seal, len(list), func(i int) string { return list[i].Hour }, func(b driver.Batch, i int, hour time.Time) error {
		t := list[i]
		return b.Append(t.Site, hour, string(t.Account), t.Tenant, uint32(t.Entries), t.Root, int64(t.DeviceTime), int64(t.Unavailable),
			int64(t.GPU), int64(t.CPU), int64(t.NodeRest), int64(t.ITShared), int64(t.Facility),
			int64(t.Measured), int64(t.Estimated), int64(t.Modelled), int64(t.Interpolated), int64(t.BoundLow), int64(t.BoundHigh), int64(t.Uncertainty),
			int64(t.SMActive), t.TicksExpected, t.TicksRead, int64(t.Carbon), int64(t.CarbonMarket), int64(t.CarbonEmbodied),
			int64(t.Water), int64(t.HeatReused), seal.Batch, seal.Root)
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
