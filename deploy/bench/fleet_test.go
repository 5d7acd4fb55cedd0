//go:build bench

package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// fleetFigures is the last line of make bench-fleet.
type fleetFigures struct {
	P50     float64 `json:"lag_p50_s"`
	P99     float64 `json:"lag_p99_s"`
	Cores   float64 `json:"cpu_cores"`
	RSSMiB  float64 `json:"rss_mib"`
	MaxRate float64 `json:"max_rate_hz"`

	GPUs         int     `json:"gpus"`
	Seconds      int     `json:"seconds"`
	Rows         int64   `json:"rows"`
	Max          float64 `json:"lag_max_s"`
	IngestCores  float64 `json:"ingest_cpu_cores"`
	EngineCores  float64 `json:"engine_cpu_cores"`
	BrokerCores  float64 `json:"broker_cpu_cores"`
	OwnCores     float64 `json:"generator_cpu_cores"`
	IngestRSSMiB float64 `json:"ingest_rss_mib"`
	EngineRSSMiB float64 `json:"engine_rss_mib"`
	MaxRows      float64 `json:"max_rows_per_s"`
}

// TestFleet plays a fleet of nodes with the collector's default message size through broker, ingest and engine as shipped.
//
// Lag is measured row by row: every 200 ms a query asks the engine for the rows it has not been seen to hold yet, by partition and
// offset, and the lag of those rows is the time at which the answer was here less the energy counter's own time stamp, which stands in
// the row. So it includes the up to one second that a row waits on its node for the message to fill, and up to 200 ms of this
// measurement. In the end the rows seen are counted against those sent. The queries' cost is in the engine's CPU.
//
// All nodes read at the same instant, as collectors do that have no phase configured, and send at once.
func TestFleet(t *testing.T) {
	nodes := setting(t, "BENCH_GPUS", 18_000) / gpus
	seconds, step := setting(t, "BENCH_SECONDS", 300), setting(t, "BENCH_STEP_SECONDS", 20)
	f := fleetFigures{GPUs: nodes * gpus, Seconds: seconds}
	s := startBroker(t)
	s.startEngine(t)
	ingest := s.ingest(t)
	fl := newFleet(t, s, nodes)
	eyes := watchRows(t, s)

	fmt.Printf("%d GPUs on %d nodes at 1 Hz for %d s, after 10 s to settle\n", f.GPUs, nodes, seconds)
	fl.play(t, 1, 10*time.Second)
	s.engine.forget(t)
	ingest.forget(t)
	s.broker.forget(t)
	m := s.measure(t, ingest, fl, eyes, 1, time.Duration(seconds)*time.Second)
	m.print(1)
	f.P50, f.P99, f.Max, f.Rows = m.p50, m.p99, m.max, m.rows
	f.IngestCores, f.EngineCores, f.BrokerCores, f.OwnCores, f.Cores = m.ingest, m.engine, m.broker, m.own, m.ingest+m.engine
	f.IngestRSSMiB, f.EngineRSSMiB = mib(ingest.peak(t)), mib(s.engine.peak(t))
	f.RSSMiB = f.IngestRSSMiB + f.EngineRSSMiB
	fmt.Printf("  memory at most: ingest %.0f MiB, engine %.0f MiB; broker %.0f MiB\n", f.IngestRSSMiB, f.EngineRSSMiB, mib(s.broker.peak(t)))
	if m.keptUp() {
		f.MaxRate = 1
	}
	fmt.Printf("rates raised, %d s each, until the last row is not seen within 3 s of the last message, or the messages cannot be sent in time\n", step)
	for _, rate := range []int{2, 4, 6, 8, 10, 12, 14, 16, 20, 24} {
		if f.MaxRate == 0 {
			break
		}
		m := s.measure(t, ingest, fl, eyes, rate, time.Duration(step)*time.Second)
		m.print(rate)
		if !m.keptUp() {
			break
		}
		f.MaxRate = float64(rate)
	}
	f.MaxRows = f.MaxRate * float64(f.GPUs)
	if !eyes.all(fl.sent.Load(), time.Minute) {
		t.Errorf("%d rows were seen and %d sent", eyes.rows.Load(), fl.sent.Load())
	}
	if stored := one[uint64](t, s, "SELECT count() FROM wattledger.samples"); stored != uint64(fl.sent.Load()) {
		t.Errorf("%d rows are stored and %d were sent", stored, fl.sent.Load())
	}
	for _, row := range []struct {
		what, unit string
		value, aim float64
		met        bool
	}{
		{"lag p99 at 1 Hz", "s", f.P99, 3, f.P99 < 3},
		{"highest rate that keeps up", "Hz", f.MaxRate, 10, f.MaxRate >= 10},
	} {
		fmt.Printf("  %-34s %8.2f %-3s aim %g: %s\n", row.what, row.value, row.unit, row.aim, map[bool]string{true: "met", false: "NOT met"}[row.met])
	}
	line, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%s\n", line)
}

