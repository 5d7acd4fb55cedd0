package alerts

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

//go:generate go test -run "IsCurrent$|AreCurrent$" -count 1 . -update

var update = flag.Bool("update", false, "write what follows from the rules and the cases")

const (
	docs     = "../../../docs"
	runbooks = docs + "/runbooks"
)

func rules(t *testing.T) File {
	t.Helper()
	f, err := Parse(Rules)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func cases(t *testing.T) []Case {
	t.Helper()
	text, err := os.ReadFile("testdata/cases.yaml")
	if err != nil {
		t.Fatal(err)
	}
	list, err := ParseCases(text)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// current holds a generated file against what it should be.
func current(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not current (%v): make generate", name, err)
	}
}

func TestCasesAreCurrent(t *testing.T) {
	for _, slow := range []bool{false, true} {
		text, err := promtool(cases(t), slow, "wattledger.rules.yaml")
		if err != nil {
			t.Fatal(err)
		}
		current(t, fileOf(slow), text)
	}
}

// The two forms hold the same rules.
func TestPrometheusRuleIsCurrent(t *testing.T) {
	current(t, "prometheusrule.yaml", PrometheusRule(Rules))
	text, err := os.ReadFile("prometheusrule.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// The fields of the operator's schema that we use; internal/tools/promtool/rulecheck holds the file against its own types.
	var r struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
		Metadata   struct {
			Name   string            `yaml:"name"`
			Labels map[string]string `yaml:"labels"`
		} `yaml:"metadata"`
		Spec File `yaml:"spec"`
	}
	if err := yaml.UnmarshalWithOptions(text, &r, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if r.APIVersion != "monitoring.coreos.com/v1" || r.Kind != "PrometheusRule" || r.Metadata.Name == "" {
		t.Errorf("it is a %s %s named %q", r.APIVersion, r.Kind, r.Metadata.Name)
	}
	if a, b := fmt.Sprintf("%+v", r.Spec), fmt.Sprintf("%+v", rules(t)); a != b {
		t.Errorf("the forms differ:\n%s\n%s", a, b)
	}
}

// The table in docs/sre.md lists every alert.
func TestSREPageIsCurrent(t *testing.T) {
	name := docs + "/sre.md"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "<!-- alerts -->\n")
	_, after, closed := strings.Cut(rest, "<!-- /alerts -->")
	if !ok || !closed {
		t.Fatalf("%s has no place for the table of alerts", name)
	}
	var table strings.Builder
	table.WriteString("\n| alert | severity | what it tells |\n| --- | --- | --- |\n")
	for _, r := range rules(t).Alerts() {
		fmt.Fprintf(&table, "| [%s](runbooks/%s.md) | %s | %s |\n", r.Alert, r.Alert, r.Labels["severity"], plain(r.Annotations["summary"]))
	}
	current(t, name, []byte(before+"<!-- alerts -->\n"+table.String()+"\n<!-- /alerts -->"+after))
}

var placeholder = regexp.MustCompile(`\{\{ \$(?:labels\.)?([A-Za-z_]+)[^}]*\}\}`)

// plain is a summary with the names of its labels in the place of their values.
func plain(summary string) string { return placeholder.ReplaceAllString(summary, "*$1*") }

// Every alert has a page, every page an alert, and each page the sections that somebody looks for at night.
func TestRunbooks(t *testing.T) {
	pages, known := map[string]bool{}, registry(t)
	list, err := filepath.Glob(runbooks + "/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		pages[strings.TrimSuffix(filepath.Base(p), ".md")] = true
	}
	for _, r := range rules(t).Alerts() {
		if !pages[r.Alert] {
			t.Errorf("%s has no page docs/runbooks/%s.md", r.Alert, r.Alert)
			continue
		}
		delete(pages, r.Alert)
		page, err := os.ReadFile(filepath.Join(runbooks, r.Alert+".md"))
		if err != nil {
			t.Fatal(err)
		}
		text := string(page)
		if !strings.HasPrefix(text, "# "+r.Alert+"\n") {
			t.Errorf("the page of %s is titled otherwise", r.Alert)
		}
		at := 0
		for _, section := range []string{"## What it means", "## Is an invoice wrong?", "## Look", "## Mend", "## When to call somebody", "## When it goes away"} {
			i := strings.Index(text, section+"\n")
			if i < at {
				t.Errorf("the page of %s lacks %q, or has it out of order", r.Alert, section)
			}
			at = max(at, i)
		}
		for _, name := range spoken.FindAllString(text, -1) {
			if !known.has(name) {
				t.Errorf("the page of %s names %s, which nobody has", r.Alert, name)
			}
		}
		if !strings.Contains(text, "severity "+r.Labels["severity"]) {
			t.Errorf("the page of %s does not say that its severity is %s", r.Alert, r.Labels["severity"])
		}
	}
	for p := range pages {
		t.Errorf("docs/runbooks/%s.md is of no alert", p)
	}
}

// spoken are metrics in a page, those with a shortened beginning included.
var spoken = regexp.MustCompile(`(?:(?:site|node|topic):)?wattledger_[a-z0-9_]+(?::[a-z0-9_]+)?|…_[a-z0-9_]+`)

// has says that there is a metric, or one that ends like a shortened name.
func (m metrics) has(name string) bool {
	end, short := strings.CutPrefix(name, "…")
	if !short {
		_, ok := m[name]
		return ok
	}
	for full := range m {
		if strings.HasSuffix(full, end) {
			return true
		}
	}
	return false
}

var template = regexp.MustCompile(`\$labels\.([A-Za-z_]+)`)

// Each alert says what, how bad, and where to read on, with labels that it has.
func TestAlertsAreComplete(t *testing.T) {
	known, seen := registry(t), map[string]bool{}
	for _, r := range rules(t).Alerts() {
		if seen[r.Alert] || !strings.HasPrefix(r.Alert, "Wattledger") {
			t.Errorf("%s is there twice, or not named Wattledger…", r.Alert)
		}
		seen[r.Alert] = true
		if s := r.Labels["severity"]; s != "page" && s != "ticket" && s != "info" || len(r.Labels) != 1 {
			t.Errorf("%s has labels %v, want a severity of page, ticket or info", r.Alert, r.Labels)
		}
		if got, want := r.Annotations["runbook_url"], "docs/runbooks/"+r.Alert+".md"; got != want {
			t.Errorf("%s leads to %s, want %s", r.Alert, got, want)
		}
		for _, a := range []string{"summary", "description"} {
			if r.Annotations[a] == "" {
				t.Errorf("%s has no %s", r.Alert, a)
			}
		}
		if len(r.Annotations) != 3 {
			t.Errorf("%s has annotations %v", r.Alert, r.Annotations)
		}
		if r.For != "" {
			if d, err := time.ParseDuration(r.For); err != nil || d < time.Minute {
				t.Errorf("%s: for is %s: %v", r.Alert, r.For, err)
			}
		}
		q := read(r.Expr)
		have := q.by
		if len(have) == 0 {
			have = known.labels(q.metrics)
		}
		for _, m := range template.FindAllStringSubmatch(r.Annotations["summary"]+r.Annotations["description"], -1) {
			if !slices.Contains(have, m[1]) {
				t.Errorf("%s speaks of its label %s, and has %v", r.Alert, m[1], have)
			}
		}
	}
}

// Each metric and each label that a rule names is one of the code: the reference pages are made from its registries.
func TestRulesNameWhatThereIs(t *testing.T) {
	known := registry(t)
	for _, g := range rules(t).Groups {
		for _, r := range g.Rules {
			name := r.Alert + r.Record
			q := read(r.Expr)
			if len(q.metrics) == 0 {
				t.Errorf("%s: no metric is found in %s", name, r.Expr)
			}
			for _, m := range q.metrics {
				if _, ok := known[m]; !ok {
					t.Errorf("%s names %s, which nobody has", name, m)
				}
			}
			have := known.labels(q.metrics)
			for _, l := range append(slices.Clone(q.by), q.matched...) {
				if !slices.Contains(have, l) {
					t.Errorf("%s names the label %s; its metrics have %v", name, l, have)
				}
			}
		}
	}
	// The test can fail: a metric that was renamed, and a label.
	q := read(`sum by (tenant) (rate(wattledger_collector_tick_total{job="x", kind!~"a,b"}[5m])) / on (site) max(site:wattledger_x:sum offset 1h)`)
	if fmt.Sprint(q.metrics, q.by, q.matched) != "[wattledger_collector_tick_total site:wattledger_x:sum] [tenant] [job kind site]" {
		t.Errorf("read %v", q)
	}
}

// Each alert has a case in which it fires and one in which it does not.
func TestEveryAlertHasCases(t *testing.T) {
	fires, quiet := map[string]int{}, map[string]int{}
	known := registry(t)
	for _, c := range cases(t) {
		fires[c.Alert] += len(c.Fires)
		quiet[c.Alert] += len(c.Quiet)
		for _, s := range c.Series {
			q := read(fmt.Sprint(s.Key))
			for _, m := range q.metrics {
				if _, ok := known[m]; !ok {
					t.Errorf("a case of %s plays %s, which nobody has", c.Alert, m)
				}
			}
			have := known.labels(q.metrics)
			for _, l := range q.matched {
				if !slices.Contains(have, l) {
					t.Errorf("a case of %s plays the label %s; its metric has %v", c.Alert, l, have)
				}
			}
		}
	}
	for _, r := range rules(t).Alerts() {
		if fires[r.Alert] == 0 || quiet[r.Alert] == 0 {
			t.Errorf("%s has %d times at which it fires and %d at which it does not; it needs one of each", r.Alert, fires[r.Alert], quiet[r.Alert])
		}
		delete(fires, r.Alert)
	}
	for a := range fires {
		t.Errorf("there are cases of %s, which is no alert", a)
	}
}

// promtool evaluates groups at the same instant in no order but the one that cases name.
func TestEveryGroupHasItsPlace(t *testing.T) {
	var names []string
	for _, g := range rules(t).Groups {
		names = append(names, g.Name)
	}
	if !slices.Equal(names, order) {
		t.Errorf("groups are evaluated in the order %v, the rules have %v", order, names)
	}
}
