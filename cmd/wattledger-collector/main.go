// Command wattledger-collector measures on a GPU node: it reads the devices through DCGM and publishes to Kafka.
//
// It owns the flags, the configuration and the order of start and stop; everything else is in collector.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/kafka"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/collector/spool"
	"github.com/wattledger/wattledger/collector/wallclock"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

const description = `Measure the GPUs of this node and publish the samples to Kafka.

Without --dcgm-address the DCGM engine runs inside this process; where nv-hostengine runs already, give its address.
Metrics are on http://127.0.0.1:9400/metrics.

Examples:
  wattledger-collector --once                              one reading of every device, as a table
  wattledger-collector --once --json                       the same as one JSON object
  wattledger-collector --site fra1 --brokers kafka-1:9092,kafka-2:9092
  wattledger-collector --site fra1 --dcgm-address unix:///tmp/nv-hostengine
  wattledger-collector --once --dcgm-library bin/sim/libdcgm.so.4   simulated devices, no GPU needed
  wattledger-collector --check                             stop after wiring up`

// config is everything that can be configured, by flag, environment or file.
type config struct {
	Agent agent.Config     `yaml:"agent"`
	DCGM  dcgm.Config      `yaml:"dcgm"`
	Kafka kafkaconn.Config `yaml:"kafka"`
	// Spool keeps messages while Kafka is away, Forward takes them there.
	Spool   spool.Config          `yaml:"spool"`
	Forward kafka.ForwarderConfig `yaml:"forward"`
}

type cli struct {
	process.Flags
	Run runCommand `cmd:"" default:"withargs" help:"Read the devices and publish, or print one reading with --once."`
}

type runCommand struct {
	DCGMLibrary string `name:"dcgm-library" help:"File of libdcgm.so.4, when the loader does not find it." placeholder:"FILE"`
	DCGMAddress string `name:"dcgm-address" help:"Host engine to read from: HOST, HOST:PORT or unix:///PATH, or embedded for one in this process. Without it the node's own is used, if it runs." placeholder:"ADDRESS"`
	Node        string `help:"Name of this node, as the inventory has it; the host name by default." placeholder:"NAME"`
	Site        string `help:"Name of the site, as the inventory has it." placeholder:"NAME"`
	Period      string `help:"Time between readings; 1s by default." placeholder:"DURATION"`
	Brokers     string `help:"Kafka brokers to start from, separated by commas." placeholder:"HOST:PORT,…"`
	Once        bool   `help:"Print one reading of every device and stop. Kafka is not needed."`
}

func main() {
	var c cli
	process.Program{Name: "wattledger-collector", Description: description}.Main(&c, &c.Flags)
}

// Run is the program: read the configuration, wire up, run until told to stop.
func (c *runCommand) Run(ctx context.Context, env *process.Env) error {
	cfg, err := c.config(env)
	if err != nil {
		return err
	}
	library, err := dcgm.Load(cfg.DCGM.Library)
	if err != nil {
		return err
	}
	source, err := dcgm.Open(ctx, library, cfg.DCGM, env.Log, env.Metrics)
	if err != nil {
		return err
	}
	if c.Once {
		return errors.Join(printOnce(ctx, env, cfg, source), source.Close())
	}
	queue, err := spool.Open(cfg.Spool, now, env.Log, env.Metrics)
	if err != nil {
		return errors.Join(err, source.Close())
	}
	sink, err := kafka.NewSink(cfg.Kafka, env.Metrics)
	if err != nil {
		return errors.Join(err, queue.Close(), source.Close())
	}
	forwarder, err := kafka.NewForwarder(cfg.Forward, queue, sink, env.Log, env.Metrics)
	if err != nil {
		return errors.Join(err, sink.Close(), queue.Close(), source.Close())
	}
	inventory := newInventory(message.NewWriter(queue), cfg.Agent, env.Log)
	cfg.Agent.Announce, cfg.Agent.Losses = inventory.announce, queue
	if previous, ok := queue.Last(wire.TopicSample); ok {
		cfg.Agent.PreviousRun, cfg.Agent.PreviousLast, cfg.Agent.PreviousTick = previous.Run[:], previous.Sequence, previous.To
	}
	a, err := agent.New(cfg.Agent, source, message.NewWriter(queue), wallclock.Clock{}, env.Log, env.Metrics)
	if err != nil {
		return errors.Join(err, sink.Close(), queue.Close(), source.Close())
	}
	env.Log.Info("collector starts", "node", cfg.Agent.Node, "site", cfg.Agent.Site, "devices", len(source.Devices()),
		"library", library.Path(), "unsupported", source.Unsupported())
	env.ServeMetrics("127.0.0.1:9400")
	// The forwarder ends after the agent, whose last message is then in the spool.
	forwarding, stopForwarding := context.WithCancel(context.WithoutCancel(ctx))
	defer stopForwarding()
	read := func(ctx context.Context) error {
		defer stopForwarding()
		return a.Run(ctx)
	}
	forward := func(context.Context) error { return forwarder.Run(forwarding) }
	return errors.Join(env.Run(ctx, read, inventory.run, forward), sink.Close(), queue.Close(), source.Close())
}

func (c *runCommand) config(env *process.Env) (config, error) {
	cfg := config{Agent: agent.DefaultConfig(), DCGM: dcgm.DefaultConfig(), Kafka: kafkaconn.DefaultConfig(), Spool: spool.DefaultConfig(), Forward: kafka.DefaultForwarderConfig()}
	cfg.Kafka.ClientID = "wattledger-collector"
	data := env.DataDir("/var/lib/wattledger")
	cfg.Spool.Dir, cfg.Forward.Quarantine = filepath.Join(data, "spool"), filepath.Join(data, "quarantine")
	host, err := os.Hostname()
	if err != nil {
		return cfg, fmt.Errorf("host name: %w; give --node", err)
	}
	cfg.Agent.Node, cfg.DCGM.Node = host, host
	if c.Once {
		cfg.Agent.Site = "none" // nothing is published
	}
	if _, err := rand.Read(cfg.Agent.Run[:]); err != nil {
		return cfg, fmt.Errorf("make a run id: %w", err)
	}
	if cfg.Agent.BootID, err = bootID(); err != nil {
		return cfg, err
	}
	env.Override("dcgm.library", "--dcgm-library", c.DCGMLibrary)
	env.Override("dcgm.address", "--dcgm-address", c.DCGMAddress)
	env.Override("agent.node", "--node", c.Node)
	env.Override("agent.site", "--site", c.Site)
	env.Override("agent.period", "--period", c.Period)
	env.Override("kafka.brokers", "--brokers", c.Brokers)
	if err := env.Load(&cfg); err != nil {
		return cfg, err
	}
	cfg.DCGM.Node, cfg.DCGM.Period = cfg.Agent.Node, cfg.Agent.Period
	return cfg, nil
}

// bootID is the kernel's, which changes at every boot: counters that fall with it have started anew.
func bootID() ([16]byte, error) {
	const file = "/proc/sys/kernel/random/boot_id"
	text, err := os.ReadFile(file)
	if err != nil {
		return [16]byte{}, fmt.Errorf("kernel boot id: %w", err)
	}
	id, err := agent.ParseID(string(text))
	if err != nil {
		return id, fmt.Errorf("kernel boot id in %s: %w", file, err)
	}
	return id, nil
}

func now() unit.Micros { return wallclock.Clock{}.Now() }
