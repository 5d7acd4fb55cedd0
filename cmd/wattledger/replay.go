package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // logs name zones that a small image may lack

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/documents"
	"github.com/wattledger/wattledger/aggregator/keyring"
	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/collector/kafka"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/collector/smilog"
	"github.com/wattledger/wattledger/ingest/allocations"
	"github.com/wattledger/wattledger/ingest/inventory"
	ingestkafka "github.com/wattledger/wattledger/ingest/kafka"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// replayCmd accounts what was recorded.
type replayCmd struct {
	NvidiaSMI replaySMICmd `cmd:"" name:"nvidia-smi" help:"Account logs of nvidia-smi --query-gpu=… --format=csv."`
}

type replaySMICmd struct {
	listens
	Files    []string      `arg:"" type:"existingfile" help:"The logs, of one machine."`
	Tenant   string        `required:"" help:"Who held the GPUs while the logs were written." placeholder:"ID"`
	As       string        `help:"The GPUs' model, where the log does not say." placeholder:"MODEL"`
	Timezone string        `help:"Time zone of the machine that wrote the logs." default:"UTC" placeholder:"ZONE"`
	Power    string        `help:"The column to integrate." enum:"power.draw,power.draw.instant,power.draw.average" default:"power.draw"`
	MaxGap   time.Duration `help:"Longest distance between two readings that the integral joins; ten times the median if absent." placeholder:"SPAN"`
	Zone     string        `help:"Grid zone of the carbon factor." default:"EU" placeholder:"ZONE"`
	Pue      float64       `name:"pue" help:"Declared PUE of the site." default:"1.0"`
	Out      string        `help:"Also write every document of the period to this folder." placeholder:"DIR"`
}

// Help shows examples.
func (replaySMICmd) Help() string {
	return `Sends the logs through the same pipeline as live telemetry and accounts them: energy, mean and peak power, coverage.
Bad rows are left out, named and kept in bad-rows.csv in the data folder.

Examples:
  wattledger replay nvidia-smi gpu.csv --tenant me
  wattledger replay nvidia-smi monday.csv tuesday.csv --tenant lab --as "NVIDIA A100" --timezone Europe/Paris --json`
}

const (
	replayData = ".wattledger/replay"
	replaySite = "replay"
	replayNode = "replayed"
)

// replayed is what the command prints with --json.
type replayed struct {
	Tenant string            `json:"tenant"`
	Logs   []*smilog.Summary `json:"logs"`
	// Energy is what the logs integrate to, Ledger what the ledger says; Carbon is location-based.
	Energy unit.Millijoules    `json:"energy_mj"`
	Ledger unit.Millijoules    `json:"ledger_mj"`
	Carbon unit.MicrogramsCO2e `json:"carbon_ug"`
	Factor string              `json:"factor"`
	Bad    uint64              `json:"bad_rows"`
	Error  string              `json:"error,omitempty"`
}

// Run replays the logs in order of time and waits for the ledger.
func (c *replaySMICmd) Run(ctx context.Context, env *process.Env) error {
	zone, err := time.LoadLocation(c.Timezone)
	if err != nil || c.Timezone == "Local" {
		return process.Usagef("--timezone %s: name a zone such as Europe/Paris", c.Timezone)
	}
	if c.Pue < 1 || c.Pue > 5 {
		return process.Usagef("--pue %g: a PUE lies between 1 and 5 (ISO/IEC 30134-2)", c.Pue)
	}
	grids, err := factor.Grids()
	if err != nil {
		return err
	}
	if _, ok := grids[c.Zone]; !ok {
		return process.Usagef("--zone %s: no carbon factor; one of %s", c.Zone, strings.Join(slices.Sorted(maps.Keys(grids)), ", "))
	}
	logs, err := c.open(ctx, zone)
	if err != nil {
		return err
	}
	defer func() {
		for _, l := range logs {
			l.file.Close()
		}
	}()
	data := env.Flags.Data
	if data == "" { // a replay begins anew unless it is told where to go on
		data = replayData
		if err := os.RemoveAll(data); err != nil {
			return fmt.Errorf("remove the last replay: %w", err)
		}
	}
	// The same log gives the same bytes, so its keys are no secret.
	if err := keyring.MakePublic(data, "replay"); err != nil {
		return err
	}
	show := progress.New(env.Stderr, env.Flags.Quiet)
	env.Log = process.NewLogger(show.Logs(env.Stderr), quieter(env.Flags.LogLevel), env.Flags.LogFormat)
	stage := show.Stage("Start broker, engine and ingest", 0, "")
	return withStack(ctx, env, data, c.listens, func(ctx context.Context, s *stack) error {
		stage.Done()
		return c.replay(ctx, env, s, show, data, logs)
	})
}

