package query_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // zones, also where the machine has none

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/dashboards/query"
)

var (
	noon = time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	opt  = query.Options{SQL: true}
)

func state() query.State {
	return query.State{
		At: noon, Newest: noon.Add(-5 * time.Second),
		Sites:  map[string]query.SiteState{"s1": {Batches: 7, ClosedUpTo: noon.Add(-2 * time.Hour)}},
		Levels: map[string]query.LevelState{"10s": {Complete: noon.Add(-time.Minute)}, "1m": {Complete: noon.Add(-2 * time.Minute)}, "1h": {Complete: noon.Add(-time.Hour)}},
		Open:   &query.Open{Held: true, Last: map[string]query.LastHour{"s1": {GPU: 100, CPU: 10, Rest: 20, Total: 156, DeviceTime: 1000, Figure: 7}}},
	}
}

func span(d time.Duration) query.Span { return query.Span{From: noon.Add(-d), To: noon} }

// A question that cannot be asked is refused in one line that says what can, with a reason to count by.
func TestRefusals(t *testing.T) {
	f := func(q query.Query, scope query.Scope, s query.Span, reason query.Reason, words ...string) {
		t.Helper()
		_, err := query.New(q, scope, s, state(), opt)
		got, ok := query.ReasonOf(err)
		if !ok || got != reason || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v (%s), want one line of reason %s", q, err, got, reason)
			return
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: %q, want it to say %q", q, err, w)
			}
		}
	}
	all, tenant, hour := query.Scope{All: true}, query.Scope{Tenant: "t"}, span(time.Hour)
	f(query.Query{Kind: "flet"}, all, hour, query.ReasonKind, `"flet"`, "fleet", "device", "sql")
	f(query.Query{Kind: "fleet\nx", Metric: "power"}, all, hour, query.ReasonKind)
	f(query.Query{Kind: query.KindFleet, Metric: "joules"}, all, hour, query.ReasonMetric, `"joules"`, "power", "coverage")
	f(query.Query{Kind: query.KindFleet, Metric: "power", Form: "pie"}, all, hour, query.ReasonForm, "series, table, total")
	f(query.Query{Kind: query.KindFleet, Metric: "power", By: []query.Dimension{"tenant"}}, all, hour, query.ReasonDimension, "site, rack, node, model")
	f(query.Query{Kind: query.KindFleet, Metric: "power", By: []query.Dimension{"node", "node"}}, all, hour, query.ReasonDimension, "twice")
	f(query.Query{Kind: query.KindFleet, Metric: "power", Filters: []query.Filter{{Dimension: "colour"}}}, all, hour, query.ReasonDimension, `"colour"`)
	f(query.Query{Kind: query.KindFleet, Metric: "power", Limit: -1}, all, hour, query.ReasonLimit, "10000")
	f(query.Query{Kind: query.KindFleet, Metric: "power"}, all, query.Span{From: noon, To: noon}, query.ReasonSpan, "empty")
	f(query.Query{Kind: query.KindFleet, Metric: "power"}, all, query.Span{From: noon.AddDate(-20, 0, 0), To: noon}, query.ReasonSpan, "ten years")
	f(query.Query{Kind: query.KindFleet, Metric: "power"}, query.Scope{}, hour, query.ReasonNoScope)
	f(query.Query{Kind: query.KindFleet, Metric: "power"}, query.Scope{All: true, Tenant: "t"}, hour, query.ReasonNoScope)
	f(query.Query{Kind: query.KindPipeline, Metric: "rows"}, tenant, hour, query.ReasonOperatorOnly, "operator")
	f(query.Query{Kind: query.KindLedger, Metric: "explain"}, all, hour, query.ReasonFilter, "entry")
	f(query.Query{Kind: query.KindEnergy, Metric: "total", By: []query.Dimension{"component", "provenance"}}, all, hour, query.ReasonDimension, "one of them")
	f(query.Query{Kind: query.KindSQL, SQL: "SELECT 1"}, tenant, hour, query.ReasonSQLOff)
	if _, err := query.New(query.Query{Kind: query.KindSQL, SQL: "SELECT 1"}, all, hour, state(), query.Options{}); !errors.As(err, new(*query.Refusal)) {
		t.Errorf("sql that is off: %v", err)
	}
	if err := error(&query.Refusal{Reason: query.ReasonNoScope}); !errors.Is(err, query.ErrNoScope) {
		t.Error("a refusal for want of a scope is not ErrNoScope")
	}
	_, err := query.Choices(tenant, "colour", nil, "", 10)
	if r, _ := query.ReasonOf(err); r != query.ReasonDimension {
		t.Errorf("choices of an unknown dimension: %v", err)
	}
}

