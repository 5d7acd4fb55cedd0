package e2e

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/wattledger/wattledger/dashboards/datasource/host"
	catalogue "github.com/wattledger/wattledger/dashboards/query"
)

// stage is a played day behind the plugin: all that a Grafana would have, but the Grafana.
type stage struct {
	data     string
	plugin   *host.Plugin
	from, to time.Time
	// known are rows of the tables that were asked for already, by what they are for.
	known map[string][]fact
	told  map[string][]map[string]any
	// proved are the metrics of which a change in an answer was found.
	proved map[string]bool
}

var pluginOnce = sync.OnceValues(func() (string, error) { return host.Build(context.Background(), scratch) })

// onStage starts the engine on a data folder, and the plugin as Grafana does. Both end with the test.
func onStage(t *testing.T, data string, d day) *stage {
	t.Helper()
	embeddedClickHouse(t, data)
	binary, err := pluginOnce()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "plugin.log"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := host.Start(binary, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop()
		if body, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("the plugin's log ends in\n%s", tail(string(body), 3000))
		}
	})
	return &stage{data: data, plugin: p, from: d.start, to: d.start.Add(time.Duration(d.hours) * time.Hour)}
}

// source is a data source with this scope, as an administrator provisions it. Nobody asks.
func (s *stage) source(t *testing.T, name string, scope map[string]any) host.Source {
	t.Helper()
	endpoint, err := os.ReadFile(filepath.Join(s.data, "clickhouse", "endpoint"))
	if err != nil {
		t.Fatal(err)
	}
	password, err := os.ReadFile(filepath.Join(s.data, "clickhouse", "password"))
	if err != nil {
		t.Fatal(err)
	}
	address, port, err := net.SplitHostPort(strings.TrimSpace(string(endpoint)))
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]any{"host": address, "port": number, "protocol": "http", "database": "wattledger", "username": "default"}
	for key, value := range scope {
		settings[key] = value
	}
	source, err := s.plugin.Source(host.Settings{
		UID: "wl-" + name, Name: name, JSON: settings, Secure: map[string]string{"password": strings.TrimSpace(string(password))},
	})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func (s *stage) operator(t *testing.T) host.Source {
	return s.source(t, "operator", map[string]any{"scope": "operator"})
}

func (s *stage) tenant(t *testing.T, id string) host.Source {
	return s.source(t, "tenant-"+id, map[string]any{"scope": "tenant", "tenant": id})
}

// ask puts questions to a source at once, each as a panel of 700 pixels would, over the whole day.
func (s *stage) ask(t *testing.T, from host.Source, questions ...catalogue.Query) []backend.DataResponse {
	t.Helper()
	return s.askWide(t, from, func(int) int64 { return 700 }, questions...)
}

// askWide asks each question as a panel of so many pixels would.
func (s *stage) askWide(t *testing.T, from host.Source, pixels func(int) int64, questions ...catalogue.Query) []backend.DataResponse {
	t.Helper()
	queries := make([]backend.DataQuery, len(questions))
	for i, q := range questions {
		body, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		queries[i] = backend.DataQuery{RefID: strconv.Itoa(i), JSON: body, MaxDataPoints: pixels(i), TimeRange: backend.TimeRange{From: s.from, To: s.to}}
	}
	answers, err := from.Query(t.Context(), queries...)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]backend.DataResponse, len(questions))
	for i := range questions {
		out[i] = answers[strconv.Itoa(i)]
	}
	return out
}

// values are what a variable offers.
func values(t *testing.T, from host.Source, d catalogue.Dimension, filters []catalogue.Filter) []catalogue.Value {
	t.Helper()
	body, err := json.Marshal(map[string]any{"dimension": d, "filters": filters, "match": "", "limit": 1000})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := from.Resource(t.Context(), http.MethodPost, "values", "values", body)
	if err != nil {
		t.Fatal(err)
	}
	var found []catalogue.Value
	if answer.Status != http.StatusOK {
		t.Fatalf("values of %s: %d %s", d, answer.Status, answer.Body)
	}
	if err := json.Unmarshal(answer.Body, &found); err != nil {
		t.Fatalf("values of %s: %v in %s", d, err, answer.Body)
	}
	return found
}
