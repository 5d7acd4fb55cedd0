package workload_test

import (
	"os"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/collector/kubernetes"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/collector/slurm"
	"github.com/wattledger/wattledger/collector/workload"
	"github.com/wattledger/wattledger/internal/process"
)

// What main wires together fits.
var (
	_ workload.Publisher = (*message.Writer)(nil)
	_ workload.Source    = (*kubernetes.Source)(nil)
	_ workload.Source    = (*slurm.Source)(nil)
	_ workload.Source    = (*slurm.Mapped)(nil)
	_ workload.Source    = (*workload.Static)(nil)
)

// Every block of configuration in the manual is one that the collector takes, and the worked examples come out as written.
func TestTheManualIsRight(t *testing.T) {
	const file = "../../docs/collector-workloads.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Workload   workload.Config   `yaml:"workload"`
		Kubernetes kubernetes.Config `yaml:"kubernetes"`
		Slurm      slurm.Config      `yaml:"slurm"`
	}
	all.Workload, all.Kubernetes, all.Slurm = workload.DefaultConfig(), kubernetes.DefaultConfig(), slurm.DefaultConfig()
	blocks := 0
	for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if strings.HasPrefix(block, "apiVersion") {
			continue
		}
		blocks++
		if err := process.DecodeYAML(file, []byte(block), &all); err != nil {
			t.Errorf("%v in\n%s", err, block)
		}
	}
	if blocks < 4 {
		t.Errorf("%d blocks found", blocks)
	}
	for _, err := range []error{all.Workload.Validate(), all.Kubernetes.Validate(), all.Slurm.Validate()} {
		if err != nil {
			t.Error(err)
		}
	}
	if len(all.Workload.Static) != 2 || len(all.Workload.Static[0].Devices) != 1 || !all.Slurm.Enabled || !all.Kubernetes.Enabled {
		t.Errorf("read as %+v", all)
	}
	rules, err := workload.CompileRules(all.Workload.Rules)
	if err != nil {
		t.Fatal(err)
	}
	f := func(want workload.Names, pairs ...string) {
		t.Helper()
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		if got, _ := rules.Name(m, workload.Names{}); got != want {
			t.Errorf("%v: %+v, want %+v", pairs, got, want)
		}
	}
	f(workload.Names{Tenant: "bank", Project: "vision", Workload: "train-0", Purpose: "training"}, "namespace", "bank-1", "pod", "train-0", "label.team", "vision")
	f(workload.Names{Tenant: "bank", Project: "bank-1", Workload: "web-0"}, "namespace", "bank-1", "pod", "web-0", "label.team", "visions")
	f(workload.Names{Tenant: "rail", Workload: "cfd"}, "job", "4711", "account", "rail", "job_name", "cfd")
	f(workload.Names{}, "namespace", "default", "pod", "test")
}
