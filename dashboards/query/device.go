package query

import (
	"slices"
	"strings"
	"time"
)

// fold says how what single devices read becomes one figure of a group of them.
type fold int

const (
	foldRate  fold = iota // of each device what its counter grew by over the time it took, then the sum over devices
	foldRatio             // growth of one counter over that of another, or over time, of all devices together
	foldCount             // growth of a counter, in sum
	foldMax
	foldMin
	foldSum // the greatest of each device, in sum
	foldSeen
)

// reading is how a metric comes from what devices read.
type reading struct {
	fold fold
	// num and den are counters; without den it is the time between the readings, in microseconds.
	num, den []string
	gauge    string
	code     string
	scale    string
	// energy says that the counter's time is the energy counter's own.
	energy bool
}

var readingsOf = map[string]reading{
	"power":             {fold: foldRate, num: []string{"energy_mj"}, scale: "1000", energy: true}, // mJ/µs is kW
	"power_max":         {fold: foldMax, gauge: "power_w", scale: "1"},
	"power_limit":       {fold: foldSum, gauge: "power_limit_w", scale: "1"},
	"devices":           {fold: foldSeen},
	"sm_active":         {fold: foldRatio, num: []string{"sm_active_us"}, scale: "1"},
	"sm_occupancy":      {fold: foldRatio, num: []string{"sm_occupancy_us"}, scale: "1"},
	"tensor_active":     {fold: foldRatio, num: []string{"tensor_active_us"}, scale: "1"},
	"dram_active":       {fold: foldRatio, num: []string{"dram_active_us"}, scale: "1"},
	"gr_engine_active":  {fold: foldRatio, num: []string{"gr_engine_active_us"}, scale: "1"},
	"fp64_active":       {fold: foldRatio, num: []string{"fp64_active_us"}, scale: "1"},
	"fp32_active":       {fold: foldRatio, num: []string{"fp32_active_us"}, scale: "1"},
	"fp16_active":       {fold: foldRatio, num: []string{"fp16_active_us"}, scale: "1"},
	"gpu_temp":          {fold: foldMax, gauge: "gpu_temp_c", scale: "1"},
	"memory_temp":       {fold: foldMax, gauge: "memory_temp_c", scale: "1"},
	"sm_clock":          {fold: foldMin, gauge: "sm_clock_mhz", scale: "1000000"},
	"memory_clock":      {fold: foldMin, gauge: "memory_clock_mhz", scale: "1000000"},
	"memory_used":       {fold: foldSum, gauge: "fb_used_mib", scale: "1048576"},
	"nvlink":            {fold: foldRate, num: []string{"nvlink_tx_bytes", "nvlink_rx_bytes"}, scale: "1000000"},
	"nvlink_tx":         {fold: foldRate, num: []string{"nvlink_tx_bytes"}, scale: "1000000"},
	"nvlink_rx":         {fold: foldRate, num: []string{"nvlink_rx_bytes"}, scale: "1000000"},
	"pcie":              {fold: foldRate, num: []string{"pcie_tx_bytes", "pcie_rx_bytes"}, scale: "1000000"},
	"pcie_tx":           {fold: foldRate, num: []string{"pcie_tx_bytes"}, scale: "1000000"},
	"pcie_rx":           {fold: foldRate, num: []string{"pcie_rx_bytes"}, scale: "1000000"},
	"throttled_power":   {fold: foldRatio, num: []string{"power_violation_ns"}, scale: "0.001"}, // ns/µs
	"throttled_thermal": {fold: foldRatio, num: []string{"thermal_violation_ns"}, scale: "0.001"},
	"ecc_sbe":           {fold: foldCount, num: []string{"ecc_sbe"}, scale: "1"},
	"ecc_dbe":           {fold: foldCount, num: []string{"ecc_dbe"}, scale: "1"},
	"pcie_replays":      {fold: foldCount, num: []string{"pcie_replays"}, scale: "1"},
	"xid":               {fold: foldMax, code: "xid", scale: "1"},
	"coverage":          {fold: foldRatio, num: []string{"ticks_read"}, den: []string{"ticks_expected"}, scale: "1"},
}

// ofGauge says that the metric is no counter.
func (m reading) ofGauge() bool { return m.gauge != "" || m.code != "" }

