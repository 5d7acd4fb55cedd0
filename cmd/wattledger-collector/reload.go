package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/exposition"
	"github.com/wattledger/wattledger/collector/kafka"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/record"
)

// Why a process takes the place of another.
const (
	reasonReload = "reload"
	reasonHung   = "hung_calls"
)

func newRefused() prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{
		Name: "wattledger_collector_reloads_refused_total", Help: "Times a changed configuration was faulty and the old one stayed.",
	})
}

func newReplaced() *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "wattledger_collector_replaced", Help: "How often in a row this process was replaced by a fresh one, by the last reason: reload or hung_calls.",
	}, []string{"reason"})
}

// reload reads the configuration again at every SIGHUP. A good one takes effect in a fresh process: what a reload restarts is
// then what every start starts, and the spool bridges the moment. A faulty one is named and changes nothing.
type reload struct {
	command *runCommand
	env     *process.Env
	hangups <-chan os.Signal
}

func (r *reload) run(ctx context.Context) error {
	refused := newRefused()
	if err := r.env.Metrics.Register(refused); err != nil {
		return fmt.Errorf("register metrics of reloading: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.hangups:
		}
		r.env.Reloading()
		if err := r.try(); err != nil {
			refused.Inc()
			r.env.Log.Error("configuration not reloaded", "error", err)
			r.env.Ready()
			continue
		}
		r.env.Log.Info("configuration reloaded", "reason", reasonReload)
		return process.Replace(reasonReload)
	}
}

// try reads the configuration as a start does, without opening anything.
func (r *reload) try() error {
	fresh := r.env.Again(io.Discard)
	cfg, err := r.command.load(fresh)
	if err != nil {
		return err
	}
	if cfg.Metrics.DCGMExporter {
		if _, err := exposition.LoadCounters(cfg.Metrics.CountersFile); err != nil {
			return err
		}
	}
	fresh.ServeMetrics(cfg.Metrics.Listen)
	fresh.ServeMetricsAs(cfg.Metrics.WebConfigFile)
	if err := fresh.CheckMetrics(); err != nil {
		return err
	}
	sink, err := kafka.NewSink(cfg.Kafka, fresh.Metrics)
	if err != nil {
		return err
	}
	if err := sink.Close(); err != nil {
		return err
	}
	_, err = choose(cfg, fresh)
	return err
}

// noteReplacement counts and states that this process took the place of another.
func noteReplacement(env *process.Env, report func(record.Incident)) error {
	replaced := newReplaced()
	if err := env.Metrics.Register(replaced); err != nil {
		return fmt.Errorf("register metrics of replacement: %w", err)
	}
	reason, times := env.Replaced()
	if times == 0 {
		return nil
	}
	replaced.WithLabelValues(reason).Set(float64(times))
	report(record.Incident{Kind: record.IncidentRestart, Reason: reason, From: now(), To: now(), Amount: int64(times)})
	return nil
}
