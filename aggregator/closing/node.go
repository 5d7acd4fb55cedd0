package closing

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/aggregator/attribution"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// nodeCloser closes the hour of one node.
type nodeCloser struct {
	*nodeBook
	hour    *Hour
	sensors sensors
	node    Node
	res     Result
	meters  map[string]*attribution.Meter
	// modules are the Grace CPUs by the GPU they share a module with.
	modules map[string]module
	// partitions are those of the GPUs in MIG mode.
	partitions map[string]*attribution.Partition
	// line is what is known of the node's meter; nil without one.
	line *record.DeviceHour
}

// module is a Grace CPU and the GPUs its energy is spread over.
type module struct {
	cpu   Device
	place int64 // of the GPU among them
	gpus  int64
}

func (c *nodeCloser) close() error {
	c.nodeBook = &nodeBook{id: c.node.ID}
	c.node.Devices = slices.Clone(c.node.Devices)
	slices.SortFunc(c.node.Devices, func(a, b Device) int { return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.UUID, b.UUID)) })
	c.findModules()
	c.meters, c.partitions = make(map[string]*attribution.Meter, len(c.node.Devices)), map[string]*attribution.Partition{}
	instances := map[string][]Device{}
	for i := range c.node.Devices {
		d := &c.node.Devices[i]
		d.Allocations = c.res.sound(c.hour, d.Allocations)
		if d.Kind == record.KindMIG {
			instances[d.Parent] = append(instances[d.Parent], *d)
			continue
		}
		m := attribution.NewMeter(d.Points, d.Stored, c.hour.Start, c.hour.End(), d.Period, d.LimitMilliwatts)
		c.meters[d.UUID] = m
		c.res.ClockSteps += m.Steps.ClockSteps
		c.res.Resets += m.Steps.Resets
	}
	for _, d := range c.node.Devices {
		if d.Kind != record.KindGPU {
			continue
		}
		if err := c.closeGPU(d, instances[d.UUID]); err != nil {
			return fmt.Errorf("device %s: %w", d.UUID, err)
		}
	}
	for _, d := range c.node.Devices {
		switch {
		case d.Kind == record.KindCPU:
			c.res.unheld(d.Allocations, c.hour.Start, c.hour.End(), "a CPU, which is never allocated")
		case d.Kind == record.KindMIG && c.meters[d.Parent] == nil:
			c.res.unheld(d.Allocations, c.hour.Start, c.hour.End(), "a MIG instance whose GPU is not on the node")
		}
	}
	if err := c.loneCPUs(); err != nil {
		return err
	}
	if err := c.addRest(); err != nil {
		return fmt.Errorf("node rest: %w", err)
	}
	if err := c.quality(); err != nil {
		return err
	}
	return c.collectCuts()
}

// findModules spreads each Grace CPU over the GPUs that name it as their parent.
func (c *nodeCloser) findModules() {
	c.modules = map[string]module{}
	for _, cpu := range c.node.Devices {
		if cpu.Kind != record.KindCPU {
			continue
		}
		var gpus []string
		for _, g := range c.node.Devices {
			if g.Kind == record.KindGPU && g.Parent == cpu.UUID {
				gpus = append(gpus, g.UUID)
			}
		}
		for i, g := range gpus {
			c.modules[g] = module{cpu: cpu, place: int64(i), gpus: int64(len(gpus))}
		}
	}
}

// slots is how a GPU can be held: in thousandths of it, or by its MIG instances. A place is a bound between slots.
type slots interface {
	// part is what [lo, hi) had over [a, b).
	part(ranges []attribution.Range, a, b unit.Micros) (attribution.Part, error)
	// below is what the places below place had from the hour's start up to t.
	below(place int64, t unit.Micros) (unit.Millijoules, error)
	// layouts say where the places lie on the device, and from when to when in the hour.
	layouts() []attribution.Layout
}

// thousandthsOf is a GPU held whole or in thousandths.
type thousandthsOf struct {
	*attribution.Meter
	hour []attribution.Layout // one
}

