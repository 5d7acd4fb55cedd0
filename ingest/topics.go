package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/wire"
)

// What AtStart may be.
const (
	TopicsCheck  = "check"
	TopicsCreate = "create"
	TopicsOff    = "off"
)

// TopicsConfig says how the topics have to be, and what ingest does about it at its start.
type TopicsConfig struct {
	// AtStart is check, create or off. check ends the process with an error when a topic is missing or is not as stated
	// here. create makes the missing ones first; it never changes one that is there. off reads whatever there is.
	AtStart string `yaml:"at_start"`
	// Partitions is how many wl.sample.v1 has at least: as many ingesters can share it. The other topics need one.
	Partitions int `yaml:"partitions"`
	// Replicas is how many copies of each message there are at least; 0 takes what the cluster gives. From three on two of
	// them have to acknowledge.
	Replicas int `yaml:"replicas"`
	// Retention is how long messages are kept at least, read or not: the longest outage of ClickHouse that loses nothing.
	Retention time.Duration `yaml:"retention"`
}

// DefaultTopicsConfig checks, and wants a week of messages.
func DefaultTopicsConfig() TopicsConfig {
	return TopicsConfig{AtStart: TopicsCheck, Partitions: 12, Retention: 7 * 24 * time.Hour}
}

// Validate reports every fault at once.
func (c TopicsConfig) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf("topics."+format, args...)) }
	if modes := []string{TopicsCheck, TopicsCreate, TopicsOff}; !slices.Contains(modes, c.AtStart) {
		bad("at_start: %q; one of %s", c.AtStart, strings.Join(modes, ", "))
	}
	if c.Partitions < 1 || c.Partitions > 10_000 {
		bad("partitions: %d; must lie between 1 and 10000", c.Partitions)
	}
	if c.Replicas < 0 || c.Replicas > 100 {
		bad("replicas: %d; must lie between 0 and 100", c.Replicas)
	}
	if c.Retention < time.Hour {
		bad("retention: %v; an hour or more", c.Retention)
	}
	return errors.Join(faults...)
}

// framing is what a batch has beside its messages.
const framing = 48_588

// Wanted are the topics as they have to be, for messages of up to so many bytes.
func (c TopicsConfig) Wanted(maxMessageBytes int) []kafkaconn.Topic {
	topic := func(name string) kafkaconn.Topic {
		return kafkaconn.Topic{Name: name, Partitions: 1, Replicas: c.Replicas, Retention: c.Retention, MaxMessageBytes: maxMessageBytes + framing}
	}
	sample, inventory, refused := topic(wire.TopicSample), topic(wire.TopicInventory), topic(wire.TopicRefused)
	sample.Partitions = c.Partitions
	// What exists is true until it is stated anew: the key says what a message speaks of (wire.InventoryKey).
	inventory.Compact, inventory.Retention = true, 0
	// What was put aside waits for a person.
	refused.Retention = kafkaconn.Forever
	// Nothing lies on it: whoever holds its one partition closes hours.
	return []kafkaconn.Topic{sample, topic(wire.TopicAllocation), topic(wire.TopicReading), inventory, refused, topic(wire.TopicClosing)}
}

// ReadyTopics does what the configuration says about the topics before ingest starts. It waits for a cluster that is away; what
// is wrong with a topic, or that we may not look, is an error.
func ReadyTopics(ctx context.Context, cfg Config, conn kafkaconn.Config, log *slog.Logger, reg prometheus.Registerer) error {
	if cfg.Topics.AtStart == TopicsOff {
		return nil
	}
	retries := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "wattledger_ingest_topic_retries_total", Help: "Times the topics were looked at again because Kafka did not answer.",
	})
	if reg != nil {
		reg.MustRegister(retries)
	}
	wanted := cfg.Topics.Wanted(conn.MaxMessageBytes)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, cfg.BackoffMax) {
		var err error
		if cfg.Topics.AtStart == TopicsCreate {
			err = kafkaconn.EnsureTopics(ctx, conn, wanted)
		}
		if err == nil {
			err = kafkaconn.CheckTopics(ctx, conn, wanted)
		}
		if err == nil || ctx.Err() != nil {
			return nil //nolint:nilerr // being told to stop is no fault
		}
		if !kafkaconn.Temporary(err) {
			return fmt.Errorf("%w (ingest.topics says what is wanted; at_start: off passes over it)", err)
		}
		retries.Inc()
		log.Warn("topics not looked at, trying again", "reason", "topics", "brokers", conn.Brokers, "wait", pause, "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}
