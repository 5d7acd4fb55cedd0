package kafka

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestWhatAPartitionWaitsForHasAReason(t *testing.T) {
	f := func(what string, err error, want string) {
		t.Helper()
		if got := reasonOf(what, err); got != want {
			t.Errorf("%s: %v waits for %s, want %s", what, err, got, want)
		}
	}
	code := func(n int32) error { return fmt.Errorf("insert: %w", &clickhouse.Exception{Code: n}) }
	f("rows", errors.New("connection refused"), "database_away")
	f("rows", code(242), "read_only")
	f("messages", code(164), "read_only")
	f("rows", code(243), "disk_full")
	f("rows", code(252), "too_many_parts")
	f("recall", code(241), "memory")
	f("rows", code(60), "database")
	f("refused", errors.New("kafka is away"), "broker")
}

func TestAPartitionWaitsForOneThingAtATime(t *testing.T) {
	s := newState(prometheus.NewRegistry())
	away, full := errors.New("no route"), &clickhouse.Exception{Code: 243, Message: "no room"}
	s.wait("t", 0, "rows", away)
	s.wait("t", 0, "rows", full)
	s.wait("t", 1, "rows", away)
	if a, f := testutil.ToFloat64(s.gauge.WithLabelValues("database_away")), testutil.ToFloat64(s.gauge.WithLabelValues("disk_full")); a != 1 || f != 1 {
		t.Errorf("%v wait for the database and %v for room, want one each", a, f)
	}
	if err := s.ready(); err == nil || !strings.Contains(err.Error(), "t partition 0 waits for 0s: disk_full") || !strings.Contains(err.Error(), "t partition 1 waits for 0s: database_away: no route") {
		t.Errorf("readiness says %v", err)
	}
	for p := range 5 {
		s.wait("t", p, "rows", away)
	}
	if err := s.ready(); !strings.HasSuffix(err.Error(), "and 2 more") {
		t.Errorf("readiness says %v", err)
	}
	for p := range 5 {
		s.resume("t", p)
		s.resume("t", p)
	}
	if a := testutil.ToFloat64(s.gauge.WithLabelValues("database_away")); a != 0 || s.ready() != nil {
		t.Errorf("%v wait at the end, %v", a, s.ready())
	}
}
