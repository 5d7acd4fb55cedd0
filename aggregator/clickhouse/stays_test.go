package clickhouse

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

const minute = 60 * unit.Second

// fleetOfTwo is a site of two nodes; n has the GPUs a and b, o has c. All are read every ten seconds for six hours, retired or
// not, at 500 W.
func fleetOfTwo(t *testing.T, conn driver.Conn) record.Site {
	t.Helper()
	exec(t, conn, `INSERT INTO sites (id, country, zone, operator, operator_country, pue_thousandths, allocation_source, revision) VALUES ('s', 'FR', 'FR', 'op', 'FR', 1200, '', 1)`)
	exec(t, conn, `INSERT INTO nodes VALUES ('n', 's', 'r', 'HGX B200', 1000000, %d, 0, 1), ('o', 's', 'r', 'HGX B200', 1000000, %[1]d, 0, 1)`, hour0)
	collectorStarts(t, conn, 1)
	exec(t, conn, `INSERT INTO samples (site, node, device, run, seq, boot, driver, energy_source, tick, energy_ts, period_ms, received, kafka_partition,
		kafka_offset, energy_mj, power_integral_mj)
		SELECT 's', node, device, 'run', number, 'boot', 'd', 'hardware', fromUnixTimestamp64Micro(%d + toInt64(number) * 10000000), %[1]d + toInt64(number) * 10000000,
		  10000, now(), 0, 0, number * 5000000, number * 5000000
		FROM numbers(6 * 360 + 1) AS i, (SELECT arrayJoin([('n', 'GPU-a'), ('n', 'GPU-b'), ('o', 'GPU-c')]) AS both, both.1 AS node, both.2 AS device) AS d`, hour0)
	exec(t, conn, `INSERT INTO allocations VALUES ('one', 's', 'GPU-a', 1000, %d, 0, 't1', 'p', 'w', 'm', 'training', 'x', 1)`, hour0)
	return record.Site{ID: "s", Country: "FR", Zone: "FR", PUEThousandths: 1200}
}

// collectorStarts states the devices as a collector does at each start: from always, to never.
func collectorStarts(t *testing.T, conn driver.Conn, revision int) {
	t.Helper()
	exec(t, conn, `INSERT INTO devices VALUES
		('GPU-a', '', 'n', 'gpu', 'NVIDIA B200', '', 'd', 'v', 0, 0, 'hardware', 1000000, 0, 0, 0, %d),
		('GPU-b', '', 'n', 'gpu', 'NVIDIA B200', '', 'd', 'v', 1, 0, 'hardware', 1000000, 0, 0, 0, %[1]d),
		('GPU-c', '', 'o', 'gpu', 'NVIDIA B200', '', 'd', 'v', 0, 0, 'hardware', 1000000, 0, 0, 0, %[1]d)`, revision)
}

type deviceHour struct {
	device string
	hour   int
}

