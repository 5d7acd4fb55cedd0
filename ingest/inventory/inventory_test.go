package inventory

import (
	"reflect"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/ingest/fault"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/wire"
)

const good = `
revision: 3
sites:
  - id: paris-1
    country: FR
    zone: FR
    operator: Example Cloud SAS
    operator_country: FR
    pue: 1.25
    allocation_source: slurm
  - {id: oslo-1, country: NO, zone: NO1, pue: 1.1}
nodes:
  - id: node-a
    site: paris-1
    model: HGX B200
    rest_watts: 1200.5
    from: 2026-01-01T00:00:00Z
devices:
  - uuid: GPU-1
    node: node-a
    model: B200
    index: 3
    limit_watts: 1000
    idle_watts: 140
  - uuid: MIG-1
    parent: GPU-1
    node: elsewhere
    kind: mig
    slices: 2
tenants:
  - id: t1
    name: Tenant One
    vat_id: 0123
    allowed_countries: [FR, "NO"]
`

func TestParse(t *testing.T) {
	got, err := Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	want := File{
		Revision: 3,
		Sites: []record.Site{
			{ID: "paris-1", Country: "FR", Zone: "FR", Operator: "Example Cloud SAS", OperatorCountry: "FR", PUEThousandths: 1250, AllocationSource: "slurm"},
			{ID: "oslo-1", Country: "NO", Zone: "NO1", PUEThousandths: 1100},
		},
		Nodes: []record.Node{{ID: "node-a", Site: "paris-1", Model: "HGX B200", RestMilliwatts: 1_200_500, From: 1_767_225_600_000_000}},
		Devices: []record.Device{
			{UUID: "GPU-1", Node: "node-a", Kind: record.KindGPU, Model: "B200", Index: 3, Energy: record.EnergyHardware, LimitMilliwatts: 1_000_000, IdleMilliwatts: 140_000},
			{UUID: "MIG-1", Parent: "GPU-1", Node: "elsewhere", Kind: record.KindMIG, Slices: 2, Energy: record.EnergyNone},
		},
		Tenants: []record.Tenant{{ID: "t1", Name: "Tenant One", VATID: "0123", AllowedCountries: []string{"FR", "NO"}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	var keys []string
	for _, m := range Messages(got) {
		keys = append(keys, m.Site)
		if err := wire.ValidateInventory(m.Inventory); err != nil {
			t.Error(err)
		}
		if m.Inventory.Revision != 3 {
			t.Errorf("revision %d, want 3", m.Inventory.Revision)
		}
	}
	if !reflect.DeepEqual(keys, []string{"paris-1", "oslo-1", Fleet}) {
		t.Errorf("messages for %v", keys)
	}
}

func TestFaultsSayWhereAndHow(t *testing.T) {
	f := func(file string, want ...string) {
		t.Helper()
		got, err := Parse([]byte(file))
		var said []string
		if err != nil {
			said = append(said, err.Error())
		}
		for _, p := range got.Faults {
			said = append(said, p.Error())
		}
		if len(said) != len(want) {
			t.Fatalf("faults %q, want %q", said, want)
		}
		for i := range want {
			if !strings.Contains(said[i], want[i]) {
				t.Errorf("fault %q does not say %q", said[i], want[i])
			}
		}
	}
	f(good)
	f("", "the file is empty")
	f("- a\n- b", "here stands a list")
	f("sites: [", "this is no YAML")
	f("site:\n  - id: x\n", `line 1, column 1: key "site" is unknown; did you mean sites?`)
	f("sites: paris\n", "line 1, column 8: sites is a single value; write a list")
	f("sites:\n  - id: p\n    country: FR\n    zone: FR\n    pue: 1.2\n    contry: FR\n", `line 6, column 5: key "contry" is unknown; did you mean country?`)
	f("sites:\n  - id: p\n    country: France\n    zone: FR\n    pue: 1.2\n", `line 3, column 14: country is "France"; write the two capital letters`)
	f("sites:\n  - id: p\n    country: FR\n    zone: FR\n", "line 2, column 5: pue is missing")
	f("sites:\n  - id: p\n    country: FR\n    zone: FR\n    pue: 0.9\n", "line 5, column 10: pue is 0.9; a PUE lies between 1 and 10")
	f("sites:\n  - id: p\n    country: FR\n    zone: FR\n    pue: 1.23456\n", "three digits after the point", "a PUE lies between")
	f("nodes:\n  - {id: a, site: p, rest_watts: -1}\n", "a draw is not negative")
	f("nodes:\n  - {id: a, site: p, from: yesterday}\n", `from is "yesterday"; write an instant`)
	f("nodes:\n  - {id: a, site: p, from: 2026-01-02T00:00:00Z, to: 2026-01-01T00:00:00Z}\n", "to is not after from")
	f("nodes:\n  - {id: a, site: p}\n  - {id: a, site: p}\n", "a stands in line 2 already")
	f("nodes:\n  - {id: a, site: {x: 1}}\n", "site is a mapping; write one plain value", "site is missing")
	f("devices:\n  - {uuid: a, node: n, kind: tpu}\n", `kind is "tpu"; write one of gpu, mig, cpu`)
	f("devices:\n  - {uuid: a, node: n, kind: mig}\n", "parent is missing")
	f("devices:\n  - {uuid: a, node: n, index: -1}\n", "index is")
	f("tenants:\n  - {id: a, allowed_countries: FR}\n", "write a list, such as [FR, SE]")
	f("tenants:\n  - {id: a, allowed_countries: [FR, Norway]}\n", `allowed_countries is "Norway"`)
	f("revision: new\n", `line 1, column 11: revision is "new"; write a whole number`)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("sites:\n  - &a {id: x}\n  - *a\n  - <<: *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Parse(data)
		if err != nil {
			if _, ok := err.(fault.Fault); !ok { //nolint:errorlint // Parse promises the fault itself
				t.Fatalf("%v is no fault", err)
			}
			return
		}
		for _, m := range Messages(got) {
			if err := wire.ValidateInventory(m.Inventory); err != nil {
				t.Fatalf("%+v was taken: %v", m, err)
			}
		}
	})
}
