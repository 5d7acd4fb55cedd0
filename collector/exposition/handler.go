package exposition

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
)

// contentType is the text format that every scraper reads, those that would rather have OpenMetrics included.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Handler answers with what own answers, which is the process's own metrics, and this page after it. own is asked for the text
// format whatever the client prefers; when it has an error, that is the answer.
func (e *Exposition) Handler(own http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buf := buffers.Get().(*bytes.Buffer)
		defer buffers.Put(buf)
		buf.Reset()
		if own != nil {
			plain := r.Clone(r.Context())
			plain.Header.Set("Accept", "text/plain;version=0.0.4")
			plain.Header.Del("Accept-Encoding")
			a := &answer{header: http.Header{}, body: buf, status: http.StatusOK}
			own.ServeHTTP(a, plain)
			if a.status != http.StatusOK {
				http.Error(w, strings.TrimSpace(buf.String()), a.status)
				return
			}
		}
		text := e.Append(buf.AvailableBuffer())
		buf.Write(text)
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Vary", "Accept-Encoding")
		if !acceptsGzip(r) {
			//nolint:errcheck // the client has gone, and nothing could be done
			w.Write(buf.Bytes())
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		//nolint:errcheck // the client has gone, and nothing could be done
		z.Write(buf.Bytes())
		z.Close()
	})
}

// acceptsGzip says whether the client named gzip and did not refuse it.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if q = strings.ReplaceAll(q, " ", ""); name == "gzip" && strings.TrimRight(q, "0.") != "q=" {
			return true
		}
	}
	return false
}

// answer holds back what own writes.
type answer struct {
	header http.Header
	body   *bytes.Buffer
	status int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
