package redfish

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/nodemeter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Places by which a value becomes mJ or mW.
const (
	milli = 3
	// A kWh is 3.6 × 10^9 mJ. It is taken × 10^9 and then by 36/10.
	perKWh = 9
)

// patience is how many readings in a row may find nothing before the node's input is searched anew.
const patience = 30

// logoutTimeout bounds the farewell.
const logoutTimeout = 3 * time.Second

// Source reads one BMC. It is for one goroutine.
type Source struct {
	cfg    Config
	log    *slog.Logger
	reg    prometheus.Registerer
	met    *metrics
	client *client

	finder *finder // while the points are not known
	points []point
	input  []string // the chassis that were found to be the node's input, for good
	meter  nodemeter.Meter

	absent   int    // readings in a row at which the BMC did not have it
	powered  bool   // there has been power to read
	last     uint64 // of the energy counter
	label    string // the BMC's word for the counter's life
	mistrust bool   // its word changed although the counter went on
}

// Open prepares to read. The BMC is asked at the first reading: it may be away now.
func Open(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("redfish: %w", err)
	}
	met := newMetrics()
	c, err := newClient(cfg, met)
	if err != nil {
		return nil, fmt.Errorf("redfish: %w", err)
	}
	s := &Source{cfg: cfg, log: log.With("bmc", c.base.Host), reg: reg, met: met, client: c}
	s.forget()
	if cfg.Insecure {
		s.log.Warn("the BMC is not known to be the one that is meant", "remedy", "redfish.insecure is set: name the certificate in redfish.fingerprint instead")
	}
	if reg != nil {
		for _, m := range []prometheus.Collector{met.requests, met.logins} {
			if err := reg.Register(m); err != nil {
				return nil, fmt.Errorf("redfish: %w", err)
			}
		}
	}
	return s, nil
}

// Close ends our session, if the BMC lets us.
func (s *Source) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), min(logoutTimeout, s.cfg.Timeout))
	defer cancel()
	if err := s.client.logout(ctx); err != nil {
		s.log.Warn("session not ended", "error", err)
	}
	s.client.http.CloseIdleConnections()
	if s.reg != nil {
		s.reg.Unregister(s.met.requests)
		s.reg.Unregister(s.met.logins)
	}
	return nil
}

// Meters lists the node's input, once it is known where it is read.
func (s *Source) Meters() []nodemeter.Meter {
	if s.meter.Name == "" {
		return nil
	}
	return []nodemeter.Meter{s.meter}
}

// Read asks the BMC. At first, and after it lost what was read, it is searched for the node's input.
func (s *Source) Read(ctx context.Context, at unit.Micros, values []nodemeter.Value) error {
	begun := time.Now()
	if s.points == nil {
		if err := s.find(ctx); err != nil {
			return fmt.Errorf("redfish: %w", err)
		}
	}
	m, err := s.measure(ctx, at, begun)
	known := len(values) == 1 // whether the caller has heard of the meter
	switch {
	case has(err, "permission") && known:
		values[0].Why = nodemeter.Forbidden
		return nil
	case has(err, "not_found") && known:
		// It may be back soon. Another place is looked for only after a while, since it may not measure quite the same.
		values[0].Why = nodemeter.Missing
		if s.absent++; s.absent >= patience {
			s.log.Warn("the node's input is searched anew", "error", err)
			s.forget()
		}
		return nil
	case err != nil:
		return fmt.Errorf("redfish: %w", err)
	}
	s.absent = 0
	if counter := s.counts(m); counter != s.meter.Counter {
		s.meter.Counter, known = counter, false
		s.log.Info("the node's input is read in another way", "counter", counter)
	}
	if !known {
		return agent.ErrChanged
	}
	values[0] = s.value(m)
	return nil
}

// measure reads every point.
func (s *Source) measure(ctx context.Context, at unit.Micros, begun time.Time) (m measures, err error) {
	for _, p := range s.points {
		for _, path := range p.paths {
			asked := time.Now()
			r, err := s.client.get(ctx, path)
			if err != nil {
				return m, err
			}
			// It was true between question and answer.
			m.add(p.kind, r, at+unit.Micros((asked.Sub(begun)+time.Since(asked)/2).Microseconds()))
		}
	}
	return m, nil
}

// measures is what the points say together.
type measures struct {
	n     int
	at    unit.Micros
	first measure
	power unit.Milliwatts
	why   nodemeter.Reason // of there being no power
}

