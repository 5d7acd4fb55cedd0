package kafkatest

import (
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/wattledger/wattledger/internal/kafkaconn"
)

// DeleteBefore has a broker remove everything below offset in a partition, as its retention does. kafka-go has no such
// request, so the bytes are written here: DeleteRecords, version 0.
func DeleteBefore(t testing.TB, conn kafkaconn.Config, topic string, partition int, offset int64) {
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
	req = binary.BigEndian.AppendUint32(append(req, 0, 0, 0, 1), uint32(partition))
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
		t.Fatalf("delete records before %d of %s partition %d: Kafka's error code %d", offset, topic, partition, code)
	}
}
