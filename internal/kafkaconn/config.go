package kafkaconn

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// Config says where Kafka is and how to be let in.
type Config struct {
	// Brokers are host:port addresses to start from; the rest of the cluster is learnt from them.
	Brokers []string `yaml:"brokers"`
	// ClientID is the name the brokers log and meter us under.
	ClientID string `yaml:"client_id"`
	// TLS encrypts the connection and, with a certificate, says who we are.
	TLS TLS `yaml:"tls"`
	// SASL logs in with a name and a password.
	SASL SASL `yaml:"sasl"`
	// DialTimeout bounds one attempt to connect, login included.
	DialTimeout time.Duration `yaml:"dial_timeout"`
	// RequestTimeout bounds one request and its answer.
	RequestTimeout time.Duration `yaml:"request_timeout"`
	// MaxMessageBytes is the largest message we send, before compression. Kafka's own default
	// limit is 1,048,588 bytes for a whole batch with its framing, which this stays below.
	MaxMessageBytes int `yaml:"max_message_bytes"`
	// BatchTimeout is how long the producer waits for company before it sends a message.
	BatchTimeout time.Duration `yaml:"batch_timeout"`
}

// TLS is the transport's encryption. The files are PEM.
type TLS struct {
	// Enabled turns TLS on. The system's certificate authorities are trusted unless CAFile names others.
	Enabled bool `yaml:"enabled"`
	// CAFile holds the certificate authorities we trust instead of the system's.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are our own certificate, when the brokers ask for one.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the private key of CertFile.
	KeyFile string `yaml:"key_file"`
	// ServerName is the name expected in the brokers' certificate, when it is not their address.
	ServerName string `yaml:"server_name"`
}

// SASL is a login by name and password. The password is named by file, never written inline.
type SASL struct {
	// Mechanism is plain, scram-sha-256 or scram-sha-512; empty means no login.
	Mechanism string `yaml:"mechanism"`
	// Username is the name to log in with.
	Username string `yaml:"username"`
	// PasswordFile holds the password; white space around it is dropped.
	PasswordFile string `yaml:"password_file"`
}

// Mechanisms lists what SASL.Mechanism may be.
var Mechanisms = []string{"plain", "scram-sha-256", "scram-sha-512"}

// DefaultConfig reaches a broker on this machine without encryption.
func DefaultConfig() Config {
	return Config{
		Brokers:         []string{"127.0.0.1:9092"},
		ClientID:        "wattledger",
		DialTimeout:     10 * time.Second,
		RequestTimeout:  10 * time.Second,
		MaxMessageBytes: 1_000_000,
		BatchTimeout:    10 * time.Millisecond,
	}
}

// Validate reports every fault at once. It opens no file and dials nothing.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.Brokers) == 0 {
		bad("brokers: none given; name at least one host:port")
	}
	for _, b := range c.Brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			bad("brokers: %q is not host:port", b)
		}
	}
	if c.ClientID == "" {
		bad("client_id: empty; the brokers log us under it")
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"dial_timeout", c.DialTimeout}, {"request_timeout", c.RequestTimeout}, {"batch_timeout", c.BatchTimeout}} {
		if d.value <= 0 {
			bad("%s: %v; must be above zero", d.name, d.value)
		}
	}
	if c.MaxMessageBytes < 1024 || c.MaxMessageBytes > 64<<20 {
		bad("max_message_bytes: %d; must lie between 1024 and %d", c.MaxMessageBytes, 64<<20)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad("tls: cert_file and key_file go together; one of them is missing")
	}
	if !c.TLS.Enabled && c.TLS != (TLS{}) {
		bad("tls: settings are given but enabled is false")
	}
	if c.SASL.Mechanism == "" {
		if c.SASL != (SASL{}) {
			bad("sasl: a login is given without mechanism; one of %s", strings.Join(Mechanisms, ", "))
		}
	} else {
		if !slices.Contains(Mechanisms, c.SASL.Mechanism) {
			bad("sasl.mechanism: %q is unknown; one of %s", c.SASL.Mechanism, strings.Join(Mechanisms, ", "))
		}
		if c.SASL.Username == "" {
			bad("sasl.username: empty")
		}
		if c.SASL.PasswordFile == "" {
			bad("sasl.password_file: empty; passwords are named by file")
		}
	}
	return errors.Join(faults...)
}

