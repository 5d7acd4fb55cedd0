package exporter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// fault is why a page was not read; its code is a label of the agent's errors.
type fault struct {
	code string
	err  error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// Code is the fault in a word.
func (f *fault) Code() string { return f.code }

// The codes of faults.
const (
	codeUnreachable = "UNREACHABLE"
	codeTimeout     = "TIMEOUT"
	codeStatus      = "STATUS"
	codeLogin       = "LOGIN"
	codeTooLarge    = "TOO_LARGE"
	codeGarbage     = "GARBAGE"
	codeEmpty       = "EMPTY"
)

func (s *Source) failed(code, format string, args ...any) error {
	s.met.failures.WithLabelValues(s.cfg.Node, code).Inc()
	return &fault{code, fmt.Errorf("scrape %s: %w", s.cfg.URL, fmt.Errorf(format, args...))}
}

// scrape gets the page. The bytes are valid until the next call.
func (s *Source) scrape(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.URL, nil)
	if err != nil {
		return nil, s.failed(codeUnreachable, "%w", err)
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	req.Header.Set("User-Agent", "wattledger-collector")
	if s.cfg.Username != "" {
		password, err := os.ReadFile(s.cfg.PasswordFile)
		if err != nil {
			return nil, s.failed(codeLogin, "password_file: %w", err)
		}
		req.SetBasicAuth(s.cfg.Username, strings.TrimRight(string(password), "\r\n"))
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, s.failed(reasonOf(err), "%w", err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, s.failed(codeLogin, "it answers %s; set username and password_file, or the certificate, as the exporter wants them", resp.Status)
	default:
		return nil, s.failed(codeStatus, "it answers %s", resp.Status)
	}
	const keep = 4 << 20
	if s.buf.Cap() > keep {
		s.buf = bytes.Buffer{} // one large page does not hold memory for ever
	}
	s.buf.Reset()
	n, err := s.buf.ReadFrom(io.LimitReader(resp.Body, s.cfg.MaxBytes+1))
	if err != nil {
		return nil, s.failed(reasonOf(err), "%w", err)
	}
	if n > s.cfg.MaxBytes {
		return nil, s.failed(codeTooLarge, "the page is larger than %d bytes; is it a dcgm-exporter? if so, raise max_bytes", s.cfg.MaxBytes)
	}
	s.met.bytes.WithLabelValues(s.cfg.Node).Set(float64(n))
	return s.buf.Bytes(), nil
}

func reasonOf(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return codeTimeout
	}
	return codeUnreachable
}
