package clickhouse

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"testing/fstest"
	"text/template"

	"github.com/wattledger/wattledger/schemas/record"
)

//go:embed migrations/*.sql
var sources embed.FS

// Flavour says how tables are laid out on servers.
type Flavour struct {
	// Cluster is the name of the ClickHouse cluster; empty is a single server.
	Cluster string
}

// Render is the migrations of one flavour as goose reads them: NNNNN_name.sql in the root of the file system.
func Render(f Flavour) (fs.FS, error) {
	out := fstest.MapFS{}
	names, err := fs.Glob(sources, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	for _, name := range names {
		text, err := sources.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read migration %s: %w", name, err)
		}
		tmpl, err := template.New(name).Option("missingkey=error").Parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("parse migration %s: %w", name, err)
		}
		var b bytes.Buffer
		if err := tmpl.Execute(&b, f); err != nil {
			return nil, fmt.Errorf("render migration %s: %w", name, err)
		}
		out[strings.TrimPrefix(name, "migrations/")] = &fstest.MapFile{Data: b.Bytes(), Mode: 0o444}
	}
	return out, nil
}

// Counters, Gauges and Codes are the metric columns of the samples table.
func (Flavour) Counters() []record.Metric { return record.Counters }

// Gauges are the float columns of the samples table.
func (Flavour) Gauges() []record.Metric { return record.Gauges }

// Codes are the code columns of the samples table.
func (Flavour) Codes() []record.Metric { return record.Codes }

// Stated are the tables of statements about what exists and who held it, whose rows say when they were stored.
func (Flavour) Stated() []string { return []string{"allocations", "nodes", "devices", "stays"} }

// OnCluster is the clause that runs a statement on every server.
func (f Flavour) OnCluster() string {
	if f.Cluster == "" {
		return ""
	}
	return "ON CLUSTER '" + f.Cluster + "'"
}

// Table names the table that holds rows: X on a single server, X_local ON CLUSTER in a cluster.
func (f Flavour) Table(name string) string {
	if f.Cluster == "" {
		return name
	}
	return name + "_local " + f.OnCluster()
}

// Engine is a MergeTree engine, Replicated in a cluster under a path that names the shard.
func (f Flavour) Engine(table, engine string, args ...string) string {
	if f.Cluster != "" {
		engine = "Replicated" + engine
		args = append([]string{"'/clickhouse/tables/{shard}/wattledger/" + table + "'", "'{replica}'"}, args...)
	}
	return engine + "(" + strings.Join(args, ", ") + ")"
}

// Settings are the settings of a table whose inserts carry a deduplication token, with more as given.
func (f Flavour) Settings(more string) string {
	window := "non_replicated_deduplication_window = 1000"
	if f.Cluster != "" {
		window = "replicated_deduplication_window = 10000"
	}
	if more != "" {
		window += ", " + more
	}
	return "SETTINGS " + window
}

// Distributed is the statement that puts the table X over X_local in a cluster, and nothing on a single server.
func (f Flavour) Distributed(table, key string) string {
	if f.Cluster == "" {
		return ""
	}
	return fmt.Sprintf("-- +goose StatementBegin\nCREATE TABLE %s %s AS %s_local ENGINE = Distributed('%s', currentDatabase(), '%s_local', %s);\n-- +goose StatementEnd",
		table, f.OnCluster(), table, f.Cluster, table, key)
}
