package clickhouse_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/pressly/goose/v3"
	"github.com/shopspring/decimal"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
)

func open(t testing.TB, cfg chconn.Config) driver.Conn {
	t.Helper()
	conn, err := chconn.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func exec(t testing.TB, conn driver.Conn, sql string, args ...any) {
	t.Helper()
	if err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Every compression that the client knows, both ways, with more rows than one block of the engine holds.
func TestLargeInsertsAndResults(t *testing.T) {
	cfg := chtest.Start(t)
	password := read(t, cfg.PasswordFile)
	for name, compression := range map[string]*ch.Compression{
		"none":    nil,
		"lz4":     {Method: ch.CompressionLZ4},
		"zstd":    {Method: ch.CompressionZSTD, Level: 1},
		"gzip":    {Method: ch.CompressionGZIP, Level: 1},
		"deflate": {Method: ch.CompressionDeflate, Level: 1},
		"br":      {Method: ch.CompressionBrotli, Level: 1},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := ch.Open(&ch.Options{
				Protocol: ch.HTTP, Addr: cfg.Addresses, Compression: compression,
				Auth: ch.Auth{Database: cfg.Database, Username: cfg.Username, Password: password},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			table := "large_" + name
			exec(t, conn, "CREATE TABLE "+table+" (id UInt64, text String) ENGINE = MergeTree ORDER BY id")
			const rows = 150_000
			batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO "+table+" (id, text)")
			if err != nil {
				t.Fatal(err)
			}
			ids, texts := make([]uint64, rows), make([]string, rows)
			for i := range ids {
				ids[i], texts[i] = uint64(i), fmt.Sprintf("row %d\n\x00\t'%c", i, 'a'+i%26)
			}
			for i, column := range []any{ids, texts} {
				if err := batch.Column(i).Append(column); err != nil {
					t.Fatal(err)
				}
			}
			if err := batch.Send(); err != nil {
				t.Fatal(err)
			}
			found, err := conn.Query(t.Context(), "SELECT id, text FROM "+table+" ORDER BY id")
			if err != nil {
				t.Fatal(err)
			}
			defer found.Close()
			n := 0
			for ; found.Next(); n++ {
				var id uint64
				var text string
				if err := found.Scan(&id, &text); err != nil {
					t.Fatal(err)
				}
				if id != ids[n] || text != texts[n] {
					t.Fatalf("row %d is (%d, %q), want (%d, %q)", n, id, text, ids[n], texts[n])
				}
			}
			if err := found.Err(); err != nil || n != rows {
				t.Fatalf("%d rows, error %v; want %d", n, err, rows)
			}
		})
	}
}

// What goes in through the client comes out through it, for every kind of column that the host has to walk over.
func TestColumnTypesRoundTrip(t *testing.T) {
	conn := open(t, chtest.Start(t))
	exec(t, conn, `CREATE TABLE kinds (
		n UInt64, u UUID, t DateTime64(6, 'UTC'), d Date32, lc LowCardinality(String), lcn LowCardinality(Nullable(String)),
		ns Nullable(String), fs FixedString(3), a Array(Array(String)), al Array(LowCardinality(String)), m Map(LowCardinality(String), Array(UInt8)),
		tp Tuple(x UInt8, y Nullable(Int64)), e Enum8('a, (b' = 1, 'c\'d' = 2), i Int128, dec Decimal(38, 9), b Bool,
		s SimpleAggregateFunction(sum, Int64), ip IPv6, nested Nested(k String, v Int32)
	) ENGINE = MergeTree ORDER BY n`)
	exec(t, conn, `INSERT INTO kinds SELECT number, toUUID('0188c2f0-0000-7000-8000-000000000001'), toDateTime64(1700000000.123456 + number, 6, 'UTC'), '2024-02-29',
		if(number % 3 = 0, '', toString(number % 3)), if(number % 2 = 0, NULL, 'x'), if(number % 5 = 0, NULL, toString(number)), 'abc',
		arrayMap(x -> range(x)::Array(String), range(number % 4)), arrayMap(x -> toString(x), range(number % 3)), map('k', [1, 2], toString(number), []),
		(number % 256, if(number % 2 = 0, NULL, number)), if(number % 2 = 0, 'a, (b', 'c\'d'), -number, number / 8, number % 2, number, '::1', ['k', 'l'], [1, 2]
		FROM numbers(100000)`)
	rows, err := conn.Query(t.Context(), "SELECT * FROM kinds ORDER BY n")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := uint64(0)
	for ; rows.Next(); n++ {
		var (
			id            uint64
			u             uuid.UUID
			ts, d         time.Time
			lc            string
			lcn, ns       *string
			fs            string
			a             [][]string
			al            []string
			m             map[string][]uint8
			tp            map[string]any
			e             string
			i             big.Int
			dec           decimal.Decimal
			b             bool
			s             int64
			ip            net.IP
			nestedK       []string
			nestedV       []int32
			wantNullable  = n%5 != 0
			wantLowCardin = n%2 != 0
		)
		if err := rows.Scan(&id, &u, &ts, &d, &lc, &lcn, &ns, &fs, &a, &al, &m, &tp, &e, &i, &dec, &b, &s, &ip, &nestedK, &nestedV); err != nil {
			t.Fatal(err)
		}
		if id != n || u.String() != "0188c2f0-0000-7000-8000-000000000001" || ts.UnixMicro() != int64(1700000000123456+n*1e6) ||
			(lcn != nil) != wantLowCardin || (ns != nil) != wantNullable || fs != "abc" || len(a) != int(n%4) || len(al) != int(n%3) ||
			!slices.Equal(m["k"], []uint8{1, 2}) || i.Int64() != -int64(n) || !dec.Equal(decimal.New(int64(n), 0).Div(decimal.New(8, 0))) || b != (n%2 == 1) || s != int64(n) || ip.String() != "::1" ||
			!slices.Equal(nestedK, []string{"k", "l"}) || !slices.Equal(nestedV, []int32{1, 2}) {
			t.Fatalf("row %d is %v %v %v %v %v %v %v %v %v %v %v %v %v %v", n, id, ts, lc, lcn, ns, a, al, m, tp, e, &i, dec, b, s)
		}
	}
	if err := rows.Err(); err != nil || n != 100000 {
		t.Fatalf("%d rows, error %v", n, err)
	}
}

func TestQueriesOfEveryShape(t *testing.T) {
	conn := open(t, chtest.Start(t))
	exec(t, conn, "CREATE TABLE q (id UInt32, name String DEFAULT 'none') ENGINE = MergeTree ORDER BY id")
	exec(t, conn, "INSERT INTO q (id) VALUES (1),\n(2)")
	exec(t, conn, "INSERT INTO q VALUES (?, ?)", 3, "three; -- 'quoted'")
	var rows []struct {
		ID   uint32 `ch:"id"`
		Name string `ch:"name"`
	}
	if err := conn.Select(t.Context(), &rows, "SELECT * FROM q ORDER BY id"); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 3 || rows[0].Name != "none" || rows[2].Name != "three; -- 'quoted'" {
		t.Errorf("Select = %v", rows)
	}
	var name string
	if err := conn.QueryRow(t.Context(), "SELECT {s:String}", ch.Named("s", "tab\there 'and' \\ \x00 é")).Scan(&name); err != nil || name != "tab\there 'and' \\ \x00 é" {
		t.Errorf("parameter = %q, %v", name, err)
	}
	if err := conn.QueryRow(t.Context(), "SELECT name FROM q WHERE id = 99").Scan(&name); !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("no row = %v, want sql.ErrNoRows", err)
	}
	var none []struct{}
	if err := conn.Select(t.Context(), &none, "SELECT id FROM q WHERE 0"); err != nil || len(none) != 0 {
		t.Errorf("empty result = %v, %v", none, err)
	}
	var zone string
	if err := conn.QueryRow(t.Context(), "SELECT timezone()").Scan(&zone); err != nil || zone != "UTC" {
		t.Errorf("timezone = %q, %v; want UTC wherever the machine stands", zone, err)
	}
	if err := conn.Exec(ch.Context(t.Context(), ch.WithAsync(true)), "INSERT INTO q VALUES (4, 'four')"); err != nil {
		t.Error(err)
	}
	if err := conn.Exec(ch.Context(t.Context(), ch.WithAsync(false)), "INSERT INTO q VALUES (5, 'five')"); err != nil {
		t.Error(err)
	}
	var count uint64
	if err := conn.QueryRow(t.Context(), "SELECT count() FROM q SETTINGS max_threads = 1, final = 0").Scan(&count); err != nil || count != 5 {
		t.Errorf("count = %d, %v; want 5: an asynchronous insert is stored before it is answered", count, err)
	}
}

func TestAnInsertIsStoredOncePerToken(t *testing.T) {
	conn := open(t, chtest.Start(t))
	exec(t, conn, "CREATE TABLE d (id UInt32) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100")
	send := func(token string, ids ...uint32) {
		t.Helper()
		ctx := ch.Context(t.Context(), ch.WithSettings(ch.Settings{"insert_deduplication_token": token}))
		batch, err := conn.PrepareBatch(ctx, "INSERT INTO d")
		if err != nil {
			t.Fatal(err)
		}
		if err := batch.Column(0).Append(ids); err != nil {
			t.Fatal(err)
		}
		if err := batch.Send(); err != nil {
			t.Fatal(err)
		}
	}
	send("a", 1, 2)
	send("a", 1, 2)
	send("b", 1, 2) // the same rows under another token are other rows
	send("a", 9)    // and other rows under the same token are a repetition
	var got []uint32
	if err := conn.QueryRow(t.Context(), "SELECT groupArray(id) FROM (SELECT id FROM d ORDER BY id)").Scan(&got); err != nil || !slices.Equal(got, []uint32{1, 1, 2, 2}) {
		t.Errorf("stored %v, %v; want [1 1 2 2]", got, err)
	}
}

func TestExceptionsKeepTheirCode(t *testing.T) {
	conn := open(t, chtest.Start(t))
	exec(t, conn, "CREATE TABLE x (id UInt32) ENGINE = MergeTree ORDER BY id")
	f := func(code int32, temporary bool, sql string) {
		t.Helper()
		rows, err := conn.Query(t.Context(), sql)
		if err == nil {
			for rows.Next() {
			}
			err = errors.Join(rows.Err(), rows.Close())
		}
		if chconn.Code(err) != code || chconn.Temporary(err) != temporary {
			t.Errorf("%s: code %d, temporary %v, error %v; want code %d, temporary %v", sql, chconn.Code(err), chconn.Temporary(err), err, code, temporary)
		}
	}
	f(60, false, "SELECT * FROM nowhere")
	f(62, false, "SELECT FROM FROM")
	f(47, false, "SELECT nothing")
	f(395, false, "SELECT throwIf(number = 5) FROM numbers(10)")
	f(395, false, "SELECT number, throwIf(number = 30000000) FROM numbers(40000000)") // after the first rows went out
	f(241, true, "SELECT groupArray(number) FROM numbers(100000000) SETTINGS max_memory_usage = 20000000")
	f(452, false, "SELECT 1 SETTINGS max_memory_usage = 0")
	f(158, false, "SELECT count() FROM numbers(1000000) WHERE NOT ignore(number) SETTINGS max_rows_to_read = 10")
	err := conn.Exec(t.Context(), "INSERT INTO x VALUES ('no number')")
	if chconn.Code(err) == 0 || chconn.Temporary(err) {
		t.Errorf("insert of the wrong type: %v, want an exception that stays", err)
	}
}

// A read ends with its context; the engine is free again at once.
func TestAReadIsCancelled(t *testing.T) {
	conn := open(t, chtest.Start(t))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		var n uint64
		failed <- conn.QueryRow(ctx, "SELECT count() FROM numbers(100000000000) WHERE NOT ignore(sipHash64(number))").Scan(&n)
	}()
	running := func() (n uint64) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64(number)%' AND query NOT LIKE '%system.processes%'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for running() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) || chconn.Temporary(err) {
		t.Errorf("cancelled read = %v (temporary %v)", err, chconn.Temporary(err))
	}
	for running() != 0 { // the test's own deadline ends this if the engine goes on
		time.Sleep(10 * time.Millisecond)
	}
}

