package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDemo(t *testing.T) {
	p := undisturbed(t)
	if n := *p.result.Samples.Repeated; n != 0 {
		t.Errorf("%d samples came twice, though nothing was disturbed", n)
	}
	documents(t, p.out)
	everyTable(t, p.out)
}

// documents checks that an output folder is complete: the digests hold, and every file has one.
func documents(t *testing.T, out string) {
	t.Helper()
	all := files(t, out)
	sums := all["SHA256SUMS"]
	delete(all, "SHA256SUMS")
	for line := range strings.Lines(sums) {
		digest, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok {
			t.Errorf("SHA256SUMS: line %q", line)
			continue
		}
		body, ok := all[name]
		if !ok {
			t.Errorf("SHA256SUMS names %s, which is not there", name)
			continue
		}
		if sum := sha256.Sum256([]byte(body)); digest != hex.EncodeToString(sum[:]) {
			t.Errorf("SHA256SUMS does not hold for %s", name)
		}
		if strings.TrimSpace(body) == "" {
			t.Errorf("%s is empty", name)
		}
		if strings.HasSuffix(name, ".json") && !json.Valid([]byte(body)) {
			t.Errorf("%s is not JSON", name)
		}
		delete(all, name)
	}
	for name := range all {
		t.Errorf("SHA256SUMS does not name %s", name)
	}
	for _, name := range []string{"ledger.jsonl", "fleet.csv", "fleet.json", "sovereignty.csv", "sovereignty.json"} {
		if !strings.Contains(sums, "  "+name+"\n") {
			t.Errorf("no %s among the documents", name)
		}
	}
}

// everyTable checks that there is something for each reader: every tenant has its documents, and a violation is named.
func everyTable(t *testing.T, out string) {
	t.Helper()
	names := slices.Collect(maps.Keys(files(t, out)))
	having := func(suffix string) (n int) {
		for _, name := range names {
			if strings.HasSuffix(name, suffix) {
				n++
			}
		}
		return n
	}
	for _, name := range []string{"invoice.txt", "invoice.json", "usage.csv", "usage.json", "power.csv", "sovereignty.csv"} {
		if n := having("/" + name); n != 10 {
			t.Errorf("%d tenants have a %s, want 10", n, name)
		}
	}
	if having("/violations.csv") == 0 {
		t.Error("the day has a sovereignty violation, and no document names it")
	}
}

func TestTheSameSeedGivesTheSameBytes(t *testing.T) {
	t.Parallel() // its data are its own
	p := undisturbed(t)
	dir := t.TempDir()
	proven(t, short.once(t, filepath.Join(dir, "data"), filepath.Join(dir, "out")))
	sameFiles(t, filepath.Join(dir, "out"), p.out)
}

func TestASecondRunAddsNothing(t *testing.T) {
	p := undisturbed(t)
	out := filepath.Join(t.TempDir(), "out")
	again := proven(t, short.once(t, p.data, out))
	sameFiles(t, out, p.out)
	if got, want := *again.Samples.Stored, *p.result.Samples.Stored; got != want {
		t.Errorf("%d samples stored after the second run, %d after the first", got, want)
	}
	if n := *again.Samples.Repeated; n != 0 {
		t.Errorf("the second run repeated %d samples", n)
	}
}

func TestAnotherDayIsRefusedOnTheSameData(t *testing.T) {
	p := undisturbed(t)
	before := files(t, filepath.Join(p.data, "kafka"))
	f := func(d day) {
		t.Helper()
		r := d.once(t, p.data, filepath.Join(t.TempDir(), "out"))
		if code := r.wait(); code != 1 && code != 2 {
			t.Errorf("ended with %d, want 1 or 2", code)
		}
		failure(t, r, p.data, "--data", "seed 7")
	}
	f(day{seed: short.seed + 1, start: short.start, hours: short.hours})
	f(day{seed: short.seed, start: short.start.Add(time.Hour), hours: short.hours})
	f(day{seed: short.seed, start: short.start, hours: short.hours + 1})
	for name, body := range files(t, filepath.Join(p.data, "kafka")) {
		if body != before[name] {
			t.Errorf("kafka/%s has changed", name)
		}
	}
}