// A device and a node leave and come back. A collector's next start undoes nothing, each hour counts whom it has, and the
// whole ledger is still proved afterwards.
func TestWhoIsRetiredIsNotExpectedUntilItReturns(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := fleetOfTwo(t, conn)
	waits := func(what string, want ...string) {
		t.Helper()
		p, err := s.Progress(t.Context(), site)
		if err != nil || !slices.Equal(p.Waiting, want) {
			t.Errorf("%s: waits for %v, want %v; %v", what, p.Waiting, want, err)
		}
	}
	declare(t, conn, wire.TopicSample, "n", hour0+6*unit.Hour)
	declare(t, conn, wire.TopicSample, "o", hour0+unit.Hour+20*minute)
	// GPU-b is away from 1:30 to 4:15, o from 1:20, when it fell silent, to 3:00, and for good from 5:00 on.
	exec(t, conn, `INSERT INTO stays VALUES ('s', 'n', 'GPU-b', 0, %d, '', 5)`, hour0+unit.Hour+30*minute)
	collectorStarts(t, conn, 1_000_000)
	closeAll(t, s)
	waits("one node has fallen silent", "o")
	exec(t, conn, `INSERT INTO stays VALUES ('s', 'o', '', %d, %d, '', 6)`, hour0, hour0+unit.Hour+20*minute)
	waits("it is retired as of its last word")
	exec(t, conn, `INSERT INTO stays VALUES ('s', 'n', 'GPU-b', %d, 0, '', 7)`, hour0+4*unit.Hour+15*minute)
	exec(t, conn, `INSERT INTO stays VALUES ('s', 'o', '', %d, %d, '', 8)`, hour0+3*unit.Hour, hour0+5*unit.Hour)
	collectorStarts(t, conn, 2_000_000)
	closeAll(t, s)
	waits("in the hour of its return", "o")
	declare(t, conn, wire.TopicSample, "o", hour0+5*unit.Hour)
	closeAll(t, s)
	waits("all is closed, and who is gone is not waited for", "n")

	rows, err := conn.Query(t.Context(), fmt.Sprintf(`SELECT device, intDiv(toUnixTimestamp(hour) * 1000000 - %d, 3600000000), sum(device_time) AS held, sum(measured_mj)
		FROM entry GROUP BY device, hour`, hour0))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	minutes, energy := map[deviceHour]int64{}, map[deviceHour]int64{}
	for rows.Next() {
		var k deviceHour
		var hour, held, measured int64
		if err := rows.Scan(&k.device, &hour, &held, &measured); err != nil {
			t.Fatal(err)
		}
		k.hour = int(hour)
		minutes[k], energy[k] = held/60_000_000, measured
	}
	f := func(device string, want ...int64) {
		t.Helper()
		for hour, w := range want {
			k := deviceHour{device, hour}
			if minutes[k] != w {
				t.Errorf("%s has %d minutes in hour %d, want %d", device, minutes[k], hour, w)
			}
			// Its counter is metered over each hour in which it is there at all.
			if mj := energy[k]; mj != 1_800_000_000 && w > 0 || mj != 0 && w == 0 {
				t.Errorf("%s has %d mJ in hour %d", device, mj, hour)
			}
		}
	}
	f("GPU-a", 60, 60, 60, 60, 60, 60)
	f("GPU-b", 60, 30, 0, 0, 45, 60)
	f("GPU-c", 60, 20, 0, 60, 60, 0)
	for hours := range 6 {
		p := verify.Period{From: hour0 + unit.Micros(hours)*unit.Hour, To: hour0 + 6*unit.Hour}
		r, err := verify.Run(t.Context(), NewAudit(conn), p, "")
		if err != nil {
			t.Fatal(err)
		}
		if r.Energy.Metered == 0 || r.Energy.Residual != 0 || r.Time.Residual != 0 || r.Truth != (verify.Truth{}) {
			t.Errorf("the proof from hour %d on finds %+v", hours, r)
		}
	}
}

func TestExpected(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	fleetOfTwo(t, conn)
	exec(t, conn, `INSERT INTO stays VALUES ('s', 'n', 'GPU-b', 0, %d, 'sold', 5), ('s', 'n', 'GPU-b', 0, %d, 'lent', 6), ('s', 'n', 'GPU-b', %d, 0, '', 9),
		('s', 'o', '', %d, %[4]d, 'never came', 3)`, hour0, hour0+1, hour0+unit.Hour, hour0)
	exec(t, conn, `INSERT INTO devices VALUES ('GPU-a', '', 'o', 'gpu', 'NVIDIA B200', '', 'd', 'v', 0, 0, 'hardware', 1000000, 0, 0, 0, 99)`)
	nodes, err := s.NodesExpected(t.Context())
	devices, derr := s.DevicesExpected(t.Context())
	if err != nil || derr != nil {
		t.Fatal(err, derr)
	}
	f := func(got []Expected, i int, revision uint64, want ...record.Stay) {
		t.Helper()
		if i >= len(got) || got[i].Revision != revision || !slices.Equal(got[i].Stays, want) {
			t.Errorf("%d of %+v, want revision %d of %+v", i, got, revision, want)
		}
	}
	f(nodes, 0, 0, record.Stay{Site: "s", Node: "n", From: hour0})
	f(nodes, 1, 3, record.Stay{Site: "s", Node: "o", From: hour0, To: hour0, Reason: "never came"})
	f(devices, 0, 0, record.Stay{Site: "s", Node: "o", Device: "GPU-a"})
	f(devices, 1, 9, record.Stay{Site: "s", Node: "n", Device: "GPU-b", To: hour0 + 1, Reason: "lent"}, record.Stay{Site: "s", Node: "n", Device: "GPU-b", From: hour0 + unit.Hour})
	if len(nodes) != 2 || len(devices) != 3 {
		t.Errorf("%d nodes and %d devices", len(nodes), len(devices))
	}
	if p, err := s.Progress(t.Context(), record.Site{ID: "s"}); err != nil || !slices.Equal(p.Waiting, []string{"n"}) {
		t.Errorf("who never came is waited for: %v, %v", p.Waiting, err)
	}
	declare(t, conn, wire.TopicSample, "n", hour0+7)
	declare(t, conn, wire.TopicReading, "n", hour0+9)
	if at, err := s.CompleteUpTo(t.Context(), "s", "n"); err != nil || at != hour0+7 {
		t.Errorf("complete up to %d, %v", at, err)
	}
	if at, err := s.CompleteUpTo(t.Context(), "s", "o"); err != nil || at != 0 {
		t.Errorf("a node that never spoke is complete up to %d, %v", at, err)
	}
	if at, err := s.OpenHour(t.Context(), "s"); err != nil || at != hour0 {
		t.Errorf("the first open hour is %d, %v", at, err)
	}
}

