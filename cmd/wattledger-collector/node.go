package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/exposition"
	"github.com/wattledger/wattledger/collector/kafka"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/collector/nodemeter"
	"github.com/wattledger/wattledger/collector/spool"
	"github.com/wattledger/wattledger/collector/wallclock"
	"github.com/wattledger/wattledger/collector/watchdog"
	"github.com/wattledger/wattledger/collector/workload"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/wire"
)

// node is the collector wired up: what reads, what states, and what takes it to Kafka by way of the disk.
type node struct {
	env       *process.Env
	opener    *opener
	dog       *watchdog.Watchdog
	spool     *spool.Spool
	sink      *kafka.Sink
	forwarder *kafka.Forwarder
	agent     *agent.Agent
	inventory *inventory
	tracker   *workload.Tracker // nil where nobody is asked who holds what
	meters    *nodemeter.Loop   // nil where there are none
	metered   []io.Closer       // what the meters are read through
	scratch   string            // the folder of a check, which leaves none
}

// wireUp opens the devices and the spool and connects the parts. After an error nothing is open.
func wireUp(ctx context.Context, env *process.Env, cfg config) (n *node, err error) {
	n = &node{env: env}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
			n = nil
		}
	}()
	var counters *exposition.Counters
	if cfg.Metrics.DCGMExporter {
		if counters, err = exposition.LoadCounters(cfg.Metrics.CountersFile); err != nil {
			return n, process.Usage(err)
		}
		cfg.DCGM.Extra, cfg.DCGM.Labels = counters.Extra(), counters.Labels()
		if names := counters.Unserved(); len(names) > 0 {
			env.Log.Info("metrics that are not shown", "names", names)
		}
	}
	cfg.Agent.Extra, cfg.Watchdog.Extra = len(cfg.DCGM.Extra), len(cfg.DCGM.Extra)
	if n.opener, err = choose(cfg, env); err != nil {
		return n, err
	}
	cfg.Agent.Source = n.opener.kind
	if env.Flags.Check {
		// The spool may be in use by the collector whose new configuration this is.
		if n.scratch, err = os.MkdirTemp("", "wattledger-check-"); err != nil {
			return n, fmt.Errorf("folder for a check: %w", err)
		}
		cfg.Spool.Dir = filepath.Join(n.scratch, "spool")
	}
	if n.spool, err = spool.Open(cfg.Spool, now, env.Log, env.Metrics); err != nil {
		return n, err
	}
	if n.sink, err = kafka.NewSink(cfg.Kafka, env.Metrics); err != nil {
		return n, err
	}
	if n.forwarder, err = kafka.NewForwarder(cfg.Forward, n.spool, n.sink, env.Log, env.Metrics); err != nil {
		return n, err
	}
	if n.dog, err = watchdog.New(cfg.Watchdog, n.opener.open, env.Log, env.Metrics); err != nil {
		return n, err
	}
	if err = n.open(ctx, cfg.Agent.RetryMax); err != nil {
		return n, err
	}
	return n, n.connect(cfg, counters)
}

