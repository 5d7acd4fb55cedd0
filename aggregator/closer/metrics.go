package closer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/sovereignty"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Why an attempt to close an hour failed: words of a closed list.
const (
	failRead  = "read"  // the database does not give what the hour is made from
	failRules = "rules" // the rules refuse the hour: its inventory, or a factor, is wrong
	failWrite = "write" // the database does not take the batch
	failRival = "rival" // another closer sealed the batch first
	failLog   = "log"   // what is sealed is not in the transparency log
)

var failReasons = []string{failRead, failRules, failWrite, failRival, failLog}

// failure is an error with its word.
type failure struct {
	reason string
	error
}

func (f failure) Unwrap() error { return f.error }

func failed(reason string, err error) error {
	if err == nil {
		return nil
	}
	return failure{reason, err}
}

// reasonOf is an error's word.
func reasonOf(err error) string {
	var f failure
	switch {
	case errors.Is(err, ErrSealed):
		return failRival
	case errors.As(err, &f):
		return f.reason
	}
	return failRead
}

// How the factor of a kind was found for an hour.
var factorStates = []string{"first", "fallback", "missing"}

// sites are gauges by site. They are shown by the closer that leads: another one's would be of yesterday.
type sites struct {
	closedUntil, dataUntil, open, waiting, batches *prometheus.GaugeVec
	entries, flagged, energy, ticks                *prometheus.GaugeVec
	factors, factorAge, unembodied                 *prometheus.GaugeVec
	violations, unjudged                           *prometheus.GaugeVec
	all                                            []*prometheus.GaugeVec
}

func newSites() *sites {
	s := &sites{}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "wattledger", Subsystem: "aggregator", Name: name, Help: help}, append([]string{"site"}, labels...))
		s.all = append(s.all, g)
		return g
	}
	s.closedUntil = gauge("closed_until_timestamp_seconds", "End of the last closed hour of the site, or the first hour of its inventory; seconds since 1970.")
	s.dataUntil = gauge("data_until_timestamp_seconds", "How far the furthest node of the site has declared its samples complete; seconds since 1970.")
	s.open = gauge("hours_open", "Hours of the site that are over, by its furthest node, and not closed.")
	s.waiting = gauge("hour_waits_for", "Nodes and sources without which the next hour does not close, once it is over; wattledger status names them.")
	s.batches = gauge("batches", "Batches of the site that are sealed.")
	s.entries = gauge("hour_entries", "Entries of the last hour that was closed.")
	s.flagged = gauge("hour_flagged_entries", "Entries of the last hour that was closed, by the flags they carry; an entry may carry several.", "flag")
	s.energy = gauge("hour_energy_joules", "Energy of the last hour that was closed, by class: measured, estimated, modelled; interpolated is a part of measured.", "class")
	s.ticks = gauge("hour_ticks", "Ticks of the last hour that was closed, over its devices: expected, read.", "what")
	s.factors = gauge("hour_factor", "1 for how the factor of a kind was found for the last hour that was closed: first in its chain, fallback, missing.", "kind", "state")
	s.factorAge = gauge("hour_factor_age_seconds", "How long before the last hour that was closed the validity of its factor ended, by kind; 0 where it held for the hour.", "kind")
	s.unembodied = gauge("hour_models_without_footprint", "Device models of the last hour that was closed for which no embodied emissions are known.")
	s.violations = gauge("hour_sovereignty_violations", "Allocations in the last hour that was closed of tenants that do not allow the country of the site.", "tenant")
	s.unjudged = gauge("hour_sovereignty_unknown", "Tenants in the last hour that was closed of whom it is not known whether they allow the site.")
	return s
}

// progress shows how far a site has come.
func (s *sites) progress(site string, p Progress) {
	if p.Next == 0 {
		return
	}
	open := max(0, (p.Newest.FloorHour()-p.Next)/unit.Hour)
	s.closedUntil.WithLabelValues(site).Set(seconds(p.Next))
	if p.Newest > 0 {
		s.dataUntil.WithLabelValues(site).Set(seconds(p.Newest))
	}
	s.open.WithLabelValues(site).Set(float64(open))
	waiting := 0
	if open > 0 {
		waiting = len(p.Waiting)
	}
	s.waiting.WithLabelValues(site).Set(float64(waiting))
	s.batches.WithLabelValues(site).Set(float64(p.Batch))
}

func seconds(t unit.Micros) float64 { return float64(t) / float64(unit.Second) }

