package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/collector/exporter"
	"github.com/wattledger/wattledger/collector/exposition"
	"github.com/wattledger/wattledger/collector/hwmon"
	"github.com/wattledger/wattledger/collector/kafka"
	"github.com/wattledger/wattledger/collector/kubernetes"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/collector/nodemeter"
	"github.com/wattledger/wattledger/collector/nvml"
	"github.com/wattledger/wattledger/collector/rapl"
	"github.com/wattledger/wattledger/collector/redfish"
	"github.com/wattledger/wattledger/collector/slurm"
	"github.com/wattledger/wattledger/collector/spool"
	"github.com/wattledger/wattledger/collector/wallclock"
	"github.com/wattledger/wattledger/collector/watchdog"
	"github.com/wattledger/wattledger/collector/workload"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/reference"
)

//go:generate go test -run TestReferenceIsCurrent -count 1 . -update

var update = flag.Bool("update", false, "write docs/collector-reference.md")

const referencePage = "../../docs/collector-reference.md"

func TestReferenceIsCurrent(t *testing.T) {
	var page bytes.Buffer
	writeKeys(t, &page)
	writeMetrics(t, &page)
	if err := reference.Current(referencePage, page.Bytes(), *update); err != nil {
		t.Error(err)
	}
}

func writeKeys(t *testing.T, page *bytes.Buffer) {
	t.Helper()
	src := &reference.Source{Module: "github.com/wattledger/wattledger", Root: "../.."}
	keys, err := src.Keys(defaults("/var/lib/wattledger", "HOSTNAME"))
	if err != nil {
		t.Fatal(err)
	}
	if named := process.Keys(config{}); len(named) > len(keys) {
		t.Errorf("%d keys have a comment, and %d can be set", len(keys), len(named))
	}
	page.WriteString(`# Reference of the collector

<!-- Generated from the code by make generate (cmd/wattledger-collector/reference_test.go). Do not edit. -->

Every key of the configuration and every metric of ` + "`wattledger-collector`" + `. What they are for is in [collector.md](collector.md).

## Configuration

A key stands in the YAML file as ` + "`section: {key: value}`" + `. ` + "`agent.period`" + ` is also ` + "`--set agent.period=…`" + ` and the environment variable
` + "`" + process.EnvName("agent.period") + "`" + `; flags win over environment, environment over file. ` + "`list[].key`" + ` is a key of each element of a list. HOSTNAME is the
name of the host, ` + "`/var/lib/wattledger`" + ` what ` + "`--data`" + ` says.
`)
	reference.WriteKeys(page, keys, "the node's devices")
}

func writeMetrics(t *testing.T, page *bytes.Buffer) {
	t.Helper()
	page.WriteString(`
## Metrics

Each part's are there when the part is in use. Beside them stand Go's own (` + "`go_…`" + `, ` + "`process_…`" + `).
`)
	parts := metricsOfParts(t)
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.name, b.name) })
	for _, p := range parts {
		if len(p.metrics) == 0 {
			t.Errorf("%s has no metric", p.name)
		}
		reference.WriteMetrics(page, p.name, p.metrics)
	}
	page.WriteString(`
### in dcgm-exporter's names

Shown with ` + "`metrics.dcgm_exporter`" + `; ` + "`metrics.counters_file`" + ` names another set. Labels of a GPU are ` + "`gpu`, `UUID`, `pci_bus_id`, `device`, `modelName`" + `, for an
instance ` + "`GPU_I_PROFILE`, `GPU_I_ID`" + ` too, then the host's, those of type label, and ` + "`container`, `namespace`, `pod`, `hpc_job`" + ` of who holds it.

| metric | type | meaning |
| --- | --- | --- |
`)
	csv, err := os.ReadFile("../../collector/exposition/default.csv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(csv), "\n") {
		name, rest, ok := strings.Cut(line, ", ")
		kind, help, _ := strings.Cut(rest, ", ")
		if ok && !strings.HasPrefix(line, "#") {
			fmt.Fprintf(page, "| `%s` | %s | %s |\n", name, kind, reference.Cell(help))
		}
	}
	page.WriteString(`
## Environment of dcgm-exporter

These variables are understood; file, environment (` + "`WATTLEDGER_…`" + `) and flags of ours win over them.

| variable | its flag there | key here |
| --- | --- | --- |
`)
	for _, a := range exposition.Aliases {
		fmt.Fprintf(page, "| `%s` | `%s` | `%s` |\n", a.Env, a.Flag, a.Option)
	}
}

