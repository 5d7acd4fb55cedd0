// Package sovereignty says where each GPU-hour ran, under whose control, and whether that was allowed.
//
// It judges every tenant at every site by rule SV-03 (the site's country is among those the tenant allows) and reports rule
// SV-01 (the site's country is in the EU). A fact that is not known makes a verdict unknown, and unknown is never pass.
// What SV-03 fails is named: allocations, hours, entries. Nothing here reads a clock, a file or the network.
package sovereignty

import (
	"cmp"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// RuleSet is the edition of the rules a verdict was found by.
const RuleSet = "SV 2026-11"

// Verdict is what a rule says.
type Verdict string

// The verdicts.
const (
	Pass    Verdict = "pass"
	Fail    Verdict = "fail"
	Unknown Verdict = "unknown"
)

// Finding is a rule's verdict and the fact it rests on.
type Finding struct {
	Rule    string  `json:"rule"`
	Verdict Verdict `json:"verdict"`
	Because string  `json:"because"`
}

// Row is a tenant's use of a site.
type Row struct {
	Tenant          string           `json:"tenant"`
	Site            string           `json:"site"`
	Country         string           `json:"country"`
	Operator        string           `json:"operator"`
	OperatorCountry string           `json:"operator_country"`
	Allowed         []string         `json:"allowed_countries"`
	Allocated       Finding          `json:"SV-03"`
	InEU            Finding          `json:"SV-01"`
	Entries         int64            `json:"entries"`
	DeviceTime      unit.DeviceTime  `json:"device_time"`
	Energy          unit.Millijoules `json:"energy_mj"`
}

// Violation is an allocation that ran where its tenant does not allow it.
type Violation struct {
	Rule       string           `json:"rule"`
	Tenant     string           `json:"tenant"`
	Site       string           `json:"site"`
	Country    string           `json:"country"`
	Allocation string           `json:"allocation"`
	Project    string           `json:"project"`
	Workload   string           `json:"workload"`
	From       unit.Micros      `json:"from_us"`
	To         unit.Micros      `json:"to_us"`
	DeviceTime unit.DeviceTime  `json:"device_time"`
	Energy     unit.Millijoules `json:"energy_mj"`
	// Hours are those in which it ran there, Entries the ids of the entries that say so, in the order of the ledger.
	Hours   []string `json:"hours"`
	Entries []string `json:"entries"`
}

// Coverage is how much device time has which verdict by SV-03: together all that tenants held.
type Coverage struct {
	Pass    unit.DeviceTime `json:"pass"`
	Fail    unit.DeviceTime `json:"fail"`
	Unknown unit.DeviceTime `json:"unknown"`
}

// Findings is what was judged.
type Findings struct {
	RuleSet    string      `json:"rule_set"`
	Coverage   Coverage    `json:"device_time_by_verdict"`
	Rows       []Row       `json:"sites"`
	Violations []Violation `json:"violations"`
}

type place struct{ tenant, site string }

type violationKey struct{ tenant, site, allocation string }

// Judge gathers entries and judges them.
type Judge struct {
	sites      map[string]record.Site
	tenants    map[string]record.Tenant
	rows       map[place]*Row
	violations map[violationKey]*Violation
}

// New makes a judge who knows the sites and the tenants.
func New(sites []record.Site, tenants []record.Tenant) *Judge {
	j := &Judge{
		sites: map[string]record.Site{}, tenants: map[string]record.Tenant{},
		rows: map[place]*Row{}, violations: map[violationKey]*Violation{},
	}
	for _, s := range sites {
		j.sites[s.ID] = s
	}
	for _, t := range tenants {
		j.tenants[t.ID] = t
	}
	return j
}

// Add looks at an entry of the ledger; what nobody held is nobody's work.
func (j *Judge) Add(id string, e record.Entry) {
	if !e.Account.Held() {
		return
	}
	row, ok := j.rows[place{e.Tenant, e.Site}]
	if !ok {
		row = j.row(e.Tenant, e.Site)
		j.rows[place{e.Tenant, e.Site}] = row
	}
	row.Entries++
	row.DeviceTime += e.DeviceTime
	row.Energy += e.Total()
	if row.Allocated.Verdict != Fail {
		return
	}
	k := violationKey{e.Tenant, e.Site, e.Allocation}
	v, ok := j.violations[k]
	if !ok {
		v = &Violation{
			Rule: "SV-03", Tenant: e.Tenant, Site: e.Site, Country: row.Country, Allocation: e.Allocation,
			Project: e.Project, Workload: e.Workload, From: e.From, To: e.To,
		}
		j.violations[k] = v
	}
	v.From, v.To = min(v.From, e.From), max(v.To, e.To)
	v.DeviceTime += e.DeviceTime
	v.Energy += e.Total()
	if !slices.Contains(v.Hours, e.Hour) {
		v.Hours = append(v.Hours, e.Hour)
	}
	v.Entries = append(v.Entries, id)
}

func (j *Judge) row(tenant, site string) *Row {
	s, known := j.sites[site]
	t, registered := j.tenants[tenant]
	r := &Row{
		Tenant: tenant, Site: site, Country: s.Country, Operator: s.Operator, OperatorCountry: s.OperatorCountry,
		Allowed: append([]string{}, t.AllowedCountries...),
	}
	slices.Sort(r.Allowed)
	r.Allocated = Finding{Rule: "SV-03"}
	r.InEU = Finding{Rule: "SV-01"}
	switch {
	case !known || !isCountry(s.Country):
		r.InEU.Verdict, r.InEU.Because = Unknown, "the country of the site is not recorded"
	case InEU(s.Country):
		r.InEU.Verdict, r.InEU.Because = Pass, s.Country+" is a member state"
	default:
		r.InEU.Verdict, r.InEU.Because = Fail, s.Country+" is not a member state"
	}
	switch {
	case !registered:
		r.Allocated.Verdict, r.Allocated.Because = Unknown, "the tenant is not in the inventory"
	case len(r.Allowed) == 0:
		r.Allocated.Verdict, r.Allocated.Because = Pass, "the tenant allows any country"
	case !known || !isCountry(s.Country):
		r.Allocated.Verdict, r.Allocated.Because = Unknown, "the country of the site is not recorded"
	case slices.Contains(r.Allowed, s.Country):
		r.Allocated.Verdict, r.Allocated.Because = Pass, s.Country+" is allowed"
	default:
		r.Allocated.Verdict, r.Allocated.Because = Fail, s.Country+" is not among "+strings.Join(r.Allowed, ", ")
	}
	return r
}

// Findings is the judgement on what was added.
func (j *Judge) Findings() Findings {
	f := Findings{RuleSet: RuleSet, Rows: []Row{}, Violations: []Violation{}}
	for _, r := range j.rows {
		f.Rows = append(f.Rows, *r)
	}
	f.Coverage = coverage(f.Rows)
	slices.SortFunc(f.Rows, func(a, b Row) int { return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Site, b.Site)) })
	for _, v := range j.violations {
		c := *v
		c.Hours, c.Entries = slices.Clone(v.Hours), slices.Clone(v.Entries)
		slices.Sort(c.Hours)
		f.Violations = append(f.Violations, c)
	}
	slices.SortFunc(f.Violations, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Site, b.Site), cmp.Compare(a.From, b.From), cmp.Compare(a.Allocation, b.Allocation))
	})
	return f
}

func isCountry(s string) bool {
	return len(s) == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z'
}

// InEU says whether a country (ISO 3166-1 alpha-2) is one of the 27 member states of the Union.
func InEU(country string) bool {
	return isCountry(country) && strings.Contains("AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK", country)
}

// Of is a tenant's part of the findings.
func (f Findings) Of(tenant string) Findings {
	out := Findings{RuleSet: f.RuleSet, Rows: []Row{}, Violations: []Violation{}}
	for _, r := range f.Rows {
		if r.Tenant == tenant {
			out.Rows = append(out.Rows, r)
		}
	}
	for _, v := range f.Violations {
		if v.Tenant == tenant {
			out.Violations = append(out.Violations, v)
		}
	}
	out.Coverage = coverage(out.Rows)
	return out
}

func coverage(rows []Row) Coverage {
	var c Coverage
	for _, r := range rows {
		switch r.Allocated.Verdict {
		case Pass:
			c.Pass += r.DeviceTime
		case Fail:
			c.Fail += r.DeviceTime
		default:
			c.Unknown += r.DeviceTime
		}
	}
	return c
}