func (m *measures) add(k kind, r *resource, at unit.Micros) {
	one := measure{}
	switch k {
	case inEnvironment:
		one = r.environment()
	case inPower:
		one.power, one.powered = r.total()
	case inSensor:
		one = r.sensor()
	case inSupplies:
		one.power, one.powered = r.InputPowerWatts.reading, true
	}
	if m.n++; m.n == 1 {
		m.first, m.at = one, at
	} else {
		m.at += (at - m.at) / unit.Micros(m.n) // the mean of the instants
	}
	mw, _, ok := one.power.scaled(milli + one.places)
	switch {
	case !ok:
		m.why = nodemeter.Missing
	case mw < 0:
		m.why = nodemeter.Refused
	case mw == 0 && k != inSupplies && m.why == "": // a supply may rest
		m.why = nodemeter.Zero
	}
	// What is beyond any node is refused below, and must not wrap around before that.
	m.power = min(m.power, 1<<62) + unit.Milliwatts(min(max(mw, 0), 1<<60))
}

// energy is the counter in mJ, the decimals of a kWh that it shows, and the BMC's word for its life.
func (m measures) energy() (mj uint64, decimals int, label string, ok bool) {
	if m.n != 1 {
		return 0, 0, "", false // the counters of several chassis begin anew one by one: their powers are added up instead
	}
	if v, _, ok := m.first.joules.reading.scaled(milli); ok && v >= 0 {
		return uint64(v), maxDecimals, string(m.first.joules.reset), true
	}
	v, decimals, ok := m.first.kwh.reading.scaled(perKWh)
	if !ok || v < 0 || v > 1<<60 {
		return 0, 0, "", false
	}
	mj = uint64(v)/10*36 + uint64(v)%10*36/10
	return mj, decimals, string(m.first.kwh.reset), true
}

// counts says whether the energy counter is to be used: it is fine enough, or there is no power. Decimals that are 0 are
// not shown, so a counter that was once seen to be fine stays so.
func (s *Source) counts(m measures) bool {
	_, decimals, _, ok := m.energy()
	s.powered = s.powered || m.first.powered
	switch {
	case s.meter.Counter:
		return m.n == 1
	case !ok:
		return false
	default:
		return decimals >= s.cfg.EnergyDecimals || !s.powered
	}
}

// value is what the meter reads.
func (s *Source) value(m measures) nodemeter.Value {
	if s.meter.Counter {
		mj, _, label, ok := m.energy()
		if !ok {
			return nodemeter.Value{Why: nodemeter.Missing}
		}
		if s.label != "" && label != s.label && mj >= s.last {
			s.mistrust = true // a BMC that gives the present as the time of its reset
		}
		s.last, s.label = mj, label
		if s.mistrust {
			label = ""
		}
		if label != "" {
			label = "since " + label
		}
		return nodemeter.Value{At: m.at, Count: mj, Epoch: label}
	}
	switch {
	case m.why != "":
		return nodemeter.Value{Why: m.why}
	case m.power == 0:
		return nodemeter.Value{Why: nodemeter.Zero}
	case m.power > unit.Milliwatts(s.cfg.MaxWatts*1000):
		return nodemeter.Value{Why: nodemeter.Refused}
	}
	return nodemeter.Value{At: m.at, Power: m.power}
}

// find learns where the node's input is read. What was read on the way to a failure is kept when the BMC was only slow.
func (s *Source) find(ctx context.Context) error {
	points, err := s.finder.find(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.forget()
		}
		return err
	}
	var input []string
	for _, p := range points {
		input = append(input, p.chassis)
	}
	if s.input != nil && !slices.Equal(input, s.input) {
		// The first answer may be away for a while, and what is left may be a part of it.
		s.forget()
		return fault("changed", "the node's input was at %v and is now at %v; if that is right, name it in redfish.chassis and start again", s.input, input)
	}
	s.points, s.input, s.absent = points, input, 0
	s.log.Info("the node's input is found", "at", slices.Collect(func(yield func(string) bool) {
		for _, p := range points {
			if !yield(p.String()) {
				return
			}
		}
	}))
	s.meter = nodemeter.Meter{
		Name: s.cfg.Node + "/bmc", Quantity: "node_energy", Node: s.cfg.Node, Of: "node", Counter: s.meter.Counter,
		Limit: unit.Milliwatts(s.cfg.MaxWatts * 1000),
	}
	return nil
}

// forget begins the search anew.
func (s *Source) forget() {
	s.points, s.finder = nil, &finder{c: s.client, seen: map[string]*resource{}}
}
