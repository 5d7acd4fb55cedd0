package dcgm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/schemas/unit"
)

const (
	// maxTimeouts is how many calls in a row may time out before the connection is given up.
	maxTimeouts = 3
	// maxBlind is how many readings in a row may be blank before an engine of our own is started anew: after a fatal XID it
	// says nothing more, and we are the only ones who can restart it.
	maxBlind = 60
	// hintEvery is how many periods lie between two looks at the devices that a value suggested.
	hintEvery = 5
	maxPause  = time.Minute
)

func (s *Source) open(ctx context.Context) error {
	if err := s.alive(ctx); err != nil {
		return err
	}
	conn, err := s.lib.Connect(Options{Address: s.address, Timeout: s.cfg.Timeout, abandoned: s.givenUp})
	if err != nil {
		s.disappear(err)
		return err
	}
	s.conn, s.since = conn, time.Now()
	s.held.Store(conn)
	s.libraryVersion, s.engineVersion = "unknown", "unknown"
	if v, err := s.lib.Version(); err == nil {
		s.libraryVersion = v
	}
	if v, err := conn.EngineVersion(); err == nil {
		s.engineVersion = v
	}
	if err := s.build(ctx, 0); err != nil {
		s.drop(err)
		return s.skew(err)
	}
	if s.conn.old {
		s.log.Warn("host engine is older than the library: values are read one by one", "library", s.libraryVersion,
			"engine", s.engineVersion, "remedy", FunctionNotFound.Remedy())
	}
	s.away, s.timeouts, s.blind = nil, 0, 0
	s.log.Info("connected", "to", conn.where(), "engine", s.engineVersion, "library", s.libraryVersion, "devices", len(s.entities))
	return nil
}

// skew explains the error that a library newer than its engine causes.
func (s *Source) skew(err error) error {
	if !errors.Is(err, &Error{Return: FunctionNotFound}) {
		return err
	}
	return fmt.Errorf("%w (the library %s is version %s, the host engine %s)", err, s.lib.Path(), s.libraryVersion, s.engineVersion)
}

// look compares what the engine has with what we watch, now and then and after a sign of change.
func (s *Source) look(ctx context.Context, tick unit.Micros) (changed bool, err error) {
	every := s.micros(s.cfg.Rediscover)
	if s.rows[groupGPUI] != nil {
		every = min(every, max(s.micros(s.cfg.MediumPeriod), s.micros(s.cfg.Period)))
	}
	hinted := s.micros(hintEvery * s.cfg.Period)
	if len(s.classes) == 0 { // there is nothing else to do
		hinted = s.micros(s.cfg.Period)
	}
	switch {
	case s.blind > 0 && len(s.classes) > 0: // it would say that there is nothing
		return false, nil
	case s.rebuild && due(tick, s.hintAt, hinted): // not more often: it costs the engine a round over all devices
	case s.lookAt == 0: // the first reading after a build
		s.lookAt = tick + every
		return false, nil
	case due(tick, s.lookAt, every):
	case s.hint && due(tick, s.hintAt, hinted):
	default:
		return false, nil
	}
	s.lookAt, s.hintAt, s.hint = tick+every, tick+hinted, false
	shape, err := s.conn.shape()
	if err != nil {
		return false, s.failed(tick, err)
	}
	if shape == s.shape && !s.rebuild {
		return false, nil
	}
	return s.again(ctx, tick)
}

// again discovers and watches everything anew on the same connection.
func (s *Source) again(ctx context.Context, tick unit.Micros) (changed bool, err error) {
	// The XID that says why is in the old watches: take it along.
	if s.waiting, err = s.fetchEvents(ctx, s.waiting); err != nil && !s.rebuild {
		return false, s.failed(tick, err)
	}
	var asked int64
	for _, k := range s.classes {
		asked = max(asked, k.log.next)
		s.unwatch(k)
	}
	if s.switches != nil {
		s.unwatch(s.switches)
	}
	if err := s.build(ctx, asked); err != nil {
		// Half a build is no build: start again with a new connection.
		s.drop(err)
		s.pause(tick)
		return false, s.skew(err)
	}
	s.met.rebuilt.Inc()
	s.log.Info("devices found anew", "devices", len(s.entities))
	return true, nil
}

// failed decides what an error of a reading means for the connection.
func (s *Source) failed(tick unit.Micros, err error) error {
	r := code(err)
	switch {
	case r == Timeout:
		if s.timeouts++; s.timeouts >= maxTimeouts {
			s.leaveConnection(tick, err)
		}
	case r.dead(), s.blind >= maxBlind && s.conn.embedded():
		s.leaveConnection(tick, err)
	case r == NotConfigured, r == BadParam, r == InstanceNotFound, r == ComputeNotFound, r == GPUIsLost: // our groups are gone, or an entity is
		if s.rebuild {
			s.leaveConnection(tick, err)
		}
		s.rebuild = true
	case r == GPUsDetached, r == NVMLNotLoaded, r == NVMLDriverTimeout:
		s.rebuild = true // once they answer: ids and watches may be others then
	}
	return s.skew(err)
}

func (s *Source) leaveConnection(tick unit.Micros, err error) {
	s.drop(err)
	s.pause(tick)
}

// drop gives the connection up.
func (s *Source) drop(reason error) {
	s.away = reason
	s.classes, s.switches = nil, nil
	s.blind, s.rebuild = 0, false
	if s.conn == nil {
		return
	}
	if err := s.conn.Close(); err != nil {
		s.log.Debug("connection closed with an error", "error", err)
	}
	s.conn = nil
	s.held.Store(nil)
	s.disappear(reason)
}

func (s *Source) pause(tick unit.Micros) {
	s.backoff = min(max(2*s.backoff, s.micros(s.cfg.Period)), s.micros(maxPause))
	s.retryAt = tick + s.backoff
}

func (s *Source) reopen(ctx context.Context, tick unit.Micros) error {
	if !due(tick, s.retryAt, s.micros(maxPause)) {
		return s.away
	}
	if err := s.open(ctx); err != nil {
		s.away = err
		s.pause(tick)
		return err
	}
	s.lookAt = 0
	s.met.reconnects.Inc()
	return agent.ErrChanged
}
