package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/clickhouse"
	"github.com/wattledger/wattledger/ingest"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/internal/process"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/wire"
)

// servers are a broker, an engine and an ingester between them.
type servers struct {
	t      *testing.T
	args   []string
	conn   driver.Conn
	broker kafkaconn.Config
}

// withTables brings a database to our schema.
func withTables(ctx context.Context, cfg chconn.Config) error {
	db, err := chconn.OpenDB(ctx, cfg)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = schema.Migrate(ctx, db, schema.Flavour{})
	return err
}

func startServers(t *testing.T) *servers {
	t.Helper()
	db, broker := chtest.StartLike(t, withTables), kafkatest.Start(t, defaultConfig(t.TempDir()).Embedded.Kafka.Topics...)
	conn, err := chconn.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	cfg := ingest.DefaultConfig()
	cfg.Batch.BatchAge = 20 * time.Millisecond
	in, err := ingest.New(cfg, broker, func() (chconn.Config, error) { return db, nil }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	set := func(key, value string) []string { return []string{"--set", key + "=" + value} }
	args := append(set("clickhouse.addresses", "["+db.Addresses[0]+"]"), set("clickhouse.database", db.Database)...)
	args = append(append(args, set("clickhouse.password_file", db.PasswordFile)...), set("kafka.brokers", "["+broker.Brokers[0]+"]")...)
	return &servers{t, args, conn, broker}
}

func (s *servers) exec(format string, args ...any) {
	s.t.Helper()
	if err := s.conn.Exec(s.t.Context(), fmt.Sprintf(format, args...)); err != nil {
		s.t.Fatal(err)
	}
}

// run is a command line with --json, its exit code and the object it printed.
func (s *servers) run(args ...string) (int, map[string]any) {
	s.t.Helper()
	code, out, errs := execute(s.t, append(append(args, s.args...), "--json")...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var object map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &object); err != nil {
		s.t.Fatalf("%v: %s %s", args, out, errs)
	}
	return code, object
}

// stays waits until so many stays are stored, and shows them all.
func (s *servers) stays(n int) string {
	s.t.Helper()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		// Rows are stored before the line of their message.
		var messages uint64
		if err := s.conn.QueryRow(s.t.Context(), `SELECT count() FROM messages WHERE source = 'inventory'`).Scan(&messages); err != nil {
			s.t.Fatal(err)
		}
		var all string
		if err := s.conn.QueryRow(s.t.Context(), `SELECT toString(arraySort(groupArray((node, device, from_us, to_us, reason)))) FROM stays FINAL`).Scan(&all); err != nil {
			s.t.Fatal(err)
		}
		if messages >= uint64(n) {
			return all
		}
		if time.Now().After(limit) {
			s.t.Fatalf("%d statements stored, not %d", messages, n)
		}
	}
}

// The whole way: from the command over the broker and ingest to what closing waits for.
func TestRetireAndReturn(t *testing.T) {
	s := startServers(t)
	nine := time.Date(2026, 1, 1, 9, 0, 0, 0, time.UTC)
	us := func(d time.Duration) int64 { return nine.Add(d).UnixMicro() }
	at := func(d time.Duration) string { return nine.Add(d).Format(time.RFC3339) }
	s.exec(`INSERT INTO sites (id, country, zone, operator, operator_country, pue_thousandths, allocation_source, revision) VALUES ('s', 'FR', 'FR', 'op', 'FR', 1200, '', 1)`)
	s.exec(`INSERT INTO nodes VALUES ('node-a', 's', 'r', 'm', 0, %d, 0, 1), ('node-b', 's', 'r', 'm', 0, %[1]d, 0, 1), ('node-b', 'elsewhere', 'r', 'm', 0, %[1]d, 0, 1)`, us(0))
	s.exec(`INSERT INTO devices VALUES ('GPU-1', '', 'node-a', 'gpu', 'NVIDIA B200', '', 'd', 'v', 0, 0, 'hardware', 1000000, 0, 0, 0, 1)`)
	s.exec(`INSERT INTO messages VALUES ('%s', 's', 'node-b', 'run', 0, '', 0, 1, fromUnixTimestamp64Micro(%d), 1, now(), now(), now(), 9, 9)`, wire.TopicSample, us(80*time.Minute))
	s.exec(`INSERT INTO seals (site, batch, root, hour) VALUES ('s', 0, 'r', %d)`, nine.Unix())

	bad := func(want string, args ...string) {
		t.Helper()
		code, got := s.run(args...)
		if text, _ := got["error"].(string); code != process.ExitFailed || !strings.Contains(text, want) {
			t.Errorf("%v ends with %d and %q, want %q", args, code, text, want)
		}
	}
	statements := 0
	good := func(stays string, args ...string) {
		t.Helper()
		code, got := s.run(args...)
		if code != process.ExitDone {
			t.Fatalf("%v ends with %d: %v", args, code, got)
		}
		statements++
		if all := s.stays(statements); all != stays {
			t.Errorf("%v leaves the stays %s, want %s", args, all, stays)
		}
		if got["done"] == "" || got["site"] != "s" || got["name"] != args[2] {
			t.Errorf("%v says %v", args, got)
		}
	}
	bad(`did you mean node-a?`, "retire", "node", "nodea")
	bad(`"quite-another" is not in the inventory`, "retire", "device", "quite-another")
	bad("is at the sites elsewhere, s; say with --site", "retire", "node", "node-b")
	bad("closed hours do not change; the first that is open begins at 2026-01-01T10:00:00Z", "retire", "device", "GPU-1", "--at", at(59*time.Minute))
	bad("has never declared its samples complete", "retire", "node", "node-a", "--drain")
	bad("is not retired", "return", "device", "GPU-1", "--at", at(2*time.Hour))
	good(fmt.Sprintf("[('node-a','GPU-1',0,%d,'repair')]", us(2*time.Hour)), "retire", "device", "GPU-1", "--at", at(2*time.Hour), "--reason", "repair")
	bad("retired already", "retire", "device", "GPU-1", "--at", at(4*time.Hour))
	good(fmt.Sprintf("[('node-a','GPU-1',0,%d,'repair'),('node-a','GPU-1',%d,0,'')]", us(2*time.Hour), us(3*time.Hour)), "return", "device", "GPU-1", "--at", at(3*time.Hour))
	good(fmt.Sprintf("[('node-a','GPU-1',0,%d,'repair'),('node-a','GPU-1',%d,0,''),('node-b','',%d,%d,'')]", us(2*time.Hour), us(3*time.Hour), us(0), us(80*time.Minute)),
		"retire", "node", "node-b", "--drain", "--site", "s")

	store, err := clickhouse.New(s.conn)
	if err != nil {
		t.Fatal(err)
	}
	p, err := store.Progress(t.Context(), record.Site{ID: "s"})
	if err != nil || !slices.Equal(p.Waiting, []string{"node-a", "inventory of node-b"}) { // the node itself is complete up to its end
		t.Errorf("waits for %v, %v", p.Waiting, err)
	}
	if code, status := s.run("status"); code != process.ExitDone || status["incidents"] == nil || status["missing"] == nil {
		t.Errorf("status ends with %d: %v", code, status)
	}
}
