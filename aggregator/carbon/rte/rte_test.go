package rte

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/carbon/provider"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

func at(text string) unit.Micros {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return unit.MicrosOf(t)
}

// portal answers as ODRÉ does: the slots of the span asked for, page by page, in Paris time.
type portal struct {
	*httptest.Server
	// slot is the record of an instant in a data set; empty is none.
	slot  func(set string, at time.Time) string
	asked int
}

var span = regexp.MustCompile(`date_heure >= date'([^']+)' AND date_heure < date'([^']+)'`)

func (p *portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked++
	q := r.URL.Query()
	m := span.FindStringSubmatch(q.Get("where"))
	limit, _ := strconv.Atoi(q.Get("limit"))
	offset, _ := strconv.Atoi(q.Get("offset"))
	parts := strings.Split(r.URL.Path, "/")
	if m == nil || limit < 1 || limit > 100 || len(parts) != 5 || parts[4] != "records" || offset+limit > 10_000 {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error_code": "InvalidRESTParameterError", "message": "Invalid value"}`)
		return
	}
	var all []string
	for t := at(m[1]); t < at(m[2]); t += 15 * 60 * unit.Second {
		if s := p.slot(parts[3], t.Time()); s != "" {
			all = append(all, s)
		}
	}
	page := all[min(offset, len(all)):min(offset+limit, len(all))]
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	fmt.Fprintf(w, `{"total_count": %d, "results": [%s]}`, len(all), strings.Join(page, ", "))
}

func serve(t *testing.T, slot func(set string, at time.Time) string) (*portal, *Provider) {
	t.Helper()
	p := &portal{slot: slot}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p, ask(t, p.URL)
}

