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
	// Readings are those of the node's own meters.
	Readings []record.Reading
	// History is what the ledger holds about the quality of the devices' hours, from 30 days before on.
	History []record.DeviceHour
	// Named is the idle power that the ledger names for a GPU in MIG mode and an hour: what it was found to be when the hour first
	// closed. Nil where it is to be found in History.
	Named map[IdleAt]unit.Milliwatts
	// Open are the edges at which the ledger holds a counter at its last reading, since none came after it by then.
	Open map[Edge]bool
	// IdleLimit is the site's.
	IdleLimit unit.Thousandths
}

// IdleAt is a GPU and an hour.
type IdleAt struct{ Device, Hour string }

// Edge is a device and an instant.
type Edge struct {
	Device string
	T      unit.Micros
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
	work   map[string]work
	// carriers are the GPUs of the hour at hand.
	carriers []*carrier
	quality  []record.DeviceHour
	settled  bool
}

// carrier is a GPU that carries a part of its node's rest.
type carrier struct {
	device   record.Device
	from, to int64
	total    int64 // its energy and its part of the module's CPU
	lines    []*Line
	// rows are those that a held line has, of thousandths or, of a GPU in MIG mode, of its instances.
	rows map[*Line][]row
	// below is the energy that what lies below k had up to t, there the time × thousandths.
	below, there func(k, t int64) int64
}

// RecomputeNode makes every line of a node from its samples and meters: device energy, device time, node rest; and the quality
// of each device-hour as far as it can be compared. What the site shares is added by RecomputeSite. first says that p begins with
// the first hour of the ledger.
func RecomputeNode(n Node, p Period, first bool) ([]Line, []record.DeviceHour, error) {
	b := nodeBook{
		x: &exact{}, node: n, lives: map[string][]life{}, slots: map[string]map[string][]row{}, active: map[string]activity{},
		work: map[string]work{}, settled: p.Settled,
	}
	stays := map[string][]record.Device{}
	for _, d := range n.Devices {
		stays[d.UUID] = append(stays[d.UUID], d)
	}
	for uuid, rows := range stays {
		b.slots[uuid] = place(n.Allocations[uuid])
		if d := rows[0]; d.Kind == record.KindMIG {
			b.active[uuid] = newActivity(n.Series[d.Parent], n.Series[uuid])
			b.work[uuid] = newWork(n.Series[uuid], n.Series[d.Parent])
			continue
		}
		b.work[uuid] = newWork(n.Series[uuid], n.Series[uuid])
		for _, l := range lives(rows, p, first) {
			l.counter = b.x.newCounter(l.known(n.Series[uuid]), rows[0])
			b.lives[uuid] = append(b.lives[uuid], l)
		}
	}
	var out []Line
	for _, h := range p.hours() {
		if n.From >= h+unit.Hour || (n.To != 0 && n.To <= h) {
			continue // the node does not exist
		}
		w := newWindow(h, first && h == p.From)
		w.settled = p.Settled
		lines := b.hour(w)
		if b.x.err != nil {
			return nil, nil, fmt.Errorf("node %s, hour %s: %w", n.ID, h.Time().Format(time.RFC3339), b.x.err)
		}
		for _, l := range lines {
			out = append(out, *l)
		}
	}
	return out, b.quality, nil
}

// counter is what the counter of a device did, and the hour as the closing of this device saw it.
func (b *nodeBook) counter(w window, uuid string) (counter, window) {
	w.openStart, w.openEnd = b.node.Open[Edge{uuid, unit.Micros(w.start)}], b.node.Open[Edge{uuid, unit.Micros(w.end)}]
	for _, l := range b.lives[uuid] {
		if int64(l.hours.From) <= w.start && w.start < int64(l.hours.To) {
			w.first = l.begins && int64(l.hours.From) == w.start
			return l.counter, w
		}
	}
	return counter{}, w
}

// line is an empty line of a device.
func (b *nodeBook) line(w window, d record.Device, account record.Account) *Line {
	start := unit.Micros(w.start)
	l := &Line{Entry: record.Entry{
		Site: b.node.Site, Hour: stamp(start), Kind: record.Closing, Account: account, Node: b.node.ID, Device: d.UUID, Model: d.Model,
		From: start, To: start + unit.Hour,
	}}
	if d.UUID != "" {
		l.DeviceKind = d.Kind.String()
	}
	return l
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

func (b *nodeBook) hour(w window) []*Line {
	gpus, migs, cpus := b.present(w, record.KindGPU), b.present(w, record.KindMIG), b.present(w, record.KindCPU)
	b.carriers = nil
	var lines []*Line
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
		c := b.gpu(w, g, instances, module)
		if b.x.err != nil {
			return nil
		}
		b.carriers = append(b.carriers, c)
		lines = append(lines, c.lines...)
	}
	for _, c := range cpus {
		own, seen := b.counter(w, c.UUID)
		energy := b.x.slotsEnergy(own, seen, []row{{0, 1}}, 1, w.start, w.end)
		b.hourOf(w, c, energy)
		if served[c.UUID] {
			continue
		}
		l := b.line(w, c, record.AccountPlatform)
		b.fill(l, amount{}, energy)
		lines = append(lines, l)
	}
	return b.rest(w, lines)
}

