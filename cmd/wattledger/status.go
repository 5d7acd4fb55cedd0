package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/wattledger/wattledger/aggregator/clickhouse"
	"github.com/wattledger/wattledger/ingest"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// statusCmd says how the pipeline is.
type statusCmd struct {
	services
}

// Help shows examples.
func (statusCmd) Help() string {
	return `Shows how far ingest is behind, the last closed hour of each site and what the next one waits for, cuts without a
sample after them, refused messages, messages that were sent and have not arrived, and the incidents of the last 24 hours.

Examples:
  wattledger status --embedded
  wattledger status --config /etc/wattledger/wattledger.yaml --json`
}

// topicStatus is one topic's lag.
type topicStatus struct {
	Topic  string `json:"topic"`
	Stored int64  `json:"messages"`
	Lag    int64  `json:"lag"`
}

// siteStatus is one site's ledger.
type siteStatus struct {
	Site       string   `json:"site"`
	LastClosed string   `json:"last_closed_hour"`
	Closed     uint64   `json:"hours_closed"`
	ByLateness uint64   `json:"closed_by_lateness"`
	OpenCuts   uint64   `json:"open_cuts"`
	Newest     string   `json:"complete_up_to"`
	Waiting    []string `json:"waiting_for"`
}

// incidentStatus counts the incidents of one kind and reason on one node.
type incidentStatus struct {
	Site   string `json:"site"`
	Node   string `json:"node"`
	Kind   string `json:"kind"`
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
	Last   string `json:"last"`
}

// missingStatus is what has not arrived of one source.
type missingStatus struct {
	Site     string `json:"site"`
	Topic    string `json:"topic"`
	Source   string `json:"source"`
	Gaps     uint64 `json:"gaps"`
	Messages uint64 `json:"messages"`
	From     string `json:"from"`
	To       string `json:"to"`
}

// recent is how long an incident is shown after it was received.
const recent = 24 * time.Hour

// pipelineStatus is what the command prints.
type pipelineStatus struct {
	Topics  []topicStatus `json:"topics"`
	Sites   []siteStatus  `json:"sites"`
	Refused int64         `json:"refused"`
	// Missing are messages that were sent, by their sequence numbers, and have not arrived.
	Missing []missingStatus `json:"missing"`
	// Incidents were received in the last 24 hours.
	Incidents []incidentStatus `json:"incidents"`
}

// Run reads Kafka's offsets and the ledger.
func (c *statusCmd) Run(ctx context.Context, env *process.Env) error {
	cfg, err := c.load(ctx, env)
	if err != nil {
		return err
	}
	return once(ctx, env, func(ctx context.Context) error {
		st, err := readStatus(ctx, cfg)
		if err != nil {
			return err
		}
		if env.Flags.JSON {
			return printJSON(env.Stdout, st)
		}
		return st.print(env)
	})
}

func readStatus(ctx context.Context, cfg config) (pipelineStatus, error) {
	var st pipelineStatus
	lag, err := kafkaconn.Lag(ctx, cfg.Kafka, cfg.Ingest.Consumer.Group.Group, ingest.Topics())
	if err != nil {
		return st, err
	}
	byTopic := map[string]*topicStatus{}
	for _, name := range ingest.Topics() {
		byTopic[name] = &topicStatus{Topic: name}
	}
	for _, p := range lag {
		t := byTopic[p.Topic]
		t.Stored += p.End - p.First
		t.Lag += p.Messages()
	}
	for _, name := range ingest.Topics() {
		if name == wire.TopicRefused {
			st.Refused = byTopic[name].Stored
			continue
		}
		st.Topics = append(st.Topics, *byTopic[name])
	}
	db, err := chconn.Open(ctx, cfg.ClickHouse)
	if err != nil {
		return st, err
	}
	defer db.Close()
	store, err := clickhouse.New(db)
	if err != nil {
		return st, err
	}
	sites, err := store.Status(ctx)
	if err != nil {
		return st, err
	}
	for _, s := range sites {
		st.Sites = append(st.Sites, siteStatus{
			Site: s.Site, LastClosed: instant(s.LastClosed), Closed: s.Batches, ByLateness: s.ByLateness, OpenCuts: s.OpenCuts,
			Newest: instant(s.Newest), Waiting: append([]string{}, s.Waiting...),
		})
	}
	missing, err := store.Missing(ctx)
	if err != nil {
		return st, err
	}
	st.Missing = []missingStatus{}
	for _, m := range missing {
		st.Missing = append(st.Missing, missingStatus{m.Site, m.Topic, m.Source, m.Gaps, m.Messages, instant(m.From), instant(m.To)})
	}
	incidents, err := store.Incidents(ctx, unit.MicrosOf(time.Now().Add(-recent)))
	if err != nil {
		return st, err
	}
	st.Incidents = []incidentStatus{}
	for _, i := range incidents {
		st.Incidents = append(st.Incidents, incidentStatus{i.Site, i.Node, i.Kind, i.Reason, i.Count, instant(i.Last)})
	}
	return st, nil
}

