package report

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/wattledger/wattledger/schemas/unit"
)

func digits[I ~int | ~int64 | ~uint64](v I) string { return strconv.FormatInt(int64(v), 10) }

// sumColumns are the columns every usage and fleet CSV ends in; cells are those of Sums.
var sumColumns = []string{
	"entries", "device_time_ms_thousandths", "gpu_hours", "unavailable_time",
	"gpu_mj", "cpu_mj", "node_rest_mj", "it_shared_mj", "facility_mj", "energy_mj", "energy_kwh",
	"measured_mj", "estimated_mj", "modelled_mj", "interpolated_mj", "bound_low_mj", "bound_high_mj", "uncertainty_mj",
	"mean_gpu_watts", "sm_active_us", "sm_read_time", "sm_active_share", "held_idle_time", "held_idle_hours",
	"ticks_expected", "ticks_read", "coverage", "carbon_ug", "carbon_kg",
	"carbon_market_ug", "carbon_market_kg", "carbon_embodied_ug", "carbon_embodied_kg", "water_ul", "water_litres", "heat_reused_mj", "adjustments",
}

func (s Sums) cells() []string {
	return []string{
		digits(s.Entries), digits(s.DeviceTime), string(s.GPUHours), digits(s.Unavailable),
		digits(s.GPU), digits(s.CPU), digits(s.NodeRest), digits(s.ITShared), digits(s.Facility), digits(s.Energy), string(s.KWh),
		digits(s.Measured), digits(s.Estimated), digits(s.Modelled), digits(s.Interpolated), digits(s.BoundLow), digits(s.BoundHigh),
		digits(s.Uncertainty),
		string(s.MeanGPU), digits(s.Active), digits(s.ReadTime), string(s.ActiveShare), digits(s.HeldIdle), string(s.HeldIdleHours),
		digits(s.TicksExpected), digits(s.TicksRead), string(s.Coverage), digits(s.Carbon), string(s.CarbonKg),
		digits(s.CarbonMarket), string(s.CarbonMarketKg), digits(s.CarbonEmbodied), string(s.CarbonEmbodiedKg),
		digits(s.Water), string(s.WaterLitres), digits(s.HeatReused), digits(s.Adjustments),
	}
}

