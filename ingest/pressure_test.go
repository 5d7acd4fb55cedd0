package ingest_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/schemas/wire"
)

// While the engine takes nothing, nothing more is read than what was fetched already; readiness and a gauge say why; afterwards
// all is stored.
func TestAnEngineThatTakesNothingHoldsTheConsumerBack(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 1), startDatabase(t)
	ch := open(t, db)
	s, r := newSender(t, conn), rand.New(rand.NewPCG(61, 62))
	cfg := quick()
	cfg.Consumer.Group.FetchBytes = 64 << 10
	in := start(t, cfg, conn, fixed(db))
	seq := uint64(0)
	send := func(n int) {
		for range n {
			s.send(wire.TopicSample, "node-a", sampleBatch(r, "node-a", seq, 4, 8)) // some 10 KB, which do not shrink
			seq++
		}
	}
	blocked := func(reason string) float64 {
		return in.counter(t, "wattledger_ingest_blocked_partitions", "reason", reason)
	}
	send(1)
	until(t, "rows flow", func() bool { return in.counter(t, "wattledger_ingest_messages_total") == 1 })
	if err := in.Ready(t.Context()); err != nil || in.counter(t, "wattledger_ingest_blocked_partitions") != 0 {
		t.Errorf("not ready while rows flow: %v", err)
	}
	if err := ch.Exec(t.Context(), "ALTER TABLE samples MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1"); err != nil {
		t.Fatal(err)
	}
	send(60)
	until(t, "the partition waits", func() bool { return blocked("too_many_parts") == 1 })
	if err := in.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "wl.sample.v1 partition 0 waits for") || !strings.Contains(err.Error(), "too_many_parts") {
		t.Errorf("readiness says %v", err)
	}
	time.Sleep(300 * time.Millisecond) // a fetch or two may have been under way
	fetched := in.counter(t, "wattledger_kafka_fetched_total")
	send(30)
	time.Sleep(300 * time.Millisecond)
	if now := in.counter(t, "wattledger_kafka_fetched_total"); now != fetched || fetched > 40 {
		t.Errorf("%v messages were fetched while the engine took nothing, then %v", fetched, now)
	}
	if err := ch.Exec(t.Context(), "ALTER TABLE samples RESET SETTING parts_to_delay_insert, parts_to_throw_insert"); err != nil {
		t.Fatal(err)
	}
	until(t, "all is stored", func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") == seq })
	until(t, "ready again", func() bool {
		return in.Ready(t.Context()) == nil && in.counter(t, "wattledger_ingest_blocked_partitions") == 0
	})
	if n, d := one[uint64](t, ch, "SELECT count() FROM samples"), one[uint64](t, ch, "SELECT uniqExact(run, seq, device, tick) FROM samples"); n != 32*seq || n != d {
		t.Errorf("%d rows stored, %d of them distinct, want %d", n, d, 32*seq)
	}
}

func TestADatabaseThatIsAwayIsNamed(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 1), startDatabase(t)
	up := make(chan struct{})
	in := start(t, quick(), conn, func() (chconn.Config, error) {
		select {
		case <-up:
			return db, nil
		default:
			return db, errors.New("not up yet")
		}
	})
	until(t, "waiting", func() bool {
		return in.counter(t, "wattledger_ingest_blocked_partitions", "reason", "database_away") == 1
	})
	if err := in.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "database_away: not up yet") {
		t.Errorf("readiness says %v", err)
	}
	if err := in.Database(t.Context()); err == nil {
		t.Error("the database is said to answer")
	}
	close(up)
	until(t, "ready", func() bool { return in.Ready(t.Context()) == nil && in.Database(t.Context()) == nil })
}
