package ingest_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/schemas/wire"
)

// slow stands between an ingester and the engine, and holds back the inserts into a table until they are let go: also when the
// ingester has long gone, as packets under way are.
type slow struct {
	held    chan struct{} // closed when an insert is held
	let     chan struct{} // closed to let go
	arrived chan struct{} // closed when the engine has answered to it
}

func (s *slow) start(t *testing.T, table string, to chconn.Config) chconn.Config {
	var once, done sync.Once
	engine := to.Addresses[0]
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		ctx := r.Context()
		insert := strings.Contains(r.URL.Query().Get("query"), "INSERT INTO "+table) || bytes.Contains(body[:min(len(body), 200)], []byte("INSERT INTO "+table))
		if insert {
			ctx = context.Background()
			once.Do(func() { close(s.held) })
			<-s.let
		}
		out, err := http.NewRequestWithContext(ctx, r.Method, "http://"+engine+r.URL.RequestURI(), bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		out.Header = r.Header
		resp, err := http.DefaultClient.Do(out)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body) // the ingester may have gone
		if insert {
			done.Do(func() { close(s.arrived) })
		}
	}))
	t.Cleanup(srv.Close)
	to.Addresses = []string{strings.TrimPrefix(srv.URL, "http://")}
	return to
}

// An ingester dies while its insert is on its way, another one takes over with batches of another size, and then the insert
// arrives: rows stand twice, until they are found and removed.
func TestAnInsertThatArrivesAfterItsProcessHasGone(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"samples", "messages"} {
		t.Run(table, func(t *testing.T) {
			conn, db := startKafka(t, 1), startDatabase(t)
			s, r := newSender(t, conn), rand.New(rand.NewPCG(51, 52))
			for seq := range uint64(6) {
				s.send(wire.TopicSample, "node-a", sampleBatch(r, "node-a", seq, 2, 3))
			}
			line := &slow{make(chan struct{}), make(chan struct{}), make(chan struct{})}
			early := quick()
			early.Batch.BatchAge = time.Second // all six in one batch
			first := start(t, early, conn, fixed(line.start(t, table, db)))
			<-line.held
			first.stop() // after its grace

			cfg := quick()
			cfg.Batch.BatchRows = 1 // each alone
			second := start(t, cfg, conn, fixed(db))
			ch := open(t, db)
			until(t, "the second stores all", func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") == 6 })
			close(line.let)
			<-line.arrived
			want := map[string]uint64{"samples": 36, "messages": 6}
			doubled := one[uint64](t, ch, "SELECT count() FROM "+table)
			if doubled != 2*want[table] {
				t.Fatalf("%d rows in %s, want each twice before they are removed", doubled, table)
			}
			second.stop()
			cfg.Consumer.CompactEvery = 100 * time.Millisecond
			third := start(t, cfg, conn, fixed(db))
			until(t, "removal", func() bool {
				return third.counter(t, "wattledger_ingest_compacted_total", "table", table) == float64(want[table])
			})
			for name, n := range want {
				if got := one[uint64](t, ch, "SELECT count() FROM "+name); got != n {
					t.Errorf("%d rows in %s after removal, want %d", got, name, n)
				}
			}
			if d := one[uint64](t, ch, "SELECT uniqExact(run, seq, device, tick) FROM samples"); d != 36 {
				t.Errorf("%d distinct rows after removal, want 36", d)
			}
			// Another look finds nothing, and new rows are left alone.
			s.send(wire.TopicSample, "node-a", sampleBatch(r, "node-a", 6, 2, 3))
			until(t, "the seventh", func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") == 7 })
			time.Sleep(300 * time.Millisecond)
			if got := one[uint64](t, ch, "SELECT count() FROM samples"); got != 42 {
				t.Errorf("%d rows, want 42", got)
			}
		})
	}
}
