package ingest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/ingest"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Collectors are upgraded one by one, before ingest or after it. What a newer one adds is left out, what it says in our words is
// stored, and what cannot be stored without its words is kept for later.
func TestMessagesOfOtherSchemaVersions(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 1), startDatabase(t)
	s, r := newSender(t, conn), rand.New(rand.NewPCG(41, 42))
	want := map[string][]any{}
	send := func(seq uint64, version uint32) {
		m := sampleBatch(r, "node-a", seq, 2, 2)
		m.SchemaVersion = version
		expect(want, m)
		s.send(wire.TopicSample, "node-a", m)
	}
	send(0, 0) // older: before there were versions
	send(1, wire.SchemaVersion)
	// Newer: a metric, a text and a number that we have no field for.
	m := sampleBatch(r, "node-a", 2, 2, 2)
	m.SchemaVersion = wire.SchemaVersion + 1
	expect(want, m)
	value, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	value = protowire.AppendTag(value, 200, protowire.BytesType)
	value = protowire.AppendBytes(value, make([]byte, 8*len(m.TickUs)))
	value = protowire.AppendTag(value, 201, protowire.BytesType)
	value = protowire.AppendString(value, "a text of tomorrow")
	value = protowire.AppendTag(value, 202, protowire.VarintType)
	value = protowire.AppendVarint(value, 7)
	s.raw(wire.TopicSample, "node-a", value)
	// Newer: a kind of device, and of incident, that we have no word for.
	device := sampleBatch(r, "node-a", 3, 1, 2)
	device.SchemaVersion, device.Devices[0].Kind = wire.SchemaVersion+1, 9
	s.send(wire.TopicSample, "node-a", device)
	incident := sampleBatch(r, "node-a", 4, 1, 2)
	incident.SchemaVersion, incident.Incidents = wire.SchemaVersion+1, []*wl.Incident{{Kind: "eclipse", Reason: "moon", FromUs: noon, ToUs: noon + 1}}
	s.send(wire.TopicSample, "node-a", incident)
	send(5, wire.SchemaVersion)

	in := start(t, quick(), conn, fixed(db))
	ch := open(t, db)
	until(t, "four lines", func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") == 4 })
	until(t, "two refused", func() bool {
		return in.counter(t, "wattledger_ingest_refused_total", "reason", "newer_schema") == 2 && in.counter(t, "wattledger_ingest_newer_schema_total") == 1
	})
	for _, value := range readAll(t, conn, wire.TopicRefused, 2) {
		var m wl.Refused
		if err := proto.Unmarshal(value, &m); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(m.Detail, "upgrade ingest, then replay it") || len(m.Value) == 0 {
			t.Errorf("kept with the detail %q and %d bytes", m.Detail, len(m.Value))
		}
	}
	sameRows(t, ch, want)
	if got := one[string](t, ch, "SELECT toString(groupArray((first_seq, last_seq))) FROM missing"); got != "[(3,4)]" {
		t.Errorf("missing are %s, want the two in quarantine", got)
	}
}

// A name that no query could ask about is put aside; it does not hold up its partition.
func TestANameThatIsTooLongIsRefused(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 1), startDatabase(t)
	s, r := newSender(t, conn), rand.New(rand.NewPCG(43, 44))
	s.send(wire.TopicSample, "x", sampleBatch(r, strings.Repeat("x", 400_000), 0, 1, 1))
	s.send(wire.TopicSample, "x", sampleBatch(r, strings.Repeat("x", wire.MaxNameBytes), 3, 1, 1))
	in := start(t, quick(), conn, fixed(db))
	ch := open(t, db)
	until(t, "one line", func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") == 1 })
	until(t, "one refused", func() bool { return in.counter(t, "wattledger_ingest_refused_total", "reason", "no_identity") == 1 })
}

// Many runs, each more than once, by way of the database: memory stays in its bound and rows stand once.
func TestRunsThatWereForgottenAreRecognised(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 1), startDatabase(t)
	s, r := newSender(t, conn), rand.New(rand.NewPCG(45, 46))
	const nodes = 510
	s.open(wire.TopicSample)
	for range 2 {
		var sending sync.WaitGroup
		for i := range nodes {
			b, err := proto.Marshal(sampleBatch(r, fmt.Sprint("n", i), 0, 1, 1))
			if err != nil {
				t.Fatal(err)
			}
			sending.Go(func() {
				if err := s.to[wire.TopicSample].Publish(t.Context(), nil, b); err != nil {
					t.Error(err)
				}
			})
		}
		sending.Wait()
	}
	cfg := quick()
	cfg.Batch.RememberSpans = 1000
	in := start(t, cfg, conn, fixed(db))
	ch := open(t, db)
	until(t, "all lines", func() bool {
		if n := in.counter(t, "wattledger_ingest_remembered_spans"); n > 1000 {
			t.Fatalf("%v runs and spans are remembered", n)
		}
		return one[uint64](t, ch, "SELECT count() FROM messages") == 2*nodes
	})
	if rows := one[uint64](t, ch, "SELECT count() FROM samples"); rows != nodes {
		t.Errorf("%d rows, want %d", rows, nodes)
	}
	if in.counter(t, "wattledger_ingest_forgotten_runs_total") == 0 || in.counter(t, "wattledger_ingest_remembered_spans") == 0 {
		t.Error("nothing was forgotten, or nothing is remembered")
	}
}

// The database may come up after ingest does; with another schema it is an error before anything is read.
func TestADatabaseOfAnotherVersionIsAnError(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 1), chtest.Start(t)
	up := make(chan struct{})
	database := func() (chconn.Config, error) {
		select {
		case <-up:
			return db, nil
		default:
			return db, errors.New("not up yet")
		}
	}
	reg := prometheus.NewRegistry()
	in, err := ingest.New(quick(), conn, database, quiet, reg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- in.Run(t.Context()) }()
	seen := &running{reg: reg}
	until(t, "waiting", func() bool { return seen.counter(t, "wattledger_ingest_retries_total", "what", "schema") > 0 })
	close(up)
	select {
	case err := <-done:
		if !errors.Is(err, schema.ErrVersion) {
			t.Errorf("ends with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("goes on without tables")
	}
}
