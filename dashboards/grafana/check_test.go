package grafana

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/dashboards/query"
)

// Every dashboard that there has to be.
var uids = []string{
	"wattledger-energy", "wattledger-fleet", "wattledger-gpu", "wattledger-ledger", "wattledger-node", "wattledger-pipeline",
	"wattledger-site", "wattledger-sovereignty", "wattledger-tenant",
}

// What can happen, as dashboards/query names it.
var events = []string{"xid", "gap", "loss", "missing", "clock_step", "epoch", "restart", "violation", "closing", "adjustment"}

// What of Grafana's own may stand where a variable may.
var builtIn = []string{
	"__url_time_range", "__value.raw", "__value.text", "__rate_interval", "__all",
}

// colours are those of src/palette.ts, and Grafana's for its own annotations.
var colours = []string{
	"green", "semi-dark-green", "dark-green", "blue", "light-blue", "purple", "yellow", "orange", "red", "dark-red", "#8e8e8e",
	"rgba(0, 211, 255, 1)",
}

func TestDashboards(t *testing.T) {
	bodies := read(t)
	for _, fault := range faults(bodies) {
		t.Error(fault)
	}
	if got := names(bodies); !slices.Equal(got, uids) {
		t.Errorf("the folder boards has %v, want %v", got, uids)
	}
}

// read is every dashboard's JSON by its uid.
func read(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("boards/*.json")
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string][]byte{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bodies[strings.TrimSuffix(filepath.Base(file), ".json")] = body
	}
	return bodies
}