// finest is the finest level to read: samples only where the range is short.
func (b *builder) finest() int {
	if b.span.To.Sub(b.span.From) <= shortRaw {
		return 0
	}
	return 1
}

// drawn is the span by which a question's grid is made.
func (b *builder) drawn() Span {
	if b.form == FormSeries {
		return b.span
	}
	return b.span.whole()
}

// reads is what is read of a level, in seconds since 1970: of a series all slots, of a figure over the range from the bucket that it begins in.
func (b *builder) reads(grid Grid, at int) (from, to int64) {
	from = grid.from()
	if b.form != FormSeries {
		from = max(from, floor(b.span.From.Unix(), levels[at].width))
	}
	return from, max(ceil(b.span.To), from+1)
}

// ofRacks is the condition that a row's node is in one of the racks asked for; empty where none are.
func (s statement) ofRacks() string {
	if !s.filtered(Rack) {
		return ""
	}
	return "(site, node) IN (SELECT site, node FROM " + s.racks(s.in(Rack, "rack")) + ")"
}

// withRacks joins the racks of nodes to rows that have site and node.
func (s statement) withRacks() string {
	return " LEFT ANY JOIN (SELECT site AS r_site, node AS r_node, rack FROM " + s.racks() + ") AS places ON r_site = site AND r_node = node"
}

// deviceFilters are the conditions of a question's filters on rows of devices.
func (s statement) deviceFilters() []string {
	out := []string{s.key(Site, "site"), s.key(Node, "node"), s.key(DeviceID, "device")}
	out = append(out, s.ofRacks())
	if s.filtered(Model) {
		out = append(out, "device IN (SELECT device FROM "+s.models()+" WHERE "+s.in(Model, "model")+")")
	}
	return out
}

// device answers what devices read: one series for each device, unless it is asked for coarser.
func (b *builder) device() error {
	if len(b.by) == 0 && b.form != FormTotal {
		b.by = []Dimension{DeviceID}
	}
	return b.ofDevices(readingsOf[b.q.Metric])
}

func (b *builder) ofDevices(m reading) error {
	s := b.begin()
	span := b.drawn()
	at, step := b.opt.Kept.reach(span.step(time.Second), b.span.From, b.now, b.finest())
	grid := span.grid(span.step(step))
	if slices.Contains(b.grouping(), DeviceID) && b.scope.All && !b.filtered(DeviceID) { // a tenant's devices are not so many
		s.top = s.largest(m)
	}
	p := s.devicePoints(m, grid, at, s.deviceFilters())
	result := Result{Source: levels[at].name}
	if slices.Contains(b.grouping(), DeviceID) {
		s.m.Sums = false // the others are not read
	}
	s.rank(p, result, grid)
	return nil
}

// lookback is how long before a range rows are read, for the first difference.
func lookback(at int) int64 { return max(2*levels[at].width, 60) }

// grown is a FROM item: what each device's counters grew by in each slot, from row to row within run, energy epoch and holding. It has the columns
// site, node, device, slot, d, and e of the other counter or the time. A row whose neighbour before it is not near stands for the time
// between its own first and last reading alone.
func (s statement) grown(m reading, slot func(seconds string) string, step int64, at int, from, to int64, keep []string) string {
	plus := func(side string, names []string) string {
		out := make([]string, len(names))
		for i, n := range names {
			out[i] = n + side
		}
		return strings.Join(out, " + ")
	}
	counters := append(slices.Clone(m.num), m.den...)
	var parts []string
	for _, seg := range s.state.segments("", at, from-lookback(at), to) {
		columns := "site, node, device, run, epoch, held, " + slot("at") + " AS slot, assumeNotNull(min(ft)) AS first, assumeNotNull(max(lt)) AS last, " +
			"assumeNotNull(min(" + plus("_lo", m.num) + ")) AS n_lo, assumeNotNull(max(" + plus("_hi", m.num) + ")) AS n_hi"
		known := "isNotNull(" + plus("_lo", m.num) + ") AND isNotNull(ft)"
		if m.den != nil {
			columns += ", assumeNotNull(min(" + plus("_lo", m.den) + ")) AS e_lo, assumeNotNull(max(" + plus("_hi", m.den) + ")) AS e_hi"
			known += " AND isNotNull(" + plus("_lo", m.den) + ")"
		} else {
			columns += ", first AS e_lo, last AS e_hi"
		}
		parts = append(parts, "SELECT "+columns+" FROM "+s.telemetry(seg, m.energy, counters, nil, nil, keep...)+
			" WHERE "+known+" GROUP BY site, node, device, run, epoch, held, slot")
	}
	// One window function for all four: the row before, or zeros.
	rows := "(SELECT site, node, device, slot, first, last, n_lo, n_hi, e_lo, e_hi, lagInFrame((slot, last, n_hi, e_hi), 1) " +
		"OVER (PARTITION BY site, device, run, epoch, held ORDER BY last, slot ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS p FROM " + s.kept(parts) + ")"
	near := "(slot - p.1 <= " + s.args.whole(step) + " OR (first = last AND last - p.2 <= 120000000))"
	if m.fold == foldCount {
		near = "1" // what came in a gap came
	}
	follows := "p.1 != 0 AND n_hi >= p.3 AND e_hi >= p.4 AND " + near
	return "(SELECT site, node, device, slot, sum(n_hi - if(" + follows + " AS follows, p.3, n_lo)) AS d, sum(e_hi - if(follows, p.4, e_lo)) AS e FROM " + rows +
		" WHERE slot >= " + s.args.whole(from) + " AND n_hi >= n_lo GROUP BY site, node, device, slot)"
}

