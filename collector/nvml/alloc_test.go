//go:build !race

// The race detector makes pools forget, purego's among them.

package nvml_test

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
)

func TestReadingAllocatesNothing(t *testing.T) {
	s := play(t, 8, append(mig, "wall")...) // to be told the time by a control line would allocate
	source := s.open(t, prometheus.NewRegistry())
	r := meter.NewReadings(len(source.Devices()))
	ctx, tick := context.Background(), start
	events := make([]agent.Event, 0, 8)
	n := testing.AllocsPerRun(50, func() {
		tick += second
		s.now = tick
		r.Reset()
		if err := source.Read(ctx, tick, r); err != nil {
			t.Fatal(err)
		}
		if err := source.ReadEdge(ctx, r); err != nil {
			t.Fatal(err)
		}
		events, _ = source.Events(ctx, events[:0])
	})
	if n != 0 {
		t.Errorf("a reading allocates %v times", n)
	}
	if v := r.Row(1)[slot(t, 1002)]; v.At == 0 || r.Row(1)[meter.SlotEnergy].At == 0 {
		t.Errorf("and it reads nothing: %+v", r.Row(1))
	}
}
