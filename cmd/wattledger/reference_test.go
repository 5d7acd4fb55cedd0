package main

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/carbon/provider"
	"github.com/wattledger/wattledger/aggregator/closer"
	election "github.com/wattledger/wattledger/aggregator/kafka"
	"github.com/wattledger/wattledger/aggregator/keyring"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/ingest"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/reference"
)

//go:generate go test -run TestReferenceIsCurrent -count 1 . -update

var update = flag.Bool("update", false, "write docs/wattledger-reference.md")

const referencePage = "../../docs/wattledger-reference.md"

func TestReferenceIsCurrent(t *testing.T) {
	var page bytes.Buffer
	writeKeys(t, &page)
	writeMetrics(t, &page)
	if err := reference.Current(referencePage, page.Bytes(), *update); err != nil {
		t.Error(err)
	}
}

func writeKeys(t *testing.T, page *bytes.Buffer) {
	t.Helper()
	src := &reference.Source{Module: "github.com/wattledger/wattledger", Root: "../.."}
	keys, err := src.Keys(defaultConfig(serviceData))
	if err != nil {
		t.Fatal(err)
	}
	for _, named := range process.Keys(config{}) {
		if !slices.ContainsFunc(keys, func(k reference.Key) bool { return k.Path == named }) {
			t.Errorf("%s can be set, and is not on the page", named)
		}
	}
	page.WriteString(`# Reference of wattledger

<!-- Generated from the code by make generate (cmd/wattledger/reference_test.go). Do not edit. -->

Every key of the configuration and every metric of ` + "`wattledger`" + `, for all its commands: one file serves them all. What they are for is in
[operator.md](operator.md), what to watch in [sre.md](sre.md). The collector has a [page of its own](collector-reference.md).

## Configuration

A key stands in the YAML file as ` + "`section: {key: value}`" + `. ` + "`ingest.inserts`" + ` is also ` + "`--set ingest.inserts=…`" + ` and the environment variable
` + "`" + process.EnvName("ingest.inserts") + "`" + `; flags win over environment, environment over file. ` + "`list[].key`" + ` is a key of each element of a list.
` + "`" + serviceData + "`" + ` is what ` + "`--data`" + ` says. ` + "`wattledger ingest`" + ` reads clickhouse, kafka and ingest; ` + "`wattledger aggregate`" + ` clickhouse, closer, closing and
carbon.chains; ` + "`wattledger factor`" + ` clickhouse and carbon; ` + "`wattledger migrate`" + ` clickhouse and cluster; ` + "`wattledger embedded`" + ` and ` + "`wattledger demo`" + ` embedded; the other commands clickhouse, and
kafka where they read or write messages.
`)
	reference.WriteKeys(page, keys, "the database's layout")
}

func writeMetrics(t *testing.T, page *bytes.Buffer) {
	t.Helper()
	page.WriteString(`
## Metrics

Each part's are there where the part runs: ` + "`wattledger ingest`" + ` on port 9401, ` + "`wattledger aggregate`" + ` on 9402. Beside them stand Go's own
(` + "`go_…`" + `, ` + "`process_…`" + `).
`)
	part := func(name string, construct func(reg prometheus.Registerer) error) {
		t.Helper()
		r := reference.NewRecorder()
		if err := construct(r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(r.Metrics()) == 0 {
			t.Errorf("%s has no metric", name)
		}
		reference.WriteMetrics(page, name, r.Metrics())
	}
	cfg, log := defaultConfig(t.TempDir()), slog.New(slog.DiscardHandler)
	part("aggregate", func(reg prometheus.Registerer) error {
		if _, err := closer.New(cfg.Closer, ledger.Secret{}, nil, log, reg); err != nil {
			return err
		}
		keys, _, err := keyring.Open(cfg.Ledger, t.TempDir())
		if err != nil {
			return err
		}
		if _, err := keys.Log(nil, log, reg); err != nil {
			return err
		}
		_, err = election.New(cfg.Kafka, cfg.Election, nil, log, reg)
		return err
	})
	part("child processes of the demo", func(reg prometheus.Registerer) error {
		_, err := process.NewChild(process.DefaultChildConfig("clickhouse"), log, reg)
		return err
	})
	part("embedded clickhouse", func(reg prometheus.Registerer) error {
		clickhouse.New(cfg.Embedded.ClickHouse, log, reg)
		return nil
	})
	part("factor", func(reg prometheus.Registerer) error {
		_, err := provider.NewMetrics(reg)
		return err
	})
	part("ingest", func(reg prometheus.Registerer) error {
		in, err := ingest.New(cfg.Ingest, cfg.Kafka, func() (chconn.Config, error) { return cfg.ClickHouse, nil }, log, reg)
		if err != nil {
			return err
		}
		ended, end := context.WithCancel(t.Context())
		end()
		return in.Run(ended) // closes what it opened
	})
	reference.WriteMetrics(page, "ledger verify --textfile", verifyMetrics)
	common, err := reference.Gathered(process.NewEnv(process.Flags{}, nil, nil, nil).Metrics, "wattledger_")
	if err != nil {
		t.Fatal(err)
	}
	reference.WriteMetrics(page, "process", common)
}
