package redfish

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Where things are when a BMC does not say.
const (
	rootPath     = "/redfish/v1/"
	sessionsPath = "/redfish/v1/SessionService/Sessions"
)

// How long a BMC that turned us away is left alone.
const (
	shortWait = 10 * time.Second
	// maxWait bounds what a BMC may ask for.
	maxWait = 5 * time.Minute
	// A wrong password is offered again after these: accounts are locked after a few attempts.
	minLockout = time.Minute
	maxLockout = 15 * time.Minute
)

// Error is why a BMC did not give what was asked for. The codes are unreachable, tls, credentials, permission, busy,
// malformed, too_large, not_found and http_ with the status.
type Error struct {
	code string
	err  error
}

func (e *Error) Error() string { return e.err.Error() }

// Unwrap is what is behind it.
func (e *Error) Unwrap() error { return e.err }

// Code is the word for metrics.
func (e *Error) Code() string { return e.code }

func fault(code, format string, args ...any) error {
	return &Error{code, fmt.Errorf(format, args...)}
}

// has says whether an error carries a code.
func has(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.code == code
}

// client speaks to one BMC. It is for one goroutine.
type client struct {
	cfg  Config
	base *url.URL
	http *http.Client
	met  *metrics

	basic    bool   // sessions are not served, or not wanted
	sessions string // where they are made
	token    string
	session  string // path of ours, to be deleted

	notBefore time.Time     // the BMC wants to be left alone until then
	turned    error         // why
	lockout   time.Duration // of the next refused login
}

func newClient(cfg Config, met *metrics) (*client, error) {
	base, err := url.Parse(cfg.Address)
	if err != nil {
		return nil, err
	}
	base.Path = "/"
	tlsConfig, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	return &client{
		cfg: cfg, base: base, met: met, basic: cfg.Auth == "basic", sessions: sessionsPath,
		http: &http.Client{
			// No proxy: a BMC is in the same building. One connection: many serve no more than a few.
			Transport: &http.Transport{
				TLSClientConfig: tlsConfig, MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
				MaxResponseHeaderBytes: 64 << 10, TLSHandshakeTimeout: cfg.Timeout,
			},
			// The token is a header of its own, which Go would carry to another host.
			CheckRedirect: func(req *http.Request, via []*http.Request) error {
				if len(via) > 3 || req.URL.Host != base.Host || req.URL.Scheme != base.Scheme {
					return fmt.Errorf("redirected to %s; the BMC answers at %s only", req.URL.Redacted(), base.Host)
				}
				return nil
			},
		},
	}, nil
}

// get reads a resource. It logs in where needed, and once more when the session has ended.
func (c *client) get(ctx context.Context, path string) (*resource, error) {
	for attempt := 1; ; attempt++ {
		if err := c.allowed(ctx); err != nil {
			return nil, err
		}
		if err := c.login(ctx); err != nil {
			return nil, err
		}
		status, header, body, err := c.do(ctx, http.MethodGet, path, nil, true)
		if err != nil {
			return nil, err
		}
		switch {
		case status == http.StatusOK:
			r, err := decode(body)
			if err != nil {
				return nil, fault("malformed", "get %s: %w", path, err)
			}
			c.lockout = 0
			return r, nil
		case status == http.StatusUnauthorized && !c.basic && attempt == 1:
			c.token, c.session = "", "" // it ended without us
		case status == http.StatusUnauthorized:
			return nil, c.refused(fmt.Errorf("get %s: the BMC does not accept our login (401)", path))
		default:
			return nil, c.status("get "+path, status, header)
		}
	}
}

// allowed says whether the BMC may be asked now.
func (c *client) allowed(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("redfish: %w", err)
	}
	if left := time.Until(c.notBefore); left > 0 {
		return fmt.Errorf("left alone for another %v: %w", left.Round(time.Second), c.turned)
	}
	return nil
}

// status is the error for an answer that is none.
func (c *client) status(what string, status int, header http.Header) error {
	switch status {
	case http.StatusForbidden:
		return fault("permission", "%s: the account may not (403); give it the right to read", what)
	case http.StatusNotFound, http.StatusGone, http.StatusMethodNotAllowed:
		return fault("not_found", "%s: there is none (%d)", what, status)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		err := fault("busy", "%s: the BMC is busy (%d)", what, status)
		c.wait(retryAfter(header.Get("Retry-After")), err)
		return err
	default:
		return fault("http_"+strconv.Itoa(status), "%s: status %d", what, status)
	}
}

// retryAfter is how long to wait. A date is by the BMC's clock, which says nothing.
func retryAfter(text string) time.Duration {
	seconds, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || seconds < 0 {
		return shortWait
	}
	return min(time.Duration(min(seconds, 3600))*time.Second, maxWait)
}

