package clickhouse

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// secret is one for tests.
var secret = ledger.SecretFrom("test")

// batchOf is the next batch of a site, ready to be written.
func batchOf(t *testing.T, s *Store, site record.Site) ledger.Sealed {
	t.Helper()
	p, err := s.Progress(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.Load(t.Context(), site, p.Next)
	if err != nil {
		t.Fatal(err)
	}
	res, err := closing.Close(h)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := ledger.Make(ledger.Batch{
		Site: site.ID, Number: p.Batch, Previous: p.Previous, Hour: p.Next, Closing: "complete",
		Entries: res.Entries, Cuts: res.Cuts, DeviceHours: res.DeviceHours,
	}, secret.Site(site.ID))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// The cuts of an attempt that never sealed are not what the next hour goes on from.
func TestCutsOfAnAttemptThatNeverSealedAreNotSeen(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	batch := batchOf(t, s, site)
	cuts, rival := batch.Cuts, batch.Seal
	rival.Root = "rival"
	wrong := append([]record.Cut{}, cuts...)
	for i := range wrong {
		wrong[i].Epoch, wrong[i].C = wrong[i].Epoch+1, wrong[i].C+1_000_000
	}
	if err := s.insertCuts(t.Context(), rival, wrong); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	got, err := s.cutsAt(t.Context(), site.ID, hour0+unit.Hour)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range cuts {
		if c.T != hour0+unit.Hour {
			continue
		}
		n++
		if got[c.Device] != c {
			t.Errorf("the next hour goes on from %+v, want %+v", got[c.Device], c)
		}
	}
	if n != 3 || len(got) != n {
		t.Errorf("%d cuts at the end of the hour were stored, %d are seen; want 3", n, len(got))
	}
}

// What is sealed stays: a second closer that saw other data is refused.
func TestASealIsNotReplaced(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	batch := batchOf(t, s, site)
	if err := s.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	rival := batch
	rival.Seal.Root = "rival"
	if err := s.Append(t.Context(), rival); !errors.Is(err, closer.ErrSealed) {
		t.Errorf("a rival seal ends with %v", err)
	}
	p, err := s.Progress(t.Context(), site)
	if err != nil || p.Previous != batch.Seal.Root {
		t.Errorf("the ledger goes on from %q, %v; want %q", p.Previous, err, batch.Seal.Root)
	}
}

// mortal is a connection that dies at a chosen insert, before or after the server has it: what a killed closer leaves.
type mortal struct {
	driver.Conn
	table string
	after bool
	dead  bool
}

var errKilled = errors.New("killed")

func (m *mortal) PrepareBatch(ctx context.Context, query string, opts ...driver.PrepareBatchOption) (driver.Batch, error) {
	if m.dead {
		return nil, errKilled
	}
	b, err := m.Conn.PrepareBatch(ctx, query, opts...)
	if err == nil && strings.HasPrefix(query, "INSERT INTO "+m.table) {
		b = &mortalBatch{b, m}
	}
	return b, err
}

func (m *mortal) Query(ctx context.Context, query string, args ...any) (driver.Rows, error) {
	if m.dead {
		return nil, errKilled
	}
	return m.Conn.Query(ctx, query, args...)
}

type mortalBatch struct {
	driver.Batch
	m *mortal
}

func (b *mortalBatch) Send() error {
	b.m.dead = true
	if b.m.after {
		if err := b.Batch.Send(); err != nil {
			return err
		}
	}
	return errKilled
}

// A closer killed around any of its writes leaves nothing that its successor does not mend: the ledger is the same to the byte
// as one that was written in peace.
func TestAKilledCloserLeavesNoTrace(t *testing.T) {
	t.Parallel()
	run := func(conn driver.Conn) error {
		s, err := New(conn)
		if err != nil {
			t.Fatal(err)
		}
		c, err := closer.New(closer.DefaultConfig(), secret, s, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		for {
			if n, err := c.Once(t.Context()); n == 0 || err != nil {
				return err
			}
		}
	}
	export := func(s *Store) string {
		var b strings.Builder
		if err := s.Export(t.Context(), &b, nil); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	s, conn := open(t)
	plant(t, conn)
	if err := run(conn); err != nil {
		t.Fatal(err)
	}
	want := export(s)
	if strings.Count(want, "\n") < 8 {
		t.Fatalf("a ledger of\n%s", want)
	}
	for _, table := range []string{"cuts", "entries", "subtotals", "seals"} {
		for _, after := range []bool{false, true} {
			for _, name := range []string{"cuts", "entries", "device_hours", "subtotals", "seals"} {
				exec(t, conn, "TRUNCATE TABLE %s", name)
			}
			if err := run(&mortal{Conn: conn, table: table, after: after}); !errors.Is(err, errKilled) {
				t.Fatalf("at %s: not killed: %v", table, err)
			}
			if err := run(conn); err != nil {
				t.Fatal(err)
			}
			if got := export(s); got != want {
				t.Errorf("killed at %s, after=%v: the ledger is\n%s\nwant\n%s", table, after, got, want)
			}
		}
	}
}
