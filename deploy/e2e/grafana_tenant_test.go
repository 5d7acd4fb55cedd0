package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/wattledger/wattledger/dashboards/datasource/host"
	catalogue "github.com/wattledger/wattledger/dashboards/query"
)

// revealing are questions of every metric, each by the dimensions that would tell most of others. Of telemetry, whose metrics are read
// alike, some stand for all.
func revealing() []question {
	var out []question
	for _, m := range catalogue.Metrics {
		if m.Kind == catalogue.KindFleet && !slices.Contains([]string{"power", "devices", "coverage"}, m.Name) ||
			m.Kind == catalogue.KindDevice && !slices.Contains([]string{"power", "memory_used", "xid", "now"}, m.Name) {
			continue
		}
		form := m.Forms[0]
		if slices.Contains(m.Forms, catalogue.FormTable) {
			form = catalogue.FormTable
		}
		var by []catalogue.Dimension
		for _, d := range []catalogue.Dimension{catalogue.Tenant, catalogue.Site, catalogue.Node, catalogue.DeviceID} {
			if slices.Contains(m.By, d) && m.Unit != "" {
				by = append(by, d)
			}
		}
		out = append(out, question{where: fmt.Sprintf("%s of %s by %v", m.Name, m.Kind, by), q: catalogue.Query{Kind: m.Kind, Metric: m.Name, Form: form, By: by, Limit: 5000}})
	}
	return out
}

// holdings are what of the fleet each tenant held at some time, and the devices that no tenant of the day held alone.
func holdings(t *testing.T, s *stage) (held map[string]map[string]bool, all map[string]bool) {
	t.Helper()
	body, err := query(t.Context(), s.data, `SELECT tenant, device FROM allocations FINAL GROUP BY tenant, device
		UNION ALL SELECT a.tenant, d.parent_uuid FROM allocations AS a FINAL INNER JOIN devices AS d FINAL ON d.uuid = a.device WHERE d.parent_uuid != ''
		UNION ALL SELECT 'all', uuid FROM devices FINAL FORMAT TSV`)
	if err != nil {
		t.Fatal(err)
	}
	held, all = map[string]map[string]bool{}, map[string]bool{}
	for row := range strings.Lines(body) {
		tenant, device, _ := strings.Cut(strings.TrimRight(row, "\n"), "\t")
		all[device] = true
		if held[tenant] == nil {
			held[tenant] = map[string]bool{}
		}
		held[tenant][device] = true
	}
	return held, all
}

// ownOnly asks as each tenant: figures are those of its own entries, and nothing in any field names another, nor a device it never held.
func ownOnly(t *testing.T, s *stage, lines []line) {
	held, devices := holdings(t, s)
	everybody := tenants(lines)
	if len(everybody) < 10 {
		t.Fatalf("the day has %d tenants", len(everybody))
	}
	for _, id := range everybody {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			s.ownOnly(t, id, lines, everybody, held[id], devices)
		})
	}
	// The same search finds something where there is something: the operator sees them all.
	seen := map[string]bool{}
	for _, answer := range s.ask(t, s.operator(t), catalogue.Query{Kind: catalogue.KindInventory, Metric: "allocations", Form: catalogue.FormTable, Limit: 10_000}) {
		for word := range words(answer.Frames) {
			seen[word] = true
		}
	}
	if found := tells(seen, everybody); len(found) != len(everybody) {
		t.Errorf("the operator's allocations name %q, not all of %q", found, everybody)
	}
}

// ownOnly asks as one of them.
func (s *stage) ownOnly(t *testing.T, id string, lines []line, everybody []string, held, devices map[string]bool) {
	own := slices.DeleteFunc(slices.Clone(lines), func(l line) bool { return l.Tenant != id })
	foreign := slices.DeleteFunc(slices.Clone(everybody), func(other string) bool { return other == id })
	for device := range devices {
		if !held[device] {
			foreign = append(foreign, device)
		}
	}
	questions := revealing()
	queries := make([]catalogue.Query, len(questions))
	for i, q := range questions {
		queries[i] = q.q
	}
	source := s.tenant(t, id)
	for i, answer := range s.ask(t, source, queries...) {
		if answer.Error != nil {
			continue // refused: nothing is told
		}
		got, _ := read(answer, queries[i])
		if want := expected(own, queries[i], s.from, s.to, got.step); want != nil {
			for _, wrong := range differences(got.closed, want) {
				t.Errorf("%s asks %s: %s", id, questions[i].where, wrong)
			}
		}
		for _, wrong := range tells(words(answer.Frames), foreign) {
			t.Errorf("%s asks %s and learns of %s", id, questions[i].where, wrong)
		}
	}
	for _, d := range []catalogue.Dimension{catalogue.Tenant, catalogue.DeviceID, catalogue.Node, catalogue.Project, catalogue.EntryID} {
		offered := map[string]bool{}
		for _, v := range values(t, source, d, nil) {
			offered[v.Value], offered[v.Text] = true, true
		}
		for _, wrong := range tells(offered, foreign) {
			t.Errorf("%s is offered %s among the values of %s", id, wrong, d)
		}
	}
}

// tells are those of the names that the words tell of, be it in the midst of others.
func tells(words map[string]bool, names []string) []string {
	all := strings.Join(slices.Collect(maps.Keys(words)), "\n")
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.Contains(all, name) })
}

// nobody asks sources that answer persons: without one, or with one whom nobody vouches for, every kind is refused.
func nobody(t *testing.T, s *stage) {
	persons := s.source(t, "persons", map[string]any{"scope": "identity", "identity": map[string]any{
		"source": "grafana", "grafanaURL": "http://127.0.0.1:1", "issuer": "http://127.0.0.1:1/",
		"map": []map[string]any{{"by": "login", "value": "ada", "operator": true}},
	}})
	f := func(who string, source host.Source) {
		t.Helper()
		questions := revealing()
		queries := []catalogue.Query{{Kind: catalogue.KindSQL, SQL: "SELECT 1"}}
		for _, q := range questions {
			queries = append(queries, q.q)
		}
		for i, answer := range s.ask(t, source, queries...) {
			if answer.Error == nil || len(answer.Frames) > 0 {
				t.Errorf("%s asks %s of %s and is answered", who, queries[i].Metric, queries[i].Kind)
			}
		}
	}
	f("nobody", persons)
	f("a name without a signature", persons.As(&backend.User{Login: "ada", Role: "Admin"}, nil))
	f("a forged signature", persons.As(&backend.User{Login: "ada"}, map[string]string{"X-Grafana-Id": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1c2VyOjEiLCJsb2dpbiI6ImFkYSJ9."}))
	f("a source without a scope", s.source(t, "unset", nil))
}
