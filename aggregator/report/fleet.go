package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// FleetDocument is the energy and device time of all sites by account, checked against the seals.
type FleetDocument struct {
	Document string   `json:"document"` // fleet
	From     string   `json:"from"`
	To       string   `json:"to"`
	Limits   []Number `json:"held_idle_below_sm_active_share"`
	// Totals = Tenants + HeldIdle + Unallocated + Platform. Tenants is what they held and used, HeldIdle what they held and did not use;
	// by rules older than 2026-12 that is in Tenants.
	Totals      Sums        `json:"totals"`
	Tenants     Sums        `json:"tenants"`
	HeldIdle    Sums        `json:"held_idle"`
	Unallocated Sums        `json:"unallocated"`
	Platform    Sums        `json:"platform"`
	Carbon      []Carbon    `json:"carbon"`
	Sites       []SiteRow   `json:"sites"`
	Indicators  []Indicator `json:"indicators"`
	Rows        []FleetRow  `json:"accounts"`
	// Adjustments are corrections of hours that were closed before, by reason. Totals contain them.
	Adjustments []ReasonRow `json:"adjustments"`
	// Quality names the devices and meters whose readings contradict others.
	Quality []QualityRow `json:"quality"`
	// Check compares every seal of the period with the entries it covers.
	Check      SealCheck  `json:"seal_check"`
	Seals      []SealRow  `json:"seals"`
	Provenance Provenance `json:"provenance"`
}

// SiteRow is a site with all its accounts.
type SiteRow struct {
	Site            string `json:"site"`
	Country         string `json:"country"`
	Zone            string `json:"zone"`
	Operator        string `json:"operator"`
	OperatorCountry string `json:"operator_country"`
	DeclaredPUE     Number `json:"declared_pue"`
	Boundary        string `json:"carbon_boundary"`
	MarketBoundary  string `json:"carbon_market_boundary"`
	Sums
}

// FleetRow is one account at one site: of a tenant, what it used or held idle; of the operator, what nobody held and the platform.
type FleetRow struct {
	Site     string         `json:"site"`
	Account  record.Account `json:"account"`
	Tenant   string         `json:"tenant"`
	Boundary string         `json:"carbon_boundary"`
	// MarketBoundary is that of market-based carbon.
	MarketBoundary string `json:"carbon_market_boundary"`
	Sums
}

// SealCheck is what comparing seals with entries found. Each difference is seals − entries, 0 when the ledger is whole.
type SealCheck struct {
	Agrees     bool             `json:"agrees"`
	Seals      int              `json:"seals"`
	Differ     []string         `json:"differ"`
	Entries    int64            `json:"entries_difference"`
	Measured   unit.Millijoules `json:"measured_mj_difference"`
	Estimated  unit.Millijoules `json:"estimated_mj_difference"`
	Modelled   unit.Millijoules `json:"modelled_mj_difference"`
	DeviceTime unit.DeviceTime  `json:"device_time_difference"`
	Carbon     int64            `json:"carbon_ug_difference"`
	Market     int64            `json:"carbon_market_ug_difference"`
	Embodied   int64            `json:"carbon_embodied_ug_difference"`
	Water      unit.Microlitres `json:"water_ul_difference"`
	Adjusting  int64            `json:"adjustments_difference"`
}

// SealRow is a seal of the period.
type SealRow struct {
	Site     string `json:"site"`
	Batch    uint64 `json:"batch"`
	Hour     string `json:"hour"`
	Root     string `json:"root"`
	Previous string `json:"previous"`
	Entries  int    `json:"entries"`
	// Adjustments are those of the entries that correct hours closed before.
	Adjustments int    `json:"adjustments"`
	Closing     string `json:"closing"`
	Reason      string `json:"reason"`
}

type (
	siteKey  struct{ site, boundary, market string }
	fleetKey struct {
		site             string
		account          record.Account
		tenant           string
		boundary, market string
	}
	batchKey struct {
		site  string
		batch uint64
	}
)

// Fleet adds up all entries.
type Fleet struct {
	opts       Options
	sites      map[string]record.Site
	rows       map[fleetKey]*Sums
	bySite     map[siteKey]*Sums
	byAccount  map[record.Account]*Sums
	batches    map[batchKey]*Sums
	reasons    map[reasonKey]*Sums
	indicators map[string]*indication
	overall    Sums
	carbon     emissions
	basis      Basis
	quality    []QualityRow
}

// NewFleet begins a fleet report.
func NewFleet(sites []record.Site, opts Options) *Fleet {
	f := &Fleet{
		opts: opts, sites: map[string]record.Site{}, rows: map[fleetKey]*Sums{}, bySite: map[siteKey]*Sums{}, byAccount: map[record.Account]*Sums{},
		batches: map[batchKey]*Sums{}, reasons: map[reasonKey]*Sums{}, indicators: map[string]*indication{}, carbon: emissions{},
	}
	for _, s := range sites {
		f.sites[s.ID] = s
	}
	for _, s := range opts.Log.seals {
		f.batches[batchKey{s.Site, s.Batch}] = &Sums{}
	}
	return f
}

