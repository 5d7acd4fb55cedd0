package spool

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the spool says about itself.
type metrics struct {
	appended, acked, torn              prometheus.Counter
	dropped, droppedRows, droppedBytes *prometheus.CounterVec
	errors                             *prometheus.CounterVec
	write, sync                        prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, s *Spool) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "wattledger_collector_spool_" + name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattledger_collector_spool_" + name, Help: help}, labels)
	}
	seconds := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wattledger_collector_spool_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.000_02, 4, 10),
		})
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wattledger_collector_spool_" + name, Help: help}, f)
	}
	m := &metrics{
		appended:     counter("appended_total", "Messages that were acknowledged to their writer."),
		acked:        counter("acked_total", "Messages that were published and forgotten."),
		torn:         counter("torn_bytes_total", "Bytes of a message that was half written when the collector or the machine stopped; nobody was told that it was safe."),
		dropped:      vec("dropped_messages_total", "Acknowledged messages that were given up, by reason.", "reason"),
		droppedRows:  vec("dropped_rows_total", "Rows in messages that were given up, as far as they could be read, by reason.", "reason"),
		droppedBytes: vec("dropped_bytes_total", "Bytes on disk that were given up, by reason.", "reason"),
		errors:       vec("errors_total", "Operations that the disk refused, by operation and reason.", "operation", "reason"),
		write:        seconds("write_seconds", "Time one write took."),
		sync:         seconds("fsync_seconds", "Time the disk took to confirm a write."),
	}
	for _, r := range []Reason{ReasonFull, ReasonAge, ReasonCorrupt} {
		m.dropped.WithLabelValues(string(r))
	}
	if reg != nil {
		reg.MustRegister(m.appended, m.acked, m.torn, m.dropped, m.droppedRows, m.droppedBytes, m.errors, m.write, m.sync,
			gauge("messages", "Messages that wait to be published.", func() float64 { n, _, _ := s.depth(); return float64(n) }),
			gauge("bytes", "Bytes of the segments on disk, published ones that are not removed yet included.", func() float64 { _, n, _ := s.depth(); return float64(n) }),
			gauge("limit_bytes", "What the segments may hold before the oldest is given up.", func() float64 { return float64(s.cfg.MaxBytes) }),
			gauge("limit_seconds", "How long a message may wait before it is given up; 0 is for ever.", func() float64 { return s.cfg.MaxAge.Seconds() }),
			gauge("oldest_seconds", "Age of the oldest message that waits, by the node's clock.", func() float64 { _, _, age := s.depth(); return age }),
		)
	}
	return m
}

// count counts an operation that failed.
func (s *Spool) count(operation string, err error) {
	if err != nil {
		s.met.errors.WithLabelValues(operation, reason(err)).Inc()
	}
}
