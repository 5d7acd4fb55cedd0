package inventory

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/wattledger/wattledger/ingest/fault"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// File is what a file says.
type File struct {
	// Revision orders this statement among others about the same records: the highest counts, and the later of two equal ones.
	Revision uint64
	Sites    []record.Site
	Nodes    []record.Node
	Devices  []record.Device
	Tenants  []record.Tenant
	// Faults are what is wrong, in the order of lines; the records they stand in were left out.
	Faults []fault.Fault
}

// Keys of each kind of record.
var (
	top        = []string{"revision", "sites", "nodes", "devices", "tenants"}
	siteKeys   = []string{"id", "country", "zone", "operator", "operator_country", "pue", "allocation_source", "reading_source"}
	nodeKeys   = []string{"id", "site", "rack", "model", "rest_watts", "from", "to"}
	deviceKeys = []string{
		"uuid", "parent", "node", "kind", "model", "serial", "driver", "vbios", "index", "slices", "energy_source",
		"limit_watts", "idle_watts", "from", "to",
	}
	tenantKeys = []string{"id", "name", "sector", "size_class", "country", "vat_id", "allowed_countries"}
)

// Parse reads a whole file. The error is a fault.Fault for a file that is no YAML, or not one mapping.
func Parse(data []byte) (File, error) {
	f := File{Revision: 1}
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		return f, syntax(err)
	}
	var body ast.Node
	for _, d := range tree.Docs {
		if d.Body == nil {
			continue
		}
		if body != nil {
			return f, faultAt(d.Body, "a second document begins here; put everything into one")
		}
		body = d.Body
	}
	if body == nil {
		return f, fault.Fault{Line: 1, Text: "the file is empty; write sites:, nodes: and tenants:"}
	}
	if _, ok := pairs(body); !ok {
		return f, faultAt(body, "here stands %s; write sites:, nodes: and tenants:", nameOf(body))
	}
	e := read(body, top)
	f.Revision = e.whole("revision", 1, 63)
	f.Sites = list(e, "sites", siteKeys, site)
	f.Nodes = list(e, "nodes", nodeKeys, node)
	f.Devices = list(e, "devices", deviceKeys, device)
	f.Tenants = list(e, "tenants", tenantKeys, tenant)
	f.Faults = e.faults
	return f, nil
}

// list reads the records under a key. Those with faults are left out, and so is the second of one name.
func list[T any](e *entry, key string, allowed []string, of func(e *entry) (name string, v T)) []T {
	n := e.values[key]
	if n == nil {
		return nil
	}
	if _, null := n.(*ast.NullNode); null {
		return nil
	}
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		e.bad(key, "%s is %s; write a list, each item beginning with a dash", key, nameOf(n))
		return nil
	}
	var out []T
	lines := map[string]int{}
	for _, item := range seq.Values {
		r := read(item, allowed)
		name, v := "", *new(T)
		if len(r.faults) == 0 {
			name, v = of(r)
		}
		if first, twice := lines[name]; twice && len(r.faults) == 0 {
			r.faults = append(r.faults, faultAt(r.at, "%s stands in line %d already; remove one of the two", name, first))
		}
		if len(r.faults) > 0 {
			e.faults = append(e.faults, r.faults...)
			continue
		}
		lines[name], _ = position(r.at.GetToken())
		out = append(out, v)
	}
	return out
}

func site(e *entry) (string, record.Site) {
	s := record.Site{
		ID: e.required("id"), Country: e.country("country", true), Zone: e.required("zone"), Operator: e.text("operator"),
		OperatorCountry: e.country("operator_country", false), PUEThousandths: e.thousandths("pue", ", such as 1.25", 0), AllocationSource: e.text("allocation_source"),
		ReadingSource: e.text("reading_source"),
	}
	switch {
	case e.values["pue"] == nil:
		e.bad("pue", "pue is missing; write the declared power usage effectiveness, such as 1.25")
	case s.PUEThousandths < 1000 || s.PUEThousandths > 10_000:
		e.bad("pue", "pue is %s; a PUE lies between 1 and 10 (ISO/IEC 30134-2)", e.text("pue"))
	}
	return s.ID, s
}

func node(e *entry) (string, record.Node) {
	n := record.Node{
		ID: e.required("id"), Site: e.required("site"), Rack: e.text("rack"), Model: e.text("model"),
		RestMilliwatts: watts(e, "rest_watts"), From: e.instant("from"), To: e.instant("to"),
	}
	order(e, n.From, n.To)
	return n.ID, n
}

func device(e *entry) (string, record.Device) {
	d := record.Device{
		UUID: e.required("uuid"), Parent: e.text("parent"), Node: e.required("node"), Model: e.text("model"), Serial: e.text("serial"),
		Driver: e.text("driver"), VBIOS: e.text("vbios"), Index: uint32(e.whole("index", 0, 32)), Slices: uint32(e.whole("slices", 0, 32)),
		Kind: one(e, "kind", []string{"gpu", "mig", "cpu"}, []record.DeviceKind{record.KindGPU, record.KindMIG, record.KindCPU}, record.KindGPU),
		Energy: one(e, "energy_source", []string{"hardware", "integrated", "none"},
			[]record.EnergySource{record.EnergyHardware, record.EnergyIntegrated, record.EnergyNone}, record.EnergyHardware),
		LimitMilliwatts: watts(e, "limit_watts"), IdleMilliwatts: watts(e, "idle_watts"), From: e.instant("from"), To: e.instant("to"),
	}
	if d.Kind == record.KindMIG {
		if d.Parent == "" {
			e.bad("parent", "parent is missing; a MIG instance is part of a GPU, name its uuid")
		}
		if e.values["energy_source"] == nil {
			d.Energy = record.EnergyNone
		}
	}
	order(e, d.From, d.To)
	return d.UUID, d
}

func tenant(e *entry) (string, record.Tenant) {
	t := record.Tenant{
		ID: e.required("id"), Name: e.text("name"), Sector: e.text("sector"), SizeClass: e.text("size_class"), Country: e.country("country", false),
		VATID: e.text("vat_id"), AllowedCountries: e.countries("allowed_countries"),
	}
	return t.ID, t
}

func watts(e *entry, key string) unit.Milliwatts {
	w := e.thousandths(key, " of watts", 0)
	if w < 0 {
		e.bad(key, "%s is %s; a draw is not negative", key, e.text(key))
	}
	return unit.Milliwatts(w)
}

func order(e *entry, from, to unit.Micros) {
	if to != 0 && to <= from {
		e.bad("to", "to is not after from; leave it out while it lasts")
	}
}

// syntax finds the place in an error of the parser's.
func syntax(err error) error {
	var at interface {
		error
		GetToken() *token.Token
		GetMessage() string
	}
	if errors.As(err, &at) {
		f := fault.Fault{Text: fmt.Sprintf("this is no YAML: %s", at.GetMessage())}
		f.Line, f.Column = position(at.GetToken())
		return f
	}
	return fault.Fault{Text: "this is no YAML: " + err.Error()}
}
