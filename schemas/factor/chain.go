package factor

import (
	"errors"
	"fmt"
	"strings"
)

// Chain says which editions count for the electricity of a grid zone, the first step that has a value being taken. After its last
// step come the committed tables, where they are of its boundary.
type Chain struct {
	// Zone is the grid zone the chain is for; empty is every zone without one of its own.
	Zone string `yaml:"zone"`
	// Boundary is direct or lifecycle. Values of the other one never count: the two are not added.
	Boundary string `yaml:"boundary"`
	// MarketBoundary is that of residual mix and instruments; empty takes the one there is.
	MarketBoundary string `yaml:"market_boundary"`
	// Steps are looked at in this order.
	Steps []Step `yaml:"steps"`
}

// Step is a place to look for a value.
type Step struct {
	// Source is who published it, as an edition names it; empty is anybody.
	Source string `yaml:"source"`
	// Resolution is hourly, monthly or yearly.
	Resolution string `yaml:"resolution"`
}

// DefaultChain is that of zones without one: life-cycle, the finest resolution first, whoever published it.
func DefaultChain() Chain {
	return Chain{Boundary: Lifecycle, Steps: []Step{{Resolution: Hourly}, {Resolution: Monthly}, {Resolution: Yearly}}}
}

// Validate reports every fault of the chain at once.
func (c Chain) Validate() error {
	var errs []error
	add := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("chain of zone %q: "+format, append([]any{c.Zone}, args...)...))
	}
	if strings.TrimSpace(c.Zone) != c.Zone {
		add("there are spaces around it")
	}
	if c.Boundary != Direct && c.Boundary != Lifecycle {
		add("boundary is %q; write direct or lifecycle", c.Boundary)
	}
	if c.MarketBoundary != "" && c.MarketBoundary != Direct && c.MarketBoundary != Lifecycle {
		add("market_boundary is %q; write direct or lifecycle, or leave it out", c.MarketBoundary)
	}
	if len(c.Steps) == 0 {
		add("steps is empty; write at least one, as {source: NAME, resolution: hourly}")
	}
	seen := map[Step]bool{}
	for i, s := range c.Steps {
		if s.Resolution != Hourly && s.Resolution != Monthly && s.Resolution != Yearly {
			add("resolution of step %d is %q; write hourly, monthly or yearly", i+1, s.Resolution)
		}
		if seen[s] {
			add("step %d (%s) stands twice", i+1, s)
		}
		seen[s] = true
	}
	return errors.Join(errs...)
}

// ValidateChains reports every fault of the chains at once, zones that stand twice among them.
func ValidateChains(chains []Chain) error {
	var errs []error
	seen := map[string]bool{}
	for _, c := range chains {
		errs = append(errs, c.Validate())
		if seen[c.Zone] {
			errs = append(errs, fmt.Errorf("chain of zone %q stands twice; keep one", c.Zone))
		}
		seen[c.Zone] = true
	}
	return errors.Join(errs...)
}

// String is the step in words.
func (s Step) String() string { return strings.TrimSpace(s.Resolution + " " + s.Source) }

// takes says that an edition is one that the step looks for.
func (s Step) takes(e Edition) bool {
	switch {
	case e.Resolution != s.Resolution:
		return false
	case s == committed:
		return e.Committed
	case s.Source == "":
		return !e.Committed
	}
	return e.Source == s.Source
}