// hour shows the quality of an hour that was closed.
func (s *sites) hour(h closing.Hour, res closing.Result) {
	site := h.Site.ID
	flags := map[string]int{}
	for _, f := range closing.Flags {
		flags[f] = 0
	}
	var measured, estimated, modelled, interpolated unit.Millijoules
	var expected, read int64
	for i := range res.Entries {
		e := &res.Entries[i]
		measured, estimated, modelled, interpolated = measured+e.Measured, estimated+e.Estimated, modelled+e.Modelled, interpolated+e.Interpolated
		for _, f := range e.Flags {
			flags[f]++
		}
	}
	for i := range res.DeviceHours {
		expected, read = expected+res.DeviceHours[i].TicksExpected, read+res.DeviceHours[i].TicksRead
	}
	s.entries.WithLabelValues(site).Set(float64(len(res.Entries)))
	for f, n := range flags {
		s.flagged.WithLabelValues(site, f).Set(float64(n))
	}
	for class, e := range map[string]unit.Millijoules{"measured": measured, "estimated": estimated, "modelled": modelled, "interpolated": interpolated} {
		s.energy.WithLabelValues(site, class).Set(float64(e) / 1e3)
	}
	s.ticks.WithLabelValues(site, "expected").Set(float64(expected))
	s.ticks.WithLabelValues(site, "read").Set(float64(read))
	for kind, c := range map[factor.Kind]factor.Chosen{factor.GridIntensity: h.Factors.Grid, factor.ResidualMix: h.Factors.Residual} {
		state := factorStates[0]
		switch {
		case !c.Known():
			state = factorStates[2]
		case c.Fallback != "":
			state = factorStates[1]
		}
		for _, other := range factorStates {
			s.factors.WithLabelValues(site, string(kind), other).Set(0)
		}
		s.factors.WithLabelValues(site, string(kind), state).Set(1)
		age := 0.0
		if c.To > 0 {
			age = max(0, seconds(h.End()-c.To))
		}
		s.factorAge.WithLabelValues(site, string(kind)).Set(age)
	}
	s.unembodied.WithLabelValues(site).Set(float64(withoutFootprint(h)))
}

// withoutFootprint counts the models of GPUs that have no embodied emissions.
func withoutFootprint(h closing.Hour) int {
	var without []string
	for _, n := range h.Nodes {
		for i := range n.Devices {
			d := &n.Devices[i]
			if d.Kind == record.KindGPU && !h.Factors.Embodied[d.Model].Known() && !slices.Contains(without, d.Model) {
				without = append(without, d.Model)
			}
		}
	}
	return len(without)
}

// judge shows where an hour's work ran against its tenants' will.
func (s *sites) judge(site record.Site, tenants []record.Tenant, entries []record.Entry) {
	j := sovereignty.New([]record.Site{site}, tenants)
	for i := range entries {
		j.Add("", entries[i])
	}
	found := j.Findings()
	unknown, violations := 0, map[string]int{}
	for _, r := range found.Rows {
		if r.Allocated.Verdict == sovereignty.Unknown {
			unknown++
		}
	}
	for _, v := range found.Violations {
		violations[v.Tenant]++
	}
	s.violations.DeletePartialMatch(prometheus.Labels{"site": site.ID})
	for tenant, n := range violations {
		s.violations.WithLabelValues(site.ID, tenant).Set(float64(n))
	}
	s.unjudged.WithLabelValues(site.ID).Set(float64(unknown))
}

// forget takes all sites off: another closer shows them from now on.
func (s *sites) forget() {
	for _, g := range s.all {
		g.Reset()
	}
}

// count counts an attempt that failed.
func (c *Closer) count(site string, err error) {
	c.failed.WithLabelValues(site, reasonOf(err)).Inc()
}

// met makes the counters of a site before they count: a rate knows no increase from nothing to one.
func (c *Closer) met(site string) {
	if slices.Contains(c.known, site) {
		return
	}
	c.known = append(c.known, site)
	for _, how := range []string{"complete", "lateness"} {
		c.closed.WithLabelValues(site, how)
	}
	for _, reason := range failReasons {
		c.failed.WithLabelValues(site, reason)
	}
}

func registerAll(reg prometheus.Registerer, list ...prometheus.Collector) error {
	for _, m := range list {
		if err := reg.Register(m); err != nil {
			return fmt.Errorf("register metrics of the closer: %w", err)
		}
	}
	return nil
}
