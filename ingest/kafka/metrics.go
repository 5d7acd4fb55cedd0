package kafka

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

type metrics struct {
	stored, repeats, missing, late, retries, incidents, newer *prometheus.CounterVec
	behind                                                    *prometheus.GaugeVec
	delay, age                                                *prometheus.HistogramVec
	state                                                     *state
}

func newMetrics(reg prometheus.Registerer, memory *pipeline.Memory) *metrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattledger_ingest_" + name, Help: help}, labels)
	}
	m := &metrics{
		state:  newState(reg),
		stored: vec("messages_total", "Messages stored for the first time.", "topic"),
		repeats: vec("repeats_total", "Deliveries beyond the first that were passed over: of kind offset when a commit was lost, of kind identity when a producer sent again.",
			"topic", "kind"),
		missing:   vec("missing_total", "Sequence numbers of a run that were passed over.", "topic"),
		late:      vec("late_total", "Messages that filled a hole counted as missing before.", "topic"),
		retries:   vec("retries_total", "Things tried again because Kafka or the database was away or refused them, by what was tried.", "what"),
		newer:     vec("newer_schema_total", "Messages of a newer schema version than ours, stored in what of them is known here.", "topic"),
		incidents: vec("incidents_total", "Incidents of nodes stored, by kind: gap, loss, clock_step, epoch, restart.", "kind"),
		behind: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "wattledger_ingest_lag_messages", Help: "Messages of a partition that are not read yet."},
			[]string{"topic", "partition"}),
		delay: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wattledger_ingest_delay_seconds", Help: "From the time of receipt of a batch's first message to its commit.", Buckets: prometheus.ExponentialBuckets(0.05, 2, 16),
		}, []string{"topic"}),
		age: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wattledger_ingest_tick_delay_seconds", Help: "From the newest tick of a message to the commit of its rows, for messages stored for the first time.",
			Buckets: prometheus.ExponentialBuckets(0.25, 2, 16),
		}, []string{"topic"}),
	}
	// What alerts read is there before it happens: a rate knows no increase from nothing to one.
	for _, kind := range record.IncidentKinds {
		m.incidents.WithLabelValues(string(kind))
	}
	for _, topic := range pipeline.Topics {
		m.stored.WithLabelValues(topic)
		m.missing.WithLabelValues(topic)
		m.late.WithLabelValues(topic)
		m.newer.WithLabelValues(topic)
	}
	if reg != nil {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wattledger_ingest_remembered_spans", Help: "Runs, and stretches of their sequence numbers, that are remembered to tell repeats and holes by.",
		}, func() float64 { return float64(memory.Used()) }), prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "wattledger_ingest_forgotten_runs_total", Help: "Runs forgotten to keep within remember_spans; the database is asked when they come again.",
		}, func() float64 { return float64(memory.Forgotten()) }))
		reg.MustRegister(m.stored, m.repeats, m.missing, m.late, m.retries, m.incidents, m.newer, m.behind, m.delay, m.age)
	}
	return m
}

// Retried counts what is tried again, and says what the partition waits for.
func (m *metrics) Retried(what string, b *pipeline.Batch, err error) {
	m.retries.WithLabelValues(what).Inc()
	m.state.wait(b.Topic, b.Partition, what, err)
}

// Resumed says that the partition waits no more.
func (m *metrics) Resumed(b *pipeline.Batch) { m.state.resume(b.Topic, b.Partition) }

func (m *metrics) lag(topic string, partition int, n int64) {
	m.behind.WithLabelValues(topic, strconv.Itoa(partition)).Set(float64(max(0, n)))
}

// forget takes the partition off the list: another member shows it now.
func (m *metrics) forget(topic string, partition int) {
	m.behind.DeleteLabelValues(topic, strconv.Itoa(partition))
}

func (m *metrics) count(b *pipeline.Batch, now unit.Micros) {
	var first int
	for _, e := range b.Entries {
		if !e.Repeat && !e.Refused {
			first++
			if e.SchemaVersion > wire.SchemaVersion {
				m.newer.WithLabelValues(b.Topic).Inc()
			}
			if e.LastTick > 0 && e.Samples.Len() > 0 {
				m.age.WithLabelValues(b.Topic).Observe(max(0, float64(now-e.LastTick)/1e6))
			}
			for _, i := range b.Incidents[e.Incidents.From:e.Incidents.To] {
				m.incidents.WithLabelValues(string(i.Value.Kind)).Inc()
			}
		}
	}
	m.stored.WithLabelValues(b.Topic).Add(float64(first))
	m.repeats.WithLabelValues(b.Topic, "identity").Add(float64(b.Repeats))
	m.repeats.WithLabelValues(b.Topic, "offset").Add(float64(b.Redelivered))
	m.missing.WithLabelValues(b.Topic).Add(float64(b.Missing))
	m.late.WithLabelValues(b.Topic).Add(float64(b.Late))
	if len(b.Entries) > 0 {
		m.delay.WithLabelValues(b.Topic).Observe(max(0, float64(now-b.Entries[0].Message.Received)/1e6))
	}
}
