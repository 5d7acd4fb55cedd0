package cache

import "github.com/prometheus/client_golang/prometheus"

// Metrics are those of all caches of a process.
type Metrics struct {
	hits, misses, passed, evicted prometheus.Counter
	bytes                         prometheus.Gauge
}

// NewMetrics registers them.
func NewMetrics(r prometheus.Registerer) Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	m := Metrics{
		hits:    counter("wattledger_grafana_cache_hits_total", "Chunks of answers that were kept from before."),
		misses:  counter("wattledger_grafana_cache_misses_total", "Chunks of answers that had to be asked of the engine."),
		passed:  counter("wattledger_grafana_cache_passed_total", "Questions asked of the engine as a whole: tables, totals, and what still moves."),
		evicted: counter("wattledger_grafana_cache_evicted_total", "Chunks given up because the cache was full."),
		bytes:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "wattledger_grafana_cache_bytes", Help: "What is kept, in bytes, about."}),
	}
	r.MustRegister(m.bytes)
	return m
}
