package query

import (
	"strconv"
	"strings"
	"time"
)

// summed is how a fleet's metric comes from the sums of nodes: a and b are summed over nodes in each bucket, then put together over the
// buckets of a slot.
type summed struct {
	a, b string
	// scale is what a, or a over b, is multiplied by.
	scale string
	// mean says that a is an amount at a time, so that buckets have a mean; otherwise they have a sum, or the greatest.
	mean, most bool
}

var sumsOf = map[string]summed{
	"power":             {a: "power_mw", scale: "0.001", mean: true},
	"power_limit":       {a: "power_limit_w", scale: "1", mean: true},
	"devices":           {a: "devices", scale: "1", mean: true},
	"memory_used":       {a: "fb_used_mib", scale: "1048576", mean: true},
	"nvlink":            {a: "if(span_us > 0, nvlink_bytes / span_us * devices, NULL)", scale: "1000000", mean: true},
	"pcie":              {a: "if(span_us > 0, pcie_bytes / span_us * devices, NULL)", scale: "1000000", mean: true},
	"sm_active":         {a: "sm_active_us", b: "span_us", scale: "1"},
	"tensor_active":     {a: "tensor_active_us", b: "span_us", scale: "1"},
	"dram_active":       {a: "dram_active_us", b: "span_us", scale: "1"},
	"throttled_power":   {a: "power_violation_ns", b: "span_us", scale: "0.001"},
	"throttled_thermal": {a: "thermal_violation_ns", b: "span_us", scale: "0.001"},
	"coverage":          {a: "ticks_read", b: "ticks_expected", scale: "1"},
	"ecc_sbe":           {a: "ecc_sbe", scale: "1"},
	"ecc_dbe":           {a: "ecc_dbe", scale: "1"},
	"gpu_temp":          {a: "gpu_temp_c_max", scale: "1", most: true},
	"memory_temp":       {a: "memory_temp_c_max", scale: "1", most: true},
}

