package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// bookedHold is what the ledger holds, in sum, of an allocation's stay on a device within an hour.
type bookedHold struct {
	device                                      string
	tenant, project, workload, modelID, purpose string
	from, to                                    unit.Micros
}

// changedByAllocations compares allocations that were stated anew with what the ledger holds of them. A job that ends is stated
// again with its end, and of the hours it ran in nothing changes by that: only hours that differ are looked at.
func (s *Store) changedByAllocations(ctx context.Context, site string, since, end, from unit.Micros, f found) error {
	var list []record.Allocation
	part := map[string]bool{} // devices that are instances of a GPU: their share of it is not the allocation's
	err := s.each(with(ctx, "site", site, "since", since),
		`SELECT id, device, thousandths, start_us, end_us, tenant, project, workload, model_id, purpose,
		   device IN (SELECT uuid FROM devices FINAL WHERE kind = 'mig')
		 FROM allocations FINAL WHERE site = {site:String} AND stated > fromUnixTimestamp64Micro({since:Int64})`,
		func(rows driver.Rows) error {
			var a record.Allocation
			var share uint32
			var start, stop int64
			var mig uint8
			err := rows.Scan(&a.ID, &a.Device, &share, &start, &stop, &a.Tenant, &a.Project, &a.Workload, &a.ModelID, &a.Purpose, &mig)
			a.Share, a.Start, a.End = unit.Thousandths(share), unit.Micros(start), unit.Micros(stop)
			list, part[a.Device] = append(list, a), mig == 1
			return err
		})
	if err != nil {
		return fmt.Errorf("read allocations stated of %s: %w", site, err)
	}
	if len(list) == 0 {
		return nil
	}
	// Without FINAL, as a few lines are looked for among millions: rows that came twice are taken once.
	type place struct{ id, device string } // one job may hold many devices under one id
	held := map[place]map[bookedHold]unit.DeviceTime{}
	err = s.each(with(ctx, "site", site, "from", from, "end", end, "since", since),
		`SELECT allocation, device, tenant, project, workload, model_id, purpose, from_us, to_us, sum(device_time) FROM (
		   SELECT * FROM entries WHERE site = {site:String} AND allocation IN (
		       SELECT id FROM allocations FINAL WHERE site = {site:String} AND stated > fromUnixTimestamp64Micro({since:Int64}))
		     AND hour >= fromUnixTimestamp64Micro({from:Int64}) AND hour < fromUnixTimestamp64Micro({end:Int64})
		   LIMIT 1 BY batch, root, position) AS e
		 INNER JOIN (SELECT batch, root FROM seals FINAL WHERE site = {site:String}) AS l ON l.batch = e.batch AND l.root = e.root
		 GROUP BY allocation, device, tenant, project, workload, model_id, purpose, from_us, to_us
		 HAVING sum(device_time) != 0`,
		func(rows driver.Rows) error {
			var id string
			var h bookedHold
			var begins, ends, sum int64
			err := rows.Scan(&id, &h.device, &h.tenant, &h.project, &h.workload, &h.modelID, &h.purpose, &begins, &ends, &sum)
			h.from, h.to = unit.Micros(begins), unit.Micros(ends)
			at := place{id, h.device}
			if held[at] == nil {
				held[at] = map[bookedHold]unit.DeviceTime{}
			}
			held[at][h] = unit.DeviceTime(sum)
			return err
		})
	if err != nil {
		return fmt.Errorf("read what is booked of allocations of %s: %w", site, err)
	}
	overlap, err := s.overlaps(ctx, site, since, list)
	if err != nil {
		return err
	}
	for _, a := range list {
		changed := false
		booked := held[place{a.ID, a.Device}]
		for hour := max(a.Start.FloorHour(), from); hour < end && (a.End == 0 || hour < a.End); hour += unit.Hour {
			h := bookedHold{a.Device, a.Tenant, a.Project, a.Workload, a.ModelID, a.Purpose, max(hour, a.Start), hour + unit.Hour}
			if a.End != 0 {
				h.to = min(h.to, a.End)
			}
			time, ok := booked[h]
			delete(booked, h)
			if ok && (part[a.Device] || time == deviceTime(h.from, h.to, a.Share)) {
				continue
			}
			f.add(hour, "late_allocation", a.ID)
			changed = true
		}
		for h := range booked { // what it held by an earlier word and does not hold now
			f.add(h.from.FloorHour(), "late_allocation", a.ID)
			changed = true
		}
		if a.Start < from && a.End != 0 && a.End <= from { // nobody has compared these: a person may
			for hour := a.Start.FloorHour(); hour < a.End && hour < a.Start.FloorHour()+maxOld*unit.Hour; hour += unit.Hour {
				f.add(hour, "late_allocation", a.ID)
			}
		}
		// Where the slots of a shared device lie depends on who came before, up to the first moment at which nobody held it.
		if until, ok := overlap[a.ID+"\x00"+a.Device]; ok && changed {
			for hour := max(a.Start.FloorHour(), from); hour < min(until, end); hour += unit.Hour {
				f.add(hour, "late_allocation", a.ID)
			}
		}
	}
	return nil
}

