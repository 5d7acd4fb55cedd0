package grafana

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var ourMetric = regexp.MustCompile(`\bwattledger_[a-z0-9_]+`)

// Whatever a panel asks of Prometheus has to be a metric that a process of ours has: the references list them, from the code.
func TestPromQLAsksForMetricsThatAreThere(t *testing.T) {
	dashboards, err := Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	known := references(t)
	expressions := PromQL(dashboards)
	if len(expressions) < 10 {
		t.Errorf("only %d expressions: pipeline health has more", len(expressions))
	}
	for _, e := range expressions {
		for _, name := range unknown(e.Expr, known) {
			t.Errorf("%s, panel %d, target %s: no process has the metric %s", e.Dashboard, e.Panel, e.RefID, name)
		}
	}
	if got := unknown(`sum(wattledger_ingest_lag_mesages) + wattledger_ingest_insert_seconds_bucket`, known); !slices.Equal(got, []string{"wattledger_ingest_lag_mesages"}) {
		t.Errorf("a metric that is misspelt is not found: %q", got)
	}
}

// unknown are the metrics of an expression that no reference lists.
func unknown(expr string, known map[string]bool) []string {
	var out []string
	for _, name := range ourMetric.FindAllString(expr, -1) {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if !known[name] && !known[base] {
			out = append(out, name)
		}
	}
	return out
}

func references(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	for _, page := range []string{"../../docs/wattledger-reference.md", "../../docs/collector-reference.md"} {
		body, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range regexp.MustCompile("(?m)^\\| `(wattledger_[a-z0-9_]+)` \\|").FindAllSubmatch(body, -1) {
			known[string(row[1])] = true
		}
	}
	return known
}

// A figure of a dashboard can be followed to the ledger, and every question of one is read back as it stands.
func TestDashboardsAreReadBack(t *testing.T) {
	dashboards, err := Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	if len(dashboards) != len(uids) {
		t.Fatalf("%d dashboards, want %d", len(dashboards), len(uids))
	}
	asked := 0
	for _, d := range dashboards {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				asked++
				if (target.Query.Kind == "") == (target.Expr == "") {
					t.Errorf("%s, panel %d, target %s is not read: %+v", d.UID, p.ID, target.RefID, target)
				}
			}
		}
	}
	if asked < 150 {
		t.Errorf("%d questions on all dashboards: there should be more", asked)
	}
}
