//go:build bench

package bench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// ingestFigures is the last line of make bench-ingest.
type ingestFigures struct {
	Ceiling     float64 `json:"ceiling_rows_per_s"`
	Pipeline    float64 `json:"pipeline_rows_per_s"`
	Ratio       float64 `json:"ratio_to_ceiling"`
	CPUProtobuf float64 `json:"cpu_ratio_vs_kafka_engine_protobuf"`
	CPUJSON     float64 `json:"cpu_ratio_vs_kafka_engine_json"`
	PeakMiB     float64 `json:"peak_rss_mib"`

	Rows             int     `json:"rows"`
	CeilingCPU       float64 `json:"ceiling_cpu_s_per_million"`
	IngestCPU        float64 `json:"ingest_cpu_s_per_million"`
	EngineCPU        float64 `json:"engine_cpu_s_per_million"`
	PipelineCPU      float64 `json:"pipeline_cpu_s_per_million"`
	ProtobufCPU      float64 `json:"kafka_engine_protobuf_cpu_s_per_million"`
	JSONCPU          float64 `json:"kafka_engine_json_cpu_s_per_million"`
	ProtobufRows     float64 `json:"kafka_engine_protobuf_rows_per_s"`
	JSONRows         float64 `json:"kafka_engine_json_rows_per_s"`
	ProtobufPeakMiB  float64 `json:"kafka_engine_protobuf_peak_rss_mib"`
	JSONPeakMiB      float64 `json:"kafka_engine_json_peak_rss_mib"`
	RollupsRows      float64 `json:"rollups_rows_per_s,omitempty"`
	RollupsCPU       float64 `json:"rollups_cpu_s_per_million,omitempty"`
	BrokerCPU        float64 `json:"broker_cpu_s_per_million"`
	PipelineMergeCPU float64 `json:"pipeline_merges_after_cpu_s_per_million"`
}

// setting is a whole number from the environment.
func setting(t testing.TB, name string, byDefault int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return byDefault
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q; write a whole number above zero", name, text)
	}
	return n
}

// The backlog: so many nodes, messages of so many ticks each, 10 s apart.
const (
	backlogSeed  = 7
	backlogNodes = 250
	backlogTicks = 10
)

// The topics of the same rows, row by row. Ours is wire.TopicSample.
const (
	topicProtobuf = "bench.rows.protobuf"
	topicJSON     = "bench.rows.json"
)

// engineSettings are what the Kafka engine reads with. Tried on two cores: one consumer or two, with a thread each or not, blocks of
// 65,536 to a million rows, polls of 1,000 to 262,144 messages, a flush every 3 or 7.5 s. CPU per row differed by less than a
// fifth; these were the fastest and among the cheapest in both formats.
const engineSettings = "kafka_num_consumers = 2, kafka_thread_per_consumer = 1, kafka_max_block_size = 262144, kafka_poll_max_batch_size = 65536, " +
	"kafka_flush_interval_ms = 3000, kafka_poll_timeout_ms = 100"

