package watchdog

import (
	"errors"
	"fmt"
	"time"
)

// Config says how patient to be.
type Config struct {
	// Deadline is how long the loop waits for a reading. Keep it below the period.
	Deadline time.Duration `yaml:"deadline"`
	// Abandon is how long a call may take before it is given up together with its source.
	Abandon time.Duration `yaml:"abandon"`
	// Limit is after how many abandoned calls the process replaces itself.
	Limit int `yaml:"limit"`
	// Extra is how many extra columns a reading has.
	Extra int `yaml:"-"`
}

// DefaultConfig waits most of a second for a reading, and a connection's time-out of a minute for a call.
func DefaultConfig() Config {
	return Config{Deadline: 800 * time.Millisecond, Abandon: 75 * time.Second, Limit: 3}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	if c.Deadline < time.Millisecond || c.Deadline > time.Minute {
		faults = append(faults, fmt.Errorf("deadline: %v; must lie between 1ms and 1m", c.Deadline))
	}
	if c.Abandon < c.Deadline {
		faults = append(faults, fmt.Errorf("abandon: %v; must not be shorter than the deadline of %v", c.Abandon, c.Deadline))
	}
	if c.Limit < 1 {
		faults = append(faults, fmt.Errorf("limit: %d; must be at least 1", c.Limit))
	}
	return errors.Join(faults...)
}
