package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// again is how an hour is read that follows one evaluated anew in the same batch, or is itself.
type again struct {
	// cuts are editions that the batch has made and not stored yet.
	cuts []record.Cut
	// closed: the hour is one that was closed before. first: it is the ledger's first, which no cut leads into.
	closed, first bool
}

// start puts pending editions over the stored cuts at an hour's start.
func (a again) start(stored map[string]record.Cut, t unit.Micros) map[string]record.Cut {
	if a.first {
		return nil
	}
	newer := map[string]record.Cut{}
	for _, c := range a.cuts {
		if had, ok := newer[c.Device]; c.T == t && (!ok || c.Epoch > had.Epoch) {
			newer[c.Device] = c
		}
	}
	for device, c := range newer {
		stored[device] = c
	}
	return stored
}

// Reload reads an hour as Load does, for a batch that has made editions of cuts and not stored them yet. Of a closed hour it reads
// besides the samples that have come beyond the lookahead for cuts that are open at its end, however far away they lie: their energy
// then falls to the hours between as an hour closed with them in time would have it.
func (s *Store) Reload(ctx context.Context, site record.Site, start unit.Micros, cuts []record.Cut, closed bool) (closing.Hour, error) {
	a := again{cuts: cuts, closed: closed}
	if closed {
		var first int64
		if err := s.conn.QueryRow(with(ctx, "site", site.ID),
			`SELECT toInt64(toUnixTimestamp(min(hour))) * 1000000 FROM seals FINAL WHERE site = {site:String}`).Scan(&first); err != nil {
			return closing.Hour{}, fmt.Errorf("read the first hour of %s: %w", site.ID, err)
		}
		a.first = start == unit.Micros(first)
	}
	return s.load(ctx, site, start, a)
}

// beyond adds the first samples after open cuts to readings.
func (s *Store) beyond(ctx context.Context, site string, h closing.Hour, devices map[string][]record.Device, readings map[string]series, a again) error {
	if !a.closed {
		return nil
	}
	ends, err := s.cutsAt(ctx, site, h.End())
	if err != nil {
		return err
	}
	open := map[string]bool{}
	pending := again{cuts: a.cuts}
	for device, c := range pending.start(ends, h.End()) {
		if c.Open {
			open[device] = true
		}
	}
	for device := range open {
		// One that has come within the lookahead since is among the readings already.
		if r := readings[device]; len(r.points) > 0 && r.points[len(r.points)-1].T >= h.End() {
			delete(open, device)
		}
	}
	if len(open) == 0 {
		return nil
	}
	ticks, err := s.firstAfter(ctx, site, h.End()+Lookahead, h.End()+maxOpen, sortedKeys(open))
	if err != nil || len(ticks) == 0 {
		return err
	}
	for _, ds := range devices {
		for _, d := range ds {
			if t, ok := ticks[d.Parent]; ok && d.Kind == record.KindMIG { // what its instances did is read at the same tick
				ticks[d.UUID] = t
			}
		}
	}
	return s.samplesAt(ctx, site, ticks, readings)
}

// maxOpen is how far a sample after an open cut is sought.
const maxOpen = 35 * 24 * unit.Hour

// samplesAt adds the samples of devices at a tick each.
func (s *Store) samplesAt(ctx context.Context, site string, ticks map[string]unit.Micros, readings map[string]series) error {
	byTick := map[unit.Micros][]string{}
	for _, device := range sortedKeys(ticks) {
		byTick[ticks[device]] = append(byTick[ticks[device]], device)
	}
	for t, devices := range byTick {
		err := s.each(with(ctx, "site", site, "t", t, "devices", array(devices)),
			`SELECT device, toUnixTimestamp64Micro(tick), ifNull(energy_ts, toUnixTimestamp64Micro(tick)), toInt64(ifNull(energy_mj, 0)),
			   if(energy_source = 'integrated', concat(boot, ' ', run), boot), driver, run,
			   toInt64(ifNull(toNullable(toInt64(power_integral_mj)), -1)), toInt64(ifNull(toNullable(toInt64(energy_epoch)), -1)),
			   toInt64(ifNull(toNullable(toInt64(sm_active_us)), -1)), toInt64(ifNull(ticks_expected, 0)), toInt64(ifNull(ticks_read, 0))
			 FROM sample WHERE site = {site:String} AND device IN {devices:Array(String)} AND tick = fromUnixTimestamp64Micro({t:Int64})
			   AND (energy_source = 'none' OR (energy_ts IS NOT NULL AND energy_mj IS NOT NULL))
			 LIMIT 1 BY device`,
			func(rows driver.Rows) error {
				var device, boot, driver, run string
				var tick, ts, c, integral, seen, sm, expected, read int64
				if err := rows.Scan(&device, &tick, &ts, &c, &boot, &driver, &run, &integral, &seen, &sm, &expected, &read); err != nil {
					return err
				}
				r := readings[device]
				r.ticks = append(r.ticks, tick)
				r.points = append(r.points, window.Point{
					T: unit.Micros(ts), C: unit.Millijoules(c), Boot: boot, Driver: driver, Run: run, Integral: unit.Millijoules(integral), Seen: seen,
				})
				r.work = append(r.work, closing.Work{T: unit.Micros(ts), Run: run, SMActive: unit.Micros(sm), Expected: expected, Read: read})
				readings[device] = r
				return nil
			})
		if err != nil {
			return fmt.Errorf("read samples after open cuts of %s: %w", site, err)
		}
	}
	return nil
}
