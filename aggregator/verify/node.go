package verify

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Node is a host with everything its accounts are made from.
type Node struct {
	record.Node
	Devices     []record.Device // as Complete leaves them
	Series      map[string]Series
	Allocations map[string][]record.Allocation // all that ever held a device, by device
}

// Complete fills in what no collector knows from the table of models: power limit, idle power, and the Grace CPU whose
// module a GPU sits on. The devices are those of one node.
func Complete(devices []record.Device, models map[string]factor.Model) {
	for i := range devices {
		d := &devices[i]
		m, ok := factor.FindModel(models, d.Model)
		if !ok {
			continue
		}
		d.LimitMilliwatts = cmp.Or(d.LimitMilliwatts, m.Limit)
		d.IdleMilliwatts = cmp.Or(d.IdleMilliwatts, m.Idle)
		if d.Kind != record.KindGPU || d.Parent != "" || m.GPUsPerCPU == 0 {
			continue
		}
		for _, cpu := range devices {
			if cpu.Kind == record.KindCPU && cpu.Index == d.Index/uint32(m.GPUsPerCPU) {
				d.Parent = cpu.UUID
			}
		}
	}
}

// nodeBook makes the lines of one node.
type nodeBook struct {
	x      *exact
	node   Node
	lives  map[string][]life
	slots  map[string]map[string][]row
	active map[string]activity
}

// RecomputeNode makes every line of a node from its samples: device energy, device time, node rest. Facility energy is
// the site's. Only what Compare looks at is filled in. first says that p begins with the first hour of the ledger.
func RecomputeNode(n Node, p Period, first bool) ([]record.Entry, error) {
	b := nodeBook{
		x: &exact{}, node: n, lives: map[string][]life{}, slots: map[string]map[string][]row{}, active: map[string]activity{},
	}
	stays := map[string][]record.Device{}
	for _, d := range n.Devices {
		stays[d.UUID] = append(stays[d.UUID], d)
	}
	for uuid, rows := range stays {
		b.slots[uuid] = place(n.Allocations[uuid])
		if d := rows[0]; d.Kind == record.KindMIG {
			b.active[uuid] = newActivity(n.Series[d.Parent], n.Series[uuid])
			continue
		}
		for _, l := range lives(rows, p, first) {
			l.counter = b.x.newCounter(l.known(n.Series[uuid]), rows[0])
			b.lives[uuid] = append(b.lives[uuid], l)
		}
	}
	var out []record.Entry
	for _, h := range p.hours() {
		if n.From >= h+unit.Hour || (n.To != 0 && n.To <= h) {
			continue // the node does not exist
		}
		lines := b.hour(newWindow(h, first && h == p.From))
		if b.x.err != nil {
			return nil, fmt.Errorf("node %s, hour %s: %w", n.ID, h.Time().Format(time.RFC3339), b.x.err)
		}
		out = append(out, lines...)
	}
	return out, nil
}

// counter is what the counter of a device did, and the hour as the closing of this device saw it.
func (b *nodeBook) counter(w window, uuid string) (counter, window) {
	for _, l := range b.lives[uuid] {
		if int64(l.hours.From) <= w.start && w.start < int64(l.hours.To) {
			w.first = l.begins && int64(l.hours.From) == w.start
			return l.counter, w
		}
	}
	return counter{}, w
}

// line is an empty line of a device.
func (b *nodeBook) line(w window, d record.Device, account record.Account) record.Entry {
	start := unit.Micros(w.start)
	return record.Entry{
		Site: b.node.Site, Hour: start.Time().Format(time.RFC3339), Account: account, Node: b.node.ID, Device: d.UUID,
		From: start, To: start + unit.Hour,
	}
}

// present are the devices that exist in some part of the hour.
func (b *nodeBook) present(w window, kind record.DeviceKind) []record.Device {
	var out []record.Device
	for _, d := range b.node.Devices {
		if d.Kind == kind && int64(d.From) < w.end && (d.To == 0 || int64(d.To) > w.start) {
			out = append(out, d)
		}
	}
	return out
}

