package main

import (
	"context"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/ingest/clickhouse"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
)

// compactCmd removes rows that stand twice.
type compactCmd struct {
	services
	Since  time.Duration `help:"Look at what was received since so long ago, by whole days." default:"48h"`
	DryRun bool          `help:"Say what stands twice, and change nothing."`
}

// Help shows examples.
func (compactCmd) Help() string {
	return `Removes rows that stand twice in samples and messages: what an ingester left behind that was cut off in the middle of an
insert. An account is the same with and without them. A running ingest does this by itself every hour, unless
ingest.consumer.compact_every is 0. It writes the days anew in which it finds something.

Examples:
  wattledger compact --config /etc/wattledger/wattledger.yaml --dry-run
  wattledger compact --embedded --since 720h`
}

// repeatedRows is what stands twice on one day.
type repeatedRows struct {
	Table     string `json:"table"`
	Day       uint32 `json:"day"`
	Partition int32  `json:"kafka_partition"`
	Rows      uint64 `json:"rows"`
}

// compacted is what the command prints.
type compacted struct {
	Found   []repeatedRows    `json:"found"`
	Removed map[string]uint64 `json:"removed"`
}

// Run looks, and removes what it finds.
func (c *compactCmd) Run(ctx context.Context, env *process.Env) error {
	if c.Since < 0 {
		return process.Usagef("--since %v lies in the future; give a time like 48h", c.Since)
	}
	cfg, err := c.load(ctx, env)
	if err != nil {
		return err
	}
	return once(ctx, env, func(ctx context.Context) error {
		store := clickhouse.New(func() (chconn.Config, error) { return cfg.ClickHouse, nil }, 1, env.Metrics)
		defer store.Close()
		since := time.Now().Add(-c.Since)
		found, err := store.Repeats(ctx, since)
		if err != nil {
			return err
		}
		out := compacted{Found: []repeatedRows{}, Removed: map[string]uint64{}}
		for _, r := range found {
			out.Found = append(out.Found, repeatedRows(r))
		}
		if !c.DryRun {
			if out.Removed, err = store.Compact(ctx, since); err != nil {
				return err
			}
		}
		if env.Flags.JSON {
			return printJSON(env.Stdout, out)
		}
		return out.print(env)
	})
}

func (c compacted) print(env *process.Env) error {
	if len(c.Found) == 0 {
		_, err := fmt.Fprintln(env.Stdout, "Nothing stands twice.")
		return err
	}
	table := progress.Table{Title: "Rows that stand twice", Columns: []progress.Column{
		progress.Text("table"), progress.Text("day"), progress.Number("kafka partition", ""), progress.Number("rows", ""),
	}}
	for _, r := range c.Found {
		table.Add(r.Table, r.Day, r.Partition, r.Rows)
	}
	if err := printTable(env.Stdout, &table); err != nil {
		return err
	}
	_, err := fmt.Fprintf(env.Stdout, "%d rows of samples and %d of messages removed\n", c.Removed["samples"], c.Removed["messages"])
	return err
}
