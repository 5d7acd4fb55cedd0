// Package invoice turns a tenant's entries and a price list into a plain invoice.
//
// It owns lines, totals and numbers; prices and tax are tariff's. Every line says which entries of the ledger it came from:
// how many, and the RFC 6962 tree hash over their ids in the order of the ledger. Lines for GPU-hours part a tenant's
// entries between them, and so do the lines for energy; a line is of one account of the ledger. What nobody held is billed to a
// tenant whose contract says so, and to nobody else. Amounts are rounded once per
// line, totals are sums of lines, VAT is on the sum (EN 16931 BR-CO-10 to BR-CO-17). An invoice is a function of the
// entries, the list and the tenant: its number is made from its content, its date is the day after the period. The
// formal documents (EN 16931 in UBL, CII, PDF) are not made here. Nothing reads a clock, a file or the network.
package invoice

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/aggregator/tariff"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Invoice is what a tenant owes for a period. The comments name the business terms of EN 16931-1.
type Invoice struct {
	Document    string    `json:"document"`     // invoice
	Number      string    `json:"number"`       // BT-1
	TypeCode    string    `json:"type_code"`    // BT-3: 380, commercial invoice
	IssueDate   string    `json:"issue_date"`   // BT-2: the day on which the period has ended
	DueDate     string    `json:"due_date"`     // BT-9
	Currency    string    `json:"currency"`     // BT-5
	PeriodStart string    `json:"period_start"` // BT-73, the first day
	PeriodEnd   string    `json:"period_end"`   // BT-74, the last day
	From        string    `json:"from"`         // the exact instants
	To          string    `json:"to"`
	Seller      Seller    `json:"seller"`
	Buyer       Buyer     `json:"buyer"`
	Lines       []Line    `json:"lines"`
	LineTotal   string    `json:"line_total"`    // BT-106
	TaxBasis    string    `json:"tax_exclusive"` // BT-109
	VAT         []VAT     `json:"vat"`
	VATTotal    string    `json:"vat_total"`     // BT-110
	GrandTotal  string    `json:"tax_inclusive"` // BT-112
	Due         string    `json:"amount_due"`    // BT-115
	Notes       []string  `json:"notes"`         // BT-22
	Entries     int64     `json:"entries"`
	EntriesRoot string    `json:"entries_root"`
	PriceList   PriceList `json:"price_list"`

	Provenance report.Provenance `json:"provenance"`
}

// Seller is who invoices.
type Seller struct {
	Name    string `json:"name"`     // BT-27
	Country string `json:"country"`  // BT-40
	VATID   string `json:"vat_id"`   // BT-31
	LegalID string `json:"legal_id"` // BT-30
}

// Buyer is who is invoiced.
type Buyer struct {
	ID      string `json:"id"`      // BT-46
	Name    string `json:"name"`    // BT-44
	Country string `json:"country"` // BT-55
	VATID   string `json:"vat_id"`  // BT-48
}

// Line is one thing that was used.
type Line struct {
	ID int `json:"id"` // BT-126
	// Account is the ledger's: tenant, held_idle, and by contract unallocated and platform.
	Account record.Account `json:"account"`
	// Waived says that the contract leaves it free: the price is then 0.
	Waived   bool   `json:"waived"`
	Item     string `json:"item"`      // BT-153
	Quantity string `json:"quantity"`  // BT-129
	UnitCode string `json:"unit_code"` // BT-130: HUR hour, KWH kilowatt-hour
	Unit     string `json:"unit"`
	Price    string `json:"price"`        // BT-146
	Net      string `json:"net"`          // BT-131
	Category string `json:"vat_category"` // BT-151
	Rate     string `json:"vat_rate"`     // BT-152
	// Exact is the quantity as the ledger has it: ms × thousandths of a device, or mJ.
	Exact     int64  `json:"exact"`
	ExactUnit string `json:"exact_unit"`
	// Entries is how many entries of the ledger the line came from, EntriesRoot the tree hash over their ids.
	Entries     uint64 `json:"entries"`
	EntriesRoot string `json:"entries_root"`
}

