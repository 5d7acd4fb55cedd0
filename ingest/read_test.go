package ingest_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/wattledger/wattledger/internal/kafkaconn"
)

// readAll reads n messages of a topic from its start.
func readAll(t *testing.T, conn kafkaconn.Config, topic string, n int) [][]byte {
	t.Helper()
	cfg := kafkaconn.DefaultGroupConfig()
	cfg.Group, cfg.Topics, cfg.FetchWait = "reader of "+topic, []string{topic}, 20*time.Millisecond
	var mu sync.Mutex
	var out [][]byte
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := kafkaconn.NewConsumer(conn, cfg, func(ctx context.Context, claim *kafkaconn.Claim) error {
		for {
			msgs, err := claim.Fetch(ctx, time.Second)
			if err != nil {
				return err
			}
			mu.Lock()
			for _, m := range msgs {
				out = append(out, m.Value)
			}
			mu.Unlock()
		}
	}, quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	until(t, "reading "+topic, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(out) >= n
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return out
}
