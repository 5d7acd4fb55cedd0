package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/wattledger/wattledger/schemas/record"
)

// A call that never returns holds up nothing: the ticks go on without values, the calls are given up one after another, and
// after the third a fresh process takes the place of this one, under the same id. What had been read is in Kafka once.
func TestACallThatNeverReturnsIsLeftBehind(t *testing.T) {
	t.Parallel() // it mostly waits
	f := func(name, address string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const node = "node n1 hgx-b200 gpus=2\n"
			s := newStation(t, node+"hang n1 dcgmEntitiesGetLatestValues +3s ever\n")
			r := s.collect("--dcgm-address", address, "--set", "watchdog.abandon=600ms", "--set", "agent.max_age=400ms")
			r.until("a call is given up", 30*time.Second, func() bool { return r.metric("wattledger_collector_abandoned_calls_total") > 0 })
			if status, body := get("http://" + r.address() + "/readyz"); status != http.StatusServiceUnavailable {
				t.Errorf("while the call hangs, readiness is %d: %s", status, body)
			}
			// The library reads this in the fresh process, whose calls return.
			s.write("scenario", "seed 5\nclock wall\nstart now\n"+node)
			r.until("a fresh process says so", 30*time.Second, func() bool { return len(s.incidents(record.IncidentRestart, "hung_calls")) > 0 })
			if n := r.metric("wattledger_collector_replaced", `reason="hung_calls"`); n != 1 {
				t.Errorf("replaced %v times, want 1", n)
			}
			r.until("it reads", 20*time.Second, func() bool {
				all := s.samples()
				return readRows(all[len(all)-1].EnergyTsUs) > 0
			})
			r.stops() // by the process id it was started with
			if runs := s.onlyOnce(); runs != 2 {
				t.Errorf("%d runs, want 2", runs)
			}
			all := s.samples()
			first, before, empty, last := all[0].Run, 0, 0, int64(0)
			period := stationPeriod.Microseconds()
			for _, b := range all {
				if string(b.Run) != string(first) {
					break
				}
				read := readRows(b.EnergyTsUs)
				before, empty = before+read, empty+len(b.EnergyTsUs)-read
				for _, tick := range b.TickUs {
					if last != 0 && tick-last > 3*period {
						t.Errorf("no tick between %d and %d", last, tick)
					}
					last = tick
				}
			}
			if before < 10 || empty < 10 {
				t.Errorf("the run with the call that hung has %d rows with and %d without values", before, empty)
			}
			gaps := s.incidents(record.IncidentGap, "hung")
			if len(gaps) == 0 {
				t.Fatal("no gap is stated with the reason hung")
			}
			for _, g := range gaps {
				if g.Device != "" || g.Amount < 3 {
					t.Errorf("the gap is %+v", g)
				}
			}
		})
	}
	f("nv-hostengine", "n1")
	f("an engine in the process", "embedded")
}

// readRows is how many rows have an energy counter.
func readRows(stamps []uint64) (n int) {
	for _, at := range stamps {
		if at != ^uint64(0) {
			n++
		}
	}
	return n
}
