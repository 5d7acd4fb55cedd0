package agent

import (
	"context"
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/meter"
)

// metrics are what the agent says about itself. Several agents of a process share a registry: each has its node's label.
type metrics struct {
	node                                     string
	devices, queued                          prometheus.Gauge
	ticks, missed, read, published, messages prometheus.Counter
	values, dropped, errors, xids            *prometheus.CounterVec
	gaps, epochs                             *prometheus.CounterVec
	unstated, clockSteps, caught, edges      prometheus.Counter
	health                                   *health
	readSeconds                              prometheus.Observer
	// One per state of a value, looked up once: they are counted at every tick.
	stale, backwards, blank, clamped, refused, falls, wide, still prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, node string) *metrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattledger_collector_" + name, Help: help}, append([]string{"node"}, labels...)))
	}
	gauge := func(name, help string) prometheus.Gauge {
		return register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "wattledger_collector_" + name, Help: help}, []string{"node"})).WithLabelValues(node)
	}
	m := &metrics{
		node:      node,
		devices:   gauge("devices", "Devices that are read."),
		queued:    gauge("queue_messages", "Finished messages that wait to be published."),
		ticks:     vec("ticks_total", "Ticks at which the devices were read or should have been.").WithLabelValues(node),
		missed:    vec("missed_ticks_total", "Ticks that passed while an earlier reading went on or the machine slept.").WithLabelValues(node),
		read:      vec("samples_read_total", "Samples with at least one new value: one per device and tick.").WithLabelValues(node),
		published: vec("samples_published_total", "Samples that the publisher acknowledged as durable, unread devices included.").WithLabelValues(node),
		messages:  vec("messages_published_total", "Messages that the publisher acknowledged as durable.").WithLabelValues(node),
		dropped:   vec("samples_dropped_total", "Samples that will not be published, by reason.", "reason"),
		errors:    vec("errors_total", "Operations that failed, by operation and code.", "operation", "code"),
		values:    vec("odd_values_total", "Values that were not taken at face value, by state.", "state"),
		xids:      vec("xid_total", "XID events that devices reported.", "xid"),
		gaps:      vec("gaps_total", "Times of more than three periods in which a device or the whole node was not read, by reason.", "reason"),
		epochs:    vec("epochs_total", "Energy counters that began anew, by reason.", "reason"),

		unstated:   vec("incidents_dropped_total", "Incidents that could not be stated: too many, or not well formed.").WithLabelValues(node),
		clockSteps: vec("clock_steps_total", "Steps of the wall clock against the time that passed.").WithLabelValues(node),
		caught:     vec("caught_up_ticks_total", "Ticks that were missed and whose energy the source remembered.").WithLabelValues(node),
		edges:      vec("edge_readings_total", "Extra readings, taken where an allocation begins or ends.").WithLabelValues(node),
		readSeconds: register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wattledger_collector_read_seconds", Help: "Time one reading of all devices took.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}, []string{"node"})).WithLabelValues(node),
	}
	m.health = newHealth(reg, node)
	// What alerts read is there before it happens: a rate knows no increase from nothing to one.
	for _, reason := range []string{"queue_full", "refused"} {
		m.dropped.WithLabelValues(node, reason)
	}
	for _, reason := range []string{"fell", "stuck", "driver", "source"} {
		m.epochs.WithLabelValues(node, reason)
	}
	for _, s := range []struct {
		to    *prometheus.Counter
		state string
	}{
		{&m.stale, "stale"},
		{&m.backwards, "backwards"},
		{&m.blank, "blank"},
		{&m.clamped, "clamped"},
		{&m.refused, "refused"},
		{&m.falls, "fall"},
		{&m.wide, "gap"},
		{&m.still, "still"},
	} {
		*s.to = m.values.WithLabelValues(node, s.state)
	}
	return m
}

// count adds what one device's meter has counted since the tick before. Most ticks count nothing.
func (m *metrics) count(t meter.Tally) {
	if t == (meter.Tally{}) {
		return
	}
	m.stale.Add(float64(t.Stale))
	m.backwards.Add(float64(t.Backwards))
	m.blank.Add(float64(t.Blank))
	m.clamped.Add(float64(t.Clamped))
	m.refused.Add(float64(t.Refused))
	m.falls.Add(float64(t.Falls))
	m.wide.Add(float64(t.Gaps))
	m.still.Add(float64(t.Still))
}

func (m *metrics) gap(reason string) { m.gaps.WithLabelValues(m.node, reason).Inc() }

func (m *metrics) xid(number uint32) {
	m.xids.WithLabelValues(m.node, strconv.FormatUint(uint64(number), 10)).Inc()
	m.health.xids[ActionOf(number)].Inc()
}

// register adds a collector, or returns the one that another agent of this process has added.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	var already prometheus.AlreadyRegisteredError
	if err := reg.Register(c); errors.As(err, &already) {
		if old, ok := already.ExistingCollector.(C); ok {
			return old
		}
	}
	return c
}

// reason is an error's own word for itself, when it has one: a code of DCGM, a reason of the publisher.
func reason(err error) string {
	var coded interface{ Code() string }
	if errors.As(err, &coded) {
		return coded.Code()
	}
	if errors.Is(err, context.Canceled) {
		return "stopped"
	}
	return "other"
}

// fault counts and logs a failure of the source. The handler of the log keeps back what repeats with the same reason.
func (a *Agent) fault(operation string, err error) {
	if errors.Is(err, context.Canceled) {
		return // we were told to stop
	}
	code := reason(err)
	a.met.errors.WithLabelValues(a.cfg.Node, operation, code).Inc()
	a.log.Warn("devices not read", "operation", operation, "reason", code, "error", err)
}
