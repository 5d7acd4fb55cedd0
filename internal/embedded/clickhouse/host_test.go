package clickhouse_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
)

// host runs the engine inside the test binary. Such tests do not run in parallel: a process has one engine.
func host(t *testing.T, change func(*clickhouse.Config)) (*clickhouse.Host, *prometheus.Registry, string) {
	t.Helper()
	cfg := clickhouse.DefaultConfig()
	cfg.Data, cfg.Listen = t.TempDir(), "127.0.0.1:0"
	if os.Getenv(clickhouse.LibraryVariable) == "" {
		found, err := filepath.Glob("../../../.cache/libchdb/node_modules/@chdb/lib-linux-*/libchdb.so")
		if err != nil || len(found) != 1 {
			t.Fatalf("libchdb in .cache/libchdb: %v, %v; run make setup", found, err)
		}
		cfg.LibraryPath = found[0]
	}
	if change != nil {
		change(&cfg)
	}
	reg := prometheus.NewRegistry()
	return clickhouse.New(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)), reg), reg, cfg.Data
}

// run starts the host and answers a stop that waits for its end.
func run(t *testing.T, h *clickhouse.Host) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	select {
	case err := <-done:
		cancel()
		t.Fatalf("host ended before it was ready: %v", err)
	case <-h.Ready():
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("host: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func TestRefusalsAndExceptionsAreCounted(t *testing.T) {
	h, reg, data := host(t, nil)
	stop := run(t, h)
	cfg, err := chconn.EmbeddedConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	if want := h.Addr(); cfg.Addresses[0] != want {
		t.Errorf("endpoint file says %s, the host listens on %s", cfg.Addresses[0], want)
	}
	password := read(t, clickhouse.PasswordFile(data))
	info, err := os.Stat(clickhouse.PasswordFile(data))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("password file: mode %v, error %v; want 0600", info.Mode(), err)
	}
	get := func(sql, user, key, more string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+h.Addr()+"/?"+more, strings.NewReader(sql))
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			req.SetBasicAuth(user, key)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode
	}
	f := func(want int, sql, user, key, more string) {
		t.Helper()
		if got := get(sql, user, key, more); got != want {
			t.Errorf("%s %s as %s: status %d, want %d", sql, more, user, got, want)
		}
	}
	f(200, "SELECT 1", "default", password, "")
	f(401, "SELECT 1", "", "", "")
	f(403, "SELECT 1", "default", "wrong", "")
	f(403, "SELECT 1", "root", password, "")
	f(403, "SELECT 1", "default", "", "")
	f(403, "SELECT 1", "default", password, "user=default&password="+password) // two places
	f(200, "SELECT 1", "", "", "user=default&password="+password)
	f(404, "SELECT * FROM nowhere", "default", password, "")
	f(400, "SELECT 1; SELECT 2", "default", password, "")
	f(501, "SELECT 1", "default", password, "session_id=1")
	f(404, "SELECT 1", "default", password, "format_schema=/etc/passwd")
	f(400, "SELECT 1", "default", password, "max_threads=1&max_threads=2")
	expected := `
# HELP wattledger_embedded_clickhouse_exceptions_total Exceptions that the engine answered with, by ClickHouse error code.
# TYPE wattledger_embedded_clickhouse_exceptions_total counter
wattledger_embedded_clickhouse_exceptions_total{code="60"} 1
# HELP wattledger_embedded_clickhouse_queries_total Statements that the engine was given, by kind: read, write or insert.
# TYPE wattledger_embedded_clickhouse_queries_total counter
wattledger_embedded_clickhouse_queries_total{kind="read"} 3
# HELP wattledger_embedded_clickhouse_refused_total Requests that the host refused before the engine saw them, by reason.
# TYPE wattledger_embedded_clickhouse_refused_total counter
wattledger_embedded_clickhouse_refused_total{reason="auth"} 5
wattledger_embedded_clickhouse_refused_total{reason="multi_statement"} 1
wattledger_embedded_clickhouse_refused_total{reason="parameter"} 1
wattledger_embedded_clickhouse_refused_total{reason="session"} 1
wattledger_embedded_clickhouse_refused_total{reason="setting"} 1
`
	const prefix = "wattledger_embedded_clickhouse_"
	if err := testutil.GatherAndCompare(reg, strings.NewReader(expected), prefix+"exceptions_total", prefix+"queries_total", prefix+"refused_total"); err != nil {
		t.Error(err)
	}
	stop()
	if _, err := os.Stat(clickhouse.EndpointFile(data)); !os.IsNotExist(err) {
		t.Errorf("endpoint file after the stop: %v, want it gone", err)
	}
	if _, err := chconn.EmbeddedConfig(data); err == nil || !strings.Contains(err.Error(), "wattledger embedded clickhouse") {
		t.Errorf("EmbeddedConfig after the stop: %v, want how to start it", err)
	}
}

