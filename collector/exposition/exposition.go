package exposition

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Holder is who uses a device, as dcgm-exporter labels it. What is empty is left out.
type Holder struct{ Namespace, Pod, Container, HPCJob, VGPU string }

// Switch is what was read of an NVSwitch.
type Switch struct {
	ID     uint32
	Values []FieldValue
}

// FieldValue is the value of one field.
type FieldValue struct {
	Field uint16
	meter.Value
}

// Ports are what others know. Each is called while a page is made, from any goroutine; each may be nil.
type Ports struct {
	// Label is the text of the i-th field of Counters.Labels for a device, empty when it has none.
	Label func(uuid string, i int) string
	// Holders lists who holds a device now.
	Holders func(uuid string) []Holder
	// Switches appends the NVSwitches by id.
	Switches func([]Switch) []Switch
	// Every is how often a field is sampled, where that is less often than the period.
	Every func(field uint16) time.Duration
}

// Exposition remembers the last tick and shows it. It is the agent's Observer and an HTTP handler's content.
type Exposition struct {
	cfg      Config
	counters *Counters
	entities entities
	ports    Ports
	now      func() unit.Micros
	met      metrics
	every    []unit.Micros // by counter: older values are not shown; 0 never

	back *frame // written by the loop between begin and end

	mu      sync.Mutex
	front   *frame // guarded by mu; not written to while readers > 0
	readers int    // guarded by mu
	writing bool   // guarded by mu; back is being filled
	waiting bool   // guarded by mu; back is newer than front

	xids xidLog
}

// frame is one tick: the values of each device by counter.
type frame struct {
	tick   unit.Micros
	layout *layout
	values []meter.Value
}

type metrics struct {
	scrapes  prometheus.Counter
	stale    prometheus.Counter
	crowded  prometheus.Counter
	rendered prometheus.Histogram
}

// New makes an exposition. It registers its counters with reg, if there is one.
func New(cfg Config, counters *Counters, ports Ports, now func() unit.Micros, reg prometheus.Registerer) (*Exposition, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	which, err := parseEntities(cfg.Entities)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	unshown := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wattledger_collector_exposition_unshown_total", Help: "Values left out of pages because they were too old (stale), and XIDs of more kinds than are remembered (xid).",
	}, []string{"reason"})
	e := &Exposition{
		cfg: cfg, counters: counters, entities: which, ports: ports, now: now, front: &frame{layout: &layout{}}, back: &frame{layout: &layout{}},
		met: metrics{
			scrapes: prometheus.NewCounter(prometheus.CounterOpts{Name: "wattledger_collector_exposition_scrapes_total", Help: "Pages made in dcgm-exporter's text."}),
			stale:   unshown.WithLabelValues("stale"),
			crowded: unshown.WithLabelValues("xid"),
			rendered: prometheus.NewHistogram(prometheus.HistogramOpts{
				Name: "wattledger_collector_exposition_seconds", Help: "Time to make a page.", Buckets: prometheus.ExponentialBuckets(1e-4, 4, 7),
			}),
		},
	}
	if reg != nil {
		for _, c := range []prometheus.Collector{e.met.scrapes, unshown, e.met.rendered} {
			if err := reg.Register(c); err != nil {
				return nil, fmt.Errorf("metrics: %w", err)
			}
		}
	}
	for _, c := range counters.metrics {
		e.every = append(e.every, e.limit(c.Field.ID))
	}
	e.xids.window = unit.Micros(cfg.XIDWindow.Microseconds())
	return e, nil
}

// limit is how old a value of the field may be when it is shown; 0 means any age.
func (e *Exposition) limit(field uint16) unit.Micros {
	every := e.cfg.Period
	if e.ports.Every != nil {
		every = max(every, e.ports.Every(field))
	}
	return unit.Micros(e.cfg.StalePeriods) * unit.Micros(every.Microseconds())
}

// Observe takes a copy of what is shown. It allocates only when the devices have changed, and waits for nobody: while a page
// is made from the other frame, this one waits its turn.
func (e *Exposition) Observe(tick unit.Micros, devices []agent.Device, r *meter.Readings, err error) {
	if err != nil {
		return // what was read before is shown until it is too old
	}
	e.mu.Lock()
	e.writing, e.waiting = true, false
	known, b := e.front.layout, e.back
	e.mu.Unlock()

	if !slices.Equal(b.layout.devices, devices) {
		if !slices.Equal(known.devices, devices) {
			known = e.newLayout(devices)
		}
		b.layout = known
	}
	n := len(e.counters.metrics)
	if len(b.values) != n*len(devices) {
		b.values = make([]meter.Value, n*len(devices))
	}
	b.tick = tick
	for i := range min(len(devices), r.Devices()) {
		row, extra, to := r.Row(i), r.Extra(i), b.values[i*n:(i+1)*n]
		for k := range e.counters.metrics {
			switch c := &e.counters.metrics[k]; {
			case c.extra < 0:
				to[k] = row[c.slot]
			case c.extra < len(extra):
				to[k] = extra[c.extra]
			default:
				to[k] = meter.Value{}
			}
		}
		// A source that gives an XID as a value gives it with the time at which it happened.
		if v := row[meter.SlotXID]; v.At != 0 && v.Int > 0 {
			e.addXID(devices[i].UUID, v.At, uint32(v.Int))
		}
	}

	e.mu.Lock()
	e.writing = false
	if e.readers == 0 {
		e.front, e.back = e.back, e.front
	} else {
		e.waiting = true
	}
	e.mu.Unlock()
}

// ObserveEvents takes the XIDs of a tick, as the source's Events gave them. One that was seen already is not counted again.
func (e *Exposition) ObserveEvents(devices []agent.Device, events []agent.Event) {
	for _, v := range events {
		if v.Device >= 0 && v.Device < len(devices) && v.XID != 0 {
			e.addXID(devices[v.Device].UUID, v.At, v.XID)
		}
	}
}

func (e *Exposition) addXID(uuid string, at unit.Micros, xid uint32) {
	if !e.xids.add(uuid, at, xid) {
		e.met.crowded.Inc()
	}
}

// borrow is the newest complete frame; it stays as it is until it is given back.
func (e *Exposition) borrow() *frame {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.readers++
	return e.front
}

func (e *Exposition) giveBack() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.readers--; e.readers == 0 && e.waiting && !e.writing {
		e.front, e.back, e.waiting = e.back, e.front, false
	}
}
