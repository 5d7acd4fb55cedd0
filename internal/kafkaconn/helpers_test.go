package kafkaconn_test

import (
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	embedded "github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/kafkaconn"
)

func deleteAndRecreate(t *testing.T, conn kafkaconn.Config, topic string) (int64, error) {
	t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(conn.Brokers...)}
	if _, err := client.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{topic}}); err != nil {
		return 0, err
	}
	if err := kafkaconn.EnsureTopics(t.Context(), conn, []kafkaconn.Topic{{Name: topic, Partitions: 1}}); err != nil {
		return 0, err
	}
	lag, err := kafkaconn.Lag(t.Context(), conn, "nobody", []string{topic})
	if err != nil {
		return 0, err
	}
	return lag[0].End, nil
}

// restartOn serves the folder again on the address clients know.
func restartOn(t *testing.T, dir, addr string) kafkaconn.Config {
	t.Helper()
	cfg := embedded.DefaultConfig()
	cfg.DataDir, cfg.Listen, cfg.MinSessionTimeout = dir, addr, 100*time.Millisecond
	b := embedded.New(cfg, quiet)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-b.Ready():
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	conn := kafkaconn.DefaultConfig()
	conn.Brokers = []string{b.Addr()}
	return conn
}
