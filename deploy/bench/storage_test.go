//go:build bench

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	ingest "github.com/wattledger/wattledger/ingest/clickhouse"
	"github.com/wattledger/wattledger/ingest/rollup"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// storage is the engine with a slice of a day in memory.
type storage struct {
	t      *testing.T
	engine *chtest.Process
	cfg    chconn.Config
	conn   driver.Conn
	rows   float64
	made   int
}

// field is a column of a table as it is declared.
type field struct{ name, typ, codec string }

// layout is a table that is measured.
type layout struct {
	name   string
	fields []field
	order  string
}

// weight is what a layout came to.
type weight struct {
	layout
	bytes         float64 // a row, marks and indexes included
	insert, merge float64 // CPU seconds of the engine a million rows
	columns       map[string]float64
}

func startStorage(t *testing.T) *storage {
	t.Helper()
	s := &storage{t: t, engine: chtest.StartAt(t, t.TempDir())}
	s.cfg = s.engine.Config(t)
	db, err := chconn.OpenDB(t.Context(), s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := schema.Migrate(t.Context(), db, schema.Flavour{}); err != nil {
		t.Fatal(err)
	}
	if s.conn, err = chconn.Open(t.Context(), s.cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.conn.Close() })
	return s
}

func (s *storage) exec(statement string) {
	s.t.Helper()
	ctx := clickhouse.Context(s.t.Context(), clickhouse.WithSettings(clickhouse.Settings{"allow_suspicious_codecs": 1}))
	if err := s.conn.Exec(ctx, statement); err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
}

// fields are the columns of a table as the engine has them.
func (s *storage) fields(table string) []field {
	s.t.Helper()
	rows, err := s.conn.Query(s.t.Context(), "SELECT name, type, compression_codec FROM system.columns WHERE database = currentDatabase() AND table = '"+table+"' ORDER BY position")
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	var out []field
	for rows.Next() {
		var f field
		if err := rows.Scan(&f.name, &f.typ, &f.codec); err != nil {
			s.t.Fatal(err)
		}
		f.codec = strings.TrimSuffix(strings.TrimPrefix(f.codec, "CODEC("), ")")
		out = append(out, f)
	}
	return out
}

