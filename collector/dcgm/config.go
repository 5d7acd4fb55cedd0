package dcgm

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Config says what to read and how often.
type Config struct {
	// Library is the file to load; empty means the loader's search and the directories of NVIDIA's packages.
	Library string `yaml:"library"`
	// Address is the host engine's: host, host:port, unix:///path or an absolute path. "embedded" runs one in this process.
	// Empty uses the nv-hostengine that runs on this node, and one in this process where there is none.
	Address string `yaml:"address"`
	// Timeout bounds connecting.
	Timeout time.Duration `yaml:"timeout"`
	// Period is how often the engine samples what is accounted: the agent's period.
	Period time.Duration `yaml:"-"`
	// MediumPeriod is how often it samples what moves and is only shown: limits in force, errors, replays, memory.
	MediumPeriod time.Duration `yaml:"medium_period"`
	// SlowPeriod is how often it samples what hardly changes or is costly: remapped rows, error histories, limits that were set.
	SlowPeriod time.Duration `yaml:"slow_period"`
	// Remember is for how long the engine keeps its samples of energy, so that a stall of the collector can be made up for.
	Remember time.Duration `yaml:"remember"`
	// Rediscover is how often GPUs and instances are listed to see whether they are still the same. With MIG instances it is
	// done at the medium pace, if that is quicker.
	Rediscover time.Duration `yaml:"rediscover"`
	// Node is the name of this node in the records of its devices.
	Node string `yaml:"-"`
	// Places are where a host engine is looked for when no address is given.
	Places []string `yaml:"-"`
	// Extra are fields that no metric is made from and that somebody wants to see: numbers, read with the others into the extra
	// columns of the readings.
	Extra []uint16 `yaml:"-"`
	// Labels are fields that are read once per device, as text.
	Labels []uint16 `yaml:"-"`
}

// DefaultConfig samples once a second in the node's own engine.
func DefaultConfig() Config {
	return Config{
		Timeout: 5 * time.Second, Period: time.Second, MediumPeriod: 10 * time.Second, SlowPeriod: time.Minute, Remember: 2 * time.Minute,
		Rediscover: time.Minute, Places: []string{"unix:///tmp/nv-hostengine", "127.0.0.1:5555"},
	}
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
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"medium_period", c.MediumPeriod}, {"slow_period", c.SlowPeriod}, {"remember", c.Remember}} {
		if d.d < 0 || d.d > 24*time.Hour {
			bad("%s: %v; must lie between 0 and 24h", d.name, d.d)
		}
	}
	if c.Rediscover <= 0 {
		bad("rediscover: %v; must be above zero", c.Rediscover)
	}
	for i, f := range c.Extra {
		if slices.Contains(c.Extra[:i], f) {
			bad("extra fields: %d is there twice", f)
		}
	}
	return errors.Join(faults...)
}

// Every is how often a field is sampled. Nothing is sampled more often than it is read.
func (c Config) Every(field uint16) time.Duration {
	switch speeds[field] {
	case fast:
		return c.Period
	case slow:
		return max(c.SlowPeriod, c.MediumPeriod, c.Period)
	default:
		return max(c.MediumPeriod, c.Period)
	}
}
