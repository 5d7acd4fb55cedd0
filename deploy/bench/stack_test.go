//go:build bench

package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/kafkaconn"
)

// stack is the shipped programs on one data folder, each a process of its own.
type stack struct {
	data           string
	broker, engine *program
	conn           kafkaconn.Config
	db             driver.Conn
}

// wattledger is a subcommand of the shipped program on the folder.
func (s *stack) wattledger(t testing.TB, args ...string) *program {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "bin", "wattledger"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	return newProgram(t, path, append(args, "--data", s.data, "--log-level", "warn")...)
}

// startBroker starts the embedded broker on a folder of its own. The rest of the stack comes later, or not at all.
func startBroker(t testing.TB) *stack {
	t.Helper()
	s := &stack{data: t.TempDir()}
	s.broker = s.wattledger(t, "embedded", "kafka", "--kafka-listen", "127.0.0.1:0", "--metrics-listen", "off")
	s.broker.start(t)
	s.await(t, s.broker, func() (err error) {
		if s.conn, err = kafkaconn.EmbeddedConfig(s.data); err != nil {
			return err
		}
		return kafkaconn.Ping(t.Context(), s.conn)
	})
	return s
}

// startEngine starts the embedded engine and makes its tables.
func (s *stack) startEngine(t testing.TB) {
	t.Helper()
	s.engine = s.wattledger(t, "embedded", "clickhouse", "--clickhouse-listen", "127.0.0.1:0", "--metrics-listen", "off")
	s.engine.start(t)
	s.await(t, s.engine, func() error {
		cfg, err := chconn.EmbeddedConfig(s.data)
		if err != nil {
			return err
		}
		cfg.Database = "default"
		s.db, err = chconn.Open(t.Context(), cfg)
		return err
	})
	t.Cleanup(func() { s.db.Close() })
	s.migrate(t)
}

func (s *stack) migrate(t testing.TB) {
	t.Helper()
	m := s.wattledger(t, "migrate", "--embedded")
	if err := m.cmd.Run(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, m.log)
	}
}

// anew drops all rows, with what the engine remembers of their tokens.
func (s *stack) anew(t testing.TB) {
	t.Helper()
	s.exec(t, "DROP DATABASE wattledger SYNC")
	s.migrate(t)
}

// ingest starts an ingester with the shipped defaults and what BENCH_INGEST_ARGS adds to them.
func (s *stack) ingest(t testing.TB, args ...string) *program {
	t.Helper()
	p := s.wattledger(t, append(append([]string{"ingest", "--embedded", "--metrics-listen", "127.0.0.1:0"}, args...), strings.Fields(os.Getenv("BENCH_INGEST_ARGS"))...)...)
	p.start(t)
	return p
}

// await calls f until it succeeds.
func (s *stack) await(t testing.TB, p *program, f func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v\n%s", err, tail(p.log.String()))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *stack) exec(t testing.TB, format string, args ...any) {
	t.Helper()
	sql := fmt.Sprintf(format, args...)
	if err := s.db.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%.300s: %v\n%s", sql, err, tail(s.engine.log.String()))
	}
}

// one is the only value that a statement gives.
func one[T any](t testing.TB, s *stack, format string, args ...any) T {
	t.Helper()
	v, err := value[T](t.Context(), s.db, fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func value[T any](ctx context.Context, db driver.Conn, sql string) (v T, err error) {
	if err := db.QueryRow(ctx, sql).Scan(&v); err != nil {
		return v, fmt.Errorf("%.300s: %w", sql, err)
	}
	return v, nil
}
