package kubernetes

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	unplaced, apiErrors *prometheus.CounterVec
	unseen              prometheus.Counter
	watching            prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	return &metrics{
		unplaced: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_collector_kubernetes_unplaced_total", Help: "Device ids of pods that could not be placed on a device of this node, each once while it lasts, by reason.",
		}, []string{"reason"})),
		apiErrors: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_collector_kubernetes_api_errors_total", Help: "Requests to the API server that failed, by operation.",
		}, []string{"operation"})),
		unseen: register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wattledger_collector_kubernetes_pods_unseen_total", Help: "Pods that asked for GPUs and ended before the kubelet could be asked which it had given them.",
		})),
		watching: register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wattledger_collector_kubernetes_watching", Help: "1 while the pods of this node are watched at the API server.",
		})),
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
