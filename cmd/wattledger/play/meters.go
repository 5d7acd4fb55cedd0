package play

import (
	"context"

	"github.com/wattledger/wattledger/cmd/wattledger/fleet"
	"github.com/wattledger/wattledger/collector/dcgm/simctl"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// meters states what the meters of every site show, an hour at a time: they know what the devices really drew.
type meters struct {
	ctl    *simctl.Control
	fleet  *fleet.Fleet
	to     Statements
	gauges []*fleet.Gauge
}

func newMeters(ctl *simctl.Control, f *fleet.Fleet, to Statements) *meters {
	m := &meters{ctl: ctl, fleet: f, to: to}
	for _, of := range f.Meters {
		m.gauges = append(m.gauges, fleet.NewGauge(f, of))
	}
	return m
}

// hour states the quarters of the hour that begins at from, which every node has passed.
func (m *meters) hour(ctx context.Context, from unit.Micros) error {
	for i, g := range m.gauges {
		var all []record.Reading
		if from == m.fleet.Start {
			all = g.First()
		}
		for t := from; t < from+unit.Hour; t += fleet.MeterPeriod {
			readings, err := g.Next(m.drawn)
			if err != nil {
				return err
			}
			all = append(all, readings...)
		}
		if err := m.to.Readings(ctx, m.fleet, m.fleet.Meters[i].Site, all, from+unit.Hour); err != nil {
			return err
		}
	}
	return nil
}

// drawn sums the true energy of a node's GPUs and CPUs.
func (m *meters) drawn(n fleet.Node, at unit.Micros) (unit.Microjoules, error) {
	var sum unit.Microjoules
	for i := -n.CPUs(); i < n.GPUs; i++ {
		e, err := m.ctl.Truth(n.ID, i, at)
		if err != nil {
			return 0, err
		}
		sum += e
	}
	return sum, nil
}
