package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wattledger/wattledger/schemas/record"
)

// A SIGHUP puts a changed configuration in force: another tenant holds the devices from then on, the process stays the one that
// systemd knows, and the run after it says what came before and why. A faulty one is named, counted and changes nothing.
func TestAReloadTakesEffectAndAFaultyOneDoesNot(t *testing.T) {
	t.Parallel() // it mostly waits
	s := newStation(t, "node n1 hgx-b200 gpus=2\n")
	assign := func(tenant string) string {
		return "workload:\n  static:\n    - tenant: " + tenant + "\n      devices: all\n"
	}
	file := s.write("collector.yaml", assign("alpha"))
	r := s.collect("--config", file)
	held := func(tenant string, ended bool) func() bool {
		return func() bool {
			devices := map[string]bool{}
			for _, a := range s.allocations() {
				if a.Tenant == tenant && (a.EndUs != 0) == ended {
					devices[a.DeviceUuid] = true
				}
			}
			return len(devices) == 2
		}
	}
	r.until("alpha holds both", 30*time.Second, held("alpha", false))
	r.until("it reads", 30*time.Second, func() bool { return len(s.samples()) > 0 })

	s.write("collector.yaml", assign(`""`)+"agnt:\n  period: 1s\n")
	r.signal(syscall.SIGHUP)
	r.until("the fault is counted", 20*time.Second, func() bool { return r.metric("wattledger_collector_reloads_refused_total") == 1 })
	if log := r.err.String(); !strings.Contains(log, "configuration not reloaded") || !strings.Contains(log, "agnt") {
		t.Errorf("the log does not name the fault:\n%s", log)
	}
	// What only a start would stumble over is found beforehand too.
	s.write("collector.yaml", assign("alpha")+"metrics:\n  web_config_file: /nowhere/web.yaml\n")
	r.signal(syscall.SIGHUP)
	r.until("the second fault is counted", 20*time.Second, func() bool { return r.metric("wattledger_collector_reloads_refused_total") == 2 })
	s.write("collector.yaml", assign("alpha")+"kafka:\n  tls:\n    enabled: true\n    ca_file: /nowhere/ca.pem\n")
	r.signal(syscall.SIGHUP)
	r.until("the third fault is counted", 20*time.Second, func() bool { return r.metric("wattledger_collector_reloads_refused_total") == 3 })

	runs := map[string]bool{}
	for _, b := range s.samples() {
		runs[string(b.Run)] = true
	}
	if len(runs) != 1 {
		t.Errorf("%d runs after a faulty configuration, want 1", len(runs))
	}

	s.write("collector.yaml", assign("beta"))
	r.signal(syscall.SIGHUP)
	r.until("beta holds both", 30*time.Second, held("beta", false))
	r.until("alpha does no more", 30*time.Second, held("alpha", true))
	r.until("the restart is stated", 20*time.Second, func() bool { return len(s.incidents(record.IncidentRestart, "reload")) > 0 })
	if n := r.metric("wattledger_collector_replaced", `reason="reload"`); n != 1 {
		t.Errorf("replaced %v times, want 1", n)
	}
	r.stops() // by the process id it was started with
	if runs := s.onlyOnce(); runs != 2 {
		t.Errorf("%d runs, want 2", runs)
	}
	if got := s.incidents(record.IncidentRestart, "reload"); len(got) != 1 || got[0].Amount != 1 {
		t.Errorf("restarts stated: %+v", got)
	}
	for _, a := range s.allocations() {
		if a.Tenant == "beta" && a.StartUs == 0 {
			t.Errorf("beta is said to hold %s from 0 on", a.DeviceUuid)
		}
	}
}

// A reload while the engine is away does not end the collector: the fresh process goes on trying, as the one before did.
func TestAReloadWhileTheEngineIsAwayGoesOnTrying(t *testing.T) {
	t.Parallel() // it mostly waits
	const node = "node n1 hgx-b200 gpus=2\n"
	s := newStation(t, node)
	r := s.collect("--dcgm-address", "n1", "--set", "agent.retry_max=200ms")
	r.until("it reads", 30*time.Second, func() bool { return len(s.samples()) > 0 })
	s.write("scenario", "seed 5\nclock wall\nstart now\n"+node+"end n1 +0s\nboot n1 +2s\n")
	r.signal(syscall.SIGHUP)
	r.until("it tries again", 20*time.Second, func() bool { return strings.Contains(r.err.String(), "devices will be opened again") })
	r.until("the fresh process reads", 20*time.Second, func() bool { return len(s.incidents(record.IncidentRestart, "reload")) == 1 })
	r.stops()
	if runs := s.onlyOnce(); runs != 2 {
		t.Errorf("%d runs, want 2", runs)
	}
}
