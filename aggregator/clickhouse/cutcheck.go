package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/schemas/unit"
)

// SamplesFrom is the first hour from which on the samples of every site are all there; the ledger's first when none is gone.
func (v *Evidence) SamplesFrom(ctx context.Context) (unit.Micros, error) {
	type stretch struct {
		site  string
		first time.Time
	}
	var sites []stretch
	err := v.each(ctx, "SELECT site, min(hour) FROM seals FINAL GROUP BY site ORDER BY site", func(rows driver.Rows) error {
		var s stretch
		err := rows.Scan(&s.site, &s.first)
		sites = append(sites, s)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read the sites of the ledger: %w", err)
	}
	var from unit.Micros
	for _, s := range sites {
		begins := unit.MicrosOf(s.first)
		oldest := unit.Micros(1<<62) / unit.Hour * unit.Hour // none is left
		err := v.each(with(ctx, "site", s.site), `SELECT toUnixTimestamp64Micro(tick) FROM sample WHERE site = {site:String}
			ORDER BY site, toStartOfHour(tick) LIMIT 1`, func(rows driver.Rows) error {
			var t int64
			err := rows.Scan(&t)
			oldest = unit.Micros(t).FloorHour()
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("read the oldest sample of %s: %w", s.site, err)
		}
		// What is gone goes by day of receipt, so of the hours around that a part may be gone: their seals count the samples.
		for n := 0; n < maxParted; n++ {
			whole, err := v.whole(ctx, s.site, oldest)
			if err != nil {
				return 0, err
			}
			if whole {
				break
			}
			oldest += unit.Hour
		}
		from = max(from, oldest, begins)
	}
	return from, nil
}

// maxParted is over how many hours samples that are received together can spread: those of a replay are given up earlier.
const maxParted = 48

// whole says that the samples of an hour are all there, as far as its seal has counted them.
func (v *Evidence) whole(ctx context.Context, site string, hour unit.Micros) (bool, error) {
	var sealed, stored int64
	ctx = with(ctx, "site", site, "s", int64(hour/unit.Second), "from", hour, "to", hour+unit.Hour)
	if err := v.conn.QueryRow(ctx, `SELECT max(sample_rows) FROM seals FINAL
		WHERE site = {site:String} AND hour = toDateTime({s:Int64}, 'UTC') AND closing IN ('complete', 'lateness')`).Scan(&sealed); err != nil {
		return false, fmt.Errorf("read how many samples closed an hour of %s: %w", site, err)
	}
	if sealed == 0 {
		return true, nil // not counted, or not closed
	}
	if err := v.conn.QueryRow(ctx, `SELECT toInt64(uniqExact(device, tick)) FROM sample WHERE site = {site:String}
		AND toStartOfHour(tick) = toDateTime({s:Int64}, 'UTC') AND tick >= fromUnixTimestamp64Micro({from:Int64}) AND tick < fromUnixTimestamp64Micro({to:Int64})`).Scan(&stored); err != nil {
		return false, fmt.Errorf("count the samples of an hour of %s: %w", site, err)
	}
	return stored >= sealed, nil
}

// CutCheck is what the cuts say of hours whose samples are gone.
type CutCheck struct {
	// DeviceHours are those that were checked. One in which a counter began anew has no cut where it did, and is not.
	DeviceHours int64
	// All are the device-hours there are.
	All int64
	// Differences names the first that do not agree.
	Differences []string
}

// cutCheckSQL sets what a device-hour is said to have measured against the newest cuts at its edges. Only a counter that ran on
// over the whole hour has both.
const cutCheckSQL = `
WITH edges AS (SELECT site, device, t, epoch, argMax(c, (edition, batch)) AS c FROM cut
    WHERE t >= {from:Int64} AND t <= {to:Int64} AND t % 3600000000 = 0 GROUP BY site, device, t, epoch),
  hours AS (SELECT site, device, toInt64(toUnixTimestamp(hour)) * 1000000 AS t, argMax(counter_mj, batch) AS measured, argMax(resets, batch) AS resets
    FROM device_hour WHERE hour >= toDateTime({from_s:Int64}, 'UTC') AND hour < toDateTime({to_s:Int64}, 'UTC') AND kind IN ('gpu', 'cpu')
    GROUP BY site, device, t)
SELECT h.site, h.device, h.t, h.measured, b.c - a.c
FROM hours AS h
INNER JOIN edges AS a ON a.site = h.site AND a.device = h.device AND a.t = h.t
INNER JOIN edges AS b ON b.site = h.site AND b.device = h.device AND b.t = h.t + 3600000000 AND b.epoch = a.epoch
WHERE h.resets = 0 ORDER BY h.t, h.site, h.device`

const deviceHoursSQL = `SELECT toInt64(uniqExact(site, device, hour)) FROM device_hour
WHERE hour >= toDateTime({from_s:Int64}, 'UTC') AND hour < toDateTime({to_s:Int64}, 'UTC') AND kind IN ('gpu', 'cpu')`

// heldCheckSQL sets the energy of a node's devices, as their device-hours have it, against its entries.
const heldCheckSQL = `
WITH said AS (SELECT site, node, hour, sum(gpu) AS gpu, sum(cpu) AS cpu FROM (
      SELECT site, node, hour, device, kind, argMax(counter_mj + estimated_mj, batch) AS mj, if(kind = 'gpu', mj, 0) AS gpu, if(kind = 'cpu', mj, 0) AS cpu
      FROM device_hour WHERE hour >= toDateTime({from_s:Int64}, 'UTC') AND hour < toDateTime({to_s:Int64}, 'UTC') AND kind IN ('gpu', 'cpu')
      GROUP BY site, node, hour, device, kind) GROUP BY site, node, hour),
  booked AS (SELECT site, node, hour, sum(gpu_mj) AS gpu, sum(cpu_mj) AS cpu FROM entry
    WHERE hour >= toDateTime({from_s:Int64}, 'UTC') AND hour < toDateTime({to_s:Int64}, 'UTC') AND node != '' GROUP BY site, node, hour)
SELECT if(s.site != '', s.site, b.site), if(s.node != '', s.node, b.node), if(s.site != '', s.hour, b.hour), s.gpu, s.cpu, b.gpu, b.cpu
FROM said AS s FULL OUTER JOIN booked AS b ON b.site = s.site AND b.node = s.node AND b.hour = s.hour
WHERE s.gpu != b.gpu OR s.cpu != b.cpu ORDER BY 3, 1, 2`

// namedDifferences is how many are put in words.
const namedDifferences = 20

// CheckCuts checks hours by what of them is kept for ever: that each counter measured what its cuts say, and that the entries of
// each node sum to its devices.
func (v *Evidence) CheckCuts(ctx context.Context, from, to unit.Micros) (CutCheck, error) {
	var out CutCheck
	ctx = with(ctx, "from", from, "to", to, "from_s", int64(from/unit.Second), "to_s", int64(to/unit.Second))
	add := func(format string, args ...any) {
		if len(out.Differences) < namedDifferences {
			out.Differences = append(out.Differences, fmt.Sprintf(format, args...))
		}
	}
	err := v.each(ctx, cutCheckSQL, func(rows driver.Rows) error {
		var site, device string
		var t, measured, between int64
		if err := rows.Scan(&site, &device, &t, &measured, &between); err != nil {
			return err
		}
		out.DeviceHours++
		if measured != between {
			add("site %s hour %s device %s: its hour says %d mJ were measured, its cuts %d", site, hourOf(unit.Micros(t).Time()), device, measured, between)
		}
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("check device-hours against cuts: %w", err)
	}
	if err := v.conn.QueryRow(ctx, deviceHoursSQL).Scan(&out.All); err != nil {
		return out, fmt.Errorf("count device-hours: %w", err)
	}
	err = v.each(ctx, heldCheckSQL, func(rows driver.Rows) error {
		var site, node string
		var hour time.Time
		var n [4]int64
		if err := rows.Scan(&site, &node, &hour, &n[0], &n[1], &n[2], &n[3]); err != nil {
			return err
		}
		add("site %s hour %s node %s: its devices took %d mJ as GPUs and %d as CPUs, its entries say %d and %d", site, hourOf(hour), node, n[0], n[1], n[2], n[3])
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("check entries against device-hours: %w", err)
	}
	return out, nil
}
