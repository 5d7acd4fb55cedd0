package verify

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Site is what the accounts of a site are made from besides its nodes.
type Site struct {
	record.Site
	// Readings are those of the site's own meters.
	Readings []record.Reading
	// Factors are the editions that count for an hour.
	Factors func(hour unit.Micros) Factors
	// IdleLimit is the activity, in thousandths, under which held time is held_idle.
	IdleLimit unit.Thousandths
}

// DefaultIdleLimit is the limit of held_idle unless the operator sets another.
const DefaultIdleLimit unit.Thousandths = 10

// Factors are the editions that an hour is accounted with.
type Factors struct {
	Grid, Residual      factor.Chosen
	Instruments         []factor.Edition
	PUE, WUE, HeatReuse factor.Chosen
	Embodied            map[string]factor.Chosen
}

// Line is a recomputed entry with what its part of the amounts of its node and its site are made from.
type Line struct {
	record.Entry
	// carrier is the GPU whose energy decides, empty where there is none; place its index on the node, model its model.
	carrier string
	place   uint32
	model   string
	// corners are the GPU's energy below the slots of the line at its edges, of each row of slots; all is the GPU's whole.
	corners [][4]int64 // below lo at from, at to; below hi at from, at to
	all     int64
	// left says that the line takes what the others of the carrier leave.
	left bool
}

// it is energy before facility.
func (l *Line) it() int64 { return int64(l.GPU + l.CPU + l.NodeRest + l.ITShared) }

// part is what the line gets of an amount by its corners.
func (x *exact) part(amount int64, l *Line) int64 {
	if l.all <= 0 {
		return 0
	}
	var sum int64
	for _, c := range l.corners {
		sum += x.floor(amount, c[3], l.all) - x.floor(amount, c[2], l.all) - x.floor(amount, c[1], l.all) + x.floor(amount, c[0], l.all)
	}
	return sum
}

// siteHour is an hour of a site: its lines in the ledger's order.
type siteHour struct {
	x     *exact
	site  Site
	start unit.Micros
	lines []*Line
}

// RecomputeSite adds to the lines of all nodes of a site what they share, and what follows from energy: carbon, water, heat. It
// returns the entries, and a line of quality for each hour in which a meter of the site counted.
func RecomputeSite(site Site, lines []Line) ([]record.Entry, []record.DeviceHour, error) {
	byHour := map[unit.Micros][]*Line{}
	for i := range lines {
		h := lines[i].hourStart()
		byHour[h] = append(byHour[h], &lines[i])
	}
	hours := make([]unit.Micros, 0, len(byHour))
	for h := range byHour {
		hours = append(hours, h)
	}
	slices.Sort(hours)
	var out []record.Entry
	var quality []record.DeviceHour
	for _, start := range hours {
		h := siteHour{x: &exact{}, site: site, start: start, lines: byHour[start]}
		h.sort()
		if q := h.close(); q != nil {
			quality = append(quality, *q)
		}
		if h.x.err != nil {
			return nil, nil, fmt.Errorf("site %s, hour %s: %w", site.ID, stamp(start), h.x.err)
		}
		for _, l := range h.lines {
			out = append(out, l.Entry)
		}
	}
	return out, quality, nil
}

func (l *Line) hourStart() unit.Micros { return l.From.FloorHour() }

func (h *siteHour) sort() {
	slices.SortFunc(h.lines, func(a, b *Line) int { return record.CompareEntries(a.Entry, b.Entry) })
}

func (h *siteHour) close() *record.DeviceHour {
	f := h.site.Factors(h.start)
	from, to := int64(h.start), int64(h.start+unit.Hour)
	if m := h.x.metered(h.site.Readings, quantityShared, 1, from, to); m.usable {
		h.spread(m.amount, func(l *Line, v int64) {
			l.ITShared += unit.Millijoules(v)
			l.Measured += unit.Millijoules(v)
		}, true)
	}
	q := h.facility(f, from, to)
	h.waterAndHeat(f, from, to)
	h.emissions(f)
	return q
}

