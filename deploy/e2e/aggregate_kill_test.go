package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Two aggregators race, and either is killed at any instant, in the middle of a batch or between two: the ledger is the one that an
// undisturbed aggregator writes, adjustments of what came late included, and no batch is there twice.
func TestKilledAndRacingAggregatorsSealOnce(t *testing.T) {
	t.Parallel() // it mostly waits
	racing(t, 8, uint64(time.Now().UnixNano()), 5*time.Minute)
}

const minute = 60 * unit.Second

// yearday is when the hours of these tests begin.
const yearday = 1_790_000_000_000_000 / unit.Hour * unit.Hour

func racing(t *testing.T, kills int, seed uint64, limit time.Duration) {
	t.Helper()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	p := newPlant(t, 1, limit)
	const early, all = 8, 10
	played := func() {
		for _, table := range []string{
			"samples", "messages", "allocations", "sites", "nodes", "devices", "cuts", "entries", "device_hours", "subtotals", "seals", "log_records", "log_checkpoints",
		} {
			p.sql("TRUNCATE TABLE %s", table)
		}
		p.sql(`INSERT INTO sites (id, country, zone, operator, operator_country, pue_thousandths, allocation_source, revision) VALUES ('s', 'FR', 'FR', 'op', 'FR', 1200, 'sched', 1)`)
		p.sql(`INSERT INTO nodes VALUES ('n', 's', 'r', 'HGX B200', 900000, %d, 0, 1)`, yearday)
		p.sql(`INSERT INTO devices VALUES
			('GPU-a', '', 'n', 'gpu', 'NVIDIA B200', '', 'd', 'v', 0, 0, 'hardware', 1000000, 0, %[1]d, 0, 1),
			('GPU-b', '', 'n', 'gpu', 'NVIDIA B200', '', 'd', 'v', 1, 0, 'hardware', 1000000, 0, %[1]d, 0, 1)`, yearday)
		p.sql(`INSERT INTO allocations VALUES ('job', 's', 'GPU-a', 1000, %d, %d, 't1', 'p', 'w', 'm', 'training', 'x', 1)`, yearday+unit.Hour/2, yearday+5*unit.Hour)
	}
	// What comes late: a stretch of samples over an edge, and the word that the job was another tenant's.
	lateFrom, lateTo := yearday+2*unit.Hour-10*minute, yearday+2*unit.Hour+20*minute
	first := func() {
		p.told(1, yearday, lateFrom, lateFrom)
		p.told(2, lateTo, yearday+early*unit.Hour+2*minute, yearday+early*unit.Hour)
	}
	second := func() {
		p.sql(`INSERT INTO allocations VALUES ('job', 's', 'GPU-a', 1000, %d, %d, 't2', 'p', 'w', 'm', 'training', 'x', 2)`, yearday+unit.Hour/2, yearday+5*unit.Hour)
		p.told(3, lateFrom, lateTo, lateTo)
		p.told(4, yearday+early*unit.Hour+2*minute, yearday+all*unit.Hour+2*minute, yearday+all*unit.Hour)
	}
	closed := func() int64 { return p.number("SELECT count() FROM seals FINAL") }
	ledger := func() string {
		return p.sql("SELECT batch, root, previous, hour, entries, adjustments, closing FROM seals ORDER BY batch FORMAT TSV") +
			p.sql("SELECT id FROM entry ORDER BY batch, position FORMAT TSV")
	}

	played()
	first()
	calm := p.aggregate()
	calm.until("all early hours are closed", 2*time.Minute, func() bool { return closed() == early })
	second()
	calm.until("all hours are closed", 2*time.Minute, func() bool { return closed() == all })
	calm.signal(interrupt)
	calm.wait()
	want := ledger()
	if n := p.number("SELECT count() FROM entry WHERE kind = 'adjustment'"); n == 0 {
		t.Fatal("what came late changed nothing")
	}

	played()
	first()
	racers := []*running{p.aggregate(), p.aggregate()}
	for i := range kills {
		if i == kills/2 {
			p.until("all early hours are closed", 2*time.Minute, func() bool { return closed() == early })
			second()
		}
		time.Sleep(time.Duration(random.Int64N(int64(1200 * time.Millisecond))))
		victim := random.IntN(2)
		racers[victim].kill()
		racers[victim] = p.aggregate()
	}
	p.until("all hours are closed", 2*time.Minute, func() bool { return closed() == all })
	for _, r := range racers {
		r.signal(interrupt)
		r.wait()
	}
	if got := ledger(); got != want {
		t.Errorf("seed %d: the ledger is\n%s\nundisturbed it was\n%s", seed, got, want)
	}
	if rows, batches := p.number("SELECT count() FROM seals"), p.number("SELECT uniqExact(batch) FROM seals"); rows != batches {
		t.Errorf("seed %d: %d seals of %d batches", seed, rows, batches)
	}
	if broken := p.number(`SELECT count() FROM (SELECT batch, previous, lagInFrame(root, 1, '') OVER (ORDER BY batch) AS before FROM seals) WHERE previous != before`); broken != 0 {
		t.Errorf("seed %d: %d batches do not follow the one before", seed, broken)
	}
}

