package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"
)

// ServerConfig is the server for metrics and health.
type ServerConfig struct {
	// Listen is the address, on loopback by default; port 0 takes a free one.
	Listen string `yaml:"listen"`
	// Pprof adds /debug/pprof/, on loopback only.
	Pprof bool `yaml:"pprof"`
	// WebConfig is a file with TLS and logins in the form that Prometheus exporters share; empty means neither.
	WebConfig string `yaml:"web_config"`
	// wrap serves the page of the registry with more around it.
	wrap func(own http.Handler) http.Handler
}

// checkWeb reads the web configuration, if there is one.
func (c ServerConfig) checkWeb() error {
	if c.WebConfig == "" || c.Listen == "" || c.Listen == "off" {
		return nil
	}
	if err := web.Validate(c.WebConfig); err != nil {
		return fmt.Errorf("web configuration %s: %w", c.WebConfig, err)
	}
	return nil
}

// Health is the list of what has to be well before a process is ready. The zero value is an empty list.
type Health struct {
	mu     sync.Mutex
	names  []string                                   // guarded by mu; in the order of adding
	checks map[string]func(ctx context.Context) error // guarded by mu
}

// Add puts a check on the list; it has two seconds to answer each time.
func (h *Health) Add(name string, check func(ctx context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.checks == nil {
		h.checks = map[string]func(context.Context) error{}
	}
	if _, ok := h.checks[name]; !ok {
		h.names = append(h.names, name)
	}
	h.checks[name] = check
}

// Check asks everything at once and returns what each said: "ok" or its error.
func (h *Health) Check(ctx context.Context) (ready bool, answers map[string]string) {
	h.mu.Lock()
	checks := make(map[string]func(context.Context) error, len(h.names))
	for _, n := range h.names {
		checks[n] = h.checks[n]
	}
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	ready, answers = true, map[string]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, check := range checks {
		wg.Go(func() {
			err := check(ctx)
			mu.Lock()
			defer mu.Unlock()
			answers[name] = "ok"
			if err != nil {
				ready, answers[name] = false, err.Error()
			}
		})
	}
	wg.Wait()
	return ready, answers
}

// Server serves /metrics, /healthz (the process lives) and /readyz (it can do its work).
type Server struct {
	cfg    ServerConfig
	reg    *prometheus.Registry
	health *Health
	log    *slog.Logger
	ready  chan struct{}
	addr   string // written before ready closes
}

// NewServer is inert; Run serves.
func NewServer(cfg ServerConfig, reg *prometheus.Registry, health *Health, log *slog.Logger) *Server {
	return &Server{cfg: cfg, reg: reg, health: health, log: log, ready: make(chan struct{})}
}

// Ready closes when the server listens. It stays open when Run fails before that.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr waits for Ready and returns the address.
func (s *Server) Addr() string {
	<-s.ready
	return s.addr
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	ln, err := Listen(s.cfg.Listen, "--metrics-listen")
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	if tcp, ok := ln.Addr().(*net.TCPAddr); s.cfg.Pprof && ok && !tcp.IP.IsLoopback() {
		ln.Close()
		return fmt.Errorf("metrics on %s: --pprof shows the inside of the process and has no login; it needs a loopback address", s.cfg.Listen)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ready, answers := s.health.Check(r.Context())
		w.Header().Set("Content-Type", "application/json")
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"ready": ready, "checks": answers}); err != nil {
			s.log.Debug("readiness not sent", "error", err)
		}
	})
	if s.cfg.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	s.addr = ln.Addr().String()
	serve := func(srv *http.Server) error { return srv.Serve(ln) }
	scheme := "http://"
	if s.cfg.WebConfig != "" {
		if err := s.cfg.checkWeb(); err != nil {
			ln.Close()
			return err
		}
		// The toolkit reads the file anew for each connection, so that a new certificate needs no restart.
		serve = func(srv *http.Server) error {
			return web.Serve(ln, srv, &web.FlagConfig{WebConfigFile: &s.cfg.WebConfig}, s.log)
		}
		scheme = ""
	} else if tcp, ok := ln.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		s.log.Warn("metrics are open to the network without TLS and login; give --web-config-file", "address", s.addr)
	}
	close(s.ready)
	s.log.Info("metrics served", "address", scheme+s.addr+"/metrics")
	return serveUntil(ctx, ln, mux, serve)
}

// metrics is the page of the registry, and what is put around it.
func (s *Server) metrics() http.Handler {
	page := promhttp.HandlerFor(s.reg, promhttp.HandlerOpts{Registry: s.reg})
	if s.cfg.wrap == nil {
		return page
	}
	return s.cfg.wrap(page)
}

// ServeHTTP serves until ctx ends, then lets requests under way finish for five seconds.
func ServeHTTP(ctx context.Context, ln net.Listener, h http.Handler) error {
	return serveUntil(ctx, ln, h, func(srv *http.Server) error { return srv.Serve(ln) })
}

func serveUntil(ctx context.Context, ln net.Listener, h http.Handler, serve func(*http.Server) error) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- serve(srv) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		srv.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Listen opens a TCP address. A taken port is an error that names the flag to choose another with.
func Listen(address, flag string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address %q of %s is not host:port", address, flag)
	}
	ln, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("address %s is taken by another program; choose another with %s, or %s %s for any free port: %w", address, flag, flag, net.JoinHostPort(host, "0"), err)
	}
	return ln, err
}
