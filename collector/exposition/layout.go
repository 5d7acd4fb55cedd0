package exposition

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/dcgmfields"
	"github.com/wattledger/wattledger/schemas/record"
)

// layout is what a set of devices is called.
type layout struct {
	devices []agent.Device
	heads   []head
}

// head is a device and the labels of each of its series.
type head struct {
	kind record.DeviceKind
	uuid string
	// labels are those that do not change while the devices do not: gpu to the host, without braces.
	labels string
	// split is set for a GPU whose instances are shown in its place: it shows what it has only as a whole.
	split bool
	shown bool
}

func (e *Exposition) newLayout(devices []agent.Device) *layout {
	l := &layout{devices: slices.Clone(devices), heads: make([]head, len(devices))}
	byUUID := make(map[string]int, len(devices))
	split := map[string]bool{}
	for i, d := range devices {
		byUUID[d.UUID] = i
		if d.Kind == record.KindMIG {
			split[d.Parent] = true
		}
	}
	for i, d := range devices {
		h := &l.heads[i]
		h.kind, h.uuid = d.Kind, d.UUID
		var b []byte
		switch d.Kind {
		case record.KindGPU:
			b = e.gpuLabels(b, d)
			h.split = split[d.UUID] && e.entities.kind == 'f'
			h.shown = e.entities.kind == 'f' || e.entities.kind == 'g' && e.entities.has(d.Index)
		case record.KindMIG:
			at, ok := byUUID[d.Parent]
			if !ok {
				continue
			}
			gpu := devices[at]
			b = e.gpuLabels(b, gpu)
			if d.Profile != "" {
				b = label(b, "GPU_I_PROFILE", d.Profile)
			}
			b = label(b, "GPU_I_ID", strconv.FormatUint(uint64(d.Index), 10))
			h.shown = e.entities.kind == 'f' || e.entities.kind == 'i' && e.entities.has(d.Index)
		case record.KindCPU:
			b = label(b, "cpu", strconv.FormatUint(uint64(d.Index), 10))
			h.shown = true
		}
		h.labels = string(e.hostLabel(b))
	}
	return l
}

func (e *Exposition) gpuLabels(b []byte, d agent.Device) []byte {
	b = label(b, "gpu", strconv.FormatUint(uint64(d.Index), 10))
	if e.cfg.OldNamespace {
		b = label(b, "uuid", d.UUID)
	} else {
		b = label(b, "UUID", d.UUID)
	}
	b = label(b, "pci_bus_id", d.PCI)
	b = label(b, "device", d.File)
	model := d.Model
	if e.cfg.DashesInModel {
		model = strings.Join(strings.Fields(model), "-")
	}
	return label(b, "modelName", model)
}

func (e *Exposition) hostLabel(b []byte) []byte {
	if e.cfg.HostnameLabel == "off" || e.cfg.Host == "" {
		return b
	}
	return label(b, e.cfg.HostnameLabel, e.cfg.Host)
}

// shows says whether a device has a series for a field.
func (h *head) shows(f dcgmfields.Field) bool {
	if !h.shown {
		return false
	}
	switch h.kind {
	case record.KindGPU:
		// XIDs are of an instance where the driver knows which, else of the GPU: both are shown.
		return f.Level == dcgmfields.GPU || f.Level == dcgmfields.Instance && (!h.split || f.ID == fieldXID)
	case record.KindMIG:
		return f.Level == dcgmfields.Instance
	case record.KindCPU:
		return f.Level == dcgmfields.CPU
	}
	return false
}

// label appends a label, after a comma when it is not the first.
func label(b []byte, name, value string) []byte {
	if len(b) > 0 {
		b = append(b, ',')
	}
	b = append(append(b, name...), `="`...)
	return append(escape(b, value, true), '"')
}

// escape writes a text as the format wants it: quotes only matter in labels.
func escape(b []byte, s string, quotes bool) []byte {
	for _, r := range s { // what is not UTF-8 comes as U+FFFD
		switch {
		case r == '\\':
			b = append(b, `\\`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '"' && quotes:
			b = append(b, `\"`...)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}
