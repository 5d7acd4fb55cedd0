package redfish

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/schemas/unit"
)

const (
	start  unit.Micros = 1_767_225_600_000_000
	period             = 10 * unit.Second
)

// bmc plays a management controller over real HTTPS.
type bmc struct {
	*httptest.Server
	mu        sync.Mutex
	tree      map[string]string // path to JSON
	basic     bool              // no sessions
	gzip      bool
	closes    bool // the connection after each answer
	status    map[string]int
	header    map[string]string // with a status
	tokens    map[string]bool
	sessions  int // made
	ended     int
	refused   int
	asked     map[string]int
	slow      func(path string)
	noToken   bool
	statusAll int
}

func newBMC(t *testing.T, tree map[string]string) *bmc {
	b := &bmc{tree: map[string]string{}, status: map[string]int{}, tokens: map[string]bool{}, asked: map[string]int{}}
	b.put(tree)
	b.Server = httptest.NewUnstartedServer(http.HandlerFunc(b.serve))
	b.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // refused handshakes are meant
	b.StartTLS()
	t.Cleanup(b.Close)
	return b
}

func (b *bmc) put(tree map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p, text := range tree {
		b.tree[strings.TrimSuffix(p, "/")] = text
	}
}

func (b *bmc) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *bmc) serve(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	slow := b.slow
	b.mu.Unlock()
	if slow != nil {
		slow(r.URL.Path)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	path := strings.TrimSuffix(r.URL.Path, "/")
	b.asked[path]++
	if b.closes {
		w.Header().Set("Connection", "close")
	}
	status := b.status[path]
	if b.statusAll != 0 {
		status = b.statusAll
	}
	if status != 0 {
		for k, v := range b.header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		return
	}
	const sessions = "/redfish/v1/SessionService/Sessions"
	switch {
	case r.Method == http.MethodPost && path == sessions && !b.basic:
		var login struct{ UserName, Password string }
		if json.NewDecoder(r.Body).Decode(&login) != nil || login.UserName != "reader" || login.Password != "s3cret" {
			b.refused++
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		b.sessions++
		token := fmt.Sprintf("token-%d", b.sessions)
		b.tokens[token] = true
		if !b.noToken {
			w.Header().Set("X-Auth-Token", token)
		}
		w.Header().Set("Location", sessions+"/"+token)
		w.WriteHeader(http.StatusCreated)
		return
	case r.Method == http.MethodDelete && strings.HasPrefix(path, sessions+"/"):
		delete(b.tokens, strings.TrimPrefix(path, sessions+"/"))
		b.ended++
		w.WriteHeader(http.StatusNoContent)
		return
	case r.Method != http.MethodGet:
		w.WriteHeader(http.StatusNotFound)
		return
	}
	user, password, ok := r.BasicAuth()
	if !b.tokens[r.Header.Get("X-Auth-Token")] && (!ok || user != "reader" || password != "s3cret") {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	text, ok := b.tree[path]
	if q := r.URL.RawQuery; q != "" {
		text, ok = b.tree[path+"?"+q]
	}
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Date", "Thu, 01 Jan 1970 00:03:00 GMT") // it never heard of the time
	if b.gzip && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		fmt.Fprint(z, text)
		return
	}
	fmt.Fprint(w, text)
}

// config reaches the BMC, whose certificate is pinned.
func (b *bmc) config(t *testing.T) Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Certificate().Raw)
	cfg := DefaultConfig()
	cfg.Address, cfg.Username, cfg.PasswordFile, cfg.Node, cfg.Fingerprint = b.URL, "reader", file, "n1", hex.EncodeToString(sum[:])
	cfg.Timeout = 5 * time.Second
	return cfg
}

