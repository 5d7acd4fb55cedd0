package dcgm_test

import (
	"context"
	"testing"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/collector/meter"
)

// One bulk call per class of alike devices, whatever their number, and none for events while nothing happens.
func TestATickIsOneCallPerClass(t *testing.T) {
	f := func(scenario string, want uint64) {
		t.Helper()
		lib, sim := simtest.Play(t, head+scenario)
		s := openWith(t, lib, nil, func(c *dcgm.Config) { c.Extra = []uint16{253, 385, 310, 1201, 1133} })
		watch(t, s, sim, start, start+5*second)
		bulk, since, all := sim.Calls("dcgmEntitiesGetLatestValues"), sim.Calls("dcgmGetValuesSince_v2"), sim.Calls("dcgmGetGpuStatus")
		for _, k := range watch(t, s, sim, start+5*second, start+9*second) {
			if k.err != nil {
				t.Fatal(k.err)
			}
		}
		if n := sim.Calls("dcgmEntitiesGetLatestValues") - bulk; n != 4*want {
			t.Errorf("%d bulk calls in 4 ticks of %q, want %d", n, scenario, 4*want)
		}
		if sim.Calls("dcgmGetValuesSince_v2") != since || sim.Calls("dcgmGetGpuStatus") != all {
			t.Errorf("other calls were made in quiet ticks of %q", scenario)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	f("node n1 hgx-b200\n", 1)
	f("node n1 gb200\n", 2)             // GPUs and CPUs
	f("node n1 gb200\nmig n1 1 3\n", 5) // GPUs with and without MIG, instances, events of compute instances, CPUs
}

func TestReadingAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool drops entries at random under the race detector; run it without -race, as make test does")
	}
	f := func(scenario string) {
		t.Helper()
		lib, sim := simtest.Play(t, head+scenario)
		s := openWith(t, lib, nil, func(c *dcgm.Config) { c.Extra = []uint16{253, 385, 1133} })
		read(t, s, sim, start+10*second)
		r := meter.NewWideReadings(len(s.Devices()), 3)
		events := make([]agent.Event, 0, 8)
		if n := testing.AllocsPerRun(100, func() {
			if err := s.Read(context.Background(), start+10*second, r); err != nil {
				t.Fatal(err)
			}
			var err error
			if events, err = s.Events(context.Background(), events[:0]); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations per reading of %q", n, scenario)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	f("node n1 hgx-b200\n")
	f("node n1 gb200\nmig n1 1 3 4\n")
}
