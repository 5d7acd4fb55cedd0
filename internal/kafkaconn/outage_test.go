package kafkaconn_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	embedded "github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
)

func TestBrokerRestartIsWaitedOut(t *testing.T) {
	dir := t.TempDir()
	topic := embedded.Topic{Name: "t.v1", Partitions: 2}
	conn, stopBroker := kafkatest.StartOn(t, dir, topic)
	s := newStore()
	stop := start(t, conn, group("g", "t.v1"), nil, s.storing("a"))
	publish(t, conn, "t.v1", 0, 20)
	s.wait(t, "the first messages", func() bool { return len(s.times) == 20 })
	stopBroker()
	restarted := restartOn(t, dir, conn.Brokers[0])
	publish(t, restarted, "t.v1", 20, 20)
	s.wait(t, "the messages after the restart", func() bool { return len(s.times) == 40 })
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestCommitToADeadBrokerIsNoFault(t *testing.T) {
	dir := t.TempDir()
	conn, stopBroker := kafkatest.StartOn(t, dir, embedded.Topic{Name: "t.v1", Partitions: 1})
	publish(t, conn, "t.v1", 0, 10)
	s := newStore()
	holding, dead := make(chan struct{}), make(chan struct{})
	first := true // used by one handler at a time
	stop := start(t, conn, group("g", "t.v1"), nil, func(ctx context.Context, c *kafkaconn.Claim) error {
		if !first {
			return s.storing("again")(ctx, c)
		}
		first = false
		if _, err := c.Fetch(ctx, time.Minute); err != nil {
			return err
		}
		close(holding)
		<-dead
		err := c.Commit(c.Next())
		if !errors.Is(err, kafkaconn.ErrFenced) {
			return fmt.Errorf("the commit said %w", err)
		}
		return err
	})
	<-holding
	stopBroker()
	close(dead)
	restartOn(t, dir, conn.Brokers[0])
	s.wait(t, "the second delivery", func() bool { return len(s.times) == 10 })
	if err := stop(); err != nil {
		t.Error(err)
	}
}