// facility is what the site takes beyond its IT.
func (h *siteHour) facility(f Factors, from, to int64) *record.DeviceHour {
	if m := h.x.metered(h.site.Readings, quantitySite, 1, from, to); m.usable {
		var it int64
		for _, l := range h.lines {
			it += l.it()
		}
		h.spread(max(0, m.amount-it), func(l *Line, v int64) {
			l.Facility += unit.Millijoules(v)
			l.Measured += unit.Millijoules(v)
		}, false)
		return &record.DeviceHour{
			Site: h.site.ID, Hour: stamp(h.start), Kind: "site", Counter: unit.Millijoules(m.amount),
			Excess: unit.Millijoules(max(0, it-m.amount)),
		}
	}
	pue := h.site.PUEThousandths
	if f.PUE.Known() {
		pue = f.PUE.Value
	}
	for _, node := range h.nodes() {
		var it int64
		for _, l := range node.lines {
			it += l.it()
		}
		h.within(node, h.x.floor(max(it, 0), pue-1000, 1000), func(l *Line, v int64) {
			l.Facility += unit.Millijoules(v)
			l.Modelled += unit.Millijoules(v)
		}, false)
	}
	return nil
}

// shareholder is a node of the site or a device of a node, with its lines.
type shareholder struct {
	id    string
	place uint32
	lines []*Line
}

func (s shareholder) weight() int64 {
	var sum int64
	for _, l := range s.lines {
		sum += l.it()
	}
	return max(0, sum)
}

// nodes are those of the hour in order of id; the site's own line is that of a node without a name.
func (h *siteHour) nodes() []shareholder {
	var out []shareholder
	for _, l := range h.lines {
		i := slices.IndexFunc(out, func(s shareholder) bool { return s.id == l.Node })
		if i < 0 {
			i, out = len(out), append(out, shareholder{id: l.Node})
		}
		out[i].lines = append(out[i].lines, l)
	}
	slices.SortFunc(out, func(a, b shareholder) int { return cmp.Compare(a.id, b.id) })
	return out
}

// spread gives an amount of the site to nodes by their IT energy, to the devices of each by theirs and to the lines of each.
// carry says that the amount is part of the energy by which what follows is given.
func (h *siteHour) spread(amount int64, give func(*Line, int64), carry bool) {
	nodes := h.nodes()
	weights := make([]int64, len(nodes))
	var any bool
	for i, n := range nodes {
		weights[i] = n.weight()
		any = any || weights[i] > 0
	}
	if !any {
		if amount != 0 {
			give(h.platform(""), amount)
		}
		return
	}
	for i, v := range h.x.apportion(amount, weights) {
		h.within(nodes[i], v, give, carry)
	}
}

// within gives an amount of a node to its devices and their lines.
func (h *siteHour) within(node shareholder, amount int64, give func(*Line, int64), carry bool) {
	var devices []shareholder
	for _, l := range node.lines {
		i := slices.IndexFunc(devices, func(s shareholder) bool { return s.id == l.carrier })
		if i < 0 {
			i, devices = len(devices), append(devices, shareholder{id: l.carrier, place: l.place})
		}
		devices[i].lines = append(devices[i].lines, l)
	}
	slices.SortFunc(devices, func(a, b shareholder) int { return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.id, b.id)) })
	weights := make([]int64, len(devices))
	var any bool
	for i, d := range devices {
		weights[i] = d.weight()
		any = any || weights[i] > 0
	}
	if !any {
		if amount != 0 {
			give(h.platform(node.id), amount)
		}
		return
	}
	for i, v := range h.x.apportion(amount, weights) {
		if devices[i].id == "" {
			h.over(devices[i].lines, v, give)
		} else {
			h.onto(devices[i].lines, v, give, carry)
		}
	}
}

// over gives an amount to lines that no device carries, by their energy.
func (h *siteHour) over(lines []*Line, amount int64, give func(*Line, int64)) {
	weights := make([]int64, len(lines))
	for i, l := range lines {
		weights[i] = max(0, l.it())
	}
	for i, v := range h.x.apportion(amount, weights) {
		give(lines[i], v)
	}
}

