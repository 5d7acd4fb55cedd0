package provider

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Config is how a provider is reached.
type Config struct {
	// URL is where the provider's interface begins: https, or http to this machine.
	URL string `yaml:"url"`
	// Every is the least time between two requests.
	Every time.Duration `yaml:"every"`
	// Timeout is how long one answer may take.
	Timeout time.Duration `yaml:"timeout"`
	// Tries is how often a request is made before it is given up.
	Tries int `yaml:"tries"`
	// Backoff is how long to wait before the second try, twice as long before each further one; a Retry-After of the provider counts instead.
	Backoff time.Duration `yaml:"backoff"`
	// MaxWait is the longest wait between two tries; a provider that asks for more is given up.
	MaxWait time.Duration `yaml:"max_wait"`
	// MaxBytes bounds an answer.
	MaxBytes int64 `yaml:"max_bytes"`
}

// DefaultConfig is that of a provider at this address.
func DefaultConfig(address string) Config {
	return Config{
		URL: address, Every: 250 * time.Millisecond, Timeout: time.Minute, Tries: 5, Backoff: time.Second, MaxWait: 11 * time.Minute, MaxBytes: 32 << 20,
	}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	errs := []error{checkURL(c.URL)}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"timeout", c.Timeout}, {"backoff", c.Backoff}, {"max_wait", c.MaxWait}} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("%s is %s; write more than 0", d.name, d.value))
		}
	}
	if c.Every < 0 {
		errs = append(errs, fmt.Errorf("every is %s; write 0 or more", c.Every))
	}
	if c.Tries < 1 {
		errs = append(errs, fmt.Errorf("tries is %d; write 1 or more", c.Tries))
	}
	if c.MaxBytes < 1 {
		errs = append(errs, fmt.Errorf("max_bytes is %d; write 1 or more", c.MaxBytes))
	}
	return errors.Join(errs...)
}

// checkURL takes https, and http only where nobody is in between.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("url is not the address of a server; write https://HOST/PATH without a login or parameters")
	}
	if u.Scheme == "https" {
		return nil
	}
	host := u.Hostname()
	ip, err := netip.ParseAddr(host)
	if u.Scheme == "http" && (host == "localhost" || err == nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("url begins with %s://%s; write https (http is only for this machine)", u.Scheme, u.Host)
}

// Metrics count what is asked and what is refused. One serves all providers of a process.
type Metrics struct {
	requests, retries, refused, missing *prometheus.CounterVec
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "wattledger", Subsystem: "factor", Name: name, Help: help}, labels)
	}
	m := &Metrics{
		requests: counter("requests_total", "Requests to providers of factors, by what came of them: an HTTP status, or error.", "provider", "result"),
		retries:  counter("retries_total", "Requests to providers of factors that were made again.", "provider"),
		refused:  counter("refused_total", "Answers, records and editions that were refused, by reason.", "provider", "reason"),
		missing:  counter("missing_hours_total", "Hours asked for for which a provider had no value.", "provider"),
	}
	for _, c := range []prometheus.Collector{m.requests, m.retries, m.refused, m.missing} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of factors: %w", err)
		}
	}
	return m, nil
}

// Refused counts one refusal.
func (m *Metrics) Refused(provider, reason string) { m.refused.WithLabelValues(provider, reason).Inc() }

// Missing counts hours without a value.
func (m *Metrics) Missing(provider string, hours int) {
	for range hours { // no float comes near these packages, not even here
		m.missing.WithLabelValues(provider).Inc()
	}
}

// Client asks one provider. It may be used by one goroutine at a time.
type Client struct {
	name    string
	cfg     Config
	base    *url.URL
	http    *http.Client
	limit   *rate.Limiter
	metrics *Metrics
	// Header and Query go with every request: where a provider's secret stands. They reach no error.
	Header http.Header
	Query  url.Values
	now    func() time.Time
}

