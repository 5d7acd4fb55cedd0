package clickhouse

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	chcompress "github.com/ClickHouse/ch-go/compress"
	"pgregory.net/rapid"
)

// Whatever is written with an encoding is read back with it, alone and around ClickHouse's own blocks.
func TestEncodingsAreUndone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "text")
		encoding := rapid.SampledFrom([]string{"", "gzip", "deflate", "br", "zstd", "lz4"}).Draw(t, "encoding")
		method := rapid.SampledFrom([]chcompress.Method{chcompress.None, chcompress.LZ4, chcompress.ZSTD}).Draw(t, "method")
		req := request{decompress: rapid.Bool().Draw(t, "blocks")}
		plain := text
		if req.decompress {
			plain = nil
			for rest := text; len(rest) > 0; {
				n := min(len(rest), rapid.IntRange(1, 2000).Draw(t, "block"))
				w := chcompress.NewWriter(chcompress.LevelZero, method)
				if err := w.Compress(rest[:n]); err != nil {
					t.Fatal(err)
				}
				plain, rest = append(plain, w.Data...), rest[n:]
			}
		}
		var wire bytes.Buffer
		enc, err := encoder(&wire, encoding)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := enc.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := enc.Close(); err != nil {
			t.Fatal(err)
		}
		whole := wire.Bytes()
		r, err := req.input(bytes.NewReader(whole), encoding)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, text) {
			t.Fatalf("%s: %d bytes, %v; want %d", encoding, len(got), err, len(text))
		}
		// A body that breaks off is an error and never a shorter body, wherever a frame shows its end.
		if cut := rapid.IntRange(1, max(1, len(whole)-1)).Draw(t, "cut"); len(whole) > 1 && encoding != "" {
			r, err := req.input(bytes.NewReader(whole[:cut]), encoding)
			if err == nil {
				_, err = io.ReadAll(r)
			}
			if err == nil {
				t.Fatalf("%s: %d of %d bytes read as if whole", encoding, cut, len(whole))
			}
		}
	})
}

func TestADamagedBlockIsRefused(t *testing.T) {
	w := chcompress.NewWriter(chcompress.LevelZero, chcompress.LZ4)
	if err := w.Compress([]byte("some rows")); err != nil {
		t.Fatal(err)
	}
	f := func(code int, data []byte) {
		t.Helper()
		_, err := io.ReadAll(blocks{chcompress.NewReader(bytes.NewReader(data))})
		var e *Exception
		if code == 0 && !errors.Is(err, io.ErrUnexpectedEOF) || code != 0 && (!errors.As(err, &e) || e.Code != code) {
			t.Errorf("%x: %v, want code %d", data, err, code)
		}
	}
	flipped := bytes.Clone(w.Data)
	flipped[len(flipped)-1] ^= 1
	f(codeChecksum, flipped)
	f(0, w.Data[:10])
	f(0, w.Data[:25]) // the header is whole and its data is missing
	f(0, w.Data[:len(w.Data)-1])
}

func TestChooseEncoding(t *testing.T) {
	f := func(accept, want string) {
		t.Helper()
		if got := chooseEncoding(accept); got != want {
			t.Errorf("chooseEncoding(%q) = %q, want %q", accept, got, want)
		}
	}
	f("", "")
	f("identity", "")
	f("gzip", "gzip")
	f("snappy, zstd;q=0.5, gzip", "zstd")
	f("gzip;q=0, br", "br")
}

func TestStatusIsClickHouses(t *testing.T) {
	f := func(text string, code, status int) {
		t.Helper()
		if e := parseException(text); e.Code != code || e.status() != status {
			t.Errorf("%q: code %d, status %d; want %d, %d", text, e.Code, e.status(), code, status)
		}
	}
	f("Code: 60. DB::Exception: Unknown table", 60, http.StatusNotFound)
	f("Code: 62. DB::Exception: Syntax error", 62, http.StatusBadRequest)
	f("Code: 241. DB::Exception: memory", 241, http.StatusInternalServerError)
	f("Code: 164. DB::Exception: readonly", 164, http.StatusForbidden)
	f("Error: something", codeUnknown, http.StatusInternalServerError)
	f("Code: 99999999999999999999. DB::Exception: x", codeUnknown, http.StatusInternalServerError)
}

func FuzzRequest(f *testing.F) {
	f.Add("query=SELECT+1&database=d&param_x=1&max_threads=2&compress=1", "CSV")
	f.Add("session_id=x", "")
	f.Add("client_protocol_version=54460&default_format=Native&decompress=true&network_compression_method=zstd", "")
	f.Add("query_id=%00&wait_end_of_query=2", "")
	f.Fuzz(func(t *testing.T, raw, format string) {
		values, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		req, err := parseRequest(values, http.Header{"X-Clickhouse-Format": {format}})
		if err != nil {
			if e := asException(err); e.Reason == "" {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		for _, s := range req.settings {
			if checkSetting(s.name) != nil {
				t.Fatalf("setting %s got through", s.name)
			}
		}
		if len(req.params.names) != len(req.params.values) || !idPattern.MatchString(req.id) {
			t.Fatalf("%+v", req)
		}
		// Names and values reach the engine as one literal each.
		j := job{req: &req, st: statement{kind: kindRead}}
		for _, sql := range j.preamble("mark") {
			l := lexer{src: []byte(sql)}
			for tok := l.next(); tok.kind != tokenEnd; tok = l.next() {
				if tok.isPunct(';') || tok.kind == tokenBad && !strings.Contains(tok.text, "escape") {
					t.Fatalf("%q: %q", sql, tok.text)
				}
			}
		}
	})
}
