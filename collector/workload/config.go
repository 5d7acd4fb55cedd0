package workload

import (
	"errors"
	"fmt"
	"time"
)

// Config says how holds become allocations.
type Config struct {
	// Rules give a hold its tenant, project, workload, model_id and purpose. Each name is taken from the first rule that
	// matches and gives it. See docs/collector-workloads.md.
	Rules []Rule `yaml:"rules"`
	// UnmappedTenant is who holds what no rule gives a tenant. Left empty, such a hold is not stated: it is counted, logged
	// and stated as an incident, and its energy goes to unallocated.
	UnmappedTenant string `yaml:"unmapped_tenant"`
	// Static says who holds this node's devices where there is no scheduler to ask.
	Static []Assignment `yaml:"static"`
	// Poll is how often each source is asked, besides whenever it says that something has changed.
	Poll time.Duration `yaml:"poll"`
	// FullInterval is how often everything known is stated again, so that a message that was lost is made good.
	FullInterval time.Duration `yaml:"full_interval"`
	// KeepEnded is for how long after its end an allocation is part of full statements, and remembered.
	KeepEnded time.Duration `yaml:"keep_ended"`
	// Settle is how far behind its last statement a node declares its allocations complete: what a scheduler tells later
	// than that comes after the hour may have closed, and is corrected by an adjustment.
	Settle time.Duration `yaml:"settle"`
	// SaveInterval is how often what is known is saved though nothing has changed. A hold that ends while the collector is down
	// is known to have run up to the last save.
	SaveInterval time.Duration `yaml:"save_interval"`
}

// DefaultConfig asks each second and states everything each minute.
func DefaultConfig() Config {
	return Config{
		Poll: time.Second, FullInterval: time.Minute, KeepEnded: 15 * time.Minute, Settle: 10 * time.Second, SaveInterval: 10 * time.Second,
	}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if _, err := CompileRules(c.Rules); err != nil {
		faults = append(faults, err)
	}
	for i, a := range c.Static {
		for _, err := range a.faults() {
			bad("static[%d]: %w", i, err)
		}
	}
	if c.Poll < 100*time.Millisecond || c.Poll > time.Minute {
		bad("poll: %v; must lie between 100ms and 1m", c.Poll)
	}
	if c.FullInterval < c.Poll || c.FullInterval > time.Hour {
		bad("full_interval: %v; must lie between poll and 1h", c.FullInterval)
	}
	if c.KeepEnded < c.FullInterval || c.KeepEnded > 24*time.Hour {
		bad("keep_ended: %v; must lie between full_interval, so that each end is stated twice at least, and 24h", c.KeepEnded)
	}
	if c.Settle < 0 || c.Settle > time.Hour {
		bad("settle: %v; must lie between 0 and 1h", c.Settle)
	}
	if c.SaveInterval < time.Second || c.SaveInterval > time.Hour {
		bad("save_interval: %v; must lie between 1s and 1h", c.SaveInterval)
	}
	return errors.Join(faults...)
}
