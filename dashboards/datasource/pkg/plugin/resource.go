package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/settings"
	"github.com/wattledger/wattledger/dashboards/query"
)

// What a variable may ask for at once.
const (
	usualValues = 200
	mostValues  = 20_000
	textLimit   = 256
)

// resource is what is answered under a path of the data source's resources.
type resource struct {
	method string
	answer func(*Source, context.Context, *backend.CallResourceRequest) (any, error)
}

var resources = map[string]resource{
	"metrics-catalogue": {http.MethodGet, (*Source).catalogue},
	"scope":             {http.MethodGet, (*Source).whoami},
	"explain":           {http.MethodGet, (*Source).explain},
	"values":            {http.MethodPost, (*Source).values},
}

// CallResource answers the editors: what can be asked, the values of a variable, how an entry came about, and who asks.
func (s *Source) CallResource(ctx context.Context, req *backend.CallResourceRequest, sender backend.CallResourceResponseSender) error {
	path := strings.Trim(req.Path, "/")
	r, known := resources[path]
	switch {
	case !known:
		return send(sender, http.StatusNotFound, problem("there is %s, %s, %s and %s here", "metrics-catalogue", "scope", "explain", "values"))
	case req.Method != r.method:
		return send(sender, http.StatusMethodNotAllowed, problem("%s takes %s", path, r.method))
	case len(req.Body) > bodyLimit || len(req.URL) > 8<<10:
		return send(sender, http.StatusRequestEntityTooLarge, problem("the request is too large"))
	}
	answer, err := r.answer(s, ctx, req)
	if err != nil {
		f := failed(ctx, err, kindValues, false)
		s.count(ctx, kindValues, s.now(), 0, f)
		return send(sender, f.httpStatus(), problem("%s", f.text))
	}
	return send(sender, http.StatusOK, answer)
}

func problem(format string, args ...any) any {
	return map[string]string{"error": fmt.Sprintf(format, args...)}
}

func send(sender backend.CallResourceResponseSender, status int, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return sender.Send(&backend.CallResourceResponse{Status: status, Headers: map[string][]string{
		"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
	}, Body: raw})
}

func (s *Source) catalogue(context.Context, *backend.CallResourceRequest) (any, error) {
	return query.Metrics, nil
}

// Whoami is what the resource scope answers.
type Whoami struct {
	Mode     settings.Scope `json:"mode"`
	Operator bool           `json:"operator"`
	Tenant   string         `json:"tenant,omitempty"`
	Subject  string         `json:"subject,omitempty"`
	SQL      bool           `json:"sql"`
	// Channels says whether there are live channels, and Prefix what stands before the path of each.
	Channels bool   `json:"channels"`
	Prefix   string `json:"prefix"`
}

func (s *Source) whoami(ctx context.Context, req *backend.CallResourceRequest) (any, error) {
	scope, person, err := s.scope(ctx, req.PluginContext, req)
	if err != nil {
		return nil, err
	}
	out := Whoami{
		Mode: s.settings.Scope, Operator: scope.All, Tenant: scope.Tenant, Subject: person.Subject,
		SQL: scope.All && s.settings.AllowSQL, Channels: s.settings.MaxStreams > 0,
	}
	if s.settings.Scope == settings.Identity {
		out.Prefix = s.channels.Seal(scope) + "/"
	}
	return out, nil
}

// valuesRequest is what a variable asks.
type valuesRequest struct {
	Dimension query.Dimension `json:"dimension"`
	Filters   []query.Filter  `json:"filters"`
	Match     string          `json:"match"`
	Limit     int             `json:"limit"`
}

func (s *Source) values(ctx context.Context, req *backend.CallResourceRequest) (any, error) {
	began := s.now()
	scope, _, err := s.scope(ctx, req.PluginContext, req)
	if err != nil {
		return nil, err
	}
	var r valuesRequest
	d := json.NewDecoder(strings.NewReader(string(req.Body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, badQuestion(fmt.Errorf("values takes dimension, filters, match and limit in JSON: %w", err))
	}
	if len(r.Match) > textLimit || r.Limit < 0 || r.Limit > mostValues {
		return nil, badQuestion(fmt.Errorf("match may have %d characters, limit may be up to %d", textLimit, mostValues))
	}
	if r.Limit == 0 {
		r.Limit = usualValues
	}
	e, _, err := s.reach(ctx)
	if err != nil {
		return nil, err
	}
	got, err := e.Values(ctx, scope, r.Dimension, r.Filters, r.Match, r.Limit)
	if err != nil {
		return nil, failed(ctx, err, kindValues, scope.All)
	}
	if got == nil {
		got = []query.Value{}
	}
	s.count(ctx, kindValues, began, len(got), nil)
	return got, nil
}

// explain answers how one entry of the ledger came about, as rows by the names of their columns.
func (s *Source) explain(ctx context.Context, req *backend.CallResourceRequest) (any, error) {
	began := s.now()
	scope, _, err := s.scope(ctx, req.PluginContext, req)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(req.URL)
	if err != nil {
		return nil, badQuestion(fmt.Errorf("explain: the address cannot be read"))
	}
	entry := u.Query().Get("entry")
	if entry == "" || len(entry) > textLimit {
		return nil, badQuestion(fmt.Errorf("explain takes entry=<id of an entry>"))
	}
	q := query.Query{Kind: query.KindLedger, Metric: "explain", Form: query.FormTable, Filters: []query.Filter{{Dimension: query.EntryID, Values: []string{entry}}}}
	// An entry is found by its id; the range only has to hold every hour there is.
	got, err := s.ask(ctx, scope, q, query.Span{From: began.Add(-10 * 365 * 24 * time.Hour), To: began.Add(24 * time.Hour)})
	if err != nil {
		return nil, failed(ctx, err, query.KindLedger, scope.All)
	}
	rows := table(got)
	s.count(ctx, query.KindLedger, began, len(rows), nil)
	return map[string]any{"entry": entry, "rows": rows}, nil
}

// table is an answer as rows by the names of their columns.
func table(got []query.Frame) []map[string]any {
	out := []map[string]any{}
	for _, f := range got {
		for i := range rowsOf(f) {
			row := map[string]any{}
			for _, c := range f.Columns {
				switch c.Type {
				case query.Time:
					if !c.Times[i].IsZero() {
						row[c.Name] = c.Times[i].UTC().Format(time.RFC3339Nano)
					}
				case query.Number:
					if n := c.Numbers[i]; n == n {
						row[c.Name] = n
					}
				case query.Flag:
					row[c.Name] = c.Flags[i]
				default:
					row[c.Name] = c.Texts[i]
				}
			}
			out = append(out, row)
		}
	}
	return out
}

func rowsOf(f query.Frame) int {
	if len(f.Columns) == 0 {
		return 0
	}
	c := f.Columns[0]
	return max(len(c.Times), len(c.Numbers), len(c.Texts), len(c.Flags))
}