// NewClient makes the client of the provider of this name.
func NewClient(name string, cfg Config, metrics *Metrics) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("provider %s: %w", name, err)
	}
	base, err := url.Parse(strings.TrimSuffix(cfg.URL, "/"))
	if err != nil {
		return nil, fmt.Errorf("provider %s: url: %w", name, err)
	}
	limit := rate.NewLimiter(rate.Inf, 1)
	if cfg.Every > 0 {
		limit = rate.NewLimiter(rate.Every(cfg.Every), 1)
	}
	return &Client{
		name: name, cfg: cfg, base: base, limit: limit, metrics: metrics, Header: http.Header{}, Query: url.Values{}, now: time.Now,
		http: &http.Client{
			Timeout: cfg.Timeout,
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 2, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second,
				DialContext:     (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
				TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, MaxResponseHeaderBytes: 64 << 10,
			},
			// A redirect could carry a secret elsewhere, or leave TLS.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Answer is what a provider said with status 200, or with one that the caller wants to see.
type Answer struct {
	Status int
	Body   []byte
}

// Get asks for a path below the provider's URL. It is tried again after errors of the network, status 429 and 5xx. Statuses in accept are
// answers; any other is an error with the beginning of what the provider said.
func (c *Client) Get(ctx context.Context, path string, query url.Values, accept ...int) (Answer, error) {
	u := *c.base
	u.Path += path
	what := fmt.Sprintf("%s: GET %s%s", c.name, c.base.Host, u.Path) // without parameters: a secret may be among them
	all := url.Values{}
	for _, q := range []url.Values{query, c.Query} {
		for k, v := range q {
			all[k] = v
		}
	}
	u.RawQuery = all.Encode()
	wait := c.cfg.Backoff
	for try := 1; ; try++ {
		a, again, err := c.once(ctx, u.String(), accept)
		if err == nil {
			return a, nil
		}
		err = fmt.Errorf("%s: %w", what, err)
		if again < 0 || try >= c.cfg.Tries || ctx.Err() != nil {
			return Answer{}, err
		}
		pause := min(wait, c.cfg.MaxWait)
		if again > 0 {
			if pause = again; pause > c.cfg.MaxWait {
				return Answer{}, fmt.Errorf("%w: it asks to wait %s, longer than max_wait %s; try again then", err, again, c.cfg.MaxWait)
			}
		} else {
			pause += rand.N(pause/4 + 1) // so that many do not come back together
		}
		wait *= 2
		c.metrics.retries.WithLabelValues(c.name).Inc()
		select {
		case <-ctx.Done():
			return Answer{}, fmt.Errorf("%w: %w", err, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// once makes one request. again is how long the provider asks to wait, 0 where it does not say, −1 where trying again is no use.
func (c *Client) once(ctx context.Context, address string, accept []int) (a Answer, again time.Duration, err error) {
	if err := c.limit.Wait(ctx); err != nil {
		return a, -1, fmt.Errorf("wait for its turn: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return a, -1, errors.New("the address cannot be asked for")
	}
	for k, v := range c.Header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "wattledger")
	resp, err := c.http.Do(req)
	if err != nil {
		c.metrics.requests.WithLabelValues(c.name, "error").Inc()
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the address and its parameters
		}
		return a, 0, err
	}
	defer resp.Body.Close()
	c.metrics.requests.WithLabelValues(c.name, strconv.Itoa(resp.StatusCode)).Inc()
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxBytes+1))
	if err != nil {
		return a, 0, fmt.Errorf("read the answer: %w", err)
	}
	if int64(len(body)) > c.cfg.MaxBytes {
		c.metrics.Refused(c.name, "too_large")
		return a, -1, fmt.Errorf("%w: it has more than %d bytes (max_bytes)", ErrRefused, c.cfg.MaxBytes)
	}
	if resp.StatusCode == http.StatusOK {
		return Answer{resp.StatusCode, body}, 0, nil
	}
	for _, s := range accept {
		if resp.StatusCode == s {
			return Answer{s, body}, 0, nil
		}
	}
	err = fmt.Errorf("status %d: %s", resp.StatusCode, c.excerpt(body))
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 {
		return a, c.retryAfter(resp.Header.Get("Retry-After")), err
	}
	return a, -1, err
}

// retryAfter reads seconds or a date (RFC 9110, 10.2.3); 0 when there is neither.
func (c *Client) retryAfter(text string) time.Duration {
	if s, err := strconv.Atoi(text); err == nil && s >= 0 && s < 1<<30 {
		return max(time.Duration(s)*time.Second, time.Millisecond)
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(t.Sub(c.now()), time.Millisecond)
	}
	return 0
}

// excerpt is the beginning of what a provider said, on one line, without the secrets that it may repeat.
func (c *Client) excerpt(body []byte) string {
	text := string(body[:min(len(body), 4096)])
	for _, m := range []map[string][]string{c.Header, c.Query} {
		for _, list := range m {
			for _, secret := range list {
				if len(secret) >= 4 {
					text = strings.ReplaceAll(text, secret, "(secret)")
				}
			}
		}
	}
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if r := []rune(text); len(r) > 200 {
		text = string(r[:200]) + "…"
	}
	if text == "" {
		return "(no text)"
	}
	return text
}

// Refuse counts an answer that is not what was asked for and makes the error of it.
func (c *Client) Refuse(reason, format string, args ...any) error {
	c.metrics.Refused(c.name, reason)
	return fmt.Errorf("%s: %w: %w", c.name, ErrRefused, fmt.Errorf(format, args...))
}

// Secret reads a secret from its file: one line.
func Secret(file, key string) (string, error) {
	if file == "" {
		return "", fmt.Errorf("%s is empty; name the file that holds the secret", key)
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4097))
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	secret := strings.TrimSpace(string(b))
	if secret == "" || len(b) > 4096 || strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s: %s does not hold one secret on one line", key, file)
	}
	return secret, nil
}
