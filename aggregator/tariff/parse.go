package tariff

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/shopspring/decimal"
	"golang.org/x/text/currency"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Amount is an exact decimal, kept as it was written.
type Amount string

// plainDecimal is what an amount looks like: no sign, no exponent, no thousands separators.
var plainDecimal = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,6})?$`)

// UnmarshalYAML takes the text of the scalar, quoted or not, so that no binary fraction ever stands between.
func (a *Amount) UnmarshalYAML(text []byte) error {
	*a = Amount(strings.Trim(strings.TrimSpace(string(text)), `"'`))
	return nil
}

// Decimal is the amount; of one that Parse has not seen it may be 0.
func (a Amount) Decimal() decimal.Decimal {
	d, err := decimal.NewFromString(string(a))
	if err != nil {
		return decimal.Decimal{}
	}
	return d
}

// Date is a day in UTC, 2026-01-31.
type Date string

// UnmarshalYAML takes the text of the scalar, quoted or not.
func (d *Date) UnmarshalYAML(text []byte) error {
	*d = Date(strings.Trim(strings.TrimSpace(string(text)), `"'`))
	return nil
}

func (d Date) start() unit.Micros {
	t, err := time.Parse(time.DateOnly, string(d))
	if err != nil {
		return 0
	}
	return unit.MicrosOf(t)
}

// maxList bounds a price list's file: ten thousand models fit.
const maxList = 1 << 20