// open opens the devices. Where a first start names what is wrong and ends, a process that took the place of another goes on
// trying, as that one did: its engine may be back at any moment.
func (n *node) open(ctx context.Context, pause time.Duration) error {
	for {
		err := n.dog.Start(ctx)
		if _, times := n.env.Replaced(); err == nil || times == 0 || ctx.Err() != nil {
			return err
		}
		if coded, ok := errors.AsType[interface {
			error
			Code() string
		}](err); ok && coded.Code() == "hung" {
			n.env.Log.Error("process is replaced", "reason", reasonHung, "error", err)
			return process.Replace(reasonHung)
		}
		n.env.Log.Warn("devices will be opened again", "reason", "open", "pause", pause, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// connect makes the parts that say something about the devices.
func (n *node) connect(cfg config, counters *exposition.Counters) (err error) {
	mig, err := readInstances(filepath.Join(cfg.Spool.Dir, "mig-instances.json"))
	if err != nil {
		n.env.Log.Warn("MIG instances of the run before are not known", "reason", "read", "error", err)
	}
	n.inventory = newInventory(message.NewWriter(n.spool), cfg.Agent, mig, n.env.Log)
	cfg.Agent.Losses = n.spool
	if previous, ok := n.spool.Last(wire.TopicSample); ok {
		cfg.Agent.PreviousRun, cfg.Agent.PreviousLast, cfg.Agent.PreviousTick = previous.Run[:], previous.Sequence, previous.To
	}
	cfg.Agent.Announce = func(devices []agent.Device) {
		n.inventory.announce(devices)
		if n.tracker != nil {
			n.tracker.SetDevices(devices)
		}
		n.env.Status("%d devices through %s", len(devices), n.opener.kind)
	}
	watch := &pulse{period: cfg.Agent.Period}
	cfg.Agent.Observer = watch
	if counters != nil {
		ports := exposition.Ports{Label: n.opener.label, Holders: n.holders, Switches: n.switches, Every: cfg.DCGM.Every}
		page, err := exposition.New(cfg.Metrics.Config, counters, ports, now, n.env.Metrics)
		if err != nil {
			return err
		}
		watch.next = page
		n.env.WrapMetrics(page.Handler)
	}
	if n.agent, err = agent.New(cfg.Agent, n.dog, message.NewWriter(n.spool), wallclock.Clock{}, n.env.Log, n.env.Metrics); err != nil {
		return err
	}
	if err := n.track(cfg); err != nil {
		return err
	}
	if err := n.measure(cfg); err != nil {
		return err
	}
	if err := noteReplacement(n.env, n.agent.Report); err != nil {
		return err
	}
	n.env.Health.Add("devices", watch.healthy)
	n.env.Log.Info("collector starts", "node", cfg.Agent.Node, "site", cfg.Agent.Site, "devices", len(n.dog.Devices()),
		"source", n.opener.kind, "from", n.opener.where())
	return nil
}

// parts are what runs. Messages still come while the writers stop, so the forwarder ends after all of them.
func (n *node) parts() []func(context.Context) error {
	writers := []func(context.Context) error{n.agent.Run, n.inventory.run}
	if n.tracker != nil {
		writers = append(writers, n.tracker.Run)
	}
	if n.meters != nil {
		writers = append(writers, n.meters.Run)
	}
	written, allWritten := context.WithCancel(context.Background())
	var left sync.WaitGroup
	left.Add(len(writers))
	for i, write := range writers {
		writers[i] = func(ctx context.Context) error {
			defer left.Done()
			return write(ctx)
		}
	}
	forward := func(context.Context) error {
		go func() {
			left.Wait()
			allWritten()
		}()
		return n.forwarder.Run(written)
	}
	return append(writers, forward, n.replaceWhenExhausted)
}

// replaceWhenExhausted asks for a fresh process when too many calls of the driver's library hang.
func (n *node) replaceWhenExhausted(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-n.dog.Exhausted():
		n.env.Log.Error("process is replaced", "reason", reasonHung)
		return process.Replace(reasonHung)
	}
}

// close lets go of everything, in the order that loses nothing: the devices first, the spool last.
func (n *node) close() error {
	var errs []error
	for _, m := range n.metered {
		errs = append(errs, m.Close())
	}
	if n.dog != nil {
		errs = append(errs, n.dog.Close())
	}
	if n.sink != nil {
		errs = append(errs, n.sink.Close())
	}
	if n.spool != nil {
		errs = append(errs, n.spool.Close())
	}
	if n.scratch != "" {
		errs = append(errs, os.RemoveAll(n.scratch))
	}
	return errors.Join(errs...)
}

// holders are those who hold a device, as labels.
func (n *node) holders(uuid string) []exposition.Holder {
	if n.tracker == nil {
		return nil
	}
	var out []exposition.Holder
	for _, h := range n.tracker.Holders(uuid) {
		out = append(out, exposition.Holder{
			Namespace: h.Attributes["namespace"], Pod: h.Attributes["pod"], Container: h.Attributes["container"], HPCJob: h.Attributes["job"],
		})
	}
	return out
}

// switches are the NVSwitches with what was read of them.
func (n *node) switches(out []exposition.Switch) []exposition.Switch {
	s := n.opener.current.Load()
	if s == nil {
		return out
	}
	for _, w := range s.Switches() {
		x := exposition.Switch{ID: w.ID}
		for i, f := range switchFields() {
			if i < len(w.Values) {
				x.Values = append(x.Values, exposition.FieldValue{Field: f, Value: w.Values[i]})
			}
		}
		out = append(out, x)
	}
	return out
}

// keep writes a file of the data folder whole or not at all.
func keep(dir, name string, data []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	return process.WriteFile(filepath.Join(dir, name), data, 0o600)
}