// Edges have to fall between samples, or the cutting of counters is not tried at all.
func TestNoEdgeCoincidesWithASample(t *testing.T) {
	p := undisturbed(t)
	engine := embeddedClickHouse(t, p.data)
	ask := func(sql string) int64 {
		t.Helper()
		n, err := number(p.data, sql)
		if err != nil {
			t.Fatalf("%s\n%v", sql, err)
		}
		return n
	}
	first, last := short.start.UnixMicro(), short.start.Add(time.Duration(short.hours)*time.Hour).UnixMicro()
	// An edge on an instance cuts the counter of the device it is part of.
	edges := fmt.Sprintf(`SELECT if(d.parent_uuid = '', a.device, d.parent_uuid) AS device, arrayJoin([a.start_us, a.end_us]) AS edge
		FROM allocations AS a FINAL LEFT JOIN devices AS d FINAL ON d.uuid = a.device WHERE edge > %d AND edge < %d`, first, last)
	if n := ask("SELECT count() FROM (" + edges + ")"); n < 50 {
		t.Errorf("%d edges within the play: too few to mean anything", n)
	}
	if n := ask("SELECT uniqExact(edge % 1000000) FROM (" + edges + ")"); n < 50 {
		t.Errorf("edges fall on %d different fractions of a second: not at random", n)
	}
	if n := ask("SELECT countIf(edge % 1000 != 0) FROM (" + edges + ")"); n != 0 {
		t.Errorf("%d edges are not at whole milliseconds", n)
	}
	coincide := func(instants string) int64 {
		t.Helper()
		return ask("SELECT count() FROM (" + edges + ") AS e INNER JOIN (" + instants + ") AS s ON s.device = e.device AND s.instant = e.edge")
	}
	if n := coincide("SELECT device, toUnixTimestamp64Micro(tick) AS instant FROM sample"); n != 0 {
		t.Errorf("%d edges coincide with a tick of their device", n)
	}
	if n := coincide("SELECT device, assumeNotNull(energy_ts) AS instant FROM sample WHERE energy_ts IS NOT NULL"); n != 0 {
		t.Errorf("%d edges coincide with a reading of their device's counter", n)
	}
	// The same question finds something where there is something: every edge coincides with itself.
	if n := coincide("SELECT device, edge AS instant FROM (" + edges + ")"); n < 50 {
		t.Errorf("%d edges coincide with themselves", n)
	}
	if n := ask("SELECT count() FROM sample WHERE energy_ts IS NOT NULL AND device IN (SELECT device FROM (" + edges + "))"); n < 10_000 {
		t.Errorf("%d readings of devices with edges: too few to mean anything", n)
	}
	engine.signal(interrupt)
	if code := engine.endsWithin(20 * time.Second); code != 0 {
		t.Errorf("the engine ended with %d", code)
	}
}

// embeddedClickHouse starts the engine alone on a data folder and waits until it answers.
func embeddedClickHouse(t *testing.T, data string) *running {
	t.Helper()
	engine := wattledger(t, options{limit: 10 * time.Minute}, "embedded", "clickhouse", "--data", data, "--clickhouse-listen", "127.0.0.1:0")
	engine.until("it answers", time.Minute, func() bool { return count(data, "SELECT 1") == 1 })
	return engine
}

// The demo's promise as a whole, on the day that the README shows.
func TestDayOfTheDemo(t *testing.T) {
	p := wholeDay(t)
	res := p.result
	if ppm := *res.Truth.MaxTenantPPM; ppm > 500 {
		t.Errorf("a tenant's energy is %.0f ppm from the true one, at most 500 are promised", ppm)
	}
	if n := *res.Samples.Repeated; n != 0 {
		t.Errorf("%d samples came twice, though nothing was disturbed", n)
	}
	// Every tenth second of 24 hours: 160 GPUs and CPUs, a few MIG instances, less what was away.
	if n := *res.Samples.Sent; n < 24*360*140 || n > 24*360*190 {
		t.Errorf("%d samples of a day", n)
	}
	documents(t, p.out)
	everyTable(t, p.out)
	if s := res.Wall["total"]; s > 120 {
		t.Logf("took %.0f s: more than the 120 promised for two idle cores", s)
	}
	if _, err := os.Stat(filepath.Join(p.data, "run", "ingest.pid")); err == nil {
		t.Error("ingest's pid file is still there")
	}
}
