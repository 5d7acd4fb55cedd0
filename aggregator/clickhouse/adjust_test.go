package clickhouse

import (
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/adjusting"
	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// yard is a site with two nodes whose samples and statements a test stores as ingest would, when it likes.
type yard struct {
	*testing.T
	conn    driver.Conn
	store   *Store
	site    record.Site
	closer  *closer.Closer
	offset  int
	batches []record.Seal
}

func newYard(t *testing.T, conn driver.Conn, s *Store) *yard {
	t.Helper()
	emptied(t, conn)
	exec(t, conn, `INSERT INTO sites (id, country, zone, operator, operator_country, pue_thousandths, allocation_source, revision) VALUES ('s', 'FR', 'FR', 'op', 'FR', 1200, 'sched', 1)`)
	exec(t, conn, `INSERT INTO nodes VALUES ('n', 's', 'r', 'HGX B200', 900000, %[1]d, 0, 1), ('m', 's', 'r', 'HGX B200', 900000, %[1]d, 0, 1)`, hour0)
	exec(t, conn, `INSERT INTO devices VALUES
		('GPU-a', '', 'n', 'gpu', 'NVIDIA B200', '', 'd', 'v', 0, 0, 'hardware', 1000000, 0, %[1]d, 0, 1),
		('GPU-b', '', 'n', 'gpu', 'NVIDIA B200', '', 'd', 'v', 1, 0, 'hardware', 1000000, 0, %[1]d, 0, 1),
		('GPU-c', '', 'm', 'gpu', 'NVIDIA B200', '', 'd', 'v', 0, 7, 'hardware', 1000000, 0, %[1]d, 0, 1),
		('MIG-1', 'GPU-c', 'm', 'mig', 'NVIDIA B200', '', 'd', 'v', 0, 3, 'none', 0, 0, %[1]d, 0, 1)`, hour0)
	exec(t, conn, `INSERT INTO tenants (id, name, revision) VALUES ('t1', 'One', 1), ('t2', 'Two', 1)`)
	y := &yard{T: t, conn: conn, store: s, site: record.Site{ID: "s", Country: "FR", Zone: "FR", PUEThousandths: 1200, AllocationSource: "sched"}}
	cfg := closer.DefaultConfig()
	cfg.Lateness = time.Hour
	var err error
	if y.closer, err = closer.New(cfg, secret, s, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	y.closer.OnClose = func(seal record.Seal) { y.batches = append(y.batches, seal) }
	return y
}

// emptied empties every table that has rows, but for the version of the schema.
func emptied(t *testing.T, conn driver.Conn) {
	t.Helper()
	var tables []string
	if err := conn.QueryRow(t.Context(), "SELECT groupArray(name) FROM system.tables WHERE database = currentDatabase() AND total_rows > 0 AND name NOT LIKE 'goose%'").Scan(&tables); err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		exec(t, conn, "TRUNCATE TABLE %s", table)
	}
}

var devicesOf = map[string][]string{"n": {"GPU-a", "GPU-b"}, "m": {"GPU-c", "MIG-1"}}

// power is what a device's counter rises by: a sawtooth, so that a place in time makes a difference.
func energyAt(device string, t unit.Micros) int64 {
	s := int64(t-hour0) / 1_000_000
	return s*300_000 + (s%1700)*(s%1700)*100 + int64(device[4])*1000
}

// samples stores a node's samples in [from, to), one every 20 s, in a message that declares the node complete up to then.
func (y *yard) samples(node string, from, to, complete unit.Micros) {
	y.Helper()
	y.offset++
	var values []string
	var first, last unit.Micros
	for tick := from; tick < to; tick += 20 * unit.Second {
		if first == 0 {
			first = tick
		}
		last = tick
		for _, d := range devicesOf[node] {
			source, ts, c := "hardware", uint64(tick), uint64(energyAt(d, tick))
			if strings.HasPrefix(d, "MIG") {
				source, ts, c = "none", 1<<64-1, 1<<64-1
			}
			active := int64(tick-hour0) / 3
			values = append(values, fmt.Sprintf("('s', '%s', '%s', 'run', %d, 'boot', 'd', '%s', fromUnixTimestamp64Micro(%d), %d, 20000, now(), 0, %d, %d, %d, %d, %d, 7, 7)",
				node, d, y.offset, source, tick, ts, y.offset, c, c, active, active))
		}
	}
	exec(y.T, y.conn, `INSERT INTO samples (site, node, device, run, seq, boot, driver, energy_source, tick, energy_ts, period_ms, received, kafka_partition,
		kafka_offset, energy_mj, power_integral_mj, gr_engine_active_us, sm_active_us, ticks_expected, ticks_read) VALUES %s`, strings.Join(values, ","))
	y.line(wire.TopicSample, node, len(values), first, last, complete)
}

func (y *yard) line(topic, source string, rows int, first, last, complete unit.Micros) {
	y.Helper()
	exec(y.T, y.conn, `INSERT INTO messages VALUES ('%s', 's', '%s', 'run', %d, '', 0, 1, fromUnixTimestamp64Micro(%d), %d, fromUnixTimestamp64Micro(%d), fromUnixTimestamp64Micro(%d), now64(6), 0, %d)`,
		topic, source, y.offset, complete, rows, first, last, y.offset)
}

// scheduled declares the scheduler complete.
func (y *yard) scheduled(upTo unit.Micros) {
	y.Helper()
	y.offset++
	y.line(wire.TopicAllocation, "sched", 0, 0, 0, upTo)
}

func (y *yard) allocate(id, device, tenant string, share int, from, to unit.Micros, revision int) {
	y.Helper()
	exec(y.T, y.conn, `INSERT INTO allocations VALUES ('%s', 's', '%s', %d, %d, %d, '%s', 'p', 'w', 'm', 'training', 'x', %d)`, id, device, share, from, to, tenant, revision)
}

// close closes what can be closed, and says how many batches it took.
func (y *yard) close() int {
	y.Helper()
	n := 0
	for {
		k, err := y.closer.Once(y.Context())
		if err != nil {
			y.Fatal(err)
		}
		if k == 0 {
			return n
		}
		n += k
	}
}

// at is so many hours after the first.
func at(h float64) unit.Micros { return hour0 + unit.Micros(h*float64(unit.Hour)) }

// sums are the ledger's lines of the first n hours, those that are not nought.
func (y *yard) sums(n int) map[string]record.Entry {
	y.Helper()
	out := map[string]record.Entry{}
	for h := range n {
		booked, err := y.store.Booked(y.Context(), "s", at(float64(h)))
		if err != nil {
			y.Fatal(err)
		}
		for _, b := range booked.Lines {
			sum := adjusting.Sum(record.Entry{}, b.Entry)
			if !reflect.DeepEqual(sum, record.Entry{}) {
				out[fmt.Sprintf("%d %+v", h, adjusting.LineOf(b.Entry))] = sum
			}
		}
	}
	return out
}

// adjustments counts those of the ledger by hour and first word of the reason.
func (y *yard) adjustments() map[string]int {
	y.Helper()
	out := map[string]int{}
	err := y.store.each(with(y.Context(), "t", hour0), `SELECT toInt64(toUnixTimestamp(hour)) - intDiv({t:Int64}, 1000000), splitByChar(' ', reason)[1], toInt64(count())
		FROM entry WHERE kind = 'adjustment' GROUP BY ALL`, func(rows driver.Rows) error {
		var t, n int64
		var word string
		err := rows.Scan(&t, &word, &n)
		out[fmt.Sprintf("%d %s", t/3600, word)] += int(n)
		return err
	})
	if err != nil {
		y.Fatal(err)
	}
	return out
}

func (y *yard) export(asOf report.AsOf) string {
	y.Helper()
	var b strings.Builder
	if err := y.store.Export(y.Context(), &b, asOf); err != nil {
		y.Fatal(err)
	}
	return b.String()
}

// everything is both nodes' samples of some hours, and the scheduler's word.
func (y *yard) everything(from, to float64) {
	y.samples("n", at(from), at(to)+30*unit.Second, at(to))
	y.samples("m", at(from), at(to)+30*unit.Second, at(to))
	y.scheduled(at(to))
}

// Whatever reaches a closed hour late is booked as adjustments with the next batch, and the ledger then holds in sum what it holds when
// all of it came in time. What was issued before stays, byte for byte.
func TestWhatComesLateIsBooked(t *testing.T) {
	t.Parallel()
	// Each case closes two ledgers: the others run with make test-long.
	always := []string{"samples over an edge", "another tenant", "a factor", "an outage of five hours"}
	s, conn := open(t)
	cases := []struct {
		name        string
		early, late func(y *yard)
		// hours are those that are adjusted, by reason; last is the hour that closes last.
		hours []string
		last  float64
	}{
		{
			"samples", func(y *yard) {
				y.samples("n", at(0), at(1.3), at(1.3))
				y.samples("n", at(1.6), at(3)+30*unit.Second, at(3))
				y.samples("m", at(0), at(3)+30*unit.Second, at(3))
				y.allocate("job", "GPU-a", "t1", 1000, at(0.5), at(1.5), 1)
				y.scheduled(at(3))
			},
			func(y *yard) { y.samples("n", at(1.3), at(1.6), at(3)) },
			[]string{"1 late_data"},
			4,
		},
		{
			"samples over an edge", func(y *yard) {
				y.samples("n", at(0), at(1.9), at(1.9))
				y.samples("n", at(2.1), at(3)+30*unit.Second, at(3))
				y.samples("m", at(0), at(3)+30*unit.Second, at(3))
				y.scheduled(at(3))
			},
			func(y *yard) { y.samples("n", at(1.9), at(2.1), at(3)) },
			[]string{"1 late_data", "2 late_data"},
			4,
		},
		{
			"an allocation", func(y *yard) { y.everything(0, 3) },
			func(y *yard) { y.allocate("job", "GPU-a", "t1", 1000, at(0.5), at(2.25), 1) },
			[]string{"0 late_allocation", "1 late_allocation", "2 late_allocation"},
			4,
		},
		{
			"another tenant", func(y *yard) { y.allocate("job", "GPU-a", "t1", 1000, at(0.5), at(2.25), 1); y.everything(0, 3) },
			func(y *yard) { y.allocate("job", "GPU-a", "t2", 1000, at(0.5), at(2.25), 2) },
			[]string{"0 late_allocation", "1 late_allocation", "2 late_allocation"},
			4,
		},
		{
			"an earlier end, a smaller share", func(y *yard) { y.allocate("job", "GPU-a", "t1", 1000, at(0.5), at(2.5), 1); y.everything(0, 3) },
			func(y *yard) { y.allocate("job", "GPU-a", "t1", 500, at(0.5), at(1.25), 2) },
			[]string{"0 late_allocation", "1 late_allocation", "2 late_allocation"},
			4,
		},
		{
			"a job that ends", func(y *yard) { y.allocate("job", "GPU-a", "t1", 1000, at(0.5), 0, 1); y.everything(0, 3) },
			func(y *yard) { y.allocate("job", "GPU-a", "t1", 1000, at(0.5), at(3.5), 2) },
			nil, 4,
		},
		{
			"one who shared", func(y *yard) { y.allocate("x", "GPU-a", "t1", 500, at(0.2), at(2.9), 1); y.everything(0, 3) },
			func(y *yard) { y.allocate("y", "GPU-a", "t2", 400, at(0.1), at(0.5), 1) },
			[]string{"0 late_allocation"},
			4,
		},
		{
			"an allocation of an instance", func(y *yard) { y.everything(0, 3) },
			func(y *yard) { y.allocate("mig", "MIG-1", "t1", 1000, at(1.5), at(2.25), 1) },
			[]string{"1 late_allocation", "2 late_allocation"},
			4,
		},
		{
			"a factor", func(y *yard) { y.everything(0, 3) },
			func(y *yard) {
				if _, err := y.store.AppendFactors(y.Context(), []factor.Edition{gridHour(at(1), 99)}); err != nil {
					y.Fatal(err)
				}
			},
			nil, 4, // which hours have a factor is not this test's to say
		},
		{
			"a retired node", func(y *yard) {
				y.samples("n", at(0), at(5), at(5))
				y.samples("m", at(0), at(1)+30*unit.Second, at(1))
				y.scheduled(at(5))
			},
			func(y *yard) {
				exec(y.T, y.conn, `INSERT INTO stays VALUES ('s', 'm', '', %d, %d, 'sold', 1)`, hour0, at(1.5))
			},
			[]string{"1 inventory", "2 inventory", "3 inventory"},
			5,
		},
		{
			"an outage of five hours", func(y *yard) {
				y.samples("n", at(0), at(5), at(5))
				y.samples("m", at(0), at(0.5), at(0.5))
				y.scheduled(at(9))
			},
			func(y *yard) {
				y.samples("m", at(5.4), at(6)+30*unit.Second, at(6))
				y.samples("n", at(5), at(9), at(6))
			},
			[]string{"0 cut", "1 cut", "2 cut", "3 cut", "4 cut"},
			6,
		},
	}
	for _, c := range cases {
		if !long && !slices.Contains(always, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			finish := func(y *yard) {
				if c.last < 6 {
					y.samples("n", at(c.last-1)+30*unit.Second, at(c.last)+30*unit.Second, at(c.last))
					if c.last < 5 {
						y.samples("m", at(c.last-1)+30*unit.Second, at(c.last)+30*unit.Second, at(c.last))
					}
					y.scheduled(at(c.last))
				}
			}
			inTime := newYard(t, conn, s)
			c.early(inTime)
			c.late(inTime)
			finish(inTime)
			inTime.close()
			inTime.store = s
			want, n := inTime.sums(int(c.last)), len(inTime.batches)
			if a := inTime.adjustments(); len(a) != 0 && c.last < 6 {
				t.Errorf("all came in time, and the ledger holds adjustments: %v", a)
			}
			y := newYard(t, conn, s)
			c.early(y)
			y.close()
			closed := uint64(len(y.batches))
			before := y.export(nil)
			c.late(y)
			finish(y)
			y.close()
			if got := y.sums(int(c.last)); !reflect.DeepEqual(got, want) {
				for k, e := range want {
					if !reflect.DeepEqual(got[k], e) {
						t.Errorf("%s\nlate:    %+v\nin time: %+v", k, got[k], e)
					}
				}
				for k, e := range got {
					if _, ok := want[k]; !ok {
						t.Errorf("%s\nlate:    %+v\nin time: nothing", k, e)
					}
				}
			}
			if len(y.batches) != n {
				t.Errorf("%d batches late, %d in time", len(y.batches), n)
			}
			if got := y.export(report.AsOf{"s": closed}); got != before {
				t.Error("the ledger as of before is not what it was")
			}
			checkSums(t, conn)
			// And a recomputation that shares nothing with closing says the same.
			proof, err := verify.Run(t.Context(), NewAudit(conn), verify.Period{From: at(0), To: at(c.last)}, "")
			if err != nil || proof.Truth != (verify.Truth{}) || proof.Energy.Residual != 0 || proof.Time.Residual != 0 {
				t.Errorf("verified: %+v, %v", proof, err)
			}
			var hours []string
			for k := range y.adjustments() {
				hours = append(hours, k)
			}
			slices.Sort(hours)
			if !slices.Equal(hours, c.hours) && c.name != "a factor" {
				t.Errorf("adjusted %v, want %v", hours, c.hours)
			}
			// Twice equals once: nothing is pending, and to ask again books nothing.
			a, err := y.closer.Adjust(t.Context(), y.site, []unit.Micros{at(0), at(1), at(2)})
			if err != nil || a.Seal.Root != "" {
				t.Errorf("asked again: %+v, %v", a.Seal, err)
			}
		})
	}
}

