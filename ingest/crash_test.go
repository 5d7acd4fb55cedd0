package ingest_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/ingest/clickhouse"
	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// fetch reads the messages of partition 0 of a topic as ingest does, and commits nothing.
func fetch(t *testing.T, conn kafkaconn.Config, topic string, n int) []pipeline.Message {
	t.Helper()
	cfg := kafkaconn.DefaultGroupConfig()
	cfg.Group, cfg.Topics, cfg.FetchWait = "a look at "+topic, []string{topic}, 20*time.Millisecond
	var out []pipeline.Message
	enough := errors.New("enough")
	c, err := kafkaconn.NewConsumer(conn, cfg, func(ctx context.Context, claim *kafkaconn.Claim) error {
		for len(out) < n {
			msgs, err := claim.Fetch(ctx, time.Second)
			if err != nil {
				return err
			}
			for _, m := range msgs {
				out = append(out, pipeline.Message{Topic: m.Topic, Offset: m.Offset, Key: m.Key, Value: m.Value, Received: unit.Micros(m.Time.UnixMicro())})
			}
		}
		return enough
	}, quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); !errors.Is(err, enough) {
		t.Fatal(err)
	}
	return out[:n]
}

// The process dies between the steps of a batch: after the rows, after the lines, before the commit.
func TestWhatWasStoredBeforeACrashIsNotStoredAgain(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 1), database(t)
	s, r := newSender(t, conn), rand.New(rand.NewPCG(7, 8))
	for seq := range uint64(9) {
		s.send(wire.TopicSample, "node-a", sampleBatch(r, "node-a", seq, 2, 3))
	}
	msgs := fetch(t, conn, wire.TopicSample, 9)
	store := clickhouse.New(fixed(db), 1, nil)
	defer store.Close()
	gather := func(known []pipeline.Stored, msgs []pipeline.Message) *pipeline.Pipeline {
		p := pipeline.New(pipeline.DefaultConfig(), wire.TopicSample, 0, known)
		p.Learn(p.Ask(msgs), nil)
		for _, m := range msgs {
			if !p.Offer(m, m.Received) {
				t.Fatalf("offset %d did not fit", m.Offset)
			}
		}
		return p
	}
	// The first ingester stores three messages with their lines, three with rows alone, and dies without a commit.
	done := gather(nil, msgs[:3]).Batch()
	if err := errors.Join(store.InsertRows(t.Context(), done, 0, 3), store.InsertMessages(t.Context(), done)); err != nil {
		t.Fatal(err)
	}
	known, err := store.Recall(t.Context(), wire.TopicSample, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	half := gather(known, msgs[3:6]).Batch()
	if err := store.InsertRows(t.Context(), half, 0, 3); err != nil {
		t.Fatal(err)
	}

	in := start(t, quick(), conn, fixed(db))
	ch := open(t, db)
	until(t, "all lines", func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") >= 9 })
	until(t, "counting", func() bool {
		return in.counter(t, "wattledger_ingest_repeats_total", "kind", "offset") == 6 && in.counter(t, "wattledger_ingest_messages_total") == 6
	})
	if n, d := one[uint64](t, ch, "SELECT count() FROM samples"), one[uint64](t, ch, "SELECT uniqExact(run, seq, device, tick) FROM samples"); n != 54 || d != 54 {
		t.Errorf("%d rows stored, %d of them distinct, want 54", n, d)
	}
	if n := one[uint64](t, ch, "SELECT sum(rows) FROM messages"); n != 54 {
		t.Errorf("lines speak of %d rows, want 54", n)
	}
	if n := in.counter(t, "wattledger_ingest_missing_total"); n != 0 {
		t.Errorf("%v missing, want none", n)
	}
}

// A client that got no answer sends the same insert again.
func TestTheSameInsertTwiceIsOneInsert(t *testing.T) {
	t.Parallel()
	db := database(t)
	store := clickhouse.New(fixed(db), 1, nil)
	defer store.Close()
	r := rand.New(rand.NewPCG(9, 10))
	var msgs []pipeline.Message
	for seq := range uint64(6) {
		b, err := proto.Marshal(sampleBatch(r, "node-a", seq, 2, 3))
		if err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, pipeline.Message{Topic: wire.TopicSample, Offset: int64(seq), Value: b, Received: unit.Micros(noon)})
	}
	p := pipeline.New(pipeline.DefaultConfig(), wire.TopicSample, 0, nil)
	p.Learn(p.Ask(msgs), nil)
	for _, m := range msgs {
		p.Offer(m, 0)
	}
	for range 3 {
		if err := errors.Join(store.InsertRows(t.Context(), p.Batch(), 0, 6), store.InsertMessages(t.Context(), p.Batch())); err != nil {
			t.Fatal(err)
		}
	}
	ch := open(t, db)
	if n := one[uint64](t, ch, "SELECT count() FROM samples"); n != 36 {
		t.Errorf("%d rows after three equal inserts, want 36", n)
	}
	if n := one[uint64](t, ch, "SELECT count() FROM messages"); n != 6 {
		t.Errorf("%d lines after three equal inserts, want 6", n)
	}
	run, nobody := p.Batch().Entries[0].Run, pipeline.Run{Site: "paris-1", Source: "nobody"}
	found, err := store.Histories(t.Context(), wire.TopicSample, []pipeline.Question{{Run: run, Seqs: []uint64{3, 6, 5, 99}}, {Run: nobody, Seqs: []uint64{1}}})
	if err != nil || len(found) != 1 {
		t.Fatalf("history is %v (%v), want that of one run", found, err)
	}
	slices.Sort(found[0].Stored)
	if a := found[0]; a.Run != run || a.Highest != 5 || !slices.Equal(a.Stored, []uint64{3, 5}) || a.Edge != (pipeline.Edge{Tick: unit.Micros(noon + 11_000_000), Received: unit.Micros(noon)}) {
		t.Errorf("history is %+v, want up to 5, with 3 and 5 of those asked about, the last tick and time of receipt", a)
	}
}

