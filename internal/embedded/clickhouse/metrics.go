package clickhouse

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	queries    *prometheus.CounterVec
	refused    *prometheus.CounterVec
	exceptions *prometheus.CounterVec
	running    prometheus.Gauge
	inserted   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	const prefix = "wattledger_embedded_clickhouse_"
	m := &metrics{
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "queries_total", Help: "Statements that the engine was given, by kind: read, write or insert.",
		}, []string{"kind"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "refused_total", Help: "Requests that the host refused before the engine saw them, by reason.",
		}, []string{"reason"}),
		exceptions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "exceptions_total", Help: "Exceptions that the engine answered with, by ClickHouse error code.",
		}, []string{"code"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "queries_running", Help: "Statements that run now.",
		}),
		inserted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "inserted_total", Help: "Rows and bytes that acknowledged statements wrote, as the engine counts them.",
		}, []string{"unit"}),
	}
	reg.MustRegister(m.queries, m.refused, m.exceptions, m.running, m.inserted)
	return m
}

// failed counts an exception where it belongs.
func (m *metrics) failed(e *Exception) {
	if e.Reason != "" {
		m.refused.WithLabelValues(e.Reason).Inc()
		return
	}
	m.exceptions.WithLabelValues(strconv.Itoa(e.Code)).Inc()
}

func (m *metrics) wrote(st stats) {
	m.inserted.WithLabelValues("rows").Add(float64(st.writtenRows))
	m.inserted.WithLabelValues("bytes").Add(float64(st.writtenBytes))
}
