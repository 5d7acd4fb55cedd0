package clickhouse

import (
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"strings"

	chcompress "github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// blockSize is how much of an answer goes into one compressed block, as in ClickHouse.
const blockSize = 1 << 20

// streamFormats can be written piece by piece: their output for some rows does not depend on the rows before.
// The engine writes each piece of a streamed result as if it were a whole one, so formats with a head or a tail are left out.
var streamFormats = wordSet(`Native TabSeparated TSV TabSeparatedRaw TSVRaw Raw CSV TSKV
	JSONEachRow JSONLines NDJSON JSONStringsEachRow JSONCompactEachRow JSONCompactStringsEachRow
	RowBinary LineAsString RawBLOB Null`)

// answer is the response body: rows go in, and out come blocks of the asked protocol, compressed as asked.
// Nothing is sent before the first byte of a row, so that an error before it can still have its HTTP status.
type answer struct {
	w        http.ResponseWriter
	req      *request
	native   bool
	encoding string

	started bool
	tag     string // announced, so that a client can tell an exception from a row that looks like one
	enc     io.WriteCloser
	blocks  *chcompress.Writer
	scratch []byte
	sent    int64
}

// newAnswer prepares the headers that do not depend on the outcome.
func newAnswer(w http.ResponseWriter, req *request, format, acceptEncoding string) *answer {
	a := &answer{w: w, req: req, native: strings.EqualFold(format, "Native"), encoding: chooseEncoding(acceptEncoding), tag: newID()[:16]}
	h := w.Header()
	h.Set("X-ClickHouse-Format", format)
	h.Set("Content-Type", contentType(format))
	if a.req.compress {
		a.encoding = ""
		a.blocks = chcompress.NewWriter(chcompress.LevelZero, req.method)
	}
	return a
}

// summary sets what the statement read and wrote. Headers go out first, so a streamed result counts up to its first piece.
func (a *answer) summary(st stats) {
	if a.started {
		return
	}
	a.w.Header().Set("X-ClickHouse-Summary", fmt.Sprintf(
		`{"read_rows":"%d","read_bytes":"%d","written_rows":"%d","written_bytes":"%d","total_rows_to_read":"0","result_rows":"%d","result_bytes":"%d"}`,
		st.readRows, st.readBytes, st.writtenRows, st.writtenBytes, st.resultRows, st.resultBytes))
}

// write sends rows in the engine's output format.
func (a *answer) write(rows []byte) error {
	if a.native && a.req.revision > 0 {
		var err error
		if a.scratch, err = appendNative(a.scratch[:0], rows, a.req.revision); err != nil {
			return err
		}
		rows = a.scratch
	}
	if err := a.start(); err != nil {
		return err
	}
	if a.blocks == nil {
		return a.raw(rows)
	}
	for len(rows) > 0 {
		n := min(len(rows), blockSize)
		if err := a.blocks.Compress(rows[:n]); err != nil {
			return fmt.Errorf("compress an answer: %w", err)
		}
		if err := a.raw(a.blocks.Data); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func (a *answer) raw(p []byte) error {
	n, err := a.enc.Write(p)
	a.sent += int64(n)
	return err
}

func (a *answer) start() (err error) {
	if a.started {
		return nil
	}
	a.started = true
	h := a.w.Header()
	h.Set("X-ClickHouse-Exception-Tag", a.tag)
	if a.encoding != "" {
		h.Set("Content-Encoding", a.encoding)
	}
	a.enc, err = encoder(a.w, a.encoding)
	return err
}

// finish ends the body. An answer without rows has an empty body and says so.
func (a *answer) finish() error {
	if !a.started {
		return nil
	}
	return a.enc.Close()
}

// fail reports an exception: with its status while nothing was sent, and inside the body afterwards,
// in the frame that clients look for (src/Server/HTTP/WriteBufferFromHTTPServerResponse.cpp).
func (a *answer) fail(e *Exception) {
	if !a.started {
		writeException(a.w, e)
		return
	}
	text := strings.TrimSpace(e.Message) + "\n"
	frame := fmt.Sprintf("\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n", a.tag, text, len(text), a.tag)
	body := []byte(frame)
	if a.blocks != nil {
		plain := chcompress.NewWriter(chcompress.LevelZero, chcompress.None)
		if plain.Compress(body) == nil {
			body = plain.Data
		}
	}
	// The connection may be gone: then there is nobody left to tell.
	if a.raw(body) == nil {
		_ = a.enc.Close()
	}
}

// writeException is the whole answer of a request that failed before its first row. It is never compressed.
func writeException(w http.ResponseWriter, e *Exception) {
	h := w.Header()
	h.Del("Content-Encoding")
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("X-ClickHouse-Exception-Code", fmt.Sprint(e.Code))
	if e.Code == codeRequiredPassword {
		h.Set("WWW-Authenticate", `Basic realm="ClickHouse server HTTP API"`)
	}
	w.WriteHeader(e.status())
	_, _ = io.WriteString(w, strings.TrimSpace(e.Message)+"\n")
}

// chooseEncoding takes the first coding that we have, of those that the client accepts.
func chooseEncoding(accept string) string {
	for part := range strings.SplitSeq(accept, ",") {
		coding, quality, _ := strings.Cut(strings.TrimSpace(part), ";")
		switch coding = strings.TrimSpace(coding); coding {
		case "gzip", "deflate", "br", "zstd", "lz4":
			if strings.ReplaceAll(quality, " ", "") != "q=0" {
				return coding
			}
		}
	}
	return ""
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func encoder(w io.Writer, encoding string) (io.WriteCloser, error) {
	switch encoding {
	case "gzip":
		return gzip.NewWriterLevel(w, gzip.BestSpeed)
	case "deflate":
		return zlib.NewWriterLevel(w, zlib.BestSpeed)
	case "br":
		return brotli.NewWriterLevel(w, brotli.BestSpeed), nil
	case "zstd":
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	case "lz4":
		return lz4.NewWriter(w), nil
	default:
		return nopCloser{w}, nil
	}
}

func contentType(format string) string {
	switch {
	case format == "Native" || strings.HasPrefix(format, "RowBinary") || format == "Parquet" || strings.HasPrefix(format, "Arrow"):
		return "application/octet-stream"
	case strings.HasPrefix(format, "JSONEachRow"), format == "JSONLines", format == "NDJSON", strings.HasPrefix(format, "JSONCompactEachRow"):
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(format, "JSON"):
		return "application/json; charset=UTF-8"
	case strings.HasPrefix(format, "CSV"):
		return "text/csv; charset=UTF-8; header=" + map[bool]string{true: "present", false: "absent"}[strings.Contains(format, "WithNames")]
	case strings.HasPrefix(format, "TabSeparated"), strings.HasPrefix(format, "TSV"):
		return "text/tab-separated-values; charset=UTF-8"
	default:
		return "text/plain; charset=UTF-8"
	}
}
