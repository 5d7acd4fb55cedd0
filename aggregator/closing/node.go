package closing

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/aggregator/attribution"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// nodeCloser closes the hour of one node.
type nodeCloser struct {
	hour    Hour
	node    Node
	meters  map[string]*attribution.Meter
	entries []record.Entry
	// modules are the Grace CPUs by the GPU they share a module with.
	modules map[string]module
}

// module is a Grace CPU and the GPUs its energy is spread over.
type module struct {
	cpu   Device
	place int64 // of the GPU among them
	gpus  int64
}

func (c *nodeCloser) close(res *Result) error {
	c.findModules()
	instances := map[string][]Device{}
	for _, d := range c.node.Devices {
		if d.Kind == record.KindMIG {
			instances[d.Parent] = append(instances[d.Parent], d)
		}
	}
	for _, d := range c.node.Devices {
		if d.Kind == record.KindMIG {
			continue
		}
		m := attribution.NewMeter(d.Points, d.Stored, c.hour.Start, c.hour.End(), d.Period, d.LimitMilliwatts)
		c.meters[d.UUID] = m
		res.ClockSteps += m.Steps.ClockSteps
		res.Resets += m.Steps.Resets
	}
	for _, d := range c.node.Devices {
		if d.Kind != record.KindGPU {
			continue
		}
		var err error
		if in := instances[d.UUID]; len(in) > 0 {
			err = c.closePartitioned(d, in, res)
		} else {
			err = c.closeGPU(d, res)
		}
		if err != nil {
			return fmt.Errorf("device %s: %w", d.UUID, err)
		}
	}
	for _, d := range c.node.Devices {
		orphan := d.Kind == record.KindMIG && c.meters[d.Parent] == nil
		if d.Kind == record.KindCPU || orphan { // a CPU is never allocated, and an instance without its GPU has no energy
			res.refuse(whole(d.Allocations), c.hour.Start, c.hour.End())
		}
	}
	if err := c.loneCPUs(); err != nil {
		return err
	}
	return c.collectCuts(res)
}

// findModules spreads each Grace CPU over the GPUs that name it as their parent.
func (c *nodeCloser) findModules() {
	c.modules = map[string]module{}
	for _, cpu := range c.node.Devices {
		if cpu.Kind != record.KindCPU {
			continue
		}
		var gpus []Device
		for _, g := range c.node.Devices {
			if g.Kind == record.KindGPU && g.Parent == cpu.UUID {
				gpus = append(gpus, g)
			}
		}
		slices.SortFunc(gpus, func(a, b Device) int { return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.UUID, b.UUID)) })
		for i, g := range gpus {
			c.modules[g.UUID] = module{cpu: cpu, place: int64(i), gpus: int64(len(gpus))}
		}
	}
}

// closeGPU splits a GPU that is held whole or in thousandths.
func (c *nodeCloser) closeGPU(d Device, res *Result) error {
	slots, refused := attribution.Place(d.Allocations)
	from, to := c.hour.span(d.Device)
	res.refuse(refused, from, to)
	m := c.meters[d.UUID]
	rest := c.hour.entry(c.node, d, record.AccountUnallocated)
	left, err := m.Total(c.hour.Start, c.hour.End())
	if err != nil {
		return err
	}
	cpuLeft, err := c.cpuPart(d, []attribution.Range{{Lo: 0, Hi: 1000}}, c.hour.Start, c.hour.End())
	if err != nil {
		return err
	}
	timeLeft := deviceTime(from, to, unit.WholeDevice)
	var held []hold
	for _, h := range holds(d.Allocations, from, to) {
		ranges, ok := slots[h.ID]
		if !ok {
			flag(&rest, flagOverbooked)
			continue
		}
		part, err := m.Slots(ranges, int64(unit.WholeDevice), h.from, h.to)
		if err != nil {
			return err
		}
		cpu, err := c.cpuPart(d, ranges, h.from, h.to)
		if err != nil {
			return err
		}
		e := c.held(d, h, h.Share)
		e.Split = "slots"
		c.energy(&e, d, part, cpu)
		c.work(&e, d, h.from, h.to, int64(h.Share), int64(unit.WholeDevice))
		left, cpuLeft, timeLeft = left.Sub(part), cpuLeft.Sub(cpu), timeLeft-e.DeviceTime
		held = append(held, h)
		c.entries = append(c.entries, e)
	}
	rest.Split = "slots"
	rest.DeviceTime = timeLeft
	rest.Unavailable = min(timeLeft, c.unavailable(m, held, from, to))
	c.energy(&rest, d, left, cpuLeft)
	c.keep(rest)
	return nil
}

