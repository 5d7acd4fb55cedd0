package main

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/exporter"
	"github.com/wattledger/wattledger/collector/exposition"
	"github.com/wattledger/wattledger/collector/hwmon"
	"github.com/wattledger/wattledger/collector/kafka"
	"github.com/wattledger/wattledger/collector/kubernetes"
	"github.com/wattledger/wattledger/collector/nodemeter"
	"github.com/wattledger/wattledger/collector/nvml"
	"github.com/wattledger/wattledger/collector/rapl"
	"github.com/wattledger/wattledger/collector/redfish"
	"github.com/wattledger/wattledger/collector/slurm"
	"github.com/wattledger/wattledger/collector/spool"
	"github.com/wattledger/wattledger/collector/watchdog"
	"github.com/wattledger/wattledger/collector/workload"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/internal/process"
)

// config is everything that can be configured, by flag, environment or file.
type config struct {
	// Source is where the devices are read: auto, dcgm, nvml or dcgm-exporter. auto is DCGM where its library is found, else
	// NVML.
	Source   string          `yaml:"source"`
	Agent    agent.Config    `yaml:"agent"`
	DCGM     dcgm.Config     `yaml:"dcgm"`
	NVML     nvml.Config     `yaml:"nvml"`
	Exporter exporter.Config `yaml:"exporter"`
	Watchdog watchdog.Config `yaml:"watchdog"`

	Spool   spool.Config          `yaml:"spool"`
	Forward kafka.ForwarderConfig `yaml:"forward"`
	Kafka   kafkaconn.Config      `yaml:"kafka"`

	Workload   workload.Config   `yaml:"workload"`
	Kubernetes kubernetes.Config `yaml:"kubernetes"`
	Slurm      slurm.Config      `yaml:"slurm"`

	Meters  metersConfig   `yaml:"meters"`
	Redfish redfish.Config `yaml:"redfish"`
	RAPL    rapl.Config    `yaml:"rapl"`
	HWMon   hwmon.Config   `yaml:"hwmon"`

	Metrics metricsConfig `yaml:"metrics"`
}

// metersConfig says which meters of the node are read besides its devices.
type metersConfig struct {
	// Sources are the meters to read: rapl, hwmon and switches (the power of NVSwitches, through DCGM). Redfish is read when it has an
	// address.
	Sources          []string `yaml:"sources"`
	nodemeter.Config `yaml:",inline"`
}

// metricsConfig says what /metrics shows and where.
type metricsConfig struct {
	// Listen is the address of /metrics, /healthz and /readyz. The flag --metrics-listen wins.
	Listen string `yaml:"listen"`
	// WebConfigFile has TLS and logins for it, as Prometheus exporters take them. The flag --web-config-file wins.
	WebConfigFile string `yaml:"web_config_file"`
	// DCGMExporter shows the devices in dcgm-exporter's names beside the collector's own metrics.
	DCGMExporter      bool `yaml:"dcgm_exporter"`
	exposition.Config `yaml:",inline"`
}

// The sources of devices.
const (
	sourceAuto     = "auto"
	sourceDCGM     = "dcgm"
	sourceNVML     = "nvml"
	sourceExporter = exporter.Name
)

// meterSources are what metersConfig.Sources may name.
var meterSources = []string{"rapl", "hwmon", "switches"}

// Validate reports every fault at once.
func (c metersConfig) Validate() error {
	for _, s := range c.Sources {
		if !slices.Contains(meterSources, s) {
			return fmt.Errorf("sources: %q; write %s", s, strings.Join(meterSources, ", "))
		}
	}
	return c.Config.Validate()
}

