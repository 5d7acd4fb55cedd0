package nvml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// entity is a device as NVML addresses it, with what is asked of it.
type entity struct {
	device   agent.Device
	handle   uintptr
	parent   int    // the row of an instance's GPU; -1 for a GPU
	instance uint32 // GPU instance id of an instance
	mig      bool   // a GPU in MIG mode
	lost     bool   // it does not answer: expected, but not asked

	quick, slow     []fieldValue // room for a batch each; edge is how many of the quick ones an extra reading asks for
	quickTo, slowTo []field
	edge            int
	asks, slowAsks  []ask
	slowSlots       []meter.Slot
	kept            []meter.Value // by slot: what is not sampled at every reading
	gpm             gpm
}

// found is what is looked at first to see whether anything has changed.
type found struct {
	handle    uintptr
	uuid      string
	code      Return // why it does not answer
	mig       bool
	instances []migFound
}

type migFound struct {
	handle uintptr
	uuid   string
	id     uint32 // of the GPU instance
}

// enumerate lists the GPUs by index, and the instances of each: those of one GPU instance are listed once, as the first of
// its compute instances.
func (c *caller) enumerate() ([]found, Return) {
	if code := c.do1(callDeviceCount, at(&c.out.number)); code != OK {
		return nil, code
	}
	out := make([]found, c.out.number)
	for i := range out {
		f := &out[i]
		c.out.handle = 0
		if f.code = c.do2(callHandle, uintptr(i), at(&c.out.handle)); f.code == OK {
			f.handle = c.out.handle
			f.uuid, f.code = c.text(callUUID, f.handle)
		}
		if f.code == OK {
			f.code = c.answers(f.handle)
		}
		if f.code.dead() {
			return nil, f.code
		}
		if f.code != OK {
			continue
		}
		if code := c.do3(callMIGMode, f.handle, at(&c.out.number), at(&c.out.second)); code == OK && c.out.number == migEnabled {
			f.mig, f.instances = true, c.instances(f.handle)
		}
	}
	return out, OK
}

// answers says why a GPU does not answer: its name and UUID are remembered by the library, its power is not.
func (c *caller) answers(gpu uintptr) Return {
	c.probe[0] = fieldValue{FieldID: fiTotalEnergy}
	c.probe[1] = fieldValue{FieldID: fiPowerInstant}
	if code := c.fields(gpu, c.probe[:]); code.dead() || code.lost() {
		return code
	}
	for _, v := range c.probe {
		if v.Status.dead() || v.Status.lost() {
			return v.Status
		}
	}
	return OK
}

func (c *caller) instances(gpu uintptr) []migFound {
	n, code := c.number(callMIGCount, gpu)
	if code != OK {
		return nil
	}
	var out []migFound
	for i := range min(n, maxPlausibleMIG) {
		c.out.handle = 0
		if c.do3(callMIGHandle, gpu, uintptr(i), at(&c.out.handle)) != OK {
			continue // a place without an instance
		}
		m := migFound{handle: c.out.handle}
		var code Return
		if m.id, code = c.number(callInstanceID, m.handle); code != OK {
			continue
		}
		if m.uuid, code = c.text(callUUID, m.handle); code != OK || m.uuid == "" {
			continue
		}
		if !slices.ContainsFunc(out, func(o migFound) bool { return o.id == m.id }) {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b migFound) int { return cmp.Compare(a.id, b.id) })
	return out
}

// shapeOf is what was found, briefly: when it differs, everything is discovered again.
func shapeOf(gpus []found) string {
	var b strings.Builder
	for i, f := range gpus {
		fmt.Fprintf(&b, "%d %s %d %t;", i, f.uuid, f.code, f.mig)
		for _, m := range f.instances {
			fmt.Fprintf(&b, "%d %s;", m.id, m.uuid)
		}
	}
	return b.String()
}

// discover makes entities of what was found: GPUs, then instances, each by index. before is what there was last time: a
// GPU that no longer answers stays in the list as what it was, with its instances, so that its silence shows.
func (s *Source) discover(gpus []found, before []entity) []entity {
	driver := ""
	s.c.out.text = [textBytes]byte{}
	if s.c.do2(callDriverVersion, at(&s.c.out.text[0]), textBytes) == OK {
		driver = text(s.c.out.text[:])
	}
	var out []entity
	for i, f := range gpus {
		if f.code != OK || f.uuid == "" {
			s.log.Error("gpu does not answer", "gpu", i, "code", f.code.String(), "remedy", f.code.Remedy())
			continue
		}
		if slices.ContainsFunc(out, func(e entity) bool { return e.device.UUID == f.uuid }) {
			s.log.Error("gpu left out", "gpu", i, "device", f.uuid, "reason", "another has the same UUID")
			continue
		}
		out = append(out, s.gpu(i, f, driver))
	}
	listed := func(uuid string) bool {
		return slices.ContainsFunc(out, func(e entity) bool { return e.device.UUID == uuid })
	}
	for _, e := range before {
		if e.parent < 0 && !listed(e.device.UUID) {
			out = append(out, entity{device: e.device, parent: -1, lost: true, mig: e.mig})
		}
	}
	slices.SortStableFunc(out, func(a, b entity) int { return cmp.Compare(a.device.Index, b.device.Index) })
	for row := range len(out) {
		gpu := out[row]
		for _, f := range gpus {
			for _, m := range f.instances {
				if f.uuid == gpu.device.UUID && !gpu.lost && !listed(m.uuid) {
					out = append(out, s.mig(row, gpu, m))
				}
			}
		}
		for _, e := range before {
			if gpu.lost && e.parent >= 0 && e.device.Parent == gpu.device.UUID {
				out = append(out, entity{device: e.device, parent: row, instance: e.instance, lost: true})
			}
		}
	}
	return out
}

