package query

import (
	"slices"
	"strings"
	"time"
)

// total is the energy of all components.
const total = "(toInt128(gpu_mj) + cpu_mj + node_rest_mj + it_shared_mj + facility_mj)"

// figure is how a figure of the ledger is made of the sums of its columns: sums are exact, in whole numbers, and divided once, to be shown.
type figure struct {
	// columns are what the book is read for.
	columns string
	// value is an expression of sums.
	value string
}

func sum(expr string) string { return "sum(toInt128(" + expr + "))" }

func scaled(expr, by string) string { return "toFloat64(" + sum(expr) + ") / " + by }

func ratio(num, den string) string {
	return "if(" + den + " = 0, NULL, toFloat64(" + num + ") / toFloat64(" + den + "))"
}

const (
	mjPerWh      = "3600000"
	timePerHour  = "3600000000" // device time is in ms × thousandths
	ugPerGram    = "1000000"
	ulPerLitre   = "1000000"
	energyOf     = "gpu_mj, cpu_mj, node_rest_mj, it_shared_mj, facility_mj"
	heldAccounts = "account IN ('tenant', 'held_idle')"
)

func held(expr string) string { return "sumIf(toInt128(" + expr + "), " + heldAccounts + ")" }

var figures = map[Kind]map[string]figure{
	KindUsage: {
		"device_time":      {"device_time", scaled("device_time", timePerHour)},
		"unavailable_time": {"unavailable_time", scaled("unavailable_time", timePerHour)},
		"allocated_share":  {"device_time", ratio(held("device_time"), sum("device_time"))},
		// Activity is in µs of a whole device, device time in ms × thousandths of one: the same unit.
		"sm_active":       {"sm_active_us, device_time", ratio(held("sm_active_us"), held("device_time"))},
		"held_idle_share": {"device_time", ratio("sumIf(toInt128(device_time), account = 'held_idle')", held("device_time"))},
	},
	KindEnergy: {
		"total":            {energyOf, scaled(total, mjPerWh)},
		"gpu":              {"gpu_mj", scaled("gpu_mj", mjPerWh)},
		"overhead":         {energyOf, scaled("toInt128(cpu_mj) + node_rest_mj + it_shared_mj + facility_mj", mjPerWh)},
		"uncertainty":      {"uncertainty_mj", scaled("uncertainty_mj", mjPerWh)},
		"pue":              {energyOf, ratio(sum(total), sum("toInt128(gpu_mj) + cpu_mj + node_rest_mj + it_shared_mj"))},
		"unmeasured_share": {"measured_mj, estimated_mj, modelled_mj", ratio(sum("toInt128(estimated_mj) + modelled_mj"), sum("toInt128(measured_mj) + estimated_mj + modelled_mj"))},
	},
	KindCarbon: {
		"location": {"carbon_ug", scaled("carbon_ug", ugPerGram)},
		"market":   {"carbon_market_ug", scaled("carbon_market_ug", ugPerGram)},
		"embodied": {"carbon_embodied_ug", scaled("carbon_embodied_ug", ugPerGram)},
		// g/kWh = µg/mJ × 3600
		"intensity_location": {"carbon_ug, " + energyOf, ratio("3600 * "+sum("carbon_ug"), sum(total))},
		"intensity_market":   {"carbon_market_ug, " + energyOf, ratio("3600 * "+sum("carbon_market_ug"), sum(total))},
		"water":              {"water_ul", scaled("water_ul", ulPerLitre)},
		"heat_reused":        {"heat_reused_mj", scaled("heat_reused_mj", mjPerWh)},
	},
}

// bookColumns are the columns of dimensions, and the coarsest book that has them.
var bookColumns = map[Dimension]struct {
	column string
	book   book
}{
	Site: {"site", subtotals}, Account: {"account", subtotals}, Tenant: {"tenant", subtotals},
	Node: {"node", hourSums}, Model: {"model", hourSums}, Project: {"project", hourSums}, ModelID: {"model_id", hourSums}, Purpose: {"purpose", hourSums},
	Workload: {"workload", entries}, Allocation: {"allocation", entries}, DeviceID: {"device", entries}, EntryID: {"id", entries},
}