// closePartitioned splits a GPU in MIG mode over its instances.
func (c *nodeCloser) closePartitioned(d Device, instances []Device, res *Result) error {
	m := c.meters[d.UUID]
	var ins []attribution.Instance
	for _, in := range instances {
		i := attribution.Instance{UUID: in.UUID, Slices: int64(in.Slices)}
		for _, w := range in.Work {
			i.Activity = append(i.Activity, attribution.Reading{T: w.T, Run: w.Run, Active: w.SMActive})
		}
		ins = append(ins, i)
	}
	p, err := attribution.NewPartition(m, ins, d.IdleMilliwatts)
	if err != nil {
		return err
	}
	from, to := c.hour.span(d.Device)
	rest := c.hour.entry(c.node, d, record.AccountUnallocated)
	left, err := m.Total(c.hour.Start, c.hour.End())
	if err != nil {
		return err
	}
	cpuLeft, err := c.cpuPart(d, []attribution.Range{{Lo: 0, Hi: 1000}}, c.hour.Start, c.hour.End())
	if err != nil {
		return err
	}
	if res.refuse(whole(d.Allocations), from, to) { // its instances can be held, the GPU itself cannot
		flag(&rest, flagOverbooked)
	}
	rule := fmt.Sprintf("mig P_idle=%dmW model", d.IdleMilliwatts)
	timeLeft := deviceTime(from, to, unit.WholeDevice)
	var held []hold
	for _, in := range instances {
		slots, refused := attribution.Place(in.Allocations)
		res.refuse(refused, from, to)
		ranges := p.RangeOf(in.UUID)
		for _, h := range holds(in.Allocations, from, to) {
			if _, ok := slots[h.ID]; !ok || h.Share != unit.WholeDevice {
				// An instance is held whole: a share of a share has no counter.
				if ok {
					res.Refused = append(res.Refused, attribution.Overbooked{Allocation: h.Allocation})
				}
				flag(&rest, flagOverbooked)
				continue
			}
			part, err := p.Instance(in.UUID, h.from, h.to)
			if err != nil {
				return err
			}
			cpu, err := c.cpuPart(d, ranges, h.from, h.to)
			if err != nil {
				return err
			}
			e := c.held(in, h, p.ShareOf(in.UUID))
			e.Split = rule
			if p.BySlices > 0 {
				flag(&e, flagMIGBySlices)
			}
			c.energy(&e, d, part, cpu)
			c.work(&e, in, h.from, h.to, 1, 1)
			left, cpuLeft, timeLeft = left.Sub(part), cpuLeft.Sub(cpu), timeLeft-e.DeviceTime
			held = append(held, h)
			c.entries = append(c.entries, e)
		}
	}
	rest.Split = rule
	rest.DeviceTime = timeLeft
	rest.Unavailable = min(timeLeft, c.unavailable(m, held, from, to))
	c.energy(&rest, d, left, cpuLeft)
	c.keep(rest)
	return nil
}

func (c *nodeCloser) held(d Device, h hold, share unit.Thousandths) record.Entry {
	e := c.hour.entry(c.node, d, record.AccountTenant)
	e.Tenant, e.Project, e.Allocation, e.Workload = h.Tenant, h.Project, h.ID, h.Workload
	e.ModelID, e.Purpose = h.ModelID, h.Purpose
	e.From, e.To = h.from, h.to
	e.DeviceTime = deviceTime(h.from, h.to, share)
	return e
}

// keep adds the unallocated entry of a device unless it is empty.
func (c *nodeCloser) keep(e record.Entry) {
	if e.DeviceTime != 0 || e.Total() != 0 || len(e.Flags) > 0 {
		c.entries = append(c.entries, e)
	}
}

// cpuPart is what some slots of a GPU get of the Grace CPU of its module: the CPU's counter has 1000 slots per GPU.
func (c *nodeCloser) cpuPart(gpu Device, ranges []attribution.Range, from, to unit.Micros) (attribution.Part, error) {
	mod, ok := c.modules[gpu.UUID]
	if !ok {
		return attribution.Part{}, nil
	}
	shifted := make([]attribution.Range, len(ranges))
	for i, r := range ranges {
		shifted[i] = attribution.Range{Lo: r.Lo + mod.place*1000, Hi: r.Hi + mod.place*1000}
	}
	return c.meters[mod.cpu.UUID].Slots(shifted, mod.gpus*1000, from, to)
}

// energy writes a device's part and its module's CPU part into an entry.
func (c *nodeCloser) energy(e *record.Entry, d Device, gpu, cpu attribution.Part) {
	e.GPU = gpu.Measured + gpu.Estimated
	e.CPU = cpu.Measured + cpu.Estimated
	all := gpu.Add(cpu)
	e.Measured, e.Estimated, e.Interpolated = all.Measured, all.Estimated, all.Interpolated
	e.BoundLow, e.BoundHigh = all.Low, all.High
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

// unavailable is device time in which nobody held the device and no counter of it ran.
func (c *nodeCloser) unavailable(m *attribution.Meter, held []hold, from, to unit.Micros) unit.DeviceTime {
	var gone unit.Milliseconds
	at := from
	slices.SortFunc(held, func(a, b hold) int { return cmp.Compare(a.from, b.from) })
	free := func(a, b unit.Micros) {
		if b > a {
			gone += unit.Milliseconds((b-a)/unit.Millisecond) - m.Covered(a, b)
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
		e := c.hour.entry(c.node, d, record.AccountUnallocated)
		c.energy(&e, d, attribution.Part{}, part)
		c.keep(e)
	}
	return nil
}

// collectCuts gives every cut made at an edge to the store, in order.
func (c *nodeCloser) collectCuts(res *Result) error {
	for _, d := range c.node.Devices {
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
			res.Cuts = append(res.Cuts, cut)
		}
	}
	return nil
}
