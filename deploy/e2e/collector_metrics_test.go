package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// certificate writes one for 127.0.0.1, and its key, into the folder of a station.
func (s *station) certificate() (pool *x509.CertPool) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	s.write("cert.pem", string(text))
	s.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}

// The page is there over TLS for those with a login, in dcgm-exporter's names beside the collector's own.
func TestMetricsOverTLSWithALogin(t *testing.T) {
	t.Parallel() // it mostly waits
	s := newStation(t, "node n1 hgx-b200 gpus=2\n")
	pool := s.certificate()
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := s.write("web.yaml", "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\nbasic_auth_users:\n  prometheus: "+string(hash)+"\n")
	r := s.collect("--web-config-file", file)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}, Timeout: 10 * time.Second}
	ask := func(password string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.address()+"/metrics", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			req.SetBasicAuth("prometheus", password)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	var page string
	r.until("the power is shown", 30*time.Second, func() bool {
		var status int
		status, page = ask("open sesame")
		return status == http.StatusOK && strings.Contains(page, "DCGM_FI_DEV_POWER_USAGE{")
	})
	for _, wrong := range []string{"", "open barley"} {
		if status, _ := ask(wrong); status != http.StatusUnauthorized {
			t.Errorf("with the password %q the answer is %d", wrong, status)
		}
	}
	if status, body := get("http://" + r.address() + "/metrics"); status == http.StatusOK || strings.Contains(body, "DCGM_FI") {
		t.Errorf("without TLS the answer is %d", status)
	}
	power := regexp.MustCompile(`(?m)^DCGM_FI_DEV_POWER_USAGE\{gpu="(\d)",UUID="GPU-[0-9a-f-]{36}",pci_bus_id="[0-9A-F:.]+",device="nvidia(\d)",modelName="NVIDIA B200",Hostname="n1",DCGM_FI_DRIVER_VERSION="[0-9.]+"\} [0-9.]+$`)
	if found := power.FindAllStringSubmatch(page, -1); len(found) != 2 || found[0][1] != "0" {
		t.Errorf("the power of two GPUs is shown as\n%s", regexp.MustCompile(`(?m)^DCGM_FI_DEV_POWER_USAGE.*$`).FindAllString(page, -1))
	}
	for _, name := range []string{"wattledger_collector_ticks_total", "wattledger_collector_spool_messages", "wattledger_collector_dcgm_permission", "wattledger_build_info", "go_goroutines"} {
		if _, n := metric(page, name); n == 0 {
			t.Errorf("%s is not shown", name)
		}
	}
	r.stops()
}

// What a site has set for dcgm-exporter goes on to hold; our own flags win.
func TestDCGMExportersEnvironmentIsHonoured(t *testing.T) {
	t.Parallel() // it mostly waits
	s := newStation(t, "node n1 hgx-b200 gpus=2\n")
	counters := s.write("counters.csv", "# our own\nDCGM_FI_DEV_GPU_TEMP, gauge, Temperature.\nDCGM_FI_DEV_POWER_USAGE, gauge, Power.\n")
	env := []string{"DCGM_EXPORTER_COLLECTORS=" + counters, "DCGM_EXPORTER_INTERVAL=400", "DCGM_EXPORTER_LISTEN=127.0.0.1:0", "DCGM_EXPORTER_NO_HOSTNAME=true", "WLSIM_SCENARIO=" + s.scenario}
	r := start(t, options{dir: s.dir, env: env}, s.bin.collector, "--data", s.data, "--brokers", s.kafka.addr, "--site", "s1", "--node", "n1", "--dcgm-library", s.bin.library)
	var page string
	r.until("the power is shown", 30*time.Second, func() bool {
		_, page = get("http://" + r.address() + "/metrics")
		return strings.Contains(page, "DCGM_FI_DEV_POWER_USAGE{")
	})
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "DCGM_") && !strings.HasPrefix(line, "DCGM_FI_DEV_GPU_TEMP{") && !strings.HasPrefix(line, "DCGM_FI_DEV_POWER_USAGE{") {
			t.Errorf("shown beside what the file names: %s", line)
		}
	}
	if strings.Contains(page, "Hostname=") {
		t.Error("the host is shown")
	}
	var last *wl.SampleBatch
	r.until("it publishes", 30*time.Second, func() bool {
		if all := s.samples(); len(all) > 0 {
			last = all[len(all)-1]
		}
		return last != nil
	})
	if last.PeriodMs != 400 {
		t.Errorf("it reads every %d ms, want 400", last.PeriodMs)
	}
	r.stops()
	wrong := start(t, options{dir: s.dir, env: []string{"DCGM_EXPORTER_INTERVAL=often"}}, s.bin.collector, "--data", s.data, "--site", "s1", "--dcgm-library", s.bin.library)
	fails(t, wrong, 2, "DCGM_EXPORTER_INTERVAL", "agent.period")
}

