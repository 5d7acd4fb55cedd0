package kafkaconn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
)

// Topic is a topic that has to exist.
type Topic struct {
	// Name is the topic's name; it ends in the major version of what it carries.
	Name string `yaml:"name"`
	// Partitions is how many it is created with. A topic that exists keeps what it has,
	// because more partitions would move keys and break the order within them.
	Partitions int `yaml:"partitions"`
	// Replicas is the replication factor; 0 leaves it to the broker.
	Replicas int `yaml:"replicas"`
	// Retention is how long messages are kept, by their record time; 0 leaves it to the broker, Forever keeps them.
	Retention time.Duration `yaml:"retention"`
	// Compact keeps the last message of each key for ever, instead of all messages for a while.
	Compact bool `yaml:"compact"`
	// MaxMessageBytes is the largest batch of messages that is taken; 0 leaves it to the broker.
	MaxMessageBytes int `yaml:"max_message_bytes"`
}

// Forever as a retention is no limit.
const Forever time.Duration = -1

// entries are the settings that the topic is created with.
func (t Topic) entries() (out []kafka.ConfigEntry) {
	set := func(name, value string) { out = append(out, kafka.ConfigEntry{ConfigName: name, ConfigValue: value}) }
	switch {
	case t.Compact:
		set(cleanupPolicy, "compact")
	case t.Retention == Forever:
		set(retentionMs, "-1")
	case t.Retention > 0:
		set(retentionMs, fmt.Sprint(t.Retention.Milliseconds()))
	}
	if t.MaxMessageBytes > 0 {
		set(maxMessageBytes, fmt.Sprint(t.MaxMessageBytes))
	}
	if t.Replicas >= 3 {
		set(minInSync, "2") // or the acknowledgement of all replicas in sync may be that of one
	}
	return out
}

// client speaks about these topics, or about any. Where it knows which, a topic that we have no right to see is an error; among
// all topics it would just not be there.
func (c Config) client(topics ...string) (*kafka.Client, func(), error) {
	if err := c.Validate(); err != nil {
		return nil, nil, fmt.Errorf("kafka: %w", err)
	}
	tr, err := c.transport()
	if err != nil {
		return nil, nil, err
	}
	tr.MetadataTTL = 250 * time.Millisecond // who asks here waits for something to change
	tr.MetadataTopics = topics
	return &kafka.Client{Addr: kafka.TCP(c.Brokers...), Timeout: c.RequestTimeout, Transport: tr}, tr.CloseIdleConnections, nil
}

// Ping asks for the cluster's brokers: the cheapest proof that it answers and lets us in.
func Ping(ctx context.Context, cfg Config) error {
	client, done, err := cfg.client()
	if err != nil {
		return err
	}
	defer done()
	if _, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{}}); err != nil {
		return fmt.Errorf("kafka at %v: %w", cfg.Brokers, err)
	}
	return nil
}

