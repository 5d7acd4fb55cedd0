// Package chtest gives a test a database in the real engine.
//
// It starts one engine per test binary, as a process of its own, because the library has one data path per process
// and its crash must not look like the test's. Every call answers a fresh, empty database that goes with the test.
// The engine ends with the test binary, however that ends, and takes its data with it.
package chtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse"
)

var shared struct {
	mu   sync.Mutex // guards all below
	host *Process
	made int
}

// Start answers the connection to a fresh database. It fails the test when the library is missing: `make setup` installs it.
func Start(t testing.TB) chconn.Config {
	t.Helper()
	host, name := acquire(t)
	cfg := host.Config(t)
	conn, err := chconn.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("create database %s: %v", name, err)
	}
	if err := conn.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatalf("create database %s: %v", name, err)
	}
	t.Cleanup(func() {
		defer conn.Close()
		// The test's own context has ended by now.
		if err := conn.Exec(context.Background(), "DROP DATABASE "+name+" SYNC"); err != nil {
			t.Errorf("drop database %s: %v", name, err)
		}
	})
	cfg.Database = name
	return cfg
}

func acquire(t testing.TB) (host *Process, database string) {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.host == nil {
		// The directory outlives the test that starts the engine, so it is not the test's own.
		dir, err := os.MkdirTemp("", "wattledger-chtest-")
		if err != nil {
			t.Fatalf("start the engine: %v", err)
		}
		if shared.host, err = start(dir, "-ephemeral"); err != nil {
			_ = os.RemoveAll(dir)
			t.Fatalf("start the engine: %v", err)
		}
	}
	shared.made++
	return shared.host, fmt.Sprintf("test_%d", shared.made)
}

// Process is an engine of a test's own, for tests that kill it.
type Process struct {
	Data string // the data directory
	Addr string

	cmd    *exec.Cmd
	stdin  io.Closer
	errors *tail
	waited chan struct{} // closed when the process has ended
	result error         // of waiting; read after waited
}

// StartAt starts an engine on this data directory, in a process of its own, with more arguments for it.
// The test ends it, if it has not done so itself.
func StartAt(t testing.TB, data string, args ...string) *Process {
	t.Helper()
	p, err := start(data, args...)
	if err != nil {
		t.Fatalf("start the engine: %v", err)
	}
	t.Cleanup(p.Kill)
	return p
}

// Config reaches the engine's database default.
func (p *Process) Config(t testing.TB) chconn.Config {
	t.Helper()
	cfg, err := chconn.EmbeddedConfig(p.Data)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Database = "default"
	return cfg
}

// PID is the process to signal.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process as a power cut would, and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // gone already
	<-p.waited
}

// Stop asks the process to end, and waits.
func (p *Process) Stop() error {
	_ = p.stdin.Close() // tells it to stop; it may be gone already
	select {
	case <-p.waited:
	case <-time.After(time.Minute):
		p.Kill()
		return fmt.Errorf("the engine did not stop within a minute: %s", p.errors)
	}
	if p.result != nil {
		return fmt.Errorf("the engine ended with %w: %s", p.result, p.errors)
	}
	return nil
}

func start(data string, args ...string) (*Process, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	library, err := clickhouse.FindLibrary(libraryInRepository(root))
	if err != nil {
		return nil, fmt.Errorf("run make setup: %w", err)
	}
	binary, err := build(root)
	if err != nil {
		return nil, err
	}
	p := &Process{Data: data, errors: &tail{}, waited: make(chan struct{})}
	p.cmd = exec.Command(binary, append([]string{"-data", data}, args...)...)
	p.cmd.Env = append(os.Environ(), clickhouse.LibraryVariable+"="+library)
	p.cmd.Stderr = p.errors
	// The engine ends when its standard input does, which happens however the test binary ends. It is kept out of the
	// terminal's process group, so that Ctrl-C does not end it before the tests have cleaned up.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		// Ends with the process, which Kill, Stop or the end of our standard input pipe brings about.
		p.result = p.cmd.Wait()
		close(p.waited)
	}()
	if readErr != nil {
		p.Kill()
		return nil, fmt.Errorf("%s ended before it was ready: %s", filepath.Base(binary), p.errors)
	}
	p.Addr = strings.TrimSpace(line)
	return p, nil
}

// repository is the root of the checkout. Tests run in the folder of their package, below it.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the working directory")
		}
	}
}

// libraryInRepository is what `make setup` installs, unless the environment names another.
func libraryInRepository(root string) string {
	if os.Getenv(clickhouse.LibraryVariable) != "" {
		return ""
	}
	found, _ := filepath.Glob(filepath.Join(root, ".cache", "libchdb", "node_modules", "@chdb", "lib-linux-*", "libchdb.so"))
	if len(found) != 1 {
		return ""
	}
	return found[0]
}

var built struct {
	mu   sync.Mutex // guards path
	path string
}

// build compiles chhost once per test binary. Test binaries run side by side, so the result is moved into place.
func build(root string) (string, error) {
	built.mu.Lock()
	defer built.mu.Unlock()
	if built.path != "" {
		return built.path, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dir := filepath.Join(root, ".cache", "test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	mine, final := filepath.Join(dir, fmt.Sprintf("chhost-%d", os.Getpid())), filepath.Join(dir, "chhost")
	// Without cgo, as in production: that the library loads this way is part of what is tested.
	cmd := exec.CommandContext(ctx, "go", "build", "-o", mine, "./internal/embedded/clickhouse/chhost")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build chhost: %w: %s", err, out)
	}
	if err := os.Rename(mine, final); err != nil {
		return "", err
	}
	built.path = final
	return final, nil
}

// tail keeps the end of what a process says.
type tail struct {
	mu  sync.Mutex // guards buf
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if excess := len(t.buf) - 8192; excess > 0 {
		t.buf = t.buf[excess:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.buf))
}
