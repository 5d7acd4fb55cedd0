package entsoe

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

const (
	token = "3f1c9a52-entsoe-test"
	fr    = "10YFR-RTE------C"
)

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
	if err := os.WriteFile(cfg.TokenFile, []byte(token), 0o600); err != nil {
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

// series is a TimeSeries of quarters from a start, one value each.
func series(psr, direction, from, resolution, curve string, values ...string) string {
	minutes := map[string]int{"PT15M": 15, "PT30M": 30, "PT60M": 60}[resolution]
	start := at(from).Time()
	var points strings.Builder
	for i, v := range values {
		if v != "" {
			fmt.Fprintf(&points, "<Point><position>%d</position><quantity>%s</quantity></Point>", i+1, v)
		}
	}
	return fmt.Sprintf(`<TimeSeries><%sBiddingZone_Domain.mRID codingScheme="A01">%s</%sBiddingZone_Domain.mRID>
		<quantity_Measure_Unit.name>MAW</quantity_Measure_Unit.name><curveType>%s</curveType><MktPSRType><psrType>%s</psrType></MktPSRType>
		<Period><timeInterval><start>%s</start><end>%s</end></timeInterval><resolution>%s</resolution>%s</Period></TimeSeries>`,
		direction, fr, direction, curve, psr, start.Format("2006-01-02T15:04Z"), start.Add(time.Duration(len(values)*minutes)*time.Minute).Format("2006-01-02T15:04Z"), resolution, &points)
}

func body(series ...string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><GL_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-6:generationloaddocument:3:0">` + strings.Join(series, "") + `</GL_MarketDocument>`
}

func answering(t *testing.T, status int, text string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("securityToken") != token || r.URL.Path != "/api" || q.Get("documentType") != "A75" || q.Get("processType") != "A16" || q.Get("in_Domain") != fr ||
			len(q.Get("periodStart")) != 12 || len(q.Get("periodEnd")) != 12 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func summary(t *testing.T, s provider.Series) string {
	t.Helper()
	var b strings.Builder
	for _, e := range s.Editions {
		fmt.Fprintf(&b, "%s %d %v\n", e.From.Time().Format("15"), e.Value, e.Estimated)
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
	}
	for _, m := range s.Missing {
		fmt.Fprintf(&b, "%s %s\n", m.Hour.Time().Format("15"), m.Reason)
	}
	return b.String()
}

func TestFetch(t *testing.T) {
	recorded, err := os.ReadFile("testdata/generation.xml")
	if err != nil {
		t.Fatal(err)
	}
	const day = "2026-11-03T00:00:00Z"
	f := func(name, text string, hours int, want string) {
		t.Helper()
		s, err := ask(t, answering(t, 200, text), nil).Fetch(t.Context(), "FR", at(day), at(day)+unit.Micros(hours)*unit.Hour)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := summary(t, s); got != want {
			t.Errorf("%s: got\n%swant\n%s", name, got, want)
		}
	}
	// 30 GW of nuclear and 10 GW of gas: (30·12 + 10·490)/40 = 131.5 g; pumping and what it gives back change nothing. Then nuclear alone.
	f("a recorded answer", string(recorded), 3, "00 131500000 false\n01 12000000 false\n02 nothing is published\n")
	nuclear := func(values ...string) string { return series("B14", "in", day, "PT15M", "A01", values...) }
	f("steps are mixed", body(nuclear("10", "10", "10", "10"), series("B04", "in", day, "PT30M", "A01", "0", "20")), 1, "00 251000000 false\n")
	f("a type lacks a quarter", body(nuclear("10", "10", "10", "10", "10", "10", "10", "10"), series("B16", "in", day, "PT15M", "A01", "1", "1", "1", "1", "1", "", "1", "1")), 2,
		"00 15272727 false\n01 generation of type B16 has no value at 2026-11-03T01:15:00Z\n")
	f("what a type takes is subtracted", body(nuclear("10", "10", "10", "10"), series("B04", "in", day, "PT60M", "A01", "10"), series("B04", "out", day, "PT60M", "A01", "4")), 1, "00 191250000 false\n")
	f("and no further than to nothing", body(nuclear("10", "10", "10", "10"), series("B04", "in", day, "PT60M", "A01", "10"), series("B04", "out", day, "PT60M", "A01", "40")), 1, "00 12000000 false\n")
	f("a proxy for more than 1 %", body(nuclear("98", "98", "98", "98"), series("B20", "in", day, "PT60M", "A01", "2")), 1, "00 21560000 true\n")
	f("a proxy for 1 %", body(nuclear("99", "99", "99", "99"), series("B20", "in", day, "PT60M", "A01", "1")), 1, "00 16780000 false\n")
	f("a type without a factor", body(nuclear("99", "99", "99", "99"), series("B77", "in", day, "PT60M", "A01", "1")), 1, "00 type B77 has no factor in IPCC AR5 2014 medians\n")
	f("it generates nothing", body(nuclear("99", "99", "99", "99"), series("B77", "in", day, "PT60M", "A01", "0")), 1, "00 12000000 false\n")
	f("only storage", body(series("B10", "in", day, "PT60M", "A01", "1")), 1, "00 nothing is published\n")
	f("all stand still", body(nuclear("0", "0", "0", "0")), 1, "00 nothing is generated\n")
	f("rounded half to even", body(series("B19", "in", day, "PT60M", "A01", "0.001"), series("B18", "in", day, "PT60M", "A01", "0.001")), 1, "00 11500000 false\n")

	ack := `<?xml version="1.0"?><Acknowledgement_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0"><mRID>x</mRID><Reason><code>%s</code><text>%s</text></Reason></Acknowledgement_MarketDocument>`
	f("no data", fmt.Sprintf(ack, "999", "No matching data found"), 1, "00 nothing is published\n")
	s, err := ask(t, answering(t, 400, fmt.Sprintf(ack, "999", "No matching data found")), nil).Fetch(t.Context(), "FR", at(day), at(day)+unit.Hour)
	if err != nil || len(s.Missing) != 1 {
		t.Errorf("no data with status 400: %+v, %v", s, err)
	}
	_, err = ask(t, answering(t, 400, fmt.Sprintf(ack, "A01", "Delivered time interval is not valid")), nil).Fetch(t.Context(), "FR", at(day), at(day)+unit.Hour)
	if !errors.Is(err, provider.ErrRefused) || !strings.Contains(err.Error(), "Delivered time interval") {
		t.Errorf("another reason: %v", err)
	}
	if _, err := ask(t, answering(t, 200, ""), nil).Fetch(t.Context(), "XX", at(day), at(day)+unit.Hour); err == nil || !strings.Contains(err.Error(), "write one of [AT BE") {
		t.Errorf("an unknown zone: %v", err)
	}
}

func TestFactorsOfOnesOwn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "factors.csv")
	table := "type,name,g_per_kwh,boundary,basis,source\nB14,nuclear,0,direct,median,own\nB04,gas,352.5,direct,median,own\n"
	if err := os.WriteFile(file, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	const day = "2026-11-03T00:00:00Z"
	text := body(series("B14", "in", day, "PT60M", "A01", "1"), series("B04", "in", day, "PT60M", "A01", "1"))
	p := ask(t, answering(t, 200, text), func(c *Config) { c.FactorsFile, c.FactorsName = file, "plant data 2026" })
	s, err := p.Fetch(t.Context(), "FR", at(day), at(day)+unit.Hour)
	if err != nil || len(s.Editions) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	if got := s.Editions[0].Ref(); got != "ENTSO-E Transparency Platform A75 × plant data 2026 FR direct production average, generation by type × factor, storage left out hourly 176250000µg/kWh" {
		t.Errorf("got %q", got)
	}
	f := func(want, table string) {
		t.Helper()
		if _, err := parseFactors([]byte(table)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	const header = "type,name,g_per_kwh,boundary,basis,source\n"
	f("it is empty", header)
	f("column 3", "type,name,value,boundary,basis,source\n")
	f("a table has one", header+"B14,n,1,direct,median,x\nB04,g,1,lifecycle,median,x\n")
	f("stands twice", header+"B14,n,1,direct,median,x\nB14,g,1,direct,median,x\n")
	f("write a number", header+"B14,n,,direct,median,x\n")
	f("no source", header+"B14,n,1,direct,median,\n")
	f("write direct or lifecycle", header+"B14,n,1,,median,x\n")
	if committed, err := parseFactors(committedFactors); err != nil || len(committed.byType) < 20 || committed.boundary != factor.Lifecycle {
		t.Errorf("the committed table: %+v, %v", committed, err)
	}
}

func TestRefusals(t *testing.T) {
	const day = "2026-11-03T00:00:00Z"
	good := series("B14", "in", day, "PT60M", "A01", "10")
	f := func(want, text string) {
		t.Helper()
		s, err := ask(t, answering(t, 200, text), nil).Fetch(t.Context(), "FR", at(day), at(day)+unit.Hour)
		if !errors.Is(err, provider.ErrRefused) || !strings.Contains(err.Error(), want) || len(s.Editions) > 0 || strings.Contains(err.Error(), token) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	change := func(old, text string) string { return body(strings.ReplaceAll(good, old, text)) }
	f("EOF", "")
	f("not a GL_MarketDocument", "<html></html>")
	f("is of area", change(fr, "10YBE----------2"))
	f("not in MAW", change("MAW", "KWT"))
	f("curve type", change("A01</curveType", "A02</curveType"))
	f("no production type", change("B14", ""))
	f("in steps of", change("PT60M", "P1D"))
	f("a period from", change("T01:00Z", "T00:00Z"))
	f("out of order", change("<position>1", "<position>2"))
	f("out of order", change("<position>1", "<position>-1"))
	f("no number", change("<quantity>10", "<quantity>ten"))
	f("more than a continent", change("<quantity>10", "<quantity>10000000000"))
	f("stands twice", body(good, good))
	f("both or neither", change("inBiddingZone_Domain.mRID", "other"))
}

// The last character of an EIC is a checksum of the others: one typed wrong is found here and not as an empty answer.
func TestAreas(t *testing.T) {
	list, err := areas()
	if err != nil || len(list) < 30 {
		t.Fatalf("%d areas, %v", len(list), err)
	}
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-"
	valid := func(eic string) bool {
		if len(eic) != 16 {
			return false
		}
		sum := 0
		for i, c := range eic[:15] {
			sum += strings.IndexRune(alphabet, c) * (16 - i)
		}
		return alphabet[36-(sum-1)%37] == eic[15]
	}
	for zone, eic := range list {
		if !valid(eic) {
			t.Errorf("%s: %s fails its checksum", zone, eic)
		}
	}
	if valid("10YDK-2--------T") {
		t.Error("a code typed wrong passes")
	}
}

func TestDaylightSaving(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := r.URL.Query().Get("periodStart")
		asked = append(asked, from)
		values := make([]string, 25)
		for i := range values {
			values[i] = "10"
		}
		fmt.Fprint(w, body(series("B14", "in", "2026-10-24T22:00:00Z", "PT60M", "A03", values...)))
	}))
	defer server.Close()
	s, err := ask(t, server.URL, nil).Fetch(t.Context(), "FR", at("2026-10-24T22:00:00Z"), at("2026-10-25T23:00:00Z"))
	if err != nil || len(s.Editions) != 25 || len(asked) != 1 || asked[0] != "202610242200" {
		t.Errorf("%d hours, asked for %v, %v", len(s.Editions), asked, err)
	}
}

func FuzzParse(f *testing.F) {
	recorded, err := os.ReadFile("testdata/generation.xml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(recorded)
	f.Add([]byte(body(series("B14", "out", "2026-11-03T00:00:00Z", "PT30M", "A03", "1", "", "2"))))
	table, err := parseFactors(committedFactors)
	if err != nil {
		f.Fatal(err)
	}
	from := at("2026-11-03T00:00:00Z")
	f.Fuzz(func(t *testing.T, text []byte) {
		g := generation{}
		if err := parse(text, fr, from, from+24*unit.Hour, g); err != nil {
			return
		}
		for h := from; h < from+24*unit.Hour; h += unit.Hour {
			if v, _, reason := table.intensity(g, h); reason == "" && (v < 0 || v > 840_000_000) {
				t.Errorf("%d µg/kWh", v)
			}
		}
	})
}

func FuzzFactors(f *testing.F) {
	f.Add(committedFactors)
	f.Fuzz(func(t *testing.T, text []byte) {
		if table, err := parseFactors(text); err == nil && table.boundary == "" {
			t.Error("a table without a boundary")
		}
	})
}
