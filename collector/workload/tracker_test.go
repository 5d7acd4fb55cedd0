package workload

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

func TestEdgesAreStatedAtOnceAndEverythingFromTimeToTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := now()
		d := open(t, configured(forAll), &scheduler{changed: make(chan unit.Micros)}, nil)
		defer d.stop()
		time.Sleep(5500 * time.Millisecond)
		d.scheduler.say(Hold{Key: "a"})
		d.scheduler.changed <- now() - 100_000 // the event was a moment ago
		d.want(begin, "a of t holds 1000 of GPU-a 5.4–…")
		time.Sleep(2 * time.Second)
		d.scheduler.say()
		time.Sleep(time.Second)
		d.want(begin, "a of t holds 1000 of GPU-a 5.4–8")
		if n := len(d.edges); n != 2 || d.edges[0] != begin+5_500_000 {
			t.Errorf("edges at %v", d.edges)
		}
		messages := len(d.sent())
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		if n := len(d.batches) - messages; n != 3 {
			t.Errorf("%d messages in three quiet minutes", n)
		}
		for i, b := range d.batches {
			if b.Sequence != uint64(i) || b.Source != "n/allocations" || b.Site != "fr" {
				t.Errorf("message %d is of %s with sequence %d", i, b.Source, b.Sequence)
			}
			if i > 0 && b.CompleteUpToUs < d.batches[i-1].CompleteUpToUs {
				t.Error("what is complete fell")
			}
		}
		last := d.batches[len(d.batches)-1]
		if len(last.Allocations) != 1 || now()-unit.Micros(last.CompleteUpToUs) > 80*second || d.published != unit.Micros(last.CompleteUpToUs) {
			t.Errorf("the last full statement is %v, published up to %v", last, d.published.Time())
		}
	})
}

func TestAMessageThatIsNotTakenIsOfferedAgainAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := now()
		d := open(t, configured(forAll), &scheduler{}, nil)
		defer d.stop()
		time.Sleep(1500 * time.Millisecond)
		d.mu.Lock()
		d.fail = errors.New("away")
		d.mu.Unlock()
		d.scheduler.say(Hold{Key: "a"})
		time.Sleep(5 * time.Second)
		d.scheduler.say(Hold{Key: "b"})
		time.Sleep(5 * time.Second)
		d.mu.Lock()
		d.fail = nil
		d.mu.Unlock()
		time.Sleep(time.Second)
		d.want(begin, "a of t holds 1000 of GPU-a 2–7", "b of t holds 1000 of GPU-a 7–…")
		d.mu.Lock()
		for i, b := range d.batches {
			if b.Sequence != uint64(i) {
				t.Errorf("sequence %d is a hole before %d", i, b.Sequence)
			}
		}
		if len(d.batches[1].Allocations) != 1 || d.batches[1].Allocations[0].EndUs != 0 {
			t.Errorf("the message waiting was changed: %v", d.batches[1])
		}
		d.fail = fmt.Errorf("too large: %w", agent.ErrRefused)
		d.mu.Unlock()
		d.scheduler.say()
		time.Sleep(time.Second)
		synctest.Wait()
		if d.counter("allocation_messages_total refused") != 1 || d.counter("allocation_messages_total retried") < 9 {
			t.Error("outcomes are not counted")
		}
	})
}

func TestWhatNoRuleNamesIsCountedAndNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := now()
		rule := Rule{Match: map[string]string{"account": "bank"}, Set: Names{Tenant: "bank", Purpose: "{label.purpose}"}}
		s := &scheduler{}
		s.say(Hold{Key: "a", Attributes: map[string]string{"account": "nobody"}}, Hold{Key: "b", Device: "GPU-b", Attributes: map[string]string{"account": "bank", "label.purpose": "fun"}})
		d := open(t, configured(rule), s, nil)
		time.Sleep(10 * time.Second)
		d.want(begin, "b of bank holds 1000 of GPU-b 0–…")
		if d.counter("allocations_refused_total unmapped test") != 1 && d.counter("allocations_refused_total test unmapped") != 1 {
			t.Error("unmapped is not counted once")
		}
		if d.counter("allocations_unmapped") != 1 || d.counter("allocations_refused_total purpose test") != 1 {
			t.Error("unmapped now, or a purpose that is none, is not counted")
		}
		if !slices.ContainsFunc(d.incidents, func(i record.Incident) bool {
			return i.Reason == reasonUnmapped && i.Device == "GPU-a" && i.Validate() == nil
		}) {
			t.Errorf("incidents are %+v", d.incidents)
		}
		if h := d.tracker.Holders("GPU-a"); len(h) != 1 || h[0].Ref != "a" || h[0].Refused != reasonUnmapped || h[0].Attributes["account"] != "nobody" {
			t.Errorf("holders are %+v", h)
		}
		if err := d.tracker.SetRules([]Rule{rule, {Set: Names{Tenant: "rest"}}}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		d.want(begin, "a of rest holds 1000 of GPU-a 0–…", "b of bank holds 1000 of GPU-b 0–…")
		d.stop()

		c := configured(rule)
		c.UnmappedTenant = "operator"
		d = open(t, c, s, nil)
		time.Sleep(time.Second)
		d.want(begin, "a of operator holds 1000 of GPU-a 11–…", "b of bank holds 1000 of GPU-b 11–…")
		if d.counter("allocations_unmapped") != 1 {
			t.Error("with a tenant for it, unmapped is not counted")
		}
		d.stop()
	})
}

func TestARestartGoesOnWithWhatWasSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := now()
		s := &scheduler{}
		s.say(Hold{Key: "stays"}, Hold{Key: "ends", Device: "GPU-b"})
		d := open(t, configured(forAll), s, nil)
		time.Sleep(20 * time.Second)
		d.want(begin, "ends of t holds 1000 of GPU-b 0–…", "stays of t holds 1000 of GPU-a 0–…")
		d.stop()
		first := d

		time.Sleep(time.Hour)
		s.say(Hold{Key: "stays"})
		d = open(t, configured(forAll), s, first.saved)
		d.mu.Lock()
		d.batches = append(first.batches, d.batches...) // one reader reads both runs
		d.mu.Unlock()
		time.Sleep(time.Second)
		d.want(begin, "ends of t holds 1000 of GPU-b 0–20", "stays of t holds 1000 of GPU-a 0–…")
		uncertain := slices.IndexFunc(d.incidents, func(i record.Incident) bool { return i.Reason == reasonEnd })
		if uncertain < 0 || d.incidents[uncertain].From != begin+20*second || d.incidents[uncertain].To < begin+unit.Hour || d.incidents[uncertain].Device != "GPU-b" {
			t.Errorf("incidents are %+v", d.incidents)
		}
		d.stop()

		for _, bad := range []string{"{", `{"version":9,"node":"n"}`, `{"version":1,"node":"other"}`, `{"version":1,"node":"n","episodes":[{}]}`, `{"version":1,"node":"n","episodes":[null]}`} {
			if err := d.tracker.Restore([]byte(bad)); err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", bad, err)
			}
		}
		if !bytes.Contains(d.saved, []byte("stays")) {
			t.Errorf("a refused state changed what was known: %s", d.saved)
		}
	})
}

func TestAnUnreadableSourceEndsNothingAndHoldsBackWhatIsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := now()
		s := &scheduler{}
		s.say(Hold{Key: "a"})
		d := open(t, configured(forAll), s, nil)
		defer d.stop()
		time.Sleep(30 * time.Second)
		s.fail(errors.New("socket gone"))
		time.Sleep(5 * time.Minute)
		d.want(begin, "a of t holds 1000 of GPU-a 0–…")
		last := d.sent()[len(d.sent())-1]
		if up := unit.Micros(last.CompleteUpToUs); up > begin+30*second || up < begin+15*second {
			t.Errorf("complete up to %v s", (up - begin).Duration().Seconds())
		}
		if d.counter("allocation_source_errors_total test") < 290 {
			t.Error("not counted")
		}
		s.say(Hold{Key: "a"})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		last = d.sent()[len(d.sent())-1]
		if up := unit.Micros(last.CompleteUpToUs); up < begin+330*second {
			t.Errorf("complete up to %v s only", (up - begin).Duration().Seconds())
		}
	})
}

func TestADeviceThatIsGoneEndsWhatWasHeldOnIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := now()
		s := &scheduler{}
		s.say(Hold{Key: "a"}, Hold{Key: "b", Device: "GPU-b"})
		d := open(t, configured(forAll), s, nil)
		defer d.stop()
		time.Sleep(10500 * time.Millisecond)
		d.tracker.SetDevices([]agent.Device{{Device: record.Device{UUID: "GPU-a", Kind: record.KindGPU}}})
		time.Sleep(5 * time.Second) // the scheduler has not noticed
		d.want(begin, "a of t holds 1000 of GPU-a 0–…", "b of t holds 1000 of GPU-b 0–10.5")
		s.say(Hold{Key: "a"}, Hold{Key: "c", Device: "GPU-b"})
		time.Sleep(5 * time.Second)
		d.want(begin, "a of t holds 1000 of GPU-a 0–…", "b of t holds 1000 of GPU-b 0–10.5")
		if d.counter("allocations_refused_total unknown_device test")+d.counter("allocations_refused_total test unknown_device") != 1 {
			t.Error("a hold of a device that is not here is not counted")
		}
	})
}

func TestManyAllocationsLeaveInSeveralMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var holds []Hold
		for i := range 600 {
			holds = append(holds, Hold{Key: fmt.Sprint(i), Replicas: 1000})
		}
		s := &scheduler{}
		s.say(holds...)
		d := open(t, configured(forAll), s, nil)
		defer d.stop()
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		sizes := map[int]bool{}
		for _, b := range d.sent()[:3] {
			sizes[len(b.Allocations)] = true
		}
		if !maps.Equal(sizes, map[int]bool{250: true, 100: true}) {
			t.Errorf("sizes are %v", sizes)
		}
	})
}

func TestRegistriesAreUsedAgainAfterAReload(t *testing.T) {
	reg := prometheus.NewRegistry()
	a, b := newMetrics(reg, "n"), newMetrics(reg, "n")
	a.stated.Inc()
	if testutil.ToFloat64(b.stated) != 1 {
		t.Error("two trackers of a node count apart")
	}
}

// A rate knows no increase from nothing to one: what alerts read is there before the first hold is refused.
func TestRefusalsAreThereBeforeTheFirst(t *testing.T) {
	reg := prometheus.NewRegistry()
	newMetrics(reg, "n").expect([]Source{&scheduler{}})
	if n, err := testutil.GatherAndCount(reg, "wattledger_collector_allocations_refused_total"); n != 6 || err != nil {
		t.Errorf("%d series, want one for each reason: %v", n, err)
	}
	if n, err := testutil.GatherAndCount(reg, "wattledger_collector_allocation_source_errors_total"); n != 1 || err != nil {
		t.Errorf("%d series of errors: %v", n, err)
	}
}
