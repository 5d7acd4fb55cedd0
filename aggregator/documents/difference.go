package documents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shopspring/decimal"

	"github.com/wattledger/wattledger/aggregator/invoice"
	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Difference is what changed for a tenant and a period between two states of the ledger. An invoice is never rewritten: this is what
// a later document has to put right.
type Difference struct {
	Document string       `json:"document"` // difference
	Tenant   report.Party `json:"tenant"`
	From     string       `json:"from"`
	To       string       `json:"to"`
	Before   State        `json:"before"`
	After    State        `json:"after"`
	Figures  []Figure     `json:"figures"`
	// Lines, Net, VAT and Due are the invoices' by one price list; empty without one.
	Currency string       `json:"currency"`
	Lines    []LineChange `json:"invoice_lines"`
	Net      Amount       `json:"net"`
	VAT      Amount       `json:"vat"`
	Due      Amount       `json:"amount_due"`
	// Adjustments are those booked in between.
	Adjustments []report.AdjustmentRow `json:"adjustments"`
}

// State is one of the two.
type State struct {
	AsOf      string `json:"as_of"`
	AsOfSeals uint64 `json:"as_of_seals"`
	Entries   int64  `json:"entries"`
	// Invoice is the number of the invoice made from it; empty when there is none.
	Invoice string `json:"invoice"`
}

// Figure is a total before and after. Change = Adjusted + Closed: what adjustments changed, and what hours brought that were
// closed in between.
type Figure struct {
	Name     string `json:"name"`
	Unit     string `json:"unit"`
	Before   int64  `json:"before"`
	After    int64  `json:"after"`
	Change   int64  `json:"change"`
	Adjusted int64  `json:"adjusted"`
	Closed   int64  `json:"closed"`

	shown string // the unit for people
	per   int64  // how many of Unit it has
}

// LineChange is a line of the invoice before and after. Before, After and Change are exact; the amounts are of the rounded lines.
type LineChange struct {
	Account record.Account `json:"account"`
	Item    string         `json:"item"`
	Price   string         `json:"price"`
	Unit    string         `json:"exact_unit"`
	Before  int64          `json:"before"`
	After   int64          `json:"after"`
	Change  int64          `json:"change"`
	Net     Amount         `json:"net"`
}

// Amount is money before and after, in the currency's smallest unit.
type Amount struct {
	Before string `json:"before"`
	After  string `json:"after"`
	Change string `json:"change"`
}

// Compare makes the difference between two states of the ledger, for the tenant and the period that the options name. It compares
// what documents would say as of either, by the same prices.
func Compare(ctx context.Context, ledger Ledger, o Options, before report.AsOf) (Difference, error) {
	if o.Tenant == "" {
		return Difference{}, errors.New("a difference is of one tenant: name it")
	}
	seals, err := ledger.Seals(ctx)
	if err != nil {
		return Difference{}, err
	}
	if o.AsOf == nil {
		o.AsOf = report.AsOfSeals(seals)
	}
	for _, site := range sorted(before) {
		if n := o.AsOf[site]; before[site] > n {
			return Difference{}, fmt.Errorf("as of %s is not earlier than as of %s: of site %s it has %d batches, not at most %d", before, o.AsOf, site, before[site], n)
		}
	}
	late, err := one(ctx, ledger, o)
	if err != nil {
		return Difference{}, err
	}
	o.AsOf = before
	early, err := one(ctx, ledger, o)
	if err != nil {
		return Difference{}, err
	}
	d := Difference{
		Document: "difference", Tenant: late.usage.Tenant, From: late.usage.From, To: late.usage.To,
		Before: early.state(), After: late.state(), Lines: []LineChange{}, Adjustments: []report.AdjustmentRow{},
	}
	var held []report.AdjustmentRow
	for _, a := range late.usage.Adjustments {
		if before.Covers(a.Site, a.Batch) {
			continue
		}
		d.Adjustments = append(d.Adjustments, a)
		if a.Account.Held() { // what is reserved is in no total
			held = append(held, a)
		}
	}
	d.Figures = figures(early.usage, late.usage, held)
	d.invoices(early.invoice, late.invoice, o)
	return d, nil
}

// side is what the documents of one state say about the tenant.
type side struct {
	usage   report.UsageDocument
	invoice *invoice.Invoice
}

func (s side) state() State {
	st := State{AsOf: s.usage.Provenance.AsOf, AsOfSeals: s.usage.Provenance.AsOfSeals, Entries: s.usage.Totals.Entries}
	if s.invoice != nil {
		st.Invoice = s.invoice.Number
	}
	return st
}

