package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/settings"
	"github.com/wattledger/wattledger/dashboards/query"
)

// answering is an engine that answers everything with the scope it was asked for.
type answering struct {
	mu     sync.Mutex
	scopes []query.Scope
	asked  []query.Query
	spans  []query.Span
	fail   error
	health query.Health
	closed bool
	wait   chan struct{}
}

func (a *answering) note(scope query.Scope, q query.Query, span query.Span) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.scopes, a.asked, a.spans = append(a.scopes, scope), append(a.asked, q), append(a.spans, span)
	return a.fail
}

func (a *answering) Query(ctx context.Context, scope query.Scope, q query.Query, span query.Span) ([]query.Frame, error) {
	if a.wait != nil {
		select {
		case <-a.wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := a.note(scope, q, span); err != nil {
		return nil, err
	}
	if q.Metric == "resets" {
		panic("a bug")
	}
	if _, err := q.Validate(); err != nil {
		return nil, err
	}
	who := scope.Tenant
	if scope.All {
		who = "everybody"
	}
	return []query.Frame{{Name: who, Columns: []query.Column{
		{Name: "time", Type: query.Time, Times: []time.Time{span.From, span.To}},
		{Name: q.Metric, Type: query.Number, Labels: map[string]string{"tenant": who}, Numbers: []float64{1, query.Absent}},
	}}}, nil
}

func (a *answering) Values(_ context.Context, scope query.Scope, d query.Dimension, f []query.Filter, _ string, _ int) ([]query.Value, error) {
	if err := a.note(scope, query.Query{By: []query.Dimension{d}, Filters: f}, query.Span{}); err != nil {
		return nil, err
	}
	return []query.Value{{Text: scope.Tenant, Value: scope.Tenant}}, nil
}

func (a *answering) Health(_ context.Context, scope query.Scope) (query.Health, error) {
	return a.health, a.note(scope, query.Query{}, query.Span{})
}
func (a *answering) State(context.Context) (query.State, error) { return query.State{}, nil }
func (a *answering) Close() error                               { a.closed = true; return nil }

// bench is a data source on such an engine.
type bench struct {
	*Source
	engine  *answering
	metrics *Metrics
	logs    *bytes.Buffer
	ctx     backend.PluginContext
}

func newBench(t *testing.T, jsonData string) *bench {
	t.Helper()
	b := &bench{engine: &answering{}, metrics: NewMetrics(prometheus.NewRegistry()), logs: &bytes.Buffer{}}
	s := backend.DataSourceInstanceSettings{UID: "uid", JSONData: []byte(jsonData), DecryptedSecureJSONData: map[string]string{"password": secret}}
	open := func(context.Context, settings.Settings) (Engine, io.Closer, error) { return b.engine, b.engine, nil }
	b.Source = New(s, "https://grafana.example.org/", open, b.metrics, &logTo{to: b.logs})
	b.ctx = backend.PluginContext{OrgID: 1, Namespace: "default", DataSourceInstanceSettings: &s} //nolint:staticcheck // Grafana sends it
	t.Cleanup(b.Dispose)
	return b
}

const secret = "correct-horse"

// logTo is a logger of the SDK's that writes into a buffer.
type logTo struct {
	mu sync.Mutex // guards to
	to io.Writer
}

func (l *logTo) write(level, msg string, args []any) {
	raw, _ := json.Marshal(args) // a test's
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = io.WriteString(l.to, level+" "+msg+" "+string(raw)+"\n")
}
func (l *logTo) Debug(msg string, args ...any)          { l.write("debug", msg, args) }
func (l *logTo) Info(msg string, args ...any)           { l.write("info", msg, args) }
func (l *logTo) Warn(msg string, args ...any)           { l.write("warn", msg, args) }
func (l *logTo) Error(msg string, args ...any)          { l.write("error", msg, args) }
func (l *logTo) With(...any) log.Logger                 { return l }
func (l *logTo) Level() log.Level                       { return log.Debug }
func (l *logTo) FromContext(context.Context) log.Logger { return l }

func (b *bench) query(t *testing.T, headers map[string]string, targets ...string) backend.Responses {
	t.Helper()
	req := &backend.QueryDataRequest{PluginContext: b.ctx, Headers: map[string]string{}}
	for k, v := range headers {
		req.SetHTTPHeader(k, v)
	}
	for i, raw := range targets {
		req.Queries = append(req.Queries, backend.DataQuery{
			RefID: string(rune('A' + i)), JSON: []byte(raw), MaxDataPoints: 500, Interval: time.Minute,
			TimeRange: backend.TimeRange{From: time.Unix(1_780_000_000, 0), To: time.Unix(1_780_003_600, 0)},
		})
	}
	got, err := b.QueryData(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return got.Responses
}

const (
	operatorSource = `{"scope":"operator"}`
	tenantSource   = `{"scope":"tenant","tenant":"t-bank"}`
	identitySource = `{"scope":"identity","identity":{"source":"grafana","grafanaURL":"http://127.0.0.1:1","map":[{"by":"subject","value":"user:a","tenant":"t-bank"}]}}`
	power          = `{"refId":"A","kind":"fleet","metric":"power","datasource":{"uid":"uid"},"intervalMs":1000}`
)

func TestEachQuestionHasItsOwnAnswer(t *testing.T) {
	b := newBench(t, operatorSource)
	got := b.query(t, nil,
		power,
		`{"kind":"fleet","metric":"wishes"}`,
		`{"kind":"fleet","metric":"power","filter":[]}`,
		`{"kind":"sql","sql":"SELECT 1"}`,
		`{"kind":"coverage","metric":"resets"}`,
		`{"kind":"fleet","metric":"power","timezone":"Mars/Olympus"}`,
		`{"kind":"fleet","metric":"power","newOfGrafana":1,"timezone":"Europe/Paris"}`,
	)
	f := func(ref string, status backend.Status, text string) {
		t.Helper()
		r := got[ref]
		if r.Status != status || (r.Error == nil) != (text == "") || r.Error != nil && !strings.Contains(r.Error.Error(), text) {
			t.Errorf("%s: status %d, %v, want %d and %q", ref, r.Status, r.Error, status, text)
		}
	}
	f("A", 200, "")
	f("B", 400, "no metric")
	f("C", 400, `did you mean "filters"`)
	f("D", 403, "SQL is off")
	f("E", 500, "fault")
	f("F", 400, "timezone")
	f("G", 200, "")
	if n := got["G"].Frames[0].Meta.Notices; len(n) != 1 || !strings.Contains(n[0].Text, "newOfGrafana") {
		t.Errorf("notices %v", n)
	}
	for _, span := range b.engine.spans { // of a series, the interval is that of its points
		if span.MaxPoints != 500 || span.Interval != time.Minute && span.Interval != time.Hour || span.To.Sub(span.From) != time.Hour {
			t.Errorf("asked for %+v", span)
		}
	}
	if !slices.ContainsFunc(b.engine.spans, func(s query.Span) bool { return s.Zone.String() == "Europe/Paris" }) {
		t.Error("the time zone does not arrive")
	}
	count := func(kind, outcome string, want float64) {
		t.Helper()
		if n := testutil.ToFloat64(b.metrics.queries.WithLabelValues(kind, outcome)); n != want {
			t.Errorf("%s %s: %v, want %v", kind, outcome, n, want)
		}
	}
	count("fleet", "ok", 2)
	count("fleet", "bad_question", 1)
	count("unknown", "bad_question", 2)
	count("sql", "refused", 1)
	count("coverage", "fault", 1)
	if n := testutil.ToFloat64(b.metrics.refused.WithLabelValues("sql_off")); n != 1 {
		t.Errorf("refused for sql_off: %v", n)
	}
	if n := testutil.ToFloat64(b.metrics.rows.WithLabelValues("fleet")); n != 4 {
		t.Errorf("rows: %v", n)
	}
}

func TestErrorsOfTheEngineHaveTheirStatus(t *testing.T) {
	f := func(err error, status backend.Status, outcome string) {
		t.Helper()
		b := newBench(t, operatorSource)
		b.engine.fail = err
		if got := b.query(t, nil, power)["A"]; got.Status != status || strings.Contains(got.Error.Error(), "\n") {
			t.Errorf("%v: status %d, %v, want %d", err, got.Status, got.Error, status)
		}
		if n := testutil.ToFloat64(b.metrics.queries.WithLabelValues("fleet", outcome)); n != 1 {
			t.Errorf("%v: not counted as %s", err, outcome)
		}
	}
	f(context.DeadlineExceeded, 504, "timeout")
	f(io.ErrUnexpectedEOF, 502, "engine")
	exception := func(code int32) error {
		return fmt.Errorf("ask: %w", &clickhouse.Exception{Code: code, Message: "said by the engine"})
	}
	f(exception(159), 504, "timeout")
	f(exception(241), 400, "bad_question")
	f(exception(396), 400, "bad_question")
	f(exception(201), 429, "engine")
	f(exception(497), 502, "engine")
	f(exception(62), 502, "engine")
	f(errors.New("of\nmany lines"), 502, "engine")
	f(&query.Refusal{Reason: query.ReasonOperatorOnly, Text: "no"}, 403, "refused")
	f(&query.Refusal{Reason: query.ReasonSpan, Text: "no"}, 400, "bad_question")
}

// A tenant's users read no words of the engine's, as those show statements; an operator does.
func TestWhoReadsTheEnginesWords(t *testing.T) {
	for source, reads := range map[string]bool{operatorSource: true, tenantSource: false} {
		b := newBench(t, source)
		b.engine.fail = &clickhouse.Exception{Code: 47, Message: "unknown identifier in SELECT secret FROM entries"}
		if got := b.query(t, nil, power)["A"]; strings.Contains(got.Error.Error(), "SELECT secret") != reads {
			t.Errorf("%s: %v", source, got.Error)
		}
		if !strings.Contains(b.logs.String(), "SELECT secret") {
			t.Errorf("%s: the log does not say it: %s", source, b.logs)
		}
	}
}

// Whatever is sent, a tenant's data source asks for its tenant, and one that goes by identity for nobody whose identity is not verified.
func TestNothingSentChangesTheScope(t *testing.T) {
	// What somebody might try: in the question …
	targets := []string{
		`{"kind":%q,"metric":%q,"tenant":"t-rail","scope":{"all":true,"tenant":"t-rail"},"operator":true,"Scope":"operator"}`,
		`{"kind":%q,"metric":%q,"filters":[{"dimension":"tenant","values":["t-rail"]}]}`,
		`{"kind":%q,"metric":%q,"jsonData":{"scope":"operator"}}`,
	}
	// … and beside it.
	headers := map[string]string{
		"X-Grafana-User": "admin", "X-Grafana-Org-Id": "1", "X-WEBAUTH-USER": "admin", "X-Wattledger-Tenant": "t-rail", "Authorization": "Bearer x",
		"X-Grafana-Id": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1c2VyOmEifQ.", "X-Id-Token": "eyJhbGciOiJub25lIn0.eyJ0ZW5hbnQiOiJ0LXJhaWwifQ.",
		"X-Scope-OrgID": "t-rail", "Cookie": "tenant=t-rail",
	}
	users := []*backend.User{nil, {Login: "admin", Email: "admin@operator.example", Role: "Admin"}}
	metrics := append(slices.Clone(query.Metrics), query.Metric{Kind: query.KindSQL, Name: "x"})
	for _, user := range users {
		for _, m := range metrics {
			tenant, person := newBench(t, tenantSource), newBench(t, identitySource)
			tenant.ctx.User, person.ctx.User = user, user
			for _, target := range targets {
				raw := strings.Replace(strings.Replace(target, "%q", `"`+string(m.Kind)+`"`, 1), "%q", `"`+m.Name+`"`, 1)
				tenant.query(t, headers, raw)
				if got := person.query(t, headers, raw)["A"]; got.Error == nil || got.Status != 403 || len(got.Frames) != 0 {
					t.Fatalf("%s: nobody is answered: %+v", raw, got)
				}
			}
			for _, scope := range tenant.engine.scopes {
				if scope != (query.Scope{Tenant: "t-bank"}) {
					t.Fatalf("%s %s is asked for %+v", m.Kind, m.Name, scope)
				}
			}
			if m.Kind == query.KindSQL && len(tenant.engine.asked) > 0 {
				t.Fatal("a tenant's SQL reaches the engine")
			}
			if len(person.engine.asked) != 0 {
				t.Fatalf("%s %s reaches the engine for nobody", m.Kind, m.Name)
			}
		}
	}
}

type resourceSender struct{ got *backend.CallResourceResponse }

func (r *resourceSender) Send(got *backend.CallResourceResponse) error { r.got = got; return nil }

func (b *bench) call(t *testing.T, method, path, body string, headers map[string]string) (int, string) {
	t.Helper()
	req := &backend.CallResourceRequest{PluginContext: b.ctx, Method: method, Path: strings.SplitN(path, "?", 2)[0], URL: path, Body: []byte(body), Headers: map[string][]string{}}
	for k, v := range headers {
		req.SetHTTPHeader(k, v)
	}
	var s resourceSender
	if err := b.CallResource(t.Context(), req, &s); err != nil {
		t.Fatal(err)
	}
	return s.got.Status, string(s.got.Body)
}

func TestResources(t *testing.T) {
	b := newBench(t, tenantSource)
	f := func(method, path, body string, status int, want string) {
		t.Helper()
		headers := map[string]string{"X-Grafana-Id": "a.b.c", "X-Wattledger-Tenant": "t-rail"}
		if code, text := b.call(t, method, path, body, headers); code != status || !strings.Contains(text, want) {
			t.Errorf("%s %s: %d %s, want %d and %s", method, path, code, text, status, want)
		}
	}
	f("GET", "metrics-catalogue", "", 200, `"name":"power"`)
	f("GET", "scope", "", 200, `"mode":"tenant","operator":false,"tenant":"t-bank"`)
	f("GET", "scope?tenant=t-rail", "", 200, `"tenant":"t-bank"`)
	f("POST", "values", `{"dimension":"site","match":"a","limit":5}`, 200, `[{"text":"t-bank","value":"t-bank"}]`)
	f("POST", "values", `{"dimension":"tenant","filters":[{"dimension":"tenant","values":["t-rail"]}]}`, 200, `t-bank`)
	f("POST", "values", `{"dimension":"site","tenant":"t-rail"}`, 400, "unknown field")
	f("POST", "values", `{"dimension":"site","limit":1000000}`, 400, "limit")
	f("POST", "values", "{", 400, "values takes")
	f("POST", "values", strings.Repeat("a", bodyLimit+1), 413, "too large")
	f("GET", "values", "", 405, "takes POST")
	f("DELETE", "scope", "", 405, "takes GET")
	f("GET", "explain?entry=e1", "", 200, `"entry":"e1"`)
	f("GET", "explain", "", 400, "entry=")
	f("GET", "../secrets", "", 404, "there is")
	for _, scope := range b.engine.scopes {
		if scope != (query.Scope{Tenant: "t-bank"}) {
			t.Errorf("a resource is asked for %+v", scope)
		}
	}
	person := newBench(t, identitySource)
	for path := range resources {
		if path == "metrics-catalogue" {
			continue
		}
		if code, text := person.call(t, resources[path].method, path+"?entry=e1", `{"dimension":"tenant"}`, nil); code != 403 {
			t.Errorf("%s: nobody is answered: %d %s", path, code, text)
		}
	}
	if len(person.engine.scopes) != 0 {
		t.Errorf("resources reach the engine for nobody: %+v", person.engine.scopes)
	}
	if n := testutil.ToFloat64(person.metrics.refused.WithLabelValues("no_identity")); n != 3 {
		t.Errorf("refused: %v", n)
	}
}

func TestFaultySettingsAreSaidToWhoeverAsks(t *testing.T) {
	b := newBench(t, `{"scope":"nobody","port":-1}`)
	if got := b.query(t, nil, power)["A"]; got.Error == nil || got.Status != 400 || !strings.Contains(got.Error.Error(), "port -1") {
		t.Errorf("%+v", got)
	}
	h, err := b.CheckHealth(t.Context(), &backend.CheckHealthRequest{PluginContext: b.ctx})
	if err != nil || h.Status != backend.HealthStatusError || !strings.Contains(h.Message, `scope "nobody"`) {
		t.Errorf("%+v, %v", h, err)
	}
	if code, text := b.call(t, "GET", "scope", "", nil); code != 400 || !strings.Contains(text, "port -1") {
		t.Errorf("%d %s", code, text)
	}
	if strings.Contains(b.logs.String(), secret) || !strings.Contains(b.logs.String(), "port -1") {
		t.Errorf("log: %s", b.logs)
	}
}

func TestHealth(t *testing.T) {
	f := func(source string, h query.Health, fail error, status backend.HealthStatus, wants ...string) {
		t.Helper()
		b := newBench(t, source)
		b.engine.health, b.engine.fail = h, fail
		got, err := b.CheckHealth(t.Context(), &backend.CheckHealthRequest{PluginContext: b.ctx})
		if err != nil || got.Status != status {
			t.Errorf("%s: %+v, %v", source, got, err)
			return
		}
		for _, want := range wants {
			if !strings.Contains(got.Message, want) {
				t.Errorf("%s: %q, want %q", source, got.Message, want)
			}
		}
	}
	newest := 14
	well := query.Health{Version: "26.5", Schema: int64(newest), Sites: []query.SiteHealth{
		{Site: "par", Batches: 3, ClosedUpTo: time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC), LastSample: time.Now(), Age: 4 * time.Second},
		{Site: "fra", Age: -1},
	}}
	f(operatorSource, well, nil, backend.HealthStatusOk, "ClickHouse 26.5, schema 14", "as an operator", "2 sites", "par closed up to 2026-03-01 04:00 UTC, last sample 4s ago", "fra no hour closed yet, no sample")
	f(tenantSource, well, nil, backend.HealthStatusOk, "answers for tenant t-bank")
	f(identitySource, well, nil, backend.HealthStatusOk, "and not you: nobody's verified identity")
	old := well
	old.Schema = 5
	f(operatorSource, old, nil, backend.HealthStatusError, "wattledger migrate")
	young := well
	young.Schema = 99
	f(operatorSource, young, nil, backend.HealthStatusOk, "update the plugin")
	f(operatorSource, well, io.EOF, backend.HealthStatusError, "cannot be reached")
	b := newBench(t, identitySource)
	b.engine.health = well
	got, err := b.CheckHealth(t.Context(), &backend.CheckHealthRequest{PluginContext: b.ctx})
	if err != nil || strings.Contains(got.Message+string(got.JSONDetails), "par") {
		t.Errorf("whoever is nobody learns of sites: %+v, %v", got, err)
	}
}

func TestDisposeClosesConnections(t *testing.T) {
	b := newBench(t, operatorSource)
	b.query(t, nil, power)
	b.Dispose()
	if !b.engine.closed {
		t.Error("connections stay open")
	}
	if got := b.query(t, nil, power)["A"]; got.Error == nil || !strings.Contains(got.Error.Error(), "ask again") {
		t.Errorf("a disposed source answers: %+v", got)
	}
}

// More questions than connections wait in line, and none fails for it.
func TestQuestionsWaitInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `{"scope":"operator","maxConnections":4,"maxParallel":64,"cacheOff":true}`)
		b.engine.wait = make(chan struct{})
		targets := make([]string, 20)
		for i := range targets {
			targets[i] = power
		}
		done := make(chan backend.Responses)
		go func() { done <- b.query(t, nil, targets...) }()
		synctest.Wait()
		g, ok := b.Source.engine.(*gate)
		if !ok || len(g.slots) != 2 {
			t.Errorf("%T lets %d through at a time, want 2", b.Source.engine, len(g.slots))
		}
		close(b.engine.wait)
		for ref, r := range <-done {
			if r.Error != nil {
				t.Errorf("%s: %v", ref, r.Error)
			}
		}
	})
}

