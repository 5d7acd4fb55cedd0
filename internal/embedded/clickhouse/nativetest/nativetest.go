// Package nativetest gives a test the native TCP protocol before the embedded engine, which itself answers HTTP only.
//
// It speaks the server's side of the protocol: hello, ping, queries with settings, the header block of an insert, data
// blocks compressed or not, exceptions, end of stream, TLS. Statements and rows go on to the engine over HTTP, so what they
// do is the engine's doing. It promises that what a client sent in one insert reaches the engine in one. External tables and
// cancelling are left out, and the conversation is as far as revision 54460, which is what clickhouse-go speaks.
package nativetest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/wattledger/wattledger/internal/chconn"
)

// Insert is what the server saw of one insert.
type Insert struct {
	Statement  string
	Blocks     int
	Rows       int
	Compressed bool
	Settings   map[string]string
}

// Server is the native protocol before one engine.
type Server struct {
	engine   chconn.Config
	listener net.Listener
	wait     sync.WaitGroup

	mu      sync.Mutex // guards all below
	conns   map[net.Conn]bool
	closed  bool
	inserts []Insert
	cut     int
	failed  error
}

// Start serves until the end of the test what engine reaches over HTTP, and answers the connection to it.
func Start(t testing.TB, engine chconn.Config) (*Server, chconn.Config) {
	t.Helper()
	return serve(t, engine, nil)
}

// StartTLS is Start with a certificate of its own; the answered connection trusts that and nothing else.
func StartTLS(t testing.TB, engine chconn.Config) (*Server, chconn.Config) {
	t.Helper()
	conf, authority := certificate(t)
	s, cfg := serve(t, engine, conf)
	cfg.TLS = chconn.TLS{Enabled: true, CAFile: authority}
	return s, cfg
}

func serve(t testing.TB, engine chconn.Config, conf *tls.Config) (*Server, chconn.Config) {
	t.Helper()
	s := &Server{engine: engine, conns: map[net.Conn]bool{}}
	var err error
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if conf != nil {
		s.listener = tls.NewListener(s.listener, conf)
	}
	s.wait.Go(s.accept)
	t.Cleanup(func() {
		s.stop()
		if s.failed != nil {
			t.Errorf("native protocol: %v", s.failed)
		}
	})
	cfg := engine
	cfg.Protocol, cfg.Addresses, cfg.Compression = "native", []string{s.listener.Addr().String()}, "lz4"
	return s, cfg
}

// Addr is the address to dial.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Inserts are the inserts so far, in the order in which the engine answered.
func (s *Server) Inserts() []Insert {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Insert(nil), s.inserts...)
}

// CutAcknowledgements ends the connections of the next n inserts after the engine has stored their rows and before the
// client hears of it.
func (s *Server) CutAcknowledgements(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = n
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		s.mu.Lock()
		if s.closed {
			_ = conn.Close() // came too late
		} else {
			s.conns[conn] = true
			s.wait.Go(func() { s.handle(conn) })
		}
		s.mu.Unlock()
	}
}

func (s *Server) stop() {
	s.mu.Lock()
	s.closed = true
	_ = s.listener.Close() // nothing is left to lose
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.wait.Wait()
}

func (s *Server) handle(conn net.Conn) {
	err := newSession(s, conn).run()
	_ = conn.Close() // the client's end shows there
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	var network *net.OpError
	var alert tls.AlertError
	if s.closed || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errCut) ||
		errors.As(err, &network) || errors.As(err, &alert) {
		return // clients come and go
	}
	s.failed = errors.Join(s.failed, err)
}

// note keeps an insert that the engine has stored, and says whether its acknowledgement is to be lost.
func (s *Server) note(in Insert) (cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inserts = append(s.inserts, in)
	if s.cut > 0 {
		s.cut--
		return true
	}
	return false
}
