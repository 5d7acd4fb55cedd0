package main

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/exporter"
	"github.com/wattledger/wattledger/collector/nvml"
	"github.com/wattledger/wattledger/collector/watchdog"
	"github.com/wattledger/wattledger/internal/process"
)

// opener opens the source of devices that the configuration asks for, again whenever one had to be given up.
type opener struct {
	cfg config
	env *process.Env
	// kind is the source that was chosen: dcgm, nvml or dcgm-exporter.
	kind string
	dcgm *dcgm.Library
	nvml *nvml.Library
	// current is the newest DCGM source, for those who ask it from other goroutines.
	current atomic.Pointer[dcgm.Source]
}

// choose loads the library of the source. It opens nothing.
func choose(cfg config, env *process.Env) (*opener, error) {
	o := &opener{cfg: cfg, env: env, kind: cfg.Source}
	var noDCGM, noNVML error
	if cfg.Source == sourceAuto || cfg.Source == sourceDCGM {
		if o.dcgm, noDCGM = dcgm.Load(cfg.DCGM.Library); noDCGM == nil {
			o.kind = sourceDCGM
			return o, nil
		}
		if cfg.Source == sourceDCGM || cfg.DCGM.Library != "" {
			return nil, noDCGM
		}
	}
	if cfg.Source == sourceAuto || cfg.Source == sourceNVML {
		if o.nvml, noNVML = nvml.Load(cfg.NVML.Library); noNVML == nil {
			o.kind = sourceNVML
			return o, nil
		}
		return nil, errors.Join(noDCGM, noNVML)
	}
	return o, nil
}

// open is what the watchdog calls.
func (o *opener) open(ctx context.Context) (watchdog.Source, error) {
	switch o.kind {
	case sourceDCGM:
		s, err := dcgm.Open(ctx, o.dcgm, o.cfg.DCGM, o.env.Log, o.env.Metrics)
		if err != nil {
			return nil, err
		}
		o.current.Store(s)
		return abandonable{s}, nil
	case sourceNVML:
		return nvmlSource(nvml.Open(o.nvml, o.cfg.NVML, o.env.Log, o.env.Metrics))
	default:
		// It may come later than we: without it there are no devices yet.
		s, err := exporter.New(o.cfg.Exporter, now, o.env.Log, o.env.Metrics)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// nvmlSource keeps a nil source from becoming an interface that is not nil.
func nvmlSource(s *nvml.Source, err error) (watchdog.Source, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// abandonable lets go of the embedded engine, of which a process has one, while a call of it hangs.
type abandonable struct{ *dcgm.Source }

// Abandon is watchdog.Abandoner.
func (a abandonable) Abandon() { _ = a.Close() }

// label is the text of a label field of a device.
func (o *opener) label(uuid string, i int) string {
	if s := o.current.Load(); s != nil {
		return s.Label(uuid, i)
	}
	return ""
}

// where says what is read, for people.
func (o *opener) where() string {
	switch o.kind {
	case sourceDCGM:
		return o.dcgm.Path()
	case sourceNVML:
		return o.nvml.Path()
	default:
		return o.cfg.Exporter.URL
	}
}

// unsupported lists the metrics that no device has, by name.
func unsupported(s agent.Source) []string {
	if u, ok := s.(interface{ Unsupported() []string }); ok {
		return u.Unsupported()
	}
	return []string{}
}
