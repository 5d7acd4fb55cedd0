package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/ingest/clickhouse"
	"github.com/wattledger/wattledger/ingest/rollup"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// base is 2026-01-01T22:58:20Z: an hour and a day end soon after.
const base = int64(1_767_308_300_000_000)

// sample is a row, with the values that matter here.
type sample struct {
	node, device, run string
	epoch             uint32
	tick              int64
	energy, active    uint64
	power             float32
	reasons           uint32
}

// message is rows that came together.
type message struct {
	node, run string
	seq       uint64
	rows      []sample
}

// history is what two nodes sent: counters that rise, readings that are missing, an epoch that ends, a run that begins anew, gaps.
func history(r *rand.Rand) []message {
	var out []message
	for _, node := range []string{"n1", "n'2"} {
		run, seq, epoch := fmt.Sprintf("%032x", r.Uint64()), uint64(0), uint32(0)
		tick := base + r.Int64N(30)*1_000_000
		energy, active := map[string]uint64{}, map[string]uint64{}
		for range 5 {
			m := message{node: node, run: run, seq: seq}
			for range 1 + r.IntN(25) {
				for g := range 2 {
					device := fmt.Sprintf("GPU-%s-%d", node, g)
					energy[device] += r.Uint64N(900_000)
					active[device] += r.Uint64N(1_000_000)
					s := sample{node, device, run, epoch, tick, energy[device], active[device], float32(r.IntN(900)), 1 << r.IntN(5)}
					switch r.IntN(12) {
					case 0:
						s.energy = record.AbsentCounter
					case 1:
						s.power = float32(math.NaN())
					case 2:
						s.reasons = record.AbsentCode
					case 3:
						s.active = record.AbsentCounter
					}
					m.rows = append(m.rows, s)
				}
				tick += 1_000_000
				switch r.IntN(80) {
				case 0, 1:
					tick += r.Int64N(200) * 1_000_000
				case 2:
					tick += r.Int64N(3*3600) * 1_000_000
				}
			}
			out, seq = append(out, m), seq+1
			switch r.IntN(6) {
			case 0:
				epoch++
				clear(energy)
			case 1:
				run, seq, epoch = fmt.Sprintf("%032x", r.Uint64()), 0, 0
				clear(active)
			}
		}
	}
	return out
}

// lake is a database with what a test did to it.
type lake struct {
	t     *testing.T
	conn  driver.Conn
	store clickhouse.Rollups
	next  int64 // offset
	said  int   // how many rows a line says for each; many make a pass go in small steps
	now   unit.Micros
}

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

func newLake(t *testing.T) *lake {
	t.Helper()
	cfg := chtest.StartLike(t, migrated)
	conn, err := chconn.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := clickhouse.New(func() (chconn.Config, error) { return cfg, nil }, 1, nil)
	t.Cleanup(func() { _ = conn.Close(); _ = s.Close() })
	return &lake{t: t, conn: conn, store: clickhouse.NewRollups(s), now: unit.Micros(base), said: 1}
}

func (l *lake) exec(statement string) {
	l.t.Helper()
	if err := l.conn.Exec(l.t.Context(), statement); err != nil {
		l.t.Fatalf("%s: %v", statement, err)
	}
}

func (l *lake) empty() {
	l.t.Helper()
	for _, table := range []string{"samples", "messages", "rollup_10s", "rollup_1m", "rollup_1h", "rollup_progress", "node_10s", "node_1m", "node_1h", "devices"} {
		l.exec("TRUNCATE TABLE " + table)
	}
	l.next = 0
}

// put stores the rows of messages, and their lines after them. Again stores rows as an ingester does that was believed gone.
func (l *lake) put(messages []message, again ...message) {
	l.t.Helper()
	var rows, lines []string
	for i, m := range append(slices.Clone(messages), again...) {
		first, last := m.rows[0].tick, m.rows[len(m.rows)-1].tick
		received := base + int64(m.seq)*1_000_000
		for _, s := range m.rows {
			rows = append(rows, fmt.Sprintf("('s', '%s', '%s', '%s', %d, %d, fromUnixTimestamp64Micro(%d), %d, fromUnixTimestamp64Micro(%d), %d, %d, %s, %d, 4294967295)",
				strings.ReplaceAll(s.node, "'", `\'`), strings.ReplaceAll(s.device, "'", `\'`), s.run, m.seq, s.epoch, s.tick, s.tick-5, received, s.energy, s.active,
				strings.ToLower(fmt.Sprint(s.power)), s.reasons))
		}
		if i < len(messages) {
			lines = append(lines, fmt.Sprintf("('wl.sample.v1', 's', '%s', '%s', %d, %d, fromUnixTimestamp64Micro(%d), fromUnixTimestamp64Micro(%d), fromUnixTimestamp64Micro(%d), 0, %d)",
				strings.ReplaceAll(m.node, "'", `\'`), m.run, m.seq, len(m.rows)*l.said, first, last, received, l.next))
			l.next++
		}
	}
	if len(rows) == 0 {
		return
	}
	l.exec("INSERT INTO samples (site, node, device, run, seq, energy_epoch, tick, energy_ts, received, energy_mj, sm_active_us, power_w, clock_event_reasons, xid) VALUES " + strings.Join(rows, ", "))
	if len(lines) > 0 {
		l.exec("INSERT INTO messages (topic, site, source, run, seq, rows, first_tick, last_tick, received, kafka_partition, kafka_offset) VALUES " + strings.Join(lines, ", "))
	}
}

