package tariff_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/wattledger/wattledger/aggregator/tariff"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

func example(t testing.TB) *tariff.List {
	t.Helper()
	l, err := tariff.Parse("example.yaml", tariff.Example)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestExample(t *testing.T) {
	l := example(t)
	f := func(product, price string) {
		t.Helper()
		if p, err := l.PriceOf(product); err != nil || string(p.Price) != price {
			t.Errorf("a GPU-hour of %q costs %s, %v; want %s", product, p.Price, err, price)
		}
	}
	f("NVIDIA B200", "3.90")
	f("NVIDIA B200 MIG 1g.23gb", "3.90")
	f("NVIDIA A100-SXM4-40GB", "1.70")
	f("NVIDIA B2000", "1.20") // another word: not a B200
	f("Tesla P100", "1.20")
	if l.Energy.Basis != tariff.BasisFacility || l.Energy.Estimated != "waived" || l.Currency != "EUR" || l.Digits() != 2 {
		t.Errorf("the example says %+v, %s", *l.Energy, l.Currency)
	}
}

const valid = `name: P
currency: EUR
valid_from: 2026-01-01
valid_to: "2026-07-01"
seller: {name: S, country: FR, vat_id: FR1}
gpu_hours:
  - model: NVIDIA B200
    price: 3.90
energy: {price_per_kwh: "0.2", basis: it}
vat: {rate: 20}
`

func TestPriceOfUnlisted(t *testing.T) {
	l, err := tariff.Parse("p.yaml", []byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.PriceOf("NVIDIA H100"); err == nil || !strings.Contains(err.Error(), "NVIDIA H100") {
		t.Errorf("a model without a price: %v", err)
	}
	if l.GPUHours[0].Price != "3.90" {
		t.Errorf("the price was read as %s, and stands there as 3.90", l.GPUHours[0].Price)
	}
	at := func(s string) unit.Micros {
		d, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return unit.MicrosOf(d)
	}
	for s, want := range map[string]bool{
		"2025-12-31T23:59:59Z": false, "2026-01-01T00:00:00Z": true, "2026-06-30T23:00:00Z": true, "2026-07-01T00:00:00Z": false,
	} {
		if l.Holds(at(s)) != want {
			t.Errorf("prices hold at %s: %t, want %t", s, !want, want)
		}
	}
}

// A fault says where it stands and what to write.
func TestFaults(t *testing.T) {
	f := func(old, replacement string, want ...string) {
		t.Helper()
		text := strings.Replace(valid, old, replacement, 1)
		if text == valid {
			t.Fatalf("%q does not occur", old)
		}
		_, err := tariff.Parse("p.yaml", []byte(text))
		if err == nil {
			t.Errorf("%q was read", replacement)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: the error %q does not say %q", replacement, err, w)
			}
		}
	}
	f("currency: EUR", "currency: EURO", "p.yaml:2:", "EURO", "ISO 4217")
	f("currency: EUR", "currency: KWD", "at most two")
	f("name: P\n", "name: P\ndiscuont: 5\n", "p.yaml:2:1", "discuont")
	f("price: 3.90", "price: 3,90", "p.yaml:8:", "3,90")
	f("price: 3.90", "price: -3.90", "no sign")
	f("price: 3.90", "price: 1e3", "1e3")
	f("price: 3.90", "prise: 3.90", "p.yaml:8:5", "prise")
	f("price: 3.90", "price: [1, 2]", "p.yaml:8:")
	f("model: NVIDIA B200", "model: ''", "p.yaml:7:", "model")
	f("basis: it", "basis: IT", "facility, it, devices")
	f("rate: 20", "rate: 120", "0 to 100")
	f("2026-07-01", "2025-07-01", "p.yaml:4:", "not after")
	f("2026-01-01", "01.01.2026", "p.yaml:3:")
	f("vat_id: FR1", "vat_id: DE1", "p.yaml:5:", "begins with its country")
	f(", vat_id: FR1", "", "p.yaml:5:", "BR-CO-26")
	f("country: FR", "country: France", "ISO 3166-1")
	f("vat: {rate: 20}", "vat: &a {rate: 20}", "p.yaml:10:", "write the value out")
	f("name: P\n", "- name: P\n", "p.yaml:")
	for _, text := range []string{"", "a", "---\n---\n", "\xff", "[]", "{"} {
		if _, err := tariff.Parse("p.yaml", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), "p.yaml") {
			t.Errorf("%q: %v", text, err)
		}
	}
	_, err := tariff.Parse("p.yaml", []byte("currency: X\nvat: {rate: x}\n"))
	if n := strings.Count(fmt.Sprint(err), "p.yaml:"); n < 6 {
		t.Errorf("a list full of faults names %d of them: %v", n, err)
	}
}

