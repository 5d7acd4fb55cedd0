package kafka_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl/scram"

	election "github.com/wattledger/wattledger/aggregator/kafka"
	"github.com/wattledger/wattledger/ingest"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/kafkacluster"
	"github.com/wattledger/wattledger/internal/kafkacluster/clustertest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/wire"
)

// documented are the rights in the table of docs/kafka.md.
func documented(t *testing.T) (acls []kafka.ACLEntry) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "kafka.md"))
	if err != nil {
		t.Fatal(err)
	}
	list := func(cell string) []string {
		return strings.Split(strings.ReplaceAll(strings.TrimSpace(cell), "`", ""), ", ")
	}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 {
			continue
		}
		kinds := map[string]kafka.ResourceType{"topic": kafka.ResourceTypeTopic, "group": kafka.ResourceTypeGroup}
		kind, ok := kinds[strings.TrimSpace(cells[2])]
		if !ok {
			continue
		}
		for _, name := range list(cells[3]) {
			for _, operation := range list(cells[4]) {
				a := kafka.ACLEntry{
					ResourceType: kind, ResourceName: name, ResourcePatternType: kafka.PatternTypeLiteral, Principal: "User:" + list(cells[1])[0], Host: "*",
					PermissionType: kafka.ACLPermissionTypeAllow,
				}
				if err := a.Operation.UnmarshalText([]byte(operation)); err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				acls = append(acls, a)
			}
		}
	}
	return acls
}