// onto gives an amount of a device to its lines: what the held ones get depends on their own slots and edges alone.
func (h *siteHour) onto(lines []*Line, amount int64, give func(*Line, int64), carry bool) {
	left := amount
	var rest *Line
	parts := make([]int64, len(lines))
	for i, l := range lines {
		if l.left {
			rest = l
			continue
		}
		parts[i] = h.x.part(amount, l)
		left -= parts[i]
	}
	for i, l := range lines {
		v := parts[i]
		if l == rest {
			v = left
		}
		if carry {
			for k := range l.corners {
				for c, below := range l.corners[k] {
					if l.all > 0 {
						l.corners[k][c] = below + h.x.floor(amount, below, l.all)
					}
				}
			}
			l.all += amount
		}
		give(l, v)
	}
}

// platform is the line that carries what no device of a node, or of the site, can.
func (h *siteHour) platform(node string) *Line {
	for _, l := range h.lines {
		if l.Node == node && l.Device == "" {
			return l
		}
	}
	l := &Line{Entry: record.Entry{
		Site: h.site.ID, Hour: stamp(h.start), Kind: record.Closing, Account: record.AccountPlatform, Node: node,
		From: h.start, To: h.start + unit.Hour,
	}}
	h.lines = append(h.lines, l)
	h.sort()
	return l
}

// waterAndHeat are from the site's meters, or from factors.
func (h *siteHour) waterAndHeat(f Factors, from, to int64) {
	if m := h.x.metered(h.site.Readings, quantityWater, microlitresPerMl, from, to); m.usable {
		h.spread(m.amount, func(l *Line, v int64) { l.Water += unit.Microlitres(v) }, false)
	} else if f.WUE.Known() {
		for _, l := range h.lines {
			l.Water = unit.Microlitres(h.x.floor(max(0, l.it()), f.WUE.Value, unit.MillijoulesPerKWh))
		}
	}
	if m := h.x.metered(h.site.Readings, quantityHeat, 1, from, to); m.usable {
		h.spread(m.amount, func(l *Line, v int64) { l.HeatReused += unit.Millijoules(v) }, false)
	} else if f.HeatReuse.Known() {
		for _, l := range h.lines {
			l.HeatReused = unit.Millijoules(h.x.floor(max(0, int64(l.Total())), f.HeatReuse.Value, 1000))
		}
	}
}

// emissions are location-based, market-based and embodied.
func (h *siteHour) emissions(f Factors) {
	var total int64
	for _, l := range h.lines {
		total += int64(l.Total())
	}
	market := h.market(f, total)
	for _, l := range h.lines {
		if f.Grid.Known() {
			l.Carbon = unit.MicrogramsCO2e(h.x.halfEven(int64(l.Total()), f.Grid.Value, unit.MillijoulesPerKWh))
		}
		l.CarbonMarket = unit.MicrogramsCO2e(h.x.halfEven(int64(l.Total()), market, unit.MillijoulesPerKWh))
		e, ok := f.Embodied[l.Model]
		if !ok {
			e, ok = f.Embodied[l.model]
		}
		if ok && e.Known() && l.DeviceTime != 0 {
			l.CarbonEmbodied = unit.MicrogramsCO2e(h.x.halfEven(e.Value, int64(l.DeviceTime), int64(e.Life)*int64(unit.WholeDevice)))
		}
	}
}

// market is the factor of the hour, in µg/kWh: instruments as far as they reach, then the residual mix, for which the grid stands in
// where it is not known.
func (h *siteHour) market(f Factors, total int64) int64 {
	if total <= 0 {
		return 0
	}
	rest := f.Grid.Value
	if f.Residual.Known() {
		rest = f.Residual.Value
	}
	sum, left := big0(), total
	for _, i := range f.Instruments {
		covered := int64(i.Volume)
		if covered == 0 {
			covered = h.x.floor(total, i.Cover, 1_000_000)
		}
		covered = min(covered, left)
		left -= covered
		sum.Add(sum, product(covered, i.Value))
	}
	sum.Add(sum, product(left, rest))
	return h.x.int64(sum.Div(sum, product(total, 1)))
}
