package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Suppose is a store in which some statements have been made besides. It answers what they would change; nothing can be appended
// to it.
type Suppose struct {
	*Store
	editions []factor.Edition
}

// Supposing puts allocations of a site and editions over what a store has.
func Supposing(store *Store, site string, allocations []record.Allocation, editions []factor.Edition) Suppose {
	over := *store
	over.supposed = supposed{site, allocations}
	return Suppose{&over, editions}
}

// supposed are allocations of a site that stand in the place of those with the same id on the same device.
type supposed struct {
	site        string
	allocations []record.Allocation
}

// devices are those of which all allocations are read, since any may share the device with a supposed one.
func (s supposed) devices(site string) []string {
	devices := map[string]bool{}
	for _, a := range s.allocations {
		if site == s.site {
			devices[a.Device] = true
		}
	}
	return sortedKeys(devices)
}

// over changes allocations that start before an instant, by device.
func (s supposed) over(site string, to unit.Micros, stated map[string][]record.Allocation) {
	if site != s.site {
		return
	}
	for _, a := range s.allocations {
		list := slices.DeleteFunc(stated[a.Device], func(o record.Allocation) bool { return a.ID == o.ID })
		if a.Start < to {
			list = append(list, a)
		}
		if stated[a.Device] = list; len(list) == 0 {
			delete(stated, a.Device)
		}
	}
}

// Append refuses: what is supposed is not so.
func (s Suppose) Append(context.Context, ledger.Sealed) error {
	return errors.New("nothing is booked of what is only supposed")
}

// Changed adds the closed hours that the statements would touch.
func (s Suppose) Changed(ctx context.Context, site record.Site, end, from unit.Micros) ([]closer.Changed, closer.Inputs, error) {
	list, inputs, err := s.Store.Changed(ctx, site, end, from)
	if err != nil {
		return nil, inputs, err
	}
	f := found{}
	if s.supposed.site == site.ID && len(s.supposed.allocations) > 0 {
		if err := s.held(ctx, end, f); err != nil {
			return nil, inputs, err
		}
	}
	for _, e := range s.editions {
		if e.Key != site.Zone && e.Key != site.ID && e.Kind != factor.Embodied {
			continue
		}
		spread(f, e.From, e.To, from, end, "factor", fmt.Sprintf("%s %s %s %s", e.Source, e.Name, e.Key, e.Kind))
	}
	return append(list, f.list(0)...), inputs, nil
}

// spread names the closed hours that something touches.
func spread(f found, from, to, since, end unit.Micros, word, about string) {
	if to != 0 {
		end = min(end, to)
	}
	for hour := max(from, since).FloorHour(); hour < end; hour += unit.Hour {
		f.add(hour, word, about)
	}
}

// held names the hours that the allocations would hold and those in which the ledger has them now.
func (s Suppose) held(ctx context.Context, end unit.Micros, f found) error {
	ids := make([]string, 0, len(s.supposed.allocations))
	first := s.first(ctx)
	for _, a := range s.supposed.allocations {
		ids = append(ids, a.ID)
		spread(f, a.Start, a.End, first, end, "late_allocation", a.ID)
	}
	err := s.each(with(ctx, "site", s.supposed.site, "ids", array(slices.Compact(slices.Sorted(slices.Values(ids))))),
		`SELECT DISTINCT hour, allocation FROM entries WHERE site = {site:String} AND allocation IN {ids:Array(String)}`,
		func(rows driver.Rows) error {
			var hour time.Time
			var id string
			err := rows.Scan(&hour, &id)
			f.add(unit.MicrosOf(hour), "late_allocation", id)
			return err
		})
	if err != nil {
		return fmt.Errorf("read what is booked of allocations of %s: %w", s.supposed.site, err)
	}
	return nil
}

// first is the first closed hour of the site; before it nothing can be corrected.
func (s Suppose) first(ctx context.Context) unit.Micros {
	var first int64
	if err := s.conn.QueryRow(with(ctx, "site", s.supposed.site),
		`SELECT toInt64(toUnixTimestamp(min(hour))) FROM seals FINAL WHERE site = {site:String}`).Scan(&first); err != nil {
		return 0 // the next question will say what is wrong
	}
	return unit.Micros(first) * unit.Second
}

// Reload reads the hour, with the factors that would count.
func (s Suppose) Reload(ctx context.Context, site record.Site, start unit.Micros, cuts []record.Cut, closed bool) (closing.Hour, error) {
	h, err := s.Store.Reload(ctx, site, start, cuts, closed)
	if err != nil {
		return h, err
	}
	if len(s.editions) == 0 {
		return h, nil
	}
	book, err := s.Book(ctx, factor.Newest, Span{From: h.Start, To: h.End()})
	if err != nil {
		return h, err
	}
	all := append(book.Editions(), sequenced(s.editions, book.Sequence()+1)...)
	h.Factors = carbon.Choose(factor.NewBook(all, s.chains, factor.Newest), h.Site, models(&h), h.Start)
	return h, nil
}
