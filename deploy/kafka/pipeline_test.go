package kafka_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	collector "github.com/wattledger/wattledger/collector/kafka"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/collector/spool"
	"github.com/wattledger/wattledger/ingest"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/clickhouse"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// quiet shows what went wrong, not what was waited for: brokers come and go here.
var quiet = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))

// noon is a fixed instant that readings start from.
const noon = int64(1_767_268_800_000_000) // 2026-01-01T12:00:00Z

// config is the default with small batches and topics of three partitions.
func config(replicas int) ingest.Config {
	c := ingest.DefaultConfig()
	c.Topics.Partitions, c.Topics.Replicas = 3, replicas
	c.Batch.BatchAge = 250 * time.Millisecond
	c.BackoffMax = time.Second
	g := &c.Consumer.Group
	g.SessionTimeout, g.HeartbeatInterval = 6*time.Second, 300*time.Millisecond // the least that a broker grants
	return c
}

// create makes the topics.
func create(t testing.TB, cfg ingest.Config, conn kafkaconn.Config) {
	t.Helper()
	cfg.Topics.AtStart = ingest.TopicsCreate
	if err := ingest.ReadyTopics(t.Context(), cfg, conn, quiet, nil); err != nil {
		t.Fatal(err)
	}
}

// database is an empty one with our tables.
func database(t testing.TB) (chconn.Config, driver.Conn) {
	t.Helper()
	cfg := chtest.Start(t)
	db, err := chconn.OpenDB(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := clickhouse.Migrate(t.Context(), db, clickhouse.Flavour{}); err != nil {
		t.Fatal(err)
	}
	conn, err := chconn.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return cfg, conn
}

// meter counts what a part did.
type meter struct{ reg *prometheus.Registry }

// sum is a metric over all its series.
func (m meter) sum(t testing.TB, name string) (n float64) {
	t.Helper()
	families, err := m.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, s := range f.GetMetric() {
				n += s.GetCounter().GetValue() + s.GetGauge().GetValue()
			}
		}
	}
	return n
}

// startIngest runs an ingester until the test ends, with the check of its topics, as the command does.
func startIngest(t testing.TB, cfg ingest.Config, conn kafkaconn.Config, db chconn.Config) meter {
	t.Helper()
	m := meter{prometheus.NewRegistry()}
	in, err := ingest.New(cfg, conn, func() (chconn.Config, error) { return db, nil }, quiet, m.reg)
	if err != nil {
		t.Fatal(err)
	}
	background(t, "ingest", func(ctx context.Context) error {
		if err := ingest.ReadyTopics(ctx, cfg, conn, quiet, m.reg); err != nil {
			return err
		}
		return in.Run(ctx)
	})
	return m
}

// background runs until the returned stop, or the end of the test.
func background(t testing.TB, what string, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// node is the collector's way to Kafka, with its queue on the disk, and somebody who writes into it.
type node struct {
	meter
	name  string
	queue *spool.Spool
	rows  atomic.Int64 // acknowledged by the queue
	halt  func()
}

const ticks, devices = 2, 4

// startNode writes a message every so often until halt.
func startNode(t testing.TB, name string, conn kafkaconn.Config, every time.Duration) *node {
	t.Helper()
	n := &node{meter: meter{prometheus.NewRegistry()}, name: name}
	cfg := spool.DefaultConfig()
	cfg.Dir, cfg.Sync = t.TempDir(), spool.SyncInterval
	var err error
	if n.queue, err = spool.Open(cfg, func() unit.Micros { return unit.MicrosOf(time.Now()) }, quiet, n.reg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.queue.Close() })
	sink, err := collector.NewSink(conn, n.reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	forward := collector.DefaultForwarderConfig()
	forward.Quarantine, forward.RetryMax = t.TempDir(), time.Second
	forwarder, err := collector.NewForwarder(forward, n.queue, sink, quiet, n.reg)
	if err != nil {
		t.Fatal(err)
	}
	background(t, "forwarder of "+name, forwarder.Run)
	writer := message.NewWriter(n.queue)
	n.halt = background(t, "writer of "+name, func(ctx context.Context) error {
		for seq := uint64(0); ctx.Err() == nil; seq++ {
			b := n.batch(seq)
			if err := writer.Publish(context.WithoutCancel(ctx), b); err != nil {
				return err
			}
			n.rows.Add(int64(len(b.TickUs)))
			select {
			case <-ctx.Done():
			case <-time.After(every):
			}
		}
		return nil
	})
	return n
}

func runOf(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:wire.RunBytes]
}