func one(ctx context.Context, ledger Ledger, o Options) (side, error) {
	set, err := Gather(ctx, ledger, o)
	if err != nil {
		return side{}, err
	}
	if err := errors.Join(set.Faults...); err != nil {
		return side{}, err
	}
	if len(set.Usage) == 0 { // nothing was the tenant's then
		tenants, err := ledger.Tenants(ctx)
		if err != nil {
			return side{}, err
		}
		t := record.Tenant{ID: o.Tenant}
		if i := slices.IndexFunc(tenants, func(t record.Tenant) bool { return t.ID == o.Tenant }); i >= 0 {
			t = tenants[i]
		}
		return side{usage: report.NewUsage(t, set.opts).Document()}, nil
	}
	s := side{usage: set.Usage[0]}
	if len(set.Invoices) > 0 {
		s.invoice = &set.Invoices[0]
	}
	return s, nil
}

// masses are a statement's carbon by boundary.
func masses(u report.UsageDocument, method string) map[string]int64 {
	out := map[string]int64{}
	for _, c := range u.Carbon {
		if c.Method == method && c.Boundary != report.NoFactor {
			out[c.Boundary] = int64(c.Carbon)
		}
	}
	return out
}

// figures are a tenant's totals before and after, with the part of the change that adjustments made.
func figures(early, late report.UsageDocument, adjusted []report.AdjustmentRow) []Figure {
	var list []Figure
	add := func(f Figure, part func(a report.AdjustmentRow) int64) {
		for _, a := range adjusted {
			f.Adjusted += part(a)
		}
		f.Change = f.After - f.Before
		f.Closed = f.Change - f.Adjusted
		list = append(list, f)
	}
	a, b := early.Totals, late.Totals
	add(Figure{Name: "device time", Unit: "ms × thousandths", Before: int64(a.DeviceTime), After: int64(b.DeviceTime), shown: "GPU-h", per: unit.DeviceTimePerHour},
		func(a report.AdjustmentRow) int64 { return int64(a.DeviceTime) })
	energy := func(name string, before, after unit.Millijoules, part func(a report.AdjustmentRow) unit.Millijoules) {
		add(Figure{Name: name, Unit: "mJ", Before: int64(before), After: int64(after), shown: "kWh", per: unit.MillijoulesPerKWh},
			func(a report.AdjustmentRow) int64 { return int64(part(a)) })
	}
	energy("energy", a.Energy, b.Energy, func(a report.AdjustmentRow) unit.Millijoules { return a.Energy })
	energy("of it measured", a.Measured, b.Measured, func(a report.AdjustmentRow) unit.Millijoules { return a.Measured })
	energy("of it estimated", a.Estimated, b.Estimated, func(a report.AdjustmentRow) unit.Millijoules { return a.Estimated })
	energy("of it modelled", a.Modelled, b.Modelled, func(a report.AdjustmentRow) unit.Millijoules { return a.Modelled })
	for _, method := range []string{report.LocationBased, report.MarketBased, report.Embodied} {
		before, after, boundaries := masses(early, method), masses(late, method), map[string]bool{}
		for _, m := range []map[string]int64{before, after} {
			for b := range m {
				boundaries[b] = true
			}
		}
		for _, boundary := range sorted(boundaries) { // masses of two boundaries are never summed
			f := Figure{Name: "carbon, " + method + ", " + boundary, Unit: "µg CO2e", shown: "kgCO2e", per: 1_000_000_000, Before: before[boundary], After: after[boundary]}
			add(f, func(a report.AdjustmentRow) int64 {
				if carbon, within := a.CarbonBy(method); within == boundary {
					return int64(carbon)
				}
				return 0
			})
		}
	}
	add(Figure{Name: "water", Unit: "µl", Before: int64(a.Water), After: int64(b.Water), shown: "L", per: 1_000_000},
		func(a report.AdjustmentRow) int64 { return int64(a.Water) })
	return list
}