// kept is a FROM item of all parts, but for devices that do not come among the first.
func (s statement) kept(parts []string) string {
	rows := "(" + strings.Join(parts, " UNION ALL ") + ")"
	if s.top == "" {
		return rows
	}
	return "(SELECT * FROM " + rows + " WHERE " + s.top + ")"
}

// devicePoints are the points of what devices read.
func (s statement) devicePoints(m reading, grid Grid, at int, keep []string) points {
	from, to := s.reads(grid, at)
	step := int64(grid.Step / time.Second)
	slot := func(seconds string) string {
		slot := grid.slot(s.args, seconds)
		if from > grid.from() { // what lies before is read for the first difference only
			first := s.args.whole(from)
			slot = "if(" + seconds + " < " + first + ", " + s.args.whole(from-step) + ", greatest(" + slot + ", " + first + "))"
		}
		return slot
	}
	inner, value := s.byDevice(m, slot, step, at, from, to, keep)
	place, exprs := s.places()
	cols, names := groups(exprs)
	base := "(SELECT " + cols + ", slot, " + value.of + " AS v, " + value.weight + " AS w FROM " + inner + " AS read" + place + " GROUP BY " + names + ", slot)"
	p := points{names: names, item: base}
	p.total = "(SELECT " + names + ", " + value.over + " AS v FROM " + base + " GROUP BY " + names + ")"
	if m.fold == foldRatio { // the ratio of the sums over the range, not the mean of ratios
		p.total = "(SELECT " + cols + ", " + value.of + " AS v FROM " + inner + " AS read" + place + " GROUP BY " + names + ")"
	}
	return p
}

// valueOf is how rows of devices become a point (of), how much time stands behind it (weight), and how points become one figure (over).
type valueOf struct{ of, weight, over string }

