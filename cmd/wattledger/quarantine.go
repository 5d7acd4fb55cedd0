package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wattledger/wattledger/ingest/clickhouse"
	"github.com/wattledger/wattledger/ingest/kafka"
	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/ingest/quarantine"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// quarantineCmd looks after the messages that ingest could not store.
type quarantineCmd struct {
	List   quarantineListCmd   `cmd:"" help:"List refused messages with reason, origin and what has become of them."`
	Show   quarantineShowCmd   `cmd:"" help:"Show one refused message, decoded as far as it can be."`
	Replay quarantineReplayCmd `cmd:"" help:"Publish refused messages again to the topic they came from."`
}

// picking are the flags that pick refused messages.
type picking struct {
	Reason string `help:"Only those refused for this reason." placeholder:"REASON"`
	Topic  string `help:"Only those that came from this topic." placeholder:"TOPIC"`
	Since  string `help:"Only those put aside at or after this time: RFC 3339, or how long ago, as in 36h." placeholder:"TIME"`
}

func (p picking) filter(now time.Time) (quarantine.Filter, error) {
	f := quarantine.Filter{Reason: p.Reason, Topic: p.Topic}
	if p.Since == "" {
		return f, nil
	}
	if ago, err := time.ParseDuration(p.Since); err == nil {
		f.Since = unit.MicrosOf(now.Add(-ago))
		return f, nil
	}
	t, err := time.Parse(time.RFC3339, p.Since)
	if err != nil {
		return f, process.Usagef("--since %q is neither an RFC 3339 time (2026-01-31T12:00:00Z) nor how long ago (36h)", p.Since)
	}
	f.Since = unit.MicrosOf(t)
	return f, nil
}

// keptEntry is one refused message as the commands print it.
type keptEntry struct {
	Position  quarantine.Position `json:"position"`
	PutAside  string              `json:"put_aside"`
	Received  string              `json:"received"`
	Topic     string              `json:"topic"`
	Partition int                 `json:"partition"`
	Offset    int64               `json:"offset"`
	Key       string              `json:"key"`
	Reason    string              `json:"reason"`
	Detail    string              `json:"detail"`
	Bytes     int                 `json:"bytes"`
	Kept      int                 `json:"kept_bytes"`
	Identity  string              `json:"identity,omitempty"`
	State     quarantine.State    `json:"state"`

	at unit.Micros
	id *quarantine.Identity
}

// entryOf leaves the state open or unknown. It does not hold on to the bytes.
func entryOf(k quarantine.Kept) keptEntry {
	e := keptEntry{
		Position: k.Position, PutAside: instant(k.At), Received: instant(k.Received), Topic: k.Topic, Partition: k.Partition, Offset: k.Offset,
		Key: quarantine.Text(k.Key), Reason: k.Reason, Detail: k.Detail, Bytes: k.ValueBytes, Kept: len(k.Value), State: quarantine.Unknown, at: k.At,
	}
	if id, ok := k.Identity(); ok {
		e.id, e.Identity, e.State = &id, id.String(), quarantine.Open
	}
	return e
}

// settle asks which of them are stored.
func settle(entries []keptEntry, stored quarantine.Histories) error {
	var ids []quarantine.Identity
	for _, e := range entries {
		if e.id != nil {
			ids = append(ids, *e.id)
		}
	}
	there, err := quarantine.StoredOf(ids, stored)
	for i := range entries {
		switch e := &entries[i]; {
		case err != nil:
			e.State = ""
		case e.id != nil && there[*e.id]:
			e.State = quarantine.Stored
		}
	}
	return err
}

// newest sorts them by when they were put aside, and leaves the last n; 0 leaves all.
func newest(entries []keptEntry, n int) []keptEntry {
	slices.SortStableFunc(entries, func(a, b keptEntry) int { return cmp.Compare(a.at, b.at) })
	if n > 0 && len(entries) > n {
		return slices.Delete(entries, 0, len(entries)-n)
	}
	return entries
}

// ledgerOf asks the database which messages are stored.
func ledgerOf(ctx context.Context, cfg config) (stored quarantine.Histories, done func()) {
	store := clickhouse.New(func() (chconn.Config, error) { return cfg.ClickHouse, nil }, 1, nil)
	return func(topic string, asked []pipeline.Question) ([]pipeline.Answer, error) {
		return store.Histories(ctx, topic, asked)
	}, func() { _ = store.Close() } // it only read
}

type quarantineListCmd struct {
	services
	picking
	Limit int `help:"Show the newest so many; 0 shows all." default:"50"`
}

