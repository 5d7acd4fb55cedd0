package clickhouse_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/dashboards/clickhouse"
	"github.com/wattledger/wattledger/dashboards/query"
)

// counting counts the statements that ask how far the rollups are.
type counting struct {
	driver.Conn
	states atomic.Int64
}

func (c *counting) Query(ctx context.Context, sql string, args ...any) (driver.Rows, error) {
	if strings.Contains(sql, "rollup_progress") && strings.Contains(sql, "GROUP BY tier") && !strings.Contains(sql, "indexOf") {
		c.states.Add(1)
	}
	return c.Conn.Query(ctx, sql, args...)
}

// A dashboard's panels ask at once, and find what is known of the state too old at once: one of them asks anew.
func TestTheStateIsAskedForOnce(t *testing.T) {
	l := open(t)
	conn := &counting{Conn: l.conn}
	var at atomic.Int64
	at.Store(until.UnixNano())
	store := clickhouse.New(conn, clickhouse.Options{Now: func() time.Time { return time.Unix(0, at.Load()).UTC() }, StateFor: time.Second})
	for round := range int64(3) {
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				if _, err := store.Query(t.Context(), all, query.Query{Kind: query.KindLedger, Metric: "hours"}, hours()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := conn.states.Load(); got != round+1 {
			t.Fatalf("after %d rounds of 30 questions the state was asked for %d times", round+1, got)
		}
		at.Add(int64(2 * time.Second))
	}
}
