// Command chhost runs the embedded engine for tests, and nothing else: package chtest builds and starts it.
// It ends when its standard input does, so that it never outlives the test that started it. It is not installed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/internal/embedded/clickhouse"
)

func main() {
	cfg := clickhouse.DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	flag.StringVar(&cfg.Data, "data", "", "data directory")
	flag.StringVar(&cfg.Listen, "listen", cfg.Listen, "loopback address")
	flag.Int64Var(&cfg.MaxQueryMemory, "max-query-memory", cfg.MaxQueryMemory, "bytes one query may take")
	flag.Int64Var(&cfg.MaxInsert, "max-insert", cfg.MaxInsert, "bytes of insert data in flight")
	ephemeral := flag.Bool("ephemeral", false, "remove the data directory at the end")
	flag.Parse()
	err := run(cfg)
	if *ephemeral {
		err = errors.Join(err, os.RemoveAll(cfg.Data))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chhost:", err)
		os.Exit(1)
	}
}

func run(cfg clickhouse.Config) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		// Ends with the process at the latest: nothing else reads standard input.
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	host := clickhouse.New(cfg, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), prometheus.NewRegistry())
	done := make(chan error, 1)
	go func() { done <- host.Run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-host.Ready():
		fmt.Println(host.Addr()) // chtest waits for this line
	}
	return <-done
}
