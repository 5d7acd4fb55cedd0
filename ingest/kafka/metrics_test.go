package kafka

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// The delay is from the newest tick of each message to its commit; repeats, and messages without samples, have none.
func TestDelayFromTheTick(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newMetrics(reg, pipeline.NewMemory(10))
	now := 1_000 * unit.Second
	rows := pipeline.Range{To: 8}
	m.count(&pipeline.Batch{Topic: wire.TopicSample, Entries: []pipeline.Entry{
		{LastTick: now - 2*unit.Second, Samples: rows, Message: pipeline.Message{Received: now}},
		{LastTick: now - 90*unit.Second, Samples: rows},
		{LastTick: now - 500*unit.Second, Samples: rows, Repeat: true},
		{LastTick: now - 500*unit.Second},
		{LastTick: now + unit.Second, Samples: rows}, // its clock is ahead
	}}, now)
	found, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.GetName() == "wattledger_ingest_tick_delay_seconds" {
			if h := f.GetMetric()[0].GetHistogram(); h.GetSampleCount() != 3 || h.GetSampleSum() != 92 {
				t.Errorf("%d delays of %v s together, want 3 of 92", h.GetSampleCount(), h.GetSampleSum())
			}
			return
		}
	}
	t.Error("the delay is not shown")
}

// A rate knows no increase from nothing to one: what alerts read is there from the start.
func TestAlertsReadWhatIsThereFromTheStart(t *testing.T) {
	reg := prometheus.NewRegistry()
	newMetrics(reg, pipeline.NewMemory(10))
	for name, want := range map[string]int{
		"incidents_total": len(record.IncidentKinds), "missing_total": len(pipeline.Topics), "late_total": len(pipeline.Topics), "messages_total": len(pipeline.Topics), "newer_schema_total": len(pipeline.Topics), "blocked_partitions": len(reasons),
	} {
		if n, err := testutil.GatherAndCount(reg, "wattledger_ingest_"+name); n != want || err != nil {
			t.Errorf("%s has %d series before anything happens, want %d: %v", name, n, want, err)
		}
	}
}
