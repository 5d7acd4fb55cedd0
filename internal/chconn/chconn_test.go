package chconn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
)

func TestTemporary(t *testing.T) {
	f := func(want bool, err error) {
		t.Helper()
		if got := chconn.Temporary(err); got != want {
			t.Errorf("Temporary(%v) = %v, want %v", err, got, want)
		}
		if err == nil {
			return
		}
		if got := chconn.Temporary(fmt.Errorf("write 5 rows: %w", err)); got != want {
			t.Errorf("wrapped, Temporary(%v) = %v, want %v", err, got, want)
		}
	}
	exception := func(code int32) error {
		return &clickhouse.HTTPError{StatusCode: 500, Err: &clickhouse.Exception{Code: code}}
	}
	f(false, nil)
	f(true, io.EOF)
	f(true, io.ErrUnexpectedEOF)
	f(true, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
	f(true, &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)})
	f(true, context.DeadlineExceeded)
	f(true, clickhouse.ErrAcquireConnTimeout)
	f(true, &net.DNSError{IsTemporary: true})
	f(false, &net.DNSError{IsNotFound: true})
	f(true, exception(252))  // too many parts
	f(true, exception(241))  // memory limit
	f(true, exception(202))  // too many queries
	f(true, exception(999))  // keeper
	f(false, exception(62))  // syntax
	f(false, exception(53))  // type mismatch
	f(false, exception(60))  // unknown table
	f(false, exception(516)) // password
	f(false, context.Canceled)
	f(false, errors.New("anything else"))
	f(true, &clickhouse.HTTPError{StatusCode: http.StatusBadGateway, Err: errors.New("proxy")})
	f(false, &clickhouse.HTTPError{StatusCode: http.StatusTeapot, Err: errors.New("proxy")})
}

func TestValidateNamesEveryFault(t *testing.T) {
	if err := chconn.DefaultConfig().Validate(); err != nil {
		t.Errorf("the default configuration: %v", err)
	}
	bad := chconn.Config{
		Addresses: []string{"here"}, Protocol: "ftp", Compression: "rar",
		TLS: chconn.TLS{CertFile: "c.pem"},
	}
	err := bad.Validate()
	for _, want := range []string{"addresses", "protocol", "cert_file", "database", "username", "compression", "dial_timeout", "max_connections"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want it to name %s", err, want)
		}
	}
	plain := chconn.DefaultConfig()
	plain.TLS.CAFile = "ca.pem"
	if err := plain.Validate(); err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("TLS over http: %v, want the way out named", err)
	}
}

// What a person reads when the way is cut is one line, with the address and what to do.
func TestOpenSaysWhatWasTried(t *testing.T) {
	live := chtest.Start(t)
	dir := t.TempDir()
	wrong := filepath.Join(dir, "password")
	if err := os.WriteFile(wrong, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	f := func(temporary bool, change func(*chconn.Config), wants ...string) {
		t.Helper()
		cfg := live
		cfg.DialTimeout = 2 * time.Second
		change(&cfg)
		_, openErr := chconn.Open(t.Context(), cfg)
		_, dbErr := chconn.OpenDB(t.Context(), cfg)
		for _, err := range []error{openErr, dbErr} {
			if err == nil || strings.Contains(err.Error(), "\n") || chconn.Temporary(err) != temporary {
				t.Errorf("error %v (temporary %v), want one line, temporary %v", err, chconn.Temporary(err), temporary)
				continue
			}
			for _, want := range wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want it to say %q", err, want)
				}
			}
		}
	}
	f(true, func(c *chconn.Config) { c.Addresses = []string{nobody} }, nobody, "is the server running")
	f(false, func(c *chconn.Config) { c.PasswordFile = wrong }, "password_file", live.Addresses[0])
	f(false, func(c *chconn.Config) { c.Database = "absent" }, "absent", "create the database")
	f(false, func(c *chconn.Config) { c.PasswordFile = filepath.Join(dir, "none") }, "password_file", "none")
	f(false, func(c *chconn.Config) { c.Protocol, c.TLS.CAFile = "https", wrong }, "tls.ca_file", "PEM")
}

func TestEmbeddedConfigReadsWhatTheEngineWrote(t *testing.T) {
	data := t.TempDir()
	if _, err := chconn.EmbeddedConfig(data); err == nil || !strings.Contains(err.Error(), "wattledger embedded clickhouse") {
		t.Errorf("without an engine: %v, want how to start one", err)
	}
	dir := filepath.Join(data, "clickhouse")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "endpoint"), []byte("127.0.0.1:4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := chconn.EmbeddedConfig(data)
	if err != nil || cfg.Addresses[0] != "127.0.0.1:4711" || cfg.PasswordFile != filepath.Join(dir, "password") {
		t.Errorf("EmbeddedConfig = %+v, %v", cfg, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "endpoint"), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := chconn.EmbeddedConfig(data); err == nil || !strings.Contains(err.Error(), "endpoint") {
		t.Errorf("damaged endpoint file: %v", err)
	}
}
