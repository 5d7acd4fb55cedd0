package dcgm_test

import (
	"context"
	"testing"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/collector/meter"
)

func TestReadingAllocatesNothing(t *testing.T) {
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
