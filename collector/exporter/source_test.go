package exporter_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/exporter"
	"github.com/wattledger/wattledger/collector/exposition"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

var nan = math.NaN()

func slot(t testing.TB, field uint16) meter.Slot {
	t.Helper()
	s, ok := meter.SlotOf(field)
	if !ok {
		t.Fatalf("field %d has no slot", field)
	}
	return s
}

// read reads until the devices stand.
func read(t *testing.T, s *exporter.Source) *meter.Readings {
	t.Helper()
	for range 3 {
		r := meter.NewReadings(len(s.Devices()))
		err := s.Read(t.Context(), 0, r)
		if err == nil {
			return r
		}
		if !errors.Is(err, agent.ErrChanged) {
			t.Fatal(err)
		}
	}
	t.Fatal("the devices do not come to rest")
	return nil
}

// A value keeps the time of the scrape that first showed it until the energy of its device moves, and so the interval is learnt.
func TestTimeIsThatOfTheFirstSight(t *testing.T) {
	m := node()
	m.interval = 30 * second
	reg := prometheus.NewRegistry()
	s := m.open(t, m.serve(t), reg)
	var last meter.Value
	changes := 0
	for now := start + second; now <= start+300*second; now += 7 * second {
		m.advance(t, now)
		r := read(t, s)
		e, p, u := r.Row(0)[meter.SlotEnergy], r.Row(0)[meter.SlotPower], r.Row(3)[meter.SlotPower]
		if e.At != p.At || e.At != u.At {
			t.Fatalf("at %v energy is of %v, power of %v, the CPU of %v", now-start, e.At-start, p.At-start, u.At-start)
		}
		if e.Int == last.Int && e.At != last.At {
			t.Errorf("at %v the same energy is of %v, not %v", now-start, e.At-start, last.At-start)
		}
		if e.Int != last.Int {
			changes++
			if sampled := start + (now-start)/m.interval*m.interval; changes > 1 && (e.At < sampled || e.At-sampled >= 7*second) {
				t.Errorf("the sample of %v is put at %v", sampled-start, e.At-start)
			}
		}
		last = e
	}
	if got := s.Interval(); got < 23*time.Second || got > 37*time.Second {
		t.Errorf("interval %v, want about 30s", got)
	}
	if got := gauge(t, reg, "wattledger_collector_exporter_interval_seconds"); got != s.Interval().Seconds() {
		t.Errorf("the gauge says %v", got)
	}
	if changes < 9 {
		t.Errorf("%d samples", changes)
	}
}

