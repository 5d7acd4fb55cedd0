package clickhouse

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"github.com/wattledger/wattledger/aggregator/evidence"
	"github.com/wattledger/wattledger/aggregator/keyring"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// testKeys are keys in files, as they are used.
func testKeys(t *testing.T) (keyring.Keys, note.Verifier) {
	t.Helper()
	keys, _, err := keyring.Open(keyring.DefaultConfig(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key, err := note.NewVerifier(keys.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	return keys, key
}

// smallBatch is a made-up hour of site s: two tenants and what nobody held, and an adjustment of the hour before.
func smallBatch(t *testing.T, keys keyring.Keys, number uint64, previous string) ledger.Sealed {
	t.Helper()
	at := hour0 + unit.Micros(number)*unit.Hour
	text := at.Time().Format(time.RFC3339)
	entry := func(i int, account record.Account, tenant string) record.Entry {
		mj := unit.Millijoules(1000*(i+1)) + unit.Millijoules(number)
		return record.Entry{
			Site: "s", Hour: text, Kind: record.Closing, Account: account, Node: "n", Device: fmt.Sprint("GPU-", i), DeviceKind: "gpu", Model: "NVIDIA B200",
			Tenant: tenant, From: at, To: at + unit.Hour, DeviceTime: 3_600_000_000, GPU: mj, Facility: 10, Measured: mj, Modelled: 10, Carbon: 7, Water: 3,
			Rules: ledger.Rules, Split: "slots", Flags: []string{"pue_modelled"},
		}
	}
	entries := []record.Entry{
		entry(0, record.AccountTenant, "t1"), entry(1, record.AccountTenant, "t1"), entry(2, record.AccountHeldIdle, "t2"), entry(3, record.AccountUnallocated, ""),
	}
	if number > 0 {
		late := entry(4, record.AccountTenant, "t2")
		late.Kind, late.Hour, late.Corrects, late.Reason = record.Adjustment, (at - unit.Hour).Time().Format(time.RFC3339), "seal:"+previous, "late_data x"
		entries = append(entries, late)
	}
	var cuts []record.Cut
	var hours []record.DeviceHour
	for i := range 3 {
		cuts = append(cuts, record.Cut{
			Site: "s", Device: fmt.Sprint("GPU-", i), Epoch: hour0, T: at + unit.Hour, Boot: "b", Driver: "d", T0: at + unit.Hour - 5, T1: at + unit.Hour + 5,
			C0: 100, C1: 200, Run: "r", Integral0: -1, Seen0: 2, C: 150, Low: 140, High: 160, Edition: 1,
		})
		hours = append(hours, record.DeviceHour{
			Site: "s", Hour: text, Node: "n", Device: fmt.Sprint("GPU-", i), Kind: "gpu", Model: "NVIDIA B200", Counter: 5, Integral: record.NoIntegral,
			Present: unit.Hour, Covered: unit.Hour, Allocated: 3_600_000_000, Sensor: "gpu_counter", Flags: []string{"second_opinion"},
		})
	}
	sealed, err := ledger.Make(ledger.Batch{
		Site: "s", Number: number, Previous: previous, Hour: at, Closing: "complete", Entries: entries, Cuts: cuts, DeviceHours: hours,
		Samples: ledger.ID(nil), SampleRows: 3, Inputs: "wl.sample.v1/0=7",
	}, keys.Secret.Site("s"))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// smallLedger books three batches and publishes them.
func smallLedger(t *testing.T, s *Store, keys keyring.Keys) []ledger.Sealed {
	t.Helper()
	l, err := keys.Log(s, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	var out []ledger.Sealed
	previous := ""
	for n := range uint64(3) {
		b := smallBatch(t, keys, n, previous)
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			if err := l.Update(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		previous = b.Seal.Root
		out = append(out, b)
	}
	return out
}

func check(t *testing.T, conn driver.Conn, keys keyring.Keys, key note.Verifier, earlier []byte) *evidence.Report {
	t.Helper()
	r, err := evidence.Check(t.Context(), NewEvidence(conn), evidence.Options{Secret: keys.Secret, Key: key, Earlier: earlier})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tables are those of the ledger with what picks one row of batch 1, and the columns that no hash covers: they say nothing that
// is booked.
var tables = []struct {
	name, row string
	free      []string
}{
	{"entries", "batch = 1 AND position = 2", nil},
	{"subtotals", "batch = 1 AND tenant = 't1'", nil},
	{"cuts", "batch = 1 AND device = 'GPU-1'", nil},
	{"device_hours", "batch = 1 AND device = 'GPU-1'", nil},
	{"seals", "batch = 1", []string{"inputs", "inserted"}},
	{"log_records", "position = 1", []string{"inserted"}},
	{"log_checkpoints", "size = 3", []string{"inserted"}},
}

// save keeps what a table holds; restore brings it back to that.
func save(t *testing.T, conn driver.Conn, table string) (restore func()) {
	t.Helper()
	exec(t, conn, "DROP TABLE IF EXISTS saved_%s", table)
	exec(t, conn, "CREATE TABLE saved_%s AS %[1]s ENGINE = MergeTree ORDER BY tuple()", table)
	exec(t, conn, "INSERT INTO saved_%s SELECT * FROM %[1]s", table)
	return func() { t.Helper(); rewrite(t, conn, table, "*") }
}

// rewrite writes a table anew from what was saved of it. Keys cannot be updated in place, and for what can be, mutations take longer.
func rewrite(t *testing.T, conn driver.Conn, table, columns string, where ...string) {
	t.Helper()
	exec(t, conn, "TRUNCATE TABLE %s", table)
	exec(t, conn, "INSERT INTO %[1]s SELECT %[2]s FROM saved_%[1]s WHERE %[3]s", table, columns, strings.Join(append(where, "1"), " AND "))
}

// Whatever column of whatever table is changed is found, with the batch and the column named.
func TestEveryChangedColumnIsFound(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	keys, key := testKeys(t)
	smallLedger(t, s, keys)
	if r := check(t, conn, keys, key, nil); r.Found != 0 || len(r.Notes) != 0 || r.Entries != 14 || r.Subtotals != 11 || r.Cuts != 9 || r.DeviceHours != 9 || r.Seals != 3 || r.Log != 3 || !r.Checkpoint {
		t.Fatalf("an untouched ledger: %+v", r)
	}
	for _, table := range tables {
		restore := save(t, conn, table.name)
		for _, c := range columnsOf(t, conn, table.name) {
			rewrite(t, conn, table.name, fmt.Sprintf("* REPLACE (if(%s, CAST(%s AS %s), %s) AS %[4]s)", table.row, c.change(), c.kind, c.name))
			r := check(t, conn, keys, key, nil)
			free := false
			for _, name := range table.free {
				free = free || name == c.name
			}
			text := fmt.Sprint(r.Findings)
			switch {
			case free && r.Found != 0:
				t.Errorf("%s.%s is in no hash, and its change gives %s", table.name, c.name, text)
			case !free && r.Found == 0:
				t.Errorf("%s.%s was changed and nothing is found", table.name, c.name)
			case !free && !strings.HasPrefix(table.name, "log_") && !strings.Contains(text, "batch 1 of s") && !strings.Contains(text, "batch 1 of sx"):
				t.Errorf("%s.%s was changed and its batch is not named: %s", table.name, c.name, text)
			}
			if testing.Verbose() {
				t.Logf("%s.%s: %.300s", table.name, c.name, text)
			}
		}
		restore()
	}
	if r := check(t, conn, keys, key, nil); r.Found != 0 {
		t.Fatalf("after all was put back: %+v", r.Findings)
	}
}

type column struct{ name, kind string }

func columnsOf(t *testing.T, conn driver.Conn, table string) []column {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = '"+table+"' ORDER BY position")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []column
	for rows.Next() {
		var c column
		if err := rows.Scan(&c.name, &c.kind); err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// change is an expression for another value.
func (c column) change() string {
	switch {
	case strings.HasPrefix(c.kind, "Array"):
		return fmt.Sprintf("arrayPushBack(%s, 'x')", c.name)
	case c.name == "kind" && strings.HasPrefix(c.kind, "Enum"):
		return "'adjustment'"
	case strings.HasPrefix(c.kind, "Enum"):
		return "'platform'"
	case c.kind == "Bool":
		return "NOT " + c.name
	case strings.HasPrefix(c.kind, "DateTime"):
		return c.name + " + 3600"
	case strings.Contains(c.kind, "Int"):
		return c.name + " + 1"
	case c.name == "canonical":
		return `replaceOne(canonical, '"gpu_mj":', '"gpu_mj":1')`
	case c.name == "record":
		return `replaceOne(record, '"batch":1', '"batch":2')`
	default:
		return fmt.Sprintf("concat(%s, 'x')", c.name)
	}
}

// A row that is dropped, doubled or moved is found. One that is stored twice as it is counts once, and is told.
func TestEveryRowIsMissed(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	keys, key := testKeys(t)
	smallLedger(t, s, keys)
	for _, table := range tables {
		restore := save(t, conn, table.name)
		f := func(what string, told bool) {
			t.Helper()
			r := check(t, conn, keys, key, nil)
			if r.Found == 0 && !(told && len(r.Notes) > 0) {
				t.Errorf("%s: %s, and nothing is said: %+v", table.name, what, r)
			}
			if testing.Verbose() {
				t.Logf("%s %s: %.300s %.200s", table.name, what, fmt.Sprint(r.Findings), fmt.Sprint(r.Notes))
			}
			restore()
		}
		rewrite(t, conn, table.name, "*", "NOT ("+table.row+")")
		f("a row was dropped", table.name == "log_checkpoints")
		if table.name != "seals" && table.name != "log_checkpoints" {
			exec(t, conn, "INSERT INTO %s SELECT * FROM saved_%[1]s WHERE %s", table.name, table.row)
			f("a row was doubled", true)
		}
	}
	restore := save(t, conn, "entries")
	rewrite(t, conn, "entries", "*", "NOT (batch = 1 AND position = 2)")
	exec(t, conn, "INSERT INTO entries SELECT * REPLACE (2 AS batch, 5 AS position, (SELECT root FROM seals WHERE batch = 2) AS root) FROM (SELECT * FROM saved_entries WHERE batch = 1 AND position = 2)")
	if r := check(t, conn, keys, key, nil); r.Found < 2 || !strings.Contains(fmt.Sprint(r.Findings), "entry 2 is missing") {
		t.Errorf("an entry moved to another batch: %v", r.Findings)
	}
	restore()
	exec(t, conn, "INSERT INTO entries SELECT * REPLACE (5 AS position) FROM (SELECT * FROM saved_entries WHERE batch = 1 AND position = 2)")
	if r := check(t, conn, keys, key, nil); r.Found == 0 {
		t.Error("an entry booked twice goes unnoticed")
	}
}

// A whole new history, sealed with the same keys and published anew, does not go on from a checkpoint that somebody has.
func TestARewrittenHistoryIsFound(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	keys, key := testKeys(t)
	smallLedger(t, s, keys)
	old, err := s.LastCheckpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r := check(t, conn, keys, key, old); r.Found != 0 {
		t.Fatalf("the same history: %v", r.Findings)
	}
	for _, table := range tables {
		exec(t, conn, "TRUNCATE TABLE %s", table.name)
	}
	l, err := keys.Log(s, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	previous := ""
	for n := range uint64(4) {
		b := smallBatch(t, keys, n, previous)
		es := []record.Entry{}
		for _, e := range b.Lines {
			if e.Tenant != "t1" {
				es = append(es, e.Entry)
			}
		}
		again, err := ledger.Make(ledger.Batch{Site: "s", Number: n, Previous: previous, Hour: b.Seal.Hour, Closing: "complete", Entries: es}, keys.Secret.Site("s"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Append(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		previous = again.Seal.Root
	}
	if err := l.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := check(t, conn, keys, key, nil); r.Found != 0 {
		t.Fatalf("the new history holds by itself: %v", r.Findings)
	}
	if r := check(t, conn, keys, key, old); r.Found != 1 || !strings.Contains(fmt.Sprint(r.Findings), "rewritten") {
		t.Errorf("against the old checkpoint: %v", r.Findings)
	}
}

// Two that offer records for one index: the second is dropped, and sees it when it reads back.
func TestTheLogTakesAnIndexOnce(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	f := func(site string) []byte {
		b, err := ledger.LogRecordOf(record.Seal{Site: site, Root: "00", Hour: hour0}).Canonical()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, site := range []string{"a", "b"} {
		if err := s.AppendLog(t.Context(), 0, [][]byte{f(site)}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for r, err := range s.LogRecords(t.Context(), 0) {
		if err != nil || string(r) != string(f("a")) {
			t.Errorf("%s, %v", r, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d records", n)
	}
	// Should the server have forgotten, nothing is guessed.
	exec(t, conn, "INSERT INTO log_records (position, record) VALUES (0, 'x')")
	for _, err := range s.LogRecords(t.Context(), 0) {
		if err == nil || !strings.Contains(err.Error(), "2 records") {
			t.Errorf("two records of one index: %v", err)
		}
	}
}
