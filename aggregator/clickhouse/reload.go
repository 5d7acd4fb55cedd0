package clickhouse

import (
	"context"
	"fmt"

	"github.com/wattledger/wattledger/aggregator/closing"
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

// afterOpen is where the first samples after cuts lie that are open at the end of a closed hour, beyond the lookahead.
func (s *Store) afterOpen(ctx context.Context, site string, h closing.Hour, devices map[string][]record.Device, a again) (map[string]unit.Micros, error) {
	if !a.closed {
		return nil, nil
	}
	ends, err := s.cutsAt(ctx, site, h.End())
	if err != nil {
		return nil, err
	}
	open := map[string]bool{}
	pending := again{cuts: a.cuts}
	for device, c := range pending.start(ends, h.End()) {
		if c.Open || c.T1 >= h.End()+Lookahead { // of the latter the sample was found once, and is needed again
			open[device] = true
		}
	}
	if len(open) == 0 {
		return nil, nil
	}
	ticks, err := s.firstAfter(ctx, site, h.End()+Lookahead, h.End()+maxOpen, sortedKeys(open))
	if err != nil {
		return nil, err
	}
	for _, ds := range devices {
		for _, d := range ds {
			if t, ok := ticks[d.Parent]; ok && d.Kind == record.KindMIG { // what its instances did is read at the same tick
				ticks[d.UUID] = t
			}
		}
	}
	return ticks, nil
}

// maxOpen is how far a sample after an open cut is sought.
const maxOpen = 35 * 24 * unit.Hour
