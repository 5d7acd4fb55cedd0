package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/aggregator/closing"
	election "github.com/wattledger/wattledger/aggregator/kafka"
	"github.com/wattledger/wattledger/aggregator/keyring"
	"github.com/wattledger/wattledger/ingest"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse"
	"github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/internal/process"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
)

// config is every role's configuration: one file and one environment serve them all.
type config struct {
	ClickHouse chconn.Config    `yaml:"clickhouse"`
	Kafka      kafkaconn.Config `yaml:"kafka"`
	Ingest     ingest.Config    `yaml:"ingest"`
	Closer     closer.Config    `yaml:"closer"`
	Closing    closing.Limits   `yaml:"closing"`
	Election   election.Config  `yaml:"election"`
	Ledger     keyring.Config   `yaml:"ledger"`
	Carbon     carbonConfig     `yaml:"carbon"`
	// Cluster is the ClickHouse cluster that migrations are for; empty is a single server.
	Cluster string `yaml:"cluster"`
	// Retention is how long rows are kept; wattledger migrate applies it.
	Retention schema.Retention `yaml:"retention"`
	Embedded  embedded         `yaml:"embedded"`
}

// embedded are the services of one machine.
type embedded struct {
	ClickHouse clickhouse.Config `yaml:"clickhouse"`
	Kafka      kafka.Config      `yaml:"kafka"`
}

func defaultConfig(data string) config {
	c := config{
		ClickHouse: chconn.DefaultConfig(), Kafka: kafkaconn.DefaultConfig(), Ingest: ingest.DefaultConfig(), Closer: closer.DefaultConfig(),
		Closing:   closing.DefaultLimits(),
		Carbon:    defaultCarbon(),
		Election:  election.DefaultConfig(),
		Ledger:    keyring.DefaultConfig(),
		Retention: schema.DefaultRetention(),
		Embedded:  embedded{ClickHouse: clickhouse.DefaultConfig(), Kafka: kafka.DefaultConfig()},
	}
	c.Embedded.ClickHouse.Data, c.Embedded.Kafka.DataDir = data, data
	c.Embedded.Kafka.Topics = embeddedTopics(c.Ingest.Topics).Wanted(c.Kafka.MaxMessageBytes)
	return c
}

// embeddedTopics are those of an embedded broker: two ingesters can share the samples.
func embeddedTopics(c ingest.TopicsConfig) ingest.TopicsConfig {
	c.Partitions, c.Replicas = 2, 1
	return c
}

// services is the flag of commands that can use the embedded services.
type services struct {
	Embedded bool `help:"Use the embedded Kafka and ClickHouse that run on the data folder, instead of configured servers."`
}

const (
	serviceData = "/var/lib/wattledger"
	demoData    = ".wattledger/demo"
)

// data is the data folder.
func (s services) data(env *process.Env) string {
	if s.Embedded {
		return env.DataDir(demoData)
	}
	return env.DataDir(serviceData)
}

// load reads the configuration; with --embedded the connections are those of the data folder. The services may still be
// on their way up: it waits for them a little.
func (s services) load(ctx context.Context, env *process.Env) (config, error) {
	data := s.data(env)
	cfg := defaultConfig(data)
	if !s.Embedded {
		return cfg, env.Load(&cfg)
	}
	return cfg, errors.Join(env.Load(&cfg), waitFor(ctx, 15*time.Second, func() (err error) {
		if cfg.ClickHouse, err = chconn.EmbeddedConfig(data); err != nil {
			return err
		}
		// Its topics are the broker's own to make, with as many partitions as it was told.
		cfg.Ingest.Topics.AtStart = ingest.TopicsOff
		cfg.Kafka, err = kafkaconn.EmbeddedConfig(data)
		return err
	}))
}

// loadDatabase is load for commands that read the ledger and need no broker.
func (s services) loadDatabase(ctx context.Context, env *process.Env) (config, error) {
	data := s.data(env)
	cfg := defaultConfig(data)
	if !s.Embedded {
		return cfg, env.Load(&cfg)
	}
	return cfg, errors.Join(env.Load(&cfg), waitFor(ctx, 15*time.Second, func() (err error) {
		cfg.ClickHouse, err = chconn.EmbeddedConfig(data)
		return err
	}))
}

// waitFor calls f until it succeeds, ctx ends or the time is up; the error is then f's last.
func waitFor(ctx context.Context, limit time.Duration, f func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
