package exporter

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Source is an agent.Source over the page of a dcgm-exporter.
type Source struct {
	cfg    Config
	client *http.Client
	now    func() unit.Micros
	log    *slog.Logger
	met    *metrics

	// The rest is used by the caller's goroutine only.
	buf     bytes.Buffer
	devices []agent.Device
	kept    map[string][]meter.Value // by UUID: the last value of each slot with the time that first showed it
	missing map[string]int           // pages in a row on which an instance was not
	waiting *page                    // read, and of devices that nobody has asked for yet
	at      unit.Micros              // when waiting was asked for
	xids    map[xidKey]uint32
	events  []agent.Event
	changes changes
	warned  bool
}

// New makes a source that has read nothing: it has no devices until the first reading, which says so with agent.ErrChanged.
// now is the clock that scrapes are stamped with.
func New(cfg Config, now func() unit.Micros, log *slog.Logger, reg prometheus.Registerer) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("dcgm-exporter: %w", err)
	}
	client, err := cfg.client()
	if err != nil {
		return nil, fmt.Errorf("dcgm-exporter: %w", err)
	}
	return &Source{
		cfg: cfg, client: client, now: now, log: log.With("url", cfg.URL), met: newMetrics(reg, cfg.Node),
		kept: map[string][]meter.Value{}, missing: map[string]int{},
	}, nil
}

// Open makes a source and reads the page once, so that the devices are known. Where the exporter may come later than we, use New.
func Open(ctx context.Context, cfg Config, now func() unit.Micros, log *slog.Logger, reg prometheus.Registerer) (*Source, error) {
	s, err := New(cfg, now, log, reg)
	if err != nil {
		return nil, err
	}
	if err := s.load(ctx); err != nil {
		return nil, fmt.Errorf("%w; start dcgm-exporter, or give its address in exporter.url", err)
	}
	s.merge(s.waiting)
	return s, nil
}

// Close lets go of the connection.
func (s *Source) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// Devices lists what the page showed.
func (s *Source) Devices() []agent.Device { return s.devices }

// Interval is how often the exporter seems to sample; 0 while that is not known.
func (s *Source) Interval() time.Duration { return s.changes.interval() }

// Read scrapes the page and fills what it shows.
func (s *Source) Read(ctx context.Context, _ unit.Micros, r *meter.Readings) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("scrape %s: %w", s.cfg.URL, err)
	}
	if s.waiting == nil {
		if err := s.load(ctx); err != nil {
			return err
		}
	}
	if s.merge(s.waiting) {
		return fmt.Errorf("scrape %s: %w", s.cfg.URL, agent.ErrChanged)
	}
	p := s.waiting
	s.waiting = nil
	s.fill(p, r)
	s.hear(p)
	return nil
}

// load scrapes and keeps the page until it is read.
func (s *Source) load(ctx context.Context) error {
	at := s.now()
	text, err := s.scrape(ctx)
	if err != nil {
		return err
	}
	p, err := parsePage(text, s.cfg.Node)
	if err != nil {
		return s.failed(codeGarbage, "it is no page of a dcgm-exporter: %w", err)
	}
	if len(p.entries) == 0 {
		return s.failed(codeEmpty, "the page shows no device; look at the exporter's log")
	}
	s.met.scrapes.WithLabelValues(s.cfg.Node).Inc()
	for reason, n := range p.refused {
		s.met.refused.WithLabelValues(s.cfg.Node, reason).Add(float64(n))
	}
	if p.unnamed > 0 {
		s.met.refused.WithLabelValues(s.cfg.Node, "no_uuid").Add(float64(p.unnamed))
		if !s.warned {
			s.warned = true
			s.log.Warn("devices without uuid", "devices", p.unnamed, "reason", "they are named by host and index, which another device can come to have")
		}
	}
	s.waiting, s.at = p, at
	return nil
}

// dropAfter is after how many pages without it an instance is gone. One that others take the place of is gone at once.
const dropAfter = 3

