package nodemeter

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the loop says about itself. Loops of several nodes share a registry: each has its node's label.
type metrics struct {
	node                                                       string
	meters, busy                                               *prometheus.GaugeVec
	read, unread, epochs, wraps, backwards, seconds, incidents *prometheus.CounterVec
	queued                                                     prometheus.Gauge
	messages                                                   prometheus.Counter
	dropped, errors                                            *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, node string) *metrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattledger_collector_meter_" + name, Help: help}, append([]string{"node"}, labels...)))
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "wattledger_collector_meter_" + name, Help: help}, append([]string{"node"}, labels...)))
	}
	return &metrics{
		node:      node,
		meters:    gauge("meters", "Meters that are read, by source.", "source"),
		busy:      gauge("source_hung", "1 while a source has not come back from a call, by source.", "source"),
		read:      vec("readings_total", "Readings of meters, by source.", "source"),
		unread:    vec("unread_total", "Readings that could not be had, by source and reason.", "source", "reason"),
		epochs:    vec("epochs_total", "Counters of meters that began anew, by source and reason.", "source", "reason"),
		wraps:     vec("wraps_total", "Counters of meters that went through their range and were unwrapped, by source.", "source"),
		backwards: vec("backwards_total", "Readings whose time was before that of the reading before, by source.", "source"),
		seconds:   vec("read_seconds_total", "Time spent in reading meters, by source.", "source"),
		incidents: vec("incidents_total", "Gaps and epochs of meters that were reported, by kind.", "kind"),
		queued:    gauge("queue_messages", "Messages of readings that wait to be published.").WithLabelValues(node),
		messages:  vec("messages_published_total", "Messages of readings that the publisher acknowledged.").WithLabelValues(node),
		dropped:   vec("readings_dropped_total", "Readings that will not be published, by reason.", "reason"),
		errors:    vec("publish_errors_total", "Attempts to publish readings that failed, by code.", "code"),
	}
}

// register adds a collector, or returns the one that another loop of this process has added.
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
