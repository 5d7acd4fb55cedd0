package clickhouse

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestStatementsAreRead(t *testing.T) {
	f := func(input string, kind statementKind, format string, settings ...string) statement {
		t.Helper()
		st, err := parseStatement([]byte(input), true)
		if err != nil {
			t.Errorf("%s: %v", input, err)
			return st
		}
		if st.kind != kind || st.format != format || !slices.Equal(st.settings, settings) {
			t.Errorf("%s: %v, format %q, settings %q; want %v, %q, %q", input, st.kind, st.format, st.settings, kind, format, settings)
		}
		return st
	}
	f("SELECT 1", kindRead, "")
	f(" -- first\n/* a /* b */ c */ select 1 format JSON ;; -- done", kindRead, "JSON")
	f("SELECT 1 FORMAT JSON SETTINGS max_threads = 1", kindRead, "JSON", "max_threads")
	f("SELECT ';', \";\", `;` FROM t # comment ; SELECT 2", kindRead, "")
	f("SELECT format FROM t", kindRead, "")
	f("SELECT format, settings FROM t SETTINGS max_threads=-1.5, final = {f:UInt8}, extremes=1 FORMAT CSV", kindRead, "CSV", "max_threads", "final", "extremes")
	f("SELECT * FROM (SELECT 1 SETTINGS max_threads = 1) SETTINGS final = 1", kindRead, "", "max_threads", "final")
	f("SELECT max(settings) = 1 FROM t", kindRead, "")
	f("(SELECT 1) UNION ALL (SELECT 2)", kindRead, "")
	f("WITH x AS (SELECT 1) SELECT * FROM x", kindRead, "")
	f("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", kindWrite, "")
	f("INSERT INTO t SELECT 1 FORMAT Null", kindWrite, "Null")
	f("INSERT INTO t (a) (SELECT 1);", kindWrite, "")
	f("CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS index_granularity = 1", kindWrite, "")
	f("SYSTEM FLUSH LOGS", kindWrite, "")
	f("ALTER TABLE t DELETE WHERE 1 SETTINGS mutations_sync = 1", kindWrite, "")

	data := func(input, head, format, rows string, settings ...string) {
		t.Helper()
		st := f(input, kindInsert, format, settings...)
		if st.text != head || input[st.dataAt:] != rows {
			t.Errorf("%q: head %q, data %q; want %q, %q", input, st.text, input[st.dataAt:], head, rows)
		}
	}
	data("INSERT INTO t VALUES (1), ('; SELECT')", "INSERT INTO t ", "Values", "(1), ('; SELECT')")
	data("INSERT INTO values VALUES(1)", "INSERT INTO values ", "Values", "(1)")
	data("INSERT INTO d.values (values, format) VALUES (1)", "INSERT INTO d.values (values, format) ", "Values", "(1)")
	data("insert into table `a b`.t (x)\nformat Native\n\x00\xff'\"", "insert into table `a b`.t (x)\n", "Native", "\x00\xff'\"")
	data("INSERT INTO t FORMAT CSV \r\n 1,2", "INSERT INTO t ", "CSV", " 1,2")
	data("INSERT INTO {t:Identifier} FORMAT CSV", "INSERT INTO {t:Identifier} ", "CSV", "")
	data("INSERT INTO t SETTINGS insert_deduplicate = 1, insert_deduplication_token='FORMAT x' FORMAT CSV\n", "INSERT INTO t SETTINGS insert_deduplicate = 1, insert_deduplication_token='FORMAT x' ",
		"CSV", "", "insert_deduplicate", "insert_deduplication_token")
	if st, err := parseStatement([]byte("INSERT INTO t SETTINGS insert_deduplicate=1 FORMAT CSV\n"), true); err != nil || st.text[st.infileAt:] != "SETTINGS insert_deduplicate=1 " {
		t.Errorf("INFILE goes before %q, %v", st.text[st.infileAt:], err)
	}
}