func TestAHostThatCannotStartSaysWhy(t *testing.T) {
	f := func(wants []string, change func(*clickhouse.Config)) {
		t.Helper()
		h, _, _ := host(t, change)
		err := h.Run(t.Context())
		if err == nil {
			t.Fatalf("it runs; want an error with %q", wants)
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q, want it to say %q", err, want)
			}
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f([]string{"is taken", "--clickhouse-listen"}, func(c *clickhouse.Config) { c.Listen = taken.Addr().String() })
	f([]string{"make setup", "/nowhere/libchdb.so"}, func(c *clickhouse.Config) { c.LibraryPath = "/nowhere/libchdb.so" })
	f([]string{"loopback"}, func(c *clickhouse.Config) { c.Listen = "0.0.0.0:0" })
	f([]string{"listen", "max_query_memory", "max_insert"}, func(c *clickhouse.Config) { c.Listen, c.MaxQueryMemory, c.MaxInsert = "x", 1, 1 })
	f([]string{"may be read by others", "chmod 600"}, func(c *clickhouse.Config) {
		path := clickhouse.PasswordFile(c.Data)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("secret"), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	t.Setenv(clickhouse.LibraryVariable, "/nowhere/else.so")
	f([]string{"make setup", "/nowhere/else.so", clickhouse.LibraryVariable}, func(c *clickhouse.Config) { c.LibraryPath = "" })
	notLibrary := filepath.Join(t.TempDir(), "libchdb.so")
	if err := os.WriteFile(notLibrary, []byte("no ELF"), 0o600); err != nil {
		t.Fatal(err)
	}
	f([]string{"load " + notLibrary}, func(c *clickhouse.Config) { c.LibraryPath = notLibrary })
}

func TestFindLibraryNamesEveryPlace(t *testing.T) {
	t.Setenv(clickhouse.LibraryVariable, "")
	t.Chdir(t.TempDir())
	path, err := clickhouse.FindLibrary("")
	if err == nil {
		t.Skipf("a libchdb is installed on this system: %s", path)
	}
	for _, want := range []string{".cache/libchdb", "/usr/lib/libchdb.so", "make setup", clickhouse.LibraryVariable} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q, want it to say %q", err, want)
		}
	}
}

func TestOneDataDirectoryHasOneEngine(t *testing.T) {
	data := t.TempDir()
	first := chtest.StartAt(t, data)
	h, _, _ := host(t, func(c *clickhouse.Config) { c.Data = data })
	err := h.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "in use by process") || !strings.Contains(err.Error(), "--data") {
		t.Errorf("second engine: %v, want that the directory is in use", err)
	}
	if err := first.Stop(); err != nil {
		t.Error(err)
	}
	// The lock went with the process, and the password stayed.
	before := read(t, clickhouse.PasswordFile(data))
	second, _, _ := host(t, func(c *clickhouse.Config) { c.Data = data })
	run(t, second)
	if after := read(t, clickhouse.PasswordFile(data)); after != before {
		t.Error("the password changed with the restart")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}