// What was stated is stated again, as after a crash of its sender, and both stand in one batch.
func TestRepeatsInABatchHideNoRows(t *testing.T) {
	t.Parallel()
	db := database(t)
	store := clickhouse.New(fixed(db), 1, nil)
	defer store.Close()
	allocations := func(offset int64, seq uint64, ids ...string) pipeline.Message {
		b := &wl.AllocationBatch{SchemaVersion: wire.SchemaVersion, Site: "paris-1", Source: "scheduler", Run: runOf("scheduler"), Sequence: seq, CompleteUpToUs: noon}
		for _, id := range ids {
			b.Allocations = append(b.Allocations, wire.AllocationTo(record.Allocation{
				ID: id, Device: "GPU-1", Share: unit.WholeDevice, Start: unit.Micros(noon), Tenant: "acme", Revision: 1,
			}))
		}
		value, err := proto.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		return pipeline.Message{Topic: wire.TopicAllocation, Offset: offset, Value: value, Received: unit.Micros(noon)}
	}
	msgs := []pipeline.Message{
		allocations(0, 0, "a", "b"), allocations(1, 0, "a", "b"), allocations(2, 1, "c"), allocations(3, 2), allocations(4, 1, "c"), allocations(5, 0, "a", "b"),
	}
	p := pipeline.New(pipeline.DefaultConfig(), wire.TopicAllocation, 0, nil)
	p.Learn(p.Ask(msgs), nil)
	for _, m := range msgs {
		p.Offer(m, 0)
	}
	if b := p.Batch(); len(b.Entries) != 6 || b.Repeats != 3 || len(b.Refused) != 0 {
		t.Fatalf("%d entries, %d repeats, %v refused", len(b.Entries), b.Repeats, b.Refused)
	}
	ch := open(t, db)
	f := func(from, to int, want ...string) {
		t.Helper()
		if err := store.InsertRows(t.Context(), p.Batch(), from, to); err != nil {
			t.Fatal(err)
		}
		if got := one[[]string](t, ch, "SELECT arraySort(groupArray(id)) FROM allocations"); !slices.Equal(got, want) {
			t.Errorf("entries %d to %d store %v, want %v", from, to, got, want)
		}
		if err := ch.Exec(t.Context(), "TRUNCATE TABLE allocations"); err != nil {
			t.Fatal(err)
		}
	}
	f(0, 6, "a", "b", "c")
	f(1, 6, "c")
	f(2, 6, "c")
	f(0, 2, "a", "b")
	f(3, 6)
}