func (s thousandthsOf) part(ranges []attribution.Range, a, b unit.Micros) (attribution.Part, error) {
	return s.Slots(ranges, int64(unit.WholeDevice), a, b)
}

func (s thousandthsOf) below(place int64, t unit.Micros) (unit.Millijoules, error) {
	return s.Below(place, int64(unit.WholeDevice), t)
}

func (s thousandthsOf) layouts() []attribution.Layout { return s.hour }

// instancesOf is a GPU in MIG mode: place k lies below instance k, in order of their ids.
type instancesOf struct{ *attribution.Partition }

func (s instancesOf) part(ranges []attribution.Range, a, b unit.Micros) (attribution.Part, error) {
	return s.Part(int(ranges[0].Lo), a, b)
}

func (s instancesOf) below(place int64, t unit.Micros) (unit.Millijoules, error) {
	return s.Below(int(place), t)
}

func (s instancesOf) layouts() []attribution.Layout { return s.Layouts }

// closeGPU splits a GPU over those who held it: whole, in thousandths, or by its MIG instances.
func (c *nodeCloser) closeGPU(d Device, instances []Device) error {
	m := c.meters[d.UUID]
	b := &book{dev: d, rest: c.hour.entry(c.node.ID, d, record.AccountUnallocated)}
	b.from, b.to = c.hour.span(d.From, d.To)
	left, err := m.Total(c.hour.Start, c.hour.End())
	if err != nil {
		return err
	}
	whole := []attribution.Layout{attribution.Thousandths(c.hour.Start, c.hour.End())}
	cpuLeft, err := c.cpuPart(d, whole, []attribution.Range{{Lo: 0, Hi: 1000}}, c.hour.Start, c.hour.End())
	if err != nil {
		return err
	}
	b.own = left.Measured + left.Estimated + cpuLeft.Measured + cpuLeft.Estimated
	b.whole = b.own
	timeLeft := deviceTime(b.from, b.to, unit.WholeDevice)
	var stays []hold
	// take books a holder of some ranges of places.
	take := func(s slots, holder Device, h hold, ranges []attribution.Range, rule string) error {
		part, err := s.part(ranges, h.from, h.to)
		if err != nil {
			return err
		}
		cpu, err := c.cpuPart(d, s.layouts(), ranges, h.from, h.to)
		if err != nil {
			return err
		}
		held := holding{entry: c.held(holder, h)}
		if held.entry.DeviceTime, err = timeOf(s.layouts(), ranges, h); err != nil {
			return err
		}
		if held.corners, err = c.corners(b, s, ranges, h); err != nil {
			return err
		}
		e := &held.entry
		e.Split = rule
		c.energy(e, d, part, cpu)
		c.work(e, holder, h.from, h.to, int64(h.Share), int64(unit.WholeDevice))
		c.hour.judgeIdle(e, holder, h.Share)
		left, cpuLeft, timeLeft = left.Sub(part), cpuLeft.Sub(cpu), timeLeft-e.DeviceTime
		stays = append(stays, h)
		b.held = append(b.held, held)
		return nil
	}
	b.rest.Split = "slots"
	if len(instances) > 0 {
		err = c.holdInstances(b, instances, take)
	} else {
		err = c.holdSlots(b, thousandthsOf{m, whole}, take)
	}
	if err != nil {
		return err
	}
	b.rest.DeviceTime = timeLeft
	b.rest.Unavailable = min(timeLeft, unavailable(m, stays, b.from, b.to))
	c.energy(&b.rest, d, left, cpuLeft)
	b.keep = len(b.rest.Flags) > 0
	c.books = append(c.books, b)
	return nil
}

type taker func(s slots, holder Device, h hold, ranges []attribution.Range, rule string) error

// holdSlots books who held a GPU whole or in thousandths.
func (c *nodeCloser) holdSlots(b *book, s slots, take taker) error {
	placed, refused := attribution.Place(b.dev.Allocations)
	c.res.overbooked(refused, b.from, b.to)
	for _, h := range holds(b.dev.Allocations, b.from, b.to) {
		ranges, ok := placed[h.ID]
		if !ok {
			flag(&b.rest, flagOverbooked)
			continue
		}
		if err := take(s, b.dev, h, ranges, "slots"); err != nil {
			return err
		}
	}
	return nil
}

