package alerts

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// metrics are those that there are, with their labels.
type metrics map[string][]string

// target are the labels that a scrape gives every series; le is a histogram's.
var target = []string{"job", "instance", "site", "node", "le"}

var (
	row     = regexp.MustCompile("(?m)^\\| `((?:wattledger|DCGM)_[A-Za-z0-9_]+)` \\| ([^|]*) \\|")
	tick    = regexp.MustCompile("`([A-Za-z_]+)`")
	ofDCGM  = []string{"gpu", "UUID", "device", "modelName", "Hostname", "GPU_I_ID"}
	suffix  = []string{"_bucket", "_sum", "_count"}
	grouped = regexp.MustCompile(`\b(by|on|group_left|group_right|without|ignoring)\s*\(([^)]*)\)`)
	braces  = regexp.MustCompile(`\{[^{}]*\}`)
	matcher = regexp.MustCompile(`([A-Za-z_]+)\s*(?:=~|!~|!=|=)`)
	text    = regexp.MustCompile(`"[^"]*"`)
	word    = regexp.MustCompile(`[A-Za-z_:][A-Za-z0-9_:]*`)
)

// registry reads the reference pages, which tests hold against the registries of the code, and adds what the rules record.
func registry(t *testing.T) metrics {
	t.Helper()
	m := metrics{"up": nil}
	for _, page := range []string{"collector-reference.md", "wattledger-reference.md"} {
		body, err := os.ReadFile(docs + "/" + page)
		if err != nil {
			t.Fatal(err)
		}
		found := row.FindAllStringSubmatch(string(body), -1)
		if len(found) < 20 {
			t.Fatalf("%s has %d metrics", page, len(found))
		}
		for _, f := range found {
			var labels []string
			for _, l := range tick.FindAllStringSubmatch(f[2], -1) {
				labels = append(labels, l[1])
			}
			if strings.HasPrefix(f[1], "DCGM_") {
				labels = ofDCGM
			}
			m[f[1]] = labels
			if strings.HasSuffix(f[1], "_seconds") { // those that are histograms
				for _, s := range suffix {
					m[f[1]+s] = labels
				}
			}
		}
	}
	for _, g := range rules(t).Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				m[r.Record] = read(r.Expr).by
			}
		}
	}
	return m
}

func (m metrics) labels(of []string) []string {
	out := slices.Clone(target)
	for _, name := range of {
		out = append(out, m[name]...)
	}
	return out
}

// query is what a PromQL expression names. Prometheus' own parser reads the rules in make check; this is for what it does not say: what
// there is.
type query struct{ metrics, by, matched []string }

func read(expr string) query {
	var q query
	for _, m := range grouped.FindAllStringSubmatch(expr, -1) {
		for _, l := range word.FindAllString(m[2], -1) {
			if m[1] == "by" {
				q.by = append(q.by, l)
			} else {
				q.matched = append(q.matched, l)
			}
		}
	}
	var matched []string
	for _, b := range braces.FindAllString(expr, -1) {
		for _, m := range matcher.FindAllStringSubmatch(text.ReplaceAllString(b, `""`), -1) {
			matched = append(matched, m[1])
		}
	}
	q.matched = append(matched, q.matched...)
	rest := grouped.ReplaceAllString(braces.ReplaceAllString(expr, " "), " ")
	for _, w := range word.FindAllString(rest, -1) {
		if (w == "up" || strings.Contains(w, "wattledger_") || strings.HasPrefix(w, "DCGM_")) && !slices.Contains(q.metrics, w) {
			q.metrics = append(q.metrics, w)
		}
	}
	slices.Sort(q.by)
	q.by = slices.Compact(q.by)
	return q
}
