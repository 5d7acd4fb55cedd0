package kafka_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	embedded "github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/kafkaconn"
)

// broker is an embedded broker that keeps its address and its folder while it comes and goes.
type broker struct {
	t         testing.TB
	dir, addr string
	stop      func()
}

func newBroker(t testing.TB) *broker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return &broker{t: t, dir: t.TempDir(), addr: l.Addr().String()}
}

func (b *broker) start() {
	b.t.Helper()
	cfg := embedded.DefaultConfig()
	cfg.DataDir, cfg.Listen, cfg.Topics = b.dir, b.addr, nodeTopics
	e := embedded.New(cfg, quiet)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
	b.t.Cleanup(b.stop)
	select {
	case <-e.Ready():
	case err := <-done:
		b.t.Fatal(err)
	}
}

func (b *broker) conn() kafkaconn.Config {
	c := kafkaconn.DefaultConfig()
	c.Brokers, c.RequestTimeout = []string{b.addr}, 2*time.Second
	return c
}