type part struct {
	name    string
	metrics []reference.Metric
}

// metricsOfParts constructs each part as main does, with a registry that remembers.
func metricsOfParts(t *testing.T) []part {
	t.Helper()
	cfg := defaults(t.TempDir(), "n1")
	cfg.Agent.Site, cfg.Meters.Site = "s1", "s1"
	cfg.Agent.Run[0], cfg.Agent.BootID[0], cfg.Meters.Run[0] = 1, 1, 1
	log, clock := slog.New(slog.DiscardHandler), wallclock.Clock{}
	var parts []part
	add := func(name string, construct func(reg prometheus.Registerer) error) {
		t.Helper()
		r := reference.NewRecorder()
		if err := construct(r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		parts = append(parts, part{name, r.Metrics()})
	}

	add("dcgm", func(reg prometheus.Registerer) error {
		path, _ := simtest.Play(t, tray)
		lib, err := dcgm.Load(path)
		if err != nil {
			return err
		}
		s, err := dcgm.Open(t.Context(), lib, cfg.DCGM, log, reg)
		if err != nil {
			return err
		}
		return s.Close()
	})
	add("nvml", func(reg prometheus.Registerer) error {
		lib, err := nvml.Load(simulatedNVML(t))
		if err != nil {
			return err
		}
		s, err := nvml.Open(lib, cfg.NVML, log, reg)
		if err != nil {
			return err
		}
		return s.Close()
	})
	add("exporter", func(reg prometheus.Registerer) error {
		s, err := exporter.New(cfg.Exporter, now, log, reg)
		if err != nil {
			return err
		}
		return s.Close()
	})
	add("watchdog", func(reg prometheus.Registerer) error {
		_, err := watchdog.New(cfg.Watchdog, func(context.Context) (watchdog.Source, error) { return nil, nil }, log, reg)
		return err
	})
	add("redfish", func(reg prometheus.Registerer) error {
		c := cfg.Redfish
		c.Address, c.Username, c.PasswordFile = "https://127.0.0.1", "reader", filepath.Join(t.TempDir(), "password")
		s, err := redfish.Open(c, log, reg)
		if err != nil {
			return err
		}
		return s.Close()
	})
	add("rapl", func(reg prometheus.Registerer) error {
		c := cfg.RAPL
		c.Root = t.TempDir()
		s, err := rapl.Open(c, log, reg)
		if err != nil {
			return err
		}
		return s.Close()
	})
	add("hwmon", func(reg prometheus.Registerer) error {
		c := cfg.HWMon
		c.Root = t.TempDir()
		s, err := hwmon.Open(c, log, reg)
		if err != nil {
			return err
		}
		return s.Close()
	})
	add("kubernetes", func(reg prometheus.Registerer) error {
		c := cfg.Kubernetes
		c.Enabled, c.Node, c.Socket, c.API.URL = true, "n1", filepath.Join(t.TempDir(), "kubelet.sock"), "none"
		_, err := kubernetes.New(c, clock, log, reg)
		return err
	})
	add("slurm", func(reg prometheus.Registerer) error {
		c := cfg.Slurm
		c.Enabled, c.Directory = true, t.TempDir()
		_, err := slurm.New(c, clock, log, reg)
		return err
	})
	add("metrics", func(reg prometheus.Registerer) error {
		counters, err := exposition.LoadCounters("")
		if err != nil {
			return err
		}
		_, err = exposition.New(cfg.Metrics.Config, counters, exposition.Ports{}, now, reg)
		return err
	})
	add("reload", func(reg prometheus.Registerer) error {
		reg.MustRegister(newRefused(), newReplaced())
		return nil
	})
	parts = append(parts, part{"process", build(t)})

	// The spool stays open for those that write to it.
	var queue *spool.Spool
	add("spool", func(reg prometheus.Registerer) (err error) {
		queue, err = spool.Open(cfg.Spool, now, log, reg)
		return err
	})
	t.Cleanup(func() {
		if err := queue.Close(); err != nil {
			t.Error(err)
		}
	})
	writer := message.NewWriter(queue)
	add("forward and kafka", func(reg prometheus.Registerer) error {
		sink, err := kafka.NewSink(cfg.Kafka, reg)
		if err != nil {
			return err
		}
		if _, err := kafka.NewForwarder(cfg.Forward, queue, sink, log, reg); err != nil {
			return err
		}
		return sink.Close()
	})
	add("agent", func(reg prometheus.Registerer) error {
		_, err := agent.New(cfg.Agent, nothing{}, writer, clock, log, reg)
		return err
	})
	add("workload", func(reg prometheus.Registerer) error {
		id := workload.Identity{Node: "n1", Site: "s1", Run: cfg.Agent.Run}
		_, err := workload.New(cfg.Workload, id, nil, writer, clock, workload.Hooks{}, log, reg)
		return err
	})
	add("meters", func(reg prometheus.Registerer) error {
		feed := nodemeter.Feed{Name: "nothing", Source: nodemeter.FuncSource{}, Period: time.Second, Timeout: time.Second}
		_, err := nodemeter.New(cfg.Meters.Config, []nodemeter.Feed{feed}, writer, clock, log, reg)
		return err
	})
	return parts
}

// nothing is a source without devices.
type nothing struct{ agent.Source }

func (nothing) Devices() []agent.Device { return nil }

// simulatedNVML is freshly built, so that the page does not depend on what else has been.
func simulatedNVML(t *testing.T) string {
	t.Helper()
	sources, err := filepath.Glob("../../collector/nvml/sim/*.c")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no sources of the simulated NVML in collector/nvml/sim: %v", err)
	}
	lib := filepath.Join(t.TempDir(), nvml.Soname)
	args := append([]string{"-std=gnu11", "-O1", "-shared", "-fPIC", "-pthread", "-Wl,-soname," + nvml.Soname, "-o", lib}, sources...)
	if out, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
		t.Fatalf("build the simulated NVML, which needs a C compiler (cc): %v\n%s", err, out)
	}
	return lib
}

