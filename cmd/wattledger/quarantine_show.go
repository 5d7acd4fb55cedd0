package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/ingest/kafka"
	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/ingest/quarantine"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	"github.com/wattledger/wattledger/schemas/unit"
)

type quarantineShowCmd struct {
	services
	Position string `arg:"" help:"Which one, as list prints it: partition:offset of wl.refused.v1."`
	Rows     int    `help:"How many rows of each column, and records of each list, are shown." default:"3"`
	Raw      string `help:"Also write the original bytes to this file." placeholder:"FILE"`
}

// Help shows examples.
func (quarantineShowCmd) Help() string {
	return `Examples:
  wattledger quarantine show 0:12 --embedded
  wattledger quarantine show 0:12 --raw message.bin --json`
}

// showing is what show prints with --json.
type showing struct {
	Entry keptEntry `json:"entry"`
	// Key is the original's in hex.
	Key     string                 `json:"key_hex"`
	Message quarantine.Description `json:"message"`
	// Now is why this program would refuse it if it came now; empty when it would be stored, as far as the rows please the engine.
	Now string `json:"refused_now_for"`
	// Cut is why only the beginning is shown.
	Cut string `json:"cut,omitempty"`
	// StateError is why its state is not known; Raw the file that its bytes were written to.
	StateError string `json:"state_error,omitempty"`
	Raw        string `json:"raw,omitempty"`
}

// Run shows it.
func (c *quarantineShowCmd) Run(ctx context.Context, env *process.Env) error {
	at, err := quarantine.ParsePosition(c.Position)
	if err != nil {
		return process.Usage(err)
	}
	if c.Rows < 0 {
		return process.Usagef("--rows %d is below 0", c.Rows)
	}
	cfg, err := c.load(ctx, env)
	if err != nil {
		return err
	}
	return once(ctx, env, func(ctx context.Context) error {
		s, err := c.show(ctx, cfg, at)
		if err != nil {
			return err
		}
		if env.Flags.JSON {
			return printJSON(env.Stdout, s)
		}
		return s.print(env)
	})
}

func (c *quarantineShowCmd) show(ctx context.Context, cfg config, at quarantine.Position) (showing, error) {
	archive := kafka.NewArchive(cfg.Kafka)
	defer archive.Close()
	var s showing
	k, err := archive.At(ctx, at)
	if err != nil {
		return s, err
	}
	if k.Cut() {
		whole, err := archive.Original(ctx, k)
		if err != nil && c.Raw != "" {
			return s, err // half of the bytes would look like all of them
		}
		if err != nil {
			s.Cut = err.Error()
		}
		k = whole
	}
	if c.Raw != "" {
		if err := process.WriteFile(c.Raw, k.Value, 0o644); err != nil {
			return s, err
		}
		s.Raw = c.Raw
	}
	stored, done := ledgerOf(ctx, cfg)
	defer done()
	one := []keptEntry{entryOf(k)}
	if err := settle(one, stored); err != nil {
		s.StateError = err.Error()
	}
	s.Entry, s.Key, s.Message = one[0], hex.EncodeToString(k.Key), quarantine.Describe(k.Topic, k.Value, c.Rows)
	if refusal := pipeline.Judge(k.Message(unit.MicrosOf(time.Now()))); refusal != nil {
		s.Now = string(refusal.Reason) + ": " + refusal.Detail
	}
	return s, nil
}

func (s showing) print(env *process.Env) error {
	e := s.Entry
	head := progress.Table{Title: "Refused message " + e.Position.String(), Columns: []progress.Column{progress.Text("what"), progress.Text("is")}}
	head.Add("put aside", e.PutAside)
	head.Add("received", e.Received)
	head.Add("from", fmt.Sprintf("%s partition %d offset %d", e.Topic, e.Partition, e.Offset))
	head.Add("key", e.Key)
	head.Add("bytes", progress.Grouped(int64(e.Bytes)))
	head.Add("identity", e.Identity)
	head.Add("state", e.State)
	out := env.Stdout
	if err := printTable(out, &head); err != nil {
		return err
	}
	fmt.Fprintf(out, "Refused for %s: %s\n", e.Reason, e.Detail)
	switch {
	case e.State == quarantine.Stored:
		fmt.Fprintln(out, "A message of its identity is stored: nothing is left to be done.")
	case s.Now == "":
		fmt.Fprintln(out, "This program would take it now, if the engine does: `wattledger quarantine replay "+e.Position.String()+"` publishes it again.")
	case s.Now == e.Reason+": "+e.Detail:
		fmt.Fprintln(out, "It would be refused for that again: mend its bytes (--raw writes them), and replay it --with them.")
	default:
		fmt.Fprintln(out, "It would be refused now for "+s.Now)
	}
	fmt.Fprintln(out)
	return s.printMessage(env)
}

func (s showing) printMessage(env *process.Env) error {
	m, out := s.Message, env.Stdout
	values := progress.Table{Title: m.Kind, Columns: []progress.Column{progress.Text("field"), progress.Text("value")}}
	columns := progress.Table{Title: "Columns", Columns: []progress.Column{progress.Text("column"), progress.Number("rows", "")}}
	widest := 0
	for _, f := range m.Fields {
		switch {
		case f.Column:
			columns.Add(append([]any{f.Name, f.Count}, cells(f.Values)...)...)
			widest = max(widest, len(f.Values))
		case f.List:
			values.Add(f.Name, fmt.Sprintf("%d records", f.Count))
			for i, v := range f.Values {
				values.Add(fmt.Sprintf("  %d", i), v)
			}
		default:
			values.Add(f.Name, first(f.Values))
		}
	}
	for i := range widest {
		columns.Columns = append(columns.Columns, progress.Number(fmt.Sprintf("row %d", i), ""))
	}
	for _, t := range []*progress.Table{&values, &columns} {
		if len(t.Rows) > 0 {
			if err := printTable(out, t); err != nil {
				return err
			}
		}
	}
	for _, text := range []string{s.Cut, m.Fault, m.Rest} {
		if text != "" {
			fmt.Fprintln(out, text)
		}
	}
	if s.StateError != "" {
		fmt.Fprintf(env.Stderr, "whether it is stored is not known: %s\n", s.StateError)
	}
	return nil
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func cells(values []string) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}
