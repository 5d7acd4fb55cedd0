//go:build bench

package bench

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/wattledger/wattledger/dashboards/datasource/host"
	"github.com/wattledger/wattledger/dashboards/grafana"
	"github.com/wattledger/wattledger/dashboards/query"
	"github.com/wattledger/wattledger/internal/chconn"
)

// grafanaFigures is the last line of make bench-grafana.
type grafanaFigures struct {
	PanelCold    float64 `json:"panel_cold_p95_ms"`
	OverviewCold float64 `json:"overview_cold_p95_ms"`
	Warm         float64 `json:"warm_p95_ms"`
	HitRatio     float64 `json:"cache_hit_ratio"`
	Errors       int     `json:"errors"`
	RSS          float64 `json:"rss_mib"`

	Devices     int     `json:"devices"`
	Panels      int     `json:"panels"`
	Requests    int     `json:"warm_requests"`
	Viewers     int     `json:"dashboards"`
	Seconds     int     `json:"seconds"`
	Late        int     `json:"refreshes_over_5_s"`
	EngineRSS   float64 `json:"engine_rss_mib"`
	Generated   float64 `json:"generate_s"`
	PanelMedian float64 `json:"panel_cold_median_ms"`
}

// TestGrafana asks what the panels of the dashboards ask, through the plugin as Grafana starts it, of a fleet of a month.
func TestGrafana(t *testing.T) {
	f := grafanaFigures{Devices: setting(t, "BENCH_DEVICES", 18_000), Seconds: setting(t, "BENCH_SECONDS", 300), Viewers: 20}
	boards, err := grafana.Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	s, h := f.stand(t)
	plugin := startPlugin(t)
	f.cold(t, s, h, plugin, boards)
	f.warm(t, s, h, plugin, boards)
	f.EngineRSS = float64(s.engine.peak(t)) / (1 << 20)
	for _, row := range []struct {
		what, unit string
		value, aim float64
	}{
		{"a panel, caches off, p95", "ms", f.PanelCold, 300}, {"the fleet overview, all panels, p95", "ms", f.OverviewCold, 1000}, {"errors", "", float64(f.Errors), 0},
	} {
		fmt.Printf("  %-38s %8.0f %-3s aim %g: %s\n", row.what, row.value, row.unit, row.aim, map[bool]string{true: "met", false: "NOT met"}[row.value <= row.aim])
	}
	line, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%s\n", line)
}