// VAT is the tax at one rate.
type VAT struct {
	Base       string `json:"base"`        // BT-116
	Amount     string `json:"amount"`      // BT-117
	Category   string `json:"category"`    // BT-118
	Rate       string `json:"rate"`        // BT-119
	Reason     string `json:"reason"`      // BT-120
	ReasonCode string `json:"reason_code"` // BT-121
}

// PriceList names the list that was applied.
type PriceList struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// share is the part of a tenant's entries that a line is made from.
type share struct {
	price  tariff.Price
	time   unit.DeviceTime
	energy unit.Millijoules
	ids    tree
}

// shareKey is what a tenant's entries are parted by; the model is empty for energy.
type shareKey struct {
	account record.Account
	waived  bool
	model   string
}

// Builder adds up a tenant's entries.
type Builder struct {
	tenant record.Tenant
	list   *tariff.List
	opts   report.Options
	hours  map[shareKey]*share
	energy map[shareKey]*share
	all    tree
	basis  report.Basis
	faults map[string]error
	// adjusted counts corrections of hours closed before, reserved what nobody held.
	adjusted, reserved int64
}

// NewBuilder begins an invoice.
func NewBuilder(tenant record.Tenant, list *tariff.List, opts report.Options) *Builder {
	return &Builder{
		tenant: tenant, list: list, opts: opts, hours: map[shareKey]*share{}, energy: map[shareKey]*share{}, faults: map[string]error{},
	}
}

// Add counts an entry that the tenant held. Entries come in the order of the ledger; one of another tenant or period is refused.
func (b *Builder) Add(e report.Booked) error {
	if !e.Account.Held() || e.Tenant != b.tenant.ID {
		return fmt.Errorf("entry %s is not of tenant %s", e.ID, b.tenant.ID)
	}
	return b.add(e, e.DeviceTime)
}

// AddReserved counts an entry that nobody held and that the tenant pays for by contract, in the same order. Time in which the
// device was not there is not billed.
func (b *Builder) AddReserved(e report.Booked) error {
	if e.Account.Held() {
		return fmt.Errorf("entry %s is held by tenant %s: it is nobody's reserve", e.ID, e.Tenant)
	}
	b.reserved++
	return b.add(e, e.DeviceTime-e.Unavailable)
}

func (b *Builder) add(e report.Booked, time unit.DeviceTime) error {
	hour, err := e.Start()
	if err != nil {
		return err
	}
	if !b.opts.Period.Holds(hour) {
		return fmt.Errorf("entry %s of %s is not in the period %s", e.ID, e.Hour, b.opts.Period)
	}
	if !b.list.Holds(hour) {
		b.faults["dates"] = fmt.Errorf("price list %q holds from %s to %s and has no prices for %s: name the list of that time",
			b.list.Name, b.list.ValidFrom, cmp.Or(string(b.list.ValidTo), "further notice"), e.Hour)
	}
	k := shareKey{account: e.Account, waived: b.list.Waives(e.Entry), model: e.Model}
	if e.Account != record.AccountPlatform && e.DeviceKind != record.KindCPU.String() { // those have no GPU-hours
		s, ok := b.hours[k]
		if !ok {
			s = &share{}
			if s.price, err = b.list.PriceOf(e.Model); err != nil {
				b.faults["model "+e.Model] = err
			}
			b.hours[k] = s
		}
		s.time += time
		s.ids.add(e.ID)
	}
	if b.list.Energy != nil {
		k.model = ""
		s, ok := b.energy[k]
		if !ok {
			s = &share{}
			b.energy[k] = s
		}
		s.energy += b.list.Energy.Billed(e.Entry)
		s.ids.add(e.ID)
	}
	b.all.add(e.ID)
	if e.Kind == record.Adjustment {
		b.adjusted++
	}
	b.basis.Add(e, b.opts.IdleLimit)
	return nil
}