func names(bodies map[string][]byte) []string {
	var out []string
	for name := range bodies {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// checker looks at all dashboards, since links lead from one to another.
type checker struct {
	boards map[string]Dashboard
	found  []string
	at     string
}

// faults are what is wrong with the dashboards, each as a sentence that says where.
func faults(bodies map[string][]byte) []string {
	c := checker{boards: map[string]Dashboard{}}
	for _, name := range names(bodies) {
		c.at = name
		d, err := parse(bodies[name])
		if err != nil {
			c.fault("%v", err)
			continue
		}
		if d.UID != name {
			c.fault("its uid is %s, its file is named %s", d.UID, name)
		}
		c.boards[name] = d
	}
	for _, name := range names(bodies) {
		d, ok := c.boards[name]
		if !ok {
			continue
		}
		c.at = name
		c.head(d)
		c.variables(d)
		c.layout(d)
		c.annotations(d)
		for _, p := range d.Panels {
			c.at = fmt.Sprintf("%s, panel %d (%s)", name, p.ID, p.Title)
			if p.Type != "row" {
				c.panel(d, p)
			}
		}
		c.at = name
		c.text(d, bodies[name])
	}
	return c.found
}

func (c *checker) fault(format string, args ...any) {
	c.found = append(c.found, c.at+": "+fmt.Sprintf(format, args...))
}

func (c *checker) head(d Dashboard) {
	if d.Title == "" || d.Description == "" {
		c.fault("it has no title or no description")
	}
	for other, o := range c.boards {
		if other < d.UID && o.Title == d.Title {
			c.fault("%s has the same title", other)
		}
	}
	if d.SchemaVersion != 42 {
		c.fault("schemaVersion is %d; docs/dashboards.md says 42", d.SchemaVersion)
	}
	if !slices.Contains([]string{"10s", "30s", "1m", "5m"}, d.Refresh) {
		c.fault("it refreshes every %q: 10s to 5m, or it is stale or a burden", d.Refresh)
	}
	if !regexp.MustCompile(`^now-\d+[hd]$`).MatchString(d.Time.From) || d.Time.To != "now" {
		c.fault("it looks at %s to %s at first: hours or days up to now", d.Time.From, d.Time.To)
	}
	if !slices.Contains(d.Tags, "wattledger") {
		c.fault("it lacks the tag wattledger, by which the list of dashboards finds it")
	}
	listed := false
	for _, l := range d.Links {
		c.link(d, nil, l.URL)
		switch l.Type {
		case "dashboards":
			listed = listed || slices.Contains(l.Tags, "wattledger")
		case "link":
			if _, known := c.boards[strings.TrimPrefix(l.URL, "/d/")]; !known {
				c.fault("the link %q leads to %s, which is no dashboard of ours", l.Title, l.URL)
			}
		}
		if !l.KeepTime || !l.IncludeVars {
			c.fault("the link %q leaves range or variables behind", l.Title)
		}
	}
	if !listed {
		c.fault("it lacks the list of all dashboards")
	}
}

func (c *checker) variables(d Dashboard) {
	seen := []string{}
	for _, v := range d.Templating.List {
		if slices.Contains(seen, v.Name) {
			c.fault("the variable %s is there twice", v.Name)
		}
		switch v.Type {
		case "datasource":
			var plugin string
			if err := json.Unmarshal(v.Query, &plugin); err != nil || (plugin != Wattledger && plugin != Prometheus) {
				c.fault("the variable %s chooses among data sources of %s", v.Name, v.Query)
			}
		case "query":
			var q Values
			if err := strictly(v.Query, &q); err != nil {
				c.fault("the variable %s asks %s: %v", v.Name, v.Query, err)
			}
			if v.Datasource != (DataSource{Wattledger, "${datasource}"}) {
				c.fault("the variable %s asks %v", v.Name, v.Datasource)
			}
			if string(q.Dimension) != v.Name {
				c.fault("the variable %s has the values of %s: links expect them to be the same", v.Name, q.Dimension)
			}
			for _, f := range q.Filters {
				for _, value := range f.Values {
					if name, ok := strings.CutPrefix(value, "$"); !ok || !slices.Contains(seen, name) {
						c.fault("the variable %s is filtered by %s, which is no variable before it", v.Name, value)
					}
				}
			}
		default:
			c.fault("the variable %s is of type %s", v.Name, v.Type)
		}
		seen = append(seen, v.Name)
	}
	if !slices.Contains(seen, "datasource") {
		c.fault("it has no variable datasource")
	}
}

func has(d Dashboard, name string) bool {
	return slices.ContainsFunc(d.Templating.List, func(v Variable) bool { return v.Name == name })
}

func (c *checker) layout(d Dashboard) {
	ids := map[int]bool{}
	var panels []Panel
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			c.fault("the id %d is there twice, or not given", p.ID)
		}
		ids[p.ID] = true
		if p.Title == "" {
			c.fault("panel %d has no title", p.ID)
		}
		g := p.GridPos
		if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			c.fault("panel %d (%s) lies outside the grid: %+v", p.ID, p.Title, g)
		}
		for _, o := range d.Panels {
			if o.ID < p.ID && o.GridPos.X < g.X+g.W && g.X < o.GridPos.X+o.GridPos.W && o.GridPos.Y < g.Y+g.H && g.Y < o.GridPos.Y+o.GridPos.H {
				c.fault("panel %d (%s) lies over panel %d (%s)", p.ID, p.Title, o.ID, o.Title)
			}
		}
		if p.Type != "row" {
			panels = append(panels, p)
		}
	}
	if len(panels) < 8 || len(panels) > 16 {
		c.fault("it has %d panels: from 8 to 16, so that it is read and not searched", len(panels))
	}
	if len(d.Panels) > 0 && d.Panels[0].Type != "row" {
		c.fault("it does not begin with a question as the head of a row")
	}
}

func (c *checker) annotations(d Dashboard) {
	kinds := []string{}
	for _, a := range d.Annotations.List {
		if a.BuiltIn == 1 {
			continue
		}
		c.at = d.UID + ", annotation " + a.Name
		if a.Target == nil {
			c.fault("it asks nothing")
			continue
		}
		if a.Hide {
			c.fault("it has no switch")
		}
		c.target(d, *a.Target)
		if a.Target.Query.Kind != query.KindEvents {
			c.fault("it asks %s, and annotations are events", a.Target.Query.Kind)
		}
		for _, f := range a.Target.Query.Filters {
			if f.Dimension == query.EventKind {
				kinds = append(kinds, f.Values...)
			}
		}
	}
	c.at = d.UID
	for _, kind := range []string{"closing", "adjustment"} {
		if !slices.Contains(kinds, kind) {
			c.fault("it has no annotation for events of kind %s", kind)
		}
	}
}

