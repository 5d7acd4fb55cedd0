package electricitymaps

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/carbon/provider"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

const token = "em-test-token"

func at(text string) unit.Micros {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return unit.MicrosOf(t)
}

func ask(t *testing.T, address string, change func(*Config)) *Provider {
	t.Helper()
	m, err := provider.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.URL, cfg.Every, cfg.Backoff, cfg.TokenFile = address, 0, time.Millisecond, filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(cfg.TokenFile, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&cfg)
	}
	p, err := New(cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serve answers as the interface does: the hours asked for, with the parameters they were asked with.
func serve(t *testing.T, value func(at time.Time) string) (*httptest.Server, *int) {
	t.Helper()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		q := r.URL.Query()
		if r.Header.Get("auth-token") != token {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"Request unauthorized"}`)
			return
		}
		from, to := at(q.Get("start")), at(q.Get("end"))
		if r.URL.Path != "/carbon-intensity/past-range" || to-from > 240*unit.Hour || q.Get("disableCallerLookup") != "true" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"Invalid query"}`)
			return
		}
		var data []string
		for h := from; h < to; h += unit.Hour {
			if v := value(h.Time()); v != "" {
				data = append(data, fmt.Sprintf(`{"zone":%q,"carbonIntensity":%s,"datetime":%q,"updatedAt":"2026-11-04T08:20:31.128Z","emissionFactorType":%q,"flowTraced":%s,"temporalGranularity":"hourly"}`,
					q.Get("zone"), v, h.Time().Format("2006-01-02T15:04:05.000Z"), q.Get("emissionFactorType"), q.Get("flowTraced")))
			}
		}
		fmt.Fprintf(w, `{"zone":%q,"temporalGranularity":"hourly","data":[%s]}`, q.Get("zone"), strings.Join(data, ","))
	}))
	t.Cleanup(server.Close)
	return server, &asked
}

func TestFetch(t *testing.T) {
	server, asked := serve(t, func(at time.Time) string {
		switch at.Hour() {
		case 0:
			return `31,"isEstimated":false,"estimationMethod":null`
		case 1:
			return `75.25,"isEstimated":true,"estimationMethod":"TIME_SLICER_AVERAGE"`
		case 2:
			return "null"
		}
		return ""
	})
	span := []unit.Micros{at("2026-11-03T00:00:00Z"), at("2026-11-03T04:00:00Z")}
	f := func(change func(*Config), want string) {
		t.Helper()
		s, err := ask(t, server.URL, change).Fetch(t.Context(), "DK-DK2", span[0], span[1])
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, e := range s.Editions {
			fmt.Fprintf(&b, "%s %s\n", e.From.Time().Format("15"), e.Ref())
			if err := e.Validate(); err != nil {
				t.Error(err)
			}
		}
		for _, m := range s.Missing {
			fmt.Fprintf(&b, "%s %s\n", m.Hour.Time().Format("15"), m.Reason)
		}
		if b.String() != want {
			t.Errorf("got\n%swant\n%s", b.String(), want)
		}
	}
	f(nil, `00 Electricity Maps v4 carbon-intensity DK-DK2 lifecycle consumption average, flow-traced hourly 31000000µg/kWh
01 Electricity Maps v4 carbon-intensity DK-DK2 lifecycle consumption average, flow-traced hourly estimated 75250000µg/kWh
02 the value is null
03 nothing is published
`)
	f(func(c *Config) { c.Boundary, c.FlowTraced, c.Estimates = factor.Direct, false, false }, `00 Electricity Maps v4 carbon-intensity DK-DK2 direct production average hourly 31000000µg/kWh
01 the value is an estimate, which carbon.electricity_maps.estimates refuses
02 the value is null
03 nothing is published
`)
	*asked = 0
	s, err := ask(t, server.URL, nil).Fetch(t.Context(), "FR", at("2026-10-01T00:00:00Z"), at("2026-10-26T00:00:00Z"))
	if err != nil || *asked != 3 || len(s.Editions) != 2*25 || len(s.Missing) != 22*25 {
		t.Errorf("%d hours and %d missing after %d requests, %v", len(s.Editions), len(s.Missing), *asked, err)
	}
	_, err = ask(t, server.URL, func(c *Config) {
		if err := os.WriteFile(c.TokenFile, []byte("another"), 0o600); err != nil {
			t.Fatal(err)
		}
	}).Fetch(t.Context(), "FR", span[0], span[1])
	if err == nil || !strings.Contains(err.Error(), "status 401") || strings.Contains(err.Error(), "another") {
		t.Errorf("with another token: %v", err)
	}
	if _, err := ask(t, server.URL, nil).Fetch(t.Context(), "fr", span[0], span[1]); err == nil {
		t.Error("a zone that is none was asked for")
	}
	cfg := DefaultConfig()
	if _, err := New(cfg, nil); err == nil || !strings.Contains(err.Error(), "carbon.electricity_maps.token_file is empty") {
		t.Errorf("without a token: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	f := func(want, body string) {
		t.Helper()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		defer server.Close()
		s, err := ask(t, server.URL, nil).Fetch(t.Context(), "FR", at("2026-11-03T00:00:00Z"), at("2026-11-03T01:00:00Z"))
		if !errors.Is(err, provider.ErrRefused) || !strings.Contains(err.Error(), want) || len(s.Editions) > 0 {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
	data := func(point string) string { return `{"zone":"FR","data":[` + point + `]}` }
	f("no data", `{"zone":"FR"}`)
	f("of which zone", `{"data":[]}`)
	f(`zone is "DE", not FR`, `{"zone":"DE","data":[]}`)
	f(`zone is "DE", not FR`, data(`{"zone":"DE","datetime":"2026-11-03T00:00:00Z","carbonIntensity":1}`))
	f(`emissionFactorType is "direct"`, data(`{"emissionFactorType":"direct","datetime":"2026-11-03T00:00:00Z","carbonIntensity":1}`))
	f("flowTraced is false", data(`{"flowTraced":false,"datetime":"2026-11-03T00:00:00Z","carbonIntensity":1}`))
	f(`temporalGranularity is "5_minutes"`, data(`{"temporalGranularity":"5_minutes","datetime":"2026-11-03T00:00:00Z","carbonIntensity":1}`))
	f("no whole hour", data(`{"datetime":"2026-11-03T00:15:00Z","carbonIntensity":1}`))
	f("no time", data(`{"datetime":"yesterday","carbonIntensity":1}`))
	f("which no electricity has", data(`{"datetime":"2026-11-03T00:00:00Z","carbonIntensity":-5}`))
	f("which no electricity has", data(`{"datetime":"2026-11-03T00:00:00Z","carbonIntensity":31000000}`))
	f("which was not asked for", data(`{"datetime":"2026-11-02T00:00:00Z","carbonIntensity":1}`))
	f("stands twice", data(`{"datetime":"2026-11-03T00:00:00Z","carbonIntensity":1},{"datetime":"2026-11-03T00:00:00Z","carbonIntensity":2}`))
	f("cannot unmarshal", data(`{"datetime":"2026-11-03T00:00:00Z","carbonIntensity":true}`))
}

func FuzzParse(f *testing.F) {
	answer, err := os.ReadFile("testdata/past-range.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(answer)
	f.Fuzz(func(t *testing.T, body []byte) {
		p := Provider{cfg: DefaultConfig()}
		points, err := parse(body, p.cfg, "FR")
		if err != nil {
			return
		}
		for _, v := range points {
			if v.known && v.at >= 0 {
				if err := p.edition("FR", v).Validate(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
