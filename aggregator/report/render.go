package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/schemas/unit"
)

func digits[I ~int | ~int64 | ~uint64](v I) string { return strconv.FormatInt(int64(v), 10) }

// sumColumns are the columns every usage and fleet CSV ends in; cells are those of Sums.
var sumColumns = []string{
	"entries", "device_time_ms_thousandths", "gpu_hours", "unavailable_time",
	"gpu_mj", "cpu_mj", "node_rest_mj", "it_shared_mj", "facility_mj", "energy_mj", "energy_kwh",
	"measured_mj", "estimated_mj", "modelled_mj", "interpolated_mj", "bound_low_mj", "bound_high_mj",
	"mean_gpu_watts", "sm_active_us", "sm_read_time", "sm_active_share", "held_idle_time", "held_idle_hours",
	"ticks_expected", "ticks_read", "coverage", "carbon_ug", "carbon_kg",
}

func (s Sums) cells() []string {
	return []string{
		digits(s.Entries), digits(s.DeviceTime), string(s.GPUHours), digits(s.Unavailable),
		digits(s.GPU), digits(s.CPU), digits(s.NodeRest), digits(s.ITShared), digits(s.Facility), digits(s.Energy), string(s.KWh),
		digits(s.Measured), digits(s.Estimated), digits(s.Modelled), digits(s.Interpolated), digits(s.BoundLow), digits(s.BoundHigh),
		string(s.MeanGPU), digits(s.Active), digits(s.ReadTime), string(s.ActiveShare), digits(s.HeldIdle), string(s.HeldIdleHours),
		digits(s.TicksExpected), digits(s.TicksRead), string(s.Coverage), digits(s.Carbon), string(s.CarbonKg),
	}
}

// CSV is a row per site, project, workload, model, purpose and device model.
func (d UsageDocument) CSV() ([]byte, error) {
	header := append([]string{
		"tenant", "from", "to", "site", "project", "workload", "model_id", "purpose", "device_model", "carbon_boundary", "held_idle_below",
	}, sumColumns...)
	var rows [][]string
	for _, r := range d.Rows {
		rows = append(rows, append([]string{
			d.Tenant.ID, d.From, d.To, r.Site, r.Project, r.Workload, r.ModelID, r.Purpose, r.DeviceModel, r.Boundary, string(d.Limit),
		}, r.cells()...))
	}
	return CSV(header, rows)
}

// PowerCSV is a row per hour.
func (d UsageDocument) PowerCSV() ([]byte, error) {
	var rows [][]string
	for _, h := range d.Hours {
		rows = append(rows, []string{
			d.Tenant.ID, h.Hour, digits(h.DeviceTime), string(Hours(h.DeviceTime)), digits(h.GPU), digits(h.Energy),
			string(h.MeanWatts), string(h.GPUWatts), digits(h.Carbon),
		})
	}
	return CSV([]string{
		"tenant", "hour", "device_time_ms_thousandths", "gpu_hours", "gpu_mj", "energy_mj", "mean_watts", "mean_gpu_watts", "carbon_ug",
	}, rows)
}

// Table shows usage by project, workload and device model.
func (d UsageDocument) Table() Table {
	t := Table{
		Title: fmt.Sprintf("Usage of %s, %s to %s", d.Tenant.Name, d.From, d.To),
		Columns: columns("site", "project", "workload", "model", "purpose", "device",
			">GPU-h", ">held idle h", ">kWh", ">kWh modelled", ">W/GPU", ">SM active", ">coverage", ">kgCO2e"),
		Totals: append([]string{"total", "", "", "", "", ""}, d.Totals.short()...),
		Notes:  append([]string{heldIdleNote(d.Limit)}, provenanceNotes(d.Provenance)...),
	}
	for _, r := range d.Rows {
		t.Rows = append(t.Rows, append([]string{r.Site, r.Project, r.Workload, r.ModelID, r.Purpose, r.DeviceModel}, r.short()...))
	}
	return t
}

// short are the cells of a Sums on a terminal.
func (s Sums) short() []string {
	return []string{
		short(int64(s.DeviceTime), unit.DeviceTimePerHour, 2), short(int64(s.HeldIdle), unit.DeviceTimePerHour, 2),
		short(int64(s.Energy), unit.MillijoulesPerKWh, 3), short(int64(s.Modelled), unit.MillijoulesPerKWh, 3), orDash(s.meanGPU(0)),
		percent(int64(s.Active), int64(s.ReadTime)), percent(s.TicksRead, s.TicksExpected), short(int64(s.Carbon), 1_000_000_000, 3),
	}
}

