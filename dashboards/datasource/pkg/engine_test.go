package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/plugin"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
)

// source is a data source on the real engine, as Grafana would configure it.
func source(t *testing.T, cfg chconn.Config, change map[string]any) *plugin.Source {
	t.Helper()
	password := ""
	if cfg.PasswordFile != "" {
		raw, err := os.ReadFile(cfg.PasswordFile)
		if err != nil {
			t.Fatal(err)
		}
		password = strings.TrimSpace(string(raw))
	}
	host, port, err := net.SplitHostPort(cfg.Addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]any{"scope": "operator", "host": host, "port": number, "database": cfg.Database, "username": cfg.Username, "allowSQL": true, "dialTimeoutSeconds": 2}
	for k, v := range change {
		if k == "password" {
			password = fmt.Sprint(v)
			continue
		}
		set[k] = v
	}
	raw, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	s := plugin.New(backend.DataSourceInstanceSettings{UID: "uid", JSONData: raw, DecryptedSecureJSONData: map[string]string{"password": password}},
		"", open, plugin.NewMetrics(prometheus.NewRegistry()), log.NewNullLogger())
	t.Cleanup(s.Dispose)
	return s
}

func ask(ctx context.Context, t *testing.T, s *plugin.Source, target string) backend.DataResponse {
	t.Helper()
	got, err := s.QueryData(ctx, &backend.QueryDataRequest{Queries: []backend.DataQuery{{
		RefID: "A", JSON: []byte(target), MaxDataPoints: 100, TimeRange: backend.TimeRange{From: time.Now().Add(-time.Hour), To: time.Now()},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return got.Responses["A"]
}

func migrate(t *testing.T, cfg chconn.Config) {
	t.Helper()
	db, err := chconn.OpenDB(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := schema.Migrate(t.Context(), db, schema.Flavour{}); err != nil {
		t.Fatal(err)
	}
}

// One database serves all, as migrating one takes seconds.
func TestOnTheEngine(t *testing.T) {
	cfg := chtest.Start(t)
	checkHealth(t, cfg)
	t.Run("SQL of an operator's own", func(t *testing.T) { ownSQL(t, cfg) })
	t.Run("a closed panel ends its statement", func(t *testing.T) { closedPanel(t, cfg) })
	t.Run("an old schema is said to be one", func(t *testing.T) { oldSchema(t, cfg) }) // last: it makes the schema old
}

// A panel that is closed ends its statement in the engine.
func closedPanel(t *testing.T, cfg chconn.Config) {
	s := source(t, cfg, nil)
	watch, err := chconn.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	mark := "panel" + strconv.FormatInt(time.Now().UnixNano(), 36)
	running := func() bool {
		var n uint64
		row := watch.QueryRow(t.Context(), "SELECT count() FROM system.processes WHERE query LIKE '%"+mark+"%' AND query NOT LIKE '%system.processes%'")
		if err := row.Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	until := func(want bool) time.Duration {
		t.Helper()
		began := time.Now()
		for running() != want {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("the statement still runs: %v, want %v", !want, want)
			}
			time.Sleep(20 * time.Millisecond)
		}
		return time.Since(began)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan backend.DataResponse, 1)
	go func() {
		done <- ask(ctx, t, s, `{"kind":"sql","sql":"SELECT sum(sipHash64(number)) AS `+mark+` FROM numbers(100000000000)"}`)
	}()
	until(true)
	cancel()
	if got := <-done; got.Error == nil || got.Error.Error() != "context canceled" {
		t.Errorf("a closed panel is told %v", got.Error)
	}
	t.Logf("the statement ended %s after the panel", until(false).Round(time.Millisecond))
}

func checkHealth(t *testing.T, cfg chconn.Config) {
	t.Helper()
	check := func(change map[string]any, status backend.HealthStatus, wants ...string) {
		t.Helper()
		got, err := source(t, cfg, change).CheckHealth(t.Context(), &backend.CheckHealthRequest{})
		if err != nil || got.Status != status {
			t.Errorf("%v: %+v, %v", change, got, err)
			return
		}
		for _, want := range wants {
			if !strings.Contains(got.Message, want) || strings.Contains(got.Message, "\n") {
				t.Errorf("%v: %q, want one line with %q", change, got.Message, want)
			}
		}
	}
	check(nil, backend.HealthStatusError, "wattledger migrate")
	migrate(t, cfg)
	check(nil, backend.HealthStatusOk, "ClickHouse 2", "no site yet", "as an operator")
	check(map[string]any{"scope": "tenant", "tenant": "t", "allowSQL": false}, backend.HealthStatusOk, "answers for tenant t")
	check(map[string]any{"password": "not-the-password"}, backend.HealthStatusError, "does not take the login")
	check(map[string]any{"database": "absent"}, backend.HealthStatusError, "no such database")
	check(map[string]any{"port": 1}, backend.HealthStatusError, "cannot be reached", "check host, port and protocol")
	check(map[string]any{"tls": true}, backend.HealthStatusError, "check protocol, port and TLS")
	check(map[string]any{"protocol": "native"}, backend.HealthStatusError, "check host, port and protocol")
}

// A schema of yesterday is said to be one.
func oldSchema(t *testing.T, cfg chconn.Config) {
	conn, err := chconn.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	newest, err := schema.Newest()
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec(t.Context(), fmt.Sprintf("ALTER TABLE goose_db_version DELETE WHERE version_id = %d SETTINGS mutations_sync = 2", newest)); err != nil {
		t.Fatal(err)
	}
	got, err := source(t, cfg, nil).CheckHealth(t.Context(), &backend.CheckHealthRequest{})
	if err != nil || got.Status != backend.HealthStatusError || !strings.Contains(got.Message, fmt.Sprintf("schema %d of %d: older", newest-1, newest)) {
		t.Errorf("%+v, %v", got, err)
	}
}

// SQL of an operator's own reads, within limits, and nothing else.
func ownSQL(t *testing.T, cfg chconn.Config) {
	s := source(t, cfg, map[string]any{"sql": map[string]any{"timeoutSeconds": 1, "maxRows": 5, "memoryMiB": 64}})
	f := func(sql string, status backend.Status, text string) {
		t.Helper()
		raw, err := json.Marshal(map[string]string{"kind": "sql", "sql": sql})
		if err != nil {
			t.Fatal(err)
		}
		got := ask(t.Context(), t, s, string(raw))
		if got.Status != status || got.Error != nil && (!strings.Contains(got.Error.Error(), text) || strings.Contains(got.Error.Error(), "\n")) {
			t.Errorf("%s: %d %v, want %d and %q", sql, got.Status, got.Error, status, text)
		}
	}
	f("SELECT 1", 200, "")
	f("SELECT number FROM numbers(100)", 400, "larger than is allowed")
	f("SELECT groupArray(number) FROM numbers(100000000)", 400, "memory")
	f("SELECT nothing", 400, "nothing")
	f("DROP TABLE entries", 400, "begins with")
	f("INSERT INTO entries SELECT 1", 400, "begins with")
	f("SELECT 1; DROP TABLE entries", 400, "one statement")
	off := source(t, cfg, map[string]any{"allowSQL": false})
	if got := ask(t.Context(), t, off, `{"kind":"sql","sql":"SELECT 1"}`); got.Status != 403 {
		t.Errorf("SQL that is off: %+v", got)
	}
}
