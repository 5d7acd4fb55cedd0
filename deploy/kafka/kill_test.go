package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/wattledger/wattledger/ingest"
	"github.com/wattledger/wattledger/internal/kafkacluster"
	"github.com/wattledger/wattledger/internal/kafkacluster/clustertest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/wire"
)

// restart gives a broker four minutes to come back.
func restart(t *testing.T, b *kafkacluster.Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if err := b.Restart(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestTheOnlyBrokerIsKilledUnderLoad(t *testing.T) {
	t.Parallel() // it mostly waits
	cluster := clustertest.Start(t, kafkacluster.DefaultConfig())
	conn, cfg := cluster.Conn(""), config(1)
	create(t, cfg, conn)
	db, rows := database(t)
	in := startIngest(t, cfg, conn, db)
	nodes := []*node{startNode(t, "n1", conn, 50*time.Millisecond), startNode(t, "n2", conn, 50*time.Millisecond)}
	for range 2 {
		flows(t, rows, "rows flow before the kill")
		cluster.Broker(0).Kill()
		before := nodes[0].sum(t, "wattledger_collector_forward_retries_total")
		until(t, "the collector notices", func() bool { return nodes[0].sum(t, "wattledger_collector_forward_retries_total") > before })
		restart(t, cluster.Broker(0))
	}
	flows(t, rows, "rows flow after the last kill")
	unharmed(t, in)

	// A topic that grows while it is read and written: the new partition is read from its start.
	client := &kafka.Client{Addr: kafka.TCP(conn.Brokers...)}
	_, err := client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: wire.TopicSample, Count: 4}}})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the new partition is assigned", func() bool { return in.sum(t, "wattledger_kafka_assigned_partitions") == 4+3 })
	// Two nodes need not fall into the new partition; of so many one does.
	for _, name := range []string{"n3", "n4", "n5", "n6", "n7", "n8", "n9"} {
		nodes = append(nodes, startNode(t, name, conn, 50*time.Millisecond))
	}
	grown := func(is func(kafkaconn.PartitionLag) bool) func() bool {
		return func() bool {
			lag, err := kafkaconn.Lag(t.Context(), conn, cfg.Consumer.Group.Group, []string{wire.TopicSample})
			if err != nil && !kafkaconn.Temporary(err) {
				t.Fatal(err)
			}
			return err == nil && is(lag[3])
		}
	}
	until(t, "the new partition fills", grown(func(l kafkaconn.PartitionLag) bool { return l.End > 0 }))
	// A node that moves to another partition seems to have a gap there until the rest of it is read, which is counted: not asked here.
	settled(t, rows, nodes)
	until(t, "all is committed", grown(func(l kafkaconn.PartitionLag) bool { return l.Messages() == 0 }))
}

func TestOneOfThreeBrokersIsKilledUnderLoad(t *testing.T) {
	t.Parallel() // it mostly waits
	c := kafkacluster.DefaultConfig()
	c.Brokers = 3
	c.Properties = map[string]string{"broker.session.timeout.ms": "6000", "controller.quorum.fetch.timeout.ms": "3000"} // sooner than by default
	cluster := clustertest.Start(t, c)
	conn, cfg := cluster.Conn(""), config(3)
	create(t, cfg, conn) // which also checks: three copies, two of which have to acknowledge
	db, rows := database(t)
	first, second := startIngest(t, cfg, conn, db), startIngest(t, cfg, conn, db)
	nodes := []*node{startNode(t, "n1", conn, 50*time.Millisecond), startNode(t, "n2", conn, 50*time.Millisecond), startNode(t, "n3", conn, 50*time.Millisecond)}
	flows(t, rows, "rows flow before the kill")
	victim := cluster.Broker(coordinator(t, conn, cfg))
	victim.Kill()
	flows(t, rows, "rows flow with two of three")
	restart(t, victim)
	settled(t, rows, nodes)
	unharmed(t, first, second)
}

// coordinator is the broker that the ingesters depend on most: their group's.
func coordinator(t *testing.T, conn kafkaconn.Config, cfg ingest.Config) int {
	t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(conn.Brokers...)}
	resp, err := client.FindCoordinator(t.Context(), &kafka.FindCoordinatorRequest{Key: cfg.Consumer.Group.Group, KeyType: kafka.CoordinatorKeyTypeConsumer})
	if err != nil || resp.Error != nil {
		t.Fatal(err, resp)
	}
	return resp.Coordinator.NodeID - 1
}