// holdInstances books who held the instances of a GPU in MIG mode.
func (c *nodeCloser) holdInstances(b *book, instances []Device, take taker) error {
	d := b.dev
	var ins []attribution.Instance
	for _, in := range instances {
		i := attribution.Instance{
			UUID: in.UUID, Slices: int64(in.Slices), From: in.From, To: in.To, Activity: make([]attribution.Reading, len(in.Work)),
		}
		for k, w := range in.Work {
			i.Activity[k] = attribution.Reading{T: w.T, Run: w.Run, Active: w.SMActive}
		}
		ins = append(ins, i)
	}
	p, err := attribution.NewPartition(c.meters[d.UUID], b.from, b.to, ins, d.IdleMilliwatts)
	if err != nil {
		return err
	}
	c.partitions[d.UUID] = p
	if c.res.unheld(d.Allocations, b.from, b.to, "a GPU in MIG mode, whose instances alone can be held") {
		flag(&b.rest, flagOverbooked)
	}
	if c.res.crowded(d.UUID, p.Layouts) {
		flag(&b.rest, flagOverbooked)
	}
	b.rest.Split = fmt.Sprintf("mig P_idle=%dmW %s", d.IdleMilliwatts, cmp.Or(d.IdleBasis, "model"))
	for _, in := range instances {
		if in.Model == "" {
			in.Model = d.Model
		}
		from, to := there(in, b.from, b.to)
		placed, refused := attribution.Place(in.Allocations)
		c.res.overbooked(refused, from, to)
		k := int64(p.Place(in.UUID))
		for _, h := range holds(in.Allocations, from, to) {
			why := ""
			switch _, ok := placed[h.ID]; {
			case !ok: // named already
			case h.Share != unit.WholeDevice: // a share of a share has no counter
				why = "a MIG instance, which is held whole or not at all"
			case !has(p.Layouts, k, h):
				why = "a MIG instance for which its GPU has no compute slices"
			default:
				if err := take(instancesOf{p}, in, h, []attribution.Range{{Lo: k, Hi: k + 1}}, b.rest.Split); err != nil {
					return err
				}
				if p.BySlices > 0 {
					flag(&b.held[len(b.held)-1].entry, flagMIGBySlices)
				}
				continue
			}
			if why != "" {
				c.res.unheld([]record.Allocation{h.Allocation}, from, to, why)
			}
			flag(&b.rest, flagOverbooked)
		}
	}
	return nil
}

// there is the part of [from, to) in which an instance is there.
func there(in Device, from, to unit.Micros) (unit.Micros, unit.Micros) {
	from = max(from, in.From)
	if in.To != 0 {
		to = min(to, in.To)
	}
	return from, to
}

// has says whether the instance at a place takes part in any layout of the time held.
func has(layouts []attribution.Layout, place int64, h hold) bool {
	for i := range layouts {
		if l := &layouts[i]; l.From < h.to && l.To > h.from && l.Has(place) {
			return true
		}
	}
	return false
}

// corners are those of a holder, each with what the device's places below it took by then.
func (c *nodeCloser) corners(b *book, s slots, ranges []attribution.Range, h hold) ([]corner, error) {
	var out []corner
	for _, r := range ranges {
		for _, at := range cornersOf(r, h.from, h.to) {
			x, err := s.below(at.place, at.t)
			if err != nil {
				return nil, err
			}
			cpu, err := c.cpuBelow(b.dev, s.layouts(), at.place, at.t)
			if err != nil {
				return nil, err
			}
			at.x, at.spent = x+cpu, spent(s.layouts(), at.place, b.from, at.t)
			out = append(out, at)
		}
	}
	return out, nil
}

