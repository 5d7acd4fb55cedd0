package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/wire"
)

// plant is what stands between the collectors and the rows: a broker, an engine and ingesters, each a process of its own that can
// be killed and started again in its place.
type plant struct {
	t              *testing.T
	data, config   string
	kafka, house   string // where broker and engine answer
	conn           kafkaconn.Config
	broker, engine *running
	limit          time.Duration // of each process
}

// group is the shipped one.
const group = "wattledger-ingest"

// newPlant starts broker and engine, with the tables and so many partitions of samples. Waits are short: a dead ingester is noticed
// after a second, and what is away is asked for three times a second.
func newPlant(t *testing.T, partitions int, limit time.Duration) *plant {
	t.Helper()
	return plantOn(t, filepath.Join(t.TempDir(), "data"), partitions, limit)
}

func plantOn(t *testing.T, data string, partitions int, limit time.Duration) *plant {
	t.Helper()
	p := &plant{t: t, data: data, config: filepath.Join(t.TempDir(), "plant.yaml"), kafka: freeAddress(t), house: freeAddress(t), limit: limit}
	topics := fmt.Sprintf("{name: %s, partitions: %d}", wire.TopicSample, partitions)
	for _, topic := range []string{wire.TopicAllocation, wire.TopicReading, wire.TopicInventory, wire.TopicRefused, wire.TopicClosing} {
		topics += fmt.Sprintf(", {name: %s, partitions: 1}", topic)
	}
	err := os.WriteFile(p.config, fmt.Appendf(nil, `
clickhouse: {addresses: [%q], password_file: %q, compression: none}
kafka: {brokers: [%q]}
ingest:
  backoff_max: 300ms
  topics: {at_start: off} # the broker's topics are those of a laptop
  batch: {batch_age: 50ms}
  consumer:
    grace: 800ms
    group: {session_timeout: 1s, heartbeat_interval: 100ms, rebalance_timeout: 2s, partition_watch: 300ms}
embedded:
  kafka: {min_session_timeout: 200ms, topics: [%s]}
`, p.house, filepath.Join(data, "clickhouse", "password"), p.kafka, topics), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	p.conn = kafkaconn.DefaultConfig()
	p.conn.Brokers = []string{p.kafka}
	p.startBroker()
	p.startEngine()
	if code := p.run("migrate").wait(); code != 0 {
		t.Fatalf("migrate ended with %d", code)
	}
	return p
}

// freeAddress is an address that a process can be told to serve on, and again after it was killed.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (p *plant) run(args ...string) *running {
	p.t.Helper()
	return wattledger(p.t, options{limit: p.limit}, append(args, "--config", p.config, "--data", p.data)...)
}

func (p *plant) startBroker() {
	p.t.Helper()
	p.broker = p.run("embedded", "kafka", "--kafka-listen", p.kafka, "--metrics-listen", "off")
	p.broker.until("the broker serves", time.Minute, func() bool { return strings.Contains(p.broker.err.String(), "embedded kafka serves") })
}

func (p *plant) startEngine() {
	p.t.Helper()
	p.engine = p.run("embedded", "clickhouse", "--clickhouse-listen", p.house, "--metrics-listen", "off")
	p.engine.until("the engine is ready", time.Minute, func() bool { return strings.Contains(p.engine.err.String(), "embedded clickhouse ready") })
}

// ingester is one ingester with its way to the engine.
type ingester struct {
	*running
	toll *toll
}

func (p *plant) ingest(more ...string) *ingester {
	p.t.Helper()
	toll := newToll(p.t, p.house)
	args := append([]string{"ingest", "--metrics-listen", "127.0.0.1:0", "--set", "clickhouse.addresses=[" + toll.addr + "]"}, more...)
	return &ingester{p.run(args...), toll}
}

// kill ends a process as the kernel does that runs out of memory.
func (r *running) kill() {
	r.t.Helper()
	r.signal(syscall.SIGKILL)
	r.wait()
}

// sql asks the engine past all tolls.
func (p *plant) sql(format string, args ...any) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	text := fmt.Sprintf(format, args...)
	body, err := query(ctx, p.data, text)
	if err != nil {
		p.t.Fatalf("%s: %v", text, err)
	}
	return body
}

func (p *plant) number(format string, args ...any) int64 {
	p.t.Helper()
	n, err := strconv.ParseInt(p.sql(format, args...), 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// lag is where the group stands, by partition of the samples.
func (p *plant) lag() map[int]kafkaconn.PartitionLag {
	p.t.Helper()
	var last error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Second)
		all, err := kafkaconn.Lag(ctx, p.conn, group, []string{wire.TopicSample})
		cancel()
		if last = err; err == nil {
			out := map[int]kafkaconn.PartitionLag{}
			for _, l := range all {
				out[l.Partition] = l
			}
			return out
		}
	}
	p.t.Fatalf("the lag cannot be asked for: %v", last)
	return nil
}

// until waits for something that the plant brings about.
func (p *plant) until(what string, limit time.Duration, f func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(limit); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s: not within %s", what, limit)
		}
	}
}

// caughtUp waits until everything that Kafka has is committed.
func (p *plant) caughtUp() {
	p.t.Helper()
	p.until("everything is committed", 2*time.Minute, func() bool {
		for _, l := range p.lag() {
			if max(l.Committed, 0) != l.End {
				return false
			}
		}
		return true
	})
}

// uncommitted says whether rows or lines of these offsets are stored while the group's offset lies before them.
func (p *plant) uncommitted(i insert) bool {
	p.t.Helper()
	stored := p.number("SELECT count() FROM %s WHERE kafka_partition = %d AND kafka_offset BETWEEN %d AND %d", i.table, i.partition, i.first, i.last)
	return stored > 0 && p.lag()[i.partition].Committed <= i.first
}

// ahead says whether any partition has rows stored beyond the offset that is committed.
func (p *plant) ahead() bool {
	p.t.Helper()
	for _, l := range p.lag() {
		if p.number("SELECT count() FROM samples WHERE kafka_partition = %d AND kafka_offset >= %d", l.Partition, max(l.Committed, 0)) > 0 {
			return true
		}
	}
	return false
}
