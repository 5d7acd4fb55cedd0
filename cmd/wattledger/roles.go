package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/wattledger/wattledger/aggregator/clickhouse"
	"github.com/wattledger/wattledger/aggregator/closer"
	election "github.com/wattledger/wattledger/aggregator/kafka"
	"github.com/wattledger/wattledger/aggregator/keyring"
	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/internal/chconn"
	embeddedclickhouse "github.com/wattledger/wattledger/internal/embedded/clickhouse"
	"github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
)

// aggregateCmd runs the aggregator.
type aggregateCmd struct {
	services
}

// Help shows examples.
func (aggregateCmd) Help() string {
	return `Examples:
  wattledger aggregate --config /etc/wattledger/wattledger.yaml
  wattledger aggregate --embedded --data .wattledger/demo`
}

// Run closes hours until it is stopped.
func (c *aggregateCmd) Run(ctx context.Context, env *process.Env) error {
	cfg, err := c.load(ctx, env)
	if err != nil {
		return err
	}
	db, err := chconn.Open(ctx, cfg.ClickHouse)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := schema.Check(ctx, func(ctx context.Context, query string) schema.Row { return db.QueryRow(ctx, query) }); err != nil {
		return err
	}
	store, err := clickhouse.New(db)
	if err != nil {
		return err
	}
	if err := cfg.Closing.Validate(); err != nil {
		return err
	}
	store.UseLimits(cfg.Closing)
	store.UseChains(cfg.Carbon.Chains)
	keys, err := c.keys(env, cfg)
	if err != nil {
		return err
	}
	cl, err := closer.New(cfg.Closer, keys.Secret, store, env.Log, env.Metrics)
	if err != nil {
		return err
	}
	logbook, err := keys.Log(store, env.Log, env.Metrics)
	if err != nil {
		return err
	}
	cl.Publish, cl.Tenants = logbook.Update, store.Tenants
	env.ServeMetrics("127.0.0.1:9402")
	env.Health.Add("clickhouse", db.Ping)
	env.Health.Add("closing", func(ctx context.Context) error {
		if err := kafkaconn.Ping(ctx, cfg.Kafka); err != nil {
			return fmt.Errorf("hours wait until Kafka says which aggregator closes: %w", err)
		}
		return nil
	})
	run, err := elected(cfg, cl, env)
	if err != nil {
		return err
	}
	return serve(ctx, env, "aggregate", func(ctx context.Context) error {
		// A newer program may bring newer tables. They get a sequence before they count, so that as of before an hour is what it was.
		// Stored twice they are stored once, so an engine that is just coming back is asked again.
		err := waitFor(ctx, time.Minute, func() error { _, err := store.SeedFactors(ctx); return err })
		if err != nil {
			return err
		}
		return run(ctx)
	})
}

// elected closes hours while this process is the one among all aggregators that may.
func elected(cfg config, cl *closer.Closer, env *process.Env) (func(context.Context) error, error) {
	e, err := election.New(cfg.Kafka, cfg.Election, func(ctx context.Context, held func() error) error {
		cl.Held = held
		return cl.Run(ctx)
	}, env.Log, env.Metrics)
	if err != nil {
		return nil, err
	}
	return e.Run, nil
}

// keys reads the ledger's keys, which are made at the first start where none are named.
func (s services) keys(env *process.Env, cfg config) (keyring.Keys, error) {
	keys, files, err := keyring.Open(cfg.Ledger, s.data(env))
	if err == nil && files.Made {
		env.Log.Info("keys of the ledger made: keep a copy in a safe place, without them nothing can be proved", "site_secret", files.Secret, "note_key", files.Note)
	}
	return keys, err
}

// embeddedCmd are the services of one machine.
type embeddedCmd struct {
	ClickHouse embeddedClickHouseCmd `cmd:"" name:"clickhouse" help:"Run the ClickHouse engine in this process and answer its HTTP interface on loopback."`
	Kafka      embeddedKafkaCmd      `cmd:"" help:"Run a Kafka broker in this process."`
}

