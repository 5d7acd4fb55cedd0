package grafana

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// What the checks are for: each mutation is a mistake that somebody could make, and has to be named.
func TestMistakesAreFound(t *testing.T) {
	bodies := read(t)
	if found := faults(bodies); len(found) > 0 {
		t.Skipf("the dashboards have faults already: %s", found[0])
	}
	f := func(name, board string, mutate func(tree), want string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			var v tree
			if err := json.Unmarshal(bodies[board], &v); err != nil {
				t.Fatal(err)
			}
			mutate(v)
			body := encode(t, v)
			if bytes.Equal(body, bodies[board]) {
				t.Fatal("the mutation changes nothing")
			}
			mutated := maps.Clone(bodies)
			mutated[board] = body
			found := faults(mutated)
			if !slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, want) }) {
				t.Errorf("no fault holds %q; found are %q", want, found)
			}
		})
	}
	const fleet, site, gpu, tenant, pipeline = "wattledger-fleet", "wattledger-site", "wattledger-gpu", "wattledger-tenant", "wattledger-pipeline"

	f("a metric that is not there", fleet, func(d tree) { d.panel("timeseries").target()["metric"] = "powr" }, "not in the catalogue")
	f("a kind that is not there", fleet, func(d tree) { d.panel("stat").target()["kind"] = "fleets" }, "not in the catalogue")
	f("a form that the metric has not", gpu, func(d tree) { d.titled("Which XID").target()["form"] = "total" }, "its forms are")
	f("a form that the panel does not draw", fleet, func(d tree) { d.panel("timeseries").target()["form"] = "table" }, "does not draw")
	f("a dimension that the metric has not", fleet, func(d tree) { d.panel("timeseries").target()["by"] = []any{"tenant"} }, "does not know the dimension tenant")
	f("a field that questions have not", fleet, func(d tree) { d.panel("stat").target()["metrics"] = "power" }, "unknown field")
	f("SQL in a panel", fleet, func(d tree) { d.panel("stat").target()["sql"] = "SELECT 1" }, "holds SQL")
	f("a filter of another dimension's variable", fleet, func(d tree) { d.panel("stat").filter()["values"] = []any{"$model"} }, "by the variable model")
	f("a filter of a variable that is not there", fleet, func(d tree) {
		d.panel("stat").filter()["dimension"], d.panel("stat").filter()["values"] = "rack", []any{"$rack"}
	}, "which the dashboard does not have")
	f("a fixed data source", fleet, func(d tree) { d.panel("stat").target().sub("datasource")["uid"] = "P123" }, "instead of the one that is chosen")
	f("a fixed Prometheus", pipeline, func(d tree) { d.titled("Messages waiting").target().sub("datasource")["uid"] = "P123" }, "instead of the one that is chosen")

	f("a link to nowhere", fleet, func(d tree) {
		d.panel("timeseries").link("/d/wattledger-rooms?${datasource:queryparam}&${__url_time_range}")
	}, "no dashboard of ours")
	f("a link with a variable that is not there", fleet, func(d tree) {
		d.panel("timeseries").link("/d/wattledger-site?${datasource:queryparam}&var-room=1&${__url_time_range}")
	}, "sets the variable room")
	f("a link that forgets the range", fleet, func(d tree) { d.panel("timeseries").link("/d/wattledger-site?${datasource:queryparam}") }, "does not take along ${__url_time_range}")
	f("a link that forgets the data source", fleet, func(d tree) { d.panel("timeseries").link("/d/wattledger-site?${__url_time_range}") }, "does not take along datasource")
	f("a link with a label that no series has", fleet, func(d tree) {
		d.panel("timeseries").link("/d/wattledger-node?${datasource:queryparam}&var-node=${__field.labels.node}&${__url_time_range}")
	}, "by which nothing is grouped")
	f("a link of a column to nowhere", fleet, func(d tree) {
		d.panel("table").override("site").property("links").list("value")[0]["url"] = "/d/wattledger-hall"
	}, "no dashboard of ours")
	f("a link at the head that forgets the range", fleet, func(d tree) { d.list("links")[1]["keepTime"] = false }, "leaves range or variables behind")
	f("a link at the head to nowhere", fleet, func(d tree) { d.list("links")[1]["url"] = "/d/wattledger-hall" }, "no dashboard of ours")
	f("a link's variable goes away", site, func(d tree) {
		v := d.sub("templating")
		v["list"] = slices.DeleteFunc(v["list"].([]any), func(x any) bool { return x.(map[string]any)["name"] == "site" })
	}, "sets the variable site, which wattledger-site does not have")

	f("a unit that is not the metric's", fleet, func(d tree) { d.panel("timeseries").sub("fieldConfig").sub("defaults")["unit"] = "kwatt" }, `its unit is "kwatt"`)
	f("no unit", fleet, func(d tree) { delete(d.panel("timeseries").sub("fieldConfig").sub("defaults"), "unit") }, "it has no unit")
	f("shares that are stacked", fleet, func(d tree) {
		d.titled("Did the load change").sub("fieldConfig").sub("defaults").sub("custom")["stacking"] = map[string]any{"group": "A", "mode": "normal"}
	}, "do not add up")
	f("open hours that look closed", tenant, func(d tree) { d.titled("Device-hours by").sub("fieldConfig")["overrides"] = []any{} }, "look like closed ones")
	f("a threshold that nobody explains", fleet, func(d tree) { d.titled("How fresh is").replace("description", "Yellow", "Somewhat") }, "does not say why")
	f("a threshold of a column that nobody explains", fleet, func(d tree) { d.titled("Which site").replace("description", "Red", "Bad") }, "turns red and does not say why")
	f("thresholds that fall", fleet, func(d tree) {
		d.titled("How fresh is").sub("fieldConfig").sub("defaults").sub("thresholds")["steps"].([]any)[2].(map[string]any)["value"] = 1
	}, "do not rise")
	f("a colour of one's own", fleet, func(d tree) {
		d.titled("How many GPUs").sub("fieldConfig").sub("defaults").sub("thresholds")["steps"].([]any)[0].(map[string]any)["color"] = "hotpink"
	}, "not in the palette")

	f("a panel without title", fleet, func(d tree) { d.panel("stat")["title"] = "" }, "has no title")
	f("a panel without description", fleet, func(d tree) { delete(d.panel("stat"), "description") }, "does not say where")
	f("an id twice", fleet, func(d tree) { d.panel("table")["id"] = d.panel("stat")["id"] }, "is there twice")
	f("panels over one another", fleet, func(d tree) { d.panel("table").sub("gridPos")["y"] = 2 }, "lies over")
	f("a panel beyond the edge", fleet, func(d tree) { d.panel("timeseries").sub("gridPos")["w"] = 25 }, "outside the grid")
	f("too few panels", fleet, func(d tree) { d["panels"] = d["panels"].([]any)[:6] }, "from 8 to 16")
	f("another uid", fleet, func(d tree) { d["uid"] = "fleet" }, "its file is named")
	f("a title twice", fleet, func(d tree) { d["title"] = "Wattledger / Energy and carbon" }, "has the same title")
	f("a refresh that is a burden", fleet, func(d tree) { d["refresh"] = "1s" }, "it refreshes every")
	f("a fixed range", fleet, func(d tree) { d.sub("time")["from"] = "2026-01-01T00:00:00Z" }, "up to now")

	f("a variable of another dimension", fleet, func(d tree) { d.variable("site").sub("query")["dimension"] = "node" }, "links expect them")
	f("a variable of a later variable", fleet, func(d tree) {
		d.variable("site").sub("query")["filters"] = []any{map[string]any{"dimension": "model", "values": []any{"$model"}}}
	}, "no variable before it")
	f("a variable in a title that is not there", fleet, func(d tree) { d.panel("stat")["title"] = "Power of $room" }, "which nobody knows")
	f("an annotation that is no event", fleet, func(d tree) {
		t := d.sub("annotations").list("list")[1].sub("target")
		t["kind"], t["metric"], t["form"], t["filters"] = "fleet", "power", "series", nil
	}, "annotations are events")
	f("an event that does not happen", fleet, func(d tree) {
		d.sub("annotations").list("list")[1].sub("target").list("filters")[1]["values"] = []any{"incident"}
	}, "which do not happen")
	f("an annotation without a switch", fleet, func(d tree) { d.sub("annotations").list("list")[1]["hide"] = true }, "no switch")

	t.Run("JSON edited by hand", func(t *testing.T) {
		mutated := maps.Clone(bodies)
		mutated[fleet] = bytes.Replace(bodies[fleet], []byte("  \"description\""), []byte(" \"description\""), 1)
		if found := faults(mutated); len(found) != 1 || !strings.Contains(found[0], "as the generator writes it") {
			t.Errorf("found %q", found)
		}
	})
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tree is a part of a dashboard's JSON. Its methods panic where the part is not there, which fails the test that wanted it.
type tree map[string]any

