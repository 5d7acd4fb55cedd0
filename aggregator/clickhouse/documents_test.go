package clickhouse

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/documents"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/aggregator/tariff"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// book closes the two hours of a plant as the closer does.
func book(t *testing.T, s *Store, site record.Site) []ledger.Line {
	t.Helper()
	var all []ledger.Line
	previous := ""
	for batch := range uint64(2) {
		h, err := s.Load(t.Context(), site, hour0+unit.Micros(batch)*unit.Hour)
		if err != nil {
			t.Fatal(err)
		}
		res, err := closing.Close(h)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := ledger.Make(ledger.Batch{
			Site: site.ID, Number: batch, Previous: previous, Hour: h.Start, Closing: "complete",
			Entries: res.Entries, Cuts: res.Cuts, DeviceHours: res.DeviceHours,
		}, secret.Site(site.ID))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Append(t.Context(), sealed); err != nil {
			t.Fatal(err)
		}
		previous = sealed.Seal.Root
		all = append(all, sealed.Lines...)
	}
	return all
}

var twoHours = report.Period{From: hour0, To: hour0 + 2*unit.Hour}

func entries(t *testing.T, s *Store, f documents.Filter) ([]report.Booked, error) {
	t.Helper()
	var out []report.Booked
	for e, err := range s.Entries(t.Context(), f) {
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
	return out, nil
}

func TestDocumentsFromTheLedger(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	exec(t, conn, `INSERT INTO tenants VALUES ('t1', 'Tenant One (fict.)', 'rail', 'large', 'FR', 'FR1234', ['FR', 'SE'], 1), ('t2', 'Tenant Two (fict.)', 'media', 'small', 'SE', 'SE1234', ['SE'], 1)`)
	lines := book(t, s, site)

	// What was booked comes back, in order.
	got, err := entries(t, s, documents.Filter{Period: twoHours})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(lines) || len(got) < 8 {
		t.Fatalf("%d entries were booked and %d come back", len(lines), len(got))
	}
	for i, l := range lines {
		again, err := ledger.Canonical(got[i].Entry)
		if err != nil || got[i].ID != l.ID || !bytes.Equal(again, l.Canonical) {
			t.Errorf("entry %d comes back as %s, %v", i, again, err)
		}
	}
	count := func(f documents.Filter, want func(ledger.Line) bool) {
		t.Helper()
		n := 0
		for _, l := range lines {
			if want(l) {
				n++
			}
		}
		if list, err := entries(t, s, f); err != nil || len(list) != n || n == 0 {
			t.Errorf("%+v: %d entries, %v; want %d", f, len(list), err, n)
		}
	}
	first := report.Period{From: hour0, To: hour0 + unit.Hour}
	count(documents.Filter{Period: first}, func(l ledger.Line) bool { return l.From < hour0+unit.Hour })
	count(documents.Filter{Period: twoHours, Tenant: "t2"}, func(l ledger.Line) bool { return l.Tenant == "t2" })
	// A tenant who reserved the node reads what nobody held of it too, and nothing of another tenant.
	count(documents.Filter{Period: twoHours, Tenant: "t2", Nodes: []string{"n"}}, func(l ledger.Line) bool { return l.Tenant == "t2" || l.Tenant == "" && l.Node == "n" })
	count(documents.Filter{Period: twoHours, Tenant: "t2", Nodes: []string{"m'"}}, func(l ledger.Line) bool { return l.Tenant == "t2" })
	count(documents.Filter{Period: twoHours, Site: "s"}, func(ledger.Line) bool { return true })
	count(documents.Filter{Period: twoHours, AsOf: report.AsOf{"s": 1}}, func(l ledger.Line) bool { return l.From < hour0+unit.Hour })
	count(documents.Filter{Period: first, WholeBatches: true, AsOf: report.AsOf{"s": 2}}, func(l ledger.Line) bool { return l.From < hour0+unit.Hour })
	for _, f := range []documents.Filter{{Period: twoHours, Site: "other"}, {Period: twoHours, Tenant: "x' OR 1=1"}, {Period: twoHours, AsOf: report.AsOf{"it's": 3}}} {
		if list, err := entries(t, s, f); err != nil || len(list) != 0 {
			t.Errorf("%+v: %d entries, %v; want none", f, len(list), err)
		}
	}

	// All documents of the period, twice: the same bytes, and they agree with the seals.
	prices, err := tariff.Parse("example.yaml", tariff.Example)
	if err != nil {
		t.Fatal(err)
	}
	var written [2][]documents.Written
	for i := range written {
		dir := t.TempDir()
		var set documents.Set
		if set, written[i], err = documents.WriteAll(t.Context(), s, documents.Options{Period: twoHours, Prices: prices}, dir); err != nil {
			t.Fatal(err)
		}
		if c := set.Fleet.Check; !c.Agrees || c.Seals != 2 {
			t.Errorf("entries and seals: %+v", c)
		}
		if len(set.Usage) != 2 || len(set.Invoices) != 2 || len(set.Sovereignty.Violations) != 1 {
			t.Errorf("%d statements, %d invoices, %d violations", len(set.Usage), len(set.Invoices), len(set.Sovereignty.Violations))
		}
		export, err := os.ReadFile(filepath.Join(dir, "ledger.jsonl"))
		if err != nil || bytes.Count(export, []byte("\n")) != len(lines)+2 || !bytes.Contains(export, lines[0].Canonical) {
			t.Errorf("the export is %d bytes, %v", len(export), err)
		}
		if err := set.Keep(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	for i, w := range written[0] {
		if w != written[1][i] {
			t.Errorf("%+v, then %+v", w, written[1][i])
		}
	}
	var kept uint64
	if err := conn.QueryRow(t.Context(), `SELECT count() FROM documents FINAL`).Scan(&kept); err != nil || int(kept) != len(written[0])-1 {
		t.Errorf("%d documents are kept, %v; %d were made besides the export", kept, err, len(written[0])-1)
	}

	// An earlier as-of is reproduced after the ledger has grown; a later one is refused.
	set, err := documents.Gather(t.Context(), s, documents.Options{Period: twoHours, AsOf: report.AsOf{"s": 1}})
	if err != nil || set.Log.AsOf().String() != "s=1" || len(set.Log.Open()) != 1 {
		t.Errorf("as of one seal: %s, open %v, %v", set.Log.AsOf(), set.Log.Open(), err)
	}
	if _, err := documents.Gather(t.Context(), s, documents.Options{Period: twoHours, AsOf: report.AsOf{"s": 3}}); err == nil {
		t.Error("a ledger of two batches was read as of three")
	}
	if _, err := documents.Gather(t.Context(), s, documents.Options{Period: report.Period{From: hour0 + 1, To: hour0 + unit.Hour}}); err == nil {
		t.Error("a period that begins within an hour was accepted")
	}
}

// An adjustment of the first hour, booked with a batch of its own, is in documents made from then on and in none made as of before; the
// difference between the two is the adjustment.
func TestAdjustmentInDocuments(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	lines := book(t, s, site)
	prices, err := tariff.Parse("example.yaml", tariff.Example)
	if err != nil {
		t.Fatal(err)
	}
	files := func(o documents.Options) map[string]string {
		t.Helper()
		o.Period, o.Prices = twoHours, prices
		set, err := documents.Gather(t.Context(), s, o)
		if err != nil {
			t.Fatal(err)
		}
		list, err := set.Files()
		if err != nil || !set.Fleet.Check.Agrees {
			t.Fatalf("%+v, %v", set.Fleet.Check, err)
		}
		out := map[string]string{}
		for _, f := range list {
			out[f.Name] = string(f.Content)
		}
		return out
	}
	before := files(documents.Options{})

	at := slices.IndexFunc(lines, func(l ledger.Line) bool { return l.Tenant == "t2" })
	first := lines[at]
	e := first.Entry
	e.Kind, e.Corrects, e.Reason = record.Adjustment, first.ID, "late_data"
	e.DeviceTime, e.CPU, e.NodeRest, e.ITShared, e.Facility, e.Modelled, e.Estimated, e.Interpolated = 0, 0, 0, 0, 0, 0, 0, 0
	e.CarbonMarket, e.CarbonEmbodied, e.Water, e.HeatReused, e.Uncertainty, e.Unavailable = 0, 0, 0, 0, 0, 0
	e.GPU, e.Measured, e.BoundLow, e.BoundHigh, e.Carbon, e.TicksExpected, e.TicksRead, e.SMActive = 3_600_000, 3_600_000, -1, 0, 44, 0, 1, 0
	seals, err := s.Seals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := ledger.Make(ledger.Batch{
		Site: site.ID, Number: 2, Previous: seals[1].Root, Hour: seals[1].Hour, Closing: "adjustment", Reason: "late_data",
		Entries: []record.Entry{e},
	}, ledger.SecretFrom("test").Site(site.ID))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), sealed); err != nil {
		t.Fatal(err)
	}

	if again := files(documents.Options{AsOf: report.AsOf{"s": 2}}); !maps.Equal(before, again) {
		t.Error("documents as of before the adjustment changed with it")
	}
	after := files(documents.Options{})
	if !strings.Contains(after["tenants/t2/adjustments.csv"], first.ID) || before["tenants/t2/adjustments.csv"] != "" {
		t.Errorf("the statement lists %s", after["tenants/t2/adjustments.csv"])
	}
	if before["tenants/t1/invoice.json"] == "" || !strings.Contains(after["fleet.txt"], "late_data") {
		t.Errorf("the fleet report says %s", after["fleet.txt"])
	}
	d, err := documents.Compare(t.Context(), s, documents.Options{Period: twoHours, Tenant: "t2", Prices: prices}, report.AsOf{"s": 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range d.Figures {
		want := map[string]int64{"energy": 3_600_000, "of it measured": 3_600_000, "carbon, location-based, lifecycle": 44}[f.Name]
		if f.Change != want || f.Adjusted != want || f.Closed != 0 {
			t.Errorf("%+v, want a change of %d", f, want)
		}
	}
	if len(d.Adjustments) != 1 || d.Adjustments[0].Entry != sealed.Lines[0].ID {
		t.Errorf("adjustments in between: %+v", d.Adjustments)
	}
}

// Of two batches that speak of a device's hour the newer counts, as far as it was there; what contradicts nothing is not listed.
func TestQuality(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	book(t, s, site)
	seals, err := s.Seals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	previous := seals[1]
	line := func(hour unit.Micros, kind, node, device string, counter, integral, excess unit.Millijoules, flags ...string) record.DeviceHour {
		return record.DeviceHour{
			Site: "s", Hour: report.Stamp(hour), Kind: kind, Node: node, Device: device, Counter: counter, Integral: integral, Excess: excess, Flags: flags,
		}
	}
	second := hour0 + unit.Hour
	for _, list := range [][]record.DeviceHour{
		{
			line(hour0, "gpu", "n", "GPU-0", 100, 90, 0, report.SecondOpinion), line(hour0, "gpu", "n", "GPU-1", 100, 100, 0),
			line(hour0, "node", "n", "", 5, record.NoIntegral, 7, "meter_below_devices"),
		},
		{
			line(hour0, "gpu", "n", "GPU-0", 101, 101, 0), line(second, "gpu", "n", "GPU-0", 200, 150, 0, report.SecondOpinion, "estimated"),
			line(second, "node", "n", "", 5, record.NoIntegral, 9, "meter_below_devices"), line(second, "site", "", "", 5, record.NoIntegral, 0),
		},
	} {
		sealed, err := ledger.Make(ledger.Batch{
			Site: site.ID, Number: previous.Batch + 1, Previous: previous.Root, Hour: previous.Hour, Closing: "adjustment", DeviceHours: list,
		}, secret.Site(site.ID))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Append(t.Context(), sealed); err != nil {
			t.Fatal(err)
		}
		previous = sealed.Seal
	}
	stranger := seals[0]
	stranger.Root = strings.Repeat("ab", 32) // a batch that was never sealed
	if err := s.insertDeviceHours(t.Context(), stranger, []record.DeviceHour{line(hour0, "gpu", "n", "GPU-7", 1, 9, 9)}); err != nil {
		t.Fatal(err)
	}
	f := func(asOf report.AsOf, want ...report.QualityRow) {
		t.Helper()
		got, err := s.Quality(t.Context(), documents.Filter{Period: twoHours, AsOf: asOf})
		if err != nil || len(got) != len(want) {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("as of %s: %+v, want %+v", asOf, got[i], want[i])
			}
		}
	}
	h0, h1 := report.Stamp(hour0), report.Stamp(second)
	below := []string{"meter_below_devices"}
	f(report.AsOf{"s": 3},
		report.QualityRow{Site: "s", Kind: "gpu", Node: "n", Device: "GPU-0", Flags: []string{report.SecondOpinion}, Hours: 1, First: h0, Last: h0, Doubted: 1, Counter: 100, Integral: 90},
		report.QualityRow{Site: "s", Kind: "node", Node: "n", Flags: below, Hours: 1, First: h0, Last: h0, Excess: 7, Largest: 7})
	f(nil,
		report.QualityRow{Site: "s", Kind: "gpu", Node: "n", Device: "GPU-0", Flags: []string{"estimated", report.SecondOpinion}, Hours: 1, First: h1, Last: h1, Doubted: 1, Counter: 200, Integral: 150},
		report.QualityRow{Site: "s", Kind: "node", Node: "n", Flags: below, Hours: 2, First: h0, Last: h1, Excess: 16, Largest: 9})
	set, err := documents.Gather(t.Context(), s, documents.Options{Period: twoHours})
	if err != nil || len(set.Fleet.Quality) != 2 {
		t.Errorf("the fleet report has %+v, %v", set.Fleet.Quality, err)
	}
	nodes, err := s.Nodes(t.Context())
	if err != nil || len(nodes) != 1 || nodes[0].ID != "n" || nodes[0].Rack != "r" || nodes[0].Site != "s" {
		t.Errorf("nodes are %+v, %v", nodes, err)
	}
}

// Whoever changes, adds or removes an entry behind the ledger's back is found out.
func TestTampering(t *testing.T) {
	t.Parallel()
	export := func(s *Store, says string) {
		t.Helper()
		if err := s.Export(t.Context(), &bytes.Buffer{}, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("the export says %v, not %q", err, says)
		}
	}
	differ := func(s *Store, entries int64) {
		t.Helper()
		set, err := documents.Gather(t.Context(), s, documents.Options{Period: twoHours})
		if err != nil || set.Fleet.Check.Agrees || set.Fleet.Check.Entries != entries || len(set.Fleet.Check.Differ) != 1 {
			t.Errorf("the fleet report says %+v, %v", set.Fleet, err)
		}
	}
	const columns = `id, site, batch, root, position, hour, kind, account, tenant, canonical`
	s, conn := open(t)
	lines := book(t, s, plant(t, conn))
	exec(t, conn, `INSERT INTO entries (%s) SELECT id, site, batch, root, position + 1000, hour, kind, account, tenant, canonical FROM entries WHERE id = '%s'`, columns, lines[1].ID)
	export(s, "missing or were changed")
	differ(s, -1)
	exec(t, conn, `ALTER TABLE entries DELETE WHERE id = '%s' SETTINGS mutations_sync = 2`, lines[1].ID)
	export(s, "missing or were changed")
	differ(s, 1)
	exec(t, conn, `INSERT INTO entries (%s) SELECT id, site, batch, root, position, hour, kind, account, tenant, replaceOne(canonical, '"gpu_mj":', '"gpu_mj":1')
		FROM entries WHERE id = '%s'`, columns, lines[0].ID)
	export(s, lines[0].ID)
	if _, err := entries(t, s, documents.Filter{Period: twoHours}); err == nil || !strings.Contains(err.Error(), lines[0].ID) {
		t.Errorf("a changed amount: %v", err)
	}
}

// An iteration that the caller ends early, or whose context ends, leaves nothing open.
func TestEntriesStop(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	book(t, s, plant(t, conn))
	for range s.Entries(t.Context(), documents.Filter{Period: twoHours}) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.Entries(ctx, documents.Filter{Period: twoHours}) {
		if err == nil {
			t.Error("entries came after the end of the context")
		}
	}
	if list, err := entries(t, s, documents.Filter{Period: twoHours}); err != nil || len(list) == 0 {
		t.Errorf("afterwards: %d entries, %v", len(list), err)
	}
}
