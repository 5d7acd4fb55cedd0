package dcgm

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Identity fields, read live.
const (
	fieldName      = 50
	fieldNvmlIndex = 52
	fieldUUID      = 54
	fieldMaxSlices = 69
	fieldCPULimit  = 1131
	fieldCPUModel  = 1141
)

// Entity statuses that mean the engine cannot talk to a GPU.
const (
	statusInaccessible = 3
	statusLost         = 4
	statusDetached     = 7
)

// entity is a device as the engine addresses it.
type entity struct {
	pair   entityPair
	device record.Device
	mig    bool // a GPU in MIG mode
	lost   bool // it does not answer: expected, but not asked
}

// discover finds GPUs, MIG instances and CPUs, in that order, each by id. before is what was found last time: a GPU
// that no longer answers stays in the list as what it was, so that its silence shows.
func (c *Conn) discover(node string, before []entity, log *slog.Logger) ([]entity, error) {
	gpus, err := c.gpus(node, before, log)
	if err != nil {
		return nil, err
	}
	instances, err := c.instances(node, gpus)
	if err != nil {
		return nil, err
	}
	cpus, err := c.cpus(node)
	if err != nil {
		return nil, err
	}
	all := append(append(gpus, instances...), cpus...)
	seen := map[string]entityPair{}
	for _, e := range all {
		if other, twice := seen[e.device.UUID]; twice {
			return nil, fmt.Errorf("entities %v and %v both say they are %s", other, e.pair, e.device.UUID)
		}
		seen[e.device.UUID] = e.pair
		if e.pair.ID >= maxEntityID {
			return nil, fmt.Errorf("entity %v of %s has an id beyond %d", e.pair, e.device.UUID, maxEntityID)
		}
	}
	return all, nil
}

// gpuIDs lists the engine's GPU ids, inaccessible ones included.
func (c *Conn) gpuIDs() ([]uint32, error) {
	ids, n := new([maxGPUs]uint32), new(int32)
	if err := check(c.lib.allDevices(c.h, &ids[0], n), "list the GPUs of %s", c.where()); err != nil {
		return nil, err
	}
	return ids[:max(0, min(int(*n), maxGPUs))], nil
}

// answers says whether the engine can talk to a GPU. When it does not say, we try.
func (c *Conn) answers(gpu uint32) bool {
	status := new(int32)
	if c.lib.gpuStatus(c.h, gpu, status) != OK {
		return true
	}
	switch *status {
	case statusInaccessible, statusLost, statusDetached:
		return false
	}
	return true
}

func (c *Conn) gpus(node string, before []entity, log *slog.Logger) ([]entity, error) {
	ids, err := c.gpuIDs()
	if err != nil {
		return nil, err
	}
	var out []entity
	for _, id := range ids {
		pair := entityPair{groupGPU, id}
		a := &deviceAttributesV3{Version: versionAttributesV3}
		r := c.lib.attributes(c.h, id, a)
		err := check(r, "read the attributes of GPU %d", id)
		if r.dead() || r == FunctionNotFound || r == VersionMismatch {
			return nil, err
		}
		if err != nil || !c.answers(id) {
			// One GPU that fell off the bus must not silence the others.
			i := slices.IndexFunc(before, func(e entity) bool { return e.pair == pair })
			if i < 0 {
				log.Error("gpu left out", "gpu", id, "reason", "it does not answer and was never read", "error", err)
				continue
			}
			e := before[i]
			e.lost = true
			log.Error("gpu does not answer", "gpu", id, "device", e.device.UUID, "error", err)
			out = append(out, e)
			continue
		}
		d := record.Device{
			UUID: text(a.identifiers.UUID[:]), Node: node, Kind: record.KindGPU, Model: text(a.identifiers.Name[:]),
			Serial: text(a.identifiers.Serial[:]), Driver: text(a.identifiers.Driver[:]), VBIOS: text(a.identifiers.VBIOS[:]),
			Index: id, LimitMilliwatts: limit(a),
		}
		if d.UUID == "" {
			log.Error("gpu left out", "gpu", id, "reason", "it states no UUID")
			continue
		}
		e := entity{pair: pair, device: d, mig: a.settings.MIG == 1}
		if v, err := c.live([]entityPair{e.pair}, []uint16{fieldNvmlIndex, fieldMaxSlices}); err == nil {
			for i := range v {
				switch n, ok := v[i].number(); {
				case !ok || n.Int < 0:
				case v[i].FieldID == fieldNvmlIndex:
					e.device.Index = uint32(n.Int)
				case v[i].FieldID == fieldMaxSlices && e.mig:
					e.device.Slices = uint32(n.Int)
				}
			}
		}
		if e.mig && e.device.Slices == 0 {
			e.device.Slices = 7 // of every MIG GPU so far
		}
		out = append(out, e)
	}
	return out, nil
}

// limit is the most the GPU may draw: the highest limit that can be set, else the one in force.
func limit(a *deviceAttributesV3) unit.Milliwatts {
	for _, w := range []uint32{a.powerLimits.Max, a.powerLimits.Enforced, a.powerLimits.Default} {
		if w > 0 && !blankSmall(w) {
			return unit.Milliwatts(w) * 1000
		}
	}
	return 0
}

