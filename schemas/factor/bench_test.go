package factor

import (
	"testing"

	"github.com/wattledger/wattledger/schemas/unit"
)

// years are hourly values of ten zones over three years.
func years() []Edition {
	start := at("2024-01-01T00:00:00Z")
	var out []Edition
	for _, zone := range []string{"AT", "BE", "CH", "DE", "ES", "FR", "IT", "NL", "PL", "SE"} {
		for h := range unit.Micros(3 * 8760) {
			e := hourly(start+h*unit.Hour, 30_000_000+int64(h), 1)
			e.Key = zone
			out = append(out, e)
		}
	}
	return out
}

func BenchmarkNewBook(b *testing.B) {
	all := years()
	for b.Loop() {
		NewBook(all, nil, Newest)
	}
}

func BenchmarkChoose(b *testing.B) {
	book := NewBook(years(), nil, Newest)
	hour := at("2025-06-01T00:00:00Z")
	for b.Loop() {
		if !book.Choose(GridIntensity, "FR", hour).Known() {
			b.Fatal("nothing was chosen")
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	book := NewBook(years(), nil, Newest)
	for b.Loop() {
		if found := book.Check(); len(found) != 0 {
			b.Fatal(found)
		}
	}
}