// While the engine is away the collector lives and is not ready; when it is back it is, and says so.
func TestACollectorIsNotReadyWhileTheEngineIsAway(t *testing.T) {
	t.Parallel() // it mostly waits
	s := newStation(t, "node n1 hgx-b200 gpus=2\nend n1 +2s\nboot n1 +5s\n")
	r := s.collect("--dcgm-address", "n1")
	status := func(path string) int { code, _ := get("http://" + r.address() + path); return code }
	r.until("it is ready", 10*time.Second, func() bool { return status("/readyz") == http.StatusOK })
	r.until("it is not ready", 10*time.Second, func() bool { return status("/readyz") == http.StatusServiceUnavailable })
	if status("/healthz") != http.StatusOK {
		t.Error("it is said not to live")
	}
	if _, body := get("http://" + r.address() + "/readyz"); !strings.Contains(body, "n1") {
		t.Errorf("what is away is not named: %s", body)
	}
	r.until("it is ready again", 20*time.Second, func() bool { return status("/readyz") == http.StatusOK })
	r.stops()
}

// Without permission for the profiling metrics the rest is collected, and the metric says what is refused.
func TestWithoutPermissionForProfilingTheRestIsCollected(t *testing.T) {
	t.Parallel() // it mostly waits
	s := newStation(t, "node n1 hgx-b200 gpus=2\nforbid n1 profiling\n")
	r := s.collect()
	r.until("energy arrives", 30*time.Second, func() bool {
		for _, b := range s.samples() {
			if readRows(b.EnergyTsUs) > 0 {
				return true
			}
		}
		return false
	})
	_, page := get("http://" + r.address() + "/metrics")
	for feature, want := range map[string]float64{"profiling": 0, "fields": 1, "events": 1} {
		if v, n := metric(page, "wattledger_collector_dcgm_permission", `feature="`+feature+`"`); n != 1 || v != want {
			t.Errorf("permission for %s is %v in %d series, want %v", feature, v, n, want)
		}
	}
	if sum, _ := metric(page, "wattledger_collector_errors_total"); sum != 0 {
		t.Errorf("%v failures are counted", sum)
	}
	if strings.Contains(page, "DCGM_FI_PROF_GR_ENGINE_ACTIVE{") || !strings.Contains(page, "DCGM_FI_DEV_POWER_USAGE{") {
		t.Error("the page shows what is refused, or not what is allowed")
	}
	r.stops()
	for _, b := range s.samples() {
		if len(b.SmActiveUs) > 0 {
			t.Fatalf("SM activity is stated: %v", b.SmActiveUs)
		}
	}
}

// Without DCGM the driver's own library is read.
func TestNVMLIsReadInPlaceOfDCGM(t *testing.T) {
	t.Parallel() // it mostly waits
	s := newStation(t, "node n1 hgx-b200\n")
	r := s.start(nil, "--source", "nvml", "--set", "nvml.library="+s.bin.nvml)
	r.energy(s, "nvml")
	r.stops()
	s.onlyOnce()
}

// A dcgm-exporter that is there already is read: here our own page, which has its form.
func TestADCGMExporterIsRead(t *testing.T) {
	t.Parallel() // it mostly waits
	inner := lonelyStation(t, "node n1 hgx-b200 gpus=2\n")
	first := inner.collect()
	s := newStation(t, "")
	r := s.start(nil, "--source", "dcgm-exporter", "--set", "exporter.url=http://"+first.address()+"/metrics")
	r.energy(s, "dcgm-exporter")
	if n := r.metric("wattledger_collector_devices"); n != 2 {
		t.Errorf("%v devices, want 2", n)
	}
	r.stops()
	s.onlyOnce()
	first.stops()
}

// energy waits until energy has arrived through a source and rises.
func (r *running) energy(s *station, source string) {
	r.t.Helper()
	r.until("energy arrives and rises", 30*time.Second, func() bool {
		first, last := uint64(0), uint64(0)
		for _, b := range s.samples() {
			if b.Source != source {
				r.t.Fatalf("the source is said to be %s", b.Source)
			}
			for i, mj := range b.EnergyMj {
				if b.Device[i] == 0 && b.EnergyTsUs[i] != ^uint64(0) {
					if last = mj; first == 0 {
						first = mj
					}
				}
			}
		}
		return last > first
	})
}

// Until the exporter is there nothing is known of the node's devices: nothing is said of them.
func TestAnExporterThatIsAwaySaysNothingOfTheDevices(t *testing.T) {
	t.Parallel() // it mostly waits
	s := newStation(t, "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r := s.start(nil, "--source", "dcgm-exporter", "--set", "exporter.url=http://"+address+"/metrics")
	r.until("it has tried", 20*time.Second, func() bool { return r.metric("wattledger_collector_ticks_total") > 3 })
	if status, body := get("http://" + r.address() + "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readiness is %d: %s", status, body)
	}
	r.stops()
	if said := s.kafka.all(wire.TopicInventory); len(said) != 0 {
		t.Errorf("%d lists of devices are published", len(said))
	}
}
