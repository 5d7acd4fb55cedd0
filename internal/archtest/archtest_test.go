package archtest

import (
	"strings"
	"testing"
	"testing/fstest"
)

// Every rule is shown to fail on a file that breaks it, and to let its nearest lawful neighbour pass.
func TestRules(t *testing.T) {
	check := func(name, body string) []Finding {
		t.Helper()
		found, err := Check(fstest.MapFS{name: {Data: []byte(body)}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return found
	}
	// bad wants exactly one finding, in the file, holding the words.
	bad := func(name, body, words string) {
		t.Helper()
		found := check(name, body)
		if len(found) != 1 || found[0].File != name || !strings.Contains(found[0].Text, words) {
			t.Errorf("%s\n%s\nfound %v, want one finding with %q", name, body, found, words)
		}
	}
	good := func(name, body string) {
		t.Helper()
		if found := check(name, body); len(found) != 0 {
			t.Errorf("%s\n%s\nfound %v, want none", name, body, found)
		}
	}
	const m = Module + "/"
	// file writes a documented package with imports and, after them, a body.
	file := func(name, body string, imports ...string) string {
		b := "// Package " + name + " is here.\npackage " + name + "\n"
		for _, i := range imports {
			b += "import \"" + i + "\"\n"
		}
		return b + body + "\n"
	}

	// the four trees
	bad("ingest/pipeline/a.go", file("pipeline", "", m+"schemas/unit", m+"collector/meter"), "never import one another")
	bad("collector/spool/a.go", file("spool", "", m+"aggregator/ledger"), "never import one another")
	bad("dashboards/query/a_test.go", file("query", "", m+"aggregator/ledger"), "never import one another")
	good("collector/spool/a.go", file("spool", "", m+"collector/meter", m+"schemas/record"))
	good("cmd/wattledger/a.go", strings.Replace(file("main", "", m+"collector/agent", m+"aggregator/ledger"), "Package main", "Command wattledger", 1))

	// schemas, internal, cmd
	bad("schemas/region/a.go", file("region", "", m+"internal/process"), "schemas imports nothing else of ours")
	bad("schemas/clickhouse/a_test.go", file("clickhouse", "", m+"ingest/clickhouse"), "schemas imports nothing else of ours")
	good("schemas/clickhouse/a_test.go", file("clickhouse", "", m+"internal/embedded/clickhouse"))
	good("schemas/clickhouse/a.go", file("clickhouse", "", m+"schemas/unit"))
	bad("internal/process/a.go", file("process", "", m+"schemas/unit"), "knows no domain")
	good("internal/process/a.go", file("process", "", m+"internal/kafkaconn"))
	bad("deploy/e2e/a.go", file("e2e", "", m+"cmd/wattledger"), "nothing imports a main")

	// adapters below a core package
	good("aggregator/carbon/rte/a.go", file("rte", "", "net/http", m+"aggregator/carbon/provider", m+"aggregator/carbon"))
	bad("aggregator/carbon/a.go", file("carbon", "", m+"aggregator/carbon/rte"), "core imports only schemas and other core")
	bad("aggregator/carbon/a.go", file("carbon", "", "net/http"), "core does no I/O")
	bad("aggregator/carbon/rte/a.go", file("rte", "var x float64"), "accounts are integers")

	// proofs
	bad("aggregator/verify/a.go", file("verify", "", m+"aggregator/attribution"), "a proof shares no arithmetic")
	bad("aggregator/verify/a.go", file("verify", "", m+"aggregator/ledger"), "a proof shares no arithmetic")
	good("aggregator/verify/a_test.go", file("verify", "", m+"aggregator/closing"))
	good("aggregator/verify/fleettest/books/a.go", file("books", "", m+"aggregator/closing"))

	// core
	bad("collector/agent/a.go", file("agent", "", "os"), "core does no I/O")
	bad("ingest/pipeline/a.go", file("pipeline", "", "net/http"), "core does no I/O")
	bad("aggregator/ledger/a.go", file("ledger", "", m+"internal/chconn"), "core imports only schemas and other core")
	bad("aggregator/ledger/a.go", file("ledger", "", m+"aggregator/clickhouse"), "core imports only schemas and other core")
	bad("aggregator/ledger/a.go", file("ledger", "", "math/rand/v2"), "same inputs must give the same bytes")
	bad("aggregator/window/a.go", file("window", "", "github.com/prometheus/client_golang/prometheus"), "let the caller count it")
	bad("aggregator/window/a.go", file("window", "var f = time.Now", "time"), "handed its time")
	bad("aggregator/window/a.go", "// Package window is here.\npackage window\nimport clock \"time\"\nvar f = clock.Since", "handed its time")
	bad("aggregator/window/a.go", file("window", "var f = time.Sleep", "time"), "handed its time")
	bad("collector/agent/a.go", file("agent", "var f = time.Now", "time"), "handed its time")
	bad("aggregator/tariff/a.go", file("tariff", "type price float64"), "accounts are integers")
	good("collector/agent/a.go", file("agent", "var f = time.NewTicker", "time", "github.com/prometheus/client_golang/prometheus"))
	good("collector/meter/a.go", file("meter", "var w float64", "time", "net/netip"))
	good("collector/meter/a_test.go", file("meter", "var f = time.Now", "time", "os"))
	good("collector/spool/a.go", file("spool", "var f = time.Now", "time", "os"))

	// client libraries
	bad("ingest/clickhouse/a.go", file("clickhouse", "", "github.com/segmentio/kafka-go"), "belongs in folders named kafka")
	bad("collector/kafka/a.go", file("kafka", "", "github.com/ClickHouse/clickhouse-go/v2/lib/driver"), "belongs in folders named clickhouse")
	bad("ingest/kafka/a.go", file("kafka", "", "github.com/twmb/franz-go/pkg/kgo"), "only as the broker")
	bad("collector/exporter/a.go", file("exporter", "", "github.com/ebitengine/purego"), "the three that load a C library")
	bad("dashboards/query/a.go", file("query", "", "github.com/grafana/grafana-plugin-sdk-go/data"), "what starts it")
	bad("dashboards/datasource/pkg/answer/a.go", file("answer", "", "github.com/hashicorp/go-plugin"), "which starts the plugin as Grafana does")
	good("dashboards/datasource/host/a.go", file("host", "", "github.com/grafana/grafana-plugin-sdk-go/backend", "github.com/hashicorp/go-plugin"))
	good("collector/nvml/a.go", file("nvml", "", "github.com/ebitengine/purego"))
	bad("internal/chconn/a.go", file("chconn", "", "github.com/pressly/goose/v3"), "owns the migrations")
	bad("aggregator/report/a.go", file("report", "", "github.com/alecthomas/kong"), "own the command line")
	bad("aggregator/report/a.go", file("report", "", "database/sql"), "belongs in folders named clickhouse")
	good("ingest/kafka/a.go", file("kafka", "", "github.com/segmentio/kafka-go", m+"internal/kafkaconn"))
	good("internal/embedded/kafka/a.go", file("kafka", "", "github.com/twmb/franz-go/pkg/kfake"))
	good("schemas/clickhouse/a.go", file("clickhouse", "", "github.com/pressly/goose/v3", "database/sql"))
	good("ingest/clickhouse/a_test.go", file("clickhouse", "", "github.com/segmentio/kafka-go"))

	// the life of the process
	bad("ingest/kafka/a.go", file("kafka", "func f() { os.Exit(1) }", "os"), "only main ends the process")
	good("internal/process/a.go", file("process", "func f() { os.Exit(1) }", "os"))
	bad("ingest/kafka/a.go", file("kafka", "func f() { log.Fatalf(``) }", "log"), "past every defer")
	bad("ingest/kafka/a.go", file("kafka", "func init() {}"), "nothing happens on import")
	bad("ingest/kafka/a.go", file("kafka", "var l = slog.Default()", "log/slog"), "the logger is handed in")
	bad("ingest/kafka/a.go", file("kafka", "var r = prometheus.DefaultRegisterer", "github.com/prometheus/client_golang/prometheus"), "the registry is handed in")
	bad("dashboards/datasource/pkg/plugin/a.go", file("plugin", "var r = prometheus.DefaultRegisterer", "github.com/prometheus/client_golang/prometheus"), "the registry is handed in")
	good("dashboards/datasource/pkg/a.go", strings.Replace(file("main", "var r = prometheus.DefaultRegisterer", "github.com/prometheus/client_golang/prometheus"), "Package main", "Command pkg", 1))
	bad("dashboards/clickhouse/a.go", file("clickhouse", "var _ data.Frame", "github.com/grafana/grafana-plugin-sdk-go/data"), "which is Grafana's plugin")
	bad("dashboards/datasource/pkg/plugin/a.go", file("plugin", "var _ jose.JSONWebKey", "github.com/go-jose/go-jose/v4"), "which verifies who asks")
	good("dashboards/datasource/pkg/identity/a.go", file("identity", "var _ oidc.Config", "github.com/coreos/go-oidc/v3/oidc"))
	good("cmd/wattledger/a.go", strings.Replace(file("main", "func f() { os.Exit(1) }", "os"), "Package main", "Command wattledger", 1))
	good("ingest/kafka/a.go", file("kafka", "type T struct{}\nfunc (T) init() {}\nvar os struct{ Exit func() }\nfunc f() { os.Exit() }"))
	good("ingest/kafka/a_test.go", file("kafka", "func init() { os.Exit(1) }", "os"))

	// the raw table
	bad("aggregator/clickhouse/a.go", file("clickhouse", "const q = `SELECT *\nFROM samples WHERE 1`"), "read the view sample")
	bad("aggregator/clickhouse/a.go", file("clickhouse", "const q = `select * from wattledger.samples s`"), "read the view sample")
	bad("aggregator/clickhouse/rollup.sql", "INSERT INTO b\nSELECT 1 FROM a LEFT JOIN samples USING x", "read the view sample")
	bad("dashboards/grafana/fleet.json", `{"rawSql": "SELECT 1 FROM {db}.samples"}`, "read the view sample")
	good("aggregator/clickhouse/a.go", file("clickhouse", "const q = `SELECT samples FROM sample JOIN samples_10s`"))
	good("ingest/clickhouse/a.go", file("clickhouse", "const q = `SELECT * FROM samples`"))
	good("schemas/clickhouse/001.sql", "CREATE VIEW sample AS SELECT * FROM samples")

	// packages
	bad("ingest/kafka/a.go", "package kafka\n", "no package doc")
	bad("ingest/kafka/a.go", "// Stuff about Kafka.\npackage kafka\n", `starts "Package kafka …"`)
	bad("cmd/wattledger/a.go", "// Package main is.\npackage main\n", `starts "Command wattledger …"`)
	bad("ingest/run/a.go", "// Command run is.\npackage main\n", "commands live in cmd")
	bad("internal/util/a.go", file("util", ""), "named after nothing")
	good("ingest/kafka/a_test.go", "package kafka\n")

	// what the rules do not look at
	good("ingest/testdata/a.go", "package broken // import nothing")
	good(".cache/a.go", "package kafka\n")
	good("schemas/wire/v1/a.pb.go", "// Code generated by protoc-gen-go. DO NOT EDIT.\n\npackage wirev1\n\nfunc init() {}\n")
}

// A nested module, as each pinned tool is one, is somebody else's to judge.
func TestNestedModule(t *testing.T) {
	found, err := Check(fstest.MapFS{
		"internal/tools/x/go.mod": {Data: []byte("module x")},
		"internal/tools/x/x.go":   {Data: []byte("package util")},
	})
	if err != nil || len(found) != 0 {
		t.Errorf("found %v, %v, want nothing", found, err)
	}
}

func TestSyntaxErrorNamesFile(t *testing.T) {
	_, err := Check(fstest.MapFS{"ingest/a.go": {Data: []byte("package {")}})
	if err == nil || !strings.Contains(err.Error(), "ingest/a.go") {
		t.Errorf("got %v, want an error that names ingest/a.go", err)
	}
}

// The doc may stand in any one file of the folder, and findings come in the order a reader meets them.
func TestFolders(t *testing.T) {
	found, err := Check(fstest.MapFS{
		"ingest/kafka/doc.go": {Data: []byte("// Package kafka consumes.\npackage kafka\n")},
		"ingest/kafka/b.go":   {Data: []byte("package kafka\n\nfunc init() {}\n\nfunc init() {}\n")},
		"ingest/kafka/a.go":   {Data: []byte("package kafka\n\nfunc init() {}\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	var at []string
	for _, f := range found {
		place, _, _ := strings.Cut(f.String(), ": ")
		at = append(at, place)
	}
	if got, want := strings.Join(at, " "), "ingest/kafka/a.go:3 ingest/kafka/b.go:3 ingest/kafka/b.go:5"; got != want {
		t.Errorf("findings at %s, want %s", got, want)
	}
}
