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
	seals   []record.Seal
	lines   map[string][]report.Booked // by site
}

func (b *book) Sites(context.Context) ([]record.Site, error)     { return b.sites, nil }
func (b *book) Tenants(context.Context) ([]record.Tenant, error) { return b.tenants, nil }
func (b *book) Seals(context.Context) ([]record.Seal, error)     { return b.seals, nil }

func (b *book) Entries(_ context.Context, f documents.Filter) iter.Seq2[report.Booked, error] {
	return func(yield func(report.Booked, error) bool) {
		for _, site := range sorted(b.lines) {
			for _, l := range b.lines[site] {
				hour, err := l.Start()
				wanted := err == nil && f.Period.Holds(hour) && f.AsOf.Covers(l.Site, l.Batch) && (f.Tenant == "" || l.Tenant == f.Tenant)
				if wanted && !yield(l, nil) {
					return
				}
			}
		}
	}
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
func (b *book) seal(t testing.TB, entries []record.Entry) {
	t.Helper()
	hours := map[string]map[string][]record.Entry{}
	for _, e := range entries {
		if hours[e.Site] == nil {
			hours[e.Site] = map[string][]record.Entry{}
		}
		hours[e.Site][e.Hour] = append(hours[e.Site][e.Hour], e)
	}
	b.lines = map[string][]report.Booked{}
	for _, site := range sorted(hours) {
		previous := ""
		for n, hour := range sorted(hours[site]) {
			lines, err := ledger.Lines(hours[site][hour])
			if err != nil {
				t.Fatal(err)
			}
			s := ledger.Seal(lines, site, uint64(n), previous)
			at, err := time.Parse(time.RFC3339, hour)
			if err != nil {
				t.Fatal(err)
			}
			s.Hour, s.Closing, previous = unit.MicrosOf(at), "complete", s.Root
			b.seals = append(b.seals, s)
			for _, l := range lines {
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

// entry makes a full entry of a compact row: energy in mJ, times within the hour as mm:ss, active in seconds.
func entry(t testing.TB, row map[string]string, sites map[string]record.Site, grids map[string]factor.Grid) record.Entry {
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
	e := record.Entry{
		Site: row["site"], Hour: row["hour"], Kind: record.Closing, Account: record.AccountTenant, Node: row["site"] + "-n1",
		Device: row["device"], DeviceKind: "gpu", Model: row["model"], Tenant: row["tenant"], Project: row["project"],
		Workload: row["workload"], ModelID: row["model_id"], Purpose: row["purpose"], Allocation: row["allocation"],
		From: at("from", 0), To: at("to", unit.Hour), Rules: ledger.Rules, Split: "slots",
		GPU: unit.Millijoules(integer(t, row, "gpu")), CPU: unit.Millijoules(integer(t, row, "cpu")),
		NodeRest: unit.Millijoules(integer(t, row, "rest")), Facility: unit.Millijoules(integer(t, row, "facility")),
		Estimated: unit.Millijoules(integer(t, row, "estimated")),
		SMActive:  unit.Micros(integer(t, row, "active_s")) * unit.Second,
		Flags:     []string{"it_shared_unmetered", "pue_modelled", "rest_modelled"},
	}
	if e.Tenant == "" {
		e.Account = record.AccountUnallocated
	}
	if row["kind"] != "" {
		e.DeviceKind = row["kind"]
	}
	share := int64(1000)
	if row["share"] != "" {
		share = integer(t, row, "share")
	}
	e.DeviceTime = unit.DeviceTime(int64((e.To-e.From)/unit.Millisecond) * share)
	e.Measured, e.Modelled = e.GPU+e.CPU-e.Estimated, e.NodeRest+e.Facility
	e.TicksExpected = int64((e.To - e.From) / (10 * unit.Second))
	e.TicksRead = e.TicksExpected
	grid := grids[sites[e.Site].Zone]
	e.Factor = grid.Ref()
	if e.Carbon, err = carbon.Of(e.Total(), grid); err != nil {
		t.Fatal(err)
	}
	return e
}

// open reads a case's ledger.
func open(t testing.TB, sites, tenants, entries string) *book {
	t.Helper()
	b := &book{}
	byID := map[string]record.Site{}
	for _, r := range table(t, "sites.csv", sites) {
		s := record.Site{
			ID: r["id"], Country: r["country"], Zone: r["zone"], Operator: r["operator"], OperatorCountry: r["operator_country"],
			PUEThousandths: integer(t, r, "pue_thousandths"),
		}
		b.sites, byID[s.ID] = append(b.sites, s), s
	}
	for _, r := range table(t, "tenants.csv", tenants) {
		b.tenants = append(b.tenants, record.Tenant{
			ID: r["id"], Name: r["name"], Sector: r["sector"], Country: r["country"], VATID: r["vat_id"], AllowedCountries: strings.Fields(r["allowed"]),
		})
	}
	grids, err := factor.Grids()
	if err != nil {
		t.Fatal(err)
	}
	var list []record.Entry
	for _, r := range table(t, "entries.csv", entries) {
		list = append(list, entry(t, r, byID, grids))
	}
	b.seal(t, list)
	return b
}
