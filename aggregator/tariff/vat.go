package tariff

import (
	"fmt"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/wattledger/wattledger/schemas/record"
)

// VAT is how the seller's sales are taxed.
type VAT struct {
	// Rate is the seller's domestic rate in percent.
	Rate Amount `yaml:"rate"`
	// OutsideEU is the category for buyers outside the EU: "O" (outside the scope, the default) or "G" (export). National
	// practice differs; ask a tax adviser.
	OutsideEU string `yaml:"outside_eu"`
}

// Treatment is the VAT category of an invoice (EN 16931 BT-118 to BT-121).
type Treatment struct {
	// Category is S, Z, AE, G or O (UNTDID 5305).
	Category string
	Rate     decimal.Decimal
	// Reason and ReasonCode say why no VAT is charged.
	Reason, ReasonCode string
	// Note says what a person should know of how the category was chosen.
	Note string
}

// reverseCharge holds the words that Directive 2006/112/EC, Art. 226(11a), asks for.
const reverseCharge = "Reverse charge: the customer is liable for VAT (Directive 2006/112/EC, Art. 44 and 196)"

// Treat finds the VAT category of a sale of services to a tenant. The seller's own rate is the answer wherever another
// one is not shown to hold: reverse charge needs a buyer in another member state with a VAT id of that state.
func (l *List) Treat(t record.Tenant) Treatment {
	domestic := Treatment{Category: "S", Rate: l.VAT.Rate.Decimal()}
	if domestic.Rate.IsZero() {
		domestic.Category = "Z"
	}
	country := t.Country
	switch {
	case country == l.Seller.Country:
		return domestic
	case !isCountry(country):
		domestic.Note = "The buyer's country is not known; the seller's rate is charged."
		return domestic
	case !euVAT(country):
		category := l.VAT.OutsideEU
		return Treatment{
			Category: category, ReasonCode: "VATEX-EU-" + category,
			Reason: "Not subject to VAT: the place of supply is outside the EU (Directive 2006/112/EC, Art. 44)",
		}
	case !euVAT(l.Seller.Country):
		return Treatment{Category: "O", ReasonCode: "VATEX-EU-O", Reason: "Not subject to VAT in the seller's country: the customer accounts for it"}
	case !strings.HasPrefix(t.VATID, vatPrefix(country)) || len(t.VATID) < 4:
		domestic.Note = fmt.Sprintf("The buyer has no VAT id of %s; the seller's rate is charged.", country)
		return domestic
	default:
		return Treatment{Category: "AE", Reason: reverseCharge, ReasonCode: "VATEX-EU-AE"}
	}
}

// vatPrefix is how a country's VAT ids begin; Greece uses EL (EN 16931 BR-CO-09).
func vatPrefix(country string) string {
	if country == "GR" {
		return "EL"
	}
	return country
}

// euVAT says whether a country is in the EU's VAT area. Monaco counts as France and is not listed as a country of its own.
func euVAT(country string) bool { return strings.Contains(euCountries, country+" ") }

// euCountries are the 27 member states (ISO 3166-1 alpha-2), each followed by a space.
const euCountries = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK "

func isCountry(s string) bool {
	return len(s) == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z'
}
