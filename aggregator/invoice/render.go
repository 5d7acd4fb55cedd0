package invoice

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/aggregator/report"
)

// CSV is a row per line, with the invoice's own fields in front of each. VAT and totals are in the JSON and the text.
func (inv Invoice) CSV() ([]byte, error) {
	var rows [][]string
	for _, l := range inv.Lines {
		rows = append(rows, []string{
			inv.Number, inv.IssueDate, inv.DueDate, inv.From, inv.To, inv.Seller.Name, inv.Buyer.ID, inv.Buyer.Name, inv.Currency,
			strconv.Itoa(l.ID), string(l.Account), l.Item, l.Quantity, l.UnitCode, l.Price, l.Net, l.Category, l.Rate,
			strconv.FormatInt(l.Exact, 10), l.ExactUnit, strconv.FormatUint(l.Entries, 10), l.EntriesRoot,
		})
	}
	return report.CSV([]string{
		"invoice", "issue_date", "due_date", "from", "to", "seller", "buyer", "buyer_name", "currency",
		"line", "account", "item", "quantity", "unit_code", "price", "net", "vat_category", "vat_rate", "exact", "exact_unit", "entries", "entries_root",
	}, rows)
}

// Table shows the lines with VAT and totals.
func (inv Invoice) Table() report.Table {
	t := report.Table{
		Title: fmt.Sprintf("Invoice %s, %s, %s to %s", inv.Number, inv.Buyer.Name, inv.From, inv.To),
		Columns: []report.Column{
			{Name: "line", Right: true},
			{Name: "account"},
			{Name: "item"},
			{Name: "quantity", Right: true},
			{Name: "unit"},
			{Name: "price", Right: true},
			{Name: "net " + inv.Currency, Right: true},
			{Name: "entries", Right: true},
		},
		Totals: []string{"", "", "to pay", "", "", "", inv.Due, ""},
		Notes:  inv.Notes,
	}
	for _, l := range inv.Lines {
		t.Rows = append(t.Rows, []string{strconv.Itoa(l.ID), string(l.Account), l.Item, l.Quantity, l.Unit, l.Price, l.Net, strconv.FormatUint(l.Entries, 10)})
	}
	t.Rows = append(t.Rows, []string{"", "", "sum without VAT", "", "", "", inv.TaxBasis, ""})
	for _, v := range inv.VAT {
		t.Rows = append(t.Rows, []string{"", "", strings.TrimSpace("VAT " + v.Category + " " + percent(v.Rate)), "", "", "", v.Amount, ""})
	}
	return t
}

func percent(rate string) string {
	if rate == "" {
		return ""
	}
	return rate + " %"
}

// SummaryTable shows a line per invoice.
func SummaryTable(invoices []Invoice) report.Table {
	t := report.Table{Title: "Invoices", Columns: []report.Column{
		{Name: "number"},
		{Name: "tenant"},
		{Name: "country"},
		{Name: "lines", Right: true},
		{Name: "net", Right: true},
		{Name: "VAT"},
		{Name: "tax", Right: true},
		{Name: "to pay", Right: true},
		{Name: "due"},
	}}
	for _, inv := range invoices {
		v := inv.VAT[0]
		t.Rows = append(t.Rows, []string{
			inv.Number, inv.Buyer.Name, inv.Buyer.Country, strconv.Itoa(len(inv.Lines)), inv.TaxBasis,
			strings.TrimSpace(v.Category + " " + percent(v.Rate)), inv.VATTotal, inv.Due + " " + inv.Currency, inv.DueDate,
		})
	}
	return t
}

// Text is the invoice for people.
func (inv Invoice) Text() []byte {
	var b strings.Builder
	party := func(role, name, country, vat, legal string) {
		fmt.Fprintf(&b, "%-8s %s", role, name)
		for _, s := range []struct{ label, value string }{{"", country}, {"VAT id ", vat}, {"reg. ", legal}} {
			if s.value != "" {
				b.WriteString(", " + s.label + s.value)
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "INVOICE %s\n\n", inv.Number)
	party("Seller", inv.Seller.Name, inv.Seller.Country, inv.Seller.VATID, inv.Seller.LegalID)
	party("Buyer", inv.Buyer.Name, inv.Buyer.Country, inv.Buyer.VATID, "")
	fmt.Fprintf(&b, "%-8s %s to %s\n%-8s %s\n%-8s %s\n\n", "Period", inv.From, inv.To, "Issued", inv.IssueDate, "Due", inv.DueDate)
	t := inv.Table()
	t.Title = ""
	b.WriteString(t.Text())
	b.WriteString("\nWhere the lines come from (entries of the ledger, RFC 6962 tree hash over their ids):\n")
	for _, l := range inv.Lines {
		fmt.Fprintf(&b, "  line %d: %s, %d %s, %s\n", l.ID, report.Count(l.Entries, "entry", "entries"), l.Exact, l.ExactUnit, l.EntriesRoot)
	}
	fmt.Fprintf(&b, "Price list SHA-256 %s. %s\n", inv.PriceList.SHA256, inv.Provenance.Line())
	return []byte(b.String())
}