// maxOld bounds how many hours of one allocation, older than is looked at by itself, are listed.
const maxOld = 48

// overlaps says of allocations on devices that any two ever held at once until when the device was held without a break.
func (s *Store) overlaps(ctx context.Context, site string, since unit.Micros, list []record.Allocation) (map[string]unit.Micros, error) {
	type stay struct{ from, to unit.Micros }
	stays := map[string][]stay{}
	err := s.each(with(ctx, "site", site, "since", since),
		`SELECT device, start_us, if(end_us = 0, 9223372036854775807, end_us) FROM allocations FINAL
		 WHERE site = {site:String} AND device IN (
		   SELECT device FROM allocations FINAL WHERE site = {site:String} AND stated > fromUnixTimestamp64Micro({since:Int64}))
		 ORDER BY device, start_us, id`,
		func(rows driver.Rows) error {
			var device string
			var from, to int64
			err := rows.Scan(&device, &from, &to)
			stays[device] = append(stays[device], stay{unit.Micros(from), unit.Micros(to)})
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read who shares devices of %s: %w", site, err)
	}
	out := map[string]unit.Micros{}
	for _, a := range list {
		until, shared := a.End, a.Share != unit.WholeDevice
		if until == 0 {
			continue // it runs: all hours since its start are looked at
		}
		for _, st := range stays[a.Device] { // in order of start
			if st.from < until && st.to > a.Start && (st.from != a.Start || st.to != a.End) {
				shared = true
				until = max(until, st.to)
			}
		}
		if shared {
			out[a.ID+"\x00"+a.Device] = until
		}
	}
	return out, nil
}

// deviceTime is milliseconds × thousandths, with instants counted in whole milliseconds, as closing counts them.
func deviceTime(from, to unit.Micros, share unit.Thousandths) unit.DeviceTime {
	return unit.DeviceTime(int64(to/unit.Millisecond)-int64(from/unit.Millisecond)) * unit.DeviceTime(share)
}

// restatedSQL are GPUs of a site of which something was said anew: of themselves, their node or its stays.
const restatedSQL = `(SELECT uuid FROM devices FINAL
  WHERE kind = 'gpu' AND node IN (SELECT id FROM nodes FINAL WHERE site = {site:String})
    AND (stated > fromUnixTimestamp64Micro({since:Int64})
      OR node IN (SELECT id FROM nodes FINAL WHERE site = {site:String} AND stated > fromUnixTimestamp64Micro({since:Int64}))
      OR node IN (SELECT node FROM stays FINAL WHERE site = {site:String} AND stated > fromUnixTimestamp64Micro({since:Int64}))))`

// changedByInventory compares how long devices that were stated anew were there, in hours that are closed, with the device time the
// ledger holds of them. Another limit, model or number of watts is not looked for: it counts from the next hour on, and for hours
// before it when a person asks for them.
func (s *Store) changedByInventory(ctx context.Context, site string, since, end, from unit.Micros, f found) error {
	if from >= end {
		return nil
	}
	stays := map[string][]presence{}
	err := s.each(with(ctx, "site", site, "since", since), `SELECT uuid, node, from_us, to_us FROM `+stationedSQL+` WHERE uuid IN `+restatedSQL+` ORDER BY uuid, from_us`,
		func(rows driver.Rows) error {
			var uuid string
			var p presence
			var begins, ends int64
			err := rows.Scan(&uuid, &p.node, &begins, &ends)
			p.from, p.to = unit.Micros(begins), unit.Micros(ends)
			stays[uuid] = append(stays[uuid], p)
			return err
		})
	if err != nil {
		return fmt.Errorf("read devices stated of %s: %w", site, err)
	}
	if len(stays) == 0 {
		return nil
	}
	// Day by day: when a whole fleet is stated anew, as by a new collector, its device-hours of five weeks do not fit in memory.
	for day := from.FloorHour(); day < end; day += inventoryDay {
		if err := s.comparePresence(ctx, site, since, day, min(day+inventoryDay, end), stays, f); err != nil {
			return err
		}
	}
	return nil
}

// inventoryDay is how many hours of devices are compared at once.
const inventoryDay = 24 * unit.Hour

// presence is a stay of a device on a node; to 0 is open.
type presence struct {
	node     string
	from, to unit.Micros
}

// comparePresence compares the hours in [from, to).
func (s *Store) comparePresence(ctx context.Context, site string, since, from, to unit.Micros, stays map[string][]presence, f found) error {
	type at struct {
		device string
		hour   unit.Micros
	}
	booked := map[at]unit.DeviceTime{}
	err := s.each(with(ctx, "site", site, "from", from, "end", to, "since", since),
		`SELECT gpu, e.hour, sum(e.device_time) FROM (
		   SELECT if(m.parent != '', m.parent, b.device) AS gpu, b.hour AS hour, b.batch AS batch, b.root AS root, b.device_time AS device_time FROM (
		     SELECT device, hour, batch, root, position, device_time FROM entries WHERE site = {site:String}
		       AND hour >= fromUnixTimestamp64Micro({from:Int64}) AND hour < fromUnixTimestamp64Micro({end:Int64})
		       AND (device IN `+restatedSQL+` OR device IN (SELECT uuid FROM devices FINAL WHERE kind = 'mig' AND parent_uuid IN `+restatedSQL+`))
		     LIMIT 1 BY batch, root, position) AS b
		   LEFT JOIN (SELECT uuid, any(parent_uuid) AS parent FROM devices FINAL WHERE kind = 'mig' GROUP BY uuid) AS m ON m.uuid = b.device) AS e
		 INNER JOIN (SELECT batch, root FROM seals FINAL WHERE site = {site:String}) AS l ON l.batch = e.batch AND l.root = e.root
		 GROUP BY gpu, e.hour`,
		func(rows driver.Rows) error {
			var gpu string
			var hour time.Time
			var sum int64
			err := rows.Scan(&gpu, &hour, &sum)
			booked[at{gpu, unit.MicrosOf(hour)}] = unit.DeviceTime(sum)
			return err
		})
	if err != nil {
		return fmt.Errorf("read what is booked of devices of %s: %w", site, err)
	}
	for uuid, list := range stays {
		for hour := from; hour < to; hour += unit.Hour {
			var present unit.DeviceTime
			for _, p := range list {
				begin, stop := max(hour, p.from), hour+unit.Hour
				if p.to != 0 {
					stop = min(stop, p.to)
				}
				if stop > begin {
					present += deviceTime(begin, stop, unit.WholeDevice)
				}
			}
			if booked[at{uuid, hour}] != present {
				f.add(hour, "inventory", list[len(list)-1].node)
			}
		}
	}
	return nil
}

// changedByReadings finds hours about which meters said something since. A counter is cut at an edge between the readings around
// it, so one close to an edge speaks of the hour beyond it too; of the last edge, which every hour's readings come close to, only
// the first one after it does.
func (s *Store) changedByReadings(ctx context.Context, site string, since closer.Inputs, end unit.Micros, f found) error {
	var received unit.Micros
	for _, l := range since.Lines {
		if l.Topic == wire.TopicReading {
			received = max(received, l.Received)
		}
	}
	type key struct{ meter, quantity string }
	type right struct{ fresh, seen unit.Micros }
	rights := map[key]right{}
	// Readings lie by the day of their receipt: a day back is far enough for what was not seen.
	err := s.each(with(ctx, "site", site, "end", end, "reach", meterReach, "received", max(0, received-24*unit.Hour)),
		`SELECT meter, quantity, counter, fresh, min(from_us), max(to_us) FROM (
		   SELECT meter, quantity, counter, from_us, to_us, (run, seq) IN (
		     SELECT run, seq FROM messages WHERE site = {site:String} AND topic = '`+wire.TopicReading+`' AND `+beyond(since)+`) AS fresh
		   FROM readings WHERE site = {site:String} AND from_us < {end:Int64} + {reach:Int64}
		     AND received >= fromUnixTimestamp64Micro({received:Int64}))
		 WHERE fresh OR from_us >= {end:Int64}
		 GROUP BY meter, quantity, counter, fresh, intDiv(from_us, 3600000000), intDiv(from_us % 3600000000, 900000000)`,
		func(rows driver.Rows) error {
			var k key
			var counter bool
			var fresh uint8
			var first, last int64
			if err := rows.Scan(&k.meter, &k.quantity, &counter, &fresh, &first, &last); err != nil {
				return err
			}
			from, to := unit.Micros(first), unit.Micros(last)
			if from >= end {
				if !counter {
					return nil
				}
				r := rights[k]
				if p := &r.seen; fresh == 0 && (*p == 0 || from < *p) {
					*p = from
				}
				if p := &r.fresh; fresh == 1 && (*p == 0 || from < *p) {
					*p = from
				}
				rights[k] = r
				return nil
			}
			if counter {
				from, to = from-meterReach, to+meterReach
			}
			for hour := from.FloorHour(); hour < min(max(to, from+1), end); hour += unit.Hour {
				f.add(hour, "meter", k.meter)
			}
			return nil
		})
	if err != nil {
		return fmt.Errorf("read what meters of %s said: %w", site, err)
	}
	for k, r := range rights {
		if r.fresh != 0 && (r.seen == 0 || r.fresh < r.seen) {
			f.add(end-unit.Hour, "meter", k.meter)
		}
	}
	return nil
}

func (s *Store) each(ctx context.Context, query string, row func(driver.Rows) error) error {
	rows, err := s.conn.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
