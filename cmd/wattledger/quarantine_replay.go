package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/wattledger/wattledger/ingest/kafka"
	"github.com/wattledger/wattledger/ingest/quarantine"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	"github.com/wattledger/wattledger/schemas/unit"
)

type quarantineReplayCmd struct {
	services
	picking
	Positions []string      `arg:"" optional:"" name:"position" help:"Which ones, as list prints them: partition:offset of wl.refused.v1."`
	All       bool          `help:"All of them."`
	With      string        `help:"Publish the bytes of this file instead, which is the one message mended." placeholder:"FILE" type:"existingfile"`
	Force     bool          `help:"Publish also what this program would refuse: for an ingest that takes more."`
	DryRun    bool          `help:"Say what would be done, and publish nothing."`
	Wait      time.Duration `help:"How long to wait for ingest to store what was published; 0 does not." default:"15s"`
}

// Help shows examples.
func (quarantineReplayCmd) Help() string {
	return `The message goes to the topic it came from, under its key and with its identity: replayed twice it is stored once. What ingest would
refuse again is named and left alone; mend it, and publish the mended bytes by --with.

Examples:
  wattledger quarantine replay 0:12 0:13 --embedded
  wattledger quarantine replay --reason invalid --since 2026-02-01T00:00:00Z --dry-run
  wattledger quarantine replay 0:12 --with mended.bin
  wattledger quarantine replay --all --wait 1m --json`
}

// republished is what replay prints with --json.
type republished struct {
	Messages []quarantine.Outcome    `json:"messages"`
	Counts   map[quarantine.Done]int `json:"counts"`
	// Failed is how many still need somebody.
	Failed int `json:"failed"`
}

// chosen are the positions, checked together with the flags.
func (c *quarantineReplayCmd) chosen() ([]quarantine.Position, error) {
	picked := c.Reason != "" || c.Topic != "" || c.Since != ""
	switch {
	case len(c.Positions) > 0 && (picked || c.All):
		return nil, process.Usagef("give positions, or --all, --reason, --topic and --since; not both")
	case len(c.Positions) == 0 && !picked && !c.All:
		return nil, process.Usagef("say which messages: positions as `quarantine list` prints them, --reason, --topic, --since, or --all")
	case c.With != "" && len(c.Positions) != 1:
		return nil, process.Usagef("--with is the mended bytes of one message: give its position, and no other")
	case c.Wait < 0:
		return nil, process.Usagef("--wait %v is below 0", c.Wait)
	}
	var out []quarantine.Position
	for _, text := range c.Positions {
		p, err := quarantine.ParsePosition(text)
		if err != nil {
			return nil, process.Usage(err)
		}
		out = append(out, p)
	}
	return out, nil
}

// Run publishes them, in pieces that fit into memory.
func (c *quarantineReplayCmd) Run(ctx context.Context, env *process.Env) error {
	positions, err := c.chosen()
	if err != nil {
		return err
	}
	filter, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	cfg, err := c.load(ctx, env)
	if err != nil {
		return err
	}
	var mended []byte
	if c.With != "" {
		if mended, err = os.ReadFile(c.With); err != nil {
			return fmt.Errorf("mended message: %w", err)
		}
	}
	return once(ctx, env, func(ctx context.Context) error {
		archive := kafka.NewArchive(cfg.Kafka)
		defer archive.Close()
		stored, done := ledgerOf(ctx, cfg)
		defer done()
		r := &republish{
			Replayer: quarantine.Replayer{Originals: archive, Stored: stored, Sender: archive, DryRun: c.DryRun, Force: c.Force},
			archive:  archive, result: republished{Messages: []quarantine.Outcome{}, Counts: map[quarantine.Done]int{}},
		}
		if r.before, err = archive.Spans(ctx); err != nil {
			return err
		}
		if len(positions) > 0 {
			err = r.positions(ctx, positions, c.With != "", mended)
		} else {
			err = r.picked(ctx, env, filter)
		}
		if err == nil && c.Wait > 0 {
			err = r.await(ctx, env, c.Wait)
		}
		// What was published is told even if something stopped it there.
		if told := r.tell(env); err == nil {
			err = told
		}
		return err
	})
}

// tell prints what became of each message. One that still needs somebody is an error after that.
func (r *republish) tell(env *process.Env) error {
	for _, o := range r.result.Messages {
		r.result.Counts[o.Done]++
		if o.Failed() {
			r.result.Failed++
		}
	}
	var failed error
	if r.result.Failed > 0 {
		failed = &foundError{fmt.Sprintf("%d of %d messages still need somebody", r.result.Failed, len(r.result.Messages)), r.result}
	}
	switch {
	case env.Flags.JSON && failed == nil:
		return printJSON(env.Stdout, r.result)
	case env.Flags.JSON:
		return failed
	case len(r.result.Messages) == 0:
		_, err := fmt.Fprintln(env.Stdout, "No message fits.")
		return err
	}
	table := progress.Table{Title: "Replay", Columns: []progress.Column{
		progress.Text("position"), progress.Text("to"), progress.Text("identity"), progress.Text("outcome"), progress.Text("detail"),
	}}
	for _, o := range r.result.Messages {
		table.Add(o.Position, o.Topic, o.Identity, o.Done, o.Detail)
	}
	if err := printTable(env.Stdout, &table); err != nil {
		return err
	}
	if n := r.result.Counts[quarantine.Published]; n > 0 {
		fmt.Fprintf(env.Stdout, "%d published and not seen stored yet: `wattledger quarantine list` says when they are\n", n)
	}
	return failed
}

// now is the time at which a message would be received.
func now() unit.Micros { return unit.MicrosOf(time.Now()) }