// build are the metrics that every process of ours has, Go's own aside.
func build(t *testing.T) []reference.Metric {
	t.Helper()
	found, err := reference.Gathered(process.NewEnv(process.Flags{}, nil, nil, nil).Metrics, "wattledger_")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The complete example of the manual, and every shorter one, are configurations that the collector takes.
func TestExamplesOfTheManualAreTaken(t *testing.T) {
	const file = "../../docs/collector.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	complete := false
	n := 0
	for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if strings.HasPrefix(block, "apiVersion:") || strings.HasPrefix(block, "tls_server_config:") {
			continue // Kubernetes' and the exporter toolkit's
		}
		n++
		cfg := defaults("/var/lib/wattledger", "n1")
		cfg.Agent.Site, cfg.Meters.Site = "fr-1", "fr-1"
		cfg.Agent.Run[0], cfg.Agent.BootID[0], cfg.Meters.Run[0] = 1, 1, 1
		env := process.NewEnv(process.Flags{Config: filepath.Join(t.TempDir(), "collector.yaml")}, nil, os.Stderr, nil)
		if err := os.WriteFile(env.Flags.Config, []byte(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := env.Load(&cfg); err != nil {
			t.Errorf("%v in\n%s", err, block)
		}
		complete = complete || strings.Contains(block, "# A complete example.")
	}
	if n < 3 || !complete {
		t.Errorf("%d examples found, the complete one is there: %v", n, complete)
	}
}
