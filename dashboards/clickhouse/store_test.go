package clickhouse_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/dashboards/query"
)

// Every kind, metric and form of the catalogue answers, by every dimension that it knows.
func TestEveryMetricAnswers(t *testing.T) {
	l := seed(t)
	for _, m := range query.Metrics {
		if only := os.Getenv("ONLY"); only != "" && !strings.HasPrefix(string(m.Kind)+" "+m.Name, only) {
			continue
		}
		for _, form := range m.Forms {
			frames, err := l.store.Query(t.Context(), all, query.Query{Kind: m.Kind, Metric: m.Name, Form: form}, hours())
			if err != nil {
				t.Errorf("%s %s %s: %v", m.Kind, m.Name, form, err)
				continue
			}
			show(t, m, form, frames)
		}
	}
}

func show(t *testing.T, m query.Metric, form query.Form, frames []query.Frame) {
	t.Helper()
	line := fmt.Sprintf("%s %s %s:", m.Kind, m.Name, form)
	for i, f := range frames {
		if i == 3 {
			line += fmt.Sprintf(" … %d", len(frames))
			break
		}
		last := f.Columns[len(f.Columns)-1]
		line += fmt.Sprintf(" [%s %v %d cols %d rows %v]", f.Name, last.Labels, len(f.Columns), len(last.Numbers)+len(last.Texts)+len(last.Times)+len(last.Flags), head(last.Numbers))
	}
	t.Log(line)
}

func head(v []float64) []float64 { return v[:min(len(v), 4)] }
