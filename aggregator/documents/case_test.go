package documents_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/aggregator/documents"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// book is a small ledger in memory, sealed as the closer seals.
type book struct {
	sites   []record.Site
	tenants []record.Tenant
	nodes   []record.Node
	quality []report.QualityRow
	seals   []record.Seal
	lines   map[string][]report.Booked // by site
}

// grow is the ledger with more batches, as it is later on.
func (b *book) grow(t testing.TB, list []draft) *book {
	t.Helper()
	later := &book{sites: b.sites, tenants: b.tenants, nodes: b.nodes, quality: b.quality}
	later.seal(t, list)
	return later
}

// draft is an entry that is to be booked: in the batch of its own hour, or in that of a later one that it adjusts from.
type draft struct {
	record.Entry
	// label names the entry, corrects the label of the one it corrects.
	label, corrects string
	// batch is the hour whose batch books it.
	batch string
}

func (b *book) Sites(context.Context) ([]record.Site, error)     { return b.sites, nil }
func (b *book) Tenants(context.Context) ([]record.Tenant, error) { return b.tenants, nil }
func (b *book) Nodes(context.Context) ([]record.Node, error)     { return b.nodes, nil }
func (b *book) Seals(context.Context) ([]record.Seal, error)     { return b.seals, nil }

func (b *book) Entries(_ context.Context, f documents.Filter) iter.Seq2[report.Booked, error] {
	return func(yield func(report.Booked, error) bool) {
		for _, site := range sorted(b.lines) {
			for _, l := range b.lines[site] {
				hour, err := l.Start()
				wanted := err == nil && f.Period.Holds(hour) && f.AsOf.Covers(l.Site, l.Batch) && (f.Tenant == "" || l.Tenant == f.Tenant || l.Tenant == "" && slices.Contains(f.Nodes, l.Node))
				if wanted && !yield(l, nil) {
					return
				}
			}
		}
	}
}

func (b *book) Quality(context.Context, documents.Filter) ([]report.QualityRow, error) {
	return b.quality, nil
}

func (b *book) Export(_ context.Context, w io.Writer, _ report.AsOf) error {
	for _, s := range b.seals {
		if err := json.NewEncoder(w).Encode(documents.ExportSealOf(s)); err != nil {
			return err
		}
	}
	return nil
}

// seal books entries: a batch per site and hour, in order.
func (b *book) seal(t testing.TB, list []draft) {
	t.Helper()
	hours := map[string]map[string][]draft{}
	for _, d := range list {
		if hours[d.Site] == nil {
			hours[d.Site] = map[string][]draft{}
		}
		hours[d.Site][d.batch] = append(hours[d.Site][d.batch], d)
	}
	b.lines = map[string][]report.Booked{}
	for _, site := range sorted(hours) {
		previous, roots, ids := "", map[string]string{}, map[string]string{}
		for n, hour := range sorted(hours[site]) {
			var entries []record.Entry
			labels := map[string]string{} // by canonical bytes
			for _, d := range hours[site][hour] {
				if d.Kind == record.Adjustment {
					if d.Corrects = ids[d.corrects]; d.corrects == "seal" {
						d.Corrects = "seal:" + roots[d.Hour]
					}
				}
				canonical, err := ledger.Canonical(d.Entry)
				if err != nil {
					t.Fatal(err)
				}
				labels[string(canonical)] = d.label
				entries = append(entries, d.Entry)
			}
			at, err := time.Parse(time.RFC3339, hour)
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := ledger.Make(ledger.Batch{
				Site: site, Number: uint64(n), Previous: previous, Hour: unit.MicrosOf(at), Closing: "complete", Entries: entries,
			}, ledger.SecretFrom("test").Site(site))
			if err != nil {
				t.Fatal(err)
			}
			s, lines := sealed.Seal, sealed.Lines
			previous, roots[hour] = s.Root, s.Root
			b.seals = append(b.seals, s)
			for _, l := range lines {
				ids[labels[string(l.Canonical)]] = l.ID
				b.lines[site] = append(b.lines[site], report.Booked{Entry: l.Entry, ID: l.ID, Batch: s.Batch})
			}
		}
	}
	slices.SortFunc(b.seals, report.CompareSeals)
}