// hourOf keeps what the counter of a device measured in the hour.
func (b *nodeBook) hourOf(w window, d record.Device, energy amount) {
	b.quality = append(b.quality, record.DeviceHour{
		Site: b.node.Site, Hour: stamp(unit.Micros(w.start)), Node: b.node.ID, Device: d.UUID, Kind: d.Kind.String(),
		Counter: unit.Millijoules(energy.measured), Estimated: unit.Millijoules(energy.estimated),
	})
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
func (b *nodeBook) gpu(w window, g record.Device, instances []record.Device, m module) *carrier {
	x := b.x
	c, own := b.counter(w, g.UUID)
	from, to := span(w, g)
	whole := []row{{0, 1000}}
	left := x.slotsEnergy(c, own, whole, 1000, w.start, w.end)
	b.hourOf(w, g, left)
	cpuLeft := b.cpu(w, m, whole, w.start, w.end)
	rest := b.line(w, g, record.AccountUnallocated)
	rest.DeviceTime, rest.left = deviceTime(from, to, 1000), true
	holders := []record.Device{g}
	out := &carrier{device: g, from: from, to: to, total: left.sum() + cpuLeft.sum(), lines: []*Line{rest}, rows: map[*Line][]row{}}
	var p partition
	if len(instances) > 0 {
		holders = instances
		p = x.partitionHour(c, own, from, to, instances, b.active, b.idle(g, unit.Micros(w.start)))
		if x.err != nil {
			return nil
		}
	}
	out.below = func(k, t int64) int64 {
		if len(instances) == 0 {
			row := []row{{0, k}}
			return x.slotsEnergy(c, own, row, 1000, w.start, t).sum() + b.cpu(w, m, row, w.start, t).sum()
		}
		sum := x.before(p, int(k), w.start, t)
		for _, s := range p.pieces(x, 0, int(k), w.start, t) {
			sum += b.cpu(w, m, []row{s.row}, s.from, s.to).sum()
		}
		return sum
	}
	out.there = func(k, t int64) int64 {
		if len(instances) == 0 {
			return k * (t - from)
		}
		var sum int64
		for _, s := range p.pieces(x, 0, int(k), from, t) {
			sum += s.row.hi * (s.to - s.from)
		}
		return sum
	}
	for _, d := range holders {
		first, last := span(window{start: from, end: to}, d)
		for _, a := range b.node.Allocations[d.UUID] {
			rows, ok := b.slots[d.UUID][a.ID]
			start, end := max(first, int64(a.Start)), last
			if a.End != 0 {
				end = min(end, int64(a.End))
			}
			if !ok || end <= start {
				continue // holds nothing here
			}
			if len(instances) > 0 && (a.Share != unit.WholeDevice || !p.takesPart(d.UUID, start, end)) {
				continue // what of an instance cannot be held
			}
			l := b.line(w, d, record.AccountTenant)
			l.Tenant, l.Allocation, l.From, l.To = a.Tenant, a.ID, unit.Micros(start), unit.Micros(end)
			l.Project, l.Workload, l.ModelID, l.Purpose = a.Project, a.Workload, a.ModelID, a.Purpose
			var energy, cpu amount
			if len(instances) > 0 {
				energy = x.instance(p, d.UUID, start, end)
				k := p.place(d.UUID)
				rows = []row{{int64(k), int64(k) + 1}}
				for _, s := range p.pieces(x, k, k+1, start, end) {
					cpu = cpu.plus(b.cpu(w, m, []row{s.row}, s.from, s.to))
					l.DeviceTime += deviceTime(s.from, s.to, s.row.hi-s.row.lo)
				}
			} else {
				energy, cpu = x.slotsEnergy(c, own, rows, 1000, start, end), b.cpu(w, m, rows, start, end)
				l.DeviceTime = deviceTime(start, end, int64(a.Share))
			}
			out.rows[l] = rows
			// Of an instance the activity is its own, and all of it is held.
			if b.work[d.UUID].idle(x, start, end, int64(a.Share), int64(b.node.IdleLimit), own) {
				l.Account = record.AccountHeldIdle
			}
			b.fill(l, energy, cpu)
			left, cpuLeft = left.minus(energy), cpuLeft.minus(cpu)
			rest.DeviceTime -= l.DeviceTime
			out.lines = append(out.lines, l)
		}
	}
	b.fill(rest, left, cpuLeft)
	for _, l := range out.lines {
		l.carrier, l.place, l.model = g.UUID, g.Index, g.Model
	}
	return out
}

// idle is the power of a GPU in MIG mode without load: its own lowest unallocated hourly mean of the last 30 days, or the table's.
func (b *nodeBook) idle(g record.Device, hour unit.Micros) int64 {
	if mw, ok := b.node.Named[IdleAt{g.UUID, stamp(hour)}]; ok {
		return int64(mw)
	}
	lowest := int64(-1)
	for _, h := range b.node.History {
		start, err := time.Parse(time.RFC3339, h.Hour)
		at := unit.MicrosOf(start)
		whole := h.Present == unit.Hour && h.Allocated == 0 && h.Estimated == 0 && h.Covered*100 >= h.Present*99
		if err != nil || h.Device != g.UUID || at >= hour || at < hour-30*24*unit.Hour || !whole {
			continue
		}
		if mw := b.x.floor(int64(h.Counter), 1_000_000, int64(unit.Hour)); lowest < 0 || mw < lowest {
			lowest = mw
		}
	}
	if lowest < 0 {
		return int64(g.IdleMilliwatts)
	}
	return lowest
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

func (b *nodeBook) fill(l *Line, gpu, cpu amount) {
	l.GPU, l.CPU = unit.Millijoules(gpu.sum()), unit.Millijoules(cpu.sum())
	l.Measured = unit.Millijoules(gpu.measured + cpu.measured)
	l.Estimated = unit.Millijoules(gpu.estimated + cpu.estimated)
}

// deviceTime is thousandths × whole milliseconds: instants are counted down to the millisecond.
func deviceTime(from, to, share int64) unit.DeviceTime {
	return unit.DeviceTime((to/1000 - from/1000) * share)
}

// rest gives what no counter of the node's devices covers to its GPUs by the time they were there, and to the lines of each by
// slots × time; and keeps by what each line takes part in what comes after.
func (b *nodeBook) rest(w window, lines []*Line) []*Line {
	x := b.x
	from, to := max(w.start, int64(b.node.From)), w.end
	if b.node.To != 0 {
		to = min(to, int64(b.node.To))
	}
	var devices int64
	for _, l := range lines {
		devices += int64(l.GPU + l.CPU)
	}
	energy := x.floor(int64(b.node.RestMilliwatts), max(to-from, 0), 1_000_000)
	m := x.metered(b.node.Readings, quantityNode, 1, from, to)
	m.usable = m.usable && len(m.meters) == 1 // of two that claim to be the whole node neither is believed
	if m.usable {
		energy = max(0, m.amount-devices)
		b.quality = append(b.quality, record.DeviceHour{
			Site: b.node.Site, Hour: stamp(unit.Micros(w.start)), Node: b.node.ID, Kind: "node", Counter: unit.Millijoules(m.amount),
			Excess: unit.Millijoules(max(0, devices-m.amount)),
		})
	}
	give := func(l *Line, v int64) {
		l.NodeRest += unit.Millijoules(v)
		if m.usable {
			l.Measured += unit.Millijoules(v)
		} else {
			l.Modelled += unit.Millijoules(v)
		}
	}
	slices.SortFunc(b.carriers, func(a, b *carrier) int {
		return cmp.Or(cmp.Compare(a.device.Index, b.device.Index), cmp.Compare(a.device.UUID, b.device.UUID))
	})
	weights := make([]int64, len(b.carriers))
	there := false
	for i, c := range b.carriers {
		weights[i] = c.to - c.from
		there = there || weights[i] > 0
	}
	if !there {
		if energy != 0 {
			l := b.line(w, record.Device{}, record.AccountPlatform)
			give(l, energy)
			lines = append(lines, l)
		}
		return lines
	}
	for i, v := range x.apportion(energy, weights) {
		c := b.carriers[i]
		// below is the part of v that what lies below k has had at t.
		below := func(k, t int64) int64 {
			if c.to == c.from {
				return 0
			}
			out := product(v, c.there(k, min(max(t, c.from), c.to)))
			return x.int64(out.Div(out, product(1000, c.to-c.from)))
		}
		left := v
		for _, l := range c.lines {
			l.all = c.total + v
			if l.left {
				continue
			}
			a, b := int64(l.From), int64(l.To)
			var own int64
			for _, r := range c.rows[l] {
				lo := [2]int64{below(r.lo, a), below(r.lo, b)}
				hi := [2]int64{below(r.hi, a), below(r.hi, b)}
				own += hi[1] - hi[0] - lo[1] + lo[0]
				l.corners = append(l.corners, [4]int64{
					c.below(r.lo, a) + lo[0], c.below(r.lo, b) + lo[1], c.below(r.hi, a) + hi[0], c.below(r.hi, b) + hi[1],
				})
			}
			give(l, own)
			left -= own
		}
		give(c.lines[0], left)
	}
	return lines
}
