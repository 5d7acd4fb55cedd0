package e2e

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	catalogue "github.com/wattledger/wattledger/dashboards/query"
)

// answered is an answer, read as a panel reads it.
type answered struct {
	// closed and provisional are values by group and by time; a table's and a total's stand at time 0.
	closed, provisional map[string]map[int64]float64
	step                time.Duration
	rows                int
}

// read takes an answer apart and says what is wrong with its shape: no frames, no rows, a number that is none, another unit.
func read(answer backend.DataResponse, q catalogue.Query) (answered, []string) {
	got := answered{closed: map[string]map[int64]float64{}, provisional: map[string]map[int64]float64{}, step: time.Hour}
	if answer.Error != nil {
		return got, []string{"refused: " + answer.Error.Error()}
	}
	m, ok := metricOf(q)
	if !ok {
		return got, []string{fmt.Sprintf("the catalogue has no %s of %s", q.Metric, q.Kind)}
	}
	var wrong []string
	for _, f := range answer.Frames {
		got.rows += f.Rows()
		wrong = append(wrong, finite(f)...)
		for _, field := range f.Fields {
			// A unit in the catalogue is that of the figure; tables of several columns have one for each.
			if m.Unit != "" && field.Name == m.Name && unitOf(field) != m.Unit {
				wrong = append(wrong, fmt.Sprintf("%s has the unit %q, the catalogue says %q", field.Name, unitOf(field), m.Unit))
			}
		}
		if m.Unit != "" {
			got.take(f, q, m)
		}
	}
	if got.rows == 0 {
		wrong = append(wrong, "empty")
	} else if m.Unit != "" && len(got.closed)+len(got.provisional) == 0 {
		wrong = append(wrong, fmt.Sprintf("%d rows, but no figure named %s in them", got.rows, m.Name))
	}
	return got, wrong
}

func unitOf(f *data.Field) string {
	if f.Config == nil {
		return ""
	}
	return f.Config.Unit
}

// finite refuses numbers that no panel can draw. What is absent is null.
func finite(f *data.Frame) []string {
	for _, field := range f.Fields {
		if !field.Type().Numeric() {
			continue
		}
		for i := range field.Len() {
			if v, err := field.NullableFloatAt(i); err != nil || v != nil && (math.IsNaN(*v) || math.IsInf(*v, 0)) {
				return []string{fmt.Sprintf("%s row %d is no number", field.Name, i)}
			}
		}
	}
	return nil
}

// take reads the figures of one frame into groups.
func (a *answered) take(f *data.Frame, q catalogue.Query, m catalogue.Metric) {
	figure, _ := f.FieldByName(m.Name)
	if figure == nil {
		return
	}
	if ms := stepOf(f); ms > 0 {
		a.step = ms
	}
	var times *data.Field
	if formOf(q) == catalogue.FormSeries {
		if at := f.TypeIndices(data.FieldTypeTime, data.FieldTypeNullableTime); len(at) > 0 {
			times = f.Fields[at[0]]
		}
	}
	into := a.closed
	if figure.Labels["provisional"] == "true" {
		into = a.provisional
	}
	for row := range f.Rows() {
		v, _ := figure.NullableFloatAt(row)
		if v == nil {
			continue
		}
		key, slot := groupOf(f, figure, q, row), int64(0)
		if times != nil {
			if at, ok := times.ConcreteAt(row); ok {
				slot = at.(time.Time).Unix()
			}
		}
		if into[key] == nil {
			into[key] = map[int64]float64{}
		}
		into[key][slot] = *v
	}
}

// groupOf is what a row is of: the labels of a series, the words of a table.
func groupOf(f *data.Frame, figure *data.Field, q catalogue.Query, row int) string {
	if formOf(q) == catalogue.FormTotal {
		return ""
	}
	names := make([]string, len(q.By))
	for i, d := range q.By {
		names[i] = figure.Labels[string(d)]
		if column, _ := f.FieldByName(string(d)); column != nil && formOf(q) == catalogue.FormTable {
			v, _ := column.ConcreteAt(row)
			names[i] = fmt.Sprint(v)
		}
	}
	return strings.Join(names, "\x00")
}

func stepOf(f *data.Frame) time.Duration {
	if f.Meta == nil {
		return 0
	}
	custom, _ := f.Meta.Custom.(map[string]any)
	ms, _ := custom["stepMs"].(float64)
	return time.Duration(ms) * time.Millisecond
}

// differences are where an answer is not what the ledger says: a group or a time too few or too many, or a value that is more than a
// rounding away.
func differences(got, want map[string]map[int64]float64) []string {
	return differencesBy(same, got, want)
}

func differencesBy(same func(a, b float64) bool, got, want map[string]map[int64]float64) []string {
	var wrong []string
	for _, key := range slices.Sorted(maps.Keys(want)) {
		name := "(" + strings.ReplaceAll(key, "\x00", ", ") + ")"
		for _, slot := range slices.Sorted(maps.Keys(want[key])) {
			g, ok := got[key][slot]
			switch w := want[key][slot]; {
			case !ok:
				wrong = append(wrong, fmt.Sprintf("%s has nothing at %s, the ledger has %v", name, at(slot), w))
			case !same(g, w):
				wrong = append(wrong, fmt.Sprintf("%s is %v at %s, by the ledger %v", name, g, at(slot), w))
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		for _, slot := range slices.Sorted(maps.Keys(got[key])) {
			if _, ok := want[key][slot]; !ok {
				wrong = append(wrong, fmt.Sprintf("(%s) is %v at %s, of which the ledger knows nothing", strings.ReplaceAll(key, "\x00", ", "), got[key][slot], at(slot)))
			}
		}
	}
	return wrong
}

// same allows for the last bit: the engine divides two rounded numbers, the test rounds one exact one.
func same(a, b float64) bool {
	return a >= math.Nextafter(b, math.Inf(-1)) && a <= math.Nextafter(b, math.Inf(1))
}

func at(slot int64) string {
	if slot == 0 {
		return "all times"
	}
	return time.Unix(slot, 0).UTC().Format(time.RFC3339)
}

// words are all texts in an answer: names, labels, cells, notices. What a tenant may not know is looked for in them.
func words(frames data.Frames) map[string]bool {
	found := map[string]bool{}
	for _, f := range frames {
		found[f.Name] = true
		if f.Meta != nil {
			for _, n := range f.Meta.Notices {
				found[n.Text] = true
			}
			found[fmt.Sprint(f.Meta.Custom)] = true
		}
		for _, field := range f.Fields {
			found[field.Name] = true
			for _, label := range field.Labels {
				found[label] = true
			}
			if field.Config != nil {
				found[field.Config.DisplayNameFromDS+field.Config.DisplayName+fmt.Sprint(field.Config.Links)] = true
			}
			if field.Type() == data.FieldTypeString || field.Type() == data.FieldTypeNullableString {
				for i := range field.Len() {
					if v, ok := field.ConcreteAt(i); ok {
						found[v.(string)] = true
					}
				}
			}
		}
	}
	return found
}
