package dcgm

import (
	"cmp"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Entity statuses that mean the engine cannot talk to a GPU.
const (
	statusInaccessible = 3
	statusLost         = 4
	statusDetached     = 7
)

// entity is a device as the engine addresses it.
type entity struct {
	pair               entityPair
	parts              []entityPair // compute instances, which can report events of their own
	device             record.Device
	pci, file, profile string
	labels             []string // by Config.Labels
	mig                bool     // a GPU in MIG mode
	lost               bool     // it does not answer: expected, but not asked
}

// discover finds GPUs, MIG instances and CPUs, in that order, each by index. before is what was found last time: a GPU that
// no longer answers, or is no longer listed, stays as what it was, so that its silence shows.
func (c *Conn) discover(cfg Config, before []entity, log *slog.Logger) ([]entity, error) {
	gpus, err := c.gpus(cfg, before, log)
	if err != nil {
		return nil, err
	}
	instances, err := c.instances(cfg, gpus)
	if err != nil {
		return nil, err
	}
	cpus, err := c.cpus(cfg)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(gpus, instances, cpus)
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

// gpuIDs lists the engine's GPU ids, inaccessible ones included. There are none while there is no driver.
func (c *Conn) gpuIDs() ([]uint32, error) {
	ids, n := new([maxGPUs]uint32), new(int32)
	switch r := c.lib.allDevices(c.h, &ids[0], n); r {
	case OK:
		return ids[:max(0, min(int(*n), maxGPUs))], nil
	case NVMLNotLoaded:
		return nil, nil
	default:
		return nil, check(r, "list the GPUs of %s", c.where())
	}
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

func (c *Conn) gpus(cfg Config, before []entity, log *slog.Logger) ([]entity, error) {
	ids, err := c.gpuIDs()
	if err != nil {
		return nil, err
	}
	var pairs []entityPair
	for _, id := range ids {
		if c.answers(id) {
			pairs = append(pairs, entityPair{groupGPU, id})
		}
	}
	known, err := c.facts(pairs, append(slices.Clone(cfg.Labels), fieldDriver, fieldName, fieldNvmlIndex, fieldSerial, fieldUUID,
		fieldMinor, fieldPCI, fieldMIGMode, fieldMaxSlices, fieldVBIOS, fieldLimitMax, fieldLimitDefault, fieldLimit)...)
	if err != nil {
		return nil, err
	}
	driver := c.driver(pairs, known)
	var out []entity
	for _, p := range pairs {
		if known.text(p, fieldUUID) != "" {
			out = append(out, c.gpu(cfg, p, known, driver))
		}
	}
	for _, id := range ids {
		p := entityPair{groupGPU, id}
		found := func(e entity) bool { return e.pair == p }
		if !slices.ContainsFunc(out, found) && !slices.ContainsFunc(before, found) {
			log.Error("gpu left out", "gpu", id, "reason", "it does not answer and was never read", "code", known[factKey{p, fieldUUID}].status.String())
		}
	}
	// One GPU that fell off the bus must neither silence the others nor be forgotten.
	for _, e := range before {
		if e.device.Kind != record.KindGPU || slices.ContainsFunc(out, func(o entity) bool { return o.device.UUID == e.device.UUID }) {
			continue
		}
		if !e.lost {
			log.Error("gpu does not answer", "gpu", e.pair.ID, "device", e.device.UUID)
		}
		e.lost = true
		out = append(out, e)
	}
	slices.SortStableFunc(out, func(a, b entity) int {
		return cmp.Or(cmp.Compare(a.device.Index, b.device.Index), cmp.Compare(a.pair.ID, b.pair.ID))
	})
	return out, nil
}

// driver is the version of the driver: of the node, but asked for with a GPU.
func (c *Conn) driver(gpus []entityPair, known facts) string {
	node := entityPair{groupNone, 0}
	for _, p := range append(slices.Clone(gpus), node) {
		if v := known.text(p, fieldDriver); v != "" {
			return v
		}
	}
	if c.old || len(gpus) == 0 {
		return ""
	}
	known, err := c.facts([]entityPair{node}, fieldDriver)
	if err != nil {
		return "" // it is a description, no reason to go without the devices
	}
	return known.text(node, fieldDriver)
}

func (c *Conn) gpu(cfg Config, p entityPair, known facts, driver string) entity {
	e := entity{pair: p, pci: known.text(p, fieldPCI), labels: known.labels(p, cfg.Labels), device: record.Device{
		UUID: known.text(p, fieldUUID), Node: cfg.Node, Kind: record.KindGPU, Model: known.text(p, fieldName), Serial: known.text(p, fieldSerial),
		Driver: driver, VBIOS: known.text(p, fieldVBIOS), Index: p.ID,
	}}
	for _, f := range []uint16{fieldLimitMax, fieldLimit, fieldLimitDefault} {
		// The most the GPU may draw: the highest limit that can be set, else the one in force.
		if w, ok := known.number(p, f); ok && w.Float > 0 && e.device.LimitMilliwatts == 0 {
			e.device.LimitMilliwatts = unit.Milliwatts(w.Float * 1000)
		}
	}
	if n, ok := known.number(p, fieldNvmlIndex); ok && n.Int >= 0 {
		e.device.Index = uint32(n.Int)
	}
	if n, ok := known.number(p, fieldMinor); ok && n.Int >= 0 {
		e.file = fmt.Sprintf("nvidia%d", n.Int)
	}
	if n, ok := known.number(p, fieldMIGMode); ok && n.Int == 1 {
		e.mig, e.device.Slices = true, 7 // of every MIG GPU so far
		if m, ok := known.number(p, fieldMaxSlices); ok && m.Int > 0 {
			e.device.Slices = uint32(m.Int)
		}
	}
	return e
}

// labels are facts as text, in the order asked for.
func (f facts) labels(p entityPair, fields []uint16) []string {
	out := make([]string, len(fields))
	for i, field := range fields {
		out[i] = f.words(p, field)
	}
	return out
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

// profileName finds a MIG profile in the name that a driver gives an instance, such as NVIDIA B200 MIG 1g.23gb.
var profileName = regexp.MustCompile(`\b\d+g\.\d+gb(\+[a-z0-9.]+)?`)

// instances are the GPU instances; compute instances share their GPU instance's row.
func (c *Conn) instances(cfg Config, gpus []entity) ([]entity, error) {
	list, err := c.hierarchy()
	if err != nil {
		return nil, err
	}
	byUUID := map[string]entity{}
	for _, g := range gpus {
		if !g.lost {
			byUUID[g.device.UUID] = g
		}
	}
	var out []entity
	var pairs []entityPair
	for i := range list {
		m := &list[i]
		parent := text(m.GPUUUID[:])
		gpu, known := byUUID[parent]
		switch {
		case !known: // its GPU was left out, and said so
		case m.Entity.Group == groupGPUI:
			out = append(out, entity{pair: m.Entity, labels: slices.Clone(gpu.labels), pci: gpu.pci, file: gpu.file, device: record.Device{
				UUID: fmt.Sprintf("%s/gi-%d", parent, m.NvmlGI), Parent: parent, Node: cfg.Node, Kind: record.KindMIG, Model: gpu.device.Model,
				Driver: gpu.device.Driver, VBIOS: gpu.device.VBIOS, Index: m.NvmlGI, Slices: m.Slices, Energy: record.EnergyNone,
			}})
			pairs = append(pairs, m.Entity)
		case m.Entity.Group == groupGPUCI:
			if at := slices.Index(pairs, m.Parent); at >= 0 {
				out[at].parts = append(out[at].parts, m.Entity)
			}
		}
	}
	own := slices.DeleteFunc(slices.Clone(cfg.Labels), func(f uint16) bool { m := c.lib.meta(f); return m == nil || !m.ofGroup(groupGPUI) })
	known, err := c.facts(pairs, append(own, fieldUUID, fieldName)...)
	if err != nil {
		return nil, err
	}
	for i := range out {
		e := &out[i]
		// DCGM answers field 54 on an instance with the MIG-… UUID of the driver; older ones with the GPU's or not at all.
		if s := known.text(e.pair, fieldUUID); strings.HasPrefix(s, "MIG-") {
			e.device.UUID = s
		}
		if s := known.text(e.pair, fieldName); s != "" {
			e.device.Model, e.profile = s, profileName.FindString(s)
		}
		for k, f := range cfg.Labels {
			if slices.Contains(own, f) {
				e.labels[k] = known.words(e.pair, f)
			}
		}
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

func (c *Conn) cpus(cfg Config) ([]entity, error) {
	h, err := c.sockets()
	if err != nil {
		return nil, err
	}
	var pairs []entityPair
	for i := range h.List[:h.Count] {
		pairs = append(pairs, entityPair{groupCPU, h.List[i].ID})
	}
	known, err := c.facts(pairs, append(slices.Clone(cfg.Labels), fieldUUID, fieldCPULimit, fieldCPUModel)...)
	if err != nil {
		return nil, err
	}
	var out []entity
	for i, p := range pairs {
		d := record.Device{
			UUID: fmt.Sprintf("CPU-%s-%d", cfg.Node, p.ID), Node: cfg.Node, Kind: record.KindCPU, Model: "Grace",
			Serial: text(h.List[i].Serial[:]), Index: p.ID, Energy: record.EnergyIntegrated,
		}
		// Both sockets of a module can state the same serial number, so the socket is part of the name.
		if d.Serial != "" {
			d.UUID = fmt.Sprintf("CPU-%s-%d", d.Serial, p.ID)
		}
		if t := known.text(p, fieldUUID); strings.HasPrefix(t, "CPU-") {
			d.UUID = t // an engine that knows one is believed
		}
		if n, ok := known.number(p, fieldCPULimit); ok && n.Float > 0 {
			d.LimitMilliwatts = unit.Milliwatts(n.Float * 1000)
		}
		if t := known.text(p, fieldCPUModel); t != "" {
			d.Model = t
		}
		out = append(out, entity{pair: p, device: d, labels: known.labels(p, cfg.Labels)})
	}
	return out, nil
}

// switchIDs lists the NVSwitches. There are none where the module is not loaded.
func (c *Conn) switchIDs() ([]uint32, error) {
	ids, n := new([maxSwitches]uint32), new(int32)
	*n = maxSwitches
	switch r := c.lib.entities(c.h, groupSwitch, &ids[0], n, 0); r {
	case OK:
		return ids[:max(0, min(int(*n), maxSwitches))], nil
	case NotSupported, ModuleNotLoaded, LibraryNotFound, NVMLNotLoaded, BadParam:
		return nil, nil
	default:
		return nil, check(r, "list the NVSwitches of %s", c.where())
	}
}

// shape is what the engine has, briefly: when it differs, everything is discovered again. The UUIDs of instances are in it,
// since one that is made anew can have the id of the one before, and the version of the driver, since counters begin anew
// with it.
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
	switches, err := c.switchIDs()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	var pairs, gpus []entityPair
	status := new(int32)
	for _, id := range ids {
		*status = 0
		c.lib.gpuStatus(c.h, id, status)
		fmt.Fprintf(&b, "gpu %d %d;", id, *status)
		if *status <= 1 && gpus == nil {
			gpus = []entityPair{{groupGPU, id}} // any one knows the driver
		}
	}
	for i := range list {
		e := &list[i]
		fmt.Fprintf(&b, "%d/%d is %d.%d in %s slices %d;", e.Entity.Group, e.Entity.ID, e.NvmlGI, e.NvmlCI, text(e.GPUUUID[:]), e.Slices)
		if e.Entity.Group == groupGPUI {
			pairs = append(pairs, e.Entity)
		}
	}
	fmt.Fprintf(&b, "cpus %d;switches %v;", cpus.Count, switches)
	uuids, err := c.facts(pairs, fieldUUID)
	if err != nil {
		return "", err
	}
	for _, p := range pairs {
		fmt.Fprintf(&b, "%s;", uuids.text(p, fieldUUID))
	}
	known, err := c.facts(gpus, fieldDriver)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&b, "driver %s", c.driver(gpus, known))
	return b.String(), nil
}