// TestIngest measures what a backlog costs on its way from Kafka to rows that a query sees: ours, the Kafka engine's, and
// what the engine alone takes for the same rows. Rates leave out the joining of the group.
func TestIngest(t *testing.T) {
	messages := max(1, setting(t, "BENCH_ROWS", 1_200_000)/(backlogNodes*backlogTicks*gpus))
	rows := messages * backlogNodes * backlogTicks * gpus
	f := ingestFigures{Rows: rows}
	fmt.Printf("%d rows of %d columns: %d nodes of %d GPUs, messages of %d ticks (%d rows), seed %d, %d processors\n",
		rows, len(rowColumns)+3, backlogNodes, gpus, backlogTicks, backlogTicks*gpus, backlogSeed, runtime.NumCPU())
	s := startBroker(t)
	publishBacklog(t, s, messages)
	s.startEngine(t)

	rounds := setting(t, "BENCH_ROUNDS", 2)
	var ours cost
	for round := range rounds {
		if round > 0 {
			s.anew(t)
		}
		c := s.carry(t, rows, fmt.Sprint("bench-ours-", round), false)
		c.print("ours: Kafka, ingest, engine")
		ours = ours.cheaper(c)
	}
	f.Pipeline, f.IngestCPU, f.EngineCPU, f.PipelineCPU = ours.rate, ours.perMillion(ours.ingest), ours.perMillion(ours.engine), ours.perMillion(ours.ingest+ours.engine)
	f.BrokerCPU, f.PipelineMergeCPU, f.PeakMiB = ours.perMillion(ours.broker), ours.perMillion(ours.after), mib(ours.peakIngest+ours.peakEngine)
	fmt.Printf("  %-34s ingest %.0f MiB at most, engine %.0f MiB; %.0f parts, %.1f bytes a row\n", "", mib(ours.peakIngest), mib(ours.peakEngine),
		one[float64](t, s, "SELECT toFloat64(count()) FROM system.parts WHERE active AND database = 'wattledger' AND table = 'samples'"),
		one[float64](t, s, "SELECT sum(data_compressed_bytes) / sum(rows) FROM system.parts WHERE active AND database = 'wattledger' AND table = 'samples'"))
	sum := one[uint64](t, s, "SELECT %s FROM wattledger.samples", checksum())

	ceiling := s.ceiling(t, rows)
	f.Ceiling, f.CeilingCPU = ceiling.rate, ceiling.perMillion(ceiling.engine)

	if s.hasRollups(t) {
		s.anew(t)
		rollups := s.carry(t, rows, "bench-rollups", true)
		f.RollupsRows, f.RollupsCPU = rollups.rate, rollups.perMillion(rollups.ingest+rollups.engine)
		rollups.print("ours, until the rollups have it all")
	}

	ddl := one[string](t, s, "SELECT create_table_query FROM system.tables WHERE database = 'wattledger' AND name = 'samples'")
	s.engine.stop()

	settings := cmp.Or(os.Getenv("BENCH_KAFKA_ENGINE"), engineSettings)
	fmt.Printf("the Kafka engine: %s\n", settings)
	protobuf := kafkaEngine(t, s, ddl, topicProtobuf, "Protobuf", settings, rows, rounds, sum)
	f.ProtobufRows, f.ProtobufCPU, f.ProtobufPeakMiB = protobuf.rate, protobuf.perMillion(protobuf.engine), mib(protobuf.peakEngine)
	asJSON := kafkaEngine(t, s, ddl, topicJSON, "JSONEachRow", settings, rows, rounds, sum)
	f.JSONRows, f.JSONCPU, f.JSONPeakMiB = asJSON.rate, asJSON.perMillion(asJSON.engine), mib(asJSON.peakEngine)

	f.Ratio, f.CPUProtobuf, f.CPUJSON = f.Pipeline/f.Ceiling, f.ProtobufCPU/f.PipelineCPU, f.JSONCPU/f.PipelineCPU
	for _, row := range []struct {
		what        string
		value, goal float64
	}{
		{"ours over the ceiling, rows/s", f.Ratio, 0.5},
		{"CPU of the Kafka engine with Protobuf over ours", f.CPUProtobuf, 2.5},
		{"CPU of the Kafka engine with JSONEachRow over ours", f.CPUJSON, 5},
	} {
		fmt.Printf("  %-52s %8.2f times       aim %g: %s\n", row.what, row.value, row.goal, map[bool]string{true: "met", false: "NOT met"}[row.value >= row.goal])
	}
	line, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%s\n", line)
}

// hasRollups says whether the shipped schema has rollups.
func (s *stack) hasRollups(t testing.TB) bool {
	t.Helper()
	return one[uint64](t, s, "SELECT count() FROM system.tables WHERE database = 'wattledger' AND name = 'rollup_progress'") > 0
}

// rolledUp says whether every level of rollups holds all messages.
func (s *stack) rolledUp(t testing.TB) bool {
	t.Helper()
	return one[uint64](t, s, `SELECT count() FROM
		(SELECT kafka_partition, max(kafka_offset) AS last FROM wattledger.messages WHERE topic = '%s' GROUP BY kafka_partition) AS m
		LEFT JOIN (SELECT kafka_partition, kafka_offset AS at FROM wattledger.rollup_progress FINAL WHERE tier = '1h') AS p USING (kafka_partition)
		WHERE p.at < m.last`, wire.TopicSample) == 0
}