// What is simulated with a late file is what is booked once the file has been stated, and then nothing is left to book.
func TestWhatIsSimulatedIsBooked(t *testing.T) {
	t.Parallel() // it mostly waits
	p := newPlant(t, 1, 3*time.Minute)
	p.sql(`INSERT INTO sites (id, country, zone, operator, operator_country, pue_thousandths, allocation_source, revision) VALUES ('s', 'FR', 'FR', 'op', 'FR', 1200, 'sched', 1)`)
	p.sql(`INSERT INTO nodes VALUES ('n', 's', 'r', 'HGX B200', 900000, %d, 0, 1)`, yearday)
	p.sql(`INSERT INTO devices VALUES
		('GPU-a', '', 'n', 'gpu', 'NVIDIA B200', '', 'd', 'v', 0, 0, 'hardware', 1000000, 0, %[1]d, 0, 1),
		('GPU-b', '', 'n', 'gpu', 'NVIDIA B200', '', 'd', 'v', 1, 0, 'hardware', 1000000, 0, %[1]d, 0, 1)`, yearday)
	p.told(1, yearday, yearday+3*unit.Hour+2*minute, yearday+3*unit.Hour)
	r := p.aggregate()
	r.until("all hours are closed", time.Minute, func() bool { return p.number("SELECT count() FROM seals FINAL") == 3 })
	r.signal(interrupt)
	r.wait()

	type answer struct {
		Hours, Changes, Batches []json.RawMessage
	}
	ask := func(args ...string) (a answer) {
		t.Helper()
		r := p.run(append(append([]string{"ledger"}, args...), "--json", "--metrics-listen", "off")...)
		if code := r.wait(); code != 0 {
			t.Fatalf("%v ended with %d: %s", args, code, r.err.String())
		}
		if err := json.Unmarshal(r.lastLine(), &a); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return a
	}
	if a := ask("simulate"); len(a.Hours) != 0 {
		t.Errorf("nothing came late, and %s is pending", a.Hours)
	}
	from, to := yearday+unit.Hour/2, yearday+2*unit.Hour+unit.Hour/4
	file := filepath.Join(t.TempDir(), "late.csv")
	text := fmt.Sprintf("allocation_id,device,tenant,start,end\njob,GPU-a,t1,%s,%s\n", from.Time().Format(time.RFC3339), to.Time().Format(time.RFC3339))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	supposed := ask("simulate", "--site", "s", "--allocations", file)
	if len(supposed.Hours) != 3 || len(supposed.Changes) == 0 || len(supposed.Batches) != 0 {
		t.Errorf("supposed: %s %s", supposed.Hours, supposed.Changes)
	}
	if n := p.number("SELECT count() FROM entry WHERE kind = 'adjustment'"); n != 0 {
		t.Errorf("simulating booked %d entries", n)
	}
	p.sql(`INSERT INTO allocations VALUES ('job', 's', 'GPU-a', 1000, %d, %d, 't1', '', '', '', '', '', 1)`, from, to)
	if pending := ask("simulate"); !reflect.DeepEqual(pending.Changes, supposed.Changes) {
		t.Errorf("pending %s, supposed %s", pending.Changes, supposed.Changes)
	}
	booked := ask("adjust")
	if !reflect.DeepEqual(booked.Changes, supposed.Changes) || len(booked.Batches) != 1 {
		t.Errorf("booked %s in %s, supposed %s", booked.Changes, booked.Batches, supposed.Changes)
	}
	if again := ask("adjust", "--site", "s", "--hour", yearday.Time().Format(time.RFC3339)); len(again.Hours) != 1 || len(again.Batches) != 0 {
		t.Errorf("booked again: %s", again.Batches)
	}
	open := p.run("ledger", "adjust", "--site", "s", "--hour", (yearday + 9*unit.Hour).Time().Format(time.RFC3339), "--metrics-listen", "off")
	if code := open.wait(); code != 1 || !strings.Contains(open.err.String(), "is not a closed one") {
		t.Errorf("an open hour ends with %d: %s", code, open.err.String())
	}
}

// told stores the samples of the node in [from, to), one a minute, and the line of the message that they came in.
func (p *plant) told(offset int, from, to, complete unit.Micros) {
	p.t.Helper()
	var values []string
	for tick := from; tick < to; tick += minute {
		for i, d := range []string{"GPU-a", "GPU-b"} {
			s := int64(tick-yearday) / 1_000_000
			c := s*300_000 + (s%1700)*(s%1700)*100 + int64(i)
			values = append(values, fmt.Sprintf("('s', 'n', '%s', 'run', %d, 'boot', 'd', 'hardware', fromUnixTimestamp64Micro(%d), %d, 60000, now(), 0, %d, %d, %d, 7, 7)",
				d, offset, tick, tick, offset, c, c))
		}
	}
	p.sql(`INSERT INTO samples (site, node, device, run, seq, boot, driver, energy_source, tick, energy_ts, period_ms, received, kafka_partition,
		kafka_offset, energy_mj, power_integral_mj, ticks_expected, ticks_read) VALUES %s`, strings.Join(values, ","))
	p.sql(`INSERT INTO messages VALUES ('%s', 's', 'sched', 'run', %d, '', 0, 1, fromUnixTimestamp64Micro(%d), 0, now64(6), now64(6), now64(6), 0, %d)`,
		wire.TopicAllocation, offset, complete, offset)
	p.sql(`INSERT INTO messages VALUES ('%s', 's', 'n', 'run', %d, '', 0, 1, fromUnixTimestamp64Micro(%d), %d, fromUnixTimestamp64Micro(%d), fromUnixTimestamp64Micro(%d), now64(6), 0, %d)`,
		wire.TopicSample, offset, complete, len(values), from, to-minute, offset)
}

// aggregate starts an aggregator that notices a dead one after a second.
func (p *plant) aggregate() *running {
	p.t.Helper()
	return p.run("aggregate", "--metrics-listen", "127.0.0.1:0", "--set", "closer.poll=20ms", "--set", "election.session_timeout=1s",
		"--set", "election.heartbeat_interval=100ms")
}