// defaults is the configuration before file, environment and flags.
func defaults(data, host string) config {
	cfg := config{
		Source: sourceAuto, Agent: agent.DefaultConfig(), DCGM: dcgm.DefaultConfig(), NVML: nvml.DefaultConfig(),
		Exporter: exporter.DefaultConfig(), Watchdog: watchdog.DefaultConfig(), Spool: spool.DefaultConfig(),
		Forward: kafka.DefaultForwarderConfig(), Kafka: kafkaconn.DefaultConfig(), Workload: workload.DefaultConfig(),
		Kubernetes: kubernetes.DefaultConfig(), Slurm: slurm.DefaultConfig(), Meters: metersConfig{Config: nodemeter.DefaultConfig()},
		Redfish: redfish.DefaultConfig(), RAPL: rapl.DefaultConfig(), HWMon: hwmon.DefaultConfig(),
		Metrics: metricsConfig{Listen: "127.0.0.1:9400", DCGMExporter: true, Config: exposition.DefaultConfig()},
	}
	cfg.Kafka.ClientID = "wattledger-collector"
	cfg.Spool.Dir, cfg.Forward.Quarantine = filepath.Join(data, "spool"), filepath.Join(data, "quarantine")
	cfg.name(host)
	return cfg
}

// name tells every part which node this is.
func (c *config) name(node string) {
	c.Agent.Node, c.DCGM.Node, c.NVML.Node, c.Exporter.Node = node, node, node, node
	c.Redfish.Node, c.RAPL.Node, c.HWMon.Node, c.Meters.Node = node, node, node, node
	c.Metrics.Host = node
}

// load reads the configuration. What one part has to know of another is filled in afterwards.
func (c *runCommand) load(env *process.Env) (config, error) {
	host, err := os.Hostname()
	if err != nil {
		return config{}, fmt.Errorf("host name: %w; give --node", err)
	}
	cfg := defaults(env.DataDir("/var/lib/wattledger"), host)
	if c.Once {
		cfg.Agent.Site = "none" // nothing is published
	}
	if _, err := rand.Read(cfg.Agent.Run[:]); err != nil {
		return cfg, fmt.Errorf("make a run id: %w", err)
	}
	if cfg.Agent.BootID, err = bootID(); err != nil {
		return cfg, err
	}
	// Nodes are named once; until the file has been read every part has to have some name.
	cfg.Meters.Site, cfg.Meters.Run = cmp.Or(c.Site, "unnamed"), cfg.Agent.Run
	settings, err := exposition.ConfigFromEnv(&cfg.Metrics.Config, os.Environ())
	if err != nil {
		return cfg, process.Usage(err)
	}
	for _, s := range settings {
		if s.Option != "" && !strings.HasPrefix(s.Option, "metrics.") || s.Option == "metrics.listen" || s.Option == "metrics.web_config_file" {
			env.Default(s.Option, "environment variable "+s.Env, s.Value)
		}
	}
	for _, f := range []struct{ key, flag, value string }{
		{"source", "--source", c.Source},
		{"dcgm.library", "--dcgm-library", c.DCGMLibrary},
		{"dcgm.address", "--dcgm-address", c.DCGMAddress},
		{"agent.node", "--node", c.Node},
		{"agent.site", "--site", c.Site},
		{"agent.period", "--period", c.Period},
		{"kafka.brokers", "--brokers", c.Brokers},
	} {
		env.Override(f.key, f.flag, f.value)
	}
	if err := env.Load(&cfg); err != nil {
		return cfg, err
	}
	cfg.name(cfg.Agent.Node)
	cfg.Meters.Site = cfg.Agent.Site
	cfg.DCGM.Period, cfg.NVML.Period, cfg.Metrics.Period = cfg.Agent.Period, cfg.Agent.Period, cfg.Agent.Period
	cfg.Kubernetes.Node = cmp.Or(cfg.Kubernetes.Node, cfg.Agent.Node)
	if !slices.Contains([]string{sourceAuto, sourceDCGM, sourceNVML, sourceExporter}, cfg.Source) {
		return cfg, process.Usagef("source: %q; write %s, %s, %s or %s", cfg.Source, sourceAuto, sourceDCGM, sourceNVML, sourceExporter)
	}
	listen := cmp.Or(env.Flags.MetricsListen, cfg.Metrics.Listen)
	if u, err := url.Parse(cfg.Exporter.URL); cfg.Source == sourceExporter && !c.Once && err == nil && u.Host == listen {
		return cfg, process.Usagef("exporter.url: %s is where this collector serves its own metrics; choose another address for those with --metrics-listen, or off", cfg.Exporter.URL)
	}
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
