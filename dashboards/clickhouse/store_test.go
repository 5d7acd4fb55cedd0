package clickhouse_test

import (
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	_ "time/tzdata" // zones, also where the machine has none

	"github.com/wattledger/wattledger/dashboards/query"
)

// One database serves all that only reads.
func TestStore(t *testing.T) {
	l := seed(t)
	t.Run("from samples", l.rates)
	l.rollups(1000) // the last 23 minutes are in no rollup yet
	t.Run("every metric", l.everyMetric)
	t.Run("ledger", l.ledgerFigures)
	t.Run("rates", l.rates)
	t.Run("levels", l.levelsAgree)
	t.Run("provisional", l.provisional)
	t.Run("limits", l.limits)
	t.Run("explain", l.explain)
	t.Run("sovereignty", l.sovereignty)
	t.Run("events", l.events)
	t.Run("tenants", l.tenants)
	t.Run("held", l.heldOnly)
	t.Run("moved", l.moved)
	t.Run("as of", l.asOf)
	t.Run("edges", l.edges)
	t.Run("refusals", l.refusals)
	t.Run("values", l.values)
	t.Run("health", l.health)
	t.Run("sql", l.sql)
	// What follows changes what is stored.
	t.Run("provisional from rollups of hours", l.provisionalOfHours)
	t.Run("others", l.others)
	t.Run("projections", l.projections)
}

func on(l *lake, t *testing.T) *lake {
	c := *l
	c.t = t
	return &c
}

// firstEntry is the id of an entry that a scope may see.
func (l *lake) firstEntry(scope query.Scope) string {
	l.t.Helper()
	f := l.ask(scope, query.Query{Kind: query.KindLedger, Metric: "entries"}, hours())[0]
	return column(l.t, f, "entry").Texts[0]
}

// Every metric answers in every form, by all that it knows, and has something to say of the fixture.
func (l *lake) everyMetric(t *testing.T) {
	l = on(l, t)
	entry := l.firstEntry(all)
	empty := []string{"coverage missing"}
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2)
	for i, m := range query.Metrics {
		q := query.Query{Kind: m.Kind, Metric: m.Name, Form: m.Forms[i%len(m.Forms)], By: m.By}
		if m.Kind == query.KindEnergy && slices.Contains(m.By, query.Component) {
			q.By = slices.DeleteFunc(slices.Clone(m.By), func(d query.Dimension) bool { return d == query.Component })
		}
		if m.Name == "explain" {
			q.Filters = []query.Filter{{Dimension: query.EntryID, Values: []string{entry}}}
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			frames, err := l.store.Query(t.Context(), all, q, hours())
			if err != nil {
				t.Errorf("%s %s as %s: %v", m.Kind, m.Name, q.Form, err)
				return
			}
			if !slices.Contains(empty, string(m.Kind)+" "+m.Name) && (len(frames) == 0 || rowsOf(frames[0]) == 0) {
				t.Errorf("%s %s as %s has nothing to say", m.Kind, m.Name, q.Form)
			}
			for _, f := range frames {
				for _, c := range f.Columns {
					if n := len(c.Times) + len(c.Numbers) + len(c.Texts) + len(c.Flags); n != rowsOf(f) {
						t.Errorf("%s %s: column %s has %d rows of %d", m.Kind, m.Name, c.Name, n, rowsOf(f))
					}
				}
				if f.Source == "" {
					t.Errorf("%s %s does not say what was read", m.Kind, m.Name)
				}
			}
		})
	}
	wg.Wait()
}

func rowsOf(f query.Frame) int {
	if len(f.Columns) == 0 {
		return 0
	}
	c := f.Columns[0]
	return len(c.Times) + len(c.Numbers) + len(c.Texts) + len(c.Flags)
}

