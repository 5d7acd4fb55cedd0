package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// asksOf is what the panels of dashboards ask, a line for each: their words beside the question, to be read side by side.
func asksOf(boards []board) string {
	var out strings.Builder
	for _, b := range boards {
		fmt.Fprintf(&out, "%s\n", b.Title)
		for _, p := range b.all() {
			for _, q := range p.Targets {
				fmt.Fprintf(&out, "  %s: %s of %s, %s", p.Title, q.Metric, q.Kind, q.Form)
				for i, d := range q.By {
					fmt.Fprintf(&out, "%s %s", map[bool]string{true: " by", false: ","}[i == 0], d)
				}
				for _, f := range q.Filters {
					fmt.Fprintf(&out, "; %s %s", f.Dimension, strings.Join(f.Values, " "))
				}
				out.WriteByte('\n')
			}
		}
	}
	return out.String()
}

// A panel that is pointed to another metric of the same unit is right in all that can be added up. So what each asks stands in a list
// beside its words, which a change of a dashboard changes too, for whoever reviews it (UPDATE_ASKS=1 writes it).
func TestWhatThePanelsAskIsListed(t *testing.T) {
	file := filepath.Join("testdata", "grafana-asks.txt")
	got := asksOf(boards(t))
	if os.Getenv("UPDATE_ASKS") != "" {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the panels ask other things than %s lists; if that is meant, run UPDATE_ASKS=1 go test -run %s ./deploy/e2e: %s", file, t.Name(), firstDifference(got, string(want)))
	}
}