// Parameters, settings and databases of one request never show in another.
func TestSessionsDoNotMeet(t *testing.T) {
	cfg := chtest.Start(t)
	cfg.MaxConnections = 16
	conn := open(t, cfg)
	var group sync.WaitGroup
	for worker := range 16 {
		group.Go(func() {
			for i := range 25 {
				want := fmt.Sprintf("%d/%d", worker, i)
				ctx := ch.Context(t.Context(), ch.WithSettings(ch.Settings{"max_threads": worker + 1}))
				var got, database string
				var threads uint64
				err := conn.QueryRow(ctx, "SELECT {p:String}, getSetting('max_threads')::UInt64, currentDatabase()", ch.Named("p", want)).Scan(&got, &threads, &database)
				if err != nil || got != want || threads != uint64(worker+1) || database != cfg.Database {
					t.Errorf("worker %d got %q, %d threads, database %s, error %v; want %q", worker, got, threads, database, err, want)
					return
				}
			}
		})
	}
	group.Wait()
}

func TestGooseMigratesOverDatabaseSQL(t *testing.T) {
	db, err := chconn.OpenDB(t.Context(), chtest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	files := fstest.MapFS{
		"00001_one.sql": {Data: []byte("-- +goose Up\nCREATE TABLE one (id UInt64) ENGINE = MergeTree ORDER BY id;\nINSERT INTO one VALUES (1);\n-- +goose Down\nDROP TABLE one;\n")},
		"00002_two.sql": {Data: []byte("-- +goose Up\n-- +goose StatementBegin\nCREATE VIEW two AS SELECT id + 1 AS id FROM one;\n-- +goose StatementEnd\n-- +goose Down\nDROP VIEW two;\n")},
	}
	provider, err := goose.NewProvider(goose.DialectClickHouse, db, files)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{2, 0} { // the second run finds nothing to do
		done, err := provider.Up(t.Context())
		if err != nil || len(done) != want {
			t.Fatalf("Up = %d migrations, %v; want %d", len(done), err, want)
		}
	}
	var id uint64
	if err := db.QueryRowContext(t.Context(), "SELECT id FROM two").Scan(&id); err != nil || id != 2 {
		t.Errorf("migrated view gives %d, %v", id, err)
	}
	if _, err := provider.DownTo(t.Context(), 0); err != nil {
		t.Error(err)
	}
}

func TestNativeNamesTheTypeItCannotCarry(t *testing.T) {
	conn := open(t, chtest.Start(t))
	_, err := conn.Query(t.Context(), `SELECT '{"a":1}'::JSON AS j`)
	if chconn.Code(err) != 48 || !strings.Contains(err.Error(), "JSON") {
		t.Errorf("JSON over Native: %v, want NOT_IMPLEMENTED with the type's name", err)
	}
}