// Help shows examples.
func (quarantineListCmd) Help() string {
	return `A message is "stored" when one of its identity (site, source, run, sequence) is stored: itself, replayed or mended, or another
delivery of it. It is "open" when none is, and "unknown" when its bytes do not say who sent it.

Examples:
  wattledger quarantine list --embedded
  wattledger quarantine list --reason shape --since 36h --limit 0 --json`
}

// quarantined is what list prints with --json.
type quarantined struct {
	Entries []keptEntry `json:"entries"`
	// Picked is how many the flags pick, Total how many there are; Reasons counts those picked.
	Picked  int            `json:"picked"`
	Total   int            `json:"total"`
	Reasons map[string]int `json:"reasons"`
	// StateError is why no state is known.
	StateError string `json:"state_error,omitempty"`
}

// Run lists them.
func (c *quarantineListCmd) Run(ctx context.Context, env *process.Env) error {
	if c.Limit < 0 {
		return process.Usagef("--limit %d is below 0", c.Limit)
	}
	filter, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	cfg, err := c.load(ctx, env)
	if err != nil {
		return err
	}
	return once(ctx, env, func(ctx context.Context) error {
		q, err := c.list(ctx, env, cfg, filter)
		if err != nil {
			return err
		}
		if env.Flags.JSON {
			return printJSON(env.Stdout, q)
		}
		return q.print(env)
	})
}

func (c *quarantineListCmd) list(ctx context.Context, env *process.Env, cfg config, filter quarantine.Filter) (quarantined, error) {
	archive := kafka.NewArchive(cfg.Kafka)
	defer archive.Close()
	q := quarantined{Entries: []keptEntry{}, Reasons: map[string]int{}}
	spans, err := archive.Spans(ctx)
	if err != nil {
		return q, err
	}
	err = eachKept(ctx, env, archive, spans, func(k quarantine.Kept) error {
		q.Total++
		if !filter.Picks(k) {
			return nil
		}
		q.Picked++
		q.Reasons[k.Reason]++
		if q.Entries = append(q.Entries, entryOf(k)); c.Limit > 0 && len(q.Entries) >= 2*c.Limit {
			q.Entries = newest(q.Entries, c.Limit)
		}
		return nil
	})
	if err != nil {
		return q, err
	}
	q.Entries = newest(q.Entries, c.Limit)
	stored, done := ledgerOf(ctx, cfg)
	defer done()
	if err := settle(q.Entries, stored); err != nil { // what is refused can be looked at while the database is away
		q.StateError = err.Error()
	}
	return q, nil
}

// eachKept reads the spans of wl.refused.v1 and shows how far it is.
func eachKept(ctx context.Context, env *process.Env, archive *kafka.Archive, spans []kafkaconn.Span, each func(quarantine.Kept) error) error {
	var total int64
	for _, s := range spans {
		total += s.End - s.First
	}
	if total == 0 {
		return nil
	}
	stage := progress.New(env.Stderr, env.Flags.Quiet || env.Flags.JSON).Stage("Read "+wire.TopicRefused, total, "messages")
	err := archive.Kept(ctx, spans, func(k quarantine.Kept) error {
		stage.Add(1)
		return each(k)
	})
	if err != nil {
		stage.Fail()
		return err
	}
	stage.Done()
	return nil
}

func (q quarantined) print(env *process.Env) error {
	if q.Total == 0 {
		_, err := fmt.Fprintln(env.Stdout, "No message refused.")
		return err
	}
	if q.Picked == 0 {
		_, err := fmt.Fprintf(env.Stdout, "No message of %d in %s fits.\n", q.Total, wire.TopicRefused)
		return err
	}
	table := progress.Table{Title: "Refused messages", Columns: []progress.Column{
		progress.Text("position"), progress.Text("received"), progress.Text("from"), progress.Text("key"), progress.Text("reason"),
		progress.Number("bytes", ""), progress.Text("state"), progress.Text("detail"),
	}}
	for _, e := range q.Entries {
		from := fmt.Sprintf("%s %d:%d", e.Topic, e.Partition, e.Offset)
		if e.Topic == "" {
			from = ""
		}
		table.Add(e.Position, e.Received, from, e.Key, e.Reason, progress.Grouped(int64(e.Bytes)), e.State, e.Detail)
	}
	if err := printTable(env.Stdout, &table); err != nil {
		return err
	}
	if more := q.Picked - len(q.Entries); more > 0 {
		fmt.Fprintf(env.Stdout, "%d older ones are not shown: --limit 0 shows all\n", more)
	}
	if q.StateError != "" {
		fmt.Fprintf(env.Stderr, "what has become of them is not known: %s\n", q.StateError)
	}
	return nil
}
