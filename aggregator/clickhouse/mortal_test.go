package clickhouse

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/closer"
)

// counted is a connection that dies with its n-th call, before the server has it or after; what calls there are it counts.
type counted struct {
	driver.Conn
	calls, dies int
	after       bool
}

// call says whether the connection is dead, and whether it dies after this call.
func (c *counted) call() (dead, last bool) {
	c.calls++
	if c.dies == 0 || c.calls < c.dies {
		return false, false
	}
	return c.calls > c.dies || !c.after, c.calls == c.dies
}

func (c *counted) Query(ctx context.Context, query string, args ...any) (driver.Rows, error) {
	if dead, last := c.call(); dead || last {
		return nil, errKilled
	}
	return c.Conn.Query(ctx, query, args...)
}

func (c *counted) QueryRow(ctx context.Context, query string, args ...any) driver.Row {
	if dead, last := c.call(); dead || last {
		return deadRow{}
	}
	return c.Conn.QueryRow(ctx, query, args...)
}

func (c *counted) PrepareBatch(ctx context.Context, query string, opts ...driver.PrepareBatchOption) (driver.Batch, error) {
	if c.dies != 0 && c.calls >= c.dies {
		return nil, errKilled
	}
	b, err := c.Conn.PrepareBatch(ctx, query, opts...)
	if err != nil {
		return nil, err
	}
	return &countedBatch{b, c}, nil
}

type countedBatch struct {
	driver.Batch
	c *counted
}

func (b *countedBatch) Send() error {
	dead, last := b.c.call()
	if dead {
		return errKilled
	}
	if err := b.Batch.Send(); err != nil {
		return err
	}
	if last {
		return errKilled
	}
	return nil
}

type deadRow struct{}

func (deadRow) Err() error           { return errKilled }
func (deadRow) Scan(...any) error    { return errKilled }
func (deadRow) ScanStruct(any) error { return errKilled }

// A closer may be killed at any call that it makes to the store while it closes hours and books adjustments: its successor ends with
// the same ledger, to the byte.
func TestAKilledCloserLeavesNoTraceOfAdjustments(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	prepare := func() *yard {
		y := newYard(t, conn, s)
		y.allocate("job", "GPU-a", "t1", 1000, at(0.5), at(1.5), 1)
		y.samples("n", at(0), at(1.3), at(1.3))
		y.samples("n", at(1.6), at(2)+30*1_000_000, at(2))
		y.samples("m", at(0), at(2)+30*1_000_000, at(2))
		y.scheduled(at(2))
		y.close()
		y.samples("n", at(1.3), at(1.6), at(2))
		y.allocate("job", "GPU-a", "t2", 1000, at(0.5), at(1.5), 2)
		y.samples("n", at(2)+30*1_000_000, at(3)+30*1_000_000, at(3))
		y.samples("m", at(2)+30*1_000_000, at(3)+30*1_000_000, at(3))
		y.scheduled(at(3))
		return y
	}
	run := func(c *counted) error {
		store, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		cfg := closer.DefaultConfig()
		cfg.Lateness = time.Hour
		cl, err := closer.New(cfg, secret, store, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		for {
			if n, err := cl.Once(t.Context()); n == 0 || err != nil {
				return err
			}
		}
	}
	y := prepare()
	whole := &counted{Conn: conn}
	if err := run(whole); err != nil {
		t.Fatal(err)
	}
	want := y.export(nil)
	if len(y.adjustments()) == 0 {
		t.Fatal("nothing was adjusted")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d calls", seed, whole.calls)
	random := rand.New(rand.NewPCG(seed, 0))
	last := whole.calls
	for range 6 {
		// The writes come last: two kills in three fall among the last calls.
		dies := 1 + random.IntN(last)
		if random.IntN(3) > 0 {
			dies = last - random.IntN(12)
		}
		y := prepare()
		if err := run(&counted{Conn: conn, dies: dies, after: random.IntN(2) == 0}); !errors.Is(err, errKilled) {
			t.Fatalf("seed %d: at call %d of %d: not killed: %v", seed, dies, last, err)
		}
		if err := run(&counted{Conn: conn}); err != nil {
			t.Fatal(err)
		}
		if got := y.export(nil); got != want {
			t.Errorf("seed %d, killed at call %d of %d: the ledger is\n%s\nwant\n%s", seed, dies, last, got, want)
		}
	}
}
