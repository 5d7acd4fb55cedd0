package closing

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/aggregator/adjusting"
	"github.com/wattledger/wattledger/aggregator/attribution"
	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Step is how one figure of an entry came about, in lines that a person can check with a pocket calculator: every quotient is
// written as ⌊a × b / c⌋ = v.
type Step struct {
	Title string   `json:"title"`
	Lines []string `json:"lines"`
	// Field is the field of the entry that the step ends with, Value its value; empty where it only prepares one.
	Field string `json:"field,omitempty"`
	Value int64  `json:"value"`
}

// ErrNoLine means that the hour, as it is known now, has no such line: all of it has been given to others since.
var ErrNoLine = errors.New("the hour has no such line any more")

// Explain closes the hour anew and tells how the line came about that is the same as e in all but its figures. It gives the line as
// it stands now, which is e with its adjustments.
func Explain(h Hour, e record.Entry) (record.Entry, []Step, error) {
	s, err := newSite(h)
	if err != nil {
		return e, nil, err
	}
	s.explain = true
	if err := s.closeNodes(); err != nil {
		return e, nil, err
	}
	x := explainer{site: s, want: e}
	if err := x.walk(); err != nil {
		return e, nil, err
	}
	for _, now := range s.finish().Entries {
		if sameLine(now, e) {
			return now, x.steps, nil
		}
	}
	return e, nil, ErrNoLine
}

// sameLine says that two entries are of the same line of an hour, whatever they amount to.
func sameLine(a, b record.Entry) bool { return adjusting.LineOf(a) == adjusting.LineOf(b) }

// explainer takes the site through its steps and looks at one line before and after each.
type explainer struct {
	site  *site
	want  record.Entry
	steps []Step
}

func (x *explainer) add(title, field string, value int64, lines ...string) {
	x.steps = append(x.steps, Step{Title: title, Lines: lines, Field: field, Value: value})
}

// place is where the line stands: on a book, as a holding or the rest of it, or loose on a node.
type place struct {
	node  *nodeBook
	book  *book
	held  *holding
	entry *record.Entry
}

func (x *explainer) find() (place, bool) {
	for _, n := range x.site.nodes {
		for _, b := range n.books {
			for i := range b.held {
				if sameLine(b.held[i].entry, x.want) {
					return place{n, b, &b.held[i], &b.held[i].entry}, true
				}
			}
			if sameLine(b.rest, x.want) {
				return place{n, b, nil, &b.rest}, true
			}
		}
		for i := range n.loose {
			if sameLine(n.loose[i], x.want) {
				return place{node: n, entry: &n.loose[i]}, true
			}
		}
	}
	return place{}, false
}

func (x *explainer) walk() error {
	if p, ok := x.find(); ok {
		if err := x.own(p); err != nil {
			return err
		}
		x.rest(p)
	}
	for _, step := range []struct {
		title, field string
		do           func() error
		value        func(*record.Entry) int64
		source       func(*record.Entry) string
	}{
		{"Shared IT energy", "it_shared_mj", x.site.addShared, func(e *record.Entry) int64 { return int64(e.ITShared) }, nil},
		{"Facility energy", "facility_mj", x.site.addFacility, func(e *record.Entry) int64 { return int64(e.Facility) }, nil},
	} {
		if err := x.shared(step.title, step.field, step.do, step.value); err != nil {
			return err
		}
	}
	if err := x.flows(); err != nil {
		return err
	}
	if err := x.carbon(); err != nil {
		return err
	}
	if err := x.site.addUncertainty(); err != nil {
		return err
	}
	if p, ok := x.find(); ok {
		x.add("Uncertainty", "uncertainty_mj", int64(p.entry.Uncertainty),
			"the sum over components of energy × what its sensor or model may be off (schemas/factor/sensors.csv), each rounded up,",
			fmt.Sprintf("and the larger bound of its edges, %d mJ", max(p.entry.BoundLow, p.entry.BoundHigh)))
	}
	return nil
}