// Parse reads a price list. Unknown keys are refused, and every fault of the content is named at once, each with
// name:line:column. name is only for the messages.
func Parse(name string, data []byte) (*List, error) {
	if len(data) > maxList {
		return nil, fmt.Errorf("%s: the price list has %d bytes; at most %d are read", name, len(data), maxList)
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, positioned(name, err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil || file.Docs[0].Body.Type() != ast.MappingType {
		return nil, fmt.Errorf("%s:1:1: a price list is one YAML mapping with the keys name, currency, valid_from, seller, gpu_hours, energy, vat, contracts", name)
	}
	if err := plain(name, file.Docs[0].Body); err != nil {
		return nil, err
	}
	l := &List{VAT: VAT{OutsideEU: "O"}, digest: digest(data)}
	if err := yaml.NodeToValue(file.Docs[0].Body, l, yaml.Strict()); err != nil {
		return nil, positioned(name, err)
	}
	if l.Energy != nil && l.Energy.Estimated == "" {
		l.Energy.Estimated = "billed"
	}
	c := checker{name: name, file: file}
	c.list(l)
	if err := errors.Join(c.faults...); err != nil {
		return nil, err
	}
	return l, nil
}

// plain refuses anchors, aliases and merges: a price list is read by people, and each price stands where it counts.
func plain(name string, body ast.Node) error {
	for _, kind := range []ast.NodeType{ast.AnchorType, ast.AliasType, ast.MergeKeyType, ast.TagType} {
		if found := ast.Filter(kind, body); len(found) > 0 {
			at := found[0].GetToken().Position
			return fmt.Errorf("%s:%d:%d: YAML %ss are not read here: write the value out", name, at.Line, at.Column, strings.ToLower(kind.String()))
		}
	}
	return nil
}

// positioned brings the library's error, which draws the source over several lines, into one.
func positioned(name string, err error) error {
	var e yaml.Error
	if errors.As(err, &e) {
		msg, _, _ := strings.Cut(e.GetMessage(), "\n")
		if t := e.GetToken(); t != nil && t.Position != nil {
			return fmt.Errorf("%s:%d:%d: %s", name, t.Position.Line, t.Position.Column, msg)
		}
		return fmt.Errorf("%s: %s", name, msg)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// checker gathers the faults of a list with their places in the file.
type checker struct {
	name   string
	file   *ast.File
	faults []error
}

// fault names what stands at a path such as $.seller.country, or what the nearest thing around it lacks.
func (c *checker) fault(path, format string, args ...any) {
	place := c.name
	for p := path; ; {
		if at, ok := c.position(p); ok {
			place = fmt.Sprintf("%s:%s", c.name, at)
			break
		}
		cut := max(strings.LastIndexByte(p, '.'), strings.LastIndexByte(p, '['))
		if cut < 0 {
			break
		}
		p = p[:cut]
	}
	key := strings.TrimPrefix(strings.TrimPrefix(path, "$"), ".")
	c.faults = append(c.faults, fmt.Errorf("%s: %s "+format, append([]any{place, key}, args...)...))
}

func (c *checker) position(path string) (string, bool) {
	p, err := yaml.PathString(path)
	if err != nil {
		return "", false
	}
	node, err := p.FilterFile(c.file)
	if err != nil || node == nil || node.GetToken() == nil || node.GetToken().Position == nil {
		return "", false
	}
	at := node.GetToken().Position
	return fmt.Sprintf("%d:%d", at.Line, at.Column), true
}

func (c *checker) list(l *List) {
	if strings.TrimSpace(l.Name) == "" {
		c.fault("$.name", "is empty; name the list, invoices print it")
	}
	l.digits = c.currency(l.Currency)
	c.date("$.valid_from", l.ValidFrom)
	if l.ValidTo != "" {
		c.date("$.valid_to", l.ValidTo)
		if l.ValidFrom.start() >= l.ValidTo.start() {
			c.fault("$.valid_to", "is %s, not after valid_from %s", l.ValidTo, l.ValidFrom)
		}
	}
	if l.PaymentDays < 0 || l.PaymentDays > 365 {
		c.fault("$.payment_days", "is %d; write 0 to 365", l.PaymentDays)
	}
	c.seller(l.Seller)
	seen := map[string]bool{}
	for i, p := range l.GPUHours {
		at := fmt.Sprintf("$.gpu_hours[%d]", i)
		switch {
		case strings.TrimSpace(p.Model) == "":
			c.fault(at+".model", "is empty; write the product name as nvidia-smi shows it, or its beginning")
		case seen[p.Model]:
			c.fault(at+".model", "%q is listed twice; keep one", p.Model)
		}
		seen[p.Model] = true
		c.amount(at+".price", p.Price, "3.90")
	}
	if len(l.GPUHours) == 0 {
		c.fault("$.gpu_hours", "is empty; list a price for each device model (0 is a price)")
	}
	if e := l.Energy; e != nil {
		c.amount("$.energy.price_per_kwh", e.Price, "0.21")
		c.oneOf("$.energy.basis", string(e.Basis), "facility", "it", "devices")
		c.oneOf("$.energy.estimated", e.Estimated, "billed", "waived")
	}
	c.amount("$.vat.rate", l.VAT.Rate, "20.00")
	if d := l.VAT.Rate.Decimal(); d.GreaterThan(decimal.NewFromInt(100)) || !d.Equal(d.Round(2)) {
		c.fault("$.vat.rate", "is %s; write a percentage from 0 to 100 with at most two decimals", l.VAT.Rate)
	}
	c.oneOf("$.vat.outside_eu", l.VAT.OutsideEU, "O", "G")
	c.contracts(l)
}

func (c *checker) seller(s Seller) {
	if strings.TrimSpace(s.Name) == "" {
		c.fault("$.seller.name", "is empty; write the legal name (EN 16931 BT-27)")
	}
	if !isCountry(s.Country) {
		c.fault("$.seller.country", "is %q; write an ISO 3166-1 code such as FR", s.Country)
	}
	if s.VATID == "" && s.LegalID == "" {
		c.fault("$.seller.vat_id", "and legal_id are both empty; write at least one (EN 16931 BR-CO-26)")
	}
	if s.VATID != "" && !strings.HasPrefix(s.VATID, vatPrefix(s.Country)) {
		c.fault("$.seller.vat_id", "is %q; a VAT id begins with its country, here %s (EN 16931 BR-CO-09)", s.VATID, vatPrefix(s.Country))
	}
}

func (c *checker) currency(code string) int32 {
	cur, err := currency.ParseISO(code)
	if err != nil || cur.String() != code {
		c.fault("$.currency", "is %q; write an ISO 4217 code such as EUR", code)
		return 2
	}
	digits, _ := currency.Standard.Rounding(cur)
	if digits > 2 {
		c.fault("$.currency", "%s has %d decimals; an invoice has at most two (EN 16931 BR-DEC)", code, digits)
	}
	return int32(digits)
}

func (c *checker) date(path string, d Date) {
	t, err := time.Parse(time.DateOnly, string(d))
	if err != nil || t.Year() < 2000 || t.Year() > 2099 {
		c.fault(path, "is %q; write a day from 2000 to 2099 as 2026-01-31", string(d))
	}
}

func (c *checker) amount(path string, a Amount, example string) {
	if !plainDecimal.MatchString(string(a)) {
		c.fault(path, "is %q; write a decimal number such as %q with at most six decimals and no sign", string(a), example)
	}
}

func (c *checker) oneOf(path, v string, allowed ...string) {
	for _, a := range allowed {
		if v == a {
			return
		}
	}
	c.fault(path, "is %q; write one of %s", v, strings.Join(allowed, ", "))
}