// spent is the time from one instant to another × the thousandths below a place.
func spent(layouts []attribution.Layout, place int64, from, to unit.Micros) int64 {
	var sum int64
	for i := range layouts {
		l := &layouts[i]
		sum += l.Bound(place) * int64(max(0, min(l.To, to)-max(l.From, from)))
	}
	return sum
}

// timeOf is the device time of a holder.
func timeOf(layouts []attribution.Layout, places []attribution.Range, h hold) (unit.DeviceTime, error) {
	var sum unit.DeviceTime
	err := attribution.Stretches(layouts, places, h.from, h.to, func(of []attribution.Range, a, b unit.Micros) error {
		for _, r := range of {
			sum += deviceTime(a, b, unit.Thousandths(r.Hi-r.Lo))
		}
		return nil
	})
	return sum, err
}

func (c *nodeCloser) held(d Device, h hold) record.Entry {
	if c.hour.Tenants != nil && !c.hour.Tenants[h.Tenant] {
		c.res.find(FindingUnknownTenant, h.ID, "allocation %s on %s is of tenant %s, who is not registered: import the tenant, or mend the statement", h.ID, d.UUID, h.Tenant)
	}
	e := c.hour.entry(c.node.ID, d, record.AccountTenant)
	e.Tenant, e.Project, e.Allocation, e.Workload = h.Tenant, h.Project, h.ID, h.Workload
	e.ModelID, e.Purpose = h.ModelID, h.Purpose
	e.From, e.To = h.from, h.to
	return e
}

// judgeIdle books held time in which the SMs had next to nothing to do to an account of its own. Of a MIG instance the activity
// is the instance's, as is the share of it that is held: the whole.
func (h *Hour) judgeIdle(e *record.Entry, holder Device, share unit.Thousandths) {
	held := int64(e.To - e.From)
	if int64(e.SMActive) > held || !activityKnown(holder, e.From, e.To) {
		return // it was active throughout, or too little is known of it: who cannot be read is not idle
	}
	if int64(e.SMActive)*1000*1000 < int64(h.Limits.Idle)*held*int64(share) {
		e.Account = record.AccountHeldIdle
	}
}

// cpuPart is what some places of a GPU get of the Grace CPU of its module: the CPU's counter has 1000 slots per GPU.
func (c *nodeCloser) cpuPart(gpu Device, layouts []attribution.Layout, places []attribution.Range, from, to unit.Micros) (attribution.Part, error) {
	var sum attribution.Part
	mod, ok := c.modules[gpu.UUID]
	if !ok {
		return sum, nil
	}
	err := attribution.Stretches(layouts, places, from, to, func(of []attribution.Range, a, b unit.Micros) error {
		for i := range of {
			of[i].Lo, of[i].Hi = of[i].Lo+mod.place*1000, of[i].Hi+mod.place*1000
		}
		part, err := c.meters[mod.cpu.UUID].Slots(of, mod.gpus*1000, a, b)
		sum = sum.Add(part)
		return err
	})
	return sum, err
}

// cpuBelow is what the places of a GPU below one had of the Grace CPU of its module, from the hour's start up to t.
func (c *nodeCloser) cpuBelow(gpu Device, layouts []attribution.Layout, place int64, t unit.Micros) (unit.Millijoules, error) {
	mod, ok := c.modules[gpu.UUID]
	if !ok {
		return 0, nil
	}
	m := c.meters[mod.cpu.UUID]
	first := mod.place * 1000
	var sum unit.Millijoules
	err := attribution.Stretches(layouts, []attribution.Range{{Lo: 0, Hi: place}}, c.hour.Start, t, func(of []attribution.Range, a, b unit.Micros) error {
		for _, at := range []struct {
			sign unit.Millijoules
			slot int64
			t    unit.Micros
		}{{1, first + of[0].Hi, b}, {-1, first, b}, {-1, first + of[0].Hi, a}, {1, first, a}} {
			v, err := m.Below(at.slot, mod.gpus*1000, at.t)
			if err != nil {
				return err
			}
			sum += at.sign * v
		}
		return nil
	})
	return sum, err
}