func TestSQLKind(t *testing.T) {
	f := func(sql string, want string) {
		t.Helper()
		p, err := query.New(query.Query{Kind: query.KindSQL, SQL: sql}, query.Scope{All: true}, span(time.Hour), state(), opt)
		if err != nil {
			if r, _ := query.ReasonOf(err); r != query.ReasonSQL || want != "" || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: %v, want %q", sql, err, want)
			}
			return
		}
		if got := p.Statements[0].SQL; got != want || !p.Statements[0].Own {
			t.Errorf("%q became %q, want %q", sql, got, want)
		}
	}
	f("SELECT 1;", "SELECT 1")
	f("  with x as (select 1) select * from x ;; ", "with x as (select 1) select * from x")
	f("-- note; more\nSELECT ';'", "-- note; more\nSELECT ';'")
	f("/* ; */ (SELECT 1) UNION ALL (SELECT 2)", "/* ; */ (SELECT 1) UNION ALL (SELECT 2)")
	f("SHOW TABLES", "SHOW TABLES")
	f("SELECT $__interval_s, x FROM t WHERE $__timeFilter( t.hour )",
		"SELECT {p1:Int64}, x FROM t WHERE (t.hour >= fromUnixTimestamp64Micro({p2:Int64}, 'UTC') AND t.hour < fromUnixTimestamp64Micro({p3:Int64}, 'UTC'))")
	for _, bad := range []string{
		"", "SELECT 1; DROP TABLE entries", "INSERT INTO t SELECT 1", "DROP TABLE t", "/* SELECT */ ALTER TABLE t DELETE WHERE 1", "SET x = 1",
		"SELECT {p1:String}", "SELECT 1 WHERE $__timeFilter(hour) OR $__timeFilter(1) OR 1=1)", "SELECT $__from(1)", "SYSTEM SHUTDOWN", "selectx 1",
		"WITH x AS (SELECT 1) INSERT /**/ INTO t SELECT * FROM x", "SELECT 1 INTO OUTFILE 'x'", "SELECT 1 SETTINGS max_execution_time = 0",
	} {
		f(bad, "")
	}
}

// plans makes all plans of a question that there may be, for both kinds of scope.
func plans(q query.Query, s query.Span) (out []query.Plan, errs []error) {
	for _, scope := range []query.Scope{{All: true}, {Tenant: "tenant-of-the-scope"}} {
		p, err := query.New(q, scope, s, state(), query.Options{})
		out, errs = append(out, p), append(errs, err)
	}
	return out, errs
}

// texts are the statements of a plan without their values.
func texts(p query.Plan) (out []string) {
	for _, s := range p.Statements {
		out = append(out, s.SQL)
	}
	return out
}

var parameter = regexp.MustCompile(`\{(p\d+):(String|Int64|Array\(String\)|Array\(Int64\))\}`)

// held says that every parameter of a statement has a value of its type, and every value a parameter.
func held(s query.Statement) error {
	used := map[string]bool{}
	for _, m := range parameter.FindAllStringSubmatch(s.SQL, -1) {
		v, ok := s.Args[m[1]]
		want := map[string]reflect.Type{
			"String": reflect.TypeFor[string](), "Int64": reflect.TypeFor[int64](), "Array(String)": reflect.TypeFor[[]string](), "Array(Int64)": reflect.TypeFor[[]int64](),
		}[m[2]]
		if !ok || reflect.TypeOf(v) != want {
			return fmt.Errorf("parameter %s has the value %v", m[0], v)
		}
		used[m[1]] = true
	}
	return nil
}