// byDevice is a FROM item with a row for each device and slot: site, node, device, slot, and d and e, or v.
func (s statement) byDevice(m reading, slot func(string) string, step int64, at int, from, to int64, keep []string) (string, valueOf) {
	const mean = "sumIf(v * w, isNotNull(v)) / nullIf(sumIf(w, isNotNull(v)), 0)"
	if !m.ofGauge() && m.fold != foldSeen {
		rows := s.grown(m, slot, step, at, from, to, keep)
		switch m.fold {
		case foldRate:
			return rows, valueOf{"sumIf(" + m.scale + " * (d / e), e > 0) / (countIf(e > 0) > 0 ? 1 : NULL)", "toFloat64(max(e))", mean}
		case foldCount:
			return rows, valueOf{m.scale + " * toFloat64(sum(d))", "1.0", "sum(v)"}
		default:
			return rows, valueOf{"if(sum(e) > 0, " + m.scale + " * toFloat64(sum(d)) / toFloat64(sum(e)), NULL)", "toFloat64(sum(e))", mean}
		}
	}
	name, gauges, codes := m.gauge, []string{m.gauge}, []string(nil)
	if m.code != "" {
		name, gauges, codes = m.code, nil, []string{m.code}
	}
	read := "max(" + name + "_hi)"
	switch m.fold {
	case foldMin:
		read = "min(" + name + "_lo)"
	case foldSeen:
		name, gauges, codes = "", nil, nil
		read = "toNullable(1)"
	}
	var parts []string
	for _, seg := range s.state.segments("", at, from, to) {
		condition := ""
		if name != "" {
			condition = " WHERE isNotNull(" + name + "_hi)"
		}
		parts = append(parts, "SELECT site, node, device, "+slot("at")+" AS slot, "+read+" AS v FROM "+s.telemetry(seg, false, nil, gauges, codes, keep...)+condition+" GROUP BY site, node, device, slot")
	}
	merge := map[fold]string{foldMin: "min"}[m.fold]
	if merge == "" {
		merge = "max"
	}
	rows := "(SELECT site, node, device, slot, " + merge + "(v) AS v FROM " + s.kept(parts) + " GROUP BY site, node, device, slot)"
	if m.fold == foldSeen {
		return rows, valueOf{"toFloat64(sum(v))", "1.0", "max(v)"}
	}
	outer := map[fold]string{foldMax: "max", foldMin: "min", foldSum: "sum"}[m.fold]
	over := map[fold]string{foldMax: "max(v)", foldMin: "min(v)", foldSum: "avg(v)"}[m.fold]
	return rows, valueOf{m.scale + " * toFloat64(" + outer + "(v))", "1.0", over}
}

// places joins what a row of a device does not say itself, and gives the expressions to group by.
func (s statement) places() (join string, exprs []string) {
	for _, d := range s.grouping() {
		switch d {
		case Rack:
			join += s.withRacks()
			exprs = append(exprs, "rack")
		case Model:
			join += " LEFT ANY JOIN (SELECT device AS m_device, model AS m_model FROM " + s.models() + ") AS kinds ON m_device = device"
			exprs = append(exprs, "m_model")
		case DeviceID:
			exprs = append(exprs, "device")
		default:
			exprs = append(exprs, string(d))
		}
	}
	return join, exprs
}

// largest is the condition that keeps the devices that come first, found on a level so coarse that it costs little.
func (s statement) largest(m reading) string {
	at := 1
	for at < len(levels)-1 && s.span.To.Sub(s.span.From) >= time.Duration(12*levels[at+1].width)*time.Second {
		at++
	}
	from, to := s.span.From.Unix(), ceil(s.span.To)
	var parts []string
	filters := s.deviceFilters()
	segs := s.state.segments("", at, floor(from, levels[at].width), to)
	if len(segs) > 1 && segs[0].to-segs[0].from >= (to-from)/2 {
		segs = segs[:1] // who comes first in most of the range comes first
	}
	for _, seg := range segs {
		if m.ofGauge() {
			name, gauges, codes := m.gauge, []string{m.gauge}, []string(nil)
			if m.code != "" {
				name, gauges, codes = m.code, nil, []string{m.code}
			}
			parts = append(parts, "SELECT device, toFloat64(max("+name+"_hi)) AS d, toNullable(1.) AS e FROM "+s.telemetry(seg, false, nil, gauges, codes, filters...)+" GROUP BY device")
			continue
		}
		n := m.num[0]
		e := "toFloat64(max(lt) - min(ft))"
		counters := []string{n}
		if m.den != nil {
			counters = append(counters, m.den[0])
			e = "toFloat64(max(" + m.den[0] + "_hi) - min(" + m.den[0] + "_lo))"
		}
		if m.fold == foldCount {
			e = "toNullable(1.)"
		}
		parts = append(parts, "SELECT device, toFloat64(max("+n+"_hi) - min("+n+"_lo)) AS d, "+e+" AS e FROM "+s.telemetry(seg, m.energy, counters, nil, nil, filters...)+
			" GROUP BY device, run, epoch, held")
	}
	order := "sum(d) / nullIf(sum(e), 0)"
	if m.ofGauge() {
		order = "max(d)"
	}
	return "device IN (SELECT device FROM (" + strings.Join(parts, " UNION ALL ") + ") GROUP BY device ORDER BY ifNull(" + order + ", -1) DESC, device LIMIT " +
		s.args.whole(int64(s.limit()+1)) + ")"
}
