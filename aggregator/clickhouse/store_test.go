package clickhouse

import (
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

const hour0 = 1_790_000_000_000_000 / unit.Hour * unit.Hour

// migrated brings a database to our schema.
func migrated(ctx context.Context, cfg chconn.Config) error {
	db, err := chconn.OpenDB(ctx, cfg)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = schema.Migrate(ctx, db, schema.Flavour{})
	return err
}

// open is a store on a fresh, migrated database.
func open(t *testing.T) (*Store, driver.Conn) {
	t.Helper()
	cfg := chtest.StartLike(t, migrated)
	conn, err := chconn.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s, err := New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return s, conn
}

func exec(t *testing.T, conn driver.Conn, format string, args ...any) {
	t.Helper()
	if err := conn.Exec(t.Context(), fmt.Sprintf(format, args...)); err != nil {
		t.Fatal(err)
	}
}

// plant is a site with one node, two whole GPUs, one MIG GPU and its instance; two hours read every 10 s at 500 W.
func plant(t *testing.T, conn driver.Conn) record.Site {
	t.Helper()
	exec(t, conn, `INSERT INTO sites (id, country, zone, operator, operator_country, pue_thousandths, allocation_source, revision) VALUES ('s', 'FR', 'FR', 'op', 'FR', 1200, 'sched', 1)`)
	exec(t, conn, `INSERT INTO nodes VALUES ('n', 's', 'r', 'HGX B200', 1000000, %d, 0, 1)`, hour0)
	exec(t, conn, `INSERT INTO devices VALUES
		('GPU-a', '', 'n', 'gpu', 'NVIDIA B200', '', 'd', 'v', 0, 0, 'hardware', 1000000, 0, %[1]d, 0, 1),
		('GPU-b', '', 'n', 'gpu', 'NVIDIA B200', '', 'd', 'v', 1, 0, 'hardware', 1000000, 0, %[1]d, 0, 1),
		('GPU-m', '', 'n', 'gpu', 'NVIDIA B200', '', 'd', 'v', 2, 7, 'hardware', 1000000, 0, %[1]d, 0, 1),
		('MIG-1', 'GPU-m', 'n', 'mig', 'NVIDIA B200', '', 'd', 'v', 0, 3, 'none', 0, 0, %[1]d, 0, 1)`, hour0)
	exec(t, conn, `INSERT INTO allocations VALUES
		('one', 's', 'GPU-a', 1000, %d, %d, 't1', 'p', 'w', 'm', 'training', 'x', 1),
		('two', 's', 'MIG-1', 1000, %d, 0, 't2', 'p', 'w', 'm', 'inference', 'x', 1)`, hour0+600_123_000, hour0+unit.Hour+17_000, hour0+1_000_000)
	var values []string
	add := func(device, source string, tick, ts, energy unit.Micros, active int64, seq int) {
		values = append(values, fmt.Sprintf("('s', 'n', '%s', 'run', %d, 'boot', 'd', '%s', fromUnixTimestamp64Micro(%d), %d, 10000, now(), 0, 0, %d, %d, %d, %d, 7, 7)",
			device, seq, source, tick, uint64(ts), uint64(energy), uint64(energy), active, active))
	}
	for i := range 721 {
		tick := hour0 + unit.Micros(i)*10*unit.Second
		ts := tick - 30_000
		if i == 0 {
			ts = tick
		}
		mj := (ts - hour0) / 2   // 500 W
		for range 1 + i%100/99 { // now and then a delivery comes twice
			add("GPU-a", "hardware", tick, ts, mj, int64(i), i)
			add("GPU-b", "hardware", tick, ts, mj, int64(i), i)
			add("GPU-m", "hardware", tick, ts, mj, int64(i), i)
			add("MIG-1", "none", tick, -1, -1, int64(i)*1000, i)
		}
	}
	exec(t, conn, `INSERT INTO samples (site, node, device, run, seq, boot, driver, energy_source, tick, energy_ts, period_ms, received, kafka_partition,
		kafka_offset, energy_mj, power_integral_mj, gr_engine_active_us, sm_active_us, ticks_expected, ticks_read) VALUES %s`, strings.Join(values, ","))
	declare(t, conn, wire.TopicSample, "n", hour0+2*unit.Hour)
	declare(t, conn, wire.TopicAllocation, "sched", hour0+2*unit.Hour)
	return record.Site{ID: "s", Country: "FR", Zone: "FR", PUEThousandths: 1200, AllocationSource: "sched"}
}

// declare stores the line of a message that declares its source complete.
func declare(t *testing.T, conn driver.Conn, topic, source string, upTo unit.Micros) {
	t.Helper()
	exec(t, conn, `INSERT INTO messages VALUES ('%s', 's', '%s', 'run', 0, '', 0, 1, fromUnixTimestamp64Micro(%d), 1, now(), now(), now(), 0, 0)`, topic, source, upTo)
}

func TestLoadKeepsWhatClosingNeeds(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	p, err := s.Progress(t.Context(), site)
	if err != nil || p.Next != hour0 || len(p.Waiting) != 0 {
		t.Fatalf("progress %+v, %v", p, err)
	}
	h, err := s.Load(t.Context(), site, hour0)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	for _, d := range h.Nodes[0].Devices {
		rows[d.UUID] = len(d.Points) + len(d.Work)
		if p := d.Packed; p != nil {
			rows[d.UUID] = len(p.Points()) + len(p.Work())
		}
	}
	// GPU-a is cut at its edges and the hour's, GPU-b at the hour's only, and both where a delivery came twice; the MIG GPU
	// needs every interval.
	if rows["GPU-a"] > 32 || rows["GPU-b"] > 24 || rows["GPU-m"] < 361 || rows["MIG-1"] < 360 {
		t.Errorf("rows by device: %v", rows)
	}
	closed, err := closing.Close(h)
	if err != nil {
		t.Fatal(err)
	}
	var measured unit.Millijoules
	byTenant := map[string]unit.Millijoules{}
	for _, e := range closed.Entries {
		measured += e.Measured
		byTenant[e.Tenant] += e.GPU
	}
	if want := unit.Millijoules(3 * 3600 * 500_000); measured != want {
		t.Errorf("measured %d mJ, want %d", measured, want)
	}
	if want := unit.Millijoules((3600_000 - 600_123) * 500); byTenant["t1"] != want {
		t.Errorf("t1 has %d mJ, want %d", byTenant["t1"], want)
	}
}

// Two hours one after the other sum to what the counters rose by; writing a batch twice changes nothing.
func TestAppendIsIdempotent(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	for range 2 {
		batch := batchOf(t, s, site)
		for range 2 {
			if err := s.Append(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		// A rival attempt that never sealed is not seen.
		rival := batch.Seal
		rival.Root = "rival"
		if err := s.insertEntries(t.Context(), rival, batch.Lines); err != nil {
			t.Fatal(err)
		}
	}
	var n, measured int64
	if err := conn.QueryRow(t.Context(), "SELECT toInt64(count()), sum(measured_mj) FROM entry").Scan(&n, &measured); err != nil {
		t.Fatal(err)
	}
	if want := int64(3 * (7200_000 - 30) * 500); measured != want {
		t.Errorf("%d entries measure %d mJ, want %d", n, measured, want)
	}
	p, err := s.Progress(t.Context(), site)
	if err != nil || p.Batch != 2 || len(p.Waiting) != 2 {
		t.Errorf("progress %+v, %v", p, err)
	}
}

// A site whose nodes are all gone waits for the next one: it does not close hour after hour into the future.
func TestASiteWithoutNodesWaits(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	site.AllocationSource = "" // nobody else has to declare anything
	waiting := func(what string, want ...string) {
		t.Helper()
		p, err := s.Progress(t.Context(), site)
		if err != nil || !slices.Equal(p.Waiting, want) {
			t.Errorf("%s: waits for %v, want %v; %v", what, p.Waiting, want, err)
		}
	}
	waiting("its node has declared two hours complete")
	exec(t, conn, `INSERT INTO nodes VALUES ('n', 's', 'r', 'HGX B200', 1000000, %d, %d, 2)`, hour0-10*unit.Hour, hour0-9*unit.Hour)
	exec(t, conn, `INSERT INTO seals (site, batch, root, hour) VALUES ('s', 0, 'r', %d)`, (hour0+unit.Hour)/unit.Second)
	waiting("its node left long ago", "a node of s")
	exec(t, conn, `INSERT INTO messages VALUES ('wl.sample.v1', 's', 'later', 'run', 0, '', 0, 1, fromUnixTimestamp64Micro(%d), 1, now(), now(), now(), 0, 9)`, hour0+9*unit.Hour)
	waiting("another has come since")
}

// Where nodes state who holds their devices, an hour waits for that of each node, besides the node itself. What a node says
// of its meters holds nothing up, and neither speaks for the node.
func TestAnHourWaitsForTheAllocationsOfEachNode(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	site.AllocationSource = record.AllocationsByNodes
	exec(t, conn, `INSERT INTO nodes VALUES ('o', 's', 'r', 'HGX B200', 0, %d, %d, 1)`, hour0, hour0+unit.Hour/2)
	exec(t, conn, `INSERT INTO devices VALUES ('GPU-o', '', 'o', 'gpu', 'NVIDIA B200', '', 'd', 'v', 0, 0, 'hardware', 1000000, 0, 0, 0, 1)`)
	waiting := func(what string, want ...string) {
		t.Helper()
		p, err := s.Progress(t.Context(), site)
		if err != nil || !slices.Equal(p.Waiting, want) || p.Newest != hour0+2*unit.Hour {
			t.Errorf("%s: waits for %v, want %v; newest %d, %v", what, p.Waiting, want, p.Newest, err)
		}
	}
	waiting("only one node has spoken, of itself", "n/allocations", "o", "o/allocations")
	declare(t, conn, wire.TopicAllocation, "n/allocations", hour0+3*unit.Hour)
	declare(t, conn, wire.TopicReading, "o/meters", hour0+3*unit.Hour)
	declare(t, conn, wire.TopicReading, "o", hour0+3*unit.Hour)
	declare(t, conn, wire.TopicAllocation, "o", hour0+3*unit.Hour)
	waiting("the other has spoken of its meters", "o", "o/allocations")
	declare(t, conn, wire.TopicAllocation, "o/allocations", hour0+unit.Hour/2)
	waiting("a node that leaves within the hour has declared its allocations up to then", "o")
	declare(t, conn, wire.TopicSample, "o", hour0+unit.Hour/2)
	waiting("and itself")
}

func TestIncidentsAreCountedByNodeAndKind(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	for i, kind := range []string{"gap", "gap", "gap", "loss"} {
		exec(t, conn, `INSERT INTO incidents VALUES ('s', 'n', '%s', 'why', '', %d, %d, 1, '', 0, 0, fromUnixTimestamp64Micro(%d), '', 0)`, kind, hour0+unit.Micros(i/2), hour0+10, hour0+unit.Micros(i))
	}
	exec(t, conn, `INSERT INTO incidents VALUES ('s', 'n', 'restart', 'hung', '', %d, %[1]d, 1, '', 0, 0, fromUnixTimestamp64Micro(%[1]d), '', 0)`, hour0-1)
	got, err := s.Incidents(t.Context(), hour0)
	want := []NodeIncidents{{"s", "n", "gap", "why", 2, hour0 + 10}, {"s", "n", "loss", "why", 1, hour0 + 10}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("incidents %+v, want %+v; %v", got, want, err)
	}
}

// A gap record stays; what arrived since, or stands in another record too, is not missing.
func TestMissingIsWhatHasNotArrived(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	gap := func(source, run string, first, last uint64) {
		exec(t, conn, `INSERT INTO incidents VALUES ('s', '%s', 'missing', 'hole', '', %d, %d, %d, '%s', %d, %d, now64(6), '%s', %[7]d)`,
			source, hour0, hour0+unit.Micros(last), last-first+1, run, first, last, wire.TopicSample)
	}
	arrive := func(source, run string, seq uint64) {
		exec(t, conn, `INSERT INTO messages VALUES ('%s', 's', '%s', '%s', %d, '', 0, 1, now(), 1, now(), now(), now(), 0, 8)`, wire.TopicSample, source, run, seq)
	}
	gap("n", "r1", 3, 9)
	gap("n", "r1", 3, 5)
	gap("n", "r1", 8, 12)
	gap("n", "r2", 0, 0)
	gap("n", "r2", 2, 2)
	gap("o", "r3", 7, 7)
	arrive("n", "r1", 4)
	arrive("n", "r1", 4)
	arrive("n", "r1", 9)
	arrive("n", "r1", 13)
	arrive("n", "r2", 2)
	arrive("n", "r3", 7) // another's
	got, err := s.Missing(t.Context())
	want := []Missing{{"s", wire.TopicSample, "n", 3, 9, hour0, hour0 + 12}, {"s", wire.TopicSample, "o", 1, 1, hour0, hour0 + 7}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("missing %+v, want %+v; %v", got, want, err)
	}
}

// A node that is replaced by one of another name never speaks again: the new one's word lets the lateness limit pass.
func TestNewestIsOfAnyNode(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	exec(t, conn, `INSERT INTO seals (site, batch, root, hour) VALUES ('s', 1, 'r', %d)`, (hour0+unit.Hour)/unit.Second)
	exec(t, conn, `INSERT INTO messages VALUES ('wl.sample.v1', 's', 'n-new', 'run', 0, '', 0, 1, fromUnixTimestamp64Micro(%d), 1, now(), now(), now(), 0, 8)`, hour0+30*unit.Hour)
	exec(t, conn, `INSERT INTO messages VALUES ('wl.allocation.v1', 's', 'sched', 'run', 0, '', 0, 1, fromUnixTimestamp64Micro(%d), 1, now(), now(), now(), 0, 9)`, hour0+90*unit.Hour)
	p, err := s.Progress(t.Context(), site)
	if err != nil || p.Newest != hour0+30*unit.Hour || !slices.Equal(p.Waiting, []string{"n"}) {
		t.Errorf("progress %+v, %v", p, err)
	}
}

func TestAllocationsOfUnknownDevicesAreLoadedToBeNamed(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	exec(t, conn, `INSERT INTO allocations VALUES ('typo', 's', 'GPU-A', 1000, %d, 0, 't1', 'p', 'w', 'm', 'training', 'x', 1)`, hour0+1)
	h, err := s.Load(t.Context(), site, hour0)
	if err != nil || len(h.Strays) != 1 || h.Strays[0].ID != "typo" {
		t.Errorf("strays %+v, %v", h.Strays, err)
	}
}

// The engine's 128-bit arithmetic gives the cuts that package window gives: both are held against one file.
func TestCutVectors(t *testing.T) {
	t.Parallel()
	_, conn := open(t)
	file, err := os.Open("../window/testdata/cuts.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := csv.NewReader(file)
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil || len(rows) < 10 {
		t.Fatalf("%d vectors, %v", len(rows), err)
	}
	var tuples []string
	for _, row := range rows[1:] {
		tuples = append(tuples, "(toInt64("+strings.Join(row, "), toInt64(")+"))")
	}
	var wrong []string
	// The expression is the one of meteredSQL.
	if err := conn.QueryRow(t.Context(), `
		SELECT groupArrayIf(toString(v), v.3 + toInt64(intDiv(toInt128(v.4 - v.3) * (v.5 - v.1), v.2 - v.1)) != v.6)
		FROM (SELECT arrayJoin([`+strings.Join(tuples, ",")+`]) AS v)`).Scan(&wrong); err != nil {
		t.Fatal(err)
	}
	for _, v := range wrong {
		t.Errorf("the engine cuts %s otherwise", v)
	}
}

// A GPU that was moved to another node is still stated on the one it left. It counts once, where it was stated last.
func TestAMovedDeviceCountsOnce(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	exec(t, conn, `INSERT INTO nodes VALUES ('a-new', 's', 'r', 'HGX B200', 0, %d, 0, 1)`, hour0)
	exec(t, conn, `INSERT INTO devices VALUES ('GPU-a', '', 'a-new', 'gpu', 'NVIDIA B200', '', 'd', 'v', 0, 0, 'hardware', 1000000, 0, 0, 0, 2)`)
	h, err := s.Load(t.Context(), site, hour0)
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]string{}
	for _, n := range h.Nodes {
		for _, d := range n.Devices {
			if before, ok := at[d.UUID]; ok {
				t.Errorf("%s is on %s and on %s", d.UUID, before, n.ID)
			}
			at[d.UUID] = n.ID
		}
	}
	if at["GPU-a"] != "a-new" || at["GPU-b"] != "n" {
		t.Errorf("devices are on %v", at)
	}
	res, err := closing.Close(h)
	if err != nil {
		t.Fatal(err)
	}
	var measured unit.Millijoules
	for _, e := range res.Entries {
		measured += e.Measured
	}
	if want := unit.Millijoules(3 * 3600 * 500_000); measured != want {
		t.Errorf("measured %d mJ, want %d", measured, want)
	}
}
