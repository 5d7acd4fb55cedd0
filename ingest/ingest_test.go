package ingest_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

func TestEveryColumnArrivesAsItWasSent(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 2), database(t)
	s, r := newSender(t, conn), rand.New(rand.NewPCG(1, 2))
	want := map[string][]any{}
	rows := 0
	for _, node := range []string{"node-a", "node-b", "node-c"} {
		for seq := range uint64(4) {
			m := sampleBatch(r, node, seq, 3, 5)
			s.send(wire.TopicSample, node, m)
			rows += len(m.TickUs)
			expect(want, m)
		}
	}
	in := start(t, quick(), conn, fixed(db))
	ch := open(t, db)
	until(t, "all rows stored", func() bool { return one[uint64](t, ch, "SELECT count() FROM samples") >= uint64(rows) })

	sameRows(t, ch, want)
	until(t, "the lines of the messages", func() bool {
		return one[uint64](t, ch, "SELECT count() FROM messages WHERE rows = 15 AND topic = 'wl.sample.v1' AND site = 'paris-1' AND previous_run = ''") == 12
	})
	if off := one[uint64](t, ch, "SELECT countIf(m.kafka_partition != s.kafka_partition OR m.kafka_offset != s.kafka_offset OR m.received != s.received) "+
		"FROM samples s JOIN messages m ON m.source = s.node AND m.run = s.run AND m.seq = s.seq"); off != 0 {
		t.Errorf("%d rows do not agree with the line of their message about where it came from", off)
	}
	if last := one[time.Time](t, ch, "SELECT max(last_tick) FROM messages").UnixMicro(); last != noon+11_000_000 {
		t.Errorf("last tick is %d, want %d", last, noon+11_000_000)
	}
	if complete := one[time.Time](t, ch, "SELECT max(complete_up_to) FROM messages").UnixMicro(); complete != noon+9_000_000 {
		t.Errorf("complete up to %d, want %d", complete, noon+9_000_000)
	}
	until(t, "counting", func() bool { return in.counter(t, "wattledger_ingest_messages_total") == 12 })
	if v := in.counter(t, "wattledger_ingest_rows_total", "table", "samples"); v != float64(rows) {
		t.Errorf("rows counted: %v, want %d", v, rows)
	}
}

// sameRows compares every column of the rows stored with what was sent.
func sameRows(t *testing.T, ch driver.Conn, want map[string][]any) {
	t.Helper()
	var names []string
	for _, m := range record.Metrics {
		names = append(names, m.Name)
	}
	got, err := ch.Query(t.Context(), `SELECT site, node, device, run, seq, boot, driver, toInt8(energy_source), toUnixTimestamp64Micro(tick), energy_ts, period_ms, `+
		strings.Join(names, ", ")+` FROM samples`)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	n := 0
	for got.Next() {
		row := scan(t, got)
		key := fmt.Sprint(row[2], row[8])
		if w := want[key]; !reflect.DeepEqual(bits(row), bits(w)) {
			t.Errorf("device and tick %s:\n got %v\nwant %v", key, row, w)
		}
		n++
	}
	if err := got.Err(); err != nil {
		t.Fatal(err)
	}
	if n != len(want) {
		t.Errorf("%d rows stored, %d sent", n, len(want))
	}
}

// expect puts down the rows of a message as a query answers them.
func expect(want map[string][]any, m *wl.SampleBatch) {
	for i, tick := range m.TickUs {
		d := m.Devices[m.Device[i]]
		row := []any{
			m.Site, m.Node, d.Uuid, fmt.Sprintf("%x", m.Run), m.Sequence, fmt.Sprintf("%x", m.BootId), m.DriverVersion, int8(d.EnergySource),
			tick, m.EnergyTsUs[i], m.PeriodMs,
		}
		for _, c := range wire.Counters(m) {
			row = append(row, at(*c, i, record.AbsentCounter))
		}
		for _, c := range wire.Gauges(m) {
			row = append(row, at(*c, i, float32(math.NaN())))
		}
		for _, c := range wire.Codes(m) {
			row = append(row, at(*c, i, record.AbsentCode))
		}
		want[fmt.Sprint(d.Uuid, tick)] = row
	}
}

func at[T any](column []T, i int, absent T) T {
	if len(column) == 0 {
		return absent
	}
	return column[i]
}

// bits makes NaN equal to NaN.
func bits(row []any) []any {
	out := make([]any, len(row))
	for i, v := range row {
		if f, ok := v.(float32); ok {
			v = math.Float32bits(f)
		}
		out[i] = v
	}
	return out
}

func scan(t *testing.T, rows driver.Rows) []any {
	t.Helper()
	types := rows.ColumnTypes()
	targets := make([]any, len(types))
	for i, c := range types {
		targets[i] = reflect.New(c.ScanType()).Interface()
	}
	if err := rows.Scan(targets...); err != nil {
		t.Fatal(err)
	}
	for i := range targets {
		targets[i] = reflect.ValueOf(targets[i]).Elem().Interface()
	}
	return targets
}

