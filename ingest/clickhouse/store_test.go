package clickhouse

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
)

// Rows arrive as they were sent however they are compressed on the way, and one token is one insert.
func TestInsertsArriveCompressed(t *testing.T) {
	t.Parallel()
	db := chtest.Start(t)
	conn, err := chconn.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const rows = 500_000 // several compressed blocks
	for _, method := range []string{"none", "lz4", "zstd"} {
		if err := conn.Exec(t.Context(), fmt.Sprintf("CREATE TABLE %s (n UInt64, r UInt32) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100", method)); err != nil {
			t.Fatal(err)
		}
		db.Compression = method
		s := New(func() (chconn.Config, error) { return db, nil }, 1, nil)
		b := &block{rows: rows}
		n, r := make(fixed[uint64], rows), make(raw, 4*rows)
		for i := range rows {
			n[i], r[4*i], r[4*i+2] = uint64(i), byte(i), byte(i>>16)
		}
		b.add("n", "UInt64", n)
		b.add("r", "UInt32", r)
		for range 2 {
			if err := s.insert(t.Context(), method, b, "token"); err != nil {
				t.Fatalf("%s: %v", method, err)
			}
		}
		var all, good uint64
		if err := conn.QueryRow(t.Context(), fmt.Sprintf("SELECT count(), countIf(r = bitAnd(n, 0xff00ff)) FROM %s", method)).Scan(&all, &good); err != nil {
			t.Fatal(err)
		}
		if all != rows || good != rows {
			t.Errorf("%s: %d rows, %d of them as they were sent, want %d", method, all, good, rows)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A client that still reads when its call has returned does not see what becomes of the batch's memory.
func TestABodyIsOverWhenItsInsertIs(t *testing.T) {
	t.Parallel()
	b := &block{rows: 2}
	b.add("r", "UInt32", raw{1, 0, 0, 0, 2, 0, 0, 0})
	body := b.body(new([]byte))
	if _, err := body.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	body.release()
	if n, err := body.Read(make([]byte, 3)); n != 0 || !errors.Is(err, errOver) {
		t.Errorf("read %d bytes and %v after the end", n, err)
	}
	if n, err := body.WriteTo(io.Discard); n != 0 || !errors.Is(err, errOver) {
		t.Errorf("wrote %d bytes and %v after the end", n, err)
	}
}
