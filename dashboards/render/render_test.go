package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"image/png"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/internal/chromium/chromiumtest"
)

const (
	from = 1_772_323_200_000 // 2026-03-01
	hour = 3_600_000
)

// series is a frame of hourly points, null where there is none.
func series(name, unit, custom, values string, labels ...string) json.RawMessage {
	label := "{}"
	if len(labels) == 1 {
		label = labels[0]
	}
	return json.RawMessage(`{"schema":{"name":"` + name + `","fields":[{"name":"time","type":"time"},{"name":"` + name + `","type":"number","labels":` + label + `,"config":{"unit":"` + unit +
		`","custom":` + custom + `}}]},"data":{"values":[[1772323200000,1772326800000,1772330400000,1772334000000,1772337600000],` + values + `]}}`)
}

var table = json.RawMessage(`{"schema":{"fields":[{"name":"tenant","type":"string"},{"name":"energy","type":"number","config":{"unit":"watth"}}]},
	"data":{"values":[["fictional-bank","fictional-railway"],[1234567.8,42]]}}`)

// dashboard has a panel of each type that the page draws.
const dashboard = `{"title":"A dashboard","uid":"test","panels":[
	{"id":1,"type":"timeseries","title":"Power","gridPos":{"x":0,"y":0,"w":16,"h":8},"fieldConfig":{"defaults":{"custom":{"fillOpacity":20,"stacking":{"mode":"normal"}}},
		"overrides":[{"matcher":{"id":"byName","options":"south"},"properties":[{"id":"color","value":{"mode":"fixed","fixedColor":"red"}}]}]},"options":{"legend":{"displayMode":"table","calcs":["max"]}}},
	{"id":2,"type":"stat","title":"Now","gridPos":{"x":16,"y":0,"w":8,"h":4},"options":{"graphMode":"none"}},
	{"id":3,"type":"gauge","title":"Activity","gridPos":{"x":16,"y":4,"w":8,"h":4},"fieldConfig":{"defaults":{"min":0,"max":1,"unit":"percentunit","thresholds":{"mode":"absolute","steps":[{"color":"green","value":null},{"color":"red","value":0.9}]}},"overrides":[]}},
	{"id":4,"type":"row","title":"Tenants","collapsed":true,"gridPos":{"x":0,"y":8,"w":24,"h":1},"panels":[
		{"id":5,"type":"table","title":"Energy","gridPos":{"x":0,"y":9,"w":12,"h":6},"transformations":[{"id":"merge","options":{}}],"options":{"sortBy":[{"displayName":"energy","desc":true}]}},
		{"id":6,"type":"piechart","title":"Shares","gridPos":{"x":12,"y":9,"w":12,"h":6},"options":{"reduceOptions":{"values":true}}}]},
	{"id":7,"type":"state-timeline","title":"Hours","gridPos":{"x":0,"y":9,"w":12,"h":4}},
	{"id":8,"type":"text","title":"Words","gridPos":{"x":12,"y":9,"w":12,"h":4},"options":{"mode":"markdown","content":"A **closed** hour never changes."}}]}`

func answers() Answers {
	one := func(frames ...json.RawMessage) Answer { return Answer{Frames: frames, Errors: []string{}} }
	activity := series("activity", "percentunit", "{}", "[0.5,0.6,0.7,0.8,0.95]")
	return Answers{
		From: from, To: from + 4*hour, Variables: []Variable{{"site", "All"}},
		Annotations: []Annotation{{Name: "XIDs", Color: "red", Frames: []json.RawMessage{json.RawMessage(`{"schema":{"fields":[{"name":"time","type":"time"},{"name":"text","type":"string"}]},"data":{"values":[[1772328000000],["XID 63"]]}}`)}}},
		Panels: map[string]Answer{
			"1": one(series("north", "watt", "{}", "[100000,110000,null,105000,101000]"), series("south", "watt", `{"lineStyle":{"fill":"dash","dash":[8,6]}}`, "[50000,60000,50000,55000,51000]")),
			"2": one(series("power", "watt", "{}", "[1,2,3,4,151000]")), "3": one(activity), "5": one(table), "6": one(table), "7": one(activity), "8": one(),
		},
	}
}

func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := Build(t.Context(), dir); errors.Is(err, ErrNotInstalled) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	return dir
}

func drawn(t *testing.T, built, dashboard string, answers Answers) Drawing {
	t.Helper()
	page := chromiumtest.Page(t, 1000, 800)
	d, err := Draw(t.Context(), page, built, []byte(dashboard), answers)
	if err != nil {
		t.Fatal(err)
	}
	if keep := os.Getenv("RENDER_KEEP"); keep != "" {
		if err := os.WriteFile(keep, d.PNG, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestEveryTypeOfPanelIsDrawn(t *testing.T) {
	d := drawn(t, build(t), dashboard, answers())
	if len(d.Faults) != 0 {
		t.Errorf("faults: %q", d.Faults)
	}
	got := map[string]int{}
	for _, p := range d.Panels {
		got[p.Type] = p.Drawn
		if p.Error != "" || p.Drawn == 0 {
			t.Errorf("%s draws %d, %s", p.Title, p.Drawn, p.Error)
		}
	}
	if len(got) != 7 || got["timeseries"] != 9 || got["table"] != 2 || got["piechart"] != 2 || got["stat"] != 1 {
		t.Errorf("drawn %v", got) // 4 points of north, whose third is a gap, and 5 of south
	}
	small, err := Compact(d.PNG)
	if err != nil || len(small) >= len(d.PNG) {
		t.Errorf("compacted from %d to %d bytes, %v", len(d.PNG), len(small), err)
	}
	image, err := png.Decode(bytes.NewReader(small))
	if err != nil || image.Bounds().Dx() != 1000 || image.Bounds().Dy() != d.Height {
		t.Errorf("picture of %v, %v, want 1000 × %d", image.Bounds(), err, d.Height)
	}
}

func TestWhatCannotBeReadIsFound(t *testing.T) {
	built := build(t)
	chromiumtest.Page(t, 100, 100) // keeps the browser between the cases
	f := func(want string, dashboard string, a Answers) {
		t.Helper()
		d := drawn(t, built, dashboard, a)
		said := slices.Clone(d.Faults)
		for _, p := range d.Panels {
			said = append(said, p.Error)
			if p.Drawn == 0 {
				said = append(said, p.Title+" is empty")
			}
		}
		if all := strings.Join(said, "\n"); !strings.Contains(all, want) {
			t.Errorf("%q is not found; found %s", want, all)
		}
	}
	refused := answers()
	refused.Panels["1"] = Answer{Frames: []json.RawMessage{}, Errors: []string{"refused: nobody asks"}}
	f("nobody asks", dashboard, refused)
	silent := answers()
	delete(silent.Panels, "5")
	f("Energy is empty", dashboard, silent)
	f("Power and Now overlap", strings.Replace(dashboard, `"x":16,"y":0,"w":8,"h":4`, `"x":12,"y":0,"w":8,"h":4`, 1), answers())
	f("the title is cut off", strings.Replace(dashboard, `"title":"Now"`, `"title":"What the whole fleet draws at this very moment, of all sites together"`, 1), answers())
	f("teach it", strings.Replace(dashboard, `"type":"text"`, `"type":"flamegraph"`, 1), answers())
}
