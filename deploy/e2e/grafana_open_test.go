package e2e

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/wattledger/wattledger/dashboards/datasource/host"
	catalogue "github.com/wattledger/wattledger/dashboards/query"
)

// openFor is for how long before its end the day is not closed, in this case.
const openFor = 2 * time.Hour

// estimates are what is estimated for hours that are not closed, and by how much of it an hour of a site may be off. What is held and what
// GPUs took is counted; the rest is the site's last closed hour's, by time or by load, and its grid's, which moves.
var estimates = map[string]float64{
	"usage device_time": 0.001, "carbon embodied": 0.001, "energy gpu": 0.001, "energy total": 0.01, "energy overhead": 0.03,
	"carbon location": 0.1, "carbon market": 0.01, "carbon water": 0.01, "carbon heat_reused": 0.01,
}

// wholeBound is by how much a tenant's GPUs may be off from what is booked to it of those that it held as a whole: of a minute in which it got
// one or gave one back, nothing is its own.
const wholeBound = 0.015

// misplaced is how much of the energy may be estimated for others than it is booked to. That of GPUs follows who held them, the rest not as closely.
var misplaced = map[string]float64{"gpu": 0.01, "total": 0.03}

// notYetClosed takes the seals of the day's last hours away, so that they are as if nobody had closed them yet, and holds what the plugin
// estimates for them to what the ledger booked.
func notYetClosed(t *testing.T, s *stage, lines []line) {
	began := s.to.Add(-openFor)
	change := func(sql string) {
		t.Helper()
		if _, err := query(context.WithoutCancel(t.Context()), s.data, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	change(fmt.Sprintf("CREATE TABLE put_aside ENGINE = Memory AS SELECT * FROM seals FINAL WHERE hour >= fromUnixTimestamp(%d)", began.Unix()))
	change(fmt.Sprintf("DELETE FROM seals WHERE hour >= fromUnixTimestamp(%d)", began.Unix()))
	t.Cleanup(func() {
		change("INSERT INTO seals SELECT * FROM put_aside")
		change("DROP TABLE put_aside")
	})
	closed := slices.DeleteFunc(slices.Clone(lines), func(l line) bool { return l.Hour >= began.Unix() })
	open := slices.DeleteFunc(slices.Clone(lines), func(l line) bool { return l.Hour < began.Unix() })
	// A source of its own: what others keep of closed hours is for ever.
	operator := s.source(t, "open", map[string]any{"scope": "operator"})
	for _, name := range slices.Sorted(maps.Keys(estimates)) {
		kind, metric, _ := strings.Cut(name, " ")
		worst := 0.0
		forms := []catalogue.Form{catalogue.FormSeries}
		if name == "energy total" {
			forms = append(forms, catalogue.FormTable, catalogue.FormTotal)
		}
		for _, form := range forms {
			q := catalogue.Query{Kind: catalogue.Kind(kind), Metric: metric, Form: form, By: []catalogue.Dimension{catalogue.Site}}
			guessed, booked := s.guess(t, operator, q, closed, open)
			for key, slots := range booked {
				for slot, want := range slots {
					got, ok := guessed[key][slot]
					off := math.Abs(got - want)
					if want != 0 { // a site that hands on no heat
						off /= want
					}
					if worst = max(worst, off); !ok || off > estimates[name] {
						t.Errorf("%s of %q at %s is estimated as %v, booked as %v", name, key, at(slot), got, want)
					}
				}
			}
		}
		t.Logf("%s by site: estimated within %.3f %%", name, 100*worst)
	}
	for _, metric := range slices.Sorted(maps.Keys(misplaced)) {
		q := catalogue.Query{Kind: catalogue.KindEnergy, Metric: metric, Form: catalogue.FormTable, By: []catalogue.Dimension{catalogue.Tenant}}
		guessed, booked := s.guess(t, operator, q, closed, open)
		all, off := 0.0, 0.0
		for key, slots := range booked {
			all += slots[0]
			off += math.Abs(guessed[key][0]-slots[0]) / 2
		}
		t.Logf("energy %s by tenant: %.2f %% of it is estimated for others than it is booked to", metric, 100*off/all)
		if off > misplaced[metric]*all {
			t.Errorf("energy %s by tenant: %.1f of %.1f Wh are estimated for others than they are booked to", metric, off, all)
		}
	}
	for _, id := range tenants(lines) {
		s.ownOpen(t, id, closed, open, tenants(lines))
	}
}

// guess asks for a figure. What is closed has to be the ledger's and what is not to look so; it returns the estimates, and what was booked.
func (s *stage) guess(t *testing.T, from host.Source, q catalogue.Query, closed, open []line) (guessed, booked map[string]map[int64]float64) {
	t.Helper()
	where := fmt.Sprintf("%s of %s as %s by %v", q.Metric, q.Kind, q.Form, q.By)
	answer := s.ask(t, from, q)[0]
	firm, loose := answer, answer
	firm.Frames, loose.Frames = nil, nil
	for _, f := range answer.Frames {
		if custom, _ := f.Meta.Custom.(map[string]any); custom["provisional"] == true {
			loose.Frames = append(loose.Frames, f)
			for _, wrong := range looksClosed(f, q) {
				t.Errorf("%s: %s", where, wrong)
			}
			continue
		}
		firm.Frames = append(firm.Frames, f)
	}
	got, wrong := read(firm, q)
	for _, w := range append(wrong, differences(got.closed, expected(closed, q, s.from, s.to, got.step))...) {
		t.Errorf("%s, closed hours: %s", where, w)
	}
	estimate, wrong := read(loose, q)
	for _, w := range wrong {
		t.Errorf("%s, open hours: %s", where, w)
	}
	guessed = estimate.closed
	if q.Form == catalogue.FormSeries {
		guessed = estimate.provisional
	}
	return guessed, expected(open, q, s.from, s.to, estimate.step)
}

// looksClosed says what of a frame does not show that its hours are not closed.
func looksClosed(f *data.Frame, q catalogue.Query) []string {
	figure, i := f.FieldByName(q.Metric)
	if i < 0 {
		return []string{"no figure"}
	}
	var wrong []string
	if q.Form == catalogue.FormSeries && figure.Labels["provisional"] != "true" {
		wrong = append(wrong, "a series of open hours has no label that says so")
	}
	if style, _ := figure.Config.Custom["lineStyle"].(map[string]any); style["fill"] != "dash" {
		wrong = append(wrong, "the line of open hours is not dashed")
	}
	if !strings.HasSuffix(figure.Config.DisplayNameFromDS, " (provisional)") {
		wrong = append(wrong, "open hours are called "+figure.Config.DisplayNameFromDS)
	}
	return wrong
}

// ownOpen asks as a tenant. Of its open hours it is told what GPUs took that it held as a whole, and nothing of others.
func (s *stage) ownOpen(t *testing.T, id string, closed, open []line, everybody []string) {
	t.Helper()
	mine := func(lines []line) []line {
		return slices.DeleteFunc(slices.Clone(lines), func(l line) bool { return l.Tenant != id })
	}
	source := s.source(t, "open-"+id, map[string]any{"scope": "tenant", "tenant": id})
	q := catalogue.Query{Kind: catalogue.KindEnergy, Metric: "gpu", Form: catalogue.FormTotal}
	guessed, _ := s.guess(t, source, q, mine(closed), mine(open))
	wholly := 0.0
	for _, l := range mine(open) {
		if l.DeviceTime == l.To-l.From && !strings.Contains(l.Model, "MIG") { // ms × 1000 is µs
			wholly += float64(l.GPU) / 3_600_000
		}
	}
	if off := math.Abs(guessed[""][0]/wholly - 1); !(off <= wholeBound) {
		t.Errorf("%s is told that its GPUs took %v Wh in open hours, booked are %v of those that it held as a whole", id, guessed[""][0], wholly)
	}
	q.Metric, q.Form, q.By = "total", catalogue.FormTable, []catalogue.Dimension{catalogue.Tenant, catalogue.Site}
	foreign := slices.DeleteFunc(slices.Clone(everybody), func(other string) bool { return other == id })
	for _, wrong := range tells(words(s.ask(t, source, q)[0].Frames), foreign) {
		t.Errorf("%s is told of open hours of %s", id, wrong)
	}
}
