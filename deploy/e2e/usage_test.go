package e2e

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// failure checks how a command said that it failed: in one line of standard error, and with --json in one object as the last
// line of standard output, each naming what the reader needs.
func failure(t *testing.T, r *running, names ...string) {
	t.Helper()
	said := strings.Split(strings.TrimSpace(r.err.String()), "\n")
	last := said[len(said)-1]
	if !strings.HasPrefix(last, "wattledger") {
		t.Errorf("the last line of standard error is %q", last)
	}
	var object map[string]any
	if err := json.Unmarshal(r.lastLine(), &object); err != nil {
		t.Errorf("the last line of standard output is %q: %v", r.lastLine(), err)
	}
	text, _ := object["error"].(string)
	if text == "" {
		t.Errorf("%s has no error", r.lastLine())
	}
	for _, name := range names {
		if !strings.Contains(text, name) {
			t.Errorf("%q does not name %s", text, name)
		}
		if !strings.Contains(r.err.String(), name) {
			t.Errorf("standard error does not name %s", name)
		}
	}
	if strings.Contains(r.err.String(), "goroutine ") {
		t.Error("it panicked")
	}
}

// refuses runs a command that has to fail.
func refuses(t *testing.T, o options, code int, args []string, names ...string) {
	t.Helper()
	r := wattledger(t, o, append(args, "--json")...)
	if got := r.wait(); got != code {
		t.Errorf("%s: ended with %d, want %d", r.line, got, code)
	}
	failure(t, r, names...)
}

func TestWrongUsage(t *testing.T) {
	f := func(args []string, names ...string) { t.Helper(); refuses(t, options{}, 2, args, names...) }
	f([]string{"demo", "--nope"}, "--nope", "--help")
	f([]string{"nonsense"}, "nonsense", "--help")
	f([]string{"demo", "--hours", "0"}, "--hours", "744")
	f([]string{"demo", "--period", "7s"}, "--period")
	f([]string{"demo", "--start", "yesterday"}, "--start")
	f([]string{"demo", "--start", "2026-03-01T00:30:00Z"}, "--start", "full hour")
	f([]string{"demo", "--log-level", "loud"}, "--log-level", "debug")
	f([]string{"status", "--set", "kafka.brokerz=x"}, "kafka.brokerz", "kafka.brokers")
}

func TestWrongConfiguration(t *testing.T) {
	dir := t.TempDir()
	f := func(text string, names ...string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "wattledger.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"status", "ingest", "aggregate", "demo"} {
			refuses(t, options{dir: dir}, 2, []string{command, "--config", "wattledger.yaml"}, names...)
		}
	}
	f("kafka:\n  brokerz: [a:1]\n", "wattledger.yaml:2:3", "kafka.brokerz", "kafka.brokers")
	f("# nothing\nkafak:\n  brokers: [a:1]\n", "wattledger.yaml:2:1", "kafak", "kafka")
	f("kafka: {brokers: [a:1\n", "wattledger.yaml:")
	refuses(t, options{}, 2, []string{"status", "--config", "absent.yaml"}, "absent.yaml")
	refuses(t, options{env: []string{"WATTLEDGER_KAFKA_BROKERZ=a:1"}}, 2, []string{"status"}, "WATTLEDGER_KAFKA_BROKERZ", "WATTLEDGER_KAFKA_BROKERS")
}

func TestMissingLibraries(t *testing.T) {
	t.Parallel() // it mostly waits
	b := binaries(t)
	demo := func(more ...string) []string {
		return append([]string{
			"demo", "--once", "--hours", "1", "--data", "data", "--out", "out", "--clickhouse-listen", "127.0.0.1:0", "--kafka-listen", "127.0.0.1:0",
		}, more...)
	}
	refuses(t, options{}, 1, demo("--library", "nowhere/libdcgm.so.4"), "libdcgm", "nowhere/libdcgm.so.4", "make sim", "--library")
	refuses(t, options{env: []string{"WATTLEDGER_LIBCHDB=/nonexistent"}}, 1, demo("--library", b.library),
		"libchdb", "WATTLEDGER_LIBCHDB", "/nonexistent", "make setup")
	refuses(t, options{env: []string{"WATTLEDGER_LIBCHDB=/nonexistent"}}, 1,
		[]string{"embedded", "clickhouse", "--data", "data", "--clickhouse-listen", "127.0.0.1:0"}, "libchdb", "/nonexistent", "make setup")
}

func TestNothingRunsThere(t *testing.T) {
	t.Parallel() // it mostly waits
	refuses(t, options{}, 1, []string{"status", "--embedded", "--data", "nothing"}, "nothing", "wattledger embedded clickhouse")
}

func TestTakenPorts(t *testing.T) {
	t.Parallel() // it mostly waits
	b := binaries(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	const free = "127.0.0.1:0"
	demo := func(clickhouse, kafka string) []string {
		return []string{
			"demo", "--once", "--hours", "1", "--data", "data", "--out", "out", "--library", b.library,
			"--clickhouse-listen", clickhouse, "--kafka-listen", kafka,
		}
	}
	refuses(t, options{}, 1, demo(address, free), address, "taken", "--clickhouse-listen")
	refuses(t, options{}, 1, demo(free, address), address, "taken", "--kafka-listen")
	refuses(t, options{}, 1, []string{"embedded", "clickhouse", "--data", "data", "--clickhouse-listen", address}, address, "--clickhouse-listen")
	refuses(t, options{}, 1, []string{"embedded", "kafka", "--data", "data", "--kafka-listen", address}, address, "--kafka-listen")
}