// publishBacklog encodes all messages in the three encodings and sends them, in the order of time.
func publishBacklog(t testing.TB, s *stack, messages int) {
	t.Helper()
	err := kafkaconn.EnsureTopics(t.Context(), s.conn, []kafkaconn.Topic{{Name: topicProtobuf, Partitions: 2}, {Name: topicJSON, Partitions: 2}})
	if err != nil {
		t.Fatal(err)
	}
	begun, cpu, brokerCPU := time.Now(), cpuTime(t), s.broker.cpu(t)
	topics := []string{wire.TopicSample, topicProtobuf, topicJSON}
	producers, bytes := make([]*kafkaconn.Producer, len(topics)), make([]int, len(topics))
	for i, topic := range topics {
		if producers[i], err = kafkaconn.NewProducer(s.conn, topic, nil); err != nil {
			t.Fatal(err)
		}
		defer producers[i].Close()
	}
	nodes := make([]*node, backlogNodes)
	for i := range nodes {
		nodes[i] = newNode(backlogSeed, i)
	}
	const span = backlogTicks * unit.Second
	start := unit.Micros(time.Now().UnixMicro())/span*span - unit.Micros(messages)*span
	batches := make([][]kafka.Message, len(topics))
	rows := 0
	send := func() {
		for i := range topics {
			if err := producers[i].Publish(t.Context(), batches[i]...); err != nil {
				t.Fatal(err)
			}
			batches[i] = batches[i][:0]
		}
	}
	for seq := range messages {
		for _, n := range nodes {
			m := n.message(uint64(seq), start+unit.Micros(seq)*span, unit.Second, backlogTicks)
			rows += len(m.TickUs)
			columnar, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			for i, value := range [][]byte{columnar, encodeRows(m, &protobufRows{}), encodeRows(m, &jsonRows{})} {
				bytes[i] += len(value)
				batches[i] = append(batches[i], kafka.Message{Key: []byte(m.Node), Value: value})
			}
		}
		send()
	}
	fmt.Printf("encoded and published in %.0f s: generator %.1f and broker %.1f CPU-seconds; bytes a row before zstd: ours %d, Protobuf %d, JSON %d\n",
		time.Since(begun).Seconds(), (cpuTime(t) - cpu).Seconds(), (s.broker.cpu(t) - brokerCPU).Seconds(), bytes[0]/rows, bytes[1]/rows, bytes[2]/rows)
}

// cost is what rows took.
type cost struct {
	rows, rate             float64
	ingest, engine, broker time.Duration // CPU until all rows are seen
	after                  time.Duration // CPU of the engine's merges after that
	peakIngest, peakEngine int64
}

func (c cost) perMillion(d time.Duration) float64 { return d.Seconds() / c.rows * 1e6 }

// cheaper is the one of two runs that took less CPU. The first run of a process pays for a cold engine, in ours and in its peers'.
func (c cost) cheaper(other cost) cost {
	if c.rows == 0 || other.ingest+other.engine < c.ingest+c.engine {
		return other
	}
	return c
}

func (c cost) print(what string) {
	fmt.Printf("  %-34s %8.0f rows/s   CPU-seconds per million rows: %5.2f (ingest %.2f, engine %.2f), merges after %.2f; broker %.2f\n", what, c.rate,
		c.perMillion(c.ingest+c.engine), c.perMillion(c.ingest), c.perMillion(c.engine), c.perMillion(c.after), c.perMillion(c.broker))
}

