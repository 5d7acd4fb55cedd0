package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Options are what every report is told.
type Options struct {
	Period Period
	Log    *Log
	// IdleLimit is the SM activity, in thousandths, under which held time is called held idle.
	IdleLimit unit.Thousandths
}

// DefaultIdleLimit is one per cent.
const DefaultIdleLimit unit.Thousandths = 10

// UsageDocument is a tenant's usage, power and carbon statement.
type UsageDocument struct {
	Document string     `json:"document"` // usage
	Tenant   Party      `json:"tenant"`
	From     string     `json:"from"`
	To       string     `json:"to"`
	Limit    Number     `json:"held_idle_below_sm_active_share"`
	Totals   Sums       `json:"totals"`
	Carbon   []Carbon   `json:"carbon"`
	Rows     []UsageRow `json:"usage"`
	Hours    []HourRow  `json:"power_by_hour"`
	// MeanWatts is all the tenant's energy over the length of the period.
	MeanWatts  Number     `json:"mean_watts"`
	Provenance Provenance `json:"provenance"`
}

// Party is the tenant a document is for.
type Party struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Sector    string `json:"sector"`
	SizeClass string `json:"size_class"`
	Country   string `json:"country"`
}

// PartyOf is a tenant as documents name it.
func PartyOf(t record.Tenant) Party {
	return Party{ID: t.ID, Name: cmp.Or(t.Name, t.ID), Sector: t.Sector, SizeClass: t.SizeClass, Country: t.Country}
}

// Carbon is location-based emissions within one boundary (GHG Protocol Scope 2 Guidance, chapter 6.1).
type Carbon struct {
	Boundary string              `json:"boundary"`
	Method   string              `json:"method"`
	Carbon   unit.MicrogramsCO2e `json:"carbon_ug"`
	Kg       Number              `json:"carbon_kg"`
}

// UsageKey is what usage is listed by.
type UsageKey struct {
	Site        string `json:"site"`
	Project     string `json:"project"`
	Workload    string `json:"workload"`
	ModelID     string `json:"model_id"`
	Purpose     string `json:"purpose"`
	DeviceModel string `json:"device_model"`
	Boundary    string `json:"carbon_boundary"`
}

func (k UsageKey) compare(o UsageKey) int {
	return cmp.Or(cmp.Compare(k.Site, o.Site), cmp.Compare(k.Project, o.Project), cmp.Compare(k.Workload, o.Workload),
		cmp.Compare(k.ModelID, o.ModelID), cmp.Compare(k.Purpose, o.Purpose), cmp.Compare(k.DeviceModel, o.DeviceModel),
		cmp.Compare(k.Boundary, o.Boundary))
}

// UsageRow is the usage of one project, workload, model and purpose on one kind of device at one site.
type UsageRow struct {
	UsageKey
	Sums
}

// HourRow is an hour of a tenant's power.
type HourRow struct {
	Hour       string              `json:"hour"`
	DeviceTime unit.DeviceTime     `json:"device_time"`
	Energy     unit.Millijoules    `json:"energy_mj"`
	GPU        unit.Millijoules    `json:"gpu_mj"`
	MeanWatts  Number              `json:"mean_watts"`
	GPUWatts   Number              `json:"mean_gpu_watts"`
	Carbon     unit.MicrogramsCO2e `json:"carbon_ug"`
}

// Usage adds up a tenant's entries.
type Usage struct {
	tenant record.Tenant
	opts   Options
	rows   map[UsageKey]*Sums
	hours  map[unit.Micros]*Sums
	carbon map[string]unit.MicrogramsCO2e
	totals Sums
	basis  Basis
}

// NewUsage begins a statement.
func NewUsage(tenant record.Tenant, opts Options) *Usage {
	return &Usage{
		tenant: tenant, opts: opts,
		rows: map[UsageKey]*Sums{}, hours: map[unit.Micros]*Sums{}, carbon: map[string]unit.MicrogramsCO2e{},
	}
}

// Add counts an entry. One of another tenant or period is refused: it would be somebody else's.
func (u *Usage) Add(b Booked) error {
	if b.Account != record.AccountTenant || b.Tenant != u.tenant.ID {
		return fmt.Errorf("entry %s is not of tenant %s", b.ID, u.tenant.ID)
	}
	hour, err := b.Start()
	if err != nil {
		return err
	}
	if !u.opts.Period.Holds(hour) {
		return fmt.Errorf("entry %s of %s is not in the period %s", b.ID, b.Hour, u.opts.Period)
	}
	k := UsageKey{b.Site, b.Project, b.Workload, b.ModelID, b.Purpose, b.Model, Boundary(b.Factor)}
	sums(u.rows, k).add(b.Entry, u.opts.IdleLimit)
	sums(u.hours, hour).add(b.Entry, u.opts.IdleLimit)
	u.totals.add(b.Entry, u.opts.IdleLimit)
	u.carbon[k.Boundary] += b.Carbon
	u.basis.Add(b.Entry)
	return nil
}

func sums[K comparable](m map[K]*Sums, k K) *Sums {
	s, ok := m[k]
	if !ok {
		s = &Sums{}
		m[k] = s
	}
	return s
}

// Document is the statement of what was added.
func (u *Usage) Document() UsageDocument {
	d := UsageDocument{
		Document: "usage", Tenant: PartyOf(u.tenant), From: Stamp(u.opts.Period.From), To: Stamp(u.opts.Period.To),
		Limit: quotient(int64(u.opts.IdleLimit), 1000, 3), Totals: u.totals.finish(), Carbon: carbonByBoundary(u.carbon),
		Rows: []UsageRow{}, Hours: []HourRow{}, Provenance: u.basis.Provenance(u.opts.Log),
		MeanWatts: watts(u.totals.Energy, u.opts.Period.To-u.opts.Period.From),
	}
	if len(u.carbon) > 1 {
		d.Totals.Carbon, d.Totals.CarbonKg = 0, "" // of two boundaries there is no sum
	}
	for k, s := range u.rows {
		d.Rows = append(d.Rows, UsageRow{k, s.finish()})
	}
	slices.SortFunc(d.Rows, func(a, b UsageRow) int { return a.compare(b.UsageKey) })
	for h, s := range u.hours {
		f := s.finish()
		d.Hours = append(d.Hours, HourRow{
			Hour: Stamp(h), DeviceTime: s.DeviceTime, Energy: s.Energy, GPU: s.GPU,
			MeanWatts: watts(s.Energy, unit.Hour), GPUWatts: f.MeanGPU, Carbon: s.Carbon,
		})
	}
	slices.SortFunc(d.Hours, func(a, b HourRow) int { return cmp.Compare(a.Hour, b.Hour) })
	return d
}

func carbonByBoundary(m map[string]unit.MicrogramsCO2e) []Carbon {
	out := []Carbon{}
	for _, b := range keys(m) {
		out = append(out, Carbon{Boundary: b, Method: "location-based", Carbon: m[b], Kg: Kilograms(m[b])})
	}
	return out
}

// watts is mean power over a span: mJ/µs is kW.
func watts(e unit.Millijoules, span unit.Micros) Number {
	if span <= 0 {
		return ""
	}
	mw, err := unit.RoundMulDiv(int64(e), 1_000_000, int64(span))
	if err != nil {
		return ""
	}
	return quotient(mw, 1000, 3)
}