func TestStatementsAreRefused(t *testing.T) {
	f := func(reason, input string) {
		t.Helper()
		_, err := parseStatement([]byte(input), true)
		var e *Exception
		if !errors.As(err, &e) || e.Reason != reason {
			t.Errorf("%s: %v, want refused for %s", input, err, reason)
		}
	}
	f("syntax", "")
	f("syntax", "-- only a comment")
	f("syntax", "SELECT 'open")
	f("syntax", "SELECT /* open /* */")
	f("syntax", "exit")
	f("syntax", "INSERT INTO t (a)")
	f("syntax", "INSERT INTO t FORMAT CSV; SELECT 1")
	f("syntax", "SELECT $$heredoc$$")
	f("syntax", "SELECT ‘quoted’")
	f("syntax", "SELECT `\\x66ile`('/etc/hostname')")
	f("syntax", "SELECT 1 SETTINGS max_threads = 1, readonly FORMAT CSV")
	f("outside", "ATTACH TABLE t FROM '/etc' (a Int8) ENGINE = MergeTree ORDER BY a")
	f("multi_statement", "SELECT 1; DROP TABLE t")
	f("multi_statement", "SELECT '\\';' ; SELECT 2")
	f("multi_statement", "SELECT 1 /* ; */ ; (SELECT 2)")
	f("session", "SET max_threads = 1")
	f("session", "USE d")
	f("statement", "GRANT ALL ON *.* TO x")
	f("statement", "BACKUP TABLE t TO File('x')")
	f("statement", "SYSTEM SHUTDOWN")
	f("setting", "SELECT 1 SETTINGS readonly = 0")
	f("setting", "SELECT 1 SETTINGS max_threads = map('a', 1), format_schema = 'x'")
	f("setting", "INSERT INTO t SETTINGS log_queries = 1 VALUES (1)")
	f("file", "SELECT file('/etc/hostname')")
	f("file", "SELECT `file`('/etc/hostname')")
	f("file", "SELECT \"FILE\" ('/etc/hostname')")
	f("file", "SELECT * APPLY(file) FROM t")
	f("file", "SELECT arrayMap(file, ['/etc/hostname'])")
	f("file", "INSERT INTO t SELECT * FROM file('x')")
	f("outfile", "SELECT 1 INTO OUTFILE '/tmp/x'")
	f("infile", "INSERT INTO t FROM INFILE '/tmp/x' FORMAT CSV")
	f("outside", "INSERT INTO FUNCTION url('http://x') VALUES (1)")
	f("outside", "CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '/etc/')")
	f("engine", "CREATE TABLE t (a Int8) ENGINE = URL('http://x', CSV)")
	f("engine", "CREATE TABLE t (a Int8) ENGINE S3('x')")
	f("engine", "CREATE DATABASE d ENGINE = Filesystem('/')")
	if _, err := parseStatement([]byte("SELECT 'not all"), false); asException(err).Reason != "too_large" {
		t.Errorf("a statement cut off by the limit: %v, want too_large", err)
	}
	if st, err := parseStatement([]byte("INSERT INTO t FORMAT CSV\n'not all"), false); err != nil || st.kind != kindInsert {
		t.Errorf("an insert whose data is cut off: %v, %v", st.kind, err)
	}
}

// However a literal is written, it hides nothing of the statement and nothing of it shows.
func TestQuotedTextStaysQuoted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		sql := "SELECT " + quote(text) + " FORMAT CSV"
		st, err := parseStatement([]byte(sql), true)
		if err != nil || st.format != "CSV" || st.text != sql {
			t.Fatalf("%q: %+v, %v", sql, st, err)
		}
		l := lexer{src: []byte(quote(text))}
		if tok := l.next(); tok.kind != tokenString || l.next().kind != tokenEnd {
			t.Fatalf("%q is more than one literal", quote(text))
		}
	})
}

func FuzzStatement(f *testing.F) {
	for _, seed := range []string{
		"SELECT 1; -- x", "INSERT INTO t (a, b) SETTINGS max_threads=1 FORMAT Native\n\x00", "WITH x AS (SELECT 'a\\'b') SELECT * FROM x FORMAT JSON SETTINGS final=1",
		"/* /* */ */ SELECT `a``b`, \"c\\\"d\"", "INSERT INTO values VALUES (1)", "SELECT file('/etc/passwd')", "CREATE TABLE t (a Int8) ENGINE = File(CSV)", "# x\nSELECT 1",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, input []byte, complete bool) {
		st, err := parseStatement(input, complete)
		if err != nil {
			if e := asException(err); e.Reason == "" || e.Code == codeUnknown {
				t.Fatalf("%q: %v is no refusal", input, err)
			}
			return
		}
		if !strings.HasPrefix(string(input), st.text) {
			t.Fatalf("%q: the statement %q is not its beginning", input, st.text)
		}
		for _, name := range st.settings {
			if checkSetting(name) != nil {
				t.Fatalf("%q: setting %s got through", input, name)
			}
		}
		if st.kind == kindInsert {
			if st.dataAt < len(st.text) || st.dataAt > len(input) || st.infileAt > len(st.text) {
				t.Fatalf("%q: data at %d, INFILE at %d of %d", input, st.dataAt, st.infileAt, len(st.text))
			}
			return
		}
		// What runs is one statement, and read again it is the same one.
		again, err := parseStatement([]byte(st.text), true)
		if err != nil || again.kind != st.kind || again.format != st.format || again.text != st.text {
			t.Fatalf("%q: read again %+v, %v; was %+v", input, again, err, st)
		}
		l := lexer{src: []byte(st.text)}
		for tok := l.next(); tok.kind != tokenEnd; tok = l.next() {
			if tok.isPunct(';') || tok.kind == tokenBad || (tok.kind == tokenWord || tok.kind == tokenQuoted) && strings.EqualFold(tok.text, "file") {
				t.Fatalf("%q: %q got through", input, tok.text)
			}
		}
	})
}