// contract is the list with a contract below it.
func contract(text string) []byte { return []byte(valid + "contracts:\n" + text) }

func TestContractFaults(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		_, err := tariff.Parse("p.yaml", contract(text))
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: the error %v does not say %q", text, err, w)
			}
		}
	}
	f("  - {tenant: ''}\n", "p.yaml:12:", "contracts[0].tenant")
	f("  - {tenant: a}\n  - {tenant: a}\n", "p.yaml:13:", "two contracts")
	f("  - {tenant: a, held_idle: free}\n", "billed, waived")
	f("  - {tenant: a, unallocated: billed}\n", "operator, tenant")
	f("  - {tenant: a, unallocated: tenant}\n", "name the nodes or racks")
	f("  - {tenant: a, reserved: [{site: s, nodes: [n]}]}\n", "has no effect")
	f("  - {tenant: a, platform: tenant, reserved: [{nodes: [n, n, '']}]}\n", "reserved[0].site", "nodes[1]", "nodes[2]")
	f("  - {tenant: a, platform: tenant, reserved: [{site: s}]}\n", "no nodes and no racks")
	f("  - {tenant: a, platform: tenant, reserved: [{site: s, racks: [r], from: 2026-02-01, to: 2026-02-01}]}\n", "not after")
	f("  - {tenant: a, platform: tenant, reserved: [{site: s, racks: [r], from: soon}]}\n", "2026-01-31")
	f("  - {tenant: a, helt_idle: waived}\n", "p.yaml:12:", "helt_idle")
	// All at once.
	f("  - {tenant: '', held_idle: x, unallocated: y, platform: z, reserved: [{}]}\n", ".tenant", ".held_idle", ".unallocated", ".platform", ".site", "no racks")
}

func TestReservations(t *testing.T) {
	tenants := []record.Tenant{{ID: "a"}, {ID: "b"}}
	nodes := []record.Node{{Site: "s", ID: "n1", Rack: "r"}, {Site: "s", ID: "n2", Rack: "r"}, {Site: "s", ID: "n3", Rack: "q"}, {Site: "z", ID: "n1"}}
	read := func(text string) (tariff.Reserved, error) {
		t.Helper()
		l, err := tariff.Parse("p.yaml", contract(text))
		if err != nil {
			t.Fatal(err)
		}
		return l.Reserve(tenants, nodes)
	}
	r, err := read(`  - {tenant: a, unallocated: tenant, platform: tenant, reserved: [{site: s, racks: [r], nodes: [n1], to: 2026-03-01}]}
  - {tenant: b, unallocated: tenant, reserved: [{site: s, nodes: [n2], from: 2026-03-01}]}
`)
	if err != nil {
		t.Fatal(err)
	}
	f := func(site, node string, account record.Account, day, want string) {
		t.Helper()
		at, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Payer(record.Entry{Site: site, Node: node, Account: account}, unit.MicrosOf(at)); got != want {
			t.Errorf("%s of %s on %s at %s is paid by %q, want %q", account, node, site, day, got, want)
		}
	}
	f("s", "n1", record.AccountUnallocated, "2026-02-28", "a")
	f("s", "n2", record.AccountPlatform, "2026-02-28", "a")
	f("s", "n2", record.AccountUnallocated, "2026-03-01", "b")
	f("s", "n2", record.AccountPlatform, "2026-03-01", "")    // b pays for nothing but devices
	f("s", "n1", record.AccountUnallocated, "2026-03-01", "") // the reservation has ended
	f("s", "n1", record.AccountUnallocated, "2025-12-31", "") // the list did not hold yet
	f("s", "n3", record.AccountUnallocated, "2026-02-01", "") // another rack
	f("z", "n1", record.AccountUnallocated, "2026-02-01", "") // another site
	f("s", "", record.AccountPlatform, "2026-02-01", "")      // the site's own is the operator's
	f("s", "n1", record.AccountTenant, "2026-02-01", "")      // somebody held it
	if got := strings.Join(r.Of("a"), " ") + ", " + strings.Join(r.Of("b"), " "); got != "n1 n2, n2" {
		t.Errorf("reserved are %s", got)
	}

	_, err = read(`  - {tenant: nobody, held_idle: waived}
  - {tenant: a, unallocated: tenant, reserved: [{site: s, racks: [r, none], nodes: [n9]}]}
  - {tenant: b, unallocated: tenant, reserved: [{site: s, nodes: [n2]}]}
`)
	for _, want := range []string{"nobody", "rack none", "node n9", "node n2 of site s is reserved by a and by b"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("the error %v does not say %q", err, want)
		}
	}
}

