package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/keyring"
	"github.com/wattledger/wattledger/cmd/wattledger/fleet"
	"github.com/wattledger/wattledger/cmd/wattledger/play"
	"github.com/wattledger/wattledger/collector/kafka"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	"github.com/wattledger/wattledger/schemas/unit"
)

// demoCmd plays a day and accounts it.
type demoCmd struct {
	listens
	Once    bool          `help:"End when the day is accounted, instead of collecting live."`
	Seed    uint64        `help:"Seed of everything that is random." default:"1"`
	Start   time.Time     `help:"First hour of the day, RFC 3339; the 24 hours before the current one if absent." placeholder:"TIME"`
	Hours   int           `help:"Hours to play." default:"24"`
	Period  time.Duration `help:"The collectors' period in the play." default:"10s"`
	Out     string        `help:"Folder for reports, invoices and the ledger export." default:"demo-out" placeholder:"DIR"`
	Library string        `help:"The simulated libdcgm." default:"bin/sim/libdcgm.so.4" placeholder:"FILE"`

	Trace    string `help:"Play a real scheduler trace instead of the fictional fleet: openb." enum:",openb" default:"" placeholder:"NAME" group:"Trace"`
	Nodes    string `help:"The trace's nodes." type:"existingfile" placeholder:"FILE" group:"Trace"`
	Pods     string `help:"The trace's pods." type:"existingfile" placeholder:"FILE" group:"Trace"`
	Duty     string `help:"GPU duty cycles to take utilisation from; constant by pod if absent." type:"existingfile" placeholder:"FILE" group:"Trace"`
	FromS    int64  `name:"from" help:"Second of the trace that becomes the first hour." default:"12844800" placeholder:"SECOND" group:"Trace"`
	MaxNodes int    `help:"Play at most this many nodes, taken evenly; 0 plays all." default:"0" placeholder:"N" group:"Trace"`
}

// Help shows examples.
func (demoCmd) Help() string {
	return `Plays a fictional fleet of two sites, 20 nodes, 144 GPUs and ten tenants through collector, Kafka, ingest, ClickHouse
and aggregator, all on this machine, and writes what it accounts.

Examples:
  wattledger demo
  wattledger demo --once --seed 7 --out /tmp/demo --json
  wattledger demo --once --start 2026-03-01T00:00:00Z --hours 6
  wattledger demo --once --trace openb --nodes nodes.csv --pods pods.csv --duty duty.csv.gz --hours 1`
}

// Validate is called by kong.
func (c *demoCmd) Validate() error {
	if c.Hours < 1 || c.Hours > 24*31 {
		return fmt.Errorf("--hours %d: play from 1 to 744 hours", c.Hours)
	}
	if c.Period < time.Second || time.Hour%c.Period != 0 {
		return fmt.Errorf("--period %s: at least 1s, and a whole number of them in an hour", c.Period)
	}
	if c.Seed >= 1<<62 {
		return fmt.Errorf("--seed %d: below 2^62", c.Seed)
	}
	if (c.Trace == "") != (c.Nodes == "" && c.Pods == "") || (c.Trace != "" && (c.Nodes == "" || c.Pods == "")) {
		return errors.New("--trace openb needs --nodes and --pods, and they need --trace")
	}
	return nil
}

// fleet is what will be played.
func (c *demoCmd) fleet(now time.Time, env *process.Env) (*fleet.Fleet, error) {
	start := c.Start
	if start.IsZero() {
		start = now.UTC().Truncate(time.Hour).Add(-time.Duration(c.Hours) * time.Hour)
	}
	if !start.Equal(start.Truncate(time.Hour)) {
		return nil, process.Usagef("--start %s: begin at a full hour", start.Format(time.RFC3339))
	}
	if c.Trace != "" {
		return c.trace(unit.MicrosOf(start), env)
	}
	return fleet.Demo(c.Seed, unit.MicrosOf(start), c.Hours), nil
}

// Run plays, accounts and reports.
func (c *demoCmd) Run(ctx context.Context, env *process.Env) error {
	began := time.Now()
	f, err := c.fleet(began, env)
	if err != nil {
		return err
	}
	d := demo{cmd: c, env: env, fleet: f, began: began, stages: map[string]float64{}}
	d.data, d.played, err = claim(env.Flags.Data, c.Once, f)
	if err != nil {
		return err
	}
	if err := d.played.save(d.data); err != nil { // from the first sample on, the folder is this play's
		return err
	}
	// The same seed gives the same bytes, so its keys are no secret.
	if err := keyring.MakePublic(d.data, fmt.Sprintf("demo-%d", c.Seed)); err != nil {
		return err
	}
	d.show = progress.New(env.Stderr, env.Flags.Quiet)
	env.Log = process.NewLogger(d.show.Logs(env.Stderr), quieter(env.Flags.LogLevel), env.Flags.LogFormat)
	stage := d.show.Stage("Start broker, engine and ingest", 0, "")
	return withStack(ctx, env, d.data, c.listens, func(ctx context.Context, s *stack) error {
		stage.Done()
		d.stage("start", began)
		return d.run(ctx, s)
	})
}

// quieter leaves the terminal to progress and tables: what services log is in their file.
func quieter(level string) string {
	if level == "info" {
		return "warn"
	}
	return level
}