// pass is one of a process that has just started: it knows nothing but what is stored.
func (l *lake) pass(store rollup.Store) error {
	l.t.Helper()
	l.now += 20 * 60 * unit.Second
	r, err := rollup.New(rollup.DefaultConfig(), store, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return r.Pass(l.t.Context(), l.now)
}

// text is everything that the levels hold.
func (l *lake) text() []string {
	l.t.Helper()
	var out []string
	for _, tier := range schema.Tiers {
		for _, row := range l.rows("SELECT toString(tuple(*)) FROM " + tier.Table + " FINAL ORDER BY site, device, run, energy_epoch, bucket") {
			out = append(out, tier.Table+" "+row)
		}
	}
	for _, sum := range schema.Sums {
		for _, row := range l.rows("SELECT toString(tuple(*)) FROM " + sum.Table + " FINAL ORDER BY site, node, model, bucket") {
			out = append(out, sum.Table+" "+row)
		}
	}
	return out
}

func (l *lake) rows(query string) []string {
	l.t.Helper()
	rows, err := l.conn.Query(l.t.Context(), query)
	if err != nil {
		l.t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			l.t.Fatal(err)
		}
		out = append(out, text)
	}
	return out
}

// increases is by how much a counter grew in the buckets of a level, summed over longer ones: from a bucket's first value to the next
// bucket's, and in the last to its own last.
func (l *lake) increases(table, counter, sum string) []string {
	l.t.Helper()
	return l.rows(fmt.Sprintf(`SELECT toString(tuple(device, run, energy_epoch, %[3]s AS slot, sum(grown))) FROM (
		SELECT device, run, energy_epoch, bucket, leadInFrame(%[2]s_min, 1, %[2]s_max) OVER (PARTITION BY site, device, run, energy_epoch ORDER BY bucket
			ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) - %[2]s_min AS grown
		FROM %[1]s FINAL WHERE %[2]s_min != 18446744073709551615)
		GROUP BY device, run, energy_epoch, slot ORDER BY device, run, energy_epoch, slot`, table, counter, sum))
}

// same fails with the first difference.
func same(got, want []string) error {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Errorf("%d rows, want %d; missing %s", len(got), len(want), want[i])
		case i >= len(want):
			return fmt.Errorf("%d rows, want %d; too many %s", len(got), len(want), got[i])
		case got[i] != want[i]:
			return fmt.Errorf("row %d:\n%s, want\n%s", i, got[i], want[i])
		}
	}
	return nil
}

// faulty is a store that fails, or loses a window, at a chosen Build.
type faulty struct {
	rollup.Store
	at   int
	lose bool
}

var errCut = errors.New("cut off")

func (f *faulty) Build(ctx context.Context, level int, w rollup.Window) error {
	if f.at--; f.at == 0 {
		if f.lose {
			return nil
		}
		return errCut
	}
	return f.Store.Build(ctx, level, w)
}

// Whatever the order of arrival, with repeats, passes in between and passes cut off, the rollups are those of one pass over the whole.
func TestRollupsOfAnyArrivalAreThoseOfTheWhole(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			l := newLake(t)
			r := rand.New(rand.NewPCG(seed, 1))
			sent := history(r)
			l.empty()
			l.said = 1
			l.put(sent)
			if err := l.pass(l.store); err != nil {
				t.Fatal(err)
			}
			whole := l.text()
			if len(whole) < 20 {
				t.Fatalf("seed %d: only %d rows", seed, len(whole))
			}
			checkTiers(t, l, seed)
			checkSums(t, l, r)

			l.empty()
			l.said = 1 + 10_000*int(seed)
			r.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
			for from := 0; from < len(sent); {
				to := min(len(sent), from+1+r.IntN(6))
				l.put(sent[from:to], sent[r.IntN(to)])
				from = to
				store := rollup.Store(l.store)
				if r.IntN(2) == 0 {
					store = &faulty{Store: l.store, at: 1 + r.IntN(6)}
				}
				if err := l.pass(store); err != nil && !errors.Is(err, errCut) {
					t.Fatal(err)
				}
			}
			if err := l.pass(l.store); err != nil {
				t.Fatal(err)
			}
			if err := same(l.text(), whole); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		})
	}
}