// metric is the catalogue's entry of a question.
func metric(q query.Query) (query.Metric, bool) {
	i := slices.IndexFunc(query.Metrics, func(m query.Metric) bool { return m.Kind == q.Kind && m.Name == q.Metric })
	if i < 0 {
		return query.Metric{}, false
	}
	return query.Metrics[i], true
}

// target holds a question to Wattledger against the catalogue, and its filters against the dashboard's variables.
func (c *checker) target(d Dashboard, t Target) {
	if t.Datasource.UID != "${datasource}" {
		c.fault("target %s asks the data source %q instead of the one that is chosen", t.RefID, t.Datasource.UID)
	}
	q := t.Query
	m, ok := metric(q)
	if !ok {
		c.fault("target %s asks for %s.%s, which is not in the catalogue", t.RefID, q.Kind, q.Metric)
		return
	}
	if !slices.Contains(m.Forms, q.Form) {
		c.fault("target %s asks for %s.%s as %s: its forms are %v", t.RefID, q.Kind, q.Metric, q.Form, m.Forms)
	}
	asked := slices.Clone(q.By)
	for _, f := range q.Filters {
		asked = append(asked, f.Dimension)
		if len(f.Values) == 0 {
			c.fault("target %s filters %s by nothing", t.RefID, f.Dimension)
		}
		for _, v := range f.Values {
			if f.Dimension == query.EventKind && !slices.Contains(events, v) {
				c.fault("target %s wants events of kind %s, which do not happen", t.RefID, v)
			}
			if name, ok := strings.CutPrefix(v, "$"); ok && name != string(f.Dimension) {
				c.fault("target %s filters %s by the variable %s", t.RefID, f.Dimension, name)
			} else if ok && !has(d, name) {
				c.fault("target %s filters by the variable %s, which the dashboard does not have", t.RefID, name)
			}
		}
	}
	for _, dim := range asked {
		if !slices.Contains(m.By, dim) {
			c.fault("target %s: %s.%s does not know the dimension %s", t.RefID, q.Kind, q.Metric, dim)
		}
	}
	if q.Form == query.FormTotal && len(q.By) > 0 {
		c.fault("target %s groups a total", t.RefID)
	}
	if q.Limit < 0 || q.Limit > 500 {
		c.fault("target %s asks for %d rows or series", t.RefID, q.Limit)
	}
	if q.SQL != "" {
		c.fault("target %s holds SQL", t.RefID)
	}
}

func (c *checker) panel(d Dashboard, p Panel) {
	if len(p.Description) < 20 {
		c.fault("its description does not say where the figure comes from")
	}
	if len(p.Targets) == 0 {
		c.fault("it asks nothing")
	}
	refs := []string{}
	for _, t := range p.Targets {
		if t.RefID == "" || slices.Contains(refs, t.RefID) {
			c.fault("the target %q is there twice, or not named", t.RefID)
		}
		refs = append(refs, t.RefID)
		if t.Datasource != p.Datasource {
			c.fault("target %s asks %v, the panel %v", t.RefID, t.Datasource, p.Datasource)
		}
		if t.Datasource.Type == Wattledger {
			c.target(d, t)
		} else if t.Datasource.UID != "${prometheus}" || !has(d, "prometheus") {
			c.fault("target %s asks the Prometheus %q instead of the one that is chosen", t.RefID, t.Datasource.UID)
		}
	}
	c.form(p)
	c.unit(p)
	c.stacked(p)
	c.provisional(p)
	c.thresholds(p)
	c.panelLinks(d, p)
}

