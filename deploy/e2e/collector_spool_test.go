package e2e

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/wattledger/wattledger/schemas/record"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// With Kafka away the spool fills; the oldest goes first, and once Kafka is back every message is either there or within a
// loss that is stated with its run, its sequences and its time.
func TestASpoolThatOverflowsStatesWhatItGaveUp(t *testing.T) {
	t.Parallel() // it mostly waits
	s := lonelyStation(t, "node n1 hgx-b200\n")
	r := s.collect("--set", "spool.segment_bytes=8192", "--set", "spool.max_bytes=32768", "--set", "forward.retry_max=500ms")
	r.until("something is given up", 60*time.Second, func() bool { return r.metric("wattledger_collector_spool_dropped_messages_total") > 20 })
	t.Cleanup(s.kafka.start())
	r.until("the loss is stated", 60*time.Second, func() bool { return len(s.incidents(record.IncidentLoss, "spool_full")) > 0 })
	r.stops()

	samples := s.samples()
	run := samples[0].Run
	have := map[uint64]*wl.SampleBatch{}
	var last uint64
	for _, b := range samples {
		if !bytes.Equal(b.Run, run) {
			t.Fatalf("run %x beside %x", b.Run, run)
		}
		if have[b.Sequence] != nil {
			t.Errorf("message %d is there twice", b.Sequence)
		}
		have[b.Sequence], last = b, max(last, b.Sequence)
	}
	lost := map[uint64]bool{}
	for _, i := range s.incidents(record.IncidentLoss, "spool_full") {
		if i.Run == "" && i.Amount == 1 {
			continue // the list of devices, which has no run and is stated again
		}
		if i.Run != hex.EncodeToString(run) || i.From <= 0 || i.To < i.From || i.Amount != int64(i.Last-i.First+1) {
			t.Errorf("the loss is %+v of run %x", i, run)
		}
		if next := have[i.Last+1]; next != nil && len(next.TickUs) > 0 && int64(i.To) >= next.TickUs[0] {
			t.Errorf("a loss is said to go on until %d; message %d, which is there, begins at %d", i.To, i.Last+1, next.TickUs[0])
		}
		for q := i.First; q <= i.Last; q++ {
			lost[q] = true
		}
	}
	for q := range last + 1 {
		if have[q] == nil && !lost[q] {
			t.Errorf("message %d is missing and in no loss", q)
		}
		if have[q] != nil && lost[q] {
			t.Errorf("message %d is stated as lost and there", q)
		}
	}
	t.Logf("%d messages arrived, %d were given up", len(have), len(lost))
}
