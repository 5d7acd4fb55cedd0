package e2e

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	catalogue "github.com/wattledger/wattledger/dashboards/query"
)

// By how much power × time may differ from the counters: power is read at ticks and falls silent where they are missing, the counter is not
// and does not.
const powerBound = 0.001

// powerIsEnergy holds the telemetry's panels to the ledger: what the fleet draws, added up over the day, is what its counters say.
func powerIsEnergy(t *testing.T, s *stage, lines []line) {
	gpus, devices := map[string]float64{}, map[string]float64{}
	for _, l := range lines {
		gpus[l.Site] += float64(l.GPU) / 1000
		devices[l.Site] += float64(l.GPU+l.CPU) / 1000
	}
	f := func(joules map[string]float64, kind catalogue.Kind, by ...catalogue.Dimension) {
		t.Helper()
		body, err := json.Marshal(catalogue.Query{Kind: kind, Metric: "power", Form: catalogue.FormSeries, By: by, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		answers, err := s.operator(t).Query(t.Context(), backend.DataQuery{RefID: "A", JSON: body, MaxDataPoints: 10_000, TimeRange: backend.TimeRange{From: s.from, To: s.to}})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, frame := range answers["A"].Frames {
			power := frame.Fields[1]
			for i := range power.Len() {
				if v, err := power.NullableFloatAt(i); err == nil && v != nil {
					got[power.Labels["site"]] += *v * stepOf(frame).Seconds()
				}
			}
		}
		if len(got) != len(joules) {
			t.Errorf("power of %s: %d sites, the ledger has %d", kind, len(got), len(joules))
		}
		for site, want := range joules {
			off := got[site]/want - 1
			t.Logf("power of %s × time at %s: %.3f %% from the counters", kind, site, 100*off)
			if math.Abs(off) > powerBound {
				t.Errorf("power of %s × time is %.1f kWh at %s, by the ledger %.1f: off by %.2f %%", kind, got[site]/3.6e6, site, want/3.6e6, 100*off)
			}
		}
	}
	f(gpus, catalogue.KindFleet, catalogue.Site)
	f(devices, catalogue.KindDevice, catalogue.Site, catalogue.DeviceID)
}