// form holds the kind of panel against the shape of the answer: a table drawn as lines shows nothing.
func (c *checker) form(p Panel) {
	for _, t := range p.Targets {
		if t.Datasource.Type != Wattledger {
			continue
		}
		fits := map[string][]query.Form{
			"timeseries": {query.FormSeries},
			"table":      {query.FormTable},
			"stat":       {query.FormSeries, query.FormTotal, query.FormTable},
			"bargauge":   {query.FormTable, query.FormTotal},
		}
		if forms, ok := fits[p.Type]; !ok || !slices.Contains(forms, t.Query.Form) {
			c.fault("target %s is of form %s, which a panel of type %s does not draw", t.RefID, t.Query.Form, p.Type)
		}
	}
}

// unit holds the panel's unit against that of each metric it shows.
func (c *checker) unit(p Panel) {
	unit := p.FieldConfig.Defaults.Unit
	if p.Type == "table" {
		if unit != "" {
			c.fault("it is a table with the unit %s for all columns", unit)
		}
		return
	}
	if unit == "" {
		c.fault("it has no unit")
	}
	for _, t := range p.Targets {
		if t.Datasource.Type != Wattledger {
			continue
		}
		if m, ok := metric(t.Query); ok && m.Unit != unit {
			c.fault("its unit is %q, that of %s.%s is %q", unit, m.Kind, m.Name, m.Unit)
		}
	}
}

// stacked lets only those be piled up that add up to something.
func (c *checker) stacked(p Panel) {
	if p.FieldConfig.Defaults.Custom.Stacking.Mode != "normal" {
		return
	}
	for _, t := range p.Targets {
		alone := slices.ContainsFunc(p.FieldConfig.Overrides, func(o Override) bool {
			return o.Matcher.ID == "byFrameRefID" && o.Matcher.Options == t.RefID && slices.ContainsFunc(o.Properties, func(v struct {
				ID    string          `json:"id"`
				Value json.RawMessage `json:"value"`
			},
			) bool {
				return v.ID == "custom.stacking" && strings.Contains(string(v.Value), `"none"`)
			})
		})
		if m, ok := metric(t.Query); ok && !alone && !m.Sums {
			c.fault("it stacks %s.%s, whose parts do not add up", m.Kind, m.Name)
		}
	}
}

// provisional wants hours that are not closed to look different wherever they can be among others.
func (c *checker) provisional(p Panel) {
	if p.Type != "timeseries" {
		return
	}
	asked := slices.ContainsFunc(p.Targets, func(t Target) bool {
		return slices.Contains([]query.Kind{query.KindUsage, query.KindEnergy, query.KindCarbon}, t.Query.Kind) && !t.Query.ClosedOnly
	})
	drawn := slices.ContainsFunc(p.FieldConfig.Overrides, func(o Override) bool {
		return o.Matcher.ID == "byRegexp" && strings.Contains(fmt.Sprint(o.Matcher.Options), "provisional")
	})
	if asked && !drawn {
		c.fault("hours that are not closed look like closed ones")
	}
}

// thresholds wants each colour explained, of the panel's values and of a table's columns.
func (c *checker) thresholds(p Panel) {
	c.explained(p, p.FieldConfig.Defaults.Thresholds)
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.ID != "thresholds" {
				continue
			}
			var t Thresholds
			if err := json.Unmarshal(property.Value, &t); err != nil {
				c.fault("thresholds of %v: %v", o.Matcher.Options, err)
			}
			c.explained(p, t)
		}
	}
}

func (c *checker) explained(p Panel, t Thresholds) {
	if len(t.Steps) < 2 {
		return
	}
	for i, s := range t.Steps {
		word := map[string]string{"yellow": "Yellow ", "orange": "Orange ", "red": "Red "}[s.Color]
		if word != "" && !strings.Contains(p.Description, word) {
			c.fault("it turns %s and does not say why", s.Color)
		}
		if i > 0 && (s.Value == nil || (t.Steps[i-1].Value != nil && *s.Value <= *t.Steps[i-1].Value)) {
			c.fault("its thresholds do not rise")
		}
	}
}

func (c *checker) panelLinks(d Dashboard, p Panel) {
	for _, l := range p.FieldConfig.Defaults.Links {
		c.link(d, &p, l.URL)
	}
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.ID != "links" {
				continue
			}
			var links []Link
			if err := json.Unmarshal(property.Value, &links); err != nil {
				c.fault("links of %v: %v", o.Matcher.Options, err)
			}
			for _, l := range links {
				c.link(d, &p, l.URL)
			}
		}
	}
}

