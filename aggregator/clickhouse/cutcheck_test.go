package clickhouse

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/evidence"
	"github.com/wattledger/wattledger/schemas/unit"
)

// What closed is sealed so that it can be checked, and when its samples are gone its cuts still say what was measured.
func TestAClosedLedgerIsCheckedBySamplesAndByCuts(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	plant(t, conn)
	closeAll(t, s)
	keys, key := testKeys(t)
	l, err := keys.Log(s, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	v := NewEvidence(conn)
	r, err := evidence.Check(t.Context(), v, evidence.Options{Secret: secret, Key: key})
	if err != nil || r.Found != 0 || r.Seals < 2 || r.Cuts == 0 || r.DeviceHours == 0 || r.Log != r.Seals {
		t.Errorf("a ledger that was closed: %+v, %v", r, err)
	}
	if from, err := v.SamplesFrom(t.Context()); err != nil || from != hour0 {
		t.Errorf("samples from %s, %v", from.Time(), err)
	}
	exec(t, conn, "ALTER TABLE samples DELETE WHERE tick < fromUnixTimestamp64Micro(%d) SETTINGS mutations_sync = 2", hour0+10*60*unit.Second)
	if from, err := v.SamplesFrom(t.Context()); err != nil || from != hour0+unit.Hour {
		t.Errorf("samples of part of the first hour: from %s, %v", from.Time(), err)
	}
	exec(t, conn, "TRUNCATE TABLE samples")
	if from, err := v.SamplesFrom(t.Context()); err != nil || from < hour0+1000*unit.Hour {
		t.Errorf("no samples: from %s, %v", from.Time(), err)
	}
	f := func(what, want string) {
		t.Helper()
		c, err := v.CheckCuts(t.Context(), hour0, hour0+2*unit.Hour)
		if err != nil || c.DeviceHours != 6 || c.All != 6 {
			t.Errorf("%s: %+v, %v", what, c, err)
		}
		if text := strings.Join(c.Differences, "; "); (want == "") != (text == "") || !strings.Contains(text, want) {
			t.Errorf("%s: %q, want %q", what, text, want)
		}
	}
	f("as it was closed", "")
	restore := save(t, conn, "device_hours")
	exec(t, conn, "ALTER TABLE device_hours UPDATE counter_mj = counter_mj + 1 WHERE device = 'GPU-a' AND batch = 1 SETTINGS mutations_sync = 2")
	f("a device-hour changed", "device GPU-a: its hour says")
	restore()
	restore = save(t, conn, "entries")
	exec(t, conn, "ALTER TABLE entries DELETE WHERE device = 'GPU-b' AND batch = 1 SETTINGS mutations_sync = 2")
	f("an entry lost", "node n: its devices took")
	restore()
	restore = save(t, conn, "cuts")
	exec(t, conn, "ALTER TABLE cuts UPDATE c = c - 1 WHERE device = 'GPU-b' AND batch = 1 SETTINGS mutations_sync = 2")
	f("a cut changed", "device GPU-b: its hour says")
	restore()
	f("put back", "")
}
