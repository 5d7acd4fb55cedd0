package kubernetes

import (
	"encoding/pem"
	"net/http/httptest"
	"testing"
	"time"
)

func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func TestConfigNamesEveryFault(t *testing.T) {
	c := Config{Enabled: true, Socket: "kubelet.sock", Resources: []string{"gpu"}, Drivers: []string{""}, Timeout: time.Hour, API: APIConfig{URL: "ftp://x"}}
	err := c.Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, part := range []string{"socket", "resources", "drivers", "timeout", "api.url"} {
		if !containsAll(err.Error(), part) {
			t.Errorf("%s is not in: %v", part, err)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}
