package clickhouse

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

func gridHour(from unit.Micros, value int64) factor.Edition {
	return factor.Edition{
		Kind: factor.GridIntensity, Key: "FR", From: from, To: from + unit.Hour, Value: value, Boundary: factor.Lifecycle, Resolution: factor.Hourly,
		Method: "consumption average (flow-traced)", Source: "O'Neil", Name: `a\b "v4"`, Licence: "contract", Estimated: true,
	}
}

// What goes in comes out; twice changes nothing; a revision counts from its sequence on, and as of before the old value still does.
func TestFactors(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	append := func(want factor.Appended, editions ...factor.Edition) {
		t.Helper()
		if got, err := s.AppendFactors(t.Context(), editions); err != nil || got != want {
			t.Errorf("appended %+v, %v; want %+v", got, err, want)
		}
	}
	book := func(asOf uint64, of Span) *factor.Book {
		t.Helper()
		b, err := s.Book(t.Context(), asOf, of)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	value := func(asOf uint64, want string) {
		t.Helper()
		c := book(asOf, Span{From: hour0, To: hour0 + unit.Hour}).Choose(factor.GridIntensity, "FR", hour0)
		if got := fmt.Sprint(c.Value, " ", c.Fallback); got != want {
			t.Errorf("as of %d the grid is %q, want %q", asOf, got, want)
		}
	}
	value(factor.Newest, "44180000 yearly of 2024") // before anything is stored
	if got, err := s.SeedFactors(t.Context()); err != nil || got.Sequence != 1 || got.Stored < 35 {
		t.Fatalf("seeded %+v, %v", got, err)
	}
	if got, err := s.SeedFactors(t.Context()); err != nil || got.Sequence != 0 || got.Stored != 0 {
		t.Errorf("seeded again %+v, %v", got, err)
	}
	value(factor.Newest, "44180000 yearly of 2024")
	value(0, "0 ") // the database was seeded later

	instrument := factor.Edition{
		Kind: factor.Instrument, Key: "s", From: hour0, Value: 5, Boundary: factor.Lifecycle, Method: "PPA", Source: "registry", Name: "x", Licence: "own",
		Volume: 7 * unit.MillijoulesPerKWh, Matching: factor.Hourly,
	}
	append(factor.Appended{Stored: 3, Sequence: 2}, gridHour(hour0, 20_000_000), gridHour(hour0+unit.Hour, 21_000_000), instrument)
	append(factor.Appended{Known: 3}, gridHour(hour0, 20_000_000), gridHour(hour0+unit.Hour, 21_000_000), instrument)
	append(factor.Appended{Stored: 1, Revised: 1, Known: 1, Sequence: 3}, gridHour(hour0, 22_000_000), gridHour(hour0+unit.Hour, 21_000_000))
	value(2, "20000000 ")
	value(3, "22000000 ")
	append(factor.Appended{Stored: 1, Revised: 1, Sequence: 4}, gridHour(hour0, 20_000_000)) // the publisher takes its revision back
	value(3, "22000000 ")
	value(factor.Newest, "20000000 ")

	b := book(factor.Newest, Span{})
	if got := b.Instruments("s", hour0); len(got) != 1 || got[0].ID() != instrument.ID() || got[0].Sequence != 2 {
		t.Errorf("instruments came back as %+v", got)
	}
	if got := b.Choose(factor.GridIntensity, "FR", hour0).ID(); got != gridHour(hour0, 20_000_000).ID() {
		t.Error("an edition came back with another content")
	}
	for _, f := range b.Check() {
		t.Errorf("%s", f)
	}
	if got := len(book(factor.Newest, Span{From: hour0 + unit.Hour, To: hour0 + 2*unit.Hour}).Editions()); got != len(b.Editions())-3 {
		t.Errorf("of another hour there are %d of %d editions", got, len(b.Editions()))
	}

	refused := func(word string, editions ...factor.Edition) {
		t.Helper()
		before := len(book(factor.Newest, Span{}).Editions())
		_, err := s.AppendFactors(t.Context(), editions)
		var list *factor.RefusedError
		if !errors.Is(err, factor.ErrRefused) || !errors.As(err, &list) || !strings.Contains(err.Error(), word) {
			t.Errorf("got %v, want a refusal with %q", err, word)
		}
		if after := len(book(factor.Newest, Span{}).Editions()); after != before {
			t.Errorf("%d editions were stored all the same", after-before)
		}
	}
	refused("[overlap]", gridHour(hour0, 1), gridHour(hour0, 2))
	refused("[duplicate]", gridHour(hour0, 1), gridHour(hour0, 1))
	backwards := gridHour(hour0, 1)
	backwards.To = hour0 - unit.Hour
	refused("not after it begins", gridHour(hour0+9*unit.Hour, 1), backwards)
	var rows, ids uint64
	if err := conn.QueryRow(t.Context(), `SELECT count(), uniqExact(id) FROM factors WHERE NOT committed`).Scan(&rows, &ids); err != nil || rows != 5 || ids != 4 {
		t.Errorf("%d rows of %d contents, %v", rows, ids, err)
	}
}

// Writers that meet end under a sequence each.
func TestFactorsOfWritersThatMeet(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	const writers = 4
	sequences := make([]uint64, writers)
	var g errgroup.Group
	for w := range writers {
		g.Go(func() error {
			e := gridHour(hour0, 1)
			e.Key = fmt.Sprint("zone ", w)
			res, err := s.AppendFactors(t.Context(), []factor.Edition{e})
			sequences[w] = res.Sequence
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(sequences)
	if len(slices.Compact(slices.Clone(sequences))) != writers {
		t.Errorf("sequences are %v", sequences)
	}
	b, err := s.Book(t.Context(), factor.Newest, Span{})
	if err != nil {
		t.Fatal(err)
	}
	for w := range writers {
		if c := b.Choose(factor.GridIntensity, fmt.Sprint("zone ", w), hour0); c.Value != 1 || c.Sequence == 0 {
			t.Errorf("writer %d left %+v", w, c)
		}
	}
}