type embeddedClickHouseCmd struct {
	Listen string `name:"clickhouse-listen" help:"Loopback address to answer on; port 0 takes a free one." placeholder:"HOST:PORT"`
}

// Help shows examples.
func (embeddedClickHouseCmd) Help() string {
	return `Examples:
  wattledger embedded clickhouse --data .wattledger/demo
  curl -u default:$(cat .wattledger/demo/clickhouse/password) --data-binary 'SELECT 1' http://127.0.0.1:8123/`
}

// Run serves until it is stopped.
func (c *embeddedClickHouseCmd) Run(ctx context.Context, env *process.Env) error {
	if c.Listen != "" {
		env.Override("embedded.clickhouse.listen", "--clickhouse-listen", c.Listen)
	}
	cfg := defaultConfig(env.DataDir(demoData))
	if err := env.Load(&cfg); err != nil {
		return err
	}
	return serve(ctx, env, "embedded clickhouse", embeddedclickhouse.New(cfg.Embedded.ClickHouse, env.Log, env.Metrics).Run)
}

type embeddedKafkaCmd struct {
	Listen string `name:"kafka-listen" help:"Loopback address to serve on; port 0 takes a free one." placeholder:"HOST:PORT"`
}

// Help shows examples.
func (embeddedKafkaCmd) Help() string {
	return `Example:
  wattledger embedded kafka --data .wattledger/demo`
}

// Run serves until it is stopped.
func (c *embeddedKafkaCmd) Run(ctx context.Context, env *process.Env) error {
	if c.Listen != "" {
		env.Override("embedded.kafka.listen", "--kafka-listen", c.Listen)
	}
	cfg := defaultConfig(env.DataDir(demoData))
	if err := env.Load(&cfg); err != nil {
		return err
	}
	return serve(ctx, env, "embedded kafka", kafka.New(cfg.Embedded.Kafka, env.Log).Run)
}

// serve runs a role until it is stopped, and with --json says at its end that it was.
func serve(ctx context.Context, env *process.Env, role string, run func(context.Context) error) error {
	if err := env.Run(ctx, run); err != nil || !env.Flags.JSON {
		return err
	}
	if env.Flags.Check {
		return printJSON(env.Stdout, map[string]string{"checked": role})
	}
	return printJSON(env.Stdout, map[string]string{"stopped": role})
}

// versionCmd prints the version.
type versionCmd struct{}

// Help shows an example.
func (versionCmd) Help() string {
	return `Example:
  wattledger version --json`
}

// Run prints it.
func (versionCmd) Run(env *process.Env) error {
	if env.Flags.JSON {
		return printJSON(env.Stdout, env.Version)
	}
	_, err := fmt.Fprintln(env.Stdout, "wattledger", env.Version)
	return err
}

// once runs a command that ends by itself, whatever is served beside it.
func once(ctx context.Context, env *process.Env, do func(context.Context) error) error {
	return env.Run(ctx, func(ctx context.Context) error {
		if err := do(ctx); err != nil {
			return err
		}
		return process.ErrStop
	})
}

// printJSON writes v as one line: the last of standard output.
func printJSON(w io.Writer, v any) error {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// printTable writes a table as wide as the terminal allows.
func printTable(w io.Writer, t *progress.Table) error {
	if err := t.Render(w, progress.Width(w)); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

// printReports writes tables one below the other.
func printReports(w io.Writer, tables []report.Table) error {
	for _, t := range tables {
		if err := printReport(w, t); err != nil {
			return err
		}
	}
	return nil
}

// printReport writes a report's table and its notes.
func printReport(w io.Writer, t report.Table) error {
	table := progress.Table{Title: t.Title, Rows: t.Rows, Totals: t.Totals}
	for _, c := range t.Columns {
		table.Columns = append(table.Columns, progress.Column{Name: c.Name, Right: c.Right})
	}
	if err := table.Render(w, progress.Width(w)); err != nil {
		return err
	}
	for _, n := range t.Notes {
		fmt.Fprintln(w, "  "+n)
	}
	_, err := fmt.Fprintln(w)
	return err
}
