package ingest_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/ingest/clickhouse"
	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

func gap(from, to int64) *wl.Incident {
	return &wl.Incident{Kind: string(record.IncidentGap), Reason: "hung", DeviceUuid: "GPU-1", FromUs: from, ToUs: to, Amount: 3}
}

func lost(first, last uint64) *wl.Incident {
	return &wl.Incident{
		Kind: string(record.IncidentLoss), Reason: "spool_full", FromUs: noon, ToUs: noon + 5, Amount: int64(last - first + 1), Run: runOf("before"),
		FirstSequence: first, LastSequence: last,
	}
}

// Incidents come with samples or alone. What is stated again, by whatever message, is one incident as it was stated last.
func TestIncidentsAreStoredOnce(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 1), database(t)
	s, r := newSender(t, conn), rand.New(rand.NewPCG(21, 22))
	m := func(seq uint64, ticks int, incidents ...*wl.Incident) *wl.SampleBatch {
		b := sampleBatch(r, "node-a", seq, ticks, 2)
		b.Incidents = incidents
		return b
	}
	again := m(1, 0, lost(7, 9))
	for _, b := range []*wl.SampleBatch{
		m(0, 2, gap(noon, noon+1), lost(3, 5)), again, again, m(2, 2), m(3, 0, gap(noon, noon+9)), // the gap went on
	} {
		s.send(wire.TopicSample, "node-a", b)
	}
	other := m(4, 1, gap(noon, noon+1))
	other.Incidents[0].Kind = "picnic"
	s.send(wire.TopicSample, "node-a", other)
	other.Incidents[0].Kind = string(record.IncidentMissing) // that is for ingest to find
	s.send(wire.TopicSample, "node-a", other)
	in := start(t, quick(), conn, fixed(db))
	ch := open(t, db)
	until(t, "five lines", func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") == 5 })
	f := func(query, want string) {
		t.Helper()
		if got := one[string](t, ch, query); got != want {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
	}
	f("SELECT toString(groupArray(tuple(kind, first_seq, last_seq, to_us - from_us, amount))) FROM (SELECT * FROM incident ORDER BY kind, first_seq)",
		"[('gap',0,0,9,3),('loss',3,5,5,3),('loss',7,9,5,3)]")
	f("SELECT toString(tuple(* EXCEPT received)) FROM incident WHERE first_seq = 3", fmt.Sprintf(
		"('paris-1','node-a','loss','spool_full','','2026-01-01 12:00:00.000000','2026-01-01 12:00:00.000005',%d,%d,3,'%x',3,5)", noon, noon+5, runOf("before")))
	f("SELECT toString(count()) FROM samples", "8")
	until(t, "counting", func() bool { return in.counter(t, "wattledger_ingest_messages_total") == 4 })
	for kind, want := range map[string]float64{"gap": 2, "loss": 2} {
		if got := in.counter(t, "wattledger_ingest_incidents_total", "kind", kind); got != want {
			t.Errorf("%v incidents of kind %s stored, want %v", got, kind, want)
		}
	}
	if got := in.counter(t, "wattledger_ingest_refused_total", "reason", "invalid"); got != 2 {
		t.Errorf("%v refused, want the two of a kind that a node cannot state", got)
	}
}

// The process dies after the rows of a message and before its incidents: they are stored with its line.
func TestIncidentsSurviveACrashBetweenRowsAndLine(t *testing.T) {
	t.Parallel()
	db := database(t)
	store := clickhouse.New(fixed(db), 1, nil)
	defer store.Close()
	b := sampleBatch(rand.New(rand.NewPCG(23, 24)), "node-a", 0, 2, 2)
	b.Incidents = []*wl.Incident{gap(noon, noon+1)}
	gather := func(known []pipeline.Stored) *pipeline.Batch {
		value, err := proto.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		p := pipeline.New(pipeline.DefaultConfig(), wire.TopicSample, 0, known)
		msgs := []pipeline.Message{{Topic: wire.TopicSample, Value: value, Received: unit.Micros(noon)}}
		p.Learn(p.Ask(msgs), nil)
		p.Offer(msgs[0], 0)
		return p.Batch()
	}
	if err := store.InsertRows(t.Context(), gather(nil), 0, 1); err != nil {
		t.Fatal(err)
	}
	ch := open(t, db)
	if err := ch.Exec(t.Context(), "TRUNCATE TABLE incidents"); err != nil {
		t.Fatal(err)
	}
	known, err := store.Recall(t.Context(), wire.TopicSample, 0, -1)
	if err != nil || len(known) != 1 || known[0].Noted {
		t.Fatalf("recalled %+v, %v", known, err)
	}
	rest := gather(known)
	if err := store.InsertRows(t.Context(), rest, 0, 1); err != nil {
		t.Fatal(err)
	}
	if rows, incidents := one[uint64](t, ch, "SELECT count() FROM samples"), one[uint64](t, ch, "SELECT count() FROM incident"); rows != 4 || incidents != 1 {
		t.Errorf("%d rows and %d incidents, want 4 and 1", rows, incidents)
	}
}

func TestReadingsArrive(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 1), database(t)
	s := newSender(t, conn)
	counter := func(at, value int64) *wl.Reading {
		return wire.ReadingTo(record.Reading{
			Meter: "node-a/psu", Quantity: "node_energy", Unit: "mJ", From: unit.Micros(at), To: unit.Micros(at), Value: value, Counter: true,
			Node: "node-a", Method: record.MethodCounter, Epoch: "boot 1",
		})
	}
	batch := func(seq uint64, readings ...*wl.Reading) *wl.ReadingBatch {
		return &wl.ReadingBatch{
			SchemaVersion: 1, Site: "paris-1", Source: "node-a/meters", Run: runOf("meters"), Sequence: seq, CompleteUpToUs: noon + int64(seq), Readings: readings,
		}
	}
	first := batch(0, counter(noon, 10), counter(noon+1, 20))
	water := wire.ReadingTo(record.Reading{Meter: "tower", Quantity: "water", Unit: "ml", From: unit.Micros(noon), To: unit.Micros(noon + 60), Value: -5})
	for _, b := range []*wl.ReadingBatch{first, first, batch(1, water), batch(2, counter(noon+1, 21)), batch(3)} {
		s.send(wire.TopicReading, "paris-1", b)
	}
	// Faults: whole messages are refused.
	s.raw(wire.TopicReading, "paris-1", []byte("this is no protobuf"))
	nobody := batch(4, counter(noon+2, 30))
	nobody.Source = ""
	s.send(wire.TopicReading, "paris-1", nobody)
	negative := batch(4, counter(noon+2, -1))
	s.send(wire.TopicReading, "paris-1", negative)
	future := batch(4)
	future.CompleteUpToUs = 5
	s.send(wire.TopicReading, "paris-1", future)

	in := start(t, quick(), conn, fixed(db))
	ch := open(t, db)
	until(t, "five lines", func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") == 5 })
	until(t, "four refused", func() bool { return in.counter(t, "wattledger_ingest_refused_total") == 4 })
	for _, reason := range []string{"undecodable", "no_identity", "invalid", "time"} {
		if got := in.counter(t, "wattledger_ingest_refused_total", "reason", reason); got != 1 {
			t.Errorf("refused as %s: %v, want 1", reason, got)
		}
	}
	f := func(query, want string) {
		t.Helper()
		if got := one[string](t, ch, query); got != want {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
	}
	f("SELECT toString(tuple(* EXCEPT received)) FROM reading WHERE value = 10", fmt.Sprintf(
		"('paris-1','node-a/meters','node-a','node-a/psu','node_energy','mJ',%d,%d,10,true,'counter','boot 1','%x',0)", noon, noon, runOf("meters")))
	f("SELECT toString(tuple(quantity, unit, to_us - from_us, value, counter, node, method, epoch)) FROM reading WHERE meter = 'tower'", "('water','ml',60,-5,false,'','','')")
	f("SELECT toString(groupArray(value)) FROM (SELECT value FROM reading WHERE meter != 'tower' ORDER BY from_us)", "[10,21]") // the later statement counts
	f("SELECT toString(tuple(sum(rows), toUnixTimestamp64Micro(max(complete_up_to)))) FROM messages WHERE topic = 'wl.reading.v1' AND source = 'node-a/meters'",
		fmt.Sprintf("(4,%d)", noon+3))
}
