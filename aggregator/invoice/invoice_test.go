package invoice

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/aggregator/tariff"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const start = 500_000 * unit.Hour

func options() report.Options {
	p := report.Period{From: start, To: start + 24*unit.Hour}
	return report.Options{Period: p, Log: report.NewLog(p, nil), IdleLimit: report.DefaultIdleLimit}
}

// The tree that keeps a hash per bit is the tree that keeps them all.
func TestTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfN(rapid.String(), 0, 70).Draw(t, "ids")
		var tr tree
		var leaves [][32]byte
		for _, id := range ids {
			tr.add(id)
			leaves = append(leaves, ledger.LeafHash([]byte(id)))
		}
		want := ledger.RootHash(leaves)
		if got := tr.root(); got != hex.EncodeToString(want[:]) || tr.root() != got || tr.Count() != uint64(len(ids)) {
			t.Fatalf("%d ids: root %s, want %x", len(ids), got, want)
		}
	})
}

var tenants = []string{"a", "b", "c"}

// fleet draws a day's entries of some tenants and of nobody.
func fleet(t *rapid.T) []report.Booked {
	models := []string{"NVIDIA B200", "NVIDIA GB200", "NVIDIA H100 80GB HBM3"}
	var out []report.Booked
	for i := range rapid.IntRange(1, 60).Draw(t, "entries") {
		mj := func(name string) unit.Millijoules {
			return unit.Millijoules(rapid.Int64Range(0, 4_000_000_000).Draw(t, name))
		}
		hour := start + unit.Micros(rapid.IntRange(0, 23).Draw(t, "hour"))*unit.Hour
		e := record.Entry{
			Site: "s", Hour: report.Stamp(hour), Kind: record.Closing, Account: record.AccountTenant,
			Tenant: rapid.SampledFrom(append([]string{""}, tenants...)).Draw(t, "tenant"), Model: rapid.SampledFrom(models).Draw(t, "model"),
			DeviceTime: unit.DeviceTime(rapid.Int64Range(0, unit.DeviceTimePerHour).Draw(t, "time")),
			GPU:        mj("gpu"), CPU: mj("cpu"), NodeRest: mj("rest"), Facility: mj("facility"), Carbon: 1,
		}
		switch {
		case e.Tenant == "":
			e.Account, e.Node = record.AccountUnallocated, rapid.SampledFrom([]string{"n1", "n2"}).Draw(t, "node")
			e.Unavailable = e.DeviceTime / 3
		case rapid.Bool().Draw(t, "idle"):
			e.Account = record.AccountHeldIdle
		}
		e.Estimated = unit.Millijoules(rapid.Int64Range(0, int64(e.GPU)).Draw(t, "estimated"))
		e.Measured, e.Modelled = e.GPU+e.CPU-e.Estimated, e.NodeRest+e.Facility
		out = append(out, report.Booked{Entry: e, ID: fmt.Sprintf("id-%d", i)})
	}
	return out
}

// The lines of all invoices cover every tenant's entries once, of nobody's those that a contract gives to a tenant, and no others; what
// they charge is what was used, and nothing for what is waived; totals are sums. The accounts together are the fleet.
func TestLinesPartTheEntries(t *testing.T) {
	const contracts = `
contracts:
  - {tenant: a, held_idle: waived}
  - {tenant: b, unallocated: tenant, reserved: [{site: s, nodes: [n1]}]}
`
	list, err := tariff.Parse("example.yaml", append(slices.Clone(tariff.Example), contracts...))
	if err != nil {
		t.Fatal(err)
	}
	reserved, err := list.Reserve([]record.Tenant{{ID: "a"}, {ID: "b"}}, []record.Node{{Site: "s", ID: "n1"}})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		list.Energy.Basis = rapid.SampledFrom([]tariff.Basis{tariff.BasisDevices, tariff.BasisIT, tariff.BasisFacility}).Draw(t, "basis")
		list.Energy.Estimated = rapid.SampledFrom([]string{"billed", "waived"}).Draw(t, "estimated")
		entries := fleet(t)
		o := options()
		whole := report.NewFleet(nil, o)
		builders := map[string]*Builder{}
		count, time, energy := map[string]int64{}, map[string]int64{}, map[string]int64{}
		for _, e := range entries {
			if err := whole.Add(e); err != nil {
				t.Fatal(err)
			}
			tenant, held := e.Tenant, e.DeviceTime
			if tenant == "" {
				tenant, held = reserved.Payer(e.Entry, start), e.DeviceTime-e.Unavailable
				if (tenant == "b") != (e.Node == "n1") {
					t.Fatalf("what nobody held on %s is paid by %q", e.Node, tenant)
				}
			}
			if tenant == "" {
				continue
			}
			if builders[tenant] == nil {
				builders[tenant] = NewBuilder(record.Tenant{ID: tenant, Country: "FR"}, list, o)
			}
			add := builders[tenant].Add
			if e.Tenant == "" {
				add = builders[tenant].AddReserved
			}
			if err := add(e); err != nil {
				t.Fatal(err)
			}
			count[tenant]++
			time[tenant] += int64(held)
			energy[tenant] += int64(list.Energy.Billed(e.Entry))
		}
		d := whole.Document()
		var sum report.Sums
		for _, s := range []report.Sums{d.Tenants, d.HeldIdle, d.Unallocated, d.Platform} {
			sum.Energy += s.Energy
			sum.DeviceTime += s.DeviceTime
			sum.Entries += s.Entries
		}
		if sum.Energy != d.Totals.Energy || sum.DeviceTime != d.Totals.DeviceTime || sum.Entries != int64(len(entries)) || sum.Entries != d.Totals.Entries {
			t.Fatalf("the accounts are not the fleet: %+v", d)
		}
		for tenant, b := range builders {
			inv, err := b.Invoice()
			if err != nil {
				t.Fatal(err)
			}
			again, err := b.Invoice()
			if err != nil || again.Number != inv.Number {
				t.Fatalf("number %s, then %s, %v", inv.Number, again.Number, err)
			}
			check(t, inv, count[tenant], time[tenant], energy[tenant])
		}
	})
}