// checkTiers holds that the levels say the same of what they have in common, and that the finest says what the samples do.
func checkTiers(t *testing.T, l *lake, seed uint64) {
	t.Helper()
	for _, counter := range []string{"energy_mj", "sm_active_us"} {
		for _, p := range []struct{ fine, coarse, slot string }{
			{"rollup_10s", "rollup_1m", "toStartOfMinute(bucket)"}, {"rollup_1m", "rollup_1h", "toStartOfHour(bucket)"}, {"rollup_10s", "rollup_1h", "toStartOfHour(bucket)"},
		} {
			if err := same(l.increases(p.fine, counter, p.slot), l.increases(p.coarse, counter, p.slot)); err != nil {
				t.Errorf("seed %d: %s of %s and of %s: %v", seed, counter, p.fine, p.coarse, err)
			}
		}
		total := l.rows(fmt.Sprintf("SELECT toString(tuple(device, run, energy_epoch, max(%[1]s) - min(%[1]s))) FROM sample WHERE %[1]s IS NOT NULL GROUP BY device, run, energy_epoch ORDER BY device, run, energy_epoch", counter))
		if err := same(l.rows(fmt.Sprintf("SELECT toString(tuple(device, run, energy_epoch, toInt64(max(%[1]s_max) - min(%[1]s_min)))) FROM rollup_1h FINAL WHERE %[1]s_min != 18446744073709551615 "+
			"GROUP BY device, run, energy_epoch ORDER BY device, run, energy_epoch", counter)), total); err != nil {
			t.Errorf("seed %d: %s of hours and of samples: %v", seed, counter, err)
		}
	}
	for _, tier := range schema.Tiers {
		if err := same(l.rows("SELECT toString(sum(ticks)) FROM "+tier.Table+" FINAL"), l.rows("SELECT toString(uniqExact(device, tick)) FROM sample")); err != nil {
			t.Errorf("seed %d: ticks of %s: %v", seed, tier.Table, err)
		}
	}
}

// The checks above see a window that was lost, a sample that was, and one that says something else.
func TestTheCheckOfRollupsCanFail(t *testing.T) {
	t.Parallel()
	l := newLake(t)
	sent := history(rand.New(rand.NewPCG(1, 1)))
	build := func(store rollup.Store, sent []message) []string {
		l.empty()
		l.put(sent)
		if err := l.pass(store); err != nil {
			t.Fatal(err)
		}
		return l.text()
	}
	whole := build(l.store, sent)
	f := func(what string, got []string) {
		t.Helper()
		if same(got, whole) == nil {
			t.Errorf("%s, and the rollups look the same", what)
		}
	}
	f("a window was lost", build(&faulty{Store: l.store, at: 2, lose: true}, sent))
	mutated := slices.Clone(sent)
	mutated[3].rows = mutated[3].rows[1:]
	f("a sample was lost", build(l.store, mutated))
	mutated = slices.Clone(sent)
	mutated[0].rows = slices.Clone(mutated[0].rows)
	mutated[0].rows[0].energy--
	f("a counter was one less", build(l.store, mutated))
	if err := same(build(l.store, sent), whole); err != nil {
		t.Errorf("the same messages again: %v", err)
	}
}

// A topic made anew counts from 0 again; what it brings is found by its time of receipt. And of a pass that found nothing, nothing is noted.
func TestRollupsGoOnInATopicMadeAnew(t *testing.T) {
	t.Parallel()
	l := newLake(t)
	sent := history(rand.New(rand.NewPCG(2, 1)))
	l.put(sent[:9])
	if err := l.pass(l.store); err != nil {
		t.Fatal(err)
	}
	before, err := l.store.Progress(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.pass(l.store); err != nil {
		t.Fatal(err)
	}
	if after, err := l.store.Progress(t.Context(), 0); err != nil || after.At != before.At {
		t.Errorf("progress of a pass without work: %v, then %v, %v", before, after, err)
	}
	l.next = 0
	for i := range sent[9:] {
		sent[9+i].seq += 1000 // received later
	}
	l.put(sent[9:])
	if err := l.pass(l.store); err != nil {
		t.Fatal(err)
	}
	if err := same(l.rows("SELECT toString(sum(ticks)) FROM rollup_1h FINAL"), l.rows("SELECT toString(uniqExact(device, tick)) FROM sample")); err != nil {
		t.Error(err)
	}
}
