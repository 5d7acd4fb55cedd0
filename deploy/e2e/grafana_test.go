package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/wattledger/wattledger/dashboards/datasource/host"
	catalogue "github.com/wattledger/wattledger/dashboards/query"
)

// What Grafana shows is what the ledger says. The plugin is started as Grafana starts it and asked all that the dashboards ask, on a played
// day; what it has to answer is added up here from the entries, one by one.
func TestGrafana(t *testing.T) {
	s := onStage(t, wholeDay(t).data, demoDay)
	lines := ledger(t, s.data)
	for _, wrong := range wholeLedger(t.Context(), s.data, lines) {
		t.Error(wrong)
	}
	t.Run("every panel, variable and annotation is answered", func(t *testing.T) { everyPanel(t, s, lines) })
	t.Run("everything that can be asked is answered", func(t *testing.T) { everyMetric(t, s, lines) })
	t.Run("power over time is the ledger's energy", func(t *testing.T) { powerIsEnergy(t, s, lines) })
	t.Run("a tenant sees its own", func(t *testing.T) { ownOnly(t, s, lines) })
	t.Run("hours that are not closed are estimated", func(t *testing.T) { notYetClosed(t, s, lines) })
	t.Run("a channel is live", func(t *testing.T) { live(t, s) })
	t.Run("nobody sees nothing", func(t *testing.T) { nobody(t, s) })
	t.Run("every panel can be read", func(t *testing.T) { everyPage(t, s, lines) })
	t.Run("what is wrong is found", func(t *testing.T) { wrongIsFound(t, s, lines) })
}

// question is one that a dashboard asks, and where.
type question struct {
	where string
	q     catalogue.Query
	panel boardPanel
}

// asked are the questions of a dashboard's panels and annotations, with its variables filled in.
func (b board) asked(set chosen) []question {
	var out []question
	for _, p := range b.all() {
		for _, target := range p.Targets {
			out = append(out, question{fmt.Sprintf("%s: %q %s", b.file, p.Title, target.RefID), set.question(target.Query), p})
		}
	}
	return out
}

func (b board) annotated(set chosen) []question {
	var out []question
	for _, a := range b.Annotations.List {
		if a.Target != nil && a.Datasource.Type == host.PluginID {
			out = append(out, question{fmt.Sprintf("%s: annotation %q", b.file, a.Name), set.question(a.Target.Query), boardPanel{}})
		}
	}
	return out
}

// wrongWith holds one answer to its question: its shape, its unit beside the panel's, its values beside the ledger's.
func (s *stage) wrongWith(t *testing.T, q question, answer backend.DataResponse, lines []line) []string {
	t.Helper()
	got, wrong := read(answer, q.q)
	if got.rows <= 1 && len(got.closed) == 0 && answer.Error == nil && slices.Contains(quiet, string(q.q.Kind)+" "+q.q.Metric) {
		return nil
	}
	if m, ok := metricOf(q.q); ok && m.Unit != "" && q.panel.FieldConfig.Defaults.Unit != "" && q.panel.FieldConfig.Defaults.Unit != m.Unit && !q.panel.mixed() {
		wrong = append(wrong, fmt.Sprintf("the panel shows %s in %q, the catalogue says %q", m.Name, q.panel.FieldConfig.Defaults.Unit, m.Unit))
	}
	if want := expected(lines, q.q, s.from, s.to, got.step); want != nil && answer.Error == nil {
		wrong = append(wrong, differences(got.closed, want)...)
	}
	if want, within, ok := s.claimed(t, q.q, got.step); ok && answer.Error == nil {
		wrong = append(wrong, differencesBy(near(within), got.closed, want)...)
	}
	if want, ok := s.measured(t, q.q, got.step); ok && answer.Error == nil {
		wrong = append(wrong, differencesBy(nearly, got.closed, want)...)
	}
	if answer.Error == nil {
		wrong = append(wrong, s.listed(t, q.q, answer)...)
	}
	for i := range wrong {
		wrong[i] = q.where + ": " + wrong[i]
	}
	return wrong
}

// mixed says that a panel joins several questions into one table, whose columns have units of their own.
func (p boardPanel) mixed() bool { return len(p.Targets) > 1 && len(p.Transformations) > 0 }

