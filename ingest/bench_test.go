package ingest_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/ingest"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// steady is a message as a node of 8 GPUs sends it: counters that rise, gauges that wander, all metrics there.
func steady(r *rand.Rand, node string, seq uint64, ticks int) *wl.SampleBatch {
	m := sampleBatch(r, node, seq, ticks, 8)
	for k, c := range wire.Counters(m) {
		*c = (*c)[:0]
		for i, tick := range m.TickUs {
			*c = append(*c, uint64(tick-noon)*uint64(k+1)/1000+uint64(m.Device[i])<<30+r.Uint64N(50))
		}
	}
	for _, c := range wire.Gauges(m) {
		*c = (*c)[:0]
		for range m.TickUs {
			*c = append(*c, 500+float32(r.IntN(64)))
		}
	}
	for _, c := range wire.Codes(m) {
		*c = make([]uint32, len(m.TickUs))
	}
	return m
}

// BenchmarkIngest takes a backlog of a million samples of 35 metrics from the embedded broker to the embedded engine. The
// rate is the whole way: fetch, decode, insert, commit.
func BenchmarkIngest(b *testing.B) {
	const nodes, messages, ticks = 40, 52, 60
	rows := nodes * messages * ticks * 8
	for b.Loop() {
		b.StopTimer()
		conn, db := startKafka(b, 4), chtest.Start(b)
		migrate(b, db)
		s, r := newSender(b, conn), rand.New(rand.NewPCG(1, 1))
		bytes := 0
		done := make(chan struct{}, 16)
		for seq := range uint64(messages) {
			for n := range nodes {
				m := steady(r, fmt.Sprint("node-", n), seq, ticks)
				bytes += proto.Size(m)
				s.open(wire.TopicSample)
				done <- struct{}{}
				go func() {
					defer func() { <-done }()
					s.send(wire.TopicSample, m.Node, m)
				}()
			}
			for range cap(done) { // the next sequence of a node begins when this one is sent
				done <- struct{}{}
			}
			for range cap(done) {
				<-done
			}
		}
		ch := open(b, db)
		b.StartTimer()
		begin, spent := time.Now(), processor(b)
		in := start(b, ingest.DefaultConfig(), conn, fixed(db))
		until(b, "all rows", func() bool {
			time.Sleep(50 * time.Millisecond)
			return in.counter(b, "wattledger_ingest_messages_total") == nodes*messages
		})
		took, spent := time.Since(begin), processor(b)-spent
		b.StopTimer()
		in.stop()
		if n := one[uint64](b, ch, "SELECT count() FROM samples"); n != uint64(rows) {
			b.Fatalf("%d rows stored, want %d", n, rows)
		}
		b.ReportMetric(float64(rows)/took.Seconds(), "rows/s")
		b.ReportMetric(spent.Seconds()/float64(rows)*1e6, "cpu-s/Mrow") // of broker, ingest and engine: all are in this process
		b.ReportMetric(float64(bytes)/float64(rows), "wire-B/row")
		b.ReportMetric(float64(one[uint64](b, ch, "SELECT sum(data_compressed_bytes) FROM system.parts WHERE active AND table = 'samples' AND database = currentDatabase()"))/float64(rows), "disk-B/row")
		b.ReportMetric(float64(len(record.Metrics)), "metrics")
		b.StartTimer()
	}
}

// processor is the processor time that the process has used.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(unix.TimevalToNsec(u.Utime) + unix.TimevalToNsec(u.Stime))
}
