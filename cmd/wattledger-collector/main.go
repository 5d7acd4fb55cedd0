// Command wattledger-collector measures on a GPU node: it reads the devices, the meters of the node and who holds what, and
// publishes all of it to Kafka by way of the node's disk.
//
// It owns the flags, the configuration and the order of start and stop; everything else is in collector.
package main

import (
	"context"
	"errors"

	"github.com/alecthomas/kong"

	"github.com/wattledger/wattledger/collector/slurm"
	"github.com/wattledger/wattledger/collector/wallclock"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/unit"
)

const description = `Measure the GPUs of this node and publish the samples to Kafka.

Devices are read through DCGM: from the nv-hostengine of this node, or from an engine inside this process. Without DCGM
NVML is read, and with --source dcgm-exporter an exporter that is there already. Samples wait on the node's disk (--data)
until Kafka has them. Metrics are on http://127.0.0.1:9400/metrics, in dcgm-exporter's names too.

SIGHUP reads the configuration again; a faulty one changes nothing.

Examples:
  wattledger-collector --once                              one reading of every device, as a table
  wattledger-collector --once --json                       the same as one JSON object
  wattledger-collector --site fra1 --brokers kafka-1:9092,kafka-2:9092
  wattledger-collector --site fra1 --dcgm-address unix:///tmp/nv-hostengine
  wattledger-collector --config /etc/wattledger/collector.yaml
  wattledger-collector --check --config collector.yaml     stop after wiring up
  wattledger-collector --once --dcgm-library bin/sim/libdcgm.so.4   simulated devices, no GPU needed
  wattledger-collector slurm prolog                        from Slurm's Prolog: note who gets which GPU`

type cli struct {
	process.Flags
	Run   runCommand   `cmd:"" default:"withargs" help:"Read the devices and publish, or print one reading with --once."`
	Slurm slurmCommand `cmd:"" help:"Called by Slurm's Prolog and Epilog."`
}

type runCommand struct {
	Source      string `help:"Where the devices are read: auto, dcgm, nvml or dcgm-exporter." placeholder:"KIND"`
	DCGMLibrary string `name:"dcgm-library" help:"File of libdcgm.so.4, when the loader does not find it." placeholder:"FILE"`
	DCGMAddress string `name:"dcgm-address" help:"Host engine to read from: HOST, HOST:PORT, unix:///PATH, or embedded for one in this process." placeholder:"ADDRESS"`
	Node        string `help:"Name of this node, as the inventory has it; the host name by default." placeholder:"NAME"`
	Site        string `help:"Name of the site, as the inventory has it." placeholder:"NAME"`
	Period      string `help:"Time between readings; 1s by default." placeholder:"DURATION"`
	Brokers     string `help:"Kafka brokers to start from, separated by commas." placeholder:"HOST:PORT,…"`
	Once        bool   `help:"Print one reading of every device and stop. Kafka is not needed."`
}

func main() {
	var c cli
	program().Main(&c, &c.Flags)
}

func program() process.Program {
	return process.Program{
		Name: "wattledger-collector", Description: description, Options: []kong.Option{kong.Vars{"jobs_directory": slurm.DefaultDirectory}},
	}
}

// Run is the program: read the configuration, wire up, run until told to stop or to begin anew.
func (c *runCommand) Run(ctx context.Context, env *process.Env) error {
	cfg, err := c.load(env)
	if err != nil {
		return err
	}
	if c.Once {
		return once(ctx, env, cfg)
	}
	hangups := process.Hangups() // one that comes while we start reloads once we have
	n, err := wireUp(ctx, env, cfg)
	if err != nil {
		return err
	}
	env.ServeMetrics(cfg.Metrics.Listen)
	env.ServeMetricsAs(cfg.Metrics.WebConfigFile)
	again := &reload{command: c, env: env, hangups: hangups}
	return errors.Join(env.Run(ctx, append(n.parts(), again.run)...), n.close())
}

func now() unit.Micros { return wallclock.Clock{}.Now() }
