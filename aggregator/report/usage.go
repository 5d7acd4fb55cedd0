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
	Document string `json:"document"` // usage
	Tenant   Party  `json:"tenant"`
	From     string `json:"from"`
	To       string `json:"to"`
	// Limits are the activities under which held time is held idle; several where the limit was changed within the period.
	Limits []Number `json:"held_idle_below_sm_active_share"`
	// Totals are what the tenant held: its accounts tenant and held_idle together.
	Totals   Sums         `json:"totals"`
	Accounts []AccountRow `json:"accounts"`
	// Reserved is what nobody held of the nodes that the tenant's contract reserves and lets it pay for. It is in no total.
	Reserved []AccountRow `json:"reserved"`
	Carbon   []Carbon     `json:"carbon"`
	SCI      SCI          `json:"sci"`
	Rows     []UsageRow   `json:"usage"`
	Hours    []HourRow    `json:"power_by_hour"`
	// MeanWatts is all the tenant's energy over the length of the period.
	MeanWatts Number `json:"mean_watts"`
	// Adjustments are corrections of hours that were closed before. Totals contain them.
	Adjustments []AdjustmentRow `json:"adjustments"`
	Provenance  Provenance      `json:"provenance"`
}

// AccountRow is what stands on one account of the ledger.
type AccountRow struct {
	Account record.Account `json:"account"`
	Sums
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

// UsageKey is what usage is listed by.
type UsageKey struct {
	Site        string `json:"site"`
	Project     string `json:"project"`
	Workload    string `json:"workload"`
	ModelID     string `json:"model_id"`
	Purpose     string `json:"purpose"`
	DeviceModel string `json:"device_model"`
	Boundary    string `json:"carbon_boundary"`
	// MarketBoundary is that of market-based carbon, EmbodiedBoundary that of the hardware's.
	MarketBoundary   string `json:"carbon_market_boundary"`
	EmbodiedBoundary string `json:"carbon_embodied_boundary"`
}

func (k UsageKey) compare(o UsageKey) int {
	return cmp.Or(cmp.Compare(k.Site, o.Site), cmp.Compare(k.Project, o.Project), cmp.Compare(k.Workload, o.Workload),
		cmp.Compare(k.ModelID, o.ModelID), cmp.Compare(k.Purpose, o.Purpose), cmp.Compare(k.DeviceModel, o.DeviceModel),
		cmp.Compare(k.Boundary, o.Boundary), cmp.Compare(k.MarketBoundary, o.MarketBoundary), cmp.Compare(k.EmbodiedBoundary, o.EmbodiedBoundary))
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
	// CarbonMarket is the same emissions, market-based.
	CarbonMarket unit.MicrogramsCO2e `json:"carbon_market_ug"`
}

// Usage adds up a tenant's entries.
type Usage struct {
	tenant             record.Tenant
	opts               Options
	rows               map[UsageKey]*Sums
	hours              map[unit.Micros]*Sums
	accounts, reserved map[record.Account]*Sums
	carbon, spare      emissions // of what was held, and of what was reserved
	totals             Sums
	adjustments        []AdjustmentRow
	basis              Basis
}

// NewUsage begins a statement.
func NewUsage(tenant record.Tenant, opts Options) *Usage {
	return &Usage{
		tenant: tenant, opts: opts, rows: map[UsageKey]*Sums{}, hours: map[unit.Micros]*Sums{},
		accounts: map[record.Account]*Sums{}, reserved: map[record.Account]*Sums{}, carbon: emissions{}, spare: emissions{},
	}
}

// Add counts an entry. One of another tenant or period is refused: it would be somebody else's.
func (u *Usage) Add(b Booked) error {
	if !b.Account.Held() || b.Tenant != u.tenant.ID {
		return fmt.Errorf("entry %s is not of tenant %s", b.ID, u.tenant.ID)
	}
	hour, err := u.opts.hour(b)
	if err != nil {
		return err
	}
	k := UsageKey{
		b.Site, b.Project, b.Workload, b.ModelID, b.Purpose, b.Model,
		Boundary(b.Factor), Boundary(b.FactorMarket), Boundary(b.FactorEmbodied),
	}
	sums(u.rows, k).add(b.Entry, u.opts.IdleLimit)
	sums(u.hours, hour).add(b.Entry, u.opts.IdleLimit)
	sums(u.accounts, b.Account).add(b.Entry, u.opts.IdleLimit)
	u.totals.add(b.Entry, u.opts.IdleLimit)
	u.carbon.add(b.Entry)
	u.note(b)
	return nil
}

// AddReserved counts an entry that nobody held and that the tenant pays for by contract.
func (u *Usage) AddReserved(b Booked) error {
	if b.Account.Held() {
		return fmt.Errorf("entry %s is held by tenant %s: it is nobody's reserve", b.ID, b.Tenant)
	}
	if _, err := u.opts.hour(b); err != nil {
		return err
	}
	sums(u.reserved, b.Account).add(b.Entry, u.opts.IdleLimit)
	u.spare.add(b.Entry)
	u.note(b)
	return nil
}

func (u *Usage) note(b Booked) {
	if b.Kind == record.Adjustment {
		u.adjustments = append(u.adjustments, AdjustmentOf(b))
	}
	u.basis.Add(b, u.opts.IdleLimit)
}

// hour is the entry's, which must lie in the period.
func (o Options) hour(b Booked) (unit.Micros, error) {
	hour, err := b.Start()
	if err == nil && !o.Period.Holds(hour) {
		err = fmt.Errorf("entry %s of %s is not in the period %s", b.ID, b.Hour, o.Period)
	}
	return hour, err
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
		Limits: u.basis.Limits(u.opts.IdleLimit), Totals: u.totals.finish(), Accounts: accountRows(u.accounts), Reserved: accountRows(u.reserved),
		Carbon: u.carbon.rows(), SCI: u.carbon.sci(u.totals, u.basis.flags),
		Rows: []UsageRow{}, Hours: []HourRow{}, Adjustments: append([]AdjustmentRow{}, u.adjustments...),
		Provenance: u.basis.Provenance(u.opts.Log), MeanWatts: watts(u.totals.Energy, u.opts.Period.To-u.opts.Period.From),
	}
	u.carbon.unmix(&d.Totals)
	for i := range d.Accounts {
		u.carbon.unmix(&d.Accounts[i].Sums)
	}
	for i := range d.Reserved {
		u.spare.unmix(&d.Reserved[i].Sums)
	}
	for k, s := range u.rows {
		row := UsageRow{k, s.finish()}
		row.keep(k.Boundary != NoFactor, k.MarketBoundary != NoFactor, k.EmbodiedBoundary != NoFactor)
		d.Rows = append(d.Rows, row)
	}
	slices.SortFunc(d.Rows, func(a, b UsageRow) int { return a.compare(b.UsageKey) })
	for h, s := range u.hours {
		f := s.finish()
		u.carbon.unmix(&f)
		d.Hours = append(d.Hours, HourRow{
			Hour: Stamp(h), DeviceTime: s.DeviceTime, Energy: s.Energy, GPU: s.GPU,
			MeanWatts: watts(s.Energy, unit.Hour), GPUWatts: f.MeanGPU, Carbon: f.Carbon, CarbonMarket: f.CarbonMarket,
		})
	}
	slices.SortFunc(d.Hours, func(a, b HourRow) int { return cmp.Compare(a.Hour, b.Hour) })
	slices.SortFunc(d.Adjustments, compareAdjustments)
	return d
}

// accountOrder is the order of accounts in documents.
var accountOrder = []record.Account{record.AccountTenant, record.AccountHeldIdle, record.AccountUnallocated, record.AccountPlatform}

// CompareAccounts is that order.
func CompareAccounts(a, b record.Account) int {
	return cmp.Or(cmp.Compare(slices.Index(accountOrder, a), slices.Index(accountOrder, b)), cmp.Compare(a, b))
}

func accountRows(m map[record.Account]*Sums) []AccountRow {
	out := []AccountRow{}
	for a, s := range m {
		out = append(out, AccountRow{a, s.finish()})
	}
	slices.SortFunc(out, func(a, b AccountRow) int { return CompareAccounts(a.Account, b.Account) })
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
