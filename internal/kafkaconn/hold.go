package kafkaconn

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
)

// messageCost is what a message takes in memory beside its key and value.
const messageCost = 200

// hold bounds the bytes of messages that were fetched and are not committed yet, over all partitions of a consumer. A
// partition that would go beyond waits; what the others commit makes room for it.
type hold struct {
	limit int64 // 0: no limit
	room  *semaphore.Weighted
	held  prometheus.Gauge
	waits prometheus.Counter
}

func newHold(limit int64, reg prometheus.Registerer, label prometheus.Labels) *hold {
	register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "wattledger_kafka_held_limit_bytes", Help: "How many bytes of messages may be held; 0 is no limit.", ConstLabels: label,
	}, nil)).WithLabelValues().Set(float64(limit))
	return &hold{
		limit: limit, room: semaphore.NewWeighted(max(1, limit)),
		held: register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wattledger_kafka_held_bytes", Help: "Bytes of messages that were fetched and are not committed yet.", ConstLabels: label,
		}, nil)).WithLabelValues(),
		waits: counter(reg, "wattledger_kafka_hold_waits_total", "Fetches that waited because as many bytes were held as may be: the database is slower than Kafka.", label),
	}
}

// take waits for room for n bytes and returns what to give back. One fetch that is larger than the limit takes all of it.
func (h *hold) take(ctx context.Context, n int64) (int64, error) {
	if h.limit > 0 {
		n = min(n, h.limit)
		if !h.room.TryAcquire(n) {
			h.waits.Inc()
			if err := h.room.Acquire(ctx, n); err != nil {
				return 0, err
			}
		}
	}
	h.held.Add(float64(n))
	return n, nil
}

func (h *hold) give(n int64) {
	if n == 0 {
		return
	}
	h.held.Sub(float64(n))
	if h.limit > 0 {
		h.room.Release(n)
	}
}

// piece is what one fetch brought and still takes of the hold.
type piece struct {
	next  int64 // the offset after it
	bytes int64
}