// Add counts an entry. Entries outside the period are counted for the seal that covers them alone, so that a seal of the
// period with adjustments to earlier hours can be compared as a whole.
func (f *Fleet) Add(b Booked) error {
	hour, err := b.Start()
	if err != nil {
		return err
	}
	if s, ok := f.batches[batchKey{b.Site, b.Batch}]; ok {
		s.add(b.Entry, f.opts.IdleLimit)
	}
	if !f.opts.Period.Holds(hour) {
		return nil
	}
	boundary, market := Boundary(b.Factor), Boundary(b.FactorMarket)
	sums(f.rows, fleetKey{b.Site, b.Account, b.Tenant, boundary, market}).add(b.Entry, f.opts.IdleLimit)
	sums(f.bySite, siteKey{b.Site, boundary, market}).add(b.Entry, f.opts.IdleLimit)
	sums(f.byAccount, b.Account).add(b.Entry, f.opts.IdleLimit)
	if b.Kind == record.Adjustment {
		sums(f.reasons, reasonKey{b.Site, reasonWord(b.Reason), b.Account}).add(b.Entry, f.opts.IdleLimit)
	}
	f.overall.add(b.Entry, f.opts.IdleLimit)
	f.carbon.add(b.Entry)
	f.indicate(b.Entry)
	f.basis.Add(b, f.opts.IdleLimit)
	return nil
}

// AddQuality adds what contradicts other readings.
func (f *Fleet) AddQuality(rows []QualityRow) { f.quality = append(f.quality, rows...) }

// Document is the report of what was added.
func (f *Fleet) Document() FleetDocument {
	account := func(a record.Account) Sums { return sums(f.byAccount, a).finish() }
	d := FleetDocument{
		Document: "fleet", From: Stamp(f.opts.Period.From), To: Stamp(f.opts.Period.To), Limits: f.basis.Limits(f.opts.IdleLimit),
		Totals: f.overall.finish(), Tenants: account(record.AccountTenant), HeldIdle: account(record.AccountHeldIdle),
		Unallocated: account(record.AccountUnallocated), Platform: account(record.AccountPlatform), Carbon: f.carbon.rows(),
		Sites: []SiteRow{}, Indicators: f.indicatorRows(), Rows: []FleetRow{}, Adjustments: reasonRows(f.reasons),
		Quality: append([]QualityRow{}, f.quality...), Seals: []SealRow{}, Provenance: f.basis.Provenance(f.opts.Log),
	}
	f.carbon.unmix(&d.Totals, &d.Tenants, &d.HeldIdle, &d.Unallocated, &d.Platform)
	for i := range d.Adjustments {
		f.carbon.unmix(&d.Adjustments[i].Sums)
	}
	embodied := f.carbon.boundaries(Embodied) == 1
	for k, s := range f.bySite {
		site := f.sites[k.site]
		row := SiteRow{
			Site: k.site, Country: site.Country, Zone: site.Zone, Operator: site.Operator, OperatorCountry: site.OperatorCountry,
			Boundary: k.boundary, MarketBoundary: k.market, Sums: s.finish(),
		}
		if site.PUEThousandths != 0 {
			row.DeclaredPUE = quotient(site.PUEThousandths, 1000, 3)
		}
		row.keep(k.boundary != NoFactor, k.market != NoFactor, embodied)
		d.Sites = append(d.Sites, row)
	}
	slices.SortFunc(d.Sites, func(a, b SiteRow) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Boundary, b.Boundary), cmp.Compare(a.MarketBoundary, b.MarketBoundary))
	})
	for k, s := range f.rows {
		row := FleetRow{Site: k.site, Account: k.account, Tenant: k.tenant, Boundary: k.boundary, MarketBoundary: k.market, Sums: s.finish()}
		row.keep(k.boundary != NoFactor, k.market != NoFactor, embodied)
		d.Rows = append(d.Rows, row)
	}
	slices.SortFunc(d.Rows, func(a, b FleetRow) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), CompareAccounts(a.Account, b.Account), cmp.Compare(a.Tenant, b.Tenant),
			cmp.Compare(a.Boundary, b.Boundary), cmp.Compare(a.MarketBoundary, b.MarketBoundary))
	})
	d.Check = f.check()
	for _, s := range f.opts.Log.seals {
		d.Seals = append(d.Seals, SealRow{s.Site, s.Batch, Stamp(s.Hour), s.Root, s.Previous, s.Entries, s.Adjustments, s.Closing, s.Reason})
	}
	return d
}

func (f *Fleet) check() SealCheck {
	c := SealCheck{Seals: len(f.opts.Log.seals), Differ: []string{}}
	for _, s := range f.opts.Log.seals {
		got := f.batches[batchKey{s.Site, s.Batch}]
		d := SealCheck{
			Entries: int64(s.Entries) - got.Entries, Measured: s.Measured - got.Measured, Estimated: s.Estimated - got.Estimated,
			Modelled: s.Modelled - got.Modelled, DeviceTime: s.DeviceTime - got.DeviceTime, Carbon: int64(s.Carbon - got.Carbon),
			Market: int64(s.CarbonMarket - got.CarbonMarket), Embodied: int64(s.CarbonEmbodied - got.CarbonEmbodied), Water: s.Water - got.Water,
			Adjusting: int64(s.Adjustments) - got.Adjustments,
		}
		c.add(d)
		if !d.zero() {
			c.Differ = append(c.Differ, fmt.Sprintf("%s/%d", s.Site, s.Batch))
		}
	}
	slices.Sort(c.Differ)
	c.Agrees = len(c.Differ) == 0
	return c
}

func (c *SealCheck) add(d SealCheck) {
	c.Entries += d.Entries
	c.Measured += d.Measured
	c.Estimated += d.Estimated
	c.Modelled += d.Modelled
	c.DeviceTime += d.DeviceTime
	c.Carbon += d.Carbon
	c.Market += d.Market
	c.Embodied += d.Embodied
	c.Water += d.Water
	c.Adjusting += d.Adjusting
}

func (c *SealCheck) zero() bool {
	return c.Entries == 0 && c.Measured == 0 && c.Estimated == 0 && c.Modelled == 0 && c.DeviceTime == 0 && c.Carbon == 0 &&
		c.Market == 0 && c.Embodied == 0 && c.Water == 0 && c.Adjusting == 0
}
