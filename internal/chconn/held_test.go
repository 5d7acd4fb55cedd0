package chconn_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
)

func TestHeldSecretsAreUsedAndNeverPrinted(t *testing.T) {
	cfg := chtest.Start(t)
	cfg.PasswordFile, cfg.Held.Password = "", "not-the-password"
	_, err := chconn.Open(t.Context(), cfg)
	if err == nil {
		t.Fatal("a wrong password in memory was not used")
	}
	for _, printed := range []string{err.Error(), fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg)} {
		if strings.Contains(printed, "not-the-password") {
			t.Errorf("the password is printed: %s", printed)
		}
	}
}

func TestHeldCertificatesAreChecked(t *testing.T) {
	cfg := chconn.DefaultConfig()
	cfg.Protocol = "https"
	cfg.Held = chconn.Held{CA: "none", Cert: "alone"}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "belong together") {
		t.Errorf("a certificate without its key: %v", err)
	}
	cfg.Held = chconn.Held{CA: "none"}
	if _, err := chconn.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "PEM") {
		t.Errorf("an authority that is no certificate: %v", err)
	}
}