func percent(a, b int64) string {
	if b == 0 {
		return "–"
	}
	return short(a*100, b, 1) + " %"
}

func orDash(n Number) string {
	if n == "" {
		return "–"
	}
	return string(n)
}

// SummaryTable shows a line per tenant.
func SummaryTable(documents []UsageDocument) Table {
	t := Table{
		Title: "Tenants",
		Columns: columns("tenant", "name", "sector",
			">GPU-h", ">held idle h", ">kWh", ">kWh modelled", ">W/GPU", ">SM active", ">coverage", ">kgCO2e"),
	}
	for _, d := range documents {
		t.Rows = append(t.Rows, append([]string{d.Tenant.ID, d.Tenant.Name, d.Tenant.Sector}, d.Totals.short()...))
	}
	if len(documents) > 0 {
		t.Notes = []string{heldIdleNote(documents[0].Limit)}
	}
	return t
}

func heldIdleNote(limit Number) string {
	return "Held idle: held, with an SM-active share under " + string(limit) + "."
}

func provenanceNotes(p Provenance) []string {
	var notes []string
	if len(p.Modelled) > 0 {
		notes = append(notes, "Modelled, not measured: "+strings.Join(p.Modelled, "; ")+".")
	}
	var factors []string
	for _, f := range p.Factors {
		factors = append(factors, strings.TrimSuffix(f.Ref+" ("+f.Licence+")", " ()"))
	}
	if len(factors) > 0 {
		notes = append(notes, "Carbon, location-based: "+strings.Join(factors, "; ")+".")
	}
	for _, site := range p.Sites {
		if len(site.NotClosed) > 0 {
			notes = append(notes, "Not in these figures, because not closed: "+site.Site+", "+strings.Join(site.NotClosed, "; ")+".")
		}
	}
	return append(notes, p.Line())
}

// Line names rules and ledger, for the foot of a page.
func (p Provenance) Line() string {
	return fmt.Sprintf("Rules %s; as of %s (%s).", strings.Join(p.Rules, ", "), Count(p.AsOfSeals, "seal", "seals"), p.AsOf)
}

// CSV is a row per site and account.
func (d FleetDocument) CSV() ([]byte, error) {
	sites := map[string]SiteRow{}
	for _, s := range d.Sites {
		sites[s.Site] = s
	}
	header := append([]string{
		"from", "to", "site", "country", "zone", "operator", "operator_country", "declared_pue", "account", "tenant", "carbon_boundary", "held_idle_below",
	}, sumColumns...)
	var rows [][]string
	for _, r := range d.Rows {
		s := sites[r.Site]
		rows = append(rows, append([]string{
			d.From, d.To, r.Site, s.Country, s.Zone, s.Operator, s.OperatorCountry, string(s.DeclaredPUE), string(r.Account), r.Tenant, r.Boundary, string(d.Limit),
		}, r.cells()...))
	}
	return CSV(header, rows)
}

// Table shows energy by site, account and component.
func (d FleetDocument) Table() Table {
	t := Table{
		Title: fmt.Sprintf("Fleet, %s to %s", d.From, d.To),
		Columns: columns("site", "account", "tenant", ">GPU-h", ">GPU kWh", ">CPU kWh", ">node rest", ">IT shared", ">facility", ">kWh",
			">measured", ">estimated", ">modelled", ">kgCO2e"),
		Totals: append([]string{"total", "", ""}, d.Totals.components()...),
		Notes:  provenanceNotes(d.Provenance),
	}
	for _, r := range d.Rows {
		t.Rows = append(t.Rows, append([]string{r.Site, string(r.Account), r.Tenant}, r.components()...))
	}
	verdict := "The entries agree with what was sealed (" + Count(d.Check.Seals, "seal", "seals") + ")."
	if !d.Check.Agrees {
		verdict = fmt.Sprintf("The entries DO NOT agree with %d of %d seals: %s.", len(d.Check.Differ), d.Check.Seals, strings.Join(d.Check.Differ, ", "))
	}
	t.Notes = slices.Insert(t.Notes, 0, verdict)
	return t
}

func (s Sums) components() []string {
	kwh := func(e unit.Millijoules) string { return short(int64(e), unit.MillijoulesPerKWh, 3) }
	return []string{
		short(int64(s.DeviceTime), unit.DeviceTimePerHour, 2), kwh(s.GPU), kwh(s.CPU), kwh(s.NodeRest), kwh(s.ITShared), kwh(s.Facility), kwh(s.Energy),
		kwh(s.Measured), kwh(s.Estimated), kwh(s.Modelled), short(int64(s.Carbon), 1_000_000_000, 3),
	}
}
