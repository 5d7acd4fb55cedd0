package kafka_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	election "github.com/wattledger/wattledger/aggregator/kafka"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/wire"
)

func quick() election.Config {
	return election.Config{Group: "closers", SessionTimeout: time.Second, HeartbeatInterval: 100 * time.Millisecond}
}

// Of several members one leads at a time; when it ends the next one does.
func TestOneLeadsAtATime(t *testing.T) {
	conn := kafkatest.Start(t, kafkaconn.Topic{Name: wire.TopicClosing, Partitions: 1})
	var leading, turns atomic.Int32
	member := func() (stop func(), led <-chan struct{}) {
		ctx, cancel := context.WithCancel(t.Context())
		began := make(chan struct{}, 100)
		lead := func(ctx context.Context, held func() error) error {
			if n := leading.Add(1); n != 1 {
				t.Errorf("%d lead at once", n)
			}
			defer leading.Add(-1)
			turns.Add(1)
			began <- struct{}{}
			for ctx.Err() == nil {
				if err := held(); err != nil && ctx.Err() == nil {
					return err
				}
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
			return nil
		}
		e, err := election.New(conn, quick(), lead, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("a clean stop ends with %v", err)
			}
		}, began
	}
	wait := func(what string, led <-chan struct{}) {
		t.Helper()
		select {
		case <-led:
		case <-time.After(30 * time.Second):
			t.Fatalf("%s does not lead", what)
		}
	}
	stopA, a := member()
	wait("the first", a)
	stopB, b := member()
	time.Sleep(time.Second) // whichever it is now, one does
	if leading.Load() > 1 {
		t.Error("two lead")
	}
	stopA()
	for len(b) == 0 && leading.Load() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	wait("the second", b)
	stopB()
}

// A leader that fails ends its process: it is not for the election to try again what cannot be mended.
func TestALeaderThatFailsEnds(t *testing.T) {
	conn := kafkatest.Start(t, kafkaconn.Topic{Name: wire.TopicClosing, Partitions: 1})
	e, err := election.New(conn, quick(), func(context.Context, func() error) error { return errors.New("no right to write") },
		slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no right to write") {
		t.Errorf("ended with %v", err)
	}
	if err := (election.Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "election") {
		t.Errorf("an empty configuration: %v", err)
	}
}