// smiLog is one log, open.
type smiLog struct {
	*smilog.Log
	file        *os.File
	first, last unit.Micros
	opts        smilog.Options
}

// open reads every log once and puts them in order of time. Two logs of one GPU must not overlap: their energy would count
// twice.
func (c *replaySMICmd) open(ctx context.Context, zone *time.Location) ([]*smiLog, error) {
	var logs []*smiLog
	for _, name := range c.Files {
		l := &smiLog{opts: smilog.Options{Site: replaySite, Node: replayNode, Model: c.As, Timezone: zone, Power: c.Power, MaxGap: c.MaxGap}}
		var err error
		if l.file, err = os.Open(name); err != nil {
			return nil, fmt.Errorf("log: %w", err)
		}
		if l.Log, err = smilog.Open(ctx, l.file, name, l.opts); err != nil {
			return nil, err
		}
		l.first, l.last = l.Span()
		logs = append(logs, l)
	}
	slices.SortStableFunc(logs, func(a, b *smiLog) int { return int(a.first - b.first) })
	last := map[string]*smiLog{}
	for _, l := range logs {
		for _, d := range l.Devices() {
			if before, ok := last[d.UUID]; ok && before.last > l.first {
				return nil, fmt.Errorf("%s and %s both hold %s at %s: replay one of them, or cut it", before.file.Name(), l.file.Name(), d.UUID,
					l.first.Time().Format(time.RFC3339))
			}
			last[d.UUID] = l
		}
	}
	// The last log declares its hour complete, so that it closes.
	end := logs[len(logs)-1]
	latest := end.last
	for _, l := range logs {
		latest = max(latest, l.last)
	}
	end.opts.CompleteUpTo = ceilHour(latest)
	if _, err := end.file.Seek(0, 0); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	var err error
	end.Log, err = smilog.Open(ctx, end.file, end.file.Name(), end.opts)
	return logs, err
}

func ceilHour(t unit.Micros) unit.Micros { return (t + unit.Hour - 1).FloorHour() }

