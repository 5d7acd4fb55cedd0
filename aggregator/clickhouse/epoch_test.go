package clickhouse

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/schemas/unit"
)

// frozen is a site of four GPUs of 500 W, read every ten seconds for two hours. The counters of three stand still for a
// while, in which the collector leaves their readings out: one goes on from there within an hour, one over the hour's edge,
// one catches up.
func frozen(t *testing.T, conn driver.Conn) {
	t.Helper()
	exec(t, conn, `INSERT INTO sites (id, country, zone, operator, operator_country, pue_thousandths, allocation_source, revision) VALUES ('s', 'FR', 'FR', 'op', 'FR', 1000, '', 1)`)
	exec(t, conn, `INSERT INTO nodes VALUES ('n', 's', 'r', 'HGX B200', 0, %d, 0, 1)`, hour0)
	var rows []string
	add := func(device string, from, to unit.Micros, catchesUp bool) {
		exec(t, conn, `INSERT INTO devices VALUES ('%s', '', 'n', 'gpu', 'NVIDIA B200', '', 'd', 'v', 0, 0, 'hardware', 1000000, 0, %d, 0, 1)`, device, hour0)
		missed, code := int64(0), 0
		for i := range 721 {
			at := unit.Micros(i) * 10 * unit.Second
			c := 1_000_000 + int64(at/2) - missed
			tick, ts := hour0+at, uint64(hour0+at)
			if at > from && at <= to {
				if !catchesUp {
					missed += 5_000_000
				}
				ts, c = ^uint64(0), -1
			}
			if at == to && !catchesUp {
				code++
			}
			rows = append(rows, fmt.Sprintf("('s', 'n', '%s', 'run', %d, 'boot', 'd', 'hardware', fromUnixTimestamp64Micro(%d), %d, 10000, now(), 0, 0, %d, %d, %d)",
				device, i, tick, ts, uint64(c), int64(at/2), code))
		}
	}
	add("GPU-steady", -1, -1, false)
	add("GPU-goes-on", 20*60*unit.Second, 30*60*unit.Second, false)
	add("GPU-over-the-edge", 55*60*unit.Second, 65*60*unit.Second, false)
	add("GPU-catches-up", 20*60*unit.Second, 30*60*unit.Second, true)
	exec(t, conn, `INSERT INTO samples (site, node, device, run, seq, boot, driver, energy_source, tick, energy_ts, period_ms, received, kafka_partition,
		kafka_offset, energy_mj, power_integral_mj, energy_epoch) VALUES %s`, strings.Join(rows, ","))
	exec(t, conn, `INSERT INTO messages VALUES ('wl.sample.v1', 's', 'n', 'run', 0, '', 0, 1, fromUnixTimestamp64Micro(%d), 0, now(), now(), now(), 0, 0)`, hour0+2*unit.Hour)
}

// Energy that a frozen counter missed is estimated from power: neither lost nor invented, and apart from what was measured.
func TestAFrozenCounterIsNeitherLostNorInvented(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	frozen(t, conn)
	closeAll(t, s)
	f := func(device string, hour int, measured, estimated int64) {
		t.Helper()
		var got [2]int64
		err := conn.QueryRow(t.Context(), fmt.Sprintf("SELECT sum(measured_mj), sum(estimated_mj) FROM entry WHERE device = '%s' AND hour = %d",
			device, (hour0+unit.Micros(hour)*unit.Hour)/unit.Second)).Scan(&got[0], &got[1])
		if err != nil {
			t.Fatal(err)
		}
		if got != [2]int64{measured, estimated} {
			t.Errorf("%s in hour %d: %d mJ measured and %d estimated, want %d and %d", device, hour, got[0], got[1], measured, estimated)
		}
	}
	const minute = 60 * 500_000 // mJ
	const tick = 10 * 500_000   // until the first reading after it
	f("GPU-steady", 0, 60*minute, 0)
	f("GPU-goes-on", 0, 50*minute-tick, 10*minute+tick)
	f("GPU-goes-on", 1, 60*minute, 0)
	f("GPU-over-the-edge", 0, 55*minute, 5*minute)
	f("GPU-over-the-edge", 1, 55*minute-tick, 5*minute+tick)
	f("GPU-catches-up", 0, 60*minute, 0)
	f("GPU-catches-up", 1, 60*minute, 0)
	r, err := verify.Run(t.Context(), NewAudit(conn), verify.Period{From: hour0, To: hour0 + 2*unit.Hour}, "")
	if err != nil {
		t.Fatal(err)
	}
	if r.Energy.Metered == 0 || r.Energy.Residual != 0 || r.Truth != (verify.Truth{}) {
		t.Errorf("the proof finds %+v", r)
	}
}
