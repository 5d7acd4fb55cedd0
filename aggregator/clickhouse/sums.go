package clickhouse

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/ledger"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
	"github.com/wattledger/wattledger/schemas/record"
)

// insertSums writes the sums of a batch that dashboards read. They follow from its entries and device-hours and are in no hash.
func (s *Store) insertSums(ctx context.Context, b ledger.Sealed) error {
	hours, sums := sumLines(b.Lines)
	err := s.byMonth(ctx, "hour_sums (site, hour, node, model, account, tenant, project, model_id, purpose, entries, "+strings.Join(schema.Added, ", ")+", batch, root)", b.Seal,
		len(hours), func(i int) string { return hours[i].hour }, func(d driver.Batch, i int, hour time.Time) error {
			k, sum := hours[i], sums[hours[i]]
			row := []any{b.Seal.Site, hour, k.node, k.model, k.account, k.tenant, k.project, k.modelID, k.purpose, sum.entries}
			for _, v := range sum.added {
				row = append(row, v)
			}
			return d.Append(append(row, b.Seal.Batch, b.Seal.Root)...)
		})
	if err != nil {
		return err
	}
	said, err := s.saidBefore(ctx, b)
	if err != nil {
		return err
	}
	nodes, quality := sumQuality(b.DeviceHours, said)
	return s.byMonth(ctx, "quality_sums (site, hour, node, kind, model, "+strings.Join(schema.Flavour{}.Quality(), ", ")+", batch, root)", b.Seal,
		len(nodes), func(i int) string { return nodes[i].hour }, func(d driver.Batch, i int, hour time.Time) error {
			k := nodes[i]
			row := []any{b.Seal.Site, hour, k.node, k.kind, k.model}
			for _, v := range quality[k] {
				row = append(row, v)
			}
			return d.Append(append(row, b.Seal.Batch, b.Seal.Root)...)
		})
}

// hourKey is what tells rows of hour_sums apart within a batch.
type hourKey struct {
	hour, node, model, account, tenant, project, modelID, purpose string
}

type hourSum struct {
	entries uint32
	added   [22]int64 // as schema.Added names them
}

// sumLines adds up entries. The keys are in order, so that the same batch makes the same rows.
func sumLines(lines []ledger.Line) ([]hourKey, map[hourKey]*hourSum) {
	sums := map[hourKey]*hourSum{}
	for i := range lines {
		l := &lines[i]
		k := hourKey{l.Hour, l.Node, l.Model, string(l.Account), l.Tenant, l.Project, l.ModelID, l.Purpose}
		sum := sums[k]
		if sum == nil {
			sum = &hourSum{}
			sums[k] = sum
		}
		sum.entries++
		for j, v := range [22]int64{
			int64(l.DeviceTime), int64(l.Unavailable), int64(l.GPU), int64(l.CPU), int64(l.NodeRest), int64(l.ITShared), int64(l.Facility),
			int64(l.Measured), int64(l.Estimated), int64(l.Modelled), int64(l.Interpolated), int64(l.BoundLow), int64(l.BoundHigh), int64(l.Uncertainty),
			int64(l.SMActive), l.TicksExpected, l.TicksRead, int64(l.Carbon), int64(l.CarbonMarket), int64(l.CarbonEmbodied), int64(l.Water), int64(l.HeatReused),
		} {
			sum.added[j] += v
		}
	}
	return slices.SortedFunc(maps.Keys(sums), func(a, b hourKey) int {
		return cmp.Or(cmp.Compare(a.hour, b.hour), cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.node, b.node), cmp.Compare(a.model, b.model), cmp.Compare(a.account, b.account),
			cmp.Compare(a.project, b.project), cmp.Compare(a.modelID, b.modelID), cmp.Compare(a.purpose, b.purpose))
	}), sums
}

// saidBefore are the lines that a batch says again, as the batches before it have them. An hour that is being closed has none.
func (s *Store) saidBefore(ctx context.Context, b ledger.Sealed) ([]record.DeviceHour, error) {
	again := map[lineKey]bool{}
	hours := map[string]bool{}
	closed := b.Seal.Hour.Time().UTC().Format(time.RFC3339)
	for _, h := range b.DeviceHours {
		if h.Hour != closed || b.Seal.Closing == "adjustment" {
			again[lineOf(h)], hours[h.Hour] = true, true
		}
	}
	var out []record.DeviceHour
	for _, hour := range slices.Sorted(maps.Keys(hours)) {
		err := s.each(with(ctx, "site", b.Seal.Site, "hour", strings.TrimSuffix(strings.Replace(hour, "T", " ", 1), "Z"), "batch", b.Seal.Batch),
			"SELECT "+deviceHourColumns+" FROM device_hours FINAL WHERE site = {site:String} AND hour = {hour:DateTime('UTC')} "+
				"AND (site, batch, root) IN (SELECT site, batch, root FROM seals FINAL WHERE site = {site:String} AND batch < {batch:UInt64}) "+
				"ORDER BY batch DESC LIMIT 1 BY node, device, kind", func(rows driver.Rows) error {
				_, h, err := scanLine(rows)
				if again[lineOf(h)] {
					out = append(out, h)
				}
				return err
			})
		if err != nil {
			return nil, fmt.Errorf("read what was said of %s at %s: %w", b.Seal.Site, hour, err)
		}
	}
	return out, nil
}

type lineKey struct{ hour, node, device, kind string }

func lineOf(h record.DeviceHour) lineKey { return lineKey{h.Hour, h.Node, h.Device, h.Kind} }

// nodeKey is what tells rows of quality_sums apart within a batch.
type nodeKey struct{ hour, node, kind, model string }

// sumQuality adds up lines, and takes back what was said before of the same.
func sumQuality(lines, before []record.DeviceHour) ([]nodeKey, map[nodeKey]*[20]int64) {
	sums := map[nodeKey]*[20]int64{}
	add := func(list []record.DeviceHour, sign int64) {
		for _, h := range list {
			k := nodeKey{h.Hour, h.Node, h.Kind, h.Model}
			if sums[k] == nil {
				sums[k] = &[20]int64{}
			}
			for i, v := range qualityOf(h) {
				sums[k][i] += sign * v
			}
		}
	}
	add(lines, 1)
	add(before, -1)
	return slices.SortedFunc(maps.Keys(sums), func(a, b nodeKey) int {
		return cmp.Or(cmp.Compare(a.hour, b.hour), cmp.Compare(a.node, b.node), cmp.Compare(a.kind, b.kind), cmp.Compare(a.model, b.model))
	}), sums
}

// qualityOf is a line as the columns of quality_sums have it.
func qualityOf(h record.DeviceHour) [20]int64 {
	var flagged, compared, integral, difference int64
	if len(h.Flags) > 0 {
		flagged = 1
	}
	if h.Integral != record.NoIntegral {
		compared, integral, difference = int64(h.Counter), int64(h.Integral), int64(max(h.Counter-h.Integral, h.Integral-h.Counter))
	}
	return [20]int64{
		1, flagged, int64(h.Counter), int64(h.Estimated), int64(h.Interpolated), compared, integral, difference, int64(h.Excess), int64(h.BoundLow), int64(h.BoundHigh),
		int64(h.Present), int64(h.Covered), h.TicksExpected, h.TicksRead, int64(h.Allocated), int64(h.Unallocated), int64(h.Unavailable), int64(h.Resets), int64(h.ClockSteps),
	}
}
