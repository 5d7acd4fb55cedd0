package dcgm_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
)

func TestSwitches(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nswitches n1 4\nload n1 0 +0s +1h training\nsxid n1 2 +15s 20034 fatal\nsxid n1 1 +16s 11001 nonfatal\n")
	reg := prometheus.NewRegistry()
	s := openWith(t, lib, reg, func(c *dcgm.Config) { c.Extra = []uint16{864, 253} })
	if len(s.Devices()) != 8 {
		t.Fatalf("%d devices: a switch is none", len(s.Devices()))
	}
	watch(t, s, sim, start, start+11*second)
	first := s.Switches()
	for _, k := range watch(t, s, sim, start+11*second, start+41*second) {
		if k.err != nil || len(k.events) != 0 {
			t.Errorf("at %v: %v, events %v", k.at.Time(), k.err, k.events)
		}
	}
	list := s.Switches()
	if len(list) != 4 {
		t.Fatalf("%d switches, want 4", len(list))
	}
	for i, w := range list {
		at, watts, ok := w.Power()
		if !ok || watts <= 0 || at < start+30*second || w.ID != uint32(i) {
			t.Errorf("switch %d draws %v W, %v", w.ID, watts, ok)
		}
		for k, f := range dcgm.SwitchFields {
			if w.Values[k].At == 0 || (f == 861 || f == 862) && w.Values[k].Int <= first[i].Values[k].Int {
				t.Errorf("switch %d field %d went from %+v to %+v", i, f, first[i].Values[k], w.Values[k])
			}
		}
		if w.Extra[0].At == 0 || w.Extra[1].At != 0 {
			t.Errorf("switch %d has the extra fields %+v", i, w.Extra)
		}
	}
	if metric(t, reg, "sxid_total", "switch", "2", "sxid", "20034", "severity", "fatal") != 1 || metric(t, reg, "sxid_total") != 2 {
		t.Errorf("%v errors of switches are counted, want one of switch 2 and one other", metric(t, reg, "sxid_total"))
	}
	list[0].Values[0].Int = -1
	if s.Switches()[0].Values[0].Int == -1 {
		t.Error("what is handed out is not a copy")
	}
}
