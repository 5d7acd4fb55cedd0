package kafkaconn_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
)

// While nothing is committed, a consumer holds no more than it may, over all partitions; what is committed makes room, and at
// the end nothing is held.
func TestFetchesWaitWhileMemoryIsFull(t *testing.T) {
	conn := kafkatest.Start(t)
	if err := kafkaconn.EnsureTopics(t.Context(), conn, []kafkaconn.Topic{{Name: "t", Partitions: 4}}); err != nil {
		t.Fatal(err)
	}
	p, err := kafkaconn.NewProducer(conn, "t", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r := rand.NewChaCha8([32]byte{1})
	const messages, size = 200, 50_000 // 10 MB that do not compress
	for i := range messages {
		value := make([]byte, size)
		_, _ = r.Read(value) // does not fail
		if err := p.Publish(t.Context(), kafka.Message{Key: fmt.Append(nil, i), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	const limit = 2 << 20
	g, reg := group("g", "t"), prometheus.NewRegistry()
	g.FetchBytes, g.HoldBytes = 256<<10, limit
	gauge := func(name string) float64 {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == name {
				return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		t.Fatalf("no metric %s", name)
		return 0
	}
	s, commit := newStore(), make(chan struct{})
	stop := start(t, conn, g, reg, func(ctx context.Context, c *kafkaconn.Claim) error {
		for {
			msgs, err := c.Fetch(ctx, 20*time.Millisecond)
			if err != nil {
				return err
			}
			s.add("a", msgs)
			select {
			case <-commit:
				if c.Next() < 0 {
					continue // it has waited for room, and has nothing yet that could be committed
				}
				if err := c.Commit(c.Next()); err != nil {
					return err
				}
			default:
			}
		}
	})
	deadline := time.Now().Add(30 * time.Second)
	for gauge("wattledger_kafka_hold_waits_total") < 4 {
		if time.Now().After(deadline) {
			t.Fatal("not every partition waited for room")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if held := gauge("wattledger_kafka_held_bytes"); held > limit || held < limit/2 {
		t.Errorf("%v bytes are held, want at most %d and not far below", held, limit)
	}
	s.mu.Lock()
	if n := len(s.times) * size; n > limit {
		t.Errorf("%d bytes were handed out, want at most %d", n, limit)
	}
	s.mu.Unlock()
	close(commit)
	s.wait(t, "all messages", func() bool { return len(s.times) == messages })
	if err := stop(); err != nil && t.Context().Err() == nil {
		t.Log(err)
	}
	if held := gauge("wattledger_kafka_held_bytes"); held != 0 {
		t.Errorf("%v bytes are held after the end, want none", held)
	}
	if got, want := gauge("wattledger_kafka_held_limit_bytes"), float64(limit); got != want {
		t.Errorf("the limit is shown as %v, want %v", got, want)
	}
}