// own tells of the energy of the device's own counters.
func (x *explainer) own(p place) error {
	c := x.closerOf(p.node.id)
	switch {
	case c == nil || p.book == nil:
		if p.entry.CPU != 0 {
			return x.counter("CPU energy", "cpu_mj", int64(p.entry.CPU), c.meters[p.entry.Device], []attribution.Range{{Lo: 0, Hi: 1}}, 1, p.entry.From, p.entry.To)
		}
		return nil
	case p.held == nil:
		x.leftover(p.book)
		return nil
	}
	m := c.meters[p.book.dev.UUID]
	ranges := rangesOf(p.held.corners)
	gpu := int64(p.entry.GPU)
	if strings.HasPrefix(p.entry.Split, "mig") {
		x.add("GPU energy: an instance in MIG mode", "gpu_mj", gpu, x.instance(c, p)...)
	} else if err := x.counter("GPU energy", "gpu_mj", gpu, m, ranges, int64(unit.WholeDevice), p.entry.From, p.entry.To); err != nil {
		return err
	}
	return x.cpu(c, p, ranges)
}

// cpu tells of what the places of a GPU got of the CPU of its module, which moves with their thousandths.
func (x *explainer) cpu(c *nodeCloser, p place, places []attribution.Range) error {
	mod, ok := c.modules[p.book.dev.UUID]
	if !ok {
		return nil
	}
	layouts := []attribution.Layout{attribution.Thousandths(c.hour.Start, c.hour.End())}
	if part := c.partitions[p.book.dev.UUID]; part != nil {
		layouts = part.Layouts
	}
	title := fmt.Sprintf("CPU energy: the module's CPU has 1000 slots for each of its %d GPUs", mod.gpus)
	var lines []string
	err := attribution.Stretches(layouts, places, p.entry.From, p.entry.To, func(of []attribution.Range, a, b unit.Micros) error {
		for i := range of {
			of[i].Lo, of[i].Hi = of[i].Lo+mod.place*1000, of[i].Hi+mod.place*1000
		}
		if a > p.entry.From || b < p.entry.To {
			lines = append(lines, fmt.Sprintf("from %s to %s, %d thousandths of the GPU:", stampMicros(a), stampMicros(b), of[0].Hi-of[0].Lo))
		}
		more, err := counterLines(c.meters[mod.cpu.UUID], of, mod.gpus*1000, a, b)
		lines = append(lines, more...)
		return err
	})
	x.add(title, "cpu_mj", int64(p.entry.CPU), lines...)
	return err
}

// closerOf is what closed a node; nil for the site's own account.
func (x *explainer) closerOf(id string) *nodeCloser {
	for _, c := range x.site.closers {
		if c.id == id {
			return c
		}
	}
	return nil
}

// leftover tells of what nobody held.
func (x *explainer) leftover(b *book) {
	var gpu, cpu unit.Millijoules
	lines := []string{"all that the counters of the device and its module took in the hour, less what was held:"}
	for _, h := range b.held {
		gpu, cpu = gpu+h.entry.GPU, cpu+h.entry.CPU
		lines = append(lines, fmt.Sprintf("  %s of %s: GPU %d mJ, CPU %d mJ", h.entry.Allocation, h.entry.Tenant, h.entry.GPU, h.entry.CPU))
	}
	x.add("GPU energy that nobody held", "gpu_mj", int64(b.rest.GPU), append(lines, fmt.Sprintf("%d − %d = %d mJ", gpu+b.rest.GPU, gpu, b.rest.GPU))...)
	if cpu+b.rest.CPU != 0 {
		x.add("CPU energy that nobody held", "cpu_mj", int64(b.rest.CPU), fmt.Sprintf("%d − %d = %d mJ", cpu+b.rest.CPU, cpu, b.rest.CPU))
	}
}

// rangesOf are the places that corners belong to.
func rangesOf(corners []corner) []attribution.Range {
	var out []attribution.Range
	for i := 0; i < len(corners); {
		r := attribution.Range{Hi: corners[i].place}
		i += 2
		if i < len(corners) && corners[i].sign < 0 {
			r.Lo, i = corners[i].place, i+2
		}
		out = append(out, r)
	}
	return out
}

// counter tells of the difference of virtual counters, epoch by epoch.
func (x *explainer) counter(title, field string, value int64, m *attribution.Meter, ranges []attribution.Range, slots int64, a, b unit.Micros) error {
	lines, err := counterLines(m, ranges, slots, a, b)
	x.add(title, field, value, lines...)
	return err
}

