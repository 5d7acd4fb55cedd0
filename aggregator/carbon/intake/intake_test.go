package intake

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/wattledger/wattledger/aggregator/carbon/provider"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// shelf is a store in memory.
type shelf struct {
	editions []factor.Edition
	chains   []factor.Chain
	sequence uint64
}

func (s *shelf) AppendFactors(_ context.Context, list []factor.Edition) (factor.Appended, error) {
	s.sequence++
	for _, e := range list {
		e.Sequence = s.sequence
		s.editions = append(s.editions, e)
	}
	return factor.Appended{Stored: len(list), Sequence: s.sequence}, nil
}

func (s *shelf) Book(_ context.Context, asOf uint64, _ factor.Span) (*factor.Book, error) {
	return factor.NewBook(s.editions, s.chains, asOf), nil
}

func (s *shelf) Sites(context.Context) ([]record.Site, error) {
	return []record.Site{{ID: "fr-1", Zone: "FR"}}, nil
}

func hourly(source string, hour int, value int64) factor.Edition {
	from := unit.Micros(hour) * unit.Hour
	return factor.Edition{
		Kind: factor.GridIntensity, Key: "FR", From: from, To: from + unit.Hour, Value: value, Boundary: factor.Lifecycle, Resolution: factor.Hourly,
		Method: "m", Source: source, Name: "n", Licence: "l",
	}
}

func TestTake(t *testing.T) {
	reg := prometheus.NewRegistry()
	metrics, err := provider.NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	counted := func(reason string) float64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "wattledger_factor_refused_total" && has(m, reason) {
					return m.GetCounter().GetValue()
				}
			}
		}
		return 0
	}
	s := &shelf{}
	in := New(s, nil, metrics)
	f := func(story, refused string, noted int, gaps bool, editions ...factor.Edition) {
		t.Helper()
		before := len(s.editions)
		count := counted(refused)
		_, notes, err := in.Take(t.Context(), "test", editions, gaps)
		if refused == "" {
			if err != nil || len(notes) != noted || len(s.editions) != before+len(editions) {
				t.Errorf("%s: %v, noted %v", story, err, notes)
			}
			return
		}
		var r *factor.RefusedError
		if !errors.As(err, &r) || r.Findings[0].Code != refused || len(s.editions) != before {
			t.Errorf("%s: %v, want %s", story, err, refused)
		}
		if counted(refused) != count+1 {
			t.Errorf("%s: %v refusals counted for %s", story, counted(refused), refused)
		}
	}
	f("a series", "", 0, false, hourly("A", 10, 1), hourly("A", 11, 1))
	f("two values of an hour", factor.FindOverlap, 0, false, hourly("A", 12, 1), hourly("A", 12, 2))
	f("the same twice", factor.FindDuplicate, 0, false, hourly("A", 12, 1), hourly("A", 12, 1))
	f("a hole", factor.FindGap, 0, false, hourly("A", 20, 1), hourly("A", 22, 1))
	f("a hole that is allowed, and the one before it", "", 2, true, hourly("A", 20, 1), hourly("A", 22, 1))
	f("a revision", "", 0, false, hourly("A", 10, 2))
	f("a second source", factor.FindAmbiguous, 0, false, hourly("B", 10, 1))
	wrong := hourly("A", 30, 1)
	wrong.To = wrong.From
	f("ends as it begins", factor.FindInvalid, 0, false, wrong)
	instrument := factor.Edition{
		Kind: factor.Instrument, Key: "fr-1", From: 10 * unit.Hour, Value: 0, Boundary: factor.Direct, Method: "GO", Source: "registry", Name: "n", Licence: "l",
		Cover: 1, Matching: factor.Yearly,
	}
	f("an instrument of another boundary than the grid's", factor.FindBoundary, 0, false, instrument)
	chains := []factor.Chain{{Zone: "FR", Boundary: factor.Lifecycle, Steps: []factor.Step{{Source: "A", Resolution: factor.Hourly}}}}
	s.chains, in = chains, New(s, chains, metrics)
	f("a second source, and a chain that says whose word counts", "", 0, false, hourly("B", 10, 1))
	if got, err := in.Check(t.Context()); err != nil || len(got) != 3 {
		t.Errorf("found %v, %v; want the two holes, and that the chain has no end", got, err)
	}
}

func has(m *dto.Metric, reason string) bool {
	for _, l := range m.GetLabel() {
		if l.GetValue() == reason {
			return true
		}
	}
	return false
}
