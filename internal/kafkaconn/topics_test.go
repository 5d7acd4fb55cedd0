package kafkaconn_test

import (
	"strings"
	"testing"
	"time"

	embedded "github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
)

func TestTopicsAreComparedWithWhatIsWanted(t *testing.T) {
	conn := kafkatest.Start(t,
		embedded.Topic{Name: "plain.v1", Partitions: 2, Replicas: 1},
		embedded.Topic{Name: "kept.v1", Partitions: 1, Replicas: 1, Retention: kafkaconn.Forever, MaxMessageBytes: 2_000_000},
		embedded.Topic{Name: "compact.v1", Partitions: 1, Replicas: 1, Compact: true},
	)
	f := func(want kafkaconn.Topic, faults ...string) {
		t.Helper()
		err := kafkaconn.CheckTopics(t.Context(), conn, []kafkaconn.Topic{want})
		var lines []string
		if err != nil {
			lines = strings.Split(err.Error(), "\n")
		}
		if len(lines) != len(faults) {
			t.Fatalf("%+v: got %q, want %q", want, lines, faults)
		}
		for i, fault := range faults {
			if !strings.HasPrefix(lines[i], "topic "+want.Name) || !strings.Contains(lines[i], fault) {
				t.Errorf("%+v: got %q, want %q", want, lines[i], fault)
			}
		}
	}
	week, month := 7*24*time.Hour, 30*24*time.Hour
	f(kafkaconn.Topic{Name: "plain.v1", Partitions: 2, Replicas: 1, Retention: week, MaxMessageBytes: 1_048_588})
	f(kafkaconn.Topic{Name: "plain.v1"})
	f(kafkaconn.Topic{Name: "absent.v1"}, "does not exist: `wattledger topics --create` makes it")
	f(kafkaconn.Topic{Name: "plain.v1", Partitions: 4, Replicas: 3},
		"2 partitions, 4 are wanted: kafka-topics.sh --alter --topic plain.v1 --partitions 4", "1 replicas, 3 are wanted")
	f(kafkaconn.Topic{Name: "plain.v1", Retention: month, MaxMessageBytes: 5_000_000},
		"max.message.bytes is 1048588, messages have up to 5000000: kafka-configs.sh --alter --topic plain.v1 --add-config max.message.bytes=5000000",
		"retention.ms is 168h0m0s, 720h0m0s is wanted: kafka-configs.sh --alter --topic plain.v1 --add-config retention.ms=2592000000")
	f(kafkaconn.Topic{Name: "plain.v1", Retention: kafkaconn.Forever}, "no limit is wanted: kafka-configs.sh --alter --topic plain.v1 --add-config retention.ms=-1")
	f(kafkaconn.Topic{Name: "plain.v1", Compact: true}, "cleanup.policy is delete, the last message of each key has to stay")
	f(kafkaconn.Topic{Name: "kept.v1", Retention: month, MaxMessageBytes: 2_000_000})
	f(kafkaconn.Topic{Name: "kept.v1", Retention: kafkaconn.Forever})
	f(kafkaconn.Topic{Name: "compact.v1", Compact: true})
	f(kafkaconn.Topic{Name: "compact.v1", Retention: week}, "cleanup.policy is compact, which takes messages of the same key before their time")
}

// What no single broker can be made to say.
func TestATopicWithManyReplicasIsHeldByTwoAtLeast(t *testing.T) {
	want := kafkaconn.Topic{Name: "t.v1", Partitions: 1, Replicas: 3, Retention: time.Hour}
	is := kafkaconn.TopicState{Name: "t.v1", Exists: true, Partitions: 1, Replicas: 3, MinInSync: 2, Cleanup: "delete", RetentionMs: 3_600_000, RetentionBytes: -1}
	f := func(change func(*kafkaconn.TopicState), fault string) {
		t.Helper()
		s := is
		change(&s)
		faults := want.Compare(s)
		if fault == "" && len(faults) > 0 || fault != "" && (len(faults) != 1 || !strings.Contains(faults[0].Error(), fault)) {
			t.Errorf("%+v: got %v, want %q", s, faults, fault)
		}
	}
	f(func(*kafkaconn.TopicState) {}, "")
	f(func(s *kafkaconn.TopicState) { s.MinInSync = 1 }, "min.insync.replicas is 1 with 3 replicas")
	f(func(s *kafkaconn.TopicState) { s.Replicas = 2 }, "2 replicas, 3 are wanted")
	f(func(s *kafkaconn.TopicState) { s.RetentionBytes = 1 << 30 }, "retention.bytes is 1073741824")
}