func gauge(t *testing.T, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// What instances repeat of their GPU is taken once, for the GPU.
func TestMIG(t *testing.T) {
	m := node()
	m.instances = func(_ unit.Micros, gpu int) []int {
		if gpu == 0 {
			return []int{9, 3}
		}
		return []int{1}
	}
	s := m.open(t, m.serve(t), nil)
	r := read(t, s)
	var names []string
	for _, d := range s.Devices() {
		names = append(names, fmt.Sprintf("%s %d slices %d", d.Kind, d.Index, d.Slices))
	}
	want := "gpu 0 slices 7;gpu 1 slices 7;gpu 2 slices 7;mig 3 slices 2;mig 9 slices 2;mig 1 slices 2;mig 1 slices 2;cpu 0 slices 0"
	if got := strings.Join(names, ";"); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	for i, d := range s.Devices() {
		row := r.Row(i)
		if energy, activity := row[meter.SlotEnergy].At != 0, row[slot(t, 1002)].At != 0; energy != (d.Kind == record.KindGPU) || activity != (d.Kind == record.KindMIG) {
			t.Errorf("%s %s has energy %v and activity %v", d.Kind, d.UUID, energy, activity)
		}
	}
	if d := s.Devices()[3]; d.Parent != uuid(0) || d.Profile != "2g.45gb" || d.UUID != uuid(0)+"/gi-3" {
		t.Errorf("instance %+v", d)
	}
}

func TestIdentity(t *testing.T) {
	m := node()
	s := m.open(t, m.serve(t), nil)
	d := s.Devices()[1]
	if d.UUID != uuid(1) || d.PCI != "00000000:1C:00.0" || d.File != "nvidia6" || d.Model != "NVIDIA B200" || d.Driver != "580.1" || d.Node != "n1" || d.Index != 1 {
		t.Errorf("got %+v", d)
	}
}

// page serves a text that the test changes.
func page(t *testing.T, text *string, reg prometheus.Registerer) *exporter.Source {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(*text)) }))
	t.Cleanup(server.Close)
	m := node()
	m.now = start
	s, err := exporter.New(config(server.URL), m.ours, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestXIDs(t *testing.T) {
	var text string
	s := page(t, &text, nil)
	f := func(values string, want ...uint32) {
		t.Helper()
		text = values
		read(t, s)
		events, err := s.Events(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint32
		for _, e := range events {
			got = append(got, e.XID)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q gives %v, want %v", values, got, want)
		}
	}
	gpu := func(xid int) string {
		return fmt.Sprintf("DCGM_FI_DEV_XID_ERRORS{gpu=\"0\",UUID=\"GPU-a\",err_code=\"%d\"} %d\n", xid, xid)
	}
	gi := func(id, xid int) string {
		return fmt.Sprintf("DCGM_FI_DEV_XID_ERROR{gpu=\"1\",UUID=\"GPU-b\",GPU_I_ID=\"%d\"} %d\n", id, xid)
	}
	f(gpu(31)) // it may be years old
	f(gpu(31))
	f(gpu(79), 79)
	f(gpu(79))
	f(gpu(0))
	f(gpu(79), 79)
	f(gpu(79) + gi(1, 0) + gi(2, 0))
	f(gpu(79)+gi(1, 43)+gi(2, 43), 43) // of the GPU: repeated with each instance
	f(gpu(79)+gi(1, 45)+gi(2, 13), 13, 45)
}

func TestLabelsOfEveryKind(t *testing.T) {
	var text string
	reg := prometheus.NewRegistry()
	s := page(t, &text, reg)
	text = `DCGM_FI_DEV_BOARD_POWER_WATTS{gpu="0",uuid="GPU-a",hostname="h"} 100
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-a",Hostname="h"} 5
DCGM_FI_DEV_POWER_USAGE{gpu="1",hostname="h"} 7
DCGM_FI_DEV_GPU_TEMP{gpu="x",UUID="GPU-x"} 7
DCGM_FI_DEV_GPU_TEMP{gpu="2",UUID="GPU-c"} 2147483632
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-a",GPU_I_ID="one"} 7
DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX{gpu="0",UUID="GPU-a"} 1000
`
	r := read(t, s)
	d := s.Devices()
	if len(d) != 2 || d[0].UUID != "GPU-a" || d[1].UUID != "h/gpu-1" || d[0].Energy != record.EnergyHardware || d[1].Energy != record.EnergyIntegrated || d[0].LimitMilliwatts != 1_000_000 {
		t.Fatalf("devices %+v", d)
	}
	if v := r.Row(0)[meter.SlotPower]; v.Float != 100 || v.At != start {
		t.Errorf("power %+v", v)
	}
	want := `# HELP wattledger_collector_exporter_odd_series_total Series that were not taken at face value, by reason: blank, or whose device cannot be told; no_uuid counts devices named by host and index.
# TYPE wattledger_collector_exporter_odd_series_total counter
wattledger_collector_exporter_odd_series_total{node="n1",reason="blank"} 1
wattledger_collector_exporter_odd_series_total{node="n1",reason="no_gpu"} 1
wattledger_collector_exporter_odd_series_total{node="n1",reason="no_instance"} 1
wattledger_collector_exporter_odd_series_total{node="n1",reason="no_uuid"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "wattledger_collector_exporter_odd_series_total"); err != nil {
		t.Error(err)
	}
}

func TestPagesThatAreRefused(t *testing.T) {
	f := func(code, want string, change func(c *exporter.Config), h http.HandlerFunc) {
		t.Helper()
		server := httptest.NewServer(h)
		defer server.Close()
		reg := prometheus.NewRegistry()
		c := config(server.URL)
		change(&c)
		_, err := exporter.Open(t.Context(), c, func() unit.Micros { return start }, slog.New(slog.DiscardHandler), reg)
		var coded interface{ Code() string }
		if !errors.As(err, &coded) || coded.Code() != code || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s with %q", err, code, want)
		}
		if got := gauge(t, reg, "wattledger_collector_exporter_failures_total"); got != 1 {
			t.Errorf("%s: %v failures counted", code, got)
		}
	}
	same := func(*exporter.Config) {}
	write := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(text)) }
	}
	f("GARBAGE", "line 2", same, write("# fine\n<html>\n"))
	f("EMPTY", "no device", same, write("go_goroutines 3\n"))
	f("TOO_LARGE", "max_bytes", func(c *exporter.Config) { c.MaxBytes = 2000 }, write(strings.Repeat("# comment\n", 300)))
	f("STATUS", "500", same, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) })
	f("STATUS", "302", same, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) })
	f("LOGIN", "password_file", same, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusUnauthorized) })
	f("TIMEOUT", "deadline", func(c *exporter.Config) { c.Timeout = 20 * time.Millisecond }, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(5 * time.Second):
		}
	})
	f("UNREACHABLE", "connection refused", func(c *exporter.Config) { c.URL = "http://127.0.0.1:1/metrics" }, write(""))
	var many strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&many, "DCGM_FI_DEV_GPU_TEMP{gpu=\"%d\",UUID=\"GPU-%d\"} 1\n", i, i)
	}
	f("GARBAGE", "devices", same, write(many.String()))
}

func TestLoginAndTLS(t *testing.T) {
	m := node()
	m.now = start
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "scraper" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Write([]byte(m.page()))
	}))
	defer server.Close()
	dir := t.TempDir()
	ca, password := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "password")
	for file, data := range map[string][]byte{
		ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), password: []byte("secret\n"),
	} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := config(server.URL)
	c.CAFile, c.Username, c.PasswordFile = ca, "scraper", password
	s, err := exporter.Open(t.Context(), c, m.ours, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	c.CAFile = ""
	if _, err := exporter.Open(t.Context(), c, m.ours, slog.New(slog.DiscardHandler), nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody's gives %v", err)
	}
	c.CAFile = password
	if _, err := exporter.New(c, m.ours, slog.New(slog.DiscardHandler), nil); err == nil || !strings.Contains(err.Error(), "ca_file") {
		t.Errorf("a file that is no certificate gives %v", err)
	}
}

func TestConfig(t *testing.T) {
	f := func(change func(c *exporter.Config), want string) {
		t.Helper()
		c := config("http://127.0.0.1:9400/metrics")
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	f(func(c *exporter.Config) { c.URL = "ftp://x" }, "url")
	f(func(c *exporter.Config) { c.URL = "http://a:hunter2@host/metrics" }, "password_file")
	f(func(c *exporter.Config) { c.URL = "http://a:hunter2@ho st/" }, "url")
	f(func(c *exporter.Config) { c.CAFile = "x" }, "https")
	f(func(c *exporter.Config) { c.Timeout = 0 }, "timeout")
	f(func(c *exporter.Config) { c.MaxBytes = 1 }, "max_bytes")
	f(func(c *exporter.Config) { c.CertFile = "x" }, "key_file")
	f(func(c *exporter.Config) { c.Username = "x" }, "password_file")
	f(func(c *exporter.Config) { c.Node = "" }, "node")
}

// A GPU that is missing is expected back; one in its place takes it.
func TestAnotherGPUInThePlaceOfOne(t *testing.T) {
	var text string
	s := page(t, &text, nil)
	f := func(page, want string) {
		t.Helper()
		text = page
		read(t, s)
		var got []string
		for _, d := range s.Devices() {
			got = append(got, d.UUID)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
	a := "DCGM_FI_DEV_POWER_USAGE{gpu=\"0\",UUID=\"GPU-a\"} 1\n"
	f(a+"DCGM_FI_DEV_POWER_USAGE{gpu=\"1\",UUID=\"GPU-b\"} 1\n", "GPU-a GPU-b")
	f(a, "GPU-a GPU-b")
	f(a+"DCGM_FI_DEV_POWER_USAGE{gpu=\"1\",UUID=\"GPU-c\"} 1\n", "GPU-a GPU-c")
	// An instance whose activity is blank for a moment is not gone; after a while it is.
	f(a+"DCGM_FI_DEV_FB_USED{gpu=\"1\",UUID=\"GPU-c\",GPU_I_ID=\"2\"} 1\n", "GPU-a GPU-c GPU-c/gi-2")
	c := "DCGM_FI_DEV_POWER_USAGE{gpu=\"1\",UUID=\"GPU-c\"} 1\n"
	f(a+c, "GPU-a GPU-c GPU-c/gi-2")
	f(a+c, "GPU-a GPU-c GPU-c/gi-2")
	f(a+c, "GPU-a GPU-c")
	if d := s.Devices()[1]; d.Slices != 0 {
		t.Errorf("without instances: %+v", d)
	}
}

// What we expose ourselves reads back as what it was made from.
func TestOurOwnPage(t *testing.T) {
	m := node()
	m.instances = func(unit.Micros, int) []int { return []int{3, 4} }
	first := m.open(t, m.serve(t), nil)
	m.advance(t, start+second)
	r := read(t, first)
	counters, err := exposition.LoadCounters("")
	if err != nil {
		t.Fatal(err)
	}
	shown := exposition.DefaultConfig()
	shown.Host = "n1"
	e, err := exposition.New(shown, counters, exposition.Ports{Label: func(string, int) string { return "580.1" }}, m.ours, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	e.Observe(start+second, first.Devices(), r, nil)
	server := httptest.NewServer(e.Handler(nil))
	defer server.Close()
	second, err := exporter.Open(t.Context(), config(server.URL), m.ours, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	again := read(t, second)
	n := 0
	for i, d := range second.Devices() { // the default set does not show CPUs
		was := first.Devices()[i]
		was.Slots = d.Slots // nor every field
		if d != was {
			t.Errorf("got  %+v\nwant %+v", d, was)
		}
		for s, v := range again.Row(i) {
			if v.At == 0 {
				continue
			}
			n++
			if want := r.Row(i)[s]; v.Int != want.Int || v.Float != want.Float {
				t.Errorf("%s field %d is %+v, was %+v", d.UUID, meter.Fields[s], v, want)
			}
		}
	}
	if len(second.Devices()) != 9 || n < 20 {
		t.Errorf("%d devices, %d values", len(second.Devices()), n)
	}
}

// Whatever comes as a page, it is refused or read; nothing breaks, and the devices keep the contract.
func FuzzText(f *testing.F) {
	m := node()
	m.now = start
	f.Add(m.page())
	m.instances = func(unit.Micros, int) []int { return []int{1, 2} }
	f.Add(m.page())
	f.Add("# TYPE DCGM_FI_DEV_GPU_TEMP histogram\nDCGM_FI_DEV_GPU_TEMP_bucket{gpu=\"0\",le=\"1\"} 1\nDCGM_FI_DEV_FB_USED{gpu=\"65535\",GPU_I_ID=\"1\"} NaN 5\n")
	var text string
	transport := roundTripper(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		w.WriteString(text)
		return w.Result(), r.Context().Err()
	})
	f.Fuzz(func(t *testing.T, data string) {
		text = data
		s, err := exporter.New(config("http://127.0.0.1:9/metrics"), func() unit.Micros { return start }, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Over(transport)
		for range 3 {
			r := meter.NewReadings(len(s.Devices()))
			if err := s.Read(context.Background(), start, r); err != nil {
				continue
			}
			seen := map[string]bool{}
			for i, d := range s.Devices() {
				if seen[d.UUID] || d.UUID == "" {
					t.Errorf("device %d is %q", i, d.UUID)
				}
				seen[d.UUID] = true
				for slot, v := range r.Row(i) {
					if v.At != 0 && (!d.Slots.Has(meter.Slot(slot)) || math.IsNaN(v.Float) || math.IsInf(v.Float, 0)) {
						t.Errorf("device %s has %+v", d.UUID, v)
					}
				}
			}
		}
	})
}

type roundTripper func(r *http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func BenchmarkScrapeOf56Instances(b *testing.B) {
	m := &model{gpus: 8, interval: second, instances: func(unit.Micros, int) []int { return []int{7, 8, 9, 10, 11, 12, 13} }, now: start}
	text := m.page()
	s, err := exporter.New(config("http://127.0.0.1:9/metrics"), m.ours, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		b.Fatal(err)
	}
	s.Over(roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(text))}, nil
	}))
	if err := s.Read(b.Context(), start, meter.NewReadings(0)); !errors.Is(err, agent.ErrChanged) {
		b.Fatal(err)
	}
	r := meter.NewReadings(len(s.Devices()))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Read(b.Context(), start, r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(text)), "bytes/page")
}
