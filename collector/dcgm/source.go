package dcgm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Config says what to read and how often.
type Config struct {
	// Library is the file to load; empty means the loader's search and the directories of NVIDIA's packages.
	Library string `yaml:"library"`
	// Address is the host engine's: host, host:port, unix:///path or an absolute path. Empty runs one in this process.
	Address string `yaml:"address"`
	// Timeout bounds connecting.
	Timeout time.Duration `yaml:"timeout"`
	// Period is how often the engine samples: the agent's period.
	Period time.Duration `yaml:"-"`
	// SlowPeriod is how often it samples what hardly changes: limits, performance state, replays, memory errors.
	SlowPeriod time.Duration `yaml:"slow_period"`
	// Rediscover is how often GPUs and instances are listed to see whether they are still the same.
	Rediscover time.Duration `yaml:"rediscover"`
	// Node is the name of this node in the records of its devices.
	Node string `yaml:"-"`
}

// DefaultConfig samples once a second in an engine of our own.
func DefaultConfig() Config {
	return Config{Timeout: 5 * time.Second, Period: time.Second, SlowPeriod: 10 * time.Second, Rediscover: time.Minute}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Node == "" {
		bad("node: empty; name the node as the inventory does")
	}
	if c.Timeout < time.Millisecond || c.Timeout > 10*time.Minute {
		bad("timeout: %v; must lie between 1ms and 10m", c.Timeout)
	}
	if c.Period < time.Millisecond {
		bad("period: %v; must be at least 1ms", c.Period)
	}
	if c.SlowPeriod < 0 {
		bad("slow_period: %v; must not be negative", c.SlowPeriod)
	}
	if c.Rediscover <= 0 {
		bad("rediscover: %v; must be above zero", c.Rediscover)
	}
	return errors.Join(faults...)
}

// Source reads the devices of one node. It is for one goroutine, as agent.Source is.
type Source struct {
	lib  *Library
	cfg  Config
	log  *slog.Logger
	conn *Conn // nil while the engine is away

	entities []entity
	slots    []meter.Set
	classes  []*class
	rows     [groupEnd][]int16 // entity id to row, by entity group
	index    *slotIndex
	shape    string

	lookAt   unit.Micros // when to compare the shape next
	retryAt  unit.Micros // when to connect next
	backoff  unit.Micros
	timeouts int
	away     error

	callback, sink uintptr
	pending        []agent.Event // filled by the callback during Events
	asked          int64         // where the last look for events on this connection ended
	waiting        []agent.Event // taken from the watches before they were made anew
	seen           []agent.Event // reported of late, to be known when they come again
}

// Open connects, finds the devices and starts to sample them. Close the source when done.
func Open(lib *Library, cfg Config, log *slog.Logger) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("dcgm: %w", err)
	}
	s := &Source{lib: lib, cfg: cfg, log: log, index: newSlotIndex()}
	s.listen()
	if err := s.open(); err != nil {
		s.deafen()
		return nil, err
	}
	return s, nil
}

func (s *Source) open() error {
	conn, err := s.lib.Connect(Options{Address: s.cfg.Address, Timeout: s.cfg.Timeout})
	if err != nil {
		return err
	}
	s.conn, s.asked = conn, 0
	if err := s.build(); err != nil {
		s.drop(err)
		return s.skew(err)
	}
	s.away, s.timeouts = nil, 0
	return nil
}

// build discovers and watches everything on a connection that has no groups of ours.
func (s *Source) build() error {
	var err error
	if s.shape, err = s.conn.shape(); err != nil {
		return err
	}
	before, known := s.entities, s.known()
	if s.entities, err = s.conn.discover(s.cfg.Node, before, s.log); err != nil {
		s.entities = before
		return err
	}
	s.slots = make([]meter.Set, len(s.entities))
	s.classes = nil
	for g := range s.rows {
		s.rows[g] = nil
	}
	for i, e := range s.entities {
		ids := &s.rows[e.pair.Group]
		for len(*ids) <= int(e.pair.ID) {
			*ids = append(*ids, -1)
		}
		(*ids)[e.pair.ID] = int16(i)
	}
	for _, rows := range classes(s.entities) {
		watched, err := s.watchClass(rows)
		if err != nil {
			return err
		}
		s.classes = append(s.classes, watched...)
	}
	if err := check(s.conn.lib.updateAll(s.conn.h, 1), "sample every field once"); err != nil {
		return err
	}
	for _, k := range s.classes {
		if err := s.settle(k); err != nil {
			return err
		}
		if err := s.watchEvents(k); err != nil {
			return err
		}
	}
	for i := range s.entities {
		e := &s.entities[i]
		if e.lost {
			s.slots[i] = known[e.device.UUID]
		}
		e.device.Energy = energyOf(e.device.Kind, s.slots[i])
	}
	return nil
}

// known is the slots of every device found so far.
func (s *Source) known() map[string]meter.Set {
	m := make(map[string]meter.Set, len(s.entities))
	for i, e := range s.entities {
		m[e.device.UUID] = s.slots[i]
	}
	return m
}

