package reference

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/internal/process"
)

// Current compares the page's file with what the code says now, and writes it anew where update asks for that.
func Current(file string, page []byte, update bool) error {
	if update {
		return process.WriteFile(file, page, 0o644)
	}
	there, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !bytes.Equal(there, page) {
		return fmt.Errorf("%s does not say what the code does; make generate rebuilds it", file)
	}
	return nil
}

// WriteKeys writes a table per section; top is the heading of the keys that lie in none.
func WriteKeys(w io.Writer, keys []Key, top string) {
	keys = slices.Clone(keys)
	slices.SortStableFunc(keys, func(a, b Key) int { return cmp.Compare(section(a.Path), section(b.Path)) })
	before := "-"
	for _, k := range keys {
		if s := section(k.Path); s != before {
			before = s
			fmt.Fprintf(w, "\n### %s\n\n| key | default | meaning |\n| --- | --- | --- |\n", cmp.Or(s, top))
		}
		byDefault := ""
		if k.Default != "" && k.Default != `""` {
			byDefault = "`" + k.Default + "`"
		}
		fmt.Fprintf(w, "| `%s` | %s | %s |\n", k.Path, byDefault, Cell(k.Comment))
	}
}

// section is what a key lies in; empty for one that lies in none.
func section(path string) string {
	s, _, inside := strings.Cut(path, ".")
	if !inside {
		return ""
	}
	return s
}

// WriteMetrics writes the table of a part's metrics under its name.
func WriteMetrics(w io.Writer, part string, metrics []Metric) {
	fmt.Fprintf(w, "\n### %s\n\n| metric | labels | meaning |\n| --- | --- | --- |\n", part)
	for _, m := range metrics {
		labels := ""
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
		}
		fmt.Fprintf(w, "| `%s` | %s | %s |\n", m.Name, labels, Cell(m.Help))
	}
}

// Cell is a text that stands in a table of Markdown.
func Cell(text string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", `\<`).Replace(text)
}

// Gathered lists the metrics with the prefix that have a series; their labels are those of the first.
func Gathered(from prometheus.Gatherer, prefix string) ([]Metric, error) {
	families, err := from.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather: %w", err)
	}
	var found []Metric
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), prefix) {
			continue
		}
		m := Metric{Name: f.GetName(), Help: f.GetHelp()}
		for _, l := range f.GetMetric()[0].GetLabel() {
			m.Labels = append(m.Labels, l.GetName())
		}
		found = append(found, m)
	}
	return found, nil
}