func everyPanel(t *testing.T, s *stage, lines []line) {
	operator := s.operator(t)
	for _, b := range boards(t) {
		set := b.choose(t, operator, s.eventful(t, lines))
		panels := b.asked(set)
		if len(panels) == 0 {
			t.Errorf("%s asks nothing", b.file)
		}
		s.holds(t, operator, panels, lines)
		for _, q := range b.annotated(set) {
			answer := s.ask(t, operator, q.q)[0]
			if answer.Error != nil { // a day without any is a good one
				t.Errorf("%s: %v", q.where, answer.Error)
			}
			for _, f := range answer.Frames {
				if f.Rows() > 0 {
					for _, name := range []string{"time", "text", "tags"} {
						if _, i := f.FieldByName(name); i < 0 {
							t.Errorf("%s: has no field %s, by which Grafana makes annotations", q.where, name)
						}
					}
				}
			}
		}
	}
}

// check asks all and holds each answer to its question.
func (s *stage) check(t *testing.T, from host.Source, questions []question, lines []line) []string {
	t.Helper()
	queries := make([]catalogue.Query, len(questions))
	for i, q := range questions {
		queries[i] = q.q
	}
	var wrong []string
	for i, answer := range s.ask(t, from, queries...) {
		wrong = append(wrong, s.wrongWith(t, questions[i], answer, lines)...)
	}
	return wrong
}

// holds checks answers, each as wide as its panel, and that the checks would find a change in them.
func (s *stage) holds(t *testing.T, from host.Source, questions []question, lines []line) {
	t.Helper()
	queries := make([]catalogue.Query, len(questions))
	for i, q := range questions {
		queries[i] = q.q
	}
	answers := s.askWide(t, from, func(i int) int64 { return questions[i].panel.pixels() }, queries...)
	for i, answer := range answers {
		for _, wrong := range s.wrongWith(t, questions[i], answer, lines) {
			t.Error(wrong)
		}
	}
	changedIsFound(t, s, questions, answers, lines)
}

// everything asks each metric of the catalogue in each of its forms, and by all of its dimensions at once.
func everything(entry string) []question {
	var out []question
	for _, m := range catalogue.Metrics {
		add := func(form catalogue.Form, by ...catalogue.Dimension) {
			q := catalogue.Query{Kind: m.Kind, Metric: m.Name, Form: form, By: by, Limit: 10_000}
			if m.Name == "explain" {
				q.Filters = []catalogue.Filter{{Dimension: catalogue.EntryID, Values: []string{entry}}}
			}
			out = append(out, question{where: fmt.Sprintf("%s of %s as %s by %v", m.Name, m.Kind, form, by), q: q})
		}
		for _, form := range m.Forms {
			add(form)
		}
		if m.Unit == "" || len(m.By) == 0 {
			continue
		}
		// A line's energy is divided by component or by provenance, not by both.
		by := slices.DeleteFunc(slices.Clone(m.By), func(d catalogue.Dimension) bool { return d == catalogue.Provenance })
		if slices.Contains(m.Forms, catalogue.FormTable) {
			add(catalogue.FormTable, by...)
		}
		if slices.Contains(m.Forms, catalogue.FormSeries) {
			add(catalogue.FormSeries, by[0])
		}
		if len(by) < len(m.By) {
			add(catalogue.FormTable, catalogue.Provenance)
		}
	}
	return out
}

// quiet are what an undisturbed day has nothing of.
var quiet = []string{"ledger adjustments", "ledger adjusted_energy", "coverage missing"}

func everyMetric(t *testing.T, s *stage, lines []line) {
	s.holds(t, s.operator(t), everything(lines[0].ID), lines)
	for _, m := range catalogue.Metrics {
		name := string(m.Kind) + " " + m.Name
		readings := m.Kind == catalogue.KindFleet || m.Kind == catalogue.KindDevice // known of a node and a GPU, which dashboards ask for
		if !s.proved[name] && !readings && !slices.Contains(quiet, name) && !slices.Contains(shapeOnly, name) {
			t.Errorf("%s is held to nothing but its shape", name)
		}
	}
}

// eventful are values of variables at which there is something to see: the device that reported an error, and what was running on it.
func (s *stage) eventful(t *testing.T, lines []line) map[string]string {
	t.Helper()
	body, err := query(t.Context(), s.data, "SELECT node, device FROM sample WHERE xid > 0 ORDER BY tick LIMIT 1 FORMAT TSV")
	if err != nil {
		t.Fatal(err)
	}
	node, device, _ := strings.Cut(body, "\t")
	named := map[string]string{"node": node, "device": device}
	i := slices.IndexFunc(lines, func(l line) bool { return l.Device == device })
	if i < 0 {
		t.Fatalf("the ledger has no line of %s, which reported an error", device)
	}
	named["site"] = lines[i].Site
	for _, l := range lines {
		if l.Device == device && l.Tenant != "" {
			named["tenant"], named["entry"] = l.Tenant, l.ID
		}
	}
	return named
}