func (s *Source) gpu(index int, f found, driver string) entity {
	c := s.c
	d := agent.Device{Device: record.Device{
		UUID: f.uuid, Node: s.cfg.Node, Kind: record.KindGPU, Driver: driver, Index: uint32(index), LimitMilliwatts: c.limit(f.handle),
	}}
	d.Model, _ = c.text(callName, f.handle)
	d.Serial, _ = c.text(callSerial, f.handle)
	d.VBIOS, _ = c.text(callVBIOS, f.handle)
	c.out.pci = pciInfo{}
	if c.do2(callPCI, f.handle, at(&c.out.pci)) == OK {
		d.PCI = text(c.out.pci.BusID[:])
	}
	if minor, code := c.number(callMinor, f.handle); code == OK {
		d.File = fmt.Sprintf("nvidia%d", minor)
	}
	if f.mig {
		d.Slices = c.slices(f.handle)
	}
	return entity{device: d, handle: f.handle, parent: -1, mig: f.mig}
}

// limit is the most the GPU may draw: the highest limit that can be set, else the one in force.
func (c *caller) limit(gpu uintptr) unit.Milliwatts {
	if c.do3(callLimits, gpu, at(&c.out.second), at(&c.out.number)) == OK && c.out.number > 0 && c.out.number != notAvailable32 {
		return unit.Milliwatts(c.out.number)
	}
	if mw, code := c.number(callEnforcedLimit, gpu); code == OK && mw != notAvailable32 {
		return unit.Milliwatts(mw)
	}
	return 0
}

// slices is how many compute slices the GPU has: those of its largest instance profile.
func (c *caller) slices(gpu uintptr) uint32 {
	most := uint32(0)
	for kind := range uintptr(profileKinds) {
		c.out.profile = profileInfo{}
		switch c.do3(callProfileInfo, gpu, kind, at(&c.out.profile)) {
		case OK:
			most = max(most, c.out.profile.Slices)
		case InvalidArgument: // there are no more kinds
			if most > 0 {
				return most
			}
		}
	}
	if most == 0 {
		return 7 // of every MIG GPU but the A30
	}
	return most
}

func (s *Source) mig(row int, gpu entity, m migFound) entity {
	c := s.c
	d := agent.Device{Device: record.Device{
		UUID: m.uuid, Parent: gpu.device.UUID, Node: s.cfg.Node, Kind: record.KindMIG, Model: gpu.device.Model,
		Driver: gpu.device.Driver, VBIOS: gpu.device.VBIOS, Index: m.id, Energy: record.EnergyNone,
	}, PCI: gpu.device.PCI, File: gpu.device.File}
	if name, code := c.text(callName, m.handle); code == OK && name != "" {
		d.Model, d.Profile = name, profileOf(name)
	}
	c.out.attributes = attributes{}
	if c.do2(callAttributes, m.handle, at(&c.out.attributes)) == OK {
		d.Slices = c.out.attributes.GISlices
	}
	return entity{device: d, handle: m.handle, parent: row, instance: m.id}
}

// profileOf takes the profile of the GPU instance from the name of a MIG device: "NVIDIA H100 80GB HBM3 MIG 1c.3g.40gb" is
// of a 3g.40gb.
func profileOf(name string) string {
	_, profile, ok := strings.Cut(name, " MIG ")
	if !ok {
		return ""
	}
	if part, rest, cut := strings.Cut(profile, "."); cut && strings.HasSuffix(part, "c") {
		return rest
	}
	return profile
}

// settle finds out what a device gives, by asking once for everything.
func (s *Source) settle(e *entity) (meter.Set, Return) {
	var set meter.Set
	n := len(meter.Fields)
	e.kept = make([]meter.Value, n)
	row := make([]meter.Value, n)
	if e.parent < 0 {
		all := make([]fieldValue, len(fields))
		if code := s.readFields(e, all, fields, row); code.dead() || code.lost() {
			return 0, code
		}
		for i, f := range fields {
			// One that has no value only now may have one later; a power of 0 is none, then or later.
			if v := all[i]; v.Status.never() || v.Status == OK && row[f.slot].At == 0 {
				continue
			}
			set = set.With(f.slot)
			if f.slow {
				e.slowTo, e.slowSlots = append(e.slowTo, f), append(e.slowSlots, f.slot)
				continue
			}
			e.quickTo = append(e.quickTo, f)
			if f.ofEdge() {
				e.edge = len(e.quickTo)
			}
		}
		e.quick, e.slow = make([]fieldValue, len(e.quickTo)), make([]fieldValue, len(e.slowTo))
	}
	for _, a := range asks {
		if set.Has(a.slot) || e.parent >= 0 && !a.instance {
			continue
		}
		code := s.ask(e, a, row)
		switch {
		case code.dead() || code.lost():
			return 0, code
		case code.never() || code == OK && row[a.slot].At == 0:
			continue
		}
		set = set.With(a.slot).With(a.also)
		if a.slow {
			e.slowAsks, e.slowSlots = append(e.slowAsks, a), append(e.slowSlots, a.slot)
		} else {
			e.asks = append(e.asks, a)
		}
	}
	profiled, code := s.openProfiling(e)
	if code.dead() || code.lost() {
		return 0, code
	}
	return set | profiled, OK
}
