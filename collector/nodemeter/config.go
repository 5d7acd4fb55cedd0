package nodemeter

import (
	"errors"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Config says whose meters these are and how their readings leave.
type Config struct {
	// Period is the time between readings of a source that has no period of its own.
	Period time.Duration `yaml:"period"`
	// Timeout is how long a source may take for one reading, unless it has a timeout of its own.
	Timeout time.Duration `yaml:"timeout"`
	// Queue is how many messages wait while the publisher is busy or away. The oldest is dropped first, and counted.
	Queue int `yaml:"queue"`
	// RetryMin and RetryMax bound the wait between attempts to publish; it doubles from one to the other.
	RetryMin time.Duration `yaml:"retry_min"`
	RetryMax time.Duration `yaml:"retry_max"`
	// StopTimeout is how long a stop waits for the queue to empty.
	StopTimeout time.Duration `yaml:"stop_timeout"`
	// Node and Site are the names the inventory knows.
	Node string `yaml:"-"`
	Site string `yaml:"-"`
	// Run identifies this run of the collector.
	Run [wire.RunBytes]byte `yaml:"-"`
	// Until ends the run after the last tick that is not later. 0 means run until cancelled.
	Until unit.Micros `yaml:"-"`
	// Incident, if not nil, is told of every gap and every new epoch of a meter, with the meter's name as the device. It is
	// called from the goroutine of each source and must not block.
	Incident func(record.Incident) `yaml:"-"`
}

// DefaultConfig reads every ten seconds and keeps an hour of messages of three sources.
func DefaultConfig() Config {
	return Config{
		Period: 10 * time.Second, Timeout: 8 * time.Second, Queue: 1080,
		RetryMin: 100 * time.Millisecond, RetryMax: 10 * time.Second, StopTimeout: 5 * time.Second,
	}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Node == "" {
		bad("node: empty; name the node as the inventory does")
	}
	if c.Site == "" {
		bad("site: empty; name the site as the inventory does")
	}
	if c.Period < 10*time.Millisecond || c.Period > time.Hour {
		bad("period: %v; must lie between 10ms and 1h", c.Period)
	}
	if c.Timeout < time.Millisecond || c.Timeout > time.Hour {
		bad("timeout: %v; must lie between 1ms and 1h", c.Timeout)
	}
	if c.Queue < 1 {
		bad("queue: %d; must be at least 1", c.Queue)
	}
	if c.RetryMin <= 0 || c.RetryMax < c.RetryMin {
		bad("retry_min and retry_max: %v and %v; must be above zero and in this order", c.RetryMin, c.RetryMax)
	}
	if c.StopTimeout <= 0 {
		bad("stop_timeout: %v; must be above zero", c.StopTimeout)
	}
	if c.Run == ([wire.RunBytes]byte{}) {
		bad("run: not set; make a random one at each start")
	}
	return errors.Join(faults...)
}
