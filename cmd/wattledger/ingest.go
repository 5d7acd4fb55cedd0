package main

import (
	"context"
	"runtime/debug"

	"github.com/wattledger/wattledger/ingest"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/internal/process"
)

// ingestCmd runs one ingester.
type ingestCmd struct {
	services
}

// Help shows examples.
func (ingestCmd) Help() string {
	return `Examples:
  wattledger ingest --config /etc/wattledger/wattledger.yaml
  wattledger ingest --embedded --data .wattledger/demo

Start several: they share the partitions among them.`
}

// Run carries messages until it is stopped.
func (c *ingestCmd) Run(ctx context.Context, env *process.Env) error {
	cfg, err := c.load(ctx, env)
	if err != nil {
		return err
	}
	database := func() (chconn.Config, error) { return cfg.ClickHouse, nil }
	if c.Embedded {
		database = func() (chconn.Config, error) { return chconn.EmbeddedConfig(env.DataDir(demoData)) }
	}
	debug.SetMemoryLimit(cfg.Ingest.Memory / 10 * 9) // the program's own text and what the kernel keeps for it come on top
	in, err := ingest.New(cfg.Ingest, cfg.Kafka, database, env.Log, env.Metrics)
	if err != nil {
		return err
	}
	env.ServeMetrics("127.0.0.1:9401")
	env.Health.Add("kafka", func(ctx context.Context) error { return kafkaconn.Ping(ctx, cfg.Kafka) })
	env.Health.Add("clickhouse", in.Database)
	env.Health.Add("ingest", in.Ready)
	return serve(ctx, env, "ingest", func(ctx context.Context) error {
		if err := ingest.ReadyTopics(ctx, cfg.Ingest, cfg.Kafka, env.Log, env.Metrics); err != nil {
			return err
		}
		return in.Run(ctx)
	})
}
