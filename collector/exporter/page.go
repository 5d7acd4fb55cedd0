package exporter

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/dcgmfields"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// The fields that are looked at by name.
const (
	fieldPower        = 155
	fieldEnergy       = 156
	fieldPowerInstant = 157
	fieldLimitMax     = 162
	fieldXID          = 230
	fieldCPUPower     = 1130
)

// maxDevices bounds what a page can make us remember.
const maxDevices = 1024

// noInstance stands for the GPU itself where instances are numbered.
const noInstance = -1

// entry is what a page says about one device.
type entry struct {
	device agent.Device
	values []meter.Value // by slot, without time
	has    meter.Set
	// from is, by slot, the instance whose series gave the value of a GPU: the lowest one, so that it is always the same.
	from []int64
}

// xidKey is a series of the last XID.
type xidKey struct {
	uuid     string
	instance int64
}

// page is what a page says.
type page struct {
	node     string
	entries  []*entry // in the order of agent.Source
	byUUID   map[string]*entry
	xids     map[xidKey]uint32
	refused  map[string]int // series that were not taken, by reason
	unnamed  int            // devices without a UUID
	distinct map[string]bool
}

// parsePage reads the text. An error names the line.
func parsePage(text []byte, node string) (*page, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	p := &page{node: node, byUUID: map[string]*entry{}, xids: map[xidKey]uint32{}, refused: map[string]int{}, distinct: map[string]bool{}}
	names := make([]string, 0, len(families))
	for name := range families {
		names = append(names, name)
	}
	slices.Sort(names) // the order of a map is nobody's
	for _, name := range names {
		f, known := dcgmfields.ByName(name)
		if !known || f.Type == dcgmfields.Text {
			continue
		}
		for _, m := range families[name].GetMetric() {
			if err := p.take(f, m); err != nil {
				return nil, err
			}
		}
	}
	p.finish()
	return p, nil
}

func number(m *dto.Metric) float64 {
	switch {
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Untyped != nil:
		return m.Untyped.GetValue()
	}
	return math.NaN()
}

// labels are those of a series that say whose it is.
type labels struct {
	gpu, uuid, pci, file, model, host, profile, instance, cpu string
	core, link                                                bool
	driver, serial, vbios                                     string
}

func readLabels(m *dto.Metric) (l labels) {
	for _, p := range m.GetLabel() {
		v := p.GetValue()
		switch p.GetName() {
		case "gpu":
			l.gpu = v
		case "UUID", "uuid":
			l.uuid = v
		case "pci_bus_id":
			l.pci = v
		case "device":
			l.file = v
		case "modelName":
			l.model = v
		case "Hostname", "hostname":
			l.host = v
		case "GPU_I_PROFILE":
			l.profile = v
		case "GPU_I_ID":
			l.instance = v
		case "cpu":
			l.cpu = v
		case "cpucore":
			l.core = true
		case "nvlink", "nvswitch":
			l.link = true
		case "DCGM_FI_DRIVER_VERSION", "DCGM_FI_SYSTEM_DRIVER_VERSION":
			l.driver = v
		case "DCGM_FI_DEV_SERIAL", "DCGM_FI_DEV_BOARD_SERIAL":
			l.serial = v
		case "DCGM_FI_DEV_VBIOS_VERSION":
			l.vbios = v
		}
	}
	return l
}

// take takes one series. An error means that the page is no page.
func (p *page) take(f dcgmfields.Field, m *dto.Metric) error {
	l := readLabels(m)
	if l.core || l.link {
		return nil
	}
	v, ok := valueOf(f, number(m))
	if !ok {
		p.refused["blank"]++
		return nil
	}
	if len(p.byUUID) > maxDevices {
		return fmt.Errorf("it has more than %d devices", maxDevices)
	}
	if l.cpu != "" && l.gpu == "" {
		p.takeCPU(f, l, v)
		return nil
	}
	index, ok := ordinal(l.gpu)
	if !ok {
		p.refused["no_gpu"]++
		return nil
	}
	gpu := p.gpu(l, index)
	if gpu == nil {
		p.refused["name_twice"]++
		return nil
	}
	instance := int64(noInstance)
	var part *entry
	if l.instance != "" {
		n, ok := ordinal(l.instance)
		if !ok {
			p.refused["no_instance"]++
			return nil
		}
		instance, part = int64(n), p.instance(gpu, l, n)
	}
	switch slot, ok := meter.SlotOf(f.ID); {
	case f.ID == fieldXID:
		gpu.device.Slots = gpu.device.Slots.With(meter.SlotXID)
		if v.Int > 0 && v.Int < math.MaxUint32 {
			p.xids[xidKey{gpu.device.UUID, instance}] = uint32(v.Int)
		} else {
			p.xids[xidKey{gpu.device.UUID, instance}] = 0
		}
	case f.ID == fieldLimitMax:
		gpu.device.LimitMilliwatts = unit.Milliwatts(max(0, min(v.Float, 1e5)) * 1000)
	case !ok:
	case part != nil && f.Level == dcgmfields.Instance:
		part.set(slot, v, instance)
	default:
		gpu.set(slot, v, instance)
	}
	return nil
}

// ordinal is the number of a device in a label.
func ordinal(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	return uint32(n), err == nil
}

