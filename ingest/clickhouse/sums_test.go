package clickhouse_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	schema "github.com/wattledger/wattledger/schemas/clickhouse"
)

// checkSums holds that the sums of any range are what the counters grew by from the last reading before it, or their first, to the last in it:
// by a query of its own over samples, device by device and epoch by epoch.
func checkSums(t *testing.T, l *lake, r *rand.Rand) {
	t.Helper()
	for _, sum := range schema.Sums {
		width := int64(sum.Seconds) * 1_000_000
		for range 6 {
			from := (base + r.Int64N(4*3_600_000_000) - 3_600_000_000) / width * width
			to := from + (1+r.Int64N(50))*width
			if r.IntN(3) == 0 {
				from, to = 0, base+1000*3_600_000_000 // everything
				to -= to % width
			}
			for column, counters := range map[string]string{"energy_mj": "energy_mj", "sm_active_us": "sm_active_us"} {
				want := l.rows(fmt.Sprintf(`SELECT toString((node, sum(grown))) FROM (
					SELECT node, toInt64(maxIf(%[1]s, tick < fromUnixTimestamp64Micro(%[3]d))) - toInt64(if(countIf(tick < fromUnixTimestamp64Micro(%[2]d)) > 0,
						maxIf(%[1]s, tick < fromUnixTimestamp64Micro(%[2]d)), minIf(%[1]s, tick < fromUnixTimestamp64Micro(%[3]d)))) AS grown
					FROM sample WHERE %[1]s IS NOT NULL GROUP BY node, device, run, energy_epoch
					HAVING countIf(tick < fromUnixTimestamp64Micro(%[3]d)) > 0) GROUP BY node HAVING sum(grown) != 0 ORDER BY node`, counters, from, to))
				got := l.rows(fmt.Sprintf("SELECT toString((node, sum(%s))) FROM %s WHERE bucket >= toDateTime(%d) AND bucket < toDateTime(%d) GROUP BY node HAVING sum(%[1]s) != 0 ORDER BY node",
					column, sum.View, from/1_000_000, to/1_000_000))
				if err := same(got, want); err != nil {
					t.Errorf("%s of %s in [%d, %d): %v", column, sum.View, from, to, err)
				}
			}
		}
		// Every bucket that was read is there, with the devices that were.
		want := l.rows(fmt.Sprintf("SELECT toString((node, toUnixTimestamp(toStartOfInterval(tick, INTERVAL %d SECOND)) AS slot, uniqExact(device))) FROM sample GROUP BY node, slot ORDER BY node, slot", sum.Seconds))
		if err := same(l.rows("SELECT toString((node, toUnixTimestamp(bucket), devices)) FROM "+sum.View+" ORDER BY node, bucket"), want); err != nil {
			t.Errorf("devices of %s: %v", sum.View, err)
		}
	}
}

// readings are ticks of one device that rise by 1,000 mJ a second, that is 1 W.
func readings(run string, epoch uint32, seconds ...int64) message {
	m := message{node: "n1", run: run}
	for _, s := range seconds {
		m.rows = append(m.rows, sample{"n1", "GPU-0", run, epoch, base + s*1_000_000, 5_000_000 + uint64(1000*s), uint64(600_000 * s), 1.5, 0})
	}
	return m
}

func (l *lake) roll() {
	l.t.Helper()
	if err := l.pass(l.store); err != nil {
		l.t.Fatal(err)
	}
}

func TestSumsOfNodes(t *testing.T) {
	t.Parallel()
	l := newLake(t)
	f := func(view string, want ...string) {
		t.Helper()
		got := l.rows("SELECT toString((intDiv(toUnixTimestamp(bucket) - 1767308300, 1), model, devices, power_mw, energy_mj, span_us, sm_active_us)) FROM " + view + " ORDER BY bucket, model")
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s:\n%s, want\n%s", view, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	// One tick a bucket: the first has nothing before it and takes its power from the gauge.
	l.put([]message{readings("r", 0, 0, 10, 20)})
	l.roll()
	f("node_sum_10s", "(0,'',1,1500,0,0,0)", "(10,'',1,1000,10000,10000000,6000000)", "(20,'',1,1000,10000,10000000,6000000)")
	// A gap: its energy is in the bucket after it, its power is not. What comes late takes its part.
	l.put([]message{readings("r", 0, 20000)})
	l.roll()
	f("node_sum_10s", "(0,'',1,1500,0,0,0)", "(10,'',1,1000,10000,10000000,6000000)", "(20,'',1,1000,10000,10000000,6000000)", "(20000,'',1,1500,19980000,19980000000,11988000000)")
	l.put([]message{readings("r", 0, 15000, 15005)})
	l.roll()
	f("node_sum_10s", "(0,'',1,1500,0,0,0)", "(10,'',1,1000,10000,10000000,6000000)", "(20,'',1,1000,10000,10000000,6000000)",
		"(15000,'',1,1000,14985000,14985000000,8991000000)", "(20000,'',1,1500,4995000,4995000000,2997000000)")
	// The inventory learns what it is: the bucket that is touched moves to the model, and counts once.
	l.exec("INSERT INTO devices (uuid, node, kind, model, revision) VALUES ('GPU-0', 'n1', 'gpu', 'B200', 1)")
	l.put([]message{readings("r", 0, 20009)})
	l.roll()
	f("node_sum_10s", "(0,'',1,1500,0,0,0)", "(10,'',1,1000,10000,10000000,6000000)", "(20,'',1,1000,10000,10000000,6000000)",
		"(15000,'',1,1000,14985000,14985000000,8991000000)", "(20000,'B200',1,1000,5004000,5004000000,3002400000)")
	// A reset does not count, and a CPU or an instance is none of the GPUs.
	l.empty()
	l.exec("INSERT INTO devices (uuid, node, kind, model, revision) VALUES ('GPU-0', 'n1', 'gpu', 'B200', 1), ('CPU-0', 'n1', 'cpu', 'Grace', 1), ('MIG-0', 'n1', 'mig', 'B200 1g', 1)")
	again := readings("r", 1, 12, 22)
	for i := range again.rows {
		again.rows[i].energy -= 5_000_000
	}
	cpu := readings("r", 0, 0, 10)
	cpu.rows[0].device, cpu.rows[1].device = "CPU-0", "MIG-0"
	l.put([]message{readings("r", 0, 0, 9), again, cpu})
	l.roll()
	f("node_sum_10s", "(0,'B200',1,1000,9000,9000000,5400000)", "(10,'B200',1,1500,0,0,0)", "(20,'B200',1,1000,10000,10000000,6000000)")
}