// invoices compares two invoices line by line. One that there is not has no lines.
func (d *Difference) invoices(before, after *invoice.Invoice, o Options) {
	if o.Prices == nil {
		return
	}
	digits := o.Prices.Digits()
	d.Currency = o.Prices.Currency
	type key struct {
		account     record.Account
		item, price string
	}
	lines := map[key]*LineChange{}
	nets := map[key]*[2]decimal.Decimal{}
	totals := [3][2]decimal.Decimal{}
	for i, inv := range []*invoice.Invoice{before, after} {
		if inv == nil {
			continue
		}
		for _, l := range inv.Lines {
			k := key{l.Account, l.Item, l.Price}
			if lines[k] == nil {
				lines[k] = &LineChange{Account: l.Account, Item: l.Item, Price: l.Price, Unit: l.ExactUnit}
				nets[k] = &[2]decimal.Decimal{}
			}
			if i == 0 {
				lines[k].Before = l.Exact
			} else {
				lines[k].After = l.Exact
			}
			nets[k][i] = money(l.Net)
		}
		totals[0][i], totals[1][i], totals[2][i] = money(inv.TaxBasis), money(inv.VATTotal), money(inv.Due)
	}
	amount := func(v [2]decimal.Decimal) Amount {
		return Amount{v[0].StringFixed(digits), v[1].StringFixed(digits), v[1].Sub(v[0]).StringFixed(digits)}
	}
	for k, l := range lines {
		l.Change, l.Net = l.After-l.Before, amount(*nets[k])
		d.Lines = append(d.Lines, *l)
	}
	slices.SortFunc(d.Lines, func(a, b LineChange) int {
		return cmp.Or(cmp.Compare(b.Unit, a.Unit), report.CompareAccounts(a.Account, b.Account), cmp.Compare(a.Item, b.Item), cmp.Compare(a.Price, b.Price))
	})
	d.Net, d.VAT, d.Due = amount(totals[0]), amount(totals[1]), amount(totals[2])
}

// money reads an amount of an invoice of ours.
func money(s string) decimal.Decimal {
	v, err := decimal.NewFromString(s)
	if err != nil {
		return decimal.Decimal{} // invoices write decimals
	}
	return v
}

// Tables show the difference: totals, invoice lines, and the adjustments that made it.
func (d Difference) Tables() []report.Table {
	t := report.Table{
		Title: fmt.Sprintf("What changed for %s, %s to %s", d.Tenant.Name, d.From, d.To),
		Columns: []report.Column{
			{Name: "figure"},
			{Name: "before", Right: true},
			{Name: "after", Right: true},
			{Name: "change", Right: true},
			{Name: "by adjustments", Right: true},
			{Name: "by hours closed since", Right: true},
			{Name: "unit"},
		},
		Notes: []string{fmt.Sprintf("Before: as of %s, %s. After: as of %s, %s.", orNothing(d.Before.AsOf), report.Count(d.Before.Entries, "entry", "entries"),
			orNothing(d.After.AsOf), report.Count(d.After.Entries, "entry", "entries"))},
	}
	for _, f := range d.Figures {
		t.Rows = append(t.Rows, []string{f.Name, f.text(f.Before, false), f.text(f.After, false), f.text(f.Change, true), f.text(f.Adjusted, true), f.text(f.Closed, true), f.shown})
	}
	tables := []report.Table{t}
	if d.Currency != "" {
		tables = append(tables, d.linesTable())
	}
	if len(d.Adjustments) > 0 {
		tables = append(tables, report.AdjustmentsTable("Adjustments booked in between", d.Adjustments))
	}
	return tables
}

func (d Difference) linesTable() report.Table {
	t := report.Table{
		Title: "Invoice before and after, " + d.Currency,
		Columns: []report.Column{
			{Name: "account"},
			{Name: "item"},
			{Name: "before", Right: true},
			{Name: "after", Right: true},
			{Name: "change", Right: true},
			{Name: "price", Right: true},
			{Name: "net before", Right: true},
			{Name: "net after", Right: true},
			{Name: "change", Right: true},
		},
		Totals: []string{"", "to pay", "", "", "", "", d.Due.Before, d.Due.After, plus(d.Due.Change)},
		Notes: []string{
			fmt.Sprintf("Before: %s. After: %s. The invoice that was sent stays as it is; a credit note or a further invoice is over the change.",
				orNothing(d.Before.Invoice), orNothing(d.After.Invoice)),
		},
	}
	for _, l := range d.Lines {
		f := Figure{per: unit.DeviceTimePerHour} // mJ have as many to the kWh
		t.Rows = append(t.Rows, []string{
			string(l.Account), l.Item, f.text(l.Before, false), f.text(l.After, false), f.text(l.Change, true), l.Price, l.Net.Before, l.Net.After, plus(l.Net.Change),
		})
	}
	t.Rows = append(t.Rows,
		[]string{"", "sum without VAT", "", "", "", "", d.Net.Before, d.Net.After, plus(d.Net.Change)},
		[]string{"", "VAT", "", "", "", "", d.VAT.Before, d.VAT.After, plus(d.VAT.Change)})
	return t
}

// text is an exact figure in the unit for people, to six places.
func (f Figure) text(v int64, change bool) string {
	s := decimal.NewFromInt(v).DivRound(decimal.NewFromInt(f.per), 6).StringFixed(6)
	if change {
		return plus(s)
	}
	return s
}

// plus marks a change that is none as 0 and one upwards with its sign.
func plus(s string) string {
	if v := money(s); v.IsPositive() {
		return "+" + s
	}
	return s
}

func orNothing(s string) string { return cmp.Or(s, "nothing") }
