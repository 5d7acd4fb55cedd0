package e2e

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	catalogue "github.com/wattledger/wattledger/dashboards/query"
)

// changedIsFound changes one cell of each column of an answer to each metric, by as little as shows, and sees that the same comparison tells.
// A metric once proved is not again.
func changedIsFound(t *testing.T, s *stage, questions []question, answers []backend.DataResponse, lines []line) {
	t.Helper()
	if s.proved == nil {
		s.proved = map[string]bool{}
	}
	for i := len(questions) - 1; i >= 0; i-- { // those that ask for most come last
		q, answer := questions[i], answers[i]
		name := string(q.q.Kind) + " " + q.q.Metric
		if answer.Error != nil || s.proved[name] || !s.held(t, q.q, lines) {
			continue
		}
		s.proved[name] = true
		for _, f := range answer.Frames {
			for _, field := range f.Fields {
				row := telling(f, field)
				if row < 0 {
					continue
				}
				before := field.CopyAt(row)
				change(field, row)
				if wrong := s.wrongWith(t, q, answer, lines); len(wrong) == 0 {
					t.Errorf("%s: %s of row %d of %s is %v instead of %v, and nothing is found", q.where, field.Name, row, f.Name, field.At(row), before)
				}
				field.Set(row, before)
			}
		}
		if wrong := s.wrongWith(t, q, answer, lines); len(wrong) > 0 {
			t.Errorf("%s: wrong with nothing changed: %s", q.where, wrong[0])
		}
	}
}

// telling is a row that has the field, and all others where there is one: of what is not known there is no group and no time.
func telling(f *data.Frame, field *data.Field) int {
	first := -1
	for row := range field.Len() {
		if field.NilAt(row) {
			continue
		}
		if first < 0 {
			first = row
		}
		if !slices.ContainsFunc(f.Fields, func(other *data.Field) bool { return other.NilAt(row) }) {
			return row
		}
	}
	return first
}

// shapeOnly are the metrics of which no case knows what they have to be: how far rollups are is for the plugin to work out.
var shapeOnly = []string{"pipeline rollups"}

// held says that the values of a question are known.
func (s *stage) held(t *testing.T, q catalogue.Query, lines []line) bool {
	t.Helper()
	if expected(lines, q, s.from, s.to, time.Hour) != nil || lists[string(q.Kind)+" "+q.Metric] != nil {
		return true
	}
	if _, _, ok := s.claimed(t, q, time.Hour); ok {
		return true
	}
	_, ok := s.measured(t, q, time.Hour)
	return ok
}

// change makes a cell another.
func change(field *data.Field, row int) {
	v, _ := field.ConcreteAt(row)
	switch x := v.(type) {
	case float64:
		by := max(1e-5, 1e-9*math.Abs(x))
		if field.Name == "age" {
			by += 2 * clocks.Seconds()
		}
		field.SetConcrete(row, x+by)
	case time.Time:
		field.SetConcrete(row, x.Add(time.Second))
	case bool:
		field.SetConcrete(row, !x)
	case string:
		field.SetConcrete(row, x+"!")
	}
}
