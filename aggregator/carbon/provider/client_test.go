package provider

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/schemas/unit"
)

const token = "c0ffee-token-c0ffee"

// asking is a client of a server of the test's own, and the server's count of requests.
func asking(t *testing.T, change func(*Config), answer http.HandlerFunc) (*Client, *Metrics, *atomic.Int64) {
	t.Helper()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	cfg := DefaultConfig(server.URL + "/v1")
	cfg.Backoff, cfg.Every, cfg.MaxWait, cfg.Tries = time.Millisecond, 0, 2*time.Second, 3
	if change != nil {
		change(&cfg)
	}
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient("test", cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	c.Query.Set("securityToken", token)
	c.Header.Set("auth-token", token)
	return c, m, &asked
}

func TestGet(t *testing.T) {
	c, m, asked := asking(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/records" || r.URL.Query().Get("zone") != "FR" || r.URL.Query().Get("securityToken") != token || r.Header.Get("auth-token") != token {
			t.Errorf("asked for %s with %v", r.URL, r.Header)
		}
		_, _ = w.Write([]byte("here"))
	})
	if a, err := c.Get(t.Context(), "/records", url.Values{"zone": {"FR"}}); err != nil || string(a.Body) != "here" || asked.Load() != 1 {
		t.Errorf("got %q, %v after %d requests", a.Body, err, asked.Load())
	}
	if n := testutil.ToFloat64(m.requests.WithLabelValues("test", "200")); n != 1 {
		t.Errorf("%v requests counted", n)
	}
}

// A server that is busy or broken is asked again, no sooner than it says and no more often than configured.
func TestRetries(t *testing.T) {
	fails := func(times int64, status int, retryAfter string) http.HandlerFunc {
		var n atomic.Int64
		return func(w http.ResponseWriter, _ *http.Request) {
			if n.Add(1) <= times {
				if retryAfter != "" {
					w.Header().Set("Retry-After", retryAfter)
				}
				w.WriteHeader(status)
				_, _ = w.Write([]byte("busy, and your token is " + token))
				return
			}
			_, _ = w.Write([]byte("here"))
		}
	}
	f := func(name string, asked int64, want string, answer http.HandlerFunc) {
		t.Helper()
		c, m, n := asking(t, nil, answer)
		_, err := c.Get(t.Context(), "", nil)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) || n.Load() != asked {
			t.Errorf("%s: %v after %d requests, want %q after %d", name, err, n.Load(), want, asked)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the token stands in %v", name, err)
		}
		if got := testutil.ToFloat64(m.retries.WithLabelValues("test")); got != float64(asked-1) {
			t.Errorf("%s: %v retries counted", name, got)
		}
	}
	f("broken twice", 3, "", fails(2, 503, ""))
	f("broken for good", 3, "status 500: busy, and your token is (secret)", fails(9, 500, ""))
	f("too many", 2, "", fails(1, 429, "0"))
	f("too many, until a time that has passed", 2, "", fails(1, 429, "Wed, 21 Oct 2015 07:28:00 GMT"))
	f("blocked for longer than we wait", 1, "asks to wait 10m0s", fails(1, 429, "600"))
	f("refused", 1, "status 403", fails(1, 403, ""))

	c, _, _ := asking(t, nil, fails(1, 429, "1"))
	began := time.Now()
	if _, err := c.Get(t.Context(), "", nil); err != nil || time.Since(began) < time.Second {
		t.Errorf("came back after %s, %v; it was asked to wait a second", time.Since(began), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c, _, _ = asking(t, func(c *Config) { c.MaxWait = time.Hour }, fails(9, 429, "60"))
	if _, err := c.Get(ctx, "", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting did not end with its context: %v", err)
	}
}

func TestNetworkErrorsNameNoSecret(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	c, m, _ := asking(t, func(c *Config) { c.URL = server.URL }, nil)
	server.Close()
	_, err := c.Get(t.Context(), "/x", nil)
	if err == nil || strings.Contains(err.Error(), token) || !strings.Contains(err.Error(), "GET 127.0.0.1") {
		t.Errorf("got %v", err)
	}
	if n := testutil.ToFloat64(m.requests.WithLabelValues("test", "error")); n != 3 {
		t.Errorf("%v errors counted", n)
	}
}

func TestRefusalsAreCounted(t *testing.T) {
	c, m, _ := asking(t, nil, nil)
	if err := c.Refuse("malformed", "FR from %s: %w", "noon", errors.New("it is torn")); !errors.Is(err, ErrRefused) || err.Error() != "test: answer refused: FR from noon: it is torn" {
		t.Errorf("got %v", err)
	}
	if n := testutil.ToFloat64(m.refused.WithLabelValues("test", "malformed")); n != 1 {
		t.Errorf("%v refusals counted", n)
	}
	m.Missing("test", 3)
	if n := testutil.ToFloat64(m.missing.WithLabelValues("test")); n != 3 {
		t.Errorf("%v missing hours counted", n)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	c, m, _ := asking(t, func(c *Config) { c.MaxBytes = 10 }, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 11)) })
	if _, err := c.Get(t.Context(), "", nil); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
	if n := testutil.ToFloat64(m.refused.WithLabelValues("test", "too_large")); n != 1 {
		t.Errorf("%v refusals counted", n)
	}
	c, _, _ = asking(t, func(c *Config) { c.Timeout = 20 * time.Millisecond; c.Tries = 1 }, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	if _, err := c.Get(t.Context(), "", nil); err == nil {
		t.Error("an answer that never comes was waited for")
	}
}

