package cache

import "github.com/prometheus/client_golang/prometheus"

// Metrics are those of all caches of a process. Hits and misses tell chunks from whole answers.
type Metrics struct {
	hits, misses    *prometheus.CounterVec
	passed, evicted prometheus.Counter
	bytes           prometheus.Gauge
}

// NewMetrics registers them.
func NewMetrics(r prometheus.Registerer) Metrics {
	counter := func(name, help string) prometheus.CounterOpts { return prometheus.CounterOpts{Name: name, Help: help} }
	m := Metrics{
		hits: prometheus.NewCounterVec(counter("wattledger_grafana_cache_hits_total",
			"What was answered without asking the engine: chunks of series (chunk), and tables, totals, lists and ends of series (whole)."), []string{"what"}),
		misses: prometheus.NewCounterVec(counter("wattledger_grafana_cache_misses_total",
			"What was not kept, and asked of the engine: chunks of series (chunk), and tables, totals, lists and ends of series (whole)."), []string{"what"}),
		passed: prometheus.NewCounter(counter("wattledger_grafana_cache_passed_total",
			"Questions that are never kept: statements of an operator's own, and all while it is not known how far the data are.")),
		evicted: prometheus.NewCounter(counter("wattledger_grafana_cache_evicted_total", "Chunks and answers given up because the cache was full.")),
		bytes:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "wattledger_grafana_cache_bytes", Help: "What is kept, in bytes, about."}),
	}
	r.MustRegister(m.hits, m.misses, m.passed, m.evicted, m.bytes)
	for _, what := range []string{chunk, whole} {
		m.hits.WithLabelValues(what)
		m.misses.WithLabelValues(what)
	}
	return m
}