func (b *nodeBook) hour(w window) []record.Entry {
	gpus, migs, cpus := b.present(w, record.KindGPU), b.present(w, record.KindMIG), b.present(w, record.KindCPU)
	var lines []record.Entry
	served := map[string]bool{}
	for _, g := range gpus {
		var instances []record.Device
		for _, in := range migs {
			if in.Parent == g.UUID {
				instances = append(instances, in)
			}
		}
		module := newModule(g, gpus, cpus)
		served[module.cpu] = true
		lines = append(lines, b.gpu(w, g, instances, module)...)
	}
	for _, c := range cpus {
		if served[c.UUID] {
			continue
		}
		l := b.line(w, c, record.AccountUnallocated)
		own, seen := b.counter(w, c.UUID)
		b.fill(&l, amount{}, b.x.slotsEnergy(own, seen, []row{{0, 1}}, 1, w.start, w.end))
		lines = append(lines, l)
	}
	return b.rest(w, lines)
}

// module is a Grace CPU, how many GPUs share it and the place of one GPU among them.
type module struct {
	cpu         string
	place, gpus int64
}

func newModule(g record.Device, gpus, cpus []record.Device) module {
	if !slices.ContainsFunc(cpus, func(c record.Device) bool { return c.UUID == g.Parent }) {
		return module{}
	}
	m := module{cpu: g.Parent}
	for _, o := range gpus {
		if o.Parent == g.Parent {
			m.gpus++
			if o.Index < g.Index {
				m.place++
			}
		}
	}
	return m
}

// span is the part of the hour in which a device exists.
func span(w window, d record.Device) (from, to int64) {
	from, to = max(w.start, int64(d.From)), w.end
	if d.To != 0 {
		to = min(to, int64(d.To))
	}
	return from, max(from, to)
}

// gpu splits the hour of a GPU over those who held it, or its instances, and nobody.
func (b *nodeBook) gpu(w window, g record.Device, instances []record.Device, m module) []record.Entry {
	x := b.x
	c, own := b.counter(w, g.UUID)
	from, to := span(w, g)
	whole := []row{{0, 1000}}
	left := x.slotsEnergy(c, own, whole, 1000, w.start, w.end)
	cpuLeft := b.cpu(w, m, whole, w.start, w.end)
	rest := b.line(w, g, record.AccountUnallocated)
	rest.DeviceTime = deviceTime(from, to, 1000)
	holders := []record.Device{g}
	var p partition
	if len(instances) > 0 {
		holders = instances
		p = x.partitionHour(c, own, instances, b.active, int64(g.IdleMilliwatts))
		if x.err != nil {
			return nil
		}
	}
	var out []record.Entry
	for _, d := range holders {
		for _, a := range b.node.Allocations[d.UUID] {
			rows, ok := b.slots[d.UUID][a.ID]
			start, end := max(from, int64(a.Start)), to
			if a.End != 0 {
				end = min(to, int64(a.End))
			}
			if !ok || end <= start || (len(instances) > 0 && a.Share != unit.WholeDevice) {
				continue // holds nothing here
			}
			l := b.line(w, d, record.AccountTenant)
			l.Tenant, l.Allocation, l.From, l.To = a.Tenant, a.ID, unit.Micros(start), unit.Micros(end)
			var energy amount
			share := int64(a.Share)
			if len(instances) > 0 {
				energy = x.instance(p, d.UUID, start, end)
				rows = []row{p.thousandths(x, d.UUID)}
				share = rows[0].hi - rows[0].lo
			} else {
				energy = x.slotsEnergy(c, own, rows, 1000, start, end)
			}
			l.DeviceTime = deviceTime(start, end, share)
			cpu := b.cpu(w, m, rows, start, end)
			b.fill(&l, energy, cpu)
			left, cpuLeft = left.minus(energy), cpuLeft.minus(cpu)
			rest.DeviceTime -= l.DeviceTime
			out = append(out, l)
		}
	}
	b.fill(&rest, left, cpuLeft)
	return append(out, rest)
}

