package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ChildConfig is a process that we start and keep running.
type ChildConfig struct {
	// Name names the child in logs, metrics and its pid file.
	Name string
	// Args are the arguments of the subcommand.
	Args []string
	// Program is the executable; empty means our own.
	Program string
	// Env is added to our own environment.
	Env []string
	// DataDir is where run/NAME.pid is written; empty writes none.
	DataDir string
	// Stderr takes what the child logs; nil is our standard error. Its standard output goes there too.
	Stderr io.Writer
	// Grace is how long the child may take to stop after SIGTERM.
	Grace time.Duration
	// Backoff is the pause before the first restart; it doubles up to MaxBackoff.
	Backoff, MaxBackoff time.Duration
	// Stable is how long a child has to live to count as started: the backoff begins anew.
	Stable time.Duration
	// Attempts is how many deaths in a row before Stable end the supervision.
	Attempts int
}

// DefaultChildConfig restarts after 200 ms to 10 s and gives up after five deaths at the start.
func DefaultChildConfig(name string, args ...string) ChildConfig {
	return ChildConfig{
		Name: name, Args: args,
		Grace: 15 * time.Second, Backoff: 200 * time.Millisecond, MaxBackoff: 10 * time.Second, Stable: 5 * time.Second, Attempts: 5,
	}
}

// Child keeps a subcommand of our own executable running as a process of its own. It is started again
// when it dies, stopped with us, and taken down by the kernel if we are killed (Linux only).
type Child struct {
	cfg      ChildConfig
	log      *slog.Logger
	restarts prometheus.Counter
	up       prometheus.Gauge
}

// NewChild is inert; Run starts the process.
func NewChild(cfg ChildConfig, log *slog.Logger, reg prometheus.Registerer) (*Child, error) {
	c := &Child{cfg: cfg, log: log}
	label := prometheus.Labels{"child": cfg.Name}
	c.restarts = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "wattledger_child_restarts_total", Help: "Times a child process died unasked and was started again.", ConstLabels: label,
	})
	c.up = prometheus.NewGauge(prometheus.GaugeOpts{Name: "wattledger_child_up", Help: "Whether the child process runs.", ConstLabels: label})
	for _, m := range []prometheus.Collector{c.restarts, c.up} {
		if err := reg.Register(m); err != nil {
			return nil, fmt.Errorf("child %s: %w", cfg.Name, err)
		}
	}
	return c, nil
}

// PIDFile is where the pid of a running child is found.
func PIDFile(dataDir, name string) string { return filepath.Join(dataDir, "run", name+".pid") }

// Run keeps the child running until ctx ends, and returns after it has stopped. It gives up with an error
// when the child dies too often before it is stable, or at once when it says that its usage is wrong.
func (c *Child) Run(ctx context.Context) error {
	wait := c.cfg.Backoff
	for deaths := 0; ctx.Err() == nil; {
		began := time.Now()
		last, err := c.once(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it ended because we were told to stop
		}
		if time.Since(began) >= c.cfg.Stable {
			deaths, wait = 0, c.cfg.Backoff
		}
		deaths++
		var exit *exec.ExitError
		switch {
		case err == nil:
			err = errors.New("it ended by itself")
		case !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay):
			return fmt.Errorf("child %s: %w", c.cfg.Name, err) // it never ran
		case exit != nil && exit.ExitCode() == ExitUsage:
			return fmt.Errorf("child %s: wrong usage: %s", c.cfg.Name, last)
		}
		if deaths >= c.cfg.Attempts {
			return fmt.Errorf("child %s died %d times in a row, the last time with %w: %s", c.cfg.Name, deaths, err, last)
		}
		c.restarts.Inc()
		c.log.Warn("child died, starting it again", "child", c.cfg.Name, "error", err, "said", last, "wait", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		wait = min(2*wait, c.cfg.MaxBackoff)
	}
	return nil
}

// once runs the child to its end. The kernel sends the parent-death signal when the *thread* that started
// the child ends, so this goroutine stays on its thread, and keeps it, until the child is gone.
func (c *Child) once(ctx context.Context) (lastLine string, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	program := c.cfg.Program
	if program == "" {
		if program, err = os.Executable(); err != nil {
			return "", fmt.Errorf("find our own executable: %w", err)
		}
	}
	out := &lastLines{w: c.cfg.Stderr}
	if out.w == nil {
		out.w = os.Stderr
	}
	cmd := exec.CommandContext(ctx, program, c.cfg.Args...)
	cmd.Env = append(os.Environ(), c.cfg.Env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = childAttributes()
	// SIGTERM first; after the grace time WaitDelay kills, by the handle of this very process.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = c.cfg.Grace
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start %s: %w", program, err)
	}
	c.up.Set(1)
	defer c.up.Set(0)
	if c.cfg.DataDir != "" {
		file := PIDFile(c.cfg.DataDir, c.cfg.Name)
		if err := WriteFile(file, []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o644); err != nil {
			c.log.Warn("pid file not written", "child", c.cfg.Name, "error", err)
		}
		defer os.Remove(file)
	}
	c.log.Info("child started", "child", c.cfg.Name, "pid", cmd.Process.Pid)
	err = cmd.Wait()
	return out.last(), err
}

// lastLines passes everything on and remembers the last full line, which is where a dying process says why.
type lastLines struct {
	mu   sync.Mutex
	w    io.Writer
	part []byte // guarded by mu; the line being written
	line []byte // guarded by mu; the last one that was full
}

func (l *lastLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := p; ; {
		line, after, full := bytes.Cut(rest, []byte("\n"))
		l.part = append(l.part, line[:min(len(line), 4096-min(4096, len(l.part)))]...)
		if !full {
			break
		}
		if len(bytes.TrimSpace(l.part)) > 0 {
			l.line = append(l.line[:0], l.part...)
		}
		l.part = l.part[:0]
		rest = after
	}
	return l.w.Write(p)
}

func (l *lastLines) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(bytes.TrimSpace(l.part)) > 0 {
		return string(bytes.TrimSpace(l.part))
	}
	return string(bytes.TrimSpace(l.line))
}