func (c *client) wait(d time.Duration, why error) {
	c.notBefore, c.turned = time.Now().Add(d), why
}

// refused is a login that was not accepted.
func (c *client) refused(err error) error {
	c.met.logins.WithLabelValues("refused").Inc()
	c.lockout = min(max(2*c.lockout, minLockout), maxLockout)
	err = fault("credentials", "%w; check username and password_file, the next attempt is in %v", err, c.lockout)
	c.wait(c.lockout, err)
	return err
}

// login makes a session, unless there is one or none is wanted.
func (c *client) login(ctx context.Context) error {
	if c.basic || c.token != "" {
		return nil
	}
	password, err := c.password()
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"UserName": c.cfg.Username, "Password": password})
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	status, header, _, err := c.do(ctx, http.MethodPost, c.sessions, body, false)
	if err != nil {
		return err
	}
	token := header.Get("X-Auth-Token")
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return c.refused(fmt.Errorf("log in as %q: not accepted (%d)", c.cfg.Username, status))
	case (status == http.StatusCreated || status == http.StatusOK) && token != "":
		c.token, c.session, c.lockout = token, "", 0
		if u, err := c.resolve(header.Get("Location")); err == nil {
			c.session = u.Path
		}
		c.met.logins.WithLabelValues("session").Inc()
		return nil
	case status < 300, status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		c.basic = true // sessions are not served here
		c.met.logins.WithLabelValues("basic").Inc()
		return nil
	default:
		return c.status("log in", status, header)
	}
}

func (c *client) password() (string, error) {
	text, err := os.ReadFile(c.cfg.PasswordFile)
	if err != nil {
		return "", fault("credentials", "password_file: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// logout deletes our session: a BMC has room for a few, and keeps them for half an hour.
func (c *client) logout(ctx context.Context) error {
	if c.session == "" || c.token == "" {
		return nil
	}
	status, _, _, err := c.do(ctx, http.MethodDelete, c.session, nil, true)
	c.token, c.session = "", ""
	if err == nil && status >= 300 && status != http.StatusUnauthorized && status != http.StatusNotFound {
		err = fmt.Errorf("status %d", status)
	}
	return err
}

// do sends one request and reads the answer, up to its bound.
func (c *client) do(ctx context.Context, method, path string, body []byte, authorised bool) (status int, header http.Header, answer []byte, err error) {
	defer func() {
		code := strconv.Itoa(status)
		if e := (*Error)(nil); errors.As(err, &e) {
			code = e.code
		}
		c.met.requests.WithLabelValues(code).Inc()
	}()
	u, err := c.resolve(path)
	if err != nil {
		return 0, nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, fault("malformed", "%s %s: %w", method, path, err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("OData-Version", "4.0")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	switch {
	case !authorised:
	case c.basic:
		password, err := c.password()
		if err != nil {
			return 0, nil, nil, err
		}
		req.SetBasicAuth(c.cfg.Username, password)
	default:
		req.Header.Set("X-Auth-Token", c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, nil, unreachable(ctx, method+" "+path, err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxBody+1))
	switch {
	case err != nil:
		return 0, nil, nil, unreachable(ctx, method+" "+path, err)
	case int64(len(answer)) > c.cfg.MaxBody:
		return 0, nil, nil, fault("too_large", "%s %s: the answer has more than %d bytes; raise max_body if that is right", method, path, c.cfg.MaxBody)
	}
	return resp.StatusCode, resp.Header, answer, nil
}

// unreachable is the error of the way to the BMC.
func unreachable(ctx context.Context, what string, err error) error {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
	)
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err // without the address, which the log has
	}
	switch {
	case ctx.Err() != nil:
		return fault("timeout", "%s: %w", what, cmp.Or(ctx.Err(), err))
	case errors.As(err, &authority), errors.As(err, &host), errors.As(err, &invalid), errors.As(err, &verify):
		return fault("tls", "%s: %w; name the authority in ca_file, or the certificate in fingerprint", what, err)
	case strings.Contains(err.Error(), "not the one in the configuration"):
		return fault("tls", "%s: %w", what, err)
	default:
		return fault("unreachable", "%s: %w", what, err)
	}
}

// resolve is the address of a path on the BMC. What leads elsewhere is refused: our login would go there.
func (c *client) resolve(path string) (*url.URL, error) {
	ref, err := url.Parse(path)
	if err != nil || path == "" {
		return nil, fault("malformed", "the link %q leads nowhere", path)
	}
	u := c.base.ResolveReference(ref)
	if u.Host != c.base.Host || u.Scheme != c.base.Scheme || u.User != nil {
		return nil, fault("malformed", "the link %q leads away from the BMC", path)
	}
	u.Fragment = ""
	return u, nil
}
