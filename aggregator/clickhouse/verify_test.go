package clickhouse

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// store writes a fleet as ingest would.
func store(t *testing.T, conn driver.Conn, f *fleettest.Fleet) {
	t.Helper()
	insert := func(table string, values []string) {
		t.Helper()
		for chunk := range slices.Chunk(values, 2000) {
			exec(t, conn, "INSERT INTO %s VALUES %s", table, strings.Join(chunk, ","))
		}
	}
	insert("sites (id, country, zone, operator, operator_country, pue_thousandths, allocation_source, revision)", []string{fmt.Sprintf("('%s', 'FR', 'FR', 'op', 'FR', %d, 'sched', 1)", f.Site.ID, f.Site.PUEThousandths)})
	var nodes, devices, allocations, samples, messages []string
	messages = append(messages, fmt.Sprintf("('wl.allocation.v1', '%s', 'sched', 'run', 0, '', 0, 1, fromUnixTimestamp64Micro(%d), 1, now(), now(), now(), 0, 0)", f.Site.ID, f.Period().To))
	for i, n := range f.Nodes {
		nodes = append(nodes, fmt.Sprintf("('%s', '%s', 'r', 'm', %d, %d, %d, 1)", n.ID, n.Site, n.RestMilliwatts, max(n.From, fleettest.Begin), n.To))
		rows := map[string]map[string]bool{}
		for _, d := range n.Devices {
			devices = append(devices, fmt.Sprintf("('%s', '%s', '%s', '%s', '%s', '', 'd', 'v', %d, %d, '%s', %d, %d, %d, %d, 1)",
				d.UUID, d.Parent, n.ID, d.Kind, d.Model, d.Index, d.Slices, d.Energy, d.LimitMilliwatts, d.IdleMilliwatts, d.From, d.To))
			for _, a := range n.Allocations[d.UUID] {
				allocations = append(allocations, fmt.Sprintf("('%s', '%s', '%s', %d, %d, %d, '%s', '', '', '', '', '', 1)",
					a.ID, f.Site.ID, a.Device, a.Share, a.Start, a.End, a.Tenant))
			}
			s := n.Series[d.UUID]
			for _, r := range s.Samples {
				id := s.Identities[r.Identity]
				run := fmt.Sprintf("%s-%s-%s", n.ID, d.UUID, id.Run)
				if d.Parent != "" && d.Kind == record.KindMIG {
					run = fmt.Sprintf("%s-%s-%s", n.ID, d.Parent, id.Run)
				}
				samples = append(samples, fmt.Sprintf("('%s', '%s', '%s', '%s', 1, '%s', '%s', '%s', fromUnixTimestamp64Micro(%d), %d, %d, now(), 0, 0, %d, %d, %d, %d, %d)",
					f.Site.ID, n.ID, d.UUID, run, id.Boot, id.Driver, d.Energy, r.Tick, uint64(r.At), s.Interval/unit.Millisecond, uint64(r.Energy), uint64(r.Integral), uint64(r.Activity),
					uint32(r.Seen), r.Read))
				if rows[run] == nil {
					rows[run] = map[string]bool{}
				}
				rows[run][fmt.Sprint(d.UUID, r.Tick)] = true
			}
		}
		for run, keys := range rows {
			messages = append(messages, fmt.Sprintf("('wl.sample.v1', '%s', '%s', '%s', 1, '', 0, 1, fromUnixTimestamp64Micro(%d), %d, now(), now(), now(), 0, %d)",
				f.Site.ID, n.ID, run, f.Period().To, len(keys), i))
		}
	}
	var readings []string
	for _, r := range f.Site.Readings {
		readings = append(readings, reading(f.Site.ID, r))
	}
	for _, n := range f.Nodes {
		for _, r := range n.Readings {
			readings = append(readings, reading(f.Site.ID, r))
		}
	}
	if len(readings) > 0 {
		insert("readings (site, node, meter, quantity, unit, from_us, to_us, value, counter, method, epoch, received)", readings)
	}
	insert("nodes", nodes)
	insert("devices", devices)
	insert("messages", messages)
	if len(allocations) > 0 {
		insert("allocations", allocations)
	}
	insert("samples (site, node, device, run, seq, boot, driver, energy_source, tick, energy_ts, period_ms, received, kafka_partition, kafka_offset, energy_mj, power_integral_mj, sm_active_us, energy_epoch, ticks_read)", samples)
}

func reading(site string, r record.Reading) string {
	return fmt.Sprintf("('%s', '%s', '%s', '%s', '%s', %d, %d, %d, %v, '%s', '%s', now())",
		site, r.Node, r.Meter, r.Quantity, r.Unit, r.From, r.To, r.Value, r.Counter, r.Method, r.Epoch)
}

func closeAll(t *testing.T, s *Store) {
	t.Helper()
	c, err := closer.New(closer.DefaultConfig(), secret, s, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n > 0; {
		if n, err = c.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// What the aggregator books on the engine is proved by means of its own: every residual and error is 0.
func TestVerifyFindsNothingInARightLedger(t *testing.T) {
	t.Parallel()
	for i, seed := range []uint64{0, 1, 41, 3, 4, 111} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s, conn := open(t)
			f := fleettest.New(seed, fleettest.Silence(i%3))
			store(t, conn, f)
			closeAll(t, s)
			r, err := verify.Run(t.Context(), NewAudit(conn), f.Period(), "")
			if err != nil {
				t.Fatal(err)
			}
			if r.Energy.Metered == 0 || r.Time.Wall == 0 || r.Samples.Stored == 0 {
				t.Fatalf("nothing was proved: %+v", r)
			}
			if r.Energy.Residual != 0 || r.Time.Residual != 0 || r.Samples.Mismatched != 0 || r.Truth != (verify.Truth{}) {
				t.Errorf("%+v", r)
			}
			later := f.Period()
			later.From += unit.Hour
			if later.From == later.To {
				return
			}
			part, err := verify.Run(t.Context(), NewAudit(conn), later, "")
			if err != nil {
				t.Fatal(err)
			}
			if part.Energy.Residual != 0 || part.Truth.Entries != 0 {
				t.Errorf("without the first hour: %+v", part)
			}
		})
	}
}

