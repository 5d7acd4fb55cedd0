package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/wattledger/wattledger/dashboards/render"
	"github.com/wattledger/wattledger/internal/chromium/chromiumtest"
)

// shots is where pictures of the dashboards are kept; docs/images/grafana has those of the documentation (GRAFANA_SHOTS writes them).
var shots = os.Getenv("GRAFANA_SHOTS")

// everyPage draws each dashboard in Chromium from what the plugin answers, and looks for what a reader could not read.
func everyPage(t *testing.T, s *stage, lines []line) {
	page := chromiumtest.Page(t, 1400, 1000)
	built := t.TempDir()
	if err := render.Build(t.Context(), built); errors.Is(err, render.ErrNotInstalled) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	for _, b := range boards(t) {
		drawing, err := render.Draw(t.Context(), page, built, b.raw, s.answers(t, b, lines))
		if err != nil {
			t.Errorf("%s: %v", b.file, err)
			continue
		}
		for _, fault := range drawing.Faults {
			t.Errorf("%s: %s", b.file, fault)
		}
		for _, p := range drawing.Panels {
			switch {
			case p.Error != "":
				t.Errorf("%s: %s: %s", b.file, p.Title, p.Error)
			case p.Drawn == 0:
				t.Errorf("%s: %s is empty", b.file, p.Title)
			}
		}
		if len(drawing.Panels) < len(b.all()) {
			t.Errorf("%s: %d panels are drawn of %d", b.file, len(drawing.Panels), len(b.all()))
		}
		if shots != "" {
			name := strings.TrimSuffix(strings.TrimPrefix(b.file, "wattledger-"), ".json") + ".png"
			small, err := render.Compact(drawing.PNG)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(shots, name), small, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// answers are what the panels and annotations of a dashboard get, as the page reads them.
func (s *stage) answers(t *testing.T, b board, lines []line) render.Answers {
	t.Helper()
	operator := s.operator(t)
	set := b.choose(t, operator, s.eventful(t, lines))
	out := render.Answers{From: s.from.UnixMilli(), To: s.to.UnixMilli(), Panels: map[string]render.Answer{}, Annotations: []render.Annotation{}, Variables: []render.Variable{}}
	for _, name := range set.names() {
		out.Variables = append(out.Variables, render.Variable{Name: name, Text: set.text(name)})
	}
	for _, p := range b.all() {
		queries := make([]backend.DataQuery, len(p.Targets))
		for i, q := range p.Targets {
			body, err := json.Marshal(set.question(q.Query))
			if err != nil {
				t.Fatal(err)
			}
			queries[i] = backend.DataQuery{
				RefID: q.RefID, JSON: body, MaxDataPoints: p.pixels(), TimeRange: backend.TimeRange{From: s.from, To: s.to},
			}
		}
		answers, err := operator.Query(t.Context(), queries...)
		if err != nil {
			t.Fatal(err)
		}
		panel := render.Answer{Frames: []json.RawMessage{}, Errors: []string{}}
		for _, q := range queries { // in the order of the panel, which its colours follow
			if err := answers[q.RefID].Error; err != nil {
				panel.Errors = append(panel.Errors, err.Error())
			}
			panel.Frames = append(panel.Frames, onWire(t, answers[q.RefID].Frames)...)
		}
		out.Panels[strconv.Itoa(p.ID)] = panel
	}
	for i, q := range b.annotated(set) {
		a := b.Annotations.List[i]
		for _, known := range b.Annotations.List {
			if strings.Contains(q.where, strconv.Quote(known.Name)) {
				a = known
			}
		}
		out.Annotations = append(out.Annotations, render.Annotation{Name: a.Name, Color: a.IconColor, Frames: onWire(t, s.ask(t, operator, q.q)[0].Frames)})
	}
	return out
}

// onWire is how frames travel to the browser.
func onWire(t *testing.T, frames data.Frames) []json.RawMessage {
	t.Helper()
	out := []json.RawMessage{}
	for _, f := range frames {
		body, err := data.FrameToJSON(f, data.IncludeAll)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, body)
	}
	return out
}