// Whatever values a question filters by, the text of its statements is the same: values are parameters, and nothing else.
func TestTextHoldsNoValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom(query.Metrics).Draw(t, "metric")
		q := query.Query{Kind: m.Kind, Metric: m.Name, Form: rapid.SampledFrom(m.Forms).Draw(t, "form"), Limit: rapid.IntRange(0, 50).Draw(t, "limit"), ClosedOnly: rapid.Bool().Draw(t, "closed")}
		plain := q
		value := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"' OR 1=1 --", "{p1:String}", `\'; DROP TABLE entries`, "GPU-a", "\x00"}))
		for _, d := range m.By {
			if rapid.Bool().Draw(t, "by") && d != query.Provenance {
				q.By = append(q.By, d)
			}
			if rapid.Bool().Draw(t, "filter") && d != query.EventKind && d != query.Provenance {
				values := rapid.SliceOfNDistinct(value, 1, 3, rapid.ID).Draw(t, "values")
				q.Filters = append(q.Filters, query.Filter{Dimension: d, Values: values})
				plain.Filters = append(plain.Filters, query.Filter{Dimension: d, Values: slices.Repeat([]string{"v"}, len(values))})
			}
		}
		plain.By = q.By
		s := query.Span{
			From: noon.Add(-time.Duration(rapid.Int64Range(1, int64(400*24*time.Hour)).Draw(t, "length"))), To: noon,
			MaxPoints: rapid.IntRange(0, 3000).Draw(t, "points"), Interval: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "interval")),
		}
		got, errs := plans(q, s)
		want, _ := plans(plain, s)
		for i, p := range got {
			if m.Name == "explain" || errs[i] != nil {
				continue
			}
			if fmt.Sprint(texts(p)) != fmt.Sprint(texts(want[i])) {
				t.Fatalf("the text depends on values:\n%q\n%q", texts(p), texts(want[i]))
			}
			for _, st := range p.Statements {
				if err := held(st); err != nil {
					t.Fatal(err)
				}
				if i == 1 && !mentions(st.Args, "tenant-of-the-scope") && readsTenants(st.SQL) {
					t.Fatalf("a tenant's statement does not hold its tenant: %s", st.SQL)
				}
			}
			if n := len(p.Statements); n == 0 {
				t.Fatalf("%s %s: no statement", m.Kind, m.Name)
			}
		}
	})
}

// readsTenants says that a statement reads a table with what belongs to tenants.
func readsTenants(sql string) bool {
	return regexp.MustCompile(`FROM (subtotal|hour_sum|entry|sample|rollup|device_hour|incident|cut|allocations|tenants)\b`).MatchString(sql)
}

func mentions(args query.Args, tenant string) bool {
	for _, v := range args {
		if v == tenant {
			return true
		}
	}
	return false
}