func TestDimensionsArrive(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 1), database(t)
	s := newSender(t, conn)
	inventory := &wl.Inventory{
		SchemaVersion: 1, Revision: 7,
		Sites: []*wl.Site{{Id: "paris-1", Country: "FR", Zone: "FR", Operator: "Example Cloud", OperatorCountry: "FR", PueThousandths: 1250, AllocationSource: "slurm", ReadingSource: "bms"}},
		Nodes: []*wl.Node{{Id: "node-a", Site: "paris-1", Rack: "r1", Model: "HGX B200", RestMw: 1_200_000, FromUs: 1, ToUs: 2}},
		Devices: []*wl.Device{{
			Uuid: "GPU-1", ParentUuid: "P", Node: "node-a", Kind: wl.DeviceKind_DEVICE_KIND_MIG, Model: "B200", Serial: "s", Driver: "d", Vbios: "v", Index: 3, Slices: 2,
			EnergySource: wl.EnergySource_ENERGY_SOURCE_NONE, LimitMw: 1_000_000, IdleMw: 140_000, FromUs: 4, ToUs: 5,
		}},
		Tenants: []*wl.Tenant{
			{Id: "t1", Name: "Tenant One", Sector: "rail", SizeClass: "large", Country: "FR", VatId: "FR00", AllowedCountries: []string{"FR", "SE"}},
			{Id: "t2"},
		},
		Stays: []*wl.Stay{{Site: "paris-1", Node: "node-a", DeviceUuid: "GPU-1", FromUs: 6, ToUs: 7, Reason: "sold"}},
	}
	s.send(wire.TopicInventory, "paris-1", inventory)
	inventory.Revision, inventory.Sites[0].PueThousandths = 6, 1999 // older, though it comes later
	s.send(wire.TopicInventory, "paris-1", inventory)
	allocations := &wl.AllocationBatch{
		SchemaVersion: 1, Site: "paris-1", Source: "slurm", Run: runOf("slurm"), CompleteUpToUs: noon,
		Allocations: []*wl.Allocation{{
			AllocationId: "a1", DeviceUuid: "GPU-1", Thousandths: 500, StartUs: noon, EndUs: noon + 5, Tenant: "t1", Project: "p", Workload: "w", ModelId: "m",
			Purpose: "training", SchedulerRef: "job 1", Revision: 2,
		}, {AllocationId: "a2", DeviceUuid: "GPU-1", Thousandths: 500, StartUs: noon, Tenant: "t2", Revision: 1}},
	}
	s.send(wire.TopicAllocation, "paris-1", allocations)
	start(t, quick(), conn, fixed(db))
	ch := open(t, db)
	until(t, "three messages", func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") == 3 })

	f := func(query, want string) {
		t.Helper()
		if got := one[string](t, ch, query); got != want {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
	}
	f("SELECT toString(tuple(*)) FROM sites FINAL", "('paris-1','FR','FR','Example Cloud','FR',1250,'slurm',7,'bms')")
	f("SELECT toString(tuple(*)) FROM nodes FINAL", "('node-a','paris-1','r1','HGX B200',1200000,1,2,7)")
	f("SELECT toString(tuple(*)) FROM devices FINAL", "('GPU-1','P','node-a','mig','B200','s','d','v',3,2,'none',1000000,140000,4,5,7)")
	f("SELECT toString(tuple(*)) FROM tenants FINAL WHERE id = 't1'", "('t1','Tenant One','rail','large','FR','FR00',['FR','SE'],7)")
	f("SELECT toString(tuple(*)) FROM tenants FINAL WHERE id = 't2'", "('t2','','','','','',[],7)")
	f("SELECT toString(tuple(*)) FROM stays FINAL", "('paris-1','node-a','GPU-1',6,7,'sold',7)")
	f("SELECT toString(tuple(*)) FROM allocations FINAL WHERE id = 'a1'",
		fmt.Sprintf("('a1','paris-1','GPU-1',500,%d,%d,'t1','p','w','m','training','job 1',2)", noon, noon+5))
	f("SELECT toString(tuple(*)) FROM allocations FINAL WHERE id = 'a2'",
		fmt.Sprintf("('a2','paris-1','GPU-1',500,%d,0,'t2','','','','','',1)", noon))
	f("SELECT toString(tuple(site, source, rows, toUnixTimestamp64Micro(complete_up_to))) FROM messages WHERE topic = 'wl.allocation.v1'", fmt.Sprintf("('paris-1','slurm',2,%d)", noon))
}

// A producer without idempotence sends again what it got no answer for.
func TestAMessageSentTwiceCountsOnce(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 1), database(t)
	s, r := newSender(t, conn), rand.New(rand.NewPCG(3, 4))
	var sent []*wl.SampleBatch
	for _, seq := range []uint64{0, 1, 2, 5, 4} { // 3 is lost, 4 is late
		sent = append(sent, sampleBatch(r, "node-a", seq, 2, 2))
	}
	for _, i := range []int{0, 1, 2, 1, 2, 3, 4, 4} {
		s.send(wire.TopicSample, "node-a", sent[i])
	}
	in := start(t, quick(), conn, fixed(db))
	ch := open(t, db)
	until(t, "eight lines", func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") == 8 })
	f := func(what string, got, want float64) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	f("rows", float64(one[uint64](t, ch, "SELECT count() FROM samples")), 20)
	f("distinct rows", float64(one[uint64](t, ch, "SELECT uniqExact(run, seq, device, tick) FROM samples")), 20)
	f("lines of repeats", float64(one[uint64](t, ch, "SELECT countIf(rows = 0) FROM messages")), 3)
	until(t, "counting", func() bool { return in.counter(t, "wattledger_ingest_messages_total") == 5 })
	f("repeats", in.counter(t, "wattledger_ingest_repeats_total", "kind", "identity"), 3)
	f("missing", in.counter(t, "wattledger_ingest_missing_total"), 2)
	f("late", in.counter(t, "wattledger_ingest_late_total"), 1)

	// The same again to another ingester, which knows the runs from the database alone.
	in.stop()
	in = start(t, quick(), conn, fixed(db))
	for _, m := range sent {
		s.send(wire.TopicSample, "node-a", m)
	}
	until(t, "five more lines", func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") == 13 })
	f("rows after all was sent again", float64(one[uint64](t, ch, "SELECT count() FROM samples")), 20)
	until(t, "counting", func() bool { return in.counter(t, "wattledger_ingest_repeats_total", "kind", "identity") == 5 })
}

func TestRefusedMessagesAreKeptAndTheOthersGoThrough(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 1), database(t)
	ch := open(t, db)
	// A fault that only the store finds.
	if err := ch.Exec(t.Context(), "ALTER TABLE samples ADD CONSTRAINT test CHECK node != 'poison'"); err != nil {
		t.Fatal(err)
	}
	s, r := newSender(t, conn), rand.New(rand.NewPCG(5, 6))
	seq := uint64(0)
	good := func() {
		s.send(wire.TopicSample, "node-a", sampleBatch(r, "node-a", seq, 1, 2))
		seq++
	}
	bad := func(node string, spoil func(m *wl.SampleBatch)) {
		m := sampleBatch(r, node, 0, 2, 2)
		spoil(m)
		good()
		s.send(wire.TopicSample, node, m)
	}
	good()
	s.raw(wire.TopicSample, "node-x", []byte("this is no protobuf"))
	bad("anonymous", func(m *wl.SampleBatch) { m.Run = nil })
	bad("crooked", func(m *wl.SampleBatch) { m.EnergyMj = []uint64{1} })
	bad("past", func(m *wl.SampleBatch) { m.TickUs[0] = 5 })
	bad("twins", func(m *wl.SampleBatch) { m.Devices[1].Uuid = m.Devices[0].Uuid })
	bad("future", func(m *wl.SampleBatch) { m.Devices[1].EnergySource = 99 })
	bad("poison", func(*wl.SampleBatch) {})
	bad("poison", func(m *wl.SampleBatch) { m.Sequence = 1 })
	good()
	s.send(wire.TopicInventory, "paris-1", &wl.Inventory{Sites: []*wl.Site{{Id: "no country"}}})
	s.send(wire.TopicAllocation, "paris-1", &wl.AllocationBatch{Site: "paris-1", Source: "slurm", Run: runOf("x"), Allocations: []*wl.Allocation{{AllocationId: "a"}}})

	in := start(t, quick(), conn, fixed(db))
	until(t, "all good rows", func() bool { return one[uint64](t, ch, "SELECT count() FROM samples") == 2*seq })
	until(t, "all refused", func() bool { return in.counter(t, "wattledger_ingest_refused_total") == 10 })
	want := map[string]int{"undecodable": 1, "no_identity": 1, "shape": 3, "time": 1, "invalid": 4}
	for reason, n := range want {
		if got := in.counter(t, "wattledger_ingest_refused_total", "reason", reason); got != float64(n) {
			t.Errorf("refused as %s: %v, want %d", reason, got, n)
		}
	}
	got := map[string]int{}
	for _, value := range readAll(t, conn, wire.TopicRefused, 10) {
		var m wl.Refused
		if err := proto.Unmarshal(value, &m); err != nil {
			t.Fatal(err)
		}
		got[m.Reason]++
		if m.Topic == "" || m.Detail == "" || len(m.Value) == 0 || m.ReceivedUs < noon || len(m.Key) == 0 {
			t.Errorf("refused without origin: %v", &m)
		}
		if m.Reason == "undecodable" && string(m.Value) != "this is no protobuf" {
			t.Errorf("kept %q", m.Value)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	if n := one[uint64](t, ch, "SELECT count() FROM messages WHERE source = 'poison'"); n != 0 {
		t.Errorf("%d lines for messages that were refused", n)
	}
}
