package chtest_test

import (
	"context"
	"testing"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
)

// Each test has tables of its own, as they were prepared, with the rows that were in them.
func TestStartLike(t *testing.T) {
	prepared := 0
	prepare := func(ctx context.Context, cfg chconn.Config) error {
		prepared++
		conn, err := chconn.Open(ctx, cfg)
		if err != nil {
			return err
		}
		defer conn.Close()
		for _, s := range []string{
			"CREATE TABLE t (a Int64) ENGINE = ReplacingMergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100",
			"ALTER TABLE t ADD COLUMN b String DEFAULT 'x'",
			"CREATE VIEW z_first AS SELECT a FROM t",
			"CREATE VIEW a_second AS SELECT a + 1 AS b FROM z_first", // its name comes before that of the view it reads
			"INSERT INTO t (a) VALUES (1)",
		} {
			if err := conn.Exec(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}
	for range 3 {
		t.Run("", func(t *testing.T) {
			cfg := chtest.StartLike(t, prepare)
			conn, err := chconn.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.Exec(t.Context(), "INSERT INTO t (a) VALUES (5)"); err != nil {
				t.Fatal(err)
			}
			var n, sum int64
			var engine string
			if err := conn.QueryRow(t.Context(), "SELECT toInt64(count()), toInt64(sum(b)) FROM a_second").Scan(&n, &sum); err != nil || n != 2 || sum != 8 {
				t.Errorf("%d rows of %d, want 2 of 8: %v", n, sum, err)
			}
			if err := conn.QueryRow(t.Context(), "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 't'").Scan(&engine); err != nil ||
				engine != "ReplacingMergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100, index_granularity = 8192" {
				t.Errorf("the engine is %s: %v", engine, err)
			}
		})
	}
	if prepared != 1 {
		t.Errorf("prepared %d times", prepared)
	}
}
