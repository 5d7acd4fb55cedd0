package clickhouse

import (
	"slices"
	"testing"

	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// The meters of a node and of the site, read every minute, come with the readings around each edge and no others; the hour adds
// up to what they say.
func TestMetersAreLoaded(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	const insert = `INSERT INTO readings SELECT 's', 'x', '%s', '%s', '%s', '%s', %d + number * 60000000, %d + number * 60000000 + %d, %s, %t, 'counter', 'e', 'run', number, now64(6)
		FROM numbers(300)`
	begin := hour0 - unit.Hour
	exec(t, conn, insert, "n", "bmc", "node_energy", "mJ", begin, begin, 0, "number * 60 * 2000000", true)      // 2 kW
	exec(t, conn, insert, "", "grid", "site_energy", "mJ", begin, begin, 0, "number * 60 * 3000000", true)      // 3 kW
	exec(t, conn, insert, "", "switches", "it_shared_energy", "mJ", begin, begin, 60_000_000, "6000000", false) // 100 W by intervals
	exec(t, conn, insert, "", "tap", "water", "ml", begin, begin, 0, "number", true)                            // a millilitre a minute
	exec(t, conn, insert, "gone", "other", "node_energy", "mJ", begin, begin, 0, "number", true)                // of a node that is none
	exec(t, conn, insert, "n", "cpus", "cpu_energy", "mJ", begin, begin, 0, "number", true)                     // a part, and no whole
	h, err := s.Load(t.Context(), site, hour0)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(h.Nodes[0].Readings); n == 0 || n > 8 {
		t.Errorf("%d readings of the node's meter, want the first, the last and those around the hour's edges", n)
	}
	res, err := closing.Close(h)
	if err != nil || len(res.Findings) != 0 {
		t.Fatalf("%+v, %v", res.Findings, err)
	}
	var it, shared, facility unit.Millijoules
	var water unit.Microlitres
	for _, e := range res.Entries {
		it += e.GPU + e.CPU + e.NodeRest
		shared += e.ITShared
		facility += e.Facility
		water += e.Water
		if e.RestSource != "meter bmc" || e.FacilitySource != "meter grid" || e.SharedSource != "meter switches" || e.WaterSource != "meter tap" {
			t.Errorf("sources of %+v", e)
		}
		if e.Carbon == 0 || e.CarbonEmbodied == 0 || e.Factor == "" {
			t.Errorf("carbon of %+v", e)
		}
	}
	if it != 2_000_000*3600 || shared != 100_000*3600 || facility != 900_000*3600 || water != 60_000 {
		t.Errorf("IT %d, shared %d, facility %d mJ, water %d µl", it, shared, facility, water)
	}
}

// A GPU in MIG mode has the lowest hourly mean that its own device-hours tell of while nobody held it; else the table's.
func TestIdlePowerIsTheDevicesOwn(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	idle := func(what string, want unit.Milliwatts, basis string) {
		t.Helper()
		h, err := s.Load(t.Context(), site, hour0)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(h.Nodes[0].Devices, func(d closing.Device) bool { return d.UUID == "GPU-m" })
		if d := h.Nodes[0].Devices[i]; d.IdleMilliwatts != want || d.IdleBasis != basis {
			t.Errorf("%s: %d mW %s, want %d %s", what, d.IdleMilliwatts, d.IdleBasis, want, basis)
		}
	}
	idle("nothing is known of it", 140_000, "model")
	line := func(hours unit.Micros, mw unit.Millijoules, mend func(*record.DeviceHour)) record.DeviceHour {
		d := record.DeviceHour{
			Site: "s", Hour: (hour0 - hours*unit.Hour).Time().Format("2006-01-02T15:04:05Z"), Node: "n", Device: "GPU-m", Kind: "gpu",
			Counter: mw * 3600, Integral: record.NoIntegral, Present: unit.Hour, Covered: unit.Hour, Unallocated: unit.DeviceTimePerHour,
		}
		if mend != nil {
			mend(&d)
		}
		return d
	}
	seal := func(batch uint64, lines ...record.DeviceHour) {
		t.Helper()
		b := record.Seal{Site: "s", Batch: batch, Root: "r"}
		if err := s.insertDeviceHours(t.Context(), b, lines); err != nil {
			t.Fatal(err)
		}
		exec(t, conn, `INSERT INTO seals (site, batch, root, hour) VALUES ('s', %d, 'r', %d)`, batch, (hour0-unit.Hour)/unit.Second)
	}
	seal(1, line(20, 131_000, nil), line(19, 130_500, nil),
		line(18, 1, func(d *record.DeviceHour) { d.Allocated, d.Unallocated = 1000, d.Unallocated-1000 }),
		line(17, 2, func(d *record.DeviceHour) { d.Covered -= unit.Hour / 50 }),
		line(16, 3, func(d *record.DeviceHour) { d.Estimated = 1 }),
		line(15, 4, func(d *record.DeviceHour) { d.Present-- }),
		line(31*24, 5, nil), line(14, 0, nil))
	measured := "measured " + (hour0 - 19*unit.Hour).Time().Format("2006-01-02T15:04:05Z")
	idle("hours that tell it and hours that do not", 130_500, measured)
	if err := s.insertDeviceHours(t.Context(), record.Seal{Site: "s", Batch: 2, Root: "unsealed"}, []record.DeviceHour{line(13, 6, nil)}); err != nil {
		t.Fatal(err)
	}
	idle("an attempt that was never sealed", 130_500, measured)
	seal(3, line(19, 130_500, func(d *record.DeviceHour) { d.Allocated = 5 }))
	idle("a later batch says that it was held", 131_000, "measured "+(hour0-20*unit.Hour).Time().Format("2006-01-02T15:04:05Z"))
}

func TestTenantsAndBackwardAllocationsAreLookedAt(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	exec(t, conn, `INSERT INTO tenants (id, name, revision) VALUES ('t1', 'One', 1)`)
	exec(t, conn, `INSERT INTO allocations VALUES ('back', 's', 'GPU-b', 1000, %d, %d, 't1', 'p', 'w', 'm', 'training', 'x', 1)`, hour0+100, hour0-100)
	h, err := s.Load(t.Context(), site, hour0)
	if err != nil {
		t.Fatal(err)
	}
	res, err := closing.Close(h)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, f := range res.Findings {
		kinds = append(kinds, f.Kind+" "+f.Record)
	}
	if want := []string{closing.FindingEndsEarly + " back", closing.FindingUnknownTenant + " two"}; !slices.Equal(kinds, want) {
		t.Errorf("findings %q, want %q", kinds, want)
	}
}
