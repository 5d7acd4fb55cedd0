package ingest_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/ingest"
	"github.com/wattledger/wattledger/ingest/kafka"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	broker "github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/clickhouse"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

var quiet = slog.New(slog.NewTextHandler(os.Stderr, nil))

// noon is a fixed instant that readings start from.
const noon = int64(1_767_268_800_000_000) // 2026-01-01T12:00:00Z

func topics(partitions int) []broker.Topic {
	var out []broker.Topic
	for _, name := range ingest.Topics() {
		out = append(out, broker.Topic{Name: name, Partitions: partitions})
	}
	return out
}

func startKafka(t testing.TB, partitions int) kafkaconn.Config {
	t.Helper()
	return kafkatest.Start(t, topics(partitions)...)
}

func migrate(t testing.TB, cfg chconn.Config) {
	t.Helper()
	if err := migrated(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

func migrated(ctx context.Context, cfg chconn.Config) error {
	db, err := chconn.OpenDB(ctx, cfg)
	if err != nil {
		return err
	}
	defer func(db *sql.DB) { _ = db.Close() }(db)
	_, err = clickhouse.Migrate(ctx, db, clickhouse.Flavour{})
	return err
}

// startDatabase is a fresh database with our schema.
func startDatabase(t testing.TB) chconn.Config {
	t.Helper()
	return chtest.StartLike(t, migrated)
}

// quick is the default with short waits.
func quick() ingest.Config {
	c := ingest.DefaultConfig()
	c.Batch.BatchAge = 50 * time.Millisecond
	c.BackoffMax = 200 * time.Millisecond
	g := &c.Consumer.Group
	g.SessionTimeout, g.HeartbeatInterval, g.PartitionWatch, g.FetchWait = 2*time.Second, 50*time.Millisecond, 200*time.Millisecond, 20*time.Millisecond
	c.Consumer.Grace = time.Second
	return c
}

type running struct {
	*ingest.Ingester
	reg  *prometheus.Registry
	stop func()
}

// start runs an ingester until stop, or the end of the test.
func start(t testing.TB, cfg ingest.Config, conn kafkaconn.Config, database func() (chconn.Config, error)) *running {
	t.Helper()
	reg := prometheus.NewRegistry()
	in, err := ingest.New(cfg, conn, database, quiet, reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ingest: %v", err)
		}
	})
	t.Cleanup(stop)
	return &running{in, reg, stop}
}

func fixed(cfg chconn.Config) func() (chconn.Config, error) {
	return func() (chconn.Config, error) { return cfg, nil }
}

// counter sums a metric over the series that have all the labels, given as name, value, name, value.
func (r *running) counter(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if has(m, labels) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func has(m *dto.Metric, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		found := false
		for _, l := range m.GetLabel() {
			found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
		}
		if !found {
			return false
		}
	}
	return true
}

// until polls until cond holds. Only a test that fails waits for its whole limit.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for limit := time.Now().Add(90 * time.Second); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

func open(t testing.TB, cfg chconn.Config) driver.Conn {
	t.Helper()
	conn, err := chconn.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func one[T any](t testing.TB, conn driver.Conn, query string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

func runOf(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:wire.RunBytes]
}

// sampleBatch is a message whose every column is drawn from r; some columns and some values are absent.
func sampleBatch(r *rand.Rand, node string, seq uint64, ticks, devices int) *wl.SampleBatch {
	m := &wl.SampleBatch{
		SchemaVersion: wire.SchemaVersion, Site: "paris-1", Node: node, Run: runOf(node), Sequence: seq, BootId: runOf("boot " + node),
		DriverVersion: "580.1", PeriodMs: 1000, Source: "dcgm", CompleteUpToUs: noon + int64(seq)*int64(ticks)*1_000_000,
	}
	for d := range devices {
		m.Devices = append(m.Devices, &wl.DeviceRef{
			Uuid: fmt.Sprintf("GPU-%s-%d", node, d), Kind: wl.DeviceKind_DEVICE_KIND_GPU, EnergySource: wl.EnergySource(1 + d%3),
		})
	}
	for k := range ticks {
		tick := noon + (int64(seq)*int64(ticks)+int64(k))*1_000_000
		for d := range devices {
			m.Device, m.TickUs = append(m.Device, uint32(d)), append(m.TickUs, tick)
			ts := uint64(tick) - r.Uint64N(100_000)
			if r.IntN(20) == 0 {
				ts = wire.AbsentTime
			}
			m.EnergyTsUs = append(m.EnergyTsUs, ts)
		}
	}
	rows := len(m.TickUs)
	for _, c := range wire.Counters(m) {
		if r.IntN(8) == 0 {
			continue // no device supports it
		}
		for range rows {
			v := r.Uint64N(1 << 50)
			if r.IntN(20) == 0 {
				v = record.AbsentCounter
			}
			*c = append(*c, v)
		}
	}
	for _, c := range wire.Gauges(m) {
		if r.IntN(8) == 0 {
			continue
		}
		for range rows {
			v := r.Float32() * 1000
			if r.IntN(20) == 0 {
				v = float32(math.NaN())
			}
			*c = append(*c, v)
		}
	}
	for _, c := range wire.Codes(m) {
		if r.IntN(8) == 0 {
			continue
		}
		for range rows {
			v := r.Uint32N(1 << 20)
			if r.IntN(20) == 0 {
				v = record.AbsentCode
			}
			*c = append(*c, v)
		}
	}
	return m
}

type sender struct {
	t    testing.TB
	conn kafkaconn.Config
	to   map[string]*kafka.Publisher
}

func newSender(t testing.TB, conn kafkaconn.Config) *sender {
	return &sender{t: t, conn: conn, to: map[string]*kafka.Publisher{}}
}

func (s *sender) open(topic string) *kafka.Publisher {
	s.t.Helper()
	p := s.to[topic]
	if p == nil {
		var err error
		if p, err = kafka.NewPublisher(s.conn, topic, nil); err != nil {
			s.t.Fatal(err)
		}
		s.to[topic] = p
		s.t.Cleanup(func() { _ = p.Close() })
	}
	return p
}

func (s *sender) raw(topic, key string, value []byte) {
	s.t.Helper()
	if err := s.open(topic).Publish(context.Background(), []byte(key), value); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sender) send(topic, key string, m proto.Message) {
	s.t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	s.raw(topic, key, b)
}
