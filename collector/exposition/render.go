package exposition

import (
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/wattledger/wattledger/collector/dcgmfields"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// The metrics of our own about XIDs: counted for ever, with the time of the last, where dcgm-exporter has a gauge that stays and
// a count that falls.
const (
	xidTotalName = "wattledger_collector_device_xid_total"
	xidSeenName  = "wattledger_collector_device_xid_last_seen_timestamp_seconds"
)

// page is what a page is made from, kept for the next one.
type page struct {
	now      unit.Micros
	frame    *frame
	text     []byte // labels of series, one after the other
	series   []series
	switches []Switch
	stale    int
}

// series is a device as one holder has it, or as it is.
type series struct {
	device   int
	from, to int // in text: the labels up to those of the holder
	holder   Holder
}

var pages = sync.Pool{New: func() any { return new(page) }}

// Append appends the page to out.
func (e *Exposition) Append(out []byte) []byte {
	start := time.Now()
	p := pages.Get().(*page)
	p.now, p.frame = e.now(), e.borrow()
	out = e.appendPage(out, p)
	e.giveBack()
	e.met.stale.Add(float64(p.stale))
	p.frame, p.stale = nil, 0
	pages.Put(p)
	e.met.scrapes.Inc()
	e.met.rendered.Observe(time.Since(start).Seconds())
	return out
}

func (e *Exposition) appendPage(out []byte, p *page) []byte {
	e.prepare(p)
	p.switches = p.switches[:0]
	if e.ports.Switches != nil {
		p.switches = e.ports.Switches(p.switches)
	}
	for k := range e.counters.metrics {
		switch c := &e.counters.metrics[k]; {
		case c.Field.ID == fieldXID:
			out = e.appendXID(out, p, c)
		case c.Field.Level == dcgmfields.Switch:
			out = e.appendSwitches(out, p, c, e.every[k])
		default:
			out = e.appendField(out, p, k)
		}
	}
	return e.appendXIDCounts(out, p)
}

// prepare writes the labels of each series once.
func (e *Exposition) prepare(p *page) {
	p.text, p.series = p.text[:0], p.series[:0]
	for i := range p.frame.layout.heads {
		h := &p.frame.layout.heads[i]
		if !h.shown {
			continue
		}
		from := len(p.text)
		p.text = append(p.text, h.labels...)
		if e.ports.Label != nil {
			for k, c := range e.counters.labels {
				if v := e.ports.Label(h.uuid, k); v != "" {
					p.text = label(p.text, c.Name, v)
				}
			}
		}
		s := series{device: i, from: from, to: len(p.text)}
		var holders []Holder
		if e.ports.Holders != nil && h.kind != record.KindCPU {
			holders = e.ports.Holders(h.uuid)
		}
		switch {
		case len(holders) == 1:
			s.holder = holders[0]
			p.series = append(p.series, s)
		case len(holders) > 1 && e.cfg.SeriesPerHolder:
			for k, o := range holders {
				if !slices.Contains(holders[:k], o) { // a series twice makes the page invalid
					s.holder = o
					p.series = append(p.series, s)
				}
			}
		default:
			p.series = append(p.series, s)
		}
	}
}

// header starts a family.
func header(out []byte, name, kind, help string) []byte {
	out = append(append(append(out, "# HELP "...), name...), ' ')
	out = append(escape(out, help, false), "\n# TYPE "...)
	out = append(append(append(out, name...), ' '), kind...)
	return append(out, '\n')
}

// open writes a sample up to the labels of the holder.
func (p *page) open(out []byte, name string, s *series) []byte {
	out = append(append(out, name...), '{')
	return append(out, p.text[s.from:s.to]...)
}

// held writes the labels of the holder, and those of an XID among them: dcgm-exporter sorts them.
func (e *Exposition) held(out []byte, h *Holder, xid int64) []byte {
	pod, namespace, container := "pod", "namespace", "container"
	if e.cfg.OldNamespace {
		pod, namespace, container = "pod_name", "pod_namespace", "container_name"
	}
	some := func(name, value string) {
		if value != "" {
			out = append(append(append(out, ','), name...), `="`...)
			out = append(escape(out, value, true), '"')
		}
	}
	some(container, h.Container)
	if xid >= 0 {
		some("err_code", strconv.FormatInt(xid, 10))
		some("err_msg", xidText(uint32(xid)))
	}
	some("hpc_job", h.HPCJob)
	if e.cfg.OldNamespace {
		some(pod, h.Pod)
		some(namespace, h.Namespace)
	} else {
		some(namespace, h.Namespace)
		some(pod, h.Pod)
	}
	some("vgpu", h.VGPU)
	return out
}

// value writes a number as dcgm-exporter does: integers as they are, others with six decimals.
func value(out []byte, t dcgmfields.Type, v meter.Value) []byte {
	out = append(out, "} "...)
	if t == dcgmfields.Double {
		out = strconv.AppendFloat(out, v.Float, 'f', 6, 64)
	} else {
		out = strconv.AppendInt(out, v.Int, 10)
	}
	return append(out, '\n')
}

// fresh says whether a value is shown.
func (p *page) fresh(v meter.Value, limit unit.Micros) bool {
	if v.At == 0 || math.IsNaN(v.Float) || math.IsInf(v.Float, 0) {
		return false
	}
	if limit > 0 && p.now-v.At > limit {
		p.stale++
		return false
	}
	return true
}

func (e *Exposition) appendField(out []byte, p *page, k int) []byte {
	c, n, started := &e.counters.metrics[k], len(e.counters.metrics), false
	for i := range p.series {
		s := &p.series[i]
		v := p.frame.values[s.device*n+k]
		if !p.frame.layout.heads[s.device].shows(c.Field) || !p.fresh(v, e.every[k]) {
			continue
		}
		if !started {
			out, started = header(out, c.Name, c.Type, c.Help), true
		}
		out = e.held(p.open(out, c.Name, s), &s.holder, -1)
		out = value(out, c.Field.Type, v)
	}
	return out
}

// appendXID writes the last XID of each device that can have one, for ever: alerts ask for it. One of an instance shows when there
// was one.
func (e *Exposition) appendXID(out []byte, p *page, c *Counter) []byte {
	started := false
	for i := range p.series {
		s := &p.series[i]
		h, d := &p.frame.layout.heads[s.device], &p.frame.layout.devices[s.device]
		xid := e.xids.lastOf(h.uuid)
		if !h.shows(c.Field) || xid == 0 && (h.kind != record.KindGPU || !d.Slots.Has(meter.SlotXID)) {
			continue
		}
		if !started {
			out, started = header(out, c.Name, c.Type, c.Help), true
		}
		out = e.held(p.open(out, c.Name, s), &s.holder, int64(xid))
		out = value(out, dcgmfields.Int, meter.Value{Int: int64(xid)})
	}
	return out
}

func (e *Exposition) appendSwitches(out []byte, p *page, c *Counter, limit unit.Micros) []byte {
	started := false
	for _, w := range p.switches {
		i := slices.IndexFunc(w.Values, func(v FieldValue) bool { return v.Field == c.Field.ID })
		if i < 0 || !p.fresh(w.Values[i].Value, limit) {
			continue
		}
		if !started {
			out, started = header(out, c.Name, c.Type, c.Help), true
		}
		out = append(append(out, c.Name...), '{')
		out = append(out, e.hostLabel(label(nil, "nvswitch", strconv.FormatUint(uint64(w.ID), 10)))...)
		out = value(out, c.Field.Type, w.Values[i].Value)
	}
	return out
}

// appendXIDCounts writes the counts of XIDs: dcgm-exporter's within its window when the CSV asks for it, and ours.
func (e *Exposition) appendXIDCounts(out []byte, p *page) []byte {
	type family struct {
		name, kind, help string
		sample           func(out []byte, t xidTotal) []byte
	}
	families := []family{
		{
			name: xidTotalName, kind: "counter", help: "XID errors since the collector started, by number.",
			sample: func(out []byte, t xidTotal) []byte { return strconv.AppendUint(append(out, "} "...), t.count, 10) },
		},
		{
			name: xidSeenName, kind: "gauge", help: "When the last XID error of a number happened.",
			sample: func(out []byte, t xidTotal) []byte {
				return strconv.AppendFloat(append(out, "} "...), float64(t.at)/1e6, 'f', 6, 64)
			},
		},
	}
	if c := e.counters.xids; c != nil {
		families = append(families, family{
			name: c.Name, kind: c.Type, help: c.Help,
			sample: func(out []byte, t xidTotal) []byte {
				return strconv.AppendInt(append(out, "} "...), int64(e.xids.within(t.uuid, t.xid, p.now)), 10)
			},
		})
	}
	for i := range families {
		f, started := &families[i], false
		for k := range p.series {
			s, holder := &p.series[k], p.series[k].holder
			if f.name != xidCount {
				if k > 0 && p.series[k-1].device == s.device {
					continue
				}
				holder = Holder{} // a counter that changed its labels with each holder would begin anew with each
			}
			for _, t := range e.xids.of(p.frame.layout.heads[s.device].uuid) {
				if !started {
					out, started = header(out, f.name, f.kind, f.help), true
				}
				out = p.open(out, f.name, s)
				if f.name == xidCount {
					out = append(append(out, `,window_size_in_ms="`...), strconv.FormatInt(e.cfg.XIDWindow.Milliseconds(), 10)...)
					out = append(out, '"')
				}
				out = append(append(out, `,xid="`...), strconv.FormatUint(uint64(t.xid), 10)...)
				out = e.held(append(out, '"'), &holder, -1)
				out = append(f.sample(out, t), '\n')
			}
		}
	}
	return out
}