// A redirect would carry the token to wherever it points.
func TestRedirectsAreNotFollowed(t *testing.T) {
	c, _, asked := asking(t, nil, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) })
	if _, err := c.Get(t.Context(), "", nil); err == nil || !strings.Contains(err.Error(), "302") || asked.Load() != 1 {
		t.Errorf("got %v after %d requests", err, asked.Load())
	}
}

func TestRateLimit(t *testing.T) {
	c, _, _ := asking(t, func(c *Config) { c.Every = 40 * time.Millisecond }, func(http.ResponseWriter, *http.Request) {})
	began := time.Now()
	for range 4 {
		if _, err := c.Get(t.Context(), "", nil); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(began); d < 115*time.Millisecond {
		t.Errorf("four requests took %s", d)
	}
}

func TestConfig(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		c := DefaultConfig("https://example.org/api")
		change(&c)
		if err := c.Validate(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f("", func(*Config) {})
	f("", func(c *Config) { c.URL = "http://127.0.0.1:1" })
	f("", func(c *Config) { c.URL = "http://[::1]:1" })
	f("write https", func(c *Config) { c.URL = "http://example.org" })
	f("write https", func(c *Config) { c.URL = "http://localhost.example.org" })
	f("without a login", func(c *Config) { c.URL = "https://me:secret@example.org" })
	f("not the address", func(c *Config) { c.URL = "" })
	f("tries is 0", func(c *Config) { c.Tries = 0 })
	f("every is -1s", func(c *Config) { c.Every = -time.Second })
	f("max_bytes", func(c *Config) { c.MaxBytes = 0 })
	f("timeout is 0s", func(c *Config) { c.Timeout = 0 })
}

func TestSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	f := func(content, want string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Secret(file, "carbon.x.token_file")
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", content, got, err)
		}
		if err != nil && len(content) > 4 && strings.Contains(err.Error(), content) {
			t.Errorf("the secret stands in %v", err)
		}
	}
	f("abc\n", "abc")
	f("", "")
	f("abc def", "")
	f("abc\r\ndef", "")
	f(strings.Repeat("x", 5000), "")
	if _, err := Secret("", "carbon.x.token_file"); err == nil || !strings.Contains(err.Error(), "carbon.x.token_file") {
		t.Errorf("got %v", err)
	}
}

func TestNumbers(t *testing.T) {
	f := func(text string, digits int32, want int64, ok bool) {
		t.Helper()
		if got, err := Scaled(text, digits); got != want || (err == nil) != ok {
			t.Errorf("Scaled(%q, %d) = %d, %v; want %d", text, digits, got, err, want)
		}
	}
	f("31", 6, 31_000_000, true)
	f("0.0000005", 6, 0, true) // half goes to the even neighbour
	f("0.0000015", 6, 2, true)
	f("-3.5", 0, -4, true)
	f("2.5e1", 1, 250, true)
	f("1e18", 6, 0, false)
	f("1e999999999", 6, 0, false)
	f("1e-999999999", 6, 0, false)
	f("NaN", 6, 0, false)
	f("", 6, 0, false)
	f(strings.Repeat("9", 41), 0, 0, false)
	if v, err := Exactly("1.25", 2); v != 125 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	if v, err := Exactly("1.255", 2); err == nil {
		t.Errorf("got %d", v)
	}
}

func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"1", "-1.5e3", "1e-40", "9e18", "", "0x1", "1_0", "٣"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := Exactly(s, 3); err == nil {
			if w, err := Scaled(s, 3); err != nil || v != w {
				t.Errorf("%q is exactly %d, and rounded %d, %v", s, v, w, err)
			}
		}
	})
}

func TestCheckSpan(t *testing.T) {
	f := func(from, to unit.Micros, ok bool) {
		t.Helper()
		if err := CheckSpan(from, to); (err == nil) != ok {
			t.Errorf("from %d to %d: %v", from, to, err)
		}
	}
	f(unit.Hour, 2*unit.Hour, true)
	f(unit.Hour, unit.Hour, false)
	f(unit.Hour+1, 2*unit.Hour, false)
	f(0, unit.Hour, false)
	f(unit.Hour, 30_000*unit.Hour, false)
}
