package clickhouse

import (
	"compress/zlib"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	chcompress "github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// request is what the URL and the headers of one HTTP request say.
type request struct {
	id       string
	query    string // the query parameter; the body follows it
	database string
	format   string // default output format
	settings []setting
	params   params
	revision int // client_protocol_version

	compress   bool              // answer in ClickHouse's own compressed blocks
	method     chcompress.Method // of those blocks
	decompress bool              // the body is in such blocks
	whole      bool              // wait_end_of_query: no byte of the answer before the query is done
}

type setting struct{ name, value string }

// parseRequest reads everything but the body. Unknown parameters are settings, and settings come from a fixed list.
func parseRequest(values url.Values, header http.Header) (request, error) {
	req := request{format: "TabSeparated", method: chcompress.LZ4}
	if f := header.Get("X-ClickHouse-Format"); f != "" {
		req.format = f
	}
	req.database = header.Get("X-ClickHouse-Database")
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) != 1 {
			return req, refuse(codeBadArguments, "parameter", "Parameter %s is given %d times", name, len(values[name]))
		}
		if err := req.parameter(name, values[name][0]); err != nil {
			return req, err
		}
	}
	if req.id == "" {
		req.id = newID()
	}
	return req, nil
}

func (req *request) parameter(name, value string) (err error) {
	switch name {
	case "query":
		req.query = value
	case "database":
		req.database = value
	case "query_id":
		if !idPattern.MatchString(value) {
			return refuse(codeBadArguments, "parameter", "query_id must be 1 to 128 letters, digits and . _ : -")
		}
		req.id = value
	case "user", "password":
		// Read by the authentication.
	case "default_format":
		req.format = value
	case "session_id", "session_timeout", "session_check", "close_session":
		return refuse(codeNotImplemented, "session", "Sessions (%s) are not supported by the embedded engine: every request has a session of its own; "+
			"pass settings as URL parameters, and use a table instead of a temporary one", name)
	case "role":
		return refuse(codeNotImplemented, "role", "Roles are not supported by the embedded engine")
	case "client_protocol_version":
		if req.revision, err = strconv.Atoi(value); err != nil || req.revision < 0 {
			return refuse(codeBadArguments, "parameter", "client_protocol_version %q is not a number", value)
		}
	case "compress":
		req.compress, err = flag(name, value)
	case "decompress":
		req.decompress, err = flag(name, value)
	case "wait_end_of_query":
		req.whole, err = flag(name, value)
	case "network_compression_method":
		switch strings.ToUpper(value) {
		case "LZ4":
			req.method = chcompress.LZ4
		case "LZ4HC":
			req.method = chcompress.LZ4HC
		case "ZSTD":
			req.method = chcompress.ZSTD
		case "NONE":
			req.method = chcompress.None
		default:
			return refuse(codeBadArguments, "parameter", "network_compression_method %s is not LZ4, LZ4HC, ZSTD or NONE", value)
		}
	default:
		switch param, ok := strings.CutPrefix(name, "param_"); {
		case ok && namePattern.MatchString(param):
			req.params.names, req.params.values = append(req.params.names, param), append(req.params.values, value)
		case ok:
			return refuse(codeBadArguments, "parameter", "%q is no name for a query parameter", param)
		case ignoredParameters[name], syncSettings[name]:
		default:
			if err := checkSetting(name); err != nil {
				return err
			}
			req.settings = append(req.settings, setting{name, value})
		}
	}
	return err
}

var (
	idPattern   = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)
	namePattern = regexp.MustCompile(`^[A-Za-z0-9_]{1,128}$`)
)

func flag(name, value string) (bool, error) {
	switch value {
	case "1", "true":
		return true, nil
	case "0", "false", "":
		return false, nil
	}
	return false, refuse(codeBadArguments, "parameter", "%s must be 0 or 1, not %q", name, value)
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// input opens the request's body: first the content encoding is undone, then ClickHouse's own blocks.
func (req *request) input(body io.Reader, encoding string) (io.Reader, error) {
	var err error
	bad := func(err error) error {
		return refuse(codeCannotDecompress, "encoding", "The body is not valid %s: %v", encoding, err)
	}
	switch encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		if body, err = gzip.NewReader(body); err != nil {
			return nil, bad(err)
		}
	case "deflate":
		if body, err = zlib.NewReader(body); err != nil {
			return nil, bad(err)
		}
	case "br":
		body = brotli.NewReader(body)
	case "zstd":
		d, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, bad(err)
		}
		body = d.IOReadCloser()
	case "lz4":
		body = lz4.NewReader(body)
	default:
		return nil, refuse(codeNotImplemented, "encoding", "Content-Encoding %s is not supported: use gzip, deflate, br, zstd or lz4", encoding)
	}
	if req.decompress {
		return blocks{chcompress.NewReader(body)}, nil
	}
	return body, nil
}

// blocks reads ClickHouse's compressed blocks and turns a damaged one into the exception a client knows.
type blocks struct{ r *chcompress.Reader }

func (b blocks) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	var damaged *chcompress.CorruptedDataErr
	switch {
	case err == nil:
	case errors.As(err, &damaged):
		err = refuse(codeChecksum, "encoding", "A compressed block of the body does not match its checksum")
	case errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "read raw"):
		err = io.EOF // the reader wraps it
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = io.ErrUnexpectedEOF // a block that breaks off must not look like the end
	default:
		err = refuse(codeCannotDecompress, "encoding", "A compressed block of the body is not valid: %v", err)
	}
	return n, err
}
