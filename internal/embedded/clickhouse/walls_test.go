package clickhouse_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
)

// No statement reads or writes a file of the machine, whichever wall it meets.
func TestFilesAreOutOfReach(t *testing.T) {
	conn := open(t, chtest.Start(t))
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.csv")
	if err := os.WriteFile(secret, []byte("hidden\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "CREATE TABLE own (s String) ENGINE = MergeTree ORDER BY tuple()")
	for _, sql := range []string{
		"SELECT file('SECRET')", "SELECT * APPLY(file) FROM (SELECT 'SECRET')", "SELECT arrayMap(file, ['SECRET'])",
		"SELECT * FROM file('SECRET')", "SELECT * FROM `SECRET`", "SELECT * FROM 'SECRET'", "SELECT * FROM default.`SECRET`", "DESCRIBE TABLE `SECRET`",
		"SELECT * FROM fileCluster('x', 'SECRET')", "SELECT * FROM url('file://SECRET', CSV, 's String')", "SELECT * FROM sqlite('SECRET', 't')",
		"SELECT * FROM filesystem('DIR')", "SELECT * FROM executable('cat', CSV, 's String')", "SELECT * FROM deltaLakeLocal('DIR')", "SELECT * FROM icebergLocal('DIR')",
		"INSERT INTO own SELECT * FROM file('SECRET')", "INSERT INTO own FROM INFILE 'SECRET' FORMAT CSV", "INSERT INTO FUNCTION file('DIR/out.csv') VALUES (1)",
		"SELECT 1 INTO OUTFILE 'DIR/out.csv'", "CREATE TABLE f (s String) ENGINE = File(CSV, 'SECRET')", "CREATE TABLE f (s String) ENGINE = URL('file://SECRET', CSV)",
		"CREATE TABLE f AS file('SECRET')", "CREATE TABLE f ENGINE = Memory AS SELECT file('SECRET')", "CREATE DATABASE f ENGINE = Filesystem('DIR')", "CREATE DATABASE f ENGINE = SQLite('SECRET')",
		"CREATE DICTIONARY f (k UInt8, s String) PRIMARY KEY k SOURCE(FILE(PATH 'SECRET' FORMAT CSV)) LAYOUT(FLAT()) LIFETIME(0)",
		"CREATE DICTIONARY f (k UInt8, s String) PRIMARY KEY k SOURCE(EXECUTABLE(COMMAND 'cat SECRET' FORMAT CSV)) LAYOUT(FLAT()) LIFETIME(0)",
		"CREATE NAMED COLLECTION f AS a = 1", "BACKUP TABLE own TO File('DIR/backup')", "RESTORE TABLE own FROM File('DIR/backup')",
		"CREATE TABLE f (s String) ENGINE = MergeTree ORDER BY s SETTINGS disk = disk(type = local, path = 'DIR/disk/')",
		"ATTACH TABLE f FROM 'DIR' (s String) ENGINE = MergeTree ORDER BY s", "CREATE USER f", "SYSTEM SHUTDOWN", "SELECT * FROM remote('127.0.0.1:1', system.one)",
		"SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')", "SELECT * FROM s3('http://127.0.0.1:1/x', CSV, 's String')",
	} {
		sql = strings.NewReplacer("SECRET", secret, "DIR", dir).Replace(sql)
		rows, err := conn.Query(t.Context(), sql)
		if err == nil {
			t.Errorf("%s: answered %v", sql, rows.Columns())
			_ = rows.Close()
			continue
		}
		if chconn.Code(err) == 0 || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%s holds %v, %v; want the secret alone", dir, entries, err)
	}
	exec(t, conn, "INSERT INTO own VALUES ('still here')")
}

// A new library may bring new engines: each must be put on one of the two lists before it can be used.
func TestEveryEngineIsOnAList(t *testing.T) {
	conn := open(t, chtest.Start(t))
	var names []string
	if err := conn.QueryRow(t.Context(), "SELECT groupUniqArray(name) FROM (SELECT name FROM system.table_engines UNION ALL SELECT name FROM system.database_engines)").Scan(&names); err != nil {
		t.Fatal(err)
	}
	if len(names) < 50 {
		t.Fatalf("the engine lists %d engines", len(names))
	}
	for _, name := range names {
		if allowed, denied := clickhouse.EngineLists(name); allowed == denied {
			t.Errorf("engine %s: allowed %v, denied %v", name, allowed, denied)
		}
	}
}
