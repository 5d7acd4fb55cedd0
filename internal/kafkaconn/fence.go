package kafkaconn

import (
	"fmt"
	"time"
)

// Held asks the broker whether the partition is still ours, unless it has said so less than half a session ago. A process that
// was stopped, or a machine that was paused, wakes in the belief that it is; to ask before anything that others will see takes
// effect keeps that short of doing harm. ErrFenced means that the claim is over, as it does for Commit.
func (c *Claim) Held() error {
	// The clock that ticks evenly may stand still while a machine is paused; the other one may be set. The longer time counts.
	now := time.Now()
	if max(now.Sub(c.proven), now.Round(0).Sub(c.proven.Round(0))) < c.consumer.cfg.SessionTimeout/2 {
		return nil
	}
	at := max(c.committed, c.first) // what is on record is put on record again: only the owner can
	if at < 0 {
		return nil // nothing was fetched yet, so there is nothing to take effect
	}
	return c.commit(at)
}

// Owned is Held for a partition that is held for the right it stands for, and whose messages nobody reads: it asks also where
// nothing was fetched.
func (c *Claim) Owned() error {
	if c.committed >= 0 || c.first >= 0 {
		return c.Held()
	}
	now := time.Now()
	if max(now.Sub(c.proven), now.Round(0).Sub(c.proven.Round(0))) < c.consumer.cfg.SessionTimeout/2 {
		return nil
	}
	return c.commit(0)
}

func (c *Claim) commit(next int64) error {
	asked := time.Now()
	err := c.gen.CommitOffsets(map[string]map[int]int64{c.topic: {c.partition: next}})
	switch {
	case err == nil:
		c.consumer.metrics.commits.WithLabelValues("done").Inc()
		c.proven = asked
		return nil
	case fenced(err):
		c.consumer.metrics.commits.WithLabelValues("fenced").Inc()
		return fmt.Errorf("commit topic %s partition %d offset %d: %w (%w)", c.topic, c.partition, next, ErrFenced, err)
	case Temporary(err):
		// The coordinator is away or has moved. It may or may not have heard us; joining anew tells.
		c.consumer.metrics.commits.WithLabelValues("lost").Inc()
		return fmt.Errorf("commit topic %s partition %d offset %d: %w (%w)", c.topic, c.partition, next, ErrFenced, err)
	default:
		c.consumer.metrics.commits.WithLabelValues("failed").Inc()
		return fmt.Errorf("commit topic %s partition %d offset %d: %w", c.topic, c.partition, next, err)
	}
}