func counterLines(m *attribution.Meter, ranges []attribution.Range, slots int64, a, b unit.Micros) ([]string, error) {
	crossings, err := m.Crossings(a, b)
	if err != nil {
		return nil, err
	}
	var lines []string
	if len(crossings) == 0 {
		lines = append(lines, "no counter moved while it was held")
	}
	var sum int64
	for _, c := range crossings {
		what := fmt.Sprintf("epoch from %s", stamp(c.From.Epoch))
		if c.Estimated {
			what = "seen by no counter, estimated from the integral of power"
		}
		lines = append(lines, what, "  "+cutLine(c.From), "  "+cutLine(c.To))
		for _, r := range ranges {
			if r.Lo == 0 && r.Hi == slots {
				lines = append(lines, fmt.Sprintf("  whole: %d − %d = %d mJ", c.To.C, c.From.C, c.To.C-c.From.C))
				sum += int64(c.To.C - c.From.C)
				continue
			}
			lines = append(lines, fmt.Sprintf("  slots %d to %d of %d, virtual counters ⌊slot × C / %d⌋:", r.Lo, r.Hi, slots, slots))
			for _, bound := range []struct {
				sign int64
				slot int64
			}{{1, r.Hi}, {-1, r.Lo}} {
				if bound.slot == 0 {
					continue
				}
				upper, upperLine, err := quotient(bound.slot, int64(c.To.C), slots)
				if err != nil {
					return nil, err
				}
				lower, lowerLine, err := quotient(bound.slot, int64(c.From.C), slots)
				if err != nil {
					return nil, err
				}
				lines = append(lines, "    "+upperLine, "    "+lowerLine, fmt.Sprintf("    below slot %d: %d mJ", bound.slot, upper-lower))
				sum += bound.sign * (upper - lower)
			}
		}
	}
	if len(crossings) > 1 || len(ranges) > 1 || len(ranges) == 1 && ranges[0].Lo > 0 {
		lines = append(lines, fmt.Sprintf("together %d mJ", sum))
	}
	return lines, nil
}

// cutLine tells of the counter's value at an edge.
func cutLine(c record.Cut) string {
	at := "C at " + stampMicros(c.T)
	switch {
	case c.Open:
		return fmt.Sprintf("%s: no reading after it, held at the last, %d mJ at %s", at, c.C, stampMicros(c.T0))
	case c.T == c.T0 || c.T1 == c.T0 || c.C1 == c.C0:
		return fmt.Sprintf("%s: %d mJ, as read at %s", at, c.C, stampMicros(c.T0))
	}
	v, line, err := quotient(int64(c.C1-c.C0), int64(c.T-c.T0), int64(c.T1-c.T0))
	if err != nil || c.C0+unit.Millijoules(v) != c.C {
		return fmt.Sprintf("%s: %d mJ, as it was sealed with the hour before", at, c.C)
	}
	return fmt.Sprintf("%s: %s, %d + %d = %d mJ, between %d mJ at %s and %d mJ at %s", at, line, c.C0, v, c.C,
		c.C0, stampMicros(c.T0), c.C1, stampMicros(c.T1))
}

// quotient is ⌊a·b/c⌋ and the line that says so.
func quotient(a, b, c int64) (int64, string, error) {
	v, err := unit.FloorMulDiv(a, b, c)
	return v, fmt.Sprintf("⌊%d × %d / %d⌋ = %d", a, b, c, v), err
}

// instance tells of a MIG instance: between which readings its virtual counter rose.
func (x *explainer) instance(c *nodeCloser, p place) []string {
	lines := []string{
		p.entry.Split + ": between two readings of the GPU, min(ΔE, P_idle·Δt) by compute slices over all 7, the rest by SM activity × slices;",
		"what the instance had come to since the hour's start, at each reading that touches the time held:",
	}
	part, k := c.partitions[p.book.dev.UUID], c.partitions[p.book.dev.UUID].Place(p.entry.Device)
	if len(part.Layouts) > 1 {
		for i := range part.Layouts {
			if l := &part.Layouts[i]; l.From < p.entry.To && l.To > p.entry.From {
				lines = append(lines, fmt.Sprintf("  from %s to %s the instance is %d thousandths of the GPU", stampMicros(l.From), stampMicros(l.To), l.Bound(int64(k)+1)-l.Bound(int64(k))))
			}
		}
	}
	for _, in := range part.Intervals(p.entry.From, p.entry.To) {
		lines = append(lines, fmt.Sprintf("  %s  %d mJ", stampMicros(in.T), in.Sums[k]))
	}
	return append(lines, fmt.Sprintf("at its edges, on the line between them, the difference is %d mJ", p.entry.GPU))
}

