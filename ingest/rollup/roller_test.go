package rollup_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/ingest/rollup"
	"github.com/wattledger/wattledger/schemas/unit"
)

// steps is a store with one partition that notes what is asked of it, in order.
type steps struct {
	last     int64 // offset stored
	progress map[int]rollup.Progress
	did      []string
	later    []rollup.Touched // what follows
	fail     error
}

func (s *steps) Progress(_ context.Context, level int) (rollup.Progress, error) {
	return s.progress[level], nil
}

func (s *steps) Touched(_ context.Context, from rollup.Progress, within *rollup.Progress) ([]rollup.Touched, map[int32]rollup.Cursor, error) {
	to := s.last
	if within != nil {
		to = min(to, within.Cursors[0].Offset)
	}
	if from.Cursors[0].Offset >= to {
		return nil, nil, nil
	}
	return []rollup.Touched{{Site: "s", Node: "n", First: 0, Last: 1}}, map[int32]rollup.Cursor{0: {Offset: to, Received: 7 * unit.Second}}, nil
}

func (s *steps) Following(_ context.Context, level int, of []rollup.Window) ([]rollup.Touched, error) {
	s.did = append(s.did, fmt.Sprintf("after %s %d", rollup.Levels[level].Name, of[0].To/unit.Second))
	return s.later, nil
}

func (s *steps) Build(_ context.Context, level int, _ rollup.Window) error {
	s.did = append(s.did, "build "+rollup.Levels[level].Name)
	return s.fail
}

func (s *steps) Advance(_ context.Context, level int, cursors map[int32]rollup.Cursor, at unit.Micros) error {
	s.did = append(s.did, "note "+rollup.Levels[level].Name)
	s.progress[level] = rollup.Progress{Cursors: cursors, At: at}
	return nil
}

func TestPass(t *testing.T) {
	s := &steps{progress: map[int]rollup.Progress{}}
	reg := prometheus.NewRegistry()
	r, err := rollup.New(rollup.DefaultConfig(), s, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	f := func(last int64, now unit.Micros, want ...string) {
		t.Helper()
		s.last, s.did = last, nil
		err := r.Pass(t.Context(), now)
		if !errors.Is(err, s.fail) || !reflect.DeepEqual(s.did, want) {
			t.Errorf("pass at %d: did %q, %v; want %q, %v", now, s.did, err, want, s.fail)
		}
	}
	m := 60 * unit.Second
	minutes := []string{"build 10s", "note 10s", "build 1m", "note 1m"} // rows first, each level after the one below
	sums := []string{"after node_10s 10", "build node_10s", "note node_10s", "after node_1m 60", "build node_1m", "note node_1m"}
	hours, hourSums := []string{"build 1h", "note 1h"}, []string{"after node_1h 3600", "build node_1h", "note node_1h"}
	all := slices.Concat(minutes, hours, sums, hourSums)
	f(0, 100*m)                                  // nothing came
	f(5, 100*m, all...)                          // sums last
	f(5, 101*m)                                  // nothing new
	f(6, 101*m, slices.Concat(minutes, sums)...) // hours have time
	f(7, 110*m, all...)                          // all that came since
	f(8, 3*m, all...)                            // a clock that was set back stops nothing
	s.fail = errors.New("the database is away")
	f(9, 120*m, "build 10s") // not noted
	s.fail = nil
	f(9, 121*m, all...) // and made good
	// What follows is built with what was touched, and not looked at further.
	s.later = []rollup.Touched{{Site: "s", Node: "n", First: 25 * unit.Hour, Last: 25 * unit.Hour}}
	f(10, 122*m, slices.Concat(minutes, []string{
		"after node_10s 10", "build node_10s", "build node_10s", "note node_10s", "after node_1m 60", "build node_1m", "build node_1m", "note node_1m",
	})...)
	want := `
# HELP wattledger_ingest_rollup_failures_total Passes over rollups that ended with an error; the next goes on where the last rows were noted.
# TYPE wattledger_ingest_rollup_failures_total counter
wattledger_ingest_rollup_failures_total 1
# HELP wattledger_ingest_rollup_windows_total Stretches of buckets, at most 24 of 1,000 nodes or more of fewer, that were built.
# TYPE wattledger_ingest_rollup_windows_total counter
wattledger_ingest_rollup_windows_total{level="10s"} 6
wattledger_ingest_rollup_windows_total{level="1h"} 4
wattledger_ingest_rollup_windows_total{level="1m"} 6
wattledger_ingest_rollup_windows_total{level="node_10s"} 7
wattledger_ingest_rollup_windows_total{level="node_1h"} 4
wattledger_ingest_rollup_windows_total{level="node_1m"} 7
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "wattledger_ingest_rollup_failures_total", "wattledger_ingest_rollup_windows_total"); err != nil {
		t.Error(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if strings.HasSuffix(family.GetName(), "received_timestamp_seconds") && family.GetMetric()[0].GetGauge().GetValue() != 7 {
			t.Errorf("%v", family)
		}
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	if err := rollup.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := rollup.Config{}.Validate()
	if err == nil || !strings.Contains(err.Error(), "every:") {
		t.Errorf("Validate = %v", err)
	}
	c := rollup.DefaultConfig()
	c.EveryHour = c.Every / 2
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "every_hour") {
		t.Errorf("Validate = %v", err)
	}
}