// fleet sends what the nodes read.
type fleet struct {
	client     *kafka.Client
	writers    []*writer
	partitions []int // of the nodes
	sent       atomic.Int64
}

func newFleet(t testing.TB, s *stack, nodes int) *fleet {
	t.Helper()
	f := &fleet{client: &kafka.Client{Addr: kafka.TCP(s.conn.Brokers...), Timeout: 30 * time.Second, Transport: &kafka.Transport{ClientID: "bench"}}}
	meta, err := f.client.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{wire.TopicSample}})
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, p := range meta.Topics[0].Partitions {
		all = append(all, p.ID)
	}
	for i := range nodes {
		w := newWriter(t, i)
		f.writers = append(f.writers, w)
		f.partitions = append(f.partitions, kafka.Murmur2Balancer{Consistent: true}.Balance(kafka.Message{Key: w.name}, all...))
	}
	return f
}

// messageTicks is how many ticks a message of the shipped collector holds: it leaves before a tick that would find its first row
// older than max_age, or too large.
func messageTicks(period unit.Micros) int {
	cfg := agent.DefaultConfig()
	perTick := 0
	for _, c := range rowColumns[7:] { // energy_source, the times and the metrics: about what the agent counts
		perTick += map[string]int{"fixed64": 8, "sfixed64": 8, "fixed32": 4, "float": 4, "uint32": 2}[c.protobuf] * gpus
	}
	return min(int(unit.Micros(cfg.MaxAge.Microseconds())/period)+1, cfg.MaxBytes/perTick)
}

// play has every node read at the rate for a while, and returns by how much a message was sent late at most. Messages fill at
// different ticks on different nodes.
func (f *fleet) play(t testing.TB, rate int, span time.Duration) (late time.Duration) {
	t.Helper()
	period := unit.Second / unit.Micros(rate) / unit.Millisecond * unit.Millisecond
	ticks := messageTicks(period)
	metrics := newFrames(t, 60, ticks, period)
	const senders = 16
	type job struct {
		node int
		last unit.Micros
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wait sync.WaitGroup
	var worst atomic.Int64
	var fault atomic.Pointer[error]
	jobs := make([]chan job, senders)
	for i := range jobs {
		jobs[i] = make(chan job, len(f.writers))
		wait.Go(func() {
			for j := range jobs[i] {
				w := f.writers[j.node]
				batch := w.next(metrics.of[(int(w.seq)+j.node)%len(metrics.of)], ticks, j.last, period)
				if err := f.send(ctx, f.partitions[j.node], batch); err != nil {
					fault.CompareAndSwap(nil, &err)
					cancel()
					continue
				}
				f.sent.Add(int64(ticks * gpus))
				worst.Store(max(worst.Load(), time.Now().UnixMicro()-int64(j.last)))
			}
		})
	}
	begin := (unit.Micros(time.Now().UnixMicro())/period + 1) * period
	total := int(unit.Micros(span.Microseconds()) / period)
	for k := 0; k < total && ctx.Err() == nil; k++ {
		at := begin + unit.Micros(k)*period
		time.Sleep(time.Until(at.Time()))
		if k < ticks-1 {
			continue // no message is full yet
		}
		for n := (k + 1) % ticks; n < len(f.writers); n += ticks {
			jobs[n%senders] <- job{n, at}
		}
	}
	for i := range jobs {
		close(jobs[i])
	}
	wait.Wait()
	if err := fault.Load(); err != nil {
		t.Fatal(*err)
	}
	return time.Duration(worst.Load()) * time.Microsecond
}

func (f *fleet) send(ctx context.Context, partition int, batch []byte) error {
	size := binary.BigEndian.AppendUint32(nil, uint32(len(batch))) // the request has the set's size before it
	resp, err := f.client.RawProduce(ctx, &kafka.RawProduceRequest{
		Topic: wire.TopicSample, Partition: partition, RequiredAcks: kafka.RequireAll, RawRecords: protocol.RawRecordSet{Reader: io.MultiReader(bytes.NewReader(size), bytes.NewReader(batch))},
	})
	if err != nil {
		return err
	}
	return resp.Error
}

// eyes see rows as they become visible to queries.
type eyes struct {
	rows atomic.Int64
	mu   sync.Mutex
	from unit.Micros       // rows stamped before it do not count in lags; guarded by mu
	lags map[int64]float64 // rows by lag in steps of 10 ms; guarded by mu
}

// watchRows polls until the test ends.
func watchRows(t testing.TB, s *stack) *eyes {
	t.Helper()
	e := &eyes{lags: map[int64]float64{}}
	offsets := map[int32]int64{}
	for _, p := range [...]int32{0, 1, 2, 3, 4, 5, 6, 7} { // no row is missed on partitions that nobody writes to
		offsets[p] = -1
	}
	look := func(ctx context.Context) error {
		var unseen []string
		for p, o := range offsets {
			unseen = append(unseen, fmt.Sprintf("(kafka_partition = %d AND kafka_offset > %d)", p, o))
		}
		rows, err := s.db.Query(ctx, "SELECT kafka_partition, max(kafka_offset), intDiv(energy_ts, 10000) AS stamped, count() FROM wattledger.samples WHERE "+
			strings.Join(unseen, " OR ")+" GROUP BY kafka_partition, stamped")
		if err != nil {
			return err
		}
		defer rows.Close()
		now := time.Now().UnixMicro()
		e.mu.Lock()
		defer e.mu.Unlock()
		for rows.Next() {
			var partition int32
			var offset int64
			var stamped, n uint64
			if err := rows.Scan(&partition, &offset, &stamped, &n); err != nil {
				return err
			}
			offsets[partition] = max(offsets[partition], offset)
			e.rows.Add(int64(n))
			if at := int64(stamped) * 10_000; at >= int64(e.from) {
				e.lags[(now-at)/10_000] += float64(n)
			}
		}
		return rows.Err()
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			next := time.Now().Add(200 * time.Millisecond)
			if err := look(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
				return
			}
			time.Sleep(time.Until(next))
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return e
}

// all waits until so many rows were seen.
func (e *eyes) all(rows int64, limit time.Duration) bool {
	for deadline := time.Now().Add(limit); e.rows.Load() < rows; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return e.rows.Load() == rows
}

// begin forgets the lags and counts those of rows stamped from now on.
func (e *eyes) begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.from = unit.Micros(time.Now().UnixMicro())
	clear(e.lags)
}

// quantile is the lag in seconds that a share of the rows did not exceed.
func (e *eyes) quantile(share float64) float64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all float64
	top := int64(0)
	for lag, n := range e.lags {
		all, top = all+n, max(top, lag)
	}
	if all == 0 {
		return math.Inf(1)
	}
	var sum float64
	for lag := int64(0); lag <= top; lag++ {
		if sum += e.lags[lag]; sum >= share*all {
			return float64(lag+1) / 100
		}
	}
	return float64(top+1) / 100
}

