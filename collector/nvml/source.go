package nvml

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Config says what to read and how often.
type Config struct {
	// Library is the file to load; empty means the loader's search and the usual directories.
	Library string `yaml:"library"`
	// SlowPeriod is how often to ask for what hardly changes: limits, performance state, replays, memory errors.
	SlowPeriod time.Duration `yaml:"slow_period"`
	// Rediscover is how often GPUs and instances are listed to see whether they are still the same.
	Rediscover time.Duration `yaml:"rediscover"`
	// Profiling reads SM, tensor and memory activity and PCIe and NVLink traffic, where the GPU can tell (Hopper and later).
	Profiling bool `yaml:"profiling"`
	// Period is the agent's period: the first pause after the driver went away.
	Period time.Duration `yaml:"-"`
	// Node is the name of this node in the records of its devices.
	Node string `yaml:"-"`
	// Now is the clock that stamps what NVML does not stamp.
	Now func() unit.Micros `yaml:"-"`
}

// DefaultConfig reads everything, by the machine's clock.
func DefaultConfig() Config {
	return Config{
		SlowPeriod: 10 * time.Second, Rediscover: time.Minute, Profiling: true, Period: time.Second,
		Now: func() unit.Micros { return unit.MicrosOf(time.Now()) },
	}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Node == "" {
		bad("node: empty; name the node as the inventory does")
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
	if c.Now == nil {
		bad("the clock is missing")
	}
	return errors.Join(faults...)
}

// Status is something that a device does not give us, and why.
type Status struct {
	// Device is the UUID, What is "profiling" or "xid events".
	Device, What string
	// Code is NVML's word for the reason, Remedy what a person can do; it may be empty.
	Code, Remedy string
}

// Source reads the GPUs of one node. It is for one goroutine, as agent.Source is.
type Source struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	c       *caller
	up      bool // NVML is initialised, and entities hold handles of it
	trying  bool // during a build: calls may fail uncounted

	entities []entity
	slots    []meter.Set
	status   []Status
	shape    string
	events   uintptr // event set, 0 when there is none

	slowAt  unit.Micros // when to ask for what hardly changes
	lookAt  unit.Micros // when to compare the shape next; 0 after a build
	retryAt unit.Micros // when to initialise next
	backoff unit.Micros
	away    error
	waiting []agent.Event // taken from the event set before it was made anew
}

// Open initialises NVML and finds the devices. Close the source when done.
func Open(lib *Library, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("nvml: %w", err)
	}
	s := &Source{cfg: cfg, log: log, metrics: newMetrics(reg, cfg.Node), c: newCaller(lib)}
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Source) open() error {
	if err := check(s.c.do0(callInit), "initialise %s", s.c.lib.path); err != nil {
		return err
	}
	s.up = true
	gpus, code := s.c.enumerate()
	err := check(code, "list the GPUs of node %s", s.cfg.Node)
	if err == nil {
		err = s.build(gpus)
	}
	if err != nil {
		s.drop(err)
		return err
	}
	s.metrics.opened.Inc()
	s.away = nil
	return nil
}

