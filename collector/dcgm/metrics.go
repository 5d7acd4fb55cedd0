package dcgm

import (
	"errors"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the source says about itself. Several sources of a process share a registry: each has its node's label.
type metrics struct {
	permission, engine  *prometheus.GaugeVec
	sxids, failures     *prometheus.CounterVec
	connected, unread   prometheus.Gauge
	reconnects, rebuilt prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, node string) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattledger_collector_dcgm_" + name, Help: help}, append([]string{"node"}, labels...)))
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "wattledger_collector_dcgm_" + name, Help: help}, append([]string{"node"}, labels...)))
	}
	return &metrics{
		permission: gauge("permission", "1 where reading is allowed, 0 where the driver or the host engine refuses it, by feature.", "feature"),
		engine:     gauge("engine_info", "Always 1; the labels say what is read from, and how.", "address", "library", "engine", "reading"),
		connected:  gauge("connected", "1 while the host engine answers.").WithLabelValues(node),
		unread:     gauge("fields_unsupported", "Fields that were asked for and that some class of devices does not give.").WithLabelValues(node),
		reconnects: counter("reconnects_total", "Connections to the host engine that were made anew.").WithLabelValues(node),
		rebuilt:    counter("rediscoveries_total", "Times that the devices were found anew because something had changed.").WithLabelValues(node),
		sxids:      counter("sxid_total", "Errors that NVSwitches reported, by switch and code.", "switch", "sxid", "severity"),
		failures:   counter("side_failures_total", "Readings beside those of the devices that failed, by what and code.", "what", "code"),
	}
}

// show sets what changes with a connection or with the devices.
func (m *metrics) show(node string, s Status, address string) {
	m.connected.Set(1)
	m.unread.Set(float64(len(s.LeftOut)))
	m.engine.DeletePartialMatch(prometheus.Labels{"node": node})
	if address == "" {
		address = Embedded
	}
	reading, _, _ := strings.Cut(s.Reading, ":")
	m.engine.WithLabelValues(node, address, s.Library, s.Engine, reading).Set(1)
	allowed := map[string]float64{"profiling": 1, "fields": 1, "events": 1}
	for _, f := range s.LeftOut {
		switch {
		case !f.Denied:
		case profiling(f.Field):
			allowed["profiling"] = 0
		case f.Field == fieldXID || f.Field == fieldSXIDFatal || f.Field == fieldSXIDNonFatal:
			allowed["events"] = 0
		default:
			allowed["fields"] = 0
		}
	}
	for feature, v := range allowed {
		m.permission.WithLabelValues(node, feature).Set(v)
	}
}

// register registers a collector, or gives the one that is there already: a source that is opened anew counts on.
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
