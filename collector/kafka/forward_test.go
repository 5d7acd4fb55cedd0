package kafka_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	kafkago "github.com/segmentio/kafka-go"

	"github.com/wattledger/wattledger/collector/kafka"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/collector/spool"
	"github.com/wattledger/wattledger/collector/wallclock"
	embedded "github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/wire"
)

var quiet = slog.New(slog.DiscardHandler)

// nodeTopics are what a node writes to, one of them with more partitions than one.
var nodeTopics = []embedded.Topic{
	{Name: wire.TopicSample, Partitions: 3},
	{Name: wire.TopicAllocation, Partitions: 1},
	{Name: wire.TopicReading, Partitions: 1},
	{Name: wire.TopicInventory, Partitions: 1},
}

func newSpool(t testing.TB, dir string) *spool.Spool {
	t.Helper()
	cfg := spool.DefaultConfig()
	cfg.Dir, cfg.Sync = dir, spool.SyncInterval
	s, err := spool.Open(cfg, wallclock.Clock{}.Now, quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// forward runs a forwarder until stop, which waits for its end.
func forward(t testing.TB, conn kafkaconn.Config, queue kafka.Queue, quarantine string, timeout time.Duration) (reg *prometheus.Registry, stop func()) {
	t.Helper()
	sink, err := kafka.NewSink(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := kafka.DefaultForwarderConfig()
	cfg.RetryMin, cfg.RetryMax, cfg.StopTimeout, cfg.Quarantine = 10*time.Millisecond, 50*time.Millisecond, timeout, quarantine
	reg = prometheus.NewRegistry()
	f, err := kafka.NewForwarder(cfg, queue, sink, quiet, reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return reg, stop
}

func counted(t testing.TB, reg *prometheus.Registry, name string) (n float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.Metric {
				n += of(m)
			}
		}
	}
	return n
}

func of(m *dto.Metric) float64 {
	if h := m.GetHistogram(); h != nil {
		return float64(h.GetSampleCount())
	}
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}

// sample is the message with a sequence; all of it follows from the sequence.
func sample(sequence int) *message.Message {
	m := &message.Message{
		Topic: []string{wire.TopicSample, wire.TopicSample, wire.TopicAllocation, wire.TopicInventory}[sequence%4],
		Key:   fmt.Appendf(nil, "node-%d", sequence%5), Value: bytes.Repeat(fmt.Appendf(nil, "%d ", sequence), 20+sequence%50),
		Mark: message.Mark{Sequence: uint64(sequence), To: wallclock.Clock{}.Now(), Rows: 1},
	}
	return m
}

func put(t testing.TB, s message.Sink, m *message.Message) {
	t.Helper()
	if err := s.Put(context.Background(), m); err != nil {
		t.Error(err)
	}
}

// stored reads all partitions of all topics to their ends.
func stored(t testing.TB, conn kafkaconn.Config) (all map[string][][]byte) {
	t.Helper()
	all = map[string][][]byte{}
	for _, topic := range nodeTopics {
		for p := range topic.Partitions {
			c, err := kafkago.DialLeader(context.Background(), "tcp", conn.Brokers[0], topic.Name, p)
			if err != nil {
				t.Fatal(err)
			}
			first, end, err := c.ReadOffsets()
			c.Close()
			if err != nil {
				t.Fatal(err)
			}
			r := kafkago.NewReader(kafkago.ReaderConfig{Brokers: conn.Brokers, Topic: topic.Name, Partition: p, MaxWait: 50 * time.Millisecond, MaxBytes: 10 << 20})
			for first < end {
				m, err := r.ReadMessage(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				first = m.Offset + 1
				key := topic.Name + "/" + string(m.Key)
				all[key] = append(all[key], m.Value)
			}
			r.Close()
		}
	}
	return all
}

// checkStored compares with the messages 0 to n: all are there, in order within a key, repeats aside. It says how many
// stand there more than once.
func checkStored(t testing.TB, conn kafkaconn.Config, n int) (repeats int) {
	t.Helper()
	want := map[string][][]byte{}
	for q := range n {
		m := sample(q)
		key := m.Topic + "/" + string(m.Key)
		want[key] = append(want[key], m.Value)
	}
	got := stored(t, conn)
	for key, values := range want {
		next := 0
		for _, v := range got[key] {
			switch {
			case next < len(values) && bytes.Equal(v, values[next]):
				next++
			case next > 0 && known(values[:next], v):
				repeats++
			default:
				t.Errorf("%s: after %d messages comes %.20s", key, next, v)
				return repeats
			}
		}
		if next != len(values) {
			t.Errorf("%s: %d messages of %d are there", key, next, len(values))
		}
	}
	return repeats
}

func known(values [][]byte, v []byte) bool {
	for _, x := range values {
		if bytes.Equal(x, v) {
			return true
		}
	}
	return false
}

func empty(t testing.TB, dir string) {
	t.Helper()
	s := newSpool(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if m, err := s.Next(ctx); err == nil {
		t.Errorf("message %d still waits", m.Mark.Sequence)
	}
}

// Kafka is away at first, then a backlog of many small messages goes there fast, then each message at once.
func TestABacklogDrainsFast(t *testing.T) {
	b, dir := newBroker(t), t.TempDir()
	s := newSpool(t, dir)
	const backlog, live = 20_000, 20
	for q := range backlog {
		put(t, s, sample(q))
	}
	reg, stop := forward(t, b.conn(), s, t.TempDir(), 30*time.Second)
	for deadline := time.Now().Add(30 * time.Second); counted(t, reg, "wattledger_collector_forward_retries_total") == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody is there, and no attempt is counted")
		}
	}
	b.start()
	start := time.Now()
	for deadline := time.Now().Add(time.Minute); waiting(t, b.conn()) < backlog; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d messages after a minute", waiting(t, b.conn()))
		}
	}
	took := time.Since(start)
	t.Logf("%d messages in %v, %.0f a second, the client's back-off included", backlog, took, backlog/took.Seconds())
	if took > 10*time.Second {
		t.Errorf("%d messages took %v", backlog, took)
	}
	before := counted(t, reg, "wattledger_collector_forward_seconds")
	for q := range live {
		put(t, s, sample(backlog+q))
		for deadline := time.Now().Add(10 * time.Second); counted(t, reg, "wattledger_collector_forward_seconds") <= before+float64(q) && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
	stop()
	if lag := counted(t, reg, "wattledger_collector_forward_lag_seconds"); lag > 1 {
		t.Errorf("a message takes %v s", lag)
	} else {
		t.Logf("a single message is in Kafka after %v s", lag)
	}
	if repeats := checkStored(t, b.conn(), backlog+live); repeats > 0 {
		t.Errorf("%d repeats without a reason", repeats)
	}
	s.Close()
	empty(t, dir)
}

// waiting is how many messages Kafka has, by its offsets.
func waiting(t testing.TB, conn kafkaconn.Config) (n int64) {
	t.Helper()
	for _, topic := range nodeTopics {
		for p := range topic.Partitions {
			c, err := kafkago.DialLeader(context.Background(), "tcp", conn.Brokers[0], topic.Name, p)
			if err != nil {
				t.Fatal(err)
			}
			_, end, err := c.ReadOffsets()
			c.Close()
			if err != nil {
				t.Fatal(err)
			}
			n += end
		}
	}
	return n
}

// Kafka comes and goes, and so does the forwarder, while messages are put all the time.
func TestOrderHoldsWhileKafkaComesAndGoes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	b, dir := newBroker(t), t.TempDir()
	s := newSpool(t, dir)
	ended := make(chan int)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		q := 0
		for ; ctx.Err() == nil; q++ {
			put(t, s, sample(q))
			if q%16 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		ended <- q
	}()
	pause := func() { time.Sleep(time.Duration(random.Int64N(int64(250 * time.Millisecond)))) }
	for range 8 {
		_, stop := forward(t, b.conn(), s, t.TempDir(), 0) // a stop that waits for nothing
		pause()
		b.start()
		pause()
		pause()
		if random.IntN(2) == 0 {
			stop()
		}
		b.stop()
		pause()
		stop()
	}
	cancel()
	n := <-ended
	b.start()
	_, stop := forward(t, b.conn(), s, t.TempDir(), time.Minute)
	stop() // all that waits is published first
	s.Close()
	empty(t, dir)
	t.Logf("%d messages, %d of them more than once", n, checkStored(t, b.conn(), n))
}

