package clickhouse_test

import (
	"math"
	"testing"
	"time"

	"github.com/wattledger/wattledger/dashboards/query"
)

// Hours that are not closed are frames of their own, and never among the closed ones.
func (l *lake) provisional(t *testing.T) {
	l = on(l, t)
	q := query.Query{Kind: query.KindEnergy, Metric: "gpu", By: []query.Dimension{query.Tenant}}
	got := map[string]float64{}
	for _, f := range l.ask(all, q, hours()) {
		c := f.Columns[1]
		if c.Provisional != (c.Labels["provisional"] == "true") {
			t.Errorf("%v is provisional: %v", c.Labels, c.Provisional)
		}
		if c.Provisional {
			for i, at := range f.Columns[0].Times {
				if v := c.Numbers[i]; !math.IsNaN(v) {
					if !at.Equal(base.Add(3 * time.Hour)) {
						t.Errorf("a closed hour, %v, is provisional", at)
					}
					got[c.Labels["tenant"]] = v
				}
			}
		}
	}
	// Ten minutes: half of GPU-b and four sevenths of GPU-c and GPU-e; and so on.
	want := map[string]float64{"alpha": (200 + 300*4.0/7 + 200) / 6, "beta": (700 + 200 + 300*3.0/7 + 600) / 6, "": 100.0 / 6}
	for tenant, w := range want {
		if math.Abs(got[tenant]-w) > 0.5 {
			t.Errorf("%q has %v Wh provisionally, want %v", tenant, got[tenant], w)
		}
	}
	q.ClosedOnly = true
	for _, f := range l.ask(all, q, hours()) {
		if f.Columns[1].Provisional {
			t.Error("closed hours alone were asked for")
		}
	}
}

// The running hour is among the rollups of hours, as far as they have come: the rest follows from the readings at the edges. Who asks for one who
// held something is told the same, also of a part of a GPU and of an instance.
func (l *lake) provisionalOfHours(t *testing.T) {
	l = on(l, t)
	l.rollups(1100) // until 23:03:20
	l.provisional(t)
	last := func(q query.Query) (out float64) {
		for _, f := range l.ask(all, q, hours()) {
			if c := f.Columns[1]; c.Provisional {
				for _, v := range c.Numbers {
					if !math.IsNaN(v) {
						out += v
					}
				}
			}
		}
		return out
	}
	of := map[query.Dimension]map[string]float64{}
	for _, d := range []query.Dimension{query.Tenant, query.Project, query.Workload, query.Allocation} {
		of[d] = map[string]float64{}
		for _, f := range l.ask(all, query.Query{Kind: query.KindEnergy, Metric: "gpu", By: []query.Dimension{d}}, hours()) {
			if c := f.Columns[1]; c.Provisional && c.Labels[string(d)] != "" {
				of[d][c.Labels[string(d)]] = last(query.Query{Kind: query.KindEnergy, Metric: "gpu", Filters: []query.Filter{{Dimension: d, Values: []string{c.Labels[string(d)]}}}})
				sum := 0.0
				for _, v := range c.Numbers {
					if !math.IsNaN(v) {
						sum += v
					}
				}
				if got := of[d][c.Labels[string(d)]]; math.Abs(got-sum) > 1e-9*sum || sum == 0 {
					t.Errorf("%s %s took %v Wh provisionally, and asked for alone %v", d, c.Labels[string(d)], sum, got)
				}
			}
		}
		if len(of[d]) == 0 {
			t.Errorf("nothing is provisional by %s", d)
		}
	}
}
