package exposition_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/exposition"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

func TestObservingAllocatesNothing(t *testing.T) {
	now := start
	c := counters(t, "")
	n := newNode(c, 8, 7, 0)
	e := open(t, config(), c, exposition.Ports{}, &now)
	r := n.read(start)
	observe := func() { e.Observe(start, n.devices, r, nil) }
	observe()
	observe()
	if got := testing.AllocsPerRun(100, observe); got != 0 {
		t.Errorf("%v allocations per tick", got)
	}
}

// A page is of one tick, whatever the loop does meanwhile, and devices may change at any time.
func TestPagesWhileTheLoopGoesOn(t *testing.T) {
	now := start
	c := counters(t, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION, counter, e\n")
	e := open(t, config(), c, exposition.Ports{}, &now)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				seen := map[string]bool{}
				for _, l := range lines(e.Append(nil), "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION") {
					seen[l[strings.LastIndexByte(l, ' '):]] = true
				}
				if len(seen) > 1 {
					t.Errorf("one page has the values %v", seen)
				}
			}
		})
	}
	for i := range 2000 {
		n := newNode(c, 1+i%3, 0, 0)
		for k := range n.devices {
			n.r.Row(k)[meter.SlotEnergy] = meter.Value{At: start, Int: int64(i), Float: float64(i)}
		}
		e.Observe(start, n.devices, n.r, nil)
	}
	close(done)
	wg.Wait()
	n := newNode(c, 3, 0, 0)
	e.Observe(start, n.devices, n.read(start), nil)
	if got := lines(e.Append(nil), "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"); len(got) != 3 {
		t.Errorf("at last there is %q", got)
	}
}

func TestHandler(t *testing.T) {
	now := start
	c := counters(t, "")
	n := newNode(c, 2, 0, 0)
	reg := prometheus.NewRegistry()
	e, err := exposition.New(config(), c, exposition.Ports{Label: driver}, func() unit.Micros { return now }, reg)
	if err != nil {
		t.Fatal(err)
	}
	e.Observe(start, n.devices, n.read(start), nil)
	server := httptest.NewServer(e.Handler(promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true})))
	defer server.Close()
	get := func(accept, encoding string) (*http.Response, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", accept)
		req.Header.Set("Accept-Encoding", encoding)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body := io.Reader(resp.Body)
		if resp.Header.Get("Content-Encoding") == "gzip" {
			if body, err = gzip.NewReader(body); err != nil {
				t.Fatal(err)
			}
		}
		text, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, text
	}
	f := func(accept, encoding, wantEncoding string) {
		t.Helper()
		resp, text := get(accept, encoding)
		families := parse(t, text)
		if families["DCGM_FI_DEV_GPU_TEMP"] == nil || families["wattledger_collector_exposition_scrapes_total"] == nil {
			t.Errorf("%s: the page lacks ours or its own: %d families", accept, len(families))
		}
		if got := resp.Header.Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
			t.Errorf("%s is answered with %s", accept, got)
		}
		if got := resp.Header.Get("Content-Encoding"); got != wantEncoding {
			t.Errorf("%q is answered with %q", encoding, got)
		}
	}
	f("*/*", "identity", "")
	f("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "gzip", "gzip")
	f("text/plain", "gzip;q=0, deflate", "")
	if got := testutil.ToFloat64(count(t, reg, "wattledger_collector_exposition_scrapes_total")); got != 3 {
		t.Errorf("%v scrapes counted, want 3", got)
	}

	broken := e.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "broken", http.StatusInternalServerError) }))
	w := httptest.NewRecorder()
	broken.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "broken") {
		t.Errorf("an error is answered with %d %s", w.Code, w.Body)
	}
}

// count is the value of a counter of a registry, as a collector of its own.
func count(t *testing.T, reg *prometheus.Registry, name string) prometheus.Collector {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name})
			for _, m := range f.GetMetric() {
				g.Add(m.GetCounter().GetValue())
			}
			return g
		}
	}
	t.Fatalf("no %s", name)
	return nil
}

// What is left out is counted.
func TestWhatIsLeftOutIsCounted(t *testing.T) {
	now := start
	c := counters(t, "DCGM_FI_DEV_GPU_TEMP, gauge, t\n")
	n := newNode(c, 3, 0, 0)
	reg := prometheus.NewRegistry()
	e, err := exposition.New(config(), c, exposition.Ports{}, func() unit.Micros { return now }, reg)
	if err != nil {
		t.Fatal(err)
	}
	e.Observe(start, n.devices, n.read(start), nil)
	now = start + 60*second
	e.Append(nil)
	for xid := range uint32(1030) {
		e.ObserveEvents(n.devices, []agent.Event{{Device: 0, At: start, XID: xid + 1}, {Device: 7, At: start, XID: 1}})
	}
	want := `# HELP wattledger_collector_exposition_unshown_total Values left out of pages because they were too old (stale), and XIDs of more kinds than are remembered (xid).
# TYPE wattledger_collector_exposition_unshown_total counter
wattledger_collector_exposition_unshown_total{reason="stale"} 3
wattledger_collector_exposition_unshown_total{reason="xid"} 6
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "wattledger_collector_exposition_unshown_total"); err != nil {
		t.Error(err)
	}
}

func bench(b *testing.B, gpus, perGPU, fields int) {
	b.Helper()
	var csv strings.Builder
	for i, f := range fieldsFor(b, fields) {
		fmt.Fprintf(&csv, "%s, gauge, help of field %d\n", f, i)
	}
	now := start
	c := counters(b, csv.String())
	n := newNode(c, gpus, perGPU, 0)
	e := open(b, config(), c, exposition.Ports{Label: driver}, &now)
	e.Observe(start, n.devices, n.read(start), nil)
	var page []byte
	b.ReportAllocs()
	for b.Loop() {
		page = e.Append(page[:0])
	}
	b.ReportMetric(float64(len(page)), "bytes/page")
}

func BenchmarkPageOf8GPUs(b *testing.B)       { bench(b, 8, 0, 40) }
func BenchmarkPageOf56Instances(b *testing.B) { bench(b, 8, 7, 40) }

func BenchmarkObserve56Instances(b *testing.B) {
	now := start
	c := counters(b, "")
	n := newNode(c, 8, 7, 0)
	e := open(b, config(), c, exposition.Ports{}, &now)
	r := n.read(start)
	b.ReportAllocs()
	for b.Loop() {
		e.Observe(start, n.devices, r, nil)
	}
}