func (n *node) batch(seq uint64) *wl.SampleBatch {
	m := &wl.SampleBatch{
		SchemaVersion: wire.SchemaVersion, Site: "fr-1", Node: n.name, Run: runOf(n.name), Sequence: seq, BootId: runOf("boot of " + n.name),
		DriverVersion: "580.1", PeriodMs: 1000, Source: "dcgm", CompleteUpToUs: noon + int64(seq)*ticks*1_000_000,
	}
	for d := range devices {
		m.Devices = append(m.Devices, &wl.DeviceRef{
			Uuid: fmt.Sprintf("GPU-%s-%d", n.name, d), Kind: wl.DeviceKind_DEVICE_KIND_GPU, EnergySource: wl.EnergySource_ENERGY_SOURCE_HARDWARE,
		})
	}
	energy := wire.Counters(m)[0]
	for k := range int64(ticks) {
		tick := noon + (int64(seq)*ticks+k)*1_000_000
		for d := range uint32(devices) {
			m.Device, m.TickUs, m.EnergyTsUs = append(m.Device, d), append(m.TickUs, tick), append(m.EnergyTsUs, uint64(tick))
			*energy = append(*energy, 700_000*(seq*ticks+uint64(k)))
		}
	}
	return m
}

// drained waits until Kafka has all that the queue took.
func (n *node) drained(t testing.TB) {
	t.Helper()
	n.halt()
	until(t, "the queue of "+n.name+" is empty", func() bool { return n.sum(t, "wattledger_collector_spool_messages") == 0 })
}

// until polls until cond holds. Only a test that fails waits for its whole limit.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for limit := time.Now().Add(4 * time.Minute); !cond(); time.Sleep(150 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%s: it did not happen", what)
		}
	}
}

func one(t testing.TB, conn driver.Conn, query string) (n uint64) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// flows waits until so many more rows are stored.
func flows(t testing.TB, db driver.Conn, what string) {
	t.Helper()
	before := one(t, db, "SELECT count() FROM samples")
	until(t, what, func() bool { return one(t, db, "SELECT count() FROM samples") >= before+10*ticks*devices })
}

// settled drains the queues and checks that what was sent is stored, once.
func settled(t testing.TB, db driver.Conn, nodes []*node) {
	t.Helper()
	var sent uint64
	var retries float64
	for _, n := range nodes {
		n.drained(t)
		sent += uint64(n.rows.Load())
		retries += n.sum(t, "wattledger_collector_forward_retries_total")
		for _, metric := range []string{"wattledger_collector_spool_dropped_messages_total", "wattledger_collector_forward_refused_total"} {
			if v := n.sum(t, metric); v != 0 {
				t.Errorf("%s of %s is %v", metric, n.name, v)
			}
		}
	}
	until(t, "all is stored", func() bool { return one(t, db, "SELECT uniqExact(run, seq, device, tick) FROM samples") >= sent })
	until(t, "all has its line", func() bool {
		return one(t, db, "SELECT sum(rows) FROM messages WHERE topic = '"+wire.TopicSample+"'") >= sent
	})
	stored, distinct := one(t, db, "SELECT count() FROM samples"), one(t, db, "SELECT uniqExact(run, seq, device, tick) FROM samples")
	if stored != sent || distinct != sent {
		t.Errorf("%d rows sent, %d stored, %d of them distinct", sent, stored, distinct)
	}
	t.Logf("%d rows sent and stored once; collectors tried again %v times", sent, retries)
}

// unharmed checks that to the ingesters no message was missing, and none at fault.
func unharmed(t testing.TB, ingesters ...meter) {
	t.Helper()
	var repeats float64
	for _, in := range ingesters {
		repeats += in.sum(t, "wattledger_ingest_repeats_total")
		for _, metric := range []string{"wattledger_ingest_missing_total", "wattledger_ingest_refused_total"} {
			if v := in.sum(t, metric); v != 0 {
				t.Errorf("%s is %v", metric, v)
			}
		}
	}
	t.Logf("%v deliveries beyond the first were passed over", repeats)
}