// measured is a while at one rate. CPU is in cores.
type measured struct {
	rows                        int64
	p50, p99, max               float64
	ingest, engine, broker, own float64
	// late is how long after its last tick a message was acknowledged at most, behind how long after the last one the last row was seen.
	late, behind time.Duration
}

// keptUp says that nothing piled up, neither before the broker nor behind it.
func (m measured) keptUp() bool { return m.late < 2*time.Second && m.behind < 3*time.Second }

func (s *stack) measure(t testing.TB, ingest *program, f *fleet, e *eyes, rate int, span time.Duration) (m measured) {
	t.Helper()
	rows := f.sent.Load()
	e.begin()
	begun := time.Now()
	of := func() [4]time.Duration {
		return [4]time.Duration{ingest.cpu(t), s.engine.cpu(t), s.broker.cpu(t), cpuTime(t)}
	}
	before := of()
	m.late = f.play(t, rate, span)
	after := of()
	wall := time.Since(begun)
	for i, to := range []*float64{&m.ingest, &m.engine, &m.broker, &m.own} {
		*to = float64(after[i]-before[i]) / float64(wall)
	}
	m.rows = f.sent.Load() - rows
	e.all(f.sent.Load(), 2*time.Minute) // what does not come at all shows in the end
	m.behind = time.Since(begun) - wall
	m.p50, m.p99, m.max = e.quantile(0.5), e.quantile(0.99), e.quantile(1)
	return m
}

func (m measured) print(rate int) {
	fmt.Printf("  %2d Hz: lag p50 %.2f s, p99 %.2f s, at most %.2f s; cores: ingest %.2f, engine %.2f, broker %.2f, generator %.2f; %d rows; sent %.2f s after the tick at most, the last seen %.2f s after the last sent\n",
		rate, m.p50, m.p99, m.max, m.ingest, m.engine, m.broker, m.own, m.rows, m.late.Seconds(), m.behind.Seconds())
}
