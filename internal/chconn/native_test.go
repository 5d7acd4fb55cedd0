package chconn_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/nativetest"
)

// body is a block of one row in the Native format: name, type and bytes of each column.
func body(columns ...string) *bytes.Reader {
	b := []byte{byte(len(columns) / 3), 1}
	for i, s := range columns {
		if i%3 < 2 {
			b = binary.AppendUvarint(b, uint64(len(s)))
		}
		b = append(b, s...)
	}
	return bytes.NewReader(b)
}

// InsertFormat does over native TCP, with TLS and a password, what it does over HTTP.
func TestInsertFormatOverNativeTCP(t *testing.T) {
	engine := chtest.Start(t)
	_, cfg := nativetest.StartTLS(t, engine)
	conn, err := chconn.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(t.Context(), "CREATE TABLE t (a UInt32, b LowCardinality(String), c UInt64) ENGINE = MergeTree ORDER BY a"); err != nil {
		t.Fatal(err)
	}
	const one = "\x01\x00\x00\x00"
	dictionary := "\x01\x00\x00\x00\x00\x00\x00\x00" + "\x00\x06\x00\x00\x00\x00\x00\x00" + "\x02\x00\x00\x00\x00\x00\x00\x00" + "\x00\x03low" +
		"\x01\x00\x00\x00\x00\x00\x00\x00" + "\x01"
	f := func(format, statement, want string, columns ...string) {
		t.Helper()
		err := conn.InsertFormat(t.Context(), format, statement, body(columns...))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s with %q = %v, want %q", statement, columns, err, want)
		}
	}
	f("Native", "INSERT INTO t (a, b)", "", "a", "UInt32", one, "b", "LowCardinality(String)", dictionary)
	f("Native", "INSERT INTO t (b, a)", "", "a", "UInt32", one, "b", "LowCardinality(String)", dictionary) // in another order
	f("Native", "INSERT INTO t (a, b)", "", "a", "UInt32", one, "b", "String", "\x03low")                  // a type the table does not have
	f("Native", "INSERT INTO t (a, b)", "does not convert", "a", "UInt32", one, "b", "Array(String)", "\x01\x00\x00\x00\x00\x00\x00\x00\x03low")
	f("CSV", "INSERT INTO t (a, b)", "http or https", "a", "UInt32", one)
	f("Native", "INSERT INTO t (a, b)", "has 1 columns, the server asked for 2", "a", "UInt32", one)
	f("Native", "INSERT INTO t (a, b)", "did not ask for", "a", "UInt32", one, "a", "UInt32", one)
	f("Native", "INSERT INTO t (a, b)", "column b", "a", "UInt32", one, "b", "String", "\x09low") // ends early
	f("Native", "INSERT INTO t (a, z)", "No such column z", "a", "UInt32", one, "z", "String", "\x01z")
	f("Native", "INSERT INTO absent (a)", "absent", "a", "UInt32", one)
	var n uint64
	var b string
	if err := conn.QueryRow(t.Context(), "SELECT count(), any(b) FROM t WHERE a = 1 AND c = 0").Scan(&n, &b); err != nil || n != 3 || b != "low" {
		t.Errorf("%d rows with %q, %v; want 3 with low", n, b, err)
	}
}

// What is wrong on the way shows at Open in one line, as it does over HTTP.
func TestOpenOverNativeTCPSaysWhatIsWrong(t *testing.T) {
	_, live := nativetest.StartTLS(t, chtest.Start(t))
	wrong := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(wrong, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(change func(*chconn.Config), want string) {
		t.Helper()
		cfg := live
		change(&cfg)
		_, err := chconn.Open(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || chconn.Temporary(err) {
			t.Errorf("error %v, want one line that says %q and does not pass", err, want)
		}
	}
	f(func(c *chconn.Config) { c.PasswordFile = wrong }, "password_file")
	f(func(c *chconn.Config) { c.Database = "absent" }, "create the database")
	f(func(c *chconn.Config) { c.TLS.CAFile = "" }, "tls.ca_file") // an authority that we do not know
	conn, err := chconn.Open(t.Context(), live)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var exception *clickhouse.Exception
	if err := conn.Exec(t.Context(), "SELECT nonsense"); !errors.As(err, &exception) || chconn.Code(err) != 47 {
		t.Errorf("error %v with code %d, want the server's exception 47", err, chconn.Code(err))
	}
}