func (t tree) sub(key string) tree { return t[key].(map[string]any) }

func (t tree) list(key string) []tree {
	var out []tree
	for _, v := range t[key].([]any) {
		out = append(out, v.(map[string]any))
	}
	return out
}

func (t tree) find(key string, is func(tree) bool) tree {
	all := t.list(key)
	i := slices.IndexFunc(all, is)
	if i < 0 {
		panic(fmt.Sprintf("no such part of %s", key))
	}
	return all[i]
}

// panel is the first of a type.
func (t tree) panel(kind string) tree {
	return t.find("panels", func(p tree) bool { return p["type"] == kind })
}

// titled is the first panel whose title begins so.
func (t tree) titled(begin string) tree {
	return t.find("panels", func(p tree) bool { return strings.HasPrefix(p["title"].(string), begin) })
}

func (t tree) variable(name string) tree {
	return t.sub("templating").find("list", func(v tree) bool { return v["name"] == name })
}

func (t tree) target() tree { return t.list("targets")[0] }
func (t tree) filter() tree { return t.target().list("filters")[0] }

func (t tree) override(column string) tree {
	return t.sub("fieldConfig").find("overrides", func(o tree) bool { return o.sub("matcher")["options"] == column })
}

func (t tree) property(id string) tree {
	return t.find("properties", func(p tree) bool { return p["id"] == id })
}

// link gives the panel one link instead of those it has.
func (t tree) link(url string) {
	t.sub("fieldConfig").sub("defaults")["links"] = []any{map[string]any{"title": "there", "url": url}}
}

func (t tree) replace(key, from, to string) { t[key] = strings.ReplaceAll(t[key].(string), from, to) }