// Data that comes as it is made touches no closed hour: nothing is evaluated twice, and nothing booked.
func TestDataInTimeTouchesNoClosedHour(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	y := newYard(t, conn, s)
	y.allocate("job", "GPU-a", "t1", 1000, at(0.5), 0, 1)
	for h := range 6 {
		y.samples("n", at(float64(h))+20*unit.Second*unit.Micros(min(h, 1)), at(float64(h+1))+20*unit.Second, at(float64(h+1)))
		y.samples("m", at(float64(h))+20*unit.Second*unit.Micros(min(h, 1)), at(float64(h+1))+20*unit.Second, at(float64(h+1)))
		y.scheduled(at(float64(h + 1)))
		if h == 4 {
			y.allocate("job", "GPU-a", "t1", 1000, at(0.5), at(5.5), 2)
		}
		changed, _, err := s.Changed(t.Context(), y.site, at(float64(h)), hour0)
		if err != nil || len(changed) != 0 {
			t.Errorf("before hour %d closes, %+v changed, %v", h, changed, err)
		}
		if n := y.close(); n != 1 {
			t.Fatalf("%d batches closed hour %d", n, h)
		}
	}
	if a := y.adjustments(); len(a) != 0 {
		t.Errorf("adjustments: %v", a)
	}
	// What lies before the first hour that was closed is in no account, and no hour to wait for a person.
	y.offset++
	y.line(wire.TopicSample, "n", 1, at(-1), at(-1)+60*unit.Second, at(6))
	if changed, _, err := s.Changed(t.Context(), y.site, at(6), at(-24)); err != nil || len(changed) != 0 {
		t.Errorf("samples from before the ledger: %+v changed, %v", changed, err)
	}
	// An hour of older rules stays one when a person has corrected it by the rules of today.
	exec(t, conn, `INSERT INTO seals (site, batch, root, hour, closing, rules) VALUES ('old', 0, 'a', %[1]d, 'complete', '2025-01'), ('old', 1, 'b', %[1]d, 'adjustment', '%[2]s')`,
		int64(hour0/unit.Second), ledger.Rules)
	if p, err := s.next(t.Context(), "old"); err != nil || p.RulesSince != 0 || p.Batch != 2 {
		t.Errorf("after a correction of older rules: %+v, %v", p, err)
	}
}
