package kafkaconn_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	embedded "github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/kafkaconn"
)

// deleteBefore has the broker remove everything below offset in partition 0. kafka-go has no such
// request, so the bytes are written here: DeleteRecords, version 0.
func deleteBefore(t *testing.T, conn kafkaconn.Config, topic string, offset int64) {
	t.Helper()
	c, err := net.Dial("tcp", conn.Brokers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	str := func(b []byte, s string) []byte { return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...) }
	req := []byte{0, 21, 0, 0, 0, 0, 0, 7} // key 21, version 0, correlation 7
	req = str(req, "test")
	req = str(append(req, 0, 0, 0, 1), topic)
	req = append(req, 0, 0, 0, 1, 0, 0, 0, 0)
	req = binary.BigEndian.AppendUint64(req, uint64(offset))
	req = append(req, 0, 0, 0x10, 0)
	if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(req))), req...)); err != nil {
		t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		t.Fatal(err)
	}
	resp := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, resp); err != nil {
		t.Fatal(err)
	}
	if code := binary.BigEndian.Uint16(resp[len(resp)-2:]); code != 0 {
		t.Fatalf("delete records: %v", kafka.Error(code))
	}
}

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