// rest tells of the node's rest, which was spread when the node closed.
func (x *explainer) rest(p place) {
	e := p.entry
	if e.RestSource == "" && e.NodeRest == 0 {
		return
	}
	var node, it unit.Millijoules
	p.node.each(func(o *record.Entry) { node, it = node+o.NodeRest, it+o.GPU+o.CPU })
	lines := []string{fmt.Sprintf("node %s, %s × the time it was there: %d mJ", e.Node, e.RestSource, node)}
	if strings.HasPrefix(e.RestSource, "meter ") {
		lines[0] = fmt.Sprintf("node %s, %s: %d mJ, less %d mJ of its GPUs and CPUs: %d mJ", e.Node, e.RestSource, node+it, it, node)
		if node == 0 {
			lines[0] = fmt.Sprintf("node %s, %s: it reads no more than the %d mJ of its GPUs and CPUs", e.Node, e.RestSource, it)
		}
	}
	if p.book != nil {
		var device unit.Millijoules
		p.book.each(func(o *record.Entry) { device += o.NodeRest })
		lines = append(lines, fmt.Sprintf("by the time each GPU was there (largest remainder): %d mJ on this one", device))
		lines = append(lines, x.corners(p, int64(device), func(c corner) (int64, int64) {
			return c.spent, int64(p.book.to-p.book.from) * int64(unit.WholeDevice)
		}, "slots × µs held, of the device's")...)
	}
	x.add("Node rest", "node_rest_mj", int64(e.NodeRest), lines...)
}

// corners tells of a holder's part of an amount at its corners; of what nobody held, that it is what is left.
func (x *explainer) corners(p place, amount int64, at func(corner) (int64, int64), basis string) []string {
	if p.held == nil {
		return []string{"what the holders of the device do not get of it"}
	}
	lines := []string{"its part, by " + basis + ":"}
	for _, c := range p.held.corners {
		n, of := at(c)
		if of <= 0 {
			return []string{"there is nothing to split it by: it stays with what nobody held"}
		}
		_, line, err := quotient(amount, n, of)
		if err != nil {
			line = err.Error()
		}
		sign := "+"
		if c.sign < 0 {
			sign = "−"
		}
		lines = append(lines, fmt.Sprintf("  %s %s  (below %s up to %s)", sign, line, x.below(p, c.place), stampMicros(c.t)))
	}
	return lines
}

// below names a place of the device.
func (x *explainer) below(p place, at int64) string {
	if strings.HasPrefix(p.entry.Split, "mig") {
		return fmt.Sprintf("the end of instance %d, in order of their ids,", at)
	}
	return fmt.Sprintf("slot %d", at)
}

// before is what a step starts from.
type before struct {
	corners []corner
	device  unit.Millijoules
	node    unit.Millijoules
	site    unit.Millijoules
}

func (x *explainer) before() before {
	b := before{site: x.site.it()}
	if p, ok := x.find(); ok {
		b.node = p.node.it()
		if p.book != nil {
			b.device = p.book.whole
		}
		if p.held != nil {
			b.corners = slices.Clone(p.held.corners)
		}
	}
	return b
}

// shared takes a step that spreads an amount of the site, and tells what became of it on the way to the line.
func (x *explainer) shared(title, field string, do func() error, value func(*record.Entry) int64) error {
	was := x.before()
	if err := do(); err != nil {
		return err
	}
	p, ok := x.find()
	if !ok {
		return nil
	}
	x.marked(p)
	var site, node, device int64
	x.site.each(func(e *record.Entry) { site += value(e) })
	p.node.each(func(e *record.Entry) { node += value(e) })
	if site == 0 {
		return nil
	}
	lines := []string{
		fmt.Sprintf("%d mJ at site %s (%s)", site, x.site.hour.Site.ID, x.source(field)),
		fmt.Sprintf("of which %d on node %s, which had %d of the site's %d mJ of IT energy", node, p.entry.Node, was.node, was.site),
	}
	if p.book != nil {
		p.book.each(func(e *record.Entry) { device += value(e) })
		lines = append(lines, fmt.Sprintf("of which %d on this device, which had %d of the node's", device, was.device))
		held := p
		if p.held != nil {
			held.held = &holding{corners: was.corners}
		}
		lines = append(lines, x.corners(held, device, func(c corner) (int64, int64) { return int64(c.x), int64(was.device) }, "the device's energy")...)
	}
	x.add(title, field, value(p.entry), lines...)
	return nil
}

// marked writes the sources known so far into a copy of the line, from which source reads.
func (x *explainer) marked(p place) record.Entry {
	e := *p.entry
	for _, mark := range x.site.marks {
		mark(&e)
	}
	return e
}

