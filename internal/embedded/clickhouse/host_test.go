package clickhouse_test

import (
	"testing"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
)

func TestSmoke(t *testing.T) {
	cfg := chtest.Start(t)
	for _, compression := range []string{"none", "lz4", "zstd"} {
		cfg.Compression = compression
		conn, err := chconn.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.Exec(t.Context(), "CREATE OR REPLACE TABLE s (a UInt32, b LowCardinality(String)) ENGINE=MergeTree ORDER BY a"); err != nil {
			t.Fatal(err)
		}
		batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO s (a, b)")
		if err != nil {
			t.Fatal(err)
		}
		if err := batch.Append(uint32(7), "seven"); err != nil {
			t.Fatal(err)
		}
		if err := batch.Send(); err != nil {
			t.Fatal(err)
		}
		var a uint32
		var b string
		if err := conn.QueryRow(t.Context(), "SELECT a, b FROM s WHERE a = {x:UInt32}", chNamed("x", 7)).Scan(&a, &b); err != nil {
			t.Fatal(err)
		}
		t.Log(a, b)
	}
}
