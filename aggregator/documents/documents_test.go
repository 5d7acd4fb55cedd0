package documents_test

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/wattledger/wattledger/aggregator/documents"
	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/aggregator/tariff"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

var update = flag.Bool("update", false, "write what the cases should say")

var day = report.Period{
	From: unit.MicrosOf(time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)),
	To:   unit.MicrosOf(time.Date(2026, 1, 16, 0, 0, 0, 0, time.UTC)),
}

// A case is text: what happened, the entries, the prices, and the documents that must come of them.
func TestCases(t *testing.T) {
	names, err := filepath.Glob("testdata/cases/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { runCase(t, name) })
	}
}

func runCase(t *testing.T, name string) {
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]string{}
	for _, f := range archive.Files {
		in[f.Name] = string(f.Data)
	}
	prices, err := tariff.Parse("prices.yaml", []byte(in["prices.yaml"]))
	if err != nil {
		t.Fatal(err)
	}
	b, list := read(t, in)
	b.seal(t, list)
	hours := report.Period{From: b.seals[0].Hour, To: b.seals[len(b.seals)-1].Hour + unit.Hour}
	set, err := documents.Gather(t.Context(), b, documents.Options{Period: hours, Prices: prices})
	if err != nil {
		t.Fatal(err)
	}
	files, err := set.Files()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"sovereignty.txt": set.Sovereignty.Table().Text()}
	for _, f := range files {
		got[f.Name] = string(f.Content)
	}
	if in["against"] != "" { // an earlier state of the ledger, to compare with
		before, err := report.ParseAsOf(strings.TrimSpace(in["against"]))
		if err != nil {
			t.Fatal(err)
		}
		for _, tenant := range b.tenants {
			d, err := documents.Compare(t.Context(), b, documents.Options{Period: hours, Prices: prices, Tenant: tenant.ID}, before)
			if err != nil {
				t.Fatal(err)
			}
			got["tenants/"+tenant.ID+"/difference.txt"] = string(report.Text(d.Tables()))
		}
	}
	for _, err := range set.Faults {
		got["faults.txt"] += err.Error() + "\n"
	}
	wanted := 0
	for i, f := range archive.Files {
		document, ok := strings.CutPrefix(f.Name, "want/")
		if !ok {
			continue
		}
		wanted++
		text, ok := got[document]
		if !ok {
			t.Errorf("there is no document %s", document)
		}
		if *update {
			archive.Files[i].Data = []byte(text)
		} else if text != string(f.Data) {
			t.Errorf("%s is\n%s\nand should be\n%s\n(go test ./aggregator/documents -update writes what is)", document, text, f.Data)
		}
	}
	if _, expected := in["want/faults.txt"]; len(set.Faults) > 0 && !expected {
		t.Errorf("faults: %v", set.Faults)
	}
	if wanted == 0 {
		t.Error("the case wants nothing")
	}
	if !set.Fleet.Check.Agrees {
		t.Errorf("seals and entries differ: %+v", set.Fleet.Check)
	}
	if *update {
		if err := os.WriteFile(name, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// story is the ledger of a case, and its price list.
func story(t *testing.T, name string) (*book, []draft, *tariff.List) {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/cases/" + name + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]string{}
	for _, f := range archive.Files {
		in[f.Name] = string(f.Data)
	}
	prices, err := tariff.Parse("prices.yaml", []byte(in["prices.yaml"]))
	if err != nil {
		t.Fatal(err)
	}
	b, list := read(t, in)
	b.seal(t, list)
	return b, list, prices
}

// shared is the ledger of the case with several tenants on one device.
func shared(t *testing.T) *book {
	t.Helper()
	b, _, _ := story(t, "shared-device")
	return b
}

// content is every file of a set by name.
func content(t *testing.T, set documents.Set) map[string]string {
	t.Helper()
	files, err := set.Files()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range files {
		out[f.Name] = string(f.Content)
	}
	return out
}

// A document that was made before an adjustment was booked is made again, byte for byte, as of then; made as of now it contains
// closing and adjustment.
func TestEarlierDocumentsStay(t *testing.T) {
	b, list, prices := story(t, "adjustment-moved")
	first := slices.DeleteFunc(slices.Clone(list), func(d draft) bool { return d.batch != "2026-01-15T10:00:00Z" })
	young := b.grow(t, first)
	hour := report.Period{From: young.seals[0].Hour, To: young.seals[0].Hour + unit.Hour}
	before, err := documents.Gather(t.Context(), young, documents.Options{Period: hour, Prices: prices})
	if err != nil {
		t.Fatal(err)
	}
	again, err := documents.Gather(t.Context(), b, documents.Options{Period: hour, Prices: prices, AsOf: before.Log.AsOf()})
	if err != nil {
		t.Fatal(err)
	}
	now, err := documents.Gather(t.Context(), b, documents.Options{Period: hour, Prices: prices})
	if err != nil {
		t.Fatal(err)
	}
	old, same, grown := content(t, before), content(t, again), content(t, now)
	if len(old) < 10 || !maps.Equal(old, same) {
		t.Errorf("%d files were written, and as of %s %d", len(old), before.Log.AsOf(), len(same))
		for name := range old {
			if old[name] != same[name] {
				t.Errorf("%s was\n%s\nand is\n%s", name, old[name], same[name])
			}
		}
	}
	if old["tenants/alpha/usage.json"] == grown["tenants/alpha/usage.json"] || old["tenants/beta/usage.json"] != "" || grown["tenants/beta/adjustments.csv"] == "" {
		t.Error("the adjustments are not in the documents made later")
	}
	// What was taken from the one was given to the other, and late data came on top.
	energy := func(set documents.Set) (sum unit.Millijoules) {
		for _, u := range set.Usage {
			sum += u.Totals.Energy
		}
		return sum
	}
	if got := energy(now) - energy(before); got != 180_000_000 {
		t.Errorf("the tenants have %d mJ more, late data are 180000000 mJ", got)
	}
	if p := now.Usage[0].Provenance; len(p.Later) != 1 || p.Later[0].Batch != 1 || p.Later[0].Root != b.seals[1].Root || p.Later[0].Entries != 2 {
		t.Errorf("adjusted by %+v", p.Later)
	}
	if len(now.Log.Open()) != 0 || !now.Fleet.Check.Agrees || !before.Fleet.Check.Agrees {
		t.Errorf("seals: %+v, then %+v", before.Fleet.Check, now.Fleet.Check)
	}
}

// Same ledger, same bytes: also when it is written twice, and by whatever time it is.
func TestFilesAreRepeatable(t *testing.T) {
	b := shared(t)
	prices, err := tariff.Parse("example.yaml", tariff.Example)
	if err != nil {
		t.Fatal(err)
	}
	write := func() (string, []documents.Written) {
		dir := t.TempDir()
		_, written, err := documents.WriteAll(t.Context(), b, documents.Options{Period: day, Prices: prices}, dir)
		if err != nil {
			t.Fatal(err)
		}
		return dir, written
	}
	one, first := write()
	two, second := write()
	if len(first) != len(second) || len(first) < 10 {
		t.Fatalf("wrote %d and %d files", len(first), len(second))
	}
	for i, w := range first {
		if w != second[i] {
			t.Errorf("%+v, then %+v", w, second[i])
		}
		a, errA := os.ReadFile(filepath.Join(one, w.Name))
		b, errB := os.ReadFile(filepath.Join(two, w.Name))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs: %v, %v", w.Name, errA, errB)
		}
	}
}

// What adjustments change is told apart from what hours bring that were closed since, and nothing is left over.
func TestDifference(t *testing.T) {
	b, _, prices := story(t, "adjustment-moved")
	o := documents.Options{Period: report.Period{From: b.seals[0].Hour, To: b.seals[0].Hour + unit.Hour}, Prices: prices}
	before := report.AsOf{"fr-1": 1}
	sum := map[string]int64{}
	for _, tenant := range []string{"alpha", "beta"} {
		o.Tenant = tenant
		d, err := documents.Compare(t.Context(), b, o, before)
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Figures) < 6 || len(d.Adjustments) == 0 || len(d.Lines) != 2 {
			t.Errorf("%s: %+v", tenant, d)
		}
		for _, f := range d.Figures {
			if f.Change != f.After-f.Before || f.Adjusted != f.Change || f.Closed != 0 {
				t.Errorf("%s: %+v: within a closed hour only adjustments change anything", tenant, f)
			}
			sum[f.Name] += f.Change
		}
		for _, l := range d.Lines {
			sum[l.Unit] += l.Change
		}
		same, err := documents.Compare(t.Context(), b, o, report.AsOf{"fr-1": 2})
		if err != nil || same.Due.Change != "0.00" || same.Before.Invoice != same.After.Invoice || len(same.Adjustments) != 0 {
			t.Errorf("%s: between a state and itself there is %+v, %v", tenant, same, err)
		}
	}
	if sum["device time"] != 0 || sum["energy"] != 180_000_000 || sum["mJ"] != 180_000_000 || sum["ms × thousandths of a device"] != 0 {
		t.Errorf("what one lost is not what the other got, with the late data: %v", sum)
	}
	for _, bad := range []func() error{
		func() error { _, err := documents.Compare(t.Context(), b, o, report.AsOf{"fr-1": 3}); return err },
		func() error {
			_, err := documents.Compare(t.Context(), b, documents.Options{Period: o.Period}, before)
			return err
		},
		func() error {
			early := o
			early.AsOf = before
			_, err := documents.Compare(t.Context(), b, early, report.AsOf{"fr-1": 2})
			return err
		},
	} {
		if err := bad(); err == nil {
			t.Error("a difference that makes no sense was made")
		}
	}
}