func (c *replaySMICmd) replay(ctx context.Context, env *process.Env, s *stack, show *progress.Reporter, data string, logs []*smiLog) error {
	from, to := logs[0].first.FloorHour(), logs[len(logs)-1].opts.CompleteUpTo
	closed, err := s.store.ClosedHours(ctx, from, to)
	if err != nil {
		return err
	}
	if err := c.state(ctx, s, logs, to); err != nil {
		return err
	}
	sink, err := kafka.NewSink(s.cfg.Kafka, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer sink.Close()
	bad := &badRows{name: filepath.Join(data, "bad-rows.csv")}
	defer bad.close()
	res := replayed{Tenant: c.Tenant}
	stage := show.Stage("Replay", int64(len(logs)), "logs")
	for _, l := range logs {
		l.opts.Bad = bad.keep(l.file.Name())
		if _, err := l.file.Seek(0, 0); err != nil {
			return fmt.Errorf("log: %w", err)
		}
		if l.Log, err = smilog.Open(ctx, l.file, l.file.Name(), l.opts); err != nil {
			return err
		}
		sum, err := l.Replay(ctx, message.NewWriter(sink))
		if err != nil {
			stage.Fail()
			return err
		}
		res.Logs = append(res.Logs, sum)
		res.Bad += sum.BadRows
		for _, g := range sum.GPUs {
			res.Energy += g.Energy
		}
		stage.Add(1)
	}
	stage.Done()
	stage = show.Stage("Close hours", int64((to-from)/unit.Hour), "hours")
	if err := s.awaitClosed(ctx, from, to, 1, stage); err != nil {
		return err
	}
	if _, err := s.rollups(ctx, env, show.Stage("Build rollups", 0, "")); err != nil {
		return err
	}
	opts := documents.Options{Period: report.Period{From: from, To: to}, Tenant: c.Tenant}
	for e, err := range s.store.Entries(ctx, documents.Filter{Tenant: c.Tenant, Period: opts.Period}) {
		if err != nil {
			return err
		}
		res.Ledger += e.GPU
		res.Carbon += e.Carbon
		res.Factor = e.Factor
	}
	if c.Out != "" {
		if opts.Prices, err = prices(""); err != nil {
			return err
		}
		opts.Tenant = ""
		if _, _, err := documents.WriteAll(ctx, s.store, opts, c.Out); err != nil {
			return err
		}
	}
	if res.Ledger != res.Energy {
		res.Error = fmt.Sprintf("the ledger has %d mJ for %s, the logs integrate to %d mJ", res.Ledger, c.Tenant, res.Energy)
		if closed > 0 {
			res.Error += fmt.Sprintf("; %d of their hours were closed in %s before, and what comes late is not booked: name another folder with --data", closed, data)
		}
	}
	return c.tell(env, res, bad)
}

// state says where the machine stands, what is in it and who held it.
func (c *replaySMICmd) state(ctx context.Context, s *stack, logs []*smiLog, to unit.Micros) error {
	// The span of each GPU over all logs.
	devices := map[string]record.Device{}
	var held []record.Allocation
	var names [][32]byte
	for _, l := range logs {
		names = append(names, l.Digest())
		for _, d := range l.Devices() {
			held = append(held, record.Allocation{
				ID: fmt.Sprintf("%x", l.Digest())[:16], Device: d.UUID, Share: unit.WholeDevice, Start: d.From, End: max(d.To, d.From+1),
				Tenant: c.Tenant, Workload: filepath.Base(l.file.Name()), Revision: 2,
			})
			if before, ok := devices[d.UUID]; ok {
				d.From, d.LimitMilliwatts = before.From, max(d.LimitMilliwatts, before.LimitMilliwatts)
			}
			devices[d.UUID] = d
		}
	}
	file := inventory.File{
		Revision: uint64(to),
		Sites: []record.Site{{
			ID: replaySite, Country: "EU", Zone: c.Zone, Operator: "replay", OperatorCountry: "EU", PUEThousandths: int64(c.Pue*1000 + 0.5), AllocationSource: "replay",
		}},
		Nodes:   []record.Node{{ID: replayNode, Site: replaySite, Model: "recorded", From: logs[0].first}},
		Tenants: []record.Tenant{{ID: c.Tenant, Name: c.Tenant}},
	}
	for _, d := range devices {
		file.Devices = append(file.Devices, d)
	}
	stock, err := ingestkafka.NewPublisher(s.cfg.Kafka, wire.TopicInventory, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer stock.Close()
	if err := inventory.Publish(ctx, stock, inventory.Messages(file)); err != nil {
		return err
	}
	holdings, err := ingestkafka.NewPublisher(s.cfg.Kafka, wire.TopicAllocation, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer holdings.Close()
	run := sha256.New()
	for _, n := range names {
		run.Write(n[:])
	}
	batches, err := allocations.Messages(run.Sum([]byte(c.Tenant)), held, allocations.Statement{Site: replaySite, Source: "replay", CompleteUpTo: to})
	if err != nil {
		return err
	}
	return allocations.Publish(ctx, holdings, batches)
}

func (c *replaySMICmd) tell(env *process.Env, res replayed, bad *badRows) error {
	if env.Flags.JSON {
		if res.Error != "" {
			return &foundError{res.Error, res}
		}
		return printJSON(env.Stdout, res)
	}
	t := progress.Table{Title: "Energy of " + c.Tenant, Columns: []progress.Column{
		progress.Text("log"), progress.Text("GPU"), progress.Text("model"), progress.Number("rows", ""), progress.Text("from"), progress.Number("time", "s"),
		progress.Number("energy", "J"), progress.Number("mean", "W"), progress.Number("peak", "W"), progress.Number("coverage", "%"), progress.Number("gaps", ""),
	}}
	for _, l := range res.Logs {
		for _, g := range l.GPUs {
			t.Add(filepath.Base(l.File), g.UUID, g.Model, g.Rows, g.First.Time().Format(time.RFC3339), fmt.Sprintf("%.3f", (g.Last-g.First).Duration().Seconds()),
				fmt.Sprintf("%.3f", float64(g.Energy)/1e3), fmt.Sprintf("%.2f", g.Mean.Watts()), fmt.Sprintf("%.2f", g.Peak.Watts()),
				fmt.Sprintf("%.2f", float64(g.CoveragePPM)/1e4), g.Gaps)
		}
	}
	if err := printTable(env.Stdout, &t); err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "Ledger    %d mJ for %s (%s), %s by %s\n", res.Ledger, c.Tenant, res.Ledger, res.Carbon, res.Factor)
	for _, l := range res.Logs {
		for _, g := range l.GPUs {
			for _, n := range []struct {
				what string
				note smilog.Note
			}{{"rows at the time of the row before", g.EqualTimes}, {"rows going back in time", g.TimesBack}, {"rows in the hour that comes twice", g.DoubledHour}} {
				if n.note.Count > 0 {
					fmt.Fprintf(env.Stdout, "          %s: %d %s, the first in line %d\n", filepath.Base(l.File), n.note.Count, n.what, n.note.FirstLine)
				}
			}
		}
	}
	if res.Bad > 0 {
		fmt.Fprintf(env.Stdout, "Left out  %d rows, kept with their reasons in %s; the first: %s\n", res.Bad, bad.name, bad.first)
	}
	if res.Error != "" {
		return errors.New(res.Error)
	}
	return nil
}
