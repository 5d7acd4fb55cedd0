package tariff

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Example is a complete price list, the one the demo uses.
//
//go:embed example.yaml
var Example []byte

// List is what a seller asks, from one day to another.
type List struct {
	// Name is printed on invoices, so that they say which prices held.
	Name string `yaml:"name"`
	// Currency is an ISO 4217 code.
	Currency string `yaml:"currency"`
	// ValidFrom is the first day (UTC) on which the prices hold; ValidTo the first on which they hold no more, empty for none.
	ValidFrom Date `yaml:"valid_from"`
	ValidTo   Date `yaml:"valid_to"`
	// PaymentDays is how long after its issue an invoice is due.
	PaymentDays int     `yaml:"payment_days"`
	Seller      Seller  `yaml:"seller"`
	GPUHours    []Price `yaml:"gpu_hours"`
	Energy      *Energy `yaml:"energy"`
	VAT         VAT     `yaml:"vat"`
	// Contracts are what single tenants agreed to, one each.
	Contracts []Contract `yaml:"contracts"`

	digest string
	digits int32
}

// Seller is who invoices.
type Seller struct {
	Name string `yaml:"name"`
	// Country is ISO 3166-1 alpha-2.
	Country string `yaml:"country"`
	// VATID begins with the country's prefix; LegalID is the entry in the national register (in France the SIREN).
	VATID   string `yaml:"vat_id"`
	LegalID string `yaml:"legal_id"`
}

// Price is what one hour of a whole device costs. Thousandths of a device, and MIG instances, cost their share of it.
type Price struct {
	// Model is how the device's product name begins, in whole words: "NVIDIA B200" also prices "NVIDIA B200 MIG 1g.23gb",
	// unless a longer name is listed. "*" prices every device that nothing else does.
	Model string `yaml:"model"`
	Price Amount `yaml:"price"`
}

// Energy is what a kilowatt-hour costs, and which kilowatt-hours count.
type Energy struct {
	Price Amount `yaml:"price_per_kwh"`
	// Basis says which energy is billed.
	Basis Basis `yaml:"basis"`
	// Estimated says whether energy that no counter saw is "billed" (the default) or "waived".
	Estimated string `yaml:"estimated"`
}

// Basis is the boundary of the energy that is billed.
type Basis string

// The bases. Each includes the one before it.
const (
	// BasisDevices is GPUs and Grace CPUs: what counters saw.
	BasisDevices Basis = "devices"
	// BasisIT adds the rest of the node and shared IT.
	BasisIT Basis = "it"
	// BasisFacility adds the facility's overhead.
	BasisFacility Basis = "facility"
)

// Words says what a basis holds, for people.
func (b Basis) Words() string {
	switch b {
	case BasisDevices:
		return "GPUs and CPUs"
	case BasisIT:
		return "IT without facility overhead"
	default:
		return "IT with facility overhead"
	}
}

// Billed is the energy of an entry that is charged.
func (e Energy) Billed(entry record.Entry) unit.Millijoules {
	sum := entry.GPU + entry.CPU
	if e.Basis != BasisDevices {
		sum += entry.NodeRest + entry.ITShared
	}
	if e.Basis == BasisFacility {
		sum += entry.Facility
	}
	if e.Estimated == "waived" {
		sum -= entry.Estimated // a part of GPU and CPU: nothing else is estimated
	}
	return sum
}

// Digest is the SHA-256 of the file the list was read from, hex.
func (l *List) Digest() string { return l.digest }

// Holds says whether the prices hold at an instant.
func (l *List) Holds(t unit.Micros) bool {
	return t >= l.ValidFrom.start() && (l.ValidTo == "" || t < l.ValidTo.start())
}

// PriceOf is the price of the longest listed name that the product name begins with.
func (l *List) PriceOf(product string) (Price, error) {
	var best Price
	for _, p := range l.GPUHours {
		if len(p.Model) > len(best.Model) && begins(product, p.Model) {
			best = p
		}
	}
	if best.Model == "" {
		for _, p := range l.GPUHours {
			if p.Model == AnyModel {
				return p, nil
			}
		}
		return best, fmt.Errorf("price list %q has no price for a GPU-hour of %q: add the model to gpu_hours", l.Name, product)
	}
	return best, nil
}

// AnyModel is the name that prices devices no other name does.
const AnyModel = "*"

// begins says whether a name begins with another and a word ends there.
func begins(name, prefix string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return false
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return rest == "" || !unicode.IsLetter(r) && !unicode.IsDigit(r)
}

// QuantityDigits is how many decimals a quantity has on an invoice (EN 16931 does not limit them; French rule BR-FR-DEC
// allows four).
const QuantityDigits = 4

// GPUHours is device time in hours of a whole device, rounded half away from zero to QuantityDigits.
func GPUHours(t unit.DeviceTime) decimal.Decimal {
	return decimal.NewFromInt(int64(t)).DivRound(decimal.NewFromInt(unit.DeviceTimePerHour), QuantityDigits)
}

// KWh is energy in kilowatt-hours, rounded half away from zero to QuantityDigits.
func KWh(e unit.Millijoules) decimal.Decimal {
	return decimal.NewFromInt(int64(e)).DivRound(decimal.NewFromInt(unit.MillijoulesPerKWh), QuantityDigits)
}

// Net is quantity × price in whole cents (EN 16931 BT-131): the only place where money is rounded, besides VAT.
func (l *List) Net(quantity, price decimal.Decimal) decimal.Decimal {
	return quantity.Mul(price).Round(l.digits)
}

// Tax is the VAT on a sum (EN 16931 BR-CO-17).
func (l *List) Tax(base, rate decimal.Decimal) decimal.Decimal {
	return base.Mul(rate).Shift(-2).Round(l.digits)
}

// Digits is how many decimals the currency's amounts have.
func (l *List) Digits() int32 { return l.digits }

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
