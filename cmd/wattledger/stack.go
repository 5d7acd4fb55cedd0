package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/wattledger/wattledger/aggregator/clickhouse"
	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/aggregator/keyring"
	ingestclickhouse "github.com/wattledger/wattledger/ingest/clickhouse"
	"github.com/wattledger/wattledger/ingest/rollup"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// listens are the flags of commands that run the embedded services themselves.
type listens struct {
	ClickHouse string `name:"clickhouse-listen" help:"Loopback address of the embedded ClickHouse; port 0 takes a free one." default:"127.0.0.1:8123" placeholder:"HOST:PORT"`
	Kafka      string `name:"kafka-listen" help:"Loopback address of the embedded Kafka; port 0 takes a free one." default:"127.0.0.1:9092" placeholder:"HOST:PORT"`
}

// stack is the whole pipeline on one machine: the broker in this process, engine and ingest as processes of their own, so
// that they can be killed, and the closer.
type stack struct {
	cfg   config
	keys  keyring.Keys
	store *clickhouse.Store
	audit *clickhouse.Audit
	// closed receives every seal as it is written.
	closed chan record.Seal
	// caughtUp is set when every hour that was played is closed: the next one is an hour away, or never comes.
	caughtUp atomic.Bool
}

// withStack starts the pipeline on a data folder, calls use, and stops everything in the reverse order of the data's way.
func withStack(ctx context.Context, env *process.Env, data string, l listens, use func(context.Context, *stack) error) error {
	if err := os.MkdirAll(data, 0o750); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	cfg := defaultConfig(data)
	if err := env.Load(&cfg); err != nil {
		return err
	}
	keys, _, err := keyring.Open(cfg.Ledger, data)
	if err != nil {
		return err
	}
	// A restarted engine has to come back where its clients look for it, so port 0 is resolved once.
	if cfg.Embedded.ClickHouse.Listen, err = concrete(l.ClickHouse, "--clickhouse-listen"); err != nil {
		return err
	}
	cfg.Embedded.Kafka.Listen = l.Kafka
	broker := kafka.New(cfg.Embedded.Kafka, env.Log)
	logs, err := childLog(data)
	if err != nil {
		return err
	}
	defer logs.Close()
	engine, err := child(env, data, logs, "clickhouse", "embedded", "clickhouse", "--data", data, "--clickhouse-listen", cfg.Embedded.ClickHouse.Listen, "--metrics-listen", "off")
	if err != nil {
		return err
	}
	ingest, err := child(env, data, logs, "ingest", "ingest", "--embedded", "--data", data, "--metrics-listen", "127.0.0.1:0",
		// Large batches: a day arrives in seconds, and nobody waits for the last of it.
		"--set", "ingest.batch.batch_age=2s", "--set", "ingest.consumer.group.session_timeout=3s", "--set", "ingest.consumer.grace=2s",
		// They are built here, see rollups: a day that arrives in seconds is best built at once.
		"--set", "ingest.rollup.enabled=false")
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(data, "clickhouse", "endpoint")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the last run's endpoint: %w", err)
	}
	var result error // of the work
	// The services outlive the work: whoever is told to stop still hands over what it has.
	services, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	err = process.Run(services, broker.Run, engine.Run, func(services context.Context) error {
		defer stop() // when the work is done the services end
		work, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(services, cancel)() // and the work ends with a service that fails
		select {
		case <-broker.Ready():
		case <-work.Done():
			return nil
		}
		s := &stack{cfg: cfg, keys: keys, closed: make(chan record.Seal, 10_000)}
		db, err := s.connect(work, data)
		if err != nil {
			return err
		}
		defer db.Close()
		carrying, enough := context.WithCancel(services)
		defer enough()
		return process.Run(carrying, ingest.Run, s.closer(env), func(carrying context.Context) error {
			defer enough()
			defer context.AfterFunc(carrying, cancel)()
			result = use(work, s)
			return result
		})
	})
	if err == nil {
		return result // being told to stop ends the services without fault; the work says whether it was done
	}
	return err
}

