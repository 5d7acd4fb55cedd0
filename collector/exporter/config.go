package exporter

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Name is what messages call this source; its time stamps are those of scrapes.
const Name = "dcgm-exporter"

// Config says where the exporter is.
type Config struct {
	// URL is the page.
	URL string `yaml:"url"`
	// Timeout bounds a scrape.
	Timeout time.Duration `yaml:"timeout"`
	// MaxBytes bounds the page, unpacked. In memory it takes some ten times as much while it is read.
	MaxBytes int64 `yaml:"max_bytes"`
	// CAFile has the certificates that may sign the exporter's; empty means the system's.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are our own certificate, where the exporter asks for one. They are read at each connection.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// Username and PasswordFile log in by basic authentication. The file is read at each scrape.
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"`
	// Node is the name of this node in the records of its devices.
	Node string `yaml:"-"`
}

// DefaultConfig is the exporter of this node.
func DefaultConfig() Config {
	return Config{URL: "http://127.0.0.1:9400/metrics", Timeout: 5 * time.Second, MaxBytes: 16 << 20}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		bad("url: it cannot be read; write it like http://127.0.0.1:9400/metrics") // the error would repeat a password
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		bad("url: %q; write it like http://127.0.0.1:9400/metrics", u.Redacted())
	case u.User != nil:
		bad("url: it has a login in it; use username and password_file")
	case u.Scheme == "http" && (c.CAFile != "" || c.CertFile != ""):
		bad("url: %q does not use TLS, but certificates are given; write https", c.URL)
	}
	if c.Timeout < time.Millisecond || c.Timeout > time.Hour {
		bad("timeout: %v; must lie between 1ms and 1h", c.Timeout)
	}
	if c.MaxBytes < 1024 || c.MaxBytes > 1<<30 {
		bad("max_bytes: %d; must lie between 1024 and %d", c.MaxBytes, 1<<30)
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		bad("cert_file and key_file: one without the other; give both or neither")
	}
	if (c.Username == "") != (c.PasswordFile == "") {
		bad("username and password_file: one without the other; give both or neither")
	}
	if c.Node == "" {
		bad("node: empty; name the node as the inventory does")
	}
	return errors.Join(faults...)
}

// client is a client for this page and no other: it follows nobody elsewhere and asks no proxy.
func (c Config) client() (*http.Client, error) {
	t := &http.Transport{MaxIdleConns: 1, IdleConnTimeout: 5 * time.Minute, TLSHandshakeTimeout: c.Timeout, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s has no certificate in PEM", c.CAFile)
		}
	}
	if c.CertFile != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("cert_file %s: %w", c.CertFile, err)
			}
			return &pair, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		t.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}
