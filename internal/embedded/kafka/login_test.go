package kafka_test

import (
	"crypto/tls"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/wattledger/wattledger/internal/kafkaconn"
)

// The embedded broker asks for no login, clusters do: the same fake with TLS and passwords.
func TestLoginOverTLS(t *testing.T) {
	https := httptest.NewTLSServer(nil) // for its certificate, which is made out to 127.0.0.1
	defer https.Close()
	dir := t.TempDir()
	ca, password, wrong := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "password"), filepath.Join(dir, "wrong")
	for name, data := range map[string]string{
		ca:       string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: https.Certificate().Raw})),
		password: "secret\n",
		wrong:    "guess",
	} {
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(),
		kfake.TLS(&tls.Config{Certificates: https.TLS.Certificates, MinVersion: tls.VersionTLS12}),
		kfake.Superuser("PLAIN", "alice", "secret"), kfake.Superuser("SCRAM-SHA-512", "bob", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	f := func(caFile, mechanism, user, passwordFile, want string) {
		t.Helper()
		cfg := kafkaconn.DefaultConfig()
		cfg.Brokers = cluster.ListenAddrs()
		cfg.TLS = kafkaconn.TLS{Enabled: true, CAFile: caFile}
		cfg.SASL = kafkaconn.SASL{Mechanism: mechanism, Username: user, PasswordFile: passwordFile}
		err := kafkaconn.Ping(t.Context(), cfg)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s as %s: got %v, want %q", mechanism, user, err, want)
		}
	}
	f(ca, "plain", "alice", password, "")
	f(ca, "scram-sha-512", "bob", password, "")
	f(ca, "plain", "alice", wrong, "kafka at") // the fake just hangs up; Kafka says why
	f("", "plain", "alice", password, "certificate")
}