func TestWhatKafkaNeverTakesIsSetAside(t *testing.T) {
	conn := kafkatest.Start(t, nodeTopics...)
	conn.MaxMessageBytes = 50_000
	dir, quarantine := t.TempDir(), filepath.Join(t.TempDir(), "quarantine")
	s := newSpool(t, dir)
	for q := range 40 {
		put(t, s, sample(q))
		if q%10 == 5 {
			big := sample(q)
			big.Value = make([]byte, 100_000+q)
			put(t, s, big)
		}
	}
	odd := sample(1)
	odd.Topic = "nobody-writes-this"
	put(t, s, odd)
	reg, stop := forward(t, conn, s, quarantine, time.Minute)
	stop()
	checkStored(t, conn, 40)
	if n := counted(t, reg, "wattledger_collector_forward_refused_total"); n != 5 {
		t.Errorf("%v are counted as refused, want 5", n)
	}
	files, err := filepath.Glob(filepath.Join(quarantine, "*.json"))
	if err != nil || len(files) != 5 {
		t.Fatalf("set aside are %v, %v", files, err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var q kafka.Quarantined
		if err := json.Unmarshal(raw, &q); err != nil || q.Error == "" || len(q.Value) == 0 {
			t.Errorf("%s says %+v, %v", name, q, err)
		}
		if want := map[string]string{"nobody-writes-this": "unknown_topic"}[q.Topic]; want == "" && q.Reason != "message_too_large" || want != "" && q.Reason != want {
			t.Errorf("%s is there for %s", q.Topic, q.Reason)
		}
	}
	s.Close()
	empty(t, dir)
}

// The broker's limit may be lower than ours: what is too large together goes in parts.
func TestWhatIsTooLargeTogetherGoesInParts(t *testing.T) {
	conn := kafkatest.Start(t, nodeTopics...)
	conn.MaxMessageBytes = 8 << 20
	s := newSpool(t, t.TempDir())
	random := rand.New(rand.NewPCG(1, 2))
	for q := range 10 {
		m := &message.Message{Topic: wire.TopicSample, Key: []byte("n"), Value: make([]byte, 300_000), Mark: message.Mark{Sequence: uint64(q)}}
		for i := range m.Value {
			m.Value[i] = byte(random.Uint32()) // compression does not help
		}
		put(t, s, m)
	}
	reg, stop := forward(t, conn, s, t.TempDir(), time.Minute)
	stop()
	if got := stored(t, conn)[wire.TopicSample+"/n"]; len(got) != 10 {
		t.Errorf("%d messages arrived, want 10", len(got))
	}
	if n := counted(t, reg, "wattledger_collector_forward_refused_total"); n != 0 {
		t.Errorf("%v are counted as refused", n)
	}
}

func TestAForwarderWithoutRoomForRefusalsIsNotMade(t *testing.T) {
	if _, err := kafka.NewForwarder(kafka.ForwarderConfig{RetryMin: 2, RetryMax: 1, StopTimeout: -1}, nil, nil, quiet, nil); err == nil {
		t.Error("made")
	}
}

// A rate knows no increase from nothing to one: what an alert reads is there before the first refusal.
func TestRefusalsAreThereBeforeTheFirst(t *testing.T) {
	reg := prometheus.NewRegistry()
	cfg := kafka.DefaultForwarderConfig()
	cfg.Quarantine = t.TempDir()
	if _, err := kafka.NewForwarder(cfg, nil, nil, quiet, reg); err != nil {
		t.Fatal(err)
	}
	if n, err := testutil.GatherAndCount(reg, "wattledger_collector_forward_refused_total"); n != 4 || err != nil {
		t.Errorf("%d series, want one for each reason: %v", n, err)
	}
}
