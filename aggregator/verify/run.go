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
	"github.com/wattledger/wattledger/schemas/unit"
)

// Run proves the ledger over a period, of which only closed hours count. truthPath names the simulator's truth; "" when
// nobody knows it. Nodes are read in groups and recomputed in parallel.
func Run(ctx context.Context, store Store, p Period, truthPath string) (Report, error) {
	var r Report
	book := truthBook{}
	if truthPath != "" {
		f, err := os.Open(truthPath)
		if err != nil {
			return r, fmt.Errorf("open the truth: %w", err)
		}
		defer f.Close()
		real, err := ReadTruth(f)
		if err != nil {
			return r, fmt.Errorf("%s: %w", truthPath, err)
		}
		book.real = real
	}
	sites, err := store.Sites(ctx)
	if err != nil {
		return r, err
	}
	var differences Comparison
	counted := p
	for _, site := range sites {
		s, err := readSite(ctx, store, site, p)
		if err != nil {
			return r, fmt.Errorf("verify site %s: %w", site.ID, err)
		}
		aged, basis, err := s.aged(ctx, store)
		if err != nil {
			return r, fmt.Errorf("verify site %s: %w", site.ID, err)
		}
		differences.join(aged)
		counted.From = max(counted.From, s.gone.To) // what is gone is not missing
		r.Basis.join(basis)
		if s.period.To <= s.period.From {
			continue // nothing is closed, or no sample is kept
		}
		r.Basis.Samples += len(s.period.hours())
		lines, quality, metered, err := s.recompute(ctx, store, site)
		if err != nil {
			return r, fmt.Errorf("verify site %s: %w", site.ID, err)
		}
		entries, more, err := RecomputeSite(s.site, lines)
		if err != nil {
			return r, err
		}
		differences.join(Compare(s.entries, entries))
		differences.join(CompareQuality(s.quality, append(quality, more...)))
		differences.join(*s.cutsFound)
		energy := BalanceEnergy(metered, s.entries)
		energy.Levels = BalanceLevels(s.devices, append(quality, more...), s.entries)
		r.Energy.join(energy)
		r.Time.join(BalanceTime(s.devices, s.period, s.entries))
		if truthPath != "" {
			book.add(s.siteBook)
		}
	}
	r.Truth = book.done()
	r.Truth.RuleError, r.Truth.TimeError = differences.RuleError, differences.Time
	r.Truth.CarbonError, r.Truth.WaterError = differences.Carbon, differences.Water
	r.Truth.Entries, r.Truth.Quality, r.Truth.Cuts = differences.Entries, differences.Quality, differences.Cuts
	r.Differences = differences.First
	r.Samples, err = store.Counts(ctx, counted)
	return r, err
}

// siteInput is a site with its inventory and whether its period begins with the ledger.
type siteInput struct {
	siteBook
	nodes []record.Node
	first bool
	site  Site
	// readings are those of nodes' own meters, history and quality what the ledger holds about device-hours: of the 30 days before
	// too, and of the period alone.
	readings         map[string][]record.Reading
	history, quality []record.DeviceHour
	named            map[IdleAt]unit.Milliwatts
	edges            Edges
	// cutsFound is what is wrong with the stored cuts.
	cutsFound *Comparison
	// gone are the hours whose samples are not kept any longer.
	gone Period
	id   string
}

