package kafkaconn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/segmentio/kafka-go"

	embedded "github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
)

func TestValidateNamesEveryFault(t *testing.T) {
	f := func(err error, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q is missing in: %v", want, err)
			}
		}
	}
	f(kafkaconn.Config{
		Brokers: []string{"nowhere"}, TLS: kafkaconn.TLS{CertFile: "x"}, SASL: kafkaconn.SASL{Mechanism: "kerberos"},
	}.Validate(),
		`brokers: "nowhere"`, "client_id", "dial_timeout", "request_timeout", "batch_timeout", "max_message_bytes",
		"cert_file and key_file", "enabled is false", `"kerberos"`, "sasl.username", "sasl.password_file")
	f(kafkaconn.GroupConfig{HeartbeatInterval: time.Second}.Validate(),
		"group:", "topics:", "session_timeout", "rebalance_timeout", "partition_watch", "fetch_wait", "fetch_bytes", "half of session_timeout")
	if err := kafkaconn.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := group("g", "t").Validate(); err != nil {
		t.Error(err)
	}
}

func TestTemporary(t *testing.T) {
	f := func(want bool, err error) {
		t.Helper()
		if got := kafkaconn.Temporary(err); got != want {
			t.Errorf("Temporary(%v) = %v", err, got)
		}
	}
	f(false, nil)
	f(false, context.Canceled)
	f(true, fmt.Errorf("publish: %w", context.DeadlineExceeded))
	f(true, io.ErrUnexpectedEOF)
	f(true, &net.OpError{Op: "dial", Err: errors.New("no route to host")})
	f(true, kafka.LeaderNotAvailable)
	f(true, kafka.NotEnoughReplicas)
	f(false, kafka.MessageSizeTooLarge)
	f(false, kafka.InvalidMessage)
	f(false, kafka.SASLAuthenticationFailed)
	f(false, kafkaconn.ErrFenced)
	f(false, &kafkaconn.RangeError{})
	f(true, kafka.WriteErrors{nil, kafka.LeaderNotAvailable})
	f(false, kafka.WriteErrors{kafka.LeaderNotAvailable, kafka.MessageSizeTooLarge})
	f(false, errors.New("something else"))
}

func TestPublishToNobodyIsTemporary(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // nobody listens there now
	cfg := kafkaconn.DefaultConfig()
	cfg.Brokers = []string{ln.Addr().String()}
	reg := prometheus.NewRegistry()
	p, err := kafkaconn.NewProducer(cfg, "t.v1", reg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Publish(t.Context(), kafka.Message{Value: []byte("x")}); !kafkaconn.Temporary(err) {
		t.Errorf("got %v", err)
	}
	if n := gathered(t, reg, "wattledger_kafka_produce_failures_total"); n != 1 {
		t.Errorf("%v failures are counted", n)
	}
	if err := kafkaconn.Ping(t.Context(), cfg); !kafkaconn.Temporary(err) {
		t.Errorf("ping: %v", err)
	}
}

func gathered(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return -1
}

func TestOneKeyOnePartitionInOrder(t *testing.T) {
	conn := kafkatest.Start(t, embedded.Topic{Name: "t.v1", Partitions: 5})
	reg := prometheus.NewRegistry()
	p, err := kafkaconn.NewProducer(conn, "t.v1", reg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := kafkaconn.Ping(t.Context(), conn); err != nil {
		t.Error(err)
	}
	for i := range 20 {
		if err := p.Publish(t.Context(), kafka.Message{Key: []byte("node-a"), Value: fmt.Append(nil, i)}, kafka.Message{Key: []byte("node-b"), Value: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := gathered(t, reg, "wattledger_kafka_produced_total"); n != 40 {
		t.Errorf("%v messages are counted, want 40", n)
	}
	if n, err := testutil.GatherAndCount(reg, "wattledger_kafka_produce_seconds"); n != 1 || err != nil {
		t.Errorf("publishing is not timed: %v", err)
	}
	where := map[string]int{}
	last := map[string]int{"node-a": -1, "node-b": -1}
	for part := range 5 {
		r, err := kafka.DialLeader(t.Context(), "tcp", conn.Brokers[0], "t.v1", part)
		if err != nil {
			t.Fatal(err)
		}
		_, end, err := r.ReadOffsets()
		if err != nil {
			t.Fatal(err)
		}
		for i := int64(0); i < end; i++ {
			m, err := r.ReadMessage(1 << 20)
			if err != nil {
				t.Fatal(err)
			}
			if p, ok := where[string(m.Key)]; ok && p != part {
				t.Errorf("key %s is in partitions %d and %d", m.Key, p, part)
			}
			where[string(m.Key)] = part
			var v int
			fmt.Sscan(string(m.Value), &v)
			if v != last[string(m.Key)]+1 {
				t.Errorf("key %s: %d follows %d", m.Key, v, last[string(m.Key)])
			}
			last[string(m.Key)] = v
		}
		r.Close()
	}
	// The Java client's murmur2 of these keys, modulo 5: other clients must find the same partition.
	if want := map[string]int{"node-a": (kafka.Murmur2Balancer{}).Balance(kafka.Message{Key: []byte("node-a")}, 0, 1, 2, 3, 4), "node-b": (kafka.Murmur2Balancer{}).Balance(kafka.Message{Key: []byte("node-b")}, 0, 1, 2, 3, 4)}; fmt.Sprint(where) != fmt.Sprint(want) {
		t.Errorf("keys went to %v, want %v", where, want)
	}
}

func TestEmbeddedConfig(t *testing.T) {
	dir := t.TempDir()
	f := func(want string) {
		t.Helper()
		if _, err := kafkaconn.EmbeddedConfig(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("no embedded kafka runs on")
	if err := os.MkdirAll(filepath.Join(dir, "kafka"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kafkaconn.EndpointFile(dir), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("not host:port")
}

func TestMissingSecretsAreNamed(t *testing.T) {
	f := func(change func(*kafkaconn.Config), want string) {
		t.Helper()
		cfg := kafkaconn.DefaultConfig()
		change(&cfg)
		if _, err := kafkaconn.NewProducer(cfg, "t.v1", nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	missing := filepath.Join(t.TempDir(), "absent")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f(func(c *kafkaconn.Config) { c.TLS = kafkaconn.TLS{Enabled: true, CAFile: missing} }, "tls.ca_file")
	f(func(c *kafkaconn.Config) { c.TLS = kafkaconn.TLS{Enabled: true, CAFile: empty} }, "no PEM")
	f(func(c *kafkaconn.Config) { c.TLS = kafkaconn.TLS{Enabled: true, CertFile: missing, KeyFile: missing} }, "tls.cert_file")
	f(func(c *kafkaconn.Config) {
		c.SASL = kafkaconn.SASL{Mechanism: "plain", Username: "u", PasswordFile: missing}
	}, "sasl.password_file")
}