var (
	passed    = regexp.MustCompile(`^\$\{(\w+):queryparam\}$`)
	ofField   = regexp.MustCompile(`\$\{__field\.labels\.(\w+)\}`)
	ofColumn  = regexp.MustCompile(`\$\{__data\.fields\["(\w+)"\]\}`)
	reference = regexp.MustCompile(`\$(?:\{([^}]+)\}|(\w+))`)
)

// link follows a link to its dashboard, and looks whether its variables are known there.
func (c *checker) link(d Dashboard, p *Panel, address string) {
	if address == "" {
		return
	}
	at, parameters, _ := strings.Cut(address, "?")
	to, ok := c.boards[strings.TrimPrefix(at, "/d/")]
	if !ok {
		c.fault("a link leads to %s, which is no dashboard of ours", at)
		return
	}
	if p == nil {
		return
	}
	given := []string{}
	for parameter := range strings.SplitSeq(parameters, "&") {
		if m := passed.FindStringSubmatch(parameter); m != nil {
			if !has(d, m[1]) {
				c.fault("a link passes the variable %s, which is not here", m[1])
			}
			given = append(given, m[1])
			continue
		}
		name, value, _ := strings.Cut(parameter, "=")
		if name == "${__url_time_range}" {
			given = append(given, name)
			continue
		}
		variable, ok := strings.CutPrefix(name, "var-")
		if !ok {
			c.fault("a link has the parameter %s", parameter)
			continue
		}
		if _, err := url.QueryUnescape(value); err != nil {
			c.fault("a link has the parameter %s: %v", parameter, err)
		}
		given = append(given, variable)
		for _, m := range append(ofField.FindAllStringSubmatch(value, -1), ofColumn.FindAllStringSubmatch(value, -1)...) {
			if !slices.ContainsFunc(p.Targets, func(t Target) bool { return slices.Contains(t.Query.By, query.Dimension(m[1])) }) {
				c.fault("a link takes %s from the answer, by which nothing is grouped", m[1])
			}
		}
	}
	for _, name := range given {
		if name != "${__url_time_range}" && !has(to, name) {
			c.fault("a link sets the variable %s, which %s does not have", name, to.UID)
		}
	}
	for _, name := range []string{"datasource", "${__url_time_range}"} {
		if !slices.Contains(given, name) {
			c.fault("a link to %s does not take along %s", to.UID, name)
		}
	}
}

// text looks at the JSON as a whole: colours of the palette only, and no variable that nobody knows.
func (c *checker) text(d Dashboard, body []byte) {
	var tree any
	if err := json.Unmarshal(body, &tree); err != nil {
		c.fault("%v", err)
		return
	}
	walk(tree, "", func(key, value string) {
		if (key == "color" || key == "fixedColor" || key == "iconColor") && !slices.Contains(colours, value) {
			c.fault("the colour %s is not in the palette", value)
		}
		for _, m := range reference.FindAllStringSubmatch(value, -1) {
			name, _, _ := strings.Cut(m[1]+m[2], ":")
			known := has(d, name) || slices.Contains(builtIn, name) || strings.HasPrefix(name, "__field.labels.") || strings.HasPrefix(name, "__data.fields[")
			if _, err := strconv.Atoi(name); err != nil && !known {
				c.fault("%q holds the variable %s, which nobody knows", value, name)
			}
		}
	})
	var sorted bytes.Buffer
	encoder := json.NewEncoder(&sorted)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(tree); err != nil || !bytes.Equal(sorted.Bytes(), body) {
		c.fault("the JSON is not as the generator writes it, keys sorted (make generate)")
	}
}

func walk(v any, key string, visit func(key, value string)) {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			walk(child, k, visit)
		}
	case []any:
		for _, child := range v {
			walk(child, key, visit)
		}
	case string:
		visit(key, v)
	}
}
