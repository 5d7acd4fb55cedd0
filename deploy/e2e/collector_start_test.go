package e2e

import (
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fails checks that a command has ended with a code and one line that says all of these.
func fails(t *testing.T, r *running, code int, says ...string) {
	t.Helper()
	if got := r.endsWithin(20 * time.Second); got != code {
		t.Errorf("%s: ended with %d, want %d", r.line, got, code)
	}
	text := strings.TrimSpace(r.err.String())
	last := text[strings.LastIndexByte(text, '\n')+1:]
	if !strings.HasPrefix(last, "wattledger-collector: ") {
		t.Errorf("%s: the last line is no error of ours: %s", r.line, text)
	}
	for _, s := range says {
		if !strings.Contains(last, s) {
			t.Errorf("%s: the last line does not say %q: %s", r.line, s, last)
		}
	}
}

const calm = "node n1 hgx-b200 gpus=2\n"

// A node without DCGM and without a driver is told what to install, in one line.
func TestANodeWithoutLibrariesIsToldWhatToInstall(t *testing.T) {
	for _, dir := range []string{"/usr/lib/*", "/usr/lib64", "/usr/local/nvidia/lib64", "/run/nvidia/driver/usr/lib*/*"} {
		if found, _ := filepath.Glob(filepath.Join(dir, "lib[dn]*.so.[14]")); slices.ContainsFunc(found, func(f string) bool {
			return filepath.Base(f) == "libdcgm.so.4" || filepath.Base(f) == "libnvidia-ml.so.1"
		}) {
			t.Skipf("this machine has one in %s", dir)
		}
	}
	s := lonelyStation(t, calm)
	r := s.start(nil)
	fails(t, r, 1, "libdcgm.so.4", "libnvidia-ml.so.1", "install")
	if n := strings.Count(strings.TrimSpace(r.err.String()), "\n"); n != 0 {
		t.Errorf("%d lines:\n%s", n+1, r.err.String())
	}
	fails(t, s.start(nil, "--source", "dcgm"), 1, "libdcgm.so.4", "install")
	fails(t, s.start(nil, "--source", "nvml"), 1, "libnvidia-ml.so.1", "install")
}

// A taken port names the flag that chooses another.
func TestATakenMetricsPortNamesItsFlag(t *testing.T) {
	s := newStation(t, calm)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fails(t, s.collect("--metrics-listen", l.Addr().String()), 1, "--metrics-listen", l.Addr().String())
}

// --check opens everything, publishes nothing and says that all is well.
func TestACheckStopsAfterTheWiring(t *testing.T) {
	s := lonelyStation(t, calm)
	r := s.collect("--check")
	if code := r.endsWithin(20 * time.Second); code != 0 || !strings.Contains(r.err.String(), "configuration and wiring are fine") {
		t.Errorf("ended with %d:\n%s", code, r.err.String())
	}
	r = s.collect("--check", "--set", "watchdog.deadline=0s", "--set", "spool.max_bytes=1")
	if code := r.endsWithin(20 * time.Second); code != 2 || !strings.Contains(r.err.String(), "deadline") || !strings.Contains(r.err.String(), "max_bytes") {
		t.Errorf("ended with %d and does not name both faults:\n%s", code, r.err.String())
	}
}

// A web configuration that nobody can serve by is found before anything is served, and by --check.
func TestAFaultyWebConfigurationIsNamed(t *testing.T) {
	s := lonelyStation(t, calm)
	file := s.write("web.yaml", "tls_server_confg: {}\n")
	fails(t, s.collect("--web-config-file", file), 1, file)
	fails(t, s.collect("--check", "--set", "metrics.web_config_file="+file), 1, file)
}

// Ctrl-C ends it within seconds and well, though Kafka was never there: the disk has what was read. A second collector on the
// same folder is refused meanwhile and told why.
func TestCtrlCEndsACollectorWhoseKafkaIsAway(t *testing.T) {
	t.Parallel() // it mostly waits
	s := lonelyStation(t, calm)
	r := s.collect()
	r.until("it has read", 20*time.Second, func() bool { return r.metric("wattledger_collector_ticks_total") > 3 })
	fails(t, s.collect(), 1, s.data, "another")
	begun := time.Now()
	r.signal(interrupt)
	if code := r.endsWithin(10 * time.Second); code != 0 {
		t.Errorf("ended with %d", code)
	}
	t.Logf("ended after %s", time.Since(begun))
	if len(inSpool(t, filepath.Join(s.data, "spool"))) == 0 {
		t.Error("nothing is in the spool")
	}
	t.Cleanup(s.kafka.start())
	r = s.collect()
	r.until("all is in Kafka", 30*time.Second, func() bool { return len(s.samples()) > 0 && s.onlyOnce() == 2 })
	r.stops()
	s.onlyOnce()
}