// fill puts the slice into the table day, in the order of arrival.
func (s *storage) fill(sl slice, as []field) {
	s.t.Helper()
	s.exec("DROP TABLE IF EXISTS day")
	s.exec(create("day", layout{fields: as}, "Memory"))
	s.rows = float64(sl.nodes * sl.perNode * sl.seconds)
	err := sl.play(func(c *columns) error {
		b, err := s.conn.PrepareBatch(context.Background(), "INSERT INTO day")
		if err != nil {
			return err
		}
		return c.into(b)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// create is the statement that makes a table.
func create(table string, l layout, engine string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s (", table)
	for i, f := range l.fields {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %s", f.name, f.typ)
		if f.codec != "" && engine != "Memory" {
			fmt.Fprintf(&b, " CODEC(%s)", f.codec)
		}
	}
	fmt.Fprintf(&b, ") ENGINE = %s", engine)
	if l.order != "" {
		fmt.Fprintf(&b, " ORDER BY %s SETTINGS auto_statistics_types = ''", l.order)
	}
	return b.String()
}

// cpu is what the engine has used so far.
func (s *storage) cpu() time.Duration {
	s.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.engine.PID()))
	if err != nil {
		s.t.Fatal(err)
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	return time.Duration(number(s.t, f[11])+number(s.t, f[12])) * 10 * time.Millisecond
}

// weigh loads the slice from memory into a new table, merges it to one part, and reads what it takes. Of three inserts the cheapest
// counts.
func (s *storage) weigh(l layout, from string) weight {
	s.t.Helper()
	s.made++
	table := fmt.Sprintf("t%d", s.made)
	w := weight{layout: l, columns: map[string]float64{}}
	for try := range 3 {
		s.exec("DROP TABLE IF EXISTS " + table + " SYNC")
		s.exec(create(table, l, "MergeTree"))
		begun := s.cpu()
		s.exec("INSERT INTO " + table + " SELECT * FROM " + from + " SETTINGS max_threads = 1, max_insert_threads = 1, max_insert_block_size = 131072, max_block_size = 131072")
		if cost := (s.cpu() - begun).Seconds() / s.rows * 1e6; try == 0 || cost < w.insert {
			w.insert = cost
		}
	}
	begun := s.cpu()
	s.exec("OPTIMIZE TABLE " + table + " FINAL")
	w.merge = (s.cpu() - begun).Seconds() / s.rows * 1e6
	var bytes uint64
	if err := s.conn.QueryRow(s.t.Context(), "SELECT sum(data_compressed_bytes + marks_bytes + primary_key_size + secondary_indices_compressed_bytes) FROM system.parts WHERE active AND database = currentDatabase() AND table = '"+table+"'").Scan(&bytes); err != nil {
		s.t.Fatal(err)
	}
	w.bytes = float64(bytes) / s.rows
	rows, err := s.conn.Query(s.t.Context(), "SELECT column, sum(column_data_compressed_bytes) FROM system.parts_columns WHERE active AND database = currentDatabase() AND table = '"+table+"' GROUP BY column")
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var n uint64
		if err := rows.Scan(&name, &n); err != nil {
			s.t.Fatal(err)
		}
		w.columns[name] = float64(n) / s.rows
	}
	s.exec("DROP TABLE " + table + " SYNC")
	return w
}

const byHour = "(site, toStartOfHour(tick), device, tick)"

// with is the fields, with the codec for those that pick picks.
func with(fields []field, codec string, pick func(field) bool) []field {
	out := slices.Clone(fields)
	for i := range out {
		if pick(out[i]) {
			out[i].codec = codec
		}
	}
	return out
}

func isMetric(kinds ...record.Kind) func(field) bool {
	return func(f field) bool {
		return slices.ContainsFunc(record.Metrics, func(m record.Metric) bool { return m.Name == f.name && slices.Contains(kinds, m.Kind) })
	}
}

// isText picks the words of samples, isUUID those that are made of 16 bytes.
func isText(f field) bool { return f.typ == "LowCardinality(String)" }
func isUUID(f field) bool { return slices.Contains([]string{"device", "run", "boot"}, f.name) }

func isWatts(f field) bool {
	return strings.HasPrefix(f.name, "power_") && f.typ == "Float32" && f.name != "power_limit_w"
}

func named(names ...string) func(field) bool {
	return func(f field) bool { return slices.Contains(names, f.name) }
}

// typed is the fields with another type, and codec, for those that pick picks.
func typed(fields []field, typ, codec string, pick func(field) bool) []field {
	out := slices.Clone(fields)
	for i := range out {
		if pick(out[i]) {
			out[i].typ, out[i].codec = typ, codec
		}
	}
	return out
}

// before are the columns of samples as the migrations before the one for storage made them.
func (s *storage) before() []field {
	s.t.Helper()
	fsys, err := schema.Render(schema.Flavour{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, made := range []struct{ file, statement string }{
		{"00001_samples.sql", `(?s)CREATE TABLE samples\n.*?;\n`}, {"00004_incidents_readings.sql", `ALTER TABLE samples ADD COLUMN[^;]*;`},
	} {
		text, err := fs.ReadFile(fsys, made.file)
		if err != nil {
			s.t.Fatal(err)
		}
		statement := regexp.MustCompile(made.statement).FindString(string(text))
		s.exec(strings.TrimSuffix(strings.TrimSpace(strings.Replace(statement, "TABLE samples", "TABLE samples_before", 1)), ";"))
	}
	return s.fields("samples_before")
}

// limit estimates how many bytes of a column's row no codec of that column alone can save: the entropy of the values, or of their steps,
// device by device, whichever is less. Of values that hardly repeat the low bits count as pure noise and the rest is measured. The
// correction of Miller and Madow is in it.
func (s *storage) limit(f field) float64 {
	s.t.Helper()
	value := "toInt64(" + f.name + ")"
	switch {
	case strings.HasPrefix(f.typ, "DateTime64"):
		value = "toUnixTimestamp64Micro(" + f.name + ")"
	case f.typ == "Float32":
		value = "toInt64(round(" + f.name + " * 1000))"
	}
	h := func(x string) float64 {
		var bits float64
		// Steps of a device that are all different have at most log2(n) bits by counting: they are cut to their high bits first.
		query := "SELECT avg(h) FROM (SELECT device, if(u < n / 2, e0 + (u - 1) / (2 * n * ln(2)), k + ek + (uk - 1) / (2 * n * ln(2))) AS h FROM (" +
			"SELECT device, count() AS n, uniqExact(x) AS u, entropy(x) AS e0, any(low) AS k, entropy(bitShiftRight(x, low)) AS ek, uniqExact(bitShiftRight(x, low)) AS uk FROM (" +
			"SELECT device, x + 4611686018427387904 AS x, greatest(0, toInt64(ceil(log2(1 + max(x) OVER w - min(x) OVER w))) - 9) AS low FROM (" +
			"SELECT device, if(max(abs(x % 100)) OVER w = 0, intDiv(x, 100), x) AS x FROM (SELECT device, tick, " + x + " AS x, row_number() OVER (PARTITION BY device ORDER BY tick) AS i FROM (SELECT device, tick, " + value + " AS v FROM day)) " +
			"WHERE i > 1 WINDOW w AS (PARTITION BY device)) WINDOW w AS (PARTITION BY device)) GROUP BY device))"
		if err := s.conn.QueryRow(s.t.Context(), query).Scan(&bits); err != nil {
			s.t.Fatalf("entropy of %s: %v", f.name, err)
		}
		return bits / 8
	}
	return min(h("v"), h("v - lagInFrame(v) OVER (PARTITION BY device ORDER BY tick)"))
}

// storageFigures is the last line.
type storageFigures struct {
	Seed           uint64  `json:"seed"`
	Rows           int     `json:"rows"`
	Naive          float64 `json:"naive_bytes_per_row"`
	Before         float64 `json:"before_bytes_per_row"`
	Shipped        float64 `json:"bytes_per_row"`
	Limit          float64 `json:"entropy_bytes_per_row"`
	Ratio          float64 `json:"ratio_to_naive"`
	NaiveInsert    float64 `json:"naive_insert_cpu_s_per_million"`
	BeforeInsert   float64 `json:"before_insert_cpu_s_per_million"`
	ShippedInsert  float64 `json:"insert_cpu_s_per_million"`
	InsertRatio    float64 `json:"insert_cpu_ratio_naive_to_shipped"`
	ShippedMerge   float64 `json:"merge_cpu_s_per_million"`
	JitterNaive    float64 `json:"jitter_naive_bytes_per_row"`
	JitterBefore   float64 `json:"jitter_before_bytes_per_row"`
	Jitter         float64 `json:"jitter_bytes_per_row"`
	JitterLimit    float64 `json:"jitter_entropy_bytes_per_row"`
	MessagesBefore float64 `json:"messages_before_bytes_per_line"`
	Messages       float64 `json:"messages_bytes_per_line"`
	// By level: 10 s, a minute, an hour. CPU is for a million samples.
	RollupBytes [3]float64 `json:"rollup_bytes_per_bucket"`
	RollupCPU   [3]float64 `json:"rollup_cpu_s_per_million_samples"`
}

// TestStorage prints what the layouts of samples come to on the same rows.
func TestStorage(t *testing.T) {
	s := startStorage(t)
	before, shipped := s.before(), s.fields("samples")
	sl := slice{seed: 7, nodes: 10, perNode: 8, seconds: int(min(time.Hour, seconds(t)*6).Seconds()), partition: 2, count: 300}
	naiveFields := with(typed(typed(before, "String", "", isText), "Float64", "", isMetric(record.Gauge)), "", func(field) bool { return true })
	naiveFields = typed(naiveFields, "UInt64", "", isMetric(record.Code))
	naive := layout{"naive: Float64, UInt64, String, LZ4", naiveFields, "(device, tick)"}
	old, now := layout{"before: as migrations 1 to 4 made it", before, byHour}, layout{"shipped", shipped, byHour}
	f := storageFigures{Seed: sl.seed}

	fmt.Printf("seed %d, %d devices × %d s, exact intervals\n\n", sl.seed, sl.nodes*sl.perNode, sl.seconds)
	s.fill(sl, shipped)
	f.Rows = int(s.rows)
	line := func(w, than weight) {
		fmt.Printf("  %-58s %8.2f %+8.2f %10.2f %8.2f\n", w.name, w.bytes, w.bytes-than.bytes, w.insert, w.merge)
	}
	fmt.Printf("  %-58s %8s %8s %10s %8s\n", "layout", "B/row", "change", "insert", "merge")
	wn := s.weigh(naive, "day")
	line(wn, wn)
	wb := s.weigh(old, "day")
	line(wb, wb)
	ws := s.weigh(now, "day")
	line(ws, wb)
	fmt.Println("  one change to what was before")
	each := func(than weight, name string, fields []field, order string) {
		line(s.weigh(layout{name, fields, order}, "day"), than)
	}
	counters := isMetric(record.Counter)
	each(wb, "counters: LZ4", with(before, "", counters), byHour)
	each(wb, "counters: Delta, LZ4", with(before, "Delta, LZ4", counters), byHour)
	each(wb, "counters: Delta, ZSTD(3)", with(before, "Delta, ZSTD(3)", counters), byHour)
	each(wb, "counters: DoubleDelta, ZSTD(1)", with(before, "DoubleDelta, ZSTD(1)", counters), byHour)
	each(wb, "counters: Delta, T64, ZSTD(1)", with(before, "Delta, T64, ZSTD(1)", counters), byHour)
	each(wb, "counters: Delta, T64('bit'), ZSTD(1)", with(before, "Delta, T64('bit'), ZSTD(1)", counters), byHour)
	each(wb, "counters: GCD, Delta, T64('bit'), ZSTD(1)", with(before, "GCD, Delta, T64('bit'), ZSTD(1)", counters), byHour)
	each(wb, "gauges: Gorilla, ZSTD(1)", with(before, "Gorilla, ZSTD(1)", isMetric(record.Gauge)), byHour)
	each(wb, "gauges: FPC, ZSTD(1)", with(before, "FPC, ZSTD(1)", isMetric(record.Gauge)), byHour)
	each(wb, "times: Delta, ZSTD(3)", with(before, "Delta, ZSTD(3)", named("tick", "energy_ts", "seq")), byHour)
	each(wb, "received: GCD, Delta, ZSTD(1)", with(before, "GCD, Delta, ZSTD(1)", named("received")), byHour)
	fmt.Println("  one change to what is shipped")
	each(ws, "words as String, ZSTD(1)", typed(shipped, "String", "ZSTD(1)", isText), byHour)
	each(ws, "order (site, device, tick)", shipped, "(site, device, tick)")
	each(ws, "order (site, 10 minutes, device, tick)", shipped, "(site, toStartOfInterval(tick, INTERVAL 10 MINUTE), device, tick)")
	each(ws, "order (site, tick, device)", shipped, "(site, tick, device)")
	each(ws, "power gauges: ZSTD(1)", with(shipped, "ZSTD(1)", isWatts), byHour)
	each(ws, "all of ZSTD(1) at ZSTD(3)", level(shipped, "3"), byHour)
	each(ws, "counters of ratios without GCD", with(shipped, "Delta, T64('bit'), ZSTD(1)", func(f field) bool { return strings.HasPrefix(f.codec, "GCD") && f.name != "received" }), byHour)
	s.exec("CREATE VIEW day_uuid AS SELECT * REPLACE (toUUID(substring(device, 5)) AS device, toUUIDOrZero(run) AS run, toUUIDOrZero(boot) AS boot) FROM day")
	line(s.weigh(layout{"device, run and boot as UUID", typed(shipped, "UUID", "ZSTD(1)", isUUID), byHour}, "day_uuid"), ws)
	s.exec("CREATE VIEW day_mw AS SELECT * REPLACE (toUInt32(round(power_w * 1000)) AS power_w, toUInt32(round(power_instant_w * 1000)) AS power_instant_w) FROM day")
	line(s.weigh(layout{"power in whole mW (another type)", typed(shipped, "UInt32", "T64('bit'), ZSTD(1)", isWatts), byHour}, "day_mw"), ws)
	s.exec("CREATE VIEW day_mb AS SELECT * REPLACE (intDiv(pcie_tx_bytes, 1000000) AS pcie_tx_bytes, intDiv(pcie_rx_bytes, 1000000) AS pcie_rx_bytes, " +
		"intDiv(nvlink_tx_bytes, 1000000) AS nvlink_tx_bytes, intDiv(nvlink_rx_bytes, 1000000) AS nvlink_rx_bytes) FROM day")
	line(s.weigh(layout{"PCIe and NVLink in whole MB (would lose bytes)", shipped, byHour}, "day_mb"), ws)

	fmt.Printf("\n  %-24s %8s %8s %8s %8s   %s\n", "bytes a row", "naive", "before", "shipped", "entropy", "codec")
	f.Limit = s.table(shipped, wn, wb, ws)
	f.Naive, f.Before, f.Shipped, f.Ratio = wn.bytes, wb.bytes, ws.bytes, ws.bytes/wn.bytes
	f.NaiveInsert, f.BeforeInsert, f.ShippedInsert, f.ShippedMerge = wn.insert, wb.insert, ws.insert, ws.merge
	f.InsertRatio = wn.insert / ws.insert
	f.MessagesBefore, f.Messages = s.messages()
	fmt.Printf("\n  messages, bytes a line: before %.2f, shipped %.2f\n", f.MessagesBefore, f.Messages)

	wide := sl // enough devices at a time that a statement's own cost, some 0.2 CPU seconds, does not hide that of rows
	wide.nodes, wide.seconds = 100, min(480, sl.seconds)
	s.fill(wide, shipped)
	f.RollupBytes, f.RollupCPU = s.rollups(wide)
	fmt.Printf("\n  %d devices × %d s\n", wide.nodes*wide.perNode, wide.seconds)
	for i, level := range rollup.Levels {
		fmt.Printf("  rollup of %-3s, bytes a bucket %.1f, CPU seconds a million samples %.2f\n", level.Name, f.RollupBytes[i], f.RollupCPU[i])
	}

	sl.jitter = 200
	fmt.Printf("\nseed %d, the same with DCGM sampling up to ±%d µs off\n\n", sl.seed, sl.jitter)
	s.fill(sl, shipped)
	jn, jb, js := s.weigh(naive, "day"), s.weigh(old, "day"), s.weigh(now, "day")
	line(jn, jn)
	line(jb, jb)
	line(js, jb)
	fmt.Println()
	f.JitterLimit = s.table(shipped, jn, jb, js)
	f.JitterNaive, f.JitterBefore, f.Jitter = jn.bytes, jb.bytes, js.bytes
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%s\n", text)
}

// level is the fields with ZSTD(1) at another level.
func level(fields []field, to string) []field {
	out := slices.Clone(fields)
	for i := range out {
		out[i].codec = strings.Replace(out[i].codec, "ZSTD(1)", "ZSTD("+to+")", 1)
	}
	return out
}

// table prints the columns that matter and returns the sum of the limits.
func (s *storage) table(fields []field, naive, before, shipped weight) (sum float64) {
	s.t.Helper()
	var rest [3]float64
	for _, f := range fields {
		limit := 0.0
		if !isText(f) && f.name != "energy_source" {
			limit = s.limit(f)
		}
		sum += limit
		if naive.columns[f.name] < 0.1 && before.columns[f.name] < 0.1 {
			for i, w := range []weight{naive, before, shipped} {
				rest[i] += w.columns[f.name]
			}
			continue
		}
		fmt.Printf("  %-24s %8.3f %8.3f %8.3f %8.3f   %s\n", f.name, naive.columns[f.name], before.columns[f.name], shipped.columns[f.name], limit, f.codec)
	}
	fmt.Printf("  %-24s %8.3f %8.3f %8.3f\n", "all others", rest[0], rest[1], rest[2])
	fmt.Printf("  %-24s %8.2f %8.2f %8.2f %8.2f\n", "sum, with marks", naive.bytes, before.bytes, shipped.bytes, sum)
	return sum
}

// messages weighs a line per message and second.
func (s *storage) messages() (before, after float64) {
	s.t.Helper()
	s.exec("DROP TABLE IF EXISTS lines")
	s.exec("CREATE TABLE lines ENGINE = Memory AS SELECT 'wl.sample.v1' AS topic, site, node AS source, run, seq, '' AS previous_run, toUInt64(0) AS previous_run_last_seq, " +
		"toUInt32(1) AS schema_version, tick + 1 AS complete_up_to, toUInt32(count()) AS rows, tick AS first_tick, tick AS last_tick, received, kafka_partition, kafka_offset " +
		"FROM day GROUP BY ALL")
	var n uint64
	if err := s.conn.QueryRow(s.t.Context(), "SELECT count() FROM lines").Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	all := s.rows
	s.rows = float64(n)
	defer func() { s.rows = all }()
	fields := s.fields("messages")
	order := "(topic, site, source, complete_up_to)"
	return s.weigh(layout{"messages", with(fields, "", func(field) bool { return true }), order}, "lines").bytes, s.weigh(layout{"messages", fields, order}, "lines").bytes
}

// rollups builds every level of the slice as it comes in: four minutes at a time, with merges going on as they do. Only building is counted.
func (s *storage) rollups(sl slice) (bytes, cpu [3]float64) {
	s.t.Helper()
	store := ingest.New(func() (chconn.Config, error) { return s.cfg, nil }, 1, nil)
	defer store.Close()
	const part = 240
	for from := 0; from < sl.seconds; from += part {
		first := sliceDay + int64(from)*1_000_000
		last := sliceDay + int64(min(from+part, sl.seconds)-1)*1_000_000
		s.exec(fmt.Sprintf("INSERT INTO samples SELECT * FROM day WHERE tick >= fromUnixTimestamp64Micro(%d) AND tick <= fromUnixTimestamp64Micro(%d)", first, last))
		var touched []rollup.Touched
		for n := range sl.nodes {
			touched = append(touched, rollup.Touched{Site: sliceSite, Node: nodeName(n), First: unit.Micros(first), Last: unit.Micros(last)})
		}
		for i, level := range rollup.Levels {
			begun := s.cpu()
			for _, w := range rollup.Plan(level.Width, touched) {
				if err := ingest.NewRollups(store).Build(s.t.Context(), i, w); err != nil {
					s.t.Fatal(err)
				}
			}
			cpu[i] += (s.cpu() - begun).Seconds() / s.rows * 1e6
		}
	}
	for i, tier := range schema.Tiers {
		s.exec("OPTIMIZE TABLE " + tier.Table + " FINAL")
		var size, rows uint64
		err := s.conn.QueryRow(s.t.Context(), "SELECT sum(data_compressed_bytes + marks_bytes + primary_key_size), sum(rows) FROM system.parts WHERE active AND database = currentDatabase() AND table = '"+tier.Table+"'").Scan(&size, &rows)
		if err != nil {
			s.t.Fatal(err)
		}
		bytes[i] = float64(size) / float64(rows)
	}
	return bytes, cpu
}
