package grafana

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/wattledger/wattledger/dashboards/grafana/alerts"
)

// Prometheus' own parser reads every expression of every panel: as rules that record it, since promtool checks files of rules.
func TestPromtoolReadsTheExpressions(t *testing.T) {
	tool, err := filepath.Abs("../../.cache/promtool/promtool")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tool); err != nil {
		t.Skip("there is no promtool: make check-rules builds it")
	}
	dashboards, err := Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	check := func(expressions []Expression) (string, bool) {
		group := alerts.Group{Name: "panels"}
		for _, e := range expressions {
			group.Rules = append(group.Rules, alerts.Rule{Record: "panel", Expr: parseable(e.Expr), Labels: map[string]string{"panel": e.Dashboard + "/" + e.RefID}})
		}
		body, err := yaml.Marshal(alerts.File{Groups: []alerts.Group{group}})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "panels.rules.yaml")
		if err := os.WriteFile(file, body, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), tool, "check", "rules", "--lint=none", file).CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return string(out), err == nil
	}
	if out, ok := check(PromQL(dashboards)); !ok {
		t.Error(out)
	}
	if out, ok := check([]Expression{{Expr: "sum(rate(wattledger_ingest_refused_total)"}}); ok {
		t.Errorf("a broken expression is taken: %s", out)
	}
}

// parseable has durations in the place of Grafana's variables.
func parseable(expr string) string { return strings.ReplaceAll(expr, "$__rate_interval", "5m") }
