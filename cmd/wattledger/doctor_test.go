package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/aggregator/clickhouse"
	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Everything that the ledger could not take as it stands is named by its record, with how to mend it; what counts all the same is a
// note. Without a record that is refused the command ends well.
func TestDoctorNamesWhatIsWrong(t *testing.T) {
	s := startServers(t)
	const first = 490_000 * unit.Hour
	closedHours(t, s, first)
	s.exec(`INSERT INTO sites (id, country, zone, operator, operator_country, pue_thousandths, allocation_source, revision) VALUES ('s', 'FR', 'FR', 'op', 'FR', 1200, 'sched', 1)`)
	s.exec(`INSERT INTO tenants (id, name, revision) VALUES ('t1', 'One', 1)`)
	for i, node := range []string{"n-overlap", "n-backwards", "n-impossible", "n-contradicts", "n-two"} {
		s.exec(`INSERT INTO nodes VALUES ('%s', 's', 'r', 'HGX B200', 900000, %d, 0, 1)`, node, first)
		s.exec(`INSERT INTO devices VALUES ('GPU-%d', '', '%s', 'gpu', 'NVIDIA B200', '', 'd', 'v', 0, 0, 'hardware', 1000000, 0, %d, 0, 1)`, i, node, first)
	}
	at := func(minutes int) unit.Micros { return first + unit.Micros(minutes)*60*unit.Second }
	allocate := func(id, device, tenant string, from, to int) {
		s.exec(`INSERT INTO allocations VALUES ('%s', 's', '%s', 1000, %d, %d, '%s', 'p', 'w', 'm', 'training', 'x', 1)`, id, device, at(from), at(to), tenant)
	}
	read := func(meter, node, quantity string, from, to int, value int, counter bool) {
		s.exec(`INSERT INTO readings (site, source, node, meter, quantity, unit, from_us, to_us, value, counter, method, epoch, run, seq, received)
			VALUES ('s', 'bms', '%s', '%s', '%s', 'mJ', %d, %d, %d, %t, 'counter', 'e', 'r', 1, fromUnixTimestamp64Micro(%d))`, node, meter, quantity, at(from), at(to), value, counter, at(to))
	}
	edition := func(id, kind, key string, from, to int, value int64, boundary, resolution, source, name string, sequence int) {
		s.exec(`INSERT INTO factors (id, kind, key, from_us, to_us, value, boundary, resolution, method, source, name, licence, volume_mj, matching, sequence)
			VALUES ('%s', '%s', '%s', %d, %d, %d, '%s', '%s', 'declared', '%s', '%s', 'own', %d, '%s', %d)`,
			id, kind, key, at(60*from), at(60*to), value, boundary, resolution, source, name,
			map[string]int{"instrument": 3_600_000}[kind], map[string]string{"instrument": "hourly"}[kind], sequence)
	}

	if code, got := s.run("doctor", "--hours", "2", "--set", "closer.adjust_within=1h"); code != process.ExitDone || got["hours"] != 2.0 || got["refused"] != 0.0 {
		t.Fatalf("with nothing planted the doctor ends with %d: %v", code, got)
	}

	allocate("a-first", "GPU-0", "t1", 5, 50)
	allocate("a-second", "GPU-0", "t1", 40, 55)
	allocate("a-early", "GPU-0", "t1", 58, 57)
	allocate("a-device", "GPU-9", "t1", 5, 50)
	allocate("a-tenant", "GPU-1", "nobody-knows", 5, 50)
	read("m-backwards", "n-backwards", "node_energy", 0, 0, 900, true)
	read("m-backwards", "n-backwards", "node_energy", 30, 30, 800, true)
	read("m-impossible", "n-impossible", "node_energy", 0, 60, -5, false)
	read("m-contradicts", "n-contradicts", "node_energy", 0, 40, 500, false)
	read("m-contradicts", "n-contradicts", "node_energy", 30, 60, 500, false)
	read("m-site", "", "site_energy", 0, 0, 900, true)
	read("m-site", "", "site_energy", 30, 30, 800, true)
	for _, m := range []string{"m-one", "m-two"} {
		read(m, "n-two", "node_energy", 0, 0, 100, true)
		read(m, "n-two", "node_energy", 60, 60, 900, true)
	}
	edition("f1", "grid", "XA", 0, 1, 100, "lifecycle", "hourly", "Gappy", "v1", 7)
	edition("f2", "grid", "XA", 3, 4, 100, "lifecycle", "hourly", "Gappy", "v1", 7)
	edition("f3", "grid", "XB", 0, 1, 100, "lifecycle", "hourly", "Overlapping", "v1", 7)
	edition("f4", "grid", "XB", 0, 1, 200, "lifecycle", "hourly", "Overlapping", "v2", 7)
	edition("f5", "grid", "XC", 0, 1, 100, "lifecycle", "hourly", "Twice", "v1", 7)
	edition("f5", "grid", "XC", 0, 1, 100, "lifecycle", "hourly", "Twice", "v1", 8)
	edition("f6", "residual", "XD", 0, 9000, 100, "lifecycle", "yearly", "Mixed", "v1", 7)
	edition("f7", "residual", "XD", 0, 9000, 100, "direct", "yearly", "Mixed", "v1", 7)
	edition("f8", "instrument", "s", 0, 9000, 100, "lifecycle", "", "Registry", "PPA 1", 7)
	edition("f9", "instrument", "s", 0, 9000, 100, "direct", "", "Registry", "PPA 2", 7)

	for _, command := range []string{"doctor", "ledger show"} {
		if code, _ := s.run(append(strings.Fields(command), "--from", "2026-02-01T00:00:00Z", "--to", "2026-01-01T00:00:00Z")...); code != process.ExitUsage {
			t.Errorf("%s of a period that is empty ends with %d", command, code)
		}
	}

	code, got := s.run("doctor", "--hours", "2", "--set", "closer.adjust_within=1h")
	if code != process.ExitFailed {
		t.Errorf("the doctor ends with %d", code)
	}
	_, text, _ := execute(t, append([]string{"doctor", "--hours", "1"}, s.args...)...)
	if want := "grid XB Overlapping v2 hourly"; !strings.Contains(text, want) {
		t.Errorf("no %q in what a person reads: %s", want, text)
	}
	type found struct {
		record, detail string
		refused        bool
	}
	seen := map[string][]found{}
	for _, f := range got["findings"].([]any) {
		f := f.(map[string]any)
		kind := fmt.Sprint(f["kind"])
		seen[kind] = append(seen[kind], found{fmt.Sprint(f["record"]), fmt.Sprint(f["detail"]), f["refused"] == true})
	}
	for _, want := range []struct {
		kind, record, mend string
		refused            bool
	}{
		{"allocation_overbooked", "a-second", "0 are free beside a-first: mend the scheduler's statement", true},
		{"allocation_ends_before_start", "a-early", "mend the scheduler's statement", true},
		{"allocation_of_unknown_device", "a-device", "mend the statement or the inventory", true},
		{"allocation_of_unknown_tenant", "a-tenant", "import the tenant", false},
		{"meter_runs_backwards", "m-backwards", "begins a new epoch", true},
		{"meter_runs_backwards", "m-site", "begins a new epoch", true},
		{"meter_impossible", "m-impossible", "counts upwards from 0", true},
		{"meter_contradicts", "m-contradicts", "state each time once", true},
		{"meter_claimed_twice", "m-one and m-two", "by one of them", true},
		{"factor_gap", "Gappy", "import what is missing", false},
		{"factor_overlap", "Overlapping", "leave one out", true},
		{"factor_duplicate", "Twice", "counts once", false},
		{"factor_boundary", "residual XD", "market_boundary", true},
		{"factor_boundary", "PPA", "with one boundary", true},
		{"hour_closed_by_lateness", time.UnixMicro(int64(first + unit.Hour)).UTC().Format(time.RFC3339), "no word from n-overlap", false},
		{"adjustment_pending", time.UnixMicro(int64(first + unit.Hour)).UTC().Format(time.RFC3339), "booked with the next hour", false},
		{"adjustment_too_old", time.UnixMicro(int64(first)).UTC().Format(time.RFC3339), "ledger adjust --site s --hour", false},
	} {
		ok := false
		for _, f := range seen[want.kind] {
			ok = ok || strings.Contains(f.record, want.record) && strings.Contains(f.detail, want.mend) && f.refused == want.refused
		}
		if !ok {
			t.Errorf("no %s of %s that says %q (refused: %t): %v", want.kind, want.record, want.mend, want.refused, seen[want.kind])
		}
	}
}