func TestTwoIngestersShareAndHandOver(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 4), database(t)
	s, r := newSender(t, conn), rand.New(rand.NewPCG(11, 12))
	nodes := []string{"n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"}
	seq := uint64(0)
	send := func() {
		for _, n := range nodes {
			s.send(wire.TopicSample, n, sampleBatch(r, n, seq, 1, 2))
		}
		seq++
	}
	ch := open(t, db)
	stored := func() uint64 { return one[uint64](t, ch, "SELECT count() FROM samples") }
	a := start(t, quick(), conn, fixed(db))
	send()
	until(t, "a alone", func() bool { return stored() == 16 })
	b := start(t, quick(), conn, fixed(db))
	until(t, "b at work", func() bool { send(); return b.counter(t, "wattledger_ingest_messages_total") > 0 })
	for range 5 {
		send()
	}
	a.stop() // in the middle of it
	for range 5 {
		send()
	}
	until(t, "b alone", func() bool { return stored() >= 16*seq })
	until(t, "all lines", func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") == 8*seq })
	if n, d := stored(), one[uint64](t, ch, "SELECT uniqExact(run, seq, device, tick) FROM samples"); n != 16*seq || d != n {
		t.Errorf("%d rows stored, %d of them distinct, want %d", n, d, 16*seq)
	}
	for _, in := range []*running{a, b} {
		if n := in.counter(t, "wattledger_ingest_missing_total"); n != 0 {
			t.Errorf("%v missing, want none", n)
		}
	}
}

func TestTheEngineIsKilledWhileRowsArrive(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	conn, _ := kafkatest.StartOn(t, t.TempDir(), topics(2)...)
	engine := chtest.StartAt(t, data)
	migrate(t, engine.Config(t))
	// The engine comes back on another port: ingest asks again where it is.
	database := func() (chconn.Config, error) {
		cfg, err := chconn.EmbeddedConfig(data)
		cfg.Database = "default"
		return cfg, err
	}
	in := start(t, quick(), conn, database)
	s, r := newSender(t, conn), rand.New(rand.NewPCG(13, 14))
	seq := uint64(0)
	send := func(n int) {
		for range n {
			for _, node := range []string{"n1", "n2", "n3"} {
				s.send(wire.TopicSample, node, sampleBatch(r, node, seq, 2, 2))
			}
			seq++
		}
	}
	for range 3 {
		before := in.counter(t, "wattledger_ingest_messages_total")
		until(t, "rows flow", func() bool { send(1); return in.counter(t, "wattledger_ingest_messages_total") > before })
		engine.Kill()
		send(5)
		retries := in.counter(t, "wattledger_ingest_retries_total")
		until(t, "ingest notices", func() bool { send(1); return in.counter(t, "wattledger_ingest_retries_total") > retries })
		engine = chtest.StartAt(t, data)
	}
	ch := open(t, engine.Config(t))
	until(t, "all lines", func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") == 3*seq })
	if n, d := one[uint64](t, ch, "SELECT count() FROM samples"), one[uint64](t, ch, "SELECT uniqExact(run, seq, device, tick) FROM samples"); n != 12*seq || d != n {
		t.Errorf("%d rows stored, %d of them distinct, want %d", n, d, 12*seq)
	}
	if n := in.counter(t, "wattledger_ingest_missing_total"); n != 0 {
		t.Errorf("%v missing, want none", n)
	}
	if n := in.counter(t, "wattledger_ingest_refused_total"); n != 0 {
		t.Errorf("%v refused, want none: an engine that is away is no fault of a message", n)
	}
}