// CSV is a row per site, project, workload, model, purpose and device model.
func (d UsageDocument) CSV() ([]byte, error) {
	header := append([]string{
		"tenant", "from", "to", "site", "project", "workload", "model_id", "purpose", "device_model",
		"carbon_boundary", "carbon_market_boundary", "carbon_embodied_boundary", "held_idle_below",
	}, sumColumns...)
	var rows [][]string
	for _, r := range d.Rows {
		rows = append(rows, append([]string{
			d.Tenant.ID, d.From, d.To, r.Site, r.Project, r.Workload, r.ModelID, r.Purpose, r.DeviceModel,
			r.Boundary, r.MarketBoundary, r.EmbodiedBoundary, limits(d.Limits, " "),
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
			string(h.MeanWatts), string(h.GPUWatts), digits(h.Carbon), digits(h.CarbonMarket),
		})
	}
	return CSV([]string{
		"tenant", "hour", "device_time_ms_thousandths", "gpu_hours", "gpu_mj", "energy_mj", "mean_watts", "mean_gpu_watts", "carbon_ug", "carbon_market_ug",
	}, rows)
}

// Table shows usage by project, workload and device model.
func (d UsageDocument) Table() Table {
	t := Table{
		Title: fmt.Sprintf("Usage of %s, %s to %s", d.Tenant.Name, d.From, d.To),
		Columns: columns("site", "project", "workload", "model", "purpose", "device",
			">GPU-h", ">held idle h", ">kWh", ">kWh modelled", ">W/GPU", ">SM active", ">coverage", ">kgCO2e"),
		Totals: append([]string{"total", "", "", "", "", ""}, d.Totals.short()...),
		Notes:  []string{heldIdleNote(d.Limits)},
	}
	for _, r := range d.Rows {
		t.Rows = append(t.Rows, append([]string{r.Site, r.Project, r.Workload, r.ModelID, r.Purpose, r.DeviceModel}, r.short()...))
	}
	return t
}

// Tables are the statement: usage, how sure its energy is, carbon and water, adjustments.
func (d UsageDocument) Tables() []Table {
	tables := []Table{d.Table(), d.sureTable(), d.carbonTable()}
	if len(d.Adjustments) > 0 {
		tables = append(tables, AdjustmentsTable("Adjustments: corrections of hours that were closed before, contained in the figures above", d.Adjustments))
	}
	last := &tables[len(tables)-1]
	last.Notes = append(last.Notes, provenanceNotes(d.Provenance)...)
	return tables
}

// Text is the statement for people.
func (d UsageDocument) Text() []byte { return Text(d.Tables()) }

// Text draws tables one below the other.
func Text(tables []Table) []byte {
	var b strings.Builder
	for i, t := range tables {
		if i > 0 {
			b.WriteString("\n\n")
		}
		b.WriteString(t.Text())
	}
	return []byte(b.String())
}

// sureTable shows, beside each total, what it rests on and how far it can be off.
func (d UsageDocument) sureTable() Table {
	t := Table{
		Title: "How sure the energy is",
		Columns: columns("account", ">GPU-h", ">kWh", ">at least", ">at most", ">uncertainty", ">coverage", ">measured", ">estimated", ">modelled",
			">interpolated"),
		Totals: append([]string{"total"}, d.Totals.sure()...),
		Notes:  []string{sureNote},
	}
	for _, a := range d.Accounts {
		t.Rows = append(t.Rows, append([]string{string(a.Account)}, a.sure()...))
	}
	for _, a := range d.Reserved {
		t.Rows = append(t.Rows, append([]string{string(a.Account) + ", reserved"}, a.sure()...))
	}
	if len(d.Reserved) > 0 {
		t.Notes = append(t.Notes, "Reserved: nobody held it; your contract reserves these nodes and lets you pay for it, "+
			"but for time in which a device was not there. It is not in the total.")
	}
	return t
}

const sureNote = "At least, at most: the hard bound of what the counters showed, whatever the load did between two readings. Uncertainty: sensors, models and " +
	"the bound, added up. Shares are of the energy; interpolated is the part of measured whose total is known and whose place in time is not."

func (s Sums) sure() []string {
	kwh := func(e unit.Millijoules) string { return short(int64(e), unit.MillijoulesPerKWh, 3) }
	uncertainty := "–" // by rules that do not state one
	if s.Uncertainty != 0 {
		uncertainty = "± " + kwh(s.Uncertainty)
	}
	part := func(e unit.Millijoules) string { return percent(int64(e), int64(s.Energy)) }
	return []string{
		short(int64(s.DeviceTime), unit.DeviceTimePerHour, 2), kwh(s.Energy), kwh(s.Energy - s.BoundLow), kwh(s.Energy + s.BoundHigh), uncertainty,
		percent(s.TicksRead, s.TicksExpected), part(s.Measured), part(s.Estimated), part(s.Modelled), part(s.Interpolated),
	}
}

// carbonTable shows both ways to count emissions side by side, the hardware's, the software carbon intensity, and water.
func (d UsageDocument) carbonTable() Table {
	t := Table{
		Title:   "Carbon and water",
		Columns: columns("what", "boundary", ">amount", "unit", ">of", "basis"),
		Notes: []string{
			"Location-based and market-based count the same emissions in two ways (GHG Protocol, Scope 2 Guidance); they are never summed, nor are two boundaries.",
		},
	}
	for _, c := range d.Carbon {
		boundary, amount := c.Boundary, short(int64(c.Carbon), 1_000_000_000, 3)
		if boundary == NoFactor {
			boundary, amount = "–", "–"
		}
		t.Rows = append(t.Rows, []string{c.Method, boundary, amount, "kgCO2e", c.of(), d.Provenance.basis(c)})
	}
	if d.SCI.Score != "" {
		what := "SCI, location-based + embodied"
		if len(factorsOf(d.Provenance.Factors, Embodied)) == 0 {
			what = "SCI, location-based, embodied unknown"
		}
		t.Rows = append(t.Rows, []string{what, d.SCI.Boundary, string(d.SCI.Score), "gCO2e per GPU-h", d.Totals.gpuHours(), d.SCI.Standard})
		note := "SCI: (E × I + M) per functional unit, " + d.SCI.FunctionalUnit + "; market-based carbon is never in it."
		if len(d.SCI.Lacks) > 0 {
			note += " It lacks " + strings.Join(d.SCI.Lacks, "; ") + "."
		}
		t.Notes = append(t.Notes, note)
	}
	energy := short(int64(d.Totals.Energy), unit.MillijoulesPerKWh, 3) + " kWh"
	if sources := d.Provenance.sourcesOf("water"); len(sources) > 0 {
		t.Rows = append(t.Rows, []string{"water", "", short(int64(d.Totals.Water), 1_000_000, 3), "L", energy, below(len(sources), "source", "sources")})
	}
	if sources := d.Provenance.sourcesOf("heat"); len(sources) > 0 {
		t.Rows = append(t.Rows, []string{"heat handed on", "", short(int64(d.Totals.HeatReused), unit.MillijoulesPerKWh, 3), "kWh", energy, below(len(sources), "source", "sources")})
	}
	return t
}

func (s Sums) gpuHours() string {
	return short(int64(s.DeviceTime), unit.DeviceTimePerHour, 2) + " GPU-h"
}

// basis says how many factors a row of carbon rests on; the notes name them.
func (p Provenance) basis(c Carbon) string {
	if c.Boundary == NoFactor {
		return "no factor known"
	}
	n := 0
	for _, f := range p.Factors {
		if f.Method == c.Method && f.Boundary == c.Boundary {
			n++
		}
	}
	return below(n, "factor", "factors")
}

func below(n int, one, many string) string { return Count(n, one, many) + ", below" }

func (p Provenance) sourcesOf(component string) []string {
	var out []string
	for _, s := range p.Sources {
		if s.Component == component {
			out = append(out, s.Source)
		}
	}
	return out
}

// listed names a few things and counts the others.
func listed(names []string) string {
	const most = 4
	if len(names) <= most {
		return strings.Join(names, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(names[:most-1], "; "), len(names)-most+1)
}

// short are the cells of a Sums on a terminal.
func (s Sums) short() []string {
	return []string{
		short(int64(s.DeviceTime), unit.DeviceTimePerHour, 2), short(int64(s.HeldIdle), unit.DeviceTimePerHour, 2),
		short(int64(s.Energy), unit.MillijoulesPerKWh, 3), short(int64(s.Modelled), unit.MillijoulesPerKWh, 3), orDash(s.meanGPU(0)),
		percent(int64(s.Active), int64(s.ReadTime)), percent(s.TicksRead, s.TicksExpected), kg(s.Carbon, s.CarbonKg),
	}
}

// kg is a mass in kilograms, if its number says that it is known.
func kg(m unit.MicrogramsCO2e, known Number) string {
	if known == "" {
		return "–"
	}
	return short(int64(m), 1_000_000_000, 3)
}

func percent(a, b int64) string {
	if b == 0 {
		return "–"
	}
	return decimal.NewFromInt(a).Shift(2).DivRound(decimal.NewFromInt(b), 1).StringFixed(1) + " %"
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
		t.Notes = []string{heldIdleNote(documents[0].Limits)}
	}
	return t
}

func heldIdleNote(list []Number) string {
	return "Held idle: held, with an SM-active share under " + limits(list, " or ") + "."
}

func limits(list []Number, between string) string {
	texts := make([]string, len(list))
	for i, l := range list {
		texts[i] = string(l)
	}
	return strings.Join(texts, between)
}

func provenanceNotes(p Provenance) []string {
	var notes []string
	if len(p.Modelled) > 0 {
		notes = append(notes, "Modelled, not measured: "+strings.Join(p.Modelled, "; ")+".")
	}
	for _, c := range []struct{ component, words string }{{"node_rest", "Node rest"}, {"it_shared", "Shared IT"}, {"facility", "Facility"}, {"water", "Water"}, {"heat", "Heat handed on"}} {
		if from := p.sourcesOf(c.component); len(from) > 0 {
			notes = append(notes, c.words+" from: "+listed(from)+".")
		}
	}
	for _, method := range []string{LocationBased, MarketBased, Embodied} {
		if f := factorsOf(p.Factors, method); len(f) > 0 {
			notes = append(notes, "Carbon, "+method+": "+listed(f)+".")
		}
	}
	for _, site := range p.Sites {
		if len(site.NotClosed) > 0 {
			notes = append(notes, "Not in these figures, because not closed: "+site.Site+", "+strings.Join(site.NotClosed, "; ")+".")
		}
	}
	for _, l := range p.Later {
		notes = append(notes, fmt.Sprintf("Adjusted later, by batch %d of %s (%s).", l.Batch, l.Site, Count(l.Entries, "entry", "entries")))
	}
	return append(notes, p.Line())
}

// factorValue is the value in a reference: what differs by the hour.
var factorValue = regexp.MustCompile(` ?\b[0-9]+(µg/kWh|‰|µl/kWh|µg)`)

// factorsOf names the factors of a method. Values of one name that differ by the hour are counted, not listed.
func factorsOf(list []Factor, method string) []string {
	values := map[string][]Factor{}
	for _, f := range list {
		if f.Method == method {
			name := factorValue.ReplaceAllString(f.Ref, "")
			values[name] = append(values[name], f)
		}
	}
	var out []string
	for _, name := range keys(values) {
		f := values[name]
		text := f[0].Ref
		if len(f) > 1 {
			text = fmt.Sprintf("%s (%d values)", name, len(f))
		}
		if f[0].Licence != "" {
			text += " (" + f[0].Licence + ")"
		}
		out = append(out, text)
	}
	return out
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
		"from", "to", "site", "country", "zone", "operator", "operator_country", "declared_pue", "account", "tenant",
		"carbon_boundary", "carbon_market_boundary", "held_idle_below",
	}, sumColumns...)
	var rows [][]string
	for _, r := range d.Rows {
		s := sites[r.Site]
		rows = append(rows, append([]string{
			d.From, d.To, r.Site, s.Country, s.Zone, s.Operator, s.OperatorCountry, string(s.DeclaredPUE), string(r.Account), r.Tenant,
			r.Boundary, r.MarketBoundary, limits(d.Limits, " "),
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
		Notes:  []string{d.verdict()},
	}
	for _, r := range d.Rows {
		t.Rows = append(t.Rows, append([]string{r.Site, string(r.Account), r.Tenant}, r.components()...))
	}
	return t
}

// verdict says what comparing entries with seals found.
func (d FleetDocument) verdict() string {
	if d.Check.Agrees {
		return "The entries agree with what was sealed (" + Count(d.Check.Seals, "seal", "seals") + ")."
	}
	return fmt.Sprintf("The entries DO NOT agree with %d of %d seals: %s.", len(d.Check.Differ), d.Check.Seals, strings.Join(d.Check.Differ, ", "))
}

// Tables are the whole report.
func (d FleetDocument) Tables() []Table {
	tables := []Table{d.Table(), d.sureTable(), d.IndicatorTable()}
	if len(d.Quality) > 0 {
		tables = append(tables, d.qualityTable())
	}
	if len(d.Adjustments) > 0 {
		tables = append(tables, d.reasonTable())
	}
	last := &tables[len(tables)-1]
	last.Notes = append(last.Notes, provenanceNotes(d.Provenance)...)
	return tables
}

// Text is the report for people.
func (d FleetDocument) Text() []byte { return Text(d.Tables()) }

// sureTable shows how far each account's energy can be off, and carbon counted both ways.
func (d FleetDocument) sureTable() Table {
	water := len(d.Provenance.sourcesOf("water")) > 0
	t := Table{
		Title: "How sure the energy is; carbon and water",
		Columns: columns("site", "account", "tenant", ">at least kWh", ">at most", ">uncertainty", ">coverage", ">interpolated",
			">kgCO2e location", ">market", ">embodied", ">water L"),
		Totals: append([]string{"total", "", ""}, d.Totals.sureAndCarbon(water)...),
		Notes:  []string{sureNote},
	}
	for _, r := range d.Rows {
		t.Rows = append(t.Rows, append([]string{r.Site, string(r.Account), r.Tenant}, r.sureAndCarbon(water)...))
	}
	return t
}

func (s Sums) sureAndCarbon(water bool) []string {
	sure, litres := s.sure(), "–"
	if water {
		litres = short(int64(s.Water), 1_000_000, 3)
	}
	return []string{
		sure[2], sure[3], sure[4], sure[5], sure[9], kg(s.Carbon, s.CarbonKg), kg(s.CarbonMarket, s.CarbonMarketKg),
		kg(s.CarbonEmbodied, s.CarbonEmbodiedKg), litres,
	}
}

// IndicatorTable shows PUE, WUE and CUE by site.
func (d FleetDocument) IndicatorTable() Table {
	t := Table{
		Title: "Effectiveness by site",
		Columns: columns("site", ">kWh", ">IT kWh", ">PUE", "basis", ">WUE L/kWh", "basis", ">CUE kg/kWh", "boundary", ">ERF", "basis",
			"without"),
	}
	note := "PUE ISO/IEC 30134-2 (IT at the equipment, category 3), WUE -9, CUE -8 (location-based), ERF -6, of this period alone."
	if slices.ContainsFunc(d.Indicators, func(i Indicator) bool { return i.Interim }) {
		note += " The standards ask for twelve months: these are interim values."
	}
	t.Notes = []string{note}
	for _, i := range d.Indicators {
		t.Rows = append(t.Rows, []string{
			i.Site, short(int64(i.Energy), unit.MillijoulesPerKWh, 3), short(int64(i.IT), unit.MillijoulesPerKWh, 3),
			orDash(i.PUE), i.PUEBasis, orDash(i.WUE), i.WaterBasis, orDash(i.CUE), i.CUEBoundary, orDash(i.ERF), i.HeatBasis,
			strings.Join(i.Lacks, ", "),
		})
	}
	return t
}

// reasonTable shows adjustments by reason.
func (d FleetDocument) reasonTable() Table {
	t := Table{
		Title:   "Adjustments: corrections of hours that were closed before, contained in the figures above",
		Columns: columns("site", "reason", "account", ">entries", ">GPU-h", ">kWh", ">kgCO2e location", ">market", ">embodied"),
	}
	for _, r := range d.Adjustments {
		a := AdjustmentRow{DeviceTime: r.DeviceTime, Energy: r.Energy, Carbon: r.Carbon, CarbonMarket: r.CarbonMarket, CarbonEmbodied: r.CarbonEmbodied}
		t.Rows = append(t.Rows, append([]string{r.Site, r.Reason, string(r.Account), digits(r.Entries)}, a.amounts()...))
	}
	return t
}

func (s Sums) components() []string {
	kwh := func(e unit.Millijoules) string { return short(int64(e), unit.MillijoulesPerKWh, 3) }
	return []string{
		short(int64(s.DeviceTime), unit.DeviceTimePerHour, 2), kwh(s.GPU), kwh(s.CPU), kwh(s.NodeRest), kwh(s.ITShared), kwh(s.Facility), kwh(s.Energy),
		kwh(s.Measured), kwh(s.Estimated), kwh(s.Modelled), kg(s.Carbon, s.CarbonKg),
	}
}