// closedHours seals two hours, the second by lateness, and notes that both were reached by something since: the first lies too far back to be
// evaluated anew by itself within an hour.
func closedHours(t *testing.T, s *servers, first unit.Micros) {
	t.Helper()
	store, err := clickhouse.New(s.conn)
	if err != nil {
		t.Fatal(err)
	}
	now := unit.MicrosOf(time.Now())
	inputs, err := closer.Inputs{Stated: now, Old: []closer.Changed{{Hour: first}}, Pending: []closer.Changed{{Hour: first + unit.Hour}}}.Text()
	if err != nil {
		t.Fatal(err)
	}
	previous := ""
	for n := range uint64(2) {
		b := ledger.Batch{Site: "s", Number: n, Previous: previous, Hour: first + unit.Micros(n)*unit.Hour, Closing: "complete"}
		if n == 1 {
			b.Closing, b.Reason, b.Inputs = "lateness", "no word from n-overlap", inputs
		}
		b.Entries = []record.Entry{{
			Site: "s", Hour: b.Hour.Time().Format(time.RFC3339), Kind: record.Closing, Account: record.AccountPlatform, Node: "n-overlap",
			From: b.Hour, To: b.Hour + unit.Hour, Rules: ledger.Rules,
		}}
		sealed, err := ledger.Make(b, ledger.SecretFrom("test").Site("s"))
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Append(t.Context(), sealed); err != nil {
			t.Fatal(err)
		}
		previous = sealed.Seal.Root
	}
}