// watch waits until count says that all rows are there, and returns how many a second came: after the first that were seen, or all from
// the moment at which reading says that it has begun. Asking costs the engine some milliseconds, so it asks seldom until the end is near.
func watch(t testing.TB, rows int, count func() uint64, reading func() bool, why func() string) float64 {
	t.Helper()
	var first uint64
	begun, began := time.Now(), false
	for deadline := time.Now().Add(3 * time.Minute); ; {
		n := count()
		rate := float64(n-first) / time.Since(begun).Seconds()
		pause := 100 * time.Millisecond
		switch {
		case n >= uint64(rows):
			return rate
		case time.Now().After(deadline):
			t.Fatalf("%d of %d rows after three minutes: %s", n, rows, why())
		case !began && (n > 0 || reading != nil && reading()):
			first, begun, began = n, time.Now(), true
		case began && rate > 0:
			left := time.Duration((float64(rows) - float64(n)) / rate * float64(time.Second))
			pause = min(max(left/4, 25*time.Millisecond), 500*time.Millisecond)
		}
		time.Sleep(pause)
	}
}

// carry has an ingester of a new group take the backlog into empty tables. Rollups are left out, or built every 10 s instead of every
// minute and ten; then the cost is counted until they are complete, and the rate as ever.
func (s *stack) carry(t testing.TB, rows int, group string, rollups bool) cost {
	t.Helper()
	args := []string{"--set", "ingest.consumer.group.group=" + group}
	switch {
	case rollups:
		args = append(args, "--set", "ingest.rollup.every=10s", "--set", "ingest.rollup.every_hour=10s")
	case s.hasRollups(t):
		args = append(args, "--set", "ingest.rollup.enabled=false")
	}
	s.engine.forget(t)
	engine, broker := s.engine.cpu(t), s.broker.cpu(t)
	p := s.ingest(t, args...)
	c := cost{rows: float64(rows)}
	c.rate = watch(t, rows, func() uint64 {
		p.cpu(t) // says so when it is gone
		return one[uint64](t, s, "SELECT count() FROM wattledger.samples")
	}, nil, func() string { return tail(p.log.String()) })
	for deadline := time.Now().Add(2 * time.Minute); rollups && !s.rolledUp(t); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the rollups do not hold all after two minutes: %s", tail(p.log.String()))
		}
	}
	c.ingest, c.engine, c.broker = p.cpu(t), s.engine.cpu(t)-engine, s.broker.cpu(t)-broker
	c.peakIngest, c.peakEngine = p.peak(t), s.engine.peak(t)
	p.stop()
	c.after = s.settle(t)
	return c
}

// settle waits until the engine has nothing to merge, and returns the CPU it took meanwhile.
func (s *stack) settle(t testing.TB) time.Duration {
	t.Helper()
	before := s.engine.cpu(t)
	for quiet, deadline := 0, time.Now().Add(30*time.Second); quiet < 5 && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		quiet++
		if one[uint64](t, s, "SELECT count() FROM system.merges") > 0 {
			quiet = 0
		}
	}
	return s.engine.cpu(t) - before
}

// ceiling has the engine insert the rows that it stored into a table of the same kind, from memory and in the order in which
// they came: with one thread and with all, the faster of two runs each.
func (s *stack) ceiling(t testing.TB, rows int) (best cost) {
	t.Helper()
	s.exec(t, "CREATE TABLE default.memory AS wattledger.samples ENGINE = Memory")
	s.exec(t, "INSERT INTO default.memory SELECT * FROM wattledger.samples ORDER BY kafka_partition, kafka_offset, tick, device SETTINGS max_threads = 1")
	for _, threads := range []int{1, runtime.NumCPU()} {
		run := cost{}
		for range 2 {
			s.exec(t, "CREATE TABLE default.raw AS wattledger.samples")
			s.engine.forget(t)
			cpu, begun := s.engine.cpu(t), time.Now()
			s.exec(t, "INSERT INTO default.raw SELECT * FROM default.memory SETTINGS max_insert_threads = %d, max_threads = %d", threads, threads)
			c := cost{rows: float64(rows), rate: float64(rows) / time.Since(begun).Seconds(), engine: s.engine.cpu(t) - cpu, peakEngine: s.engine.peak(t)}
			c.after = s.settle(t)
			s.exec(t, "DROP TABLE default.raw SYNC")
			if c.rate > run.rate {
				run = c
			}
		}
		run.print(fmt.Sprintf("ceiling: from memory, %d threads", threads))
		fmt.Printf("  %-34s engine %.0f MiB at most, the rows' own memory in it\n", "", mib(run.peakEngine))
		if run.rate > best.rate {
			best = run
		}
	}
	s.exec(t, "DROP TABLE default.memory SYNC")
	return best
}

