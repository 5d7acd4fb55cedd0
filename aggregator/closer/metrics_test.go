package closer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// shown reads a metric by its name, as a rule does; the labels are written as Prometheus writes them.
func shown(t *testing.T, reg *prometheus.Registry, name, labels string) (value float64, there bool) {
	t.Helper()
	found, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.GetName() != "wattledger_aggregator_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			var got []string
			for _, l := range m.GetLabel() {
				got = append(got, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			if strings.Join(got, ",") == labels {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
			}
		}
	}
	return 0, false
}

func watched(t *testing.T, l *ledgerOf) (*Closer, *prometheus.Registry, func(name, labels string, want float64)) {
	t.Helper()
	reg := prometheus.NewRegistry()
	c, err := New(Config{Lateness: 6 * time.Hour, Poll: time.Millisecond, AdjustHours: 2}, ledger.SecretFrom("test"), l, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	return c, reg, func(name, labels string, want float64) {
		t.Helper()
		if got, there := shown(t, reg, name, labels); !there || got != want {
			t.Errorf("%s{%s} is %v (there: %v), want %v", name, labels, got, there, want)
		}
	}
}

// A site that does not close shows how far it is, how far its data is, and how many it waits for.
func TestASiteShowsHowFarItIs(t *testing.T) {
	l := &ledgerOf{
		last: hour0 + 10*unit.Hour, waiting: map[string][]string{"a": {"node-7", "node-8"}, "b": {"node-9"}},
		newest: map[string]unit.Micros{"a": hour0 + 3*unit.Hour + 1, "b": hour0 + unit.Hour/2},
		sites:  []record.Site{{ID: "a", PUEThousandths: 1000}, {ID: "b", PUEThousandths: 1000}},
	}
	c, _, f := watched(t, l)
	if _, err := c.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	f("closed_until_timestamp_seconds", `site="a"`, float64(hour0/unit.Second))
	f("data_until_timestamp_seconds", `site="a"`, float64((hour0+3*unit.Hour+1))/1e6)
	f("hours_open", `site="a"`, 3)
	f("hour_waits_for", `site="a"`, 2)
	f("batches", `site="a"`, 0)
	f("hours_closed_total", `closing="lateness",site="a"`, 0) // there before the first: a rate needs it
	f("closing_errors_total", `reason="rules",site="a"`, 0)
	// The current hour is not over: that its nodes are waited for is no news.
	f("hours_open", `site="b"`, 0)
	f("hour_waits_for", `site="b"`, 0)

	l.newest["a"] = hour0 + 7*unit.Hour
	if _, err := c.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.waiting["a"] = nil
	l.last = 0 // look only
	f("hours_closed_total", `closing="lateness",site="a"`, 1)
	f("hours_closed_total", `closing="complete",site="a"`, 0)
}

// The last closed hour says what its figures rest on.
func TestAClosedHourShowsItsQuality(t *testing.T) {
	s := newSites()
	reg := prometheus.NewRegistry()
	for _, g := range s.all {
		reg.MustRegister(g)
	}
	f := func(name, labels string, want float64) {
		t.Helper()
		if got, there := shown(t, reg, name, labels); !there || got != want {
			t.Errorf("%s{%s} is %v (there: %v), want %v", name, labels, got, there, want)
		}
	}
	h := closing.Hour{Site: record.Site{ID: "s"}, Start: hour0, Nodes: []closing.Node{{Devices: []closing.Device{
		{Device: record.Device{UUID: "1", Kind: record.KindGPU, Model: "B200"}},
		{Device: record.Device{UUID: "2", Kind: record.KindGPU, Model: "B200"}},
		{Device: record.Device{UUID: "3", Kind: record.KindCPU, Model: "Grace"}},
	}}}}
	yearly := factor.Edition{Kind: factor.GridIntensity, From: hour0 - 10_000*unit.Hour, To: hour0 - 100*unit.Hour}
	h.Factors = carbon.Factors{Grid: factor.Chosen{Edition: yearly, Fallback: "yearly of 2025"}}
	s.hour(h, closing.Result{
		Entries: []record.Entry{
			{Measured: 5000, Estimated: 2000, Interpolated: 1000, Flags: []string{"estimated", "clock_step"}},
			{Modelled: 3000, Flags: []string{"estimated"}},
		},
		DeviceHours: []record.DeviceHour{{TicksExpected: 3600, TicksRead: 3600}, {TicksExpected: 3600, TicksRead: 1800}},
	})
	f("hour_entries", `site="s"`, 2)
	f("hour_flagged_entries", `flag="estimated",site="s"`, 2)
	f("hour_flagged_entries", `flag="clock_step",site="s"`, 1)
	f("hour_flagged_entries", `flag="location_unknown",site="s"`, 0)
	f("hour_energy_joules", `class="measured",site="s"`, 5)
	f("hour_energy_joules", `class="estimated",site="s"`, 2)
	f("hour_energy_joules", `class="modelled",site="s"`, 3)
	f("hour_energy_joules", `class="interpolated",site="s"`, 1)
	f("hour_ticks", `site="s",what="expected"`, 7200)
	f("hour_ticks", `site="s",what="read"`, 5400)
	f("hour_factor", `kind="grid",site="s",state="fallback"`, 1)
	f("hour_factor", `kind="grid",site="s",state="first"`, 0)
	f("hour_factor", `kind="residual",site="s",state="missing"`, 1)
	f("hour_factor_age_seconds", `kind="grid",site="s"`, 101*3600)
	f("hour_models_without_footprint", `site="s"`, 1)

	h.Factors.Grid = factor.Chosen{Edition: factor.Edition{Kind: factor.GridIntensity, From: hour0, To: hour0 + unit.Hour}}
	h.Factors.Embodied = map[string]factor.Chosen{"B200": {Edition: factor.Edition{Kind: factor.Embodied}}}
	s.hour(h, closing.Result{})
	f("hour_factor", `kind="grid",site="s",state="fallback"`, 0)
	f("hour_factor_age_seconds", `kind="grid",site="s"`, 0)
	f("hour_flagged_entries", `flag="estimated",site="s"`, 0)
	f("hour_models_without_footprint", `site="s"`, 0)
	s.forget()
	if _, there := shown(t, reg, "hour_entries", `site="s"`); there {
		t.Error("a closer that does not lead shows a site")
	}
}

// What ran where its tenant does not allow it is counted until an hour without it closes.
func TestSovereigntyOfTheLastHour(t *testing.T) {
	s := newSites()
	reg := prometheus.NewRegistry()
	for _, g := range s.all {
		reg.MustRegister(g)
	}
	site := record.Site{ID: "s", Country: "SE"}
	tenants := []record.Tenant{{ID: "bank", AllowedCountries: []string{"FR"}}, {ID: "lab"}}
	entry := func(tenant, allocation string) record.Entry {
		return record.Entry{Site: "s", Tenant: tenant, Allocation: allocation, Account: record.AccountTenant, DeviceTime: 1}
	}
	s.judge(site, tenants, []record.Entry{entry("bank", "1"), entry("bank", "1"), entry("bank", "2"), entry("lab", "3"), entry("stranger", "4")})
	if n, _ := shown(t, reg, "hour_sovereignty_violations", `site="s",tenant="bank"`); n != 2 {
		t.Errorf("%v violations of the bank, want its two allocations", n)
	}
	if n, there := shown(t, reg, "hour_sovereignty_violations", `site="s",tenant="lab"`); there {
		t.Errorf("a tenant that allows all has %v violations", n)
	}
	if n, _ := shown(t, reg, "hour_sovereignty_unknown", `site="s"`); n != 1 {
		t.Errorf("%v tenants unknown, want the stranger", n)
	}
	s.judge(site, tenants, []record.Entry{entry("lab", "3")})
	if n, there := shown(t, reg, "hour_sovereignty_violations", `site="s",tenant="bank"`); there {
		t.Errorf("%v violations are shown of an hour without any", n)
	}
}

// Each reason why an hour does not close has its word.
func TestFailuresByReason(t *testing.T) {
	f := func(want string, prepare func(l *ledgerOf, c *Closer)) {
		t.Helper()
		l := &ledgerOf{last: hour0, sites: []record.Site{{ID: "a", PUEThousandths: 1000}}}
		c, _, count := watched(t, l)
		prepare(l, c)
		if _, err := c.Once(t.Context()); err == nil {
			t.Fatal("closed")
		}
		for _, r := range []string{failRead, failRules, failWrite, failRival} {
			n := 0.0
			if r == want {
				n = 1
			}
			count("closing_errors_total", `reason="`+r+`",site="a"`, n)
		}
	}
	f(failRead, func(l *ledgerOf, _ *Closer) { l.broken = map[string]error{"a": errors.New("no engine")} })
	f(failRules, func(l *ledgerOf, _ *Closer) { l.sites[0].PUEThousandths = 900 })
	f(failWrite, func(l *ledgerOf, _ *Closer) { l.rival = errors.New("disk full") })
	f(failRival, func(l *ledgerOf, _ *Closer) { l.rival = fmt.Errorf("batch 0: %w", ErrSealed) })
}

// Whoever stops closing shows no site any more: the next closer does, and two would contradict one another.
func TestACloserThatStopsShowsNothing(t *testing.T) {
	l := &ledgerOf{last: hour0 + unit.Hour, sites: []record.Site{{ID: "a", Country: "SE", PUEThousandths: 1000}}}
	c, reg, _ := watched(t, l)
	asked := 0
	c.Tenants = func(context.Context) ([]record.Tenant, error) { asked++; return nil, nil }
	ctx, stop := context.WithCancel(t.Context())
	seen := false
	c.OnClose = func(record.Seal) {
		_, seen = shown(t, reg, "hours_open", `site="a"`)
		if len(l.seals) == 2 {
			stop()
		}
	}
	if err := c.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if _, there := shown(t, reg, "hours_open", `site="a"`); there || !seen || asked == 0 {
		t.Errorf("shown while closing %v, afterwards %v; tenants asked for %d times", seen, there, asked)
	}
	if n := testutil.CollectAndCount(c.closed); n == 0 {
		t.Error("counters are gone, too")
	}
}
