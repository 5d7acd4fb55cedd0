package main

import (
	"fmt"
	"testing"

	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/wire"
)

func TestCompactRemovesWhatStandsTwice(t *testing.T) {
	s := startServers(t)
	f := func(rows uint64, found, samples, messages int, args ...string) {
		t.Helper()
		code, got := s.run(append([]string{"compact"}, args...)...)
		removed, _ := got["removed"].(map[string]any)
		list, _ := got["found"].([]any)
		n := func(table string) int { v, _ := removed[table].(float64); return int(v) }
		if code != process.ExitDone || len(list) != found || n("samples") != samples || n("messages") != messages {
			t.Errorf("%v ends with %d: %v", args, code, got)
		}
		var stored uint64
		if err := s.conn.QueryRow(t.Context(), "SELECT count() FROM samples").Scan(&stored); err != nil || stored != rows {
			t.Errorf("%d rows are left, want %d; %v", stored, rows, err)
		}
	}
	for i, times := range []int{1, 2, 3} { // offsets 0, 1 and 2
		for k := range times {
			s.exec("INSERT INTO samples (site, node, device, run, seq, tick, received, kafka_offset) SETTINGS insert_deduplicate = 0 "+
				"SELECT 's', 'n', toString(number), 'r', %d, toDateTime64(%[1]d, 6, 'UTC'), toStartOfDay(now()), %[1]d FROM numbers(4)", i)
			if k == 0 || i == 2 {
				s.exec("INSERT INTO messages (topic, site, source, run, seq, rows, received, kafka_offset) SETTINGS insert_deduplicate = 0 SELECT '%s', 's', 'n', 'r', %d, 4, toStartOfDay(now()), %[2]d",
					wire.TopicSample, i)
			}
		}
	}
	f(24, 2, 0, 0, "--dry-run")
	f(12, 2, 12, 2)
	f(12, 0, 0, 0)
	if code, _ := s.run("compact", "--since", "-5h"); code != process.ExitUsage {
		t.Error(fmt.Sprint("a time in the future ends with ", code))
	}
}
