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
	Document string `json:"document"` // fleet
	From     string `json:"from"`
	To       string `json:"to"`
	Limit    Number `json:"held_idle_below_sm_active_share"`
	// Totals = Tenants + Unallocated.
	Totals      Sums       `json:"totals"`
	Tenants     Sums       `json:"tenants"`
	Unallocated Sums       `json:"unallocated"`
	Carbon      []Carbon   `json:"carbon"`
	Sites       []SiteRow  `json:"sites"`
	Rows        []FleetRow `json:"accounts"`
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
	Sums
}

// FleetRow is one account at one site: a tenant, or what nobody held.
type FleetRow struct {
	Site     string         `json:"site"`
	Account  record.Account `json:"account"`
	Tenant   string         `json:"tenant"`
	Boundary string         `json:"carbon_boundary"`
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
}

// SealRow is a seal of the period.
type SealRow struct {
	Site     string `json:"site"`
	Batch    uint64 `json:"batch"`
	Hour     string `json:"hour"`
	Root     string `json:"root"`
	Previous string `json:"previous"`
	Entries  int    `json:"entries"`
	Closing  string `json:"closing"`
	Reason   string `json:"reason"`
}

type (
	siteKey  struct{ site, boundary string }
	fleetKey struct {
		site     string
		account  record.Account
		tenant   string
		boundary string
	}
	batchKey struct {
		site  string
		batch uint64
	}
)

// Fleet adds up all entries.
type Fleet struct {
	opts                   Options
	sites                  map[string]record.Site
	rows                   map[fleetKey]*Sums
	bySite                 map[siteKey]*Sums
	batches                map[batchKey]*Sums
	tenants, idle, overall Sums
	carbon                 map[string]unit.MicrogramsCO2e
	basis                  Basis
}

// NewFleet begins a fleet report.
func NewFleet(sites []record.Site, opts Options) *Fleet {
	f := &Fleet{
		opts: opts, sites: map[string]record.Site{}, rows: map[fleetKey]*Sums{}, bySite: map[siteKey]*Sums{},
		batches: map[batchKey]*Sums{}, carbon: map[string]unit.MicrogramsCO2e{},
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
	boundary := Boundary(b.Factor)
	sums(f.rows, fleetKey{b.Site, b.Account, b.Tenant, boundary}).add(b.Entry, f.opts.IdleLimit)
	sums(f.bySite, siteKey{b.Site, boundary}).add(b.Entry, f.opts.IdleLimit)
	f.overall.add(b.Entry, f.opts.IdleLimit)
	if b.Account == record.AccountTenant {
		f.tenants.add(b.Entry, f.opts.IdleLimit)
	} else {
		f.idle.add(b.Entry, f.opts.IdleLimit)
	}
	f.carbon[boundary] += b.Carbon
	f.basis.Add(b.Entry)
	return nil
}

// Document is the report of what was added.
func (f *Fleet) Document() FleetDocument {
	d := FleetDocument{
		Document: "fleet", From: Stamp(f.opts.Period.From), To: Stamp(f.opts.Period.To), Limit: quotient(int64(f.opts.IdleLimit), 1000, 3),
		Totals: f.overall.finish(), Tenants: f.tenants.finish(), Unallocated: f.idle.finish(), Carbon: carbonByBoundary(f.carbon),
		Sites: []SiteRow{}, Rows: []FleetRow{}, Seals: []SealRow{}, Provenance: f.basis.Provenance(f.opts.Log),
	}
	if len(f.carbon) > 1 { // of two boundaries there is no sum
		for _, s := range []*Sums{&d.Totals, &d.Tenants, &d.Unallocated} {
			s.Carbon, s.CarbonKg = 0, ""
		}
	}
	for k, s := range f.bySite {
		site := f.sites[k.site]
		row := SiteRow{
			Site: k.site, Country: site.Country, Zone: site.Zone, Operator: site.Operator, OperatorCountry: site.OperatorCountry,
			Boundary: k.boundary, Sums: s.finish(),
		}
		if site.PUEThousandths != 0 {
			row.DeclaredPUE = quotient(site.PUEThousandths, 1000, 3)
		}
		d.Sites = append(d.Sites, row)
	}
	slices.SortFunc(d.Sites, func(a, b SiteRow) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Boundary, b.Boundary))
	})
	for k, s := range f.rows {
		d.Rows = append(d.Rows, FleetRow{Site: k.site, Account: k.account, Tenant: k.tenant, Boundary: k.boundary, Sums: s.finish()})
	}
	slices.SortFunc(d.Rows, func(a, b FleetRow) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Boundary, b.Boundary))
	})
	d.Check = f.check()
	for _, s := range f.opts.Log.seals {
		d.Seals = append(d.Seals, SealRow{s.Site, s.Batch, Stamp(s.Hour), s.Root, s.Previous, s.Entries, s.Closing, s.Reason})
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
		}
		c.Entries += d.Entries
		c.Measured += d.Measured
		c.Estimated += d.Estimated
		c.Modelled += d.Modelled
		c.DeviceTime += d.DeviceTime
		c.Carbon += d.Carbon
		if d.Entries != 0 || d.Measured != 0 || d.Estimated != 0 || d.Modelled != 0 || d.DeviceTime != 0 || d.Carbon != 0 {
			c.Differ = append(c.Differ, fmt.Sprintf("%s/%d", s.Site, s.Batch))
		}
	}
	slices.Sort(c.Differ)
	c.Agrees = len(c.Differ) == 0
	return c
}