func column(t testing.TB, f query.Frame, name string) query.Column {
	t.Helper()
	for _, c := range f.Columns {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("frame %s has no column %s", f.Name, name)
	return query.Column{}
}

// total is the one number of a total that is closed.
func (l *lake) total(scope query.Scope, q query.Query, span query.Span) float64 {
	l.t.Helper()
	q.Form, q.ClosedOnly = query.FormTotal, true
	f := l.ask(scope, q, span)
	return f[0].Columns[0].Numbers[0]
}

func (l *lake) one(sql string) float64 {
	l.t.Helper()
	var v float64
	if err := l.conn.QueryRow(l.t.Context(), sql).Scan(&v); err != nil {
		l.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// Figures of the ledger are the sums of its entries, with adjustments in the hour that they apply to, whichever book they are read from.
func (l *lake) ledgerFigures(t *testing.T) {
	l = on(l, t)
	f := func(q query.Query, sql string) {
		t.Helper()
		want := l.one("SELECT " + sql + " FROM entries")
		if got := l.total(all, q, hours()); got != want {
			t.Errorf("%s %s %v is %v, want %v", q.Kind, q.Metric, q.Filters, got, want)
		}
	}
	const total = "(gpu_mj + cpu_mj + node_rest_mj + it_shared_mj + facility_mj)"
	f(query.Query{Kind: query.KindEnergy, Metric: "total"}, "toFloat64(sum("+total+")) / 3600000")
	f(query.Query{Kind: query.KindEnergy, Metric: "pue"}, "toFloat64(sum("+total+")) / toFloat64(sum("+total+" - facility_mj))")
	f(query.Query{Kind: query.KindCarbon, Metric: "location"}, "toFloat64(sum(carbon_ug)) / 1000000")
	f(query.Query{Kind: query.KindCarbon, Metric: "intensity_location"}, "toFloat64(3600 * sum(carbon_ug)) / toFloat64(sum("+total+"))")
	f(query.Query{Kind: query.KindUsage, Metric: "device_time"}, "toFloat64(sum(device_time)) / 3600000000")
	f(query.Query{Kind: query.KindEnergy, Metric: "gpu", Filters: []query.Filter{{Dimension: query.Node, Values: []string{"n1"}}}}, "toFloat64(sumIf(gpu_mj, node = 'n1')) / 3600000")
	f(query.Query{Kind: query.KindEnergy, Metric: "gpu", Filters: []query.Filter{{Dimension: query.Workload, Values: []string{"w-b1", "w-c2"}}}}, "toFloat64(sumIf(gpu_mj, workload IN ('w-b1', 'w-c2'))) / 3600000")
	f(query.Query{Kind: query.KindEnergy, Metric: "total", Filters: []query.Filter{{Dimension: query.Component, Values: []string{"cpu", "facility"}}}}, "toFloat64(sum(cpu_mj + facility_mj)) / 3600000")
	// Two filters on one dimension must both hold.
	f(query.Query{Kind: query.KindEnergy, Metric: "gpu", Filters: []query.Filter{{Dimension: query.Tenant, Values: []string{"alpha", "beta"}}, {Dimension: query.Tenant, Values: []string{"beta"}}}}, "toFloat64(sumIf(gpu_mj, tenant = 'beta')) / 3600000")

	// The hour of an adjustment is the one it corrects; what it takes from one tenant another gets.
	first := query.Span{From: base, To: base.Add(time.Hour)}
	for tenant, want := range map[string]float64{"alpha": 720_000_001 + 1_000_033, "beta": 720_000_002 - 1_000_033} {
		q := query.Query{Kind: query.KindEnergy, Metric: "gpu", Filters: []query.Filter{{Dimension: query.Allocation, Values: []string{"b1", "b2"}}}}
		if got := l.total(query.Scope{Tenant: tenant}, q, first); got != want/3.6e6 {
			t.Errorf("%s's part of the first hour is %v, want %v", tenant, got, want/3.6e6)
		}
	}
	// An unfinished batch counts for nothing.
	l.exec("INSERT INTO subtotals (site, hour, account, tenant, gpu_mj, batch, root) VALUES ('s1', fromUnixTimestamp(%d), 'tenant', 'alpha', 1000000000, 99, 'none')", base.Unix())
	f(query.Query{Kind: query.KindEnergy, Metric: "gpu"}, "toFloat64(sum(gpu_mj)) / 3600000")

	// Midnight in Berlin is 23:00: the hours 20 to 22 are one day, and the hour that runs is another.
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	frames := l.ask(all, query.Query{Kind: query.KindEnergy, Metric: "gpu"}, query.Span{From: base.Add(-24 * time.Hour), To: until, MaxPoints: 4, Interval: 24 * time.Hour, Zone: berlin})
	got := points(frames[0])
	if want := l.one("SELECT toFloat64(sum(gpu_mj)) / 3600000 FROM entries"); got["27T23"] != want || !math.IsNaN(got["28T23"]) {
		t.Errorf("by day: %v, want %v on the 28th and nothing on the 29th", got, want)
	}
	if p := frames[1]; !p.Columns[1].Provisional || points(p)["28T23"] <= 0 || !math.IsNaN(points(p)["27T23"]) {
		t.Errorf("the running hour: %v", points(p))
	}
}

// points are those of a series by day and hour.
func points(f query.Frame) map[string]float64 {
	out := map[string]float64{}
	for i, t := range f.Columns[0].Times {
		out[t.Format("02T15")] = f.Columns[1].Numbers[i]
	}
	return out
}

// series are values by device and time of day.
func series(frames []query.Frame) map[string]map[string]float64 {
	out := map[string]map[string]float64{}
	for _, f := range frames {
		name := f.Columns[1].Labels["device"]
		out[name] = map[string]float64{}
		for i, t := range f.Columns[0].Times {
			out[name][t.Format("15:04:05")] = f.Columns[1].Numbers[i]
		}
	}
	return out
}

// What devices take is the growth of their counters; a gap is a gap, and what comes after it starts anew.
func (l *lake) rates(t *testing.T) {
	l = on(l, t)
	for _, width := range []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute} {
		got := series(l.ask(all, query.Query{Kind: query.KindDevice, Metric: "power"}, query.Span{From: at(21, 0), To: at(21, 40), MaxPoints: 1000, Interval: width}))
		for device, want := range map[string]map[string]float64{
			"GPU-a": {"21:05:00": 500, "21:35:00": 700}, "GPU-d": {"21:05:00": 600, "21:15:00": math.NaN(), "21:25:00": 600}, "GPU-f": {"21:00:00": 100},
		} {
			for at, w := range want {
				if v, ok := got[device][at]; !ok || math.Abs(v-w) > 1e-6 && !(math.IsNaN(w) && math.IsNaN(v)) {
					t.Errorf("%s at %s by %v is %v, want %v", device, at, width, v, w)
				}
			}
		}
		for device, all := range got {
			for at, v := range all {
				if v < 0 || v > 701 {
					t.Errorf("%s at %s by %v is %v", device, at, width, v)
				}
			}
		}
	}
}

// The same question has the same answer whichever level is read, and however much of it is in rollups.
func (l *lake) levelsAgree(t *testing.T) {
	l = on(l, t)
	widths := []time.Duration{10 * time.Second, time.Minute, time.Hour}
	for i, m := range []string{"power", "sm_active", "nvlink", "devices", "gpu_temp", "ecc_sbe", "coverage"} {
		for j, interval := range widths {
			if m != "power" && i%len(widths) != j {
				continue
			}
			source := []string{"node_10s", "node_1m", "node_1h"}[j]
			frames := l.ask(all, query.Query{Kind: query.KindFleet, Metric: m, By: []query.Dimension{query.Site}}, query.Span{From: at(22, 0), To: at(23, 0), MaxPoints: 1000, Interval: interval})
			if len(frames) != 2 || frames[0].Source != source || frames[0].Step != interval {
				t.Fatalf("fleet %s by %v: %d frames of %s by %v", m, interval, len(frames), frames[0].Source, frames[0].Step)
			}
			sums := map[string]float64{}
			for _, f := range frames {
				for _, v := range f.Columns[1].Numbers {
					sums[f.Columns[1].Labels["site"]] += v
				}
				n := float64(len(f.Columns[1].Numbers))
				if m != "ecc_sbe" {
					sums[f.Columns[1].Labels["site"]] /= n
				}
			}
			want := map[string]map[string]float64{
				"power": {"s1": 2000, "s2": 300}, "sm_active": {"s1": 0.5, "s2": 0.5}, "nvlink": {"s1": 28e6, "s2": 14e6}, "devices": {"s1": 4, "s2": 2},
				"gpu_temp": {"s1": 55, "s2": 57}, "ecc_sbe": {"s1": 12, "s2": 6}, "coverage": {"s1": 1, "s2": 1},
			}[m]
			for site, w := range want {
				if math.Abs(sums[site]-w) > w*1e-3 {
					t.Errorf("fleet %s of %s by %v is %v, want %v", m, site, interval, sums[site], w)
				}
			}
		}
	}
	// By what a tail is told from the rest: racks and models.
	for by, want := range map[query.Dimension]map[string]float64{query.Model: {"B200": 1700, "B300": 600}, query.Rack: {"r1": 1400, "r2": 900}, query.Node: {"n1": 1100, "n2": 900, "n3": 300}} {
		for _, f := range l.ask(all, query.Query{Kind: query.KindFleet, Metric: "power", By: []query.Dimension{by}}, query.Span{From: at(22, 30), To: at(23, 0), MaxPoints: 100}) {
			for i, v := range f.Columns[1].Numbers {
				if name := f.Columns[1].Labels[string(by)]; math.Abs(v-want[name]) > 1 {
					t.Errorf("power of %s %s at %v is %v, want %v", by, name, f.Columns[0].Times[i], v, want[name])
					break
				}
			}
		}
	}
}

// The largest are shown, the others summed, and both is said.
func (l *lake) limits(t *testing.T) {
	l = on(l, t)
	q := query.Query{Kind: query.KindEnergy, Metric: "gpu", By: []query.Dimension{query.Node}, Limit: 1, ClosedOnly: true}
	frames := l.ask(all, q, hours())
	if len(frames) != 2 || frames[0].Name != "n1" || frames[1].Name != query.OtherName || len(frames[0].Notices) != 1 || !strings.Contains(frames[0].Notices[0], "1 of 3") {
		t.Fatalf("the largest node: %+v", frames)
	}
	q.Form = query.FormTable
	f := l.ask(all, q, hours())[0]
	if n := column(t, f, "node").Texts; !slices.Equal(n, []string{"n1", query.OtherName}) {
		t.Errorf("rows %v", n)
	}
	v := column(t, f, "gpu").Numbers
	if want := l.one("SELECT toFloat64(sum(gpu_mj)) / 3600000 FROM entries"); math.Abs(v[0]+v[1]-want) > 1e-6 {
		t.Errorf("%v do not add up to %v", v, want)
	}
	devices := l.ask(all, query.Query{Kind: query.KindDevice, Metric: "power", Limit: 2}, hours())
	if len(devices) != 2 || devices[0].Name != "GPU-a" || devices[1].Name != "GPU-d" || len(devices[0].Notices) == 0 {
		t.Errorf("the two largest devices: %d, %v", len(devices), devices[0].Notices)
	}
}

func (l *lake) explain(t *testing.T) {
	l = on(l, t)
	l.exec("INSERT INTO cuts (site, device, epoch, t, t0, c0, t1, c1, c, low, high, open, interpolated, edition, batch, root) VALUES ('s1', 'GPU-a', 1, %d, %d, 1000, %d, 2000, 1500, 1400, 1600, false, false, 1, 1, 's1-root-0')",
		us(base), us(base)-1, us(base)+1)
	var id string
	if err := l.conn.QueryRow(t.Context(), "SELECT id FROM entries WHERE device = 'GPU-a' ORDER BY hour LIMIT 1").Scan(&id); err != nil {
		t.Fatal(err)
	}
	q := query.Query{Kind: query.KindLedger, Metric: "explain", Filters: []query.Filter{{Dimension: query.EntryID, Values: []string{id}}}}
	frames := l.ask(all, q, hours())
	names := []string{}
	for _, f := range frames {
		names = append(names, f.Name)
	}
	if !slices.Equal(names, []string{"figures", "entry", "cuts", "seal"}) {
		t.Fatalf("frames %v", names)
	}
	i := slices.Index(column(t, frames[0], "figure").Texts, "GPU energy (Wh)")
	if i < 0 || column(t, frames[0], "exact").Texts[i] != "1800000009" || column(t, frames[0], "value").Numbers[i] != 1800000009/3.6e6 {
		t.Errorf("figures %v, exact %v", column(t, frames[0], "figure").Texts, column(t, frames[0], "exact").Texts)
	}
	if c := column(t, frames[2], "counter").Numbers; len(c) != 1 || c[0] != 1500 {
		t.Errorf("cuts %v", c)
	}
	if p := column(t, frames[3], "log_position").Numbers; len(p) != 1 || p[0] != 0 {
		t.Errorf("log position %v", p)
	}
	// Counter values would tell a tenant what others took between its holdings.
	frames = l.ask(alpha, q, hours())
	if c := column(t, frames[2], "counter").Numbers; len(c) != 1 || !math.IsNaN(c[0]) {
		t.Errorf("the tenant's cuts: %v", c)
	}
	if f := l.ask(beta, q, hours()); rowsOf(f[0]) != 0 || rowsOf(f[2]) != 0 || rowsOf(f[3]) != 0 {
		t.Error("beta has alpha's entry explained")
	}
}

func (l *lake) sovereignty(t *testing.T) {
	l = on(l, t)
	l.exec(`INSERT INTO subtotals (site, hour, account, tenant, entries, device_time, batch, root) VALUES ('s1', fromUnixTimestamp(%d), 'tenant', 'stranger', 1, 3600000000, 1, 's1-root-0')`, base.Unix())
	f := l.ask(all, query.Query{Kind: query.KindSovereignty, Metric: "matrix"}, hours())[0]
	got := map[string]string{}
	for i, tenant := range column(t, f, "tenant").Texts {
		got[tenant+" "+column(t, f, "site").Texts[i]] = column(t, f, "verdict").Texts[i]
	}
	if want := map[string]string{"alpha s1": "pass", "alpha s2": "fail", "beta s1": "pass", "stranger s1": "unknown"}; !maps.Equal(got, want) {
		t.Errorf("verdicts %v, want %v", got, want)
	}
	l.exec("ALTER TABLE subtotals DELETE WHERE tenant = 'stranger' SETTINGS mutations_sync = 1")
	v := l.ask(all, query.Query{Kind: query.KindSovereignty, Metric: "violations"}, hours())[0]
	if a := column(t, v, "allocation").Texts; !slices.Equal(a, []string{"e1"}) || column(t, v, "hours").Numbers[0] != 3 {
		t.Errorf("violations %v", a)
	}
	if n := rowsOf(l.ask(beta, query.Query{Kind: query.KindSovereignty, Metric: "violations"}, hours())[0]); n != 0 {
		t.Error("beta sees alpha's violation")
	}
}

func (l *lake) events(t *testing.T) {
	l = on(l, t)
	l.exec("INSERT INTO incidents (site, node, kind, reason, device, from_us, to_us, amount, run, first_seq, last_seq, received) VALUES ('s1', 'n2', 'gap', 'silent', 'GPU-d', %d, %d, 59, '', 0, 0, now64(6))", us(at(21, 10)), us(at(21, 20)))
	count := func(scope query.Scope) map[string]int {
		f := l.ask(scope, query.Query{Kind: query.KindEvents, Metric: "all"}, hours())[0]
		out := map[string]int{}
		for _, e := range column(t, f, "event").Texts {
			out[e]++
		}
		return out
	}
	if got, want := count(all), (map[string]int{"xid": 8, "gap": 1, "closing": 6, "violation": 1, "adjustment": 2}); !maps.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if got, want := count(alpha), (map[string]int{"xid": 2, "closing": 6, "violation": 1, "adjustment": 1}); !maps.Equal(got, want) {
		t.Errorf("alpha's events %v, want %v", got, want)
	}
	if got, want := count(beta), (map[string]int{"xid": 1, "gap": 1, "closing": 3, "adjustment": 1}); !maps.Equal(got, want) {
		t.Errorf("beta's events %v, want %v", got, want)
	}
	f := l.ask(all, query.Query{Kind: query.KindEvents, Metric: "count", Form: query.FormTable, By: []query.Dimension{query.EventKind}, Filters: []query.Filter{{Dimension: query.EventKind, Values: []string{"xid", "gap"}}}}, hours())[0]
	if e := column(t, f, "event").Texts; !slices.Equal(e, []string{"xid", "gap"}) {
		t.Errorf("counted %v", e)
	}
}

// foreign are words that only the other tenant's answers may hold.
var foreign = map[string][]string{
	"alpha": {"beta", "Beta", "GPU-d", "MIG-c2", "GPU-f", "GPU-c", "a2", "b2", "c2", "d1", "rail"},
	"beta":  {"alpha", "Alpha", "GPU-e", "MIG-c1", "GPU-f", "GPU-c", "n3", "s2", "a1", "b1", "c1", "e1", "bank"},
}

// Whoever a question names, a tenant gets what is its own: every metric, by all it knows, with filters that name everything there is
// and more.
func (l *lake) tenants(t *testing.T) {
	l = on(l, t)
	evil := []string{"') OR 1=1 --", "{p1:String}", `\`, "'", "\x00\n\t", "%", "beta' UNION ALL SELECT * FROM entries --"}
	everything := map[query.Dimension][]string{
		query.Site: {"s1", "s2"}, query.Rack: {"r1", "r2"}, query.Node: {"n1", "n2", "n3"}, query.DeviceID: {"GPU-a", "GPU-b", "GPU-c", "GPU-d", "GPU-e", "GPU-f", "MIG-c1", "MIG-c2"},
		query.Model: {"B200", "B300"}, query.Tenant: {"alpha", "beta", ""}, query.Account: {"tenant", "held_idle", "unallocated", "platform"}, query.Project: {"p-alpha", "p-beta", ""},
		query.Workload: {"w-a1", "w-a2", "w-b1", "w-b2", "w-c1", "w-c2", "w-d1", "w-e1", ""}, query.Allocation: {"a1", "a2", "b1", "b2", "c1", "c2", "d1", "e1", ""},
		query.ModelID: {"m-alpha", "m-beta", ""}, query.Purpose: {"training", ""}, query.Verdict: {"pass", "fail", "unknown"},
		query.EventKind: {"xid", "gap", "closing", "violation", "adjustment", "missing", "loss"}, query.Component: {"gpu", "cpu", "node_rest", "it_shared", "facility"},
	}
	others := map[string]string{"alpha": l.firstEntry(beta), "beta": l.firstEntry(alpha)}
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2)
	check := func(scope query.Scope, m query.Metric, form query.Form) {
		q := query.Query{Kind: m.Kind, Metric: m.Name, Form: form, Limit: 10_000}
		for _, d := range m.By {
			if d == query.EntryID {
				q.Filters = append(q.Filters, query.Filter{Dimension: d, Values: []string{others[scope.Tenant]}})
				continue
			}
			if d == query.Provenance {
				continue
			}
			q.By = append(q.By, d)
			q.Filters = append(q.Filters, query.Filter{Dimension: d, Values: append(slices.Clone(everything[d]), evil...)})
		}
		frames, err := l.store.Query(t.Context(), scope, q, hours())
		if r, refused := query.ReasonOf(err); refused {
			if r != query.ReasonOperatorOnly {
				t.Errorf("%s asks for %s %s: %v", scope.Tenant, m.Kind, m.Name, err)
			}
			return
		}
		if err != nil {
			t.Errorf("%s asks for %s %s: %v", scope.Tenant, m.Kind, m.Name, err)
			return
		}
		for _, f := range frames {
			for _, c := range f.Columns {
				words := append(slices.Collect(maps.Values(c.Labels)), f.Name)
				for _, text := range append(words, c.Texts...) {
					for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' }) {
						if base := word[strings.LastIndexAny(word, "'")+1:]; slices.ContainsFunc(foreign[scope.Tenant], func(w string) bool { return base == w || base == "p-"+w || base == "w-"+w || base == "m-"+w }) && c.Name != "parent" && c.Name != "driver" {
							t.Errorf("%s asks for %s %s as %s and is told of %q in %s", scope.Tenant, m.Kind, m.Name, form, text, c.Name)
						}
					}
				}
			}
		}
	}
	for k, scope := range []query.Scope{alpha, beta} {
		for i, m := range query.Metrics {
			// Fleets and devices are all read the same way: a few of them will do, and every other metric for each tenant in turn.
			same := m.Kind == query.KindFleet || m.Kind == query.KindDevice && m.Name != "now"
			if !everyCross && (same && i%8 != 4*k || !same && len(m.Forms) > 1 && i%2 != k) {
				continue
			}
			for j, form := range m.Forms {
				if j != i%len(m.Forms) && !everyCross {
					continue
				}
				wg.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					check(scope, m, form)
				})
			}
		}
	}
	wg.Wait()
}

// Of devices a tenant sees the time in which it held them wholly: not the shared one, not the hour after it gave one away, and of a MIG
// instance only what is the instance's own.
func (l *lake) heldOnly(t *testing.T) {
	l = on(l, t)
	known := func(scope query.Scope, metric string, interval time.Duration, span query.Span) map[string]string {
		span.Interval = interval
		out := map[string]string{}
		for device, all := range series(l.ask(scope, query.Query{Kind: query.KindDevice, Metric: metric, Limit: 100}, span)) {
			var at []string
			for t, v := range all {
				if !math.IsNaN(v) {
					at = append(at, t)
				}
			}
			slices.Sort(at)
			if len(at) > 0 {
				out[device] = at[0] + "-" + at[len(at)-1]
			}
		}
		return out
	}
	f := func(scope query.Scope, metric string, interval time.Duration, want map[string]string) {
		t.Helper()
		got := known(scope, metric, interval, query.Span{From: base, To: until, MaxPoints: 2000})
		if !maps.Equal(got, want) {
			t.Errorf("%s sees %s by %v of %v, want %v", scope.Tenant, metric, interval, got, want)
		}
	}
	f(alpha, "power", 10*time.Second, map[string]string{"GPU-a": "20:00:10-21:29:50", "GPU-e": "20:00:10-23:09:50"})
	f(beta, "power", 10*time.Second, map[string]string{"GPU-a": "21:30:10-23:09:50", "GPU-d": "20:00:10-23:09:50"})
	f(alpha, "power", time.Hour, map[string]string{"GPU-a": "20:00:00-20:00:00", "GPU-e": "20:00:00-23:00:00"}) // the hour it was handed over in is no one's
	f(beta, "power_max", time.Hour, map[string]string{"GPU-a": "22:00:00-23:00:00", "GPU-d": "20:00:00-23:00:00"})
	f(alpha, "gpu_temp", time.Minute, map[string]string{"GPU-a": "20:00:00-21:29:00", "GPU-e": "20:00:00-23:09:00"})
	f(alpha, "sm_active", time.Minute, map[string]string{"GPU-a": "20:00:00-21:29:00", "GPU-e": "20:00:00-23:09:00", "MIG-c1": "20:00:00-23:09:00"})
	f(alpha, "xid", time.Minute, map[string]string{"GPU-a": "20:00:00-21:29:00", "GPU-e": "20:00:00-23:09:00"})
	// Its fleet is what it holds.
	total := l.total(alpha, query.Query{Kind: query.KindFleet, Metric: "power"}, query.Span{From: at(22, 0), To: at(23, 0)})
	if math.Abs(total-200) > 1e-6 {
		t.Errorf("alpha's fleet draws %v W, want 200", total)
	}
	// Who holds a GPU sees nothing of it while another has an instance of it, or part of it by mistake.
	l.exec("INSERT INTO allocations (id, site, device, thousandths, start_us, end_us, tenant, revision) VALUES ('x', 's2', 'GPU-e', 100, %d, %d, 'beta', 1)", us(at(22, 0)), us(at(22, 30)))
	l.exec("INSERT INTO allocations (id, site, device, thousandths, start_us, end_us, tenant, revision) VALUES ('y', 's1', 'GPU-c', 1000, %d, %d, 'beta', 1)", us(at(21, 0)), us(at(21, 30)))
	e := series(l.ask(alpha, query.Query{Kind: query.KindDevice, Metric: "sm_active"}, query.Span{From: base, To: until, MaxPoints: 2000, Interval: 5 * time.Minute}))
	if v, ok := e["GPU-e"]["22:15:00"]; !ok || !math.IsNaN(v) || math.IsNaN(e["GPU-e"]["22:35:00"]) || math.IsNaN(e["GPU-e"]["21:55:00"]) {
		t.Errorf("GPU-e while beta has a part of it: %v, %v after", v, e["GPU-e"]["22:35:00"])
	}
	if v := e["MIG-c1"]["21:15:00"]; !math.IsNaN(v) || math.IsNaN(e["MIG-c1"]["21:35:00"]) {
		t.Errorf("MIG-c1 while beta has all of its GPU: %v", v)
	}
	if c := series(l.ask(beta, query.Query{Kind: query.KindDevice, Metric: "sm_active"}, query.Span{From: base, To: until, MaxPoints: 2000, Interval: 5 * time.Minute})); len(c["GPU-c"]) != 0 {
		t.Errorf("beta sees GPU-c, an instance of which is alpha's: %v", c["GPU-c"])
	}
	l.exec("ALTER TABLE allocations DELETE WHERE id IN ('x', 'y') SETTINGS mutations_sync = 1")
}

func (l *lake) values(t *testing.T) {
	l = on(l, t)
	f := func(scope query.Scope, d query.Dimension, filters []query.Filter, match string, want ...string) {
		t.Helper()
		vs, err := l.store.Values(t.Context(), scope, d, filters, match, 100)
		var got []string
		for _, v := range vs {
			got = append(got, v.Value)
		}
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v asks for values of %s like %q: %v, %v; want %v", scope, d, match, got, err, want)
		}
	}
	at := func(d query.Dimension, v ...string) []query.Filter { return []query.Filter{{Dimension: d, Values: v}} }
	f(all, query.Site, nil, "", "s1", "s2")
	f(all, query.Node, at(query.Site, "s1"), "", "n1", "n2")
	f(all, query.Rack, nil, "", "r1", "r2")
	f(all, query.DeviceID, at(query.Rack, "r2"), "", "GPU-c", "GPU-d", "MIG-c1", "MIG-c2")
	f(all, query.DeviceID, nil, "n3", "GPU-e", "GPU-f")
	f(all, query.Tenant, nil, "ALPH", "alpha")
	f(all, query.Workload, at(query.Tenant, "beta"), "", "w-a2", "w-b2", "w-c2", "w-d1")
	f(all, query.Workload, nil, "%' OR 1 --")
	f(all, query.Account, nil, "idle", "held_idle")
	f(alpha, query.Site, nil, "", "s1", "s2")
	f(beta, query.Site, nil, "", "s1")
	f(alpha, query.Tenant, nil, "", "alpha")
	f(alpha, query.Tenant, at(query.Tenant, "beta"), "")
	f(alpha, query.Node, nil, "", "n1", "n2", "n3")
	f(beta, query.Node, at(query.Node, "n1", "n3"), "", "n1")
	f(alpha, query.DeviceID, nil, "", "GPU-a", "GPU-e", "MIG-c1")
	f(alpha, query.Project, nil, "", "p-alpha")
	f(alpha, query.Allocation, nil, "", "a1", "b1", "c1", "e1")
}

func (l *lake) health(t *testing.T) {
	l = on(l, t)
	h, err := l.store.Health(t.Context(), beta)
	if err != nil || h.Version == "" || h.Schema < 13 || len(h.Sites) != 1 || h.Sites[0].Site != "s1" || h.Sites[0].Batches != 3 ||
		!h.Sites[0].ClosedUpTo.Equal(base.Add(3*time.Hour)) || h.Sites[0].Age != 0 || !h.Sites[0].LastSample.Equal(until) {
		t.Errorf("beta's health: %+v, %v", h, err)
	}
	if h, err := l.store.Health(t.Context(), all); err != nil || len(h.Sites) != 2 {
		t.Errorf("health: %+v, %v", h, err)
	}
	if _, err := l.store.Health(t.Context(), query.Scope{}); err == nil {
		t.Error("nobody is told the health")
	}
	st, err := l.store.State(t.Context())
	rolled := base.Add(1001 * 10 * time.Second) // the first tick that no rollup holds
	if err != nil || !st.Newest.Equal(until) || st.Sites["s1"].Batches != 3 || len(st.Levels) != 3 || !st.Levels["1m"].Complete.Equal(until.Add(-15*time.Minute)) && !st.Levels["1m"].Complete.Equal(rolled) {
		t.Errorf("state %+v, %v", st, err)
	}
}

func (l *lake) sql(t *testing.T) {
	l = on(l, t)
	q := query.Query{Kind: query.KindSQL, SQL: "SELECT hour, toString(site) AS site, sum(gpu_mj) AS mj, true AS yes FROM entry WHERE $__timeFilter(hour) GROUP BY hour, site ORDER BY hour, site"}
	f := l.ask(all, q, hours())[0]
	types := []query.Type{}
	for _, c := range f.Columns {
		types = append(types, c.Type)
	}
	if !slices.Equal(types, []query.Type{query.Time, query.Text, query.Number, query.Flag}) || rowsOf(f) != 6 {
		t.Errorf("types %v, %d rows", types, rowsOf(f))
	}
	for _, bad := range []string{"INSERT INTO sites SELECT * FROM sites", "SELECT 1; SELECT 2", "SELECT sleepEachRow(3) FROM numbers(20) SETTINGS max_block_size = 1, max_execution_time = 1", "SELECT * FROM numbers(1000000)"} {
		if _, err := l.store.Query(t.Context(), all, query.Query{Kind: query.KindSQL, SQL: bad}, hours()); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want an error of one line", bad, err)
		}
	}
	if _, err := l.store.Query(t.Context(), alpha, query.Query{Kind: query.KindSQL, SQL: "SELECT 1"}, hours()); reason(err) != query.ReasonSQLOff {
		t.Errorf("a tenant's SQL: %v", err)
	}
}

func reason(err error) query.Reason {
	r, _ := query.ReasonOf(err)
	return r
}
