package closing

import (
	"fmt"
	"strings"

	"github.com/wattledger/wattledger/aggregator/attribution"
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// addMeter adds one meter's amount of [from, to), or says why it cannot be used.
func (m *metered) addMeter(name string, readings []record.Reading, scale int64, from, to unit.Micros, res *Result) error {
	curve, err := window.NewCurve(readings, scale)
	if err != nil {
		res.refused(name, err)
		m.flags = flagged(m.flags, flagMeterRefused)
		m.covered = 0
		return nil
	}
	if !curve.Spans(from, to) {
		m.flags = flagged(m.flags, flagMeterGap)
	}
	amount, low, high, err := curve.Between(from, to)
	if err != nil {
		return err
	}
	m.amount, m.low, m.high = m.amount+amount, m.low+low, m.high+high
	m.covered = min(m.covered, curve.Covered(from, to))
	return nil
}

// addRest spreads what the node took besides its GPUs and CPUs: by its meter, else as declared.
func (c *nodeCloser) addRest() error {
	from, to := c.hour.span(c.node.From, c.node.To)
	if to <= from {
		return nil
	}
	m, err := read(c.node.Readings, "node_energy", 1, from, to, &c.res)
	if err != nil {
		return err
	}
	if len(m.names) > 1 {
		names := strings.Join(m.names, " and ")
		c.res.find(FindingTwoMeters, names, "%s all claim the energy of node %s: state node_energy by one of them", names, c.node.ID)
		m.flags, m.amount, m.low, m.high, m.covered = []string{flagMeterRefused}, 0, 0, 0, 0
	}
	if len(m.names) > 0 {
		c.line = &record.DeviceHour{
			Site: c.hour.Site.ID, Hour: c.hour.hour(), Node: c.node.ID, Kind: "node", Model: c.node.Model, Sensor: factor.SensorNodeMeter,
			Counter: unit.Millijoules(m.amount), Integral: record.NoIntegral, BoundLow: unit.Millijoules(m.low), BoundHigh: unit.Millijoules(m.high),
			Present: to - from, Covered: m.covered, Flags: m.flags,
		}
	}
	switch {
	case m.usable():
		rest := unit.Millijoules(m.amount) - c.it()
		if rest < 0 {
			c.line.Excess, rest = -rest, 0
			m.flags = []string{flagBelowDevices}
			c.line.Flags = m.flags
			c.res.find(FindingBelowParts, m.names[0], "%s of node %s reads %d mJ, its devices took %d mJ more: look at what is behind it",
				m.names[0], c.node.ID, m.amount, c.line.Excess)
		}
		return c.spreadRest(rest, m.source(), factor.SensorNodeMeter, m.flags, func(e *record.Entry) { e.Measured += e.NodeRest })
	case c.node.RestMilliwatts > 0:
		rest, err := unit.FloorMulDiv(int64(c.node.RestMilliwatts), int64(to-from), 1_000_000)
		if err != nil {
			return err
		}
		return c.spreadRest(unit.Millijoules(rest), fmt.Sprintf("declared %dmW", c.node.RestMilliwatts), factor.SensorDeclared,
			append(m.flags, flagRestModelled), func(e *record.Entry) { e.Modelled += e.NodeRest })
	}
	return c.spreadRest(0, "", "", m.flags, func(*record.Entry) {})
}

// spreadRest splits node rest over the GPUs by the time they were there, and within each by the time it was held. A node without
// GPUs carries it itself.
func (c *nodeCloser) spreadRest(rest unit.Millijoules, source, sensor string, flags []string, count func(*record.Entry)) error {
	weights := make([]uint64, len(c.books))
	there := false
	for i, b := range c.books {
		weights[i] = uint64(b.to - b.from)
		there = there || b.to > b.from
	}
	if there {
		parts, err := attribution.Split(rest, weights)
		if err != nil {
			return err
		}
		for i, b := range c.books {
			if b.to == b.from {
				continue
			}
			if err := b.addRest(parts[i]); err != nil {
				return fmt.Errorf("device %s: %w", b.dev.UUID, err)
			}
		}
	} else if rest != 0 {
		c.own(c.hour).NodeRest = rest
	}
	c.each(func(e *record.Entry) {
		e.RestSource = source
		e.Uncertainty += c.sensors.off(sensor, e.NodeRest)
		count(e)
		for _, f := range flags {
			flag(e, f)
		}
	})
	return nil
}
