package documents_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/wattledger/wattledger/aggregator/documents"
	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/aggregator/tariff"
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
	b := open(t, in["sites.csv"], in["tenants.csv"], in["entries.csv"])
	hours := report.Period{From: b.seals[0].Hour, To: b.seals[len(b.seals)-1].Hour + unit.Hour}
	set, err := documents.Gather(t.Context(), b, documents.Options{Period: hours, Prices: prices})
	if err != nil {
		t.Fatal(err)
	}
	files, err := set.Files()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"fleet.txt": set.Fleet.Table().Text(), "sovereignty.txt": set.Sovereignty.Table().Text()}
	for _, f := range files {
		got[f.Name] = string(f.Content)
	}
	for _, u := range set.Usage {
		got["tenants/"+u.Tenant.ID+"/usage.txt"] = u.Table().Text()
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

// shared is the ledger of the case with several tenants on one device.
func shared(t *testing.T) *book {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/cases/shared-device.txtar")
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]string{}
	for _, f := range archive.Files {
		in[f.Name] = string(f.Data)
	}
	return open(t, in["sites.csv"], in["tenants.csv"], in["entries.csv"])
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

// A tenant's folder names no other tenant.
func TestTenantSeesItsOwn(t *testing.T) {
	b := shared(t)
	set, err := documents.Gather(t.Context(), b, documents.Options{Period: day})
	if err != nil {
		t.Fatal(err)
	}
	files, err := set.Files()
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for _, f := range files {
		for _, tenant := range b.tenants {
			if f.Tenant != "" && f.Tenant != tenant.ID {
				looked++
				if strings.Contains(string(f.Content), tenant.ID) || strings.Contains(string(f.Content), tenant.Name) {
					t.Errorf("%s names %s", f.Name, tenant.ID)
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
	b := shared(t)
	all, err := documents.Gather(t.Context(), b, documents.Options{Period: day})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range all.Usage {
		one, err := documents.Gather(t.Context(), b, documents.Options{Period: day, Tenant: want.Tenant.ID})
		if err != nil {
			t.Fatal(err)
		}
		a, errA := report.JSON(want)
		b, errB := report.JSON(one.Usage[0])
		if errA != nil || errB != nil || !bytes.Equal(a, b) || len(one.Usage) != 1 || one.Fleet != nil {
			t.Errorf("the usage of %s depends on who else is asked for", want.Tenant.ID)
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
