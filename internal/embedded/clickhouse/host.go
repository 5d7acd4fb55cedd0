package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// Host is the engine with its HTTP interface.
type Host struct {
	cfg   Config
	log   *slog.Logger
	seen  *metrics
	ready chan struct{}

	addr string // written before ready is closed
}

// New is inert: it touches no file and loads no library.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) *Host {
	return &Host{cfg: cfg, log: log, seen: newMetrics(reg), ready: make(chan struct{})}
}

// Ready is closed once the host answers queries. It stays open if Run fails before.
func (h *Host) Ready() <-chan struct{} { return h.ready }

// Addr is the host:port that the host answers on, after Ready.
func (h *Host) Addr() string {
	<-h.ready
	return h.addr
}

// Run holds the data directory, loads the engine and answers until ctx ends. Then it takes no more requests, lets those
// in flight finish within the grace, kills the rest and closes the engine. It can be called once.
func (h *Host) Run(ctx context.Context) (err error) {
	if err := h.cfg.Validate(); err != nil {
		return err
	}
	dir, err := filepath.Abs(Directory(h.cfg.Data))
	if err != nil {
		return fmt.Errorf("embedded clickhouse: data directory: %w", err)
	}
	library, err := FindLibrary(h.cfg.LibraryPath)
	if err != nil {
		return fmt.Errorf("embedded clickhouse: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("embedded clickhouse: data directory: %w", err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	password, err := ensurePassword(PasswordFile(h.cfg.Data))
	if err != nil {
		return fmt.Errorf("embedded clickhouse: %w", err)
	}
	// The port before the engine: a taken one is the commonest fault, and the cheapest to find.
	listener, err := listen(ctx, h.cfg.Listen)
	if err != nil {
		return err
	}
	defer listener.Close() // closed by the server when it stops; this is for the ways out before
	args, err := h.configure(dir)
	if err != nil {
		return err
	}
	eng, err := openEngine(library, args)
	if err != nil {
		return fmt.Errorf("embedded clickhouse at %s: %w", dir, err)
	}
	defer eng.close()
	return h.serve(ctx, listener, &server{
		engine: eng, password: password, metrics: h.seen, log: h.log,
		slots: make(chan struct{}, h.cfg.MaxQueries), budget: &budget{limit: h.cfg.MaxInsert},
	})
}

func (h *Host) serve(ctx context.Context, listener net.Listener, s *server) error {
	killed, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	s.killed = killed
	web := &http.Server{
		Handler: s,
		// A client sends its header at once; its body may take as long as the rows take to make.
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		// Queries and their parameters may stand in the URL.
		MaxHeaderBytes: 4 << 20,
		ErrorLog:       slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
	}
	var served sync.WaitGroup
	failed := make(chan error, 1)
	served.Go(func() { failed <- web.Serve(listener) })
	h.addr = listener.Addr().String()
	endpoint := EndpointFile(h.cfg.Data)
	if err := writeFile(endpoint, h.addr+"\n"); err != nil {
		return errors.Join(fmt.Errorf("embedded clickhouse: tell others where it is: %w", err), web.Close())
	}
	h.log.Info("embedded clickhouse ready", "address", h.addr, "data", Directory(h.cfg.Data))
	close(h.ready)
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("embedded clickhouse: serve %s: %w", h.addr, err)
	}
	// Nobody new finds the way here, then those inside leave.
	if rmErr := os.Remove(endpoint); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
		h.log.Warn("endpoint file not removed", "path", endpoint, "error", rmErr)
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.cfg.Grace)
	defer cancel()
	if web.Shutdown(patience) != nil {
		h.log.Warn("statements killed at stop", "grace", h.cfg.Grace)
		kill()
		// Handlers return once the engine has ended their statements. A client that still sends its body is cut off.
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if web.Shutdown(last) != nil {
			_ = web.Close()
		}
	}
	served.Wait()
	// Close does not wait for handlers, but each one that has a session holds a slot.
	for range cap(s.slots) {
		s.slots <- struct{}{}
	}
	return err
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("embedded clickhouse: address %s is taken: stop what listens there, or choose another with --clickhouse-listen (port 0 takes a free one)", address)
	}
	if err != nil {
		return nil, fmt.Errorf("embedded clickhouse: listen on --clickhouse-listen %s: %w", address, err)
	}
	return listener, nil
}

// lock takes the data directory for this process. The kernel drops the lock when the process dies, however it dies.
func lock(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("embedded clickhouse: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0) // informative only
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("embedded clickhouse: data directory %s is in use by process %s: stop it, or use another --data", dir, string(holder[:n]))
		}
		return nil, fmt.Errorf("embedded clickhouse: lock %s: %w", path, err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d", os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded clickhouse: lock %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}