// demo is one run of the command.
type demo struct {
	cmd    *demoCmd
	env    *process.Env
	fleet  *fleet.Fleet
	data   string
	played played
	show   *progress.Reporter
	began  time.Time
	stages map[string]float64 // seconds by stage
}

func (d *demo) stage(name string, since time.Time) {
	d.stages[name] = time.Since(since).Round(time.Millisecond).Seconds()
}

func (d *demo) run(ctx context.Context, s *stack) error {
	office, err := play.NewOffice(s.cfg.Kafka)
	if err != nil {
		return err
	}
	defer office.Close()
	sink, err := kafka.NewSink(s.cfg.Kafka, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer sink.Close()
	player := &play.Player{
		Library: d.cmd.Library, Dir: d.data, Sink: sink, Statements: office, Log: d.env.Log, Period: d.cmd.Period,
	}
	if err := d.day(ctx, s, player); err != nil {
		return err
	}
	since := time.Now()
	fresh, err := s.rollups(ctx, d.env, d.show.Stage("Build rollups", 0, ""))
	if err != nil {
		return err
	}
	d.stage("rollups", since)
	if err := d.report(ctx, s, player.TruthFile()); err != nil {
		return err
	}
	if d.cmd.Once {
		return nil
	}
	return process.Run(ctx, fresh, func(ctx context.Context) error { return errors.Join(d.live(ctx, s, player), process.ErrStop) })
}

// day plays the fleet unless that has been done, and waits until every hour is closed.
func (d *demo) day(ctx context.Context, s *stack, player *play.Player) error {
	since := time.Now()
	hours := int64(d.fleet.End-d.fleet.Start) / int64(unit.Hour)
	if !d.played.Complete {
		if err := d.factors(ctx, s); err != nil {
			return err
		}
		stage := d.show.Stage("Play "+progress.Grouped(int64(d.fleet.GPUs()))+" GPUs", hours*int64(len(d.fleet.Nodes)), "node-hours")
		var whole playedTime
		err := player.Day(ctx, d.fleet, func(t unit.Micros) { stage.Set(whole.add(t)) })
		if err != nil {
			stage.Fail()
			return err
		}
		stage.Done()
		d.played.Sent = player.Sent()
	}
	d.stage("play", since)
	since = time.Now()
	want := hours * int64(len(d.fleet.Sites))
	stage := d.show.Stage("Close hours", want, "site-hours")
	if err := s.awaitClosed(ctx, d.fleet.Start, d.fleet.End, int64(len(d.fleet.Sites)), stage); err != nil {
		return err
	}
	d.stage("close", since)
	d.played.Complete = true
	return d.played.save(d.data)
}

// factors stores what the play is accounted with, before its first hour closes. Stored before, nothing changes, so an engine that
// dies meanwhile and comes back is asked again.
func (d *demo) factors(ctx context.Context, s *stack) error {
	return waitFor(ctx, time.Minute, func() error {
		_, err := s.store.SeedFactors(ctx)
		if err == nil {
			_, err = s.store.AppendFactors(ctx, d.fleet.Factors)
		}
		return err
	})
}

// live boots the fleet anew and collects along with the wall clock until ctx ends.
func (d *demo) live(ctx context.Context, s *stack, player *play.Player) error {
	f := fleet.Live(d.fleet, unit.MicrosOf(time.Now()))
	out := d.env.Stdout
	if d.env.Flags.JSON {
		out = d.env.Stderr // the last line of standard output is the day's result
	}
	fmt.Fprintf(out, "Collecting live from %d GPUs, once a second. Ctrl-C stops.\n", f.GPUs())
	password, engine := filepath.Join(d.data, "clickhouse", "password"), s.cfg.ClickHouse.Addresses[0]
	fmt.Fprintf(out, "  ClickHouse  curl -u default:$(cat %s) --data-binary 'SELECT count() FROM wattledger.sample' http://%s/\n", password, engine)
	fmt.Fprintf(out, "  Grafana     make grafana ARGS='-url http://%s -username default -password-file %s'\n", engine, password)
	fmt.Fprintf(out, "  Status      wattledger status --embedded --data %s\n", d.data)
	err := player.Live(ctx, f)
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		fmt.Fprintln(out, "Stopped.")
		return nil
	}
	return err
}

// claim finds the data folder and what was played in it. Without --data, --once begins anew each time; the live demo goes on
// with the day it has when that is still the same.
func claim(data string, once bool, f *fleet.Fleet) (string, played, error) {
	want := played{Name: f.Name, Seed: f.Seed, Start: f.Start, End: f.End}
	own := data == ""
	if own {
		data = demoData
	}
	have, err := loadPlayed(data)
	if err != nil {
		return "", played{}, err
	}
	switch {
	case have == nil:
		return data, want, nil
	case have.same(want) && !(own && once):
		return data, *have, nil
	case !own:
		return "", played{}, fmt.Errorf("%s holds the demo %s: name another folder with --data, repeat its --seed and --start, or remove it", data, have)
	}
	for _, part := range []string{"clickhouse", "kafka", "played.json", "truth.csv", "scenario.txt", "services.log", "run", "keys"} {
		if err := os.RemoveAll(filepath.Join(data, part)); err != nil {
			return "", played{}, fmt.Errorf("remove the last demo: %w", err)
		}
	}
	return data, want, nil
}
