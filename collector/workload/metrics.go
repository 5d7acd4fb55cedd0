package workload

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the tracker says about itself.
type metrics struct {
	running, unmapped          prometheus.Gauge
	complete                   prometheus.Gauge
	refused, unreadable, edges *prometheus.CounterVec
	messages                   *prometheus.CounterVec
	stated                     prometheus.Counter
	lastStatement              *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer, node string) *metrics {
	constant := prometheus.Labels{"node": node}
	gauge := func(name, help string) prometheus.Gauge {
		return register(reg, prometheus.NewGauge(prometheus.GaugeOpts{Name: "wattledger_collector_" + name, Help: help, ConstLabels: constant}))
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattledger_collector_" + name, Help: help, ConstLabels: constant}, labels))
	}
	return &metrics{
		running:    gauge("allocations_running", "Allocations that run and are stated."),
		unmapped:   gauge("allocations_unmapped", "Devices held now by somebody to whom no rule gives a tenant."),
		complete:   gauge("allocations_complete_seconds", "The instant up to which this node's allocations are declared complete, seconds since 1970."),
		refused:    counter("allocations_refused_total", "Holds that were not stated, or not as they were claimed, by source and reason.", "source", "reason"),
		unreadable: counter("allocation_source_errors_total", "Statements that a source could not give, by source.", "source"),
		edges:      counter("allocation_edges_total", "Starts and ends that were noticed, by source.", "source"),
		messages:   counter("allocation_messages_total", "Messages about allocations, by outcome: published, retried, refused.", "outcome"),
		stated:     counter("allocations_stated_total", "Allocations in the messages that were published, repeats included.").WithLabelValues(),
		lastStatement: register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wattledger_collector_allocation_source_last_seconds", Help: "When a source last stated everything, seconds since 1970.", ConstLabels: constant,
		}, []string{"source"})),
	}
}

// expect makes the counters of sources before they count: a rate knows no increase from nothing to one.
func (m *metrics) expect(sources []Source) {
	for _, s := range sources {
		m.unreadable.WithLabelValues(s.Name())
		for _, reason := range []string{reasonUnmapped, reasonOverbooked, reasonUnknown, reasonStart, reasonEnd, reasonPurpose} {
			m.refused.WithLabelValues(s.Name(), reason)
		}
	}
}

// register adds a collector, or returns the one that was there before a reload.
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
