package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/internal/process"
)

// Broker is the embedded broker. New is inert, Run serves.
type Broker struct {
	cfg   Config
	log   *slog.Logger
	ready chan struct{}
	addr  string // written before ready closes
}

// New prepares a broker; nothing is opened before Run.
func New(cfg Config, log *slog.Logger) *Broker {
	return &Broker{cfg: cfg, log: log, ready: make(chan struct{})}
}

// Ready closes when the broker answers and its topics exist. It stays open when Run fails before that.
func (b *Broker) Ready() <-chan struct{} { return b.ready }

// Addr waits for Ready and returns the address the broker serves on.
func (b *Broker) Addr() string {
	<-b.ready
	return b.addr
}

// Run serves until ctx ends, then writes everything down and returns nil. It runs once.
func (b *Broker) Run(ctx context.Context) error {
	if err := b.cfg.Validate(); err != nil {
		return fmt.Errorf("embedded kafka: %w", err)
	}
	dir := filepath.Join(b.cfg.DataDir, "kafka")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("embedded kafka's data folder: %w", err)
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return fmt.Errorf("embedded kafka on %s: %w", dir, err)
	}
	defer unlock()

	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ListenFn(func(_, _ string) (net.Listener, error) { return process.Listen(b.cfg.Listen, "--kafka-listen") }),
		kfake.DataDir(filepath.Join(dir, "log")),
		kfake.ClusterID("wattledger-embedded"),
		kfake.GroupMinSessionTimeout(b.cfg.MinSessionTimeout),
		kfake.BrokerConfigs(map[string]string{
			"message.max.bytes": strconv.Itoa(MaxBatchBytes),
			// A group that sleeps over the holidays must find its offsets again.
			"offsets.retention.minutes": strconv.Itoa(10 * 365 * 24 * 60),
		}),
		kfake.WithLogger(logger{b.log}),
		option(b.cfg.SyncWrites, kfake.SyncWrites()),
	)
	if err != nil {
		return fmt.Errorf("embedded kafka: %w", err)
	}
	defer cluster.Close() // writes the state down; returns when all is on disk
	sessions := newSessions(b.log)
	sessions.listen(cluster)
	b.addr = cluster.ListenAddrs()[0]

	conn := kafkaconn.DefaultConfig()
	conn.Brokers = []string{b.addr}
	start, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := kafkaconn.EnsureTopics(start, conn, b.cfg.Topics); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("embedded kafka: %w", err)
	}
	endpoint := kafkaconn.EndpointFile(b.cfg.DataDir)
	if err := process.WriteFile(endpoint, []byte(b.addr+"\n"), 0o644); err != nil {
		return fmt.Errorf("embedded kafka's address: %w", err)
	}
	defer os.Remove(endpoint) // after a kill it stays behind, and the next start replaces it
	close(b.ready)
	b.log.Info("embedded kafka serves", "address", b.addr, "data", dir)
	sessions.watch(ctx, b.addr)
	return nil
}

// option leaves an option of kfake's out when it is not wanted.
func option(wanted bool, o kfake.Opt) kfake.Opt {
	if wanted {
		return o
	}
	return kfake.NumBrokers(1)
}

// lock takes the folder for this process; the kernel lets go of it when the process ends, however it ends.
func lock(file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		owner, _ := os.ReadFile(file)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("already in use by process %s: stop it, or choose another folder with --data", strings.TrimSpace(string(owner)))
		}
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintln(f, os.Getpid()) // for the message above only
	}
	return func() { f.Close() }, nil
}

// logger hands kfake's lines to slog.
type logger struct{ log *slog.Logger }

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	to := slog.LevelDebug // kfake's own info and debug lines speak of its inner life
	switch level {
	case kfake.LogLevelError:
		to = slog.LevelError
	case kfake.LogLevelWarn:
		to = slog.LevelWarn
	}
	if l.log.Enabled(context.Background(), to) {
		l.log.Log(context.Background(), to, "embedded kafka", "detail", fmt.Sprintf(format, args...))
	}
}