// EnsureTopics creates the topics that are missing and leaves the others alone. It returns when
// every one of them can be written to.
func EnsureTopics(ctx context.Context, cfg Config, topics []Topic) error {
	if len(topics) == 0 {
		return nil
	}
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}
	client, done, err := cfg.client(names...)
	if err != nil {
		return err
	}
	defer done()
	req := &kafka.CreateTopicsRequest{}
	for _, t := range topics {
		// -1 stands for the broker's default.
		tc := kafka.TopicConfig{Topic: t.Name, NumPartitions: max(t.Partitions, 1), ReplicationFactor: t.Replicas}
		if t.Replicas == 0 {
			tc.ReplicationFactor = -1
		}
		tc.ConfigEntries = t.entries()
		req.Topics = append(req.Topics, tc)
	}
	resp, err := client.CreateTopics(ctx, req)
	if err != nil {
		return fmt.Errorf("create topics on %v: %w", cfg.Brokers, err)
	}
	var faults []error
	for _, t := range topics {
		if err := resp.Errors[t.Name]; err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			faults = append(faults, fmt.Errorf("create topic %s: %w", t.Name, err))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	for {
		missing, err := missingTopics(ctx, client, names)
		if err == nil && len(missing) == 0 {
			return nil
		}
		if err != nil && !Temporary(err) {
			return fmt.Errorf("wait for topics: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for topics %v: %w", missing, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// missingTopics returns those without a leader on every partition.
func missingTopics(ctx context.Context, client *kafka.Client, names []string) ([]string, error) {
	meta, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: names})
	if err != nil {
		return names, err
	}
	missing := slices.Clone(names)
	for _, t := range meta.Topics {
		if errors.Is(t.Error, kafka.TopicAuthorizationFailed) {
			return names, fmt.Errorf("topic %s: %w", t.Name, t.Error)
		}
		ready := t.Error == nil && len(t.Partitions) > 0
		for _, p := range t.Partitions {
			ready = ready && p.Error == nil
		}
		if ready {
			missing = slices.DeleteFunc(missing, func(n string) bool { return n == t.Name })
		}
	}
	return missing, nil
}

// PartitionLag is where a group stands in one partition.
type PartitionLag struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	// Committed is the next offset the group will read; -1 when it never committed.
	Committed int64 `json:"committed"`
	// First and End bound what the broker holds: [First, End).
	First int64 `json:"first"`
	End   int64 `json:"end"`
}

// Messages is how many messages the group has not committed yet.
func (l PartitionLag) Messages() int64 { return max(0, l.End-max(l.Committed, l.First)) }

// Lag tells where the group stands, by topic and partition in that order. A topic that does not
// exist has no lines.
func Lag(ctx context.Context, cfg Config, group string, topics []string) ([]PartitionLag, error) {
	client, done, err := cfg.client(topics...)
	if err != nil {
		return nil, err
	}
	defer done()
	meta, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
	if err != nil {
		return nil, fmt.Errorf("lag of %s: %w", group, err)
	}
	partitions := map[string][]int{}
	ends := map[string][]kafka.OffsetRequest{}
	for _, t := range meta.Topics {
		if t.Error != nil {
			if errors.Is(t.Error, kafka.UnknownTopicOrPartition) {
				continue
			}
			return nil, fmt.Errorf("lag of %s: topic %s: %w", group, t.Name, t.Error)
		}
		for _, p := range t.Partitions {
			partitions[t.Name] = append(partitions[t.Name], p.ID)
			ends[t.Name] = append(ends[t.Name], kafka.FirstOffsetOf(p.ID), kafka.LastOffsetOf(p.ID))
		}
	}
	if len(partitions) == 0 {
		return nil, nil
	}
	committed, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: partitions})
	if err == nil {
		err = committed.Error
	}
	if errors.Is(err, kafka.GroupIdNotFound) { // some brokers say so, others answer with no offsets
		committed, err = &kafka.OffsetFetchResponse{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lag of %s: committed offsets: %w", group, err)
	}
	offsets, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: ends})
	if err != nil {
		return nil, fmt.Errorf("lag of %s: end offsets: %w", group, err)
	}
	var out []PartitionLag
	for topic, ps := range offsets.Topics {
		for _, p := range ps {
			if p.Error != nil {
				return nil, fmt.Errorf("lag of %s: topic %s partition %d: %w", group, topic, p.Partition, p.Error)
			}
			l := PartitionLag{Topic: topic, Partition: p.Partition, Committed: -1, First: p.FirstOffset, End: p.LastOffset}
			for _, c := range committed.Topics[topic] {
				if c.Partition == p.Partition {
					if c.Error != nil {
						return nil, fmt.Errorf("lag of %s: topic %s partition %d: %w", group, topic, p.Partition, c.Error)
					}
					l.Committed = c.CommittedOffset
				}
			}
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b PartitionLag) int {
		if a.Topic != b.Topic {
			if a.Topic < b.Topic {
				return -1
			}
			return 1
		}
		return a.Partition - b.Partition
	})
	return out, nil
}
