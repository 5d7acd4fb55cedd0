package exporter

import (
	"slices"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
)

// changes learns how often the exporter samples from when its page changes.
type changes struct {
	last unit.Micros
	gaps [9]unit.Micros // the last ones, in a ring
	n    int
}

func (c *changes) add(at unit.Micros) {
	if c.last != 0 && at > c.last {
		c.gaps[c.n%len(c.gaps)] = at - c.last
		c.n++
	}
	c.last = at
}

// interval is the middle of the last gaps: a scrape that failed makes one too long, and none is too short by more than
// the time between scrapes.
func (c *changes) interval() time.Duration {
	n := min(c.n, len(c.gaps))
	if n == 0 {
		return 0
	}
	sorted := slices.Clone(c.gaps[:n])
	slices.Sort(sorted)
	return sorted[n/2].Duration()
}
