//go:build long

package clickhouse_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/dashboards/clickhouse"
	"github.com/wattledger/wattledger/dashboards/datasource/pkg/cache"
	"github.com/wattledger/wattledger/dashboards/query"
)

// complete says that all but the last minutes are stored, which the seed has no rollups to tell by.
type complete struct{ *clickhouse.Store }

func (c complete) State(ctx context.Context) (query.State, error) {
	st, err := c.Store.State(ctx)
	st.Levels = map[string]query.LevelState{"10s": {Complete: until.Add(-5 * time.Minute)}}
	return st, err
}

// What the plugin's cache puts together of chunks is what the engine answers to the whole, for ranges that move.
func TestCachedAnswersEqualTheEnginesOwn(t *testing.T) {
	l := seed(t)
	registry := prometheus.NewRegistry()
	cached := cache.New(complete{l.store}, 64<<20, cache.NewMetrics(registry))
	for _, c := range []struct {
		scope query.Scope
		kind  query.Kind
		name  string
		by    []query.Dimension
	}{
		{all, query.KindFleet, "power", []query.Dimension{query.Site}},
		{all, query.KindFleet, "sm_active", nil},
		{all, query.KindFleet, "gpu_temp", nil},
		{all, query.KindDevice, "power", []query.Dimension{query.DeviceID}},
		{query.Scope{Tenant: "alpha"}, query.KindDevice, "power", []query.Dimension{query.DeviceID}},
	} {
		q := query.Query{Kind: c.kind, Metric: c.name, Form: query.FormSeries, By: c.by}
		for _, moved := range []time.Duration{0, 10 * time.Second} { // by the cache's grain, which narrows other ranges
			span := query.Span{From: base.Add(7*time.Minute + moved), To: until.Add(moved - 20*time.Minute), MaxPoints: 2000}
			want, err := l.store.Query(t.Context(), c.scope, q, span)
			if err != nil {
				t.Fatal(err)
			}
			got, err := cached.Query(t.Context(), c.scope, q, span)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(want) {
				t.Errorf("%s %s of %+v by %v, moved %s: %d series instead of %d", c.kind, c.name, c.scope, c.by, moved, len(got), len(want))
				continue
			}
			for i := range got {
				g, w := got[i].Columns[1], want[i].Columns[1]
				if got[i].Name != want[i].Name || !slices.EqualFunc(got[i].Columns[0].Times, want[i].Columns[0].Times, time.Time.Equal) {
					t.Errorf("%s %s of %+v by %v, moved %s: series %d is %s with %d points instead of %s with %d", c.kind, c.name, c.scope, c.by, moved, i,
						got[i].Name, len(g.Numbers), want[i].Name, len(w.Numbers))
					continue
				}
				for j := range w.Numbers {
					if d := g.Numbers[j] - w.Numbers[j]; g.Numbers[j] != w.Numbers[j] && (g.Numbers[j] == g.Numbers[j] || w.Numbers[j] == w.Numbers[j]) && !(d < 1e-6 && d > -1e-6) {
						t.Errorf("%s %s of %+v by %v, moved %s: %s at %s is %v instead of %v", c.kind, c.name, c.scope, c.by, moved, want[i].Name,
							want[i].Columns[0].Times[j].Format(time.TimeOnly), g.Numbers[j], w.Numbers[j])
						break
					}
				}
			}
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		n := f.GetMetric()[0].GetCounter().GetValue()
		t.Logf("%s %v", f.GetName(), n)
		if f.GetName() == "wattledger_grafana_cache_hits_total" && n < 20 {
			t.Errorf("hardly anything came from the cache: %v", n)
		}
	}
}