// checksum is an expression over a table of samples that two tables share which hold the same rows in any order.
func checksum() string {
	var names []string
	for _, c := range rowColumns {
		names = append(names, c.name)
	}
	return "sum(cityHash64(" + strings.Join(names, ", ") + "))"
}

// kafkaEngine has ClickHouse's own Kafka engine take the same rows from the same broker into the same table.
func kafkaEngine(t testing.TB, s *stack, ddl, topic, format, settings string, rows, rounds int, sum uint64) (best cost) {
	t.Helper()
	e := startBareEngine(t)
	defer e.stop()
	if err := os.WriteFile(e.dir+"/bench.proto", []byte(rowSchema()), 0o600); err != nil {
		t.Fatal(err)
	}
	e.ask(t, "CREATE DATABASE wattledger")
	e.ask(t, "%s", ddl)
	var columns, selected []string
	for _, c := range rowColumns {
		columns = append(columns, c.name+" "+c.sql)
		switch c.name {
		case "tick":
			selected = append(selected, "fromUnixTimestamp64Micro(tick, 'UTC') AS tick")
		case "energy_source":
			selected = append(selected, "CAST(energy_source, 'Enum8(\\'unknown\\' = 0, \\'hardware\\' = 1, \\'integrated\\' = 2, \\'none\\' = 3)') AS energy_source")
		default:
			selected = append(selected, c.name)
		}
	}
	schema := ""
	if format == "Protobuf" {
		schema = ", kafka_schema = 'bench:Row'"
	}
	ask := func(sql string) uint64 {
		n, err := strconv.ParseUint(strings.TrimSpace(e.ask(t, "%s", sql)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for round := range rounds {
		e.ask(t, "CREATE TABLE wattledger.source (%s) ENGINE = Kafka SETTINGS kafka_broker_list = '%s', kafka_topic_list = '%s', kafka_group_name = '%s', kafka_format = '%s'%s, %s",
			strings.Join(columns, ", "), s.conn.Brokers[0], topic, fmt.Sprint(topic, "-", round), format, schema, settings)
		e.forget(t)
		engine, broker := e.cpu(t), s.broker.cpu(t)
		e.ask(t, "CREATE MATERIALIZED VIEW wattledger.carry TO wattledger.samples AS SELECT %s, _timestamp_ms AS received, toInt32(_partition) AS kafka_partition, toInt64(_offset) AS kafka_offset FROM wattledger.source",
			strings.Join(selected, ", "))
		c := cost{rows: float64(rows)}
		c.rate = watch(t, rows, func() uint64 { return ask("SELECT count() FROM wattledger.samples") }, func() bool {
			return ask("SELECT sum(num_messages_read) FROM system.kafka_consumers") > 0 // its blocks are too few to count from the first
		}, func() string {
			return e.ask(t, "SELECT num_messages_read, num_rebalance_assignments, substring(exceptions.text[-1], 1, 300) FROM system.kafka_consumers") + tail(e.log.String())
		})
		c.engine, c.broker, c.peakEngine = e.cpu(t)-engine, s.broker.cpu(t)-broker, e.peak(t)
		e.ask(t, "DROP VIEW wattledger.carry SYNC")
		before := e.cpu(t)
		time.Sleep(2 * time.Second)
		c.after = e.cpu(t) - before
		c.print("Kafka engine, " + format)
		fmt.Printf("  %-34s engine %.0f MiB at most; %d parts made\n", "", mib(c.peakEngine), ask("SELECT uniqExact(name) FROM system.parts WHERE database = 'wattledger' AND table = 'samples' AND level = 0"))
		if got := ask("SELECT " + checksum() + " FROM wattledger.samples"); got != sum {
			t.Errorf("the Kafka engine with %s stored other rows than we did: checksum %d, want %d", format, got, sum)
		}
		e.ask(t, "DROP TABLE wattledger.source SYNC")
		e.ask(t, "TRUNCATE TABLE wattledger.samples")
		best = best.cheaper(c)
	}
	return best
}