// A tenant's folder names no other tenant.
func TestTenantSeesItsOwn(t *testing.T) {
	looked := 0
	for _, name := range []string{"shared-device", "adjustment-moved", "held-idle-contract", "reserved-node"} {
		b, _, prices := story(t, name)
		b.tenants = append(b.tenants, record.Tenant{ID: "nobody-here", Name: "Nobody Here (fict.)"})
		set, err := documents.Gather(t.Context(), b, documents.Options{Period: day, Prices: prices})
		if err != nil {
			t.Fatal(err)
		}
		files, err := set.Files()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			for _, tenant := range b.tenants {
				if f.Tenant != "" && f.Tenant != tenant.ID {
					looked++
					if strings.Contains(string(f.Content), tenant.ID) || strings.Contains(string(f.Content), tenant.Name) {
						t.Errorf("%s of %s names %s", f.Name, name, tenant.ID)
					}
				}
			}
		}
	}
	if looked == 0 {
		t.Error("nothing was looked at")
	}
}

// What is asked for one tenant says the same as its part of everything.
func TestOneTenant(t *testing.T) {
	for _, name := range []string{"shared-device", "adjustment-moved", "reserved-node", "market-and-location"} {
		b, _, prices := story(t, name)
		all, err := documents.Gather(t.Context(), b, documents.Options{Period: day, Prices: prices})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range all.Usage {
			one, err := documents.Gather(t.Context(), b, documents.Options{Period: day, Tenant: want.Tenant.ID, Prices: prices})
			if err != nil || len(one.Usage) != 1 || len(one.Invoices) != 1 || one.Fleet != nil {
				t.Fatalf("%s: %d statements, %v", name, len(one.Usage), err)
			}
			for _, d := range [][2]any{{want, one.Usage[0]}, {all.Invoices[i], one.Invoices[0]}} {
				a, errA := report.JSON(d[0])
				b, errB := report.JSON(d[1])
				if errA != nil || errB != nil || !bytes.Equal(a, b) {
					t.Errorf("%s: what %s gets depends on who else is asked for:\n%s\n%s", name, want.Tenant.ID, a, b)
				}
			}
		}
	}
}

func TestFileName(t *testing.T) {
	f := func(id, want string) {
		t.Helper()
		if got := documents.FileName(id); got != want {
			t.Errorf("FileName(%q) = %q, want %q", id, got, want)
		}
	}
	f("bank-nord", "bank-nord")
	f("../etc", "%2E.%2Fetc")
	f("", "%")
	f("-rf", "%2Drf")
	f("a b", "a%20b")
}
