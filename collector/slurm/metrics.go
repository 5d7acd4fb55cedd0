package slurm

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	unplaced      *prometheus.CounterVec
	garbage, kept prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	return &metrics{
		unplaced: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_collector_slurm_jobs_odd_total", Help: "Jobs that are not as they should be, each once, by reason: device (its GPU is not here), epilog (none has come).",
		}, []string{"reason"})),
		garbage: register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wattledger_collector_slurm_files_unreadable_total", Help: "Files in the directory of jobs that say no job, and were set aside.",
		})),
		kept: register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wattledger_collector_slurm_files_kept_total", Help: "Attempts to remove the file of a job that was published which failed.",
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
