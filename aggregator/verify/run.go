package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
)

// Run proves the ledger over a period, of which only closed hours count. truthPath names the simulator's truth; "" when
// nobody knows it. Nodes are read and recomputed one by one, as many at a time as there are processors.
func Run(ctx context.Context, store Store, p Period, truthPath string) (Report, error) {
	var r Report
	book := truthBook{}
	if truthPath != "" {
		f, err := os.Open(truthPath)
		if err != nil {
			return r, fmt.Errorf("open the truth: %w", err)
		}
		defer f.Close()
		if book.real, err = ReadTruth(f); err != nil {
			return r, fmt.Errorf("%s: %w", truthPath, err)
		}
	}
	sites, err := store.Sites(ctx)
	if err != nil {
		return r, err
	}
	grids, err := factor.Grids()
	if err != nil {
		return r, err
	}
	var differences Comparison
	for _, site := range sites {
		s, err := readSite(ctx, store, site, p)
		if err != nil {
			return r, fmt.Errorf("verify site %s: %w", site.ID, err)
		}
		if s.period.To <= s.period.From {
			continue // nothing is closed
		}
		grid, ok := grids[site.Zone]
		if !ok {
			return r, fmt.Errorf("verify site %s: no carbon factor for grid zone %q", site.ID, site.Zone)
		}
		lines, metered, err := s.recompute(ctx, store, site)
		if err != nil {
			return r, fmt.Errorf("verify site %s: %w", site.ID, err)
		}
		if err := AddFacility(site, grid, lines); err != nil {
			return r, err
		}
		differences.join(Compare(s.entries, lines))
		r.Energy.join(BalanceEnergy(metered, s.entries))
		r.Time.join(BalanceTime(s.devices, s.period, s.entries))
		if truthPath != "" {
			book.add(s.siteBook)
		}
	}
	r.Truth = book.done()
	r.Truth.RuleError, r.Truth.TimeError = differences.RuleError, differences.Time
	r.Truth.CarbonError, r.Truth.Entries = differences.Carbon, differences.Entries
	r.Differences = differences.First
	r.Samples, err = store.Counts(ctx)
	return r, err
}

// siteInput is a site with its inventory and whether its period begins with the ledger.
type siteInput struct {
	siteBook
	nodes []record.Node
	first bool
}

func readSite(ctx context.Context, store Store, site record.Site, p Period) (siteInput, error) {
	var s siteInput
	var err error
	if s.period, s.first, err = store.Closed(ctx, site.ID, p); err != nil || s.period.To <= s.period.From {
		return s, err
	}
	models, err := factor.Models()
	if err != nil {
		return s, err
	}
	if s.nodes, err = store.Nodes(ctx, site.ID, s.period); err != nil {
		return s, err
	}
	if s.devices, err = store.Devices(ctx, site.ID, s.period); err != nil {
		return s, err
	}
	for i := 0; i < len(s.devices); {
		n := i
		for n < len(s.devices) && s.devices[n].Node == s.devices[i].Node {
			n++
		}
		Complete(s.devices[i:n], models)
		i = n
	}
	if s.allocations, err = store.Allocations(ctx, site.ID, s.period.To); err != nil {
		return s, err
	}
	if s.entries, err = store.Entries(ctx, site.ID, s.period); err != nil {
		return s, err
	}
	s.cuts, err = store.Cuts(ctx, site.ID, s.period)
	return s, err
}

// recompute makes the lines of all nodes, and meters them. It waits for all it starts.
func (s siteInput) recompute(ctx context.Context, store Store, site record.Site) ([]record.Entry, []Metered, error) {
	type result struct {
		lines   []record.Entry
		metered []Metered
		err     error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make([]result, len(s.nodes))
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, n := range s.nodes {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			r := &results[i]
			if r.lines, r.metered, r.err = s.node(ctx, store, site.ID, n); r.err != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	var lines []record.Entry
	var metered []Metered
	var errs []error
	for _, r := range results {
		lines = append(lines, r.lines...)
		metered = append(metered, r.metered...)
		if r.err != nil && (len(errs) == 0 || !errors.Is(r.err, context.Canceled)) {
			errs = append(errs, r.err)
		}
	}
	return lines, metered, errors.Join(errs...)
}

func (s siteInput) node(ctx context.Context, store Store, site string, n record.Node) ([]record.Entry, []Metered, error) {
	input := Node{Node: n, Allocations: s.allocations}
	var uuids []string
	for _, d := range s.devices {
		if d.Node == n.ID {
			input.Devices = append(input.Devices, d)
			uuids = append(uuids, d.UUID)
		}
	}
	if len(uuids) > 0 {
		wide := Period{From: s.period.From - Lookahead, To: s.period.To + Lookahead}
		var err error
		if input.Series, err = store.Samples(ctx, site, uuids, wide, s.first); err != nil {
			return nil, nil, err
		}
	}
	lines, err := RecomputeNode(input, s.period, s.first)
	if err != nil {
		return nil, nil, err
	}
	counters := slices.DeleteFunc(slices.Clone(input.Devices), func(d record.Device) bool { return d.Kind == record.KindMIG })
	if len(counters) == 0 {
		return lines, nil, nil
	}
	metered, err := store.Metered(ctx, site, counters, s.period, s.first)
	return lines, metered, err
}

func (c *Comparison) join(d Comparison) {
	c.RuleError += d.RuleError
	c.Time += d.Time
	c.Carbon += d.Carbon
	c.Entries += d.Entries
	c.First = append(c.First, d.First...)
	c.First = c.First[:min(len(c.First), named)]
}

func (e *Energy) join(o Energy) {
	e.Metered += o.Metered
	e.Tenants += o.Tenants
	e.Unallocated += o.Unallocated
	e.NodeRest += o.NodeRest
	e.Facility += o.Facility
	e.Estimated += o.Estimated
	e.Residual += o.Residual
}

func (t *Time) join(o Time) {
	t.Wall += o.Wall
	t.Residual += o.Residual
}
