package exporter_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/dcgmfields"
	"github.com/wattledger/wattledger/collector/exporter"
	"github.com/wattledger/wattledger/collector/sourcetest"
	"github.com/wattledger/wattledger/schemas/unit"
)

const (
	second = unit.Micros(1_000_000)
	start  = unit.Micros(1_767_225_600_000_000) // 2026-01-01
)

// model is a node with a dcgm-exporter: what the devices read, and when it was sampled.
type model struct {
	gpus, cpus int
	instances  func(now unit.Micros, gpu int) []int // nil: MIG is off
	interval   unit.Micros
	holders    []string // what is added to the labels, a series for each

	// Faults. Each may be nil.
	status func(now unit.Micros) int                                       // 0: answers
	gone   func(now unit.Micros, gpu int) bool                             // not on the page
	value  func(now unit.Micros, gpu int, field uint16, v float64) float64 // NaN: not on the page
	clock  func(now unit.Micros) unit.Micros                               // ours
	order  func(lines []string)                                            // of the samples of a family

	mu  sync.Mutex
	now unit.Micros // guarded by mu
}

func (m *model) time() unit.Micros {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *model) advance(_ *testing.T, to unit.Micros) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = to
}

func (m *model) ours() unit.Micros {
	now := m.time()
	if m.clock != nil {
		return m.clock(now)
	}
	return now
}

func uuid(gpu int) string { return fmt.Sprintf("GPU-00000000-0000-0000-0000-%012d", gpu) }

// watts is what a GPU draws; no two draw the same.
func watts(gpu int) float64 { return float64(200 + 100*gpu) }

// page is the exporter's text. What it shows was sampled at the last multiple of its interval.
func (m *model) page() string {
	now := m.time()
	sampled := start + (now-start)/m.interval*m.interval
	passed := float64(sampled-start) / 1e6
	var b strings.Builder
	holders := m.holders
	if holders == nil {
		holders = []string{""}
	}
	for _, field := range []uint16{100, 150, 155, 156, 157, 203, 230, 252, 1002, 1004} {
		f, _ := dcgmfields.ByID(field)
		fmt.Fprintf(&b, "# HELP %s some words\n# TYPE %s gauge\n", f.Name(), f.Name())
		var lines []string
		add := func(gpu int, extra string, v float64) {
			if m.value != nil {
				v = m.value(now, gpu, field, v)
			}
			if v != v {
				return
			}
			text := fmt.Sprintf("%.0f", v)
			if f.Type == dcgmfields.Double {
				text = fmt.Sprintf("%f", v)
			}
			for _, h := range holders {
				lines = append(lines, fmt.Sprintf(`%s{gpu="%d",UUID="%s",pci_bus_id="00000000:%02X:00.0",device="nvidia%d",modelName="NVIDIA B200"%s,Hostname="n1",DCGM_FI_DRIVER_VERSION="580.1"%s} %s`,
					f.Name(), gpu, uuid(gpu), gpu+27, 7-gpu, extra, h, text))
			}
		}
		for gpu := range m.gpus {
			if m.gone != nil && m.gone(now, gpu) {
				continue
			}
			var v float64
			switch field {
			case 155, 157:
				v = watts(gpu)
			case 156:
				v = 1e6 + watts(gpu)*1000*passed
			case 1002, 1004:
				v = 0.5
			case 230:
			default:
				v = float64(field)
			}
			if m.instances == nil {
				add(gpu, "", v)
				continue
			}
			for _, gi := range m.instances(now, gpu) {
				add(gpu, fmt.Sprintf(`,GPU_I_PROFILE="2g.45gb",GPU_I_ID="%d"`, gi), v)
			}
		}
		if m.order != nil {
			m.order(lines)
		}
		for _, l := range lines {
			b.WriteString(l + "\n")
		}
	}
	if m.cpus > 0 {
		b.WriteString("# HELP DCGM_FI_DEV_CPU_POWER_UTIL_CURRENT w\n# TYPE DCGM_FI_DEV_CPU_POWER_UTIL_CURRENT gauge\n")
	}
	for cpu := range m.cpus {
		fmt.Fprintf(&b, "DCGM_FI_DEV_CPU_POWER_UTIL_CURRENT{cpu=\"%d\",Hostname=\"n1\"} 90.000000\n", cpu)
	}
	b.WriteString("# TYPE DCGM_FI_DEV_CPU_UTIL_TOTAL gauge\nDCGM_FI_DEV_CPU_UTIL_TOTAL{cpucore=\"3\",cpu=\"0\",Hostname=\"n1\"} 0.5\n")
	b.WriteString("# TYPE go_goroutines gauge\ngo_goroutines 12\n")
	return b.String()
}