// Collectors state their devices as always there, and the stays of MIG instances apart: at half past one GPU-b is divided anew. Each
// hour counts the instances it had, and the ledger is proved.
func TestStaysOfInstancesAreLayouts(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	fleetOfTwo(t, conn)
	exec(t, conn, `INSERT INTO devices VALUES
		('MIG-a', 'GPU-b', 'n', 'mig', 'NVIDIA B200', '', 'd', 'v', 0, 4, 'none', 0, 0, 0, 0, 1),
		('MIG-b', 'GPU-b', 'n', 'mig', 'NVIDIA B200', '', 'd', 'v', 1, 4, 'none', 0, 0, 0, 0, 1)`)
	exec(t, conn, `INSERT INTO samples (site, node, device, run, seq, boot, driver, energy_source, tick, period_ms, received, kafka_partition, kafka_offset, sm_active_us)
		SELECT 's', 'n', device, 'run', number, 'boot', 'd', 'none', fromUnixTimestamp64Micro(%d + toInt64(number) * 10000000), 10000, now(), 0, 0, number * 1000000
		FROM numbers(6 * 360 + 1) AS i, (SELECT arrayJoin(['MIG-a', 'MIG-b']) AS device) AS d`, hour0)
	exec(t, conn, `INSERT INTO allocations VALUES ('first', 's', 'MIG-a', 1000, %d, 0, 't1', 'p', 'w', 'm', 'training', 'x', 1),
		('second', 's', 'MIG-b', 1000, %[1]d, 0, 't2', 'p', 'w', 'm', 'training', 'x', 1)`, hour0)
	change := hour0 + unit.Hour + 30*minute
	exec(t, conn, `INSERT INTO stays VALUES ('s', 'n', 'MIG-a', 0, %d, 'MIG layout', %[1]d), ('s', 'n', 'MIG-b', %[1]d, 0, 'MIG layout', %[1]d)`, change)
	for _, node := range []string{"n", "o"} {
		declare(t, conn, wire.TopicSample, node, hour0+3*unit.Hour)
	}
	closeAll(t, s)
	f := func(device string, hour int, from, to unit.Micros) {
		t.Helper()
		var held, energy int64
		var begins, ends int64
		row := conn.QueryRow(t.Context(), fmt.Sprintf(`SELECT sum(device_time), sum(gpu_mj), min(from_us), max(to_us) FROM entry
			WHERE device = '%s' AND toUnixTimestamp(hour) * 1000000 = %d`, device, hour0+unit.Micros(hour)*unit.Hour))
		if err := row.Scan(&held, &energy, &begins, &ends); err != nil {
			t.Fatal(err)
		}
		// 500 W: of 140 W idle four sevenths are those of the instance's slices, and of 360 W of work it has all. At each reading
		// 1,400,000 × 4 / 7 is a whole number of mJ.
		if want := int64(to-from) / 1000 * 571; held != want || energy != int64(to-from)/1_000_000*440_000 || begins != int64(from) || ends != int64(to) {
			t.Errorf("%s has %d, want %d, and %d mJ in hour %d, from %d to %d", device, held, want, energy, hour, begins-int64(hour0), ends-int64(hour0))
		}
	}
	f("MIG-a", 0, hour0, hour0+unit.Hour)
	f("MIG-a", 1, hour0+unit.Hour, change)
	f("MIG-b", 1, change, hour0+2*unit.Hour)
	f("MIG-b", 2, hour0+2*unit.Hour, hour0+3*unit.Hour)
	r, err := verify.Run(t.Context(), NewAudit(conn), verify.Period{From: hour0, To: hour0 + 3*unit.Hour}, "")
	if err != nil {
		t.Fatal(err)
	}
	if r.Energy.Metered == 0 || r.Energy.Residual != 0 || r.Time.Residual != 0 || r.Truth != (verify.Truth{}) {
		t.Errorf("the proof finds %+v", r)
	}
}
