package clickhouse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/documents"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Tenants are the tenants of the inventory in order of id.
func (s *Store) Tenants(ctx context.Context) ([]record.Tenant, error) {
	rows, err := s.conn.Query(ctx, `SELECT id, name, sector, size_class, country, vat_id, allowed_countries FROM tenants FINAL ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read tenants: %w", err)
	}
	defer rows.Close()
	var out []record.Tenant
	for rows.Next() {
		var t record.Tenant
		if err := rows.Scan(&t.ID, &t.Name, &t.Sector, &t.SizeClass, &t.Country, &t.VATID, &t.AllowedCountries); err != nil {
			return nil, fmt.Errorf("read tenants: %w", err)
		}
		out = append(out, t)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read tenants: %w", err)
	}
	return out, nil
}

// Seals are all seals in the order of the log: by hour, site and batch.
func (s *Store) Seals(ctx context.Context) ([]record.Seal, error) { return s.seals(ctx, "seals FINAL") }

func (s *Store) seals(ctx context.Context, from string) ([]record.Seal, error) {
	rows, err := s.conn.Query(ctx, "SELECT "+sealColumns+" FROM "+from+" ORDER BY hour, site, batch")
	if err != nil {
		return nil, fmt.Errorf("read seals: %w", err)
	}
	defer rows.Close()
	var out []record.Seal
	for rows.Next() {
		var l record.Seal
		var hour time.Time
		var entries, adjustments uint32
		var measured, estimated, modelled, held, carbon, market, embodied, water int64
		if err := rows.Scan(&l.Site, &l.Batch, &l.Root, &l.Previous, &hour, &entries, &adjustments, &measured, &estimated, &modelled, &held,
			&carbon, &market, &embodied, &water, &l.Cuts, &l.DeviceHours, &l.Samples, &l.SampleRows, &l.Closing, &l.Reason, &l.Rules, &l.Inputs); err != nil {
			return nil, fmt.Errorf("read seals: %w", err)
		}
		l.Hour, l.Entries, l.Adjustments = unit.MicrosOf(hour), int(entries), int(adjustments)
		l.Measured, l.Estimated, l.Modelled = unit.Millijoules(measured), unit.Millijoules(estimated), unit.Millijoules(modelled)
		l.DeviceTime, l.Water = unit.DeviceTime(held), unit.Microlitres(water)
		l.Carbon, l.CarbonMarket, l.CarbonEmbodied = unit.MicrogramsCO2e(carbon), unit.MicrogramsCO2e(market), unit.MicrogramsCO2e(embodied)
		out = append(out, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read seals: %w", err)
	}
	return out, nil
}

// entriesSQL reads the canonical bytes and nothing else of an entry: they are what was sealed.
const entriesSQL = `
SELECT site, batch, id, canonical FROM entry
WHERE ({site:String} = '' OR site = {site:String})
  AND ({tenant:String} = '' OR tenant = {tenant:String} OR (tenant = '' AND has({nodes:Array(String)}, node)))
  AND ({all:UInt8} = 1 OR batch < transform(site, {sites:Array(String)}, {batches:Array(UInt64)}, toUInt64(0)))
  AND ((hour >= toDateTime({from:Int64}, 'UTC') AND hour < toDateTime({to:Int64}, 'UTC'))
    OR ({whole:UInt8} = 1 AND (site, batch) IN (
      SELECT site, batch FROM seals FINAL WHERE hour >= toDateTime({from:Int64}, 'UTC') AND hour < toDateTime({to:Int64}, 'UTC'))))
ORDER BY site, batch, position`

// Entries are those the filter asks for, in order of site, batch and position. Each is decoded from its canonical bytes,
// whose SHA-256 must be its id; the first error ends them.
func (s *Store) Entries(ctx context.Context, f documents.Filter) iter.Seq2[report.Booked, error] {
	return func(yield func(report.Booked, error) bool) {
		sites, batches := arrays(f.AsOf)
		rows, err := s.conn.Query(with(ctx, "site", f.Site, "tenant", f.Tenant, "nodes", array(f.Nodes), "all", oneIf(f.AsOf == nil), "sites", sites, "batches", batches,
			"from", int64(f.Period.From/unit.Second), "to", int64(f.Period.To/unit.Second), "whole", oneIf(f.WholeBatches)), entriesSQL)
		if err != nil {
			yield(report.Booked{}, fmt.Errorf("read entries of %s: %w", f.Period, err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var b report.Booked
			var site, canonical string
			if err := rows.Scan(&site, &b.Batch, &b.ID, &canonical); err != nil {
				yield(report.Booked{}, fmt.Errorf("read entries of %s: %w", f.Period, err))
				return
			}
			if b.Entry, err = decode(b.ID, []byte(canonical)); err == nil && b.Site != site {
				err = fmt.Errorf("entry %s says site %s and stands in the ledger of %s", b.ID, b.Site, site)
			}
			if err != nil {
				yield(report.Booked{}, err)
				return
			}
			if !yield(b, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(report.Booked{}, fmt.Errorf("read entries of %s: %w", f.Period, err))
		}
	}
}

// decode reads an entry from its canonical bytes and checks that they are what the id names.
func decode(id string, canonical []byte) (record.Entry, error) {
	if sum := sha256.Sum256(canonical); hex.EncodeToString(sum[:]) != id {
		return record.Entry{}, fmt.Errorf("entry %s: the SHA-256 of its bytes is %x: the row was changed after it was sealed", id, sum)
	}
	e, err := ledger.ParseEntry(canonical)
	if err != nil {
		return record.Entry{}, fmt.Errorf("entry %s: %w", id, err)
	}
	return e, nil
}

// Export writes the ledger as JSON lines: for each seal in the order of the log {"seal":{…}}, then the canonical bytes of
// its entries in order. It checks each entry against its id and each batch against the counts and sums of its seal; that the
// seals' roots cover them is for `wattledger ledger verify` to prove, which has the keys. asOf nil takes all.
func (s *Store) Export(ctx context.Context, w io.Writer, asOf report.AsOf) error {
	seals, err := s.Seals(ctx)
	if err != nil {
		return err
	}
	for _, l := range seals {
		if asOf != nil && !asOf.Covers(l.Site, l.Batch) {
			continue
		}
		if err := s.exportBatch(ctx, w, l); err != nil {
			return fmt.Errorf("export batch %d of %s: %w", l.Batch, l.Site, err)
		}
	}
	return nil
}

func (s *Store) exportBatch(ctx context.Context, w io.Writer, l record.Seal) error {
	head, err := json.Marshal(struct {
		Seal documents.ExportSeal `json:"seal"`
	}{documents.ExportSealOf(l)})
	if err != nil {
		return err
	}
	if _, err := w.Write(append(head, '\n')); err != nil {
		return err
	}
	rows, err := s.conn.Query(with(ctx, "site", l.Site, "batch", l.Batch),
		`SELECT id, canonical FROM entry WHERE site = {site:String} AND batch = {batch:UInt64} ORDER BY position`)
	if err != nil {
		return err
	}
	defer rows.Close()
	have := record.Seal{}
	for rows.Next() {
		var id, canonical string
		if err := rows.Scan(&id, &canonical); err != nil {
			return err
		}
		e, err := decode(id, []byte(canonical))
		if err != nil {
			return err
		}
		ledger.AddToSeal(&have, e)
		if _, err := io.WriteString(w, canonical+"\n"); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if have.Entries != l.Entries || have.Adjustments != l.Adjustments || have.Measured != l.Measured || have.Estimated != l.Estimated ||
		have.Modelled != l.Modelled || have.DeviceTime != l.DeviceTime || have.Carbon != l.Carbon || have.CarbonMarket != l.CarbonMarket ||
		have.CarbonEmbodied != l.CarbonEmbodied || have.Water != l.Water {
		return fmt.Errorf("the seal covers %d entries, %d mJ measured and %d device time, the ledger holds %d, %d mJ and %d: entries are missing or were changed",
			l.Entries, l.Measured, l.DeviceTime, have.Entries, have.Measured, have.DeviceTime)
	}
	return nil
}

// SaveDocument keeps a document that was issued. It is known by its content: saving it again changes nothing.
func (s *Store) SaveDocument(ctx context.Context, d documents.Document) error {
	id := d.SHA256()
	err := s.insert(ctx, "documents (id, kind, tenant, period_from, period_to, as_of, media_type, name, content)", "document/"+id, 1,
		func(b driver.Batch, _ int) error {
			return b.Append(id, d.Kind, d.Tenant, d.Period.From.Time(), d.Period.To.Time(), d.AsOf.Seals(), d.MediaType, d.Name, string(d.Content))
		})
	if err != nil {
		return fmt.Errorf("save document %s: %w", d.Name, err)
	}
	return nil
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// arrays writes an as-of as the text of two array parameters.
func arrays(a report.AsOf) (sites, batches string) {
	var names, counts []string
	for site, n := range a {
		names = append(names, site)
		counts = append(counts, fmt.Sprint(n))
	}
	return array(names), "[" + strings.Join(counts, ",") + "]"
}

// Nodes are those of the inventory, in order of site and id.
func (s *Store) Nodes(ctx context.Context) ([]record.Node, error) {
	rows, err := s.conn.Query(ctx, `SELECT id, site, rack, model FROM nodes FINAL ORDER BY site, id`)
	if err != nil {
		return nil, fmt.Errorf("read nodes: %w", err)
	}
	defer rows.Close()
	var out []record.Node
	for rows.Next() {
		var n record.Node
		if err := rows.Scan(&n.ID, &n.Site, &n.Rack, &n.Model); err != nil {
			return nil, fmt.Errorf("read nodes: %w", err)
		}
		out = append(out, n)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read nodes: %w", err)
	}
	return out, nil
}

// qualitySQL sums the hours in which a device or a meter contradicts others. Of two batches that speak of one line the newer counts.
const qualitySQL = `
SELECT site, kind, node, device, arraySort(groupUniqArrayArray(noted)), count(), min(hour), max(hour), sum(excess), max(excess),
  countIf(doubted), sumIf(counter, doubted), sumIf(integral, doubted)
FROM (
  SELECT site, kind, node, device, hour, argMax(flags, batch) AS noted, argMax(excess_mj, batch) AS excess,
    argMax(counter_mj, batch) AS counter, argMax(integral_mj, batch) AS integral, has(noted, '` + report.SecondOpinion + `') AS doubted
  FROM device_hour
  WHERE ({site:String} = '' OR site = {site:String}) AND hour >= toDateTime({from:Int64}, 'UTC') AND hour < toDateTime({to:Int64}, 'UTC')
    AND ({all:UInt8} = 1 OR batch < transform(site, {sites:Array(String)}, {batches:Array(UInt64)}, toUInt64(0)))
  GROUP BY site, kind, node, device, hour)
WHERE excess > 0 OR doubted
GROUP BY site, kind, node, device ORDER BY site, kind, node, device`

// Quality are the devices and meters whose readings contradict others.
func (s *Store) Quality(ctx context.Context, f documents.Filter) ([]report.QualityRow, error) {
	sites, batches := arrays(f.AsOf)
	rows, err := s.conn.Query(with(ctx, "site", f.Site, "all", oneIf(f.AsOf == nil), "sites", sites, "batches", batches,
		"from", int64(f.Period.From/unit.Second), "to", int64(f.Period.To/unit.Second)), qualitySQL)
	if err != nil {
		return nil, fmt.Errorf("read the quality of %s: %w", f.Period, err)
	}
	defer rows.Close()
	var out []report.QualityRow
	for rows.Next() {
		var q report.QualityRow
		var first, last time.Time
		var hours, doubted uint64
		var excess, largest, counter, integral int64
		if err := rows.Scan(&q.Site, &q.Kind, &q.Node, &q.Device, &q.Flags, &hours, &first, &last, &excess, &largest, &doubted, &counter, &integral); err != nil {
			return nil, fmt.Errorf("read the quality of %s: %w", f.Period, err)
		}
		q.Hours, q.Doubted = int64(hours), int64(doubted)
		q.First, q.Last = report.Stamp(unit.MicrosOf(first)), report.Stamp(unit.MicrosOf(last))
		q.Excess, q.Largest = unit.Millijoules(excess), unit.Millijoules(largest)
		q.Counter, q.Integral = unit.Millijoules(counter), unit.Millijoules(integral)
		out = append(out, q)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the quality of %s: %w", f.Period, err)
	}
	return out, nil
}