// ErrNothing means that the tenant has no entries in the period: there is nothing to invoice.
var ErrNothing = errors.New("no entries in the period")

// Invoice is the invoice for what was added. Models without a price are an error that names each of them.
func (b *Builder) Invoice() (Invoice, error) {
	if b.all.Count() == 0 {
		return Invoice{}, fmt.Errorf("invoice of %s for %s: %w", b.tenant.ID, b.opts.Period, ErrNothing)
	}
	if len(b.faults) > 0 {
		var errs []error
		for _, k := range sorted(b.faults) {
			errs = append(errs, b.faults[k])
		}
		return Invoice{}, fmt.Errorf("invoice of %s for %s: %w", b.tenant.ID, b.opts.Period, errors.Join(errs...))
	}
	l, treatment := b.list, b.list.Treat(b.tenant)
	inv := Invoice{
		Document: "invoice", TypeCode: "380", Currency: l.Currency,
		From: b.opts.Period.From.Time().Format(time.RFC3339), To: b.opts.Period.To.Time().Format(time.RFC3339),
		Seller:    Seller{l.Seller.Name, l.Seller.Country, l.Seller.VATID, l.Seller.LegalID},
		Buyer:     Buyer{b.tenant.ID, cmp.Or(b.tenant.Name, b.tenant.ID), b.tenant.Country, b.tenant.VATID},
		Entries:   int64(b.all.Count()),
		PriceList: PriceList{l.Name, l.Digest()}, EntriesRoot: b.all.root(),
		Provenance: b.basis.Provenance(b.opts.Log),
	}
	b.dates(&inv)
	total := b.lines(&inv, treatment)
	tax := l.Tax(total, treatment.Rate)
	d := l.Digits()
	inv.LineTotal, inv.TaxBasis = total.StringFixed(d), total.StringFixed(d)
	inv.VAT = []VAT{{
		Base: total.StringFixed(d), Amount: tax.StringFixed(d), Category: treatment.Category, Rate: rate(treatment),
		Reason: treatment.Reason, ReasonCode: treatment.ReasonCode,
	}}
	inv.VATTotal = tax.StringFixed(d)
	inv.GrandTotal = total.Add(tax).StringFixed(d)
	inv.Due = inv.GrandTotal
	inv.Notes = b.notes(treatment)
	if treatment.Category == "O" {
		inv.Seller.VATID, inv.Buyer.VATID = "", "" // BR-O-02: out of scope, no VAT ids
	}
	return inv, b.number(&inv)
}

// dates puts the period into days, and the dates of issue and payment on from its end. The clock has no say.
func (b *Builder) dates(inv *Invoice) {
	from, to := b.opts.Period.From.Time(), b.opts.Period.To.Time()
	issue := to
	if !issue.Truncate(24 * time.Hour).Equal(issue) {
		issue = issue.Truncate(24*time.Hour).AddDate(0, 0, 1)
	}
	inv.PeriodStart, inv.PeriodEnd = from.Format(time.DateOnly), to.Add(-time.Nanosecond).Format(time.DateOnly)
	inv.IssueDate, inv.DueDate = issue.Format(time.DateOnly), issue.AddDate(0, 0, b.list.PaymentDays).Format(time.DateOnly)
}