// EndpointFile is where an embedded broker under dataDir writes its address.
func EndpointFile(dataDir string) string { return filepath.Join(dataDir, "kafka", "endpoint") }

// EmbeddedConfig reaches the embedded broker that runs on dataDir, by the address it wrote there.
func EmbeddedConfig(dataDir string) (Config, error) {
	file := EndpointFile(dataDir)
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return Config{}, fmt.Errorf("no embedded kafka runs on %s (looked for %s): start one, or name a cluster under kafka.brokers: %w", dataDir, file, err)
	}
	if err != nil {
		return Config{}, fmt.Errorf("embedded kafka's address: %w", err)
	}
	cfg := DefaultConfig()
	cfg.Brokers = []string{strings.TrimSpace(string(raw))}
	if err := cfg.Validate(); err != nil {
		return Config{}, fmt.Errorf("embedded kafka's address in %s: %w", file, err)
	}
	return cfg, nil
}

func (c Config) tlsConfig() (*tls.Config, error) {
	if !c.TLS.Enabled {
		return nil, nil //nolint:nilnil // kafka-go takes a nil config for no TLS
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	if c.TLS.CAFile != "" {
		pem, err := os.ReadFile(c.TLS.CAFile)
		if err != nil {
			return nil, fmt.Errorf("kafka tls.ca_file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kafka tls.ca_file: %s holds no PEM certificate", c.TLS.CAFile)
		}
	}
	if c.TLS.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("kafka tls.cert_file: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

func (c Config) mechanism() (sasl.Mechanism, error) {
	if c.SASL.Mechanism == "" {
		return nil, nil //nolint:nilnil // kafka-go takes a nil mechanism for no login
	}
	raw, err := os.ReadFile(c.SASL.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("kafka sasl.password_file: %w", err)
	}
	password := strings.TrimSpace(string(raw))
	switch c.SASL.Mechanism {
	case "plain":
		return plain.Mechanism{Username: c.SASL.Username, Password: password}, nil
	case "scram-sha-256", "scram-sha-512":
		algo := scram.SHA256
		if c.SASL.Mechanism == "scram-sha-512" {
			algo = scram.SHA512
		}
		m, err := scram.Mechanism(algo, c.SASL.Username, password)
		if err != nil {
			return nil, fmt.Errorf("kafka sasl: %w", err)
		}
		return m, nil
	}
	return nil, fmt.Errorf("kafka sasl.mechanism: %q is unknown; one of %s", c.SASL.Mechanism, strings.Join(Mechanisms, ", "))
}

func (c Config) dialer() (*kafka.Dialer, error) {
	t, err := c.tlsConfig()
	if err != nil {
		return nil, err
	}
	m, err := c.mechanism()
	if err != nil {
		return nil, err
	}
	return &kafka.Dialer{ClientID: c.ClientID, Timeout: c.DialTimeout, DualStack: true, TLS: t, SASLMechanism: m}, nil
}

func (c Config) transport() (*kafka.Transport, error) {
	t, err := c.tlsConfig()
	if err != nil {
		return nil, err
	}
	m, err := c.mechanism()
	if err != nil {
		return nil, err
	}
	return &kafka.Transport{
		ClientID:    c.ClientID,
		DialTimeout: c.DialTimeout,
		TLS:         t,
		SASL:        m,
		// A moved leader is noticed by a refused write first; this is only the slow path.
		MetadataTTL: cmp.Or(min(c.RequestTimeout, 6*time.Second), time.Second),
	}, nil
}