func TestEachPartHasTheRightsItNeedsAndNoOthers(t *testing.T) {
	t.Parallel() // it mostly waits
	c := kafkacluster.DefaultConfig()
	c.Secure, c.Users = true, []string{"collector", "ingest", "aggregate", "import", "status", "quarantine", "topics", "stranger"}
	cluster := clustertest.Start(t, c)
	cfg := config(1)
	grant(t, cluster, documented(t))

	denied := func(who, what string, err error, want kafka.Error) {
		t.Helper()
		if !errors.Is(err, want) || kafkaconn.Temporary(err) {
			t.Errorf("%s may %s: %v, want %v", who, what, err, want)
		}
	}
	as := cluster.Conn
	denied("collector", "make topics", kafkaconn.EnsureTopics(t.Context(), as("collector"), cfg.Topics.Wanted(1_000_000)), kafka.TopicAuthorizationFailed)
	create(t, cfg, as("topics"))

	// What each part does.
	db, rows := database(t)
	in := startIngest(t, cfg, as("ingest"), db)
	n := startNode(t, "n1", as("collector"), 50*time.Millisecond)
	flows(t, rows, "rows flow")
	closes(t, as("aggregate"))
	publish(t, as("import"), wire.TopicInventory, "no inventory") // poison: ingest has to put it aside
	publish(t, as("quarantine"), wire.TopicAllocation, "no allocations")
	until(t, "what cannot be stored is put aside", func() bool { return in.sum(t, "wattledger_ingest_refused_total") == 2 })
	lag := func(who string) (int64, error) {
		lag, err := kafkaconn.Lag(t.Context(), as(who), cfg.Consumer.Group.Group, ingest.Topics())
		var n int64
		for _, l := range lag {
			if l.Topic != wire.TopicRefused {
				n += l.Messages()
			}
		}
		return n, err
	}
	n.halt()
	until(t, "the status says that all is read", func() bool {
		n, err := lag("status")
		if err != nil && !kafkaconn.Temporary(err) {
			t.Fatal(err)
		}
		return err == nil && n == 0
	})
	settled(t, rows, []*node{n})
	if err := kafkaconn.CheckTopics(t.Context(), as("topics"), cfg.Topics.Wanted(1_000_000)); err != nil {
		t.Error(err)
	}

	denied("stranger", "close hours", elect(t.Context(), as("stranger"), func(context.Context, func() error) error { return nil }), kafka.TopicAuthorizationFailed)

	// What each must not.
	write := func(who, topic string) error {
		p, err := kafkaconn.NewProducer(as(who), topic, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		return p.Publish(t.Context(), kafka.Message{Key: []byte("k"), Value: []byte("v")})
	}
	for who, topics := range map[string][]string{
		"collector": {wire.TopicRefused}, "ingest": {wire.TopicSample, wire.TopicInventory}, "import": {wire.TopicSample, wire.TopicRefused},
		"status": {wire.TopicSample}, "quarantine": {wire.TopicRefused}, "topics": {wire.TopicSample}, "stranger": {wire.TopicSample},
	} {
		for _, topic := range topics {
			denied(who, "write to "+topic, write(who, topic), kafka.TopicAuthorizationFailed)
		}
	}
	for _, who := range []string{"collector", "import", "topics", "stranger"} {
		_, err := lag(who)
		if err == nil {
			t.Errorf("%s may see where the group stands", who)
		}
	}
	if _, err := kafkaconn.DescribeTopics(t.Context(), as("collector"), []string{wire.TopicSample}); !errors.Is(err, kafka.TopicAuthorizationFailed) {
		t.Errorf("collector may read the configuration of topics: %v", err)
	}
	read := func(who, topic string) error {
		resp, err := clientOf(t, as(who)).Fetch(t.Context(), &kafka.FetchRequest{Topic: topic, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second})
		if err != nil {
			return err
		}
		return resp.Error
	}
	if err := errors.Join(read("quarantine", wire.TopicRefused), read("quarantine", wire.TopicSample)); err != nil {
		t.Error(err)
	}
	for who, topic := range map[string]string{"collector": wire.TopicSample, "import": wire.TopicInventory, "ingest": wire.TopicRefused, "status": wire.TopicSample} {
		denied(who, "read "+topic, read(who, topic), kafka.TopicAuthorizationFailed)
	}
	denied("collector", "read as ingest does", ingestAnyway(t, cfg, as("collector"), db), kafka.GroupAuthorizationFailed)
	denied("import", "read as ingest does", ingestAnyway(t, cfg, as("import"), db), kafka.TopicAuthorizationFailed)

	// Who is not let in at all.
	knock := func(change func(*kafkaconn.Config), want string) {
		t.Helper()
		conn := as("ingest")
		change(&conn)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := kafkaconn.Ping(ctx, conn); err == nil || !strings.Contains(err.Error(), want) || kafkaconn.Temporary(err) {
			t.Errorf("got %v, want %q for good", err, want)
		}
	}
	knock(func(c *kafkaconn.Config) { c.SASL.PasswordFile = cluster.PasswordFile("collector") }, "SASL Authentication Failed")
	knock(func(c *kafkaconn.Config) { c.SASL.Username = "nobody" }, "SASL Authentication Failed")
	knock(func(c *kafkaconn.Config) { c.TLS.CAFile = "" }, "certificate")
	if err := kafkaconn.Ping(t.Context(), cluster.BrokerConn()); err != nil {
		t.Errorf("with our own certificate: %v", err)
	}
	knock(func(c *kafkaconn.Config) { c.TLS.ServerName = "kafka.example" }, "certificate")
}

// ingestAnyway runs an ingester without a look at the topics and returns the error that ends it.
func ingestAnyway(t *testing.T, cfg ingest.Config, conn kafkaconn.Config, db chconn.Config) error {
	t.Helper()
	in, err := ingest.New(cfg, conn, func() (chconn.Config, error) { return db, nil }, quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return in.Run(ctx)
}

func publish(t *testing.T, conn kafkaconn.Config, topic, value string) {
	t.Helper()
	p, err := kafkaconn.NewProducer(conn, topic, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Publish(t.Context(), kafka.Message{Key: []byte("fr-1"), Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
}

// grant gives rights, as the administrator of Kafka does.
func grant(t *testing.T, cluster *kafkacluster.Cluster, acls []kafka.ACLEntry) {
	t.Helper()
	if len(acls) < 20 {
		t.Fatalf("docs/kafka.md grants %d rights only", len(acls))
	}
	client := clientOf(t, cluster.Conn(kafkacluster.Admin))
	resp, err := client.CreateACLs(t.Context(), &kafka.CreateACLsRequest{ACLs: acls})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(resp.Errors...); err != nil {
		t.Fatal(err)
	}
}

// clientOf is Kafka's plain client, for requests that our code has no use for.
func clientOf(t *testing.T, conn kafkaconn.Config) *kafka.Client {
	t.Helper()
	password, err := os.ReadFile(conn.SASL.PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	login, err := scram.Mechanism(scram.SHA512, conn.SASL.Username, string(password))
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(conn.TLS.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	authority := x509.NewCertPool()
	authority.AppendCertsFromPEM(pem)
	transport := &kafka.Transport{TLS: &tls.Config{RootCAs: authority, MinVersion: tls.VersionTLS12}, SASL: login}
	t.Cleanup(transport.CloseIdleConnections)
	return &kafka.Client{Addr: kafka.TCP(conn.Brokers...), Transport: transport}
}

// closes has an aggregator take the right to close hours, and ask whether it still has it.
func closes(t *testing.T, conn kafkaconn.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	led := false
	err := elect(ctx, conn, func(_ context.Context, held func() error) error {
		time.Sleep(4 * time.Second) // longer than it may go without asking Kafka
		led = held() == nil
		cancel()
		return nil
	})
	if err != nil || !led {
		t.Errorf("the aggregator may not close hours: %v, led %v", err, led)
	}
}

func elect(ctx context.Context, conn kafkaconn.Config, lead election.Lead) error {
	cfg := election.DefaultConfig()
	cfg.SessionTimeout = 6 * time.Second // no less is taken by a default broker
	e, err := election.New(conn, cfg, lead, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	return e.Run(ctx)
}
