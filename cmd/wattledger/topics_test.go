package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
)

func TestTopicsShowsWhatIsWrongAndMakesWhatIsMissing(t *testing.T) {
	broker := kafkatest.Start(t, kafka.Topic{Name: "wl.inventory.v1", Partitions: 1, Replicas: 1})
	f := func(code int, want []string, args ...string) {
		t.Helper()
		got, out, errs := execute(t, append([]string{"topics", "--set", "kafka.brokers=[" + broker.Brokers[0] + "]", "--set", "ingest.topics.partitions=3"}, args...)...)
		if got != code {
			t.Fatalf("%v ended with %d, want %d: %s%s", args, got, code, out, errs)
		}
		for _, w := range want {
			if !strings.Contains(out+errs, w) {
				t.Errorf("%v does not say %q:\n%s%s", args, w, out, errs)
			}
		}
	}
	f(1, []string{"missing", "topic wl.sample.v1 does not exist", "topic wl.inventory.v1: cleanup.policy is delete", "kafka-configs.sh --alter --topic wl.inventory.v1"})
	f(1, []string{"wl.sample.v1", "delete (compact)", "topic wl.inventory.v1: cleanup.policy is delete"}, "--create")
	_, out, _ := execute(t, "topics", "--set", "kafka.brokers=["+broker.Brokers[0]+"]", "--set", "ingest.topics.partitions=4", "--json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var r topicsReport
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
		t.Fatal(err)
	}
	if r.Faults != 2 || len(r.Topics) != 6 || r.Topics[0].Partitions != 3 || r.Topics[0].Wanted.Partitions != 4 || len(r.Topics[0].Faults) != 1 {
		t.Errorf("%+v", r)
	}
}