// Planning takes any bytes for a question, and never panics.
func FuzzPlan(f *testing.F) {
	for _, m := range query.Metrics {
		b, err := json.Marshal(query.Query{Kind: m.Kind, Metric: m.Name, Form: m.Forms[0], By: m.By, Filters: []query.Filter{{Dimension: query.Site, Values: []string{"s1", "'"}}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, int64(time.Hour), int64(0), 100)
	}
	f.Add([]byte(`{"kind":"sql","sql":"SELECT $__timeFilter(x) /* "}`), int64(1), int64(-1), -1)
	f.Fuzz(func(t *testing.T, body []byte, length, interval int64, points int) {
		var q query.Query
		if json.Unmarshal(body, &q) != nil {
			return
		}
		s := query.Span{From: noon.Add(-time.Duration(length)), To: noon, Interval: time.Duration(interval), MaxPoints: points}
		for _, scope := range []query.Scope{{}, {All: true}, {Tenant: "t"}} {
			p, err := query.New(q, scope, s, state(), opt)
			if err != nil {
				if _, ok := query.ReasonOf(err); !ok || strings.Contains(err.Error(), "\n") {
					t.Errorf("%v is no refusal of one line", err)
				}
				continue
			}
			for _, st := range p.Statements {
				if err := held(st); err != nil && !st.Own {
					t.Error(err)
				}
			}
		}
	})
}

// No panel gets more points than it has pixels for, points lie in the range, and the steps between them are what the grid says.
func TestGrid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := query.Span{From: noon.Add(-time.Duration(rapid.Int64Range(int64(time.Second), int64(3000*24*time.Hour)).Draw(t, "length"))), To: noon, MaxPoints: rapid.IntRange(10, 2000).Draw(t, "points")}
		q := query.Query{Kind: rapid.SampledFrom([]query.Kind{query.KindFleet, query.KindDevice, query.KindEnergy}).Draw(t, "kind"), Metric: "power", Form: query.FormSeries}
		if q.Kind == query.KindEnergy {
			q.Metric = "gpu"
		}
		p, err := query.New(q, query.Scope{All: true}, s, state(), query.Options{Kept: query.Kept{Samples: 24 * time.Hour, S10: 48 * time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		g := p.Statements[0].Result.Series.Grid
		if n := len(g.Starts); n == 0 || n > s.MaxPoints+1 { // a slot may begin before the range
			t.Fatalf("%d points of %v over %v, %d are wanted", n, g.Step, s.To.Sub(s.From), s.MaxPoints)
		}
		for i, at := range g.Starts {
			if i > 0 && time.Duration(at-g.Starts[i-1])*time.Second != g.Step {
				t.Fatalf("%d after %d, want %v between them", at, g.Starts[i-1], g.Step)
			}
		}
		if g.Starts[0] > s.From.Unix() || g.Starts[len(g.Starts)-1] >= s.To.Unix()+1 {
			t.Fatalf("slots from %d to %d, the range is %d to %d", g.Starts[0], g.Starts[len(g.Starts)-1], s.From.Unix(), s.To.Unix())
		}
	})
}

// Days begin at midnight where the panel is, also those of 23 and 25 hours.
func TestDaysOfAZone(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	f := func(from, to time.Time, points int, want ...string) {
		t.Helper()
		p, err := query.New(query.Query{Kind: query.KindEnergy, Metric: "gpu"}, query.Scope{All: true}, query.Span{From: from, To: to, MaxPoints: points, Zone: berlin}, state(), opt)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range p.Statements[0].Result.Series.Grid.Starts {
			got = append(got, time.Unix(s, 0).UTC().Format("02T15"))
		}
		if !slices.Equal(got, want) {
			t.Errorf("from %v to %v: %v, want %v", from, to, got, want)
		}
	}
	day := func(d, h int) time.Time { return time.Date(2026, 3, d, h, 0, 0, 0, berlin) }
	f(day(28, 0), day(31, 0), 3, "27T23", "28T23", "29T22") // the 29th has 23 hours
	f(day(28, 6), day(30, 6), 3, "27T23", "28T23", "29T22")
	october := func(d int) time.Time { return time.Date(2026, 10, d, 0, 0, 0, 0, berlin) }
	f(october(24), october(27), 4, "23T22", "24T22", "25T23") // the 25th has 25
	f(day(25, 0), day(31, 0), 1, "22T23", "29T22")            // weeks begin on Monday
}

func TestFill(t *testing.T) {
	f := func(times []int64, values []float64, want string) {
		t.Helper()
		g := query.Grid{Step: 10 * time.Second, Starts: []int64{0, 10, 20, 30, 40, 50, 60, 70, 80, 90}}
		at, v := g.Fill(times, values)
		var got []string
		for i := range at {
			got = append(got, fmt.Sprintf("%d:%v", at[i].Unix(), v[i]))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%v became %v, want %v", times, strings.Join(got, " "), want)
		}
	}
	f([]int64{0, 10, 20, 50, 60}, []float64{1, 2, 3, 4, 5}, "0:1 10:2 20:3 30:NaN 40:NaN 50:4 60:5 70:NaN 80:NaN 90:NaN")
	f([]int64{0, 30, 60, 90}, []float64{1, 2, 3, 4}, "0:1 30:2 60:3 90:4") // a collector that reads every 30 s has no gaps
	f([]int64{0, 30, 90}, []float64{1, 2, 3}, "0:1 30:2 60:NaN 90:3")
}

// Only source.go names tables: no plan can read past the scope.
func TestOnlyOneFileNamesTables(t *testing.T) {
	names := regexp.MustCompile(`(?i)\b(?:from|join)\s+[a-z_]`)
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") || f.Name() == "source.go" {
			continue
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		checked++
		ast.Inspect(syntax, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if ok && lit.Kind == token.STRING && names.MatchString(lit.Value) && strings.Contains(lit.Value, "SELECT") {
				t.Errorf("%s reads FROM a name: %s; take it from a method of reader, which knows the scope", f.Name(), lit.Value)
			}
			return true
		})
	}
	if checked < 5 {
		t.Fatalf("%d files were looked at", checked)
	}
}

