package clickhouse_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
)

// Whatever was acknowledged before the process was killed is there afterwards, in whole batches, and what was not
// acknowledged is there as a whole or not at all.
func TestAcknowledgedInsertsSurviveAKill(t *testing.T) {
	data := t.TempDir()
	const rows = 1000
	acknowledged := map[uint32]bool{}
	unknown := map[uint32]bool{}
	next := uint32(0)
	for round := range 3 {
		engine := chtest.StartAt(t, data)
		conn := open(t, engine.Config(t))
		exec(t, conn, "CREATE TABLE IF NOT EXISTS kept (batch UInt32, row UInt32) ENGINE = MergeTree ORDER BY (batch, row)")
		time.AfterFunc(time.Duration(200+150*round)*time.Millisecond, engine.Kill)
		for {
			batch := next
			next++
			err := insertBatch(t, conn, batch, rows)
			if err == nil {
				acknowledged[batch] = true
				continue
			}
			unknown[batch] = true
			if !chconn.Temporary(err) {
				t.Errorf("the kill shows as %v, want an error that passes", err)
			}
			break
		}
		engine.Kill() // waits until it is gone
	}
	if len(acknowledged) == 0 {
		t.Fatal("no insert was acknowledged before a kill")
	}
	conn := open(t, chtest.StartAt(t, data).Config(t))
	found, err := conn.Query(t.Context(), "SELECT batch, count(), uniqExact(row) FROM kept GROUP BY batch")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	for found.Next() {
		var batch uint32
		var count, distinct uint64
		if err := found.Scan(&batch, &count, &distinct); err != nil {
			t.Fatal(err)
		}
		if count != rows || distinct != rows {
			t.Errorf("batch %d has %d rows, %d distinct; want %d", batch, count, distinct, rows)
		}
		if !acknowledged[batch] && !unknown[batch] {
			t.Errorf("batch %d was never sent", batch)
		}
		delete(acknowledged, batch)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	for batch := range acknowledged {
		t.Errorf("batch %d was acknowledged and is gone", batch)
	}
}

func insertBatch(t *testing.T, conn driver.Conn, number uint32, rows int) error {
	t.Helper()
	batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO kept (batch, row)")
	if err != nil {
		return err
	}
	numbers, ids := make([]uint32, rows), make([]uint32, rows)
	for i := range ids {
		numbers[i], ids[i] = number, uint32(i)
	}
	return errors.Join(batch.Column(0).Append(numbers), batch.Column(1).Append(ids), batch.Send())
}

func TestMemoryLimits(t *testing.T) {
	engine := chtest.StartAt(t, t.TempDir(), "-max-query-memory", fmt.Sprint(64<<20), "-max-insert", fmt.Sprint(1<<20))
	conn := open(t, engine.Config(t))
	var n uint64
	err := conn.QueryRow(t.Context(), "SELECT length(groupArray(number)) FROM numbers(100000000)").Scan(&n)
	if chconn.Code(err) != 241 || !chconn.Temporary(err) {
		t.Errorf("query over the limit: %v, want MEMORY_LIMIT_EXCEEDED", err)
	}
	exec(t, conn, "CREATE TABLE m (s String) ENGINE = MergeTree ORDER BY tuple()")
	batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO m")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(batch.Append(strings.Repeat("x", 40<<20)), batch.Send()); chconn.Code(err) != 241 || !strings.Contains(err.Error(), "max_insert") {
		t.Errorf("insert over the limit: %v, want MEMORY_LIMIT_EXCEEDED that names max_insert", err)
	}
	// The budget is free again.
	exec(t, conn, "INSERT INTO m VALUES ('small')")
}
