package report

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const hour0 = 500_000 * unit.Hour

func fleetOf(t testing.TB, seals []record.Seal, entries ...Booked) FleetDocument {
	t.Helper()
	p := Period{hour0, hour0 + 24*unit.Hour}
	f := NewFleet([]record.Site{{ID: "s"}}, Options{Period: p, Log: NewLog(p, seals), IdleLimit: DefaultIdleLimit})
	for _, e := range entries {
		if err := f.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	return f.Document()
}

// A site takes 30 GWh, of which its IT 25 GWh, and 20,000 m³ of water: PUE 1.2 and WUE 0.8 l/kWh. At 50 g/kWh CUE is 0.06.
func TestIndicators(t *testing.T) {
	e := record.Entry{
		Site: "s", Hour: Stamp(hour0), Kind: record.Closing, Account: record.AccountUnallocated, Rules: "2026-12",
		GPU: 25_000_000 * unit.MillijoulesPerKWh, Facility: 5_000_000 * unit.MillijoulesPerKWh, FacilitySource: "meter feed",
		Water: 20_000_000_000_000, WaterSource: "meter water", Carbon: 30_000_000 * 50_000_000, Factor: "F lifecycle",
	}
	get := func(entries ...record.Entry) Indicator {
		t.Helper()
		var list []Booked
		for _, e := range entries {
			list = append(list, Booked{Entry: e})
		}
		return fleetOf(t, nil, list...).Indicators[0]
	}
	i := get(e)
	if i.PUE != "1.200" || i.WUE != "0.800" || i.CUE != "0.060000" || i.CUEBoundary != "lifecycle" || i.PUEBasis != "metered" || i.WaterBasis != "metered" || !i.Interim {
		t.Errorf("%+v", i)
	}
	if i.ERF != "" || i.HeatBasis != "unknown" {
		t.Errorf("there is no word of heat, and ERF is %s (%s)", i.ERF, i.HeatBasis)
	}
	modelled := e
	modelled.Flags = []string{"pue_modelled", "it_shared_unmetered"}
	if i := get(e, modelled); i.PUEBasis != "partly modelled" || !slices.Contains(i.Lacks, "network, storage and switches") {
		t.Errorf("%+v", i)
	}
	direct := e
	direct.Factor = "F direct"
	if i := get(e, direct); i.CUE != "" || i.Carbon != 0 || i.PUE != "1.200" {
		t.Errorf("of two boundaries there is no CUE: %+v", i)
	}
	none := record.Entry{Site: "s", Hour: Stamp(hour0), Account: record.AccountUnallocated}
	if i := get(none); i.PUE != "" || i.WUE != "" || i.CUE != "" {
		t.Errorf("of nothing there is %+v", i)
	}
}

// Held idle is the ledger's account by the rules of 2026-12, and found from activity before.
func TestHeldIdleByRules(t *testing.T) {
	f := func(account record.Account, rules string, kind record.EntryKind, time, want unit.DeviceTime, limits string) {
		t.Helper()
		u := NewUsage(record.Tenant{ID: "t"}, Options{Period: Period{hour0, hour0 + unit.Hour}, Log: NewLog(Period{hour0, hour0 + unit.Hour}, nil), IdleLimit: 20})
		e := record.Entry{
			Hour: Stamp(hour0), Tenant: "t", Account: account, Rules: rules, Kind: kind, DeviceTime: time, TicksRead: 9, IdleLimit: 10, DeviceKind: "gpu",
		}
		if err := u.Add(Booked{Entry: e}); err != nil {
			t.Fatal(err)
		}
		if d := u.Document(); d.Totals.HeldIdle != want || limitsOf(d) != limits {
			t.Errorf("%s by rules %s: %d held idle under %s, want %d under %s", account, rules, d.Totals.HeldIdle, limitsOf(d), want, limits)
		}
	}
	const whole = unit.DeviceTimePerHour
	f(record.AccountTenant, "2026-11", record.Closing, whole, whole, "0.020") // no activity at all, by the report's own limit
	f(record.AccountTenant, "2026-12", record.Closing, whole, 0, "0.010")     // the ledger says that it was at work
	f(record.AccountHeldIdle, "2026-12", record.Closing, whole, whole, "0.010")
	f(record.AccountHeldIdle, "2026-12", record.Adjustment, -whole, -whole, "0.010")
}

func limitsOf(d UsageDocument) string { return limits(d.Limits, " ") }

// A seal that says something else than its entries is named, whatever differs, and an adjustment is nobody's lateness.
func TestSealCheck(t *testing.T) {
	e := Booked{Entry: record.Entry{
		Site: "s", Hour: Stamp(hour0), Kind: record.Adjustment, Account: record.AccountPlatform, Measured: 1, GPU: 1, CarbonMarket: 2, CarbonEmbodied: 3, Water: 4,
		Reason: "late_data: GPU-1",
	}}
	seal := record.Seal{
		Site: "s", Hour: hour0, Root: strings.Repeat("ab", 32), Closing: "adjustment", Entries: 1, Adjustments: 1, Measured: 1,
		CarbonMarket: 2, CarbonEmbodied: 3, Water: 4,
	}
	d := fleetOf(t, []record.Seal{seal}, e)
	if !d.Check.Agrees || len(d.Provenance.Sites[0].Late) != 0 || d.Platform.Entries != 1 {
		t.Errorf("%+v, late %v", d.Check, d.Provenance.Sites[0].Late)
	}
	if len(d.Adjustments) != 1 || d.Adjustments[0].Reason != "late_data" {
		t.Errorf("adjustments by reason: %+v", d.Adjustments)
	}
	for name, change := range map[string]func(*record.Seal){
		"market":      func(s *record.Seal) { s.CarbonMarket++ },
		"embodied":    func(s *record.Seal) { s.CarbonEmbodied++ },
		"water":       func(s *record.Seal) { s.Water++ },
		"adjustments": func(s *record.Seal) { s.Adjustments++ },
	} {
		other := seal
		change(&other)
		if d := fleetOf(t, []record.Seal{other}, e); d.Check.Agrees || len(d.Check.Differ) != 1 {
			t.Errorf("a seal with other %s agrees", name)
		}
	}
}

// The worst of what contradicts itself comes first, and a long list is told to be cut.
func TestQualityTable(t *testing.T) {
	d := FleetDocument{}
	for i := range 40 {
		d.Quality = append(d.Quality, QualityRow{Site: "s", Kind: "node", Node: "n", Excess: unit.Millijoules(i) * unit.MillijoulesPerKWh, Hours: 1})
	}
	d.Quality = append(d.Quality, QualityRow{Site: "s", Kind: "gpu", Device: "GPU-1", Doubted: 2, Counter: 0, Integral: 50 * unit.MillijoulesPerKWh})
	table := d.qualityTable()
	if len(table.Rows) != maxShown || table.Rows[0][1] != "gpu" || table.Rows[1][7] != "39.000" || !strings.Contains(table.Text(), "worst 25 of 41") {
		t.Errorf("%s", table.Text())
	}
	if csv, err := d.QualityCSV(); err != nil || strings.Count(string(csv), "\n") != 42 {
		t.Errorf("%s, %v", csv, err)
	}
}

// Factors that differ by the hour are counted under one name, not listed.
func TestFactorsByName(t *testing.T) {
	list := []Factor{
		{Method: MarketBased, Ref: "PPA direct 5ppm 0µg/kWh + R direct 40µg/kWh"},
		{Method: LocationBased, Ref: "RTE 2026 FR direct hourly 40µg/kWh"},
		{Method: LocationBased, Ref: "RTE 2026 FR direct hourly 50µg/kWh"},
		{Method: LocationBased, Ref: "Ember 2024 FR lifecycle yearly 44µg/kWh (fallback: yearly)", Licence: "CC BY 4.0"},
		{Method: Embodied, Ref: "maker B200 cradle-to-gate 7µg over 5ms"},
	}
	f := func(method, want string) {
		t.Helper()
		if got := strings.Join(factorsOf(list, method), "; "); got != want {
			t.Errorf("%s: %s, want %s", method, got, want)
		}
	}
	f(LocationBased, "Ember 2024 FR lifecycle yearly 44µg/kWh (fallback: yearly) (CC BY 4.0); RTE 2026 FR direct hourly (2 values)")
	f(MarketBased, "PPA direct 5ppm 0µg/kWh + R direct 40µg/kWh")
	f(Embodied, "maker B200 cradle-to-gate 7µg over 5ms")
}

// A table that is too wide cuts words, the widest first, and no figure.
func TestTextFits(t *testing.T) {
	long := strings.Repeat("µ", 90)
	table := Table{
		Columns: columns("project", "workload", ">kWh"), Rows: [][]string{{long, long, "123456.789"}, {"p", "w", "1.000"}}, Totals: []string{"total", "", "123457.789"},
	}
	text := table.Text()
	for line := range strings.SplitSeq(text, "\n") {
		if n := len([]rune(line)); n > tableWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if !strings.Contains(text, "µ…") || !strings.Contains(text, "123456.789") {
		t.Error(text)
	}
	wide := Table{Columns: columns(">" + strings.Repeat("n", 200)), Rows: [][]string{{"1"}}}
	if !strings.Contains(wide.Text(), strings.Repeat("n", 200)) {
		t.Error("a figure's heading was cut")
	}
}

// Wrapping changes nothing but spaces into newlines.
func TestWrapped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-zµ]{0,9}( [a-zµ]{1,30}){0,20}`).Draw(t, "text")
		got := wrapped(text, 20)
		if strings.ReplaceAll(got, "\n", " ") != text {
			t.Fatalf("%q became %q", text, got)
		}
		for line := range strings.SplitSeq(got, "\n") {
			if len([]rune(line)) > 20 && strings.Contains(line, " ") {
				t.Fatalf("line %q is too long", line)
			}
		}
	})
}
