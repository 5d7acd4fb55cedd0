package clickhouse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// maxQuery is how long a statement may be in bytes, without the data of an insert.
const maxQuery = 1 << 20

// maxDrain is how much of a refused body is read and thrown away.
const maxDrain = 256 << 20

// server answers ClickHouse's HTTP interface for one engine.
type server struct {
	engine   *engine
	password string
	slots    chan struct{} // one per statement that may run
	budget   *budget
	metrics  *metrics
	log      *slog.Logger
	// killed ends with the host: statements that outlive the grace are killed then.
	killed context.Context
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/ping":
		_, _ = io.WriteString(w, "Ok.\n")
	case r.URL.Path != "/":
		http.Error(w, "there is / for queries and /ping", http.StatusNotFound)
	case r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "use GET to read and POST to read or write", http.StatusMethodNotAllowed)
	default:
		s.serve(w, r)
	}
}

// serve answers one request and sees to it that every failure is counted once.
func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	fail := func(err error) {
		e := asException(err)
		s.metrics.failed(e)
		writeException(w, e)
	}
	if err := authenticate(r, values, s.password); err != nil {
		fail(err)
		return
	}
	req, err := parseRequest(values, r.Header)
	if err != nil {
		fail(err)
		return
	}
	w.Header().Set("X-ClickHouse-Query-Id", req.id)
	w.Header().Set("X-ClickHouse-Timezone", "UTC")
	w.Header().Set("X-ClickHouse-Server-Display-Name", "wattledger-embedded")
	job, err := s.prepare(r, &req)
	if err != nil {
		// A client that is still sending would meet a broken pipe instead of the reason.
		_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
		fail(err)
		return
	}
	if job.payload != nil {
		defer job.payload.close()
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-r.Context().Done():
		return
	}
	s.metrics.queries.WithLabelValues(job.st.kind.String()).Inc()
	s.metrics.running.Inc()
	defer s.metrics.running.Dec()
	format := job.st.format
	if format == "" || job.st.kind == kindInsert {
		format = req.format
	}
	out := newAnswer(w, &req, format, r.Header.Get("Accept-Encoding"))
	if err = s.run(r.Context(), job, out); err == nil {
		err = out.finish()
	}
	if err == nil || r.Context().Err() != nil {
		return // done, or nobody is there to read the error
	}
	e := asException(err)
	s.metrics.failed(e)
	s.log.Debug("query failed", "query_id", req.id, "code", e.Code, "error", e.Message)
	out.fail(e)
}

// job is a statement with all that it needs to run.
type job struct {
	req     *request
	st      statement
	payload *payload // of an insert
}

// prepare reads the statement, and the data of an insert. The body is read to its end, so that the connection's
// loss can be noticed while the statement runs.
func (s *server) prepare(r *http.Request, req *request) (*job, error) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		return nil, refuse(codeNotImplemented, "external_table", "External tables (multipart bodies) are not supported by the embedded engine: insert the rows into a table")
	}
	body, err := req.input(r.Body, strings.ToLower(r.Header.Get("Content-Encoding")))
	if err != nil {
		return nil, err
	}
	input := body
	if req.query != "" {
		input = io.MultiReader(strings.NewReader(req.query+"\n"), body)
	}
	head := make([]byte, maxQuery)
	n, err := io.ReadFull(input, head)
	complete := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && n < len(head)
	if err != nil && !complete {
		return nil, unreadable(err)
	}
	head = head[:n]
	st, err := parseStatement(head, complete)
	if err != nil {
		return nil, err
	}
	if st.kind != kindRead && r.Method != http.MethodPost {
		return nil, refuse(codeReadonly, "method", "Cannot execute a %s by %s: use POST", st.kind, r.Method)
	}
	j := &job{req: req, st: st}
	if st.kind != kindInsert {
		return j, nil
	}
	j.payload, err = receive(io.MultiReader(bytes.NewReader(head[st.dataAt:]), input), s.budget)
	if err != nil {
		return nil, unreadable(err)
	}
	return j, nil
}

func unreadable(err error) error {
	var e *Exception
	if errors.As(err, &e) {
		return err
	}
	return refuse(codeCannotReadAll, "body", "The body of the request breaks off: %v", err)
}

// run gives the statement to the engine in a session of its own.
func (s *server) run(ctx context.Context, j *job, out *answer) error {
	sess, err := s.engine.session()
	if err != nil {
		return err
	}
	defer sess.close()
	mark := newID()
	for _, sql := range j.preamble(mark) {
		if _, err := sess.run(sql, "Null", params{}, nil); err != nil {
			return err
		}
	}
	stop := s.watch(ctx, j, mark)
	defer stop()
	sql := j.st.text
	if j.payload != nil {
		sql = j.payload.sql(j.st)
	}
	if j.st.streamable && !j.req.whole && streamFormats[out.w.Header().Get("X-ClickHouse-Format")] {
		return sess.stream(sql, j.req.format, j.req.params, func(rows []byte, st stats) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			out.summary(st)
			return out.write(rows)
		})
	}
	var rows []byte
	st, err := sess.run(sql, j.req.format, j.req.params, func(b []byte) error {
		// The summary precedes the rows in the headers, and is known only after them.
		rows = append(rows, b...)
		return nil
	})
	if err != nil {
		return err
	}
	s.metrics.wrote(st)
	out.summary(st)
	if len(rows) == 0 {
		return nil
	}
	return out.write(rows)
}

// preamble sets up the session: database, settings, and last of all the lock on them.
func (j *job) preamble(mark string) []string {
	sets := []string{"log_comment = " + quote(mark)}
	for _, set := range j.req.settings {
		sets = append(sets, set.name+" = "+quote(set.value))
	}
	if j.st.kind == kindRead {
		// 1 locks every setting and 2 only itself; a SETTINGS clause needs 2, and its names have been checked.
		level := "1"
		if len(j.st.settings) > 0 {
			level = "2"
		}
		sets = append(sets, "readonly = "+level)
	}
	var list []string
	if j.req.database != "" && j.req.database != "default" {
		list = append(list, "USE "+quoteName(j.req.database))
	}
	return append(list, "SET "+strings.Join(sets, ", "))
}

// watch kills a read when its client goes away, and any statement when the host has to stop. The caller calls stop when
// the statement is done; the goroutine has ended then. A write goes on without its client: it was asked for, and
// whether it was stored must not depend on who is listening.
func (s *server) watch(ctx context.Context, j *job, mark string) (stop func()) {
	if j.st.kind != kindRead {
		ctx = s.killed
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-done:
			return
		case <-ctx.Done():
		case <-s.killed.Done():
		}
		// The engine knows the statement only once it has begun, so one try may come too early.
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			if err := s.engine.kill(mark); err != nil {
				s.log.Warn("query not killed", "query_id", j.req.id, "error", err)
			}
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

func asException(err error) *Exception {
	var e *Exception
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return refuse(codeCancelled, "cancelled", "Query was cancelled")
	}
	return &Exception{Code: codeUnknown, Message: fmt.Sprintf("Code: %d. DB::Exception: %v. (UNKNOWN_EXCEPTION)", codeUnknown, err)}
}