// source names where a shared amount came from.
func (x *explainer) source(field string) string {
	p, ok := x.find()
	if !ok {
		return ""
	}
	e := x.marked(p)
	switch field {
	case "it_shared_mj":
		return e.SharedSource
	case "facility_mj":
		return e.FacilitySource
	case "water_ul":
		return e.WaterSource
	}
	return e.HeatSource
}

// flows tells of water and heat.
func (x *explainer) flows() error {
	was := x.before()
	if err := x.site.addWaterAndHeat(); err != nil {
		return err
	}
	p, ok := x.find()
	if !ok {
		return nil
	}
	for _, f := range []struct {
		title, field, unit string
		value              func(*record.Entry) int64
	}{
		{"Water", "water_ul", "µl", func(e *record.Entry) int64 { return int64(e.Water) }},
		{"Heat handed on", "heat_reused_mj", "mJ", func(e *record.Entry) int64 { return int64(e.HeatReused) }},
	} {
		source := x.source(f.field)
		if source == "" {
			continue
		}
		var site, device int64
		x.site.each(func(e *record.Entry) { site += f.value(e) })
		lines := []string{fmt.Sprintf("%d %s at the site (%s)", site, f.unit, source)}
		if strings.HasPrefix(source, "meter ") && p.book != nil {
			p.book.each(func(e *record.Entry) { device += f.value(e) })
			held := p
			if p.held != nil {
				held.held = &holding{corners: was.corners}
			}
			lines = append(lines, fmt.Sprintf("by IT energy, %d on this device", device))
			lines = append(lines, x.corners(held, device, func(c corner) (int64, int64) { return int64(c.x), int64(was.device) }, "the device's energy")...)
		}
		x.add(f.title, f.field, f.value(p.entry), lines...)
	}
	return nil
}

// carbon tells of the emissions of the line's energy and of its hardware.
func (x *explainer) carbon() error {
	var total unit.Millijoules
	x.site.each(func(e *record.Entry) { total += e.Total() })
	factors := x.site.hour.Factors
	factors.Instruments = x.site.instruments()
	market, err := carbon.MarketFactor(factors, total)
	if err != nil {
		return err
	}
	if err := x.site.addCarbon(); err != nil {
		return err
	}
	p, ok := x.find()
	if !ok {
		return nil
	}
	e := p.entry
	rounded := func(a, b, c, v int64) string {
		return fmt.Sprintf("%d × %d / %d, rounded half to even: %d µg", a, b, c, v)
	}
	x.add("Carbon, location-based", "carbon_ug", int64(e.Carbon), factors.Grid.Ref(),
		rounded(int64(e.Total()), factors.Grid.Value, unit.MillijoulesPerKWh, int64(e.Carbon)))
	lines := []string{fmt.Sprintf("the site took %d mJ in the hour:", total)}
	for _, i := range market.Instruments {
		lines = append(lines, fmt.Sprintf("  %d mJ at %d µg/kWh: %s", i.Energy, i.Edition.Value, i.Edition.Ref()))
	}
	if market.RestFactor.Known() {
		lines = append(lines, fmt.Sprintf("  %d mJ at %d µg/kWh: %s", market.Rest, market.RestFactor.Value, market.RestFactor.Ref()))
	}
	x.add("Carbon, market-based", "carbon_market_ug", int64(e.CarbonMarket), append(lines,
		fmt.Sprintf("their mean, rounded down: %d µg/kWh", market.MicrogramsPerKWh),
		rounded(int64(e.Total()), market.MicrogramsPerKWh, unit.MillijoulesPerKWh, int64(e.CarbonMarket)))...)
	if p.book != nil && e.FactorEmbodied != "" {
		f := factorFor(factors.Embodied, e.Model, p.book.dev.Model)
		x.add("Carbon of the hardware", "carbon_embodied_ug", int64(e.CarbonEmbodied), e.FactorEmbodied,
			fmt.Sprintf("%d µg × %d ms·‰ / (%d ms × 1000), rounded half to even: %d µg", f.Value, e.DeviceTime, f.Life, e.CarbonEmbodied))
	}
	return nil
}

// factorFor is the embodied footprint of a model, or of the GPU that an instance is part of.
func factorFor(table map[string]factor.Chosen, models ...string) factor.Chosen {
	for _, m := range models {
		if f, ok := table[m]; ok && f.Known() {
			return f
		}
	}
	return factor.Chosen{}
}

func stampMicros(t unit.Micros) string { return t.Time().Format("15:04:05.000000") }