// The catalogue says each thing once, and every entry can be planned in each form and by all it knows.
func TestCatalogue(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range query.Metrics {
		name := string(m.Kind) + " " + m.Name
		if seen[name] || m.Help == "" || len(m.Forms) == 0 {
			t.Errorf("%s stands twice, or lacks help or forms", name)
		}
		seen[name] = true
		for _, form := range m.Forms {
			for _, by := range [][]query.Dimension{nil, m.By} {
				q := query.Query{Kind: m.Kind, Metric: m.Name, Form: form, By: slices.DeleteFunc(slices.Clone(by), func(d query.Dimension) bool { return d == query.Provenance })}
				if m.Name == "explain" {
					q.Filters = []query.Filter{{Dimension: query.EntryID, Values: []string{"x"}}}
				}
				if _, err := query.New(q, query.Scope{All: true}, span(time.Hour), state(), opt); err != nil {
					t.Errorf("%s as %s by %v: %v", name, form, q.By, err)
				}
			}
		}
	}
}

// Hours that have been open for longer than are estimated are not left out in silence.
func TestHoursOpenForLongAreNamed(t *testing.T) {
	q := query.Query{Kind: query.KindEnergy, Metric: "total"}
	for closed, want := range map[time.Duration]bool{2 * time.Hour: false, 72 * time.Hour: true} {
		st := state()
		st.Sites["s1"] = query.SiteState{Batches: 7, ClosedUpTo: noon.Add(-closed)}
		p, err := query.New(q, query.Scope{All: true}, span(96*time.Hour), st, opt)
		if err != nil || len(p.Statements) != 2 {
			t.Fatalf("%d statements, %v", len(p.Statements), err)
		}
		if got := strings.Contains(strings.Join(p.Statements[1].Result.Notices, " "), "48 hours"); got != want {
			t.Errorf("closed up to %s ago: %q", closed, p.Statements[1].Result.Notices)
		}
	}
}

// What is estimated for an hour is what was, where the hour is like the last closed one; and without its like nothing is.
func TestEstimatesOfAnHourLikeTheLast(t *testing.T) {
	last := query.LastHour{GPU: 100, CPU: 10, Rest: 20, Total: 156, DeviceTime: 1000, Figure: 7}
	for name, want := range map[string]float64{
		"energy gpu": 100, "energy total": 156, "energy overhead": 56, "usage device_time": 1000,
		"carbon location": 7, "carbon market": 7, "carbon water": 7, "carbon heat_reused": 7, "carbon embodied": 7,
	} {
		energy, time, ok := query.EstimateOf(name, last)
		if got := energy*last.GPU + time*last.DeviceTime; !ok || math.Abs(got-want) > 1e-9 {
			t.Errorf("%s of the same hour again: %v, want %v", name, got, want)
		}
		_, _, ok = query.EstimateOf(name, query.LastHour{})
		if counts := name == "energy gpu" || name == "usage device_time"; ok != counts {
			t.Errorf("%s after an hour of nothing: %v", name, ok)
		}
	}
	// GPUs that do nothing have the rest of their nodes, and its share of the facility.
	if _, time, _ := query.EstimateOf("energy total", last); math.Abs(time*1000-24) > 1e-9 {
		t.Errorf("an idle hour: %v", time*1000)
	}
}