var numberForm = regexp.MustCompile(`^[A-Za-z0-9+_/-]{1,35}$`)

func check(t *rapid.T, inv Invoice, count, time, energy int64) {
	var covered, held, charged, lit int64
	sum := decimal.Decimal{}
	for _, l := range inv.Lines {
		net := decimal.RequireFromString(l.Quantity).Mul(decimal.RequireFromString(l.Price)).Round(2)
		if l.Net != net.StringFixed(2) {
			t.Fatalf("line %d: %s × %s = %s", l.ID, l.Quantity, l.Price, l.Net)
		}
		sum = sum.Add(net)
		if free := inv.Buyer.ID == "a" && l.Account == record.AccountHeldIdle; l.Waived != free || free != decimal.RequireFromString(l.Price).IsZero() {
			t.Fatalf("line %+v of %s", l, inv.Buyer.ID)
		}
		switch l.UnitCode {
		case "HUR":
			covered += int64(l.Entries)
			held += l.Exact
		case "KWH":
			charged += l.Exact
			lit += int64(l.Entries)
			if int64(l.Entries) == count && l.EntriesRoot != inv.EntriesRoot {
				t.Fatalf("the energy line covers all %d entries, and its root is not the invoice's", count)
			}
		}
	}
	if covered != count || lit != count || inv.Entries != count || held != time || charged != energy {
		t.Fatalf("%d of %d entries, %d of %d device time, %d of %d mJ", covered, count, held, time, charged, energy)
	}
	base, tax := decimal.RequireFromString(inv.TaxBasis), decimal.RequireFromString(inv.VATTotal)
	if !base.Equal(sum) || !decimal.RequireFromString(inv.Due).Equal(base.Add(tax)) || !tax.Equal(base.Mul(decimal.RequireFromString("0.2")).Round(2)) {
		t.Fatalf("sum %s, base %s, tax %s, due %s", sum, base, tax, inv.Due)
	}
	if !numberForm.MatchString(inv.Number) {
		t.Fatalf("number %q", inv.Number)
	}
}

// One millijoule, one tenant's name, one price: anything else is another number.
func TestNumberFollowsContent(t *testing.T) {
	number := func(name, prices string, gpu unit.Millijoules) string {
		t.Helper()
		list, err := tariff.Parse("p.yaml", []byte(prices))
		if err != nil {
			t.Fatal(err)
		}
		b := NewBuilder(record.Tenant{ID: "société-générale-de-rien", Name: name, Country: "FR"}, list, options())
		e := record.Entry{Account: record.AccountTenant, Tenant: "société-générale-de-rien", Hour: report.Stamp(start), Model: "NVIDIA B200", GPU: gpu}
		if err := b.Add(report.Booked{Entry: e, ID: fmt.Sprint(gpu)}); err != nil {
			t.Fatal(err)
		}
		inv, err := b.Invoice()
		if err != nil {
			t.Fatal(err)
		}
		if !numberForm.MatchString(inv.Number) {
			t.Errorf("number %q", inv.Number)
		}
		return inv.Number
	}
	prices := string(tariff.Example)
	seen := map[string]bool{
		number("A", prices, 1): true, number("B", prices, 1): true, number("A", prices, 2): true,
		number("A", strings.Replace(prices, "3.90", "3.91", 1), 1): true,
	}
	if len(seen) != 4 || !seen[number("A", prices, 1)] {
		t.Errorf("numbers %v", seen)
	}
}

func TestRefused(t *testing.T) {
	list, err := tariff.Parse("p.yaml", []byte(strings.ReplaceAll(string(tariff.Example), "2020-01-01", "2090-01-01")))
	if err != nil {
		t.Fatal(err)
	}
	b := NewBuilder(record.Tenant{ID: "a"}, list, options())
	if _, err := b.Invoice(); !errors.Is(err, ErrNothing) {
		t.Errorf("an invoice for nothing: %v", err)
	}
	entry := func(tenant string, account record.Account, hour string) error {
		return b.Add(report.Booked{ID: "x", Entry: record.Entry{Tenant: tenant, Account: account, Hour: hour, Model: "NVIDIA B200"}})
	}
	for _, err := range []error{
		entry("b", record.AccountTenant, report.Stamp(start)), entry("a", record.AccountUnallocated, report.Stamp(start)),
		entry("a", record.AccountTenant, report.Stamp(start-1)), entry("a", record.AccountTenant, "yesterday"),
	} {
		if err == nil || !strings.Contains(err.Error(), "x") {
			t.Errorf("an entry that is not the tenant's or the period's: %v", err)
		}
	}
	if err := entry("a", record.AccountTenant, report.Stamp(start)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Invoice(); err == nil || !strings.Contains(err.Error(), "2090-01-01") {
		t.Errorf("prices that do not hold yet: %v", err)
	}
}
