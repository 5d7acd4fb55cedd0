package e2e

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// toll stands on the way from one ingester to the engine. It can hold an insert before the engine gets it, or the engine's answer
// before the ingester gets it, for as long as a test needs to kill somebody.
type toll struct {
	t    *testing.T
	addr string

	mu   sync.Mutex
	next *hold // guarded by mu; takes the next insert that fits
	most int64 // guarded by mu; offsets of the widest insert so far
}

// widest is how many offsets the widest insert spanned.
func (to *toll) widest() int64 {
	to.mu.Lock()
	defer to.mu.Unlock()
	return to.most
}

// insert is one insert into one table, read from its token.
type insert struct {
	table       string
	partition   int
	first, last int64 // offsets
}

// hold is an insert that is held, or will be.
type hold struct {
	t      *testing.T
	table  string
	answer bool // hold the answer, not the request
	held   chan insert
	go_    chan bool // true lets it pass, false breaks its connection
	ended  <-chan struct{}
}

var errBroken = errors.New("broken by the test")

func newToll(t *testing.T, house string) *toll {
	t.Helper()
	to := &toll{t: t}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: house}) },
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode == http.StatusOK && !to.pass(r.Request, true) {
				return errBroken
			}
			return nil
		},
		// An engine that is away looks as it does without us: like a connection that ends.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		Transport:    &http.Transport{MaxIdleConnsPerHost: 16},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !to.pass(r, false) {
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	}))
	to.addr = strings.TrimPrefix(server.URL, "http://")
	t.Cleanup(server.Close)
	return to
}

// pass holds the insert if somebody waits for it, and says whether it may go on.
func (to *toll) pass(r *http.Request, answer bool) bool {
	parts := strings.Split(r.URL.Query().Get("insert_deduplication_token"), "/") // topic, partition, offsets, table, hash
	if len(parts) != 5 {
		return true
	}
	first, last, _ := strings.Cut(parts[2], "-")
	i := insert{table: parts[3]}
	var errs [3]error
	i.partition, errs[0] = strconv.Atoi(parts[1])
	i.first, errs[1] = strconv.ParseInt(first, 10, 64)
	i.last, errs[2] = strconv.ParseInt(last, 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		to.t.Errorf("token %v: %v", parts, err)
		return true
	}
	to.mu.Lock()
	to.most = max(to.most, i.last-i.first+1)
	h := to.next
	if h == nil || h.table != i.table || h.answer != answer {
		to.mu.Unlock()
		return true
	}
	to.next = nil
	to.mu.Unlock()
	h.held <- i
	select {
	case ok := <-h.go_:
		return ok
	case <-h.ended:
		return false
	}
}

// hold has the next insert into the table held.
func (to *toll) hold(table string, answer bool) *hold {
	h := &hold{t: to.t, table: table, answer: answer, held: make(chan insert, 1), go_: make(chan bool, 1), ended: to.t.Context().Done()}
	to.mu.Lock()
	defer to.mu.Unlock()
	to.next = h
	return h
}

// wait returns when the insert is held.
func (h *hold) wait() insert {
	h.t.Helper()
	select {
	case i := <-h.held:
		return i
	case <-time.After(time.Minute):
		h.t.Fatalf("no insert into %s within a minute", h.table)
		return insert{}
	}
}

// release lets the insert pass, or breaks its connection.
func (h *hold) release(pass bool) { h.go_ <- pass }