// build makes the entities of what was found and asks each for everything once.
func (s *Source) build(gpus []found) error {
	// To be told that a GPU lacks something is not a failure.
	s.trying = true
	defer func() { s.trying = false }()
	before, known := s.entities, s.known()
	s.release()
	s.status = s.status[:0]
	s.shape = shapeOf(gpus)
	s.entities = s.discover(gpus, before)
	s.slots = make([]meter.Set, len(s.entities))
	for i := range s.entities {
		e := &s.entities[i]
		if !e.lost && e.parent >= 0 && s.entities[e.parent].lost {
			e.lost = true
		}
		if !e.lost {
			set, code := s.settle(e)
			switch {
			case code.dead():
				return check(code, "ask %s what it gives", e.device.UUID)
			case code.lost(): // since it was listed
				s.closeProfiling(e)
				e.lost, e.handle = true, 0
				s.shape = ""
			}
			s.slots[i] = set
		}
		if e.lost {
			s.slots[i] = known[e.device.UUID]
		}
	}
	s.listen()
	for i := range s.entities {
		e := &s.entities[i]
		e.device.Energy = energyOf(e.device.Kind, s.slots[i])
	}
	s.lookAt, s.slowAt = 0, 0
	s.metrics.shape(s.entities, s.status)
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

// energyOf says what a device's energy counter is, from the fields it has.
func energyOf(kind record.DeviceKind, slots meter.Set) record.EnergySource {
	switch {
	case kind == record.KindMIG:
		return record.EnergyNone
	case slots.Has(meter.SlotEnergy):
		return record.EnergyHardware
	case slots.Has(meter.SlotPower):
		return record.EnergyIntegrated
	}
	return record.EnergyNone
}

// withhold notes what a device does not give. That it has no such thing is no news; that we may not have it is.
func (s *Source) withhold(e *entity, what string, code Return) {
	s.status = append(s.status, Status{e.device.UUID, what, code.String(), code.Remedy()})
	if code != NotSupported && code != FunctionNotFound {
		s.log.Warn("device does not give everything", "device", e.device.UUID, "what", what, "code", code.String(), "remedy", code.Remedy())
	}
}

// Status lists what devices do not give, and why: profiling and XID events. A metric's absence is Unsupported's.
func (s *Source) Status() []Status { return slices.Clone(s.status) }

// Devices lists the devices in the order of rows.
func (s *Source) Devices() []agent.Device {
	out := make([]agent.Device, len(s.entities))
	for i, e := range s.entities {
		out[i] = e.device
		out[i].Slots = s.slots[i]
	}
	return out
}

// look compares what the driver has with what we read, now and then and after a sign of change.
func (s *Source) look(tick unit.Micros) (changed bool, err error) {
	if tick < s.lookAt {
		return false, nil
	}
	first := s.lookAt == 0 // the first reading after a build
	s.lookAt = tick + unit.Micros(s.cfg.Rediscover.Microseconds())
	if first {
		return false, nil
	}
	gpus, code := s.c.enumerate()
	if code != OK {
		return false, s.failed(tick, check(code, "list the GPUs of node %s", s.cfg.Node))
	}
	if shapeOf(gpus) == s.shape {
		return false, nil
	}
	// The XID that says why is in the old event set: take it along, by UUID, since rows may change.
	waiting, err := s.drain(nil)
	if err != nil {
		s.log.Debug("events of the old devices were not read", "error", err)
	}
	before := s.entities
	if err := s.build(gpus); err != nil {
		return false, s.failed(tick, err)
	}
	for _, e := range waiting {
		uuid := before[e.Device].device.UUID
		if e.Device = slices.IndexFunc(s.entities, func(x entity) bool { return x.device.UUID == uuid }); e.Device >= 0 {
			s.waiting = append(s.waiting, e)
		}
	}
	s.log.Info("devices changed", "devices", len(s.entities))
	return true, nil
}

// failed gives NVML up after an error that it will not recover from by itself.
func (s *Source) failed(tick unit.Micros, err error) error {
	var e *Error
	if errors.As(err, &e) && e.Return.dead() {
		s.drop(err)
		s.pause(tick)
	}
	return err
}

// drop gives NVML up. The devices stay known.
func (s *Source) drop(reason error) {
	s.away = reason
	if !s.up {
		return
	}
	s.release()
	s.up = false
	if code := s.c.do0(callShutdown); code != OK && code != Uninitialized {
		s.log.Debug("nvml shut down with an error", "code", code.String())
	}
}

// release gives the library back what it allocated for us.
func (s *Source) release() {
	s.deafen()
	for i := range s.entities {
		s.closeProfiling(&s.entities[i])
	}
}

func (s *Source) pause(tick unit.Micros) {
	s.backoff = min(max(2*s.backoff, unit.Micros(s.cfg.Period.Microseconds())), 60*unit.Second)
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
	s.log.Info("driver found again", "devices", len(s.entities))
	return agent.ErrChanged
}

// Close shuts NVML down.
func (s *Source) Close() error {
	if !s.up {
		return nil
	}
	s.release()
	s.up = false
	s.away = errors.New("the source is closed")
	s.retryAt = 1<<63 - 1
	if code := s.c.do0(callShutdown); code != Uninitialized { // without a driver there is nothing to shut down
		return check(code, "shut down %s", s.c.lib.path)
	}
	return nil
}

// Unsupported lists the metrics that no device has a field for, by name.
func (s *Source) Unsupported() []string {
	var all meter.Set
	for _, x := range s.slots {
		all |= x
	}
	out := []string{}
	for _, m := range record.Metrics {
		if at, ok := meter.SlotOf(m.Field); ok && !all.Has(at) {
			out = append(out, m.Name)
		}
	}
	return out
}