func sorted[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// table reads a CSV whose columns may be any and in any order; what is left out is empty.
func table(t testing.TB, name, text string) []map[string]string {
	t.Helper()
	r := csv.NewReader(strings.NewReader(text))
	r.TrimLeadingSpace = true
	all, err := r.ReadAll()
	if err != nil || len(all) == 0 {
		t.Fatalf("%s: %v", name, err)
	}
	var out []map[string]string
	for _, row := range all[1:] {
		m := map[string]string{}
		for i, v := range row {
			m[strings.TrimSpace(all[0][i])] = strings.TrimSpace(v)
		}
		out = append(out, m)
	}
	return out
}

func integer(t testing.TB, row map[string]string, key string) int64 {
	t.Helper()
	if row[key] == "" {
		return 0
	}
	v, err := strconv.ParseInt(strings.ReplaceAll(row[key], "_", ""), 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return v
}

// entry makes a full entry of a compact row: energy in mJ, times within the hour as mm:ss, active in seconds. What is left out is what
// an hour by the rules of 2026-11 would have; "rules" 2026-12 asks for those.
func entry(t testing.TB, row map[string]string, sites map[string]record.Site, grids map[string]factor.Grid) draft {
	t.Helper()
	hour, err := time.Parse(time.RFC3339, row["hour"])
	if err != nil {
		t.Fatal(err)
	}
	at := func(key string, otherwise unit.Micros) unit.Micros {
		if row[key] == "" {
			return unit.MicrosOf(hour) + otherwise
		}
		var m, s int64
		if _, err := fmt.Sscanf(row[key], "%d:%d", &m, &s); err != nil {
			t.Fatalf("%s %q: %v", key, row[key], err)
		}
		return unit.MicrosOf(hour) + unit.Micros(m*60+s)*unit.Second
	}
	text := func(key, otherwise string) string {
		if row[key] == "" {
			return otherwise
		}
		return row[key]
	}
	e := record.Entry{
		Site: row["site"], Hour: row["hour"], Kind: record.Closing, Account: record.AccountTenant, Node: text("node", row["site"]+"-n1"),
		Device: row["device"], DeviceKind: text("kind", "gpu"), Model: row["model"], Tenant: row["tenant"], Project: row["project"],
		Workload: row["workload"], ModelID: row["model_id"], Purpose: row["purpose"], Allocation: row["allocation"],
		From: at("from", 0), To: at("to", unit.Hour), Rules: text("rules", "2026-11"), Split: "slots",
		GPU: unit.Millijoules(integer(t, row, "gpu")), CPU: unit.Millijoules(integer(t, row, "cpu")),
		NodeRest: unit.Millijoules(integer(t, row, "rest")), ITShared: unit.Millijoules(integer(t, row, "shared")),
		Facility:  unit.Millijoules(integer(t, row, "facility")),
		Estimated: unit.Millijoules(integer(t, row, "estimated")), Interpolated: unit.Millijoules(integer(t, row, "interpolated")),
		BoundLow: unit.Millijoules(integer(t, row, "low")), BoundHigh: unit.Millijoules(integer(t, row, "high")),
		Uncertainty: unit.Millijoules(integer(t, row, "uncertainty")),
		SMActive:    unit.Micros(integer(t, row, "active_s")) * unit.Second,
		RestSource:  row["rest_source"], SharedSource: row["shared_source"], FacilitySource: row["facility_source"],
		Water: unit.Microlitres(integer(t, row, "water_ul")), WaterSource: row["water_source"],
		CarbonEmbodied: unit.MicrogramsCO2e(integer(t, row, "embodied_ug")), FactorEmbodied: row["embodied"], FactorMarket: row["market"],
		Flags: strings.Fields(text("flags", "it_shared_unmetered pue_modelled rest_modelled")),
	}
	if e.Tenant == "" {
		e.Account = record.AccountUnallocated
	}
	e.Account = record.Account(text("account", string(e.Account)))
	if e.Rules != "2026-11" {
		e.IdleLimit = 10
	}
	share := int64(1000)
	if row["share"] != "" {
		share = integer(t, row, "share")
	}
	e.DeviceTime = unit.DeviceTime(int64((e.To-e.From)/unit.Millisecond) * share)
	e.Unavailable = unit.DeviceTime(integer(t, row, "unavailable_s")) * 1_000_000
	for _, c := range []struct {
		energy unit.Millijoules
		source string
	}{{e.NodeRest, e.RestSource}, {e.ITShared, e.SharedSource}, {e.Facility, e.FacilitySource}} {
		if strings.HasPrefix(c.source, "meter") {
			e.Measured += c.energy
		} else {
			e.Modelled += c.energy
		}
	}
	e.Measured += e.GPU + e.CPU - e.Estimated
	if e.TicksExpected = int64((e.To - e.From) / (10 * unit.Second)); share == 0 {
		e.TicksExpected = 0 // an adjustment that changes no time
	}
	e.TicksRead = e.TicksExpected - integer(t, row, "missed")
	grid := grids[sites[e.Site].Zone]
	e.Factor = grid.Ref()
	if e.Carbon, err = carbon.Location(e.Total(), factor.Chosen{Edition: factor.Edition{Value: grid.MicrogramsPerKWh}}); err != nil {
		t.Fatal(err)
	}
	if row["market"] != "" {
		v, err := unit.RoundMulDiv(int64(e.Total()), integer(t, row, "market_ug"), unit.MillijoulesPerKWh)
		if err != nil {
			t.Fatal(err)
		}
		e.CarbonMarket = unit.MicrogramsCO2e(v)
	}
	d := draft{Entry: e, label: row["label"], corrects: row["corrects"], batch: text("batch", e.Hour)}
	if d.corrects != "" {
		d.Kind, d.Reason = record.Adjustment, row["reason"]
	}
	if row["less"] != "" { // the line is taken back: what an adjustment of it says is its negative
		d.Entry = negative(d.Entry)
	}
	return d
}

// negative is what takes an entry back.
func negative(e record.Entry) record.Entry {
	e.DeviceTime, e.Unavailable = -e.DeviceTime, -e.Unavailable
	e.GPU, e.CPU, e.NodeRest, e.ITShared, e.Facility = -e.GPU, -e.CPU, -e.NodeRest, -e.ITShared, -e.Facility
	e.Measured, e.Estimated, e.Modelled, e.Interpolated = -e.Measured, -e.Estimated, -e.Modelled, -e.Interpolated
	e.BoundLow, e.BoundHigh, e.Uncertainty = -e.BoundLow, -e.BoundHigh, -e.Uncertainty
	e.SMActive, e.TicksExpected, e.TicksRead = -e.SMActive, -e.TicksExpected, -e.TicksRead
	e.Carbon, e.CarbonMarket, e.CarbonEmbodied, e.Water, e.HeatReused = -e.Carbon, -e.CarbonMarket, -e.CarbonEmbodied, -e.Water, -e.HeatReused
	return e
}

// read is a case's inventory, with nothing booked, and what is to be.
func read(t testing.TB, in map[string]string) (*book, []draft) {
	t.Helper()
	b := &book{}
	byID := map[string]record.Site{}
	for _, r := range table(t, "sites.csv", in["sites.csv"]) {
		s := record.Site{
			ID: r["id"], Country: r["country"], Zone: r["zone"], Operator: r["operator"], OperatorCountry: r["operator_country"],
			PUEThousandths: integer(t, r, "pue_thousandths"),
		}
		b.sites, byID[s.ID] = append(b.sites, s), s
	}
	for _, r := range table(t, "tenants.csv", in["tenants.csv"]) {
		b.tenants = append(b.tenants, record.Tenant{
			ID: r["id"], Name: r["name"], Sector: r["sector"], Country: r["country"], VATID: r["vat_id"], AllowedCountries: strings.Fields(r["allowed"]),
		})
	}
	if in["nodes.csv"] != "" {
		for _, r := range table(t, "nodes.csv", in["nodes.csv"]) {
			b.nodes = append(b.nodes, record.Node{ID: r["id"], Site: r["site"], Rack: r["rack"]})
		}
	}
	grids, err := factor.Grids()
	if err != nil {
		t.Fatal(err)
	}
	var list []draft
	for _, r := range table(t, "entries.csv", in["entries.csv"]) {
		list = append(list, entry(t, r, byID, grids))
	}
	return b, list
}
