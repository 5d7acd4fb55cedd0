package kafkacluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/wattledger/wattledger/internal/kafkaconn"
)

// clusterID is 16 bytes in base64, as Kafka wants it.
const clusterID = "d2F0dGxlZGdlci1sb2NhbA"

// Cluster is a running one.
type Cluster struct {
	cfg     Config
	brokers []*Broker
}

// Start prepares the folder, starts the brokers and returns when all of them answer. The caller closes the cluster.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("kafka cluster: %w", err)
	}
	c := &Cluster{cfg: cfg}
	ports, err := freePorts(cfg.Port, 3*cfg.Brokers)
	if err != nil {
		return nil, fmt.Errorf("kafka cluster: %w", err)
	}
	at := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i])) }
	for i := range cfg.Brokers {
		c.brokers = append(c.brokers, &Broker{
			cluster: c, id: i + 1, dir: filepath.Join(cfg.Dir, "broker-"+strconv.Itoa(i+1)),
			addr: at(i), internal: at(cfg.Brokers + i), controller: at(2*cfg.Brokers + i),
		})
	}
	passwords, err := c.secure()
	if err == nil {
		err = c.each(func(b *Broker) error { return b.format(passwords) })
	}
	if err == nil {
		err = c.each((*Broker).launch)
	}
	if err == nil {
		err = c.each(func(b *Broker) error { return b.await(ctx) })
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("kafka cluster: %w", err), c.Close())
	}
	return c, nil
}

// secure makes certificates and passwords, once for a folder.
func (c *Cluster) secure() (passwords map[string]string, err error) {
	if err := os.MkdirAll(c.cfg.Dir, 0o750); err != nil || !c.cfg.Secure {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(c.cfg.Dir, "ca.pem")); err != nil {
		if err := certify(c.cfg.Dir); err != nil {
			return nil, err
		}
	}
	passwords = map[string]string{}
	for _, user := range c.cfg.users() {
		file := c.PasswordFile(user)
		old, err := os.ReadFile(file)
		if err != nil {
			old = []byte(rand.Text())
			if err := os.WriteFile(file, old, 0o600); err != nil {
				return nil, err
			}
		}
		passwords[user] = string(old)
	}
	return passwords, nil
}

// each does something with all brokers side by side.
func (c *Cluster) each(do func(*Broker) error) error {
	errs := make([]error, len(c.brokers))
	var wg sync.WaitGroup
	for i, b := range c.brokers {
		wg.Go(func() { errs[i] = do(b) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Broker is one of them, counted from 0.
func (c *Cluster) Broker(i int) *Broker { return c.brokers[i] }

// PasswordFile holds the password of a user of a secure cluster.
func (c *Cluster) PasswordFile(user string) string {
	return filepath.Join(c.cfg.Dir, user+".password")
}

// CAFile is the authority that signed the certificates of a secure cluster.
func (c *Cluster) CAFile() string { return filepath.Join(c.cfg.Dir, "ca.pem") }

// Conn reaches the cluster as this user; who it is does not matter where the cluster is not secure.
func (c *Cluster) Conn(user string) kafkaconn.Config {
	conn := kafkaconn.DefaultConfig()
	conn.Brokers = nil
	for _, b := range c.brokers {
		conn.Brokers = append(conn.Brokers, b.addr)
	}
	if c.cfg.Secure {
		conn.TLS = kafkaconn.TLS{Enabled: true, CAFile: c.CAFile()}
		conn.SASL = kafkaconn.SASL{Mechanism: "scram-sha-512", Username: user, PasswordFile: c.PasswordFile(user)}
	}
	return conn
}

// BrokerConn reaches a secure cluster by certificate, as its brokers reach one another.
func (c *Cluster) BrokerConn() kafkaconn.Config {
	conn := kafkaconn.DefaultConfig()
	conn.Brokers = []string{c.brokers[0].internal}
	both := filepath.Join(c.cfg.Dir, "broker.pem")
	conn.TLS = kafkaconn.TLS{Enabled: true, CAFile: c.CAFile(), CertFile: both, KeyFile: both}
	return conn
}

// Close stops all brokers and waits for them.
func (c *Cluster) Close() error {
	return c.each(func(b *Broker) error { b.Stop(); return nil })
}

// Kill ends all brokers at once, for who throws their data away.
func (c *Cluster) Kill() {
	_ = c.each(func(b *Broker) error { b.Kill(); return nil })
}

// freePorts are first and those behind it, or any. They lie below the range that the kernel gives to connections: a client
// that knocks at the port of a dead broker must not be given that very port, and find itself.
func freePorts(first, n int) ([]int, error) {
	const low, high, tries = 20_000, 32_000, 1000
	var ports []int
	for range tries {
		if len(ports) == n {
			return ports, nil
		}
		port := first + len(ports)
		if first == 0 {
			r, err := rand.Int(rand.Reader, big.NewInt(high-low))
			if err != nil {
				return nil, err
			}
			port = low + int(r.Int64())
		}
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			if first != 0 {
				return nil, fmt.Errorf("port %d: %w", port, err)
			}
			continue
		}
		defer ln.Close() // all are held until all are found
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("no %d free ports between %d and %d", n, low, high)
}
