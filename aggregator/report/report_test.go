package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

func at(t *testing.T, s string) unit.Micros {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return unit.MicrosOf(v)
}

func TestPeriod(t *testing.T) {
	f := func(from, to, label string) {
		t.Helper()
		p := Period{at(t, from), at(t, to)}
		if err := p.Validate(); (err == nil) != (label != "") {
			t.Errorf("%s: %v", p, err)
		} else if err == nil && p.Label() != label {
			t.Errorf("%s is called %s, not %s", p, p.Label(), label)
		}
	}
	f("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-02")
	f("2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z", "2026-02-01")
	f("2026-02-01T00:00:00Z", "2026-02-15T00:00:00Z", "2026-02-01_2026-02-15")
	f("2026-02-01T22:00:00Z", "2026-02-02T22:00:00Z", "2026-02-01T22Z_2026-02-02T22Z")
	f("2026-02-01T00:30:00Z", "2026-02-02T00:00:00Z", "")
	f("2026-02-02T00:00:00Z", "2026-02-02T00:00:00Z", "")
}

func TestAsOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := AsOf(rapid.MapOfN(rapid.StringMatching(`[a-z][a-z0-9.-]{0,9}`), rapid.Uint64Range(0, 1e6), 1, 5).Draw(t, "as of"))
		b, err := ParseAsOf(a.String())
		if err != nil || b.String() != a.String() || b.Seals() != a.Seals() {
			t.Fatalf("%s, then %s, %v", a, b, err)
		}
	})
	for _, s := range []string{"", "48", "a=", "=1", "a=-1", "a=1,a=2", "a=1,"} {
		if _, err := ParseAsOf(s); err == nil || !strings.Contains(err.Error(), "SITE=BATCHES") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestLogNamesWhatIsNotClosed(t *testing.T) {
	h := func(n int) unit.Micros { return at(t, "2026-02-01T00:00:00Z") + unit.Micros(n)*unit.Hour }
	seal := func(site string, batch uint64, hour int) record.Seal {
		return record.Seal{Site: site, Batch: batch, Hour: h(hour), Root: strings.Repeat("ab", 32), Closing: "complete"}
	}
	late := seal("b", 1, 3)
	late.Closing, late.Reason = "lateness", "no word from n1"
	l := NewLog(Period{h(2), h(6)}, []record.Seal{late, seal("b", 0, 2), seal("a", 0, 1), seal("a", 1, 2), seal("a", 2, 5), seal("c", 0, 4), seal("c", 1, 5)})
	want := []string{
		"a, 2026-02-01T03:00:00Z to 2026-02-01T05:00:00Z",
		"b, 2026-02-01T04:00:00Z to 2026-02-01T06:00:00Z",
	} // c began at 04:00: before that there was nothing to close
	if got := l.Open(); strings.Join(got, ";") != strings.Join(want, ";") {
		t.Errorf("not closed: %q", got)
	}
	if l.AsOf().String() != "a=3,b=2,c=2" || len(l.Seals()) != 6 || len(l.sites[1].Late) != 1 || l.sites[0].Seals != 2 {
		t.Errorf("%s, %d seals, %+v", l.AsOf(), len(l.Seals()), l.sites)
	}
}

// Activity of a MIG instance counts by its share of the device, and a device that does not report activity is never idle.
func TestActivity(t *testing.T) {
	f := func(e record.Entry, active unit.Micros, read, idle unit.DeviceTime) {
		t.Helper()
		e.Account, e.Kind, e.To = record.AccountTenant, record.Closing, unit.Hour
		var s Sums
		s.add(e, DefaultIdleLimit)
		if s.Active != active || s.ReadTime != read || s.HeldIdle != idle {
			t.Errorf("%+v: active %d, read %d, idle %d", e, s.Active, s.ReadTime, s.HeldIdle)
		}
	}
	const whole = unit.DeviceTimePerHour
	f(record.Entry{DeviceKind: "gpu", DeviceTime: whole, SMActive: whole / 2, TicksRead: 9}, whole/2, whole, 0)
	f(record.Entry{DeviceKind: "gpu", DeviceTime: whole, SMActive: whole / 100, TicksRead: 9}, whole/100, whole, 0)
	f(record.Entry{DeviceKind: "gpu", DeviceTime: whole, SMActive: whole/100 - 1, TicksRead: 9}, whole/100-1, whole, whole)
	f(record.Entry{DeviceKind: "mig", DeviceTime: whole / 4, SMActive: whole / 2, TicksRead: 9}, whole/8, whole/4, 0)
	f(record.Entry{DeviceKind: "gpu", DeviceTime: whole}, 0, 0, 0)                                                             // nothing was read
	f(record.Entry{DeviceKind: "gpu", DeviceTime: whole, TicksRead: 9, Flags: []string{"no_activity"}}, 0, 0, 0)               // cannot be read
	f(record.Entry{DeviceKind: "mig", DeviceTime: whole / 4, SMActive: 5, TicksRead: 9, From: unit.Hour}, 0, whole/4, whole/4) // no time at all
}

// Rows, hours and totals of a statement are the same entries seen thrice, in whatever order they come.
func TestUsageAddsUp(t *testing.T) {
	from := at(t, "2026-02-01T00:00:00Z")
	period := Period{from, from + 6*unit.Hour}
	opts := Options{Period: period, Log: NewLog(period, nil), IdleLimit: DefaultIdleLimit}
	rapid.Check(t, func(t *rapid.T) {
		u, back := NewUsage(record.Tenant{ID: "a"}, opts), NewUsage(record.Tenant{ID: "a"}, opts)
		var all []Booked
		for range rapid.IntRange(0, 30).Draw(t, "entries") {
			v := rapid.Int64Range(-1e9, 1e12)
			e := record.Entry{
				Account: record.AccountTenant, Tenant: "a", Hour: Stamp(from + unit.Micros(rapid.IntRange(0, 5).Draw(t, "hour"))*unit.Hour),
				Site: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "site"), Project: rapid.SampledFrom([]string{"p", "=q\"\n"}).Draw(t, "project"),
				GPU: unit.Millijoules(v.Draw(t, "gpu")), Facility: unit.Millijoules(v.Draw(t, "facility")),
				DeviceTime: unit.DeviceTime(rapid.Int64Range(0, 1e10).Draw(t, "time")), Carbon: unit.MicrogramsCO2e(v.Draw(t, "carbon")),
				CarbonMarket: unit.MicrogramsCO2e(v.Draw(t, "market")), CarbonEmbodied: unit.MicrogramsCO2e(v.Draw(t, "embodied")),
				Water: unit.Microlitres(v.Draw(t, "water")), Uncertainty: unit.Millijoules(v.Draw(t, "uncertainty")),
				Factor:       rapid.SampledFrom([]string{"F lifecycle", "F direct"}).Draw(t, "factor"),
				FactorMarket: rapid.SampledFrom([]string{"PPA direct", "R direct"}).Draw(t, "market factor"), FactorEmbodied: "M cradle-to-gate",
			}
			if rapid.Bool().Draw(t, "idle") {
				e.Account, e.Rules = record.AccountHeldIdle, "2026-12"
			}
			all = append(all, Booked{Entry: e})
		}
		for i := range all {
			if u.Add(all[i]) != nil || back.Add(all[len(all)-1-i]) != nil {
				t.Fatal("refused")
			}
		}
		d := u.Document()
		type figures struct {
			energy, uncertainty      unit.Millijoules
			time                     unit.DeviceTime
			carbon, market, embodied unit.MicrogramsCO2e
			water                    unit.Microlitres
		}
		var rows, accounts figures
		add := func(f *figures, s Sums) {
			*f = figures{
				f.energy + s.Energy, f.uncertainty + s.Uncertainty, f.time + s.DeviceTime, f.carbon + s.Carbon, f.market + s.CarbonMarket,
				f.embodied + s.CarbonEmbodied, f.water + s.Water,
			}
		}
		for _, r := range d.Rows {
			add(&rows, r.Sums)
		}
		mixed := map[string]bool{}
		var byMethod [3]unit.MicrogramsCO2e
		for _, c := range d.Carbon {
			if c.Method == LocationBased {
				mixed[c.Boundary] = true
			}
			byMethod[slices.Index([]string{LocationBased, MarketBased, Embodied}, c.Method)] += c.Carbon
		}
		if byMethod != [3]unit.MicrogramsCO2e{rows.carbon, rows.market, rows.embodied} {
			t.Fatalf("by method %v, rows %+v", byMethod, rows)
		}
		if len(mixed) > 1 { // of two boundaries there is no sum anywhere
			if d.Totals.Carbon != 0 || d.Totals.CarbonKg != "" || d.SCI.Score != "" || d.SCI.Because == "" {
				t.Fatal("masses of two boundaries were summed")
			}
			rows.carbon = 0
		} else if len(all) > 0 && rows.time > 0 && d.SCI.Operational+d.SCI.Embodied != rows.carbon+rows.embodied {
			t.Fatalf("SCI %+v of %+v", d.SCI, rows)
		}
		for _, a := range d.Accounts {
			add(&accounts, a.Sums)
		}
		var totals, hours figures
		add(&totals, d.Totals)
		for _, h := range d.Hours {
			hours.energy += h.Energy
			hours.time += h.DeviceTime
			hours.carbon += h.Carbon
			hours.market += h.CarbonMarket
		}
		if rows != totals || rows != accounts || hours != (figures{energy: rows.energy, time: rows.time, carbon: rows.carbon, market: rows.market}) {
			t.Fatalf("rows %+v, accounts %+v, hours %+v, totals %+v", rows, accounts, hours, totals)
		}
		same(t, d, back.Document())
	})
}

// same compares documents as they are written, and reads what was written.
func same(t *rapid.T, a, b UsageDocument) {
	one, errOne := JSON(a)
	two, errTwo := JSON(b)
	if errOne != nil || errTwo != nil || !bytes.Equal(one, two) || !json.Valid(one) {
		t.Fatalf("order matters: %s\n%s", one, two)
	}
	text, err := a.CSV()
	if err != nil {
		t.Fatal(err)
	}
	if read, err := csv.NewReader(bytes.NewReader(text)).ReadAll(); err != nil || len(read) != len(a.Rows)+1 {
		t.Fatalf("%d rows of %d, %v", len(read)-1, len(a.Rows), err)
	}
	for _, table := range a.Tables() {
		for _, row := range table.Rows {
			if len(row) != len(table.Columns) {
				t.Fatalf("%s: %d cells below %d headings", table.Title, len(row), len(table.Columns))
			}
		}
	}
}
