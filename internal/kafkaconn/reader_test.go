package kafkaconn_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"

	embedded "github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
)

func TestAReaderReadsWhatIsThereAndNoMore(t *testing.T) {
	conn := kafkatest.Start(t, embedded.Topic{Name: "t", Partitions: 2}, embedded.Topic{Name: "empty", Partitions: 1})
	p, err := kafkaconn.NewProducer(conn, "t", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r := kafkaconn.NewReader(conn)
	send := func(from, to int) {
		t.Helper()
		var msgs []kafka.Message
		for i := from; i < to; i++ {
			msgs = append(msgs, kafka.Message{Key: fmt.Append(nil, i%7), Value: fmt.Append(nil, i)})
		}
		if err := p.Publish(t.Context(), msgs...); err != nil {
			t.Fatal(err)
		}
	}
	spans := func(topic string) []kafkaconn.Span {
		t.Helper()
		all, err := r.Spans(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	send(0, 500)
	before := spans("t")
	send(500, 600)
	seen := map[string]int{}
	for _, s := range before {
		next := s.First
		err := r.Read(t.Context(), "t", s, func(m kafka.Message) error {
			if m.Partition != s.Partition || m.Offset != next {
				t.Errorf("partition %d offset %d, want %d and %d", m.Partition, m.Offset, s.Partition, next)
			}
			next++
			seen[string(m.Value)]++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 500 || seen["0"] != 1 || seen["499"] != 1 || seen["500"] != 0 {
		t.Errorf("%d messages read, want the 500 that were there", len(seen))
	}
	if s := spans("empty"); !slices.Equal(s, []kafkaconn.Span{{}}) {
		t.Errorf("an empty topic holds %v", s)
	}
	enough := errors.New("enough")
	if err := r.Read(t.Context(), "t", before[0], func(kafka.Message) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("the caller's error comes back as %v", err)
	}

	// What is removed is passed over, and said not to be held where it is asked for by itself.
	at := before[0].Partition
	if m, err := r.At(t.Context(), "t", at, 5); err != nil || m.Offset != 5 {
		t.Errorf("offset 5 is %d, %v", m.Offset, err)
	}
	if at != 0 {
		t.Fatal("DeleteBefore empties partition 0")
	}
	kafkatest.DeleteBefore(t, conn, "t", 0, 20)
	if _, err := r.At(t.Context(), "t", 0, 5); !errors.Is(err, kafkaconn.ErrNotHeld) || !strings.Contains(err.Error(), "from 20 to below") {
		t.Errorf("a message that was removed: %v", err)
	}
	var first int64 = -1
	err = r.Read(t.Context(), "t", before[0], func(m kafka.Message) error {
		if first < 0 {
			first = m.Offset
		}
		return nil
	})
	if err != nil || first != 20 {
		t.Errorf("reading over what was removed begins at %d, %v", first, err)
	}
	if _, err := r.At(t.Context(), "t", 9, 0); !errors.Is(err, kafkaconn.ErrNotHeld) {
		t.Errorf("a partition that is not there: %v", err)
	}
	if _, err := r.Spans(t.Context(), "absent"); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("a topic that is not there: %v", err)
	}
}
