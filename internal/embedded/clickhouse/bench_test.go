package clickhouse_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
)

// BenchmarkWideInsert sends batches of 100,000 rows of 43 columns through the client, as ingest does, and says what they
// cost in both processes: rows per second, and CPU seconds of client and engine per million rows.
func BenchmarkWideInsert(b *testing.B) {
	const rows, counters = 100_000, 40
	for _, compression := range []string{"none", "lz4"} {
		b.Run(compression, func(b *testing.B) {
			engine := chtest.StartAt(b, b.TempDir())
			cfg := engine.Config(b)
			cfg.Compression = compression
			conn := open(b, cfg)
			var columns strings.Builder
			for i := range counters {
				fmt.Fprintf(&columns, ", c%d UInt64", i)
			}
			exec(b, conn, "CREATE TABLE wide (device String, tick DateTime64(6), state LowCardinality(String)"+columns.String()+") ENGINE = MergeTree ORDER BY (device, tick)")
			devices, ticks, states := make([]string, rows), make([]time.Time, rows), make([]string, rows)
			values := make([][]uint64, counters)
			for i := range values {
				values[i] = make([]uint64, rows)
			}
			for r := range rows {
				devices[r], states[r] = fmt.Sprintf("GPU-%08d", r%18000), []string{"busy", "idle"}[r%2]
				ticks[r] = time.Unix(1_700_000_000+int64(r/18000), 0)
				for i := range values {
					values[i][r] = uint64(r/18000*(i+1)*1000 + r%18000*7919%1000003)
				}
			}
			client, server := cpu(b, os.Getpid()), cpu(b, engine.PID())
			for b.Loop() {
				batch, err := conn.PrepareBatch(b.Context(), "INSERT INTO wide")
				if err != nil {
					b.Fatal(err)
				}
				data := []any{devices, ticks, states}
				for _, v := range values {
					data = append(data, v)
				}
				for i, v := range data {
					if err := batch.Column(i).Append(v); err != nil {
						b.Fatal(err)
					}
				}
				if err := batch.Send(); err != nil {
					b.Fatal(err)
				}
			}
			million := float64(b.N) * rows / 1e6
			b.ReportMetric(million*1e6/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric((cpu(b, os.Getpid())-client).Seconds()/million, "client-cpu-s/Mrow")
			b.ReportMetric((cpu(b, engine.PID())-server).Seconds()/million, "engine-cpu-s/Mrow")
		})
	}
}

// cpu is what a process has used so far, merges in the background included. The kernel counts in ticks of 10 ms.
func cpu(b *testing.B, pid int) time.Duration {
	b.Helper()
	if pid == os.Getpid() {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			b.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	// The name in brackets may hold blanks; utime and stime are fields 14 and 15 (proc(5)).
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
