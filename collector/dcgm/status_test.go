package dcgm_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

func TestAnEngineOlderThanTheLibrary(t *testing.T) {
	const scenario = "node n1 gb200\nmig n1 1 3 4\nload n1 0 +0s +1h training\nxid n1 0 +5500ms 31\nmissing n1 2 156 +9500ms +10500ms\n"
	lib, sim := simtest.Play(t, head+scenario)
	s := open(t, lib, "n1", time.Second)
	want, devices := watch(t, s, sim, start, start+20*second), s.Devices()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	lib, sim = simtest.Play(t, head+scenario+"skew n1\n")
	s = openWith(t, lib, nil, func(*dcgm.Config) {})
	if st := s.Status(); !strings.Contains(st.Reading, "newer than the host engine") || st.Engine != "4.5.3" || st.Library != "4.6.0" {
		t.Errorf("status is %+v", st)
	}
	got := watch(t, s, sim, start, start+20*second)
	if fmt.Sprint(s.Devices()) != fmt.Sprint(devices) {
		t.Errorf("devices are %+v\nwant %+v", s.Devices(), devices)
	}
	for i, k := range got {
		if k.err != nil || fmt.Sprint(k.events) != fmt.Sprint(want[i].events) {
			t.Errorf("at %v: %v with events %v, want %v", k.at.Time(), k.err, k.events, want[i].events)
		}
		for d := range k.devices {
			if g, w := fmt.Sprint(k.r.Row(d)), fmt.Sprint(want[i].r.Row(d)); g != w {
				t.Errorf("at %v device %d reads\n%s, want\n%s", k.at.Time(), d, g, w)
			}
		}
	}
	if err := sim.Advance("n1", start+25*second); err != nil {
		t.Fatal(err)
	}
	caught := 0
	if err := s.CatchUp(t.Context(), start+20*second, start+25*second, second, func(_ unit.Micros, r *meter.Readings) error {
		if r.Row(0)[meter.SlotEnergy].At != 0 {
			caught++
		}
		return nil
	}); err != nil || caught != 4 {
		t.Errorf("%d ticks caught up with, %v", caught, err)
	}
	var e *dcgm.Error
	if err := s.ReadEdge(t.Context(), meter.NewReadings(len(devices))); !errors.As(err, &e) || e.Return != dcgm.FunctionNotFound {
		t.Errorf("an edge gave %v", err)
	}
}

func TestProfilingThatIsNotPermitted(t *testing.T) {
	f := func(line, feature string) {
		t.Helper()
		lib, sim := simtest.Play(t, head+"node n1 hgx-b200\n"+line)
		reg := prometheus.NewRegistry()
		s := openWith(t, lib, reg, func(*dcgm.Config) {})
		st := s.Status()
		if permitted := feature != "profiling"; strings.HasPrefix(st.Profiling, "not permitted: ") == permitted || permitted != (st.Profiling == "ok") {
			t.Errorf("%q: profiling is %q", line, st.Profiling)
		}
		if feature == "profiling" && !strings.Contains(st.Profiling, "as root") {
			t.Errorf("%q: no remedy in %q", line, st.Profiling)
		}
		for _, name := range []string{"profiling", "fields", "events"} {
			if got, want := metric(t, reg, "permission", "feature", name), name != feature; (got == 1) != want {
				t.Errorf("%q: permission of %s is %v", line, name, got)
			}
		}
		if v := read(t, s, sim, start+5*second); v.Row(0)[meter.SlotEnergy].At == 0 {
			t.Errorf("%q: energy is missing", line)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	f("forbid n1 profiling\n", "profiling")
	f("forbid n1 profiling root\n", "profiling")
	f("forbid n1 1002\n", "profiling")
	f("forbid n1 140\n", "fields")
	f("", "")
}

// The exposition asks while the loop reads, reconnects and finds other devices; the race detector watches.
func TestTheStatusIsForAnyGoroutine(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nmig n1 2 3 4\nrepartition n1 2 +20s 2 2\nswitches n1 4\nrestart n1 +40s\n")
	s := openWith(t, lib, prometheus.NewRegistry(), func(c *dcgm.Config) { c.Labels, c.Extra = []uint16{53}, []uint16{864} })
	uuid := s.Devices()[0].UUID
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if st := s.Status(); st.Where == "" || len(s.Switches()) != 4 || s.Label(uuid, 0) == "" {
				t.Errorf("status is %+v", st)
				return
			}
		}
	}()
	watch(t, s, sim, start, start+60*second)
	close(stop)
	<-done
	if st := s.Status(); !st.Connected || st.Error != "" {
		t.Errorf("at the end the status is %+v", st)
	}
}
