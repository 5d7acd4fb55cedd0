// Package kafkatest gives a test a Kafka broker of its own.
//
// It is the embedded broker on a free port and a folder that goes with the test; what it
// promises and leaves out is what the embedded broker does.
package kafkatest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/kafkaconn"
)

// Start runs a broker with the topics until the test ends, and returns how to reach it.
func Start(t testing.TB, topics ...kafka.Topic) kafkaconn.Config {
	t.Helper()
	conn, _ := StartOn(t, t.TempDir(), topics...)
	return conn
}

// StartOn is Start on a data folder of the caller's, which may hold an earlier broker's messages.
// The broker stops when stop is called, or else when the test ends.
func StartOn(t testing.TB, dataDir string, topics ...kafka.Topic) (conn kafkaconn.Config, stop func()) {
	t.Helper()
	cfg := kafka.DefaultConfig()
	cfg.DataDir = dataDir
	cfg.Listen = "127.0.0.1:0"
	cfg.Topics = topics
	// Consumers of a test that die are noticed at once.
	cfg.MinSessionTimeout = 100 * time.Millisecond
	broker := kafka.New(cfg, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- broker.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("embedded kafka: %v", err)
		}
	}
	select {
	case <-broker.Ready():
	case err := <-done:
		cancel()
		t.Fatalf("embedded kafka did not start: %v", err)
	}
	t.Cleanup(stop)
	conn = kafkaconn.DefaultConfig()
	conn.Brokers = []string{broker.Addr()}
	return conn, stop
}
