package yearly

import (
	"testing"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
)

func TestFetch(t *testing.T) {
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	at := func(year int, month time.Month) unit.Micros {
		return unit.MicrosOf(time.Date(year, month, 1, 0, 0, 0, 0, time.UTC))
	}
	s, err := p.Fetch(t.Context(), "FR", at(2024, 12), at(2025, 2))
	if err != nil || len(s.Editions) != 1 || s.Editions[0].Value != 44_180_000 || len(s.Missing) != 31*24 {
		t.Errorf("%d editions and %d hours missing, %v", len(s.Editions), len(s.Missing), err)
	}
	if _, err := p.Fetch(t.Context(), "XX", at(2024, 1), at(2024, 2)); err == nil {
		t.Error("a zone that is not in the table was answered")
	}
	if _, err := p.Fetch(t.Context(), "FR", at(2024, 2), at(2024, 1)); err == nil {
		t.Error("a span that ends before it begins was answered")
	}
}
