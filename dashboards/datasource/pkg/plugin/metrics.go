package plugin

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/cache"
	"github.com/wattledger/wattledger/dashboards/query"
)

// Metrics are those of the whole process, whichever data source is asked. Grafana serves them under /metrics/plugins/<id>.
type Metrics struct {
	Cache cache.Metrics

	queries  *prometheus.CounterVec
	refused  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	rows     *prometheus.CounterVec
	streams  prometheus.Gauge
}

// Outcomes of a question.
const (
	outcomeOK        = "ok"
	outcomeBad       = "bad_question"
	outcomeRefused   = "refused"
	outcomeCancelled = "cancelled"
	outcomeTimeout   = "timeout"
	outcomeEngine    = "engine"
	outcomeFault     = "fault"
)

// NewMetrics registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		Cache: cache.NewMetrics(r),
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_grafana_queries_total",
			Help: "Questions of panels, alert rules, variables and streams, by kind and outcome (ok, bad_question, refused, cancelled, timeout, engine, fault).",
		}, []string{"kind", "outcome"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_grafana_refused_total",
			Help: "What was not answered, by reason: of who asks (no_identity, not_mapped, …) and of what was asked (sql_off, operator_only, …).",
		}, []string{"reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "wattledger_grafana_query_seconds",
			Help:    "Time to answer a question, by kind.",
			Buckets: []float64{.005, .01, .025, .05, .1, .2, .3, .5, 1, 2.5, 5, 10, 30},
		}, []string{"kind"}),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_grafana_rows_total",
			Help: "Rows answered, by kind.",
		}, []string{"kind"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wattledger_grafana_streams",
			Help: "Live channels that run.",
		}),
	}
	r.MustRegister(m.queries, m.refused, m.duration, m.rows, m.streams)
	return m
}

// kinds are the values of the label: what a question says itself is text of its writer's.
var kinds = []query.Kind{
	query.KindFleet, query.KindDevice, query.KindUsage, query.KindEnergy, query.KindCarbon, query.KindLedger, query.KindCoverage,
	query.KindPipeline, query.KindSovereignty, query.KindEvents, query.KindInventory, query.KindSQL,
}

// kindValues is the label of what variables and editors ask.
const kindValues query.Kind = "values"

func label(k query.Kind) string {
	if k == kindValues || slices.Contains(kinds, k) {
		return string(k)
	}
	return "unknown"
}
