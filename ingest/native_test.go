package ingest_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/nativetest"
	"github.com/wattledger/wattledger/schemas/wire"
)

// database is a fresh one with our schema, over HTTP, and over the native protocol for the tests that TestOverNativeTCP runs once more.
func database(t *testing.T) chconn.Config {
	t.Helper()
	engine := startDatabase(t)
	if !strings.HasPrefix(t.Name(), "TestOverNativeTCP/") {
		return engine
	}
	_, cfg := nativetest.StartTLS(t, engine)
	return cfg
}

// What holds over HTTP holds over native TCP with TLS.
func TestOverNativeTCP(t *testing.T) {
	t.Parallel()
	t.Run("Migration", func(t *testing.T) {
		t.Parallel()
		_, cfg := nativetest.StartTLS(t, chtest.Start(t))
		migrate(t, cfg)
	})
	t.Run("EveryColumn", TestEveryColumnArrivesAsItWasSent)
	t.Run("Dimensions", TestDimensionsArrive)
	t.Run("Repeats", TestAMessageSentTwiceCountsOnce)
	t.Run("Refused", TestRefusedMessagesAreKeptAndTheOthersGoThrough)
	t.Run("Crash", TestWhatWasStoredBeforeACrashIsNotStoredAgain)
	t.Run("SameInsertTwice", TestTheSameInsertTwiceIsOneInsert)
	t.Run("RepeatsInABatch", TestRepeatsInABatchHideNoRows)
	t.Run("Incidents", TestIncidentsAreStoredOnce)
	t.Run("Readings", TestReadingsArrive)
}

// The answer to an insert is lost on the way: what is sent again is what was sent, under the same token, and stands once.
func TestLostAnswersOverNativeTCP(t *testing.T) {
	t.Parallel()
	conn, engine := startKafka(t, 1), startDatabase(t)
	server, db := nativetest.Start(t, engine)
	s, r := newSender(t, conn), rand.New(rand.NewPCG(7, 8))
	for seq := range uint64(5) {
		s.send(wire.TopicSample, "node-a", sampleBatch(r, "node-a", seq, 2, 2))
	}
	server.CutAcknowledgements(3)
	in := start(t, quick(), conn, fixed(db))
	until(t, "all committed", func() bool { return in.counter(t, "wattledger_ingest_messages_total") == 5 })
	ch := open(t, db)
	if n := one[uint64](t, ch, "SELECT count() FROM samples"); n != 20 {
		t.Errorf("%d rows stored, 20 sent", n)
	}
	if n := one[uint64](t, ch, "SELECT count() FROM messages"); n != 5 {
		t.Errorf("%d lines, want 5", n)
	}
	tokens, most := map[string]int{}, 0
	for _, insert := range server.Inserts() {
		if insert.Blocks != 1 || !insert.Compressed || insert.Settings["insert_deduplication_token"] == "" {
			t.Errorf("insert of %d blocks, compressed %v, with settings %v: want one block, compressed, with a token", insert.Blocks, insert.Compressed, insert.Settings)
		}
		key := fmt.Sprint(insert.Statement, insert.Settings["insert_deduplication_token"])
		tokens[key]++
		most = max(most, tokens[key])
	}
	if most < 2 {
		t.Error("no insert was sent twice, so nothing was tried")
	}
}