func (m *model) serve(t testing.TB) string {
	t.Helper()
	m.advance(nil, max(m.time(), start))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if m.status != nil {
			if code := m.status(m.time()); code != 0 {
				http.Error(w, "away", code)
				return
			}
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		w.Write([]byte(m.page()))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/metrics"
}

func config(url string) exporter.Config {
	c := exporter.DefaultConfig()
	c.URL, c.Node, c.Timeout = url, "n1", 5*time.Second
	return c
}

func (m *model) open(t *testing.T, url string, reg prometheus.Registerer) *exporter.Source {
	t.Helper()
	s, err := exporter.Open(t.Context(), config(url), m.ours, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func node() *model { return &model{gpus: 3, cpus: 1, interval: second} }

func TestConformance(t *testing.T) {
	f := func(name string, m *model) {
		t.Run(name, func(t *testing.T) {
			gap := start + 7*second
			m.value = func(now unit.Micros, gpu int, field uint16, v float64) float64 {
				if now == gap && gpu == 1 && field == 156 {
					return nan
				}
				return v
			}
			url := m.serve(t)
			sourcetest.Run(t, sourcetest.Subject{
				Open: func(t *testing.T) sourcetest.Source { return m.open(t, url, nil) }, Advance: m.advance,
				Start: start, Period: second, Gap: gap, GapDevice: 1, GapField: 156,
			})
		})
	}
	f("GPUs and CPUs", node())
	m := node()
	m.instances = func(unit.Micros, int) []int { return []int{3, 4} }
	f("MIG", m)
	m = node()
	m.interval = 5 * second
	f("a slow exporter", m)
	m = node()
	m.holders = []string{`,container="c",namespace="n",pod="p1",vgpu="0"`, `,hpc_job="2"`}
	f("shared devices", m)
}

func TestFaults(t *testing.T) {
	sourcetest.RunFaults(t, func(_ *testing.T, fault sourcetest.Fault) (sourcetest.Case, string) {
		m := node()
		c := sourcetest.Case{Start: start, Period: second, From: start + 5*second, Until: start + 15*second, Device: 1, Field: 156}
		during := func(now unit.Micros) bool { return now >= c.From && (c.Until == 0 || now < c.Until) }
		// lacks makes a value of the suffering device another one while the fault lasts.
		becomes := func(f func(now unit.Micros, v float64) float64) {
			m.value = func(now unit.Micros, gpu int, field uint16, v float64) float64 {
				if gpu == c.Device && field == c.Field && during(now) {
					return f(now, v)
				}
				return v
			}
		}
		always := func(field uint16, v float64) {
			c.From, c.Until, c.Field = start, 0, field
			becomes(func(unit.Micros, float64) float64 { return v })
		}
		switch fault {
		case sourcetest.Blank:
			becomes(func(unit.Micros, float64) float64 { return 0x7ffffffffffffff0 })
		case sourcetest.Unsupported, sourcetest.NotPermitted: // the exporter leaves both out
			always(1004, nan)
		case sourcetest.Zero:
			always(157, 0)
		case sourcetest.Falls:
			c.Until = 0
			becomes(func(now unit.Micros, _ float64) float64 { return watts(1) * float64(now-c.From) / 1000 })
		case sourcetest.Frozen:
			becomes(func(unit.Micros, float64) float64 { return 1e6 + watts(1)*1000*4 })
		case sourcetest.Stale:
			m.value = func(now unit.Micros, gpu int, field uint16, v float64) float64 {
				if gpu == c.Device && field == 156 && during(now) {
					return 1e6 + watts(1)*1000*4
				}
				return v
			}
			c.Field = 155
		case sourcetest.Lost:
			m.gone = func(now unit.Micros, gpu int) bool { return gpu == c.Device && during(now) }
		case sourcetest.Away:
			m.status = func(now unit.Micros) int {
				if during(now) {
					return http.StatusServiceUnavailable
				}
				return 0
			}
		case sourcetest.ClockBack: // the page has no time stamps: it is our own clock that steps
			c.Until = 0
			m.clock = func(now unit.Micros) unit.Micros {
				if now >= c.From {
					return now - 90*second
				}
				return now
			}
		case sourcetest.Shuffled:
			c.From, c.Until = start, 0
			m.order = func(lines []string) {
				slices.Reverse(lines)
				lines[0], lines[len(lines)/2] = lines[len(lines)/2], lines[0]
			}
		case sourcetest.Repartition:
			c.Until = 0
			m.instances = func(now unit.Micros, gpu int) []int {
				if gpu == c.Device && during(now) {
					return []int{5}
				}
				return []int{1, 2}
			}
		}
		return sourcetest.Case{
			Open: func(t *testing.T) sourcetest.Source { return m.open(t, m.serve(t), nil) }, Advance: m.advance,
			Start: c.Start, Period: c.Period, From: c.From, Until: c.Until, Device: c.Device, Field: c.Field,
		}, ""
	})
}
