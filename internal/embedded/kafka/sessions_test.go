package kafka_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
)

// A member killed while it waits to be let in must not keep partitions for ever.
func TestMemberKilledWhileJoiningLosesItsPartitions(t *testing.T) {
	const topic, group = "t.v1", "g"
	cfg := kafkatest.Start(t, kafka.Topic{Name: topic, Partitions: 4})
	gc := kafkaconn.DefaultGroupConfig()
	gc.Group, gc.Topics = group, []string{topic}
	gc.HeartbeatInterval, gc.SessionTimeout, gc.RebalanceTimeout = 100*time.Millisecond, 600*time.Millisecond, time.Second
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	consumer, err := kafkaconn.NewConsumer(cfg, gc, func(ctx context.Context, _ *kafkaconn.Claim) error {
		<-ctx.Done()
		return ctx.Err()
	}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- consumer.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	client := &kafkago.Client{Addr: kafkago.TCP(cfg.Brokers...)}
	// await waits for a stable group of n, and returns the partitions that one member of it holds.
	await := func(n int) int {
		t.Helper()
		for {
			said, err := client.DescribeGroups(ctx, &kafkago.DescribeGroupsRequest{GroupIDs: []string{group}})
			if err != nil {
				t.Fatalf("no stable group of %d: %v", n, err)
			}
			if g := said.Groups[0]; g.GroupState == "Stable" && len(g.Members) == n {
				held := 0
				for _, topic := range g.Members[0].MemberAssignments.Topics {
					held += len(topic.Partitions)
				}
				return held
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	if held := await(1); held != 4 {
		t.Fatalf("the only member holds %d of 4 partitions", held)
	}
	// Whether kfake forgets one depends on a race, one to one.
	for forgotten := 0; forgotten < 6; {
		if joinAndDie(t, cfg.Brokers[0], group, topic) {
			forgotten++
		}
		if held := await(1); held != 4 {
			t.Fatalf("after the other has died %d of 4 partitions are held", held)
		}
	}
}

// joinAndDie asks to join and is gone before the group has made room. It is false if the group was too quick: a member that
// had its answer is no case for us.
func joinAndDie(t *testing.T, broker, group, topic string) bool {
	t.Helper()
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Topics = []string{topic}
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", metadata.AppendTo(nil)
	join := kmsg.NewPtrJoinGroupRequest()
	join.SetVersion(1) // as kafka-go asks: let in at once, without a second request
	join.Group, join.ProtocolType, join.Protocols = group, "consumer", []kmsg.JoinGroupRequestProtocol{protocol}
	join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 600, 1000
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", broker)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, join, 1)); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Read(make([]byte, 4))
	return errors.Is(err, os.ErrDeadlineExceeded)
}