// skew explains the error that a library newer than its engine causes.
func (s *Source) skew(err error) error {
	if !errors.Is(err, &Error{Return: FunctionNotFound}) {
		return err
	}
	v, verr := s.lib.Version()
	if verr != nil {
		return err
	}
	return fmt.Errorf("%w (the library %s is version %s)", err, s.lib.Path(), v)
}

// Devices lists the devices in the order of rows.
func (s *Source) Devices() []agent.Device {
	out := make([]agent.Device, len(s.entities))
	for i, e := range s.entities {
		out[i] = agent.Device{Device: e.device, Slots: s.slots[i]}
	}
	return out
}

// Read takes the latest value of every field: one call per class of devices, into buffers that are reused. A dead connection is
// made anew at a later tick, after a pause that doubles up to a minute.
func (s *Source) Read(ctx context.Context, tick unit.Micros, r *meter.Readings) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.conn == nil {
		return s.reopen(tick)
	}
	if changed, err := s.look(tick); err != nil || changed {
		if err == nil {
			err = agent.ErrChanged
		}
		return err
	}
	var any bool
	for _, k := range s.classes {
		if len(k.fields) == 0 {
			continue
		}
		if err := s.fetch(k); err != nil {
			return s.failed(tick, err)
		}
		read, lost := s.decode(k, r)
		if lost {
			return s.failed(tick, check(NotConfigured, "find the watches of %d devices in %s", len(k.pairs), s.conn.where()))
		}
		any = any || read
	}
	s.timeouts = 0
	if !any && len(s.classes) > 0 {
		return errBlind
	}
	s.backoff = 0
	return nil
}

// look compares what the engine has with what we watch, now and then and after a sign of change.
func (s *Source) look(tick unit.Micros) (changed bool, err error) {
	if tick < s.lookAt {
		return false, nil
	}
	if s.lookAt == 0 { // the first reading after a build
		s.lookAt = tick + unit.Micros(s.cfg.Rediscover.Microseconds())
		return false, nil
	}
	s.lookAt = tick + unit.Micros(s.cfg.Rediscover.Microseconds())
	shape, err := s.conn.shape()
	if err != nil {
		return false, s.failed(tick, err)
	}
	if shape == s.shape {
		return false, nil
	}
	// The XID that says why is in the old watches: take it along, by UUID, since rows may change.
	var waiting []agent.Event
	for _, k := range s.classes {
		if k.events != 0 {
			if waiting, err = s.eventsOf(k, waiting); err != nil {
				return false, s.failed(tick, err)
			}
		}
	}
	before := s.entities
	for _, k := range s.classes {
		s.unwatch(k)
	}
	if err := s.build(); err != nil {
		// Half a build is no build: start again with a new connection.
		s.drop(err)
		s.pause(tick)
		return false, err
	}
	for _, e := range waiting {
		uuid := before[e.Device].device.UUID
		if e.Device = slices.IndexFunc(s.entities, func(x entity) bool { return x.device.UUID == uuid }); e.Device >= 0 {
			s.waiting = append(s.waiting, e)
		}
	}
	return true, nil
}

// failed decides what an error of a call means for the connection.
func (s *Source) failed(tick unit.Micros, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Return == Timeout:
		if s.timeouts++; s.timeouts < 3 {
			return err
		}
		fallthrough
	case e.Return.dead(), e.Return == NotConfigured, e.Return == BadParam: // our groups are gone, or an entity is
		s.drop(err)
		s.pause(tick)
	}
	return s.skew(err)
}

// drop gives the connection up.
func (s *Source) drop(reason error) {
	s.away = reason
	s.classes = nil
	if s.conn == nil {
		return
	}
	if err := s.conn.Close(); err != nil {
		s.log.Debug("connection closed with an error", "error", err)
	}
	s.conn = nil
}

func (s *Source) pause(tick unit.Micros) {
	s.backoff = min(max(2*s.backoff, unit.Micros(s.cfg.Period.Microseconds())), unit.Micros(time.Minute.Microseconds()))
	s.retryAt = tick + s.backoff
}

func (s *Source) reopen(tick unit.Micros) error {
	if tick < s.retryAt {
		return s.away
	}
	if err := s.open(); err != nil {
		s.away = err
		s.pause(tick)
		return err
	}
	s.lookAt = tick + unit.Micros(s.cfg.Rediscover.Microseconds())
	s.log.Info("connected again", "devices", len(s.entities))
	return agent.ErrChanged
}

// Close ends the connection. The engine forgets our watches with it.
func (s *Source) Close() error {
	s.deafen()
	if s.conn == nil {
		return nil
	}
	for _, k := range s.classes {
		s.unwatch(k)
	}
	s.classes = nil
	err := s.conn.Close()
	s.conn = nil
	return err
}

// Unsupported lists the metrics that no device has a field for, by name.
func (s *Source) Unsupported() []string {
	var all meter.Set
	for _, x := range s.slots {
		all |= x
	}
	out := []string{}
	for _, m := range record.Metrics {
		if slot, ok := meter.SlotOf(m.Field); ok && !all.Has(slot) {
			out = append(out, m.Name)
		}
	}
	return out
}

func isDead(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Return.dead()
}
