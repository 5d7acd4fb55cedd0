package e2e

import (
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Slurm's prolog and epilog, with what slurmd puts into their environment, become the start and the end of an allocation of the
// GPU that Slurm means: it counts device files, which run against the index here. At each edge the counters are read once more.
func TestPrologAndEpilogBecomeAnAllocation(t *testing.T) {
	t.Parallel() // it mostly waits
	s := newStation(t, "node n1 hgx-b200\nload n1 7 +0s +1h training\n")
	jobs := filepath.Join(s.dir, "jobs")
	file := s.write("collector.yaml", "workload:\n  poll: 200ms\n  rules:\n    - match: {account: '*'}\n      set: {tenant: '{account}', workload: '{job_name}'}\n")
	r := s.collect("--config", file, "--set", "slurm.enabled=true", "--set", "slurm.directory="+jobs)
	r.until("it reads", 30*time.Second, func() bool { return len(s.samples()) > 1 })
	hook := func(which string) {
		t.Helper()
		env := []string{
			"SLURM_JOB_ID=4711", "SLURM_JOB_UID=1004", "SLURM_JOB_USER=ada", "SLURM_JOB_ACCOUNT=physics", "SLURM_JOB_PARTITION=gpu",
			"SLURM_CLUSTER_NAME=c1", "SLURM_JOB_GPUS=0", "CUDA_VISIBLE_DEVICES=0", "SLURMD_NODENAME=n1", "SLURM_JOB_NAME=train",
		}
		hook := start(t, options{dir: s.dir, env: env}, s.bin.collector, "slurm", which, "--directory", jobs)
		if code := hook.endsWithin(10 * time.Second); code != 0 || hook.err.String() != "" {
			t.Errorf("slurm %s ended with %d: %s", which, code, hook.err.String())
		}
	}
	hold := func(ended bool) *wl.Allocation {
		for _, a := range s.allocations() {
			if a.SchedulerRef == "4711" && (a.EndUs != 0) == ended {
				return a
			}
		}
		return nil
	}
	// Hooks come between two ticks, as they do.
	begun := time.Now()
	hook("prolog")
	r.until("the job holds its GPU", 20*time.Second, func() bool { return hold(false) != nil })
	hook("epilog")
	ended := time.Now()
	r.until("it holds it no more", 20*time.Second, func() bool { return hold(true) != nil })
	for deadline := time.Now().Add(20 * time.Second); r.metric("wattledger_collector_edge_readings_total") < 1 && time.Now().Before(deadline); {
		hook("epilog")
		time.Sleep(100 * time.Millisecond)
	}
	r.stops()

	inventory := &wl.Inventory{}
	if err := proto.Unmarshal(s.kafka.all(wire.TopicInventory)[0].value, inventory); err != nil {
		t.Fatal(err)
	}
	a := hold(true)
	for _, d := range inventory.Devices {
		if d.Uuid == a.DeviceUuid && d.Index != 7 {
			t.Errorf("device file 0 is index 7 here; the job is said to hold index %d", d.Index)
		}
	}
	if a.Tenant != "physics" || a.Workload != "train" {
		t.Errorf("the job is said to be of %s, %s", a.Tenant, a.Workload)
	}
	if a.Thousandths != 1000 || a.StartUs < begun.UnixMicro() || a.EndUs > ended.UnixMicro() || a.EndUs <= a.StartUs {
		t.Errorf("the job held %s from %d to %d between %d and %d", a.DeviceUuid, a.StartUs, a.EndUs, begun.UnixMicro(), ended.UnixMicro())
	}
	if fell := s.incidents(record.IncidentEpoch, "fell"); len(fell) > 0 {
		t.Errorf("what was sampled before an extra reading is taken for a fall: %+v", fell)
	}
	extra := 0
	for _, b := range s.samples() {
		for i, tick := range b.TickUs {
			if tick%stationPeriod.Microseconds() != 0 && b.EnergyTsUs[i] != ^uint64(0) {
				extra++
			}
		}
	}
	if extra == 0 {
		t.Error("no reading beside the ticks: the edges have none of their own")
	}
}
