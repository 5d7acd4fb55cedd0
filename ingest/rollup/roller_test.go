package rollup_test

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
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
	f(0, 100*m)                                                                        // nothing came
	f(5, 100*m, "build 10s", "note 10s", "build 1m", "note 1m", "build 1h", "note 1h") // rows first, each level after the one below
	f(5, 101*m)                                                                        // nothing new
	f(6, 101*m, "build 10s", "note 10s", "build 1m", "note 1m")                        // hours have time
	f(7, 110*m, "build 10s", "note 10s", "build 1m", "note 1m", "build 1h", "note 1h") // all that came since
	f(8, 3*m, "build 10s", "note 10s", "build 1m", "note 1m", "build 1h", "note 1h")   // a clock that was set back stops nothing
	s.fail = errors.New("the database is away")
	f(9, 120*m, "build 10s") // not noted
	s.fail = nil
	f(9, 121*m, "build 10s", "note 10s", "build 1m", "note 1m", "build 1h", "note 1h") // and made good
	want := `
# HELP wattledger_ingest_rollup_failures_total Passes over rollups that ended with an error; the next goes on where the last rows were noted.
# TYPE wattledger_ingest_rollup_failures_total counter
wattledger_ingest_rollup_failures_total 1
# HELP wattledger_ingest_rollup_windows_total Stretches of at most 24 buckets of up to 1,000 nodes that were built.
# TYPE wattledger_ingest_rollup_windows_total counter
wattledger_ingest_rollup_windows_total{level="10s"} 5
wattledger_ingest_rollup_windows_total{level="1h"} 4
wattledger_ingest_rollup_windows_total{level="1m"} 5
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
