package ingest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/ingest"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
)

func TestTopicsAreCheckedOrMadeBeforeTheStart(t *testing.T) {
	conn := kafkatest.Start(t)
	cfg := ingest.DefaultConfig()
	f := func(atStart string, partitions int, faults ...string) {
		t.Helper()
		cfg.Topics.AtStart, cfg.Topics.Partitions = atStart, partitions
		err := ingest.ReadyTopics(t.Context(), cfg, conn, quiet, nil)
		if (err == nil) != (len(faults) == 0) {
			t.Fatalf("%s with %d partitions: %v, want %q", atStart, partitions, err, faults)
		}
		for _, fault := range faults {
			if !strings.Contains(err.Error(), fault) {
				t.Errorf("%s with %d partitions: %v, want %q", atStart, partitions, err, fault)
			}
		}
	}
	f(ingest.TopicsOff, 3)
	f(ingest.TopicsCheck, 3, "topic wl.sample.v1 does not exist", "topic wl.refused.v1 does not exist", "at_start: off passes over it")
	f(ingest.TopicsCreate, 3)
	f(ingest.TopicsCheck, 3)
	f(ingest.TopicsCheck, 2)                                                    // more than wanted is no fault
	f(ingest.TopicsCreate, 4, "topic wl.sample.v1: 3 partitions, 4 are wanted") // what is there is not changed
	states, err := kafkaconn.DescribeTopics(t.Context(), conn, ingest.Topics())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		want := "delete"
		if s.Name == "wl.inventory.v1" {
			want = "compact"
		}
		if s.Cleanup != want || (s.Name == "wl.refused.v1") != (s.RetentionMs == -1) {
			t.Errorf("%+v", s)
		}
	}
}

func TestTopicsWaitForAClusterThatIsAway(t *testing.T) {
	t.Parallel()
	conn, stop := kafkatest.StartOn(t, t.TempDir())
	stop()
	conn.DialTimeout, conn.RequestTimeout = 100*time.Millisecond, 100*time.Millisecond
	reg := prometheus.NewRegistry()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ingest.ReadyTopics(ctx, ingest.DefaultConfig(), conn, quiet, reg) }()
	r := &running{reg: reg}
	until(t, "trying again", func() bool { return r.counter(t, "wattledger_ingest_topic_retries_total") > 1 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