func readSite(ctx context.Context, store Store, site record.Site, p Period) (siteInput, error) {
	s := siteInput{id: site.ID}
	var err error
	if s.period, s.first, err = store.Closed(ctx, site.ID, p); err != nil || s.period.To <= s.period.From {
		return s, err
	}
	if err := s.split(ctx, store, site); err != nil || s.period.To <= s.period.From {
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
	if s.cuts, err = store.Cuts(ctx, site.ID, s.period); err != nil {
		return s, err
	}
	s.cutsFound = &Comparison{}
	s.edges = Edges{Held: map[Edge]bool{}, Until: s.period.To + Lookahead}
	for _, c := range s.cuts {
		if c.Open {
			s.edges.Held[Edge{c.Device, c.T}] = true
		}
		if c.T == s.period.To {
			s.edges.Until = max(s.edges.Until, c.T1+60*unit.Second) // a tick is a little after what it reads
		}
	}
	s.named = namedIdle(s.entries, s.devices)
	return s, s.readShared(ctx, store, site)
}

// namedIdle reads from the entries what idle power they say a GPU in MIG mode was split with.
func namedIdle(entries []record.Entry, devices []record.Device) map[IdleAt]unit.Milliwatts {
	parent := map[string]string{}
	for _, d := range devices {
		if d.Kind == record.KindMIG {
			parent[d.UUID] = d.Parent
		}
	}
	out := map[IdleAt]unit.Milliwatts{}
	for _, e := range entries {
		var mw int64
		if n, err := fmt.Sscanf(e.Split, "mig P_idle=%dmW", &mw); n != 1 || err != nil {
			continue
		}
		gpu := e.Device
		if of, ok := parent[gpu]; ok {
			gpu = of
		}
		out[IdleAt{gpu, e.Hour}] = unit.Milliwatts(mw)
	}
	return out
}

// split parts the hours whose samples are gone from those that are recomputed from them. The hour in which the oldest sample lies is
// whole only where the ledger itself begins there.
func (s *siteInput) split(ctx context.Context, store Store, site record.Site) error {
	kept, err := store.Kept(ctx, site.ID)
	if err != nil {
		return err
	}
	from := s.period.From
	switch {
	case kept == 0:
		from = s.period.To
	case kept >= s.period.From+unit.Hour || (kept > s.period.From && !s.first):
		from = min(s.period.To, (kept + unit.Hour - 1).FloorHour())
	}
	if from > s.period.From {
		s.gone = Period{From: s.period.From, To: from}
		s.period.From, s.first = from, false
	}
	return nil
}

// aged proves the hours whose samples are gone by their cuts.
func (s *siteInput) aged(ctx context.Context, store Store) (Comparison, Basis, error) {
	if s.gone.To <= s.gone.From {
		return Comparison{}, Basis{}, nil
	}
	devices, err := store.Devices(ctx, s.id, s.gone)
	if err != nil {
		return Comparison{}, Basis{}, err
	}
	allocations, err := store.Allocations(ctx, s.id, s.gone.To)
	if err != nil {
		return Comparison{}, Basis{}, err
	}
	entries, err := store.Entries(ctx, s.id, s.gone)
	if err != nil {
		return Comparison{}, Basis{}, err
	}
	cuts, err := store.Cuts(ctx, s.id, s.gone)
	if err != nil {
		return Comparison{}, Basis{}, err
	}
	c, b := CompareWithCuts(devices, allocations, entries, cuts, s.gone)
	return c, b, nil
}

// readShared reads what the site's lines are made from besides samples.
func (s *siteInput) readShared(ctx context.Context, store Store, site record.Site) error {
	s.site = Site{Site: site, IdleLimit: DefaultIdleLimit}
	var err error
	if s.site.Factors, err = store.Factors(ctx, site, s.period); err != nil {
		return err
	}
	readings, err := store.Readings(ctx, site.ID, Period{From: s.period.From - Around, To: s.period.To + Around})
	if err != nil {
		return err
	}
	s.readings = map[string][]record.Reading{}
	for _, r := range readings {
		if r.Node == "" {
			s.site.Readings = append(s.site.Readings, r)
		} else {
			s.readings[r.Node] = append(s.readings[r.Node], r)
		}
	}
	s.history, err = store.DeviceHours(ctx, site.ID, Period{From: s.period.From - Memory, To: s.period.To})
	from := stamp(s.period.From)
	for _, q := range s.history {
		if q.Hour >= from {
			s.quality = append(s.quality, q)
		}
	}
	return err
}

// groupDevices is how many devices are read at a time: a query reads the hours it needs whole, so a few large ones cost
// less than one a node, and memory stays bounded.
const groupDevices = 128

// recompute makes the lines of all nodes, group by group, and meters them.
func (s siteInput) recompute(ctx context.Context, store Store, site record.Site) (lines []Line, quality []record.DeviceHour, metered []Metered, err error) {
	byNode := map[string][]record.Device{}
	for _, d := range s.devices {
		byNode[d.Node] = append(byNode[d.Node], d)
	}
	for first := 0; first < len(s.nodes); {
		var devices []record.Device
		end := first
		for ; end < len(s.nodes); end++ {
			id := s.nodes[end].ID
			if end > first && id == s.nodes[end-1].ID {
				continue // another stay of the same node
			}
			if end > first && len(devices)+len(byNode[id]) > groupDevices {
				break
			}
			devices = append(devices, byNode[id]...)
		}
		of, q, m, err := s.group(ctx, store, site.ID, s.nodes[first:end], byNode, devices)
		if err != nil {
			return nil, nil, nil, err
		}
		lines, quality, metered, first = append(lines, of...), append(quality, q...), append(metered, m...), end
	}
	return lines, quality, metered, nil
}

// group reads some nodes at once and recomputes them, as many at a time as there are processors. It waits for all it starts.
func (s siteInput) group(ctx context.Context, store Store, site string, nodes []record.Node, byNode map[string][]record.Device,
	devices []record.Device,
) ([]Line, []record.DeviceHour, []Metered, error) {
	var uuids []string
	for _, d := range devices {
		uuids = append(uuids, d.UUID)
	}
	slices.Sort(uuids)
	uuids = slices.Compact(uuids)
	var series map[string]Series
	var metered []Metered
	var err error
	if len(uuids) > 0 {
		wide := Period{From: s.period.From - Lookahead, To: s.edges.Until}
		if series, err = store.Samples(ctx, site, uuids, wide, s.first); err != nil {
			return nil, nil, nil, err
		}
	}
	s.cutsFound.join(CompareCuts(series, slices.DeleteFunc(slices.Clone(s.cuts), func(c record.Cut) bool {
		_, found := slices.BinarySearch(uuids, c.Device)
		// What cuts the period's first edge may have been read long before the samples that are looked at.
		return !found || c.T <= s.period.From
	})))
	if metered, err = s.meter(ctx, store, site, devices); err != nil {
		return nil, nil, nil, err
	}
	of := make([][]Line, len(nodes))
	quality := make([][]record.DeviceHour, len(nodes))
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, n := range nodes {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			period := s.period
			period.Settled = true
			of[i], quality[i], errs[i] = RecomputeNode(Node{
				Node: n, Allocations: s.allocations, Devices: byNode[n.ID], Series: series, Readings: s.readings[n.ID], History: s.history,
				IdleLimit: s.site.IdleLimit, Named: s.named, Open: s.edges.Held,
			}, period, s.first)
		})
	}
	wg.Wait()
	return slices.Concat(of...), slices.Concat(quality...), metered, errors.Join(errs...)
}

