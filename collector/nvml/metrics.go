package nvml

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the source says about itself.
type metrics struct {
	node     string
	opened   prometheus.Counter
	lost     prometheus.Gauge
	failed   *prometheus.CounterVec
	withheld *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer, node string) *metrics {
	const prefix = "wattledger_collector_nvml_"
	opened := register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: prefix + "initialisations_total", Help: "Times NVML was initialised: once at the start, and again whenever the driver had gone away.",
	}, []string{"node"}))
	lost := register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: prefix + "lost_devices", Help: "Devices that were read and do not answer any more.",
	}, []string{"node"}))
	return &metrics{
		node: node, opened: opened.WithLabelValues(node), lost: lost.WithLabelValues(node),
		failed: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "failed_calls_total", Help: "Calls and fields of calls that gave no value, by NVML's code.",
		}, []string{"node", "call", "code"})),
		withheld: register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "withheld_devices", Help: "Devices that do not give profiling or XID events, by NVML's reason.",
		}, []string{"node", "what", "code"})),
	}
}

// register uses the collector that is there already when several sources of a process share a registry.
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

// shape states what a build found.
func (m *metrics) shape(entities []entity, status []Status) {
	lost := 0
	for i := range entities {
		if entities[i].lost {
			lost++
		}
	}
	m.lost.Set(float64(lost))
	m.withheld.DeletePartialMatch(prometheus.Labels{"node": m.node})
	for _, s := range status {
		m.withheld.WithLabelValues(m.node, s.What, s.Code).Inc()
	}
}

// count counts a call that gave nothing, and hands its code on.
func (s *Source) count(c call, code Return) Return {
	if code != OK && !s.trying {
		s.metrics.failed.WithLabelValues(s.metrics.node, c.String(), code.String()).Inc()
	}
	return code
}