// valueOf is a number of the page as DCGM meant it; ok is false for DCGM's own words for no value, which some exporters let
// through, and for a power of exactly 0, which is how a driver says that it does not know.
func valueOf(f dcgmfields.Field, v float64) (out meter.Value, ok bool) {
	const (
		blankInt32  = 0x7ffffff0
		blankInt64  = 9.223372036854775e18
		blankDouble = 1 << 47
	)
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0) || math.Abs(v) >= blankInt64:
		return out, false
	case f.Type == dcgmfields.Double && v >= blankDouble && v <= blankDouble+3:
		return out, false
	case f.Type == dcgmfields.Int && f.ID != fieldEnergy && v >= blankInt32 && v <= blankInt32+3:
		return out, false
	case f.ID == fieldEnergy && v < 0:
		return out, false
	case (f.ID == fieldPower || f.ID == fieldPowerInstant || f.ID == fieldCPUPower) && v <= 0:
		return out, false
	}
	return meter.Value{Int: int64(v), Float: v}, true
}

func (p *page) entry(uuid string, kind record.DeviceKind) (e *entry, fresh bool) {
	if e, ok := p.byUUID[uuid]; ok {
		return e, false
	}
	e = &entry{values: make([]meter.Value, len(meter.Fields)), from: make([]int64, len(meter.Fields))}
	e.device.UUID, e.device.Kind, e.device.Node = uuid, kind, p.node
	p.byUUID[uuid] = e
	p.entries = append(p.entries, e)
	return e, true
}

// set takes a value unless a better one is there: that of the GPU itself, or of a lower instance. Repeats for pods and
// jobs are equal, and the first is taken.
func (e *entry) set(s meter.Slot, v meter.Value, instance int64) {
	if e.has.Has(s) && e.from[s] <= instance {
		return
	}
	e.values[s], e.from[s], e.has = v, instance, e.has.With(s)
	e.device.Slots = e.device.Slots.With(s)
}

func (p *page) gpu(l labels, index uint32) *entry {
	uuid := l.uuid
	if uuid == "" {
		host := l.host
		if host == "" {
			host = p.node
		}
		uuid = fmt.Sprintf("%s/gpu-%d", host, index)
		if !p.distinct[uuid] {
			p.distinct[uuid] = true
			p.unnamed++
		}
	}
	e, fresh := p.entry(uuid, record.KindGPU)
	if e.device.Kind != record.KindGPU {
		return nil
	}
	d := &e.device
	if fresh {
		d.Index, d.PCI, d.File = index, l.pci, l.file
	}
	for _, s := range []struct {
		to   *string
		text string
	}{{&d.Model, l.model}, {&d.Driver, l.driver}, {&d.Serial, l.serial}, {&d.VBIOS, l.vbios}} {
		if *s.to == "" {
			*s.to = s.text
		}
	}
	return e
}

func (p *page) instance(gpu *entry, l labels, id uint32) *entry {
	e, fresh := p.entry(fmt.Sprintf("%s/gi-%d", gpu.device.UUID, id), record.KindMIG)
	if fresh {
		d := &e.device
		d.Parent, d.Index, d.Model, d.Profile, d.Energy = gpu.device.UUID, id, gpu.device.Model, l.profile, record.EnergyNone
		// A profile begins with the compute slices: 2g.45gb.
		if n, _, ok := strings.Cut(l.profile, "g."); ok {
			if slices, err := strconv.ParseUint(n, 10, 8); err == nil && slices <= 7 {
				d.Slices = uint32(slices)
			}
		}
		gpu.device.Slices = 7
	}
	return e
}

func (p *page) takeCPU(f dcgmfields.Field, l labels, v meter.Value) {
	index, ok := ordinal(l.cpu)
	if !ok || f.ID != fieldCPUPower {
		return
	}
	e, fresh := p.entry(fmt.Sprintf("CPU-%s-%d", p.node, index), record.KindCPU)
	if fresh {
		e.device.Index, e.device.Model = index, "Grace"
	}
	e.set(meter.SlotPower, v, noInstance)
}

// finish says where energy comes from and puts the devices in order.
func (p *page) finish() {
	for _, e := range p.entries {
		e.device.Energy = energyOf(e.device)
	}
	order := map[string]uint32{}
	for _, e := range p.entries {
		order[e.device.UUID] = e.device.Index
	}
	slices.SortFunc(p.entries, func(a, b *entry) int { return compare(a.device, b.device, order) })
}

func energyOf(d agent.Device) record.EnergySource {
	switch {
	case d.Kind == record.KindMIG:
		return record.EnergyNone
	case d.Slots.Has(meter.SlotEnergy):
		return record.EnergyHardware
	case d.Slots.Has(meter.SlotPower):
		return record.EnergyIntegrated
	}
	return record.EnergyNone
}

// compare orders GPUs, instances by GPU, CPUs, each by index. order is the index of each GPU.
func compare(a, b agent.Device, order map[string]uint32) int {
	diff := func(x, y uint32) int { return int(int64(x) - int64(y)) }
	if a.Kind != b.Kind {
		return int(a.Kind - b.Kind)
	}
	if d := diff(order[a.Parent], order[b.Parent]); a.Kind == record.KindMIG && d != 0 {
		return d
	}
	if d := diff(a.Index, b.Index); d != 0 {
		return d
	}
	return strings.Compare(a.UUID, b.UUID)
}