// meter has the counters metered over the hours in which their devices were there.
func (s siteInput) meter(ctx context.Context, store Store, site string, devices []record.Device) ([]Metered, error) {
	type stretch struct {
		hours  Period
		begins bool
	}
	stays := map[string][]record.Device{}
	var order []string
	for _, d := range devices {
		if d.Kind == record.KindMIG {
			continue
		}
		if stays[d.UUID] == nil {
			order = append(order, d.UUID)
		}
		stays[d.UUID] = append(stays[d.UUID], d)
	}
	groups := map[stretch][]record.Device{}
	for _, uuid := range order {
		for _, l := range lives(stays[uuid], s.period, s.first) {
			k := stretch{l.hours, l.begins}
			groups[k] = append(groups[k], stays[uuid][0])
		}
	}
	var out []Metered
	for k, of := range groups {
		edges := s.edges
		if k.hours.To != s.period.To {
			edges.Until = 0
		}
		m, err := store.Metered(ctx, site, of, k.hours, k.begins, edges)
		if err != nil {
			return nil, err
		}
		out = append(out, m...)
	}
	return out, nil
}

// Join adds the report of a period that follows. What the truth says of tenants is of one period and does not add up.
func (r *Report) Join(o Report) {
	r.Samples.Rows += o.Samples.Rows
	r.Samples.Stored += o.Samples.Stored
	r.Samples.Repeated += o.Samples.Repeated
	r.Samples.Declared += o.Samples.Declared
	r.Samples.Mismatched += o.Samples.Mismatched
	r.Energy.join(o.Energy)
	r.Time.join(o.Time)
	r.Basis.join(o.Basis)
	r.Truth.RuleError += o.Truth.RuleError
	r.Truth.TimeError += o.Truth.TimeError
	r.Truth.CarbonError += o.Truth.CarbonError
	r.Truth.WaterError += o.Truth.WaterError
	r.Truth.Entries += o.Truth.Entries
	r.Truth.Quality += o.Truth.Quality
	r.Truth.Cuts += o.Truth.Cuts
	r.Truth.Outside += o.Truth.Outside
	r.Differences = append(r.Differences, o.Differences...)
	r.Differences = r.Differences[:min(len(r.Differences), named)]
}

func (c *Comparison) join(d Comparison) {
	c.RuleError += d.RuleError
	c.Time += d.Time
	c.Carbon += d.Carbon
	c.Water += d.Water
	c.Quality += d.Quality
	c.Cuts += d.Cuts
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
	e.ITShared += o.ITShared
	e.Levels.Devices += o.Levels.Devices
	e.Levels.Nodes += o.Levels.Nodes
	e.Levels.Sites += o.Levels.Sites
}

func (t *Time) join(o Time) {
	t.Wall += o.Wall
	t.Residual += o.Residual
}