// merge says whether the devices are others than those known, and makes the page's the known ones. A GPU that is missing
// stays in the list, so that its silence shows, unless another has its index. Fields once seen stay too.
func (s *Source) merge(p *page) (changed bool) {
	old := map[string]agent.Device{}
	for _, d := range s.devices {
		old[d.UUID] = d
	}
	indices, newcomers := map[uint32]bool{}, map[string]bool{}
	next := make([]agent.Device, 0, len(p.entries))
	for _, e := range p.entries {
		d := e.device
		if before, known := old[d.UUID]; known {
			d.Slots |= before.Slots
			for _, t := range []struct {
				to   *string
				text string
			}{{&d.Driver, before.Driver}, {&d.Serial, before.Serial}, {&d.VBIOS, before.VBIOS}, {&d.Model, before.Model}} {
				if *t.to == "" {
					*t.to = t.text
				}
			}
			if d.LimitMilliwatts == 0 {
				d.LimitMilliwatts = before.LimitMilliwatts
			}
			d.Slices = max(d.Slices, before.Slices)
			d.Energy = energyOf(d)
		} else if d.Kind == record.KindMIG {
			newcomers[d.Parent] = true
		}
		if d.Kind == record.KindGPU {
			indices[d.Index] = true
		}
		delete(s.missing, d.UUID)
		next = append(next, d)
	}
	parts := map[string]bool{}
	for _, d := range s.devices {
		_, there := p.byUUID[d.UUID]
		_, parent := p.byUUID[d.Parent]
		switch {
		case there:
			continue
		case d.Kind == record.KindGPU && indices[d.Index]:
			continue
		case d.Kind == record.KindMIG && parent:
			if s.missing[d.UUID]++; s.missing[d.UUID] >= dropAfter || newcomers[d.Parent] {
				continue
			}
		}
		next = append(next, d)
	}
	order := map[string]uint32{}
	for _, d := range next {
		order[d.UUID] = d.Index
		parts[d.Parent] = true
	}
	next = slices.DeleteFunc(next, func(d agent.Device) bool { // an instance whose GPU was replaced
		_, ok := order[d.Parent]
		return d.Kind == record.KindMIG && !ok
	})
	for i := range next {
		if next[i].Kind == record.KindGPU && !parts[next[i].UUID] {
			next[i].Slices = 0 // MIG is off
		}
	}
	slices.SortFunc(next, func(a, b agent.Device) int { return compare(a, b, order) })
	if slices.Equal(next, s.devices) {
		return false
	}
	s.devices = next
	maps.DeleteFunc(s.kept, func(uuid string, _ []meter.Value) bool { _, ok := order[uuid]; return !ok })
	maps.DeleteFunc(s.missing, func(uuid string, _ int) bool { _, ok := order[uuid]; return !ok })
	return true
}

// fill gives each value the time of the scrape that first showed it.
func (s *Source) fill(p *page, r *meter.Readings) {
	renewed := s.renewed(p)
	any := renewed[""]
	if any {
		s.changes.add(s.at)
		s.met.interval.WithLabelValues(s.cfg.Node).Set(s.changes.interval().Seconds())
	}
	for i, d := range s.devices {
		e, there := p.byUUID[d.UUID]
		if !there || i >= r.Devices() {
			continue
		}
		fresh := any
		if renews, ok := renewed[d.UUID]; ok {
			fresh = renews
		} else if renews, ok := renewed[d.Parent]; ok && d.Kind == record.KindMIG {
			fresh = renews
		}
		kept := s.kept[d.UUID]
		if kept == nil {
			kept = make([]meter.Value, len(meter.Fields))
			s.kept[d.UUID] = kept
		}
		row := r.Row(i)
		for slot := range e.values {
			if !e.has.Has(meter.Slot(slot)) {
				continue
			}
			v := e.values[slot]
			v.At = s.at
			before := kept[slot]
			same := before.At != 0 && before.Int == v.Int && before.Float == v.Float
			// The energy's own time stays while it does: that is what tells a new sample from an old one.
			if same && (!fresh || meter.Slot(slot) == meter.SlotEnergy) {
				v.At = before.At
			}
			kept[slot], row[slot] = v, v
		}
	}
}

// renewed says of each device with an energy counter whether the page has a new sample of it, and of "" whether it has any. On a
// page without energy any other value that differs will do.
func (s *Source) renewed(p *page) map[string]bool {
	out := map[string]bool{}
	any, counted, differs := false, false, false
	for _, e := range p.entries {
		kept := s.kept[e.device.UUID]
		for slot, v := range e.values {
			if !e.has.Has(meter.Slot(slot)) {
				continue
			}
			changed := kept == nil || kept[slot].At == 0 || kept[slot].Int != v.Int || kept[slot].Float != v.Float
			differs = differs || changed
			if meter.Slot(slot) == meter.SlotEnergy {
				counted = true
				out[e.device.UUID] = changed
				any = any || changed
			}
		}
	}
	out[""] = any || !counted && differs
	return out
}

// hear makes events of the XIDs that are not those of the page before.
func (s *Source) hear(p *page) {
	first := s.xids == nil
	if first {
		s.xids = map[xidKey]uint32{}
	}
	for i, d := range s.devices {
		if d.Kind != record.KindGPU {
			continue
		}
		var heard []uint32
		for key, xid := range p.xids {
			if key.uuid != d.UUID {
				continue
			}
			before, known := s.xids[key]
			s.xids[key] = xid
			// What a series shows when it is first seen may be years old; but one that comes where none was is new.
			if first || xid == 0 || known && xid == before || !known && s.heardOf(d.UUID, xid) || slices.Contains(heard, xid) {
				continue
			}
			heard = append(heard, xid)
		}
		slices.Sort(heard)
		for _, xid := range heard {
			s.events = append(s.events, agent.Event{Device: i, At: s.at, XID: xid})
		}
	}
}

// heardOf says whether another series of the GPU shows the XID already: an instance that is new repeats its GPU's.
func (s *Source) heardOf(uuid string, xid uint32) bool {
	for key, x := range s.xids {
		if key.uuid == uuid && x == xid && key.instance == noInstance {
			return true
		}
	}
	return false
}

// Events appends the changes of XIDs since the last call.
func (s *Source) Events(_ context.Context, events []agent.Event) ([]agent.Event, error) {
	events = append(events, s.events...)
	s.events = s.events[:0]
	return events, nil
}