// hierarchy is the tree of MIG instances, empty when MIG is off everywhere. It is valid until the next call.
func (c *Conn) hierarchy() ([]migEntry, error) {
	m := &c.mig
	m.Version, m.Count = versionMIGV2, 0
	switch r := c.lib.migHierarchy(c.h, m); r {
	case OK:
		return m.List[:min(int(m.Count), len(m.List))], nil
	case NotSupported, NVMLNotLoaded:
		return nil, nil
	default:
		return nil, check(r, "list the MIG instances of %s", c.where())
	}
}

// instances are the GPU instances; compute instances share their GPU instance's row.
func (c *Conn) instances(node string, gpus []entity) ([]entity, error) {
	list, err := c.hierarchy()
	if err != nil {
		return nil, err
	}
	byUUID := map[string]record.Device{}
	for _, g := range gpus {
		byUUID[g.device.UUID] = g.device
	}
	var out []entity
	for i := range list {
		m := &list[i]
		if m.Entity.Group != groupGPUI {
			continue
		}
		parent := text(m.GPUUUID[:])
		gpu, known := byUUID[parent]
		if !known {
			continue // its GPU was left out, and said so
		}
		d := record.Device{
			UUID: fmt.Sprintf("%s/gi-%d", parent, m.NvmlGI), Parent: parent, Node: node, Kind: record.KindMIG, Model: gpu.Model,
			Driver: gpu.Driver, VBIOS: gpu.VBIOS, Index: m.NvmlGI, Slices: m.Slices, Energy: record.EnergyNone,
		}
		// DCGM answers field 54 on an instance with the MIG-… UUID of the driver; older ones with the GPU's or not at all.
		if v, err := c.live([]entityPair{m.Entity}, []uint16{fieldUUID, fieldName}); err == nil {
			for i := range v {
				switch s := v[i].text(); {
				case v[i].FieldID == fieldUUID && strings.HasPrefix(s, "MIG-"):
					d.UUID = s
				case v[i].FieldID == fieldName && s != "":
					d.Model = s
				}
			}
		}
		out = append(out, entity{pair: m.Entity, device: d})
	}
	return out, nil
}

// sockets lists the Grace CPUs. There are none on x86, where the module is not loaded. It is valid until the next call.
func (c *Conn) sockets() (*cpuHierarchyV2, error) {
	h := &c.cpu
	h.Version, h.Count = versionCPUV2, 0
	switch r := c.lib.cpuHierarchy(c.h, h); r {
	case OK:
		h.Count = min(h.Count, uint32(len(h.List)))
		return h, nil
	case NotSupported, ModuleNotLoaded, LibraryNotFound:
		h.Count = 0
		return h, nil
	default:
		return nil, check(r, "list the CPUs of %s", c.where())
	}
}

func (c *Conn) cpus(node string) ([]entity, error) {
	h, err := c.sockets()
	if err != nil {
		return nil, err
	}
	var out []entity
	for i := range h.List[:h.Count] {
		s := &h.List[i]
		d := record.Device{
			UUID: fmt.Sprintf("CPU-%s-%d", node, s.ID), Node: node, Kind: record.KindCPU, Model: "Grace",
			Serial: text(s.Serial[:]), Index: s.ID, Energy: record.EnergyIntegrated,
		}
		// Both sockets of a module can state the same serial number, so the socket is part of the name.
		if d.Serial != "" {
			d.UUID = fmt.Sprintf("CPU-%s-%d", d.Serial, s.ID)
		}
		e := entity{pair: entityPair{groupCPU, s.ID}, device: d}
		if v, err := c.live([]entityPair{e.pair}, []uint16{fieldUUID, fieldCPULimit, fieldCPUModel}); err == nil {
			for i := range v {
				if t := v[i].text(); v[i].FieldID == fieldUUID && strings.HasPrefix(t, "CPU-") {
					e.device.UUID = t // an engine that knows one is believed
				}
				if n, ok := v[i].number(); ok && v[i].FieldID == fieldCPULimit && n.Float > 0 {
					e.device.LimitMilliwatts = unit.Milliwatts(n.Float * 1000)
				}
				if t := v[i].text(); v[i].FieldID == fieldCPUModel && t != "" {
					e.device.Model = t
				}
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// shape is what the engine has, briefly: when it differs, everything is discovered again.
func (c *Conn) shape() (string, error) {
	ids, err := c.gpuIDs()
	if err != nil {
		return "", err
	}
	list, err := c.hierarchy()
	if err != nil {
		return "", err
	}
	cpus, err := c.sockets()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	status := new(int32)
	for _, id := range ids {
		*status = 0
		c.lib.gpuStatus(c.h, id, status)
		fmt.Fprintf(&b, "gpu %d %d;", id, *status)
	}
	for i := range list {
		e := &list[i]
		fmt.Fprintf(&b, "%d/%d in %s slices %d;", e.Entity.Group, e.Entity.ID, text(e.GPUUUID[:]), e.Slices)
	}
	fmt.Fprintf(&b, "cpus %d", cpus.Count)
	return b.String(), nil
}
