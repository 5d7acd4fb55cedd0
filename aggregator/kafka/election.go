// Package kafka elects the one aggregator that closes hours.
//
// Every aggregator is a member of one consumer group on wl.closing.v1, which has one partition: the member that holds it
// closes, the others stand by and take over when it is gone. Kafka fences a member that was away for too long, and the seal in
// ClickHouse is there once for each batch, so that two who both believe to be the one do no harm: this is for the work not to
// be done twice, and for the order of who may.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Config is how aggregators agree on who closes.
type Config struct {
	// Group is the consumer group that the aggregators of one ledger form.
	Group string `yaml:"group"`
	// SessionTimeout is how long one that died keeps the others waiting.
	SessionTimeout time.Duration `yaml:"session_timeout"`
	// HeartbeatInterval is how often it says that it lives.
	HeartbeatInterval time.Duration `yaml:"heartbeat_interval"`
}

// DefaultConfig notices a dead closer after ten seconds.
func DefaultConfig() Config {
	return Config{Group: "wattledger-closer", SessionTimeout: 10 * time.Second, HeartbeatInterval: time.Second}
}

func (c Config) group() kafkaconn.GroupConfig {
	g := kafkaconn.DefaultGroupConfig()
	g.Group, g.Topics = c.Group, []string{wire.TopicClosing}
	g.SessionTimeout, g.HeartbeatInterval = c.SessionTimeout, c.HeartbeatInterval
	g.RebalanceTimeout = max(c.SessionTimeout, time.Second)
	return g
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	if err := c.group().Validate(); err != nil {
		return fmt.Errorf("election: %w", err)
	}
	return nil
}

// Lead closes hours until ctx ends, which it does when the right is lost. It asks held before what it does takes effect; an error
// of held means that the right may be another's by now, and Lead returns it.
type Lead func(ctx context.Context, held func() error) error

// Election is one aggregator's part in it.
type Election struct {
	consumer *kafkaconn.Consumer
	leading  prometheus.Gauge
}

// New is inert; Run takes part.
func New(conn kafkaconn.Config, cfg Config, lead Lead, log *slog.Logger, reg prometheus.Registerer) (*Election, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	e := &Election{leading: prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "wattledger", Subsystem: "aggregator", Name: "closing",
		Help: "1 while this aggregator is the one that closes hours. The sum over all is 1; 0 for long means that nobody closes, as when Kafka is away.",
	})}
	if err := reg.Register(e.leading); err != nil {
		return nil, fmt.Errorf("register metrics of the election: %w", err)
	}
	handle := func(ctx context.Context, claim *kafkaconn.Claim) error {
		if claim.Partition() != 0 { // somebody gave the topic more: they stand for nothing
			<-ctx.Done()
			return ctx.Err()
		}
		e.leading.Set(1)
		defer e.leading.Set(0)
		log.Info("this aggregator closes hours", "group", cfg.Group, "generation", claim.Generation())
		err := lead(ctx, claim.Owned)
		switch {
		case errors.Is(err, kafkaconn.ErrFenced):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			return errors.New("closing ended although nobody asked it to")
		}
		return err
	}
	var err error
	e.consumer, err = kafkaconn.NewConsumer(conn, cfg.group(), handle, log, reg)
	return e, err
}

// Run takes part until ctx ends. While Kafka is away nobody closes: hours wait, and nothing is lost by it.
func (e *Election) Run(ctx context.Context) error { return e.consumer.Run(ctx) }
