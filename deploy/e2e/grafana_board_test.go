package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/dashboards/datasource/host"
	catalogue "github.com/wattledger/wattledger/dashboards/query"
)

// board is a dashboard as it lies in its JSON: what Grafana reads of it.
type board struct {
	file       string
	raw        []byte
	UID, Title string
	Panels     []boardPanel
	Templating struct {
		List []variable
	}
	Annotations struct {
		List []annotation
	}
}

type boardPanel struct {
	ID          int
	Type, Title string
	GridPos     struct{ W int }
	Datasource  struct{ Type string }
	Targets     []target
	Panels      []boardPanel
	FieldConfig struct {
		Defaults  struct{ Unit string }
		Overrides []json.RawMessage
	}
	Transformations []json.RawMessage
}

// target is a panel's question beside what Grafana keeps with it.
type target struct {
	catalogue.Query
	RefID      string
	Hide       bool
	Datasource struct{ Type string }
}

type annotation struct {
	Name, IconColor string
	Datasource      struct{ Type string }
	Target          *target
}

type variable struct {
	Name, Type string
	IncludeAll bool
	Query      json.RawMessage
}

// boards reads the dashboards that are shipped.
func boards(t *testing.T) []board {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "dashboards", "grafana", "boards", "*.json"))
	if err != nil || len(files) < 9 {
		t.Fatalf("found %d dashboards, %v", len(files), err)
	}
	var out []board
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, parseBoard(t, file, raw))
	}
	return out
}

func parseBoard(t *testing.T, file string, raw []byte) board {
	t.Helper()
	b := board{file: filepath.Base(file), raw: raw}
	if err := json.Unmarshal(raw, &b); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return b
}

// all are the panels that ask the plugin, also those of closed rows.
func (b board) all() []boardPanel {
	var out []boardPanel
	var walk func([]boardPanel)
	walk = func(panels []boardPanel) {
		for _, p := range panels {
			walk(p.Panels)
			p.Targets = slices.DeleteFunc(slices.Clone(p.Targets), func(q target) bool { return q.Hide || q.Datasource.Type != host.PluginID })
			if len(p.Targets) > 0 {
				out = append(out, p)
			}
		}
	}
	walk(b.Panels)
	return out
}

// pixels is how wide a panel is in a window of 1,400 pixels; a question without a panel is asked as by half of it.
func (p boardPanel) pixels() int64 {
	if p.GridPos.W == 0 {
		return 700
	}
	return int64(p.GridPos.W * 1400 / 24)
}

// chosen is how a reader sets the variables: all, where that is offered, else the one named here or the first.
type chosen map[string][]string

// choose asks the plugin for what each variable offers, in their order, as Grafana does when the dashboard opens.
func (b board) choose(t *testing.T, from host.Source, named map[string]string) chosen {
	t.Helper()
	set := chosen{}
	for _, v := range b.Templating.List {
		if v.Type != "query" {
			continue
		}
		var q struct {
			Dimension catalogue.Dimension
			Filters   []catalogue.Filter
		}
		if err := json.Unmarshal(v.Query, &q); err != nil {
			t.Fatalf("%s: variable %s: %v", b.file, v.Name, err)
		}
		offered := values(t, from, q.Dimension, set.fill(q.Filters))
		if len(offered) == 0 {
			t.Errorf("%s: variable %s offers nothing", b.file, v.Name)
			continue
		}
		switch {
		case v.IncludeAll:
			set[v.Name] = nil // a filter without values keeps all
		case slices.ContainsFunc(offered, func(o catalogue.Value) bool { return o.Value == named[v.Name] }):
			set[v.Name] = []string{named[v.Name]}
		default:
			set[v.Name] = []string{offered[0].Value}
		}
	}
	return set
}

// fill puts values in the place of variables, as the front end does.
func (c chosen) fill(filters []catalogue.Filter) []catalogue.Filter {
	out := make([]catalogue.Filter, 0, len(filters))
	for _, f := range filters {
		filled := catalogue.Filter{Dimension: f.Dimension, Values: []string{}}
		all := false
		for _, v := range f.Values {
			name, ok := strings.CutPrefix(v, "$")
			if !ok {
				filled.Values = append(filled.Values, v)
				continue
			}
			set, known := c[strings.Trim(name, "{}")]
			all = all || known && set == nil
			filled.Values = append(filled.Values, set...)
		}
		if !all {
			out = append(out, filled)
		}
	}
	return out
}

func (c chosen) question(q catalogue.Query) catalogue.Query {
	q.Filters = c.fill(q.Filters)
	return q
}

// text is how the variables are set, to be shown.
func (c chosen) text(name string) string {
	if c[name] == nil {
		return "All"
	}
	return strings.Join(c[name], ", ")
}

func (c chosen) names() []string { return slices.Sorted(maps.Keys(c)) }

// metricOf finds what a question asks for in the catalogue.
func metricOf(q catalogue.Query) (catalogue.Metric, bool) {
	i := slices.IndexFunc(catalogue.Metrics, func(m catalogue.Metric) bool { return m.Kind == q.Kind && m.Name == q.Metric })
	if i < 0 {
		return catalogue.Metric{}, false
	}
	return catalogue.Metrics[i], true
}

// formOf is the form in which a question is answered.
func formOf(q catalogue.Query) catalogue.Form {
	if m, ok := metricOf(q); ok && q.Form == "" {
		return m.Forms[0]
	}
	return q.Form
}