// When samples are gone, the cuts prove what they can, and the report says so.
func TestVerifyByCutsWhenSamplesAreGone(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	plant(t, conn)
	closeAll(t, s)
	p := verify.Period{From: hour0, To: hour0 + 2*unit.Hour}
	before, err := verify.Run(t.Context(), NewAudit(conn), p, "")
	if err != nil || before.Basis.Samples != 2 || before.Basis.Cuts != 0 {
		t.Fatalf("%+v, %v", before, err)
	}
	exec(t, conn, "TRUNCATE TABLE samples")
	r, err := verify.Run(t.Context(), NewAudit(conn), p, "")
	if err != nil {
		t.Fatal(err)
	}
	if r.Basis.Samples != 0 || r.Basis.Cuts != 2 || r.Basis.DeviceHours <= r.Basis.Unproved || r.Truth != (verify.Truth{}) || r.Samples.Mismatched != 0 {
		t.Errorf("%+v", r)
	}
	exec(t, conn, "ALTER TABLE cuts UPDATE c = c + 1 WHERE t = %d SETTINGS mutations_sync = 1", hour0+unit.Hour)
	if r, err = verify.Run(t.Context(), NewAudit(conn), p, ""); err != nil || r.Truth.Cuts == 0 || r.Truth.RuleError == 0 {
		t.Errorf("a changed cut: %+v, %v", r, err)
	}
}

// So is what meters of nodes and of the site make of it, where they count and where they are refused.
func TestVerifyFindsNothingInALedgerOfMeters(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{2, 5, 9} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s, conn := open(t)
			f := fleettest.NewWith(seed, fleettest.Options{Meters: true})
			store(t, conn, f)
			closeAll(t, s)
			r, err := verify.Run(t.Context(), NewAudit(conn), f.Period(), "")
			if err != nil {
				t.Fatal(err)
			}
			if r.Energy.Metered == 0 || r.Energy.Residual != 0 || r.Energy.Levels.Sum() != 0 || r.Time.Residual != 0 || r.Truth != (verify.Truth{}) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A plant of steady power is within its bounds of the truth, and outside them when the truth is another.
func TestVerifyAgainstTheTruth(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	plant(t, conn)
	closeAll(t, s)
	p := verify.Period{From: hour0, To: hour0 + 2*unit.Hour}
	f := func(watts unit.Micros) verify.Truth {
		t.Helper()
		rows := []string{"entity,t_us,energy_uj"}
		for _, gpu := range []string{"GPU-a", "GPU-b", "GPU-m"} {
			for _, at := range []unit.Micros{0, 600_123_000, unit.Hour, unit.Hour + 17_000, 2 * unit.Hour} {
				rows = append(rows, fmt.Sprintf("%s,%d,%d", gpu, hour0+at, at*watts))
			}
		}
		path := filepath.Join(t.TempDir(), "truth.csv")
		if err := os.WriteFile(path, []byte(strings.Join(rows, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := verify.Run(t.Context(), NewAudit(conn), p, path)
		if err != nil {
			t.Fatal(err)
		}
		if r.Energy.Residual != 0 || r.Truth.RuleError != 0 || r.Samples.Repeated == 0 {
			t.Errorf("%+v", r)
		}
		return r.Truth
	}
	if got := f(500); got.Outside != 0 || got.CutsChecked < 8 || got.EntriesChecked < 4 || got.TenantsChecked != 1 || got.MaxTenantPPM > 0.01 {
		t.Errorf("at the true power: %+v", got)
	}
	if got := f(501); got.Outside == 0 || got.MaxTenantPPM < 1900 {
		t.Errorf("at another power: %+v", got)
	}
}

// A sample without a line is a mismatch, unless it is older than lines are kept.
func TestSamplesOutliveTheLinesOfTheirMessages(t *testing.T) {
	t.Parallel()
	_, conn := open(t)
	if err := conn.Exec(t.Context(), "INSERT INTO samples (site, node, device, run, tick, received) SELECT 's', 'n', 'd', '', fromUnixTimestamp64Micro(?), now64(6) - INTERVAL 100 DAY", int64(hour0+1)); err != nil {
		t.Fatal(err)
	}
	f := func(want int64) {
		t.Helper()
		c, err := NewAudit(conn).Counts(t.Context(), verify.Period{From: hour0, To: hour0 + unit.Hour})
		if err != nil || c.Stored != 1 || c.Mismatched != want {
			t.Errorf("counts %+v, %v; want %d mismatched", c, err, want)
		}
	}
	f(1)
	for days, want := range map[int]int64{62: 0, 200: 1} {
		if err := conn.Exec(t.Context(), fmt.Sprintf("ALTER TABLE messages MODIFY TTL toDateTime(received) + toIntervalDay(%d)", days)); err != nil {
			t.Fatal(err)
		}
		f(want)
	}
}