// energy writes a device's part and its module's CPU part into an entry.
func (c *nodeCloser) energy(e *record.Entry, d Device, gpu, cpu attribution.Part) {
	e.GPU = gpu.Measured + gpu.Estimated
	e.CPU = cpu.Measured + cpu.Estimated
	all := gpu.Add(cpu)
	e.Measured, e.Estimated = all.Measured, all.Estimated
	// What the holders of a device leave lies on the other side of the same edges, so it is as uncertain as theirs, and not less than nothing.
	e.Interpolated = min(max(all.Interpolated, -all.Interpolated), max(all.Measured, 0))
	e.BoundLow, e.BoundHigh = all.Low, all.High
	e.Uncertainty = c.sensors.off(c.sensorOf(d), gpu.Measured) + c.sensors.off(factor.SensorEstimated, gpu.Estimated) +
		c.sensors.off(c.sensorOf(c.cpuOf(d)), cpu.Measured) + c.sensors.off(factor.SensorEstimated, cpu.Estimated)
	m := c.meters[d.UUID]
	if m.Steps.Resets > 0 {
		flag(e, flagCounterReset)
	}
	if m.Steps.ClockSteps > 0 {
		flag(e, flagClockStep)
	}
	if len(d.Points) == 0 {
		flag(e, flagNoReadings)
	}
	if d.Energy == record.EnergyIntegrated {
		flag(e, flagIntegrated)
	}
	if e.Estimated != 0 {
		flag(e, flagEstimated)
	}
	if e.Interpolated != 0 {
		flag(e, flagInterpolated)
	}
}

// cpuOf is the CPU whose energy a device's entries carry: that of its module, or itself.
func (c *nodeCloser) cpuOf(d Device) Device {
	if m, ok := c.modules[d.UUID]; ok {
		return m.cpu
	}
	return d
}

// unavailable is device time in which nobody held the device and no counter of it ran.
func unavailable(m *attribution.Meter, held []hold, from, to unit.Micros) unit.DeviceTime {
	var gone unit.Micros
	at := from
	slices.SortFunc(held, func(a, b hold) int { return cmp.Compare(a.from, b.from) })
	free := func(a, b unit.Micros) {
		if b > a {
			gone += (b-a)/unit.Millisecond - m.Covered(a, b)/unit.Millisecond
		}
	}
	for _, h := range held {
		free(at, h.from)
		at = max(at, h.to)
	}
	free(at, to)
	return unit.DeviceTime(max(gone, 0)) * unit.DeviceTime(unit.WholeDevice)
}

// loneCPUs books the energy of CPUs without a GPU on their module.
func (c *nodeCloser) loneCPUs() error {
	taken := map[string]bool{}
	for _, m := range c.modules {
		taken[m.cpu.UUID] = true
	}
	for _, d := range c.node.Devices {
		if d.Kind != record.KindCPU || taken[d.UUID] {
			continue
		}
		part, err := c.meters[d.UUID].Total(c.hour.Start, c.hour.End())
		if err != nil {
			return fmt.Errorf("device %s: %w", d.UUID, err)
		}
		e := c.hour.entry(c.node.ID, d, record.AccountPlatform)
		c.energy(&e, d, attribution.Part{}, part)
		if e.CPU != 0 || len(e.Flags) > 0 {
			c.loose = append(c.loose, e)
		}
	}
	return nil
}

// collectCuts gives every cut made at an edge to the store, in order.
func (c *nodeCloser) collectCuts() error {
	devices := slices.Clone(c.node.Devices)
	slices.SortFunc(devices, func(a, b Device) int { return cmp.Compare(a.UUID, b.UUID) })
	for _, d := range devices {
		m, ok := c.meters[d.UUID]
		if !ok || m.Empty() {
			continue
		}
		cuts, err := m.AllCuts()
		if err != nil {
			return err
		}
		for _, cut := range cuts {
			cut.Site, cut.Device = c.hour.Site.ID, d.UUID
			c.res.Cuts = append(c.res.Cuts, cut)
		}
	}
	return nil
}