// split are the dimensions that divide the energy of a line itself.
var split = map[Dimension]string{
	Component:  "[('gpu', gpu_mj), ('cpu', cpu_mj), ('node_rest', node_rest_mj), ('it_shared', it_shared_mj), ('facility', facility_mj)]",
	Provenance: "[('measured', measured_mj), ('estimated', estimated_mj), ('modelled', modelled_mj)]",
}

// bookOf is the coarsest book that has all dimensions of a question.
func (b *builder) bookOf() book {
	out := subtotals
	for d, c := range bookColumns {
		if slices.Contains(b.by, d) || b.filtered(d) {
			out = max(out, c.book)
		}
	}
	return out
}

// hours is the condition for the hours that begin in the range.
func (s statement) hours() string { return s.hoursBetween("hour", s.span.From, s.span.To) }

func (s statement) hoursBetween(column string, from, to time.Time) string {
	return column + " >= " + s.args.seconds(ceil(from)) + " AND " + column + " < " + s.args.seconds(ceil(to))
}

// lineFilters are the conditions of a question's filters on lines of the ledger.
func (s statement) lineFilters() []string {
	var out []string
	for _, d := range s.m.By {
		if c, ok := bookColumns[d]; ok {
			if d == Site || d == Tenant {
				out = append(out, s.key(d, c.column))
				continue
			}
			out = append(out, s.in(d, c.column))
		}
	}
	return out
}

// accounts answers what is a sum, or a ratio of sums, over lines of the ledger.
func (b *builder) accounts() error {
	s := b.begin()
	f := figures[b.q.Kind][b.q.Metric]
	var part Dimension
	for d := range split {
		if slices.Contains(b.grouping(), d) || b.filtered(d) {
			if part != "" {
				return refuse(ReasonDimension, "%s and %s both divide a line's energy, and the ledger does not say how they cross: ask for one of them", Component, Provenance)
			}
			part = d
		}
	}
	columns := map[string]bool{"hour": true}
	for _, c := range strings.Split(f.columns, ", ") {
		columns[c] = true
	}
	if strings.Contains(f.value, "account") {
		columns["account"] = true
	}
	value, cross := f.value, ""
	if part != "" {
		for _, c := range strings.Split(energyOf+", measured_mj, estimated_mj, modelled_mj", ", ") {
			columns[c] = true
		}
		value, cross = scaled("part.2", mjPerWh), " ARRAY JOIN "+split[part]+" AS part"
		if c := s.in(part, "part.1"); c != "" {
			cross += " WHERE " + c
		}
	}
	var exprs []string
	for _, d := range b.grouping() {
		if d == part {
			exprs = append(exprs, "part.1")
			continue
		}
		exprs = append(exprs, bookColumns[d].column)
		columns[bookColumns[d].column] = true
	}
	chosen := b.bookOf()
	grid := b.span.grid(b.span.step(time.Hour))
	list := make([]string, 0, len(columns))
	for c := range columns {
		list = append(list, c)
	}
	slices.Sort(list)
	from := s.lines(chosen, strings.Join(list, ", "), append([]string{s.hours()}, s.lineFilters()...)...) + cross
	cols, names := groups(exprs)
	p := points{names: names}
	if b.form == FormSeries {
		p.item = "(SELECT " + cols + ", " + grid.slot(s.args, "toInt64(toUnixTimestamp(hour))") + " AS slot, " + value + " AS v FROM " + from + " GROUP BY " + names + ", slot)"
	} else {
		p.total = "(SELECT " + cols + ", " + value + " AS v FROM " + from + " GROUP BY " + names + ")"
	}
	s.rank(p, Result{Source: chosen.String(), AsOf: b.asOf()}, grid)
	b.provisional()
	return nil
}

// asOf is the number of batches that ledger figures rest on.
func (b *builder) asOf() map[string]uint64 {
	out := map[string]uint64{}
	sites := b.values(Site)
	for id, st := range b.state.Sites {
		if st.Batches > 0 && (!b.filtered(Site) || slices.Contains(sites, id)) {
			out[id] = st.Batches
		}
	}
	return out
}
