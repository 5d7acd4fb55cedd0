package clickhouse_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	"github.com/wattledger/wattledger/schemas/clickhouse"
)

func TestRetain(t *testing.T) {
	t.Parallel()
	cfg := chtest.Start(t)
	db, err := chconn.OpenDB(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := clickhouse.Migrate(t.Context(), db, clickhouse.Flavour{}); err != nil {
		t.Fatal(err)
	}
	f := func(r clickhouse.Retention, want ...string) {
		t.Helper()
		got, err := clickhouse.Retain(t.Context(), db, clickhouse.Flavour{}, r)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Retain(%+v) changed %v, %v; want %v", r, got, err, want)
		}
	}
	r := clickhouse.DefaultRetention()
	f(r, "messages", "rollup_10s", "rollup_1m", "rollup_1h", "node_10s", "node_1m", "node_1h") // the others have theirs since they were made
	f(r)                                                                                       // nothing twice
	r.Samples, r.Rollup1h = 35, 0
	f(r, "samples", "rollup_1h")
	f(r)

	var before, after uint64
	count := func(n *uint64) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), "SELECT count() FROM messages").Scan(n); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.ExecContext(t.Context(), "INSERT INTO messages (topic, received) VALUES ('t', now64(6) - INTERVAL 200 DAY), ('t', now64(6))"); err != nil {
		t.Fatal(err)
	}
	count(&before)
	if _, err := db.ExecContext(t.Context(), "OPTIMIZE TABLE messages FINAL"); err != nil {
		t.Fatal(err)
	}
	count(&after)
	if after != 1 {
		t.Errorf("%d lines before their time was up and %d after, want 1 after", before, after)
	}
	for _, table := range []string{"samples", "messages", "rollup_10s"} {
		var text string
		if err := db.QueryRowContext(t.Context(), "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = '"+table+"'").Scan(&text); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text, "auto_statistics_types = ''") {
			t.Errorf("%s makes statistics: %s", table, text)
		}
	}
}

func TestRetentionNamesEveryFault(t *testing.T) {
	t.Parallel()
	if err := clickhouse.DefaultRetention().Validate(); err != nil {
		t.Error(err)
	}
	err := clickhouse.Retention{Samples: -1, Messages: 3, Rollup1h: 1_000_000}.Validate()
	for _, want := range []string{"samples_days", "messages_days", "rollup_1h_days"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want it to name %s", err, want)
		}
	}
}