// A panel that fails with each refresh fills no log.
func TestALineIsNotWrittenAgainAtOnce(t *testing.T) {
	b := newBench(t, identitySource)
	for range 50 {
		b.query(t, nil, power)
	}
	if n := strings.Count(b.logs.String(), "question refused"); n != 1 {
		t.Errorf("%d lines", n)
	}
	if n := testutil.ToFloat64(b.metrics.refused.WithLabelValues("no_identity")); n != 50 {
		t.Errorf("counted %v times", n)
	}
}

func TestAPanelThatIsClosedCancels(t *testing.T) {
	b := newBench(t, operatorSource)
	b.engine.wait = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan backend.DataResponse)
	go func() {
		got, _ := b.QueryData(ctx, &backend.QueryDataRequest{PluginContext: b.ctx, Queries: []backend.DataQuery{{RefID: "A", JSON: []byte(power)}}})
		done <- got.Responses["A"]
	}()
	cancel()
	if got := <-done; !errors.Is(got.Error, context.Canceled) && got.Error.Error() != "context canceled" {
		t.Errorf("%+v", got)
	}
	if n := testutil.ToFloat64(b.metrics.queries.WithLabelValues("fleet", "cancelled")); n != 1 {
		t.Errorf("not counted as cancelled")
	}
}

func FuzzTarget(f *testing.F) {
	f.Add([]byte(power), int64(0), int64(3_600_000_000_000), int64(100))
	f.Add([]byte(`{"kind":"events","metric":"all","filters":[{"dimension":"event","values":["xid"]}],"timezone":"Europe/Berlin"}`), int64(5), int64(-5), int64(-1))
	f.Fuzz(func(t *testing.T, raw []byte, from, to, points int64) {
		q, span, _, err := decode(backend.DataQuery{JSON: raw, TimeRange: backend.TimeRange{From: time.Unix(0, from), To: time.Unix(0, to)}, MaxDataPoints: points})
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %q", err)
			}
			return
		}
		if span.Zone == nil || span.MaxPoints < 0 {
			t.Errorf("span %+v", span)
		}
		_, _ = query.New(q, query.Scope{Tenant: "t"}, span, query.State{}, query.Options{}) // must not panic
	})
}
