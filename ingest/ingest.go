// Package ingest brings what collectors, schedulers and inventories publish from Kafka into ClickHouse.
//
// It promises that nothing is lost and nothing is counted twice: a message is stored, recognised as a repeat, or put aside
// on wl.refused.v1 with its reason, and its offset is committed after that. Kafka and ClickHouse may go away and come back
// at any time. It decides nothing about energy or money; the aggregator reads what it stores.
//
// Below it: pipeline (what a batch is; pure), rollup (which buckets are built), clickhouse (writes, recalls and builds), kafka (consumes
// and publishes), quarantine (keeps what was refused), allocations and inventory (files that people import).
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/ingest/clickhouse"
	"github.com/wattledger/wattledger/ingest/kafka"
	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/ingest/quarantine"
	"github.com/wattledger/wattledger/ingest/rollup"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Config is everything about ingest but where Kafka and ClickHouse are.
type Config struct {
	// Batch says how large and how old a batch grows.
	Batch pipeline.Config `yaml:"batch"`
	// Consumer is how this process takes part in the group. Start more of them for more partitions at a time.
	Consumer kafka.Config `yaml:"consumer"`
	// Memory is how many bytes an ingester may take. A fifth of it is for messages that are not stored yet; it waits with
	// fetching while that is full. The rest is for their columns, for what is under way from Kafka, and for garbage.
	Memory int64 `yaml:"memory"`
	// Topics says how the topics have to be.
	Topics TopicsConfig `yaml:"topics"`
	// Rollup says how often the rollups are brought up to date.
	Rollup rollup.Config `yaml:"rollup"`
	// Inserts is how many inserts of this process run at once.
	Inserts int `yaml:"inserts"`
	// BackoffMax is the longest wait between two tries while something is away.
	BackoffMax time.Duration `yaml:"backoff_max"`
}

// DefaultConfig suits a laptop and a fleet.
func DefaultConfig() Config {
	return Config{Batch: pipeline.DefaultConfig(), Consumer: kafka.DefaultConfig(), Topics: DefaultTopicsConfig(), Rollup: rollup.DefaultConfig(), Memory: 512 << 20, Inserts: 4, BackoffMax: 5 * time.Second}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	faults := []error{c.Batch.Validate(), c.Consumer.Validate(), c.Topics.Validate(), c.Rollup.Validate()}
	if c.Inserts < 1 || c.Inserts > 64 {
		faults = append(faults, fmt.Errorf("inserts: %d; must lie between 1 and 64", c.Inserts))
	}
	if c.Memory < 128<<20 {
		faults = append(faults, fmt.Errorf("memory: %d; must be %d (128 MiB) or more", c.Memory, 128<<20))
	}
	if c.BackoffMax < 10*time.Millisecond || c.BackoffMax > time.Hour {
		faults = append(faults, fmt.Errorf("backoff_max: %v; must lie between 10ms and an hour", c.BackoffMax))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	return nil
}

// Ingester is one ingester of a group.
type Ingester struct {
	consumer *kafka.Consumer
	store    *clickhouse.Store
	refused  *kafka.Publisher
	rollup   *rollup.Roller
	every    time.Duration // between two passes of rollup; 0: none
}

// New is inert. database is asked where ClickHouse is before the first connection and after each loss of one.
func New(cfg Config, conn kafkaconn.Config, database func() (chconn.Config, error), log *slog.Logger, reg prometheus.Registerer) (*Ingester, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Consumer.Group.HoldBytes = cfg.Memory / 5
	refused, err := kafka.NewPublisher(conn, wire.TopicRefused, reg)
	if err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	store := clickhouse.New(database, cfg.Inserts, reg)
	consumer, err := kafka.NewConsumer(conn, cfg.Consumer, cfg.Batch, store, pipeline.Deliverer{
		Store: store, Quarantine: quarantine.New(refused, log, reg), Log: log,
		Backoff: min(100*time.Millisecond, cfg.BackoffMax), BackoffMax: cfg.BackoffMax,
	}, log, reg)
	if err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	roller, err := rollup.New(cfg.Rollup, clickhouse.NewRollups(store), log, reg)
	if err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	in := &Ingester{consumer: consumer, store: store, refused: refused, rollup: roller}
	if cfg.Rollup.Enabled {
		in.every = cfg.Rollup.Every
	}
	return in, nil
}

// Run ingests until ctx ends. It is called once.
func (i *Ingester) Run(ctx context.Context) error {
	err := process.Run(ctx, i.consumer.Run, i.rollUp)
	return errors.Join(err, i.refused.Close(), i.store.Close())
}

// rollUp passes over the rollups now and then until ctx ends. A pass that failed is logged and counted; the next one goes on there.
// Ingesters that start together begin apart, so that the second finds the work of the first done.
func (i *Ingester) rollUp(ctx context.Context) error {
	if i.every == 0 {
		<-ctx.Done()
		return nil
	}
	timer := time.NewTimer(i.every/2 + rand.N(i.every/2+1))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-timer.C:
			_ = i.rollup.Pass(ctx, unit.Micros(now.UnixMicro()))
			timer.Reset(i.every)
		}
	}
}

// Ready is nil while messages are carried, and says otherwise why they are not: what each partition that is held waits for.
func (i *Ingester) Ready(context.Context) error { return i.consumer.Ready() }

// Database is nil while the database answers and has our schema.
func (i *Ingester) Database(ctx context.Context) error { return i.store.Check(ctx) }

// Topics are the topics that ingest reads and writes, for whoever creates them.
func Topics() []string { return append(append([]string(nil), pipeline.Topics...), wire.TopicRefused) }