// lines writes a line per account and device model, by name, and one per account for energy, and returns their sum.
func (b *Builder) lines(inv *Invoice, t tariff.Treatment) decimal.Decimal {
	total := decimal.Decimal{}
	add := func(k shareKey, item, code, name string, quantity decimal.Decimal, price tariff.Amount, exact int64, exactUnit string, ids *tree) {
		if k.waived {
			price = "0"
		}
		net := b.list.Net(quantity, price.Decimal())
		total = total.Add(net)
		inv.Lines = append(inv.Lines, Line{
			ID: len(inv.Lines) + 1, Account: k.account, Waived: k.waived, Item: item + k.words(), Quantity: quantity.StringFixed(tariff.QuantityDigits),
			UnitCode: code, Unit: name, Price: string(price), Net: net.StringFixed(b.list.Digits()), Category: t.Category, Rate: rate(t),
			Exact: exact, ExactUnit: exactUnit, Entries: ids.Count(), EntriesRoot: ids.root(),
		})
	}
	for _, k := range inOrder(b.hours) {
		s := b.hours[k]
		add(k, "GPU-hours, "+k.model, "HUR", "GPU-hour", tariff.GPUHours(s.time), s.price.Price, int64(s.time), "ms × thousandths of a device", &s.ids)
	}
	for _, k := range inOrder(b.energy) {
		e, s := b.list.Energy, b.energy[k]
		add(k, "Energy, "+e.Basis.Words(), "KWH", "kWh", tariff.KWh(s.energy), e.Price, int64(s.energy), "mJ", &s.ids)
	}
	return total
}

// words tell a line of one account from those of another.
func (k shareKey) words() string {
	text := ""
	switch k.account {
	case record.AccountHeldIdle:
		text = ", held idle"
	case record.AccountUnallocated:
		text = ", reserved and held by nobody"
	case record.AccountPlatform:
		text = ", of reserved nodes without device"
	}
	if k.waived {
		text += ", waived"
	}
	return text
}

func inOrder(m map[shareKey]*share) []shareKey {
	var out []shareKey
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b shareKey) int {
		return cmp.Or(report.CompareAccounts(a.account, b.account), cmp.Compare(a.model, b.model))
	})
	return out
}

func rate(t tariff.Treatment) string {
	if t.Category == "O" {
		return "" // BR-O-05: out of scope, no rate
	}
	return t.Rate.StringFixed(2)
}

func (b *Builder) notes(t tariff.Treatment) []string {
	notes := []string{
		"Prices: " + b.list.Name + ". A quantity is rounded to four decimals, a line to the currency's smallest unit; VAT is on the sum.",
	}
	if t.Reason != "" {
		notes = append(notes, t.Reason+".")
	}
	if t.Note != "" {
		notes = append(notes, t.Note)
	}
	if e := b.list.Energy; e != nil {
		note := "Energy that no counter saw is billed as estimated."
		if e.Estimated == "waived" {
			note = "Energy that no counter saw is not billed."
		}
		notes = append(notes, note)
		if e.Basis != tariff.BasisDevices {
			for _, m := range b.basis.Modelled() {
				notes = append(notes, "Energy: "+m+".")
			}
		}
	}
	for _, site := range b.opts.Log.Open() {
		notes = append(notes, "Not in this invoice, because not closed: "+site+".")
	}
	if b.adjusted > 0 {
		notes = append(notes, "These lines contain "+report.Count(b.adjusted, "correction", "corrections")+
			" of hours that were closed before; the usage statement lists each with its reason.")
	}
	for k := range b.hours {
		if k.waived {
			notes = append(notes, "Held idle time and its energy are waived by contract.")
			break
		}
	}
	if b.reserved > 0 {
		return append(notes, "Lines with \"reserved\" are what nobody held of the nodes that the contract reserves; elsewhere it is the operator's.")
	}
	return append(notes, "Device time that nobody held is the operator's and is not billed.")
}

// number makes BT-1 from the period, the tenant and the content: the same content has the same number. It has at most 35
// characters of those that French rule BR-FR-01 allows. A series without gaps is for the formal documents.
func (b *Builder) number(inv *Invoice) error {
	body, err := report.JSON(inv)
	if err != nil {
		return fmt.Errorf("number the invoice of %s: %w", b.tenant.ID, err)
	}
	sum := sha256.Sum256(body)
	slug := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, b.tenant.ID)
	if len(slug) > 12 {
		slug = slug[:12]
	}
	inv.Number = fmt.Sprintf("WL-%s-%s-%s", b.opts.Period.From.Time().Format("20060102"), slug, hex.EncodeToString(sum[:5]))
	return nil
}

func sorted[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
