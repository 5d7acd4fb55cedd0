package clickhouse_test

import (
	"os"
	"testing"
	"time"

	"github.com/wattledger/wattledger/dashboards/query"
)

func TestLatency(t *testing.T) {
	if os.Getenv("LAT") == "" {
		t.Skip("only by hand")
	}
	l := seed(t)
	for _, m := range query.Metrics {
		if m.Name == "explain" {
			continue
		}
		for _, sc := range []query.Scope{all, alpha} {
			q := query.Query{Kind: m.Kind, Metric: m.Name, By: m.By[:min(1, len(m.By))]}
			t0 := time.Now()
			_, err := l.store.Query(t.Context(), sc, q, hours())
			if err != nil && sc.All { t.Log(err) }
			t.Logf("%s %s %v: %v %v", m.Kind, m.Name, sc.Tenant, time.Since(t0).Round(time.Millisecond), err != nil)
		}
	}
}