func ask(t *testing.T, address string) *Provider {
	t.Helper()
	m, err := provider.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.URL, cfg.Every, cfg.Backoff = address, 0, time.Millisecond
	p, err := New(cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var paris = func() *time.Location {
	l, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		panic(err)
	}
	return l
}()

func record(at time.Time, nature, value string) string {
	local := at.In(paris)
	return fmt.Sprintf(`{"perimetre": "France", "nature": %q, "date": %q, "heure": %q, "date_heure": %q, "taux_co2": %s}`,
		nature, local.Format(time.DateOnly), local.Format("15:04"), local.Format(time.RFC3339), value)
}

// summary is one hour a line: when, value, estimated, name; or why there is none.
func summary(s provider.Series) string {
	var b strings.Builder
	for _, e := range s.Editions {
		fmt.Fprintf(&b, "%s %d %v %s\n", e.From.Time().Format("02T15"), e.Value, e.Estimated, e.Name)
		if err := e.Validate(); err != nil {
			fmt.Fprintf(&b, "invalid: %v\n", err)
		}
	}
	for _, m := range s.Missing {
		fmt.Fprintf(&b, "%s missing: %s\n", m.Hour.Time().Format("02T15"), m.Reason)
	}
	return b.String()
}

func TestFetch(t *testing.T) {
	_, p := serve(t, func(set string, at time.Time) string {
		quarter := at.Minute() / 15
		switch {
		case set == realTime && at.Hour() == 0:
			return record(at, "Données temps réel", fmt.Sprint(20+quarter)) // 20, 21, 22, 23
		case set == realTime && at.Hour() == 1 && quarter == 2:
			return record(at, "Données temps réel", "null") // not yet there
		case set == realTime && at.Hour() == 1:
			return record(at, "Données temps réel", "30")
		case set == realTime && at.Hour() == 2:
			return record(at, "Données temps réel", "40")
		case set == consolidated && at.Hour() == 2 && quarter%2 == 0:
			return record(at, "Données consolidées", fmt.Sprint(50+quarter)) // 50, 52
		case set == consolidated && at.Hour() == 3 && quarter%2 == 0:
			return record(at, "Données définitives", "60")
		case set == consolidated && at.Hour() == 3:
			return record(at, "Données définitives", "null")
		case set == consolidated && at.Hour() == 4 && quarter == 0:
			return record(at, "Données définitives", "60")
		}
		return ""
	})
	s, err := p.Fetch(t.Context(), "FR", at("2026-11-03T00:00:00Z"), at("2026-11-03T06:00:00Z"))
	if err != nil {
		t.Fatal(err)
	}
	want := `03T00 21500000 true eco2mix-national-tr Données temps réel
03T02 51000000 true eco2mix-national-cons-def Données consolidées
03T03 60000000 false eco2mix-national-cons-def Données définitives
03T01 missing: a slot of the hour has no value in eco2mix-national-tr
03T04 missing: a slot of the hour has no value in eco2mix-national-cons-def
03T05 missing: nothing is published
`
	if got := summary(s); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if e := s.Editions[0]; e.Boundary != factor.Direct || e.Licence == "" || e.Source != Source || e.Method == "" || e.Key != "FR" {
		t.Errorf("provenance is %+v", e)
	}
}

// A day of 25 local hours has 25 hours, and one of 23 has 23; more rows than a page are asked for page by page.
func TestDaylightSaving(t *testing.T) {
	for _, day := range []struct {
		from, to string
		hours    int
	}{{"2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 25}, {"2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 23}} {
		server, p := serve(t, func(set string, at time.Time) string {
			if set != realTime {
				return ""
			}
			return record(at, "Données temps réel", fmt.Sprint(at.Hour()+1))
		})
		s, err := p.Fetch(t.Context(), "FR", at(day.from), at(day.to))
		if err != nil || len(s.Editions) != day.hours || len(s.Missing) != 0 {
			t.Errorf("%s: %d hours and %d missing, %v", day.from, len(s.Editions), len(s.Missing), err)
		}
		for _, e := range s.Editions {
			if e.Value != int64(e.From.Time().Hour()+1)*1_000_000 {
				t.Errorf("%s: %d", e.From.Time(), e.Value)
			}
		}
		if day.hours == 25 && server.asked != 2 { // 100 rows and no more: one page, and the other data set
			t.Errorf("asked %d times", server.asked)
		}
	}
	server, p := serve(t, func(set string, at time.Time) string {
		if set != realTime {
			return ""
		}
		return record(at, "Données temps réel", "7.5")
	})
	s, err := p.Fetch(t.Context(), "FR", at("2026-10-20T00:00:00Z"), at("2026-10-30T00:00:00Z"))
	if err != nil || len(s.Editions) != 240 || server.asked != 7+1+3+1 {
		t.Errorf("%d hours after %d requests, %v", len(s.Editions), server.asked, err)
	}
}

func TestRefusals(t *testing.T) {
	f := func(want, body string) {
		t.Helper()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		defer server.Close()
		s, err := ask(t, server.URL).Fetch(t.Context(), "FR", at("2026-11-03T00:00:00Z"), at("2026-11-03T01:00:00Z"))
		if !errors.Is(err, provider.ErrRefused) || !strings.Contains(err.Error(), want) || len(s.Editions) > 0 {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
	f("invalid character", "<html>")
	f("total_count", `{"results": []}`)
	f("total_count", `{"total_count": 99999999, "results": []}`)
	f("handed out 0", `{"total_count": 4, "results": []}`)
	twice := `{"perimetre": "France", "date_heure": "2026-11-03T00:00:00Z", "taux_co2": 20}`
	f("stands twice", `{"total_count": 2, "results": [`+twice+`, `+twice+`]}`)
	one := func(record string) string { return `{"total_count": 1, "results": [` + record + `]}` }
	f("not France", one(`{"perimetre": "Bretagne", "date_heure": "2026-11-03T00:00:00+00:00", "taux_co2": 20}`))
	f("no time with an offset", one(`{"perimetre": "France", "date_heure": "2026-11-03T00:00:00", "taux_co2": 20}`))
	f("no quarter", one(`{"perimetre": "France", "date_heure": "2026-11-03T00:01:00Z", "taux_co2": 20}`))
	f("which was not asked for", one(`{"perimetre": "France", "date_heure": "2026-11-04T00:00:00Z", "taux_co2": 20}`))
	f("which no electricity has", one(`{"perimetre": "France", "date_heure": "2026-11-03T00:00:00Z", "taux_co2": -1}`))
	f("out of range", one(`{"perimetre": "France", "date_heure": "2026-11-03T00:00:00Z", "taux_co2": 1e99}`))
	f("cannot unmarshal", one(`{"perimetre": "France", "date_heure": "2026-11-03T00:00:00Z", "taux_co2": true}`))
	_, p := serve(t, func(string, time.Time) string { return "" })
	if _, err := p.Fetch(t.Context(), "DE", at("2026-11-03T00:00:00Z"), at("2026-11-03T01:00:00Z")); err == nil {
		t.Error("the zone of another country was answered")
	}
}

func FuzzParse(f *testing.F) {
	page, err := os.ReadFile("testdata/records.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(page)
	f.Add([]byte(`{"total_count": 0, "results": []}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		rows, total, err := parse(body)
		if err == nil && total < len(rows) {
			t.Errorf("%d rows of %d", len(rows), total)
		}
		values, why := map[unit.Micros]factor.Edition{}, map[unit.Micros]string{}
		from := at("2026-11-03T00:00:00Z")
		hours(realTime, rows, from, from+24*unit.Hour, values, why)
		for _, e := range values {
			if err := e.Validate(); err != nil {
				t.Error(err)
			}
		}
	})
}
