package exporter

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	scrapes, failures, refused *prometheus.CounterVec
	bytes, interval            *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer, node string) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattledger_collector_exporter_" + name, Help: help}, append([]string{"node"}, labels...)))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "wattledger_collector_exporter_" + name, Help: help}, []string{"node"}))
	}
	m := &metrics{
		scrapes:  counter("scrapes_total", "Pages of dcgm-exporter that were read."),
		failures: counter("failures_total", "Pages that were not read, by reason.", "reason"),
		refused:  counter("odd_series_total", "Series that were not taken at face value, by reason: blank, or whose device cannot be told; no_uuid counts devices named by host and index.", "reason"),
		bytes:    gauge("page_bytes", "Size of the last page."),
		interval: gauge("interval_seconds", "How often dcgm-exporter samples, as its page shows; 0 while that is not known."),
	}
	m.scrapes.WithLabelValues(node)
	m.interval.WithLabelValues(node)
	return m
}

// register adds a collector, or returns the one that another source of this process has added.
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
