package chconn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Config says where ClickHouse is and how to speak to it.
type Config struct {
	// Addresses are host:port of the servers; they are tried in order. HTTP is 8123, HTTPS 8443, native 9000, native TLS 9440.
	Addresses []string `yaml:"addresses"`
	// Protocol is http, https or native. HTTP is what is tested most; native TCP with TLS when tls is set. Over native, an insert
	// takes the memory of its rows once more, as the client keeps them until they are sent.
	Protocol string `yaml:"protocol"`
	// Database is the one that holds our tables.
	Database string `yaml:"database"`
	// Username is the name to log in with.
	Username string `yaml:"username"`
	// PasswordFile holds the password; blanks around it are cut. Empty: no password.
	PasswordFile string `yaml:"password_file"`
	TLS          TLS    `yaml:"tls"`
	// Compression of rows on the wire: lz4, zstd or none.
	Compression string `yaml:"compression"`
	// DialTimeout bounds the making of a connection, ReadTimeout the wait for the first byte of an answer.
	DialTimeout time.Duration `yaml:"dial_timeout"`
	ReadTimeout time.Duration `yaml:"read_timeout"`
	// MaxConnections is how many statements run at once.
	MaxConnections int `yaml:"max_connections"`
	// Held are secrets that the caller has in memory already. They win over the files and stand in no configuration file.
	Held Held `yaml:"-"`
}

// Held are secrets in memory, as a program that starts ours hands them over. They print as what is there and never as what it is.
type Held struct {
	Password string
	// CA, Cert and Key are in PEM.
	CA, Cert, Key string
}

func (h Held) String() string {
	var there []string
	for _, s := range []struct{ name, value string }{{"password", h.Password}, {"ca", h.CA}, {"cert", h.Cert}, {"key", h.Key}} {
		if s.value != "" {
			there = append(there, s.name)
		}
	}
	return "held(" + strings.Join(there, " ") + ")"
}

// GoString is String, so that %#v tells no more.
func (h Held) GoString() string { return h.String() }

func (h Held) tls() bool { return h.CA != "" || h.Cert != "" || h.Key != "" }

// TLS says whom to trust and who we are. It is used with https, and with native when any of it is set.
type TLS struct {
	// Enabled turns TLS on for native; https always has it.
	Enabled bool `yaml:"enabled"`
	// CAFile holds the authorities to trust, in PEM. Empty: those of the system.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are the client's own certificate, where the server asks for one.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ServerName is the name in the server's certificate, where it differs from the address.
	ServerName string `yaml:"server_name"`
	// InsecureSkipVerify trusts any server. For a test bench only: whoever sits between can read and change everything.
	InsecureSkipVerify bool `yaml:"insecure_skip_verify"`
}

// DefaultConfig reaches a server on this machine.
func DefaultConfig() Config {
	return Config{
		Addresses:      []string{"127.0.0.1:8123"},
		Protocol:       "http",
		Database:       "wattledger",
		Username:       "default",
		Compression:    "lz4",
		DialTimeout:    5 * time.Second,
		ReadTimeout:    5 * time.Minute,
		MaxConnections: 8,
	}
}

// Validate reports every fault at once. It reads no file.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.Addresses) == 0 {
		fault("addresses: name at least one host:port")
	}
	for _, a := range c.Addresses {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
			fault("addresses: %q is not host:port", a)
		}
	}
	if c.Protocol != "http" && c.Protocol != "https" && c.Protocol != "native" {
		fault("protocol %q: must be http, https or native", c.Protocol)
	}
	if c.Protocol == "http" && (c.TLS != (TLS{}) || c.Held.tls()) {
		fault("tls: protocol http has none; use protocol https")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		fault("tls: cert_file and key_file belong together")
	}
	if (c.Held.Cert == "") != (c.Held.Key == "") {
		fault("tls: the client's certificate and its key belong together")
	}
	if c.Database == "" {
		fault("database: name one")
	}
	if c.Username == "" {
		fault("username: name one")
	}
	if c.Compression != "lz4" && c.Compression != "zstd" && c.Compression != "none" {
		fault("compression %q: must be lz4, zstd or none", c.Compression)
	}
	if c.DialTimeout <= 0 || c.ReadTimeout <= 0 {
		fault("dial_timeout %s, read_timeout %s: must be positive", c.DialTimeout, c.ReadTimeout)
	}
	if c.MaxConnections < 1 {
		fault("max_connections %d: must be at least 1", c.MaxConnections)
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("clickhouse connection: %w", err)
	}
	return nil
}

// options are the client's, with the files read.
func (c Config) options() (*clickhouse.Options, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	o := &clickhouse.Options{
		Protocol:        clickhouse.HTTP,
		Addr:            c.Addresses,
		Auth:            clickhouse.Auth{Database: c.Database, Username: c.Username},
		DialTimeout:     c.DialTimeout,
		ReadTimeout:     c.ReadTimeout,
		MaxOpenConns:    c.MaxConnections,
		MaxIdleConns:    c.MaxConnections,
		ConnMaxLifetime: time.Hour,
		// One address after the other, so that the first is the one that is used while it lives.
		ConnOpenStrategy: clickhouse.ConnOpenInOrder,
		ClientInfo:       clickhouse.ClientInfo{Products: []struct{ Name, Version string }{{Name: "wattledger"}}},
	}
	if c.Protocol == "native" {
		o.Protocol = clickhouse.Native
	}
	if c.PasswordFile != "" {
		b, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("clickhouse connection: password_file: %w", err)
		}
		if o.Auth.Password = strings.TrimSpace(string(b)); o.Auth.Password == "" {
			return nil, fmt.Errorf("clickhouse connection: password_file %s is empty", c.PasswordFile)
		}
	}
	if c.Held.Password != "" {
		o.Auth.Password = c.Held.Password
	}
	switch c.Compression {
	case "lz4":
		o.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	case "zstd":
		o.Compression = &clickhouse.Compression{Method: clickhouse.CompressionZSTD, Level: 1}
	}
	if c.Protocol == "https" || c.TLS != (TLS{}) || c.Held.tls() {
		var err error
		if o.TLS, err = c.TLS.config(c.Held); err != nil {
			return nil, fmt.Errorf("clickhouse connection: %w", err)
		}
	}
	return o, nil
}

func (t TLS) config(held Held) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify} //nolint:gosec // off unless the operator asks for it by a name that says what it is
	switch {
	case held.CA != "":
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM([]byte(held.CA)) {
			return nil, errors.New("tls: the authority's certificate is none in PEM")
		}
	case t.CAFile != "":
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file %s holds no certificate in PEM", t.CAFile)
		}
	}
	switch {
	case held.Cert != "":
		pair, err := tls.X509KeyPair([]byte(held.Cert), []byte(held.Key))
		if err != nil {
			return nil, fmt.Errorf("tls: the client's certificate and key: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	case t.CertFile != "":
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file %s, tls.key_file %s: %w", t.CertFile, t.KeyFile, err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}
