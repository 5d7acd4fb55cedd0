package kafkaconn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

// The settings of a topic that decide what becomes of a message.
const (
	cleanupPolicy   = "cleanup.policy"
	retentionMs     = "retention.ms"
	retentionBytes  = "retention.bytes"
	maxMessageBytes = "max.message.bytes"
	minInSync       = "min.insync.replicas"
)

// TopicState is what there is of a topic.
type TopicState struct {
	Name       string `json:"name"`
	Exists     bool   `json:"exists"`
	Partitions int    `json:"partitions"`
	// Replicas is the least over the partitions.
	Replicas  int `json:"replicas"`
	MinInSync int `json:"min_insync_replicas"`
	// Cleanup is delete, compact or both.
	Cleanup string `json:"cleanup_policy"`
	// RetentionMs and RetentionBytes are −1 where there is no limit.
	RetentionMs     int64 `json:"retention_ms"`
	RetentionBytes  int64 `json:"retention_bytes"`
	MaxMessageBytes int   `json:"max_message_bytes"`
}

// DescribeTopics tells what there is of each topic, in the order asked. It needs the right to describe topics and their configuration.
func DescribeTopics(ctx context.Context, cfg Config, names []string) ([]TopicState, error) {
	client, done, err := cfg.client(names...)
	if err != nil {
		return nil, err
	}
	defer done()
	meta, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: names})
	if err != nil {
		return nil, fmt.Errorf("describe topics on %v: %w", cfg.Brokers, err)
	}
	out := make([]TopicState, len(names))
	req := &kafka.DescribeConfigsRequest{}
	for i, name := range names {
		out[i].Name = name
		for _, t := range meta.Topics {
			if t.Name != name || errors.Is(t.Error, kafka.UnknownTopicOrPartition) {
				continue
			}
			if t.Error != nil {
				return nil, fmt.Errorf("describe topic %s: %w", name, t.Error)
			}
			out[i].Exists, out[i].Partitions = true, len(t.Partitions)
			for n, p := range t.Partitions {
				if n == 0 || len(p.Replicas) < out[i].Replicas {
					out[i].Replicas = len(p.Replicas)
				}
			}
			req.Resources = append(req.Resources, kafka.DescribeConfigRequestResource{
				ResourceType: kafka.ResourceTypeTopic, ResourceName: name,
				ConfigNames: []string{cleanupPolicy, retentionMs, retentionBytes, maxMessageBytes, minInSync},
			})
		}
	}
	if len(req.Resources) == 0 {
		return out, nil
	}
	resp, err := client.DescribeConfigs(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("describe the configuration of topics on %v: %w", cfg.Brokers, err)
	}
	for _, r := range resp.Resources {
		i := slices.Index(names, r.ResourceName)
		if i < 0 {
			continue
		}
		if r.Error != nil {
			return nil, fmt.Errorf("describe the configuration of topic %s: %w", r.ResourceName, r.Error)
		}
		for _, e := range r.ConfigEntries {
			if err := out[i].set(e.ConfigName, e.ConfigValue); err != nil {
				return nil, fmt.Errorf("topic %s: %s is %q: %w", r.ResourceName, e.ConfigName, e.ConfigValue, err)
			}
		}
	}
	return out, nil
}

func (s *TopicState) set(name, value string) (err error) {
	switch name {
	case cleanupPolicy:
		s.Cleanup = value
	case retentionMs:
		s.RetentionMs, err = strconv.ParseInt(value, 10, 64)
	case retentionBytes:
		s.RetentionBytes, err = strconv.ParseInt(value, 10, 64)
	case maxMessageBytes:
		s.MaxMessageBytes, err = strconv.Atoi(value)
	case minInSync:
		s.MinInSync, err = strconv.Atoi(value)
	}
	return err
}

// Compare says in what the topic is not as it should be; each error is one line that says how to mend it. More partitions,
// replicas, time or room than wanted is no fault.
func (t Topic) Compare(s TopicState) []error {
	if !s.Exists {
		return []error{fmt.Errorf("topic %s does not exist: `wattledger topics --create` makes it", t.Name)}
	}
	var faults []error
	bad := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("topic %s: "+format, append([]any{t.Name}, args...)...))
	}
	set := func(name, value string) string {
		return fmt.Sprintf("kafka-configs.sh --alter --topic %s --add-config %s=%s", t.Name, name, value)
	}
	if s.Partitions < t.Partitions {
		bad("%d partitions, %d are wanted: kafka-topics.sh --alter --topic %s --partitions %d, or want fewer", s.Partitions, t.Partitions, t.Name, t.Partitions)
	}
	if s.Replicas < t.Replicas {
		bad("%d replicas, %d are wanted: kafka-reassign-partitions.sh adds some, or want fewer", s.Replicas, t.Replicas)
	}
	if s.Replicas >= 3 && s.MinInSync < 2 {
		bad("%s is %d with %d replicas, so that one broker alone may hold what is acknowledged: %s", minInSync, s.MinInSync, s.Replicas, set(minInSync, "2"))
	}
	if s.MaxMessageBytes < t.MaxMessageBytes {
		bad("%s is %d, messages have up to %d: %s", maxMessageBytes, s.MaxMessageBytes, t.MaxMessageBytes, set(maxMessageBytes, strconv.Itoa(t.MaxMessageBytes)))
	}
	switch {
	case t.Compact:
		if s.Cleanup != "compact" {
			bad("%s is %s, the last message of each key has to stay: %s", cleanupPolicy, s.Cleanup, set(cleanupPolicy, "compact"))
		}
	case s.Cleanup != "delete":
		bad("%s is %s, which takes messages of the same key before their time: %s", cleanupPolicy, s.Cleanup, set(cleanupPolicy, "delete"))
	case t.Retention == Forever && s.RetentionMs >= 0, t.Retention > 0 && s.RetentionMs >= 0 && s.RetentionMs < t.Retention.Milliseconds():
		want := int64(-1)
		if t.Retention > 0 {
			want = t.Retention.Milliseconds()
		}
		bad("%s is %s, %s is wanted: %s", retentionMs, kept(s.RetentionMs), kept(want), set(retentionMs, strconv.FormatInt(want, 10)))
	case t.Retention != 0 && s.RetentionBytes >= 0:
		bad("%s is %d, so that messages go before their time: %s", retentionBytes, s.RetentionBytes, set(retentionBytes, "-1"))
	}
	return faults
}

// kept is a retention in words.
func kept(ms int64) string {
	if ms < 0 {
		return "no limit"
	}
	return (time.Duration(ms) * time.Millisecond).String()
}

// CheckTopics returns the faults of all topics joined, one a line; nil means that all is as it should be.
func CheckTopics(ctx context.Context, cfg Config, topics []Topic) error {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}
	states, err := DescribeTopics(ctx, cfg, names)
	if err != nil {
		return err
	}
	var faults []error
	for i, t := range topics {
		faults = append(faults, t.Compare(states[i])...)
	}
	return errors.Join(faults...)
}