// refused counts the messages kept with the reason why they could not be stored.
func refused(ctx context.Context, cfg config) (int64, error) {
	lag, err := kafkaconn.Lag(ctx, cfg.Kafka, cfg.Ingest.Consumer.Group.Group, []string{wire.TopicRefused})
	if err != nil {
		return 0, err
	}
	var n int64
	for _, p := range lag {
		n += p.End - p.First
	}
	return n, nil
}

func instant(t unit.Micros) string {
	if t == 0 {
		return ""
	}
	return t.Time().Format(time.RFC3339)
}

func (st pipelineStatus) print(env *process.Env) error {
	topics := progress.Table{Title: "Ingest", Columns: []progress.Column{progress.Text("topic"), progress.Number("messages", ""), progress.Number("lag", "")}}
	for _, t := range st.Topics {
		topics.Add(t.Topic, progress.Grouped(t.Stored), progress.Grouped(t.Lag))
	}
	if err := printTable(env.Stdout, &topics); err != nil {
		return err
	}
	sites := progress.Table{Title: "Ledger", Columns: []progress.Column{
		progress.Text("site"), progress.Text("last closed hour"), progress.Number("hours", ""), progress.Number("by lateness", ""),
		progress.Number("open cuts", ""), progress.Text("data until"), progress.Text("next hour waits for"),
	}}
	for _, s := range st.Sites {
		sites.Add(s.Site, s.LastClosed, s.Closed, s.ByLateness, s.OpenCuts, s.Newest, few(s.Waiting))
	}
	if err := printTable(env.Stdout, &sites); err != nil {
		return err
	}
	if err := st.printMissing(env); err != nil {
		return err
	}
	if err := st.printIncidents(env); err != nil {
		return err
	}
	if st.Refused > 0 {
		_, err := fmt.Fprintf(env.Stdout, "%d messages refused: they are kept in topic %s with reason and origin; `wattledger quarantine list` shows them\n", st.Refused, wire.TopicRefused)
		return err
	}
	_, err := fmt.Fprintln(env.Stdout, "No message refused.")
	return err
}

// shown is how many lines of a table are printed; the JSON has all.
const shown = 20

func (st pipelineStatus) printMissing(env *process.Env) error {
	if len(st.Missing) == 0 {
		_, err := fmt.Fprintln(env.Stdout, "No message is missing.")
		return err
	}
	table := progress.Table{Title: "Messages sent and not arrived", Columns: []progress.Column{
		progress.Text("site"), progress.Text("topic"), progress.Text("source"), progress.Number("gaps", ""), progress.Number("messages", ""), progress.Text("from"), progress.Text("to"),
	}}
	for _, m := range st.Missing[:min(shown, len(st.Missing))] {
		table.Add(m.Site, m.Topic, m.Source, m.Gaps, m.Messages, m.From, m.To)
	}
	if err := printTable(env.Stdout, &table); err != nil {
		return err
	}
	return more(env, len(st.Missing))
}

// more says that lines were left out.
func more(env *process.Env, lines int) error {
	if lines <= shown {
		return nil
	}
	_, err := fmt.Fprintf(env.Stdout, "%d lines more: the JSON has all\n", lines-shown)
	return err
}

func (st pipelineStatus) printIncidents(env *process.Env) error {
	if len(st.Incidents) == 0 {
		_, err := fmt.Fprintln(env.Stdout, "No incident in the last 24 hours.")
		return err
	}
	table := progress.Table{Title: "Incidents of the last 24 hours", Columns: []progress.Column{
		progress.Text("site"), progress.Text("node"), progress.Text("kind"), progress.Text("reason"), progress.Number("count", ""), progress.Text("last"),
	}}
	for _, i := range st.Incidents[:min(shown, len(st.Incidents))] {
		table.Add(i.Site, i.Node, i.Kind, i.Reason, i.Count, i.Last)
	}
	if err := printTable(env.Stdout, &table); err != nil {
		return err
	}
	return more(env, len(st.Incidents))
}

// few names the first of a list and counts the rest.
func few(names []string) string {
	const shown = 3
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}