// stand starts the engine on a folder that holds the fleet. It is made once and kept under .cache until what makes it changes, or it is twenty days old.
func (f *grafanaFigures) stand(t *testing.T) (*stack, halls) {
	t.Helper()
	sum := sha256.New()
	sources, err := filepath.Glob("../../schemas/clickhouse/migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(sources, "halls_test.go", "../../ingest/clickhouse/sums.go", "../../schemas/clickhouse/sums.go") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(text)
	}
	all, err := filepath.Abs("../../.cache/bench-grafana")
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{data: filepath.Join(all, fmt.Sprintf("%d-%s", f.Devices, hex.EncodeToString(sum.Sum(nil))[:12]))}
	h := halls{devices: f.Devices, now: time.Now().Unix()/3600*3600 - 3600 + 1230}
	made, kept := filepath.Join(s.data, "made"), false
	if text, err := os.ReadFile(made); err == nil {
		at, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if kept = err == nil && time.Since(time.Unix(at, 0)) < 20*24*time.Hour; kept {
			h.now = at
		}
	}
	if !kept {
		old, _ := filepath.Glob(filepath.Join(all, fmt.Sprintf("%d-*", f.Devices)))
		for _, dir := range old {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.MkdirAll(s.data, 0o750); err != nil {
		t.Fatal(err)
	}
	s.engine = s.wattledger(t, "embedded", "clickhouse", "--clickhouse-listen", "127.0.0.1:0", "--metrics-listen", "off")
	s.engine.start(t)
	var cfg chconn.Config
	s.await(t, s.engine, func() error {
		if cfg, err = chconn.EmbeddedConfig(s.data); err != nil {
			return err
		}
		root := cfg
		root.Database, root.ReadTimeout = "default", 30*time.Minute
		s.db, err = chconn.Open(t.Context(), root)
		return err
	})
	t.Cleanup(func() { s.db.Close() })
	if !kept {
		begun := time.Now()
		fmt.Printf("makes a month of %d GPUs under %s\n", f.Devices, s.data)
		s.exec(t, "CREATE DATABASE wattledger")
		s.tables(t)
		h.fill(t, s)
		f.Generated = time.Since(begun).Seconds()
		if err := os.WriteFile(made, []byte(strconv.FormatInt(h.now, 10)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, table := range []string{"rollup_1h", "rollup_1m", "rollup_10s", "samples", "messages", "node_1h", "node_1m", "node_10s", "hour_sums", "quality_sums", "subtotals", "entries", "device_hours"} {
		fmt.Printf("  %-14s %11d rows in %d parts\n", table, one[uint64](t, s, "SELECT sum(rows) FROM system.parts WHERE active AND database = 'wattledger' AND table = '%s'", table),
			one[uint64](t, s, "SELECT count() FROM system.parts WHERE active AND database = 'wattledger' AND table = '%s'", table))
	}
	return s, h
}

func startPlugin(t *testing.T) *host.Plugin {
	t.Helper()
	binary, err := host.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, err := host.Start(binary, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// source is an operator's data source on the engine.
func (s *stack) source(t *testing.T, p *host.Plugin, name string, cache bool) host.Source {
	t.Helper()
	endpoint, err := os.ReadFile(filepath.Join(s.data, "clickhouse", "endpoint"))
	if err != nil {
		t.Fatal(err)
	}
	password, err := os.ReadFile(filepath.Join(s.data, "clickhouse", "password"))
	if err != nil {
		t.Fatal(err)
	}
	address, text, err := net.SplitHostPort(strings.TrimSpace(string(endpoint)))
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	source, err := p.Source(host.Settings{
		UID: name, Name: name, Secure: map[string]string{"password": strings.TrimSpace(string(password))},
		JSON: map[string]any{"host": address, "port": port, "protocol": "http", "database": "wattledger", "username": "default", "scope": "operator", "cacheOff": !cache},
	})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// viewer is somebody with a dashboard open.
type viewer struct {
	board  grafana.Dashboard
	chosen map[string]string // values of variables; what is not there is All
}

// choose gives a dashboard's variables values of the fleet, other ones for each number. Variables that know All have it where all is set.
func (h halls) choose(d grafana.Dashboard, i int, all bool) viewer {
	node := (i * 97) % h.nodes()
	values := map[string]string{
		"site": []string{"east", "north", "west"}[node%hallSites], "rack": fmt.Sprintf("rack-%03d", node/24), "node": fmt.Sprintf("node-%05d", node),
		"device": fmt.Sprintf("GPU-%06d", node*8), "tenant": fmt.Sprintf("tenant-%02d", (i*13)%hallTenants), "model": "NVIDIA B200",
	}
	v := viewer{board: d, chosen: map[string]string{}}
	for _, variable := range d.Templating.List {
		if value, ok := values[variable.Name]; ok && (!variable.IncludeAll || !all && i%2 == 1) {
			v.chosen[variable.Name] = value
		}
	}
	if v.chosen["rack"] != "" && v.chosen["node"] == "" && i%4 == 1 {
		delete(v.chosen, "rack")
	}
	return v
}

// asked are the queries of a panel at a time; none where it asks something else.
func (v viewer) asked(t testing.TB, p grafana.Panel, now time.Time) []backend.DataQuery {
	t.Helper()
	from := now.Add(-span(t, v.board.Time.From))
	points := int64(max(100, p.GridPos.W*1600/24))
	var out []backend.DataQuery
	for _, target := range p.Targets {
		if target.Datasource.Type != grafana.Wattledger || target.Query.Metric == "explain" { // entries are made without the bytes that explain them
			continue
		}
		q := target.Query
		q.Filters = nil
		for _, f := range target.Query.Filters {
			var kept []string
			for _, value := range f.Values {
				if name, ok := strings.CutPrefix(value, "$"); !ok {
					kept = append(kept, value)
				} else if chosen := v.chosen[strings.Trim(name, "{}")]; chosen != "" {
					kept = append(kept, chosen)
				}
			}
			if len(kept) > 0 {
				q.Filters = append(q.Filters, query.Filter{Dimension: f.Dimension, Values: kept})
			}
		}
		body, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, backend.DataQuery{
			RefID: target.RefID, JSON: body, MaxDataPoints: points, Interval: max(time.Second, now.Sub(from)/time.Duration(points)), TimeRange: backend.TimeRange{From: from, To: now},
		})
	}
	return out
}

// span reads now-24h.
func span(t testing.TB, text string) time.Duration {
	t.Helper()
	text = strings.TrimPrefix(text, "now-")
	if days, ok := strings.CutSuffix(text, "d"); ok {
		text = days + "h"
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return 24 * d
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// ask puts a panel's queries and says how long that took.
func ask(ctx context.Context, from host.Source, queries []backend.DataQuery) (time.Duration, error) {
	begun := time.Now()
	answers, err := from.Query(ctx, queries...)
	took := time.Since(begun)
	if err != nil {
		return took, err
	}
	for ref, a := range answers {
		if a.Error != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", ref, a.Error))
		}
	}
	return took, err
}

type panelTime struct {
	board, title string
	times        []float64
}

// cold asks each panel by itself, and all panels of the overview at once, with the plugin's cache off. What the engine and the kernel have in memory stays.
func (f *grafanaFigures) cold(t *testing.T, s *stack, h halls, p *host.Plugin, boards []grafana.Dashboard) {
	t.Helper()
	source := s.source(t, p, "cold", false)
	now := time.Unix(h.now, 0).UTC()
	const times = 5
	var panels []panelTime
	var every []float64
	for i, d := range boards {
		v := h.choose(d, i, true)
		for _, panel := range d.Panels {
			queries := v.asked(t, panel, now)
			if len(queries) == 0 {
				continue
			}
			m := panelTime{board: d.UID, title: panel.Title}
			for range times {
				took, err := ask(t.Context(), source, queries)
				if err != nil {
					if f.Errors++; len(m.times) == 0 {
						fmt.Printf("  %s, %s: %v\n", d.UID, panel.Title, err)
					}
				}
				m.times = append(m.times, ms(took))
			}
			panels, every = append(panels, m), append(every, m.times...)
		}
	}
	f.Panels, f.PanelCold, f.PanelMedian = len(panels), quantile(every, 0.95), quantile(every, 0.5)
	slices.SortFunc(panels, func(a, b panelTime) int {
		return -strings.Compare(fmt.Sprintf("%09.0f", quantile(a.times, 0.5)), fmt.Sprintf("%09.0f", quantile(b.times, 0.5)))
	})
	fmt.Printf("%d panels, each asked %d times, caches off; the slowest:\n  %-24s %-52s %8s %8s\n", len(panels), times, "dashboard", "panel", "median", "most")
	for _, m := range panels[:min(len(panels), 25)] {
		fmt.Printf("  %-24s %-52.52s %5.0f ms %5.0f ms\n", m.board, m.title, quantile(m.times, 0.5), slices.Max(m.times))
	}
	var whole []float64
	for _, d := range boards {
		if d.UID != "wattledger-fleet" {
			continue
		}
		v := h.choose(d, 0, true)
		for range 10 {
			begun := time.Now()
			var wg sync.WaitGroup
			for _, panel := range d.Panels {
				if queries := v.asked(t, panel, now); len(queries) > 0 {
					wg.Go(func() { _, _ = ask(t.Context(), source, queries) })
				}
			}
			wg.Wait()
			whole = append(whole, ms(time.Since(begun)))
		}
	}
	f.OverviewCold = quantile(whole, 0.95)
}

// warm has dashboards open side by side, each with variables of its own, that ask anew every five seconds while their present goes on.
func (f *grafanaFigures) warm(t *testing.T, s *stack, h halls, p *host.Plugin, boards []grafana.Dashboard) {
	t.Helper()
	source := s.source(t, p, "warm", true)
	start := h.now - int64(f.Seconds) - 10
	h.rewind(t, s, start)
	begun := time.Now()
	present := func() time.Time { return time.Unix(start, 0).UTC().Add(time.Since(begun)) }
	ctx, stop := context.WithTimeout(t.Context(), time.Duration(f.Seconds)*time.Second)
	defer stop()
	var mu sync.Mutex
	var times []float64
	var wg sync.WaitGroup
	wg.Go(func() { // rollups go on behind it
		for tick := time.NewTicker(10 * time.Second); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
				h.passed(t, s, present().Unix()-30)
			}
		}
	})
	for i := range f.Viewers {
		v := h.choose(boards[i%len(boards)], i, false)
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 5 * time.Second / time.Duration(f.Viewers)) // not all at once
			for ctx.Err() == nil {
				round := time.Now()
				now := present()
				var panels sync.WaitGroup
				for _, panel := range v.board.Panels {
					queries := v.asked(t, panel, now)
					if len(queries) == 0 {
						continue
					}
					panels.Go(func() {
						took, err := ask(ctx, source, queries)
						mu.Lock()
						defer mu.Unlock()
						if end, _ := ctx.Deadline(); time.Until(end) < 100*time.Millisecond {
							return // cut off by the end, which the plugin may see first
						}
						if err != nil {
							if f.Errors++; f.Errors < 20 {
								t.Logf("%s, %s: %v", v.board.UID, panel.Title, err)
							}
						}
						times = append(times, ms(took))
					})
				}
				panels.Wait()
				if rest := 5*time.Second - time.Since(round); rest > 0 {
					select {
					case <-ctx.Done():
					case <-time.After(rest):
					}
				} else {
					mu.Lock()
					f.Late++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	f.Requests, f.Warm = len(times), quantile(times, 0.95)
	text, err := p.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hits, misses, passed := counted(text, "wattledger_grafana_cache_hits_total"), counted(text, "wattledger_grafana_cache_misses_total"), counted(text, "wattledger_grafana_cache_passed_total")
	if all := hits + misses + passed; all > 0 { // chunks and whole answers that the engine was not asked for
		f.HitRatio = math.Round(hits/all*1000) / 1000
	}
	fmt.Printf("%d dashboards for %d s: %d requests, %.0f chunks kept, %.0f asked, %.0f questions asked whole\n", f.Viewers, f.Seconds, f.Requests, hits, misses, passed)
	peak, err := peakOf(p.PID())
	if err != nil {
		t.Fatal(err)
	}
	f.RSS = math.Round(float64(peak) / (1 << 20))
}

// rewind takes back what levels hold to half a minute before a second.
func (h halls) rewind(t *testing.T, s *stack, at int64) {
	t.Helper()
	h.passed(t, s, at-30)
}

// counted adds up a counter of the plugin's metrics.
func counted(text, name string) (sum float64) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok && (rest[0] == ' ' || rest[0] == '{') {
			f := strings.Fields(line)
			v, _ := strconv.ParseFloat(f[len(f)-1], 64)
			sum += v
		}
	}
	return sum
}

func ms(d time.Duration) float64 { return math.Round(float64(d.Microseconds())/100) / 10 }

func quantile(list []float64, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(len(sorted)-1, int(math.Ceil(q*float64(len(sorted))))-1)]
}
