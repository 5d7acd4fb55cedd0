package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Ingesters join and leave under load, in peace or not; the partitions pass between them.
func TestIngestersComeAndGo(t *testing.T) {
	t.Parallel() // it mostly waits
	comeAndGo(t, 5, uint64(time.Now().UnixNano()), 5*time.Minute)
}

func comeAndGo(t *testing.T, changes int, seed uint64, limit time.Duration) {
	t.Helper()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	p := newPlant(t, 4, limit)
	f := newFleet(p, 6, random)
	members := []*ingester{p.ingest(), p.ingest()}
	f.run(20 * time.Millisecond)
	for range changes {
		time.Sleep(200*time.Millisecond + time.Duration(random.Int64N(int64(800*time.Millisecond))))
		if len(members) == 1 || len(members) < 3 && random.IntN(2) == 0 {
			members = append(members, p.ingest())
			continue
		}
		i := random.IntN(len(members))
		if random.IntN(2) == 0 {
			members[i].stops()
		} else {
			members[i].kill()
		}
		members = slices.Delete(members, i, i+1)
	}
	p.storedOnce(f)
	var generations float64
	for _, m := range members {
		generations += m.metric("wattledger_kafka_generations_total")
	}
	t.Logf("%d changes; %d ingesters in the end, which took part in %v generations", changes, len(members), generations)
}

// What changes around an ingester that goes on running.
func TestWhatChangesUnderAnIngester(t *testing.T) {
	t.Parallel() // it mostly waits
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	p := newPlant(t, 1, 5*time.Minute)
	f := newFleet(p, 3, rand.New(rand.NewPCG(seed, 0)))
	in := p.ingest()
	some := func() {
		for range 5 {
			for _, n := range f.nodes {
				f.send(n, nil)
			}
		}
	}
	// now holds all that was sent up to here against what is stored.
	now := func(t *testing.T) {
		t.Helper()
		p.t = t
		p.storedOnce(f)
	}

	t.Run("poison", func(t *testing.T) {
		for kind := range spoils {
			some()
			f.poison(f.nodes[kind%len(f.nodes)], kind)
		}
		some()
		now(t)
		if got := in.metric("wattledger_ingest_refused_total"); got != float64(len(spoils)) {
			t.Errorf("%v messages counted as refused, want %d", got, len(spoils))
		}
	})
	t.Run("a newer and an older schema", func(t *testing.T) {
		versions := map[string]func(b []byte) []byte{
			// The last value of a field counts, and what is not known is passed over: fields are only ever added.
			"newer": func(b []byte) []byte {
				b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), wire.SchemaVersion+1)
				b = protowire.AppendBytes(protowire.AppendTag(b, 4000, protowire.BytesType), []byte("a column of the next version"))
				return protowire.AppendFixed64(protowire.AppendTag(b, 4001, protowire.Fixed64Type), 42)
			},
			"older": func(b []byte) []byte {
				return protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), wire.SchemaVersion-1)
			},
		}
		for _, change := range versions {
			for _, n := range f.nodes {
				f.send(n, change)
			}
			some()
		}
		now(t)
		want := fmt.Sprintf("[%d,%d,%d]", wire.SchemaVersion-1, wire.SchemaVersion, wire.SchemaVersion+1)
		if got := p.sql("SELECT arraySort(groupUniqArray(schema_version)) FROM messages"); got != want {
			t.Errorf("versions %s are stored, want %s", got, want)
		}
	})
	t.Run("a partition is added", func(t *testing.T) {
		some()
		client := &kafka.Client{Addr: kafka.TCP(p.kafka), Timeout: 10 * time.Second}
		res, err := client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: wire.TopicSample, Count: 2}}})
		if err != nil || res.Errors[wire.TopicSample] != nil {
			t.Fatal(err, res)
		}
		// Producers learn of it in their own time; then the messages of a node go on in another partition.
		p.t = t
		p.until("messages reach the new partition", time.Minute, func() bool { some(); return p.lag()[1].End > 20 })
		now(t)
		if got := p.number("SELECT uniqExact(kafka_partition) FROM samples"); got != 2 {
			t.Errorf("rows come from %d partitions, want 2", got)
		}
	})
	t.Run("a partition is truncated", func(t *testing.T) {
		p.t = t
		missing := in.metric("wattledger_ingest_missing_total")
		h := in.toll.hold("samples", true)
		some()
		partition := h.wait().partition
		some() // the first of them are fetched while the answer is held, the others stay in the log
		some()
		cut := p.lag()[partition].End
		kafkatest.DeleteBefore(t, p.conn, wire.TopicSample, partition, cut)
		h.release(true)
		p.until("the loss is counted", time.Minute, func() bool { return in.metric("wattledger_kafka_lost_total") > 0 })
		some()
		p.caughtUp()
		read := p.number("SELECT max(kafka_offset) + 1 FROM messages WHERE kafka_partition = %d AND kafka_offset < %d", partition, cut)
		if lost := in.metric("wattledger_kafka_lost_total"); lost != float64(cut-read) {
			t.Errorf("%v messages counted as lost, want %d: those from %d on before %d", lost, cut-read, read, cut)
		}
		if !strings.Contains(in.err.String(), "messages were removed before they were read") {
			t.Error("the loss is not logged")
		}
		stored := p.number("SELECT uniqExact(run, seq) FROM samples")
		if missing = in.metric("wattledger_ingest_missing_total") - missing; missing != float64(f.sent()-stored) || missing == 0 {
			t.Errorf("%v messages counted as missing, want %d", missing, f.sent()-stored)
		}
		t.Logf("%d messages removed before they were read, %v sequence numbers missing", cut-read, missing)
	})
	in.stops()
}