// cpu is what rows of a GPU's thousandths get of the CPU of its module, which has 1000 slots for each GPU.
func (b *nodeBook) cpu(w window, m module, rows []row, from, to int64) amount {
	if m.gpus == 0 {
		return amount{}
	}
	shifted := make([]row, len(rows))
	for i, r := range rows {
		shifted[i] = r.shift(1000 * m.place)
	}
	c, own := b.counter(w, m.cpu)
	return b.x.slotsEnergy(c, own, shifted, 1000*m.gpus, from, to)
}

func (b *nodeBook) fill(l *record.Entry, gpu, cpu amount) {
	l.GPU, l.CPU = unit.Millijoules(gpu.sum()), unit.Millijoules(cpu.sum())
	l.Measured = unit.Millijoules(gpu.measured + cpu.measured)
	l.Estimated = unit.Millijoules(gpu.estimated + cpu.estimated)
}

// deviceTime is thousandths × whole milliseconds: instants are counted down to the millisecond.
func deviceTime(from, to, share int64) unit.DeviceTime {
	return unit.DeviceTime((to/1000 - from/1000) * share)
}

// rest spreads the node's declared draw over its lines by device time (design §3, "Shared energy").
func (b *nodeBook) rest(w window, lines []record.Entry) []record.Entry {
	sortLines(lines)
	from, to := max(w.start, int64(b.node.From)), w.end
	if b.node.To != 0 {
		to = min(to, int64(b.node.To))
	}
	energy := b.x.floor(int64(b.node.RestMilliwatts), max(to-from, 0), 1_000_000)
	if energy == 0 {
		return lines
	}
	weights := make([]int64, len(lines))
	held := false
	for i, l := range lines {
		weights[i] = int64(l.DeviceTime)
		held = held || l.DeviceTime > 0
	}
	if !held {
		l := b.line(w, record.Device{}, record.AccountUnallocated)
		l.NodeRest = unit.Millijoules(energy)
		return append(lines, l)
	}
	for i, v := range b.x.apportion(energy, weights) {
		lines[i].NodeRest = unit.Millijoules(v)
	}
	return lines
}

// AddFacility spreads (PUE − 1) × IT of each hour over the nodes of the site by their IT energy, then over the lines of
// each by theirs, and adds carbon. A line below zero takes no part.
func AddFacility(site record.Site, grid factor.Grid, lines []record.Entry) error {
	x := &exact{}
	hours := map[string][]int{}
	sortLines(lines)
	for i, l := range lines {
		hours[l.Hour] = append(hours[l.Hour], i)
	}
	for _, hour := range hours {
		var total int64
		nodes := [][]int{}
		var ofNode []int64
		for _, i := range hour {
			if n := len(nodes); n == 0 || lines[nodes[n-1][0]].Node != lines[i].Node {
				nodes, ofNode = append(nodes, nil), append(ofNode, 0)
			}
			n := len(nodes) - 1
			nodes[n] = append(nodes[n], i)
			ofNode[n] += max(0, int64(lines[i].Total()))
			total += int64(lines[i].Total())
		}
		overhead := x.floor(max(total, 0), site.PUEThousandths-1000, 1000)
		for n, part := range x.apportion(overhead, ofNode) {
			weights := make([]int64, len(nodes[n]))
			for k, i := range nodes[n] {
				weights[k] = max(0, int64(lines[i].Total()))
			}
			for k, v := range x.apportion(part, weights) {
				lines[nodes[n][k]].Facility = unit.Millijoules(v)
			}
		}
	}
	for i := range lines {
		l := &lines[i]
		l.Carbon = unit.MicrogramsCO2e(x.halfEven(int64(l.Total()), grid.MicrogramsPerKWh, unit.MillijoulesPerKWh))
	}
	if x.err != nil {
		return fmt.Errorf("facility energy of %s: %w", site.ID, x.err)
	}
	return nil
}

// sortLines is the ledger's order of entries, within an hour.
func sortLines(lines []record.Entry) {
	slices.SortFunc(lines, func(a, b record.Entry) int {
		return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Device, b.Device),
			cmp.Compare(a.Account, b.Account), cmp.Compare(a.From, b.From), cmp.Compare(a.Allocation, b.Allocation))
	})
}