func TestMoney(t *testing.T) {
	l := example(t)
	f := func(quantity, price, want string) {
		t.Helper()
		if got := l.Net(decimal.RequireFromString(quantity), decimal.RequireFromString(price)); got.StringFixed(2) != want {
			t.Errorf("%s × %s = %s, want %s", quantity, price, got.StringFixed(2), want)
		}
	}
	f("2.5", "3.90", "9.75")
	f("0.5", "0.01", "0.01") // half a cent rounds away from zero
	f("-0.5", "0.01", "-0.01")
	f("0.4999", "0.01", "0.00")
	if got := tariff.GPUHours(180_000); got.StringFixed(4) != "0.0001" { // 0.18 s is 0.00005 h
		t.Errorf("0.00005 GPU-hours are %s", got)
	}
	if got := tariff.KWh(-179_999); got.StringFixed(4) != "0.0000" {
		t.Errorf("−0.00005 kWh less a little are %s", got)
	}
	if got := l.Tax(decimal.RequireFromString("10.54"), decimal.RequireFromString("20.00")); got.StringFixed(2) != "2.11" {
		t.Errorf("20 %% of 10.54 are %s", got)
	}
}

func TestTreat(t *testing.T) {
	l := example(t)
	f := func(country, vatID, category string) {
		t.Helper()
		got := l.Treat(record.Tenant{Country: country, VATID: vatID})
		if got.Category != category {
			t.Errorf("a buyer in %q with VAT id %q: %s, want %s", country, vatID, got.Category, category)
		}
		if charged := category == "S"; charged == got.Rate.IsZero() || !charged && (got.Reason == "" || got.ReasonCode != "VATEX-EU-"+category) {
			t.Errorf("%s: %+v", category, got)
		}
	}
	f("FR", "FR1234", "S")
	f("FR", "", "S")
	f("DE", "DE123456789", "AE")
	f("GR", "EL123456789", "AE")
	f("GR", "GR123456789", "S") // Greek ids begin with EL
	f("DE", "", "S")
	f("DE", "FR123456789", "S")
	f("DE", "DE", "S")
	f("CH", "CHE123", "O")
	f("", "", "S") // not known: the seller's rate until it is
	f("germany", "DE123456789", "S")
}

func FuzzParse(f *testing.F) {
	f.Add(tariff.Example)
	f.Add([]byte(valid))
	f.Add([]byte("a: &x [*x]"))
	f.Add(contract("  - {tenant: a, held_idle: waived, platform: tenant, reserved: [{site: s, racks: [r], from: 2026-02-01}]}\n"))
	f.Add([]byte("gpu_hours: [{model: a, price: 1}, {<<: 2}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := tariff.Parse("p.yaml", data)
		if err != nil {
			return
		}
		if l.Currency == "" || len(l.GPUHours) == 0 || l.VAT.Rate.Decimal().IsNegative() {
			t.Errorf("a list without currency, prices or tax was read: %+v", l)
		}
		for _, p := range l.GPUHours {
			if d, err := decimal.NewFromString(string(p.Price)); err != nil || d.IsNegative() {
				t.Errorf("price %q was read", p.Price)
			}
		}
		for _, c := range l.Contracts {
			if c.Tenant == "" {
				t.Error("a contract of nobody was read")
			}
		}
	})
}