func (b *bmc) caFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (b *bmc) open(t *testing.T, change func(*Config), reg prometheus.Registerer) *Source {
	t.Helper()
	cfg := b.config(t)
	if change != nil {
		change(&cfg)
	}
	s, err := Open(cfg, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

const (
	rootJSON = `{"Chassis": {"@odata.id": "/redfish/v1/Chassis"}, "Systems": {"@odata.id": "/redfish/v1/Systems"},
		"Links": {"Sessions": {"@odata.id": "/redfish/v1/SessionService/Sessions"}}}`
	tray = "/redfish/v1/Chassis/Tray/EnvironmentMetrics"
)

// tray is a node whose BMC has EnvironmentMetrics: a chassis, modules inside it with power of their own, two pages.
func trayTree(metrics string) map[string]string {
	return map[string]string{
		"/redfish/v1": rootJSON,
		"/redfish/v1/Chassis": `{"Members": [{"@odata.id": "/redfish/v1/Chassis/GPU_0"}, {"@odata.id": "/redfish/v1/Chassis/Board"}],
			"Members@odata.nextLink": "/redfish/v1/Chassis?$skip=2"}`,
		"/redfish/v1/Chassis?$skip=2":                  `{"Members": [{"@odata.id": "/redfish/v1/Chassis/Tray"}, {"@odata.id": "/redfish/v1/Chassis/Rack"}]}`,
		"/redfish/v1/Chassis/GPU_0":                    `{"Id": "GPU_0", "ChassisType": "Module", "EnvironmentMetrics": {"@odata.id": "/redfish/v1/Chassis/GPU_0/EnvironmentMetrics"}}`,
		"/redfish/v1/Chassis/GPU_0/EnvironmentMetrics": `{"PowerWatts": {"Reading": 1000}}`,
		"/redfish/v1/Chassis/Board": `{"Id": "Board", "ChassisType": "RackMount", "Links": {"ContainedBy": {"@odata.id": "/redfish/v1/Chassis/Tray"}},
			"EnvironmentMetrics": {"@odata.id": "/redfish/v1/Chassis/Board/EnvironmentMetrics"}}`,
		"/redfish/v1/Chassis/Board/EnvironmentMetrics": `{"PowerWatts": {"Reading": 4000}}`,
		"/redfish/v1/Chassis/Tray": `{"@odata.id": "/redfish/v1/Chassis/Tray", "Id": "Tray", "ChassisType": "RackMount",
			"EnvironmentMetrics": {"@odata.id": "/redfish/v1/Chassis/Tray/EnvironmentMetrics"}, "PowerSubsystem": {"@odata.id": "/redfish/v1/Chassis/Tray/PowerSubsystem"}}`,
		tray:                       metrics,
		"/redfish/v1/Chassis/Rack": `{"Id": "Rack", "ChassisType": "Rack", "EnvironmentMetrics": {"@odata.id": "/redfish/v1/Chassis/Rack/EnvironmentMetrics"}}`,
		"/redfish/v1/Chassis/Rack/EnvironmentMetrics":                     `{"PowerWatts": {"Reading": 100000}}`,
		"/redfish/v1/Chassis/Tray/PowerSubsystem":                         `{"PowerSupplies": {"@odata.id": "/redfish/v1/Chassis/Tray/PowerSubsystem/PowerSupplies"}}`,
		"/redfish/v1/Chassis/Tray/PowerSubsystem/PowerSupplies":           `{"Members": [{"@odata.id": "/redfish/v1/Chassis/Tray/PowerSubsystem/PowerSupplies/A"}, {"@odata.id": "/redfish/v1/Chassis/Tray/PowerSubsystem/PowerSupplies/B"}]}`,
		"/redfish/v1/Chassis/Tray/PowerSubsystem/PowerSupplies/A":         `{"Metrics": {"@odata.id": "/redfish/v1/Chassis/Tray/PowerSubsystem/PowerSupplies/A/Metrics"}}`,
		"/redfish/v1/Chassis/Tray/PowerSubsystem/PowerSupplies/B":         `{}`,
		"/redfish/v1/Chassis/Tray/PowerSubsystem/PowerSupplies/A/Metrics": `{"InputPowerWatts": {"Reading": 5100.5}}`,
		"/redfish/v1/Chassis/Tray/PowerSubsystem/PowerSupplies/B/Metrics": `{"InputPowerWatts": {"Reading": 0}}`,
		"/redfish/v1/Systems":   `{"Members": [{"@odata.id": "/redfish/v1/Systems/1"}]}`,
		"/redfish/v1/Systems/1": `{"Links": {"Chassis": [{"@odata.id": "/redfish/v1/Chassis/Tray"}]}}`,
		"/redfish/v1/Systems/1/Processors/GPU_0/EnvironmentMetrics": `{"PowerWatts": {"Reading": 1000}}`,
	}
}

// olderTree is a BMC with the Power resource: numbers are strings, links are left out, and the parts stand beside the total.
func olderTree(watts string) map[string]string {
	return map[string]string{
		"/redfish/v1":           `{"Name": "Root", "Links": "none"}`,
		"/redfish/v1/Chassis":   `{"Members": ["/redfish/v1/Chassis/1", null, 5]}`,
		"/redfish/v1/Chassis/1": `{"Id": 1, "EnvironmentMetrics": null}`,
		"/redfish/v1/Chassis/1/Power": `{"PowerControl": [{"MemberId": "0", "PhysicalContext": "CPU", "PowerConsumedWatts": 400},
			{"MemberId": "1", "Name": "System Power Control", "PowerConsumedWatts": ` + watts + `}, {"PhysicalContext": "Memory", "PowerConsumedWatts": 90}, 7],
			"PowerSupplies": [{"PowerInputWatts": 900}]}`,
	}
}
