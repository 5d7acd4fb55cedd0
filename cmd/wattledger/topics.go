package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
)

// topicsCmd compares topics with what is wanted.
type topicsCmd struct {
	services
	Create bool `help:"Make the topics that are missing; those that are there stay as they are."`
}

// Help shows examples.
func (topicsCmd) Help() string {
	return `Shows each topic as it is, and as the configuration under ingest.topics wants it where that differs. Ends with 1 when one is missing or
differs, and says how to mend it.

Examples:
  wattledger topics --config /etc/wattledger/wattledger.yaml
  wattledger topics --create --set ingest.topics.partitions=24 --set ingest.topics.replicas=3
  wattledger topics --embedded --json`
}

// topicReport is one topic.
type topicReport struct {
	kafkaconn.TopicState
	Wanted topicWanted `json:"wanted"`
	Faults []string    `json:"faults"`
}

// topicWanted is how a topic has to be, in Kafka's own terms.
type topicWanted struct {
	Partitions      int    `json:"partitions"`
	Replicas        int    `json:"replicas"`
	Cleanup         string `json:"cleanup_policy"`
	RetentionMs     int64  `json:"retention_ms"`
	MaxMessageBytes int    `json:"max_message_bytes"`
}

// topicsReport is what the command prints.
type topicsReport struct {
	Topics []topicReport `json:"topics"`
	Faults int           `json:"faults"`
}

// Run compares.
func (c *topicsCmd) Run(ctx context.Context, env *process.Env) error {
	cfg, err := c.load(ctx, env)
	if err != nil {
		return err
	}
	if err := errors.Join(cfg.Ingest.Validate(), cfg.Kafka.Validate()); err != nil {
		return err
	}
	wanted := cfg.Ingest.Topics.Wanted(cfg.Kafka.MaxMessageBytes)
	if c.Embedded {
		wanted = embeddedTopics(cfg.Ingest.Topics).Wanted(cfg.Kafka.MaxMessageBytes)
	}
	return once(ctx, env, func(ctx context.Context) error {
		if c.Create {
			if err := kafkaconn.EnsureTopics(ctx, cfg.Kafka, wanted); err != nil {
				return err
			}
		}
		r, err := compareTopics(ctx, cfg.Kafka, wanted)
		if err != nil {
			return err
		}
		if env.Flags.JSON && r.Faults == 0 {
			return printJSON(env.Stdout, r)
		}
		if !env.Flags.JSON {
			if err := r.print(env); err != nil {
				return err
			}
		}
		if r.Faults > 0 {
			return &foundError{strings.Join(r.lines(), "\n"), r}
		}
		return nil
	})
}

func compareTopics(ctx context.Context, conn kafkaconn.Config, wanted []kafkaconn.Topic) (r topicsReport, err error) {
	names := make([]string, len(wanted))
	for i, t := range wanted {
		names[i] = t.Name
	}
	states, err := kafkaconn.DescribeTopics(ctx, conn, names)
	if err != nil {
		return r, err
	}
	for i, t := range wanted {
		one := topicReport{TopicState: states[i], Faults: []string{}, Wanted: topicWanted{
			Partitions: t.Partitions, Replicas: t.Replicas, Cleanup: "delete", RetentionMs: t.Retention.Milliseconds(), MaxMessageBytes: t.MaxMessageBytes,
		}}
		if t.Compact {
			one.Wanted.Cleanup = "compact"
		}
		if t.Compact || t.Retention == kafkaconn.Forever {
			one.Wanted.RetentionMs = -1
		}
		for _, fault := range t.Compare(states[i]) {
			one.Faults = append(one.Faults, fault.Error())
		}
		r.Topics = append(r.Topics, one)
		r.Faults += len(one.Faults)
	}
	return r, nil
}

// lines are the faults, one a line.
func (r topicsReport) lines() (out []string) {
	for _, t := range r.Topics {
		out = append(out, t.Faults...)
	}
	return out
}

func (r topicsReport) print(env *process.Env) error {
	table := progress.Table{Title: "Topics (wanted where it differs)", Columns: []progress.Column{
		progress.Text("topic"), progress.Number("partitions", ""), progress.Number("replicas", ""), progress.Number("in sync", ""), progress.Text("cleanup"),
		progress.Text("kept for"), progress.Number("max message", "B"),
	}}
	for _, t := range r.Topics {
		if !t.Exists {
			table.Add(t.Name, "missing", "", "", "", "", "")
			continue
		}
		retention, want := period(t.RetentionMs), period(t.Wanted.RetentionMs)
		switch {
		case t.Wanted.Cleanup == "compact":
			retention, want = "until stated anew", "until stated anew"
		case t.RetentionMs < 0 || t.Wanted.RetentionMs >= 0 && t.RetentionMs >= t.Wanted.RetentionMs:
			want = retention
		}
		table.Add(t.Name, differing(t.Partitions, t.Wanted.Partitions), differing(t.Replicas, t.Wanted.Replicas), t.MinInSync,
			either(t.Cleanup, t.Wanted.Cleanup), either(retention, want), differing(t.MaxMessageBytes, t.Wanted.MaxMessageBytes))
	}
	return printTable(env.Stdout, &table)
}

// differing is what there is, and what is wanted where there is less.
func differing(is, want int) string {
	if is >= want {
		return progress.Grouped(int64(is))
	}
	return fmt.Sprintf("%s (%s)", progress.Grouped(int64(is)), progress.Grouped(int64(want)))
}

// either is what there is, and what is wanted where it is another.
func either(is, want string) string {
	if is == want {
		return is
	}
	return fmt.Sprintf("%s (%s)", is, want)
}

// period is a retention in words.
func period(ms int64) string {
	switch d := time.Duration(ms) * time.Millisecond; {
	case ms < 0:
		return "ever"
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours())/24)
	default:
		return d.String()
	}
}