// fleet answers from the sums of nodes, and what is later than they reach from samples. A tenant's fleet is what it held.
func (b *builder) fleet() error {
	if !b.scope.All {
		return b.ofDevices(readingsOf[b.q.Metric])
	}
	s := b.begin()
	m := sumsOf[b.q.Metric]
	span := b.drawn()
	if b.form != FormSeries {
		span.MaxPoints = fewPoints
	}
	at, step := b.opt.Kept.reach(span.step(10*time.Second), b.span.From, b.now, 1)
	for at < len(levels)-2 && b.sumRows(at) > mostSums {
		at++
		step = max(step, time.Duration(levels[at].width)*time.Second)
	}
	grid := span.grid(span.step(step))
	join, exprs := s.nodePlaces()
	cols, names := groups(exprs)
	inner, value := "sum", ""
	switch {
	case m.most:
		inner, value = "max", m.scale+" * toFloat64(max(a))"
	case m.mean:
		value = m.scale + " * sumIf(toFloat64(a) * w, isNotNull(a)) / nullIf(toFloat64(sumIf(w, isNotNull(a))), 0)"
	case m.b != "":
		value = "if(sum(b) > 0, " + m.scale + " * toFloat64(sum(a)) / toFloat64(sum(b)), NULL)"
	default:
		value = m.scale + " * toFloat64(sum(a))"
	}
	var parts []string
	var notices []string
	for _, seg := range b.sums(grid, at) {
		columns, item, w := "toNullable(toFloat64("+inner+"(a))) AS a, toNullable(toFloat64(sum(b))) AS b", "", strconv.FormatInt(max(levels[seg.level].width, 10), 10)
		if seg.level > 0 {
			list := "site, node, toInt64(toUnixTimestamp(bucket)) AS at, model, toFloat64(" + m.a + ") AS a, toFloat64(" + orOne(m.b) + ") AS b"
			item = s.nodeSums(seg, list, s.nodeFilters(true)...)
		} else if late := s.tooMany(seg); late != "" {
			notices = append(notices, late)
			continue
		} else {
			item = s.recent(m, seg)
		}
		part := "SELECT " + cols + ", at, " + w + " AS w, " + columns + " FROM " + item + " AS sums" + join + " GROUP BY " + names + ", at"
		if !m.mean { // what is added up, or the greatest, is so in any order
			part = "SELECT " + cols + ", at, " + w + " AS w, toNullable(toFloat64(a)) AS a, toNullable(toFloat64(b)) AS b FROM " + item + " AS sums" + join
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 { // how far the sums are is not known: what there is of them is better than all samples
		list := "site, node, toInt64(toUnixTimestamp(bucket)) AS at, model, toFloat64(" + m.a + ") AS a, toFloat64(" + orOne(m.b) + ") AS b"
		from, to := b.reads(grid, at)
		parts = append(parts, "SELECT "+cols+", at, "+strconv.FormatInt(levels[at].width, 10)+" AS w, toNullable(toFloat64("+inner+"(a))) AS a, toNullable(toFloat64(sum(b))) AS b FROM "+
			s.nodeSums(segment{at, from, to}, list, s.nodeFilters(true)...)+" AS sums"+join+" GROUP BY "+names+", at")
	}
	rows := "(" + strings.Join(parts, " UNION ALL ") + ")"
	p := points{names: names}
	p.item = "(SELECT " + names + ", " + grid.slot(s.args, "at") + " AS slot, " + value + " AS v FROM " + rows + " GROUP BY " + names + ", slot)"
	p.total = "(SELECT " + names + ", " + value + " AS v FROM " + rows + " GROUP BY " + names + ")"
	s.rank(p, Result{Source: "node_" + levels[at].name, Notices: notices}, grid)
	return nil
}

func orOne(expr string) string {
	if expr == "" {
		return "toInt64(1)"
	}
	return expr
}

// fewPoints is how finely a figure over a range is put together, but for its ends.
const fewPoints = 24

// sums are the stretches that a fleet's question reads. A figure over a range begins with it, to the bucket of the next finer level.
func (b *builder) sums(grid Grid, at int) []segment {
	from, to := b.reads(grid, at)
	if b.form == FormSeries || at < 2 {
		return b.state.segments("node_", at, from, to)
	}
	from = max(grid.from(), floor(b.span.From.Unix(), levels[at-1].width))
	whole := min(floor(from+levels[at].width-1, levels[at].width), to)
	return append(b.state.segments("node_", at-1, from, whole), b.state.segments("node_", at, whole, to)...)
}

// mostSums is how many rows of sums a panel of a fleet reads at most, where a coarser level has fewer: a day of minutes of 2,250 nodes is 3.2 million.
const mostSums = 3_500_000

// sumRows is how many rows of a level a question reads, as far as its filters say; a node has 8 GPUs as a rule.
func (b *builder) sumRows(at int) int64 {
	nodes := int64(b.state.Devices) / 8
	if b.filtered(Node) {
		nodes = int64(len(b.values(Node)))
	} else if b.filtered(Rack) {
		nodes = min(nodes, 72*int64(len(b.values(Rack))))
	}
	return nodes * int64(b.span.To.Sub(b.span.From)/time.Second) / levels[at].width
}

// mostRecent is how many rows of samples a panel of a fleet reads at most for what no sum holds yet.
const mostRecent = 100_000

// tooMany says that the samples of a stretch are more than a panel can add up in time: those of a large fleet wait for their sums.
func (s statement) tooMany(seg segment) string {
	devices := int64(s.state.Devices)
	if n := len(s.values(Node)); n > 0 { // a node has 8 GPUs as a rule, and 72 have been built
		devices = min(devices, int64(n)*72)
	}
	if devices*(seg.to-seg.from) <= mostRecent {
		return ""
	}
	return "the newest " + (time.Duration(seg.to-seg.from) * time.Second).String() + " are not drawn: they are summed by node within a minute"
}

// recent are rows as of sums, from samples: what no sum holds yet.
func (s statement) recent(m summed, seg segment) string {
	r := readingsOf[s.q.Metric]
	slot := func(seconds string) string { return "intDiv(" + seconds + ", 10) * 10" }
	keep := append(s.nodeFilters(false), "device NOT IN "+s.noGPUs())
	rows, value := s.byDevice(r, slot, 10, 0, seg.from, seg.to, keep)
	a, b := value.of, "toInt64(1)"
	if m.b != "" {
		a, b = "sum(d)", "sum(e)"
	} else if m.scale != "1" { // the value has its scale already
		a = "(" + value.of + ") / " + m.scale
	}
	return "(SELECT site, node, slot AS at, m_model AS model, toFloat64(" + a + ") AS a, toFloat64(" + b + ") AS b FROM " + rows +
		" AS read LEFT ANY JOIN (SELECT device AS m_device, model AS m_model FROM " + s.models() + ") AS kinds ON m_device = device GROUP BY site, node, at, model)"
}

// nodeFilters are the conditions of a question's filters on rows of nodes.
func (s statement) nodeFilters(sums bool) []string {
	if !sums {
		return s.deviceFilters()
	}
	return []string{s.key(Site, "site"), s.key(Node, "node"), s.key(Model, "model"), s.ofRacks()}
}

// nodePlaces joins the racks of nodes, and gives the expressions to group by.
func (s statement) nodePlaces() (join string, exprs []string) {
	for _, d := range s.grouping() {
		if d == Rack {
			join = s.withRacks()
			exprs = append(exprs, "rack")
			continue
		}
		exprs = append(exprs, string(d))
	}
	return join, exprs
}
