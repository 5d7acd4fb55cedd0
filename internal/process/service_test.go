package process

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"
)

// certificate writes a self-signed one for loopback and returns what a client trusts.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "node"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("cert.pem", "CERTIFICATE", der)
	write("key.pem", "EC PRIVATE KEY", raw)
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	return pool
}

func TestMetricsBehindTLSAndALogin(t *testing.T) {
	dir := t.TempDir()
	pool := certificate(t, dir)
	hash, err := bcrypt.GenerateFromPassword([]byte("let me in"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "web.yml")
	text := fmt.Sprintf("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {prometheus: %q}\n", hash)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := NewServer(ServerConfig{Listen: "127.0.0.1:0", WebConfig: file}, prometheus.NewRegistry(), &Health{}, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: 10 * time.Second}
	f := func(password string, want int) {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.Addr()+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("prometheus", password)
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("with password %q: %s", password, answer.Status)
		}
	}
	f("let me in", http.StatusOK)
	f("guess", http.StatusUnauthorized)
	if answer, err := http.Get("http://" + s.Addr() + "/metrics"); err == nil {
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			t.Error("the page is served without TLS as well")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "let me in") || strings.Contains(log.String(), string(hash)) {
		t.Error("a secret stands in the log")
	}
}

func TestABadWebConfigurationIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(file, []byte("tls_server_config: {cert_file: nowhere.pem, key_file: nowhere.pem}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewServer(ServerConfig{Listen: "127.0.0.1:0", WebConfig: file}, prometheus.NewRegistry(), &Health{}, slog.New(slog.DiscardHandler))
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "nowhere.pem") || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

func TestMetricsThatAreWrapped(t *testing.T) {
	env := NewEnv(Flags{LogLevel: "error"}, io.Discard, io.Discard, nil)
	env.ServeMetrics("127.0.0.1:0")
	env.WrapMetrics(func(own http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			own.ServeHTTP(w, r)
			fmt.Fprint(w, "more 1\n")
		})
	})
	s := NewServer(env.metrics, env.Metrics, env.Health, env.Log)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "identity")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil || !strings.HasSuffix(string(body), "\nmore 1\n") || !strings.Contains(string(body), "go_goroutines") {
		t.Errorf("%v, %s", err, body)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestSystemdIsTold(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", "100000")
	env := NewEnv(Flags{MetricsListen: "off", LogLevel: "error"}, io.Discard, io.Discard, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- env.Run(ctx, func(ctx context.Context) error {
			env.Status("%d GPUs", 8)
			env.Reloading()
			<-ctx.Done()
			return nil
		})
	}()
	var told []string
	buf := make([]byte, 256)
	for !slices.Contains(told, "WATCHDOG=1") || len(told) < 4 {
		if err := socket.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := socket.Read(buf)
		if err != nil {
			t.Fatalf("told %q, then %v", told, err)
		}
		told = append(told, string(buf[:n]))
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	all := strings.Join(told, "\n")
	for _, want := range []string{"READY=1", "STATUS=8 GPUs", "RELOADING=1", "MONOTONIC_USEC="} {
		if !strings.Contains(all, want) {
			t.Errorf("%s was not told: %q", want, told)
		}
	}
	for {
		n, err := socket.Read(buf)
		if err != nil {
			t.Fatalf("stopping was not told: %v", err)
		}
		if string(buf[:n]) == "STOPPING=1" {
			return
		}
	}
}

type replacing struct {
	Flags
	Run replaceCommand `cmd:"" default:"1"`
}

type replaceCommand struct{}

// Run asks for a fresh process once, and then says what it has become.
func (replaceCommand) Run(_ context.Context, env *Env) error {
	reason, n := env.Replaced()
	if n < 2 {
		// A descriptor as a C library opens it: without close-on-exec.
		if _, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0); err != nil {
			return err
		}
		return Replace("tried")
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "%s %d pid %d\n", reason, n, os.Getpid())
	for _, f := range open {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && to == "/dev/null" && f.Name() > "2" {
			fmt.Fprintf(env.Stdout, "%s is still open\n", f.Name())
		}
	}
	return nil
}

func TestAProcessIsReplacedInItsPlace(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childMode+"=replace")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want := fmt.Sprintf("tried 2 pid %d\n", cmd.Process.Pid); string(out) != want {
		t.Errorf("the last of them says %q, want %q", out, want)
	}
}

// To systemd a replacement is a reload: told that the service stops, it would kill the fresh process.
func TestAReplacementIsNoStopForSystemd(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	env := NewEnv(Flags{MetricsListen: "off", LogLevel: "error"}, io.Discard, io.Discard, nil)
	var r *replacement
	if err := env.Run(t.Context(), func(context.Context) error { return Replace("tried") }); !errors.As(err, &r) {
		t.Fatalf("the run ends with %v", err)
	}
	buf := make([]byte, 256)
	for reloading := false; !reloading; {
		if err := socket.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := socket.Read(buf)
		if err != nil {
			t.Fatalf("a reload was not told: %v", err)
		}
		if bytes.Contains(buf[:n], []byte("STOPPING=1")) {
			t.Fatal("systemd was told that the service stops")
		}
		reloading = bytes.Contains(buf[:n], []byte("RELOADING=1"))
	}
}