// connect waits for the engine, brings its schema up to date and opens the store.
func (s *stack) connect(ctx context.Context, data string) (io.Closer, error) {
	err := waitFor(ctx, time.Minute, func() (err error) {
		if s.cfg.ClickHouse, err = chconn.EmbeddedConfig(data); err != nil {
			return err
		}
		s.cfg.Kafka, err = kafkaconn.EmbeddedConfig(data)
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, err := migrate(ctx, s.cfg, false); err != nil {
		return nil, err
	}
	db, err := chconn.Open(ctx, s.cfg.ClickHouse)
	if err != nil {
		return nil, err
	}
	s.audit = clickhouse.NewAudit(db)
	if s.store, err = clickhouse.New(db); err != nil {
		return db, err
	}
	s.store.UseLimits(s.cfg.Closing)
	s.store.UseChains(s.cfg.Carbon.Chains)
	return db, s.cfg.Closing.Validate()
}

// closer closes hours and tells about it.
func (s *stack) closer(env *process.Env) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := closer.New(s.cfg.Closer, s.keys.Secret, s.store, env.Log, env.Metrics)
		if err != nil {
			return err
		}
		logbook, err := s.keys.Log(s.store, env.Log, env.Metrics)
		if err != nil {
			return err
		}
		c.Publish, c.Tenants = logbook.Update, s.store.Tenants
		// To look whether an hour can be closed takes the engine half a tenth of a second, which rollups and reports have a better use for.
		c.Pause = func() time.Duration {
			if s.caughtUp.Load() {
				return freshness
			}
			return 100 * time.Millisecond
		}
		c.OnClose = func(seal record.Seal) {
			select {
			case s.closed <- seal:
			default: // nobody counts any more
			}
		}
		own := s.cfg
		own.Election.SessionTimeout, own.Election.HeartbeatInterval = 3*time.Second, 500*time.Millisecond // a demo that was killed starts anew at once
		run, err := elected(own, c, env)
		if err != nil {
			return err
		}
		return run(ctx)
	}
}

// rollups brings rollups and sums up to date, and then keeps them so: each time that the function it answers is called.
func (s *stack) rollups(ctx context.Context, env *process.Env, stage *progress.Stage) (keep func(context.Context) error, err error) {
	cfg := rollup.DefaultConfig()
	cfg.Every, cfg.EveryHour = freshness, 6*freshness
	roller, err := rollup.New(cfg, ingestclickhouse.NewRollups(ingestclickhouse.New(func() (chconn.Config, error) { return s.cfg.ClickHouse, nil }, 1, nil)), env.Log, env.Metrics)
	if err != nil {
		return nil, err
	}
	pass := func() error { return roller.Pass(ctx, unit.MicrosOf(time.Now())) }
	if err := waitFor(ctx, time.Minute, pass); err != nil { // an engine that died comes back
		stage.Fail()
		return nil, err
	}
	stage.Done()
	return func(ctx context.Context) error {
		tick := time.NewTicker(freshness)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case now := <-tick.C:
				_ = roller.Pass(ctx, unit.MicrosOf(now)) // logged and counted there; the next one goes on
			}
		}
	}, nil
}

// freshness is how far rollups of a live demo are behind, but for those of hours.
const freshness = 5 * time.Second

// child is a subcommand of ours as a process that is kept running.
func child(env *process.Env, data string, logs io.Writer, name string, args ...string) (*process.Child, error) {
	cfg := process.DefaultChildConfig(name, append(args, "--log-level", env.Flags.LogLevel, "--log-format", env.Flags.LogFormat)...)
	cfg.DataDir, cfg.Stderr = data, logs
	return process.NewChild(cfg, env.Log, env.Metrics)
}

// childLog is the file that takes what the services log, so that the terminal stays with the demo.
func childLog(data string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(data, "services.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("log of the services: %w", err)
	}
	return f, nil
}

// concrete turns port 0 into a free port.
func concrete(address, flag string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", process.Usagef("%s %q is not host:port", flag, address)
	}
	if port != "0" {
		return address, nil
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", fmt.Errorf("%s: find a free port: %w", flag, err)
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// awaitClosed waits until every hour of [from, to) is closed at so many sites.
func (s *stack) awaitClosed(ctx context.Context, from, to unit.Micros, sites int64, stage *progress.Stage) error {
	want := int64((to-from)/unit.Hour) * sites
	for {
		n, err := s.store.ClosedHours(ctx, from, to)
		if err == nil {
			stage.Set(n)
			if n >= want {
				s.caughtUp.Store(true)
				stage.Done()
				return nil
			}
		}
		select {
		case <-ctx.Done():
			stage.Fail()
			return ctx.Err()
		case <-s.closed:
		case <-time.After(200 * time.Millisecond):
		}
	}
}
