package report

import (
	"fmt"
	"strings"

	"github.com/wattledger/wattledger/aggregator/sovereignty"
	"github.com/wattledger/wattledger/schemas/unit"
)

// SovereigntyDocument is where GPU-hours ran and which rule held.
type SovereigntyDocument struct {
	Document string `json:"document"` // sovereignty
	// Tenant is whose work it is about; empty for all.
	Tenant string `json:"tenant"`
	From   string `json:"from"`
	To     string `json:"to"`
	sovereignty.Findings
	Provenance Provenance `json:"provenance"`
}

// NewSovereigntyDocument makes the document of a judge's findings; with a tenant, of that tenant's part of them alone.
func NewSovereigntyDocument(f sovereignty.Findings, tenant string, opts Options, p Provenance) SovereigntyDocument {
	d := SovereigntyDocument{
		Document: "sovereignty", Tenant: tenant, From: Stamp(opts.Period.From), To: Stamp(opts.Period.To), Findings: f, Provenance: p,
	}
	if tenant != "" {
		d.Findings = f.Of(tenant)
	}
	return d
}

// CSV is a row per tenant and site.
func (d SovereigntyDocument) CSV() ([]byte, error) {
	var rows [][]string
	for _, r := range d.Rows {
		rows = append(rows, []string{
			d.From, d.To, d.RuleSet, r.Tenant, r.Site, r.Country, r.Operator, r.OperatorCountry, strings.Join(r.Allowed, " "),
			string(r.Allocated.Verdict), r.Allocated.Because, string(r.InEU.Verdict), r.InEU.Because,
			digits(r.Entries), digits(r.DeviceTime), string(Hours(r.DeviceTime)), digits(r.Energy), string(KWh(r.Energy)),
		})
	}
	return CSV([]string{
		"from", "to", "rule_set", "tenant", "site", "country", "operator", "operator_country", "allowed_countries",
		"SV-03", "SV-03_because", "SV-01", "SV-01_because",
		"entries", "device_time_ms_thousandths", "gpu_hours", "energy_mj", "energy_kwh",
	}, rows)
}

// ViolationsCSV is a row per allocation that ran where its tenant does not allow it, with the ids of its entries.
func (d SovereigntyDocument) ViolationsCSV() ([]byte, error) {
	var rows [][]string
	for _, v := range d.Violations {
		rows = append(rows, []string{
			v.Rule, v.Tenant, v.Site, v.Country, v.Allocation, v.Project, v.Workload, micros(v.From), micros(v.To),
			digits(v.DeviceTime), string(Hours(v.DeviceTime)), digits(v.Energy), string(KWh(v.Energy)),
			strings.Join(v.Hours, " "), strings.Join(v.Entries, " "),
		})
	}
	return CSV([]string{
		"rule", "tenant", "site", "country", "allocation", "project", "workload", "from", "to",
		"device_time_ms_thousandths", "gpu_hours", "energy_mj", "energy_kwh", "hours", "entries",
	}, rows)
}

// Table shows a line per tenant and site, violations below.
func (d SovereigntyDocument) Table() Table {
	t := Table{
		Title:   fmt.Sprintf("Sovereignty, %s to %s", d.From, d.To),
		Columns: columns("tenant", "site", "country", "operator", "of", "allowed", "SV-03", "SV-01", ">GPU-h", ">kWh"),
	}
	for _, r := range d.Rows {
		allowed := strings.Join(r.Allowed, " ")
		if len(r.Allowed) == 0 && r.Allocated.Verdict == sovereignty.Pass {
			allowed = "any"
		}
		t.Rows = append(t.Rows, []string{
			r.Tenant, r.Site, r.Country, r.Operator, r.OperatorCountry, allowed, string(r.Allocated.Verdict), string(r.InEU.Verdict),
			short(int64(r.DeviceTime), unit.DeviceTimePerHour, 2), short(int64(r.Energy), unit.MillijoulesPerKWh, 3),
		})
	}
	for _, v := range d.Violations {
		t.Notes = append(t.Notes, fmt.Sprintf("Violation of %s: allocation %s of %s ran in %s (%s) from %s to %s, %s GPU-hours, %s.",
			v.Rule, v.Allocation, v.Tenant, v.Country, v.Site, micros(v.From), micros(v.To), short(int64(v.DeviceTime), unit.DeviceTimePerHour, 3), Count(len(v.Entries), "entry", "entries")))
	}
	t.Notes = append(t.Notes, "SV-03: the site's country is among those the tenant allows. SV-01: the site's country is in the EU. Unknown is never pass.")
	return t
}

func micros(t unit.Micros) string { return t.Time().Format("2006-01-02T15:04:05.000Z") }
